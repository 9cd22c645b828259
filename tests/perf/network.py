# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The network suite: a tap in a network namespace of its own, frames both ways."""

import contextlib
import os
import shutil
import subprocess
import time

from monitors import Guest, busy_seconds, inside, own_memory
from report import Row

TAP = 'bench0'
SEGMENTS_BYTES = 45 * 1448 + 54  # as many full ones of TCP as go into the 64 KiB of one frame
MIB = 1 << 20


@contextlib.contextmanager
def namespace():
    """A network namespace with a tap in it, as its name; None where that may not be made."""
    name = f'vmmd-bench-{os.getpid()}'
    inside = ['ip', 'netns', 'exec', name]
    commands = (
        ['ip', 'netns', 'add', name],
        [*inside, 'sh', '-c', 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6 || :'],
        [*inside, 'ip', 'tuntap', 'add', TAP, 'mode', 'tap', 'vnet_hdr'],
        [*inside, 'ip', 'link', 'set', TAP, 'up'],
    )
    if not shutil.which('ip'):
        yield None
        return
    try:
        made = all(subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0
                   for command in commands)
        yield name if made else None
    finally:
        subprocess.run(['ip', 'netns', 'del', name], stderr=subprocess.DEVNULL, check=False)


@contextlib.contextmanager
def flood(bench, netns, size):
    program = os.path.join(bench.build, 'tests', 'perf', 'net-flood')
    with subprocess.Popen(['ip', 'netns', 'exec', netns, program, TAP, str(size)]) as process:
        try:
            yield
        finally:
            process.kill()


def send_or_receive(bench, monitor, netns, operation, size, count):
    """(frames a second, the monitor's own processor time in seconds a frame)"""
    options = f'bench=net op={operation} size={size} n={count}'
    with monitor.start(bench.guest('bench'), options, tap=TAP, netns=netns) as guest:
        begin, _ = guest.wait_for('BEGIN')
        busy = busy_seconds(guest.pid)
        if operation == 'send':
            end, _ = guest.wait_for('END', 300)
        else:
            with flood(bench, netns, size):
                begin, _ = guest.wait_for('FIRST')
                end, _ = guest.wait_for('END', 300)
        return count / (end - begin), (busy_seconds(guest.pid) - busy) / count


class Limit:
    """No monitor, but the bare loop that does the same to the same tap: what the host allows."""
    name = 'limit'

    def __init__(self, bench):
        self.program = os.path.join(bench.build, 'tests', 'perf', 'tap-limit')

    def start(self, _kernel, options, tap, netns):
        given = dict(option.split('=') for option in options.split())
        return Guest(inside(netns, [self.program, tap, given['op'], given['size'], given['n']]))


def tap_monitors(bench):
    return [m for m in bench.monitors if m.name in ('vmmd', 'before', 'qemu-threads')]


def network(bench):
    rows = []
    with namespace() as netns:
        for operation in ('send', 'receive'):
            for size, text, full in ((64, '64 B', 1000000), (1500, '1500 B', 1000000),
                                     (SEGMENTS_BYTES, '64 KiB segments', 200000)):
                segments = size > 1514
                row = Row('network', f'{operation}, {text}', 'MiB/s' if segments else 'frames/s',
                          better='more', goal_ratio=1.5)
                cpu = Row('network', f'{operation}, {text}, processor time a frame', 'us')
                rows += [row, cpu]
                if not netns:
                    continue
                count = full // 10 if bench.short else full

                def measure(monitor):
                    rate, busy = send_or_receive(bench, monitor, netns, operation, size, count)
                    name = 'qemu' if monitor.name == 'qemu-threads' else monitor.name
                    row.add(name, rate * size / MIB if segments else rate)
                    cpu.add(name, busy * 1e6)

                bench.each(f'network, {operation} {text}', measure,
                           [*tap_monitors(bench), Limit(bench)])
    return rows


def loaded(bench, drive):
    """Memory beside the guest's, the most of what was seen while it works."""
    rows = []
    with namespace() as netns:
        for name, cmdline, device in (
                ('block', 'bench=blk op=read size=4096 depth=32 n=1000000000', {'drive': drive}),
                ('network', 'bench=net op=send size=1500 n=1000000000',
                 {'tap': TAP, 'netns': netns})):
            row = Row('memory', f'beside the guest under {name} load, RSS', 'MiB', goal=3)
            rows.append(row)
            if name == 'network' and not netns:
                continue

            def measure(monitor):
                with monitor.start(bench.guest('bench'), cmdline, **device) as guest:
                    guest.wait_for('BEGIN')
                    deadline = time.monotonic() + 1
                    most = 0
                    while time.monotonic() < deadline:
                        most = max(most, own_memory(guest.pid, 128 * MIB)[0])
                        time.sleep(0.01)
                    row.add(monitor.name, most / MIB)

            bench.each(f'memory under {name} load', measure, tap_monitors(bench))
    return rows


SUITES = {'network': network}
