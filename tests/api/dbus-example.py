#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""dbus-example: the example of a client of org.vmmd1 works as it is, against mock-vmmd.

    dbus-example.py EXAMPLE MOCK-VMMD POLICY
"""

import subprocess
import sys
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish

EXAMPLE, MOCK, POLICY = (Path(p).resolve() for p in sys.argv[1:4])


def run(bus, *names):
    return subprocess.run([EXAMPLE, *names], env=bus.environment, timeout=60,
                          capture_output=True, encoding="utf-8")


# Debian's own Python, as the example names it. Not from here: there is a directory dbus.
if subprocess.run(["/usr/bin/python3", "-c", "import dbus"], cwd="/usr", capture_output=True).returncode != 0:
    print("there is no python3-dbus")
    sys.exit(77)
with PrivateBus(POLICY) as bus, MockDaemon(bus, MOCK) as mock:
    result = run(bus, "db", "web")
    check("it starts machines", result.returncode == 0, result.stderr)
    for name in ("db", "web"):
        check(f"{name} runs", f"{name}: running, guest running, process" in result.stdout, result.stdout)
    log = mock.log()
    check("both were started", "start db" in log and "start web" in log, log)
    result = run(bus, "broken")
    check("a failure is its status", result.returncode == 1, result.stdout)
    result = run(bus, "nothing")
    check("an error has its name", "org.vmmd1.NoSuchMachine" in result.stderr, result.stderr)
sys.exit(finish())
