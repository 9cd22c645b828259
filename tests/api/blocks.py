# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
-Dblocks=NAME builds NAME and what the table says it needs, and nothing else, for each block; a
name that no block has is refused.
"""

import glob
import os
import shutil
import subprocess
import tempfile

from common import CC, SOURCE_ROOT, block_table, check, closure, finish, run

table = block_table()
env = dict(os.environ, CC=('ccache ' if shutil.which('ccache') and CC[0] != 'ccache' else '') + ' '.join(CC))

with tempfile.TemporaryDirectory() as root:
    def setup(folder, blocks):
        return run(['meson', 'setup', folder, SOURCE_ROOT, f'-Dblocks={blocks}', '-Dtests=disabled',
                    '-Dservice=false', '--buildtype=plain'], env=env)

    check(run(['meson', 'setup', os.path.join(root, 'bad'), SOURCE_ROOT, '-Dblocks=no-such-block',
               '-Dtests=disabled', '-Dservice=false'], env=env) is None, 'a block that is not there is refused')
    refused = subprocess.run(['meson', 'setup', os.path.join(root, 'service'), SOURCE_ROOT, '-Dblocks=virtio-net',
                              '-Dtests=disabled'], env=env, capture_output=True, encoding='utf-8')
    check(refused.returncode != 0 and '-Dservice=false' in refused.stdout,
          'the service without all blocks is refused, and why is said')
    for block in table:
        folder = os.path.join(root, block)
        built = setup(folder, block) is not None and run(['ninja', '-C', folder]) is not None
        check(built, f'{block} builds alone')
        archives = {os.path.basename(path)[len('libvmmcore-'):-len('.a')]
                    for path in glob.glob(folder + '/libvmmcore/libvmmcore-*.a')}
        check(archives == closure(table, block), f'{block} needs {sorted(archives - {block})}')
finish()
