/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */
/* What the tests of virtio-net share: the device in its loop, a cable, a driver. */
#ifndef VMM_TESTS_VIRTIO_NET_FIXTURE_H
#define VMM_TESTS_VIRTIO_NET_FIXTURE_H

#include "base/util.h"
#include "examples/loopback.h"
#include "lib/driver.h"
#include "unit.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmmcore/virtio-net.h>

#define RECEIVE 0
#define TRANSMIT 1
#define CONTROL 2
#define F_CSUM (UINT64_C(1) << 0)
#define F_MRG_RXBUF (UINT64_C(1) << 15)
#define F_STATUS (UINT64_C(1) << 16)
#define F_CTRL_VQ (UINT64_C(1) << 17)
#define F_GUEST_ANNOUNCE (UINT64_C(1) << 21)
#define F_MQ (UINT64_C(1) << 22)
#define F_CTRL_MAC_ADDR (UINT64_C(1) << 23)
#define F_USUAL (F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_MAC_ADDR | F_GUEST_ANNOUNCE)
#define HEADER VMM_NET_HEADER_BYTES
#define TX_GPA DRIVER_DATA_GPA
#define RX_GPA (DRIVER_DATA_GPA + (UINT64_C(1) << 20))
#define CTRL_GPA (DRIVER_DATA_GPA - 8192)
extern const uint8_t mac[6];
extern struct driver driver;
extern struct vmm_loop *loop;
extern struct loopback *cable;
extern struct vmm_virtio_net *net;
extern pthread_t loop_thread;
extern bool loop_runs;
struct vmm_virtio_net_config base_config(struct vmm_net_backend backend);
void begin(const struct vmm_virtio_net_config *config, uint64_t features);
void begin_loopback(uint64_t features);
void setup(void);
void teardown(void);

/* virtio-net-batches.c */
void add_batch_tests(TCase *tcase);

struct vmm_virtio_net_status status(void);
void read_config(uint8_t config[12]);
void give_buffers(unsigned int n, uint32_t size);

/* A frame of size bytes behind a header of zeroes, in two pieces. */
void transmit(uint32_t size, uint8_t seed);

/* A frame of size bytes in used buffers of buffer_size each, the first being buffer number n. */
void expect(uint32_t size, uint8_t seed, uint32_t buffer_size, unsigned int n);

#endif
