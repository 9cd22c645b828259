# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Drivers of the network and of the socket device."""

import struct

from script import RESTART, RINGS, chain, event, into, out, scripts


def net_frame(size, flags=0, kind=0, length=0, segment=0, start=0, offset=0):
    return out(struct.pack("<BBHHHHH", flags, kind, length, segment, start, offset, 0) +
               b"f" * size)


def virtio_net():
    control = 4

    def command(group, what, data=b""):
        return chain(control, out(bytes([group, what]) + data), into(1))

    rooms = b"".join(chain(0, into(2048)) for _ in range(3))
    merged = b"".join(chain(0, into(100), into(50)) for _ in range(8))
    pairs = command(4, 0, struct.pack("<H", 2))
    yield from scripts(
        transmit=chain(1, net_frame(60)) + chain(3, net_frame(1500)) +
        chain(1, net_frame(100, 1, 0, 0, 0, 34, 16)) + chain(1, out(bytes(12)), out(b"g" * 300)),
        segments=chain(1, net_frame(500, 1, 1, 54, 100, 34, 16)) +
        chain(1, net_frame(500, 1, 4, 0xffff, 100, 34, 16)) +
        chain(1, net_frame(500, 1, 0x81, 54, 0, 34, 16)) + chain(1, net_frame(9, 1, 1, 9, 9, 90, 16)),
        bad=chain(1, net_frame(60, 0xff, 77)) + chain(1, out(b"abc")) + chain(1, net_frame(13)) +
        chain(1, into(100)) + chain(1, net_frame(60, 1, 0, 0, 0, 0xffff, 0xffff)) +
        chain(1, net_frame(60, 0, 0x80)) + chain(1, into(65535), into(65535)),
        receive=rooms + event(0, 30) + event(0, 30) + event(1, 1) + event(8, 99) + event(0, 0),
        merge=merged + event(0, 100) + event(128, 8) + merged + merged + event(0x84, 255) + merged,
        wait=event(0, 40) + event(0, 50) + chain(0, into(20)) + chain(0, into(400)) + rooms,
        headers=rooms + event(8, 20) + event(16, 20) + event(1, 20) + event(40, 20) + event(24, 20),
        tiny=chain(0, into(11)) + event(0, 30) + RESTART + chain(0, out(b"x" * 20)) + event(0, 30),
        link=event(2, 0) + bytes([4, 0, 1, 4, 10, 1]) + rooms + event(0, 30) + chain(1, net_frame(60)) + event(2, 1) +
        chain(1, net_frame(60)),
        busy=event(4, 1) + chain(1, net_frame(60)) + chain(1, net_frame(70)) + event(4, 0),
        ring=event(4, 1) + chain(1, net_frame(60)) * 3 + chain(1, net_frame(1500)) + event(4, 4) +
        event(4, 1) + chain(1, net_frame(60)) * 2 + event(4, 0),
        ring_full=event(4, 7) + chain(1, net_frame(3000)) * 15 + event(4, 2) + event(4, 3) +
        chain(1, net_frame(60)) * 3 + event(4, 0),
        ring_waits=event(4, 15) + chain(1, net_frame(3000)) * 15 + event(4, 2) + event(4, 3) +
        chain(1, net_frame(60)) * 3 + event(4, 0),
        ring_refuses=event(4, 5) + chain(1, net_frame(60)) + chain(1, net_frame(60000)) +
        chain(1, net_frame(60)) + event(4, 0),
        fails=rooms + event(5, 1) + event(0, 20) + chain(1, net_frame(60)) + event(2, 1) +
        pairs + event(5, 0) + event(2, 1) + chain(1, net_frame(60)),
        limits=event(6, 3) + rooms + event(0, 30) + event(0, 30) + chain(1, net_frame(60)) * 3 +
        event(7) + event(6, 0),
        paused=merged + event(0, 100) + event(7) + rooms + event(7) + event(0, 20) + b"\6\0" + rooms,
        commands=command(1, 1, b"RRRRRR") + command(1, 1, b"SSSSSS") + command(1, 1, b"RR") +
        event(3) + command(3, 0) + command(3, 1) + pairs + command(4, 0, b"\0\0") +
        command(4, 0, b"\9\0") + command(5, 0, struct.pack("<Q", 2)) +
        command(5, 0, b"\xff" * 8) + command(9, 9) + command(1, 1, b"x" * 30) +
        chain(control, out(b"\1"), into(1)) + chain(control, out(b"\1\1")),
        two=pairs + chain(2, into(3000)) + event(0, 31) + chain(3, net_frame(99)))
    # Without MQ the control queue is queue 2.
    for rings in RINGS:
        yield "one-pair-%d" % rings, (bytes([rings | 0xf0, 0x80]) + chain(2, out(b"\1\1RRRRRR"),
                                                                         into(1)))
        yield "no-merge-%d" % rings, (bytes([rings | 0xf0, 1]) + rooms + event(0, 30) +
                                      event(128, 20) + event(0, 200))


