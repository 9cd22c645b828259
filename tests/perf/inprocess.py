# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The suites that run a program which measures a block of the library in its own process."""

import os
import subprocess

from report import Row


def run(bench, program, *args):
    """Lines of output of a program of the build; None where it is absent or the host lacks KVM."""
    path = os.path.join(bench.build, 'tests', 'perf', 'perf-' + program)
    if not os.path.exists(path):
        return None
    result = subprocess.run([path, *args], stdout=subprocess.PIPE, timeout=300, check=False)
    if result.returncode == 77:
        return None
    if result.returncode != 0:
        raise RuntimeError(f'{program} failed with status {result.returncode}')
    return result.stdout.decode().splitlines()


def collect(bench, program, figures):
    """
    Runs a program once a run; its lines are "name median lowest". figures: {name: (row,
    monitor, factor)}; the median of each goes there.
    """
    for _ in range(bench.runs):
        for line in run(bench, program) or []:
            name, median, _ = line.split()
            if name in figures:
                row, monitor, factor = figures[name]
                row.add(monitor, float(median) * factor)
    rows = []
    for row, _, _ in figures.values():
        if row not in rows:
            rows.append(row)
    return rows


def exits(bench):
    return collect(bench, 'exits', {
        'exits-port-added': (Row('exits', 'dispatch of a port', 'ns', goal=200), 'vmmd', 1),
        'exits-memory-added': (Row('exits', 'dispatch of MMIO', 'ns', goal=200), 'vmmd', 1),
    })


def virtqueue(bench):
    figures = {}
    for ring in ('split', 'packed'):
        for n, goal in ((1, 5), (4, 15), (16, 55)):
            figures[f'virtqueue-{ring}-pop-{n}'] = (
                Row('virtqueue', f'{ring}, pop of {n}', 'ns', goal=goal), 'vmmd', 1)
        figures[f'virtqueue-{ring}-push-1'] = (Row('virtqueue', f'{ring}, push', 'ns'), 'vmmd', 1)
    return collect(bench, 'virtqueue', figures)


def library(bench):
    load = Row('library', 'load of a 50 MiB vmlinux', 'ms', goal_ratio=1.10)
    rows = collect(bench, 'load', {
        'load-elf-50MiB': (load, 'vmmd', 1),
        'load-plain-read': (load, 'pread', 1),
    })
    figures = {}
    for size, text in (('64', '64 B'), ('65536', '64 KiB')):
        for way, words in (('read', 'from'), ('write', 'to')):
            row = Row('library', f'copy {words} the guest, {text}', 'ns', goal_ratio=1.05)
            figures[f'mem-{way}-{size}'] = (row, 'vmmd', 1)
            figures[f'memcpy-{way}-{size}'] = (row, 'memcpy', 1)
    figures['mem-dirty-1024-of-4GiB'] = (
        Row('library', 'dirty bitmap of 4 GiB, 1024 pages', 'us'), 'vmmd', 1e-3)
    figures['mem-dirty-none-of-4GiB'] = (
        Row('library', 'dirty bitmap of 4 GiB, clean', 'us'), 'vmmd', 1e-3)
    return rows + collect(bench, 'memory', figures)


def limiter(bench):
    """Rates within 1 %, and no request later than 1 ms."""
    rows = {}
    for _ in range(1 if bench.short else min(bench.runs, 3)):
        for line in run(bench, 'ratelimit', '2' if bench.short else '10') or []:
            name, values = line.split(': ')
            before, after, p99, latest = (float(v) for v in values.split())
            for kind, unit, goal, value in (
                    ('error', '%', 1, max(abs(before), abs(after))),
                    ('99 % late by', 'us', 1000, p99),
                    ('latest late by', 'us', 1000, latest)):
                row = rows.setdefault((name, kind),
                                      Row('limiter', f'{name}, {kind}', unit, goal=goal))
                row.add('vmmd', value)
    return list(rows.values())


SUITES = {'exits': exits, 'virtqueue': virtqueue, 'library': library, 'limiter': limiter}
