# SPDX-License-Identifier: BSD-2-Clause
"""Debian's own tools, unmodified, on Serai: xl, xenstore-*, xentop, oxenstored, libvirt."""
import base64
import json
import re

import pytest

from debian_host import (QUIET, baseline, debian_machine, everything_comes_back,  # noqa: F401
                         xenstore_tools)
from machine import CommandFailed

# Debian's hotplug scripts have fixed time limits, which a loaded machine exceeds in emulation.
pytestmark = [pytest.mark.long, pytest.mark.usefixtures("everything_comes_back")]

VIRSH = "virsh -q -c xen:///system"


@pytest.fixture(scope="module")
def host(load):
    with debian_machine("xl", load) as machine:
        yield machine


def test_the_host(host):
    info = dict(re.findall(r"^(\w+) *: (.*)$", host.sh("xl info -n"), re.M))
    assert info["nr_cpus"] == "2" and info["xen_version"] == "4.17-serai"
    assert info["xen_caps"].split() == ["xen-3.0-x86_64"] and info["free_cpus"] == "0"
    assert int(info["total_memory"]) > 2000 > int(info["free_memory"]) > 1000
    assert host.table("xl list")[0][:4] == ["Domain-0", "0", "768", "2"]
    assert [x[2] for x in host.table("xl vcpu-list")] == ["0", "1"]
    assert host.table("xl uptime")[0][0] == "Domain-0"
    assert host.table("xl claims")[0][-1] == "0"
    assert host.sh("xl domid Domain-0; xl domname 0").split() == ["0", "Domain-0"]
    assert host.sh("xentop -b -i 1").split("\n")[1].split()[:2] == ["Domain-0", "-----r"]
    assert "Domain-0" in host.type_into("xl top", ["q"])
    assert host.sh("xl dmesg | grep -c 'Serai, a hypervisor'") == "1"
    host.sh("xl debug-keys q; xl dmesg -c | grep 'd0: refs'; ! xl dmesg | grep .")
    assert "max" in host.sh("xl list -l")
    assert host.table("xl vm-list")[0][1:] == ["0", "Domain-0"]
    assert host.table("xl sharing")[0][-1] == "0"
    host.sh("xen-cpuid -p | grep 'PV Default policy'" if host.try_sh("which xen-cpuid")[0] == 0
            else "/usr/lib/xen-4.17/bin/xen-cpuid -p | grep 'PV Default policy'")


def test_what_the_host_has_not(host):
    """Each verb ends, says what is missing, and leaves things as they are."""
    assert "Flask XSM Disabled" in host.try_sh("xl getenforce")[1]
    assert host.sh("modprobe xen-pciback; xl pci-assignable-list") == ""
    assert host.table("xl pci-list 0") == []
    assert host.table("xl sched-rtds") == []
    for command in ("xl psr-hwinfo", "xl psr-cmt-show cache-occupancy", "xl set-parameters ept=1",
                    "xl setenforce 1", "xl loadpolicy /etc/hostname", "xl tmem-list", "xl nonsense"):
        status, said = host.try_sh(command)
        assert status != 0 and said, command


def test_balloon_of_the_control_domain(host):
    host.sh("xl mem-set 0 704")
    host.wait(lambda: host.table("xl list")[0][2] == "704", "no memory was given back")
    host.sh("xl mem-set 0 768")
    host.wait(lambda: host.table("xl list")[0][2] == "768", "no memory was taken back")


def test_a_small_guest(host):
    host.small("one", "busy", "-p")
    assert host.state("one") == "--p---" and host.names() == ["one"]
    host.sh("xl unpause one")
    host.wait_console("one", "load: up")
    host.sh("xl pause one")
    assert host.state("one") == "--p---"
    host.sh("xl unpause one; xl rename one two")
    assert host.names() == ["two"]
    number = host.sh("xl domid two")
    assert host.sh(f"xl domname {number}") == "two"
    assert host.table("xl uptime two")[0][:2] == ["two", number]
    host.sh("xl mem-max two 20; xl list -l two | grep '\"max_memkb\": 20480'")
    assert host.sh("xenstore-read $(xenstore-read /local/domain/"
                   f"{number}/vm)/uuid") in host.sh("xl list -v two")
    assert host.table("xl list -n two")[0][:2] == ["two", number]
    assert host.table("xl list -c two")[0][-1] == "Pool-0"
    host.sh("xl destroy two")
    assert host.names() == []


