# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vhost-user: pieces of what one side sends, see vhost-user-script.h."""

import struct

from script import MIB

MEMFD, EVENTFD, PIPE, SHORT_MEMFD = range(4)


def vhost_piece(data, n_fds=0, kind=MEMFD):
    return struct.pack("<BBH", n_fds | kind << 4, 0, len(data)) + data


def vhost_memory(offset, data):
    return struct.pack("<BBH", 0xff, offset // 64, len(data)) + data


def vhost_message(request, payload=b"", n_fds=0, kind=MEMFD, flags=1):
    return vhost_piece(struct.pack("<III", request, flags, len(payload)) + payload, n_fds, kind)


def vhost_channel(request, payload=b"", flags=1):
    message = struct.pack("<III", request, flags, len(payload)) + payload
    return struct.pack("<BBH", 0xfe, 0, len(message)) + message


def u64(*numbers):
    return struct.pack(f"<{len(numbers)}Q", *numbers)


def vhost_user_front():
    def reply(request, payload, n_fds=0):
        return vhost_message(request, payload, n_fds, flags=5)

    features = 1 << 30 | 1 << 32 | 1 << 28
    protocol = 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 12 | 1 << 13 | 1 << 15 | 1 << 16
    greeting = (reply(1, u64(features)) + reply(15, u64(protocol)) + reply(17, u64(4)) +
                reply(36, u64(8)) + reply(21, u64(0)) + reply(3, u64(0)))
    config = reply(24, struct.pack("<III", 0, 60, 0) + bytes(60)) + reply(25, u64(0))
    inflight = struct.pack("<QQHHI", 8192, 0, 1, 16, 0)
    state = struct.pack("<II", 0, 7)
    rest = (reply(2, u64(0)) + reply(37, u64(0)) + reply(31, inflight, 1) + reply(32, u64(0)) +
            b"".join(reply(request, u64(0)) for request in (8, 10, 9, 13, 12, 18, 13, 39)) +
            reply(40, u64(15)) + reply(11, state) + reply(34, u64(0)))
    yield "life", greeting + config + rest
    yield "plain", reply(1, u64(1 << 32)) + reply(1, u64(1 << 32)) + reply(11, state)
    yield "refuses", greeting + config + reply(2, u64(1))
    yield "no-queues", reply(1, u64(features)) + reply(15, u64(protocol)) + reply(17, u64(0))
    yield "other-reply", greeting + reply(25, u64(0))
    yield "long-config", greeting + reply(24, struct.pack("<III", 0, 256, 0) + bytes(256))
    yield "huge", vhost_piece(struct.pack("<III", 1, 5, 0xffffffff))
    yield "channel", vhost_message(2) + vhost_message(2, flags=9) + vhost_message(3, bytes(24), 1)
    news = vhost_channel(2) + vhost_channel(2, flags=9)
    yield "channel-life", greeting + config + rest + news
    yield "channel-lies", greeting + config + rest + news + vhost_channel(3, bytes(24))
    yield "ask-config", (vhost_message(24, struct.pack("<III", 0, 60, 0)) +
                         vhost_message(25, struct.pack("<III", 8, 4, 0) + bytes(4)) +
                         vhost_message(25, struct.pack("<III", 8, 5, 0) + bytes(4)))
    yield "requests", vhost_user_session(b"")


def vhost_user_session(more, packed=False):
    features = 1 << 30 | 1 << 32 | (1 << 34 if packed else 0)
    region = u64(0, 2 * MIB, 0x7f0000000000, 0)
    ring = struct.pack("<IIQQQQ", 0, 0, 0x7f0000000000, 0x7f0000000200, 0x7f0000000100, 0)
    # One chain of one writable descriptor, available from the start.
    memory = (vhost_memory(0, struct.pack("<QIHH", 0x10000, 64, 2, 0)) +
              vhost_memory(0x100, struct.pack("<HHH", 0, 1, 0)))
    return (memory + vhost_message(1) + vhost_message(15) + vhost_message(16, u64(0xa229)) +
            vhost_message(17) + vhost_message(3) + vhost_message(2, u64(features), flags=9) +
            vhost_message(5, struct.pack("<II", 1, 0) + region, 1) +
            vhost_message(8, struct.pack("<II", 0, 16)) + vhost_message(10, bytes(8)) +
            vhost_message(9, ring) + vhost_message(13, u64(0), 1, EVENTFD) +
            vhost_message(12, u64(0), 1, EVENTFD) +
            vhost_message(18, struct.pack("<II", 0, 1), flags=9) + more)


def vhost_user_backend():
    stop = vhost_message(11, bytes(8))
    region = u64(0, 4 * MIB, 2 * MIB, 0x100000000, 0)
    yield "life", vhost_user_session(stop)
    yield "packed", vhost_user_session(stop, True)
    yield "again", vhost_user_session(stop) + vhost_user_session(stop)
    yield "reset", vhost_user_session(vhost_message(34) + vhost_message(1))
    yield "disable", vhost_user_session(vhost_message(18, bytes(8)) + stop)
    yield "memory-goes", vhost_user_session(vhost_message(5, bytes(8)) + stop)
    greeting = vhost_message(1) + vhost_message(15) + vhost_message(16, u64(0xa229))
    slots = vhost_message(36) + vhost_message(37, region, 1)
    yield "slots", (greeting + slots + vhost_message(37, region, 1, flags=9) +
                    vhost_message(38, region) + vhost_message(38, region))
    yield "slots-at-odds", greeting + slots + vhost_message(38, u64(0, 5 * MIB, 2 * MIB, 0, 0))
    yield "odd", vhost_message(1) + b"\0"
    yield "short-file", vhost_message(37, region, 1, SHORT_MEMFD)
    yield "pipe", vhost_message(13, u64(0), 1, PIPE)
    yield "config", (vhost_message(24, struct.pack("<III", 0, 256, 0)) +
                     vhost_message(25, struct.pack("<III", 8, 4, 0) + bytes(4)))
    yield "channel", vhost_message(21, b"", 1, EVENTFD)
    yield "cut", vhost_user_session(stop)[:-9]
    yield "surplus", vhost_message(1, b"", 15, EVENTFD)
