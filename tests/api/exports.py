# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""libvmmcore.so exports what the public headers declare with VMM_PUBLIC, and nothing else."""

import re
import sys

from common import block_table, check, finish, header, run, without_comments

declared = set()
for block in block_table():
    with open(header(block), encoding='utf-8') as f:
        text = re.sub(r'^\s*#.*$', '', without_comments(f.read()), flags=re.M)
    for declaration in re.findall(r'VMM_PUBLIC\s+([^;{]*?)[;{]', text, flags=re.S):
        match = re.search(r'\b(vmm_\w+)\s*(\(|\[|$)', declaration.strip())
        check(match is not None, f'{block}.h: "{" ".join(declaration.split())}" has a name')
        if match:
            declared.add(match.group(1))

output = run(['nm', '-D', '--defined-only', sys.argv[1]])
exported = {line.split()[-1].split('@')[0] for line in output.splitlines()}
exported.discard('VMMCORE_0')

check(not declared - exported, f'declared and not exported: {sorted(declared - exported)}')
check(not exported - declared, f'exported and not declared: {sorted(exported - declared)}')
check(len(exported) > 10, f'{len(exported)} symbols')
dynamic = run(['readelf', '-d', sys.argv[1]])
check('[libvmmcore.so.0]' in dynamic, 'its SONAME is libvmmcore.so.0')
needed = set(re.findall(r'NEEDED.*\[(.*)\]', dynamic))
check(needed <= {'libc.so.6', 'ld-linux-x86-64.so.2', 'libasan.so.8', 'libubsan.so.1', 'libtsan.so.2'},
      f'it needs libc alone: {sorted(needed)}')
finish()
