#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
"""images: what vmmctl imports, clones, lists and removes, below a root of its own.

    images.py VMMCTL
"""

import array
import fcntl
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from tally import check, finish

VMMCTL = Path(sys.argv[1]).resolve()


def vmmctl(root, *words, **more):
    return subprocess.run([VMMCTL, f"--root={root}", *words], capture_output=True, encoding="utf-8",
                          **more)


def works(root, *words, **more):
    result = vmmctl(root, *words, **more)
    check(" ".join(map(str, words)), result.returncode == 0, result.stderr)
    return result.stdout


def refuses(root, text, *words, **more):
    result = vmmctl(root, *words, **more)
    check(f"{' '.join(map(str, words))} is refused: {text}",
          result.returncode == 1 and text in result.stderr, result.stderr)


def left(images):
    return sorted(entry.name for entry in images.iterdir())


def imports(work, root, images):
    """Each format holds the same disk: two parts of data with a hole between and at the end."""
    disk = bytearray(8 << 20)
    disk[0:70000] = os.urandom(70000)
    disk[5 << 20:(5 << 20) + 5000] = b"x" * 5000
    raw = work / "disk.raw"
    raw.write_bytes(disk)
    subprocess.run(["qemu-img", "convert", "-q", "-O", "qcow2", raw, work / "disk.qcow2"], check=True)
    for program, extension in (("xz", "xz"), ("gzip", "gz"), ("zstd", "zst"), ("bzip2", "bz2")):
        for name in ("raw", "qcow2"):
            with open(work / f"disk.{name}.{extension}", "wb") as file:
                subprocess.run([program, "-c1", work / f"disk.{name}"], stdout=file, check=True)
    for number, name in enumerate(sorted(p.name for p in work.glob("disk.*"))):
        works(root, "import-image", work / name, f"image{number}")
        image = images / f"image{number}.raw"
        check(f"{name} is what it was", image.read_bytes() == disk)
        check(f"{name} has holes", image.stat().st_blocks * 512 < 1 << 20, image.stat().st_blocks)
        check(f"{name} is for its owner only", image.stat().st_mode & 0o777 == 0o600)
        image.unlink()
    out = json.loads(works(root, "import-image", raw, "-j"))
    check("its name is the file's", out["name"] == "disk" and out["size"] == 8 << 20, out)
    with open(work / "disk.qcow2.xz", "rb") as file:
        works(root, "import-image", "-", "piped", "--format=qcow2.xz", "--size=16M", stdin=file)
    check("it is as large as wanted", (images / "piped.raw").read_bytes() == disk + bytes(8 << 20))
    (work / "odd.img").write_bytes(b"1" * 1000)
    works(root, "import-image", work / "odd.img")
    check("whole sectors", (images / "odd.raw").read_bytes() == b"1" * 1000 + bytes(24))
    for name in ("odd", "piped"):
        works(root, "remove-image", name)
    return raw


def hostile(work, root, images):
    raw = work / "disk.raw"
    secret = work / "secret"
    secret.write_bytes(b"secret" * 1000)
    backed = work / "backed.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", secret, backed],
                   check=True)
    apart = work / "apart.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o",
                    f"data_file={work / 'apart.data'}", apart, "1M"], check=True)
    short = work / "short.qcow2"
    short.write_bytes(b"QFI\xfb" + struct.pack(">I", 3))
    (work / "empty.raw").touch()
    (work / "broken.raw.xz").write_bytes((work / "disk.raw.xz").read_bytes()[:3000])
    (work / "guest.img").write_bytes((work / "backed.qcow2").read_bytes())
    refuses(root, "builds on another image", "import-image", backed)
    refuses(root, "its data is in another file", "import-image", apart)
    refuses(root, "it is empty", "import-image", short)
    refuses(root, "it is no qcow2 image", "import-image", raw, "new", "--format=qcow2")
    refuses(root, "it is empty", "import-image", work / "empty.raw")
    refuses(root, "xz failed", "import-image", work / "broken.raw.xz")
    refuses(root, "what format it has", "import-image", secret)
    refuses(root, "it is raw or qcow2", "import-image", secret, "--format=vmdk")
    refuses(root, "there is such an image", "import-image", raw)
    refuses(root, "larger than --size", "import-image", raw, "new", "--size=1M")
    refuses(root, "whole sectors", "import-image", raw, "new", "--size=1000")
    refuses(root, "no image's name", "import-image", raw, "../new")
    refuses(root, "no image's name", "import-image", raw, ".new")
    refuses(root, "Is a directory", "import-image", work, "--format=raw", "new")
    refuses(root, "No such file", "import-image", work / "none.raw")
    # What looks like qcow2 and is called raw is raw.
    works(root, "import-image", work / "guest.img")
    check("raw stays raw", (images / "guest.raw").read_bytes()[:4] == b"QFI\xfb")
    works(root, "remove-image", "guest")
    check("nothing is left of them", left(images) == ["disk.raw"], left(images))


