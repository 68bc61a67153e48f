# SPDX-License-Identifier: BSD-2-Clause
"""Every command in the documents works as it is written.  The blocks marked "sh" (docs_blocks.py
has the marks) are run in a control domain here, chapter by chapter, in their order, with the
configurations around them; chapters may build on what those before them have written to files.  A
block that nobody runs is a failure."""
import os
import re

import pytest

from docs_blocks import COMMANDS, DOCUMENTS, OTHERS, blocks, fenced, indented, literal
from machine import BUILD, HERE, ROOT, Console, Machine

# Which test runs the commands of a document, by their mark.
RUNNERS = {
    ("README.md", "sh tree"): "test_docs.py",
    ("docs/getting-started.md", "sh tree"): "test_docs.py",
    ("docs/getting-started.md", "sh"): "test_docs.py",
    ("docs/toolstack.md", "sh"): "test_docs.py",
    ("docs/toolstack.md", "sh link"): "test_install.py",
    ("docs/storage.md", "sh"): "test_docs.py",
    ("docs/networking.md", "sh"): "test_docs.py",
    ("docs/networking.md", "sh guest"): "test_net_host.py",
    ("docs/networking.md", "conf"): "test_docs.py",
    ("docs/moving-from-xl.md", "sh xl"): "test_libvirt.py",
    ("docs/moving-from-xl.md", "grub"): "debian_host.py",
}
# Not, or not all of it, run by a test yet (test_package.py runs the first three of the former).
UNTRIED = {("docs/getting-started.md", "sh debian"), ("docs/getting-started.md", "grub")}
# The same for the literal blocks of manual pages.
PAGES = {
    "libserai.3": "test_install.py",
    "serai.1": "test_docs.py",
    "serai.cfg.5": "test_docs.py",
    "serai-network.conf.5": "test_docs.py",
}
# Commands that are tests, or whose result is: where, and how they stand there.
TREE = {
    "./check": ("test_docs.py", "def test_"),
    "./demo": ("test_demo.py", '"./demo"'),
    "./demo --iso": ("test_demo.py", '"./demo", "--iso"'),
    "make deb": ("../../scripts/demo-image", "packaging/deb"),
}
NEEDED = {    # by the lines of configurations in a chapter
    "docs/storage.md": "mkdir -p /var/lib/images /dev/vg0\n"
                       "truncate -s 8M /var/lib/images/web.img /var/lib/images/debian.iso /tmp/data\n"
                       "ln -s $(losetup -f) /dev/vg0/data; losetup /dev/vg0/data /tmp/data\n",
}


def test_every_block_is_run_by_a_test():
    for path in DOCUMENTS:
        if path == "docs/moving-from-xl.md":
            continue
        assert not indented(path), f"{path}: code without a fence that says what it is"
        for mark, text in fenced(path):
            kind = "cfg" if mark.startswith("cfg ") else mark
            assert kind in COMMANDS | OTHERS, f"{path}: ```{mark}\n{text}"
            if kind in COMMANDS | {"grub", "conf"}:
                assert (path, kind) in RUNNERS.keys() | UNTRIED, f"{path}: nobody runs\n{text}"
    for (path, kind), test in RUNNERS.items():
        assert blocks(path, kind), f"{path} has no {kind}"
        with open(os.path.join(HERE, test), encoding="utf-8") as f:
            assert f'"{kind}"' in f.read(), f"{test} does not look for {kind}"
    for page in os.listdir(f"{ROOT}/docs/man"):
        assert (page in PAGES) == bool(literal(page)), f"{page}: examples that nobody runs"


def test_commands_in_the_tree_are_run_by_tests():
    for path in ("README.md", "docs/getting-started.md"):
        for _, text, _ in blocks(path, "sh tree"):
            if text.startswith("qemu-system"):
                continue        # below
            for line in text.splitlines():
                command = line.split("#")[0].strip()
                if command:
                    test, words = TREE[command]
                    with open(os.path.join(HERE, test), encoding="utf-8") as f:
                        assert words in f.read(), f"{test} does not run {command}"


