# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The boot of a stock kernel, in the test bed: not every KVM runs one, and the bed's does."""

import os
import shutil
import tempfile

from bed import TESTS, copy_qemu, run_in_bed
from report import Row


def boot(bench):
    total = Row('boot', 'exec to the first process', 'ms', goal_ratio=0.8)
    inside = Row('boot', "of that by the guest's clock", 'ms')
    share = Row('boot', "the monitor's share", 'ms', goal_ratio=0.2)
    files = [os.path.join(bench.build, 'tests', 'perf', 'launch'),
             os.path.join(TESTS, 'perf', 'bed-boot')]
    with tempfile.TemporaryDirectory() as folder:
        if shutil.which('qemu-system-x86_64'):
            copy_qemu(os.path.join(folder, 'qemu'))
            files.append(os.path.join(folder, 'qemu'))
        output = run_in_bed(files, 'bed-boot', [str(bench.runs)])
    print("boot: Debian's cloud kernel in the test bed, an emulated machine with its own KVM")
    for line in output.decode().splitlines():
        who, microseconds, milliseconds = line.split()
        all_of_it = int(microseconds) / 1e3
        total.add(who, all_of_it)
        inside.add(who, int(milliseconds))
        share.add(who, all_of_it - int(milliseconds))
    return [total, inside, share]


SUITES = {'boot': boot}
