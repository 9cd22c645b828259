#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""bus-access: what the shipped bus policy lets root and others do, tried on a real bus.

    bus-access.py VMMCTL MOCK-VMMD POLICY
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish

NOBODY = 65534
vmmctl, mock, policy = (Path(p).resolve() for p in sys.argv[1:4])


def busctl(bus, *words, user=NOBODY):
    result = subprocess.run(
        ["busctl", f"--address={bus.address}", *words],
        user=user,
        group=user,
        extra_groups=[],
        env=bus.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=20,
    )
    return result.returncode, (result.stdout + result.stderr).decode()


def may(bus, what, allowed, *words, user=NOBODY):
    status, said = busctl(bus, *words, user=user)
    denied = "Access denied" in said or "not allowed" in said or "AccessDenied" in said
    if allowed:
        check(what, status == 0, said)
    else:
        check(what, status != 0 and denied, said)


if os.geteuid() != 0 or not shutil.which("busctl"):
    print("this needs root and busctl")
    sys.exit(77)

vmmd = ["org.vmmd1", "/org/vmmd1"]
properties = "org.freedesktop.DBus.Properties"
with PrivateBus(policy) as bus:
    # A copy, as the build tree may lie where nobody cannot look.
    own = subprocess.run(
        [shutil.copy(mock, bus.directory)], user=NOBODY, group=NOBODY, extra_groups=[], env=bus.environment,
        capture_output=True, timeout=20,
    )
    check("nobody may not have the name", own.returncode == 1 and b"ready" not in own.stdout)
    with MockDaemon(bus, mock):
        may(bus, "nobody lists", True, "call", *vmmd, "org.vmmd1.Manager", "ListMachines")
        may(bus, "nobody looks", True, "tree", "org.vmmd1")
        may(bus, "nobody introspects", True, "introspect", *vmmd)
        may(bus, "nobody gets all objects", True, "call", *vmmd,
            "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
        may(bus, "nobody gets a property", True, "call", *vmmd, properties, "Get", "ss",
            "org.vmmd1.Manager", "Version")
        # vmmd asks polkit whether this caller may.
        may(bus, "nobody's start arrives", True, "call", *vmmd, "org.vmmd1.Manager",
            "StartMachine", "sst", "db", "replace", "0")
        may(bus, "nobody sets no property", False, "call", *vmmd, properties, "Set", "ssv",
            "org.vmmd1.Manager", "Version", "s", "x")
        may(bus, "nobody calls nothing else", False, "call", *vmmd, "org.vmmd1.Manager",
            "Nonsense")
        may(bus, "nobody calls no other interface", False, "call", *vmmd, "org.vmmd2.Manager",
            "ListMachines")
        may(bus, "root lists", True, "call", *vmmd, "org.vmmd1.Manager", "ListMachines", user=0)
        signals = subprocess.Popen(
            ["busctl", f"--address={bus.address}", "--match=type='signal',sender='org.vmmd1'",
             "monitor"], env=bus.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        subprocess.run([vmmctl, "start", "late"], env=bus.environment, check=True)
        time.sleep(0.5)
        signals.terminate()
        check("signals are sent", b"JobRemoved" in signals.communicate()[0])
sys.exit(finish())
