#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""monitor: what vmmctl monitor prints while machines start and end, against mock-vmmd.

    monitor.py VMMCTL MOCK-VMMD POLICY
"""

import json
import subprocess
import sys
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish

VMMCTL, MOCK, POLICY = (Path(p).resolve() for p in sys.argv[1:4])


class Monitor:
    def __init__(self, bus, *words):
        self.process = subprocess.Popen([VMMCTL, "monitor", *words], env=bus.environment,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        encoding="utf-8")
        check("it says that it watches", "Watching" in self.process.stderr.readline())

    def until(self, text):
        lines = []
        while not lines or text not in lines[-1]:
            line = self.process.stdout.readline()
            if not line:
                check(f"{text} is seen", False, lines)
                break
            lines.append(line)
        return lines

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=20)


def main():
    with PrivateBus(POLICY) as bus:
        with MockDaemon(bus, MOCK) as mock:
            every, one, plain = Monitor(bus, "--json=pretty"), Monitor(bus, "-j", "web"), Monitor(bus)
            subprocess.run([VMMCTL, "start", "db"], env=bus.environment, check=True)
            events = [json.loads(line) for line in every.until("job-removed")]
            states = [e["state"] for e in events if e["event"] == "changed" and e["machine"] == "db"]
            check("its state is seen", states[-1] == "running", events)
            check("times are there", all(e["timestamp"] > 1.6e15 for e in events), events)
            check("the result is there", events[-1]["result"] == "done", events)
            text = "".join(plain.until(": done"))
            check("people can read it", "  db State=running" in text, text)
            subprocess.run([VMMCTL, "stop", "web"], env=bus.environment, check=True)
            events = [json.loads(line) for line in one.until("job-removed")]
            check("others are left out", {e["machine"] for e in events} == {"web"}, events)
        events = [json.loads(line) for line in every.until("vmmd-ended")]
        check("the end of vmmd is seen", "machine" not in events[-1], events)
        for monitor in (every, one, plain):
            monitor.end()
    return finish()


sys.exit(main())
