# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What vmmd and a worker say to each other."""

import struct

MAGIC = 0x646d6d76
PROTOCOL_VERSION, CONTROL_VERSION = 4, 3


def answer(kind, n_fds=0, first=0, status=0, text=b""):
    return struct.pack("<8I512s", MAGIC, PROTOCOL_VERSION, kind, 544, n_fds, first, status, 0, text)


def control(kind, payload=b"", ident=1, result=0):
    return struct.pack("<IIIIQiI", MAGIC, CONTROL_VERSION, kind, len(payload), ident, result, 0) + payload


# The members that fuzz-worker-input.c lists.
SPEC = """magic version size n_fds name flags description uuid memory_bytes huge_page_bytes n_cpus
transport ready ready_text uid gid kvm_fd kernel_fd initrd_fd control_fd command_line
console_ring_bytes log_lines_per_second vsock_cid vsock_vhost_fd vsock_listen_fd watchdog_action
vsock_receive_rate vsock_transmit_rate balloon_bytes hotplug_bytes rng_rate console_rate n_drives
n_networks drive.id drive.serial drive.reserved drive.fd drive.flags drive.cache drive.engine
drive.n_queues drive.queue_size drive.block_bytes drive.rate drive2 network.id network.mac
network.mtu network.n_taps network.tap_fds network.vhost_fds network.stream_fd network.queue_size
network.receive_rate network.transmit_rate network2 n_shares share.id share.fd share.queue_size
drive_backends""".split()


def spec_seeds():
    """A spec that is good, one with much in it, and one for each way to be bad."""
    def number(value):
        return struct.pack("<I", value)

    yield "good", []
    yield "full", [("command_line", 0, b"console=ttyS0"), ("n_cpus", 0, number(4)),
                   ("description", 0, b"a machine"), ("ready", 0, number(1)),
                   ("ready_text", 0, b"login:"), ("vsock_cid", 0, number(3)),
                   ("console_ring_bytes", 0, number(65536)), ("drive.queue_size", 0, number(64)),
                   ("drive.serial", 0, b"serial"), ("drive.block_bytes", 0, number(512))]
    # The drive's descriptor serves a share; the flags are those of shared memory, and of vhost-user.
    yield "share", [("flags", 0, number(4)), ("drive.fd", 0, number(3)),
                    ("network.n_taps", 0, number(0)), ("network.tap_fds", 0, number(0)),
                    ("n_networks", 0, number(0)), ("network.id", 0, bytes(32)),
                    ("n_shares", 0, number(1)), ("share.id", 0, b"home"),
                    ("share.fd", 0, number(4)), ("drive.flags", 0, number(8)),
                    ("drive_backends", 4, number(30000))]
    yield "stream", [("network.n_taps", 0, number(0)), ("network.tap_fds", 0, number(0)),
                     ("network.stream_fd", 0, number(4))]
    for member in ("magic", "version", "size", "n_fds", "flags", "memory_bytes", "huge_page_bytes",
                   "n_cpus", "transport", "ready", "uid", "gid", "kvm_fd", "kernel_fd", "initrd_fd",
                   "console_ring_bytes", "log_lines_per_second", "vsock_cid", "vsock_vhost_fd",
                   "watchdog_action", "vsock_receive_rate", "vsock_transmit_rate", "balloon_bytes",
                   "hotplug_bytes", "rng_rate", "console_rate", "n_drives", "n_networks",
                   "drive.reserved", "drive.flags", "drive.cache", "drive.engine", "drive.n_queues",
                   "drive.queue_size", "drive.block_bytes", "drive2", "network.n_taps",
                   "network.stream_fd", "network.queue_size", "network2"):
        yield "bad-" + member, [(member, 0, number(0xffffffff))]
    for member in ("kvm_fd", "drive.fd", "network.tap_fds", "memory_bytes", "n_cpus"):
        yield "no-" + member, [(member, 0, number(0))]
    for member in ("name", "description", "command_line", "ready_text", "drive.id", "drive.serial",
                   "network.id"):
        yield "text-" + member, [(member, 0, b"A\x1b")]
        yield "long-" + member, [(member, i, b"a" * 250) for i in (0, 250)]
    for member in ("drive.rate", "rng_rate", "vsock_receive_rate", "network.receive_rate"):
        yield "rate-" + member, [(member, 0, b"\xff" * 8)]
        yield "burst-" + member, [(member, 32, b"\1")]
    yield "twice", [("initrd_fd", 0, number(1))]
    yield "unused", [("network.n_taps", 0, number(0)), ("network.stream_fd", 0, number(0))]
    yield "idle", [("n_networks", 0, number(0)), ("network.id", 0, bytes(80))]
    yield "vhost", [("network.n_taps", 0, number(2)), ("network.vhost_fds", 0, number(2))]
    yield "group", [("network.mac", 0, b"\1"), ("network.mtu", 0, b"\1\0")]
    yield "mtu", [("network.mtu", 0, b"\1\0")]
    yield "large", [("memory_bytes", 0, b"\0" * 6 + b"\1\0")]
    yield "odd", [("memory_bytes", 0, b"\1\0\0\4")]
    yield "huge", [("huge_page_bytes", 0, struct.pack("<Q", 1 << 30))]
    yield "hotplug", [("hotplug_bytes", 0, struct.pack("<Q", 1 << 50))]
    yield "ready", [("ready", 0, number(1))]


