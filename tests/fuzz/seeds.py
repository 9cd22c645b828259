#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""seeds.py NAME DIRECTORY: writes the seed corpus of a fuzz target whose inputs are binary.

One function a target, named as the target. What a fuzzer found is kept beside this file, in
corpus/NAME/, and replayed together with the seeds.
"""

import os
import struct
import sys

MIB = 1 << 20


def ehdr64(entry, n_programs, machine=62, kind=2):
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    return ident + struct.pack("<HHIQQQIHHHHHH", kind, machine, 1, entry, 64, 0, 0, 64, 56,
                               n_programs, 0, 0, 0)


def phdr64(kind, offset, paddr, filesz, memsz, align=4):
    return struct.pack("<IIQQQQQQ", kind, 7, offset, 0, paddr, filesz, memsz, align)


def note(name, kind, descriptor):
    def pad(data):
        return data + bytes(-len(data) % 4)
    return struct.pack("<III", len(name), len(descriptor), kind) + pad(name) + pad(descriptor)


def elf64(notes, tail, machine=62, kind=2):
    code = b"\xf4" * 64
    at = 64 + 3 * 56
    return (ehdr64(MIB + 8, 3, machine, kind) +
            phdr64(1, at + len(notes), MIB, len(code), 0x2000) +
            phdr64(1, 0, 4 * MIB, 0, 0x10000) +
            phdr64(4, at, 0, len(notes), len(notes)) + notes + code + bytes([tail]))


def elf32(notes):
    at = 52 + 2 * 32
    ident = b"\x7fELF" + bytes([1, 1, 1]) + bytes(9)
    return (ident + struct.pack("<HHIIIIIHHHHHH", 2, 3, 1, MIB, 52, 0, 0, 52, 32, 2, 0, 0, 0) +
            struct.pack("<IIIIIIII", 1, at + len(notes), 0, MIB, 16, 16, 7, 4) +
            struct.pack("<IIIIIIII", 4, at, 0, 0, len(notes), len(notes), 4, 4) +
            notes + b"\xf4" * 16)


def elf():
    pvh = note(b"Xen\0", 18, struct.pack("<Q", MIB))
    other = note(b"Linux\0", 257, b"\1\2\3\4")
    yield "pvh", elf64(other + pvh, 0)
    yield "pvh-initrd-reserved", elf64(pvh + other, 7)
    yield "linux", elf64(other, 3)
    yield "no-notes", elf64(b"", 0)
    yield "pvh-32", elf32(note(b"Xen\0", 18, struct.pack("<I", MIB)))
    yield "aarch64", elf64(other, 0, machine=183)
    yield "shared", elf64(other, 0, kind=3)
    yield "cut", elf64(other + pvh, 0)[:200]
    good = elf64(other + pvh, 0)

    def changed(at, data):
        return good[:at] + data + good[at + len(data):]

    yield "class", changed(4, b"\7")
    yield "order", changed(5, b"\2")
    yield "entry-size", changed(54, b"\x20\0")
    yield "no-entries", changed(56, b"\0\0")
    yield "entries", changed(56, b"\xff\xff")
    yield "nothing-loads", changed(64, b"\7\0\0\0").replace(phdr64(1, 0, 4 * MIB, 0, 0x10000),
                                                           phdr64(7, 0, 4 * MIB, 0, 0x10000))
    yield "beyond", changed(64 + 8, b"\xff\xff\xff\0")
    yield "shrinks", changed(64 + 40, b"\1\0\0\0\0\0\0\0")
    yield "pvh-size", elf64(note(b"Xen\0", 18, b"\1\2"), 0)
    yield "pvh-high", elf64(note(b"Xen\0", 18, struct.pack("<Q", 1 << 33)), 0)
    yield "pvh-outside", elf64(note(b"Xen\0", 18, struct.pack("<Q", 16 * MIB)), 0)
    yield "many-notes", elf64(other * 5000, 0)
    yield "note-beyond", elf64(struct.pack("<III", 4, 1 << 20, 18) + b"Xen\0", 0)
    yield "magic", b"\x7fELF"


def bzimage_file(tail=0, **changes):
    fields = dict(setup_sects=1, syssize=64, version=0x20f, loadflags=1, initrd_max=0x7fffffff,
                  alignment=0x200000, relocatable=1, xloadflags=1, cmdline_size=2047,
                  payload_offset=0x200, payload_length=0x100, pref=0x1000000, init_size=0x400000)
    fields.update(changes)
    header = struct.pack(
        "<BHIHHHH", fields["setup_sects"], 0, fields["syssize"], 0, 0, 0, 0xaa55)
    header += struct.pack("<H4sHIHHBBHIIIIHBBI", 0x66eb, b"HdrS", fields["version"], 0, 0, 0, 0,
                          fields["loadflags"], 0, 0x100000, 0, 0, 0, 0, 0, 0, 0)
    header += struct.pack("<IIBBHIIQIIQQII", fields["initrd_max"], fields["alignment"],
                          fields["relocatable"], 21, fields["xloadflags"],
                          fields["cmdline_size"], 0, 0, fields["payload_offset"],
                          fields["payload_length"], 0, fields["pref"], fields["init_size"], 0)
    setup = bytes(0x1f1) + header
    setup += bytes(((fields["setup_sects"] or 4) + 1) * 512 - len(setup))
    return setup + b"\x90" * 1023 + bytes([tail])


def bzimage():
    yield "good", bzimage_file()
    yield "initrd-cmdline-reserved", bzimage_file(7)
    yield "moved", bzimage_file(4, pref=0x7ff000)
    yield "fixed", bzimage_file(3, relocatable=0)
    yield "old", bzimage_file(version=0x20b)
    yield "32-bit", bzimage_file(xloadflags=0)
    yield "low", bzimage_file(loadflags=0)
    yield "jump", bzimage_file().replace(b"fHdrS", b" HdrS")
    yield "all-sectors", bzimage_file(setup_sects=255)[:2000]
    yield "old-sectors", bzimage_file(setup_sects=0)
    yield "size", bzimage_file(syssize=66)
    yield "tiny", bzimage_file(syssize=1)
    yield "payload", bzimage_file(payload_length=0x10000)
    yield "init-size", bzimage_file(init_size=0x200)
    yield "huge", bzimage_file(init_size=0x7fffffff)
    yield "alignment", bzimage_file(4, pref=0x7ff000, alignment=3)
    yield "sectors", bzimage_file(setup_sects=4)[:1600]
    yield "cut", bzimage_file()[:0x220]


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


# Scripts for device-script.c: operations are chain, ring write, kick, event, config, restart...

RINGS = (0, 2, 4, 6, 1, 3, 5)


def out(data):
    return struct.pack("<BH", 0, len(data)) + data


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


def ports():
    # Indices of choose_port() in fuzz-ports.c, above the low byte.
    uart, ged, events, clock, data, command = 0x000, 0x200, 0x300, 0x400, 0x500, 0x600

    def access(port, value=None, length=1):
        return struct.pack("<BBHI", value is not None, length - 1, port, value or 0)

    def act(what, value=0, length=0):
        return struct.pack("<BBHI", 0xc0 | what << 1, length, 0, value)

    def cmos(register, value=None):
        return access(clock, register) + access(clock + 1, value)

    drain = b"".join(access(uart + register) for register in (2, 5, 0, 6)) * 3
    yield "serial", (access(uart + 2, 0x81) + access(uart + 4, 0x0b) + access(uart + 1, 0x0f) +
                     access(uart, 65) * 3 + act(0, 97, 40) + act(1) + act(0, 98, 64) + drain)
    yield "loopback", (access(uart + 4, 0x1f) + access(uart + 2, 7) + access(uart, 66) * 20 + drain +
                       access(uart + 3, 0x80) + access(uart, 12) + access(uart + 1, 0) +
                       access(uart + 3, 3) + drain)
    yield "full", access(uart + 1, 1) + act(0, 7, 64) * 70 + access(uart) * 100
    yield "plug", (act(3, 0, 5) + access(ged + 4, length=4) + access(events, length=4) +
                   act(4, 0, 5) + access(events + 4, length=4) + access(events + 8, 32, 4) + act(4, 0, 5))
    yield "power", act(2, 1) + access(ged + 4, length=4) + access(ged, 0x34) + access(ged + 2, 1)
    yield "keyboard", (access(command, 0x60) + access(data, 0x45) + access(data, 0xf4) + access(data) +
                       act(5) + access(data) * 9 + access(command, 0xaa) + access(data) +
                       access(data, 0xf2) + access(command, 0xd1) + access(data, 2))
    yield "clock", (b"".join(cmos(register) for register in range(14)) + cmos(11, 0x82) +
                    b"".join(cmos(register, 0x99) for register in (0, 2, 4, 7, 8, 9, 0x32)) +
                    cmos(11, 0x00) + act(6, 0x7fffffff) + cmos(4) + cmos(10, 0x70) + cmos(10, 0x26) + cmos(7))
    yield "slots", b"".join(act(7, 1, slot) + act(7, 1, slot) + act(4, 0, slot) for slot in (0, 3, 31, 32))
    yield "power-and-reset", (access(ged, 0x34) + access(ged + 1, 0x12) + access(ged, 0x34, 8) +
                              access(events + 8, 8, 2) + access(events + 8, length=4) + act(2, 99))
    # Each command of the controller and of the keyboard, with and without what it waits for.
    yield "controller", b"".join(access(command, code) + access(command) + access(data, 3) + access(data) +
                                 access(command) for code in range(0x20, 0x100))
    yield "keys", b"".join(access(data, code) + access(data) + access(data, 0) + access(data) * 3
                           for code in range(0xe0, 0x100))
    yield "no-keys", access(command, 0x60) + access(data, 0x10) + act(5) * 9 + access(command) + access(data)
    yield "debug", access(0x700, 65) + access(0x700) + access(0x701, 66) + access(0x700, 67, 4)
    yield "panic", access(0x7f00, 1) + access(0x7f00, 2) + access(0x7f00) + access(0x700, 5)


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


# vhost-user: pieces of what one side sends, see vhost-user-script.h.

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


def main():
    name, directory = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    for seed, data in globals()[name.replace("-", "_")]():
        with open(os.path.join(directory, seed), "wb") as file:
            file.write(data)
    os.utime(directory)


main()
