# SPDX-License-Identifier: BSD-2-Clause
"""Networks of guests on this machine's own kernel, without a hypervisor: network namespaces stand
for the control domain, the guests and the world outside, veth pairs for netback's interfaces, and
net_driver calls the library's functions."""
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import pytest

from docs_blocks import blocks

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("SERAI_BUILD", os.path.join(ROOT, "build"))
DRIVER = os.path.join(BUILD, "tests", "net_driver")
SERAI = os.path.join(BUILD, "toolstack", "serai")
PYTHON = "/usr/bin/python3"


def sh(*words, check=True, timeout=30):
    p = subprocess.run(words, capture_output=True, text=True, timeout=timeout)
    if check and p.returncode:
        raise AssertionError(f"{' '.join(words)}: {p.stdout}{p.stderr}")
    return p


def missing():
    """What this machine lacks for these tests, or None."""
    if os.geteuid():
        return "needs root"
    for tool in ("ip", "nft", "busybox"):
        if not shutil.which(tool):
            return f"no {tool} here"
    name = f"serai-probe-{os.getpid()}"
    if sh("ip", "netns", "add", name, check=False).returncode:
        return "network namespaces cannot be made"
    try:
        for kind in ("bridge", "ifb", "veth"):
            if sh("ip", "-n", name, "link", "add", "x" + kind, "type", kind,
                  check=False).returncode:
                return f"the kernel has no {kind} interfaces"
        if sh("ip", "netns", "exec", name, "nft", "add", "table", "bridge", "x",
              check=False).returncode:
            return "the kernel has no nf_tables for bridges"
    finally:
        sh("ip", "netns", "del", name)
    return None


REASON = missing()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


@pytest.fixture(scope="session", autouse=True)
def programs():
    sh("make", "-s", "-C", ROOT, f"O={BUILD}", DRIVER, SERAI, timeout=300)


class Refused(Exception):
    def __init__(self, text):
        super().__init__(text)
        self.code = text.split()[0]


