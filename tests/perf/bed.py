# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""Running a script of tests/perf in the test bed (tests/bed), with the project installed there."""

import atexit
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


def need_bed():
    """The bed that is up, or one until this program ends; the project is installed in it."""
    if bed('status', check=False).returncode != 0:
        bed('up', '--with', str(os.getpid()))
        atexit.register(bed, 'down')
    bed('install')


def run_in_bed(files, script, args):
    """What the script prints, which runs with the files and directories beside it."""
    need_bed()
    with tempfile.TemporaryDirectory() as folder:
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
                     'pvh.bin', 'qboot.rom'):
        for place in ('/usr/share/qemu', '/usr/share/seabios'):
            path = os.path.join(place, firmware)
            if os.path.exists(path):
                shutil.copy(path, os.path.join(folder, 'share'))
                break


def run_monitors_in_bed(bench, script, files, args):
    """run_in_bed() with what starts ours, and QEMU where it is; what it prints, as a text."""
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(bench.build, 'tests', 'perf', 'launch'),
                 os.path.join(TESTS, 'perf', 'bed-monitors'), os.path.join(TESTS, 'perf', script),
                 *files]
        if shutil.which('qemu-system-x86_64'):
            copy_qemu(os.path.join(folder, 'qemu'))
            files.append(os.path.join(folder, 'qemu'))
        return run_in_bed(files, script, args).decode()
