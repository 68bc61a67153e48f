# SPDX-License-Identifier: BSD-2-Clause
"""The rate limit of a guest's card, on a machine whose clocks are made of executed instructions: they
stand still while the computer below is late, so that nothing but the limit bounds what goes through."""
import pytest

from net_guests import A, B, FRAME, HOST, PAYLOAD, host, iperf, mbits, two_guests

# 1000 million instructions in a second; a second in which nothing is to be done takes no time.
CLOCK = ("-icount", "shift=0,sleep=off")
SECONDS = 6


@pytest.fixture(scope="module")
def both(vmlinux):
    with two_guests("net_rate", vmlinux, CLOCK) as m:
        yield m


def rate(m, receiver, seconds=SECONDS):
    """Mbit/s of whole frames that come from a, by the receiver's clock."""
    command = f"/usr/local/sbin/received {A} {seconds}"
    text = host(m, command, 600) if receiver == HOST else m.run("b", command, 600)
    received, took = map(float, text.split())
    assert took > seconds - 0.5
    return mbits(received * FRAME / PAYLOAD, took)


@pytest.mark.long
@pytest.mark.parametrize("receiver", [B, HOST], ids=["guest", "control"])
def test_limit_holds(both, receiver):
    """Within 3 %, one limit after another while the card is in use; other directions have none."""
    m = both
    m.sh("serai network-rate a 0 none")
    free = rate(m, receiver, 2)
    assert free > 130, "without a limit it is hardly faster: this would show nothing"
    seen = {}
    for mbit in 10, 100:
        m.sh(f"serai network-rate a 0 {mbit}Mb/s")
        seen[mbit] = rate(m, receiver)
    back = mbits(*iperf(m, "a", receiver, 2, "-R"))
    print(f"Mbit/s to {receiver}: {seen}; without limit {free:.0f}; what a receives {back:.0f}")
    for mbit, got in seen.items():
        assert 0.97 * mbit < got < 1.03 * mbit, seen
    assert back > 130, "what a receives is held back"
