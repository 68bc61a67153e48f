# SPDX-License-Identifier: BSD-2-Clause
"""What becomes of guests: dumps, the watchdog, waiting, starting and ending all of them."""
import json
import os
import re
import struct
import subprocess
import tempfile

import pytest

MEMORY = 128
DUMPS = "/var/lib/serai/dump"
SHARED = tempfile.TemporaryDirectory(prefix="share-")
SHARE = SHARED.name
MACHINE_OPTIONS = ["-virtfs", f"local,path={SHARE},mount_tag=share,security_model=none"]
KERNEL_MAP = 0xffffffff80000000     # where a PV Linux sees its first pseudo-physical page


class Core:
    """Reads a dump as Xen's document "dump-core-format" describes it."""

    def __init__(self, path):
        with open(path, "rb") as f:
            data = f.read()
        assert data[:8] == b"\x7fELF\x02\x01\x01\x00"
        assert struct.unpack_from("<HH", data, 16) == (4, 62)       # a core of x86-64
        offset, = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        rows = [struct.unpack_from("<IIQQQQ", data, offset + i * size) for i in range(count)]
        strings = rows[names][4]
        self.sections = {}
        for name, _, _, _, at, length in rows:
            text = data[strings + name:data.index(b"\0", strings + name)].decode()
            assert at + length <= len(data)
            self.sections[text] = data[at:at + length]
        offset, = struct.unpack_from("<Q", data, 32)
        size, count = struct.unpack_from("<HH", data, 54)
        self.segments = [(address, data[at:at + length]) for kind, _, at, address, _, length, _, _ in
                         (struct.unpack_from("<IIQQQQQQ", data, offset + i * size)
                          for i in range(count)) if kind == 1]
        p2m = struct.iter_unpack("<QQ", self.sections[".xen_p2m"])
        self.index = {pfn: i for i, (pfn, _) in enumerate(p2m)}

    def header(self):
        """Magic, virtual CPUs, pages, page size."""
        data = self.sections[".note.Xen"]
        while True:
            name, length, kind = struct.unpack_from("<III", data)
            assert name == 4 and data[12:16] == b"Xen\0"
            if kind == 0x2000001:
                return struct.unpack_from("<QQQQ", data, 16)
            data = data[16 + length:]

    def instruction_pointer(self):
        # In vcpu_guest_context_t, after 512 bytes of FPU, the flags and 15 registers and codes.
        return struct.unpack_from("<Q", self.sections[".xen_prstatus"], 512 + 8 + 16 * 8)[0]

    def read(self, address, length):
        """Memory of the guest, within a page."""
        at = self.index[address // 4096] * 4096 + address % 4096
        return self.sections[".xen_pages"][at:at + length]


    def seen(self, address, length):
        """Memory where the guest's kernel saw it, by the program headers."""
        (start, data), = [x for x in self.segments if x[0] <= address < x[0] + len(x[1])]
        return data[address - start:address - start + length]


def ask_gdb(path, *commands):
    words = [w for c in commands for w in ("-ex", c)]
    return subprocess.run(["gdb", "-nx", "-batch", "-c", path, *words], capture_output=True,
                          text=True, check=True).stdout


def check_core(path, symbols):
    core = Core(path)
    magic, vcpus, pages, page_size = core.header()
    assert magic == 0xf00febed and vcpus == 1 and page_size == 4096
    assert MEMORY * 256 * 0.97 < pages == len(core.index) <= MEMORY * 256
    assert len(core.sections[".xen_pages"]) == pages * 4096
    banner = core.read(symbols["linux_banner"] - KERNEL_MAP, 64)
    assert banner.startswith(b"Linux version 6.1.0-")
    assert symbols["_text"] <= core.instruction_pointer() < symbols["_etext"]
    assert core.seen(symbols["linux_banner"], 64) == banner
    said = ask_gdb(path, f"x/s {symbols['linux_banner']}", "print/x $rip")
    assert '"Linux version 6.1.0-' in said and f"= {core.instruction_pointer():#x}" in said, said
    return core


def test_dump(host, guests):
    """A dump of a running guest, and one of a guest that crashes and is made again, hold the kernel
    where it says that it is."""
    host.sh("mkdir -p /mnt/share /mnt/small; mount -t tmpfs -o size=8m small /mnt/small; "
            "mount -t 9p -o trans=virtio,version=9p2000.L share /mnt/share")
    guests.linux("crash", "grep -E ' (linux_banner|_text|_etext)$' /proc/kallsyms; "
                 "echo 1 >/proc/sys/kernel/sysrq; echo guest: ready", memory=MEMORY,
                 on_crash="coredump-restart")
    guests.wait_console("crash", "guest: ready")
    symbols = {name: int(value, 16) for value, name in
               re.findall(r"([0-9a-f]{16}) \w (\w+)", guests.console("crash"))}
    host.sh("serai dump-core crash /mnt/share/live.core", 240)
    core = check_core(f"{SHARE}/live.core", symbols)
    assert b"sysrq: Trigger a crash" not in core.sections[".xen_pages"]

    status, output = host.try_sh("serai dump-core crash /mnt/small/core", 60)
    assert status == 1 and "cannot write /mnt/small/core: No space left" in output
    assert host.sh("ls -A /mnt/small") == ""
    assert guests.state("crash") in ("idle", "running", "ready")     # it goes on

    first = guests.rows()["crash"]["id"]
    host.sh("serai sysrq crash c; serai wait -t 60 crash rebooted", 90)
    assert guests.rows()["crash"]["id"] != first
    guests.destroy("crash")
    file = host.sh(f"ls {DUMPS}/crash-*.core")
    kib, size = map(int, host.sh(f"du -k {file} | cut -f1; stat -c %s {file}").split())
    assert kib < size // 1024 * 0.8, "empty pages take room"
    host.sh(f"cp {file} /mnt/share/crash.core; rm {file}", 240)
    core = check_core(f"{SHARE}/crash.core", symbols)
    assert b"sysrq: Trigger a crash" in core.sections[".xen_pages"]
    os.remove(f"{SHARE}/crash.core")
    os.remove(f"{SHARE}/live.core")


def test_watchdog(host, guests):
    """A guest that sets its watchdog and does not touch it again."""
    guests.load("dog", "watchdog", on_watchdog="preserve", on_crash="destroy")
    guests.wait_state("dog", "ended:watchdog", 60)
    guests.destroy("dog")
    guests.load("dog", "watchdog", on_watchdog="restart")
    first = guests.rows()["dog"]["id"]
    host.sh("serai wait -t 60 dog rebooted", 90)
    assert guests.rows()["dog"]["id"] != first


def test_wait(host, guests):
    status, output = host.try_sh("serai wait nobody destroyed")
    assert status == 3 and "nobody" in output
    status, output = host.try_sh("serai wait nobody destroid")
    assert status == 2 and 'did you mean "destroyed"' in output
    host.sh("(serai wait -t 100 later running && touch /tmp/came) >/dev/null 2>&1 &")
    guests.load("later", "idle", paused=True)
    assert host.try_sh("test -e /tmp/came")[0] == 1
    host.sh("serai unpause later")
    host.wait_for("test -e /tmp/came", 20)
    status, output = host.try_sh("serai wait -t 2 later shutdown")
    assert status == 1 and "later did not end within 2 s" in output
    host.sh("(serai wait later destroyed && touch /tmp/went) >/dev/null 2>&1 & "
            "(serai wait later crashed 2>/tmp/no || touch /tmp/not) & sleep 1")
    guests.destroy("later")
    host.wait_for("test -e /tmp/went && test -e /tmp/not", 20)
    assert "ended without a crash (it was destroyed)" in host.sh("cat /tmp/no")


def test_all(host, guests):
    """Every guest that is to start with the machine starts; all end when it ends."""
    host.sh("serai autostart enable " + guests.config("deaf", kernel="/boot/load.elf", memory=16,
                                                      extra="idle"))
    host.sh("serai autostart enable " + guests.config(
        "polite", kernel="/boot/vmlinux", ramdisk="/boot/guest-do.img", memory=MEMORY,
        on_poweroff="restart", extra="console=hvc0 quiet mitigations=off panic=-1 do=ZWNobwo="))
    status, output = host.try_sh("serai autostart enable /tmp/none.cfg")
    assert status == 1 and "/tmp/none.cfg" in output
    host.sh("echo 'memory = 16' >/etc/serai/auto/broken.cfg")
    status, output = host.try_sh("serai guests-start", 120)
    assert status == 1 and "broken.cfg" in output and "polite started" in output
    rows = json.loads(host.sh("serai autostart --json list"))
    assert [(r["name"], r["state"]) for r in rows] == [
        ("", "broken"), ("deaf", "there"), ("polite", "there")]
    host.sh("rm /etc/serai/auto/broken.cfg; serai guests-start | grep 'deaf is there already'")
    guests.wait_console("polite", "guest: up")
    output = host.sh("serai guests-stop --timeout 20", 90)
    assert "deaf has not shut down: destroying it" in output and "polite" not in output
    assert guests.names() == []
    host.sh("serai autostart disable deaf; serai autostart disable polite.cfg")
    assert host.try_sh("serai autostart disable deaf")[0] == 3
    assert host.sh("serai autostart --json list | tr -d '\\n '") == "[]"
    assert guests.names() == []


def test_terminal(host, guests):
    """The console as a terminal, for programs that look for one; also of a daemon started anew."""
    guests.linux("term", "read line; echo got: $line", memory=MEMORY)
    guests.wait_console("term", "guest: up")
    terminal = "/dev/pts/$(ls /dev/pts | grep -v ptmx | tail -n 1)"
    assert "guest: up" in host.sh(f"timeout 3 cat {terminal} || true")
    host.sh("kill -9 $(pidof consoled); sleep 1")
    host.wait_for(f"timeout 3 cat {terminal} | grep 'guest: up'", 20)
    host.sh(f"echo hello >{terminal}")
    guests.wait_console("term", "got: hello")
    assert guests.console("term").count("guest: up") == 1
    host.sh("serai destroy term; sleep 1; ls /dev/pts | grep -v ptmx | wc -l | grep -x 0")


def memory_mb(guests):
    return {name: row["memory_kb"] // 1024 for name, row in guests.rows().items()}


@pytest.mark.long
def test_shared_memory(host, guests):
    """Guests with a range share what is free, give it to a new one, and keep what was set."""
    for name in "a", "b":
        guests.linux(name, memory=MEMORY, minmem=96, maxmem=300)
    guests.load("deaf", "idle", memory=40, minmem=16, maxmem=40)     # never does as it is told
    guests.wait(lambda: min(memory_mb(guests)[x] for x in "ab") > 290, 90, "they do not grow")
    free = int(json.loads(host.sh("serai info --json"))["free_kb"]) // 1024
    guests.load("new", "idle", memory=free + 200)
    have = memory_mb(guests)
    assert have["new"] == free + 200 and 96 <= have["a"] < 215 and abs(have["a"] - have["b"]) < 16
    assert have["deaf"] == 40
    status, output = host.try_sh("serai create " + guests.config(
        "much", kernel="/boot/load.elf", memory=free, extra="idle"), 60)
    assert status == 1 and "are above their minimum" in output
    host.sh("serai mem-set a 120")
    guests.destroy("new")
    guests.wait(lambda: memory_mb(guests)["b"] > 290, 90, "it does not grow again")
    assert abs(memory_mb(guests)["a"] - 120) < 3
    host.sh("serai mem-set a auto")
    guests.wait(lambda: memory_mb(guests)["a"] > 290, 90, "it does not take part again")
    status, output = host.try_sh("serai mem-set deaf 50")
    assert status == 1 and "at most 40 MB" in output
