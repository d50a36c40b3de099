"""Shares, caps, promises and wake-ups, in virtual time: a nanosecond is an instruction, or 16 or 32 are one where a
long run has to be short.  No noise of the host's gets in, and a run repeats."""
import re
import subprocess

import pexpect
import pytest

from machine import ICOUNT, IMAGE, TOP, qemu
from packs import definition, pack


@pytest.fixture
def guest(tmp_path):
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/sched.elf"], check=True)
    return lambda name, words: definition(tmp_path, name, TOP / "build/guest/sched.elf", memory="16M", append=f"'{words}'",
                                          test_devices="true", no_reboot="true")


class Machine:
    """The console of one, with the time of icount."""
    def __init__(self, made, smp=1, shift=5, line="stay"):
        self.c = pexpect.spawn("qemu-system-x86_64", ["-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", "max,+svm", "-smp",
                               str(smp), "-m", "512", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel",
                               str(IMAGE), "-append", line, "-initrd", str(made), "-icount", f"shift={shift},sleep=off"],
                               timeout=300, encoding="utf-8", codec_errors="replace")
        self.c.setecho(False)

    def prompt(self):
        self.c.send("\x1d")
        self.c.expect("lodge> ")

    def do(self, line, answer=r"lodge> "):
        self.c.send(line + "\r")
        self.c.expect(answer)
        return self.c.match

    def close(self):
        self.c.close(force=True)


def loops(said):
    return {n: int(k) for n, k in re.findall(r"(\w+)\| loops (\d+)", said)}


def test_weights(guest, tmp_path):
    """1:2:4 over 10 seconds, by what each guest did; the weights are on the image's command line."""
    made = pack(tmp_path, *(guest(n, "mode=0 s=10") for n in ("a", "b", "c")))
    said, _ = qemu(made, line="weight=a:100,b:200,c:400", options=("-icount", "shift=4,sleep=off"))
    n = loops(said)
    for name, share in (("a", 1), ("b", 2), ("c", 4)):
        assert abs(n[name] / sum(n.values()) * 7 / share - 1) < 0.005, n


def test_cap(guest, tmp_path):
    """A quarter of a CPU that nobody else wants, and what is left for another."""
    made = pack(tmp_path, *(guest(n, "mode=0 s=4") for n in ("a", "b")))
    said, _ = qemu(made, line="cap=a:25", options=("-icount", "shift=5,sleep=off"))
    n = loops(said)
    assert abs(n["a"] / sum(n.values()) - 0.25) < 0.005, n


@pytest.mark.parametrize("busy", [False, True])
def test_wake(busy, guest, tmp_path):
    """An idle machine's timer, with and without two beside it that never sleep: 20 us for 99 of 100."""
    others = [guest(n, "mode=2") for n in ("x", "y")] if busy else []
    m = Machine(pack(tmp_path, guest("idle", "mode=1 n=200"), *others), shift=0)
    m.c.expect(r"p99 (\d+)")
    assert int(m.c.match[1]) < 20000
    m.close()


def test_a_promise_is_kept(guest, tmp_path):
    """3 ms of every 10 ms beside a neighbour of a hundred times the weight; more than there is is refused."""
    made = pack(tmp_path, *(guest(n, "mode=0 s=4") for n in ("a", "b")))
    said, _ = qemu(made, line="weight=b:10000 real=a:3000/10000,b:8000/10000", options=("-icount", "shift=5,sleep=off"))
    assert "lodge: b: so much cannot be promised" in said
    n = loops(said)
    assert abs(n["a"] / sum(n.values()) - 0.3) < 0.005, n


def test_pause_and_pin(guest, tmp_path):
    """By the console, on two processors: who stands gets no time, who was moved has a processor for itself."""
    m = Machine(pack(tmp_path, *(guest(n, "mode=2") for n in ("a", "b"))), smp=2, line="stay check")
    for _ in "ab":
        m.c.expect("lodge: [ab]: runs")
    m.prompt()

    def time(name):
        return int(m.do("stat", rf"{name}: (\d+) ms of CPU time")[1])
    m.do("pause a", "lodge> ")
    m.do("ls", r"a +paused")
    stood, went = time("a"), time("b")
    while time("b") < went + 200:
        pass
    assert time("a") == stood
    m.do("resume a", "lodge> ")
    while time("a") < stood + 100:
        pass
    m.do("pin a 1", "lodge> ")
    m.do("pin b 1", "lodge> ")

    def times():
        return [int(n) for n in m.do("stat", r"(?s)CPU 1: (\d+) ms busy.*a: (\d+) ms of CPU time.*"
                                             r"b: (\d+) ms of CPU time").groups()]
    before = times()
    while (now := times())[2] < before[2] + 200:
        pass
    one, a, b = (n - o for n, o in zip(now, before))
    assert a > 100 and a + b < one + 20, "one CPU is what both have"
    m.do("pin a 5", "CPUs like 0,2-3, of the 2 there are")
    m.do("cap a 500", "up to 200 here")
    m.do("exits a", r"a: kick \d+ port \d+ .* event \d+")
    m.do("check", "check: ok")
    m.do("poweroff", "all machines are off")
    m.close()
