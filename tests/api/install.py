# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
An installed libvmmcore is all that one needs: for each block, a program that includes its header
and pulls in its whole archive builds with what pkg-config says, statically, and runs; and one
program builds against the shared library.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from common import BUILD_ROOT, CC, block_table, check, finish, run, sanitizers

if not shutil.which('pkg-config'):
    print('no pkg-config')
    sys.exit(77)

with tempfile.TemporaryDirectory() as root:
    ok = run(['meson', 'install', '-C', BUILD_ROOT, '--no-rebuild', '--quiet', '--destdir', root])
    check(ok is not None, 'meson install')
    pc_dirs = [folder for folder, _, files in os.walk(root) if 'vmmcore-base.pc' in files]
    check(len(pc_dirs) == 1, f'one folder of pkg-config files: {pc_dirs}')
    env = dict(os.environ, PKG_CONFIG_PATH=pc_dirs[0], PKG_CONFIG_SYSROOT_DIR=root)

    def build(package, source, options, name):
        flags = subprocess.run(['pkg-config', '--cflags', '--libs', package], env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split()
        program = os.path.join(root, name)
        return run(CC + sanitizers() + ['-std=c11', '-Wall', '-Werror', '-x', 'c', '-', '-x', 'none',
                   '-o', program] + options + flags, input=source) is not None and program

    libdir = os.path.dirname(pc_dirs[0])
    for block in block_table():
        source = (f'#include <vmmcore/{block}.h>\n#include <stdio.h>\n'
                  'int main(void) { puts(vmm_version()); return 0; }\n')
        archive = os.path.join(libdir, f'libvmmcore-{block}.a')
        program = build('vmmcore-' + block, source,
                        ['-Wl,--whole-archive', archive, '-Wl,--no-whole-archive'], block)
        check(program and run([program]) is not None, f'a program with {block} alone')

    program = build('vmmcore', '#include <vmmcore/base.h>\n#include <stdio.h>\n'
                    'int main(void) { puts(vmm_version()); return 0; }\n', [], 'shared')
    check(program and run([program], env=dict(env, LD_LIBRARY_PATH=libdir)) is not None,
          'a program with libvmmcore.so')
finish()
