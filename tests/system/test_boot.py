# SPDX-License-Identifier: BSD-2-Clause
"""The control domain boots on different machines and sees them as they are."""
import os
import re
import shutil
import subprocess

import pytest

from machine import BUILD, Machine

FIRMWARE = "/usr/share/OVMF"


@pytest.mark.parametrize("chipset", ["q35", "pc"])
@pytest.mark.parametrize("cpus", [1, 2, 8])
def test_boots_with_cpus(chipset, cpus):
    with Machine(f"boot-{chipset}-{cpus}", chipset=chipset, cpus=cpus) as m:
        m.boot()
        assert m.sh("nproc") == str(cpus)
        assert m.sh("cat /sys/hypervisor/type /sys/hypervisor/version/major") == "xen\n4"
        total = int(m.sh("awk '/MemTotal/ { print $2 }' /proc/meminfo"))
        assert 380 << 10 < total <= 512 << 10
        m.power_off()


@pytest.mark.long
@pytest.mark.parametrize("cpus", [64, 128])
def test_boots_with_many_cpus(cpus):
    with Machine(f"boot-{cpus}", cpus=cpus, memory="4G", options="dom0_mem=1G") as m:
        m.boot(1800)
        assert m.sh("nproc", 600) == str(cpus)
        m.send_command("poweroff -f")
        assert m.wait_end(600) == "guest-shutdown"


def test_control_domain_takes_its_options():
    with Machine("boot-options", options="dom0_mem=400M dom0_max_vcpus=1 frobnicate=1") as m:
        m.boot()
        assert m.sh("nproc") == "1"
        total = int(m.sh("awk '/MemTotal/ { print $2 }' /proc/meminfo"))
        assert 280 << 10 < total <= 400 << 10
        assert "frobnicate" in "".join(x for x in m.log().split("\n")[1:] if "(SERAI)" in x)
        m.power_off()


def test_reboots():
    with Machine("boot-reboot") as m:
        m.boot()
        m.send_command("reboot -f")
        assert m.wait_end() == "guest-reset"


def test_a_panic_of_the_control_domain_reboots():
    with Machine("boot-panic", kernel_options="panic=1") as m:
        m.boot()
        m.send_command("echo c >/proc/sysrq-trigger")
        assert m.wait_end() == "guest-reset"


def test_screen_shows_something():
    with Machine("boot-screen", options="console=com1,vga", qemu=["-vga", "std"]) as m:
        m.boot()
        assert "colour" in m.sh("dmesg | grep -i 'console.*colour'").lower()
        shot = os.path.join(m.dir.name, "screen.ppm")
        m.qmp.run("screendump", filename=shot)
        with open(shot, "rb") as f:
            pixels = f.read()[20:]
        assert len(set(pixels)) > 1, "the screen is blank"
        m.power_off()


def test_one_tebibyte_is_not_touched():
    chipset = ["-object", "memory-backend-ram,id=m0,size=1T,reserve=off",
               "-M", "q35,memory-backend=m0"]
    with Machine("boot-1T", chipset=chipset, memory="1T", cpu="EPYC,-monitor,phys-bits=46") as m:
        m.boot(600)
        resident = m.resident_mib()
        free = re.search(r"free_memory\s*: (\d+)", m.sh("serai info"))
        assert int(free[1]) > 1000 << 10
        # 512 MiB of control domain, 256 MiB of translated code, the emulator itself.
        assert resident < 512 + 256 + 256 + 1024, f"{resident} MiB resident"
        m.power_off()


@pytest.fixture(scope="module")
def iso():
    path = os.path.join(BUILD, "tests", "serai.iso")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    subprocess.run([os.path.join("packaging", "iso"), "--small", path], check=True)
    return path


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_grub_boots_the_iso(firmware, iso, tmp_path):
    args = ["-drive", f"file={iso},format=raw,if=none,id=cd,media=cdrom,readonly=on",
            "-device", "ide-cd,drive=cd,bus=ide.0", "-vga", "std"]
    if firmware == "uefi":
        shutil.copy(f"{FIRMWARE}/OVMF_VARS_4M.fd", tmp_path / "vars.fd")
        args += ["-drive", f"if=pflash,format=raw,readonly=on,file={FIRMWARE}/OVMF_CODE_4M.fd",
                 "-drive", f"if=pflash,format=raw,file={tmp_path}/vars.fd"]
    with Machine(f"boot-iso-{firmware}", firmware_boot=args) as m:
        m.expect("control domain with a shell", 240)
        m.process.send("\r")
        m.expect(r"\(SERAI\) ", 240)
        m.expect("serai# ", 300)
        m.process.sendline("stty -echo; echo seen-$((40+2)); cat /sys/hypervisor/type")
        m.expect("seen-42")
        m.expect("xen")
        m.process.sendline("exit")
        assert m.wait_end() == "guest-shutdown"
