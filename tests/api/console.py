#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""console: vmmctl console and vmmctl run on a terminal: what is typed and shown, the escape
sequence, the terminal's size, and that its mode is restored on every way out.

    console.py VMMCTL MOCK-VMMD POLICY
"""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import traceback
from pathlib import Path

from private_bus import MockDaemon, PrivateBus

VMMCTL, MOCK, POLICY = (Path(p).resolve() for p in sys.argv[1:4])


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, bus, *words):
        self.master, self.slave = pty.openpty()
        self.resize(80, 25)
        self.before = termios.tcgetattr(self.slave)
        self.shown = b""
        self.process = subprocess.Popen(
            [VMMCTL, *words],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=bus.environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, columns, rows):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text)

    def read(self, seconds):
        if select.select([self.master], [], [], seconds)[0]:
            self.shown += os.read(self.master, 65536)
            return True
        return False

    def expect(self, text, seconds=10):
        end = time.monotonic() + seconds
        while text not in self.shown:
            if time.monotonic() > end:
                raise AssertionError(f"{text} is not in {self.shown}")
            self.read(0.1)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def ends(self, status, seconds=10):
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                raise AssertionError(f"it has not ended, and has shown {self.shown}")
            self.read(0.05)
        while self.read(0):
            pass
        assert self.process.returncode == status, (self.process.returncode, self.shown)
        assert termios.tcgetattr(self.slave) == self.before, "the terminal's mode has changed"

    def finish(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


def attached(bus, *words):
    terminal = Terminal(bus, *(words or ("console", "web")))
    terminal.expect(b"Press ^] three times within 1s to leave.")
    terminal.expect(b"so far")
    assert terminal.is_raw()
    return terminal


def typing(bus):
    terminal = attached(bus)
    terminal.type(b"hello\x03\x04\r")
    terminal.expect(b"HELLO\x03\x04\r")
    terminal.type(b"\x1d\x1d\x1d")
    terminal.ends(0)
    assert b"Left the console of machine web." in terminal.shown
    return terminal


def slow_escape(bus):
    terminal = attached(bus)
    terminal.type(b"\x1d\x1d")
    time.sleep(1.2)
    terminal.type(b"\x1d")
    time.sleep(0.3)
    terminal.type(b"still\r")
    terminal.expect(b"STILL")
    terminal.type(b"\x1d\x1dx\x1d")
    time.sleep(0.2)
    assert terminal.process.poll() is None
    terminal.type(b"\x1d\x1d")
    terminal.ends(0)
    return terminal


def size(bus):
    terminal = attached(bus)
    terminal.type(b"size\r")
    terminal.expect(b"80 x 25")
    terminal.resize(132, 43)
    time.sleep(0.2)
    terminal.type(b"size\r")
    terminal.expect(b"132 x 43")
    terminal.type(b"\x1d\x1d\x1d")
    terminal.ends(0)
    return terminal


def killed(number):
    def test(bus):
        terminal = attached(bus)
        terminal.process.send_signal(number)
        terminal.ends(-number)
        return terminal

    return test


def stopped(bus):
    terminal = attached(bus)
    terminal.process.send_signal(signal.SIGSTOP)
    termios.tcsetattr(terminal.slave, termios.TCSANOW, terminal.before)
    terminal.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + 5
    while not terminal.is_raw():
        assert time.monotonic() < end, "raw mode again after SIGCONT"
        time.sleep(0.05)
    terminal.type(b"\x1d\x1d\x1d")
    terminal.ends(0)
    return terminal


def hung_up(bus):
    terminal = attached(bus)
    os.close(terminal.master)
    # Nobody can look at the mode of a terminal that has gone: it only has to end.
    terminal.process.wait(10)
    terminal.master = os.open("/dev/null", os.O_RDONLY)
    return terminal


def does_not_read(bus):
    """A machine that takes no input, and more of it than is kept."""
    terminal = Terminal(bus, "console", "crash")
    terminal.expect(b"so far")
    for _ in range(40):
        terminal.type(b"x" * 4096)
        time.sleep(0.005)
    terminal.type(b"\x1d\x1d\x1d")
    terminal.ends(0)
    return terminal


def reboots_and_crashes(bus):
    terminal = Terminal(bus, "console", "crash")
    terminal.expect(b"Kernel panic")
    terminal.ends(0)
    assert b"Machine crash has ended." in terminal.shown
    return terminal


def run_to_the_end(bus):
    terminal = attached(bus, "run", "--name=fresh", "--kernel=/bin/sh")
    terminal.type(b"off\r")
    terminal.expect(b"powers off")
    terminal.ends(0)
    return terminal


def run_and_stop(bus):
    terminal = attached(bus, "run", "--name=second", "--kernel=/bin/sh")
    terminal.process.send_signal(signal.SIGTERM)
    terminal.expect(b"Stopping second")
    terminal.ends(0)
    return terminal


def run_and_leave(bus):
    terminal = attached(bus, "run", "--name=third", "--kernel=/bin/sh")
    terminal.type(b"\x1d\x1d\x1d")
    terminal.ends(0)
    assert b"vmmctl stop third ends it" in terminal.shown
    return terminal


def refused(bus):
    terminal = Terminal(bus, "console", "db")
    terminal.expect(b"vmmctl: db is not running")
    terminal.ends(1)
    return terminal


TESTS = [
    typing,
    slow_escape,
    size,
    killed(signal.SIGTERM),
    killed(signal.SIGHUP),
    killed(signal.SIGINT),
    killed(signal.SIGQUIT),
    stopped,
    hung_up,
    does_not_read,
    reboots_and_crashes,
    run_to_the_end,
    run_and_stop,
    run_and_leave,
    refused,
]


def main():
    failed = 0
    with PrivateBus(POLICY) as bus:
        for test in TESTS:
            with MockDaemon(bus, MOCK):
                try:
                    test(bus).finish()
                except Exception:
                    failed += 1
                    print(f"FAILED: {test.__name__}")
                    traceback.print_exc(file=sys.stdout)
    print(f"{len(TESTS) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


sys.exit(main())
