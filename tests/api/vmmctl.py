#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""vmmctl: what vmmctl prints and returns, against mock-vmmd on a private bus.

    vmmctl.py VMMCTL MOCK-VMMD POLICY TRANSCRIPT [--update]

The transcript has comments ("## TEXT"), commands ("$ COMMAND", a line of shell), what they print, stderr too, what the
mock was asked ("| LINE"), and the exit status where it is not 0 ("[STATUS]"). --update writes it
anew.
"""

import difflib
import re
import subprocess
import sys
from pathlib import Path

from private_bus import MockDaemon, PrivateBus


def parse(text):
    """[(comment lines, command, expected lines)]"""
    entries = []
    comments = []
    for line in text.splitlines():
        if line.startswith("## ") and (not entries or entries[-1][2][-1:] == [""]):
            comments.append(line)
        elif line.startswith("$ "):
            entries.append((comments, line[2:], []))
            comments = []
        elif entries:
            entries[-1][2].append(line)
    return entries


def stable(text):
    text = re.sub(r"\b[A-Z][a-z]{2} \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME", text)
    # The machine that runs this may have systemd or not.
    text = re.sub(r'^(See "vmmctl status \S+") and .*$', r"\1 and the log.", text, flags=re.M)
    return re.sub(r"\b1[5-9]\d{14}\b", "USEC", text)


def without_last_blanks(lines):
    while lines and lines[-1] == "":
        lines.pop()
    return lines


def run(bus, mock, command, vmmctl):
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=bus.directory / "work",
        env={**bus.environment, "PATH": f"{vmmctl.parent}:/usr/bin:/bin", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=30,
    )
    text = stable(result.stdout.decode())
    if text and not text.endswith("\n"):
        text += "\\\n"
    text += "".join(f"| {line}\n" for line in mock.log().splitlines())
    if result.returncode != 0:
        text += f"[{result.returncode}]\n"
    return text.splitlines()


def main():
    vmmctl, mock_program, policy, transcript = (Path(p).resolve() for p in sys.argv[1:5])
    entries = parse(transcript.read_text(encoding="utf-8"))
    passed = failed = 0
    output = []
    with PrivateBus(policy) as bus:
        (bus.directory / "work").mkdir()
        with MockDaemon(bus, mock_program) as mock:
            for comments, command, expected in entries:
                expected = without_last_blanks(expected)
                got = without_last_blanks(run(bus, mock, command, vmmctl))
                output += comments + [f"$ {command}"] + got + [""]
                if got == expected:
                    passed += 1
                    continue
                failed += 1
                print(f"FAILED: {command}")
                print("\n".join(difflib.unified_diff(expected, got, "expected", "got", "", "", 3, "")))
    if sys.argv[5:] == ["--update"]:
        transcript.write_text("\n".join(output), encoding="utf-8")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed or passed == 0 else 0


sys.exit(main())
