# SPDX-License-Identifier: BSD-2-Clause
"""Full disks, things that are missing or vanish, guests that do not answer, and configurations that
cannot be: one clear error or a bounded wait, the daemons live, and nothing stays behind."""
import time

import pytest

from guests import LOG, Guests
from machine import Machine
from test_store import client  # noqa: F401, pylint: disable=unused-import

DAEMONS = ("stored", "consoled", "blkd", "lifed")
BRIDGE = "br9"

# The daemons anew, on file systems that are soon full.
SMALL = ["rm -f /run/xenstored/socket",
         "for d in lifed blkd consoled stored; do kill $(pidof $d); done; "
         "while pidof stored consoled blkd lifed; do sleep 0.1; done",
         "mv /run/serai /run/kept; mkdir /run/serai; mount -t tmpfs -o size=3m none /run/serai; "
         "cp -a /run/kept/. /run/serai; rm -r /run/kept; "  # with it the kernel's watches
         "mount -t tmpfs -o size=64k none /var/log/serai/console",
         "(stored >>/var/log/serai/stored.log 2>&1 &)",
         "while ! [ -S /run/xenstored/socket ]; do sleep 0.1; done; "
         "for d in consoled blkd lifed; do ($d >>/var/log/serai/$d.log 2>&1 &) ; done",
         "while ! grep -q ready /var/log/serai/lifed.log; do sleep 0.1; done"]


@pytest.fixture(scope="module")
def machine(vmlinux, load, guest_image, client):  # noqa: F811
    files = {"boot/vmlinux": vmlinux, "boot/load.elf": load, "boot/guest-do.img": guest_image,
             **client}
    with Machine("bad_input", files=files, options="dom0_mem=640M dom0_max_vcpus=1") as m:
        m.boot()
        for command in SMALL:
            m.sh(command)
        m.sh(f"ip link add {BRIDGE} type bridge; ip link set {BRIDGE} up")
        m.sh("truncate -s 8M /tmp/a.img /tmp/b.img")
        first = Guests(m)
        first.load("first", "idle", vif=[f"bridge={BRIDGE}"],
                   disk=["/tmp/a.img,raw,xvda,w,backendtype=blkd",
                         "/tmp/b.img,raw,xvdb,w,backendtype=phy"])
        first.destroy("first")
        yield m
        m.power_off()


def around(m):
    """All that a guest could leave in the control domain."""
    return m.sh("ls /run/serai/domains /run/serai/building /run/serai/net; losetup -a; "
                "ls /sys/class/net /sys/bus/xen-backend/devices; "
                "for d in /local /libxl /vm; do store_client $d count; done")


def processes(m):
    return m.sh("for d in " + " ".join(DAEMONS) + "; do pidof $d || echo gone; done")


@pytest.fixture
def guests(machine):
    """Whatever a test does, the daemons are the same and nothing is left."""
    maker = Guests(machine)
    before, daemons = around(machine), processes(machine)
    yield maker
    maker.clean()
    assert processes(machine) == daemons and "gone" not in daemons
    end = time.monotonic() + 20
    while (now := around(machine)) != before and time.monotonic() < end:
        time.sleep(0.5)
    assert now == before


def refused(m, command):
    """The command must fail with one line on stderr: that line."""
    status, output = m.try_sh(f"{command} 2>&1 >/dev/null", 60)
    assert status != 0, f"{command}: it was accepted"
    assert len(output.split("\n")) == 1 and output.startswith("serai: "), output
    return output


