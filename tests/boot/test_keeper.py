"""A machine that ends with its save leaves its connections over the user network to a keeper, and goes
on with them wherever it is restored: lodge save --stop."""
import hashlib
import itertools
import json
import os
import random
import signal
import socket
import struct
import threading
import time

import pytest

from test_state import type_at, vms, wait_for  # noqa: F401

ALL = 6 << 20  # bytes of the download


class Download(threading.Thread):
    """A server of one file, unhurried; whoever comes a second time is counted."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.data = random.Random(5).randbytes(ALL)
        self.sent = self.accepted = 0
        self.last = None
        self.start()

    def serve(self, c):
        for at in range(0, ALL, 32 << 10):
            c.sendall(self.data[at:at + (32 << 10)])
            self.sent = at
            time.sleep(0.03)
        c.shutdown(socket.SHUT_WR)
        self.last = c.recv(100)  # what the guest says when it has all
        c.close()

    def run(self):
        while True:
            c, _ = self.socket.accept()
            self.accepted += 1
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()


def connect(port):
    """To a machine that may be at its start."""
    end = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=90)
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)


class Echo(threading.Thread):
    """Numbers that must come back in order, over one connection to a port of the guest's."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.socket = connect(port)
        self.back = 0
        self.wrong = None
        self.start()

    def run(self):
        try:
            for n in itertools.count():
                self.socket.sendall(struct.pack(">I", n))
                got = b""
                while len(got) < 4:
                    more = self.socket.recv(4 - len(got))
                    assert more, "hung up"
                    got += more
                assert got == struct.pack(">I", n), got
                self.back = n
                time.sleep(0.02)
        except (OSError, AssertionError) as e:
            self.wrong = e

    def moves(self, seconds=60):
        was, end = self.back, time.monotonic() + seconds
        while time.monotonic() < end and self.back < was + 3 and not self.wrong:
            time.sleep(0.05)
        return self.back >= was + 3 and not self.wrong


def until(what, seconds=90):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "did not come"
        time.sleep(0.05)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def keepers(lodge):
    return {v["name"]: v["state"] for v in json.loads(lodge("ls", "--json", check=0).stdout)
            if v["state"] in ("keeping", "joined")}


def dialogue(lodge, name, console, process, words, answer):
    s = type_at(lodge, name, words.encode() + b"\n")
    wait_for(console, answer, process)
    s.close()


@pytest.fixture
def clean(lodge, vms):  # noqa: F811
    yield
    for name in keepers(lodge):
        lodge("rm", name)