def test_scheduling(host):
    host.small("one", "busy", cpus="1", cpus_soft="0", cpu_weight=300, cap=20)
    assert host.table("xl vcpu-list one")[0][-3:] == ["1", "/", "0"]
    assert host.table("xl sched-credit2 -d one")[0][2:] == ["300", "20"]
    host.sh("xl destroy one")
    host.small("one", "busy", vcpus=2)
    host.sh("xl sched-credit2 -d one -w 512 -c 40")
    assert host.table("xl sched-credit2 -d one")[0][2:] == ["512", "40"]
    assert "ratelimit=2000us" in host.sh("xl sched-credit2 -s -r 2000; xl sched-credit2 -s")
    host.sh("xl vcpu-pin one 0 1; xl vcpu-pin one 1 all 0")
    rows = host.table("xl vcpu-list one")
    assert rows[0][-3:] == ["1", "/", "all"] and rows[1][-3:] == ["all", "/", "0"]
    assert rows[0][3] == "1"
    with pytest.raises(CommandFailed):
        host.sh("xl vcpu-pin one 0 7")


def test_cpu_pools(host):
    host.sh("xl cpupool-create 'name=\"fast\"' 'sched=\"credit\"' 'cpus=[]'")
    host.sh("xl cpupool-cpu-remove Pool-0 1; xl cpupool-cpu-add fast 1")
    assert host.table("xl cpupool-list -c") == [["Pool-0", "0"], ["fast", "1"]]
    host.small("one", "busy", pool="fast")
    host.wait(lambda: host.table("xl vcpu-list one")[0][3] == "1", "it is not in its pool")
    assert {x[3] for x in host.table("xl vcpu-list Domain-0")} == {"0"}
    host.sh("xl sched-credit -d one -w 300 -c 50; xl sched-credit -s -p fast -t 5 -r 500")
    assert "tslice=5ms ratelimit=500us" in host.sh("xl sched-credit -s -p fast")
    with pytest.raises(CommandFailed):
        host.sh("xl cpupool-destroy fast")      # it has a domain
    host.try_sh("xl cpupool-cpu-remove Pool-0 0")   # the control domain's last
    assert host.table("xl cpupool-list -c")[0] == ["Pool-0", "0"]
    host.sh("xl cpupool-migrate one Pool-0; xl cpupool-rename fast slow")
    host.wait(lambda: host.table("xl vcpu-list one")[0][3] == "0", "it did not change pools")
    host.sh("xl cpupool-destroy slow; xl cpupool-cpu-add Pool-0 1")
    assert host.table("xl cpupool-list") == [["Pool-0", "2", "credit2", "y", "2"]]


def test_life_of_a_linux(host):
    host.linux("one", "while read line; do echo got $line cpus $(nproc); done", vcpus=2)
    host.wait_console("one", "guest: up on 2")
    # The last key is the one that leaves: control and ].
    assert "got hello cpus 2" in host.type_into("xl console one", ["hello\\n", "\\035"])
    host.sh("xl sysrq one h; xl trigger one nmi 0")
    host.wait_console("one", "sysrq: HELP")
    host.wait_console("one", "NMI")
    assert host.state("one") in ("-b----", "r-----")
    lines = host.console_lines("one")
    host.sh("xl reboot one")
    host.wait_console("one", "guest: up", 240, after=lines)
    host.wait(lambda: host.names() == ["one"], "it is not alone after the reboot")
    host.sh("xl shutdown -a -w", 240)
    host.wait(lambda: host.names() == [], "it did not go")