# What is written into the file besides name, kernel and memory; the words of the error.
BAD_CONFIGS = [
    ("maxmem = 8", ["maxmem"]),
    ("vcpus = 4\nmaxvcpus = 2", ["maxvcpus"]),
    ("disk = [ '/tmp/none.img,raw,xvda,w' ]", ["/tmp/none.img", "xvda"]),
    ("disk = [ '/tmp/a.img,raw,xvda,w', '/tmp/b.img,raw,xvda,w' ]", ["disk", "twice"]),
    ("disk = [ '/tmp/a.img,raw,xvda,w', '/tmp/b.img,raw,hda,w', '/tmp/c.img,raw,xvdc,w' ]",
     ["/tmp/c.img"]),
    ("disk = [ '/dev/null,raw,xvda,w' ]", ["/dev/null", "neither"]),
    ("disk = [ '/tmp/a.img,raw,xvda,x' ]", ["access"]),
    ("disk = [ '/tmp/a.img,tar,xvda,w' ]", ["tar"]),
    ("disk = [ ',raw,xvda,w' ]", ["target"]),
    ("vif = [ 'bridge=nobridge' ]", ["nobridge"]),
    ("vif = [ 'mac=00:16:3e:00:00:01,bridge=br9', 'mac=00:16:3e:00:00:01,bridge=br9' ]",
     ["00:16:3e:00:00:01", "twice"]),
    ("vif = [ 'mac=01:16:3e:00:00:01,bridge=br9' ]", ["mac"]),
    ("vif = [ 'mac=00:16:3e,bridge=br9' ]", ["mac"]),
    ("vif = [ 'bridge=br9,rate=fast' ]", ["rate"]),
    ("vif = [ 'bridge=br9,wheels=4' ]", ["wheels"]),
    ("on_crash = 'explode'", ["on_crash"]),
    ("cpus = '99'", ["cpu"]),
]


def test_configurations(guests):
    m = guests.machine
    for text, words in BAD_CONFIGS:
        lines = ["name = 'bad'", "kernel = '/boot/load.elf'", "memory = 16"] + text.split("\n")
        m.put("/tmp/bad.cfg", "\n".join(lines) + "\n")
        error = refused(m, "serai create /tmp/bad.cfg").lower()
        assert all(word in error for word in words), (text, error)
    assert guests.names() == []


def test_lengths(guests):
    """At a limit it works, over it there is an error that says which."""
    m = guests.machine
    name = "n" * 63
    path = guests.config("limits", kernel="/boot/load.elf", memory=16, extra="idle")
    accepted = 0
    for length in (1, 63, 64, 65, 255, 256, 1000):
        m.sh(f"sed -i 's/^name = .*/name = \"{'n' * length}\"/' {path}")
        status, output = m.try_sh(f"serai create {path} 2>&1 >/dev/null")
        if status == 0:
            accepted = length
            m.sh(f"serai destroy {'n' * length}")
        else:
            assert "name" in output and len(output.split("\n")) == 1, output
    assert len(name) <= accepted < 1000
    m.sh(f"sed -i 's/^name = .*/name = \"limits\"/' {path}")
    # The kernel's command line has a place of 1024 bytes in the public ABI.
    m.sh(f"sed -i 's/^extra = .*/extra = \"idle {'x' * 1100}\"/' {path}")
    assert "1023" in refused(m, f"serai create {path}")
    long = "/tmp/" + "d" * 250
    assert "ddd" in refused(m, f"serai create {long}{'d' * 10}")


def test_names_and_addresses_of_others(guests):
    m = guests.machine
    mac = "00:16:3e:11:22:33"
    guests.load("one", "idle", vif=[f"mac={mac},bridge={BRIDGE}"],
                disk=["/tmp/a.img,raw,xvda,w,backendtype=blkd"])
    two = guests.config("two", kernel="/boot/load.elf", memory=16, extra="idle",
                        vif=[f"mac={mac},bridge={BRIDGE}"])
    assert mac in refused(m, f"serai create {two}")
    two = guests.config("two", kernel="/boot/load.elf", memory=16, extra="idle",
                        disk=["/tmp/a.img,raw,xvda,w,backendtype=blkd"])
    error = refused(m, f"serai create {two}")
    assert "/tmp/a.img" in error or "one" in error, error
    two = guests.config("two", kernel="/boot/load.elf", memory=16, extra="idle")
    m.sh(f"serai create {two}")
    assert "one" in refused(m, "serai rename two one")
    assert sorted(guests.names()) == ["one", "two"]


