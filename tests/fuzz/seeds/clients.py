# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What clients say: calls on the bus, and requests for metrics."""

import struct


def dbus():
    """Each method by its number, with one argument or another."""
    web, none = b"\x80", b"\x81"
    vm = b"[Machine]\nMemory=64M\n[Boot]\nKernel=/k\n"
    for number in range(64):
        begin = bytes([number])
        yield f"{number:02}-zero", begin + bytes(24)
        yield f"{number:02}-named", begin + web + bytes(24)
        yield f"{number:02}-words", begin + web + b"\x82" + bytes(16)
        yield f"{number:02}-modes", begin + web + b"\x86" + bytes(16)
        yield f"{number:02}-whom", begin + web + b"\x88" + struct.pack("<IQ", 9, 0)
        yield f"{number:02}-file", begin + b"\x95" + b"\0" + vm
        yield f"{number:02}-none", begin + none + b"\x82" + bytes(16)
        yield f"{number:02}-limits", begin + web + b"\x8a\x02\x8c" + struct.pack("<Q", 9) + b"\x8d" + bytes(16)
        yield f"{number:02}-settings", begin + web + b"\x95\x02\x8a\x92\x8b\x91" + bytes(8)
        yield f"{number:02}-time", begin + web + b"\x95" + struct.pack("<QQ", 1000000, 0)
        yield f"{number:02}-twice", (begin + web + b"\x86" + bytes(8)) * 2
    for number in range(0xf0, 0x100):
        yield f"{number:02x}-other", bytes([number, number & 15]) + web + bytes(16)


def http():
    get = b"GET /metrics HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n"
    for chunk in (0, 1, 2, 40, 0x80, 0x8a):
        yield "get-%d" % chunk, bytes([chunk]) + get
    yield "head", b"\0HEAD /metrics?x=1 HTTP/1.0\n\n"
    yield "host", b"\0GET http://here:9000/metrics HTTP/1.1\r\n\r\n"
    yield "host-only", b"\0GET http://here?x HTTP/1.1\r\n\r\n"
    yield "post", b"\0POST /metrics HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"
    yield "old", b"\0GET /metrics\n\n"
    yield "none", b"\0\r\n\r\n"
    yield "nul", b"\0GET /metrics\0 HTTP/1.1\r\n\r\n"
    yield "cut", b"\0GET /metrics HTTP/1.1\r\nHost: he"
    yield "waits", b"\x80GET /metrics HTTP/1.1\r\n"
    for chunk in (0, 100, 0x80):
        yield "long-%d" % chunk, bytes([chunk]) + b"GET /" + b"a" * 9000
