/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * serial: the registers of a PC16550D (National Semiconductor data sheet, June 1995, chapter 8).
 *
 * One mutex covers all registers and the queue. The level of the interrupt line is a function of
 * the registers, computed anew after each change and passed on with the mutex held, so that the
 * line never shows an older state after a newer one.
 *
 * A byte for the wire is handed over before the transmitter is shown as empty again: a vCPU that
 * writes the next byte out of the interrupt cannot overtake it.
 */
#include <pthread.h>
#include <string.h>

#include <vmmcore/serial.h>

#include "base/util.h"

enum {
	REG_DATA = 0, /* receive buffer, transmit holding; divisor low with DLAB */
	REG_IER = 1,  /* divisor high with DLAB */
	REG_IIR = 2,  /* read */
	REG_FCR = 2,  /* write */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
	N_REGS = 8,

	IER_RDI = 0x01,
	IER_THRI = 0x02,
	IER_RLSI = 0x04,
	IER_MSI = 0x08,
	IER_ALL = 0x0f,

	IIR_MSI = 0x00,
	IIR_NONE = 0x01,
	IIR_THRI = 0x02,
	IIR_RDI = 0x04,
	IIR_RLSI = 0x06,
	IIR_TIMEOUT = 0x0c,
	IIR_FIFO = 0xc0,

	FCR_ENABLE = 0x01,
	FCR_CLEAR_RX = 0x02,

	LCR_DLAB = 0x80,

	MCR_DTR = 0x01,
	MCR_RTS = 0x02,
	MCR_OUT1 = 0x04,
	MCR_OUT2 = 0x08,
	MCR_LOOP = 0x10,
	MCR_ALL = 0x1f,

	LSR_DR = 0x01,
	LSR_OE = 0x02,
	LSR_BI = 0x10,
	LSR_THRE = 0x20,
	LSR_TEMT = 0x40,
	LSR_FIFO_ERROR = 0x80,
	LSR_ERRORS = 0x1e,

	MSR_TERI = 0x04,
	MSR_CTS = 0x10,
	MSR_DSR = 0x20,
	MSR_RI = 0x40,
	MSR_DCD = 0x80,

	FIFO_DEPTH = 16,

	/* Beside the byte in an element of a queue. */
	ELEMENT_BREAK = 0x100,
};

struct vmm_serial {
	struct vmm_serial_config config;

	pthread_mutex_t lock; /* of all below */
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr;
	uint8_t scr;
	uint8_t divisor[2];
	uint8_t lsr_errors; /* LSR_OE, and LSR_BI of the byte at the top of the FIFO */
	bool thre_pending;  /* the transmitter became empty and nobody was told */
	bool mcr_written;

	uint16_t fifo[FIFO_DEPTH];
	unsigned int fifo_head;
	unsigned int n_fifo;

	bool starved; /* a sender waits for receive_ready */
	unsigned int queue_head;
	unsigned int n_queue;
	uint16_t queue[VMM_SERIAL_QUEUE_BYTES];
};

static unsigned int fifo_depth(const struct vmm_serial *s)
{
	return s->fcr & FCR_ENABLE ? FIFO_DEPTH : 1;
}

/* §8.6.2: RCVR trigger level. */
static unsigned int fifo_trigger(const struct vmm_serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };

	return s->fcr & FCR_ENABLE ? levels[s->fcr >> 6] : 1;
}

static uint8_t lsr_get(const struct vmm_serial *s)
{
	uint8_t lsr = LSR_THRE | LSR_TEMT | s->lsr_errors;

	if (s->n_fifo > 0)
		lsr |= LSR_DR;
	for (unsigned int i = 0; i < s->n_fifo && (s->fcr & FCR_ENABLE); i++) {
		if (s->fifo[(s->fifo_head + i) % FIFO_DEPTH] & ELEMENT_BREAK)
			lsr |= LSR_FIFO_ERROR;
	}
	return lsr;
}

/* The pending interrupt of the highest priority, table III of the data sheet. */
static uint8_t interrupt_get(const struct vmm_serial *s)
{
	if ((s->ier & IER_RLSI) && (s->lsr_errors & LSR_ERRORS))
		return IIR_RLSI;
	/* No byte is ever on its way, so the time-out below the trigger level is over at once. */
	if ((s->ier & IER_RDI) && s->n_fifo > 0)
		return s->n_fifo >= fifo_trigger(s) ? IIR_RDI : IIR_TIMEOUT;
	if ((s->ier & IER_THRI) && s->thre_pending)
		return IIR_THRI;
	if ((s->ier & IER_MSI) && (s->msr & 0x0f))
		return IIR_MSI;
	return IIR_NONE;
}

static void update_irq(struct vmm_serial *s)
{
	/* A host that cannot deliver an interrupt has no answer that a UART could give. */
	(void)vmm_irq_set_level(&s->config.irq, interrupt_get(s) != IIR_NONE);
}

