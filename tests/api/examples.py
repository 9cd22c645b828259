# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
tinyvmm is at most 200 lines as clang-format has them, and builds against an installed libvmmcore
with what pkg-config says and nothing else: against the shared library, and against the archives of
the blocks that it uses. Built so it says what is wrong with its arguments.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from common import BUILD_ROOT, CC, SOURCE_ROOT, check, finish, run, sanitizers

if not shutil.which('pkg-config'):
    print('no pkg-config')
    sys.exit(77)

source = os.path.join(SOURCE_ROOT, 'libvmmcore', 'examples', 'tinyvmm.c')
with open(source, encoding='utf-8') as file:
    text = file.read()
check(text.count('\n') <= 200, f'at most 200 lines ({text.count(chr(10))})')
if shutil.which('clang-format'):
    result = subprocess.run(['clang-format', source], check=True, stdout=subprocess.PIPE, text=True)
    check(result.stdout == text, 'formatted')
blocks = re.findall(r'#include <vmmcore/([a-z-]+)\.h>', text)

with tempfile.TemporaryDirectory() as root:
    ok = run(['meson', 'install', '-C', BUILD_ROOT, '--no-rebuild', '--quiet', '--destdir', root])
    check(ok is not None, 'meson install')
    pc_dirs = [folder for folder, _, files in os.walk(root) if 'vmmcore-base.pc' in files]
    check(len(pc_dirs) == 1, f'one folder of pkg-config files: {pc_dirs}')
    env = dict(os.environ, PKG_CONFIG_PATH=pc_dirs[0], PKG_CONFIG_SYSROOT_DIR=root)
    libdir = os.path.dirname(pc_dirs[0])

    for name, packages in (('shared', ['vmmcore']), ('static', ['vmmcore-' + b for b in blocks])):
        flags = subprocess.run(['pkg-config', '--cflags', '--libs'] + packages, env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split()
        program = os.path.join(root, name)
        check(run(CC + sanitizers() + ['-o', program, source] + flags) is not None, f'builds: {name}')
        result = subprocess.run([program], env=dict(env, LD_LIBRARY_PATH=libdir), check=False,
                                stderr=subprocess.PIPE, text=True)
        check(result.returncode == 1 and 'KERNEL ROOTFS VCPUS MEMORY' in result.stderr,
              f'{name} says its usage: {result.stderr}')
        result = subprocess.run([program, '/nonexistent', '/dev/null', '1', '64'], check=False,
                                env=dict(env, LD_LIBRARY_PATH=libdir), stderr=subprocess.PIPE,
                                text=True)
        check(result.returncode == 1 and result.stderr.startswith('tinyvmm: '),
              f'{name} says what is wrong: {result.stderr}')
finish()
