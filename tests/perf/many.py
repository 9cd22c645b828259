# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The suites with many machines at once: how fast they are made, what each costs."""

import contextlib
import os
import subprocess
import time

from monitors import activity, first_in_line, own_memory
from report import Row

MIB = 1 << 20
GUEST_MIB = 16


def worker_options(bench, guest, cmdline, mib):
    return [f'--worker={os.path.join(bench.build, "worker", "vmmd-worker")}',
            f'--kernel={bench.guest(guest)}', f'--cmdline={cmdline}', f'--memory={mib}']


def creation_command(bench, *args):
    return [os.path.join(bench.build, 'tests', 'perf', 'creation'), *args]


def creation(bench):
    """16 starts in flight, from fork to the end of the process, which is killed when it runs."""
    rate = Row('creation', 'VMs a second, 16 in flight', '1/s', better='more', goal_ratio=0.6)
    cpu = Row('creation', 'CPU time a VM', 'ms')
    count = 64 if bench.short else 400
    common = [f'--count={count}', '--in-flight=16']
    commands = {
        'vmmd': worker_options(bench, 'first', 'x', 128) + common,
        'bare KVM': ['--memory=128', '--bare=1'] + common,
    }
    for monitor in bench.monitors:
        if monitor.name == 'qemu-threads':
            commands['qemu'] = ['--count=16', '--in-flight=16', '--',
                                *monitor.command(bench.guest('first'))]
        elif monitor.name == 'before':
            commands['before'] = worker_options(monitor, 'first', 'x', 128) + common
    for _ in range(bench.runs):
        for name, args in commands.items():
            # A worker's own build starts it: the two agree on its command line.
            build = next((m.build for m in bench.monitors if m.name == name), bench.build)
            command = [os.path.join(build, 'tests', 'perf', 'creation'), *args]
            with first_in_line():
                output = subprocess.run(command, stdout=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, timeout=300, check=True).stdout
            values = dict(line.split() for line in output.decode().splitlines())
            rate.add(name, float(values['RATE']))
            cpu.add(name, float(values['CPU']))
    return [rate, cpu]


@contextlib.contextmanager
def many(bench, count, args):
    """count machines that stay, as their pids."""
    command = creation_command(bench, *args)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            pids = []
            for line in process.stdout:
                words = line.decode().split()
                if words[0] == 'PID':
                    pids.append(int(words[1]))
                if words[0] == 'ALL':
                    break
            if len(pids) != count:
                raise RuntimeError(f'{len(pids)} of {count} machines started')
            yield pids
        finally:
            process.stdin.close()
            process.wait()


def available():
    with open('/proc/meminfo', encoding='utf-8') as f:
        for line in f:
            if line.startswith('MemAvailable'):
                return int(line.split()[1]) * 1024
    raise RuntimeError('no MemAvailable')


def resident(pid):
    with open(f'/proc/{pid}/statm', encoding='utf-8') as f:
        return int(f.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def is_alive(pid):
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8') as f:
            return f.read().rsplit(')', 1)[1].split()[0] not in 'ZX'
    except FileNotFoundError:
        return False


def density(bench):
    count = 100 if bench.short else 1000
    seconds = 2 if bench.short else 10
    gone = Row('density', 'VMs that ended', 'count', goal=0)
    each = Row('density', 'MemAvailable beside the guest, each', 'MiB', goal=2)
    cpu = Row('density', 'CPU of all workers, halted guests', 'ms', goal=0)
    before = available()
    args = worker_options(bench, 'bench', 'bench=idle', GUEST_MIB)
    with many(bench, count, args + [f'--count={count}', '--in-flight=16', '--keep=1']) as pids:
        time.sleep(2)
        start = sum(activity(pid)[1] for pid in pids)
        time.sleep(seconds)
        cpu.add('vmmd', (sum(activity(pid)[1] for pid in pids) - start) * 1e3)
        # What lies in guest memory is what is resident and not the monitor's own.
        guest = sum(resident(pid) - own_memory(pid, GUEST_MIB * MIB)[0] for pid in pids[:50]) / 50
        each.add('vmmd', ((before - available()) / count - guest) / MIB)
        gone.add('vmmd', sum(not is_alive(pid) for pid in pids))
    qemu = next((m for m in bench.monitors if m.name == 'qemu-threads'), None)
    if qemu:
        count = 8 if bench.short else 40
        before = available()
        command = qemu.command(bench.guest('bench'), 'bench=idle', GUEST_MIB)
        args = [f'--count={count}', '--in-flight=8', '--keep=1', '--', *command]
        with many(bench, count, args) as pids:
            time.sleep(2)
            each.add('qemu', ((before - available()) / count - guest) / MIB)
    # What others on the machine do is more than a hundred machines take.
    return [gone, cpu] if bench.short else [gone, each, cpu]


SUITES = {'creation': creation, 'density': density}
