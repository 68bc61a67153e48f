# SPDX-License-Identifier: BSD-2-Clause
"""A machine whose control domain is Debian with its own tools (scripts/debian-image)."""
import base64
import os
import shutil
import tempfile
import time

import pexpect

from machine import BUILD, IMAGE, KERNEL_OPTIONS, Machine, pack

DEBIAN = os.path.join(BUILD, "debian")
CONSOLES = "/var/log/xen/console"
QUIET = "console=hvc0 quiet mitigations=off panic=-1"


class DebianHost(Machine):
    """`files` go into the control domain's root; `xenstored` is "ocaml" or "c"."""

    def __init__(self, name, *, files=None, xenstored="ocaml", **keys):
        self.boot_image = tempfile.NamedTemporaryFile(prefix="debian-", suffix=".img")
        with open(os.path.join(DEBIAN, "boot.img"), "rb") as base:
            shutil.copyfileobj(base, self.boot_image)
        self.boot_image.write(pack({f"overlay/{path}": data
                                    for path, data in (files or {}).items()}))
        self.boot_image.flush()
        modules = (f"{IMAGE}/vmlinuz {KERNEL_OPTIONS} xenstored={xenstored},"
                   f"{self.boot_image.name}")
        disk = ["-drive", f"file={DEBIAN}/disk.img,if=none,id=root,format=raw,snapshot=on",
                "-device", "virtio-blk-pci,drive=root"]
        super().__init__(name, modules=modules, qemu=disk, **keys)

    def __exit__(self, *reason):
        self.boot_image.close()
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

    # -- guests -------------------------------------------------------------------------

    def config(self, name, **keys):
        """Write /root/NAME.cfg, strings quoted, lists as they are; its path."""
        keys = {"name": name, "type": "pv", "vcpus": 1, **keys}
        path = f"/root/{name}.cfg"
        text = "".join(f'{key} = {value}\n' if isinstance(value, (int, list)) else
                       f'{key} = "{value}"\n' for key, value in keys.items())
        self.sh(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d >{path}")
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
