#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""guest: vmmctl's way into guests: proxy, forward, and what ssh and scp are called with; against
mock-vmmd, whose guests give back what they get.

    guest.py VMMCTL MOCK-VMMD POLICY
"""

import array
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from private_bus import MockDaemon, PrivateBus
from tally import check, finish

VMMCTL, MOCK, POLICY = (Path(p).resolve() for p in sys.argv[1:4])


def run(bus, *words, **more):
    return subprocess.run([VMMCTL, *words], capture_output=True, env=bus.environment, timeout=60, **more)


def proxies(bus):
    data = os.urandom(1 << 20)
    result = run(bus, "proxy", "web", "7", input=data)
    check("all comes back", result.returncode == 0 and result.stdout == data, result.stderr)
    result = run(bus, "proxy", "vmm/web", "9", "--timeout=10", input=b"late")
    check("it tries again", result.returncode == 0 and result.stdout == b"late", result.stderr)
    for name, port, text in (("crash", "22", b"no sshd in the guest"), ("web", "8", b"nothing in the guest"),
                             ("web", "3", b"nothing in the guest"), ("db", "7", b"is not running"),
                             ("wbe", "7", b"Did you mean web?"), ("web", "x", b"a port is"),
                             ("web", "4294967296", b"a port is"), ("locked", "7", b"needs authentication")):
        result = run(bus, "proxy", name, port, input=b"")
        check(f"{name} {port}: {text}", result.returncode == 1 and text in result.stderr, result.stderr)
    ours, theirs = socket.socketpair()
    process = subprocess.run([VMMCTL, "proxy", "web", "7", "--fdpass"], env=bus.environment, stdout=theirs)
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    fds = array.array("i", ancillary[0][2][:4])
    with socket.socket(fileno=fds[0]) as guest:
        guest.sendall(b"hello")
        check("the connection itself is passed", process.returncode == 0 and guest.recv(10) == b"hello")
    result = run(bus, "proxy", "web", "7", "--fdpass")
    check("but to a socket only", result.returncode == 1 and b"takes a descriptor" in result.stderr)


def programs(bus):
    """What ssh and scp get: programs of these names that print it."""
    tools = bus.directory / "tools"
    tools.mkdir()
    for name in ("ssh", "scp"):
        (tools / name).write_text('#!/bin/sh\nfor w; do echo "<$w>"; done\nexit 42\n')
        (tools / name).chmod(0o755)
    environment = {**bus.environment, "PATH": f"{tools}:/usr/bin:/bin"}
    for words, expected in (
        (["ssh", "web"], ["<root@web>"]),
        (["ssh", "me@web", "--", "-v"], ["<me@web>", "<-v>"]),
        (["ssh", "vmm@web.service"], ["<root@web>"]),
        (["exec", "web", "--", "echo", "a b", "it's", "$HOME"],
         ["<-T>", "<root@web>", "<-->", "<'echo' 'a b' 'it'\\''s' '$HOME'>"]),
        (["cp", "-q", "x:y/z", "./a:b", "web:/etc/hosts", "me@db:", "-r", "--", "-x"], None),
        (["cp", "x", "web:/etc/hosts"], ["<-->", "<x>", "<root@web:/etc/hosts>"]),
        (["cp", "me@web:", "./a:b", "."], ["<me@web:>", "<./a:b>", "<.>"]),
    ):
        result = subprocess.run([VMMCTL, *words], env=environment, capture_output=True, encoding="utf-8",
                                stdin=subprocess.DEVNULL)
        lines = result.stdout.splitlines()
        if expected is None:
            check(f"{words}: refused", result.returncode == 1, result)
            continue
        check(f"{words}", lines[-len(expected):] == expected, lines)
        check(f"{words}: its status", result.returncode == 42, result.returncode)
        check(f"{words}: its proxy", any("fdpass proxy %h 22" in line for line in lines), lines)
    # One message, and nothing is run.
    for words, text, status in (
        (["ssh", "db"], "db is not running", 255),
        (["ssh", "crash"], "crash: no sshd in the guest", 255),
        (["exec", "wbe", "true"], "Did you mean web?", 255),
        (["exec", "locked", "true"], "needs authentication", 255),
        (["cp", "db:x", "."], "db is not running", 1),
    ):
        result = subprocess.run([VMMCTL, *words], env=environment, capture_output=True, encoding="utf-8")
        check(f"{words}: {text}", result.returncode == status and text in result.stderr and
              result.stderr.count("vmmctl:") == 1 and not result.stdout, result)
    for words in (["ssh", "-web"], ["ssh", "-oX=y@web"], ["cp", "a", "b"], ["exec", "web"]):
        result = subprocess.run([VMMCTL, "--", *words] if words[0] == "ssh" else [VMMCTL, *words],
                                env=environment, capture_output=True)
        check(f"{words} is refused", result.returncode in (1, 255) and not result.stdout, result)


def handed_over(bus, mock):
    """A program that runs its ProxyCommand as ssh does gets the connection that vmmctl has made; another
    user gets nothing."""
    tools = bus.directory / "tools"
    (tools / "ssh").write_text(f"""#!/usr/bin/python3
