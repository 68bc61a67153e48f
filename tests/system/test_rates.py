# SPDX-License-Identifier: BSD-2-Clause
"""Rate limits of guests' cards and disks, on a machine whose clocks are made of executed
instructions: they stand still while the computer below is late, so that nothing but the limit
bounds what goes through."""
import pytest

from net_guests import A, B, FRAME, HOST, PAYLOAD, host, iperf, mbits, two_guests

SHIFT = 2                       # 250 million instructions in a second
SECONDS = 5
DISK = "/tmp/disk"              # in the control domain's memory: nothing that takes real time


@pytest.fixture(scope="module")
def both(vmlinux):
    with two_guests("rates", vmlinux, SHIFT) as m:
        yield m


def near(limit):
    return pytest.approx(limit, rel=0.03)


def rate(m, receiver, seconds=SECONDS):
    """Mbit/s of whole frames that come from a, by the receiver's clock."""
    command = f"/usr/local/sbin/received {A} {seconds}"
    text = host(m, command, 600) if receiver == HOST else m.run("b", command, 600)
    received, took = map(float, text.split())
    assert took > seconds - 0.5
    return mbits(received * FRAME / PAYLOAD, took)


@pytest.mark.long
@pytest.mark.parametrize("receiver", [B, HOST], ids=["guest", "control"])
def test_card(both, receiver):
    """One limit after another while the card is in use; the other direction has none."""
    m = both
    m.sh("serai network-rate a 0 none")
    free = rate(m, receiver, 1)
    assert free > 200, "without a limit it is hardly faster: this would show nothing"
    seen = {}
    for mbit in 10, 100:
        m.sh(f"serai network-rate a 0 {mbit}Mb/s")
        seen[mbit] = rate(m, receiver)
    back = mbits(*iperf(m, "a", receiver, 1, "-R"))
    print(f"Mbit/s to {receiver}: {seen}; without limit {free:.0f}; what a receives {back:.0f}")
    for mbit, got in seen.items():
        assert got == near(mbit), seen
    assert back > 200, "what a receives is held back"


def transferred(m, mode, block, seconds=SECONDS):
    """What a reads or writes on its disk: (bytes, requests) in a second, without the first."""
    fields = "7,8" if mode == "randread" else "48,49"
    text = m.run("a", f"cd /tmp && fio --minimal --name=rate --filename=/dev/xvdb --rw={mode} "
                      f"--bs={block} --size=64M --ioengine=libaio --direct=1 --iodepth=8 "
                      f"--time_based --ramp_time=1 --runtime={seconds} | cut -d';' -f{fields}", 600)
    kib, requests = map(float, text.split(";"))
    return kib * 1024, requests


@pytest.mark.long
@pytest.mark.parametrize("mode, limits", [("randread", [(20e6, None), (None, 200)]),
                                          ("randwrite", [(None, 1000), (4e6, 2000)])],
                         ids=["reads", "writes"])
def test_disk(both, mode, limits):
    """Of bytes, of requests, of both and of neither, changed while the guest has the disk."""
    m = both
    m.sh(f"truncate -s 64M {DISK}")
    m.attach("a", f"vdev=xvdb,access=rw,rate=4MB/s,target={DISK}")
    seen = [(4e6, None, transferred(m, mode, "16k"))]
    for number, requests in limits:
        text = "none" if number is None else f"{number:.0f}B/s"
        m.sh(f"serai block-rate a xvdb {text} {requests or ''}")
        seen.append((number, requests, transferred(m, mode, "16k")))
    m.sh("serai block-rate a xvdb none")
    free = transferred(m, mode, "16k", 1)
    m.sh(f"serai block-detach a xvdb; rm {DISK}", 60)
    print(f"{mode} (limits, bytes and requests in a second): {seen}; without limit {free}")
    for number, requests, got in seen:
        assert got[0] == near(number) if number else got[1] == near(requests), seen
    assert free[0] > 40e6, "without a limit it is hardly faster: this would show nothing"