def test_what_a_guest_does_at_its_end(host):
    """on_* of a guest's configuration, carried out by Debian's `xl create` that stays behind."""
    host.small("one", "poweroff", on_poweroff="preserve")
    host.wait(lambda: host.state("one")[3] == "s", "it did not stop")
    host.small("two", "crash", on_crash="preserve")
    host.wait(lambda: host.state("two")[3:5] == "sc", "it did not crash")
    host.sh("mkdir -p /var/lib/xen/dump")       # Debian's packages leave that to the administrator
    host.linux("three", "echo c >/proc/sysrq-trigger", on_crash="coredump-destroy", memory=96)
    host.sh("while pgrep -f 'create.*three' >/dev/null; do sleep 1; done;"
            "grep 'dumping core' /var/log/xen/xl-three.log", 400)
    assert host.names() == ["one", "two"]
    assert host.sh("head -c 4 /var/lib/xen/dump/*three* | tail -c 3") == "ELF"
    host.small("four", "watchdog", on_watchdog="destroy")
    host.wait(lambda: host.names() == ["one", "two"], "the fourth stayed")
    host.sh("xl destroy one; xl destroy two; rm /var/lib/xen/dump/*")


def test_save_and_restore(host):
    host.linux("one", "i=0; while :; do i=$((i+1)); echo beat $i cpus $(nproc) end; sleep 1; done",
               vcpus=2)

    def beat(after=0):
        return int(host.wait_console("one", "beat .* cpus 2 end", after=after).split()[1])
    first = beat()
    lines = host.console_lines("one")
    host.sh("xl dump-core one /tmp/one.core", 240)
    assert host.sh("head -c 4 /tmp/one.core | od -An -tx1; rm /tmp/one.core") == "7f 45 4c 46"
    host.sh("xl save -c one /tmp/one.save", 240)        # it goes on
    second = beat(lines)
    assert second > first and host.names() == ["one"]
    host.wait(lambda: beat(lines) > second, "it was not resumed")
    lines = host.console_lines("one")
    host.sh("xl save one /tmp/one.save", 240)
    assert host.names() == []
    host.sh("xl restore /tmp/one.save; rm /tmp/one.save", 240)
    third = beat(lines)
    assert second <= third < second + 200 and host.names() == ["one"]
    host.wait(lambda: beat(lines) > third, "its time stands still")
    host.sh("xl shutdown -w one", 240)
    status, said = host.try_sh("xl restore /etc/passwd")
    assert status != 0 and "magic" in said and host.names() == []


def test_cpus_and_memory_of_a_linux(host):
    # The loop over cpu*/online is what udev does when the kernel finds another CPU.
    host.linux("one", "i=0; while :; do i=$((i+1)); "
               "for c in /sys/devices/system/cpu/cpu[1-9]/online; do echo 1 >$c; done; "
               "echo beat $i cpus $(nproc) kb $(awk '/MemTotal/{print $2}' /proc/meminfo); "
               "sleep 1; done 2>/dev/null", vcpus=1, maxvcpus=2, maxmem=192)

    def beat():
        """The newest line: CPUs and memory in KiB."""
        words = host.wait_console("one", "beat .* kb [0-9]").split()
        return int(words[3]), int(words[5])
    assert beat()[0] == 1
    host.sh("xl vcpu-set one 2")
    host.wait(lambda: beat()[0] == 2, "no second CPU")
    assert [x[4][2] for x in host.table("xl vcpu-list one")] != ["p", "p"]
    host.sh("xl vcpu-set one 1")
    host.wait(lambda: beat()[0] == 1, "the second CPU stayed")
    assert host.table("xl vcpu-list one")[1][4] == "--p"
    before = beat()[1]
    host.sh("xl mem-set one 128")
    host.wait(lambda: beat()[1] < before - 30000, "the balloon did not grow")
    assert host.table("xl list one")[0][2] == "128"
    host.sh("xl mem-set one 192")
    host.wait(lambda: host.table("xl list one")[0][2] == "192", "the balloon did not shrink")
    with pytest.raises(CommandFailed):
        host.sh("xl mem-set one 400")       # more than maxmem
    host.sh("xl mem-max one 200; xl list -l one | grep '\"max_memkb\": 204800'")


