"""The program as a user meets it: terminal, signals, pipes, exit status.

The guest is echo.S, a ROM of a few instructions.
Run: make lodge && python3 -m pytest tests/host/test_program.py
"""
import os
import pathlib
import resource
import signal
import subprocess
import termios
import time

import pexpect
import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
LODGE = os.environ.get("LODGE", str(TOP / "lodge"))


@pytest.fixture(scope="session")
def rom(tmp_path_factory):
    d = tmp_path_factory.mktemp("rom")
    subprocess.run(["as", "--32", "-o", d / "echo.o", TOP / "tests/host/echo.S"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0",
                    "-o", d / "echo.rom", d / "echo.o"], check=True)
    return str(d / "echo.rom")


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def run(rom, text, *options, **how):
    return subprocess.run([LODGE, "run", "--firmware", rom, "-m", "16M", *options],
                          input=text, capture_output=True, timeout=20, **how)


def spawn(rom, *options):
    return pexpect.spawn(LODGE, ["run", "--firmware", rom, "-m", "16M", *options], timeout=10)


def ended(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus if child.signalstatus is None else -child.signalstatus


# ---- the sandbox

def filters(child):
    """Of each thread: its name, whether it has a filter, and whether it may gain privileges."""
    task = pathlib.Path(f"/proc/{child.pid}/task")
    found = {}
    for t in task.iterdir():
        f = dict(line.split(":\t", 1) for line in (t / "status").read_text().splitlines())
        found[f["Name"]] = (f["Seccomp"], f["NoNewPrivs"])
    return found


@pytest.mark.parametrize("engine", ["bt", "interp"])
def test_every_thread_is_in_the_sandbox(rom, tmp_path, engine):
    (tmp_path / "d").write_bytes(bytes(65536))
    c = spawn(rom, "--engine", engine, "--disk", str(tmp_path / "d"))
    c.expect("ready")
    f = filters(c)
    c.send("q")
    assert ended(c) == 0
    assert {"lodge", "vcpu0", "disk"} <= set(f) and set(f.values()) == {("2", "1")}


def test_no_sandbox(rom):
    c = spawn(rom, "--engine", "interp", "--sandbox", "off")
    c.expect("ready")
    f = filters(c)
    c.send("q")
    assert ended(c) == 0
    assert set(f.values()) == {("0", "0")}


# ---- ends

def test_power_off(rom):
    r = run(rom, b"abcq")
    assert r.stdout == b"ready\r\nabcq"
    assert r.stderr == b""
    assert r.returncode == 0


def test_debug_exit(rom):
    assert run(rom, b"e", "--test-devices").returncode == 7


def test_debug_console_is_stdout_with_test_devices(rom, tmp_path):
    assert run(rom, b"dq", "--test-devices").stdout == b"ready\r\ndhiq"
    out = tmp_path / "debug"
    assert run(rom, b"dq", "--debugcon", f"file:{out}").stdout == b"ready\r\ndq"
    assert out.read_bytes() == b"hi"


@pytest.mark.parametrize("how", [b"r", b"t"])
def test_reboot(rom, how):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(3):
        assert p.stdout.readline().endswith(b"ready\r\n")
        p.stdin.write(how)
        p.stdin.flush()
    assert p.stdout.readline().endswith(b"ready\r\n")
    p.stdin.write(b"q")
    p.stdin.flush()
    assert p.wait(5) == 0
    r = run(rom, how, "--no-reboot")
    assert r.stdout.count(b"ready") == 1
    assert r.returncode == 0


def test_end_of_input_is_not_the_end(rom):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M"],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\r\n"
    time.sleep(0.3)
    assert p.poll() is None
    p.send_signal(signal.SIGTERM)
    assert p.wait(5) == 130


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it(rom, sig):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\r\n"
    p.send_signal(sig)
    assert p.wait(5) == 130


def test_console_file_and_ring(rom, tmp_path):
    out = tmp_path / "out"
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M", "--name", "box",
                          "--console", f"file:{out}"], stdin=subprocess.PIPE)
    ring = tmp_path / "state/lodge/box/console"
    for _ in range(100):
        if out.exists() and b"ready" in out.read_bytes():
            break
        time.sleep(0.05)
    p.send_signal(signal.SIGTERM)
    assert p.wait(5) == 130
    assert out.read_bytes() == b"ready\r\n"
    assert ring.read_bytes()[64:] == b"ready\r\n"


# ---- readers that go

def test_reader_gone(rom):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\r\n"
    p.stdout.close()
    p.stdin.write(b"abcabcabcq")
    p.stdin.flush()
    assert p.wait(10) == 0


def test_reader_asleep(rom):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(b"w")
    p.stdin.flush()
    time.sleep(1.5)
    p.send_signal(signal.SIGTERM)
    assert p.wait(5) == 130


# ---- the terminal

def attributes(child):
    return termios.tcgetattr(child.child_fd)