class World:
    """A control domain with guests and machines around it."""
    numbers = itertools.count()

    def __init__(self):
        self.prefix = f"serai{os.getpid()}-{next(World.numbers)}-"
        self.dir = tempfile.mkdtemp(prefix="serai-net-")
        self.state, self.conf = self.dir + "/state", self.dir + "/network.conf"
        self.spaces = []
        self.space("host")
        self.ip("host", "link", "set", "lo", "up")

    def close(self):
        for name in self.spaces:
            sh("ip", "netns", "del", self.prefix + name, check=False)
        shutil.rmtree(self.dir)

    def space(self, name):
        sh("ip", "netns", "add", self.prefix + name)
        self.spaces.append(name)

    def inside(self, space, *words, check=True, timeout=30):
        return sh("ip", "netns", "exec", self.prefix + space, *words, check=check, timeout=timeout)

    def start(self, space, *words, **more):
        return subprocess.Popen(["ip", "netns", "exec", self.prefix + space, *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)

    def ip(self, space, *words, check=True):
        return sh("ip", "-n", self.prefix + space, *words, check=check)

    def configure(self, **keys):
        with open(self.conf, "w", encoding="utf-8") as f:
            for key, value in keys.items():
                f.write(f"{key} = {json.dumps(value)}\n")

    def driver(self, *words):
        p = self.inside("host", DRIVER, self.state, self.conf, *words, check=False)
        self.notes = p.stderr
        if p.returncode:
            raise Refused(p.stderr.splitlines()[-1])
        return [dict(w.split("=", 1) for w in line.split(" ", 7)) for line in p.stdout.splitlines()]

    def attach(self, domain, spec, *device):
        return self.driver("attach", str(domain), spec, *device)[0]

    def detach(self, domain, *devid):
        self.driver("detach", str(domain), *map(str, devid))

    def bridge(self, name="xenbr0", address="10.0.0.1/24"):
        self.ip("host", "link", "add", name, "address", "02:00:00:00:00:01", "type", "bridge")
        self.ip("host", "link", "set", name, "up")
        if address:
            self.ip("host", "addr", "add", address, "dev", name)

    def guest(self, domain, mac=None, *addresses, devid=0):
        """A namespace with eth0, whose other end is vifDOMAIN.DEVID."""
        name = f"guest{domain}"
        self.space(name)
        self.ip("host", "link", "add", f"vif{domain}.{devid}", "type", "veth", "peer", "name",
                "eth0", "netns", self.prefix + name)
        self.ip(name, "link", "set", "eth0", "address", mac or f"00:16:3e:00:00:{domain:02x}")
        for a in addresses:
            self.ip(name, "addr", "add", a, "dev", "eth0", *(["nodad"] if ":" in a else []))
        self.ip(name, "link", "set", "eth0", "up")
        self.ip(name, "link", "set", "lo", "up")
        return name

    def outside(self, *addresses, host=("192.0.2.1/24", "2001:db8::1/64")):
        """A machine on the wire of the control domain's interface uplink."""
        self.space("outside")
        self.ip("host", "link", "add", "uplink", "type", "veth", "peer", "name", "eth0", "netns",
                self.prefix + "outside")
        for a in host:
            self.ip("host", "addr", "add", a, "dev", "uplink", *(["nodad"] if ":" in a else []))
        for a in addresses:
            self.ip("outside", "addr", "add", a, "dev", "eth0", *(["nodad"] if ":" in a else []))
        self.ip("host", "link", "set", "uplink", "up")
        self.ip("outside", "link", "set", "eth0", "up")

    def ping(self, space, address, wait=1, count=1):
        six = ["-6"] if ":" in address else []
        return not self.inside(space, "busybox", "ping", *six, "-c", str(count), "-W", str(wait),
                               address, check=False).returncode

    def reaches(self, space, address):
        return any(self.ping(space, address) for _ in range(4))

    def rules(self):
        return self.inside("host", "nft", "list", "ruleset").stdout

    def picture(self):
        """Everything that attaching changes, to be compared before and after."""
        links = json.loads(self.ip("host", "-j", "link").stdout)
        text = [f"{x['ifname']} {x['mtu']} {x.get('master')} {x['address']} {x.get('ifalias')} "
                f"{'UP' in x['flags']}" for x in links]
        for family in "-4", "-6":
            for x in json.loads(self.ip("host", family, "-j", "addr").stdout):
                text += [f"{x['ifname']} {a['local']}/{a['prefixlen']}"
                         for a in x.get("addr_info", []) if a["scope"] != "link"]
            for what in ["route"], ["neigh", "show", "proxy"]:
                lines = self.ip("host", family, *what).stdout.splitlines()
                text += sorted(x.replace("linkdown", "").strip() for x in lines
                               if "fe80" not in x and "ff00" not in x)
        # An interface that was up once keeps "noqueue", which is as good as nothing.
        text += [x for x in self.inside("host", "tc", "qdisc", "show").stdout.splitlines()
                 if "noqueue" not in x]
        text.append(self.rules())
        net = os.path.join(self.state, "net")
        return text + (sorted(os.listdir(net)) if os.path.exists(net) else [])


@pytest.fixture
def world():
    w = World()
    yield w
    w.close()


# ---- bridge ---------------------------------------------------------------------------------

def test_bridge(world):
    world.bridge()
    one = world.guest(1, None, "10.0.0.11/24")
    two = world.guest(2, None, "10.0.0.12/24")
    before = world.picture()
    port = world.attach(1, "mac=00:16:3e:00:00:01")
    assert port["device"] == "vif1.0" and "bridge=xenbr0" in port["vif"]
    world.attach(2, "mac=00:16:3e:00:00:02")
    assert world.reaches(one, "10.0.0.1") and world.reaches(one, "10.0.0.12")
    assert world.reaches(two, "10.0.0.11")
    link = json.loads(world.ip("host", "-j", "link", "show", "vif1.0").stdout)[0]
    assert link["address"] == "fe:ff:ff:ff:ff:ff" and link["master"] == "xenbr0"
    ports = world.driver("list")
    assert [p["device"] for p in ports] == ["vif1.0", "vif2.0"]
    assert int(ports[0]["sent"]) > 0 and int(ports[0]["received"]) > 0
    world.detach(1, 0)
    world.detach(1, 0)  # nothing left to do
    assert not world.ping(two, "10.0.0.11")
    world.detach(2)
    assert world.picture() == before


def test_isolated_ports(world):
    world.bridge()
    one = world.guest(1, None, "10.0.0.11/24")
    two = world.guest(2, None, "10.0.0.12/24")
    three = world.guest(3, None, "10.0.0.13/24")
    world.configure(isolated=1)
    world.attach(1, "")
    world.attach(2, "mac=00:16:3e:00:00:02,isolated=1")
    world.attach(3, "mac=00:16:3e:00:00:03,isolated=0")
    assert world.reaches(one, "10.0.0.1") and world.reaches(two, "10.0.0.1")
    assert world.reaches(one, "10.0.0.13") and world.reaches(three, "10.0.0.12")
    assert not world.ping(one, "10.0.0.12") and not world.ping(two, "10.0.0.11")


def test_missing_bridge(world):
    world.guest(1)
    before = world.picture()
    with pytest.raises(Refused, match='ENOENT bridge: there is no bridge "xenbr0"'):
        world.attach(1, "")
    with pytest.raises(Refused, match='there is no bridge "br7"'):
        world.attach(1, "bridge=br7")
    world.ip("host", "link", "add", "plain", "type", "veth", "peer", "name", "plain2")
    with pytest.raises(Refused, match='EINVAL bridge: interface "plain" is no bridge'):
        world.attach(1, "bridge=plain")
    world.ip("host", "link", "del", "plain")
    assert world.picture() == before


def test_asked_beforehand(world):
    """What a guest to be is refused before anything of it is made; nothing changes by asking."""
    world.bridge()
    world.outside()
    world.guest(1)
    world.attach(1, "mac=00:16:3e:00:00:01")
    world.guest(2)
    world.attach(2, "mac=00:16:3e:00:00:02,script=vif-route,gatewaydev=uplink,ip=192.0.2.50")
    before = world.picture()
    for specs, complaint in (
            (["bridge=br7"], 'ENOENT bridge: there is no bridge "br7"'),
            (["", "bridge=uplink"], 'EINVAL bridge: interface "uplink" is no bridge'),
            (["mac=00:16:3e:00:00:01"], "EEXIST mac: 00:16:3e:00:00:01 is in use by domain 1"),
            (["vifname=uplink"], 'EEXIST vifname: there is an interface "uplink"'),
            (["script=vif-route,gatewaydev=gone,ip=192.0.2.51"], "ENOENT gatewaydev: .*gone"),
            (["script=vif-route,gatewaydev=uplink,ip=192.0.2.50"], "in use by domain 2"),
            (["script=vif-route,gatewaydev=uplink,ip=192.0.2.51"] * 2, "192.0.2.51 is given twice"),
            (["script=vif-nat,ip=10.83.7.9", "script=vif-nat,ip=10.83.7.9"], "given twice")):
        with pytest.raises(Refused, match=complaint):
            world.driver("check", *specs)
    world.driver("check", "", "bridge=xenbr0", "script=vif-nat", "script=vif-nat")
    world.configure(bridge_create=1)
    world.driver("check", "bridge=br7")
    assert world.picture() == before


def test_bridge_on_demand(world):
    world.configure(bridge="serai0", bridge_create=1, bridge_mtu=4000)
    world.guest(1)
    world.ip("host", "link", "add", "taken", "type", "veth", "peer", "name", "taken2")
    before = world.picture()
    # A bridge made for an interface that then fails goes, too.
    with pytest.raises(Refused, match="EEXIST vifname"):
        world.attach(1, "vifname=taken")
    assert world.picture() == before
    assert "mtu=4000" in world.attach(1, "vifname=web")["vif"]
    assert world.ip("host", "link", "show", "web").stdout.count("mtu 4000") == 1
    world.detach(1, 0)
    world.driver("unsetup")
    assert world.picture() == before


def test_names_and_mtu(world):
    world.bridge()
    world.ip("host", "link", "set", "xenbr0", "mtu", "9000")
    world.guest(1)
    world.guest(2)
    before = world.picture()
    world.attach(1, "vifname=web0")
    world.attach(2, "mtu=1400,mac=00:16:3e:00:00:02")
    assert "mtu 9000" in world.ip("host", "link", "show", "web0").stdout
    assert "mtu 1400" in world.ip("host", "link", "show", "vif2.0").stdout
    world.detach(1)
    world.detach(2)
    world.ip("host", "link", "set", "xenbr0", "mtu", "9000")
    assert world.picture() == before


# ---- what goes wrong ------------------------------------------------------------------------

def test_interface_that_does_not_come(world):
    world.bridge()
    world.configure(timeout=1)
    before, start = world.picture(), time.monotonic()
    with pytest.raises(Refused, match="ENODEV interface vif9.0 did not appear within 1 s"):
        world.attach(9, "")
    assert 0.9 < time.monotonic() - start < 3
    assert world.picture() == before


def test_interface_that_comes_late(world):
    world.bridge()
    p = world.start("host", DRIVER, world.state, world.conf, "attach", "9", "")
    time.sleep(0.7)
    world.guest(9)
    start = time.monotonic()
    out, err = p.communicate(timeout=30)
    assert "device=vif9.0" in out, err
    assert time.monotonic() - start < 5  # by the event, not at the end of the 10 s


def test_interface_that_vanishes(world):
    world.bridge()
    before = world.picture()
    one = world.guest(1)
    world.attach(1, "ip=10.0.0.11,guard=ip,rate=1Mb/s,isolated=1")
    world.ip(one, "link", "del", "eth0")
    assert world.driver("list")[0]["present"] == "0"
    world.detach(1, 0)
    assert world.picture() == before


def test_number_used_again(world):
    """A guest that nobody detached; another with the same number comes."""
    world.bridge()
    before = world.picture()
    one = world.guest(1)
    world.attach(1, "ip=10.0.0.11,guard=ip,rate=1Mb/s")
    world.ip(one, "link", "del", "eth0")
    sh("ip", "netns", "del", world.prefix + one)
    world.spaces.remove(one)
    one = world.guest(1, None, "10.0.0.77/24")
    world.attach(1, "mac=00:16:3e:00:00:01,ip=10.0.0.77,guard=ip,rate=2Mb/s")
    assert world.reaches(one, "10.0.0.1")
    assert "10.0.0.11" not in world.rules()
    world.ip(one, "link", "del", "eth0")
    world.detach(1)
    assert world.picture() == before


def test_sweep(world):
    world.bridge()
    before = world.picture()
    for domain in 1, 2, 3:
        world.guest(domain)
        world.attach(domain, f"mac=00:16:3e:00:00:{domain:02x},guard=mac,rate=1Mb/s")
    world.driver("sweep", "2")
    assert [p["domain"] for p in world.driver("list")] == ["2"]
    world.driver("sweep", "0")
    for domain in 1, 2, 3:
        world.ip("host", "link", "del", f"vif{domain}.0")
    assert world.picture() == before


@pytest.mark.parametrize("spec", ["guard=mac,isolated=1", "script=vif-route,gatewaydev=uplink,"
                                  "ip=192.0.2.50 2001:db8::50", "script=vif-nat"])
def test_killed_half_way(world, spec):
    """Wherever it dies, the next one finishes the work."""
    world.bridge()
    world.outside()
    world.guest(1)
    world.attach(1, spec + ",rate=1Mb/s")  # so that forwarding is on
    world.detach(1)
    begin = time.monotonic()
    world.attach(1, spec + ",vifname=web,rate=1Mb/s")
    whole = time.monotonic() - begin
    world.detach(1)
    before, half, steps = world.picture(), 0, 30
    for step in range(steps):
        p = world.start("host", DRIVER, world.state, world.conf, "attach", "1",
                        spec + ",vifname=web,rate=1Mb/s")
        time.sleep(1.3 * whole * step / steps)
        p.kill()
        p.communicate()
        half += world.picture() != before
        if step % 2:  # by detaching, or by attaching anew
            try:
                world.attach(1, spec)
            except Refused as e:  # it had come to the end
                assert e.code == "EEXIST"
        world.detach(1, 0)
        assert world.picture() == before, step
    assert half


def test_vanishes_half_way(world):
    world.bridge()
    before, ends = world.picture(), set()
    for step in range(30):
        world.ip("host", "link", "add", "vif1.0", "type", "veth", "peer", "name", "peer")
        p = world.start("host", DRIVER, world.state, world.conf, "attach", "1",
                        "guard=mac,rate=1Mb/s")
        time.sleep(step * 0.0015)
        world.ip("host", "link", "del", "peer")
        world.configure(timeout=1)
        err = p.communicate(timeout=10)[1]
        ends.add(err.split(" ")[0])
        assert not err or err.startswith("ENODEV interface vif1.0"), err
        if not err:
            world.detach(1)
        assert world.picture() == before
    assert ends


def test_duplicates(world):
    world.bridge()
    world.outside()
    world.guest(1)
    world.guest(2)
    world.attach(1, "mac=00:16:3e:00:00:01")
    before = world.picture()
    with pytest.raises(Refused, match="EEXIST interface 0 of domain 1 is attached already"):
        world.attach(1, "mac=00:16:3e:00:00:01")
    with pytest.raises(Refused, match="EEXIST mac: 00:16:3e:00:00:01 is in use by domain 1"):
        world.attach(2, "mac=00:16:3e:00:00:01")
    assert world.picture() == before
    world.detach(1)
    world.attach(1, "script=vif-route,gatewaydev=uplink,ip=192.0.2.128/28")
    before = world.picture()
    with pytest.raises(Refused, match="EEXIST ip: 192.0.2.130 is in use by domain 1"):
        world.attach(2, "mac=00:16:3e:00:00:02,script=vif-route,gatewaydev=uplink,ip=192.0.2.130")
    assert world.picture() == before


def test_damage(world):
    world.bridge()
    world.guest(1)
    os.makedirs(world.state + "/net")
    with open(world.state + "/net/5.0", "w", encoding="utf-8") as f:
        f.write("nonsense")
    world.attach(1, "")
    assert "damaged record" in world.notes
    world.configure(brige="x")
    with pytest.raises(Refused, match='unknown key "brige".*did you mean "bridge"'):
        world.driver("setup")


# ---- address checks -------------------------------------------------------------------------

SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("eth0", 0))
for line in sys.argv[1:]:
    s.send(bytes.fromhex(line).ljust(60, b"\\0"))
