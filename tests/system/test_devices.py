# SPDX-License-Identifier: BSD-2-Clause
"""The control domain's stock drivers move real data on the machine's devices."""
import hashlib
import http.server
import os
import re
import threading
import time

import pytest

from machine import Machine

MIB = 1 << 20
READ_MIB, WRITE_MIB, WRITE_AT_MIB = 8, 4, 16
DATA = os.urandom(2 * MIB)

# device: (part of its path in sysfs, QEMU devices, driver's name in /proc/interrupts)
DISKS = {
    "virtio-blk": ("virtio", ["virtio-blk-pci,drive={id}"], "virtio"),
    "ahci": ("/ata[0-9]", ["ide-hd,drive={id},bus=ide.1"], "ahci"),
    "nvme": ("/nvme", ["nvme,drive={id},serial=1"], "nvme"),
    "usb-storage": ("/usb[0-9]", ["usb-storage,drive={id},bus=xhci.0"], "xhci_hcd"),
}
NICS = ["virtio-net", "e1000e"]


class Handler(http.server.BaseHTTPRequestHandler):
    """GET gives DATA; POST answers with the SHA-256 of what was sent."""

    def do_GET(self):
        self.answer(DATA)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    """The port of a web server on the host, which slirp shows to the machine as x.x.x.2."""
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield httpd.server_port
    httpd.shutdown()


def make_disk(path):
    with open(path, "wb") as f:
        f.write(os.urandom(READ_MIB * MIB))
        f.truncate(32 * MIB)
    return path


def mac(index):
    return f"52:54:00:00:00:{index + 1:02x}"


