# SPDX-License-Identifier: BSD-2-Clause
"""The daemons are killed under load, one after another and all at once. The control domain's init
starts them again; no guest may notice more than a delay, nothing is lost, and everything can be
done again afterwards."""
import re
import time

import pytest

from machine import Machine
from workers import LOG, Workers, files

DAEMONS = "stored consoled blkd lifed"

# kill-each SECONDS: every daemon, then all, waiting that long after each.
KILL = """#!/bin/sh
back() {
    for name in stored consoled blkd lifed; do
        until new=$(pidof $name) && ! echo " $old " | grep -q " $new "; do sleep 0.1; done
    done
}
for victim in stored consoled blkd lifed "stored consoled blkd lifed"; do
    old=$(pidof $victim)
    kill -9 $old
    sleep $1
    back
done
"""

# operate FILE: what people do all the time, until FILE is there. Everything must succeed.
OPERATE = """#!/bin/sh
truncate -s 1M /tmp/disks/more
n=0
try() {
    "$@" >/tmp/operate.out 2>&1 && return
    echo "round $n: $*: exit $?: $(head -c 300 /tmp/operate.out)"
    date; tail -n 12 /var/log/serai/blkd.log; serai block-list w1
}
until [ -e $1 ]; do
    n=$((n + 1))
    try serai list --json
    try worker-create x1 "pause=50"
    try serai block-attach w1 /tmp/disks/more,raw,xvdb,w,backendtype=blkd
    try serai top -b -n 1
    try serai block-list w1
    try serai network-list w1
    try serai block-detach --force w1 xvdb
    if [ $((n % 2)) = 0 ]; then try serai destroy x1; else try serai shutdown -w x1; fi
    for i in $(seq 100); do serai domid x1 >/dev/null 2>&1 || break; sleep 0.1; done
done
echo "rounds: $n"
"""

# Lines of a worker's log that are not what it wrote, in the order in which it did.
CHECK = """#!/bin/sh
awk 'FNR == 1 { last = 0 }
     /^seq [0-9]+ t .* got [0-9]+$/ { if ($2 != last + 1) print FILENAME ": " last " then " $2
                                      last = $2; next }
     /^worker: up$/ || /^end / || /^1[.][.]0$/ { next }
     { print FILENAME ": " $0 }' /var/log/serai/console/w*.log | head -n 20
"""


@pytest.fixture(scope="module")
def workers():
    tree = {**files(), "bin/kill-each": KILL,
            "bin/operate": OPERATE, "bin/check-logs": CHECK}
    with Machine("kill", files=tree, options="dom0_mem=640M") as machine:
        machine.boot()
        workers = Workers(machine)
        workers.prepare()
        yield workers
        machine.power_off()


def totals(workers, name):
    """What a guest has done: {"disk operations", "transactions", "frames"}, and how long it
    waited at most."""
    line = workers.machine.sh(f"grep '^seq' {LOG}/{name}.log | tail -n 1")
    words = re.match(r"seq \d+ t \d+ disks (\d+) ops (\d+) longest (\d+) ms, store (\d+) again "
                     r"(\d+) longest (\d+) ms, net (\d+) sent (\d+) got", line)
    keys = ("disks", "ops", "disk_ms", "store", "again", "store_ms", "net", "sent")
    return dict(zip(keys, map(int, words.groups())))


def everything_works(workers, count):
    """Guests are at work, and all that management does can be done."""
    machine = workers.machine
    before = {n: totals(workers, f"w{n}") for n in range(1, count + 1)}
    machine.sh(f"kill -0 $(pidof {DAEMONS}); serai list; serai top -b -n 1; serai debug-keys q")
    machine.sh("workers 90 90 1 'pause=50'; truncate -s 1M /tmp/disks/new; "
               "serai block-attach w90 /tmp/disks/new,raw,xvdb,w,backendtype=blkd")
    workers.wait_console("w90", "^seq .*disks 2 .*net 1", 60)
    status, seen = machine.try_sh("(sleep 3; printf '\\035') | serai console w90 | head -c 300")
    assert "seq " in seen, (status, seen)
    machine.sh("serai block-detach w90 xvdb; serai shutdown -w w90", 60)
    workers.wait_gone("w90", 30)
    workers.wait_console("w90", "^end ", 10)

    def on():
        now = {n: totals(workers, f"w{n}") for n in before}
        return all(now[n][k] > before[n][k] for n in before for k in ("ops", "store", "sent"))
    workers.wait(on, 60, f"a guest does not go on: {before}")


def killed_under_load(workers, count, rounds, seconds, timeout):
    machine = workers.machine
    workers.many(1, 3, 3, "pause=1000")
    workers.wait_working(3, 120)
    workers.shut_down(3)
    machine.sh(f"rm {LOG}/w*.log")  # not to be taken for those of the next ones
    before = workers.counts()
    workers.many(1, count, 2, "pause=40 store=100 every=200", timeout)
    workers.wait_working(count, 120)
    machine.sh("rm -f /tmp/stop; operate /tmp/stop >/tmp/operated 2>&1 &")
    for _ in range(rounds):
        machine.sh(f"kill-each {seconds}", 120)
    machine.sh("touch /tmp/stop; until grep -q ^rounds: /tmp/operated; do sleep 0.2; done", 120)
    everything_works(workers, count)
    done = {n: totals(workers, f"w{n}") for n in range(1, count + 1)}
    print(done, machine.sh("cat /tmp/operated"))
    workers.shut_down(count)
    assert machine.sh("check-logs") == ""
    assert re.fullmatch(r"rounds: \d+", machine.sh("cat /tmp/operated"))
    machine.sh("! grep -i damaged /var/log/serai/*.log")
    # A killed program's end of what it used is cleared away by the kernel.
    workers.wait_counts(before, 60)


def test_killed_once(workers):
    start = time.monotonic()
    killed_under_load(workers, 2, 1, 0.5, 120)
    print(f"{time.monotonic() - start:.1f} s")


@pytest.mark.long
def test_killed_again_and_again(workers):
    killed_under_load(workers, 5, 12, 1, 600)
