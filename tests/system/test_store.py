# SPDX-License-Identifier: BSD-2-Clause
"""stored(8) on a whole machine: the control domain's kernel and guests work on the store through
their rings while the daemon is killed again and again; none of them may notice."""
import base64
import re
import time

import pytest

from machine import Machine, compiled, pack

LIB = "/lib/x86_64-linux-gnu"
KILLS = 12


@pytest.fixture(scope="module")
def client():
    """store_client with the libraries that it needs, as files of an image."""
    files = {"lib64/ld-linux-x86-64.so.2": "/lib64/ld-linux-x86-64.so.2"}
    for name in ("libxenstore.so.4", "libxentoolcore.so.1", "libc.so.6", "libgcc_s.so.1"):
        files["lib/x86_64-linux-gnu/" + name] = f"{LIB}/{name}"
    for path, source in files.items():
        with open(source, "rb") as f:
            files[path] = f.read()
    return {"bin/store_client": compiled("store_client.c", "-lxenstore"), **files}


@pytest.fixture(scope="module")
def machine(client, vmlinux, guest_image):
    files = {"boot/vmlinux": vmlinux, "boot/guest-do.img": guest_image + pack(client), **client}
    with Machine("store", files=files, options="dom0_mem=640M dom0_max_vcpus=1") as m:
        m.boot()
        yield m
        m.power_off()


GUEST = """name = "{name}"
type = "pv"
kernel = "/boot/vmlinux"
ramdisk = "/boot/guest-do.img"
memory = 160
extra = "console=hvc0 quiet mitigations=off panic=-1 do={code}"
on_poweroff = "destroy"
"""


def start_guest(m, name, command):
    code = base64.b64encode(command.encode()).decode()
    m.sh(f": >/tmp/{name}.cfg")
    for line in GUEST.format(name=name, code=code).splitlines():
        m.sh(f"echo '{line}' >>/tmp/{name}.cfg")
    m.sh(f"serai create /tmp/{name}.cfg", 300)


def kill_stored(m):
    """The control domain's init starts it again."""
    m.sh("old=$(pidof stored); kill -9 $old; until new=$(pidof stored) && [ $new != $old ]; do "
         "sleep 0.1; done")


@pytest.mark.long
def test_killed_under_load(machine):
    """Kills go on until everybody is done, and at least KILLS times."""
    m = machine
    ring = "XENSTORED_PATH=/dev/xen/xenbus store_client"
    done = "grep -acE '^(ok|failed)' /var/log/serai/console/worker.log /run/client? || true"
    m.sh(": >/run/client1; : >/run/client2")
    start_guest(m, "worker", f"{ring} data 60")
    for n in (1, 2):
        m.sh(f"({ring} /test/{n} 100 >/run/client{n} 2>&1 &)")
    kills, end = 0, time.monotonic() + 400
    while kills < KILLS or m.sh(done).count(":1") < 3:
        assert time.monotonic() < end, m.sh(done)
        time.sleep(0.7)
        kill_stored(m)
        kills += 1
    for n in (1, 2):
        out = m.sh(f"cat /run/client{n}")
        # A transaction that was open at a kill has to be repeated: at most one for each.
        assert re.fullmatch(r"ok 100 again \d+", out), out
        assert int(out.split()[-1]) <= kills
    assert "ok 60" in m.sh("grep -aE '^(ok|failed)' /var/log/serai/console/worker.log")
    # What the guest had is gone with it.
    assert int(m.sh("store_client /local/domain/1 count")) > 10
    m.sh("serai destroy worker")
    m.wait_for("[ $(store_client /local/domain/1 count) = 1 ]", 30)
    assert "ok 1 " in m.sh(f"{ring} /after 1")
    assert m.sh("grep -c damaged /var/log/serai/stored.log || true") == "0"
