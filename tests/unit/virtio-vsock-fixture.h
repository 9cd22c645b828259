/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtio-vsock share: the device in its loop, a driver, ends of connections. */
#ifndef VMM_TESTS_VIRTIO_VSOCK_FIXTURE_H
#define VMM_TESTS_VIRTIO_VSOCK_FIXTURE_H

#include "base/util.h"
#include "lib/driver.h"
#include "unit.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <vmmcore/virtio-vsock.h>

#define RECEIVE 0
#define TRANSMIT 1
#define GUEST_CID 42
#define F_STREAM (UINT64_C(1) << 0)
#define F_SEQPACKET (UINT64_C(1) << 1)
#define BUFFER_BYTES 65536
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE, CREDIT_REQUEST };

/* Receive buffers of 4 KiB and a header each; transmit packets lie elsewhere. */
#define RX_GPA DRIVER_DATA_GPA

#define RX_BYTES (4096 + 44)
#define RX_STRIDE UINT64_C(8192)
#define N_RX 64
#define TX_GPA (DRIVER_DATA_GPA + (UINT64_C(4) << 20))

struct header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

extern struct driver driver;
extern struct vmm_virtio_vsock *vsock;

/* What connect() does: the host's end of each connection, in order. */
extern int host_fds[8192];

extern unsigned int n_host_fds;
extern bool refusing, pending;
extern uint64_t pending_id;
extern int socket_type;
extern uint32_t buffer_bytes;
void give_buffer(void);
void start_driver(unsigned int n_buffers);
void begin(unsigned int n_buffers);
void setup(void);
void stop_loop(void);
void resume_loop(void);
void teardown(void);
struct vmm_virtio_vsock_status status(void);
struct header packet(uint32_t guest_port, uint32_t host_port, uint16_t op);

/* Sends a packet with len bytes of payload that is seed, seed + 1... */
void send_packet(const struct header *header, uint8_t seed);

void send_op(uint32_t guest_port, uint32_t host_port, uint16_t op, uint32_t flags);
extern unsigned int first_used;

/* The next packet for the guest. Its buffer is given back. */
struct header receive_packet(const uint8_t **ret_data);

struct header expect_op(uint32_t guest_port, uint32_t host_port, uint16_t op);
bool is_used(unsigned int queue);
void expect_nothing(void);

/* Returns the host's end. */
int establish(uint32_t guest_port, uint32_t host_port);

void begin_fully(void);

/* A mux at an address of this process, and connections to it. */
struct vmm_vsock_mux *mux_begin(void);
int mux_connect(void);
void mux_end(struct vmm_vsock_mux *mux);

/* virtio-vsock-many.c */
void add_many_tests(TCase *tcase);

/* virtio-vsock-wide.c */
void add_wide_tests(TCase *tcase);

/* virtio-vsock-hostile.c */
void add_hostile_tests(TCase *tcase);

#endif
