# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What serves a drive or share: the heads of images, and what vmmd-serve offers."""

import struct

RAW, QCOW2, QED, VDI, VHDX, VMDK, VPC = range(7)


def image():
    def qcow2(version=3, backing=0, incompatible=0):
        head = struct.pack(">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", version, backing, 0, 16, 1 << 20, 0, 1,
                           196608, 65536, 1, 0, 0, incompatible, 0, 0, 4, 104)
        return bytes([QCOW2]) + head + bytes(24)

    def vmdk(magic=b"KDMV", capacity=2048, at=1, second=b"", third=b""):
        head = struct.pack("<4sIIQQQQ", magic, 1, 3, capacity, 128, at, 20)
        return bytes([VMDK]) + head.ljust(512, b"\0") + second.ljust(512, b"\0") + third

    text = b'# Disk DescriptorFile\nversion=1\ncreateType="monolithicFlat"\nRW 1 FLAT "a" 0\n'
    parent = text + b'parentFileNameHint="/a"\n'
    for number in range(7):
        yield "empty-%d" % number, bytes([number])
        yield "zeroes-%d" % number, bytes([number]) + bytes(600)
        yield "other-%d" % number, bytes([number]) + qcow2()[1:]
    yield "qcow2", qcow2()
    yield "qcow2-2", qcow2(version=2, incompatible=4)
    yield "qcow2-backing", qcow2(backing=104)
    yield "qcow2-data", qcow2(incompatible=4)
    yield "qcow2-dirty", qcow2(incompatible=3)
    for features in (0, 1, 4):
        yield "qed-%d" % features, bytes([QED]) + struct.pack("<4sIIIQ", b"QED\0", 65536, 4, 1, features)
    yield "vmdk", vmdk(second=text)
    yield "vmdk-text", bytes([VMDK]) + text
    yield "vmdk-any-text", bytes([VMDK]) + b"\n\n" + text[23:]
    for magic in (b"KDMV", b"COWD", b"KDMX"):
        for at in (0, 1, 2, 200, 1 << 55, 1 << 63):
            yield "vmdk-%s-%x" % (magic.decode(), at), vmdk(magic, at=at, second=text, third=parent)
            yield "vmdk-parent-%s-%x" % (magic.decode(), at), vmdk(magic, at=at, second=parent)
    yield "vmdk-nothing", vmdk(capacity=0, second=text)
    yield "vmdk-nothing-nowhere", vmdk(capacity=0, at=0, second=text)


def offer():
    def message(*kinds, size=8, data=b""):
        return bytes([len(kinds), *kinds, size]) + data.ljust(size, b"\0")

    yield "good", message(0, 3)
    yield "long", message(0, 3, size=9)
    yield "more", message(0, 3) + message(0, 3)
    yield "halves", message(size=4) + message(0, 3, size=4, data=struct.pack("<I", 0x764D6D53 ^ 1))
    yield "bare-first", message(size=8) + message(0, 3)
    yield "none", b""
    yield "cut", message(0, 3)[:4]
    yield "magic", message(0, 3, data=b"\1")
    yield "version", message(0, 3, data=b"\0\0\0\0\1")
    for size in (0, 1, 7, 63):
        yield "size-%d" % size, message(0, 3, size=size)
    for first in range(4):
        for second in range(4):
            yield "kinds-%d-%d" % (first, second), message(first, second)
    for count in range(8):
        yield "fds-%d" % count, message(*[0] * count)
