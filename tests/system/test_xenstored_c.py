# SPDX-License-Identifier: BSD-2-Clause
"""Debian's xenstored in C, and the start from GRUB with the entry of docs/moving-from-xl.md."""
import pytest

from debian_host import (baseline, debian_machine, everything_comes_back,  # noqa: F401
                         xenstore_tools)

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("everything_comes_back")]


@pytest.fixture(scope="module")
def host(load):
    with debian_machine("xenstored-c", load, xenstored="c", menu=True) as machine:
        machine.sh("pidof xenstored; ! pidof oxenstored")
        yield machine


def test_xenstore_tools(host):
    xenstore_tools(host)


def test_guests(host):
    host.small("one", "busy")
    host.wait_console("one", "load: up")
    assert host.names() == ["one"]
    host.sh("xl destroy one; truncate -s 1M /tmp/one; echo first-disk | dd of=/tmp/one conv=notrunc;"
            "losetup /dev/loop0 /tmp/one")
    host.linux("two", "head -n 1 /dev/xvda", disk=["phy:/dev/loop0,xvda,r"],
               vif=["bridge=xenbr0"])
    host.wait_console("two", "first-disk")
    assert host.table("xl block-list two")[0][3] == "4"
    assert len(host.table("xl network-list two")) == 1
    host.sh("xl shutdown -w two", 240)
    host.wait(lambda: host.names() == [], "it did not go")
    host.sh("losetup -d /dev/loop0")
