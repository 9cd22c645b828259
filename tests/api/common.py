# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""What the api tests share: the block table, running a command, and counting results."""

import os
import re
import shlex
import subprocess
import sys

SOURCE_ROOT = os.environ['SOURCE_ROOT']
BUILD_ROOT = os.environ['BUILD_ROOT']
INCLUDE_DIR = os.path.join(SOURCE_ROOT, 'libvmmcore', 'include')
CC = shlex.split(os.environ['CC'])

_failed = []


def sanitizers():
    """The options that a program needs to link with archives of this build."""
    with open(os.path.join(BUILD_ROOT, 'compile_commands.json'), encoding='utf-8') as f:
        return sorted(set(re.findall(r'-fsanitize=[\w,]+', f.read())))


def block_table():
    """{block: [what it needs]}, in the order of the layers."""
    table = {}
    with open(os.environ['BLOCK_TABLE'], encoding='utf-8') as f:
        for line in f:
            if ':' in line:
                name, needs = line.split(':')
                table[name.strip()] = needs.split()
    return table


def closure(table, name):
    """name and all that it needs, directly or not."""
    found = {name}
    for need in table[name]:
        found |= closure(table, need)
    return found


def header(block):
    return os.path.join(INCLUDE_DIR, 'vmmcore', block + '.h')


def without_comments(text):
    return re.sub(r'/\*.*?\*/', ' ', text, flags=re.S)


def run(command, **kwargs):
    """Runs it; returns its output, or None and says why it failed."""
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            check=False, **kwargs)
    if result.returncode != 0:
        print('+ ' + ' '.join(command))
        print(result.stdout)
        return None
    return result.stdout


def check(condition, what):
    if not condition:
        print('not ok ' + what)
        _failed.append(what)
    else:
        print('ok ' + what)


def finish():
    sys.exit(1 if _failed else 0)