"""
HEAR = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(("eth0", 0))
s.settimeout(float(sys.argv[1]))
print("ready", flush=True)
try:
    while True:
        frame = s.recv(2000)
        print(frame.hex(), flush=True)
        if frame[38:42] == bytes.fromhex("0a0000fe"):
            break
except TimeoutError:
    pass
"""
OWN, OTHER, ALL = "00163e000001", "00163e0000ee", "ff" * 6


def arp(source=OWN, sender=OWN, address="0a00000b"):
    return ALL + source + "0806" + "0001080006040001" + sender + address + "0" * 12 + "0a00000c"


def ip4(source=OWN, address="0a00000b", to="0a00000c"):
    head = "4500001c000040004011"
    words = sum(int((head + address + to)[i:i + 4], 16) for i in range(0, 36, 4))
    while words >> 16:
        words = (words & 0xFFFF) + (words >> 16)
    return ALL + source + "0800" + head + f"{words ^ 0xFFFF:04x}" + address + to + "0" * 16


def ip6(source=OWN, address="fd00" + "0" * 24 + "000b", kind=None, target=""):
    body = (kind or "80") + "00" + "0000" + "0" * 8 + target
    return (ALL + source + "86dd" + "60000000" + f"{len(body) // 2:04x}" + "3aff" + address +
            "ff02" + "0" * 27 + "1" + body)


