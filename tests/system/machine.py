# SPDX-License-Identifier: BSD-2-Clause
"""A whole emulated machine that runs Serai: start it, drive it over its serial port, end it.

Machine starts QEMU (software emulation).  The serial port carries the hypervisor's log and
the control domain's console.  With the test image the control domain answers commands:

    with Machine(cpus=2) as m:
        m.boot()
        assert m.sh("nproc") == "2"
        m.power_off()

Leaving the `with` block checks the hypervisor's log for signs of its own faults.
"""
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time

import pexpect

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("O", os.path.join(ROOT, "build"))
IMAGE = os.path.join(BUILD, "image")
LOGS = os.path.join(BUILD, "test-logs")
HERE = os.path.dirname(os.path.abspath(__file__))

HYPERVISOR = os.path.join(BUILD, "serai.elf")
LOG_PREFIX = "(SERAI) "
# The hypervisor's own faults. FATAL is not one: so it calls what it cannot boot with.
FAULT = re.compile(r"\(SERAI\) .*(ASSERT|BUG|PANIC)")
OPTIONS = "console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all dom0_mem=512M"
KERNEL_OPTIONS = "console=hvc0 quiet mitigations=off panic=-1"
CPU = "EPYC,-monitor"
CHUNK = 90              # bytes of a command in one line of the console


class CommandFailed(AssertionError):
    """A command in the control domain ended with an error."""


def pack(tree):
    """An initramfs archive of {path: bytes or text}; paths in bin/ become executable."""
    with tempfile.TemporaryDirectory() as top:
        for path, data in tree.items():
            full = os.path.join(top, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "wb") as f:
                f.write(data.encode() if isinstance(data, str) else data)
            os.chmod(full, 0o755)
        names = subprocess.run(["find", ".", "-mindepth", "1"], cwd=top, check=True,
                               capture_output=True).stdout
        return subprocess.run(["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"], cwd=top,
                              input=names, check=True, capture_output=True).stdout


def compiled(source, *options):
    """The program of a C file next to this one."""
    with tempfile.TemporaryDirectory() as top:
        path = os.path.join(top, "program")
        subprocess.run(["gcc", "-std=gnu17", "-O2", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                        "-o", path, os.path.join(HERE, source), *options], check=True)
        with open(path, "rb") as f:
            return f.read()


def overlay_file(tree):
    """The control domain's image with `tree` on top, in a temporary file."""
    out = tempfile.NamedTemporaryFile(prefix="control-", suffix=".img")
    with open(os.path.join(IMAGE, "control.img"), "rb") as base:
        shutil.copyfileobj(base, out)
    with open(os.path.join(HERE, "serve"), encoding="utf-8") as f:
        tree = {"bin/serve": f.read(), **tree}
    out.write(pack(tree))
    out.flush()
    return out


class Qmp:
    """QEMU's monitor: commands, and the events that came meanwhile."""

    def __init__(self, path, process):
        self.sock = socket.socket(socket.AF_UNIX)
        end = time.monotonic() + 30
        while True:
            try:
                self.sock.connect(path)
                break
            except OSError:
                if time.monotonic() > end or not process.isalive():
                    raise
                time.sleep(0.05)
        self.file = self.sock.makefile("rw", encoding="utf-8")
        self.events = []
        self.file.readline()
        self.run("qmp_capabilities")

    def run(self, command, **arguments):
        self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self.file.flush()
        for line in self.file:
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise RuntimeError(f"{command}: {answer['error']['desc']}")
            else:
                return answer["return"]
        raise EOFError("QEMU is gone")

    def drain(self):
        """The events up to the end of the connection."""
        try:
            for line in self.file:
                answer = json.loads(line)
                if "event" in answer:
                    self.events.append(answer)
        except (OSError, ValueError):
            pass
        return self.events


class Console(pexpect.spawn):
    """The serial port.  With `alone` set, what is matched is the control domain's output alone:
    the hypervisor's lines come whenever they come, also in the middle of one of its.  The log
    file has everything."""
    alone = False
    held = ""               # read, but it may be the beginning of a hypervisor's line

    def read_nonblocking(self, size=1, timeout=-1):
        data = super().read_nonblocking(size, timeout)
        if not self.alone:
            return data
        data = re.sub(r"\(SERAI\) [^\n]*\n", "", self.held + data)
        begun = re.search(r"\(SERAI\) |\((S(E(R(A(I\)?)?)?)?)?)?$", data)
        data, self.held = (data[:begun.start()], data[begun.start():]) if begun else (data, "")
        return data


