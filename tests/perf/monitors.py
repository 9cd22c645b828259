# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""
The monitors that tests/bench runs side by side, behind one interface: start a guest, read its
serial output, look at its process, end it.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time  # its monotonic clock is CLOCK_MONOTONIC, as tests/perf/launch prints it


class Guest:
    """A guest that runs. Its serial output comes line by line; close() ends it in any case."""

    def __init__(self, command, monitor_pid=None, files=(), **kwargs):
        self.files = list(files)
        self.log = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, **kwargs)
        self._monitor_pid = monitor_pid
        self._buffer = b''

    @property
    def pid(self):
        """Of the process that is the monitor."""
        return self._monitor_pid(self.process.pid) if self._monitor_pid else self.process.pid

    def line(self, timeout=60.0):
        """(time, text) of the next line of output."""
        deadline = time.monotonic() + timeout
        while b'\n' not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise RuntimeError('no output in time' + self.errors())
            data = os.read(self.process.stdout.fileno(), 4096)
            now = time.monotonic()
            if not data:
                raise RuntimeError('it ended early' + self.errors())
            self._buffer += data
            self._last = now
        text, self._buffer = self._buffer.split(b'\n', 1)
        return self._last, text.decode(errors='replace').strip()

    def wait_for(self, start, timeout=60.0):
        """(time, text) of the next line that begins with start; a guest's complaint is an error."""
        while True:
            now, text = self.line(timeout)
            if text.startswith(start):
                return now, text
            if text.startswith(('no such', 'bad ', 'wrong ', 'request failed', 'features', 'queue ')):
                raise RuntimeError('the guest says: ' + text)

    def errors(self):
        self.log.seek(0)
        text = self.log.read().decode(errors='replace').strip()
        return f': {text[-600:]}' if text else ''

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        self.log.close()
        for path in self.files:
            os.unlink(path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def inside(netns, command):
    """The command in a network namespace, with its pid unchanged."""
    return ['ip', 'netns', 'exec', netns, *command] if netns else command


class Qemu:
    """QEMU's microvm machine, its fastest; one instance a way to do block I/O."""

    def __init__(self, block='threads'):
        self.block = block
        self.name = f'qemu-{block}'
        self.program = shutil.which('qemu-system-x86_64')

    def command(self, kernel, cmdline='', memory_mib=128, drive=None, queues=1, tap=None,
                vsock=None, initrd=None):
        command = [
            self.program, '-M', 'microvm,rtc=off,pic=off,pit=off,isa-serial=on,acpi=off',
            '-global', 'virtio-mmio.force-legacy=false', '-enable-kvm',
            '-cpu', 'host,arch-capabilities=off', '-m', str(memory_mib), '-smp', '1', '-nodefaults',
            '-no-user-config', '-name', 'bench,debug-threads=on', '-display', 'none', '-serial', 'stdio', '-no-reboot',
            '-kernel', kernel, '-append', cmdline]
        if drive:
            aio = 'threads' if self.block == 'threads' else 'io_uring'
            device = f'virtio-blk-device,drive=d,num-queues={queues}'
            if self.block == 'iothread':
                command += ['-object', 'iothread,id=i']
                device += ',iothread=i'
            command += ['-drive', f'if=none,id=d,file={drive},format=raw,cache=writeback,aio={aio}',
                        '-device', device]
        if tap:
            command += ['-netdev', f'tap,id=n,ifname={tap},script=no,downscript=no,vhost=off',
                        '-device', 'virtio-net-device,netdev=n']
        if vsock:
            command += ['-device', f'vhost-vsock-device,guest-cid={vsock}']
        if initrd:
            command += ['-initrd', initrd]
        return command

    def start(self, *args, netns=None, **kwargs):
        return Guest(inside(netns, self.command(*args, **kwargs)))


class Vmmd:
    """The shipped worker, its sandbox closed, its spec from tests/perf/launch."""

    def __init__(self, build, name='vmmd'):
        self.name = name
        self.build = build
        self.launch = os.path.join(build, 'tests', 'perf', 'launch')
        self.worker = os.path.join(build, 'worker', 'vmmd-worker')
        self.program = self.launch if os.path.exists(self.launch) and os.path.exists(self.worker) else None

    def guest(self, name):
        return os.path.join(self.build, 'tests', 'perf', name + '.elf')

    def start(self, kernel, cmdline='', memory_mib=128, drive=None, queues=1, tap=None, vsock=None,
              netns=None, initrd=None):
        command = [self.launch, f'--worker={self.worker}', f'--kernel={kernel}',
                   f'--cmdline={cmdline}', f'--memory={memory_mib}']
        if drive:
            command += [f'--drive={drive}', f'--queues={queues}']
        if tap:
            command += [f'--tap={tap}']
        if vsock:
            command += [f'--vsock={vsock}']
        if initrd:
            command += [f'--initrd={initrd}']
        # launch becomes the worker, so the pid is right; the clock starts when it does.
        guest = Guest(inside(netns, command))
        guest.started = int(guest.wait_for('EXEC')[1].split()[1]) / 1e9
        return guest


class Firecracker:
    name = 'firecracker'

    def __init__(self, program):
        self.program = program

    def start(self, kernel, cmdline='', memory_mib=128, drive=None, queues=1, initrd=None):
        if queues != 1:
            raise NotImplementedError('one queue')
        config = {
            'boot-source': {'kernel_image_path': kernel, 'boot_args': cmdline},
            'machine-config': {'vcpu_count': 1, 'mem_size_mib': memory_mib},
            'drives': [{'drive_id': 'd', 'path_on_host': drive, 'is_root_device': False,
                        'is_read_only': False, 'cache_type': 'Writeback'}] if drive else [],
        }
        if initrd:
            config['boot-source']['initrd_path'] = initrd
        with tempfile.NamedTemporaryFile('w', suffix='.json', delete=False) as f:
            json.dump(config, f)
        return Guest([self.program, '--no-api', '--config-file', f.name], files=[f.name])


class CloudHypervisor:
    name = 'cloud-hypervisor'

    def __init__(self, program):
        self.program = program

    def start(self, kernel, cmdline='', memory_mib=128, drive=None, queues=1, initrd=None):
        command = [self.program, '--kernel', kernel, '--cmdline', cmdline, '--cpus', 'boot=1',
                   '--memory', f'size={memory_mib}M', '--serial', 'tty', '--console', 'off']
        if drive:
            command += ['--disk', f'path={drive},num_queues={queues}']
        if initrd:
            command += ['--initramfs', initrd]
        return Guest(command)


def own_memory(pid, guest_bytes):
    """(RSS, PSS) in bytes of a monitor's maps, less those of the guest's own memory."""
    rss = pss = size = map_rss = map_pss = 0
    with open(f'/proc/{pid}/smaps', encoding='utf-8') as f:
        for line in f:
            key = line.split(':')[0]
            if key == 'Size':
                size = int(line.split()[1]) * 1024
            elif key == 'Rss':
                map_rss = int(line.split()[1]) * 1024
            elif key == 'Pss':
                map_pss = int(line.split()[1]) * 1024
            elif key == 'VmFlags' and not guest_bytes <= size < guest_bytes + (4 << 20):
                rss += map_rss
                pss += map_pss
    return rss, pss


@contextlib.contextmanager
def first_in_line():
    """At real-time priority, which children keep: other programs hardly count. Where it may be."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def is_vcpu(comm):
    """By the names that monitors give to the threads of their vCPUs."""
    return comm.startswith(('vcpu', 'CPU ', 'fc_vcpu'))


def busy_seconds(pid):
    """Processor time so far of all threads that are not a vCPU: they poll in the bench guest."""
    nanoseconds = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            with open(f'/proc/{pid}/task/{task}/comm', encoding='utf-8') as f:
                if is_vcpu(f.read()):
                    continue
            with open(f'/proc/{pid}/task/{task}/schedstat', encoding='utf-8') as f:
                nanoseconds += int(f.read().split()[0])
    return nanoseconds / 1e9


def activity(pid):
    """(context switches, CPU seconds) of all threads so far."""
    switches = 0
    ticks = 0
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/status', encoding='utf-8') as f:
            for line in f:
                if 'ctxt_switches' in line:
                    switches += int(line.split()[1])
        with open(f'/proc/{pid}/task/{task}/stat', encoding='utf-8') as f:
            fields = f.read().rsplit(')', 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
    return switches, ticks / os.sysconf('SC_CLK_TCK')