def heard(world, sender, hearer, frames):
    """Which of the frames arrive (by their index)."""
    end = arp()[:-8] + "0a0000fe"
    p = world.start(hearer, PYTHON, "-c", HEAR, "3")
    p.stdout.readline()
    world.inside(sender, PYTHON, "-c", SEND, *frames, end)
    got = [x.rstrip("0") for x in p.communicate(timeout=10)[0].split()]
    assert end.rstrip("0") in got
    return [i for i, f in enumerate(frames) if f.rstrip("0") in got]


FRAMES = [arp(), arp(source=OTHER), arp(sender=OTHER), arp(address="0a000063"),
          arp(address="00000000"), ip4(), ip4(source=OTHER), ip4(address="0a000063"),
          ip6(), ip6(address="fd00" + "0" * 24 + "0063"),
          ip6(kind="88", target="fd00" + "0" * 24 + "000b"),
          ip6(kind="88", target="fd00" + "0" * 24 + "0063"), ip6(kind="86"),
          ip6(address="fe80" + "0" * 12 + "02163efffe000001"),
          ip6(address="fe80" + "0" * 12 + "02163efffe0000ee"),
          ALL + OWN + "88b5" + "1234", ip4(address="00000000", to="ffffffff")]


@pytest.mark.parametrize("rate", ["", ",rate=100Mb/s"])
def test_guard_ip(world, rate):
    world.bridge()
    one, two = world.guest(1), world.guest(2)
    world.attach(1, "mac=00:16:3e:00:00:01,ip=10.0.0.11 fd00::b,guard=ip" + rate)
    world.attach(2, "mac=00:16:3e:00:00:02")
    time.sleep(0.2)
    assert heard(world, one, two, FRAMES) == [0, 4, 5, 8, 10, 13, 16]


