# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""The boot of a stock kernel, in the test bed: not every KVM runs one, and the bed's does."""

import os

from bed import run_monitors_in_bed
from report import Row


def boot(bench):
    total = Row('boot', 'exec to the first process', 'ms', goal_ratio=0.8)
    inside = Row('boot', "of that by the guest's clock", 'ms')
    share = Row('boot', "the monitor's share, with the same initrd", 'ms', goal_ratio=0.2)
    output = run_monitors_in_bed(bench, 'bed-boot', [bench.guest('first')], [str(bench.runs)])
    print("boot: Debian's cloud kernel in the test bed, an emulated machine with its own KVM")
    for line in output.splitlines():
        figure, who, microseconds, *uptime = line.split()
        if figure == 'first':
            share.add(who, int(microseconds) / 1e3)
        else:
            total.add(who, int(microseconds) / 1e3)
            inside.add(who, int(uptime[0]))
    return [total, inside, share]


SUITES = {'boot': boot}
