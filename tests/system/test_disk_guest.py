# SPDX-License-Identifier: BSD-2-Clause
"""Disks under real programs: guests that live on a disk install packages, run fio with verification
while blkd is killed, while disks come and go, and change their CDs."""
import json
import subprocess

import pytest

from disk_guests import DISK_GUEST, DiskHost, debian_drive, drive, make_images

STORE = "/mnt/store"                # a file system of the control domain, for image files
ROOT_PHY = "/dev/vda,raw,xvda,rw"   # the kernel's backend
ROOT_BLKD = "format=raw,vdev=xvda,access=rw,backendtype=qdisk,target=/dev/vdb"
RAW = "/dev/vde,raw,{},rw"

KILL = """#!/bin/sh
# kill-blkd COUNT: kill it; init starts it again.
for _ in $(seq $1); do
    sleep 1.5
    old=$(pidof blkd)
    kill -9 $old
    until new=$(pidof blkd) && [ "$new" != "$old" ]; do sleep 0.1; done
done
"""


def make_iso(folder, name):
    """A CD with one file that says its name; one is larger than the other."""
    tree = folder / name
    tree.mkdir()
    (tree / "name").write_text(name)
    (tree / "filler").write_bytes(bytes(len(name) << 18))
    subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", str(folder / f"{name}.iso"),
                    str(tree)], check=True, capture_output=True)
    return (folder / f"{name}.iso").read_bytes()


@pytest.fixture(scope="module")
def machine(tmp_path_factory, vmlinux, load):
    make_images()
    folder = tmp_path_factory.mktemp("disks")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", str(folder / "store"), "600M"], check=True)
    subprocess.run(["truncate", "-s", "96M", str(folder / "raw")], check=True)
    files = {"bin/kill-blkd": KILL, "boot/load.elf": load}
    for name in "one", "second":
        files[f"cd/{name}.iso"] = make_iso(folder, name)
    qemu = (debian_drive() + debian_drive() + drive(f"{DISK_GUEST}/repo.img", "readonly=on") +
            drive(folder / "store", "cache=unsafe") +
            drive(folder / "raw", "cache=unsafe,discard=unmap") + debian_drive())
    with DiskHost("disk_guest", vmlinux, files=files, options="dom0_mem=640M", qemu=qemu) as m:
        m.boot()
        m.sh(f"mkdir -p {STORE}; modprobe ext4; mount -t ext4 /dev/vdd {STORE}")
        yield m
        m.sh(f"umount {STORE}")
        m.power_off()


@pytest.fixture(scope="module")
def resident(machine):
    """A guest that lives on the kernel's backend."""
    machine.start("disks", [ROOT_PHY])
    yield machine
    machine.gone("disks")
    machine.wait_for("[ -z \"$(ls -A /run/serai/blkd)\" ]")


@pytest.fixture
def guest(resident):
    """The same with nothing but its own disk; tests give it image files and /dev/vde."""
    m = resident
    m.sh(f"rm -f {STORE}/[abc]; for n in a b c; do truncate -s 96M {STORE}/$n; done")
    yield m
    for vdev in disks(m):
        if vdev != "xvda":
            m.sh(f"serai block-detach --force disks {vdev}", 60)
    assert list(disks(m)) == ["xvda"]
    m.wait_for("[ -z \"$(ls -A /run/serai/blkd)\" ]")


def fio(jobs, **options):
    """A shell command: fio with these jobs, each a dictionary, and options for all."""
    base = {"ioengine": "libaio", "direct": 1, "iodepth": 16, "verify": "crc32c",
            "verify_fatal": 1, "do_verify": 1, "group_reporting": 1, **options}
    words = [f"--{k}={v}" for k, v in base.items()]
    for i, job in enumerate(jobs):
        words += [f"--name=j{i}"] + [f"--{k}={v}" for k, v in job.items()]
    return f"cd /tmp && fio --minimal --output=/tmp/fio.$$ {' '.join(words)} || " \
           "{ cat /tmp/fio.$$; dmesg | tail -n 5; exit 1; }"


