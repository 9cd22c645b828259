# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""A system bus of one's own, with the policy that is shipped."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


class PrivateBus:
    """with PrivateBus(policy) as bus: bus.environment reaches it, bus.directory is removed."""

    def __init__(self, policy):
        self.policy = Path(policy).resolve()

    def __enter__(self):
        if not shutil.which("dbus-daemon"):
            print("there is no dbus-daemon")
            sys.exit(77)
        self.directory = Path(tempfile.mkdtemp(prefix="vmmd-bus."))
        self.directory.chmod(0o755)
        config = self.directory / "bus.conf"
        config.write_text(
            f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={self.directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>{self.policy}</include>
</busconfig>
"""
        )
        self.daemon = subprocess.Popen(
            ["dbus-daemon", f"--config-file={config}", "--nofork", "--print-address=1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.daemon.stdout.readline()
        (self.directory / "bus").chmod(0o666)
        self.address = f"unix:path={self.directory}/bus"
        self.environment = {
            **os.environ,
            "DBUS_SYSTEM_BUS_ADDRESS": self.address,
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "SYSTEMD_COLORS": "0",
        }
        return self

    def __exit__(self, *_):
        self.daemon.terminate()
        self.daemon.wait()
        shutil.rmtree(self.directory)


class MockDaemon:
    """mock-vmmd on that bus; log() is what it has printed since the last call."""

    def __init__(self, bus, program):
        self.path = bus.directory / "mock-log"
        self.offset = 0
        with open(self.path, "wb") as log:
            self.process = subprocess.Popen(
                [program], stdout=log, env=bus.environment, stdin=subprocess.DEVNULL
            )

    def __enter__(self):
        while "ready\n" not in self.log():
            if self.process.poll() is not None:
                sys.exit("mock-vmmd did not start")
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()

    def log(self):
        with open(self.path, encoding="utf-8") as log:
            log.seek(self.offset)
            text = log.read()
            self.offset = log.tell()
        return text
