# SPDX-License-Identifier: BSD-2-Clause
"""Two Debian guests a and b on one bridge with the control domain, and programs that load it."""
import json
import re
from contextlib import contextmanager

from disk_guests import DiskHost, debian_drive, make_images

CONF = """bridge = "xenbr0"
bridge_address = [ "10.20.0.1/24" ]
"""
A, B, HOST = "10.20.0.11", "10.20.0.12", "10.20.0.1"
FRAME, PAYLOAD = 1514, 1448     # of a full TCP segment with a time stamp
MAC_A = "00:16:3e:20:00:0a"
VIF_A, VIF_B = f"mac={MAC_A}", "mac=00:16:3e:20:00:0b"
DEBIAN = "/mnt/debian"          # the guests' Debian, for programs in the control domain


def clock(shift):
    """QEMU arguments: an instruction takes 2^shift ns whatever else the computer below does, and
    time in which nothing is to be done takes none. Without this a CPU of the emulated machine waits
    up to 0.1 s for its turn while another one is busy, and packets pass from CPU to CPU."""
    return ["-icount", f"shift={shift},sleep=off"]


@contextmanager
def two_guests(name, vmlinux, shift):
    """A machine on which both live and serve; at its end nothing of their cards may stay."""
    make_images()
    drives = debian_drive() + debian_drive() + debian_drive()
    with DiskHost(name, vmlinux, files={"etc/serai/network.conf": CONF},
                  options="dom0_mem=640M", qemu=drives + clock(shift)) as m:
        m.boot()
        m.sh("serai network-setup")
        m.sh(f"mkdir -p {DEBIAN} && modprobe ext4 && mount -t ext4 /dev/vdc {DEBIAN} && "
             f"mount -t proc proc {DEBIAN}/proc && mount -o bind /dev {DEBIAN}/dev && "
             f"mount -t tmpfs run {DEBIAN}/run && mkdir {DEBIAN}/run/lock")
        m.start("a", ["/dev/vda,raw,xvda,rw"], [VIF_A], options=f"addr={A}/24")
        m.start("b", ["/dev/vdb,raw,xvda,rw"], [VIF_B], options=f"addr={B}/24")
        serve_everywhere(m)
        yield m
        m.gone("a")
        m.gone("b")
        m.wait_for("[ -z \"$(ls -A /run/serai/net)\" ] && ! ls /sys/class/net | grep -q vif")
        m.sh(f"killall nginx iperf3; sleep 1; umount -l {DEBIAN}")
        m.power_off()


def host(m, command, timeout=120):
    """Run a command of Debian in the control domain."""
    return m.sh(f"chroot {DEBIAN} {command}", timeout)


def serve_everywhere(m):
    """A web server and the other end of iperf3 in b and in the control domain."""
    page = "mkdir -p {0}/srv/www && dd if=/dev/urandom of={0}/srv/www/big bs=64k count=16 " \
           "2>/dev/null && echo page of {1} >{0}/srv/www/index.html"
    m.run("a", "iperf3 -s -D")
    m.run("b", page.format("", "b") + " && nginx && iperf3 -s -D")
    m.sh(page.format(DEBIAN, "host"))
    host(m, "nginx")
    host(m, "iperf3 -s -D")


def vifs(m, name):
    return json.loads(m.sh(f"serai network-list --json {name}"))


def address_again(nic, address):
    """A shell command: wait for an interface, give it its address."""
    return f"until [ -e /sys/class/net/{nic} ]; do sleep 0.1; done; " \
           f"ip addr replace {address}/24 dev {nic}; ip link set {nic} up"


def iperf(m, name, address, seconds, options=""):
    """Bytes received and how long that took by the receiver's clock, without the first second."""
    m.run(name, f"iperf3 -c {address} -t {seconds} -O 1 -J {options} >/tmp/iperf || "
          "{ tail -n 3 /tmp/iperf; exit 1; }", 60 + 4 * seconds)
    text = m.run(name, "sed -n '/\"sum_received\"/,/}/p' /tmp/iperf | tr -d '\\t \\n'")
    values = dict(re.findall(r'"(seconds|bytes)":([0-9.e+]+)', text))
    return float(values["bytes"]), float(values["seconds"])


def mbits(received, seconds):
    return received * 8e-6 / seconds