@pytest.mark.long
def test_by_hand(tmp_path):
    """The emulator's command line boots to a shell."""
    (_, text, _), = [b for b in blocks("docs/getting-started.md", "sh tree")
                     if b[1].startswith("qemu-system")]
    (tmp_path / "build").symlink_to(os.path.abspath(BUILD))
    process = Console("sh", ["-c", "exec " + text], cwd=tmp_path, encoding="utf-8", echo=False,
                      codec_errors="replace", timeout=240)
    try:
        process.expect("serai# ")
        process.sendline("echo seen-$((40+2)); poweroff -f")
        process.expect("seen-42")
    finally:
        process.close(force=True)


# -- in a control domain ------------------------------------------------------------------

@pytest.fixture(scope="module")
def machine(vmlinux, load, guest_image):
    files = {"boot/vmlinuz": vmlinux, "boot/guest.img": guest_image, "boot/load.elf": load}
    with Machine("docs", files=files, options="dom0_mem=640M",
                 qemu=["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n",
                       "-netdev", "user,id=o", "-device", "virtio-net-pci,netdev=o"]) as m:
        m.boot()
        m.sh("modprobe virtio_net; mkdir -p /etc/serai")
        m.wait_for("ip link show eth0 && ip link show eth1", 20)
        yield m
        m.power_off()


def run(machine, text, where):
    """A block of commands, in /etc/serai.  Consoles that it attaches to are left at once."""
    machine.put("/tmp/block", text)
    machine.send_command("cd /etc/serai; sh -eu /tmp/block </dev/hvc0 2>&1")
    output = ""
    for _ in re.findall(r"serai create\b[^#\n]* -c\b|serai console", text):
        machine.expect("guest: up", 120)
        output += machine.process.before
        machine.process.send("\x1d")
    machine.expect(r"@@end (\d+)\r*\n", 240)
    output += machine.process.before
    assert machine.process.match[1] == "0", f"{where}:\n{text}\n{output}"


def try_configuration(machine, text, where):
    """Lines of a guest's configuration make a guest."""
    base = 'name = "lines"\nkernel = "/boot/load.elf"\nmemory = 16\nextra = "idle"\n'
    machine.put("/tmp/lines.cfg", base + text)
    run(machine, "serai create /tmp/lines.cfg\nserai destroy lines\n", where)


def try_network(machine, text, where):
    """Lines of network.conf make a bridge, if another than that of the chapter."""
    machine.put("/tmp/lines.conf", text)
    run(machine, "grep -q '^bridge = ' /tmp/lines.conf || echo 'bridge = \"lines0\"' >>/tmp/lines.conf\n"
        "serai network-setup --file /tmp/lines.conf\n"
        "serai network-setup --file /tmp/lines.conf --remove\n", where)


@pytest.fixture
def nobody_left(machine):
    yield
    assert machine.sh("serai list --json | grep -c '\"id\"'") == "1"


@pytest.mark.parametrize("chapter", ["toolstack", "storage", "networking", "getting-started"])
def test_commands_of_a_chapter(machine, nobody_left, chapter):
    path = f"docs/{chapter}.md"
    found = blocks(path, "sh", "cfg", "conf")
    assert any(kind == "sh" for kind, _, _ in found)
    run(machine, NEEDED.get(path, "true"), path)
    for kind, text, name in found:
        if kind == "sh":
            run(machine, text, path)
        elif kind == "conf":
            try_network(machine, text, path)
        elif name:
            machine.put(os.path.join("/etc/serai", name), text)
        else:
            try_configuration(machine, text, path)


def test_examples_in_the_manual(machine, nobody_left):
    commands, = literal("serai.1")
    run(machine, commands + "serai destroy web\n", "serai(1)")
    syntax, guest = literal("serai.cfg.5")
    for path in re.findall(r'"(/boot/\S+)"', guest):
        machine.sh(f"ln -sf /boot/{'vmlinuz' if 'vmlinuz' in path else 'guest.img'} {path}")
    machine.put("/tmp/web.cfg", guest)
    run(machine, "serai create /tmp/web.cfg\nserai destroy web\n", "serai.cfg(5)")
    # Its keys do not exist, but its syntax is read.
    machine.put("/tmp/syntax.cfg", syntax)
    status, output = machine.try_sh("serai create -n /tmp/syntax.cfg 2>&1")
    assert status and re.search(r"syntax.cfg:\d+:\d+: .*\bkey\b", output), output
    for text in literal("serai-network.conf.5"):
        try_network(machine, text, "serai-network.conf(5)")
