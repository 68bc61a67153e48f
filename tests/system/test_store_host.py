# SPDX-License-Identifier: BSD-2-Clause
"""stored(8) on this machine, without a hypervisor: its sockets, restarts, and clients that do not
keep to the rules."""
import os
import resource
import signal
import socket
import struct
import subprocess
import time

import pytest

from machine import BUILD

STORED = os.path.join(BUILD, "toolstack", "stored")
(CONTROL, DIRECTORY, READ, _, WATCH, _, START, END, _, _, _, WRITE, _, RM, _, EVENT,
 ERROR) = range(17)


class Client:
    """A connection that speaks the protocol."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(path)
        self.events = []

    @staticmethod
    def message(kind, *words, tx=0):
        data = b"".join(w.encode() + b"\0" for w in words)
        if kind == WRITE:
            data = data[:-1]
        return struct.pack("<IIII", kind, 7, tx, len(data)) + data

    def take(self, length):
        data = b""
        while len(data) < length:
            part = self.sock.recv(length - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def receive(self):
        kind, _, _, length = struct.unpack("<IIII", self.take(16))
        return kind, self.take(length)

    def answer(self):
        while True:
            kind, data = self.receive()
            if kind != EVENT:
                return kind, data.rstrip(b"\0").decode()
            self.events.append(data.split(b"\0")[0].decode())

    def ask(self, kind, *words, tx=0):
        self.sock.sendall(self.message(kind, *words, tx=tx))
        kind, text = self.answer()
        return "!" + text if kind == ERROR else text

    def sound(self):
        assert self.ask(CONTROL, "check") == "OK"


class Daemon:
    """A stored with its own directory; clients are made by calling it."""

    def __init__(self, top, *options, **keys):
        self.path, self.options, self.keys = str(top / "socket"), options, keys
        self.state, self.log = str(top / "state"), str(top / "log")
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [STORED, "--no-xen", "--socket", self.path, "--state-dir", self.state,
                 *self.options], stderr=log, **self.keys)
        end = time.monotonic() + 20
        while True:
            try:
                c = Client(self.path)
                assert c.ask(WRITE, "/name", "Domain-0") == "OK"
                return c.sound()
            except OSError:
                assert time.monotonic() < end and self.process.poll() is None
                time.sleep(0.01)

    def __call__(self):
        return Client(self.path)

    def stop(self, signo=signal.SIGTERM):
        self.process.send_signal(signo)
        return self.process.wait(20)

    def text(self):
        with open(self.log, encoding="utf-8") as f:
            return f.read()


@pytest.fixture
def daemon(tmp_path):
    d = Daemon(tmp_path)
    yield d
    d().sound()
    assert d.stop() == 0


def test_killed_and_restarted(daemon):
    for n in range(20):
        c = daemon()
        assert c.ask(WRITE, f"/n/{n}", "x" * n) == "OK"
        tx = int(c.ask(START, ""))
        assert c.ask(WRITE, f"/tx/{n}", "1", tx=tx) == "OK"
        if n % 2:
            assert c.ask(END, "T", tx=tx) == "OK"
        daemon.stop(signal.SIGKILL)
        daemon.start()
    c = daemon()
    assert [len(c.ask(READ, f"/n/{n}")) for n in range(20)] == list(range(20))
    assert len(c.ask(DIRECTORY, "/tx").split("\0")) == 10


def test_damaged_journal(daemon):
    daemon().ask(WRITE, "/before", "1")
    daemon.stop(signal.SIGKILL)
    with open(daemon.state + "/journal", "ab") as f:
        f.write(b"\x10\0\0\0 nonsense that somebody left here")
    daemon.start()
    assert daemon().ask(READ, "/before") == "1"
    assert daemon.text().count("damaged") == 1


def test_second_one_refuses(daemon):
    p = subprocess.run([STORED, "--no-xen", "--socket", daemon.path + "2", "--state-dir",
                        daemon.state], capture_output=True, text=True, timeout=20)
    assert p.returncode == 1 and "another stored is running" in p.stderr
    assert daemon().ask(READ, "/name") == "Domain-0"


def test_command_line():
    def run(*words):
        p = subprocess.run([STORED, *words], capture_output=True, text=True, timeout=20)
        return p.returncode, p.stdout + p.stderr
    assert run("--help")[0] == 0 and run("--bogus")[0] == 2 and run("word")[0] == 2
    code, text = run("--limit", "nods=3")
    assert code == 2 and 'no limit "nods"' in text and "watches=128" in text
    assert run("--limit", "nodes=x")[0] == 2 and run("--limit", "nodes")[0] == 2


def test_abstract_socket_and_limits(tmp_path):
    name = f"stored-test-{os.getpid()}"
    d = Daemon(tmp_path, "--socket", "@" + name, "--limit", "nodes=55", "--pid-file",
               str(tmp_path / "run" / "pid"))
    c = Client("\0" + name)
    assert "nodes: 55\n" in c.ask(CONTROL, "quota")
    assert (tmp_path / "run" / "pid").read_text() == f"{d.process.pid}\n"
    assert c.ask(CONTROL, "quota", "set", "watches", "9") == "OK"
    d.stop(signal.SIGKILL)
    d.start()
    assert "watches: 9\n" in d().ask(CONTROL, "quota")
    assert d.stop() == 0


def test_pieces_and_batches(daemon):
    c = daemon()
    for byte in c.message(READ, "/name"):
        c.sock.send(bytes([byte]))
        time.sleep(0.001)
    assert c.answer() == (READ, "Domain-0")
    c.sock.sendall(c.message(READ, "/name") * 2000)
    for _ in range(2000):
        assert c.answer() == (READ, "Domain-0")
    value = "v" * 4080
    assert c.ask(WRITE, "/long", value) == "OK" and c.ask(READ, "/long") == value


def test_too_long(daemon):
    c = daemon()
    c.sock.sendall(struct.pack("<IIII", READ, 1, 0, 4097))
    with pytest.raises((EOFError, ConnectionResetError)):
        c.receive()


def test_one_that_does_not_read(daemon):
    """It is stopped, others are not; its events are bounded."""
    deaf, watcher, c = daemon(), daemon(), daemon()
    deaf.sock.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 1 << 26:
            sent += deaf.sock.send(c.message(READ, "/name") * 100)
    assert watcher.ask(WATCH, "/w", "token") == "OK"
    for n in range(60000):
        assert c.ask(WRITE, f"/w/{n % 40000}", "x") == "OK"
    with open(f"/proc/{daemon.process.pid}/status", encoding="ascii") as f:
        rss = int(f.read().split("VmRSS:")[1].split()[0])
    assert rss < 64 * 1024
    # What was dropped is made good by one event that says "look at all of it".
    assert watcher.ask(READ, "/name") == "Domain-0"
    while watcher.events.count("/w") < 2:
        watcher.events.append(watcher.receive()[1].split(b"\0")[0].decode())


def test_journal_stays_small(daemon):
    c = daemon()
    for n in range(20000):
        assert c.ask(WRITE, "/often", str(n) * 200) == "OK"
    assert os.stat(daemon.state + "/journal").st_size < 5 << 20
    daemon.stop(signal.SIGKILL)
    daemon.start()
    assert daemon().ask(READ, "/often") == "19999" * 200


def test_no_descriptors_left(tmp_path):
    d = Daemon(tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    clients = [d() for _ in range(60)]
    served = 0
    for c in clients:
        try:
            served += c.ask(READ, "/name") == "Domain-0"
        except (EOFError, ConnectionError):
            pass
    assert 10 < served < 40
    for c in clients:
        c.sock.close()
    time.sleep(0.2)
    d().sound()
    assert d.stop() == 0


def test_transactions_of_many(daemon):
    """Twenty clients count up one node in transactions: nothing is lost."""
    clients = [daemon() for _ in range(20)]
    assert clients[0].ask(WRITE, "/counter", "0") == "OK"
    done = again = 0
    while done < 200:
        open_tx = []
        for c in clients:
            tx = int(c.ask(START, ""))
            open_tx.append((c, tx, int(c.ask(READ, "/counter", tx=tx))))
        for c, tx, n in open_tx:
            assert c.ask(WRITE, "/counter", str(n + 1), tx=tx) == "OK"
        results = [c.ask(END, "T", tx=tx) for c, tx, _ in open_tx]
        assert set(results) <= {"OK", "!EAGAIN"}
        done += results.count("OK")
        again += results.count("!EAGAIN")
    assert clients[0].ask(READ, "/counter") == str(done) and again


def test_no_socket(tmp_path):
    p = subprocess.Popen([STORED, "--no-xen", "--socket", "none", "--state-dir",
                          str(tmp_path / "state"), "--pid-file", str(tmp_path / "pid")],
                         stderr=subprocess.DEVNULL)
    end = time.monotonic() + 20
    while not (tmp_path / "pid").exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    assert {x.name for x in tmp_path.iterdir()} == {"state", "pid"}
    p.send_signal(signal.SIGTERM)
    assert p.wait(20) == 0
