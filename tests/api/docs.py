#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""docs: manual pages are well-formed and tell of each verb, option, key and call; units name pages
that exist; the completions complete.

    docs.py VMMCTL MOCK-VMMD POLICY MAN-DIRECTORY COMPLETION-DIRECTORY UNIT-DIRECTORY DBUS-DIRECTORY VMMD
"""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish
from zsh import Zsh

VMMCTL, MOCK, POLICY, MAN, COMPLETION, UNITS, DBUS, VMMD = (
    Path(p).resolve() for p in sys.argv[1:9]
)
HEADERS = DBUS.parent / "libvmmcore/include/vmmcore"
PAGES = ["vmmctl.1", "vmmd.8", "vmm@.service.8", "vmm.vm.5", "org.vmmd1.5", "vmm-metrics.7", "vmm-proxy@.service.8"]


def output(*words):
    return subprocess.run(words, check=True, capture_output=True, encoding="utf-8").stdout


def shown(page):
    """The page as a reader sees it, on one line."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"}
    text = subprocess.run(["man", "--no-hyphenation", "--no-justification", "-l", MAN / page],
                          check=True, capture_output=True, encoding="utf-8", env=environment).stdout
    return re.sub(r"\s+", " ", text.replace("‐\n", "-").replace("‐", "-"))


def manual():
    if not shutil.which("man"):
        print("there is no man")
        sys.exit(77)
    texts = {}
    for page in PAGES:
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", MAN / page],
                                capture_output=True, encoding="utf-8", env=environment)
        check(f"{page}: no warnings", result.returncode == 0 and result.stderr == "", result.stderr)
        texts[page] = shown(page)
    tables = json.loads(output(VMMCTL, "help", "--json=short"))
    for verb in tables["verbs"]:
        check(f"vmmctl.1: verb {verb['name']}",
              f"{verb['name']} {verb['arguments']} {verb['summary']}.".replace("  ", " ")
              in texts["vmmctl.1"])
    for option in tables["options"]:
        form = f"-{option['letter']}" if option["letter"] else f"--{option['name']}"
        check(f"vmmctl.1: option {form}", re.search(rf" {re.escape(form)}\b", texts["vmmctl.1"]))
    for option in re.findall(r"--[a-z]+(?:=[a-z]*)?", output(VMMD, "--help")):
        check(f"vmmd.8: option {option}", f" {option}" in texts["vmmd.8"] or f", {option}" in texts["vmmd.8"])
    # Type, limits and default of each key as the parser's own table has them.
    keys = re.findall(r"^(\w+= \(.*\))$", output(VMMCTL, "verify", "--keys"), re.M)
    check("keys have defaults", sum(", default " in key for key in keys) > len(keys) / 3, keys)
    for key in keys:
        check(f"vmm.vm.5: {key}", f" {key} " in texts["vmm.vm.5"])
    for path in DBUS.glob("org.vmmd1.*.xml"):
        for element in ElementTree.parse(path).iter():
            if element.tag in ("method", "signal", "property"):
                form = rf" {element.tag} {element.get('name')}\b"
                check(f"org.vmmd1.5:{form}", re.search(form, texts["org.vmmd1.5"]))
    for page in sorted(p.name for p in MAN.glob("*.3")):
        environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": ""}
        result = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", MAN / page],
                                capture_output=True, encoding="utf-8", env=environment)
        check(f"{page}: no warnings", result.returncode == 0 and result.stderr == "", result.stderr)
        text = (MAN / page).read_text().replace("\\-", "-")
        if page == "libvmmcore.3":
            for header in HEADERS.glob("*.h"):
                check(f"{page}: {header.stem}", f"vmmcore-{header.stem}\\fR" in text)
            continue
        header = (HEADERS / page.replace("vmmcore-", "").replace(".3", ".h")).read_text()
        for function in re.findall(r"^VMM_PUBLIC [^;]*?\b(vmm_\w+)\(", header, re.M):
            check(f"{page}: {function}", f"{function}(" in text)
    for unit in ("vmm@.service", "vmmd.service", "vmmd.socket", "vmm-metrics.socket",
                 "vmm-metrics@.service", "vmm-proxy@.service", "vmm-proxy@.socket"):
        for page, section in re.findall(r"man:([\w@.-]+)\((\d)\)", (UNITS / unit).read_text()):
            check(f"{unit}: {page}({section}) exists", f"{page}.{section}" in PAGES)