def test_connections_survive(lodge, vms, clean, tiny, tmp_path):  # noqa: F811
    """Down and up, from the guest and to it, through two saves and three engines' runs."""
    saved, down, port = tmp_path / "saved", Download(), free_port()
    p, console = vms("a", "run", "tiny", "-q", "-m", "128M", "--engine", "bt", "-p", f"{port}:80")
    wait_for(console, "root@a", p)
    dialogue(lodge, "a", console, p, "nc -ll -p 80 -e cat & sleep 1; echo up$((6*7))", "up42")
    dialogue(lodge, "a", console, p, f"nc 10.0.2.2 {down.port} > /got; sha256sum /got &", "")
    echo = Echo(port)
    assert echo.moves()
    until(lambda: down.sent > ALL // 5)
    lodge("save", "a", saved, "--stop", check=0)
    assert p.wait(5) == 130
    assert keepers(lodge) == {"a.net": "keeping"}
    assert (tmp_path / "run/lodge/a.net.sock").stat().st_mode & 0o777 == 0o600
    assert "no machine" in lodge("pause", "a.net", check=125).stderr
    time.sleep(1.5)
    assert down.sent < ALL and not echo.wrong  # what is on its way lies in buffers
    p, console = vms("a", "restore", saved, "-q", "--engine", "interp")
    assert echo.moves()
    assert keepers(lodge) == {"a.net": "joined"}
    assert "stop that one" in lodge("stop", "a.net", check=125).stderr
    until(lambda: down.sent > ALL // 2)
    lodge("save", "a", saved, "--stop", "--keep", "5m", check=0)
    assert keepers(lodge) == {"a.net": "keeping"}
    p, console = vms("a", "restore", saved, "-q", "--engine", "bt")
    said = wait_for(console, "  /got", p)
    assert hashlib.sha256(down.data).hexdigest() in said
    assert echo.moves() and down.accepted == 1
    lodge("stop", "a", "--force", check=0)
    until(lambda: not keepers(lodge), 5)  # with its machine
    until(lambda: echo.wrong, 5)


def start_idle(lodge, vms, name, port, *more):  # noqa: F811
    """A guest that echoes at its port 80."""
    p, console = vms(name, "run", "tiny", "-q", "-m", "128M", "-p", f"{port}:80", *more)
    wait_for(console, f"root@{name}", p)
    dialogue(lodge, name, console, p, "nc -ll -p 80 -e cat & sleep 1; echo up$((6*7))", "up42")
    echo = Echo(port)
    assert echo.moves()
    return p, console, echo


def test_who_comes_second_or_late(lodge, vms, clean, tiny, tmp_path):  # noqa: F811
    """One copy has the connections; a keeper has its time; a machine that goes on keeps its own."""
    saved, port = tmp_path / "saved", free_port()
    p, console, echo = start_idle(lodge, vms, "b", port)
    lodge("save", "b", saved, check=0)
    assert echo.moves() and not keepers(lodge)      # it goes on, and so do they
    lodge("save", "b", saved, "--stop", check=0)
    # held, it is joined; who dies before its guest ran leaves all as it was
    p, console = vms("c", "restore", saved, "-q", "--paused")
    until(lambda: keepers(lodge) == {"b.net": "joined"})
    late, _ = vms("late", "restore", saved, "-q", "-p", f"{free_port()}:80", "--name", "late")
    until(lambda: "late" in lodge("ls").stdout)
    p.kill()
    until(lambda: keepers(lodge) == {"b.net": "keeping"})
    late.kill()
    assert "they are reset" in late.communicate()[1]
    # its ports move where the restored machine wants them; the connection stays
    other = free_port()
    p, console = vms("d", "restore", saved, "-q", "-p", f"{other}:80")
    assert echo.moves()
    again = Echo(other)
    assert again.moves()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", port))
    # whose guest ran and dies takes them along
    p.kill()
    until(lambda: not keepers(lodge), 10)
    p, console = vms("e", "restore", saved, "-q")
    assert Echo(port).moves()                       # new ones work
    lodge("save", "e", saved, "--stop", "--keep", "1", check=0)
    until(lambda: not keepers(lodge), 10)
    p, console = vms("f", "restore", saved, "-q")
    assert Echo(port).moves()
    lodge("save", "f", saved, "--stop", "--keep", "0", check=0)
    assert not keepers(lodge)
    p, console = vms("g", "restore", saved, "-q")
    assert Echo(port).moves()
    lodge("save", "g", saved, "--stop", check=0)
    lodge("rm", "g.net", check=0)
    assert not keepers(lodge)
    assert "write it like" in lodge("save", "g", saved, "--stop", "--keep", "soon", check=125).stderr


def test_who_asks_wrongly(lodge, vms, clean, tiny, tmp_path):  # noqa: F811
    """A save that fails, a port that is taken, rubbish at the socket, a signal."""
    saved, port = tmp_path / "saved", free_port()
    p, console, echo = start_idle(lodge, vms, "h", port)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").write_text("dear")
    lodge("save", "h", tmp_path / "mine", "--stop", check=125)
    assert echo.moves() and not keepers(lodge)      # it goes on, and nobody keeps anything
    lodge("save", "h", saved, "--stop", check=0)
    with socket.create_server(("127.0.0.1", 0)) as s:
        r = lodge("restore", saved, "-q", "-p", f"{s.getsockname()[1]}:80", check=125)
        assert r.stderr.count("\n") == 1 and "Address already in use" in r.stderr, r.stderr
    path = os.path.join(lodge.env["XDG_RUNTIME_DIR"], "lodge/h.net.sock")
    keep = []
    for data in (b"", b"\0" * 5000, b"{" * 4000 + b"\n", b"[]\n" * 1000, b'{"do":"join"}\n',
                 b'{"do":"join","token":"%s"}\n' % (b"0" * 32), b'{"do":"join","token":7,"ports":[1]}\n') * 2:
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        s.setblocking(False)
        try:
            s.sendall(data)
        except OSError:
            pass
        keep.append(s)
    for s in keep:
        s.close()
    until(lambda: keepers(lodge) == {"h.net": "keeping"})
    p, console = vms("h", "restore", saved, "-q")
    assert echo.moves()
    lodge("save", "h", saved, "--stop", check=0)
    pid, = [v["pid"] for v in json.loads(lodge("ls", "--json").stdout) if v["name"] == "h.net"]
    os.kill(pid, signal.SIGTERM)
    until(lambda: not keepers(lodge), 5)
    until(lambda: echo.wrong, 5)
