# SPDX-License-Identifier: BSD-2-Clause
"""Networks of guests under real load: iperf3 and HTTP between two Debian guests and to the control
domain, rates, interfaces that come and go, who reaches whom."""
import re

import pytest

from net_guests import (A, B, HOST, VIF_A, VIF_B, address_again, host, iperf, mbits, two_guests,
                        vifs)

SHIFT = 3                       # 125 million instructions in a second


@pytest.fixture(scope="module")
def machine(vmlinux):
    with two_guests("net_guest", vmlinux, SHIFT) as m:
        yield m


@pytest.fixture
def both(machine):
    """The two guests as they were made, each with one interface."""
    yield machine
    for name, spec, address in ("a", VIF_A, A), ("b", VIF_B, B):
        if [(v["devid"], v["bridge"]) for v in vifs(machine, name)] != [(0, "xenbr0")]:
            for v in vifs(machine, name):
                machine.sh(f"serai network-detach {name} {v['devid']}", 60)
            machine.sh(f"serai network-attach {name} '{spec}'")
        machine.run(name, address_again("eth0", address))
    machine.sh("serai network-rate a 0 none")


def reaches(m, name, address, source=None):
    """Whether a guest gets answers from an address."""
    source = f"-I {source}" if source else ""
    status, _ = m.try_in(name, f"for _ in 1 2 3 4 5; do ping -qn -c 1 -W 1 {source} {address} && "
                         "exit 0; done >/dev/null; exit 1")
    return status == 0


def http(run, address, requests, path, at_once=8):
    """Load a server: requests each second. All must be answered in full."""
    text = run(f"ab -q -n {requests} -c {at_once} http://{address}/{path} 2>&1")
    assert re.search(rf"Complete requests: +{requests}\b", text), text
    assert re.search(r"Failed requests: +0\b", text) and "Non-2xx" not in text, text
    return float(re.search(r"Requests per second: +([0-9.]+)", text)[1])


# ---- ordinary -------------------------------------------------------------------------------

def test_everybody_is_served(both):
    m = both
    assert reaches(m, "a", B) and reaches(m, "b", A) and reaches(m, "a", HOST)
    http(lambda c: m.run("a", c), B, 200, "index.html")
    http(lambda c: m.run("a", c), HOST, 50, "big")
    http(lambda c: host(m, c), B, 50, "big")
    assert mbits(*iperf(m, "a", B, 3)) > 10


@pytest.mark.long
def test_isolation_and_spoofing(both):
    m = both
    m.sh("ip link add inner type bridge; ip addr add 10.21.0.1/24 dev inner; ip link set inner up")
    m.sh("serai network-attach a bridge=inner")
    m.run("a", address_again("eth1", "10.21.0.11"))
    # Not on the same bridge: b has an address of that network, but nothing carries it there.
    m.run("b", "ip addr add 10.21.0.12/24 dev eth0")
    assert reaches(m, "a", "10.21.0.1") and not reaches(m, "a", "10.21.0.12", "eth1")
    m.run("b", "ip addr del 10.21.0.12/24 dev eth0")
    # On the same bridge, but isolated.
    for name in "a", "b":
        m.sh(f"serai network-attach {name} bridge=inner,devid=2,isolated=1")
    m.run("a", "ip addr flush dev eth1; " + address_again("eth2", "10.21.0.21"))
    m.run("b", address_again("eth1", "10.21.0.22"))
    assert reaches(m, "a", "10.21.0.1", "eth2") and reaches(m, "b", "10.21.0.1", "eth1")
    assert not reaches(m, "a", "10.21.0.22", "eth2")
    for name in "a", "b":
        m.sh(f"serai network-detach {name} 2")
    m.sh("serai network-detach a 1")
    # Addresses that are not its own.
    m.sh("serai network-attach a bridge=inner,devid=1,ip=10.21.0.11,guard=ip")
    m.run("a", address_again("eth1", "10.21.0.11"))
    assert reaches(m, "a", "10.21.0.1", "10.21.0.11")
    m.run("a", "ip addr add 10.21.0.99/24 dev eth1")
    assert not reaches(m, "a", "10.21.0.1", "10.21.0.99")
    m.run("a", "ip link set eth1 down; ip link set eth1 address 00:16:3e:99:99:99; "
          "ip link set eth1 up; ip neigh flush dev eth1")
    m.sh("ip neigh flush dev inner")
    assert not reaches(m, "a", "10.21.0.1", "10.21.0.11")
    m.sh("serai network-detach a 1; ip link del inner")
    assert reaches(m, "a", HOST)


