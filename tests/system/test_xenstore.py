# SPDX-License-Identifier: BSD-2-Clause
"""Guests with xenstore: disks, interfaces, and what they are asked to do; through serai(1)."""
import json
import os
import subprocess
import time

import pytest

from guests import Guests
from machine import BUILD, CommandFailed, Machine

MEMORY = 128


@pytest.fixture(scope="module")
def images(host):
    """Empty images of 8 MiB: their paths by letter."""
    for letter in "abcd":
        host.sh(f"dd if=/dev/zero of=/tmp/{letter}.img bs=1M count=8 2>/dev/null")
    return {letter: f"/tmp/{letter}.img" for letter in "abcd"}


def around(host):
    """What of guests could stay behind in the control domain."""
    host.wait_for("! ls /run/serai/domains | grep .")
    # Directories of xenstore that all domains have in common stay; below them nothing does.
    store = ("for dir in /local/domain /local/domain/0/backend/vbd /local/domain/0/backend/serai "
             "/local/domain/0/backend/vif /libxl /vm; do echo $dir: $(xenstore-list $dir "
             "2>/dev/null); done; ") if host.try_sh("command -v xenstore-list")[0] == 0 else ""
    return host.sh(store + "losetup -a; ls /sys/class/net /sys/bus/xen-backend/devices "
                   "/run/serai/building; ls /proc/$(pidof lifed)/fd | wc -l")


def held(guests):
    """What guests could keep in the hypervisor.  The control domain gives pages back to map
    guests' pages there instead, and keeps those places: its pages count as free."""
    counts = guests.resources()
    pages = json.loads(guests.machine.sh("serai list --json 0"))[0]["memory_kb"] // 4
    return {k: counts[k] + (pages if k == "frames" else 0) for k in guests.COUNTED}


@pytest.fixture(scope="module")
def warm(host, images):
    """Directories, connections and reserves that all domains have in common are there."""
    first = Guests(host)
    host.sh("ip link add br9 type bridge; ip link set br9 up")
    first.linux("first", "sleep 1; poweroff -f", memory=MEMORY, vif=["bridge=br9"],
                disk=[f"{images['a']},raw,xvda,w,backendtype=phy",
                      f"{images['b']},raw,xvdb,w,backendtype=blkd"])
    first.wait_gone("first")
    host.sh("ip link del br9")


@pytest.fixture
def unchanged(host, guests, warm):
    """After the test everything is as before, in the hypervisor and in the control domain."""
    before, counts = around(host), held(guests)
    yield
    guests.clean()
    assert around(host) == before
    end = time.monotonic() + 20
    while (now := held(guests)) != counts and time.monotonic() < end:
        time.sleep(1)
    assert now == counts


def disks(host, name):
    return {d["vdev"]: d for d in json.loads(host.sh(f"serai block-list --json {name}"))}


def wait_disks(guests, name, expected):
    guests.wait_console(name, f"guest: disks{expected}, cpus")


def witness(guests, name, **keys):
    """A guest that verifies its disks."""
    guests.linux(name, "witness &", memory=MEMORY, on_reboot="restart", **keys)


@pytest.mark.parametrize("backend", ["phy", "blkd"])
def test_disk(host, guests, images, unchanged, backend):
    witness(guests, "disk", disk=[f"{images['a']},raw,xvda,w,backendtype={backend}",
                                  f"{images['b']},raw,xvdb,r,backendtype={backend}"])
    guests.wait_console("disk", "guest: verified xvda")
    wait_disks(guests, "disk", " xvda xvdb")
    found = disks(host, "disk")
    assert found["xvda"]["frontend_state"] == found["xvda"]["backend_state"] == "connected"
    assert found["xvda"]["backend"] == backend and not found["xvda"]["readonly"]
    assert found["xvdb"]["readonly"] and found["xvdb"]["target"] == images["b"]
    assert "verified xvdb" not in guests.console("disk")
    # What the guest wrote is in the file when the guest is gone; the other is untouched.
    host.sh("serai shutdown -w disk", 120)
    guests.wait_gone("disk")
    assert host.sh(f"tr -d '\\0' <{images['a']} | wc -c") != "0"
    assert host.sh(f"tr -d '\\0' <{images['b']} | wc -c") == "0"


