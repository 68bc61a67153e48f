# SPDX-License-Identifier: BSD-2-Clause
"""How soon a guest that sleeps gets the CPU back from guests that burn it.

One CPU, where an instruction takes 8 ns: the emulator has no other CPU to turn to meanwhile, so
what a guest reads from its clock is Serai's delay alone.
"""
import re

MACHINE_CPUS = 1
MACHINE_OPTIONS = ("-icount", "shift=3,sleep=off")
BOUND_US = 1000


def test_a_sleeper_wakes_soon_beside_busy_guests(guests):
    for name in ("b1", "b2", "b3", "b4"):
        guests.load(name, "spin")
        guests.wait_console(name, "load: up")
    guests.load("sleeper", "wake", on_poweroff="preserve")
    line = guests.wait_console("sleeper", "wake max=")
    worst, mean = map(int, re.search(r"max=(\d+) mean=(\d+)", line).groups())
    assert worst < BOUND_US, line
    assert mean < BOUND_US / 10, line