def test_guard_mac(world):
    world.bridge()
    one, two = world.guest(1), world.guest(2)
    world.configure(guard="mac")
    world.attach(1, "mac=00:16:3e:00:00:01")
    world.attach(2, "mac=00:16:3e:00:00:02")
    assert heard(world, one, two, FRAMES) == [i for i in range(len(FRAMES)) if i not in (1, 6)]
    world.detach(1)
    world.attach(1, "mac=00:16:3e:00:00:01,guard=off")
    assert heard(world, one, two, FRAMES) == list(range(len(FRAMES)))


# ---- route ----------------------------------------------------------------------------------

def test_route(world):
    world.outside("192.0.2.2/24", "2001:db8::2/64")
    one = world.guest(1, None, "192.0.2.50/24", "2001:db8::50/128")
    world.ip(one, "-6", "route", "add", "default", "via", "fe80::fcff:ffff:feff:ffff", "dev",
             "eth0", "onlink")
    two = world.guest(2, None, "192.0.2.51/24")
    before = world.picture()
    spec = "script=vif-route,gatewaydev=uplink,"
    world.attach(1, spec + "mac=00:16:3e:00:00:01,ip=192.0.2.50 2001:db8::50")
    world.attach(2, spec + "mac=00:16:3e:00:00:02,ip=192.0.2.51")
    assert world.reaches(one, "192.0.2.1")      # the control domain
    assert world.reaches(one, "192.0.2.2")      # the world, as if on one wire
    assert world.reaches("outside", "192.0.2.50")
    assert world.reaches(one, "2001:db8::2")
    assert world.reaches("outside", "2001:db8::50")
    assert not world.ping(one, "192.0.2.51")    # isolated, unless told otherwise
    world.ip(one, "addr", "add", "192.0.2.99/32", "dev", "eth0")
    assert world.inside(one, "busybox", "ping", "-c1", "-W1", "-I", "192.0.2.99", "192.0.2.2",
                        check=False).returncode  # not its address
    world.detach(1)
    world.detach(2)
    assert world.picture() == before
    world.attach(1, spec + "mac=00:16:3e:00:00:01,ip=192.0.2.50,isolated=0")
    world.attach(2, spec + "mac=00:16:3e:00:00:02,ip=192.0.2.51,isolated=0")
    assert world.reaches(one, "192.0.2.51") and world.reaches(two, "192.0.2.50")
    world.ip(one, "link", "del", "eth0")
    world.detach(1)
    world.detach(2)
    assert not [x for x in world.picture() if "proxy" in x and "192.0.2" in x]


