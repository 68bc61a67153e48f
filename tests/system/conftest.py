# SPDX-License-Identifier: BSD-2-Clause
"""Options and shared machines of the system tests."""
import os
import struct
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))
from machine import BUILD, HERE, IMAGE, Machine, compiled, pack  # noqa: E402
from guests import Guests  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also the tests marked as long")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; only with --long")


def pytest_collection_modifyitems(config, items):
    """Long tests are left out, not skipped: a skip would look like a missing result."""
    if not config.getoption("--long"):
        out = [x for x in items if x.get_closest_marker("long")]
        config.hook.pytest_deselected(items=out)
        items[:] = [x for x in items if x not in out]


def unpacked_kernel(bzimage):
    """The ELF file in Debian's XZ-compressed bzImage (boot protocol: payload offset, length)."""
    with open(bzimage, "rb") as f:
        data = f.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1F1] + 1) * 512 + offset
    # The last four bytes are the unpacked size, not part of the stream.
    return subprocess.run(["xz", "-dc"], input=data[start:start + length - 4],
                          capture_output=True, check=True).stdout


@pytest.fixture(scope="session")
def vmlinux():
    """The stock kernel unpacked, for tests that start many guests."""
    return unpacked_kernel(os.path.join(IMAGE, "vmlinuz"))


@pytest.fixture(scope="session")
def load():
    """The kernel of tests/guests/load.c, which behaves as its command line says."""
    with open(os.path.join(BUILD, "guests", "load.elf"), "rb") as f:
        return f.read()


@pytest.fixture(scope="session")
def fuzz():
    """The guest that tries all hypercalls with random arguments."""
    with open(os.path.join(BUILD, "guests", "pv_fuzz_hc.elf"), "rb") as f:
        return f.read()


@pytest.fixture(scope="session")
def guest_image():
    """Initramfs of a Linux guest that runs the base64 shell command do=... and stays."""
    files = {}
    for path, name in (("init", "init"), ("bin/witness", "witness")):
        with open(os.path.join(HERE, "guest", name), "rb") as f:
            files[path] = f.read()
    with open(os.path.join(IMAGE, "guest.img"), "rb") as f:
        return f.read() + pack(files)


@pytest.fixture(scope="session")
def disk_load():
    """The program that checks what it writes and reads, for any guest."""
    return compiled("disk_load.c", "-static", "-pthread")


@pytest.fixture(scope="module")
def host(request, vmlinux, load, fuzz, guest_image):
    """One machine with guests' kernels on board, shared by a module's tests."""
    files = {"boot/vmlinux": vmlinux, "boot/load.elf": load, "boot/fuzz.elf": fuzz,
             "boot/guest-do.img": guest_image}
    name = request.module.__name__.removeprefix("test_")
    # The control domain keeps to CPU 0 so that CPU 1 is the guests'.
    options = "dom0_mem=640M dom0_max_vcpus=1 dom0_vcpus_pin"
    # A module that measures time has it made of executed instructions: MACHINE_OPTIONS there.
    qemu = getattr(request.module, "MACHINE_OPTIONS", ())
    cpus = getattr(request.module, "MACHINE_CPUS", 2)
    with Machine(name, files=files, options=options, qemu=qemu, cpus=cpus) as machine:
        machine.boot()
        # What the control domain keeps for all guests comes with the first: tests count.
        first = Guests(machine)
        first.load("first", "idle")
        first.destroy("first")
        yield machine
        machine.power_off()


@pytest.fixture
def guests(host):
    """Makes guests on the host; whatever a test leaves is destroyed after it."""
    maker = Guests(host)
    yield maker
    maker.clean()
