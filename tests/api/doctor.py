#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""doctor.py VMMCTL MOCK-VMMD: what vmmctl doctor says of hosts that are a few files each, and of this one."""

import json
import os
import subprocess
import sys
import tempfile

from pathlib import Path

from private_bus import MockDaemon, PrivateBus

VMMCTL, MOCK = sys.argv[1:3]

CPU = "sys/devices/system/cpu/"
MOUNTS = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n"

# A host with nothing to say against it, but for /dev/kvm, which nobody can make up.
GOOD = {
    "run/systemd/system/": 0o755,
    "etc/vmm/": 0o755,
    "etc/vmm/web.vm": "[Boot]\nKernel=/k\n",
    "run/vmm/": 0o755,
    "run/vmmd/": 0o755,
    "run/vmmd/machine/": 0o700,
    CPU + "smt/active": "0\n",
    CPU + "vulnerabilities/meltdown": "Mitigation: PTI\n",
    CPU + "vulnerabilities/itlb_multihit": "Not affected\n",
    "sys/kernel/mm/ksm/run": "0\n",
    "sys/kernel/security/lsm": "lockdown,landlock,apparmor\n",
    "proc/sys/kernel/io_uring_disabled": "0\n",
    "proc/sys/user/max_user_namespaces": "1000\n",
    "proc/self/mounts": MOUNTS.replace("nsdelegate", "nsdelegate,favordynmods"),
    "sys/module/kvm/parameters/nx_huge_pages": "Y\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
    "proc/meminfo": "MemTotal: 1 kB\nHugePages_Total:      16\n",
}

# What is different, the check that then speaks, its level, and words of it or of the advice.
CASES = [
    ({CPU + "smt/active": "1\n"}, "smt", "warning", "nosmt"),
    ({CPU + "vulnerabilities/mds": "Vulnerable: Clear CPU buffers attempted, no microcode; SMT vulnerable\n"},
     "mitigations", "warning", "mds: Vulnerable"),
    ({CPU + "vulnerabilities/mds": "Mitigation: Clear CPU buffers; SMT vulnerable\n"},
     "mitigations", "warning", "SMT"),
    ({CPU + "vulnerabilities/itlb_multihit": "KVM: Vulnerable\n"}, "mitigations", "warning", "itlb_multihit"),
    ({"sys/kernel/mm/ksm/run": "1\n"}, "ksm", "warning", "ksm/run"),
    ({"sys/kernel/security/lsm": "apparmor\n"}, "landlock", "note", "lsm="),
    ({"proc/sys/kernel/io_uring_disabled": "2\n"}, "io-uring", "note", "slower"),
    ({"proc/sys/user/max_user_namespaces": "0\n"}, "user-namespaces", "warning", "max_user_namespaces"),
    ({"proc/self/mounts": MOUNTS}, "start-time", "note", "favordynmods"),
    ({"proc/self/mounts": MOUNTS}, "start-time", "note", "nx_huge_pages=never"),
    ({"sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n"}, "huge-pages", "note", "madvise"),
    ({"proc/meminfo": "HugePages_Total: 0\n"}, "huge-pages", "note", "nr_hugepages"),
    ({"run/systemd/system/": None}, "systemd", "warning", "--spawn=direct"),
    ({"etc/vmm/": 0o777}, "permissions", "error", "/etc/vmm has the mode 0777"),
    ({"etc/vmm/": 0o775}, "permissions", "error", "chmod go-w"),
    ({"run/vmmd/machine/": 0o755}, "permissions", "error", "chmod go="),
    ({"run/vmmd/machine/": None, "run/vmmd/": None}, "permissions", "warning", "/run/vmmd is missing"),
    ({"etc/vmm/web.vm": ("[Boot]\n", 0o646)}, "permissions", "error", "/etc/vmm/web.vm"),
    ({"etc/vmm/other.vm": ("[Boot]\n", 0o644, 1000)}, "permissions", "error", "belongs to uid 1000"),
    ({"dev/kvm": None}, "kvm", "error", "kvm_intel or kvm_amd"),
    ({"dev/kvm": "a file\n"}, "kvm", "error", "is not KVM"),
]