def interrupted(work, root, images):
    """A source that never ends: SIGTERM ends it, and so does SIGKILL, and nothing is left."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        reader, writer = os.pipe()
        process = subprocess.Popen([VMMCTL, f"--root={root}", "import-image", "-", "new", "--format=raw"],
                                   stdin=reader, stderr=subprocess.PIPE, encoding="utf-8")
        os.close(reader)
        os.write(writer, b"x" * 60000)
        # It is under way when it has taken what there is.
        left_bytes = array.array("i", [1])
        while left_bytes[0] > 0 and process.poll() is None:
            time.sleep(0.01)
            fcntl.ioctl(writer, termios.FIONREAD, left_bytes)
        process.send_signal(number)
        _, text = process.communicate(timeout=20)
        os.close(writer)
        if number != signal.SIGKILL:
            check(f"{number.name}: it says so", "interrupted; nothing is left" in text, text)
            check(f"{number.name}: it fails", process.returncode == 1, process.returncode)
        check(f"{number.name}: nothing is left", left(images) == ["disk.raw"], left(images))


def shows_progress(work, root, images):
    master, slave = pty.openpty()
    reader, writer = os.pipe()
    process = subprocess.Popen([VMMCTL, f"--root={root}", "import-image", work / "disk.qcow2", "bar"],
                               stdin=reader, stdout=subprocess.DEVNULL, stderr=slave)
    os.close(slave)
    text = b""
    try:
        while chunk := os.read(master, 4096):
            text += chunk
    except OSError:
        pass
    check("a bar on a terminal", process.wait() == 0 and b"[" in text and b"%" in text, text)
    os.close(master)
    os.close(reader)
    os.close(writer)
    works(root, "remove-image", "bar")


def in_use(root, images):
    """Locked as vmmd locks the drive of a machine, or the drive of one that does not run."""
    works(root, "clone", "disk", "copy")
    check("a clone is the same",
          (images / "copy.raw").read_bytes() == (images / "disk.raw").read_bytes())
    refuses(root, "there is such an image", "clone", "disk", "copy")
    refuses(root, "there is no such image", "clone", "none", "other")
    (root / "etc/vmm").mkdir(parents=True)
    (root / "etc/vmm/web.vm").write_text(
        f"[Boot]\nKernel=/boot/k\n[Drive]\nName=root\nPath={images}/copy.raw\n")
    with open(images / "copy.raw", "r+b") as file:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
        refuses(root, "a machine that runs uses it", "remove-image", "copy", "--force")
        refuses(root, "a machine that runs uses it", "clone", "copy", "other")
        listed = {image["name"]: image for image in json.loads(works(root, "list-images", "-j"))}
        check("what is listed", listed["copy"]["locked"] and listed["copy"]["machines"] == ["web"]
              and not listed["disk"]["locked"] and listed["disk"]["machines"] == [], listed)
    refuses(root, "machine web has it as a drive", "remove-image", "copy")
    check("a table", "copy" in (text := works(root, "list-images")) and "2 images listed." in text, text)
    check("by pattern", works(root, "list-images", "--no-legend", "c*").startswith("copy "))
    works(root, "remove-image", "copy", "--force")
    works(root, "remove-image", "disk.raw")
    check("all are gone", left(images) == [], left(images))


def main():
    for program in ("qemu-img", "xz", "zstd", "gzip", "bzip2"):
        if not shutil.which(program):
            print(f"there is no {program}")
            sys.exit(77)
    with tempfile.TemporaryDirectory(prefix="vmmctl-images.") as directory:
        work = Path(directory) / "work"
        root = Path(directory) / "root"
        images = root / "var/lib/vmm"
        work.mkdir()
        images.parent.mkdir(parents=True)
        imports(work, root, images)
        hostile(work, root, images)
        interrupted(work, root, images)
        shows_progress(work, root, images)
        in_use(root, images)
    return finish()


sys.exit(main())