def test_keys(rom):
    c = spawn(rom)
    c.expect("ready")
    c.send("xyz")
    c.expect("xyz")
    c.send("\x1dh")
    c.expect("power button")
    c.send("\x1d\x1d")
    c.expect("\x1d")
    c.send("\x03")               # Ctrl-C is the guest's
    c.expect("\x03")
    c.send("\x1dq")
    assert ended(c) == 130


@pytest.mark.parametrize("sig,status", [
    (signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130),
    (signal.SIGSEGV, -signal.SIGSEGV), (signal.SIGABRT, -signal.SIGABRT)])
def test_terminal_is_given_back(rom, sig, status):
    """A shell stays on the terminal, so that its settings can be read afterwards."""
    c = pexpect.spawn("/bin/sh", timeout=10)
    c.sendline(f"stty -g; {LODGE} run --firmware {rom} -m 16M; echo status=$?; stty -g")
    c.expect(r"\r\n([0-9a-f:]{40,})\r\n")
    before = c.match.group(1)
    c.expect("ready")
    lflag = attributes(c)[3]
    assert not lflag & termios.ICANON and not lflag & termios.ECHO
    pid = int(subprocess.check_output(["pgrep", "-P", str(c.pid)]).split()[0])
    os.kill(pid, sig)
    c.expect(r"status=(\d+)")
    got = int(c.match.group(1))
    assert got == (status if status >= 0 else 128 - status)
    c.expect(r"\r\n([0-9a-f:]{40,})\r\n")
    assert c.match.group(1) == before
    c.close(force=True)


def test_in_the_background(rom):
    c = pexpect.spawn("/bin/bash", ["-i"], timeout=10)
    c.sendline(f"{LODGE} run --firmware {rom} -m 16M & sleep 1; jobs; kill %1; wait %1; echo st=$?")
    c.expect("ready")
    c.expect("Running")
    c.expect(r"st=130")
    c.close(force=True)


# ---- one clear line for each wrong wish

@pytest.mark.parametrize("options,words", [
    (["--kernel", "/no/such"], "kernel /no/such: No such file or directory"),
    (["--kernel", "/"], "kernel /: this is a directory"),
    (["--kernel", "/dev/null"], "nothing came"),
    (["--firmware", "/etc/hostname"], "firmware"),
    (["-m", "lots"], "memory lots: not a size"),
    (["-m", "900G"], "this machine has"),
    (["-c", "999"], "cpus 999: not a number from 1 to"),
    (["--disk", "/no/disk"], "disk /no/disk: no such file"),
    (["--disk", "/tmp"], "disk /tmp: this is a directory"),
    (["--net", "bridge"], "net bridge: there are user, tap:NAME, switch[:NAME] and none"),
    (["--net", "switch:lan"], "net switch: joins machines on bare metal (`lodge metal`), not yet here"),
    (["-p", "80"], "port 80: write it like"),
    (["--engine", "warp"], "engine warp: there is none of that name"),
    (["--console", "file:/no/file"], "console /no/file: No such file"),
])
def test_wrong_wishes(rom, options, words):
    first = [] if options[0] in ("--kernel", "--firmware") else ["--firmware", rom]
    r = subprocess.run([LODGE, "run", *first, *options], capture_output=True, timeout=20,
                       stdin=subprocess.DEVNULL)
    text = r.stderr.decode()
    assert words in text
    assert text.startswith("lodge: ") and text.count("\n") == 1
    assert r.returncode == 125


def test_two_machines_on_one_disk(rom, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "16M", "--disk", str(disk)],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\r\n"
    r = run(rom, b"q", "--disk", str(disk))
    assert r.returncode == 125
    assert f"in use by process {p.pid}" in r.stderr.decode()
    p.send_signal(signal.SIGTERM)
    assert p.wait(5) == 130
    assert run(rom, b"q", "--disk", str(disk)).returncode == 0


@pytest.mark.parametrize("soft, hard, status", [(32, 32, 125), (32, 512, 0)])
def test_few_open_files(rom, soft, hard, status):
    """One sentence where there are too few, and more are taken where they may be."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    r = run(rom, b"q", preexec_fn=limit)
    assert r.returncode == status
    if status:
        assert b"open files: only 32 are allowed" in r.stderr and b"ulimit -n" in r.stderr
        assert r.stderr.count(b"\n") == 1 and not r.stdout


def test_no_locked_memory(rom, tmp_path):
    """An old kernel counts io_uring's rings there; a machine with a disk goes on without."""
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    limit = lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, 0))
    r = run(rom, b"q", "--disk", str(tmp_path / "disk"), preexec_fn=limit)
    assert (r.returncode, r.stderr) == (0, b"")


# ---- what it costs

def test_memory_beyond_the_guests(rom):
    p = subprocess.Popen([LODGE, "run", "--firmware", rom, "-m", "64M"],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"ready\r\n"
    beyond, guest = 0, False
    for line in open(f"/proc/{p.pid}/smaps"):
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            guest = "memfd:lodge-ram" in line
        elif line.startswith("Rss:") and not guest:
            beyond += int(line.split()[1])
    p.send_signal(signal.SIGTERM)
    p.wait(5)
    assert beyond <= 16 * 1024