def test_devices_of_a_linux(host):
    host.sh("truncate -s 4M /tmp/one /tmp/two; echo first-disk | dd of=/tmp/one conv=notrunc;"
            "losetup /dev/loop0 /tmp/one; losetup /dev/loop1 /tmp/two")
    host.linux("one", "head -n 1 /dev/xvda; echo kept-on-disk | dd of=/dev/xvda conv=fsync;"
               "ip addr add 10.77.0.2/24 dev eth0; ip link set eth0 up; echo ready;"
               "while :; do sleep 1; echo have $(cd /sys/class/block; echo xvd*)"
               "   $(cd /sys/class/net; echo eth*) end; done",
               disk=["phy:/dev/loop0,xvda,w"], vif=["mac=00:16:3e:00:00:01,bridge=xenbr0"])
    host.wait_console("one", "first-disk")
    host.wait_console("one", "ready")
    assert host.table("xl block-list one")[0][3] == "4"
    assert host.table("xl network-list one")[0][2] == "00:16:3e:00:00:01"
    host.wait_for("ping -c 1 -W 1 10.77.0.2")
    host.sh("xl block-attach one phy:/dev/loop1 xvdb r")
    host.wait(lambda: [x[3] for x in host.table("xl block-list one")] == ["4", "4"],
              "no second disk")
    host.wait_console("one", "have xvda xvdb eth0 end")
    host.sh("xl network-attach one bridge=xenbr0")
    assert len(host.table("xl network-list one")) == 2
    host.wait_console("one", "have xvda xvdb eth0 eth1 end")
    host.sh("xl block-detach one xvdb; xl network-detach one 1")
    assert len(host.table("xl block-list one")) == len(host.table("xl network-list one")) == 1
    lines = host.console_lines("one")
    host.sh("xl reboot one")                # its devices are taken away and given again
    host.wait_console("one", "kept-on-disk", 240, after=lines)
    host.wait_console("one", "have xvda eth0 end", after=lines)
    host.wait_for("ping -c 1 -W 1 10.77.0.2")
    host.sh("xl destroy one; losetup -d /dev/loop0; losetup -d /dev/loop1")
    host.wait(lambda: "vif" not in host.sh("ip -o link"), "its interface stayed")


def test_the_kernel_as_debian_packs_it(host):
    host.linux("one", "cd /proc; echo aes $(grep -c ' aes ' cpuinfo) sse2 $(grep -c sse2 cpuinfo);"
               "echo sum $(seq 1000 | sha256sum)", kernel="/boot/vmlinuz", cpuid="host,aes=0")
    want = host.sh("seq 1000 | sha256sum").split()[0]
    assert want in host.wait_console("one", "sum .")
    assert host.wait_console("one", "aes .") == "aes 0 sse2 1"
    ids = [x["id"] for x in json.loads(host.sh("serai list --json"))]
    assert ids == [0, int(host.sh("xl domid one"))], "the other toolstack does not see it"


def test_what_cannot_be(host):
    for keys in ({"kernel": "/boot/none"}, {"memory": 90000}, {"kernel": "/etc/passwd"},
                 {"vcpus": 2, "cpus": "7"}, {"pool": "none"}, {"pci": ["00:1f.2"]}):
        with pytest.raises(CommandFailed):
            host.small("bad", **keys)
        assert host.names() == []
    host.small("one")
    with pytest.raises(CommandFailed):
        host.small("one")
    assert host.names() == ["one"]


def test_xenstore_tools(host):
    xenstore_tools(host)


def guests_of_serai(host):
    """{name: state} as `serai list` shows them."""
    return {x["name"]: x["state"] for x in json.loads(host.sh("serai list --json")) if x["id"]}


