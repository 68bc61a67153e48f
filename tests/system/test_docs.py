# SPDX-License-Identifier: BSD-2-Clause
"""Every command in the chapters for administrators works as it is written: blocks marked ```sh are
run in a control domain, chapter by chapter, in their order.  Chapters may build on what those before
them have written to files."""
import base64
import os
import re

import pytest

from machine import ROOT, Machine

CHAPTERS = ["toolstack", "storage", "networking"]


def blocks(chapter):
    with open(os.path.join(ROOT, "docs", f"{chapter}.md"), encoding="utf-8") as f:
        return re.findall(r"^```sh\n(.*?)^```$", f.read(), re.M | re.S)


@pytest.fixture(scope="module")
def machine(vmlinux, guest_image):
    files = {"boot/vmlinuz": vmlinux, "boot/guest.img": guest_image}
    with Machine("docs", files=files, options="dom0_mem=640M",
                 qemu=["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"]) as m:
        m.boot()
        m.sh("modprobe virtio_net; for i in $(seq 50); do [ -e /sys/class/net/eth0 ] && break; "
             "sleep 0.2; done; ip link show eth0")
        yield m
        m.power_off()


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_commands_of_a_chapter(machine, chapter):
    found = blocks(chapter)
    assert found, f"docs/{chapter}.md has no commands"
    for text in found:
        code = base64.b64encode(text.encode()).decode()
        machine.sh(f"echo {code} | base64 -d >/tmp/block")
        status, output = machine.try_sh("sh -eu /tmp/block 2>&1", 240)
        assert status == 0, f"docs/{chapter}.md:\n{text}\n{output}"
    assert machine.sh("serai list --json | grep -c '\"id\"'") == "1" # nobody is left
