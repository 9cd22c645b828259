#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""root: vmmctl's verbs that read .vm files themselves read those of the vmmd that runs, also where
that has a --root= of its own.

    root.py VMMCTL VMMD POLICY
"""

import os
import subprocess
import sys
import time
from pathlib import Path

from private_bus import PrivateBus
from tally import check, finish

VMMCTL, VMMD, POLICY = (Path(p).resolve() for p in sys.argv[1:4])
TEXT = "[Boot]\nKernel=/boot/vmlinuz\n"


def run(bus, *words, **environment):
    result = subprocess.run([VMMCTL, *words], env={**bus.environment, **environment}, timeout=60,
                            stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8")
    return result.returncode, result.stdout + result.stderr


def wait_for(bus, daemon):
    end = time.monotonic() + 30
    while run(bus, "list")[0] != 0:
        if daemon.poll() is not None or time.monotonic() > end:
            sys.exit("vmmd did not start")
        time.sleep(0.05)


if os.geteuid() != 0:
    print("this needs root")
    sys.exit(77)
with PrivateBus(POLICY) as bus:
    root = bus.directory / "root"
    (root / "etc/vmm").mkdir(parents=True)
    file = root / "etc/vmm/only-below-root.vm"
    file.write_text(TEXT)
    daemon = subprocess.Popen([VMMD, "--spawn=direct", f"--root={root}"], env=bus.environment,
                              stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(bus, daemon)
        status, said = run(bus, "cat", "only-below-root")
        check("cat", (status, said) == (0, f"# {file}\n{TEXT}"), said)
        status, said = run(bus, "edit", "only-below-root", EDITOR="sed -i s/vmlinuz/bzImage/")
        check("edit", status == 0, said)
        check("what was edited", file.read_text() == TEXT.replace("vmlinuz", "bzImage"), file.read_text())
        # --root= goes before what vmmd has.
        status, said = run(bus, "cat", "--root=/nowhere", "only-below-root")
        check("cat --root=", status == 1 and "/nowhere/etc/vmm" in said, said)
    finally:
        daemon.terminate()
        daemon.wait()
    # Without a vmmd, it is / that counts.
    status, said = run(bus, "cat", "only-below-root")
    check("cat without vmmd", status == 1 and " in /etc/vmm" in said, said)
sys.exit(finish())
