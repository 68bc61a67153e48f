# SPDX-License-Identifier: BSD-2-Clause
"""A machine of two nodes, whose border lies inside a GiB, with threads, cores and sockets: it is
reported as it is, and guests' memory comes from where it is wanted."""
import json

import pytest

from guests import Guests
from machine import Machine

MIB_PAGES = 256
NODES = ["-smp", "8,sockets=2,cores=2,threads=2",
         "-object", "memory-backend-ram,id=a,size=1280M",
         "-object", "memory-backend-ram,id=b,size=1792M",
         "-numa", "node,nodeid=0,memdev=a,cpus=0-3",
         "-numa", "node,nodeid=1,memdev=b,cpus=4-7", "-numa", "dist,src=0,dst=1,val=21"]


@pytest.fixture(scope="module")
def host(vmlinux, load):
    files = {"boot/vmlinux": vmlinux, "boot/load.elf": load}
    with Machine("numa", memory="3G", cpus=8, qemu=NODES, files=files,
                 options="dom0_mem=512M dom0_max_vcpus=1 dom0_vcpus_pin") as machine:
        machine.boot()
        yield machine
        machine.power_off()


def free_pages(host):
    """Of each node."""
    info = json.loads(host.sh("serai info --numa --json"))
    return [node["free_kb"] // 4 for node in info["numa_nodes"]]


def test_told_as_it_is(host):
    info = json.loads(host.sh("serai info --numa --json"))
    assert [(c["core"], c["socket"], c["node"]) for c in info["cpu_topology"]] == [
        (0, 0, 0), (0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 1, 1), (0, 1, 1), (1, 1, 1), (1, 1, 1)]
    assert (info["threads_per_core"], info["cores_per_socket"]) == (2, 2)
    assert [n["distances"] for n in info["numa_nodes"]] == [[10, 21], [21, 10]]
    sizes = [n["total_kb"] >> 10 for n in info["numa_nodes"]]
    assert abs(sizes[0] - 1280) <= 1 and abs(sizes[1] - 1792) <= 1


def test_a_guest_is_on_one_node(host):
    guests = Guests(host)
    before = free_pages(host)
    guests.load("near", "idle", memory=600, vcpus=2)
    taken = [b - now for b, now in zip(before, free_pages(host))]
    home = max((0, 1), key=lambda node: before[node])
    assert taken[home] >= 590 * MIB_PAGES, taken
    assert taken[1 - home] < 10 * MIB_PAGES, taken
    soft = {v["soft_affinity"] for v in json.loads(host.sh("serai vcpu-list --json near"))}
    assert soft == {["0-3", "4-7"][home]}
    # The next one fits better into the other.
    guests.load("far", "idle", memory=700)
    taken = [b - now for b, now in zip(before, free_pages(host))]
    assert taken[1 - home] >= 690 * MIB_PAGES, taken
    guests.destroy("near")
    guests.destroy("far")
    host.wait_for("[ $(serai list | wc -l) = 2 ]", 30)
    assert all(abs(b - now) < 64 for b, now in zip(before, free_pages(host)))


def test_a_guest_larger_than_a_node(host):
    guests = Guests(host)
    before = free_pages(host)
    guests.load("large", "idle", memory=1600)
    taken = [b - now for b, now in zip(before, free_pages(host))]
    assert sum(taken) >= 1590 * MIB_PAGES and min(taken) > 100 * MIB_PAGES, taken
    guests.destroy("large")


def test_idle_cores_come_before_idle_threads(host):
    guests = Guests(host)
    guests.load("busy", "spin", paused=True, cpus="4-7")
    guests.load("beside", "idle", paused=True, cpus="4-7")
    listed = host.sh("serai unpause busy; serai unpause beside; serai vcpu-list --json; "
                     "serai destroy busy", 300)
    guests.destroy("beside")
    cores = {v["name"]: v["cpu"] // 2 for v in json.loads(listed)}
    assert {cores["busy"], cores["beside"]} == {2, 3}
