# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
No block includes what its row of the table does not give it: neither another block's public
header nor, but for base, another block's internal one. Nor does any block know the service. And the test link of each block, which the build
does, is one that an upward call really fails.
"""

import os
import re
import tempfile

from common import (BUILD_ROOT, CC, SOURCE_ROOT, block_table, check, closure, finish, header, run,
                    sanitizers, without_comments)

FOREIGN = re.compile(r'systemd/|dbus/|cap-ng|^(vmmd|worker|vmmctl)/')
# Output to people and ends of the process are the monitor's.
FORBIDDEN_CALLS = re.compile(
    r'\b(printf|fprintf|vfprintf|perror|puts|fputs|syslog|exit|_exit|abort|err|errx|warn|warnx)\s*\(')

table = block_table()
for block in table:
    folder = os.path.join(SOURCE_ROOT, 'libvmmcore', block)
    paths = [header(block)]
    for name in sorted(os.listdir(folder)):
        if name.endswith(('.c', '.h')):
            paths.append(os.path.join(folder, name))
    allowed = closure(table, block)
    for path in paths:
        with open(path, encoding='utf-8') as f:
            text = f.read()
        where = os.path.relpath(path, SOURCE_ROOT)
        includes = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', text, flags=re.M)
        for include in includes:
            if include.startswith('vmmcore/'):
                check(include[len('vmmcore/'):-len('.h')] in allowed, f'{where} includes {include}')
            elif '/' in include and include.split('/')[0] in table:
                check(include.split('/')[0] in (block, 'base'), f'{where} includes {include}')
            elif FOREIGN.search(include):
                check(False, f'{where} includes {include}')
        if path.endswith('.c') and not name.startswith('tool-'):
            calls = FORBIDDEN_CALLS.findall(re.sub(r'"(\\.|[^"\\])*"', '""', without_comments(text)))
            check(not calls, f'{where} neither prints nor exits {calls if calls else ""}')


def links(block, symbol):
    """Whether a shared object of block and a call of symbol links with what the table gives it."""
    with tempfile.TemporaryDirectory() as folder:
        archives = [os.path.join(BUILD_ROOT, 'libvmmcore', f'libvmmcore-{name}.a')
                    for name in sorted(closure(table, block), reverse=True)]
        return run(CC + sanitizers() + ['-shared', '-fPIC', '-x', 'c', '-', '-x', 'none', '-Wl,--no-undefined',
                         '-Wl,--start-group'] + archives + ['-Wl,--end-group', '-pthread',
                         '-o', os.path.join(folder, 'link.so')],
                   input=f'int {symbol}(void); int call(void); int call(void) {{ return {symbol}(); }}\n')


check(links('mem', 'vmm_version') is not None, 'a call of a lower layer links')
check(links('mem', 'vmm_bus_new') is None, 'a call of a block that the table does not give does not')
finish()
