# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Running a script of tests/perf in the test bed (tests/bed), with the project installed there."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PLACE = '/var/lib/vmm-perf'


def bed(*args, check=True):
    return subprocess.run([os.path.join(TESTS, 'bed'), *args], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, check=check)


@contextlib.contextmanager
def a_bed():
    """The bed that is up, or one for this, with the project installed in it."""
    mine = bed('status', check=False).returncode != 0
    if mine:
        bed('up', '--with', str(os.getpid()))
    try:
        bed('install')
        yield
    finally:
        if mine:
            bed('down')


def run_in_bed(files, script, args):
    """What the script prints, which runs with the files and directories beside it."""
    with tempfile.TemporaryDirectory() as folder, a_bed():
        copies = []
        for path in files:
            copy = os.path.join(folder, os.path.basename(path))
            (shutil.copytree if os.path.isdir(path) else shutil.copy)(path, copy)
            copies.append(copy)
        bed('run', '--no-install', '--', 'rm', '-rf', PLACE)
        bed('run', '--no-install', '--', 'mkdir', '-p', PLACE)
        bed('put', *copies, PLACE)
        return bed('run', '--no-install', '--', f'{PLACE}/{script}', *args).stdout


def copy_qemu(folder):
    """QEMU with what it is linked to (lib/) and its firmware (share/) in folder."""
    program = shutil.which('qemu-system-x86_64')
    os.makedirs(os.path.join(folder, 'lib'))
    os.makedirs(os.path.join(folder, 'share'))
    libraries = subprocess.run(['ldd', program], stdout=subprocess.PIPE, check=True).stdout.decode()
    for path in re.findall(r'(/\S+) \(0x', libraries):
        shutil.copy(path, os.path.join(folder, 'lib'))
    shutil.copy(program, folder)
    for firmware in ('bios-microvm.bin', 'bios-256k.bin', 'linuxboot_dma.bin', 'kvmvapic.bin',
                     'pvh.bin'):
        for place in ('/usr/share/qemu', '/usr/share/seabios'):
            path = os.path.join(place, firmware)
            if os.path.exists(path):
                shutil.copy(path, os.path.join(folder, 'share'))
                break
