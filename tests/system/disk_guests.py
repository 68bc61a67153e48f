# SPDX-License-Identifier: BSD-2-Clause
"""Guests that are a Debian on a disk (scripts/disk-guest-image), driven over their consoles."""
import base64
import json
import os
import re
import subprocess

from machine import BUILD, HERE, ROOT, Machine

DISK_GUEST = os.path.join(BUILD, "disk-guest")
LOG = "/var/log/serai/console"
QUIET = "console=hvc0 quiet mitigations=off panic=-1"


def make_images():
    """Make the images where they are not there or not of today."""
    subprocess.run([os.path.join(ROOT, "scripts", "disk-guest-image")], check=True,
                   env={**os.environ, "O": BUILD}, timeout=600)


def drive(path, *options):
    """QEMU arguments of a disk that the control domain has as /dev/vdX, in their order."""
    return ["-drive", ",".join([f"file={path}", "format=raw", "if=virtio", *options])]


def debian_drive(path=f"{DISK_GUEST}/disk.img"):
    """A disk with the guests' Debian; what is written to it is forgotten."""
    return drive(path, "snapshot=on", "cache=unsafe")


class DiskHost(Machine):
    """A machine with the guests' kernel on board."""

    def __init__(self, name, vmlinux, *, files=None, **keys):
        with open(os.path.join(DISK_GUEST, "boot.img"), "rb") as f:
            boot = f.read()
        super().__init__(name, files={"boot/vmlinux": vmlinux, "boot/boot.img": boot,
                                      **(files or {})}, **keys)
        self.jobs = 0

    # -- guests -------------------------------------------------------------------------

    def start(self, name, disks, vifs=(), options="", **keys):
        """Make a guest and wait until it takes commands; disks[0] is what it lives on."""
        keys = {"name": name, "type": "pv", "kernel": "/boot/vmlinux", "ramdisk": "/boot/boot.img",
                "memory": 256, "vcpus": 2, "disk": list(disks), "vif": list(vifs),
                "on_crash": "preserve", "on_poweroff": "destroy", "on_reboot": "restart",
                "extra": f"{QUIET} {options}", **keys}
        text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())
        self.write(f"/tmp/{name}.cfg", text)
        self.sh(f"rm -f {LOG}/{name}.log; serai create /tmp/{name}.cfg", 300)
        self.wait_up(name)

    def write(self, path, text):
        self.sh(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d >{path}")

    def wait_up(self, name, count=1, timeout=180):
        """Wait until the guest has started `count` times, and take hold of its console."""
        self.wait_log(name, "^guest: up", timeout, count)
        self.sh(f"[ -p /tmp/{name}.in ] || mkfifo /tmp/{name}.in; "
                f"serai console {name} <>/tmp/{name}.in >/dev/null 2>&1 &")

    def wait_log(self, name, pattern, timeout, count=1):
        """Wait in the control domain, so that its console carries little."""
        log = f"{LOG}/{name}.log"
        status, _ = self.try_sh(
            f"for _ in $(seq {4 * timeout}); do [ $(grep -acE '{pattern}' {log}) -ge {count} ] && "
            "exit 0; sleep 0.25; done; exit 1", 2 * timeout + 60)
        if status:
            raise AssertionError(f"{name}: no {pattern!r} in {timeout} s:\n" + self.sh(
                f"tail -n 40 {log}; serai list; tail -n 20 /var/log/serai/blkd.log"))

    def gone(self, name):
        """End a guest at once; nothing of its devices stays behind."""
        self.sh(f"serai destroy {name}")
        self.wait_for(f"! serai list | grep -q '^{name} '")

    def attach(self, name, spec):
        """Give a disk to a running guest, and wait until the guest has it."""
        self.sh(f"serai block-attach {name} '{spec}'")
        vdev = next(x for x in re.split("[ ,=:]", spec) if x.startswith("xvd"))
        self.run(name, f"for _ in $(seq 200); do [ -b /dev/{vdev} ] && exit; sleep 0.1; done; exit 1")

    # -- commands in guests -------------------------------------------------------------

    def begin(self, name, command):
        """Start a shell command in a guest: a number for finish()."""
        self.jobs += 1
        text = base64.b64encode(command.encode()).decode()
        self.sh(f"echo {self.jobs} {text} 1<>/tmp/{name}.in")
        return self.jobs

    def finish(self, name, job, timeout=240):
        """Wait for the end of a command: (exit status, the end of its output)."""
        self.wait_log(name, rf"^@{job}\. [0-9]", timeout)
        text = self.sh(f"grep -aE '^@{job}[. ]' {LOG}/{name}.log")
        lines = text.split("\n")
        status = next(x for x in lines if x.startswith(f"@{job}."))
        return (int(status.split()[1]),
                "\n".join(x.split(" ", 1)[1] for x in lines if x.startswith(f"@{job} ")))

    def done(self, name, job, timeout=240):
        """Wait for the end of a command that must succeed: its output."""
        status, text = self.finish(name, job, timeout)
        assert status == 0, f"{name}: exit {status}:\n{text}"
        return text

    def try_in(self, name, command, timeout=240):
        return self.finish(name, self.begin(name, command), timeout)

    def run(self, name, command, timeout=240):
        """Run a shell command in a guest that must succeed: its output."""
        return self.done(name, self.begin(name, command), timeout)
