# SPDX-License-Identifier: BSD-2-Clause
"""The blocks of commands and configurations in the documents, by who runs them.

In the chapters and in README.md each block stands between fences, and the words behind the first say
what it is:

    sh          commands for a control domain: test_docs.py
    sh debian   commands for a Debian with the package installed: no test yet (test_docs.py says so)
    sh xl       commands for a Debian with Xen's own tools: test_xl.py
    sh guest    commands for a guest behind route or nat: test_net_host.py
    sh link     commands for who links the library: test_install.py
    sh tree     commands for the folder of the sources: the tests that TREE names
    cfg [FILE]  a guest's configuration or lines of one, tried by who runs the commands around it
    conf        lines for network.conf: test_docs.py
    grub        lines for GRUB's menu: debian_host.py has those of moving-from-xl.md
    text, c, python, interfaces     nothing to run

Whoever adds a block marks it, or test_docs.py fails."""
import os
import re

from machine import ROOT

COMMANDS = {"sh", "sh debian", "sh xl", "sh guest", "sh link", "sh tree"}
OTHERS = {"cfg", "conf", "grub", "text", "c", "python", "interfaces"}
DOCUMENTS = ["README.md"] + sorted(f"docs/{name}" for name in os.listdir(f"{ROOT}/docs")
                                   if name.endswith(".md"))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def fenced(path):
    """All blocks of a document, in their order: (what stands behind the fence, text)."""
    return re.findall(r"^```([^\n]*)\n(.*?)^```$", read(path), re.M | re.S)


def blocks(path, *kinds):
    """Those of some kinds, a file's name behind the kind as third: (kind, text, file or None)."""
    found = []
    for mark, text in fenced(path):
        words = mark.split()
        name = words[1] if words[:1] == ["cfg"] and len(words) > 1 else None
        kind = words[0] if name else mark
        if kind in kinds:
            found.append((kind, text, name))
    return found


def indented(path):
    """Lines that Markdown takes for code although no fence says so."""
    text = re.sub(r"^```.*?^```$", "", read(path), flags=re.M | re.S)
    return re.findall(r"(?<=\n\n)    .*", text)


def literal(page):
    """The literal blocks of a manual page."""
    found = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed$", read(f"docs/man/{page}"), re.M | re.S)
    return [text.replace("\\e", "\\").replace("\\&", "") for text in found]