def test_route_refused(world):
    world.outside()
    world.guest(1)
    before = world.picture()
    for spec, text in (("script=vif-route", "ip: a routed interface needs its addresses"),
                       ("script=vif-route,ip=192.0.2.7", "there is no default route"),
                       ("script=vif-route,gatewaydev=eth7,ip=192.0.2.7",
                        'ENOENT gatewaydev: there is no interface "eth7"')):
        with pytest.raises(Refused, match=text):
            world.attach(1, spec)
    for ip in "192.0.2.1", "192.0.2.0/29", "2001:db8::1":
        with pytest.raises(Refused, match="EEXIST ip: .* is the control domain's own"):
            world.attach(1, f"script=vif-route,gatewaydev=uplink,ip={ip}")
    world.ip("host", "route", "add", "192.0.2.7", "dev", "uplink")
    with pytest.raises(Refused, match="EEXIST ip: there is a route for 192.0.2.7 already"):
        world.attach(1, "script=vif-route,gatewaydev=uplink,ip=192.0.2.6 192.0.2.7")
    world.ip("host", "route", "del", "192.0.2.7", "dev", "uplink")
    assert world.picture() == before
    world.ip("host", "route", "add", "default", "via", "192.0.2.254")
    assert "gatewaydev=uplink" in world.attach(1, "script=vif-route,ip=192.0.2.7")["vif"]


def test_commands_for_guests_in_the_chapter(world):
    """What docs/networking.md tells the owner of a guest to do: blocks marked "sh guest"."""
    chapter = "docs/networking.md"
    (_, routed, _), (_, nat, _) = blocks(chapter, "sh guest")
    spec = next(re.search(r"'(.*)'", text)[1] for _, text, _ in blocks(chapter, "cfg")
                if "vif-route" in text)
    world.outside("192.0.2.2/24", "2001:db8::2/64")
    one, two = world.guest(1), world.guest(2)
    world.attach(1, "mac=00:16:3e:00:00:01," + spec.replace("=eth0", "=uplink"))
    world.attach(2, "mac=00:16:3e:00:00:02,script=vif-nat,ip=10.83.7.9")
    for guest, text in (one, routed.replace("ADDRESS-OF-GATEWAYDEV", "192.0.2.1")), (two, nat):
        world.inside(guest, "sh", "-eux", "-c", text)
    for guest, address in (one, "192.0.2.2"), (one, "2001:db8::2"), (two, "192.0.2.2"):
        assert world.reaches(guest, address)
    assert world.reaches("outside", "192.0.2.50") and world.reaches("outside", "2001:db8::50")


# ---- nat ------------------------------------------------------------------------------------

SERVE = """
import socket
s = socket.create_server(("0.0.0.0", 8000))
print("ready", flush=True)
c, peer = s.accept()
data = b""
while (part := c.recv(65536)):
    data += part
c.sendall(f"{len(data)} {peer[0]}".encode())
"""
ASK = """
import socket, sys
c = socket.create_connection((sys.argv[1], 8000), timeout=3)
c.sendall(b"x" * 300000)
c.shutdown(socket.SHUT_WR)
print(c.recv(100).decode())
"""


