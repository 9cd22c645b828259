/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * virtqueue: the device's side of a virtqueue (VIRTIO 1.2, 2.6 to 2.8): split and packed rings
 * behind one interface, indirect descriptors, event indexes.
 *
 * A queue is frozen when it is activated: one object of pointers into guest memory with the size
 * and features that were checked then. What the guest writes to its registers afterwards
 * changes nothing. Each descriptor is copied once, the copy is checked, and only the copy used.
 *
 * A guest that breaks the rules of the ring breaks its queue: the call gives -VMM_EGUEST, and so
 * does each later pop until the queue is activated again. vmm_virtqueue_fault() says why.
 *
 * The usual way to serve a queue; budget bounds what one guest can cost its neighbours:
 *
 *	do {
 *		vmm_virtqueue_disable_notifications(queue);
 *		while (budget-- > 0 && (r = vmm_virtqueue_pop(queue, iov, n_iov, &chain)) > 0) {
 *			... use chain.readable and chain.writable ...
 *			vmm_virtqueue_push(queue, &chain, n_written);
 *		}
 *	} while (r == 0 && vmm_virtqueue_enable_notifications(queue));
 *	if (vmm_virtqueue_should_notify(queue))
 *		... interrupt ...
 *
 * Hostile inputs and what happens:
 *
 *   | input                                              | result                           |
 *   |----------------------------------------------------|----------------------------------|
 *   | size 0, above the limit, no power of two (split)   | activate: -VMM_EGUEST            |
 *   | ring outside memory, misaligned, read-only, across |                                  |
 *   |   two regions, or wrapping around 2^64             | activate: -VMM_EGUEST            |
 *   | available index more than size ahead               | pop: broken                      |
 *   | more chains in flight than the queue has entries   | pop: broken                      |
 *   | head or next not below the size                    | pop: broken                      |
 *   | chain that loops or is longer than the queue size  | pop: broken                      |
 *   |   (a table: than that and max_indirect)            |                                  |
 *   | readable descriptor after a writable one           | pop: broken                      |
 *   | buffer outside memory, wrapping, or writable in    |                                  |
 *   |   read-only memory                                 | pop: broken                      |
 *   | more than 2^32 bytes in one chain                  | pop: broken                      |
 *   | indirect: not negotiated, nested, together with    |                                  |
 *   |   NEXT, empty, or of a length not divisible by 16  | pop: broken                      |
 *   | descriptor of length 0                             | no iovec, no fault               |
 *   | buffer across two memory regions                   | more than one iovec              |
 *   | same head offered twice                            | two chains: do not index by id   |
 *   | descriptors changed after the pop                  | no effect                        |
 *   | event index anywhere                               | an interrupt more or less        |
 *
 * Nothing is allocated after vmm_virtqueue_new().
 *
 * Threads: a queue belongs to one thread at a time. The functions on chains and iovecs touch no
 * queue. Memory regions may not be removed between activation and deactivation unless the
 * queue's thread is held away and vmm_virtqueue_forget_memory() follows.
 */
#ifndef VMMCORE_VIRTQUEUE_H
#define VMMCORE_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include <vmmcore/base.h>
#include <vmmcore/mem.h>

VMM_BEGIN_DECLS

#define VMM_VIRTQUEUE_MAX_SIZE 32768

/* The feature bits that change a ring (VIRTIO 1.2, 6). Others in a mask are ignored. */
#define VMM_VIRTIO_F_INDIRECT_DESC (UINT64_C(1) << 28)
#define VMM_VIRTIO_F_EVENT_IDX (UINT64_C(1) << 29)
#define VMM_VIRTIO_F_RING_PACKED (UINT64_C(1) << 34)
#define VMM_VIRTIO_F_IN_ORDER (UINT64_C(1) << 35)

struct vmm_virtqueue;

/* What a driver says about a queue. Nothing of it needs to have been checked. */
struct vmm_virtqueue_config {
	uint32_t size;       /* entries, 1 to VMM_VIRTQUEUE_MAX_SIZE */
	uint64_t desc_gpa;   /* descriptor table, or descriptor ring (packed) */
	uint64_t driver_gpa; /* available ring, or driver event suppression */
	uint64_t device_gpa; /* used ring, or device event suppression */
	uint64_t features;   /* negotiated */
	/*
	 * Longest indirect table that is taken where that is more than size: 0 to
	 * VMM_VIRTQUEUE_MAX_SIZE. For who tells drivers how many pieces a request may have and
	 * does not choose the size: drivers there are go by the former alone.
	 */
	uint32_t max_indirect;
};

/*
 * Where a queue stands, in the form that vhost and saved state use. Split: the free-running
 * indexes. Packed: the ring offset in bits 0 to 14 and the wrap counter in bit 15.
 */
struct vmm_virtqueue_state {
	uint16_t avail;
	uint16_t used;
};

/*
 * One buffer that the driver made available. The iovecs lie in the caller's storage: first what
 * the device may read, then what it may write. Only the kernel and the functions below may be
 * given them: what they point to may change at any time.
 */
struct vmm_virtqueue_chain {
	struct iovec *readable; /* n_readable entries */
	struct iovec *writable; /* n_writable entries, behind those in the same storage */
	uint32_t n_readable;
	uint32_t n_writable;
	uint64_t readable_bytes; /* both together at most 2^32 */
	uint64_t writable_bytes;
	uint16_t id;            /* the driver's name for it: not unique if the driver is hostile */
	uint16_t n_descriptors; /* entries of the ring that it takes up, 1 or more */
};

