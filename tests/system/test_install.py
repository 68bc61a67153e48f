# SPDX-License-Identifier: BSD-2-Clause
"""What `make install` installs: programs link the library through pkg-config, and the table of
verbs, the manual, the completion and the list of configuration keys agree.  Needs no machine."""
import json
import os
import re
import subprocess

import pytest

from docs_blocks import blocks, literal
from machine import BUILD, ROOT

# Keys that only records of guests have, which serai writes itself.
RECORD = {"console_mfn", "console_port", "memory_pinned"}
EXAMPLES = ["host", "domain", "disk", "vif", "console", "events", "operation"]


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, text=True, **more).stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    top = tmp_path_factory.mktemp("install")
    run("make", "-s", "-j2", f"O={os.path.abspath(BUILD)}", f"DESTDIR={top}", "PREFIX=/usr",
        "install", cwd=ROOT)
    return top


def serai(installed, *arguments):
    """Runs the command as it is on a machine without a hypervisor."""
    return subprocess.run([installed / "usr/sbin/serai", *arguments], capture_output=True,
                          text=True, check=False)


def verbs(installed):
    script = serai(installed, "completion", "bash").stdout
    return re.search(r'_serai_verbs="(.*)"', script)[1].split()


def pkg_config(installed, *arguments):
    env = {**os.environ, "PKG_CONFIG_PATH": f"{installed}/usr/lib/pkgconfig"}
    return run("pkg-config", "--static", f"--define-variable=prefix={installed}/usr", *arguments,
               "libserai", env=env).split()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_links_through_pkg_config(installed, tmp_path, name):
    source = installed / f"usr/share/doc/serai/examples/{name}.c"
    run("gcc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / name, source,
        *pkg_config(installed, "--cflags", "--libs"))
    # Without a hypervisor each says so and fails.
    done = subprocess.run([tmp_path / name, "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "/dev/xen/privcmd" in done.stderr


def test_the_command_in_the_chapter_links(installed, tmp_path):
    """docs/toolstack.md, with a pkg-config that looks into the folder of this test."""
    (_, text, _), = blocks("docs/toolstack.md", "sh link")
    tool = tmp_path / "pkg-config"
    tool.write_text(f"#!/bin/sh\nexec /usr/bin/pkg-config --define-variable=prefix={installed}/usr "
                    '"$@"\n')
    tool.chmod(0o755)
    (tmp_path / "host.c").write_bytes(
        (installed / "usr/share/doc/serai/examples/host.c").read_bytes())
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}",
           "PKG_CONFIG_PATH": f"{installed}/usr/lib/pkgconfig"}
    run("sh", "-eu", "-c", text, cwd=tmp_path, env=env)
    assert (tmp_path / "host").exists()


def test_the_example_in_the_manual_links(installed, tmp_path):
    text, = literal("libserai.3")
    (tmp_path / "example.c").write_text(text)
    run("gcc", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "example", tmp_path / "example.c",
        *pkg_config(installed, "--cflags", "--libs"))
    done = subprocess.run([tmp_path / "example"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "/dev/xen/privcmd" in done.stderr


def test_the_header_is_good_cxx_and_stands_alone(installed, tmp_path):
    source = tmp_path / "use.cc"
    source.write_text('#include <serai.h>\nint main() { serai_close(nullptr); return 0; }\n')
    for compiler in (["g++", "-std=c++17"], ["clang++", "-std=c++17"]):
        run(*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", source,
            *pkg_config(installed, "--cflags"))


def test_the_library_defines_public_names_only(installed):
    names = run("nm", "-g", "--defined-only", installed / "usr/lib/libserai.a")
    others = [n for n in re.findall(r" [A-Z] (\w+)", names) if not n.startswith("serai_")]
    assert others == []


def test_every_public_function_exists(installed):
    names = set(re.findall(r" T (\w+)", run("nm", installed / "usr/lib/libserai.a")))
    for header in (installed / "usr/include/serai").iterdir():
        text = re.sub(r"//.*|typedef[^;]*;|static inline[^}]*}", "", header.read_text())
        declared = set(re.findall(r"\b(serai_\w+)\(", text))
        assert declared - names == set(), header


def test_every_verb_is_in_the_manual_and_has_help(installed):
    manual = (installed / "usr/share/man/man1/serai.1").read_text()
    named = set(re.findall(r"Cm ([a-z0-9-]+)", manual))
    for verb in verbs(installed):
        assert verb in named, f"{verb} is not in serai(1)"
        assert f"usage: serai {verb}" in serai(installed, "help", verb).stdout
        assert f"usage: serai {verb}" in serai(installed, verb, "--help").stdout


def test_every_configuration_key_is_in_the_manual():
    with open(f"{ROOT}/toolstack/libserai/config_keys.c", encoding="utf-8") as f:
        keys = re.findall(r'\{"(\w+)", [^}]*?(true|false)?\}', f.read())
    with open(f"{ROOT}/docs/man/serai.cfg.5", encoding="utf-8") as f:
        manual = f.read()
    assert len(keys) > 20
    missing = [k for k, unsupported in keys
               if unsupported != "true" and k not in RECORD and not re.search(rf"\b{k}\b", manual)]
    assert missing == []


def test_mandoc_has_no_complaints(installed):
    pages = [str(p) for p in (installed / "usr/share/man").rglob("*.[1-8]")]
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "error", *pages], capture_output=True,
                          text=True, check=False)
    assert done.stdout == "" and done.returncode == 0


def complete(installed, *words):
    """What bash offers for the last word."""
    script = f"""
        . {installed}/usr/share/bash-completion/completions/serai
        _serai_guests() {{ echo 'web db'; }}
        COMP_WORDS=(serai "$@") COMP_CWORD=$#
        _serai
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    return run("bash", "-c", script, "bash", *words).split()


def test_bash_completes(installed):
    assert complete(installed, "cre") == ["create"]
    assert set(verbs(installed)) <= set(complete(installed, ""))
    assert complete(installed, "shutdown", "--w") == ["--wait"]
    assert complete(installed, "pause", "w") == ["web"]
    assert complete(installed, "help", "cpupool-d") == ["cpupool-destroy"]
    assert "--json" in complete(installed, "info", "--")


def test_completion_scripts_are_sound(installed):
    for path in ("usr/share/bash-completion/completions/serai",
                 "usr/share/zsh/vendor-completions/_serai"):
        run("bash", "-n", installed / path)
    run("shellcheck", "-s", "bash", "-S", "warning",
        installed / "usr/share/bash-completion/completions/serai")


@pytest.mark.parametrize("words, hint", [
    (["crate"], 'did you mean "create"'),
    (["list", "--jason"], "did you mean --json"),
    (["shutdown", "--tmeout", "3", "x"], "did you mean --timeout"),
    (["network-setup", "--fil"], "did you mean --file"),
    (["network-setup", "-z"], "unknown option -z"),
])
def test_mistakes_are_answered_with_the_nearest(installed, words, hint):
    done = serai(installed, *words)
    assert hint in done.stderr or "privcmd" in done.stderr and words[0] in ("list", "shutdown")
    assert done.returncode in (1, 2)


def test_errors_are_json_too(installed):
    done = serai(installed, "completion", "fish", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert error["exit"] == 2 and "bash or zsh" in error["text"]
    for verb in verbs(installed):
        if verb not in ("console", "help"):
            json.loads(serai(installed, verb, "--json", "x").stdout or "{}")