# ---- long -----------------------------------------------------------------------------------

@pytest.mark.long
def test_load_in_all_directions(both):
    m = both
    rates = {}
    for name, address in ("a", B), ("a", HOST), ("b", HOST):
        for way, options in ("to", ""), ("from", "-R"), ("four to", "-P 4"):
            rates[f"{name} {way} {address}"] = round(mbits(*iperf(m, name, address, 5, options)))
    print(f"Mbit/s: {rates}")
    assert min(rates.values()) > 50, rates
    asked = {"a of b": http(lambda c: m.run("a", c), B, 1000, "index.html", 16),
             "a of b, 1 MiB": http(lambda c: m.run("a", c), B, 100, "big"),
             "a of the control domain": http(lambda c: m.run("a", c), HOST, 1000, "index.html", 16),
             "the control domain of b": http(lambda c: host(m, c, 600), B, 1000, "index.html", 16)}
    print(f"requests per second: {asked}")


@pytest.mark.long
@pytest.mark.parametrize("other", [B, HOST], ids=["guest", "control"])
def test_replugged_under_load(both, other):
    """The interface vanishes in the middle of a connection; with the next one the same connection
    goes on."""
    m = both
    sent = "until [ \"$(cat /sys/class/net/eth0/statistics/tx_bytes)\" -gt 4000000 ]; do " \
           "sleep 0.2; done 2>/dev/null"
    m.sh("serai network-rate a 0 20Mb/s")
    m.run("a", "(while :; do " + address_again("eth0", A) + "; sleep 0.3; done) >/dev/null 2>&1 & "
          "echo $! >/run/again")
    m.run("a", f"iperf3 -c {other} -t 3600 >/tmp/iperf 2>&1 & echo $! >/run/load; {sent}")
    for _ in range(4):
        m.sh("serai network-detach a 0", 60)
        assert not vifs(m, "a")
        m.sh(f"serai network-attach a '{VIF_A},rate=20Mb/s'")
        m.run("a", f"kill -0 $(cat /run/load); {sent}")
    # Told to end, it says what one connection has carried over all five interfaces.
    m.run("a", "kill -INT $(cat /run/load); while kill -0 $(cat /run/load) 2>/dev/null; do "
               "sleep 0.1; done; kill $(cat /run/again)")
    text = m.run("a", "grep -E 'connected|sender|error' /tmp/iperf")
    total = re.search(r" ([0-9.]+) MBytes .* sender", text)
    assert text.count("connected to") == 1 and total and float(total[1]) > 15, text
    assert reaches(m, "a", other)
    assert mbits(*iperf(m, "a", other, 3)) > 5


@pytest.mark.long
def test_more_queues_and_interfaces(both):
    """Four interfaces of a guest, two queues each, all with load at once."""
    m = both
    assert m.run("a", "ls -d /sys/class/net/eth0/queues/rx-* | wc -l") == "2"
    for i in 1, 2, 3:
        m.sh(f"serai network-attach a mac=00:16:3e:20:01:0{i}")
        m.run("a", f"until [ -e /sys/class/net/eth{i} ]; do sleep 0.1; done; "
              f"ip addr add 10.20.{i}.11/24 dev eth{i}; ip link set eth{i} up; "
              f"ls -d /sys/class/net/eth{i}/queues/rx-* | wc -l | grep -x 2")
        m.run("b", f"ip addr add 10.20.{i}.12/24 dev eth0; iperf3 -s -D -p 530{i}")
    jobs = [m.begin("a", f"iperf3 -c 10.20.{i}.12 -p 530{i} -P 2 -t 8 >/dev/null")
            for i in (1, 2, 3)]
    for job in jobs:
        m.done("a", job)
    counts = [int(m.run("a", f"cat /sys/class/net/eth{i}/statistics/tx_bytes")) for i in (1, 2, 3)]
    assert min(counts) > 1 << 20, counts
    # Both queues of an interface had work.
    lines = m.run("a", "grep -E 'vif[123]-q[01]-tx' /proc/interrupts").split("\n")
    busy = [x for x in lines if sum(map(int, re.findall(r" (\d+)(?= )", x))) > 20]
    assert len(busy) >= 4, lines
    for i in 1, 2, 3:
        m.sh(f"serai network-detach a {i}", 60)
        m.run("b", f"ip addr del 10.20.{i}.12/24 dev eth0")