def both_ways(device, mib, **more):
    """Random in the first half of a device, in order in the second."""
    return [{"filename": device, "rw": "randrw", "rwmixread": 30, "bsrange": "4k-64k",
             "size": f"{mib // 2}M", "fsync": 16, **more},
            {"filename": device, "rw": "write", "bs": "128k", "offset": f"{mib // 2}M",
             "size": f"{mib // 2}M", "end_fsync": 1, **more}]


def trimming(device, mib):
    """Each block is discarded just before it is written."""
    return [{"filename": device, "rw": "randtrimwrite", "bs": "16k", "size": f"{mib}M",
             "fsync": 16}]


def file_system_is_good(m, device):
    """After its journal has been played back, as at any start."""
    m.run("disks", f"mount {device} /mnt && umount /mnt && e2fsck -fn {device}")


def disks(m, name="disks"):
    return {row["vdev"]: row for row in json.loads(m.sh(f"serai block-list --json {name}"))}


# ---- ordinary -------------------------------------------------------------------------------

def test_verified_quickly(guest):
    """Both backends side by side; discards on the one whose storage then reads zero."""
    guest.attach("disks", f"{STORE}/a,raw,xvdb,rw")
    guest.attach("disks", RAW.format("xvdc"))
    assert {v: d["backend"] for v, d in disks(guest).items()} == {
        "xvda": "phy", "xvdb": "blkd", "xvdc": "phy"}
    guest.run("disks", fio(both_ways("/dev/xvdb", 6) + both_ways("/dev/xvdc", 6)))
    guest.run("disks", fio(trimming("/dev/xvdb", 2)))


def test_cd_changes(guest):
    """blkd changes the medium; with the kernel's backend the drive goes and comes."""
    mount = "mkdir -p /cd && mount -t iso9660 -o ro /dev/{0} /cd && cat /cd/name && umount /cd"
    for vdev, more in ("xvdd", ""), ("xvde", ",backendtype=phy"):
        guest.attach("disks", f"/cd/one.iso,raw,{vdev}:cdrom,r{more}")
        assert guest.run("disks", mount.format(vdev)) == "one"
        status, text = guest.try_in("disks", f"dd if=/dev/zero of=/dev/{vdev} count=1")
        assert status, text
        guest.sh(f"serai cd-eject disks {vdev}")
        guest.run("disks", f"until [ \"$(cat /sys/block/{vdev}/size || echo 0)\" = 0 ]; do "
                           "sleep 0.2; done 2>/dev/null")
        guest.sh(f"serai cd-insert disks {vdev} /cd/second.iso")
        guest.run("disks", f"until [ \"$(cat /sys/block/{vdev}/size)\" -gt 0 ]; do sleep 0.2; "
                           "done 2>/dev/null")
        assert guest.run("disks", mount.format(vdev)) == "second"
        assert disks(guest)[vdev]["target"] == "/cd/second.iso"
        status, text = guest.try_sh(f"serai cd-insert disks {vdev} /cd/none.iso")
        assert status and "none.iso" in text, text
        assert guest.run("disks", mount.format(vdev)) == "second"
    status, text = guest.try_sh("serai cd-insert disks xvda /cd/one.iso")
    assert status and "is no CD drive" in text, text