def completes(bus, line):
    """What bash offers at the end of line."""
    words = re.findall(r"[=:]|[^\s=:]+", line) + ([""] if line.endswith(" ") else [])
    script = f"""
        source {COMPLETION}/vmmctl
        COMP_WORDS=({" ".join(f"'{word}'" for word in words)})
        COMP_CWORD={len(words) - 1}
        _vmmctl
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True,
                            encoding="utf-8", cwd=bus.directory,
                            env={**bus.environment, "PATH": f"{VMMCTL.parent}:/usr/bin:/bin"})
    check(f"no error completing {line!r}", result.stderr == "", result.stderr)
    return set(result.stdout.split())


NAMES = {"broken", "crash", "db", "late", "locked", "odd", "web"}
VERBS = {verb["name"]: verb["options"] for verb in json.loads(output(VMMCTL, "help", "-j"))["verbs"]}
# Of any shell: what it offers at the end of the line.
OFFERED = [
    ("vmmctl ", set(VERBS)),
    ("vmmctl help ", set(VERBS)),
    ("vmmctl -q st", {"status", "start", "stop"}),
    ("vmmctl start ", NAMES),
    ("vmmctl -q start ", NAMES),
    ("vmmctl start web ", NAMES),
    ("vmmctl start --no-block l", {"late", "locked"}),
    ("vmmctl stop ", NAMES - {"broken", "db", "late"}),
    ("vmmctl poweroff d", set()),
    ("vmmctl console w", {"web"}),
    ("vmmctl cancel ", {"7"}),
    ("vmmctl stop --f", {"--force"}),
    ("vmmctl console --st", {"--steal"}),
    ("vmmctl list --st", {"--state"}),
    ("vmmctl list --json=", {"pretty", "short", "off"}),
    ("vmmctl list --json=p", {"pretty"}),
    ("vmmctl list --state r", {"running"}),
    ("vmmctl forward --on-idle=s", {"stop"}),
    ("vmmctl kill -s HU", {"HUP"}),
    ("vmmctl reload ", set()),
    ("vmmctl verify w", {"web"}),
    ("vmmctl run --kernel=zI", {"zImage"}),
    ("vmmctl define zI", {"zImage"}),
    ("vmmctl cp zI", {"zImage"}),
    ("vmmctl cp zImage w", {"web:"}),
    ("vmmctl cp d", set()),
    ("vmmctl cp web:zI", set()),
]


def offers(shell, complete):
    for line, expected in OFFERED:
        got = complete(line)
        check(f"{shell} completes {line!r}", got == expected, got)
    for verb, options in VERBS.items():
        got = complete(f"vmmctl {verb} --")
        long_ones = {f"--{o}" for o in options if o not in ("json-auto", "property-value")}
        check(f"{shell}: options of {verb}", long_ones <= got, long_ones - got)


def completion():
    with PrivateBus(POLICY) as bus, MockDaemon(bus, MOCK):
        (bus.directory / "zImage").touch()
        offers("bash", lambda line: completes(bus, line))
        if not shutil.which("zsh"):
            print("there is no zsh")
            sys.exit(77)
        result = subprocess.run(["zsh", "-n", COMPLETION / "_vmmctl"], capture_output=True)
        check("zsh reads it", result.returncode == 0 and result.stderr == b"", result.stderr)
        environment = {**bus.environment, "PATH": f"{VMMCTL.parent}:/usr/bin:/bin"}
        with Zsh(COMPLETION, bus.directory, environment) as zsh:
            offers("zsh", zsh.offers)


manual()
completion()
sys.exit(finish())
