# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Rings as a driver lays them out in memory, split and packed."""

import struct

NEXT, WRITE, INDIRECT, AVAIL = 1, 2, 4, 0x80
# Pop, push, ask, enable: four times each; then the driver adds one, and all again.
SERVE = bytes([0x20, 0x60, 0x80, 0xa1] * 4 + [0xc1] + [0xa0] + [0x20, 0x40, 0x81] * 15)


def ring_input(flags, size, parts, operations=SERVE):
    memory = bytearray(0x2000)
    for at, content in parts:
        memory[at:at + len(content)] = content
    return bytes([flags, size, 0, 0]) + operations.ljust(64, b"\x20")[:64] + bytes(memory)


def split_desc(gpa, size, flags=0, follow=0):
    return struct.pack("<QIHH", gpa, size, flags, follow)


def packed_desc(gpa, size, flags=0, ident=0):
    return struct.pack("<QIHH", gpa, size, ident, flags | AVAIL)


def avail(*heads):
    return struct.pack("<HH", 0, len(heads)) + b"".join(struct.pack("<H", h) for h in heads)


def virtqueue():
    chain = (split_desc(0x800, 16, NEXT, 1) + split_desc(0xff0, 32, NEXT | WRITE, 2) +
             split_desc(0x1800, 1, WRITE))
    table = split_desc(0x900, 8, NEXT, 1) + split_desc(0x1900, 0, WRITE)
    loop = split_desc(0x800, 1, NEXT, 1) + split_desc(0x800, 1, NEXT, 0)
    indirect = split_desc(0xa00, 32, INDIRECT)
    for flags in range(8):
        if flags & 1:
            continue
        yield f"split-{flags}", ring_input(flags, 16, [
            (0, chain + indirect), (0x400, avail(0, 3, 0)), (0xa00, table)])
    yield "split-loop", ring_input(4, 8, [(0, loop), (0x400, avail(0))])
    yield "split-head", ring_input(4, 8, [(0, loop), (0x400, avail(8))])
    yield "split-index", ring_input(0, 4, [(0, chain), (0x400, struct.pack("<HH", 0, 9))])
    yield "split-hole", ring_input(0, 4, [(0, split_desc(0x2000, 1)), (0x400, avail(0))])
    yield "split-rom", ring_input(0, 4, [(0, split_desc(0x4000, 1, WRITE)), (0x400, avail(0))])
    yield "split-order", ring_input(0, 4, [
        (0, split_desc(0x800, 1, WRITE | NEXT, 1) + split_desc(0x800, 1)), (0x400, avail(0))])
    yield "split-nested", ring_input(4, 4, [
        (0, indirect), (0x400, avail(0)), (0xa00, indirect + indirect)])
    yield "size-0", ring_input(0, 0, [])
    yield "size-3", ring_input(0, 3, [])
    # The device gives back what it has popped, and looks for its rings again.
    undo = bytes([0x20, 0x20, 0x81, 0x83, 0x20, 0xa0, 0xa1, 0x60])
    yield "split-undo", ring_input(0, 16, [(0, chain), (0x400, avail(0, 0, 0))], undo)
    yield "split-stops", ring_input(0, 16, [(0, chain), (0x400, avail(0, 0))], b"\x20\x84\x20\x60")
    yield "split-few", ring_input(0, 16, [(0, chain), (0x400, avail(0, 0))], b"\1\x82\2")
    yield "table-length", ring_input(4, 4, [(0, split_desc(0xa00, 31, INDIRECT)), (0x400, avail(0))])
    yield "table-outside", ring_input(4, 4, [(0, split_desc(0x2000, 32, INDIRECT)), (0x400, avail(0))])
    yield "table-across", ring_input(4, 4, [(0, split_desc(0xff0, 32, INDIRECT)), (0x400, avail(0)),
                                            (0xff0, table)])
    yield "table-odd", ring_input(4, 4, [(0, split_desc(0xa01, 32, INDIRECT)), (0x400, avail(0)),
                                         (0xa01, table)])
    yield "used-elsewhere", ring_input(8, 16, [(0, chain), (0x400, avail(0))])

    ring = (packed_desc(0x800, 16, NEXT) + packed_desc(0xff0, 32, WRITE, 3) +
            packed_desc(0xa00, 32, INDIRECT, 4) + packed_desc(0x1800, 1, WRITE, 5))
    for flags in range(1, 8, 2):
        yield f"packed-{flags}", ring_input(flags, 7, [(0, ring), (0xa00, table)])
    yield "packed-endless", ring_input(5, 4, [(0, packed_desc(0x800, 1, NEXT) * 4)])
    yield "packed-undo", ring_input(5, 7, [(0, ring), (0xa00, table)], undo)
    yield "packed-event", ring_input(7, 4, [(0, ring), (0x400, struct.pack("<HH", 0x8001, 2))])
    yield "packed-indirect-next", ring_input(5, 4, [
        (0, packed_desc(0xa00, 16, INDIRECT | NEXT)), (0xa00, table)])