@pytest.mark.long
def test_read_only_and_shared(guest):
    """A guest cannot write what is read-only; two have the same only if that is safe."""
    m = guest
    m.attach("disks", f"{STORE}/a,raw,xvdb,r")
    m.attach("disks", RAW.format("xvdc").replace(",rw", ",r"))
    for vdev in "xvdb", "xvdc":
        assert m.run("disks", f"cat /sys/block/{vdev}/ro") == "1"
        status, text = m.try_in("disks", f"blockdev --setrw /dev/{vdev}; "
                                f"dd if=/dev/zero of=/dev/{vdev} bs=4k count=1 oflag=direct")
        assert status, f"{vdev} was written: {text}"
    # Two may read; nobody may write what another reads, or read what another writes.
    m.attach("disks", f"{STORE}/a,raw,xvdd,r")
    m.attach("disks", f"{STORE}/b,raw,xvde,rw")
    for spec in f"{STORE}/a,raw,xvdf,rw", f"{STORE}/b,raw,xvdf,r", f"{STORE}/b,raw,xvdf,rw":
        status, text = m.try_sh(f"serai block-attach disks '{spec}'")
        assert status and "has it as disk" in text, text
    for spec in "/dev/vda,raw,xvdf,rw", "/dev/vde,raw,xvdf,rw":
        status, text = m.try_sh(f"serai block-attach disks '{spec}'")
        assert status and "has it as disk" in text, text
    status, text = m.try_sh("serai block-attach disks '/dev/vdd,raw,xvdf,rw'")
    assert status and "in use by the control domain" in text, text
    # Another guest is refused too, and is not made at all.
    m.write("/tmp/other.cfg", 'name = "other"\ntype = "pv"\nkernel = "/boot/load.elf"\n'
            f'memory = 16\nextra = "idle"\ndisk = [ "{STORE}/b,raw,xvda,rw" ]\n')
    status, text = m.try_sh("serai create /tmp/other.cfg")
    assert status and "has it as disk" in text and "other" not in m.sh("serai list"), text
    # Who says so may share; what one writes, the other reads.
    m.attach("disks", f"{STORE}/c,raw,xvdf,w!")
    m.attach("disks", f"{STORE}/c,raw,xvdg,w!")
    assert m.run("disks", "echo together | dd of=/dev/xvdf bs=4096 conv=sync oflag=direct "
                 "2>/dev/null; dd if=/dev/xvdg bs=4096 count=1 iflag=direct 2>/dev/null | "
                 "head -n 1") == "together"


# ---- long -----------------------------------------------------------------------------------

@pytest.mark.long
@pytest.mark.parametrize("root", ["/dev/vdf,raw,xvda,rw", ROOT_BLKD], ids=["blkback", "blkd"])
def test_installed_package_stays(machine, root):
    """A program and two libraries, by apt; lifed makes the guest again when it reboots."""
    m = machine
    m.start("apt", [root, "/dev/vdc,raw,xvdb,r"])
    m.run("apt", "mount -o ro /dev/xvdb /repo && apt-get -qq update && apt-get -qq install jq",
          500)
    assert m.run("apt", "echo '{\"a\": [1, 2]}' | jq '.a[1]'") == "2"
    before = m.run("apt", "cat $(dpkg -L jq libjq1 libonig5 | sort) 2>/dev/null | sha256sum")
    number = m.sh("serai domid apt")
    m.begin("apt", "sleep 0.5; reboot")
    m.wait_up("apt", 2)
    assert m.sh("serai domid apt") != number
    assert m.run("apt", "echo '{\"a\": [1, 2]}' | jq '.a[1]'") == "2"
    assert m.run("apt", "cat $(dpkg -L jq libjq1 libonig5 | sort) 2>/dev/null | "
                 "sha256sum") == before
    # The guests' Debian takes no manuals in.
    assert m.run("apt", "dpkg -V jq libjq1 libonig5 | grep -vE '/usr/share/(doc|man)'; "
                 "dpkg --audit; apt-get -qq check") == ""
    assert m.run("apt", "dmesg | grep -ciE 'ext4.*error|i/o error' || true") == "0"
    m.gone("apt")


