"""The serial port of a machine with several others in it, as a person uses it."""
import sys

import pexpect
import pytest

from machine import IMAGE, TOP
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import linux   # noqa: E402
import pieces  # noqa: E402


@pytest.fixture
def console(tmp_path):
    """Two Debian kernels with a shell each; the hypervisor stays when they end."""
    shell = linux.initrd("sh -i < /dev/console\n")
    guests = [definition(tmp_path, n, pieces.kernel(), memory="128M", initrd=shell, append=f"'{linux.APPEND}'")
              for n in ("web", "db")]
    c = pexpect.spawn("qemu-system-x86_64", ["-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", "max,+svm", "-m", "1024",
                      "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(IMAGE), "-append", "stay check",
                      "-initrd", str(pack(tmp_path, *guests))], timeout=150, encoding="utf-8", codec_errors="replace")
    c.setecho(False)
    yield c
    c.close(force=True)


def test_a_session(console):
    c = console
    c.expect("lodge: web: runs")
    c.send("\x1d")
    c.expect("lodge> ")
    for line, answer in (("help", "poweroff +stop all machines"), ("ls", r"web +\w+ +1 +128 MiB +100\s+db +\w+"),
                         ("weight db 300", "lodge> "), ("ls", r"db +\w+ +1 +128 MiB +300"), ("nonsense", "there is no command"),
                         ("start nobody", "there is no machine 'nobody'"), ("weight db x", "a number from 1 to 10000"),
                         ("check", r"check: ok, \d+ frames"), ("stat", r"web: \d+ ms of CPU time")):
        c.send(line + "\r")
        c.expect(answer)
    c.send("console db\r")
    c.expect("[#$] ")
    c.send("echo $((6*7)) in $(uname -s)\r")
    c.expect("42 in Linux")
    c.send("\x1d")
    c.expect("lodge> ")
    c.send("stop db force\r")
    c.expect("lodge: db: stopped")
    c.expect(r"check: ok, 32\d\d\d frames")
    c.send("start db\r")
    c.expect("lodge: db: runs")
    c.send("exits db\r")
    c.expect(r"db: kick \d+ port \d+ mem \d+")
    c.send("poweroff\r")
    c.expect("lodge: all machines are off")
    c.expect(pexpect.EOF)


def test_timers_ring_when_they_are_to():
    """The first processor looks for keys, and whether all is over, every 10 ms each; the second has nothing to
    wait for."""
    c = pexpect.spawn("qemu-system-x86_64", ["-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", "max,+svm", "-m", "128",
                      "-smp", "2", "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(IMAGE), "-append",
                      "stay"], timeout=60, encoding="utf-8", codec_errors="replace")
    c.expect("no machine")
    c.send("\x1d")
    c.expect("lodge> ")
    for _ in range(3):
        c.send("stat\r")
        c.expect(r"CPU 0: \d+ ms busy of (\d+), its timer rang (\d+) times")
        assert 0 < int(c.match[2]) <= int(c.match[1]) / 5 + 2
        c.expect(r"CPU 1: \d+ ms busy of \d+, its timer rang (\d+) times")
        assert int(c.match[1]) < 3
        c.expect("lodge> ")
    c.send("poweroff\r")
    c.expect(pexpect.EOF)
    c.close()
    assert c.exitstatus == 0