def nat_guest(world, domain, spec=""):
    """Attached, and set up with the address that it got."""
    name = world.guest(domain)
    mac = f"mac=00:16:3e:00:00:{domain:02x},script=vif-nat"
    vif = world.attach(domain, mac + spec)["vif"]
    address = dict(x.split("=", 1) for x in vif.split(","))["ip"]
    world.ip(name, "addr", "add", address + "/16", "dev", "eth0")
    world.ip(name, "route", "add", "default", "via", "10.83.0.1")
    return name, address


def test_nat(world):
    world.outside("192.0.2.2/24")
    before = world.picture()
    one, address = nat_guest(world, 1)
    two, second = nat_guest(world, 2)
    assert address.startswith("10.83.") and second.startswith("10.83.") and address != second
    assert world.reaches(one, "10.83.0.1") and world.reaches(one, "192.0.2.2")
    server = world.start("outside", PYTHON, "-c", SERVE)
    server.stdout.readline()
    # The world sees the control domain's address.
    assert world.inside(one, PYTHON, "-c", ASK, "192.0.2.2").stdout.split() == ["300000",
                                                                                 "192.0.2.1"]
    server.wait(10)
    # Nobody outside reaches a guest, even if he knows the way.
    world.ip("outside", "route", "add", "10.83.0.0/16", "via", "192.0.2.1")
    assert not world.ping("outside", address)
    assert not world.ping(one, second)
    world.detach(1)
    world.ip("host", "link", "del", "vif1.0")
    sh("ip", "netns", "del", world.prefix + one)
    world.spaces.remove(one)
    # The same MAC has the same address again.
    assert nat_guest(world, 1)[1] == address
    world.detach(1)
    world.detach(2)
    for vif in ("vif1.0", "vif2.0"):
        world.ip("host", "link", "del", vif)
    assert world.picture() == before


def test_nat_addresses(world):
    world.outside("192.0.2.2/24")
    world.configure(nat_subnet="10.5.0.0/28", setup="nat", isolated=0)
    world.guest(1)
    for bad in ("10.5.0.1", "10.6.0.3", "10.5.1.2"):
        with pytest.raises(Refused, match="is not an address for guests of 10.5.0.0/28"):
            world.attach(1, f"ip={bad}")
    got = set()
    for domain in range(2, 15):
        world.guest(domain)
        vif = world.attach(domain, f"mac=00:16:3e:00:00:{domain:02x}")["vif"]
        got.add(dict(x.split("=", 1) for x in vif.split(","))["ip"])
    assert got == {f"10.5.0.{i}" for i in range(2, 15)}
    with pytest.raises(Refused, match="ENOSPC nat_subnet: no address is free"):
        world.attach(1, "")
    world.detach(5)
    assert world.attach(1, "ip=10.5.0.9/28" if "10.5.0.9" not in got else "")


def test_nat_guests_may_meet(world):
    world.configure(isolated=0)
    one, address = nat_guest(world, 1)
    two, second = nat_guest(world, 2)
    assert world.reaches(one, second) and world.reaches(two, address)


# ---- rate -----------------------------------------------------------------------------------

# Large buffers: the kernels go on while the programs wait for a CPU of a busy machine.
SINK = """
import socket
s = socket.create_server(("0.0.0.0", 8000))
s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE
print("ready", flush=True)
c = s.accept()[0]
while c.recv(1 << 20):
    pass
"""
POUR = """
import socket, time
c = socket.socket()
c.setsockopt(socket.SOL_SOCKET, 32, 4 << 20)  # SO_SNDBUFFORCE
c.connect(("10.0.0.1", 8000))
end = time.monotonic() + 30
while time.monotonic() < end:
    c.send(b"x" * 100000)
"""


def arrived(world):
    """When, and how many bytes of whole frames the control domain has got from its bridge."""
    before = time.monotonic()
    link, = json.loads(world.ip("host", "-s", "-j", "link", "show", "xenbr0").stdout)
    rx = link["stats64"]["rx"]
    return (before + time.monotonic()) / 2, rx["bytes"] + 14 * rx["packets"]


@pytest.mark.long
@pytest.mark.parametrize("mbit", [10, 100])
def test_rate_holds(world, mbit):
    world.bridge()
    one = world.guest(1, None, "10.0.0.11/24")
    world.ip(one, "link", "set", "eth0", "gso_max_segs", "1")  # so that counters count frames
    world.attach(1, f"mac=00:16:3e:00:00:01,rate={mbit}Mb/s")
    sink = world.start("host", PYTHON, "-c", SINK)
    sink.stdout.readline()
    pour = world.start(one, PYTHON, "-c", POUR)
    time.sleep(1.5)  # the burst is over
    rates = []
    # On a busy machine the sender may not be fast enough for a while; too fast it never is.
    while not rates or (len(rates) < 4 and rates[-1] < 0.97 * mbit):
        start, first = arrived(world)
        time.sleep(4)
        end, last = arrived(world)
        rates.append((last - first) * 8e-6 / (end - start))
    for p in pour, sink:
        p.kill()
        p.communicate()
    print(f"limit {mbit} Mbit/s: {rates} Mbit/s", file=sys.stderr)
    assert max(rates) < 1.03 * mbit and rates[-1] > 0.97 * mbit


