#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""readme: runs the commands of README.md that need no systemd: those that build and install, in a
copy of the tree whose build directory is this one, and those that use the library. The system
tests run the others; here it is checked that there are no commands that neither runs.

    readme.py SOURCE-ROOT BUILD-ROOT
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tally import check, finish

source, build = (Path(p).resolve() for p in sys.argv[1:3])


def blocks():
    text = (source / "README.md").read_text(encoding="utf-8")
    found = {}
    for label, body in re.findall(r"^```sh ?(\w*)\n(.*?)^```$", text, re.M | re.S):
        found[label] = body
    check("each block of commands has a label of its own", len(found) == text.count("\n```sh"))
    check("there is nothing else in a block", text.count("\n```sh") * 2 == text.count("\n```"))
    return found


def commands(body):
    for line in body.splitlines():
        line = re.sub(r"\s+# .*", "", line).removeprefix("sudo ")
        if line:
            yield line


def run(command, **options):
    result = subprocess.run(["sh", "-ec", command], stdin=subprocess.DEVNULL,
                            capture_output=True, encoding="utf-8", timeout=600, **options)
    check(command, result.returncode == 0, result.stdout + result.stderr)



found = blocks()
check("labels", set(found) <= {"", "packages", "build", "install", "tour", "library"}, set(found))
# These run what runs this: that they are there and know their options is what is left to see.
for command in commands(found[""]):
    run(f"{command} --help", cwd=source)
# Installing them is what tests/check begins with, where it is what it takes from this list.
needed = re.findall(r"^build: (.*)$", (source / "tests/lib/packages").read_text(), re.M)
named = found["packages"].replace("\\\n", "").split()
check("apt-get installs", named[:3] == ["sudo", "apt-get", "install"], found["packages"])
check("the packages that building needs", sorted(named[3:]) == sorted(" ".join(needed).split()),
      found["packages"])
# Of the packages here only those: what has a .pc file and is not of them is not found.
with tempfile.TemporaryDirectory() as tree:
    for package in named[3:]:
        files = subprocess.run(["dpkg", "-L", package], capture_output=True, encoding="utf-8")
        for path in re.findall(r"^/.*\.pc$", files.stdout, re.M):
            (Path(tree) / Path(path).name).symlink_to(path)
    setup = next(commands(found["build"])).split()
    setup[setup.index("build")] = f"{tree}/build"
    run(" ".join(setup), cwd=source, env={**os.environ, "PKG_CONFIG_LIBDIR": tree})
with tempfile.TemporaryDirectory() as tree:
    for entry in source.iterdir():
        if not entry.name.startswith("build") and entry.name != ".git":
            (Path(tree) / entry.name).symlink_to(entry)
    (Path(tree) / "build").symlink_to(build)
    root = Path(tree) / "installed"
    for command in commands(found["build"]):
        run(command, cwd=tree, env={**os.environ, "DESTDIR": str(root)})
    check("vmmctl is installed", any(root.rglob("bin/vmmctl")))

    # The first command of the library's; a system test runs the monitor. A build with sanitizers
    # needs a compiler with them.
    options = set(re.findall(r"-fsanitize=[\w,]+", (build / "compile_commands.json").read_text()))
    tools = Path(tree) / "tools"
    tools.mkdir()
    (tools / "cc").write_text(f'#!/bin/sh\nexec {os.environ["CC"]} {" ".join(options)} "$@"\n')
    (tools / "cc").chmod(0o755)
    compile_line = next(commands(found["library"]))
    check("it compiles", compile_line.startswith("cc "), compile_line)
    pkgconfig = next(root.rglob("vmmcore.pc")).parent
    run(compile_line, cwd=tree, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}",
        "PKG_CONFIG_PATH": str(pkgconfig), "PKG_CONFIG_SYSROOT_DIR": str(root)})
    check("tinyvmm is there", (Path(tree) / "tinyvmm").exists())

text = (source / "README.md").read_text(encoding="utf-8")
for directory in sorted(p.name for p in source.iterdir() if (p / "meson.build").exists()):
    if directory.startswith("build") or directory == "packages":
        continue
    check(f"the layout names {directory}/", f"{directory}/" in text)
sys.exit(finish())