/* mem is borrowed and outlives the queue. The queue is not active. -ENOMEM. */
VMM_PUBLIC int vmm_virtqueue_new(struct vmm_mem *mem, struct vmm_virtqueue **ret_queue);

/* Takes NULL. Returns NULL. */
VMM_PUBLIC struct vmm_virtqueue *vmm_virtqueue_free(struct vmm_virtqueue *queue);

/*
 * Checks and freezes *config. state: where to go on, NULL for the start of a fresh ring.
 * 0, or -VMM_EGUEST and the queue is not active. An active queue is deactivated first.
 */
VMM_PUBLIC int vmm_virtqueue_activate(struct vmm_virtqueue *queue,
	const struct vmm_virtqueue_config *config, const struct vmm_virtqueue_state *state);

/* Forgets all pointers: chains popped before may be pushed no more. No effect if not active. */
VMM_PUBLIC void vmm_virtqueue_deactivate(struct vmm_virtqueue *queue);
VMM_PUBLIC bool vmm_virtqueue_is_active(const struct vmm_virtqueue *queue);

/* 0 while not active. */
VMM_PUBLIC uint32_t vmm_virtqueue_size(const struct vmm_virtqueue *queue);

/* Breaks an active queue, as a guest fault does. reason: static text. */
VMM_PUBLIC void vmm_virtqueue_break(struct vmm_virtqueue *queue, const char *reason);

/* Static text that says what broke the queue or why it could not be activated, or NULL. */
VMM_PUBLIC const char *vmm_virtqueue_fault(const struct vmm_virtqueue *queue);

/*
 * Takes the next buffer. iov is the caller's storage of n_iov entries; size + 16 are enough for
 * any chain that does not cross memory regions more often than that. Returns
 *
 *   1             *ret_chain is filled
 *   0             nothing is available, or the queue is not active
 *   -ENOBUFS      the chain needs more than n_iov entries; it is not taken. Try with more, or
 *                 vmm_virtqueue_break() where the device had announced its limit
 *   -VMM_EGUEST   the queue is broken
 *
 * At most size chains are in flight (popped and not pushed): a device can allocate by that.
 */
VMM_PUBLIC int vmm_virtqueue_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain);

/*
 * Gives the chain popped last back as if it had not been popped; with several, in reverse order
 * and before anything else is popped. Not after it was pushed.
 */
VMM_PUBLIC void vmm_virtqueue_undo_pop(
	struct vmm_virtqueue *queue, const struct vmm_virtqueue_chain *chain);

/* True where nothing is available now. Reads the ring. */
VMM_PUBLIC bool vmm_virtqueue_is_empty(struct vmm_virtqueue *queue);

/* Popped and not yet given back. */
VMM_PUBLIC uint32_t vmm_virtqueue_n_in_flight(const struct vmm_virtqueue *queue);

/*
 * Returns a chain to the driver; written_bytes: how much of its writable part was written, from
 * the start. Only id and n_descriptors of *chain are used, so a device that completes out of
 * order keeps those (or the whole structure). push makes it visible at once. fill keeps it
 * back until flush: the driver then sees all that was filled together. A chain of a queue that
 * was deactivated since is dropped.
 */
VMM_PUBLIC void vmm_virtqueue_push(struct vmm_virtqueue *queue,
	const struct vmm_virtqueue_chain *chain, uint32_t written_bytes);
VMM_PUBLIC void vmm_virtqueue_fill(struct vmm_virtqueue *queue,
	const struct vmm_virtqueue_chain *chain, uint32_t written_bytes);
VMM_PUBLIC void vmm_virtqueue_flush(struct vmm_virtqueue *queue);

/*
 * After push or flush: whether the driver wants an interrupt for what became visible since the
 * last call. Each true must be followed by an interrupt.
 */
VMM_PUBLIC bool vmm_virtqueue_should_notify(struct vmm_virtqueue *queue);

/*
 * Asks the driver to kick, or not to. enable returns true where buffers came in the meantime:
 * the caller must look again, no kick will come for those. A fresh queue is enabled.
 */
VMM_PUBLIC void vmm_virtqueue_disable_notifications(struct vmm_virtqueue *queue);
VMM_PUBLIC bool vmm_virtqueue_enable_notifications(struct vmm_virtqueue *queue);

/* Where the queue stands. With nothing in flight, activate() can go on from there. */
VMM_PUBLIC struct vmm_virtqueue_state vmm_virtqueue_get_state(const struct vmm_virtqueue *queue);

/* To be called after memory regions changed, in the queue's thread. 0 or -VMM_EGUEST: broken. */
VMM_PUBLIC int vmm_virtqueue_forget_memory(struct vmm_virtqueue *queue);

/*
 * Copies out of the readable part or into the writable part of a chain, from offset on. Returns
 * the number of bytes copied, which is less than size where the part ends. Read each byte once:
 * a second read may see something else.
 */
VMM_PUBLIC size_t vmm_virtqueue_chain_read(
	const struct vmm_virtqueue_chain *chain, uint64_t offset, void *data, size_t size);
VMM_PUBLIC size_t vmm_virtqueue_chain_write(
	const struct vmm_virtqueue_chain *chain, uint64_t offset, const void *data, size_t size);

/*
 * The part [offset, offset + length) of n_iov iovecs, as iovecs for the kernel. out may be iov
 * itself. Returns the number of entries, -ENOBUFS where n_out are too few, -ERANGE where the
 * iovecs end before.
 */
VMM_PUBLIC int vmm_virtqueue_slice(const struct iovec *iov, size_t n_iov, uint64_t offset,
	uint64_t length, struct iovec *out, size_t n_out);

VMM_END_DECLS

#endif
