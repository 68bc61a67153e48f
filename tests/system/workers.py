# SPDX-License-Identifier: BSD-2-Clause
"""Many small guests of tests/guests/worker.c at once, and counts of all that guests can take."""
import json
import os
import re

from guests import Guests
from machine import BUILD, compiled

LOG = "/var/log/serai/console"

# One guest of each: what it has changes with its number, so that all kinds are there at once.
# every tenth disk is the kernel's, on a loop device; the others blkd's.
CREATE = """#!/bin/sh
# worker-create NAME ["EXTRA"]: a guest with a disk and an interface
name=$1
number=${name##*[a-z]}
backend=blkd
[ $((number % 10)) != 5 ] || backend=phy
disk=/tmp/disks/$name
mkdir -p /tmp/disks
[ -e $disk ] || truncate -s 1M $disk
rm -f /var/log/serai/console/$name.log
cat >/tmp/$name.cfg <<EOF
name = "$name"
type = "pv"
kernel = "/boot/worker.elf"
memory = 8
vif = [ "bridge=many0" ]
disk = [ "$disk,raw,xvda,w,backendtype=$backend" ]
extra = "$2"
on_crash = "preserve"
on_poweroff = "destroy"
EOF
serai create -q /tmp/$name.cfg || echo "$name: not made"
"""

MANY = """#!/bin/sh
# workers FIRST LAST AT_ONCE ["EXTRA"]
seq $1 $2 | xargs -P $3 -I{} worker-create w{} "$4"
"""

CYCLE = """#!/bin/sh
# worker-cycle NAME COUNT: make and destroy a guest that often
for n in $(seq $2); do
    worker-create $1 "pause=5 store=20"
    [ $((n % 3)) != 0 ] || sleep 0.3
    serai destroy $1 || echo "$1: not destroyed"
done
"""

# What the control domain keeps for guests, one "what: how much" in a line.
COUNTS = """#!/bin/sh
for name in stored consoled blkd lifed; do
    pid=$(pidof $name)
    echo "fds of $name: $(ls /proc/$pid/fd | wc -l)"
    echo "maps of $name: $(grep -cE 'gntdev|privcmd|evtchn' /proc/$pid/maps)"
done
programs=0 threads=0
for file in /proc/[0-9]*/comm; do
    read -r comm <$file || continue
    case $comm in
        stored|consoled|blkd|lifed|serai) programs=$((programs + 1)) ;;
        vif*|*.xvd*|xvd*|loop*|*blkback*) threads=$((threads + 1)) ;;
    esac
done 2>/dev/null
echo "programs: $programs"
echo "kernel threads: $threads"
echo "interfaces: $(ls /sys/class/net | wc -l)"
echo "bridge ports: $(ls /sys/class/net/many0/brif | wc -l)"
echo "loop devices: $(losetup -a | wc -l)"
echo "backends: $(ls /sys/bus/xen-backend/devices | wc -l)"
# Why guests ended is kept for a while for those who wait.
echo "files in run: $(find /run/serai /run/xenstored -path '*/ended*' -prune -o -print | wc -l)"
# Linux notes what went wrong with a device even after its guest; the next guest's end clears that.
echo "xenstore nodes: $(store_client / list | grep -vc ^/local/domain/0/error)"
"""


def files():
    """What a machine needs on board for this module."""
    with open(os.path.join(BUILD, "guests", "worker.elf"), "rb") as f:
        worker = f.read()
    client = compiled("store_client.c", "-static", "-lxenstore", "-lxentoolcore", "-lpthread")
    return {"bin/worker-create": CREATE, "bin/workers": MANY, "bin/worker-cycle": CYCLE,
            "bin/counts": COUNTS, "bin/store_client": client, "boot/worker.elf": worker}


class Workers(Guests):
    """These guests on one machine; their names are w1, w2, ..."""

    def prepare(self):
        """What all have in common; and the kernel keeps its words about guests that vanish to its
        log, out of what commands print."""
        self.machine.sh("dmesg -n 1; ip link add many0 type bridge; ip link set many0 up; "
                        "sysctl -q net.ipv6.conf.all.disable_ipv6=1 2>/dev/null || true")

    def counts(self):
        """All that must be as before when guests have gone."""
        text = self.machine.sh("counts", 300)
        found = dict(re.findall(r"^([\w ]+): (\d+)$", text, re.M))
        pages = json.loads(self.machine.sh("serai list --json 0"))[0]["memory_kb"] // 4
        held = self.resources()
        # The control domain gives pages back to map guests' pages in their places.
        return {**{k: int(v) for k, v in found.items()},
                **{k: held[k] + (pages if k == "frames" else 0) for k in self.COUNTED}}

    def wait_counts(self, before, timeout, but=()):
        """Until everything is as it was, `but` for that; what is not when that does not come."""
        before = {k: v for k, v in before.items() if k not in but}
        seen = {}

        def same():
            seen.clear()
            seen.update({k: v for k, v in self.counts().items() if k not in but})
            return seen == before
        self.wait(same, timeout, None)
        changed = {k: (before.get(k), seen.get(k)) for k in {*before, *seen}
                   if before.get(k) != seen.get(k)}
        nodes = self.machine.sh("store_client / list", 60) if "xenstore nodes" in changed else ""
        assert not changed, f"(before, after): {changed} {nodes}"

    def many(self, first, last, at_once, extra="", timeout=600):
        """Make w<first> to w<last>, that many at the same time."""
        out = self.machine.sh(f"workers {first} {last} {at_once} '{extra}'", timeout)
        assert out == "", out

    def wait_working(self, count, timeout):
        """Until that many have said that their disk and their interface are up."""
        said = "'^seq .*disks 1 .*net 1'"
        try:
            self.machine.wait_for(f"[ $(grep -lE {said} {LOG}/w*.log | wc -l) = {count} ]",
                                  timeout)
        except AssertionError as e:
            idle = self.machine.sh(f"for f in $(grep -LE {said} {LOG}/w*.log | head -n 5); do "
                                   "echo $f; tail -n 3 $f; done; tail -n 5 /var/log/serai/*.log; "
                                   "serai list | tail -n 5; serai dmesg | tail -n 5 | sed 's/^.//'")
            raise AssertionError(idle) from e

    def shut_down(self, count):
        """End w1 to w<count> by asking them. It is lifed that removes what is left of them: its
        connection to xenstore, which it makes when it first has to, is there afterwards."""
        names = [f"w{n}" for n in range(1, count + 1)]
        self.machine.sh(f"serai shutdown -w {' '.join(names)}", 120)
        for name in names:
            self.wait_gone(name, 30)

    def complaints(self):
        """What guests found wrong: at most some lines."""
        return self.machine.sh(f"grep -H '^bad' {LOG}/w*.log | head -n 20 || true")