import array, os, socket, subprocess, sys
os.closerange(3, 100)
command = [w for w in sys.argv if w.startswith("ProxyCommand=")][0].split("=", 1)[1]
address = b"\\0" + os.environ["VMMCTL_CONNECTION"].split(":")[1].encode()
if os.geteuid() == 0:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        stranger = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stranger.connect(address)
        os._exit(len(stranger.recv(10)))
    print("stranger", os.waitpid(child, 0)[1])
def dial(name):
    ours, theirs = socket.socketpair()
    subprocess.run(["sh", "-c", "exec " + command.replace("%h", name)], stdout=theirs, check=True)
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4))
    guest = socket.socket(fileno=array.array("i", ancillary[0][2][:4])[0])
    guest.sendall(b"hello")
    print(guest.recv(10).decode(), flush=True)
dial("web")
# It is offered once. Then the proxy makes its own.
dial("web")
""")
    environment = {**bus.environment, "PATH": f"{tools}:{VMMCTL.parent}:/usr/bin:/bin"}
    mock.log()
    result = subprocess.run([VMMCTL, "ssh", "web"], env=environment, capture_output=True, encoding="utf-8",
                            timeout=60)
    expected = (["stranger 0"] if os.geteuid() == 0 else []) + ["hello", "hello"]
    check("the connection is handed over", result.stdout.splitlines() == expected, result)
    asked = mock.log().count("connect web 22")
    check("and made once for it", asked == 2, asked)


class Forward:
    """vmmctl forward with a socket as systemd passes it."""

    def __init__(self, bus, name, *words):
        self.listener = socket.create_server(("127.0.0.1", 0))
        fd = self.listener.fileno()
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$0" "$@"', VMMCTL, "forward",
             *words, name, "7"], pass_fds=[fd], env=bus.environment, stderr=subprocess.PIPE)

    def connect(self):
        return socket.create_connection(self.listener.getsockname(), timeout=20)

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


def talks(client, data):
    client.sendall(data)
    got = b""
    while len(got) < len(data):
        got += client.recv(65536)
    return got == data


def forwards(bus, mock):
    forward = Forward(bus, "db", "--idle=0.6", "--on-idle=stop")
    mock.log()
    with forward.connect() as one:
        check("the machine is started and answers", talks(one, b"x" * 50000))
        check("by the first connection", "start db" in mock.log())
        with forward.connect() as other:
            check("two at a time", talks(other, b"other") and talks(one, b"one"))
        one.shutdown(socket.SHUT_WR)
        check("an end is passed on", one.recv(10) == b"")
    check("and ends when it is idle", forward.process.wait(timeout=20) == 0)
    check("and the machine is stopped", "stop db how=auto" in mock.log())
    forward = Forward(bus, "odd", "--idle=0")
    with forward.connect() as client:
        log = ""
        for _ in range(500):
            log += mock.log()
            if "ResumeMachine odd" in log:
                break
            time.sleep(0.02)
        check("a paused one is resumed", "ResumeMachine odd" in log, log)
        client.close()
    check("SIGTERM ends it", forward.end() == 0)
    forward = Forward(bus, "broken", "--idle=0")
    with forward.connect() as client:
        check("a failure is the end of the connection", client.recv(10) == b"")
    check("but not of it", forward.end() == 0)
    result = run(bus, "forward", "web", "7")
    check("without sockets it says so", result.returncode == 1 and b"sockets from systemd" in result.stderr)
    result = run(bus, "forward", "web", "7", "--on-idle=explode")
    check("--on-idle is checked", result.returncode == 1 and b"pause, stop or nothing" in result.stderr)


def main():
    with PrivateBus(POLICY) as bus, MockDaemon(bus, MOCK) as mock:
        proxies(bus)
        programs(bus)
        handed_over(bus, mock)
        forwards(bus, mock)
    return finish()


sys.exit(main())