def nic_args(names):
    args = []
    for i, name in enumerate(names):
        model = "virtio-net-pci" if name == "virtio-net" else name
        args += ["-netdev", f"user,id=n{i},net=10.0.{i + 10}.0/24",
                 "-device", f"{model},netdev=n{i},mac={mac(i)}"]
    return args


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A q35 machine with one of each device."""
    folder = tmp_path_factory.mktemp("disks")
    args = ["-device", "qemu-xhci,id=xhci", "-device", "usb-kbd,bus=xhci.0"]
    disks = {}
    for i, (name, (_, devices, _)) in enumerate(DISKS.items()):
        disks[name] = make_disk(folder / f"{name}.img")
        args += ["-drive", f"file={disks[name]},format=raw,if=none,id=d{i}"]
        for device in devices:
            args += ["-device", device.format(id=f"d{i}")]
    with Machine("devices", qemu=args + nic_args(NICS)) as m:
        m.boot()
        m.disks = disks
        yield m
        m.power_off()


def find_disk(m, name):
    """The block device that belongs to `name`, when its driver has found it."""
    return m.wait_for(f"ls -l /sys/block | grep -- '-> .*{DISKS[name][0]}' | sed 's,.*/,,' | grep .")


def check_disk(m, dev, path):
    """Read and write the disk in the control domain, compare with the file on the host."""
    with open(path, "rb") as f:
        want = hashlib.sha256(f.read(READ_MIB * MIB)).hexdigest()
    got = m.sh(f"dd if=/dev/{dev} bs=1M count={READ_MIB} 2>/dev/null | sha256sum")
    assert got.split()[0] == want, "data read differ from the image"

    m.sh(f"dd if=/dev/urandom of=/tmp/data bs=1M count={WRITE_MIB} 2>/dev/null")
    m.sh(f"dd if=/tmp/data of=/dev/{dev} bs=1M seek={WRITE_AT_MIB} conv=fsync 2>/dev/null")
    want = m.sh("sha256sum </tmp/data").split()[0]
    with open(path, "rb") as f:
        f.seek(WRITE_AT_MIB * MIB)
        assert hashlib.sha256(f.read(WRITE_MIB * MIB)).hexdigest() == want, "data written differ"


def interrupts(m, word):
    """(sum of the counters, text) of the lines of /proc/interrupts with `word`."""
    lines = [x for x in m.sh("cat /proc/interrupts").split("\n") if word in x]
    counts = [int(n) for x in lines for n in re.findall(r"(?<=\s)\d+(?=\s)", x.split(":", 1)[1])]
    return sum(counts), "\n".join(lines)


@pytest.mark.parametrize("name", DISKS)
def test_disk(machine, name):
    dev = find_disk(machine, name)
    before, _ = interrupts(machine, DISKS[name][2])
    check_disk(machine, dev, machine.disks[name])
    after, text = interrupts(machine, DISKS[name][2])
    assert after > before, f"no interrupt counted: {text}"


def check_network(m, address, server):
    m.wait_for(f"grep -l {address} /sys/class/net/*/address")
    nic = m.sh(f"grep -l {address} /sys/class/net/*/address").split("/")[4]
    m.sh(f"ip link set {nic} up")
    m.sh(f"udhcpc -i {nic} -s /bin/udhcpc-script -n -q -t 20", 180)
    own = re.search(r"inet (\d+\.\d+\.\d+)\.\d+/", m.sh(f"ip -4 addr show {nic}"))
    url = f"http://{own[1]}.2:{server}/"
    want = hashlib.sha256(DATA).hexdigest()
    assert m.sh(f"wget -q -O - {url} | sha256sum", 180).split()[0] == want
    m.sh("dd if=/dev/urandom of=/tmp/post bs=1k count=700 2>/dev/null")
    want = m.sh("sha256sum </tmp/post").split()[0]
    # busybox's wget ends text at a zero byte, so the data go as base64.
    m.sh("base64 /tmp/post >/tmp/post64")
    want = m.sh("sha256sum </tmp/post64").split()[0]
    assert m.sh(f"wget -q -O - --post-file=/tmp/post64 {url}", 180) == want
    return nic


@pytest.mark.parametrize("name", NICS)
def test_network(machine, server, name):
    check_network(machine, mac(NICS.index(name)), server)


def test_interrupts_are_messages(machine):
    for word in ("virtio", "nvme", "ahci", "xhci_hcd"):
        _, text = interrupts(machine, word)
        assert "xen-pirq" in text and "-msi" in text, text


def test_usb_keyboard(machine):
    handler = "sed -n '/USB Keyboard/,/^$/s/.*\\(event[0-9]*\\).*/\\1/p' /proc/bus/input/devices"
    event = machine.wait_for(f"{handler} | grep event").split("\n")[0]
    machine.sh(f"(timeout 60 dd if=/dev/input/{event} bs=24 count=3 of=/tmp/keys 2>/dev/null; "
               "touch /tmp/keys.done) >/dev/null 2>&1 & sleep 1")
    machine.qmp.run("send-key", keys=[{"type": "qcode", "data": "f7"}])
    machine.wait_for("[ -e /tmp/keys.done ]")
    # struct input_event: 16 bytes of time, type, code, value; EV_KEY is 1, KEY_F7 is 65.
    raw = bytes.fromhex(machine.sh("xxd -p /tmp/keys | tr -d '\\n'"))
    events = [(raw[i + 16] | raw[i + 17] << 8, raw[i + 18] | raw[i + 19] << 8)
              for i in range(0, len(raw) - 23, 24)]
    assert (1, 65) in events


def test_console_takes_a_burst(machine):
    """More characters at once than one interrupt of the serial port takes."""
    text = ": " + "x" * 600
    machine.process.sendline("+" + text)
    machine.expect(rf"@@have {len(text)}\r*\n", 60)
    machine.process.sendline("!")
    machine.expect(r"@@end 0\r*\n", 60)


def test_clock_follows_the_host(machine):
    assert abs(int(machine.sh("date +%s")) - time.time()) < 10
    first, t0 = float(machine.sh("cut -d' ' -f1 /proc/uptime")), time.monotonic()
    machine.sh("sleep 5")
    second, t1 = float(machine.sh("cut -d' ' -f1 /proc/uptime")), time.monotonic()
    assert abs((second - first) - (t1 - t0)) < 1


def test_pci_configuration_is_complete(machine):
    assert "MMCONFIG" in machine.sh("dmesg | grep -i mmconfig")
    # Extended configuration space is readable through it (4096 bytes on PCI Express).
    size = machine.sh("cat $(ls -d /sys/bus/pci/devices/*/driver | head -1 | "
                      "sed 's/driver/config/') | wc -c")
    assert size in ("256", "4096")


def test_i440fx_with_legacy_interrupts(server, tmp_path):
    disk = make_disk(tmp_path / "ide.img")
    args = ["-drive", f"file={disk},format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0,bus=ide.0"]
    args += nic_args(["e1000"])
    with Machine("devices-pc", chipset="pc", qemu=args) as m:
        m.boot()
        check_disk(m, find_disk(m, "ahci"), disk)
        nic = check_network(m, mac(0), server)
        for word in ("ata_piix", nic):
            count, text = interrupts(m, word)
            assert count > 0 and "ioapic" in text, text
        m.power_off()
