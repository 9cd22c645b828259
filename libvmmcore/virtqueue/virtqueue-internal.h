/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/*
 * What the two ring formats share: the layouts in guest memory (VIRTIO 1.2, 2.7 and 2.8), the
 * frozen queue, ordered accesses, and the step from a guest address to an iovec.
 */
#ifndef VMM_VIRTQUEUE_INTERNAL_H
#define VMM_VIRTQUEUE_INTERNAL_H

#include <vmmcore/virtqueue.h>

#include "base/util.h"

#define DESC_F_NEXT 1
#define DESC_F_WRITE 2
#define DESC_F_INDIRECT 4
#define DESC_F_AVAIL (1 << 7) /* packed */
#define DESC_F_USED (1 << 15) /* packed */

/* Flags of the available and the used ring (split). */
#define AVAIL_F_NO_INTERRUPT 1
#define USED_F_NO_NOTIFY 1

/* Flags of the event suppression structures (packed). */
#define EVENT_F_ENABLE 0
#define EVENT_F_DISABLE 1
#define EVENT_F_DESC 2
#define WRAP_BIT 0x8000

#define CHAIN_MAX_BYTES (UINT64_C(1) << 32)

struct split_desc {
	struct vmm_le64 addr;
	struct vmm_le32 len;
	struct vmm_le16 flags;
	struct vmm_le16 next;
};
static_assert(sizeof(struct split_desc) == 16, "VIRTIO 1.2, 2.7.5");

struct split_avail {
	struct vmm_le16 flags;
	struct vmm_le16 idx;
	struct vmm_le16 ring[]; /* size, then the used event */
};

struct split_used_elem {
	struct vmm_le32 id;
	struct vmm_le32 len;
};

struct split_used {
	struct vmm_le16 flags;
	struct vmm_le16 idx;
	struct split_used_elem ring[]; /* size, then the available event */
};
static_assert(offsetof(struct split_used, ring) == 4, "VIRTIO 1.2, 2.7.8");

struct packed_desc {
	struct vmm_le64 addr;
	struct vmm_le32 len;
	struct vmm_le16 id;
	struct vmm_le16 flags;
};
static_assert(sizeof(struct packed_desc) == 16, "VIRTIO 1.2, 2.8.13");

struct packed_event {
	struct vmm_le16 off_wrap;
	struct vmm_le16 flags;
};
static_assert(sizeof(struct packed_event) == 4, "VIRTIO 1.2, 2.8.14");

/* A memory region that was used lately, not a read-only one. size 0: none. */
struct region_cache {
	uint64_t gpa;
	uint64_t size_bytes;
	uint8_t *host;
};

enum mode {
	MODE_INACTIVE,
	MODE_SPLIT,
	MODE_PACKED,
	MODE_BROKEN, /* active, but a guest fault stopped it */
};

struct vmm_virtqueue {
	enum mode mode;
	bool packed; /* also while broken */
	bool event_idx;
	bool indirect;
	bool avail_wrap; /* packed */
	bool used_wrap;  /* packed */
	bool fill_wrap;  /* packed: of the next entry to fill */
	uint32_t size;
	uint32_t max_indirect;   /* entries of a table, not below size */
	uint16_t next_avail;     /* split: free running; packed: ring offset */
	uint16_t next_used;      /* the same, of what was made visible */
	uint16_t avail_idx;      /* split: the driver's index as last seen */
	uint16_t next_fill;      /* packed: where the next used entry goes */
	uint16_t first_flags;    /* packed: flags of the first entry filled, held back */
	uint32_t n_filled;       /* chains filled and not yet visible */
	uint32_t n_filled_slots; /* packed: ring entries of those */
	uint32_t n_unsignalled;  /* ring entries made visible since the last should_notify */
	uint32_t n_in_flight;
	uint32_t n_in_flight_slots; /* packed: ring entries of those */
	union {
		struct {
			struct split_desc *desc;
			struct split_avail *avail;
			struct split_used *used;
		} split;
		struct {
			struct packed_desc *ring;
			struct packed_event *driver;
			struct packed_event *device;
		} pack;
	};
	struct region_cache regions[2]; /* the one used last first */
	const char *fault;
	struct vmm_mem *mem; /* borrowed */
	struct vmm_virtqueue_config config;
};

/*
 * Accesses to rings. The driver is another CPU that runs code we do not trust: each load is one
 * load of the compiler's making, never repeated.
 */
static inline uint16_t ring_load(const struct vmm_le16 *field)
{
	return __atomic_load_n(&field->v, __ATOMIC_RELAXED);
}

/* Pairs with the driver's write barrier between filling a ring and publishing the index. */
static inline uint16_t ring_load_acquire(const struct vmm_le16 *field)
{
	return __atomic_load_n(&field->v, __ATOMIC_ACQUIRE);
}

