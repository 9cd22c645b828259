# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Accesses to the registers of virtio transports."""

import struct


def transport(accesses):
    """Scripts of accesses: (what, offset, value, width), see transport-script.h."""
    widths = {4: 0, 1: 1, 2: 2, 8: 3}
    return b"".join(struct.pack("<BBHI", what, widths[width], offset, value & 0xffffffff)
                    for what, offset, value, width in accesses)


def transport_seeds(named):
    for name, accesses in named.items():
        for flags in range(4):
            yield "%s-%d" % (name, flags), bytes([flags]) + transport(accesses)


START, ASK, CHANGE = (6, 0, 0x20, 4), (5, 0, 64, 4), (7, 0, 32, 4)


def virtio_mmio():
    def write(offset, value, width=4):
        return (0, offset, value, width)

    def read(offset, width=4):
        return (3, offset, 0, width)

    every = [read(offset) for offset in range(0, 0x110, 4)]
    driver = [write(0x70, 0), write(0x70, 1), write(0x70, 3), write(0x14, 1), read(0x10), write(0x24, 1),
              write(0x20, 1), write(0x70, 11), write(0x30, 0), write(0x38, 8), write(0x80, 0x1000),
              write(0x84, 0), write(0x90, 0x2000), write(0x94, 0), write(0xa0, 0x3000), write(0xa4, 0),
              write(0x44, 1), write(0x70, 15), write(0x50, 0), ASK]
    yield from transport_seeds({
        "reads": every + [read(4, 1), read(5, 2), read(0x70, 8), read(0x100, 1), read(0x1000)],
        "driver": driver + [write(0x38, 4), write(0x44, 0), write(0xc0, 1), read(0xc0), read(0x44)],
        "bad": [write(0x70, 0), write(0x70, 3), write(0x20, 0xffffffff), write(0x70, 11), read(0x70),
                write(0x38, 3), write(0x38, 0x10000), write(0x80, 0xfffffff0), write(0x44, 1),
                write(0x70, 15), write(0x30, 99), write(0x38, 8), write(0x44, 1), write(0x50, 99)],
        "interrupts": [START, ASK, CHANGE, read(0x60), write(0x64, 1), read(0x60), write(0x64, 3)],
        "writes": [write(offset, 0x01010101) for offset in range(0, 0x110, 4)] + [START, ASK],
        "shared": [write(0xac, 1)] + [read(offset) for offset in range(0xb0, 0xc0, 4)],
        "queue-reset": [START, write(0x30, 0), write(0xc0, 1), read(0xc0)] + driver[9:16] +
        [write(0x44, 1), read(0x44), ASK, write(0xc0, 1), write(0x38, 4), write(0x80, 0xfffffff0),
         write(0x44, 1), read(0x70)],
        "bad-ring": driver[:11] + [write(0x84, 1)] + driver[12:18] + [read(0x70), write(0x70, 0), START, ASK],
        "broken": [(4, 0x1000, 0xffffffff, 4), (4, 0x1080, 0xffffffff, 4), write(0x50, 0), START, ASK]})


def virtio_pci():
    def config(offset, value=None, width=4):
        return (3 if value is None else 0, offset, value or 0, width)

    def common(offset, value=None, width=4):
        return (0x43 if value is None else 0x40, offset, value or 0, width)

    def table(offset, value=None, width=4):
        return (0x83 if value is None else 0x80, offset, value or 0, width)

    def bar(offset, value=None, width=2):
        return (0xc3 if value is None else 0xc0, offset, value or 0, width)

    driver = [common(0x14, 0, 1), common(0x14, 3, 1), common(0, 1), common(4), common(8, 1),
              common(0xc, 1), common(0x14, 11, 1), common(0x10, 0, 2), common(0x16, 0, 2),
              common(0x18, 8, 2), common(0x1a, 1, 2), common(0x20, 0x1000), common(0x24, 0),
              common(0x28, 0x2000), common(0x2c, 0), common(0x30, 0x3000), common(0x34, 0),
              common(0x1c, 1, 2), common(0x14, 15, 1), ASK]
    windows = [config(at + off, value, width) for at in range(0x40, 0xc0, 4)
               for off, value, width in ((0, None, 4), (4, 0, 1), (8, 0x14, 4), (12, 1, 4),
                                         (16, None, 4), (16, 0, 4))]
    yield from transport_seeds({
        "config": [config(offset) for offset in range(0, 0x100, 4)] + [config(0x100), config(3, None, 2)],
        "config-writes": [config(offset, 0xffffffff) for offset in range(0, 0x100, 4)],
        "bars": [config(0x10, 0xffffffff), config(0x14, 0xffffffff), config(0x10), config(0x14),
                 config(4, 0, 2), config(0x10, 0xc0800000), config(4, 6, 2), common(0x14, None, 1)],
        "common": [common(offset, None, width) for offset in range(0, 0x40) for width in (1, 2, 4)],
        "common-writes": [common(offset, 0x01010101, width) for offset in range(0, 0x40)
                          for width in (1, 2, 4)],
        "driver": driver + [common(0x18, 4, 2), common(0x3a, 1, 2), common(0x3a, None, 2),
                            common(0x1c, None, 2), common(0x16, 77, 2), common(0x1a, 9, 2)],
        "table": [table(offset, 0xfee00000 + offset) for offset in range(0, 0x80, 4)] +
        [table(offset) for offset in range(0, 0x80, 4)] + [ASK, CHANGE],
        "masks": [table(12, 1), table(28, 1), ASK, CHANGE, table(28, 0), table(12, 0)] +
        [config(at + 2, value, 2) for at in range(0x40, 0xc0, 4) for value in (0xc000, 0x8000, 0)] +
        [START, ASK],
        "windows": windows + [START], "rest": [bar(offset) for offset in range(0, 0x4000, 0x80)] +
        [bar(offset, 0) for offset in range(0x1000, 0x4000, 0x80)] + [START, ASK]})