def test_both_toolstacks(host):
    host.small("theirs", "busy")
    path = host.config("ours", kernel="/boot/load.elf", memory=16, extra="busy")
    host.sh(f"serai create {path}")
    assert sorted(host.names()) == sorted(guests_of_serai(host)) == ["ours", "theirs"]
    host.sh("serai pause theirs; xl pause ours")
    assert host.state("theirs") == host.state("ours") == "--p---"
    assert set(guests_of_serai(host).values()) == {"paused"}
    host.sh("serai unpause theirs; xl unpause ours; serai vcpu-pin theirs 0 1; xl vcpu-pin ours 0 0;"
            "xl sched-credit2 -d ours -w 300; serai sched-credit2 -d theirs -w 400")
    assert [x[-3] for x in host.table("xl vcpu-list ours theirs")] == ["0", "1"]
    assert host.table("xl sched-credit2 -d theirs")[0][2] == "400"
    for command in (f"serai create {path}", f"xl create -q {path}"):
        with pytest.raises(CommandFailed):
            host.sh(command)            # the name is taken
    host.sh("serai destroy theirs; xl destroy ours")
    assert host.names() == [] and guests_of_serai(host) == {}


def test_serai_stops_a_linux_of_xl(host):
    host.linux("one", "echo up")
    host.wait_console("one", "up")
    host.sh("serai mem-set one 140")
    host.wait(lambda: host.table("xl list one")[0][2] == "140", "the balloon did not grow")
    host.sh("serai shutdown -w one", 240)
    host.wait(lambda: host.names() == [], "it did not go")


XML = """<domain type='xen'><name>{name}</name><memory unit='MiB'>160</memory>
<vcpu current='1'>2</vcpu><os><type arch='x86_64' machine='xenpv'>linux</type>
<kernel>/boot/vmlinux</kernel><initrd>/boot/guest.img</initrd>
<cmdline>{options}</cmdline></os><on_reboot>restart</on_reboot>
<devices><disk type='block' device='disk'><driver name='phy'/><source dev='/dev/loop0'/>
<target dev='xvda' bus='xen'/></disk>
<console type='pty'><target type='xen' port='0'/></console></devices></domain>"""


def test_libvirt(host):
    code = base64.b64encode(b"head -n 1 /dev/xvda; "
                            b"while read line; do echo got $line; done").decode()
    xml = XML.format(name="virt", options=f"{QUIET} do={code}")
    host.sh("truncate -s 1M /tmp/one; echo first-disk | dd of=/tmp/one conv=notrunc;"
            "losetup /dev/loop0 /tmp/one; libvirtd -d")
    host.sh(f"echo {base64.b64encode(xml.encode()).decode()} | base64 -d >/root/virt.xml")
    host.wait_for(f"{VIRSH} version | grep 'Xen 4.17.0'", 60)
    host.sh(f"{VIRSH} define /root/virt.xml; {VIRSH} list --all | grep 'shut off'")
    host.sh(f"{VIRSH} start virt", 300)
    host.wait_console("virt", "first-disk")
    info = dict(re.findall(r"^(.*?): +(.*)$", host.sh(f"{VIRSH} dominfo virt"), re.M))
    assert info["Used memory"] == "163840 KiB" and info["CPU(s)"] == "1"
    assert host.names() == ["virt"]
    assert "got hello" in host.type_into(f"{VIRSH} console virt", ["hello\\n", "\\035"])
    host.sh(f"{VIRSH} suspend virt")
    assert host.sh(f"{VIRSH} domstate virt") == "paused"
    host.sh(f"{VIRSH} resume virt; {VIRSH} vcpupin virt 0 1")
    host.sh(f"{VIRSH} schedinfo virt --set weight=300")
    assert host.table("xl sched-credit2 -d virt")[0][2:] == ["300", "0"]
    host.sh(f"{VIRSH} setmem virt 140M --live; {VIRSH} setvcpus virt 2 --live")
    host.wait(lambda: host.table("xl list virt")[0][2] == "140", "the balloon did not grow")
    assert host.sh(f"{VIRSH} vcpucount virt --live --current") == "2"
    host.sh(f"{VIRSH} shutdown virt")
    host.wait_for(f"{VIRSH} domstate virt | grep 'shut off'", 120)
    host.sh(f"{VIRSH} start --paused virt; {VIRSH} destroy virt; {VIRSH} undefine virt", 300)
    host.sh("kill $(cat /var/run/libvirtd.pid); losetup -d /dev/loop0")
