# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Kernels: ELF files and bzImages."""

import struct

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
