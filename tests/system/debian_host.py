# SPDX-License-Identifier: BSD-2-Clause
"""A machine whose control domain is Debian with its own tools (scripts/debian-image)."""
import base64
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager

import pexpect
import pytest

from docs_blocks import blocks
from machine import BUILD, IMAGE, KERNEL_OPTIONS, Machine, pack

DEBIAN = os.path.join(BUILD, "debian")
CONSOLES = "/var/log/xen/console"
CHAPTER = "docs/moving-from-xl.md"
QUIET = "console=hvc0 quiet mitigations=off panic=-1"


def grub_disc(kernel_line, initrd):
    """A CD with the entry for GRUB's menu that the chapter shows."""
    (_, entry, _), = blocks(CHAPTER, "grub")
    entry = entry.replace("root=/dev/sda1 ro console=hvc0", kernel_line)
    disc = tempfile.NamedTemporaryFile(prefix="debian-", suffix=".iso")
    with tempfile.TemporaryDirectory() as top:
        os.makedirs(f"{top}/boot/grub")
        shutil.copy(os.path.join(BUILD, "serai.gz"), f"{top}/boot/serai.gz")
        shutil.copy(os.path.join(IMAGE, "vmlinuz"), f"{top}/boot/vmlinuz")
        shutil.copy(initrd, f"{top}/boot/initrd.img")
        with open(f"{top}/boot/grub/grub.cfg", "w", encoding="utf-8") as f:
            f.write(f"set timeout=0\nmenuentry Serai {{\n{entry}}}\n")
        subprocess.run(["grub-mkrescue", "--quiet", "-o", disc.name, top], check=True,
                       capture_output=True)
    return disc


class DebianHost(Machine):
    """`files` go into the control domain's root; `xenstored` is "ocaml" or "c".  With `menu` GRUB
    boots it, with the entry and the options of the chapter."""

    def __init__(self, name, *, files=None, xenstored="ocaml", menu=False, **keys):
        self.boot_image = tempfile.NamedTemporaryFile(prefix="debian-", suffix=".img")
        with open(os.path.join(DEBIAN, "boot.img"), "rb") as base:
            shutil.copyfileobj(base, self.boot_image)
        self.boot_image.write(pack({f"overlay/{path}": data
                                    for path, data in (files or {}).items()}))
        self.boot_image.flush()
        line = f"{KERNEL_OPTIONS} xenstored={xenstored}"
        self.disc = grub_disc(line, self.boot_image.name) if menu else None
        modules = f"{IMAGE}/vmlinuz {line},{self.boot_image.name}"
        disk = ["-drive", f"file={DEBIAN}/disk.img,if=none,id=root,format=raw,snapshot=on",
                "-device", "virtio-blk-pci,drive=root"]
        cd = ["-drive", f"file={self.disc.name},if=none,id=cd,media=cdrom,readonly=on",
              "-device", "ide-cd,drive=cd,bus=ide.0,bootindex=0", "-vga", "std"] if menu else None
        super().__init__(name, modules=modules, firmware_boot=cd, qemu=disk, **keys)

    def __exit__(self, *reason):
        self.boot_image.close()
        if self.disc:
            self.disc.close()
        super().__exit__(*reason)

    def expect(self, pattern, timeout=120):
        try:
            return super().expect(pattern, timeout)
        except pexpect.TIMEOUT:
            self.ask_hypervisor("q0dm")
            raise

    def ask_hypervisor(self, keys):
        """Have the hypervisor write what it sees into the log, for who reads it later."""
        self.process.alone = False
        for key in "\x01\x01\x01" + keys:
            self.process.send(key)
            self.process.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=1)

    def script(self, text):
        """Run a block of commands, of which each must succeed."""
        self.put("/tmp/block", text)
        return self.sh("sh -eu /tmp/block 2>&1", 480)

    # -- guests -------------------------------------------------------------------------

    def config(self, name, **keys):
        """Write /root/NAME.cfg, strings quoted, lists as they are; its path."""
        keys = {"name": name, "type": "pv", "vcpus": 1, **keys}
        path = f"/root/{name}.cfg"
        text = "".join(f'{key} = {value}\n' if isinstance(value, (int, list)) else
                       f'{key} = "{value}"\n' for key, value in keys.items())
        self.put(path, text)
        return path

    def small(self, name, behaviour="idle", options="", **keys):
        """A guest of tests/guests/load.c."""
        path = self.config(name, **{"kernel": "/boot/load.elf", "memory": 16, "extra": behaviour,
                                    **keys})
        self.sh(f"xl create -q {options} {path}")

    def linux(self, name, command="", **keys):
        """A stock Linux that runs a shell command and stays."""
        code = base64.b64encode(command.encode()).decode()
        path = self.config(name, **{"kernel": "/boot/vmlinux", "ramdisk": "/boot/guest.img",
                                    "memory": 160, "extra": f"{QUIET} do={code}", **keys})
        self.sh(f"xl create -q {path}", 300)

    def names(self):
        """Guests as xl lists them."""
        rows = self.sh("xl list").split("\n")[1:]
        return [row.split()[0] for row in rows if row.split()[1] != "0"]

    def state(self, name):
        return self.sh(f"xl list {name}").split("\n")[1].split()[4]

    def table(self, command):
        """What a command prints under its headline, as rows of words."""
        return [row.split() for row in self.sh(command).split("\n")[1:]]

    def wait_console(self, name, pattern, timeout=180, after=0):
        """Wait until a line of the guest's console matches (grep -E), not counting the first
        `after` lines: the last such line."""
        return self.wait_for(f"tail -n +{after + 1} {CONSOLES}/guest-{name}.log | "
                             f"grep -aE '{pattern}' | tail -n 1 | grep .", timeout)

    def console_lines(self, name):
        """How many lines the guest has printed, for `after`."""
        return int(self.sh(f"wc -l <{CONSOLES}/guest-{name}.log"))

    def type_into(self, command, keys):
        """Run a command that wants a terminal, give it keys (printf) one by one, then hang up:
        what it showed."""
        typed = "; ".join(f"sleep 2; printf '{key}'" for key in keys)
        return self.sh(f"({typed}; sleep 2) | timeout -k 5 60 script -qec '{command}' /dev/null "
                       "|| test $? = 124")

    def wait(self, condition, complaint, timeout=120):
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, complaint
            time.sleep(0.3)

    def clean(self):
        for name in self.names():
            self.try_sh(f"xl destroy {name}")
        self.sh(f"rm -f {CONSOLES}/guest-*.log")