def test_block_device(host, guests, images, unchanged):
    """A block device of the control domain goes to the kernel's backend without a loop."""
    device = host.sh(f"losetup -f; losetup -f {images['c']}")
    try:
        witness(guests, "device", disk=[f"{device},,hda"])
        guests.wait_console("device", "guest: verified xvda")
        assert disks(host, "device")["hda"]["backend"] == "phy"
        assert len(host.sh("losetup -a").split("\n")) == 1
        guests.destroy("device")
    finally:
        host.sh(f"losetup -d {device}")


@pytest.mark.parametrize("backend", ["phy", "blkd"])
def test_hot_plug(host, guests, images, unchanged, backend):
    witness(guests, "plug")
    wait_disks(guests, "plug", "")
    for _ in range(3):
        host.sh(f"serai block-attach plug {images['a']},raw,xvdc,w,backendtype={backend}")
        guests.wait(lambda: disks(host, "plug")["xvdc"]["frontend_state"] == "connected", 60,
                    "the guest does not take the disk")
        host.wait_for("tail -n 1 /var/log/serai/console/plug.log | grep 'disks xvdc'")
        host.sh("serai block-detach plug xvdc")
        host.wait_for("tail -n 1 /var/log/serai/console/plug.log | grep 'disks,'")
        assert disks(host, "plug") == {}
    assert guests.console("plug").count("guest: verified xvdc") == 3


def test_no_answer(host, guests, images, unchanged):
    """A guest that does not let go of a disk keeps it, unless it is forced."""
    witness(guests, "still", disk=[f"{images['a']},raw,xvda,w,backendtype=phy",
                                   f"{images['b']},raw,xvdb,w,backendtype=blkd"])
    guests.wait_console("still", "guest: verified xvdb")
    host.sh("serai pause still")
    status, output = host.try_sh("serai block-detach still xvda", 60)
    assert status == 1 and "has not let go" in output
    assert "xvda" in disks(host, "still")
    host.sh("serai block-detach --force still xvdb", 60)
    host.sh("serai unpause still")
    host.sh("serai block-detach still xvda", 60)
    assert disks(host, "still") == {}


def test_refused(host, guests, images, unchanged):
    """What cannot be is said at once, and nothing of it stays."""
    witness(guests, "one", disk=[f"{images['a']},raw,xvda,w"])
    cases = {f"{images['a']},raw,xvdb,w": "has it as disk",
             f"{images['a']},raw,xvdb,r": "has it as disk",
             f"{images['b']},raw,xvda,w": "already",
             "/tmp/none,raw,xvdb,w": "cannot open /tmp/none",
             "/tmp,raw,xvdb,r": "neither a block device nor a file",
             f"{images['b']},raw,xvdb,w,script=x": "no scripts",
             f"{images['b']},raw,vda,w": "is no disk"}
    for spec, words in cases.items():
        status, output = host.try_sh(f"serai block-attach one '{spec}'")
        assert status == 1 and words in output, (spec, output)
    path = guests.config("two", kernel="/boot/vmlinux", memory=MEMORY,
                         disk=[f"{images['b']},raw,xvda,w", f"{images['a']},raw,xvdb,w"])
    status, output = host.try_sh(f"serai create {path}")
    assert status == 1 and "domain" in output and "has it as disk" in output
    assert guests.names() == ["one"] and len(disks(host, "one")) == 1
    host.sh(f"serai block-attach one '{images['a']},raw,xvdb,w!'")
    host.sh("serai block-detach one xvdb")


def test_reboot(host, guests, images, unchanged):
    """A guest reboots on request, and has its disks again: the one plugged in later, too."""
    witness(guests, "again", disk=[f"{images['a']},raw,xvda,w"])
    guests.wait_console("again", "guest: verified xvda")
    host.sh(f"serai block-attach again {images['b']},raw,xvdb,w")
    wait_disks(guests, "again", " xvda xvdb")
    first = guests.rows()["again"]["id"]
    host.sh("rm -f /var/log/serai/console/again.log; serai reboot -w again", 120)
    guests.wait(lambda: guests.rows().get("again", {"id": first})["id"] != first, 60,
                "the guest did not come back")
    guests.wait(lambda: all(d["frontend_state"] == "connected"
                            for d in disks(host, "again").values()), 120, "its disks did not")
    assert set(disks(host, "again")) == {"xvda", "xvdb"}