def test_no_answer(guests):
    """A guest that takes no notice of a request is waited for as long as was said."""
    m = guests.machine
    guests.load("deaf", "idle")
    start = time.monotonic()
    status, output = m.try_sh("serai shutdown -w -t 2 deaf 2>&1", 60)
    assert status == 1 and "deaf" in output or "domain" in output, output
    assert "2 s" in output and time.monotonic() - start < 40, output
    status, output = m.try_sh("serai reboot -w -t 2 deaf 2>&1", 60)
    assert status == 1, output
    assert guests.names() == ["deaf"]


def fill(m, directory):
    m.sh(f"dd if=/dev/zero of={directory}/fill bs=4k 2>/dev/null; [ -s {directory}/fill ]")
    m.sh(f"dd if=/dev/zero of={directory}/fill2 bs=1 count=4096 2>/dev/null; true")


def test_full_state_directory(guests):
    m = guests.machine
    guests.load("stays", "idle", disk=["/tmp/a.img,raw,xvda,w,backendtype=blkd"])
    guests.load("goes", "idle", vif=[f"bridge={BRIDGE}"])
    path = guests.config("late", kernel="/boot/load.elf", memory=16, extra="idle")
    fill(m, "/run/serai")
    error = refused(m, f"serai create {path}")
    assert "No space left" in error and ("/run/serai" in error or "xenstore" in error), error
    assert sorted(guests.names()) == ["goes", "stays"]
    m.sh("serai list; serai info")
    m.sh("serai pause stays; serai unpause stays; serai destroy goes")
    assert guests.names() == ["stays"]
    # A journal that cannot be written: no change without a record of it.
    status, output = m.try_sh("store_client /tool/full 100")
    assert status and "No space left" in output, output
    assert "No space left on device; changes are refused" in m.sh("cat /var/log/serai/stored.log")
    # Room again: all of it works, and what could not be cleared away is.
    m.sh("rm /run/serai/fill*")
    assert m.sh("store_client /tool/full 3").startswith("ok ")
    m.sh(f"serai create {path}")
    assert sorted(guests.names()) == ["late", "stays"]


@pytest.mark.long
def test_full_log_directory(guests):
    """A guest prints more than there is room for; it goes on, and so does another one."""
    m = guests.machine
    guests.linux("chatter", "seq 20000; echo over >/dev/kmsg", memory=128)
    m.wait_for("grep 'chatter: cannot write its log: No space left' /var/log/serai/consoled.log", 120)
    guests.load("quiet", "wake")
    guests.wait_gone("quiet")
    assert "chatter" in guests.names()
    guests.destroy("chatter")
    m.sh(f"rm -f {LOG}/*.log*")
    guests.load("after", "idle")
    guests.wait_console("after", "load: up")


@pytest.mark.long
def test_vanished_below_a_guest(guests):
    """The bridge goes, the image becomes shorter than it was: the guest goes on without."""
    m = guests.machine
    m.sh("ip link add br8 type bridge; ip link set br8 up; truncate -s 8M /tmp/cut.img")
    guests.linux("victim", "while :; do dd if=/dev/xvda of=/dev/null bs=4k skip=1000 count=1 "
                 "iflag=direct >/dev/null 2>&1 || echo failed; echo beat $((i=i+1)); sleep 1; done",
                 memory=128, vif=["bridge=br8"],
                 disk=["/tmp/cut.img,raw,xvda,w,backendtype=blkd",
                       "/tmp/b.img,raw,xvdb,w,backendtype=phy"])
    guests.wait_console("victim", "beat 2")
    assert "failed" not in guests.console("victim")
    m.sh("ip link del br8; truncate -s 1M /tmp/cut.img; truncate -s 1M /tmp/b.img")
    guests.wait_console("victim", "failed")
    last = int(guests.console("victim").rsplit("beat ", 1)[1].split()[0])
    guests.wait_console("victim", f"beat {last + 2}")
    assert "shorter than it says" in m.sh("tail -n 5 /var/log/serai/blkd.log")
    m.sh("serai network-list victim; serai block-list victim")
    m.sh("serai network-detach --force victim 0 || serai network-detach victim 0", 60)
    m.sh("truncate -s 8M /tmp/b.img")