@contextmanager
def debian_machine(name, load, **keys):
    """A started one with both toolstacks on board; ends it."""
    with open(os.path.join(BUILD, "toolstack", "serai"), "rb") as f:
        files = {"boot/load.elf": load, "usr/local/sbin/serai": f.read()}
    with DebianHost(name, files=files, options="dom0_mem=768M", **keys) as machine:
        machine.boot()
        yield machine
        machine.power_off()


def resources(host):
    """Free frames; (event channels, grant mappings, guests' nodes in xenstore)."""
    text = host.sh("xl debug-keys m; xl dmesg | tail -n 30 | sed 's/(SERAI)//'")
    used = re.findall(r"In use: heap \d+ bytes, event channels (\d+), grant mappings (\d+)", text)
    free = re.findall(r"Frames: \d+ in all, (\d+) free", text)
    # None left is what is hoped for: grep is not to fail then.
    nodes = host.sh("xenstore-ls -f | grep -E '^/(local/domain/[1-9]|vm/|libxl/[1-9])|"
                    "/backend/[a-z]*/[1-9]' | grep -v ^/vm/00000000 || true")
    return int(free[-1]), (*map(int, used[-1]), nodes)


@pytest.fixture(scope="module")
def baseline(host):
    return resources(host)


@pytest.fixture
def everything_comes_back(host, baseline):
    """After a test the hypervisor has what it had, but for a few pages kept for its tables."""
    yield
    host.clean()

    def unchanged():
        free, others = resources(host)
        return others == baseline[1] and abs(free - baseline[0]) <= 16
    if not unchanged():     # what others map goes a little later
        host.wait(unchanged, f"before {baseline}, after {resources(host)}", 60)


def xenstore_tools(host):
    """Each of the programs once, whoever serves."""
    host.sh("xenstore-write /test/a 1 /test/b two")
    assert host.sh("xenstore-read /test/a /test/b").split() == ["1", "two"]
    assert host.sh("xenstore-list /test").split() == ["a", "b"]
    assert host.sh("xenstore-ls /test").split("\n") == ['a = "1"', 'b = "two"']
    host.sh("xenstore-chmod /test/a n0 r1; xenstore-exists /test/a")
    assert "(n0,r1)" in host.sh("xenstore-ls -p /test")
    seen = host.sh("(sleep 1; xenstore-write /test/a 2) & timeout 20 xenstore-watch -n 2 /test/a")
    assert seen.split() == ["/test/a", "/test/a"]
    host.sh("xenstore-rm /test; ! xenstore-exists /test")
