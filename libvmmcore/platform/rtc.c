/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * platform: the CMOS clock, an MC146818A (Motorola data sheet) with the century at 0x32 and
 * the rest of its 128 bytes as memory.
 *
 * While it runs, the clock is no more than an offset to the host's: the time registers are made
 * when they are read. While the guest holds it (SET, or its divider in reset) they are what the
 * guest wrote; when it lets go, they become a new offset. Time is in microseconds, in which any
 * date that registers can hold fits.
 */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include <vmmcore/platform.h>

#include "base/util.h"

enum {
	REG_SECONDS = 0x00,
	REG_MINUTES = 0x02,
	REG_HOURS = 0x04,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = VMM_RTC_CENTURY_REGISTER,
	N_REGS = 128,

	A_UIP = 0x80,
	A_DIVIDER = 0x70,
	A_DIVIDER_RESET = 0x60, /* 0x60 and 0x70 */
	A_DEFAULT = 0x26,       /* 32768 Hz */

	B_SET = 0x80,
	B_BINARY = 0x04,
	B_24H = 0x02,

	D_VALID = 0x80,

	HOURS_PM = 0x80,

	/* The update takes place this long after UIP is shown, at the earliest. */
	UIP_USEC = 244,
	/* The first update after the divider was in reset. */
	AFTER_RESET_USEC = 500000,
};

#define USEC_PER_SEC INT64_C(1000000)
#define SEC_PER_DAY INT64_C(86400)

struct vmm_rtc {
	struct vmm_rtc_config config;

	pthread_mutex_t lock; /* of all below */
	uint8_t index;
	uint8_t regs[N_REGS];
	int64_t offset_usec; /* of the guest's clock to the host's, while it runs */
};

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t host_usec(const struct vmm_rtc *rtc)
{
	struct timespec now;

	if (rtc->config.ops && rtc->config.ops->now_nsec)
		return floor_div(rtc->config.ops->now_nsec(rtc->config.userdata), 1000);
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * USEC_PER_SEC + now.tv_nsec / 1000;
}

static bool halted(const struct vmm_rtc *rtc)
{
	return (rtc->regs[REG_B] & B_SET) || (rtc->regs[REG_A] & A_DIVIDER) >= A_DIVIDER_RESET;
}

