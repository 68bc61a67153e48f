# SPDX-License-Identifier: BSD-2-Clause
"""Debian's libvirt (xen:///system), unmodified, on Serai; with the xenstored in C under it,
booted from GRUB's menu."""
import re

import pytest

from debian_host import (CHAPTER, baseline, debian_machine,  # noqa: F401
                         everything_comes_back, xenstore_tools)
from docs_blocks import blocks

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("everything_comes_back")]

VIRSH = "virsh -q -c xen:///system"


@pytest.fixture(scope="module")
def host(load):
    with debian_machine("libvirt", load, xenstored="c", menu=True) as machine:
        machine.sh("pidof xenstored; ! pidof oxenstored")
        machine.sh("for i in 0 1; do truncate -s 1M /tmp/$i; echo disk-$i | dd of=/tmp/$i "
                   "conv=notrunc; losetup /dev/loop$i /tmp/$i; done; libvirtd -d")
        machine.wait_for(f"{VIRSH} version | grep 'Xen 4.17.0'", 60)
        yield machine
        machine.sh("kill $(cat /var/run/libvirtd.pid); losetup -D")


def virsh(host, command, timeout=300):
    return host.sh(f"{VIRSH} {command}", timeout)


def facts(host, command):
    """What virsh prints as "name: value", up to an empty line."""
    return dict(re.findall(r"^(.*?): +(.*)$", virsh(host, command).split("\n\n")[0], re.M))


def test_xenstore_tools(host):
    xenstore_tools(host)


def test_xl_on_this_xenstored(host):
    host.small("one", "busy")
    host.wait_console("one", "load: up")
    assert host.names() == ["one"]
    host.sh("xl destroy one")
    host.linux("two", "head -n 1 /dev/xvda", disk=["phy:/dev/loop0,xvda,r"],
               vif=["bridge=xenbr0"])
    host.wait_console("two", "disk-0")
    assert host.table("xl block-list two")[0][3] == "4"
    assert len(host.table("xl network-list two")) == 1
    host.sh("xl shutdown -w two", 240)
    host.wait(lambda: host.names() == [], "it did not go")


def test_the_host(host):
    info = facts(host, "nodeinfo")
    assert info["CPU model"] == "x86_64" and info["CPU(s)"] == "2"
    assert 2000 << 10 < int(info["Memory size"].split()[0]) <= 2048 << 10
    known = virsh(host, "capabilities")
    assert "<os_type>xen</os_type>" in known and "<domain type='xen'/>" in known
    assert "<machine>xenpv</machine>" in known
    assert "serai-debian" in virsh(host, "hostname") and virsh(host, "uri") == "xen:///system"
    assert "Domain-0" in virsh(host, "list")
    path = host.config("one", kernel="/boot/load.elf", memory=16, extra="busy", vcpus=2)
    xml = virsh(host, f"domxml-from-native xen-xl {path}")
    for part in ("<name>one</name>", "<memory unit='KiB'>16384</memory>", ">2</vcpu>"):
        assert part in xml


def test_the_chapter(host):
    for kind, text, name in blocks(CHAPTER, "sh xl", "cfg"):
        if kind == "cfg":
            host.put(name, text)
        elif "virsh" in text:
            host.script(text)
    assert "first" not in virsh(host, "list --all")
