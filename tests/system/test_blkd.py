# SPDX-License-Identifier: BSD-2-Clause
"""blkd(8) on a whole machine: a stock guest checks what it reads and writes on its disks while the
daemons below are killed, and while disks come and go."""
import base64
import os
import re

import pytest

from machine import Machine, pack

LOG = "/var/log/serai/console"
KILLS = 3                       # at a time: blkd thrice, stored once
MIB = 1 << 20


@pytest.fixture(scope="module")
def machine(tmp_path_factory, disk_load, vmlinux, guest_image):
    disk = tmp_path_factory.mktemp("blkd") / "disk"
    disk.touch()
    os.truncate(disk, 64 * MIB)
    files = {"boot/vmlinux": vmlinux, "bin/kill-daemons": KILL,
             "boot/guest-disk.img": guest_image + pack({"bin/disk_load": disk_load})}
    with Machine("blkd", files=files, options="dom0_mem=640M",
                 qemu=["-drive", f"file={disk},format=raw,if=virtio"]) as m:
        m.boot()
        m.sh("modprobe virtio_blk && [ -b /dev/vda ]")
        yield m
        m.power_off()


GUEST = """name = "{name}"
type = "pv"
kernel = "/boot/vmlinux"
ramdisk = "/boot/guest-disk.img"
memory = 192
vcpus = 2
disk = [ {disks} ]
extra = "console=hvc0 quiet mitigations=off panic=-1 {options} do={code}"
on_poweroff = "destroy"
"""


def start(m, name, disks, command, options=""):
    code = base64.b64encode(command.encode()).decode()
    m.sh(f": >/tmp/{name}.cfg; rm -f {LOG}/{name}.log")
    text = GUEST.format(name=name, code=code, options=options,
                        disks=", ".join(f'"{d}"' for d in disks))
    for line in text.splitlines():
        m.sh(f"echo '{line}' >>/tmp/{name}.cfg")
    m.sh(f"serai create /tmp/{name}.cfg", 300)


def wait_results(m, name, count, timeout=300):
    """Wait in the control domain, so that the console carries little."""
    log = f"{LOG}/{name}.log"
    m.sh(f"for i in $(seq {timeout}); do [ $(grep -ac '^disk: ' {log}) -ge {count} ] && break; "
         "sleep 1; done", 2 * timeout)
    lines = m.sh(f"grep -a '^disk: ' {log} || true").splitlines()
    if len(lines) < count:
        m.sh("kill -USR1 $(pidof blkd); sleep 2; kill -USR1 $(pidof blkd); sleep 1")
        raise AssertionError(m.sh(f"cat {log}; tail -30 /var/log/serai/blkd.log; serai list; "
                                  "cat /proc/$(pidof blkd)/stack /proc/interrupts"))
    return lines


def image(m, name, mib=8):
    m.sh(f"rm -f /tmp/{name} && truncate -s {mib}M /tmp/{name}")


KILL = """#!/bin/sh
# kill-daemons COUNT: kill blkd, every third time stored too; init starts them again.
for n in $(seq $1); do
    sleep 1.5
    names=blkd
    [ $((n % 3)) != 0 ] || names="blkd stored"
    old=$(pidof $names)
    kill -9 $old
    for name in $names; do
        until new=$(pidof $name) && ! echo " $old " | grep -q " $new "; do sleep 0.1; done
    done
done
"""


def gone(m, name):
    """Nothing of a guest's disks stays behind."""
    m.sh(f"serai destroy {name}")
    m.wait_for("[ -z \"$(ls -A /run/serai/blkd)\" ]")
    m.wait_for("! grep -q gntdev /proc/$(pidof blkd)/maps")
    m.wait_for(f"! serai list | grep -q '^{name} '")


FILE = "/tmp/{},raw,xvda,rw"
BLOCK = "format=raw,vdev=xvdb,access=rw,backendtype=qdisk,target=/dev/vda"


@pytest.mark.long
@pytest.mark.parametrize("options", [
    "",
    "xen_blkfront.feature_persistent=0 xen_blkfront.max_ring_page_order=2 "
    "xen_blkfront.max_queues=1"], ids=["persistent", "copied"])
def test_killed_under_load(machine, options):
    m = machine
    image(m, "a")
    start(m, "worker", [FILE.format("a"), BLOCK],
          "disk_load /dev/xvda 30 3 1500 & disk_load /dev/xvdb 30 3 1500 & "
          "sleep 1; echo working; wait", options)
    m.wait_for(f"grep -q working {LOG}/worker.log")
    kills = 0
    while m.try_sh(f"[ $(grep -ac '^disk: ' {LOG}/worker.log) -ge 2 ]")[0]:
        m.sh(f"kill-daemons {KILLS}", 300)
        kills += KILLS
        assert kills < 100 * KILLS, "the load never ends"
    assert kills >= KILLS
    for line in wait_results(m, "worker", 2):
        assert re.search(r"good: \d+ operations", line), line
    gone(m, "worker")


@pytest.mark.long
def test_hot_plug_under_load(machine):
    m = machine
    image(m, "a")
    image(m, "b")
    start(m, "plugged", [FILE.format("a")],
          "disk_load /dev/xvda 600 2 1500 & for n in 1 2 3; do until [ -b /dev/xvdc ]; do "
          "sleep 1; done; disk_load /dev/xvdc 2 1 500; until ! [ -b /dev/xvdc ]; do sleep 1; "
          "done; done; touch /stop; wait")
    for n in range(3):
        m.sh("serai block-attach plugged /tmp/b,raw,xvdc,rw")
        wait_results(m, "plugged", n + 1)
        m.sh("serai block-detach plugged xvdc")
    lines = wait_results(m, "plugged", 4)
    assert all("good" in x for x in lines), lines
    status, out = m.try_sh("serai block-attach plugged /tmp/a,raw,xvdd,rw")
    assert status and "a" in out, out
    status, out = m.try_sh("serai block-attach plugged /tmp/none,raw,xvdd,rw")
    assert status and "none" in out, out
    gone(m, "plugged")


def test_short_and_full(machine):
    """Requests fail where the storage does; the daemon and the other disk go on."""
    m = machine
    m.sh("mkdir -p /tmp/small && mount -t tmpfs -o size=2m none /tmp/small")
    m.sh("truncate -s 8M /tmp/small/full")
    image(m, "short")
    image(m, "good")
    start(m, "unlucky", ["/tmp/small/full,raw,xvda,rw", "/tmp/short,raw,xvdb,rw",
                         "/tmp/good,raw,xvdc,rw"],
          "echo working; until dd if=/dev/xvdb of=/dev/null bs=4k skip=1000 count=1 iflag=direct "
          "2>&1 | grep -q error; do sleep 1; done; disk_load /dev/xvda 60 1 2000; "
          "disk_load /dev/xvdc 2 1 1000")
    m.wait_for(f"grep -q working {LOG}/unlucky.log")
    m.sh("truncate -s 1M /tmp/short")
    lines = wait_results(m, "unlucky", 2)
    assert "bad: write" in lines[0] and "good" in lines[1], lines
    log = m.sh("cat /var/log/serai/blkd.log")
    assert "short: read: the image is shorter than it says" in log
    assert "full: write: No space left on device" in log
    gone(m, "unlucky")
    m.sh("umount /tmp/small")
