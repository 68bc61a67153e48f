# SPDX-License-Identifier: BSD-2-Clause
"""serai(1) on a machine: every verb gives JSON, top and export-metrics see guests' load, and the
library's example programs do what they say."""
import base64
import json
import os
import re

import pytest

from guests import Guests
from machine import BUILD, Machine

NET = 'bridge = "xenbr0"\\nbridge_ports = []\\n'
# What writes to its disks for as long as it runs.
BUSY = ("while :; do for d in xvda xvdb; do dd if=/dev/zero of=/dev/$d bs=64k count=32 "
        "conv=fsync; dd if=/dev/$d of=/dev/null bs=64k count=16; done; done 2>/dev/null")

# Each verb once, in an order in which they make sense: (words, None or a word of the error).
CALLS = [
    ("network-setup -f /tmp/net.conf", None), ("network-status", None),
    ("create /tmp/one.cfg", None), ("list", None), ("list one", None), ("domid one", None),
    ("domname 0", None), ("uptime", None), ("claims", None), ("info", None), ("info -n", None),
    ("vcpu-list one", None), ("vcpu-pin one 0 all 0", None), ("vcpu-set one 1", None),
    ("mem-max one 16", None), ("mem-set one 16", None), ("sched", None),
    ("sched one -w 300", None), ("sched-credit2 -d one -c 50", None), ("sched-credit -d one", None),
    ("block-attach one /tmp/cli.img,raw,xvdc,r,backendtype=blkd", None), ("block-list", None),
    ("block-list one", None), ("block-detach one xvdc", None), ("block-detach one xvdc", "no disk"),
    ("cd-insert one xvdc /tmp/cli.img", "no disk"), ("cd-eject one xvdc", "no disk"),
    ("network-attach one bridge=xenbr0", None), ("network-list one", None),
    ("network-rate one 0 10Mb/s", None), ("network-detach one 0", None),
    ("wait -t 5 one running", None), ("dump-core one /tmp/core", "cannot be dumped"),
    ("config-update one /tmp/one.cfg memory=17", None), ("sysrq one h", None),
    ("export-metrics", None), ("top -n 1 -d 0.2", None), ("dmesg", None), ("debug-keys h", None),
    ("cpupool-list", None), ("cpupool-cpu-remove Pool-0 1", None),
    ("cpupool-create name=second cpus=1", None), ("cpupool-create name=second", "already"),
    ("cpupool-migrate one second", None), ("cpupool-destroy second", "guests are in"),
    ("cpupool-migrate one 0", None), ("cpupool-rename second two", None),
    ("cpupool-cpu-remove two 1", None), ("cpupool-cpu-add two 1", None),
    ("cpupool-destroy two", None), ("cpupool-cpu-add Pool-0 1", None),
    ("pause one", None), ("shutdown one", "paused"), ("reboot one", "paused"),
    ("unpause one", None), ("rename one uno", None), ("destroy uno", None),
    ("destroy uno", 'no domain named "uno"'), ("autostart list", None), ("guests-start", None),
    ("guests-stop -t 1", None), ("completion zsh", None), ("help list", None),
    ("network-setup -f /tmp/net.conf --remove", None),
]


@pytest.fixture(scope="module")
def machine(vmlinux, load, guest_image):
    files = {"boot/vmlinux": vmlinux, "boot/load.elf": load, "boot/guest-do.img": guest_image}
    folder = os.path.join(BUILD, "toolstack", "examples")
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as f:
            files[f"bin/ex-{name}"] = f.read()
    with Machine("cli", files=files, options="dom0_mem=640M dom0_max_vcpus=1 dom0_vcpus_pin") as m:
        m.boot()
        m.sh(f"printf '{NET}' >/tmp/net.conf; truncate -s 8M /tmp/cli.img /tmp/a.img /tmp/b.img")
        Guests(m).config("one", kernel="/boot/load.elf", memory=16, extra="idle")
        yield m
        m.power_off()


@pytest.fixture
def guests(machine):
    maker = Guests(machine)
    yield maker
    maker.clean()


def test_every_verb_gives_json(machine, guests):
    for words, wrong in CALLS:
        # What looks like a line of the hypervisor's log is taken for one: not its prefix.
        status, text = machine.try_sh(f"serai {words} --json >/tmp/out 2>/dev/null; s=$?; "
                                      "sed 's/(SERAI)//g' /tmp/out; (exit $s)", 60)
        try:
            answer = json.loads(text)
        except ValueError:
            pytest.fail(f"serai {words} --json: not JSON: {text!r}")
        error = answer.get("error") if isinstance(answer, dict) else None
        if wrong:
            assert error and wrong in error["text"] and error["exit"] == status, (words, text)
        else:
            assert status == 0 and not error, (words, text)
    verbs = re.search('_serai_verbs="(.*)"', machine.sh("serai completion bash"))[1].split()
    # The others at least say in JSON that this is wrong.
    for verb in set(verbs) - {words.split()[0] for words, _ in CALLS} - {"console"}:
        text = machine.try_sh(f"serai {verb} x x x --json 2>/dev/null")[1]
        assert "error" in json.loads(text), verb


