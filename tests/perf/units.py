# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The suite that needs systemd: here where vmmd is installed and systemd runs, else in the test bed."""

import contextlib
import os
import shutil
import subprocess
import tempfile

from report import Row

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = '/var/lib/vmm-perf'


def bed(*args, check=True):
    return subprocess.run([os.path.join(TESTS, 'bed'), *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=check)


def is_installed_here():
    """Whether this machine's systemd knows vmm@.service."""
    if not os.path.isdir('/run/systemd/system'):
        return False
    return subprocess.run(['systemctl', 'cat', 'vmm@.service'], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextlib.contextmanager
def a_bed():
    """The bed that is up, or one for this, with the project installed in it."""
    mine = bed('status', check=False).returncode != 0
    if mine:
        bed('up', '--with', str(os.getpid()))
    try:
        bed('install')
        yield
    finally:
        if mine:
            bed('down')


def run_here(files, script, args):
    shutil.rmtree(PLACE, ignore_errors=True)
    os.makedirs(PLACE)
    try:
        for path in files:
            shutil.copy(path, PLACE)
        return subprocess.run([os.path.join(PLACE, script), *args], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, check=True).stdout
    finally:
        shutil.rmtree(PLACE)


def run_in_bed(files, script, args):
    with tempfile.TemporaryDirectory() as folder, a_bed():
        copies = [shutil.copy(path, folder) for path in files]
        bed('run', '--no-install', '--', 'mkdir', '-p', PLACE)
        bed('put', *copies, PLACE)
        return bed('run', '--no-install', '--', f'{PLACE}/{script}', *args).stdout


def ready(bench):
    count = 4 if bench.short else 16
    programs = os.path.join(bench.build, 'tests', 'perf')
    files = [os.path.join(programs, 'notify'), os.path.join(programs, 'first.elf'),
             os.path.join(TESTS, 'perf', 'units-ready')]
    run = run_here if is_installed_here() else run_in_bed
    start = Row('ready', 'start to READY', 'ms')
    more = Row('ready', 'vmmctl start to READY, more than a trivial unit', 'ms', goal=6)
    rate = Row('ready', f'units a second, {count} at once', '1/s', better='more', goal_ratio=0.8)
    for line in run(files, 'units-ready', [str(bench.runs), str(count)]).decode().splitlines():
        figure, who, value = line.split()
        if figure == 'start':
            start.add(who, int(value) / 1e3)
        else:
            rate.add(who, count * 1e6 / int(value))
    more.add('vmmd', start.median('vmmd') - start.median('trivial'))
    return [start, more, rate]


SUITES = {'ready': ready}
