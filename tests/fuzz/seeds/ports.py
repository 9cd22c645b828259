# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Accesses to ports: serial, clock, keyboard, ACPI events."""

import struct


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
