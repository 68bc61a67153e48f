# SPDX-License-Identifier: BSD-2-Clause
"""Many guests at once and many after one another, and that everything comes back."""
import time

import pytest

from machine import Machine
from workers import Workers, files


@pytest.fixture(scope="module")
def scale(request):
    memory, control = ("5G", 1536) if request.config.getoption("--long") else ("2G", 640)
    tree = files()
    with Machine("scale", files=tree, memory=memory,
                 options=f"dom0_mem={control}M") as machine:
        machine.boot()
        workers = Workers(machine)
        workers.prepare()
        yield workers
        machine.power_off()


def at_once(workers, count, parallel, timeout):
    """That many guests, all at work at the same time; then none."""
    def step(name):
        print(f"{name}: {time.monotonic() - step.start:.1f} s")
        step.start = time.monotonic()
    step.start = time.monotonic()
    # The more there are, the less each does.
    pace = f"every={50 * count} pause={100 * count} store={100 * count}"
    workers.many(1, count, parallel, pace + (" silent" if count > 50 else ""), timeout)
    step(f"made {count}")
    workers.wait_working(count, timeout)
    step("all at work")
    assert len(workers.rows()) == count
    step("listed")
    print(workers.machine.sh("counts; for name in stored consoled blkd lifed; do echo $name "
                             "$(grep VmRSS /proc/$(pidof $name)/status); done", 300))
    step("counted")
    assert workers.complaints() == ""
    names = " ".join(f"w{n}" for n in range(1, count // 2 + 1))
    workers.machine.sh(f"serai shutdown {names}", timeout)
    workers.wait(lambda: len(workers.rows()) == count - count // 2, timeout, "they do not end")
    step("half ended when asked")
    workers.machine.sh("seq %d %d | xargs -P 4 -I{} serai destroy w{}" % (count // 2 + 1, count),
                       timeout)
    step("half destroyed")


def cycles(workers, count, lanes, timeout):
    start = time.monotonic()
    lane = " & ".join(f"worker-cycle w{n} {count // lanes}" for n in range(1, lanes + 1))
    out = workers.machine.sh(f"{lane} & wait", timeout)
    print(f"{count} cycles: {time.monotonic() - start:.1f} s")
    assert out == "", out


def first(workers):
    """What comes with the first guests and stays for all."""
    workers.many(1, 6, 3, "pause=1000")
    workers.wait_working(6, 120)
    workers.shut_down(6)


# The table of the control domain's event channels grows with the most that it ever had.
GROWS = ("heap bytes",)


def test_some_at_once_and_after_one_another(scale):
    first(scale)
    before = scale.counts()
    at_once(scale, 12, 4, 120)
    scale.wait_counts(before, 60, GROWS)
    before = scale.counts()
    cycles(scale, 20, 2, 120)
    scale.wait_counts(before, 60)


@pytest.mark.long
def test_two_hundred_at_once(scale):
    at_once(scale, 200, 8, 1800)
    before = scale.counts()
    at_once(scale, 200, 8, 1800)
    scale.wait_counts(before, 120)


@pytest.mark.long
def test_a_thousand_cycles(scale):
    first(scale)
    before = scale.counts()
    cycles(scale, 1000, 2, 3600)
    scale.wait_counts(before, 120)