def make(root, changes):
    """Only what a case is about is wrong, whatever the mask of this process is."""
    for path, what in {**GOOD, **changes}.items():
        full = os.path.join(root, path)
        if what is None:
            continue
        os.makedirs(os.path.dirname(full.rstrip("/")), exist_ok=True)
        if path.endswith("/"):
            os.makedirs(full, exist_ok=True)
            os.chmod(full, what)
            continue
        if isinstance(what, str):
            what = (what,)
        text, mode, uid = (*what, *(0o644, 0)[len(what) - 1:])
        with open(full, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(full, mode)
        os.chown(full, uid, 0)


def doctor(*options):
    done = subprocess.run([VMMCTL, "doctor", *options], capture_output=True, encoding="utf-8", check=False)
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def findings(changes):
    with tempfile.TemporaryDirectory() as root:
        make(root, changes)
        status, out = doctor("--root=" + root, "--json=short")
        found = json.loads(out)
        plain_status, plain = doctor("--root=" + root)
        quiet = doctor("--root=" + root, "--quiet")[1]
    for finding in found:
        assert set(finding) == {"check", "level", "text", "advice"}, finding
        assert finding["text"] in plain, finding
        assert finding["level"] in ("ok", "note") or finding["text"] in quiet, finding
        # Who is told that something is wrong is told what to do.
        assert finding["level"] in ("ok", "note") or finding["advice"], finding
        assert finding["level"] not in ("ok", "note") or finding["text"] not in quiet, finding
    assert status == plain_status == (1 if any(f["level"] == "error" for f in found) else 0), (status, found)
    return found


# What units that have failed make of it: the level, words of text and advice.
UNITS = [
    ("vmm@web.service", "warning", "the machine web has failed", "vmmctl logs web"),
    ("vmm@web.service", "warning", "the machine web has failed", "systemctl reset-failed vmm@web.service"),
    ("vmm-proxy@web.service", "warning", "vmm-proxy@web.service has failed", "systemctl status vmm-proxy@web.service"),
    ("vmmd.socket", "error", "vmmd.socket has failed", "systemctl restart vmmd.socket"),
    ("", "ok", "nothing of vmmd has failed", ""),
]


def failed_units():
    with tempfile.TemporaryDirectory() as directory:
        policy = Path(directory) / "policy.conf"
        policy.write_text("""<busconfig><policy context="default">
            <allow own="*"/><allow send_destination="*"/></policy></busconfig>""")
        for unit, level, text, advice in UNITS:
            os.environ["MOCK_FAILED_UNITS"] = unit
            with PrivateBus(policy) as bus, MockDaemon(bus, MOCK):
                done = subprocess.run([VMMCTL, "doctor", "--json=short"], capture_output=True, encoding="utf-8",
                                      env=bus.environment, check=False)
                of_units = [f for f in json.loads(done.stdout) if f["check"] == "units"]
                assert len(of_units) == 1 and of_units[0]["level"] == level, (unit, of_units)
                assert text in of_units[0]["text"] and advice in of_units[0]["advice"], (unit, of_units)
                assert done.returncode == 1 or level != "error", (unit, done)
        del os.environ["MOCK_FAILED_UNITS"]


def main():
    os.umask(0o022)
    if os.geteuid() != 0:
        print("skipped: needs root, to make files of other users")
        sys.exit(77)
    good = findings({})
    # With nothing wrong but /dev/kvm.
    assert [f["check"] for f in good if f["level"] != "ok"] == ["kvm"], good
    for changes, check, level, words in CASES:
        found = findings(changes)
        other = [f for f in found if f["level"] != "ok" and f["check"] not in (check, "kvm")]
        assert not other, (changes, other)
        assert any(f["check"] == check and f["level"] == level and words in f["text"] + f["advice"] for f in found), (
            changes, found)
    failed_units()
    # Of this host whatever it is, as long as it is said.
    found = json.loads(doctor("--json=short")[1])
    names = {f["check"] for f in found}
    assert {"kvm", "systemd", "huge-pages"} <= names, names
    kvm = [f for f in found if f["check"] == "kvm"][0]
    assert (kvm["level"] == "ok") == os.path.exists("/dev/kvm"), kvm
    print(f"{len(CASES) + len(UNITS) + 2} passed, 0 failed, 0 skipped")


main()
