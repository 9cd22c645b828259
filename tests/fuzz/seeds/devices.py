# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Drivers of the small devices, and of the disk."""

import struct

from script import MIB, RESTART, chain, event, into, out, scripts


def blk_request(kind, sector, *data, queue=0, indirect=False):
    return chain(queue, out(struct.pack("<IIQ", kind, 0, sector)), *data, into(1),
                 indirect=indirect)


def blk_range(sector, n, flags=0):
    return struct.pack("<QII", sector, n, flags)


def virtio_blk():
    read = blk_request(0, 3, into(512), into(1024))
    write = blk_request(1, 5, out(b"w" * 512))
    zero = blk_request(13, 0, out(blk_range(8, 8, 1) + blk_range(100, 1)))
    yield from scripts(
        read=read + blk_request(0, 0, into(4096), indirect=True),
        across=blk_request(0, 1, into(1024, 5)) + blk_request(0, 1, into(512, 7)),
        write=write + blk_request(1, 127, out(b"x" * 512), queue=1),
        flush=blk_request(4, 0), id=blk_request(8, 0, into(20)) + blk_request(8, 0, into(7)),
        discard=blk_request(11, 0, out(blk_range(1, 2))), zero=zero,
        bad=blk_request(0, 1 << 63, into(512)) + blk_request(1, 0, out(b"y" * 100)) +
        blk_request(99, 0) + blk_request(11, 0, out(blk_range(1, 2, 1))) +
        blk_request(13, 0, out(blk_range(127, 2))) + chain(0, out(b"short"), into(1)),
        broken=chain(0, out(bytes(16))) + RESTART + read,
        held=event(0, 1) + read + zero + write + event(1) + event(1) + event(2, 1) + event(1) +
        RESTART + read,
        paused=event(0, 1) + read + event(4) + write + event(5) + event(0) + event(6),
        limited=event(3, 1) + read + read + event(3, 0) + b"\6\0" + read,
        cache=bytes([4, 32, 0]) + write + bytes([4, 32, 1]) + write + bytes([4, 0, 1]))


def virtio_rng():
    yield from scripts(
        some=chain(0, into(64)) + chain(0, into(1), into(4000), into(9000), indirect=True),
        bad=chain(0, out(b"x")) + RESTART + chain(0, into(100, 5)) + chain(0, into(9, 7)),
        limited=event(1, 1) + chain(0, into(64)) + chain(0, into(64)) + event(0) + event(1))


def console_message(port, kind, value=1):
    return chain(3, out(struct.pack("<IHH", port, kind, value)))


def virtio_console():
    buffers = b"".join(chain(2, into(80)) for _ in range(8))
    ready = console_message(0, 0)
    ports = b"".join(console_message(port, 3) + console_message(port, 6) for port in range(3))
    yield from scripts(
        output=chain(1, out(b"hello "), out(b"world\n")) + chain(5, out(b"x" * 300)) + event(0),
        input=chain(0, into(10)) + event(1, 200) + chain(0, into(100), into(100)) + event(1, 9),
        ports=buffers + ready + ports + event(1, 33) + chain(4, into(64)) + event(2, 1),
        starved=ready + ports + ready + ports + event(3, 7) + buffers + console_message(0, 6, 0),
        hostile=console_message(7, 3) + console_message(0, 99) + chain(3, out(b"abc")) +
        chain(2, into(3)) + ready + chain(0, out(b"no")) + event(1, 5) + RESTART + ready,
        slow=event(4, 3) + chain(5, out(b"y" * 500)) + event(5) + event(4, 0) + event(5),
        limited=event(6, 1) + chain(1, out(b"z" * 500)) + event(7) + event(6, 0) + event(7),
        emergency=bytes([4, 8, 65, 4, 0, 1]))


def virtio_pmem():
    def flush(kind=0):
        return chain(0, out(struct.pack("<I", kind)), into(4))

    yield from scripts(
        some=flush() + flush() + flush(9) + event(0) + flush(), reset=flush() + RESTART + flush(),
        bad=chain(0, out(b"abc"), into(4)) + RESTART + chain(0, out(bytes(4)), into(3)),
        pieces=chain(0, *[out(b"x")] * 8, *[into(1)] * 8) + b"\6\0" + flush())


def virtio_mem():
    def ask(kind, block, n=1, gpa=256 * MIB):
        return chain(0, out(struct.pack("<H6xQH6x", kind, gpa + block * 4096, n)), into(10))

    yield from scripts(
        plug=ask(0, 0, 3) + ask(3, 0, 3) + ask(3, 2, 2) + ask(1, 1) + ask(2, 0) + ask(3, 0),
        request=event(0, 2) + ask(0, 0, 3) + event(0, 200) + ask(0, 0, 3) + ask(0, 255, 1),
        bad=ask(0, 255, 2) + ask(0, 0, 0) + ask(9, 0) + ask(1, 0) + ask(0, 0, 1, 0) +
        ask(0, 0, 1, 256 * MIB + 1) + ask(0, 0, 65535, (1 << 64) - 4096),
        short=chain(0, out(bytes(23)), into(10)) + RESTART + chain(0, out(bytes(24)), into(9)))


def virtio_balloon():
    def pages(*numbers):
        return out(struct.pack("<%dI" % len(numbers), *numbers))

    stats = chain(2, out(b"".join(struct.pack("<HQ", tag, tag * 1000) for tag in range(12))))
    yield from scripts(
        inflate=chain(0, pages(2000, 2001, 2002, 1999, 3000), pages(3001)) + bytes([4, 4, 6]),
        deflate=chain(0, pages(*range(2048, 2148))) + chain(1, pages(2050, 9)),
        bad=chain(0, pages(0xffffffff, 8192, 8191), out(b"abc")) + chain(1, pages(1 << 31)),
        stats=stats + event(0) + stats + event(0) + event(0) + chain(2, out(b"short")),
        hints=event(1) + chain(3, pages(2)) + chain(3, into(4096)) + chain(3, into(8192, 5)) +
        chain(3, pages(0)) + event(2) + chain(3, into(4096)),
        report=chain(4, into(65535), into(40000, 5)) + chain(4, into(9, 7)),
        target=event(3, 9) + event(3, 0) + RESTART + event(0) + event(1))
