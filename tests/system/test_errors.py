# SPDX-License-Identifier: BSD-2-Clause
"""Bad input: one clear error that names what and where, and nothing left behind."""
import os
import re
import struct

import pytest

from machine import IMAGE, KERNEL_OPTIONS, Machine


@pytest.fixture(autouse=True)
def nothing_left(request):
    if "guests" not in request.fixturenames:
        yield
        return
    guests = request.getfixturevalue("guests")
    before = guests.resources()
    yield
    guests.clean()
    guests.wait(lambda: guests.unchanged(before), 60,
                f"resources before {before}, after {guests.resources()}")


def refused(guests, path):
    """`serai create` must fail with one line on stderr: that line."""
    status, output = guests.machine.try_sh(f"serai create {path} 2>&1 >/dev/null")
    assert status != 0, "it was accepted"
    assert len(output.split("\n")) == 1, output
    assert output.startswith("serai: "), output
    return output


BAD_KERNELS = {
    "not-elf": ("head -c 100000 /dev/urandom", "kernel"),
    "empty": (":", "kernel"),
    "no-notes": ("cat /bin/busybox", "note"),
    "cut": ("head -c 200000 /boot/load.elf | head -c 9000", "kernel"),
    "bzimage-cut": ("head -c 3000000 /boot/vmlinuz", "kernel"),
}


@pytest.mark.parametrize("case", BAD_KERNELS)
def test_bad_kernel(guests, case):
    make, _ = BAD_KERNELS[case]
    guests.machine.sh(f"{make} >/tmp/bad-kernel")
    path = guests.config("bad", kernel="/tmp/bad-kernel", memory=32)
    assert "/tmp/bad-kernel" in refused(guests, path)
    assert guests.names() == []


def test_missing_files(guests):
    assert "/nowhere.cfg" in refused(guests, "/nowhere.cfg")
    path = guests.config("bad", kernel="/no/kernel", memory=32)
    assert "/no/kernel" in refused(guests, path)
    path = guests.config("bad", kernel="/boot/load.elf", ramdisk="/no/ramdisk", memory=32)
    assert "/no/ramdisk" in refused(guests, path)


BAD_CONFIGS = {
    "typo": ('memroy = 32', "memroy"),
    "type": ('memory = "much"', "memory"),
    "syntax": ('memory = = 3', ":"),
    "unclosed": ('extra = "abc', ":"),
    "no-kernel": ('memory = 32', "kernel"),
    "range": ('memory = 99999999999', "memory"),
    "vcpus": ('vcpus = 0', "vcpus"),
    "cpus": ('cpus = "7-"', "cpus"),
}


@pytest.mark.parametrize("case", BAD_CONFIGS)
def test_bad_config(guests, case):
    line, word = BAD_CONFIGS[case]
    kernel = "" if case == "no-kernel" else "kernel = \"/boot/load.elf\""
    guests.machine.sh(f"printf '%s\\n' 'name = \"bad\"' '{kernel}' '{line}' >/tmp/bad.cfg")
    error = refused(guests, "/tmp/bad.cfg")
    assert word in error and "bad.cfg" in error


def test_name_in_use(guests):
    guests.load("one", "idle")
    assert "one" in refused(guests, "/tmp/one.cfg")
    assert guests.names() == ["one"]


def test_too_little_memory_for_the_kernel(guests):
    path = guests.config("bad", kernel="/boot/vmlinux", memory=8)
    assert "memory" in refused(guests, path).lower()


def test_more_memory_than_there_is(guests):
    path = guests.config("bad", kernel="/boot/load.elf", memory=100000)
    assert "memory" in refused(guests, path).lower()


def test_unknown_domain(guests):
    for verb in ("destroy", "pause", "unpause", "console"):
        status, output = guests.machine.try_sh(f"serai {verb} nobody 2>&1")
        assert status != 0 and "nobody" in output


def test_unknown_verb(guests):
    status, output = guests.machine.try_sh("serai frobnicate 2>&1")
    assert status != 0 and "frobnicate" in output


# -- at boot --------------------------------------------------------------------------------

def truncated(tmp_path, name, size):
    path = tmp_path / name
    with open(os.path.join(IMAGE, "vmlinuz"), "rb") as f:
        path.write_bytes(f.read(size))
    return path


def boot_fails(name, modules, **keys):
    """The machine must say in one line why it cannot boot: that line."""
    with Machine(f"error-{name}", modules=modules, options="noreboot=0", **keys) as m:
        return m.expect(r"\(SERAI\) FATAL: ([^\r\n]*)\r*\n", 120)[1]


def test_boot_without_modules():
    assert re.search("module", boot_fails("no-modules", ""), re.I)


def test_boot_with_a_damaged_kernel(tmp_path):
    path = truncated(tmp_path, "vmlinuz-cut", 3000000)
    image = f"{IMAGE}/control.img"
    assert boot_fails("cut-kernel", f"{path} {KERNEL_OPTIONS},{image}")


def test_boot_with_something_else_as_kernel(tmp_path):
    path = tmp_path / "text"
    path.write_text("not a kernel\n" * 1000)
    assert re.search("ELF|bzImage|kernel", boot_fails("text-kernel", str(path)))


def test_damaged_microcode_is_ignored(tmp_path):
    path = tmp_path / "ucode.bin"
    # A container whose only patch is longer than the file.
    path.write_bytes(struct.pack("<3I16x2I", 0x00414d44, 0, 16, 1, 3200) + bytes(64))
    modules = f"{IMAGE}/vmlinuz {KERNEL_OPTIONS},{IMAGE}/control.img,{path}"
    with Machine("error-microcode", modules=modules) as m:
        m.expect(r"\(SERAI\) Microcode in module 2 is damaged \(cut off[^\n]*\n", 120)
        m.expect(r"\(SERAI\) Boot took", 120)
