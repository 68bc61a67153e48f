# SPDX-License-Identifier: BSD-2-Clause
"""The package in a Debian as its installer leaves it, on a disk with GRUB for BIOS and UEFI: apt-get,
GRUB's menu, the units, and a guest that starts and ends with the machine."""
import hashlib
import os
import re
import shutil
import subprocess

import pytest

from docs_blocks import blocks
from machine import BUILD, HERE, IMAGE, ROOT, Machine

pytestmark = pytest.mark.long

CHAPTER = "docs/getting-started.md"
FOLDER = os.path.join(BUILD, "package")
PACKAGES = ("linux-image-amd64,grub-pc,grub-efi-amd64-bin,systemd-sysv,udev,dbus,ifupdown,iproute2,"
            "iputils-ping,dnsmasq-base,e2fsprogs,zstd,less")
MIB = 1 << 20
ROOT_AT, ROOT_MIB, ESP_AT, ESP_MIB = 68, 1600, 4, 64    # MiB
DISK = f"""label: gpt
start=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649
start={ESP_AT}MiB, size={ESP_MIB}MiB, type=U
start={ROOT_AT}MiB, size={ROOT_MIB}MiB, type=L
"""
# What a user of a serial port has in there; all else is Debian's.
FILES = {
    "etc/default/grub.d/serial.cfg":
        'GRUB_TERMINAL="console serial"\nGRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"\n',
    "etc/fstab": "/dev/sda3 / ext4 errors=remount-ro 0 1\n/dev/sda2 /boot/efi vfat umask=0077 0 2\n",
    "etc/hostname": "host\n",
    "etc/hosts": "127.0.0.1 localhost host\n",
    "etc/serai/auto/small.cfg": 'name = "small"\nkernel = "/boot/vmlinuz"\nmemory = 160\n'
                                'ramdisk = "/var/lib/serai/guest.img"\nextra = "console=hvc0"\n',
}


def sh(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


def cached(name, key, make):
    """build/package/NAME, made again when `key` is another than last time."""
    path, mark = os.path.join(FOLDER, name), os.path.join(FOLDER, name + ".key")
    key = hashlib.sha256(key.encode()).hexdigest()
    if not os.path.exists(mark) or open(mark, encoding="ascii").read() != key:
        shutil.rmtree(path, ignore_errors=True)
        make(path)
        with open(mark, "w", encoding="ascii") as f:
            f.write(key)
    return path


def debian(path):
    sh("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}",
       "--aptopt=APT::Install-Recommends \"false\"",
       "--essential-hook=echo grub-pc grub-pc/install_devices_empty boolean true | "
       "chroot \"$1\" debconf-set-selections",
       "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*.bin",
       "bookworm", path)


def chapter(first):
    """The block of commands that begins so."""
    found = [text for _, text, _ in blocks(CHAPTER, "sh debian") if text.startswith(first)]
    assert len(found) == 1, first
    return found[0]


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)


