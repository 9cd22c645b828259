# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
The vsock suite: streams both ways, one byte there and back, and many connections between a program
of the host and the bench guest. Ours by its own engine; QEMU's is the kernel's, where that is: a
host without it measures ours alone, and both in the test bed (vsock-bed).
"""

import contextlib
import os
import subprocess
import tempfile

from bed import run_monitors_in_bed
from monitors import busy_seconds
from report import Row

GIB = 1 << 30
MIB = 1 << 20
FIRST_CID = 77
VHOST = '/dev/vhost-vsock'


@contextlib.contextmanager
def a_guest(bench, monitor):
    """(the guest, its address for tests/perf/vsock-client)"""
    with tempfile.TemporaryDirectory() as folder:
        ours = monitor.name in ('vmmd', 'before')
        address = os.path.join(folder, 'vsock') if ours else str(FIRST_CID)
        with monitor.start(bench.guest('bench'), 'bench=vsock', vsock=address) as guest:
            guest.wait_for('BEGIN')
            yield guest, address


def vsock(bench):
    part = 10 if bench.short else 1
    stream = 2 * GIB // part
    kinds = (('send', '64 KiB stream to the guest', stream),
             ('receive', '64 KiB stream from the guest', stream),
             ('pingpong', 'one byte there and back', 20000 // part),
             ('connections', '1,000 connections', 1000))
    monitors = [m for m in bench.monitors if m.name in ('vmmd', 'before') or
                (m.name == 'qemu-threads' and os.path.exists(VHOST))]
    client = os.path.join(bench.build, 'tests', 'perf', 'vsock-client')
    rows = []
    for kind, text, n in kinds:
        if kind in ('send', 'receive'):
            row = Row('vsock', text, 'MiB/s', better='more', goal_ratio=1.5)
            cpu = Row('vsock', f'{text}, processor time a GiB', 's')
            rows += [row, cpu]
        elif kind == 'pingpong':
            row, cpu = Row('vsock', text, 'us'), None
            rows.append(row)
        else:
            row, cpu = Row('vsock', text, '1/s', better='more'), None
            rows.append(row)

        def measure(monitor):
            with a_guest(bench, monitor) as (guest, address):
                busy = busy_seconds(guest.pid)
                output = subprocess.run([client, address, kind, str(n)], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, timeout=300, check=True).stdout
                seconds = int(output) / 1e9
                name = 'qemu with vhost' if monitor.name == 'qemu-threads' else monitor.name
                if cpu:
                    row.add(name, n / MIB / seconds)
                    cpu.add(name, (busy_seconds(guest.pid) - busy) * GIB / n)
                elif kind == 'pingpong':
                    row.add(name, seconds / n * 1e6)
                else:
                    row.add(name, n / seconds)

        bench.each(f'vsock, {text}', measure, monitors)
    return rows


def vsock_bed(bench):
    mib, n = (8, 200) if bench.short else (32, 1000)
    streams = {
        kind: (Row('vsock-bed', f'64 KiB stream {text} the guest', 'MiB/s', better='more',
                   goal_ratio=1.5),
               Row('vsock-bed', f'64 KiB stream {text} the guest, processor time a GiB', 's'))
        for kind, text in (('send', 'to'), ('receive', 'from'))}
    pingpong = Row('vsock-bed', 'one byte there and back', 'us')
    connections = Row('vsock-bed', 'connections, one after another', '1/s', better='more')
    programs = os.path.join(bench.build, 'tests', 'perf')
    output = run_monitors_in_bed(
        bench, 'bed-vsock', [os.path.join(programs, 'vsock-client'), bench.guest('bench')],
        [str(bench.runs), str(mib), str(n)])
    print('vsock-bed: the bench guest in the test bed, an emulated machine; QEMU with vhost-vsock')
    for line in output.splitlines():
        kind, who, nanoseconds, busy = line.split()
        seconds = int(nanoseconds) / 1e9
        if kind in streams:
            rate, cpu = streams[kind]
            rate.add(who, mib / seconds)
            # What the kernel's own thread for vhost takes does not count among QEMU's.
            if who == 'vmmd':
                cpu.add(who, int(busy) / 1e9 * 1024 / mib)
        elif kind == 'pingpong':
            pingpong.add(who, seconds / n * 1e6)
        else:
            connections.add(who, n / seconds)
    return [*streams['send'], *streams['receive'], pingpong, connections]


SUITES = {'vsock': vsock, 'vsock-bed': vsock_bed}