def worker_input():
    yield "handover", b"\0" + answer(2, n_fds=3)
    yield "more", b"\0" + answer(3, n_fds=2, first=253)
    yield "refused", b"\0" + answer(4, status=78, text=b"no such disk")
    for kind in range(1, 6):
        yield "request-%d" % kind, b"\1\0" + control(kind)
    yield "stop", b"\1\0" + control(6, struct.pack("<II", 1, 0))
    yield "console", b"\1\1" + control(8, struct.pack("<IIHHI", 0, 4, 24, 80, 0))
    yield "resize", b"\1\0" + control(9, struct.pack("<IIHHI", 3, 0, 24, 80, 0))
    yield "rate", b"\1\0" + control(10, struct.pack("<32s6Q", b"root", 1000, 0, 0, 50, 10, 5))
    yield "drive", b"\1\0" + control(12, struct.pack("<32sQ", b"root", 0))
    for name, changes in spec_seeds():
        yield "spec-" + name, b"\2" + b"".join(
            bytes([SPEC.index(member), offset, len(data)]) + data for member, offset, data in changes)
    yield "terminal", b"\3" + b"\x1b[1;31mred\x1b[0m\r\n\x1b]0;title\x07ab\b\x1b[K\r\n"
    yield "utf8", b"\3" + "gr\u00fc\u00df \u20ac \U0001f600\n".encode() + b"\xc0\xaf\xff\n"
    yield "lines", b"\3" + b"x\n" * 40 + b"y" * 1100
    up = b"X_SYSTEMD_UNIT_ACTIVE=basic.target\nX_SYSTEMD_HOSTNAME=web.example\nREADY=1\n"
    down = b"STOPPING=1\nX_SYSTEMD_SHUTDOWN=reboot"
    yield "up", b"\4" + up
    yield "down", b"\4" + down
    yield "names", b"\4X_SYSTEMD_HOSTNAME=" + b"n" * 200 + b"\nX_SYSTEMD_SHUTDOWN=\x1b]0;\nREADY=11\n\n="
    for kind in (200, 201):
        yield "says-%d" % kind, b"\5\0" + bytes([kind]) + b"\0" + bytes([len(up)]) + up + b"\0\x64"
    yield "flood", b"\5\0\xc8" + (b"\0\x63" + b"x" * 99) * 45
    yield "many", b"\5" + b"".join(bytes([i, 200 + i]) for i in range(30)) + b"\0\5READY"
    yield "ends", b"\5" + b"".join(bytes([i, 200, i, 7]) + b"READY=1" + bytes([i, 100]) for i in range(12))


def worker_output():
    yield "hello", b"\0" + struct.pack("<4I28sI", MAGIC, PROTOCOL_VERSION, 1, 48, b"web-1", 0)
    yield "event", b"\1" + control(0x1000, struct.pack("<IIIiQ128s", 1, 1, 0, 0, 5, b"running"),
                                   ident=0)
    yield "backend", b"\1" + control(0x1002, struct.pack("<Q32sII", 7, b"data", 3, 0), ident=0)
    yield "status", b"\1" + control(0x80000001, struct.pack("<8I3Q128s", 1, 0, 1, 0, 1, 0, 0, 0,
                                                            1 << 27, 1, 2, b"running"))
    yield "paused", b"\1" + control(0x80000002)
    yield "console", b"\1" + control(0x80000008, struct.pack("<IIHHI", 1, 4, 24, 80, 0))
    yield "drive", b"\1" + control(0x8000000c, struct.pack("<32sII7Q", b"root", 1, 0, 1, 2, 3,
                                                           4, 5, 6, 7))
    yield "failed", b"\1" + control(0x80000002, struct.pack("<512s", b"no"), result=-16)
