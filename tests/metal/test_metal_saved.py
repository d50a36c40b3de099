"""A saved machine on its way through engines: Linux, AMD-V in QEMU, VT-x in bochs, Linux.  The guest (tests/guest/ticks)
looks at its memory, disk, registers, timer and clock in each round, and says which round it is."""
import re
import subprocess

import pexpect
import pytest

from bochs import saved_by_bochs
from machine import IMAGE, TOP
from packs import definition

LODGE = TOP / "lodge"
ROUNDS = 1500
RUN = ["--append", f"n={ROUNDS}", "--test-devices", "--debugcon", "stdio", "--net", "none", "--no-reboot"]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder, with the guest and its disk."""
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/ticks.elf"], check=True)
    (tmp_path / "d.img").write_bytes(bytes(64 << 10))
    return tmp_path


def lodge(*words, **options):
    return subprocess.run([LODGE, *words], check=True, capture_output=True, text=True, timeout=120, **options).stdout


def rounds(said):
    """Those that were said, without a gap."""
    n = [int(r) for r in re.findall(r"round (\d+)", said)]
    assert n and n == list(range(n[0], n[-1] + 1, 10)), n
    assert "vfuzz:" not in said, said
    return n


def on_linux(place, state, *how):
    """Runs until it says round 20 more, is saved, and is stopped."""
    c = pexpect.spawn(str(LODGE), [*map(str, how), "--engine", "interp"], timeout=120, encoding="utf-8", codec_errors="replace")
    c.expect(r"round \d+")
    c.expect(r"round \d+")
    lodge("save", "ticks", state, "--disks")
    lodge("stop", "ticks", "--force")
    c.expect(pexpect.EOF)
    c.close()


def first(place):
    on_linux(place, place / "linux", "run", "--kernel", TOP / "build/guest/ticks.elf", "--name", "ticks", "-m", "16M", "--cpu",
             "baseline", "--disk", place / "d.img", *RUN)
    return place / "linux"


def packed(place, state):
    made = place / f"{state.name}.pack"
    lodge("metal", "pack", "--restore", state, "-o", made)
    return made


def unpacked(place, printed, state, name):
    lodge("metal", "unpack", "--from", printed, "--restore", state, "-o", place / name)
    return place / name / "ticks"


def on_svm(place, state):
    """By its console, which goes on taking commands; and once more from the state it came with."""
    printed = place / "svm.printed"
    c = pexpect.spawn("qemu-system-x86_64", ["-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", "max,+svm", "-m", "256",
                      "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(IMAGE), "-append", "stay check",
                      "-initrd", str(packed(place, state)), "-parallel", f"file:{printed}"], timeout=120, encoding="utf-8",
                      codec_errors="replace")
    c.expect(r"round (\d+)")
    begun = int(c.match[1])
    c.send("\x1d")
    c.expect("lodge> ")
    for line, answer in (("restore ticks", "it runs; stop it first"), ("save ticks", r"saved: \d+ KiB went out"),
                         ("ls", r"ticks +runs"), ("stop ticks force", "stopped"), ("save ticks", "ticks does not run"),
                         ("restore ticks", rf"round 0*{begun}\b"), ("check", "check: ok"), ("poweroff", "all machines are off")):
        c.send(line + "\r")
        c.expect(answer)
    c.close(force=True)
    return unpacked(place, printed, state, "svm")


def on_vmx(place, state):
    """bochs takes no keys: the image's command line says when."""
    printed = place / "vmx.printed"
    saved_by_bochs(packed(place, state), printed, "save=ticks:100")
    return unpacked(place, printed, state, "vmx")


def finish(state, engine):
    done = subprocess.run([LODGE, "restore", state, "--engine", engine, "--debugcon", "stdio"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=200)
    assert rounds(done.stdout)[-1] == ROUNDS - 10 and done.stdout.rstrip().endswith("ok"), done.stdout + done.stderr


def test_all_the_way(place):
    svm = on_svm(place, first(place))
    vmx = on_vmx(place, svm)
    finish(vmx, "interp")
    finish(svm, "bt")


def test_what_is_refused(place):
    """Damaged on the way, foreign, of another machine: one sentence, and no folder."""
    state = first(place)
    on_svm(place, state)
    good = (place / "svm.printed").read_bytes()
    other = definition(place, "other", TOP / "build/guest/ticks.elf")
    bad = {"cut": (good[:-100], "damaged, or cut short"), "byte": (good[:90000] + b"?" + good[90001:], "damaged, or cut short"),
           "foreign": (b"no state at all", "not what lodge.elf's `save` sends")}
    for name, (bytes_, why) in bad.items():
        (place / name).write_bytes(bytes_)
        refused(place, why, "--restore", state, "--from", place / name)
    refused(place, "there is no definition of it", other, "--from", place / "svm.printed")
    refused(place, "its definition says otherwise", definition(place, "ticks", TOP / "build/guest/ticks.elf"), "--from",
            place / "svm.printed")


def refused(place, why, *words):
    done = subprocess.run([LODGE, "metal", "unpack", "-o", place / "no", *words], capture_output=True, text=True)
    assert done.returncode == 125 and why in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert not list((place / "no").glob("*"))