/* The byte at the top of the FIFO brings its errors along. */
static void top_changed(struct vmm_serial *s)
{
	if (s->n_fifo > 0 && (s->fifo[s->fifo_head] & ELEMENT_BREAK))
		s->lsr_errors |= LSR_BI;
}

static void fifo_push(struct vmm_serial *s, uint16_t element)
{
	s->fifo[(s->fifo_head + s->n_fifo) % FIFO_DEPTH] = element;
	s->n_fifo++;
	if (s->n_fifo == 1)
		top_changed(s);
}

/*
 * Whether the guest listens. Without RTS a modem sends nothing, and Linux drops RTS while it
 * resets the FIFO and reads it empty to start the port: what is held back then is not lost.
 * Small guests receive without RTS, so an enabled interrupt or an MCR never touched counts, too.
 */
static bool listening(const struct vmm_serial *s)
{
	if (s->mcr & MCR_LOOP)
		return false;
	return (s->mcr & MCR_RTS) || (s->ier & IER_RDI) || !s->mcr_written;
}

static void refill(struct vmm_serial *s)
{
	while (s->n_queue > 0 && s->n_fifo < fifo_depth(s) && listening(s)) {
		fifo_push(s, s->queue[s->queue_head]);
		s->queue_head = (s->queue_head + 1) % VMM_SERIAL_QUEUE_BYTES;
		s->n_queue--;
	}
}

/* Returns true where the sender is to be told, after the lock is released. */
static bool take_ready(struct vmm_serial *s)
{
	if (!s->starved || s->n_queue > VMM_SERIAL_QUEUE_BYTES / 2)
		return false;
	s->starved = false;
	return true;
}

static uint8_t fifo_pop(struct vmm_serial *s)
{
	uint8_t byte = 0;

	if (s->n_fifo > 0) {
		byte = (uint8_t)s->fifo[s->fifo_head];
		s->fifo_head = (s->fifo_head + 1) % FIFO_DEPTH;
		s->n_fifo--;
		top_changed(s);
	}
	return byte;
}

/* What the modem lines show: the terminal is always there; in loopback, our own outputs. */
static void update_msr(struct vmm_serial *s)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD;
	uint8_t was = s->msr & 0xf0;

	if (s->mcr & MCR_LOOP) {
		lines = 0;
		lines |= s->mcr & MCR_RTS ? MSR_CTS : 0;
		lines |= s->mcr & MCR_DTR ? MSR_DSR : 0;
		lines |= s->mcr & MCR_OUT1 ? MSR_RI : 0;
		lines |= s->mcr & MCR_OUT2 ? MSR_DCD : 0;
	}
	s->msr |= (uint8_t)((was ^ lines) >> 4) & (uint8_t)~MSR_TERI;
	if ((was & MSR_RI) && !(lines & MSR_RI))
		s->msr |= MSR_TERI;
	s->msr = (uint8_t)((s->msr & 0x0f) | lines);
}

static void fcr_set(struct vmm_serial *s, uint8_t value)
{
	/* §8.5: the other bits count only together with the enable bit. */
	bool clear =
		((value ^ s->fcr) & FCR_ENABLE) || ((value & FCR_ENABLE) && (value & FCR_CLEAR_RX));

	s->fcr = value & FCR_ENABLE ? value & 0xc9 : 0;
	if (clear) {
		s->n_fifo = 0;
		s->fifo_head = 0;
		s->lsr_errors = 0;
	}
}

static void ier_set(struct vmm_serial *s, uint8_t value)
{
	value &= IER_ALL;
	/* Enabling the interrupt of an empty transmitter raises it. */
	if ((value & IER_THRI) && !(s->ier & IER_THRI))
		s->thre_pending = true;
	s->ier = value;
}

static uint8_t read_locked(struct vmm_serial *s, unsigned int reg)
{
	uint8_t value;

	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB)
			return s->divisor[0];
		return fifo_pop(s);
	case REG_IER:
		return s->lcr & LCR_DLAB ? s->divisor[1] : s->ier;
	case REG_IIR:
		value = interrupt_get(s);
		if (value == IIR_THRI)
			s->thre_pending = false;
		return value | (s->fcr & FCR_ENABLE ? IIR_FIFO : 0);
	case REG_LCR:
		return s->lcr;
	case REG_MCR:
		return s->mcr;
	case REG_LSR:
		value = lsr_get(s);
		s->lsr_errors = 0;
		return value;
	case REG_MSR:
		value = s->msr;
		s->msr &= 0xf0;
		return value;
	default:
		return s->scr;
	}
}

static void transmit_loopback(struct vmm_serial *s, uint8_t byte)
{
	if (s->n_fifo < fifo_depth(s)) {
		fifo_push(s, byte);
		return;
	}
	s->lsr_errors |= LSR_OE;
	/* Without the FIFO the new byte replaces the old one, with it the new one is lost. */
	if (!(s->fcr & FCR_ENABLE))
		s->fifo[s->fifo_head] = byte;
}