def test_exit_codes(machine):
    assert machine.try_sh("serai list nobody 2>/dev/null")[0] == 3
    assert machine.try_sh("serai rename one 2>/dev/null")[0] == 2
    assert machine.try_sh("serai block-attach 0 /nowhere,raw,xvda 2>/dev/null")[0] == 1
    status, text = machine.try_sh("serai list --jsn 2>&1")
    assert status == 2 and "did you mean --json" in text


def test_json_of_create_names_the_guest(guests):
    made = json.loads(guests.machine.sh("serai create --json -p /tmp/one.cfg"))
    assert made["name"] == "one" and made["state"] == "paused"
    assert int(guests.machine.sh("serai domid one")) == made["domain"]
    guests.destroy("one")
    made = json.loads(guests.machine.sh("serai create --json /tmp/one.cfg"))
    assert made["state"] == "started"


@pytest.mark.long
def test_top_and_metrics_see_disks(guests):
    guests.linux("busy", BUSY, disk=["/tmp/a.img,raw,xvda,w,backendtype=phy",
                                     "/tmp/b.img,raw,xvdb,w,backendtype=blkd"])
    guests.wait_console("busy", "guest: up")
    sh = guests.machine.sh

    def row():
        text = sh("serai top --json -n 1 -d 2", 60)
        return {d["name"]: d for d in json.loads(text)["domains"]}["busy"]
    guests.wait(lambda: row()["disk_written_bytes_per_s"] > 1000, 60, "top sees no writes")
    assert row()["cpu_percent"] > 0
    metrics = sh("serai export-metrics")
    for device in (51712, 51728): # the kernel's backend, and blkd
        written = re.search(r'^serai_disk_written_bytes_total\{domain="\d+",name="busy",'
                            rf'device="{device}"\}} (\d+)$', metrics, re.M)
        assert written and int(written[1]) >= 64 << 10, metrics
    table = sh("serai top -b -n 1 -d 0.5")
    assert re.search(r"busy .*\[?#*\.+", table) and "NETWORK" in table


def test_examples(guests):
    m = guests.machine
    assert "CPUs" in m.sh("ex-host")
    assert "Domain-0" in m.sh("ex-domain")
    guests.load("one", "idle")
    assert "stands still" in m.sh("ex-domain one")
    m.sh("ex-disk one /tmp/cli.img,raw,xvdd,r,backendtype=blkd")
    assert m.sh("ex-disk one").startswith("xvdd blkd")
    m.sh("serai network-setup -f /tmp/net.conf; ex-vif one bridge=xenbr0")
    assert "xenbr0" in m.sh("ex-vif one")
    m.sh("(ex-console one >/tmp/said &); sleep 1; serai destroy one; sleep 1; grep -q load /tmp/said")


def test_example_of_events(guests):
    m = guests.machine
    m.sh("ex-events 4 >/tmp/events 2>&1 &")

    def step(said, then):
        m.wait_for(f"grep -q {said} /tmp/events", 60)
        m.sh(then)
    step("watching", "serai create -q -p /tmp/one.cfg")
    step("created", "serai rename one uno")
    step("renamed", "serai destroy uno")
    step("destroyed", "serai create -q -p /tmp/one.cfg")
    step("created.*one", "until ! pidof ex-events; do sleep 0.1; done")
    lines = [x.split() for x in m.sh("tail -n +2 /tmp/events").splitlines()]
    assert [x[0] for x in lines] == ["created", "renamed", "destroyed", "created"], lines
    assert lines[1][2:] == ["uno", "was", "one"]


def test_example_of_an_operation(guests):
    m = guests.machine
    text = m.sh("ex-operation /tmp/one.cfg")
    assert "100% done" in text and re.search(r"domain \d+$", text)
    guests.destroy("one")
    # Given up at once, the next one finds everything as it was.
    before = guests.resources()
    status, text = m.try_sh("ex-operation /tmp/one.cfg 0 2>&1")
    assert (status, "cancelled" in text) == (1, True), text
    assert guests.names() == []
    guests.wait(lambda: guests.unchanged(before), 10, "something is left of a cancelled create")
    assert m.sh("ls /run/serai/building /run/serai/domains | grep -c '^[0-9]' || true") == "0"


def test_an_interrupted_wait_leaves_the_guest(guests):
    guests.load("one", "idle")
    code = base64.b64encode(b"serai shutdown -w one & p=$!; sleep 1; kill -TERM $p; wait $p").decode()
    status, text = guests.machine.try_sh(f"echo {code} | base64 -d | sh 2>&1", 30)
    assert status == 1 and "cancelled" in text
    assert "one" in guests.names()