class Machine:
    """One machine.  Arguments:
    name             of the log file, build/test-logs/NAME.log
    chipset, cpus, memory   the machine
    options          more hypervisor options (they win over the usual ones)
    kernel_options   more options of the control domain's kernel
    files            {path: contents} added to the control domain's image
    modules          what to load instead of kernel and image: QEMU's -initrd argument
    firmware_boot    QEMU arguments that boot from a medium instead of -kernel
    qemu             more QEMU arguments
    """

    def __init__(self, name, *, chipset="q35", cpus=2, memory="2G", options="",
                 kernel_options="", files=None, modules=None, firmware_boot=None, qemu=(),
                 cpu=CPU):
        self.name = name
        self.dir = tempfile.TemporaryDirectory(prefix="machine-")
        self.image = None
        machine = ["-M", chipset] if isinstance(chipset, str) else list(chipset)
        # With a thread for each CPU, QEMU 7.2 loses an interrupt between CPUs now and then.
        args = ["-accel", "tcg,tb-size=256,thread=single", *machine, "-cpu", cpu, "-smp", str(cpus),
                "-m", memory, "-nodefaults", "-display", "none", "-no-reboot",
                "-serial", "stdio", "-rtc", "base=utc",
                "-qmp", f"unix:{self.dir.name}/qmp,server=on,wait=off"]
        if firmware_boot:
            args += firmware_boot
        else:
            if modules is None:
                self.image = overlay_file(files or {})
                modules = (f"{IMAGE}/vmlinuz {KERNEL_OPTIONS} serai.run=serve {kernel_options},"
                           f"{self.image.name}")
            args += ["-kernel", HYPERVISOR, "-append", f"{OPTIONS} {options}"]
            if modules:
                args += ["-initrd", modules]
        self.args = args + list(qemu)
        self.process = self.qmp = None

    def __enter__(self):
        os.makedirs(LOGS, exist_ok=True)
        self.log_path = os.path.join(LOGS, f"{self.name}.log")
        self.log_file = open(self.log_path, "w", encoding="utf-8", errors="replace")
        self.log_file.write("qemu-system-x86_64 " + " ".join(self.args) + "\n")
        self.process = Console("qemu-system-x86_64", self.args, encoding="utf-8",
                               codec_errors="replace", echo=False, timeout=120)
        self.process.logfile_read = self.log_file
        self.process.delaybeforesend = None
        self.qmp = Qmp(f"{self.dir.name}/qmp", self.process)
        return self

    def __exit__(self, kind, value, traceback):
        self.process.close(force=True)
        self.log_file.close()
        if self.image:
            self.image.close()
        self.dir.cleanup()
        if kind is None:
            assert self.faults() == [], f"faults in {self.log_path}"

    # -- the console --------------------------------------------------------------------

    def expect(self, pattern, timeout=120):
        """Wait for a pattern on the serial port; the match object."""
        self.process.expect(pattern, timeout=timeout)
        return self.process.match

    def boot(self, timeout=240):
        """Wait until the control domain takes commands."""
        self.expect("@@ready", timeout)
        self.process.alone = True
        return self

    def send_command(self, command):
        """Start a shell command; its output comes after "@@begin".  See `serve`."""
        command = command.replace("\n", "; ")
        for at in range(0, len(command), CHUNK):
            self.process.sendline("+" + command[at:at + CHUNK])
            self.expect(r"@@have (\d+)\r*\n", 60)
            have = int(self.process.match[1])
            assert have == min(at + CHUNK, len(command)), "the console lost input"
        self.process.sendline("!")
        self.expect("@@begin\r*\n", 60)

    def try_sh(self, command, timeout=120):
        """Run a shell command in the control domain: (exit status, its output)."""
        self.send_command(command)
        self.expect(r"@@end (\d+)\r*\n", timeout)
        return int(self.process.match[1]), self.process.before.replace("\r", "").strip()

    def sh(self, command, timeout=120):
        """Run a shell command that must succeed: its output."""
        status, output = self.try_sh(command, timeout)
        if status:
            raise CommandFailed(f"{command}: exit {status}: {output}")
        return output

    def put(self, path, text):
        """Write a file in the control domain."""
        self.sh(f"echo {base64.b64encode(text.encode()).decode()} | base64 -d >{path}")

    def wait_for(self, command, timeout=120):
        """Run a shell command until it succeeds: its output."""
        end = time.monotonic() + timeout
        while True:
            status, output = self.try_sh(command, timeout)
            if status == 0:
                return output
            if time.monotonic() > end:
                raise CommandFailed(f"{command}: still exit {status}: {output}")
            time.sleep(0.2)

    # -- the machine --------------------------------------------------------------------

    def wait_end(self, timeout=120):
        """Wait until QEMU ends; why the machine stopped, e.g. "guest-shutdown"."""
        self.process.expect(pexpect.EOF, timeout=timeout)
        self.process.wait()
        reasons = [e["data"]["reason"] for e in self.qmp.drain() if e["event"] == "SHUTDOWN"]
        return reasons[-1] if reasons else None

    def power_off(self):
        self.send_command("poweroff -f")
        assert self.wait_end() == "guest-shutdown"

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s*(\d+) kB", f.read())[1]) >> 10

    def log(self):
        """All that came over the serial port until now."""
        if not self.log_file.closed:
            self.log_file.flush()
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read().replace("\r", "")

    def faults(self):
        """Lines of the log in which the hypervisor reports a fault of its own."""
        return [x for x in self.log().split("\n") if FAULT.search(x)]