@pytest.mark.long
def test_killed_under_fio(guest):
    """blkd is killed while fio writes and verifies on two of its disks and a file system."""
    m = guest
    m.start("killed", [ROOT_BLKD, f"{STORE}/a,raw,xvdb,rw", f"{STORE}/b,raw,xvdc,rw"],
            options="xen_blkfront.max_ring_page_order=2")
    m.run("killed", "mkdir -p /data")
    files = [{"directory": "/data", "rw": "randwrite", "bsrange": "4k-32k", "size": "4M",
              "fsync": 8, "direct": 0}]
    jobs = both_ways("/dev/xvdb", 16) + files
    one = m.begin("killed", fio(jobs))
    two = m.begin("killed", fio(trimming("/dev/xvdc", 4)))
    kills = 0
    # As long as there is load, and a few times at least.
    while kills < 6 or m.try_sh("grep -cE '^@({}|{})\\. ' /var/log/serai/console/killed.log | "
                                "grep -q 2".format(one, two))[0]:
        m.sh("kill-blkd 3", 120)
        kills += 3
        assert kills < 300, "fio never ends"
    m.done("killed", one, 600)
    m.done("killed", two, 600)
    assert kills >= 6
    print(f"blkd was killed {kills} times")
    assert m.run("killed", "dmesg | grep -ciE 'ext4.*error|i/o error' || true") == "0"
    m.begin("killed", "sync; poweroff")
    m.wait_for("! serai list | grep -q '^killed '", 120)
    m.attach("disks", ROOT_BLKD.replace("xvda", "xvdh"))
    file_system_is_good(m, "/dev/xvdh")


@pytest.mark.long
def test_hot_plug_under_fio(guest):
    """Disks of both kinds come, are verified and go while another one has load."""
    m = guest
    m.attach("disks", f"{STORE}/a,raw,xvdb,rw")
    load = m.begin("disks", fio(both_ways("/dev/xvdb", 8, time_based=1, runtime=60)))
    for _ in range(2):
        for spec in f"{STORE}/b,raw,xvdc,rw", RAW.format("xvdc"), \
                f"{STORE}/c,raw,xvdc,rw,backendtype=phy":
            m.attach("disks", spec)
            m.run("disks", fio(both_ways("/dev/xvdc", 2)))
            m.sh("serai block-detach disks xvdc", 60)
            m.run("disks", "! [ -e /dev/xvdc ]")
    m.done("disks", load, 400)
    assert list(disks(m)) == ["xvda", "xvdb"]


@pytest.mark.long
def test_taken_away_while_in_use(guest):
    """While a guest works with a disk it stays; when it has it mounted only, or does not answer and
    the user insists, the guest's programs get errors and its kernel and other disks go on."""
    m = guest
    m.attach("disks", f"{STORE}/a,raw,xvdb,rw")
    for spec in f"{STORE}/b,raw,xvdc,rw", RAW.format("xvdc"):
        m.attach("disks", spec)
        busy = m.begin("disks", fio(both_ways("/dev/xvdc", 4, time_based=1, runtime=20)))
        m.run("disks", "until awk '{exit $5 < 20}' /sys/block/xvdc/stat; do sleep 0.2; done")
        status, text = m.try_sh("serai block-detach disks xvdc", 60)
        assert status and "is using disk" in text and "--force" in text, text
        m.done("disks", busy)
        # Mounted, but quiet.
        other = m.begin("disks", fio(both_ways("/dev/xvdb", 4)))
        m.run("disks", "mke2fs -qF /dev/xvdc && mount /dev/xvdc /mnt && cp /bin/ls /mnt && sync")
        m.sh("serai block-detach disks xvdc", 60)
        status, text = m.try_in("disks", "ls -lR /mnt; dd if=/dev/zero of=/mnt/x bs=64k count=9 "
                                "conv=fsync")
        assert status and "rror" in text, text
        m.run("disks", "umount -l /mnt")
        m.done("disks", other)
        # It can come back; a guest that does not answer keeps it.
        m.attach("disks", spec)
        m.run("disks", fio(both_ways("/dev/xvdc", 2)))
        m.sh("serai pause disks")
        status, text = m.try_sh("serai block-detach disks xvdc", 60)
        assert status and "has not let go" in text and "--force" in text, text
        m.sh("serai block-detach --force disks xvdc", 60)
        assert "xvdc" not in disks(m)
        m.sh("serai unpause disks")
        m.run("disks", "for _ in $(seq 100); do [ -e /dev/xvdc ] || exit 0; sleep 0.1; done; "
                       "exit 1")
        m.run("disks", fio(both_ways("/dev/xvdb", 4)))
    assert m.run("disks", "dmesg | grep -cE 'BUG|Oops|hung' || true") == "0"