def test_rate_changes(world):
    world.bridge()
    world.guest(1)
    before = world.picture()
    world.attach(1, "")
    attached = world.picture()
    for rate, shown in (("8Mb/s", "rate 8Mbit"), ("16Mb/s@10ms", "rate 16Mbit burst 20000b"),
                        ("none", None), ("none", None), ("1Mb/s", "rate 1Mbit")):
        world.driver("rate", "1", "0", rate)
        rules = world.inside("host", "tc", "qdisc", "show").stdout
        assert shown in rules if shown else "tbf" not in rules
    world.driver("rate", "1", "0", "0")
    assert world.picture() == attached
    world.driver("rate", "1", "0", "8Mb/s")
    with pytest.raises(Refused, match="ENOENT domain 1 has no interface 1"):
        world.driver("rate", "1", "1", "8Mb/s")
    with pytest.raises(Refused, match="EINVAL rate: "):
        world.driver("rate", "1", "0", "8Mb")
    world.detach(1)
    assert world.picture() == before


# ---- the command line -----------------------------------------------------------------------

def test_commands(world):
    world.outside(host=())
    before = world.picture()
    world.configure(bridge="serai0", bridge_ports=["uplink"], bridge_address=["10.9.0.1/24"])
    serai = [SERAI, "--state-dir", world.state]
    for _ in range(2):  # the second time everything is there
        world.inside("host", *serai, "network-setup", "-f", world.conf)
    world.guest(1)
    world.attach(1, "ip=10.9.0.2,guard=ip,rate=8Mb/s,mac=00:16:3e:00:00:01")
    status = json.loads(world.inside("host", *serai, "network-status", "--json").stdout)
    bridge, = status["bridges"]
    assert bridge["name"] == "serai0" and bridge["addresses"] == ["10.9.0.1/24"]
    assert [p["name"] for p in bridge["ports"]] == ["uplink", "vif1.0"]
    interface, = status["interfaces"]
    assert interface["mac"] == "00:16:3e:00:00:01" and interface["rate_bytes"] == 1000000
    assert interface["addresses"] == ["10.9.0.2"] and interface["guard"] == "ip"
    table = world.inside("host", *serai, "network-status").stdout
    assert "serai0" in table and "00:16:3e:00:00:01" in table
    p = world.inside("host", *serai, "network-setup", "-f", world.conf, "--remove", check=False)
    assert p.returncode == 1 and "is in use" in p.stderr
    world.detach(1)
    world.ip("host", "link", "del", "vif1.0")
    world.inside("host", *serai, "network-setup", "-f", world.conf, "--remove")
    after = world.picture()
    assert [x for x in after if "uplink" not in x] == [x for x in before if "uplink" not in x]


def test_setup_refused(world):
    world.outside()
    world.configure(bridge_ports=["uplink"])
    before = world.picture()
    with pytest.raises(Refused, match="EBUSY bridge_ports: uplink has addresses"):
        world.driver("setup")
    world.configure(bridge_ports=["eth9"])
    with pytest.raises(Refused, match='ENOENT bridge_ports: there is no interface "eth9"'):
        world.driver("setup")
    assert world.picture() == before
    world.bridge()
    with pytest.raises(Refused, match="EPERM bridge xenbr0 was not made by Serai"):
        world.driver("unsetup")


# ---- many at once ---------------------------------------------------------------------------

def test_many_at_once(world):
    world.bridge()
    before = world.picture()
    count, bad = 24, []
    for domain in range(1, count + 1):
        world.guest(domain)

    def life(domain):
        try:
            for _ in range(2):
                world.attach(domain, f"mac=00:16:3e:00:00:{domain:02x},ip=10.0.0.{domain + 10},"
                                     "guard=ip,rate=10Mb/s")
                world.detach(domain, 0)
            world.attach(domain, f"mac=00:16:3e:00:00:{domain:02x}")
        except (Refused, AssertionError) as e:
            bad.append(str(e))

    threads = [threading.Thread(target=life, args=(d,)) for d in range(1, count + 1)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not bad
    assert len(world.driver("list")) == count
    for domain in range(1, count + 1):
        world.detach(domain)
        world.ip("host", "link", "del", f"vif{domain}.0")
    assert world.picture() == before
