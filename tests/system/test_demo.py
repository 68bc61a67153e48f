# SPDX-License-Identifier: BSD-2-Clause
"""The demonstration, and the Debian control domain of the ISO."""
import os
import subprocess

import pytest

from machine import BUILD, LOGS, ROOT, Machine

pytestmark = pytest.mark.long


def script(*words):
    subprocess.run(words, cwd=ROOT, env={**os.environ, "O": BUILD}, check=True)


def test_demo_without_a_terminal():
    """Debian as control domain with our package; three stock kernels, and two Debian systems that
    boot from disks, get addresses and read each other's web pages."""
    log = os.path.join(LOGS, "demo.log")
    os.makedirs(LOGS, exist_ok=True)
    with open(log, "wb") as out:
        done = subprocess.run(["./demo", "--batch"], cwd=ROOT, env={**os.environ, "O": BUILD},
                              stdin=subprocess.DEVNULL, stdout=out, stderr=out, timeout=1500,
                              check=False)
    with open(log, encoding="utf-8", errors="replace") as f:
        text = f.read()
    assert done.returncode == 0, text[-2000:]
    for what in ("amber", "jade", "coral", "alder-reads-birch", "birch-reads-alder",
                 "control-reads-alder", "control-reads-birch"):
        assert f"demo: {what}: right" in text


def test_the_iso_boots_a_debian_from_memory():
    script("./demo", "--iso")
    iso = os.path.join(BUILD, "serai.iso")
    drive = ["-drive", f"file={iso},format=raw,if=none,id=cd,media=cdrom,readonly=on",
             "-device", "ide-cd,drive=cd,bus=ide.0", "-vga", "std"]
    with Machine("demo-iso", firmware_boot=drive) as m:
        m.expect("a Debian control domain", 240)
        m.process.send("\x1b[B\r")          # down, enter: the second entry
        m.expect(r"\(SERAI\) ", 240)
        m.expect("serai# ", 600)
        m.process.sendline("stty -echo; serai list; systemctl is-active serai-lifed; findmnt -no FSTYPE /")
        m.expect("Domain-0", 60)
        m.expect("active", 60)
        m.expect("overlay", 60)
        m.process.sendline("systemctl poweroff")
        assert m.wait_end(300) == "guest-shutdown"
