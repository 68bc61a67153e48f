# SPDX-License-Identifier: BSD-2-Clause
"""Guests beside the control domain: life, isolation, and that everything comes back."""
import random

import pytest


@pytest.fixture(autouse=True)
def everything_comes_back(guests):
    """After each test the hypervisor has what it had before it."""
    before = guests.resources()
    yield
    guests.clean()
    guests.wait(lambda: guests.unchanged(before), 60,
                f"resources before {before}, after {guests.resources()}")
    assert guests.names() == []


def alive(guests, name="witness"):
    """A stock guest beside the one that misbehaves; still at work when checked."""
    guests.linux(name, "i=0; while :; do i=$((i+1)); echo beat $i; sleep 1; done")
    guests.wait_console(name, "beat 2")

    def check():
        last = int(guests.console(name).rsplit("beat ", 1)[1].split()[0])
        guests.wait_console(name, f"beat {last + 3}")
    return check


def test_life_of_a_stock_linux(guests):
    guests.linux("one", "echo cpus $(nproc); echo sum $(seq 1000 | sha256sum)", vcpus=2)
    assert "one" in guests.names()
    assert "cpus 2" in guests.wait_console("one", "cpus [0-9]")
    want = guests.machine.sh("seq 1000 | sha256sum").split()[0]
    assert want in guests.wait_console("one", "sum .")
    row = guests.rows()["one"]
    assert row["vcpus"] == 2 and row["memory_kb"] == 160 << 10
    guests.destroy("one")
    assert guests.names() == []


def test_pause_stops_and_unpause_goes_on(guests):
    guests.load("one", "spin")
    guests.wait_console("one", "load: up")
    guests.machine.sh("serai pause one")
    assert "paused" in guests.state("one")
    first = guests.cpu_seconds("one")
    guests.machine.sh("sleep 2")
    assert guests.cpu_seconds("one") - first < 0.1
    guests.machine.sh("serai unpause one")
    guests.wait(lambda: guests.cpu_seconds("one") > first + 0.5, 30, "it does not go on")


def test_created_paused_runs_after_unpause(guests):
    guests.load("one", "idle", paused=True)
    assert guests.cpu_seconds("one") < 0.1
    guests.machine.sh("serai unpause one")
    guests.wait_console("one", "load: up")


def test_three_linux_in_parallel(guests):
    for name in ("one", "two", "three"):
        guests.linux(name, f"echo sum-{name} $(seq 20000 | sha256sum)")
    want = guests.machine.sh("seq 20000 | sha256sum").split()[0]
    for name in ("one", "two", "three"):
        assert want in guests.wait_console(name, f"sum-{name}")


def test_power_off_ends_the_guest(guests):
    guests.linux("one", "poweroff -f")
    guests.wait_gone("one")


def test_a_panic_stays_inside(guests):
    check = alive(guests)
    guests.linux("one", "echo c >/proc/sysrq-trigger")
    guests.wait_state("one", "crash")
    check()


@pytest.mark.parametrize("behaviour", ["spin", "masked", "flood", "events"])
def test_a_busy_guest_leaves_room(guests, behaviour):
    check = alive(guests)
    guests.load("one", behaviour, cpus="1")
    guests.wait_console("one", "load: up")
    check()
    assert "one" in guests.names()


@pytest.mark.parametrize("behaviour", ["fault", "crash"])
def test_a_dying_guest_dies_alone(guests, behaviour):
    check = alive(guests)
    guests.load("one", behaviour)
    guests.wait_state("one", "crash")
    check()


def fuzz_round(guests, seconds):
    """One guest with a fresh seed, until it ends; whether it had tried much by then."""
    seed = random.getrandbits(32)
    print(f"seed={seed}")
    guests.create("fuzz", kernel="/boot/fuzz.elf", memory=64, vcpus=2,
                  extra=f"seed={seed} seconds={seconds} cpus=2")

    def state():
        return guests.rows().get("fuzz", {"state": "gone"})["state"]
    # It may have lost its clock, its console or its event channels, and then goes on for ever.
    guests.wait(lambda: state() == "gone" or "ended" in state(), 2 * seconds + 30, None)
    print(f"seed={seed}: {state()}")
    guests.clean(keep="witness")
    return "20000 steps" in guests.console("fuzz")


@pytest.mark.parametrize("rounds, seconds", [
    (2, 5), pytest.param(12, 20, marks=pytest.mark.long)])
def test_a_fuzzing_guest_harms_nobody(guests, rounds, seconds):
    """Random arguments to every hypercall from two vCPUs (tests/guests/pv_fuzz_hc.c)."""
    check = alive(guests)
    held = guests.resources()
    busy = 0
    for _ in range(rounds):
        busy += fuzz_round(guests, seconds)
        check()
        guests.wait(lambda: guests.unchanged(held), 60,
                    f"resources before {held}, after {guests.resources()}")
    assert busy > rounds / 2, "most guests ended before they had tried much"


def test_console_attaches_and_detaches(guests):
    guests.linux("one", "while read line; do echo \"heard $line\"; done")
    guests.wait_console("one", "guest: up")
    m = guests.machine
    m.send_command("serai console one </dev/hvc0")
    m.process.send("hello\r")
    m.expect("heard hello")
    m.process.send("\x1d")
    m.expect("@@end")
    m.sh("stty -echo -icrnl cols 200 </dev/hvc0")
    guests.wait_console("one", "heard hello")


def test_hundred_guests_come_and_go(guests):
    loop = ("for i in $(seq 100); do serai create /tmp/one.cfg && serai destroy one "
            "|| exit 1; done")
    guests.config("one", kernel="/boot/load.elf", memory=16, extra="idle")
    guests.machine.sh("serai create /tmp/one.cfg && serai destroy one")
    before = guests.resources()
    guests.machine.sh(loop, 900)
    guests.wait(lambda: guests.unchanged(before), 60,
                f"resources before {before}, after {guests.resources()}")