def test_shutdown(host, guests, unchanged):
    for name in ("north", "south"):
        guests.linux(name, memory=MEMORY)
    guests.linux("deaf", "trap : USR2; while :; do sleep 1; done", memory=MEMORY)
    for name in ("north", "south", "deaf"):
        guests.wait_console(name, "guest: up")
    status, output = host.try_sh("serai shutdown -w -t 5 deaf", 60)
    assert status == 1 and "has not ended within 5 s" in output
    host.sh("serai pause deaf")
    status, output = host.try_sh("serai shutdown deaf", 60)
    assert status == 1 and "paused" in output
    host.sh("serai shutdown --all --wait", 200)
    guests.wait(lambda: guests.names() == ["deaf"], 60, "they are still there")


def test_cpus(host, guests, unchanged):
    witness(guests, "cpus", maxvcpus=2)
    wait_disks(guests, "cpus", "")
    guests.wait_console("cpus", "cpus 1")
    host.sh("serai vcpu-set cpus 2")
    guests.wait_console("cpus", "cpus 2")
    assert guests.rows()["cpus"]["vcpus"] == 2
    host.sh("serai vcpu-set cpus 1")
    guests.wait(lambda: guests.rows()["cpus"]["vcpus"] == 1, 60, "it keeps both CPUs")
    status, output = host.try_sh("serai vcpu-set cpus 3")
    assert status == 1 and "made for 1 to 2" in output


def test_memory(host, guests, unchanged):
    guests.linux("memory", memory=MEMORY, maxmem=MEMORY + 32)
    guests.wait_console("memory", "guest: up")

    def wait_size(mib):
        guests.wait(lambda: abs(guests.rows()["memory"]["memory_kb"] - (mib << 10)) <= 1024, 60,
                    f"it does not come to {mib} MiB")
    wait_size(MEMORY)
    for mib in (MEMORY - 48, MEMORY + 32, MEMORY):
        host.sh(f"serai mem-set memory {mib}")
        wait_size(mib)
    status, output = host.try_sh(f"serai mem-set memory {MEMORY + 33}")
    assert status == 1 and "made for at most" in output
    status, output = host.try_sh("serai mem-max memory 64")
    assert status == 1 and "cannot be below" in output


def test_cd(host, guests, images, unchanged):
    witness(guests, "cd", disk=[",,xvdd,cdrom,backendtype=blkd"])
    wait_disks(guests, "cd", ".*")
    host.sh(f"serai cd-insert cd xvdd {images['a']}")
    assert disks(host, "cd")["xvdd"]["target"] == images["a"]
    status, output = host.try_sh("serai cd-insert cd xvdd /tmp/none")
    assert status == 1 and "/tmp/none" in output
    host.sh("serai cd-eject cd xvdd")
    assert disks(host, "cd")["xvdd"]["target"] == ""


def test_network(host, guests, unchanged):
    host.sh("ip link add br9 type bridge; ip addr add 10.9.0.1/24 dev br9; ip link set br9 up")
    try:
        guests.linux("net", "ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0; "
                     "ping -c 3 -w 60 10.9.0.1 >/dev/null && echo guest: heard; witness",
                     memory=MEMORY, vif=["bridge=br9"])
        guests.wait_console("net", "guest: heard")
        host.sh("serai network-attach net bridge=br9")
        found = json.loads(host.sh("serai network-list --json net"))
        assert [v["devid"] for v in found] == [0, 1] and found[0]["mac"] != found[1]["mac"]
        guests.wait(lambda: all(v["frontend_state"] == "connected" for v in json.loads(
            host.sh("serai network-list --json net"))), 60, "the guest takes no second interface")
        host.sh(f"serai network-detach net {found[1]['mac']}; serai network-detach net 0")
        assert json.loads(host.sh("serai network-list --json net")) == []
        status, output = host.try_sh("serai network-attach net bridge=nowhere")
        assert status == 1 and "nowhere" in output
        guests.destroy("net")
    finally:
        host.sh("ip link del br9")


def test_names(host, guests, unchanged):
    guests.linux("early", memory=MEMORY)
    host.sh("serai rename early late")
    number = host.sh("serai domid late")
    assert host.sh(f"serai domname {number}") == "late"
    guests.destroy("late")