static inline void ring_store(struct vmm_le16 *field, uint16_t value)
{
	__atomic_store_n(&field->v, value, __ATOMIC_RELAXED);
}

/* Pairs with the driver's read barrier between the used index (or flags) and the entry. */
static inline void ring_store_release(struct vmm_le16 *field, uint16_t value)
{
	__atomic_store_n(&field->v, value, __ATOMIC_RELEASE);
}

/*
 * Orders our store (an index, an event) before our load of what the other side stores (an event,
 * an index). The driver has the same fence the other way round, so that at least one of the two
 * sees the other's store: no wake-up is lost.
 */
static inline void ring_fence(void)
{
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
	/* GCC's ThreadSanitizer knows no fences and says so. What it watches is atomic anyhow. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#pragma GCC diagnostic pop
#else
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/*
 * A descriptor of either format as copied. third and fourth: flags and next (split), id and
 * flags (packed).
 */
struct desc_copy {
	uint64_t addr;
	uint32_t len;
	uint16_t third;
	uint16_t fourth;
};
static_assert(sizeof(struct desc_copy) == 16, "the same layout as both descriptors");

/* desc is aligned to 8. Two loads, each of its half once. */
static inline struct desc_copy desc_load(const void *desc)
{
	const uint64_t *words = desc;
	uint64_t low = __atomic_load_n(&words[0], __ATOMIC_RELAXED);
	uint64_t high = __atomic_load_n(&words[1], __ATOMIC_RELAXED);

	return (struct desc_copy){
		.addr = low,
		.len = (uint32_t)high,
		.third = (uint16_t)(high >> 32),
		.fourth = (uint16_t)(high >> 48),
	};
}

/*
 * The same, the flags first. Pairs with the driver's write barrier between all other parts of a
 * chain and the flags of its first descriptor (2.8.20), which are a store of two bytes.
 */
static inline struct desc_copy desc_load_acquire(const struct packed_desc *desc)
{
	uint16_t flags = ring_load_acquire(&desc->flags);

	return (struct desc_copy){
		.addr = __atomic_load_n(&desc->addr.v, __ATOMIC_RELAXED),
		.len = __atomic_load_n(&desc->len.v, __ATOMIC_RELAXED),
		.third = __atomic_load_n(&desc->id.v, __ATOMIC_RELAXED),
		.fourth = flags,
	};
}

/* Breaks the queue. Returns -VMM_EGUEST. */
int virtqueue_fault(struct vmm_virtqueue *queue, const char *reason);

/*
 * The chain being collected. Its address goes to functions that are inlined only, so that it
 * lives in registers: see the figures of tests/perf/virtqueue.c.
 */
struct walk {
	struct iovec *start;
	struct iovec *at; /* the next one to fill */
	struct iovec *end;
	struct iovec *first_writable; /* NULL: all readable so far */
	uint64_t bytes;
	uint64_t readable_bytes; /* where first_writable is set */
	uint32_t n_walked;       /* descriptors, of all tables */
};

#define ALWAYS_INLINE inline __attribute__((always_inline))
#define UNLIKELY(condition) __builtin_expect(condition, false)

static ALWAYS_INLINE struct walk walk_begin(struct iovec *iov, size_t n_iov)
{
	return (struct walk){ .start = iov, .at = iov, .end = iov + n_iov };
}

/*
 * What the region used last does not hold: looks the range up and fills iovecs. Returns their
 * number (0 for length 0), -ENOBUFS or -VMM_EGUEST.
 */
int virtqueue_map_slowly(struct vmm_virtqueue *queue, uint64_t gpa, uint32_t len, bool writing,
	struct iovec *iov, size_t n_iov);

/* True where a range of at least one byte lies in the region. */
static ALWAYS_INLINE bool region_has(
	const struct region_cache *region, uint64_t offset, uint64_t len)
{
	/* A gpa below the region gave an offset beyond its size, a length of 0 the largest one. */
	return offset < region->size_bytes && len - 1 < region->size_bytes - offset;
}

/* Adds the buffer of one descriptor. 0, -ENOBUFS or -VMM_EGUEST. */
static ALWAYS_INLINE int walk_add(
	struct vmm_virtqueue *queue, struct walk *walk, uint64_t gpa, uint32_t len, bool writing)
{
	const struct region_cache *region = &queue->regions[0];
	uint64_t offset = gpa - region->gpa;
	int r;

	if (writing && !walk->first_writable) {
		walk->first_writable = walk->at;
		walk->readable_bytes = walk->bytes;
	} else if (UNLIKELY(!writing && walk->first_writable)) {
		return virtqueue_fault(queue, "readable descriptor after a writable one");
	}
	walk->bytes += len;

	if (UNLIKELY(!region_has(region, offset, len)) || UNLIKELY(walk->at == walk->end)) {
		r = virtqueue_map_slowly(
			queue, gpa, len, writing, walk->at, (size_t)(walk->end - walk->at));
		if (r < 0)
			return r;
		walk->at += r;
		return 0;
	}
	*walk->at++ = (struct iovec){ .iov_base = region->host + offset, .iov_len = len };
	return 0;
}

/* Ends a walk: checks the sum and describes the chain, but for its id and number of entries. */
static ALWAYS_INLINE int walk_end(
	struct vmm_virtqueue *queue, const struct walk *walk, struct vmm_virtqueue_chain *chain)
{
	struct iovec *middle = walk->at;
	uint64_t readable_bytes = walk->bytes;

	/* At most 2^15 descriptors of less than 2^32 bytes: the sum has not wrapped. */
	if (UNLIKELY(walk->bytes > CHAIN_MAX_BYTES))
		return virtqueue_fault(queue, "chain of more than 2^32 bytes");
	if (walk->first_writable) {
		middle = walk->first_writable;
		readable_bytes = walk->readable_bytes;
	}
	chain->readable = walk->start;
	chain->writable = middle;
	chain->n_readable = (uint32_t)(middle - walk->start);
	chain->n_writable = (uint32_t)(walk->at - middle);
	chain->readable_bytes = readable_bytes;
	chain->writable_bytes = walk->bytes - readable_bytes;
	return 0;
}

/*
 * One buffer in the region used last, as in most network queues: a chain in a straight line,
 * without what a walk has to remember. False where it is not that simple.
 */
static ALWAYS_INLINE bool single(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	uint64_t gpa, uint32_t len, bool writing, struct vmm_virtqueue_chain *chain)
{
	const struct region_cache *region = &queue->regions[0];
	uint64_t offset = gpa - region->gpa;

	if (!region_has(region, offset, len) || n_iov == 0)
		return false;
	*iov = (struct iovec){ .iov_base = region->host + offset, .iov_len = len };
	chain->readable = iov;
	if (writing) {
		chain->writable = iov;
		chain->n_readable = 0;
		chain->n_writable = 1;
		chain->readable_bytes = 0;
		chain->writable_bytes = len;
	} else {
		chain->writable = iov + 1;
		chain->n_readable = 1;
		chain->n_writable = 0;
		chain->readable_bytes = len;
		chain->writable_bytes = 0;
	}
	chain->n_descriptors = 1;
	return true;
}

/*
 * An indirect table (2.7.5.3, 2.8.7), checked as a whole. host is NULL where the table crosses
 * regions or is not aligned; then each descriptor is read by itself.
 */
struct indirect_table {
	const uint8_t *host;
	uint64_t gpa;
	uint32_t n;
};

int virtqueue_indirect_table(
	struct vmm_virtqueue *queue, struct desc_copy desc, struct indirect_table *ret_table);
int virtqueue_indirect_read_slowly(struct vmm_virtqueue *queue, const struct indirect_table *table,
	uint32_t index, struct desc_copy *ret_desc);

/* Copies descriptor index of a table, which has it. */
static ALWAYS_INLINE int indirect_read(struct vmm_virtqueue *queue,
	const struct indirect_table *table, uint32_t index, struct desc_copy *ret_desc)
{
	if (__builtin_expect(table->host != NULL, true)) {
		*ret_desc = desc_load(table->host + (size_t)index * sizeof(struct split_desc));
		return 0;
	}
	return virtqueue_indirect_read_slowly(queue, table, index, ret_desc);
}

/* The driver asked for an event when index event is passed: was it, from old to new? 2.7.10 */
static inline bool event_passed(uint16_t event, uint16_t new_index, uint16_t old_index)
{
	return (uint16_t)(new_index - event - 1) < (uint16_t)(new_index - old_index);
}

int split_map(struct vmm_virtqueue *queue);
void split_start(struct vmm_virtqueue *queue, const struct vmm_virtqueue_state *state);
int split_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain);
bool split_is_empty(struct vmm_virtqueue *queue);
bool split_should_notify(struct vmm_virtqueue *queue, uint32_t n_new);
void split_set_notifications(struct vmm_virtqueue *queue, bool enable);

int packed_map(struct vmm_virtqueue *queue);
void packed_start(struct vmm_virtqueue *queue, const struct vmm_virtqueue_state *state);
int packed_pop(struct vmm_virtqueue *queue, struct iovec *iov, size_t n_iov,
	struct vmm_virtqueue_chain *ret_chain);
void packed_undo(struct vmm_virtqueue *queue, uint16_t n_slots);
void packed_fill(struct vmm_virtqueue *queue, uint16_t id, uint16_t n_slots, uint32_t len);
void packed_flush(struct vmm_virtqueue *queue);
bool packed_is_empty(struct vmm_virtqueue *queue);
bool packed_should_notify(struct vmm_virtqueue *queue, uint32_t n_new);
void packed_set_notifications(struct vmm_virtqueue *queue, bool enable);

#endif
