# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The block suites: a disk in memory and one on a file system, beside QEMU's ways to do block I/O."""

import contextlib
import os
import subprocess

from monitors import busy_seconds
from report import Row

GIB = 1 << 30
MIB = 1 << 20

# operation, bytes, depth, queues, sequential
SHAPES = {
    '4 KiB read, depth 1': ('read', 4096, 1, 1, 0),
    '4 KiB write, depth 1': ('write', 4096, 1, 1, 0),
    '4 KiB read, depth 32': ('read', 4096, 32, 1, 0),
    '4 KiB write, depth 32': ('write', 4096, 32, 1, 0),
    '4 KiB read, depth 32, 4 queues': ('read', 4096, 32, 4, 0),
    '4 KiB write, depth 32, 4 queues': ('write', 4096, 32, 4, 0),
    '128 KiB sequential read': ('read', 131072, 32, 1, 1),
    '128 KiB sequential write': ('write', 131072, 32, 1, 1),
}
SHORT = ('4 KiB read, depth 1', '4 KiB read, depth 32')


@contextlib.contextmanager
def disk(folder, mib):
    """A file of random bytes."""
    path = os.path.join(folder, f'vmmd-bench-{os.getpid()}.raw')
    try:
        with open(path, 'wb') as f:
            for _ in range(mib):
                f.write(os.urandom(MIB))
        yield path
    finally:
        os.unlink(path)


def memory_folder(bench):
    return '/dev/shm' if os.path.isdir('/dev/shm') else bench.build


def plain_read(bench, drive):
    """(MiB/s, seconds of processor time a GiB) of one thread that reads all of it by pread()."""
    program = os.path.join(bench.build, 'tests', 'perf', 'perf-pread')
    output = subprocess.run([program, drive], stdout=subprocess.PIPE, check=True).stdout
    rate, busy = output.split()
    return float(rate), float(busy)


def run_guest(bench, monitor, drive, shape, count):
    """(requests a second, the monitor's own processor time in seconds)"""
    operation, size, depth, queues, sequential = shape
    options = (f'bench=blk op={operation} size={size} depth={depth} queues={queues} '
               f'seq={sequential} n={count}')
    with monitor.start(bench.guest('bench'), options, drive=drive, queues=queues) as guest:
        begin, _ = guest.wait_for('BEGIN')
        busy = busy_seconds(guest.pid)
        end, _ = guest.wait_for('END', 300)
        return count / (end - begin), busy_seconds(guest.pid) - busy


def measure_shape(bench, suite, drive, name):
    shape = SHAPES[name]
    size = shape[1]
    small = size == 4096
    count = 10000 if bench.short else 50000 if shape[2] == 1 else 200000
    if not small:
        count //= 8
    rate = Row(suite, name, 'requests/s' if small else 'MiB/s', better='more',
               goal_ratio=1.5 if small else None)
    cpu = Row(suite, f'{name}, processor time a GiB', 's')
    rows = [rate, cpu]
    if shape[2] == 1:
        latency = Row(suite, f'{name}, latency', 'us', goal_ratio=0.7)
        rows.append(latency)
    if name == '128 KiB sequential read':
        # Two busy threads against one: on a busy machine processor time says more.
        beside = Row(suite, f'{name}, beside pread()', 'MiB/s', better='more', goal_ratio=0.95)
        cpu_beside = Row(suite, f'{name}, processor time a GiB beside pread()', 's',
                         goal_ratio=1 / 0.95)
        rows += [beside, cpu_beside]

    def measure(monitor):
        a_second, busy = run_guest(bench, monitor, drive, shape, count)
        rate.add(monitor.name, a_second if small else a_second * size / MIB)
        cpu.add(monitor.name, busy * GIB / (count * size))
        if shape[2] == 1:
            latency.add(monitor.name, 1e6 / a_second)
        if name == '128 KiB sequential read' and monitor.name == 'vmmd':
            rate_plain, busy_plain = plain_read(bench, drive)
            beside.add('vmmd', a_second * size / MIB)
            beside.add('pread', rate_plain)
            cpu_beside.add('vmmd', busy * GIB / (count * size))
            cpu_beside.add('pread', busy_plain)

    bench.each(f'{suite}, {name}', measure)
    return rows


def measure_all(bench, suite, folder):
    with disk(folder, 256) as drive:
        return [row for name in (SHORT if bench.short else SHAPES)
                for row in measure_shape(bench, suite, drive, name)]


def block(bench):
    """On tmpfs: what the monitor costs, and no disk."""
    return measure_all(bench, 'block', memory_folder(bench))


def disk_block(bench):
    """In a file of the file system that the build tree is on, mostly in the page cache."""
    return measure_all(bench, 'block-file', bench.build)


SUITES = {'block': block, 'block-file': disk_block}
