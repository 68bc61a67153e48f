# SPDX-License-Identifier: BSD-2-Clause
"""Micro guests (build/guests/pv_*.elf) as control domain: each prints TAP, see guests/run."""
import glob
import os
import subprocess

import pytest

from machine import BUILD, LOGS, ROOT

GUESTS = sorted(os.path.basename(x)[:-4]
                for x in glob.glob(os.path.join(BUILD, "guests", "pv_*.elf")))


def test_there_are_micro_guests():
    assert GUESTS, "none built in build/guests"


@pytest.mark.parametrize("name", GUESTS)
def test_micro_guest(name):
    run = subprocess.run([os.path.join(ROOT, "tests", "guests", "run"), "-t", "300", name],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         errors="replace")
    os.makedirs(LOGS, exist_ok=True)
    with open(os.path.join(LOGS, f"micro-{name}.log"), "w", encoding="utf-8") as f:
        f.write(run.stdout)
    bad = [x for x in run.stdout.split("\n") if x.startswith(("not ok", "Bail out!", "# "))]
    assert run.returncode == 0, "\n".join(bad[-20:])
