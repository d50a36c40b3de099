"""Saved states: a guest that works hard is saved in the middle and goes on, and what was
saved goes on elsewhere, on every engine from every engine, without a wrong byte.

The engines are those of tests/engines.py."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest

from conftest import LODGE, TOP

sys.path.insert(0, str(TOP / "tests"))
from engines import ENGINES  # noqa: E402

PAIRS = [(a, b) for a in ENGINES for b in ENGINES]
GUEST_SECONDS = 4  # of work, by its clock, after the host lets it end


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """The guest's program, on a disk."""
    folder = tmp_path_factory.mktemp("work")
    subprocess.run(["gcc", "-static", "-O1", "-o", folder / "work", TOP / "tests/boot/work.c"], check=True)
    image = folder / "work.img"
    shutil.copy(folder / "work", image)
    os.truncate(image, (image.stat().st_size + 4095) // 4096 * 4096)
    return image


@pytest.fixture(scope="session")
def echo():
    """A TCP server that says everything back; its port."""
    s = socket.create_server(("127.0.0.1", 0))

    def serve(c):
        try:
            while (b := c.recv(65536)):
                c.sendall(b)
        except OSError:
            pass

    def accept():
        while True:
            threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return s.getsockname()[1]


@pytest.fixture
def vms(lodge, tmp_path, monkeypatch):
    """Starts VMs whose consoles are files, and ends them all."""
    run = tmp_path / "run"
    run.mkdir()
    monkeypatch.setitem(lodge.env, "XDG_RUNTIME_DIR", str(run))
    started = []

    def start(name, *args, command=()):
        console = tmp_path / f"{name}.console"
        p = lodge.start(*args, "--name", name, "--console", f"file:{console}", *command)
        started.append(p)
        return p, console

    yield start
    for p in started:
        p.kill()
        p.communicate()


def wait_for(console, text, process, seconds=180):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        said = console.read_text(errors="replace") if console.exists() else ""
        if text in said:
            return said
        if process.poll() is not None:
            pytest.fail(f"ended with {process.returncode} before it said {text!r}:\n{said[-1500:]}\n"
                        + process.stderr.read())
        time.sleep(0.05)
    pytest.fail(f"{text!r} did not come:\n{said[-2000:]}")


def disks(tmp_path):
    for name in ("nvme.img", "virtio.img"):
        with open(tmp_path / name, "wb") as f:
            f.truncate(16 << 20)
    return ["--disk", f"{tmp_path}/nvme.img,if=nvme", "--disk", f"{tmp_path}/virtio.img"]


def worker(work, echo, end, names):
    size = work.stat().st_size
    return ["--", "sh", "-c", f"head -c {size} /dev/vdb > /tmp/work; chmod +x /tmp/work; "
            f"exec /tmp/work {GUEST_SECONDS} {echo} {end} {names}"]


@pytest.fixture(scope="session")
def ticking(lodge, tiny, tmp_path_factory):
    """A saved VM that says "tick N" each fifth of a second; its disk is beside it."""
    folder = tmp_path_factory.mktemp("ticking")
    run = dict(lodge.env, XDG_RUNTIME_DIR=str(folder))
    (folder / "data.img").write_bytes(b"\0" * (1 << 20))
    console = folder / "console"
    p = subprocess.Popen([LODGE, "run", "tiny", "-q", "-m", "128M", "--net", "none", "--name", "ticking",
                          "--disk", folder / "data.img", "--console", f"file:{console}", "--", "sh", "-c",
                          "i=0; while :; do echo tick $i; i=$((i+1)); sleep .2; done"],
                         env=run, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(console, "tick 3\n", p)
    subprocess.run([LODGE, "save", "ticking", folder / "saved"], env=run, check=True)
    p.kill()
    p.communicate()
    return folder / "saved"


def ticks(console):
    return [int(n) for n in re.findall(r"tick (\d+)\n", console.read_text(errors="replace"))]


def is_whole(lodge, saved):
    """It restores: the guest goes on."""
    console = saved.parent / "probe.console"
    console.unlink(missing_ok=True)
    p = lodge.start("restore", saved, "-q", "--name", "probe", "--console", f"file:{console}")
    wait_for(console, "tick", p)
    p.kill()
    p.communicate()


def numbers(said):
    return [int(n) for n in re.findall(r"work: line (\d+) of many that go out one after the other", said)]


@pytest.mark.parametrize("source,target", PAIRS)
@pytest.mark.parametrize("cpus", [1, 2])
def test_matrix(lodge, vms, tiny, work, echo, tmp_path, source, target, cpus):
    saved, end = tmp_path / "saved", socket.socket()
    end.bind(("127.0.0.1", 0))
    first, console = vms("work", "run", "tiny", "-q", "-m", "256M", "-c", cpus, "--engine", source,
                         *disks(tmp_path), "--disk", f"{work},ro",
                         command=worker(work, echo, end.getsockname()[1], "/dev/nvme0n1 /dev/vda"))
    wait_for(console, "work: ready", first)
    time.sleep(1)
    told = json.loads(lodge("save", "work", saved, "--disks", "--json", check=0).stdout)
    before = numbers(console.read_text(errors="replace"))
    assert told["ok"] and told["bytes"] > 16 << 20
    end.listen()  # from now on the work may end
    time.sleep(6)  # more than the guest takes for a leap of its clock
    second, later = vms("again", "restore", saved, "-q", "--engine", target)
    wait_for(later, "work: ok", second)
    said = wait_for(console, "work: ok", first)
    assert "BAD" not in said and "a new connection" not in said
    after = later.read_text(errors="replace")
    assert "BAD" not in after
    assert first.wait(60) == 0 and second.wait(60) == 0, after
    # the console: nothing twice, nothing missing, a line cut in two at most
    lines = numbers(said)
    assert lines == list(range(len(lines)))
    rest = numbers(after)
    assert rest == list(range(rest[0], rest[-1] + 1)) and rest[0] <= before[-1] + 3


def fetch(port):
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as r:
                return r.read()
        except OSError:
            time.sleep(0.1)
    pytest.fail("nobody answers at the port")


def type_at(lodge, name, text):
    s = talk(lodge, name, b'{"do":"console"}\n')
    assert b'"ok":true' in s.recv(4096)
    s.sendall(text)
    return s


@pytest.mark.parametrize("source,target", PAIRS)
def test_a_shell_goes_on_and_reboots(lodge, vms, tiny, tmp_path, source, target):
    """Its variables, its port on the host, its reboot; and a copy of the copy."""
    saved, again = tmp_path / "saved", tmp_path / "again"
    p, console = vms("a", "run", "tiny", "-q", "-m", "128M", "--engine", source)
    wait_for(console, "root@a", p)
    keep = type_at(lodge, "a", b"x=6; mkdir /www; echo hello > /www/index.html; httpd -h /www; echo up$x\n")
    wait_for(console, "\nup6", p)
    lodge("save", "a", saved, check=0)
    lodge("stop", "a", "--force", check=0)
    keep.close()
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    p, console = vms("b", "restore", saved, "-q", "--engine", target, "-p", f"{port}:80")
    assert fetch(port) == b"hello\n"
    lodge("save", "b", again, check=0)
    lodge("stop", "b", "--force", check=0)
    shutil.rmtree(saved)  # the copy stands alone
    p, console = vms("c", "restore", again, "-q", "--engine", target, "-p", f"{port}:80")
    assert fetch(port) == b"hello\n"
    keep = type_at(lodge, "c", b"echo $((x*7))\n")
    wait_for(console, "\n42", p)
    keep.sendall(b"reboot -f\n")
    wait_for(console, "BusyBox", p)
    keep.close()


# ---- what may happen in the middle of a save


def test_killed_in_a_save(lodge, vms, ticking, tmp_path):
    """Whenever it dies, what is there is the old state or the new one."""
    saved = tmp_path / "saved"
    shutil.copytree(ticking, saved)
    stopped = 0
    for i in range(12):
        p, console = vms(f"k{i}", "restore", saved, "-q")
        wait_for(console, "tick", p)
        client = lodge.start("save", f"k{i}", saved)
        time.sleep(0.012 * i)
        p.send_signal(signal.SIGKILL)
        p.wait()
        client.communicate(timeout=30)
        stopped += client.returncode != 0
        is_whole(lodge, saved)
    assert stopped
    p, console = vms("end", "restore", saved, "-q")
    wait_for(console, "tick", p)
    lodge("save", "end", saved, check=0)
    assert [f.name for f in tmp_path.glob("saved*")] == ["saved"], "what the dead left is gone"


def test_no_room(lodge, ticking, unshare, tmp_path):
    """A full disk is told once, leaves the old state, and the VM goes on."""
    small, run = tmp_path / "small", tmp_path / "run"
    small.mkdir()
    run.mkdir()
    env = dict(lodge.env, XDG_RUNTIME_DIR=str(run))
    console = tmp_path / "console"
    p = subprocess.Popen([*unshare("m"), "sh", "-c", f"mount -t tmpfs -o size=8m none {small} && "
                          f"mkdir {small}/saved && exec {LODGE} restore {ticking} -q --name full "
                          f"--console file:{console}"], env=env, stdin=subprocess.DEVNULL,
                         stderr=subprocess.PIPE, text=True)
    wait_for(console, "tick", p)
    r = subprocess.run([LODGE, "save", "full", small / "saved"], env=env, capture_output=True, text=True)
    assert r.returncode == 125
    assert r.stderr.count("\n") == 1 and "No space left on device" in r.stderr, r.stderr
    n = len(ticks(console))
    wait_for(console, f"tick {ticks(console)[-1] + 3}", p)
    assert len(ticks(console)) > n
    p.kill()
    p.communicate()


def test_not_over_something_else(lodge, vms, ticking, tmp_path):
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter").write_text("dear")
    r = lodge("save", "t", tmp_path / "mine", check=125)
    assert "is no saved VM" in r.stderr and (tmp_path / "mine/letter").read_text() == "dear"
    r = lodge("save", "t", "/nowhere/at/all", check=125)
    assert "No such file" in r.stderr and r.stderr.count("\n") == 1


# ---- what restoring refuses


def refused(lodge, *args):
    r = lodge("restore", *args, "-q", "--engine", ENGINES[0], check=125)
    assert r.stderr.count("\n") == 1, r.stderr
    assert not r.stdout
    return r.stderr


def test_disks(lodge, ticking, tmp_path):
    saved = tmp_path / "saved"
    shutil.copytree(ticking, saved)
    machine = json.loads((saved / "machine.json").read_text())
    disk = tmp_path / "data.img"
    machine["disks"][0]["file"] = str(disk)
    (saved / "machine.json").write_text(json.dumps(machine))
    assert "data.img: No such file" in refused(lodge, saved)
    disk.write_bytes(b"\1" * (1 << 20))
    assert "it has changed since the state was saved" in refused(lodge, saved)
    p = lodge.start("restore", saved, "-q", "--changed-disks", "--console", f"file:{tmp_path}/c")
    wait_for(tmp_path / "c", "tick", p)
    p.kill()
    p.communicate()
    disk.write_bytes(b"\1" * (2 << 20))
    assert "the disk has another size" in refused(lodge, saved, "--changed-disks")


def test_damage(lodge, ticking, tmp_path):
    saved = tmp_path / "saved"

    def fresh():
        shutil.rmtree(saved, ignore_errors=True)
        shutil.copytree(ticking, saved)

    for name in ("state", "ram", "machine.json", "initrd"):
        fresh()
        (saved / name).unlink()
        assert "No such file" in refused(lodge, saved) or name == "state"
        for size in (0, 1, 100, 4096):
            fresh()
            if name == "initrd" and size:
                continue
            os.truncate(saved / name, size)
            refused(lodge, saved)
    for at in range(0, (ticking / "state").stat().st_size, 211):
        fresh()
        b = bytearray((saved / "state").read_bytes())
        b[at] ^= 0x10
        (saved / "state").write_bytes(b)
        refused(lodge, saved)
    for wrong in ('{}', '[]', '{"name": 1}', '{"name":"x","memory":-1}'):
        fresh()
        (saved / "machine.json").write_text(wrong)
        assert "machine.json" in refused(lodge, saved)
    fresh()
    machine = json.loads((saved / "machine.json").read_text())
    for key, value in (("memory", 64 << 20), ("cpus", 2), ("disks", []), ("net", "user")):
        (saved / "machine.json").write_text(json.dumps(dict(machine, **{key: value})))
        refused(lodge, saved)
    assert "there is no saved VM" in refused(lodge, tmp_path / "nowhere")


# ---- the socket and the commands


def talk(lodge, name, data):
    s = socket.socket(socket.AF_UNIX)
    s.connect(f"{lodge.env['XDG_RUNTIME_DIR']}/lodge/{name}.sock")
    s.settimeout(20)
    if data:  # to one too many the VM has already said no: not even nothing can be sent
        s.sendall(data)
    return s


def test_commands(lodge, vms, ticking, tmp_path):
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    folder = pathlib.Path(lodge.env["XDG_RUNTIME_DIR"]) / "lodge"
    assert (folder / "t.sock").stat().st_mode & 0o777 == 0o600
    vm, = json.loads(lodge("ls", "--json", check=0).stdout)
    assert (vm["name"], vm["state"], vm["memory"], vm["pid"]) == ("t", "running", 128 << 20, p.pid)
    lodge("pause", "t", check=0)
    assert "paused" in lodge("ls", check=0).stdout
    time.sleep(0.3)
    stood = ticks(console)
    time.sleep(1)
    assert ticks(console) == stood
    lodge("save", "t", tmp_path / "paused", check=0)  # a paused one, too
    lodge("resume", "t", check=0)
    wait_for(console, f"tick {stood[-1] + 2}", p)
    assert "it runs" in lodge("rm", "t", check=125).stderr
    lodge("stop", "t", "--force", check=0)
    assert p.wait(20) == 130
    assert lodge("ls", check=0).stdout == ""
    assert "no VM of that name runs" in lodge("pause", "t", check=125).stderr
    lodge("rm", "t", check=0)
    lodge("rm", tmp_path / "paused", check=0)
    assert not (tmp_path / "paused").exists()
    assert "nothing is left" in lodge("rm", "t", check=125).stderr


def test_the_dead_are_known(lodge, vms, ticking):
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    p.kill()
    p.wait()
    assert re.search(r"^t +gone", lodge("ls", check=0).stdout, re.M)
    console.unlink()
    again, console = vms("t", "restore", ticking, "-q")  # the name is free
    wait_for(console, "tick", again)
    vm, = json.loads(lodge("ls", "--json", check=0).stdout)
    assert vm["name"] == "t" and vm["pid"] == again.pid


def test_a_stopped_process_is_silent(lodge, vms, ticking):
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    p.send_signal(signal.SIGSTOP)
    vm, = json.loads(lodge("ls", "--json", check=0, timeout=30).stdout)
    assert vm["state"] == "silent"
    p.send_signal(signal.SIGCONT)
    vm, = json.loads(lodge("ls", "--json", check=0, timeout=30).stdout)
    assert vm["state"] == "running"


def test_console(lodge, vms, ticking):
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    c = lodge.start("console", "t")
    time.sleep(2)
    c.kill()
    out, _ = c.communicate()
    n = [int(x) for x in re.findall(r"tick (\d+)", out)]
    assert len(n) > 5 and n == list(range(n[0], n[0] + len(n)))  # replayed and live, once each


def test_hostile_clients(lodge, vms, ticking):
    """Rubbish, silence, floods: the VM goes on and answers the next."""
    p, console = vms("t", "restore", ticking, "-q")
    wait_for(console, "tick", p)
    keep = []
    for data in (b"", b"\0" * 5000, b"{" * 4000 + b"\n", b'{"do":1}\n', b"[]\n" * 1000,
                 b'{"do":"save"}\n', b'{"do":"save","dir":"x"}\n', b'{"do":"console"}\n' + b"x" * 100000,
                 b'{"do":"status"}\n' * 100):
        s = talk(lodge, "t", b"")
        s.setblocking(False)
        try:
            s.send(data)
        except OSError:
            pass
        keep.append(s)
    for s in [talk(lodge, "t", b"") for _ in range(30)]:
        keep.append(s)
    time.sleep(0.5)
    n = ticks(console)[-1]
    wait_for(console, f"tick {n + 3}", p)
    for s in keep:
        s.close()
    time.sleep(0.2)
    vm, = json.loads(lodge("ls", "--json", check=0).stdout)
    assert vm["state"] == "running"
    s = talk(lodge, "t", b'{"do":"nonsense"}\n')
    assert b"there is no such request" in s.recv(1000)
