# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The suites of tests/bench. Each yields rows; monitors take turns inside one run."""

import os
import sys
import tempfile
import time

import block
import boot
import inprocess
import many
import network
import units
import vsock
from monitors import activity, first_in_line, own_memory
from report import Row


def progress(text):
    """One line that is written over, on a terminal only."""
    if sys.stderr.isatty():
        print(f'\r{text}\033[K', end='', file=sys.stderr, flush=True)


class Bench:
    """What a suite works with."""

    def __init__(self, monitors, build, runs, short):
        self.monitors = monitors
        self.build = build
        self.runs = runs
        self.short = short

    def guest(self, name):
        return os.path.join(self.build, 'tests', 'perf', name + '.elf')

    def each(self, what, measure, monitors=None):
        """Calls measure(monitor) for each monitor in turn, runs times, with progress."""
        for i in range(self.runs):
            for monitor in monitors or self.monitors:
                progress(f'{what}: run {i + 1} of {self.runs}, {monitor.name}')
                measure(monitor)
        progress('')


def one_of_each(monitors):
    """QEMU's ways to do block I/O make no difference elsewhere: one is enough."""
    return [m for m in monitors if not m.name.startswith('qemu-') or m.name == 'qemu-threads']


INITRD_BYTES = 32 << 20  # Debian's has 13 to 30 million


def start(bench):
    bare = Row('start', 'exec to first instruction', 'ms', goal_ratio=0.1)
    laden = Row('start', 'the same, with an initrd of 32 MiB', 'ms', goal_ratio=0.2)

    def milliseconds(monitor, initrd):
        with first_in_line(), monitor.start(bench.guest('first'), initrd=initrd) as guest:
            now, _ = guest.wait_for('!')
            return (now - guest.started) * 1e3

    def measure(monitor):
        for row, initrd in ((bare, None), (laden, file.name)):
            # Free memory of a virtual machine may be with its host, and who takes it first waits,
            # up to 80 ms. The second of two starts finds what the first one has given back.
            milliseconds(monitor, initrd)
            row.add(monitor.name, milliseconds(monitor, initrd))

    # The disk's, in the page cache: where a kernel's initrd is.
    with tempfile.NamedTemporaryFile(dir='/var/tmp') as file:
        file.write(os.urandom(INITRD_BYTES))
        file.flush()
        os.fsync(file.fileno())  # or the host writes it while this measures
        bench.each('start', measure, one_of_each(bench.monitors))
    return [bare, laden]


def memory(bench):
    rss = Row('memory', 'beside the guest, RSS', 'MiB', goal=1.5)
    pss = Row('memory', 'beside the guest, PSS', 'MiB')

    def measure(monitor):
        with monitor.start(bench.guest('bench'), 'bench=idle') as guest:
            guest.wait_for('BEGIN')
            time.sleep(0.2)
            own = own_memory(guest.pid, 128 << 20)
            rss.add(monitor.name, own[0] / (1 << 20))
            pss.add(monitor.name, own[1] / (1 << 20))

    bench.each('memory', measure, one_of_each(bench.monitors))
    with block.disk(block.memory_folder(bench), 16) as drive:
        return [rss, pss, *network.loaded(bench, drive)]


def idle(bench):
    seconds = 1 if bench.short else 10
    switches = Row('idle', 'context switches, halted guest', 'count', goal=0)
    cpu = Row('idle', 'CPU, halted guest', 'ms', goal=0)

    def measure(monitor):
        with monitor.start(bench.guest('bench'), 'bench=idle') as guest:
            guest.wait_for('BEGIN')
            time.sleep(0.5)
            before = activity(guest.pid)
            time.sleep(seconds)
            after = activity(guest.pid)
            switches.add(monitor.name, after[0] - before[0])
            cpu.add(monitor.name, (after[1] - before[1]) * 1e3)

    bench.each('idle', measure, one_of_each(bench.monitors))
    return [switches, cpu]


SUITES = {'start': start, 'memory': memory, 'idle': idle,
          **block.SUITES, **network.SUITES, **many.SUITES, **inprocess.SUITES, **units.SUITES,
          **boot.SUITES, **vsock.SUITES}

# Those whose guests, or units, run elsewhere than the others', which they say themselves.
ELSEWHERE = {*units.SUITES, *boot.SUITES, 'vsock-bed'}