def test_killed_daemons(host, guests, images, unchanged):
    """lifed finds xenstore again after that was killed, and guests hardly notice."""
    witness(guests, "kept", disk=[f"{images['a']},raw,xvda,w"])
    guests.wait_console("kept", "guest: verified xvda")
    host.sh("kill -9 $(pidof stored)")
    host.sh(f"serai block-attach kept {images['b']},raw,xvdb,w", 60)
    guests.wait_console("kept", "guest: verified xvdb")
    host.sh("serai shutdown -w kept", 120)
    guests.wait_gone("kept", 30)


def test_without_xenstore(vmlinux, guest_image):
    """Guests without devices run; what needs xenstore says so."""
    files = {"boot/vmlinux": vmlinux, "boot/guest-do.img": guest_image}
    with Machine("xenstore_none", files=files, kernel_options="serai.store=no") as machine:
        machine.boot()
        guests = Guests(machine)
        guests.linux("plain", memory=MEMORY)
        guests.wait_console("plain", "guest: up")
        for command in ("shutdown plain", "block-list", "vcpu-set plain 1", "mem-set plain 100",
                        "block-attach plain /dev/loop0,,xvda"):
            status, output = machine.try_sh(f"serai {command}")
            assert status == 1 and "xenstore is not served" in output, (command, output)
        path = guests.config("disk", kernel="/boot/vmlinux", memory=MEMORY, disk=["/x,,xvda"])
        with pytest.raises(CommandFailed, match="xenstore is not served"):
            machine.sh(f"serai create {path}")
        time.sleep(1)
        guests.destroy("plain")
        assert guests.names() == []
        machine.power_off()


def debian_daemon():
    """Debian's xenstored and its libraries, from scripts/debian-image's root: {path: contents}."""
    root = os.path.join(BUILD, "debian", "root")
    program = os.path.join(root, "usr/lib/xen-4.17/bin/xenstored")
    if not os.path.exists(program):
        pytest.skip("scripts/debian-image has not been run")
    where = {"LD_LIBRARY_PATH": os.path.join(root, "usr/lib/x86_64-linux-gnu")}
    listing = subprocess.run(["ldd", program], env={**os.environ, **where}, text=True,
                             capture_output=True, check=True).stdout
    files = {"usr/sbin/xenstored": program, "lib64/ld-linux-x86-64.so.2": os.path.join(
        root, "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")}
    for line in listing.splitlines():
        words = line.split()
        if "=>" in words:
            files[f"lib/x86_64-linux-gnu/{words[0]}"] = words[2]
    contents = {}
    for path, source in files.items():
        with open(source, "rb") as f:
            contents[path] = f.read()
    return contents


@pytest.mark.long
def test_with_debian_daemon(vmlinux, guest_image):
    """The same with Debian's xenstored in the place of ours."""
    files = {"boot/vmlinux": vmlinux, "boot/guest-do.img": guest_image, **debian_daemon()}
    with Machine("xenstore_debian", files=files, options="dom0_mem=640M",
                 kernel_options="serai.store=xenstored") as machine:
        machine.boot()
        guests = Guests(machine)
        for letter in "ab":
            machine.sh(f"dd if=/dev/zero of=/tmp/{letter}.img bs=1M count=8 2>/dev/null")
        witness(guests, "guest", maxvcpus=2, disk=["/tmp/a.img,raw,xvda,w,backendtype=phy",
                                                   ",,xvdd,cdrom,backendtype=blkd"])
        guests.wait_console("guest", "guest: verified xvda")
        machine.sh("serai block-attach guest /tmp/b.img,raw,xvdb,w,backendtype=blkd")
        guests.wait_console("guest", "guest: verified xvdb")
        machine.sh("serai vcpu-set guest 2; serai mem-set guest 100")
        guests.wait_console("guest", "cpus 2")
        machine.sh("serai block-detach guest xvdb; rm -f /var/log/serai/console/guest.log; "
                   "serai reboot -w guest", 120)
        # It must have come far enough to hear the next request.
        guests.wait_console("guest", "guest: verified xvda")
        assert guests.rows()["guest"]["id"] == 2
        machine.sh("serai shutdown -w guest", 120)
        guests.wait_gone("guest", 30)
        assert machine.sh("losetup -a; ls /sys/bus/xen-backend/devices") == ""
        machine.power_off()
