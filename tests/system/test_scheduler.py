# SPDX-License-Identifier: BSD-2-Clause
"""CPU shares: weights and caps."""
import json
import re

SECONDS = 20
# An instruction takes 8 ns on each emulated CPU, whatever else the host does.
MACHINE_OPTIONS = ("-icount", "shift=3,sleep=off")


def busy(guests, **weights):
    """Guests that burn CPU 1 with these weights, all running."""
    for name, weight in weights.items():
        guests.load(name, "spin", cpus="1", cpu_weight=weight)
    for name in weights:
        guests.wait_console(name, "load: up")


def used(guests, names, seconds=SECONDS):
    """CPU seconds that each used meanwhile, and the time that passed in the machine."""
    look = "cut -d' ' -f1 /proc/uptime; serai list --json"
    text = guests.machine.sh(f"{look}; sleep {seconds}; {look}", seconds + 120)
    samples = re.findall(r"(\d+\.\d+)\s*\n(\[.*?\n?\])\s*(?=\n\d|\Z)", text, re.S)
    (t0, first), (t1, second) = [
        (float(t), {d["name"]: d["cpu_ns"] / 1e9 for d in json.loads(j)}) for t, j in samples]
    return [second[n] - first[n] for n in names], t1 - t0


def test_weights(guests):
    weights = {"w1": 128, "w2": 256, "w4": 512, "w8": 1024}
    busy(guests, **weights)
    times, passed = used(guests, weights)
    total = sum(times)
    assert total > 0.9 * passed, "the CPU was not fully used"
    for name, weight, got in zip(weights, weights.values(), times):
        want = weight / sum(weights.values())
        assert abs(got / total - want) <= 0.03 * want + 0.001, (
            f"{name}: {got / total:.4f} of the time, weight says {want:.4f}")


def test_cap(guests):
    guests.load("capped", "spin", cpus="1", cap=25)
    guests.wait_console("capped", "load: up")
    (got,), passed = used(guests, ["capped"])
    assert abs(got / passed - 0.25) <= 0.02


def test_idle_guests_cost_nothing(guests):
    for name in ("i1", "i2"):
        guests.load(name, "idle")
        guests.wait_console(name, "load: up")
    times, _ = used(guests, ["i1", "i2"], 5)
    assert max(times) < 0.1


def test_control_domain_answers_beside_busy_guests(guests):
    busy(guests, b1=256, b2=256)
    guests.load("b3", "spin")
    guests.load("b4", "spin")
    for _ in range(10):
        assert guests.machine.sh("echo here", 20) == "here"
