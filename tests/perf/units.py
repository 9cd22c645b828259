# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
The suite that needs systemd: this machine's where vmmd is installed and systemd runs, else one in
namespaces with what was built installed in it, else that of the test bed.
"""

import contextlib
import os
import shlex
import shutil
import subprocess

from bed import PLACE, TESTS, run_in_bed
from report import Row

SKIPPED = 77


def is_installed_here():
    """Whether this machine's systemd knows vmm@.service."""
    if not os.path.isdir('/run/systemd/system'):
        return False
    return subprocess.run(['systemctl', 'cat', 'vmm@.service'], stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, check=False).returncode == 0


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


def before_others():
    """Real-time priority, which all that this process starts has: other programs do not count."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


def run_in_namespaces(build, files, script, args):
    """What it prints; None where this machine does not allow such namespaces."""
    inside = ' && '.join((f'mkdir {PLACE}', shlex.join(['cp', *files, PLACE]),
                          shlex.join(['exec', os.path.join(PLACE, script), *args])))
    result = subprocess.run([os.path.join(TESTS, 'system', 'in-namespaces'), build, 'sh', '-c', inside],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False,
                            preexec_fn=before_others)
    if result.returncode == SKIPPED:
        return None
    result.check_returncode()
    return result.stdout


def run(build, files, script, args):
    """(what it prints, where it ran)"""
    if is_installed_here():
        return run_here(files, script, args), "this machine's systemd, with vmmd as installed"
    output = run_in_namespaces(build, files, script, args)
    if output is not None:
        return output, "a systemd in namespaces, all of it at real-time priority"
    return run_in_bed(files, script, args), 'the systemd of the test bed, an emulated machine'


def ready(bench):
    count = 4 if bench.short else 16
    programs = os.path.join(bench.build, 'tests', 'perf')
    files = [os.path.join(programs, 'notify'), os.path.join(programs, 'first.elf'),
             os.path.join(TESTS, 'perf', 'units-ready')]
    start = Row('ready', 'start to READY', 'ms')
    more = Row('ready', 'vmmctl start to READY, more than a trivial unit', 'ms', goal=6)
    rate = Row('ready', f'units a second, {count} at once', '1/s', better='more', goal_ratio=0.8)
    output, where = run(bench.build, files, 'units-ready', [str(bench.runs), str(count)])
    print('ready: units of ' + where)
    for line in output.decode().splitlines():
        figure, who, value = line.split()
        if figure == 'start':
            start.add(who, int(value) / 1e3)
        else:
            rate.add(who, count * 1e6 / int(value))
    for ours, trivial in zip(start.samples['vmmd'], start.samples['trivial']):
        more.add('vmmd', ours - trivial)
    return [start, more, rate]


SUITES = {'ready': ready}