static uint8_t encode(const struct vmm_rtc *rtc, unsigned int value)
{
	if (rtc->regs[REG_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static unsigned int decode(const struct vmm_rtc *rtc, uint8_t value)
{
	if (rtc->regs[REG_B] & B_BINARY)
		return value;
	return (value >> 4) * 10U + (value & 0x0f);
}

/* Days before March 1 of this year, since March 1 of year 0, in the Gregorian calendar. */
static int64_t days_before_year(int64_t year)
{
	return year * 365 + floor_div(year, 4) - floor_div(year, 100) + floor_div(year, 400);
}

/* Years begin in March here: then the leap day is the last of its year. Month 0 is March. */
static unsigned int days_before_month(unsigned int month)
{
	return (month * 153 + 2) / 5;
}

enum { DAYS_TO_1970 = 719468 }; /* from March 1 of year 0 */

/* month: 1 to 12, or any other; day: from 1, or any other. */
static int64_t days_since_1970(int64_t year, int64_t month, int64_t day)
{
	int64_t march_month = month - 3;

	year += floor_div(march_month, 12);
	march_month -= floor_div(march_month, 12) * 12;
	return days_before_year(year) + days_before_month((unsigned int)march_month) + day - 1 -
	       DAYS_TO_1970;
}

static void regs_from_time(struct vmm_rtc *rtc, int64_t usec)
{
	int64_t seconds = floor_div(usec, USEC_PER_SEC);
	int64_t days = floor_div(seconds, SEC_PER_DAY);
	unsigned int of_day = (unsigned int)(seconds - days * SEC_PER_DAY);
	unsigned int hours = of_day / 3600, day_of_year, month = 11;
	int64_t from_march = days + DAYS_TO_1970, year, century;

	/* By the mean length of a year: never too small, and too large by two at most. */
	year = floor_div(from_march * 400, 146097) + 1;
	while (days_before_year(year) > from_march)
		year--;
	day_of_year = (unsigned int)(from_march - days_before_year(year));
	while (days_before_month(month) > day_of_year)
		month--;
	rtc->regs[REG_DAY] = encode(rtc, day_of_year - days_before_month(month) + 1);
	month = month < 10 ? month + 3 : month - 9;
	if (month <= 2)
		year++;
	rtc->regs[REG_MONTH] = encode(rtc, month);
	rtc->regs[REG_YEAR] = encode(rtc, (unsigned int)(year - floor_div(year, 100) * 100));
	century = floor_div(year, 100);
	rtc->regs[REG_CENTURY] =
		encode(rtc, (unsigned int)(century - floor_div(century, 100) * 100));

	/* January 1, 1970 was a Thursday; Sunday is 1. */
	rtc->regs[REG_WEEKDAY] =
		encode(rtc, (unsigned int)(days + 4 - floor_div(days + 4, 7) * 7) + 1);
	rtc->regs[REG_SECONDS] = encode(rtc, of_day % 60);
	rtc->regs[REG_MINUTES] = encode(rtc, of_day / 60 % 60);
	if (rtc->regs[REG_B] & B_24H)
		rtc->regs[REG_HOURS] = encode(rtc, hours);
	else
		rtc->regs[REG_HOURS] =
			encode(rtc, hours % 12 ? hours % 12 : 12) | (hours >= 12 ? HOURS_PM : 0);
}

/* Of what the guest wrote, whatever it is. Nothing here overflows: each register is a byte. */
static int64_t regs_to_time(const struct vmm_rtc *rtc)
{
	int64_t year = decode(rtc, rtc->regs[REG_CENTURY]) * INT64_C(100) +
		       decode(rtc, rtc->regs[REG_YEAR]);
	int64_t days = days_since_1970(
		year, decode(rtc, rtc->regs[REG_MONTH]), decode(rtc, rtc->regs[REG_DAY]));
	uint8_t raw = rtc->regs[REG_HOURS];
	int64_t hours = decode(rtc, raw);

	if (!(rtc->regs[REG_B] & B_24H))
		hours = decode(rtc, raw & (uint8_t)~HOURS_PM) % 12 + (raw & HOURS_PM ? 12 : 0);
	return (days * SEC_PER_DAY + hours * 3600 + decode(rtc, rtc->regs[REG_MINUTES]) * 60 +
		       decode(rtc, rtc->regs[REG_SECONDS])) *
	       USEC_PER_SEC;
}

static bool is_time(unsigned int reg)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t reg_read(struct vmm_rtc *rtc, unsigned int reg)
{
	int64_t now;

	if (halted(rtc) || (reg != REG_A && !is_time(reg)))
		return rtc->regs[reg];
	now = host_usec(rtc) + rtc->offset_usec;
	if (reg == REG_A) {
		int64_t phase = now - floor_div(now, USEC_PER_SEC) * USEC_PER_SEC;

		return rtc->regs[REG_A] | (phase >= USEC_PER_SEC - UIP_USEC ? A_UIP : 0);
	}
	regs_from_time(rtc, now);
	return rtc->regs[reg];
}

static void control_write(struct vmm_rtc *rtc, unsigned int reg, uint8_t value)
{
	bool was_halted = halted(rtc);
	bool was_reset = (rtc->regs[REG_A] & A_DIVIDER) >= A_DIVIDER_RESET;
	int64_t host = host_usec(rtc);

	/* The registers stand still in the format in which the guest will go on to see them. */
	if (!was_halted) {
		if (reg == REG_B)
			rtc->regs[REG_B] = value;
		regs_from_time(rtc, host + rtc->offset_usec);
	}
	rtc->regs[reg] = reg == REG_A ? value & (uint8_t)~A_UIP : value;
	if (was_halted && !halted(rtc))
		rtc->offset_usec = regs_to_time(rtc) + (was_reset ? AFTER_RESET_USEC : 0) - host;
}

static void reg_write(struct vmm_rtc *rtc, unsigned int reg, uint8_t value)
{
	switch (reg) {
	case REG_A:
	case REG_B:
		control_write(rtc, reg, value);
		return;
	case REG_C:
	case REG_D:
		return;
	default:
		break;
	}
	if (is_time(reg) && !halted(rtc)) {
		int64_t host = host_usec(rtc), now = host + rtc->offset_usec;
		int64_t phase = now - floor_div(now, USEC_PER_SEC) * USEC_PER_SEC;

		regs_from_time(rtc, now);
		rtc->regs[reg] = value;
		rtc->offset_usec = regs_to_time(rtc) + phase - host;
		return;
	}
	rtc->regs[reg] = value;
}

static void rtc_read(void *userdata, uint64_t offset, void *data, size_t length)
{
	struct vmm_rtc *rtc = userdata;
	uint8_t value;

	if (offset == 0)
		return; /* the index is write-only: all ones */
	pthread_mutex_lock(&rtc->lock);
	value = reg_read(rtc, rtc->index);
	pthread_mutex_unlock(&rtc->lock);
	memcpy(data, &value, 1);
}

static void rtc_write(void *userdata, uint64_t offset, const void *data, size_t length)
{
	struct vmm_rtc *rtc = userdata;
	uint8_t value;

	memcpy(&value, data, 1);
	pthread_mutex_lock(&rtc->lock);
	if (offset == 0)
		rtc->index = value % N_REGS; /* the top bit masks NMIs, of which there are none */
	else
		reg_write(rtc, rtc->index, value);
	pthread_mutex_unlock(&rtc->lock);
}

static const struct vmm_bus_ops bus_ops = {
	.read = rtc_read,
	.write = rtc_write,
};

int vmm_rtc_new(const struct vmm_rtc_config *config, struct vmm_rtc **ret_rtc)
{
	struct vmm_bus_range range;
	struct vmm_rtc *rtc;
	int r;

	if (!config->bus)
		return -EINVAL;
	rtc = malloc(sizeof(*rtc));
	if (!rtc)
		return -ENOMEM;
	*rtc = (struct vmm_rtc){
		.config = *config,
		.regs[REG_A] = A_DEFAULT,
		.regs[REG_B] = B_24H,
		.regs[REG_D] = D_VALID,
	};
	pthread_mutex_init(&rtc->lock, NULL);
	range = (struct vmm_bus_range){
		.base = VMM_RTC_PORT,
		.size = 2,
		.ops = &bus_ops,
		.userdata = rtc,
	};
	r = vmm_bus_add(config->bus, &range);
	if (r < 0) {
		pthread_mutex_destroy(&rtc->lock);
		free(rtc);
		return r;
	}
	*ret_rtc = rtc;
	return 0;
}

struct vmm_rtc *vmm_rtc_free(struct vmm_rtc *rtc)
{
	if (!rtc)
		return NULL;
	vmm_bus_remove(rtc->config.bus, VMM_RTC_PORT);
	pthread_mutex_destroy(&rtc->lock);
	free(rtc);
	return NULL;
}
