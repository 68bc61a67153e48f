# SPDX-License-Identifier: BSD-2-Clause
"""Guests of a test machine, through the command line of the control domain."""
import base64
import json
import re
import time

LOG = "/var/log/serai/console"

LINUX = {"kernel": "/boot/vmlinux", "ramdisk": "/boot/guest-do.img", "memory": 160}
LOAD = {"kernel": "/boot/load.elf", "memory": 16}


class Guests:
    """Creates, watches and destroys guests of one machine."""

    def __init__(self, machine):
        self.machine = machine

    # -- life ---------------------------------------------------------------------------

    def config(self, name, **keys):
        """Write /tmp/NAME.cfg with these keys over sensible ones; its path."""
        keys = {"name": name, "type": "pv", "vcpus": 1, "on_crash": "preserve",
                "on_poweroff": "destroy", "on_reboot": "destroy", **keys}
        path = f"/tmp/{name}.cfg"
        self.machine.sh(f": >{path}")
        for key, value in keys.items():
            text = json.dumps(value)
            self.machine.sh(f"echo '{key} = {text}' >>{path}")
        return path

    def load(self, name, behaviour, paused=False, **keys):
        """A guest of tests/guests/load.c."""
        self.create(name, paused, **{**LOAD, "extra": behaviour, **keys})

    def linux(self, name, command="", **keys):
        """A stock Linux guest that runs a shell command."""
        code = base64.b64encode(command.encode()).decode()
        extra = f"console=hvc0 quiet mitigations=off panic=-1 do={code}"
        self.create(name, **{**LINUX, "extra": extra, **keys})

    def create(self, name, paused=False, **keys):
        path = self.config(name, **keys)
        self.machine.sh(f"rm -f {LOG}/{name}.log")
        self.machine.sh(f"serai create {'-p ' if paused else ''}{path}", 300)

    def destroy(self, name):
        self.machine.sh(f"serai destroy {name}")

    def clean(self, keep=None):
        for name in self.names():
            if name != keep:
                self.machine.try_sh(f"serai destroy {name}")

    # -- looking ------------------------------------------------------------------------

    def rows(self):
        """The guests as {name: what `serai list --json` says}."""
        domains = json.loads(self.machine.sh("serai list --json"))
        return {d["name"]: d for d in domains if d["id"] != 0}

    def names(self):
        return list(self.rows())

    def state(self, name):
        return self.rows()[name]["state"]

    def cpu_seconds(self, name):
        return self.rows()[name]["cpu_ns"] / 1e9

    def console(self, name):
        return self.machine.sh(f"cat {LOG}/{name}.log")

    def wait_console(self, name, pattern, timeout=240):
        """Wait until a line of the guest's console matches (grep -E): that line."""
        command = f"grep -E '{pattern}' {LOG}/{name}.log | head -1 | grep ."
        return self.machine.wait_for(command, timeout)

    def wait_gone(self, name, timeout=120):
        self.wait(lambda: name not in self.names(), timeout, f"{name} is still there")

    def wait_state(self, name, word, timeout=120):
        self.wait(lambda: word in self.state(name), timeout, f"{name} never became {word}")

    def wait(self, condition, timeout, complaint):
        """Wait until the condition holds.  Without a complaint, give up quietly."""
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end and complaint is None:
                return
            assert time.monotonic() < end, complaint
            time.sleep(0.2)

    def unchanged(self, before):
        """Everything that guests can take is as it was, to the frame."""
        now = self.resources()
        return all(now[k] == before[k] for k in self.COUNTED)

    # What must be equal before and after. Frames are those that are free, and those that the
    # hypervisor keeps for its next need: pages of the heap with room, page tables of its own.
    COUNTED = ("frames", "heap bytes", "event channels", "grant mappings")

    def resources(self):
        """What is free and in use in the hypervisor, exactly, as its key 'm' says."""
        # What looks like a line of the hypervisor's log is taken for one: not its prefix.
        text = self.machine.sh("serai debug-keys m; serai dmesg | tail -n 30 | sed 's/(SERAI)//'")
        lines = {"free": r"Frames: \d+ in all, (\d+) free", "heap bytes": r"In use: heap (\d+) bytes",
                 "event channels": r"event channels (\d+)", "grant mappings": r"grant mappings (\d+)",
                 "heap pages": r"Kept: heap pages (\d+)", "spare": r"spare page tables (\d+)",
                 "tables": r", page tables (\d+)"}
        found = {name: re.findall(pattern, text) for name, pattern in lines.items()}
        assert all(found.values()), "the hypervisor's key m tells no counts"
        counts = {name: int(numbers[-1]) for name, numbers in found.items()}
        kept = ("free", "heap pages", "spare", "tables")
        return {"frames": sum(counts[k] for k in kept), **counts}
