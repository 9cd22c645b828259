# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Each public header compiles alone, twice in one file, as C11 and as C++17, with no extension."""

import shutil
import sys

from common import CC, INCLUDE_DIR, block_table, check, finish, run

CXX = shutil.which('c++')
if not CXX:
    print('no C++ compiler')
    sys.exit(77)

WARNINGS = ['-Wall', '-Wextra', '-Wundef', '-Wshadow', '-pedantic-errors', '-Werror']

for block in block_table():
    source = f'#include <vmmcore/{block}.h>\n#include <vmmcore/{block}.h>\nextern int unused_;\n'
    for language, compiler, standard in (('c', CC, 'c11'), ('c++', [CXX], 'c++17')):
        output = run(compiler + ['-x', language, f'-std={standard}', '-fsyntax-only', '-I', INCLUDE_DIR]
                     + WARNINGS + ['-'], input=source)
        check(output is not None, f'{block}.h as {standard}')
finish()
