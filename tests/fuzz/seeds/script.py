# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Scripts for device-script.c: operations are chain, ring write, kick, event, config, restart..."""

import struct

MIB = 1 << 20
RINGS = (0, 2, 4, 6, 1, 3, 5)


MAX_PAYLOAD = 512  # of a descriptor; what it has beyond that are zeroes


def out(data):
    return struct.pack("<BH", 0, len(data)) + data[:MAX_PAYLOAD]


def into(size, where=0):
    return struct.pack("<BH", 1 | where << 1, size)


def chain(queue, *buffers, indirect=False):
    return bytes([0, queue, (len(buffers) - 1) | (0x80 if indirect else 0)]) + b"".join(buffers)


def event(code, argument=0):
    return bytes([3, code, argument])


RESTART = b"\5"


def scripts(**named):
    for name, script in named.items():
        for rings in RINGS:
            yield "%s-%d" % (name, rings), bytes([rings, 0]) + script
    for rings in RINGS:
        yield "few-features-%d" % rings, bytes([rings | 0x80, 0xff]) + b"".join(named.values())