def vhost_net():
    control = 6

    def command(group, what, data=b""):
        return chain(control, out(bytes([group, what]) + data), into(1))

    def pairs(number):
        return command(4, 0, struct.pack("<H", number))

    yield from scripts(
        pairs=pairs(3) + pairs(1) + pairs(2) + pairs(3) + RESTART + pairs(2),
        bad=pairs(0) + pairs(4) + pairs(0xffff) + pairs(0x101) + command(4, 1, b"\2\0") +
        command(1, 1, b"RRRRRR") + command(4, 0, b"\2") + command(4, 0, b"\2\0\0") + command(9, 9) + pairs(2),
        pieces=chain(control, out(b"\4"), out(b"\0\3"), out(b"\0"), into(1), into(100)) +
        chain(control, out(b""), into(1)) + chain(control, into(1)),
        no_answer=chain(control, out(b"\4\0\3\0")) + pairs(2) + RESTART + pairs(3),
        fails=pairs(2) + event(1, 1) + pairs(3) + event(1, 0) + pairs(1) + event(0) + pairs(3),
        others=chain(0, into(2048)) + chain(1, out(b"x" * 60)) + chain(5, out(b"y" * 60)) + pairs(2))
    # Without MQ the control queue is queue 2.
    for rings in RINGS:
        yield "one-pair-%d" % rings, (bytes([rings | 0xf0, 0x80]) +
                                      chain(2, out(b"\4\0\1\0"), into(1)))


def vsock_packet(op, data=b"", port=1024, kind=1, flags=0, cid=3, alloc=4096, count=0, size=None,
                 guest_port=5000):
    size = len(data) if size is None else size
    return chain(1, out(struct.pack("<QQIIIHHIII", cid, 2, guest_port, port, size, kind, op, flags,
                                    alloc, count) + data))


def virtio_vsock():
    rooms = b"".join(chain(0, into(600)) for _ in range(8))
    go = rooms + vsock_packet(1)
    data = vsock_packet(5, b"d" * 200)
    message = vsock_packet(1, kind=2) + vsock_packet(5, b"m" * 99, kind=2)
    yield from scripts(
        stream=go + data + data + event(0, 0x30) + vsock_packet(6, count=600) + event(1) +
        vsock_packet(7) + rooms,
        message=rooms + message + vsock_packet(5, b"end", kind=2, flags=3) + event(0, 0x10) +
        event(0, 0x20) + rooms + vsock_packet(6, kind=2, count=4000, alloc=100) + event(0, 0x40),
        refused=rooms + vsock_packet(1, port=1025) + vsock_packet(1, port=1026) + event(5) +
        vsock_packet(1, port=1026, guest_port=9) + event(5, 1) + data,
        halves=go + vsock_packet(4, flags=2) + event(0, 0x20) + data + go +
        vsock_packet(4, flags=1) + vsock_packet(4, flags=2) + go + vsock_packet(4, flags=3),
        ends=go + event(2, 0) + data + vsock_packet(3) + go + event(0, 0x21) + event(3, 1) + rooms +
        vsock_packet(4, flags=3) + go + event(2, 0x82) + data + data,
        flood=go + vsock_packet(5, b"x" * 460) * 24 + event(1) * 4 + data,
        credit=rooms + vsock_packet(1, alloc=10) + event(0, 0x10) + vsock_packet(6, alloc=20, count=5) +
        vsock_packet(6, alloc=0xffffffff, count=0xfffffff0) + rooms,
        hosts=rooms + event(4, 1) + vsock_packet(2, guest_port=1, port=0x80000000) + data +
        event(4, 2) + vsock_packet(2, guest_port=2, port=0x80000001, kind=2) + event(4, 3) +
        vsock_packet(3, guest_port=3, port=0x80000002) + event(4, 5) * 9,
        mux=rooms + b"".join(event(6, i) for i in range(7)) +
        vsock_packet(2, guest_port=1024, port=0x80000000) + event(1, 0) + event(6, 0) + RESTART,
        unknown=rooms + data + vsock_packet(77) + vsock_packet(1, kind=9) + vsock_packet(3) +
        vsock_packet(1, cid=4) + go + vsock_packet(1) + go + vsock_packet(99) + go +
        vsock_packet(2),
        orphans=data * 40 + rooms + rooms,
        shapes=chain(1, out(b"short")) + RESTART + vsock_packet(5, b"abc", size=4) + RESTART +
        vsock_packet(5, size=65537) + RESTART + chain(0, into(44)) + vsock_packet(5) + RESTART +
        chain(0, out(b"x")) + vsock_packet(5) + RESTART + chain(1, into(50)),
        pieces=go + chain(1, out(bytes(20)), out(bytes(24))) + chain(0, into(20), into(30), into(9)) +
        event(0, 0),
        limits=event(7, 3) + go + data * 3 + event(0, 0x20) + event(7) + event(8) + event(7, 0),
        paused=go + data + event(8) + data + event(0, 0x10) + b"\6\0" + rooms + event(2, 2) + RESTART,
        events=chain(2, into(4)) + rooms)