static void write_locked(struct vmm_serial *s, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case REG_DATA:
		if (s->lcr & LCR_DLAB) {
			s->divisor[0] = value;
			break;
		}
		if (s->mcr & MCR_LOOP) {
			transmit_loopback(s, value);
		} else if (s->config.ops && s->config.ops->write) {
			pthread_mutex_unlock(&s->lock);
			s->config.ops->write(s->config.userdata, &value, 1);
			pthread_mutex_lock(&s->lock);
		}
		s->thre_pending = true;
		break;
	case REG_IER:
		if (s->lcr & LCR_DLAB)
			s->divisor[1] = value;
		else
			ier_set(s, value);
		break;
	case REG_FCR:
		fcr_set(s, value);
		break;
	case REG_LCR:
		s->lcr = value;
		break;
	case REG_MCR:
		s->mcr = value & MCR_ALL;
		s->mcr_written = true;
		update_msr(s);
		break;
	case REG_SCR:
		s->scr = value;
		break;
	default:
		break; /* LSR and MSR are read-only */
	}
}

/* True where offset is that of a register. */
static bool decode(const struct vmm_serial *s, uint64_t offset, unsigned int *ret_reg)
{
	unsigned int shift = s->config.register_shift;

	if (!IS_ALIGNED(offset, UINT64_C(1) << shift))
		return false;
	*ret_reg = (unsigned int)(offset >> shift);
	return true;
}

static void leave(struct vmm_serial *s)
{
	bool ready;

	refill(s);
	update_irq(s);
	ready = take_ready(s);
	pthread_mutex_unlock(&s->lock);
	if (ready && s->config.ops && s->config.ops->receive_ready)
		s->config.ops->receive_ready(s->config.userdata);
}

static void serial_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_serial *s = userdata;
	unsigned int reg;
	uint8_t value;

	if (!decode(s, offset, &reg))
		return;
	pthread_mutex_lock(&s->lock);
	value = read_locked(s, reg);
	leave(s);
	memcpy(data, &value, 1);
}

static void serial_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_serial *s = userdata;
	unsigned int reg;
	uint8_t value;

	if (!decode(s, offset, &reg))
		return;
	memcpy(&value, data, 1);
	pthread_mutex_lock(&s->lock);
	write_locked(s, reg, value);
	leave(s);
}

static const struct vmm_bus_ops bus_ops = {
	.read = serial_read,
	.write = serial_write,
};

int vmm_serial_new(const struct vmm_serial_config *config, struct vmm_serial **ret_serial)
{
	struct vmm_bus_range range;
	struct vmm_serial *s;
	int r;

	if (!config->bus || config->register_shift > 3)
		return -EINVAL;
	s = malloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	/* Not the queue: its pages cost nothing until there is input. */
	memset(s, 0, offsetof(struct vmm_serial, queue));
	s->config = *config;
	s->divisor[0] = 1; /* 115200 baud */
	s->msr = MSR_CTS | MSR_DSR | MSR_DCD;
	pthread_mutex_init(&s->lock, NULL);

	range = (struct vmm_bus_range){
		.base = config->base,
		.size = (uint64_t)N_REGS << config->register_shift,
		.ops = &bus_ops,
		.userdata = s,
	};
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		pthread_mutex_destroy(&s->lock);
		free(s);
		return r;
	}
	*ret_serial = s;
	return 0;
}

struct vmm_serial *vmm_serial_free(struct vmm_serial *s)
{
	if (!s)
		return NULL;
	vmm_bus_remove(s->config.bus, s->config.base);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

static void queue_push(struct vmm_serial *s, uint16_t element)
{
	s->queue[(s->queue_head + s->n_queue) % VMM_SERIAL_QUEUE_BYTES] = element;
	s->n_queue++;
}

size_t vmm_serial_receive(struct vmm_serial *s, const uint8_t *data, size_t n_bytes)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = MIN(n_bytes, (size_t)(VMM_SERIAL_QUEUE_BYTES - s->n_queue));
	for (size_t i = 0; i < n; i++)
		queue_push(s, data[i]);
	if (n < n_bytes)
		s->starved = true;
	refill(s);
	update_irq(s);
	pthread_mutex_unlock(&s->lock);
	return n;
}

size_t vmm_serial_receive_room(struct vmm_serial *s)
{
	size_t n;

	pthread_mutex_lock(&s->lock);
	n = VMM_SERIAL_QUEUE_BYTES - s->n_queue;
	if (n == 0)
		s->starved = true;
	pthread_mutex_unlock(&s->lock);
	return n;
}

int vmm_serial_receive_break(struct vmm_serial *s)
{
	int r = -EAGAIN;

	pthread_mutex_lock(&s->lock);
	if (s->n_queue < VMM_SERIAL_QUEUE_BYTES) {
		queue_push(s, ELEMENT_BREAK);
		refill(s);
		update_irq(s);
		r = 0;
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}