class Disk:
    """The disk, and the root file system's kernel and initramfs, with which its installer starts."""

    def __init__(self, folder):
        system = cached("root", PACKAGES, debian)
        self.root = root = os.path.join(folder, "root")
        sh("cp", "-a", system, root)
        for name, text in FILES.items():
            write(os.path.join(root, name), text)
        sh("passwd", "-q", "--root", root, "-d", "root")
        os.makedirs(os.path.join(root, "root/build"))
        os.makedirs(os.path.join(root, "boot/efi"), exist_ok=True)
        os.makedirs(os.path.join(root, "var/lib/serai"))
        sh("make", "-s", "deb", f"O={os.path.abspath(BUILD)}", cwd=ROOT)
        package, = [x for x in os.listdir(BUILD) if x.endswith("_amd64.deb")]
        shutil.copy(os.path.join(BUILD, package), os.path.join(root, "root/build"))
        shutil.copy(os.path.join(HERE, "serve"), os.path.join(root, "root/serve"))
        shutil.copy(os.path.join(IMAGE, "guest.img"), os.path.join(root, "var/lib/serai"))
        for kind in ("vmlinuz", "initrd.img"):
            real, = [x for x in os.listdir(f"{root}/boot") if x.startswith(kind + "-")]
            os.symlink(real, f"{root}/boot/{kind}")
            shutil.copy(f"{root}/boot/{real}", os.path.join(folder, kind))
        self.folder, self.path = folder, os.path.join(folder, "disk.img")
        self.make()
        shutil.rmtree(root)

    def make(self):
        with open(self.path, "wb") as f:
            f.truncate((ROOT_AT + ROOT_MIB + 1) * MIB)
        sh("sfdisk", "-q", self.path, input=DISK)
        sh("mformat", "-i", f"{self.path}@@{ESP_AT * MIB}", "-F", "-T", str(ESP_MIB * MIB // 512),
           "-h", "64", "-s", "32", "::")
        with open(self.path, "r+b") as f:   # what GRUB takes for a table of partitions
            f.seek(ESP_AT * MIB + 446)
            f.write(bytes(64))
        sh("mke2fs", "-q", "-t", "ext4", "-E", f"offset={ROOT_AT * MIB}", "-d", self.root, self.path,
           f"{ROOT_MIB}M")

    def arguments(self):
        return ["-drive", f"file={self.path},format=raw,if=none,id=disk,cache=unsafe",
                "-device", "ide-hd,drive=disk,bus=ide.0", "-vga", "std"]

    def cat(self, path):
        """A file of the root file system, while the machine is off."""
        return sh("debugfs", "-R", f"cat {path}", f"{self.path}?offset={ROOT_AT * MIB}")


class Host(Machine):
    """Logs in at the prompt, and has `serve` take commands there."""

    def login(self, timeout=400):
        self.expect("host login: ", timeout)
        self.process.sendline("root")
        self.expect(r"root@host:~#", 120)
        self.process.sendline("sed \"s,/dev/hvc0,$(tty),g\" serve >/run/serve; exec sh /run/serve")
        return self.boot()

    def choose(self, entry, timeout=240):
        """Move to a line of GRUB's menu."""
        self.expect("GNU GRUB", timeout)
        self.expect(r"\*Debian GNU/Linux", 60)
        for _ in range(12):
            self.process.send("\x1b[B")
            found = self.process.expect([r"\*" + entry, r"\*\S+[^\r\n]*"], timeout=20)
            if found == 0:
                self.process.send("\r")
                return
        raise AssertionError(f"GRUB has no entry {entry}")

    def end(self, command="systemctl poweroff"):
        self.send_command(command)
        assert self.wait_end(400) == "guest-shutdown"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return Disk(str(tmp_path_factory.mktemp("package")))


def test_install(disk):
    """Debian on the bare machine: what its installer does for GRUB, and apt-get."""
    start = ["-kernel", f"{disk.folder}/vmlinuz", "-initrd", f"{disk.folder}/initrd.img",
             "-append", "root=/dev/sda3 console=ttyS0 mitigations=off quiet"]
    with Host("package-install", firmware_boot=start + disk.arguments(), memory="1G") as m:
        m.login()
        m.sh("grub-install /dev/sda 2>&1 && grub-install --target=x86_64-efi --removable "
             "--no-nvram --efi-directory=/boot/efi 2>&1 && update-grub 2>&1", 400)
        output = m.sh("cd /root && " + chapter("apt-get").strip() + " 2>&1", 600)
        assert re.search(r"Found Serai \S+ with Linux 6\.1", output), output
        # Not on Serai yet: nothing runs, nothing has failed.
        assert "serai" not in m.sh("systemctl --failed --plain --no-legend")
        m.sh("echo 'GRUB_CMDLINE_LINUX=mitigations=off' >>/etc/default/grub; update-grub 2>&1", 120)
        m.end()


LOG = "/var/log/serai/console/small.log"


def test_guests_start_and_end_with_the_machine(disk):
    """From GRUB's menu (BIOS): the units run, a guest starts with the machine, and is asked to end."""
    with Host("package-bios", firmware_boot=disk.arguments()) as m:
        m.choose(r"Serai [^\r\n]*control domain")
        m.expect(r"\(SERAI\) ", 120)
        m.login()
        assert m.sh("systemctl is-system-running --wait || systemctl --failed", 300) == "running"
        for line in chapter("serai list").splitlines():
            output = m.sh(line)
        for unit in ("host", "stored", "consoled", "blkd", "lifed", "guests"):
            assert re.search(rf"serai-{unit}.service +loaded active", output), output
        for line in chapter("echo 'bridge").splitlines():
            m.sh(line)
        m.sh("serai list | grep small")
        m.wait_for(f"grep 'guest: Linux' {LOG}", 120)
        m.end()
    assert re.search("reboot: (Power down|System halted)", disk.cat(LOG))
