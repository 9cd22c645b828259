#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""json-verbs: each verb of vmmctl prints JSON with --json and nothing else on stdout, or says that it has none.

    json-verbs.py VMMCTL MOCK-VMMD POLICY
"""

import json
import subprocess
import sys
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish

VMMCTL, MOCK, POLICY = (Path(p).resolve() for p in sys.argv[1:4])
# What each verb with --json is called with, and whether an object or an array is expected.
CALLS = {
    "list": [([], list)],
    "status": [(["web"], list), ([], dict)],
    "show": [(["web"], list), ([], dict)],
    "is-active": [(["web", "db"], list)],
    "top": [(["--count=1", "--interval=0.1"], list)],
    "metrics": [([], list)],
    "list-jobs": [([], list)],
    "doctor": [([], list)],
    "memory": [(["web"], dict), (["web", "256M"], dict)],
    "list-devices": [(["web"], list)],
    "cat": [(["--root=root", "file"], list)],
    "verify": [(["--root=root"], list), (["--root=root", "file"], list), (["--keys"], list)],
    "list-images": [(["--root=root"], list)],
    "import-image": [(["--root=root", "disk.raw", "one"], dict)],
    "clone": [(["--root=root", "one", "two"], dict)],
    "help": [([], dict), (["list"], dict)],
}
# These have tests of their own: one goes on, one is journalctl's output.
ELSEWHERE = {"monitor", "logs"}


def run(bus, *words):
    return subprocess.run([VMMCTL, *words], cwd=bus.directory, env=bus.environment, stdin=subprocess.DEVNULL,
                          capture_output=True, encoding="utf-8", timeout=60)


def main():
    with PrivateBus(POLICY) as bus, MockDaemon(bus, MOCK):
        (bus.directory / "root/etc/vmm").mkdir(parents=True)
        (bus.directory / "root/etc/vmm/file.vm").write_text("[Boot]\nKernel=/bin/sh\n")
        (bus.directory / "root/var/lib/vmm").mkdir(parents=True)
        (bus.directory / "disk.raw").write_bytes(bytes(65536))
        verbs = json.loads(run(bus, "help", "-j").stdout)["verbs"]
        printing = {verb["name"] for verb in verbs if "json" in verb["options"]}
        check("all that print data are called", printing == set(CALLS) | ELSEWHERE,
              printing ^ (set(CALLS) | ELSEWHERE))
        for name, calls in CALLS.items():
            for arguments, kind in calls:
                done = run(bus, name, *arguments, "--json=short")
                try:
                    found = json.loads(done.stdout)
                except ValueError as error:
                    found = f"{error}: {done.stdout} {done.stderr}"
                check(f"{name} {arguments} prints JSON", isinstance(found, kind), found)
        for verb in verbs:
            if verb["name"] in printing:
                continue
            done = run(bus, verb["name"], "--json=short", "web", "x", "y")
            check(f"{verb['name']} has no JSON", done.returncode == 1 and done.stdout == "" and
                  "has no --json" in done.stderr, done)
    return finish()


sys.exit(main())
