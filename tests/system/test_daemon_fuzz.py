# SPDX-License-Identifier: BSD-2-Clause
"""A guest that speaks nonsense to stored, consoled and blkd (tests/guests/evil_daemons.c), and one
that floods stored: the daemons live on, stay small, and a stock guest beside goes on undisturbed."""
import base64
import os
import random
import re

import pytest

from guests import LOG, Guests
from machine import BUILD, Machine, pack

DAEMONS = ("stored", "consoled", "blkd", "lifed")
GROWTH_KIB = 24 << 10           # of one daemon's memory, with all that a guest may make it keep
SPARE = 4                       # descriptors: timers that a guest's ring keeps, a log not yet closed
LEAST = 16                      # steps against stored, of each such guest
OPERATIONS = 200                # of the guest beside the one that floods


@pytest.fixture(scope="module")
def machine(vmlinux, guest_image, disk_load):
    with open(os.path.join(BUILD, "guests", "evil_daemons.elf"), "rb") as f:
        evil = f.read()
    files = {"boot/vmlinux": vmlinux, "boot/evil.elf": evil,
             "boot/guest-disk.img": guest_image + pack({"bin/disk_load": disk_load})}
    with Machine("daemon_fuzz", files=files, options="dom0_mem=640M dom0_max_vcpus=1") as m:
        m.boot()
        yield m
        m.power_off()


@pytest.fixture
def guests(machine):
    maker = Guests(machine)
    yield maker
    maker.clean()


def look(m):
    """Of each daemon: (process, resident KiB, open descriptors)."""
    command = ("for n in " + " ".join(DAEMONS) + "; do p=$(pidof $n) && echo $n $p "
               "$(sed -n 's/VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$p/status) "
               "$(ls /proc/$p/fd | wc -l); done")
    rows = [x.split() for x in m.sh(command).splitlines()]
    found = {x[0]: tuple(map(int, x[1:])) for x in rows}
    assert set(found) == set(DAEMONS) and all(len(x) == 3 for x in found.values()), rows
    return found


def compare(before, now, descriptors=SPARE):
    """The same processes, none grown beyond bounds."""
    print(before, now)
    for name in DAEMONS:
        assert before[name][0] == now[name][0], f"{name} was restarted"
        assert now[name][1] < before[name][1] + GROWTH_KIB, f"{name} has grown"
        assert now[name][2] <= before[name][2] + descriptors, f"{name} keeps descriptors"


def witness(guests, seconds):
    """A stock guest with verified reads and writes on its disk and a line a second."""
    m = guests.machine
    m.sh("rm -f /tmp/witness.img; truncate -s 8M /tmp/witness.img")
    command = (f"disk_load /dev/xvda {seconds} 2 1000 & i=0; "
               "while :; do i=$((i+1)); echo beat $i; sleep 1; done")
    code = base64.b64encode(command.encode()).decode()
    guests.create("witness", kernel="/boot/vmlinux", ramdisk="/boot/guest-disk.img", memory=176,
                  disk=["/tmp/witness.img,raw,xvda,rw"],
                  extra=f"console=hvc0 quiet mitigations=off panic=-1 do={code}")
    guests.wait_console("witness", "beat 1")


def beat(guests):
    return int(guests.console("witness").rsplit("beat ", 1)[1].split()[0])


def evil(guests, seconds, what):
    """One such guest; what it says about itself at its end."""
    m = guests.machine
    seed = random.getrandbits(32) | 1
    print(f"seed={seed} {what}")
    m.sh("rm -f /tmp/evil.img; truncate -s 8M /tmp/evil.img")
    guests.create("evil", kernel="/boot/evil.elf", memory=32, disk=["/tmp/evil.img,raw,xvda,rw"],
                  extra=f"seed={seed} seconds={seconds} least={LEAST} {what}")
    guests.wait(lambda: "crash" in guests.rows().get("evil", {"state": "crash"})["state"],
                20 * seconds + 120, "it does not end")
    assert "evil" not in guests.names(), m.sh(f"tail -n 5 {LOG}/evil.log")
    last = m.sh(f"grep -a '^evil: ' {LOG}/evil.log | tail -1")
    numbers = re.fullmatch(r"evil: store (\d+), console (\d+), disk (\d+) steps; (\d+) reconnects, "
                           r"(\d+) connections, (\d+) rounds answered, (\d+) proofs", last)
    assert numbers, last
    print(last)
    return [int(x) for x in numbers.groups()]


@pytest.mark.long
@pytest.mark.parametrize("times, seconds", [(1, 12), (6, 60)])
def test_nonsense_harms_nobody(guests, times, seconds):
    m = guests.machine
    empty = look(m)
    witness(guests, 8 * times)
    before, heard = look(m), beat(guests)
    totals = [0] * 7
    for _ in range(times):
        result = evil(guests, seconds, "store console disk")
        totals = [a + b for a, b in zip(totals, result)]
        # Its disk may take a moment to go.
        m.wait_for("[ $(ls /run/serai/blkd | wc -l) = 1 ]", 30)
        compare(before, look(m))
    store, console, disk, reconnects, connections, _, proofs = totals
    assert store >= LEAST * times and console and disk and reconnects > times, totals
    assert connections and proofs, totals
    m.wait_for(f"grep -aq '^disk: ' {LOG}/witness.log", 120)
    assert "good" in m.sh(f"grep -a '^disk: ' {LOG}/witness.log")
    assert beat(guests) > heard + 2
    for name in DAEMONS:
        lines = int(m.sh(f"cat /var/log/serai/{name}.log | wc -l"))
        print(f"{name}: {lines} lines in its log")
        assert lines < 100 + 100 * times, f"{name} lets a guest fill its log"
    # Nothing of it stays, and what it could have spoiled still works.
    guests.destroy("witness")
    m.wait_for("[ -z \"$(ls -A /run/serai/blkd)\" ]", 30)
    assert m.sh("ls /run/serai/stored | grep -c ring || true") == "1"
    guests.wait(lambda: look(m)["consoled"][2] == empty["consoled"][2], 10, None)
    compare(empty, look(m))  # with the connections that daemons make late


def test_a_flood_slows_down_only_itself(guests):
    """Counted in operations: while the other guest does OPERATIONS, each answered before the next
    is asked, the one that floods is served a few times as often at most."""
    m = guests.machine
    before = look(m)
    guests.create("flood", kernel="/boot/evil.elf", memory=32, extra="flood")
    guests.wait_console("flood", "flood: 4")
    start = m.sh(f"grep -ac '^flood: ' {LOG}/flood.log")
    guests.create("client", kernel="/boot/evil.elf", memory=32, extra=f"client={OPERATIONS}")
    guests.wait_console("client", f"client: done {OPERATIONS}", 120)
    end = m.sh(f"grep -ac '^flood: ' {LOG}/flood.log")
    flood = (int(end) - int(start)) * 400
    print(f"{OPERATIONS} operations beside {flood} of the flood")
    assert flood < 20 * OPERATIONS
    compare(before, look(m), 2 * SPARE)
    guests.clean()
    guests.wait(lambda: guests.names() == [], 30, "a guest stays")
    compare(before, look(m))
