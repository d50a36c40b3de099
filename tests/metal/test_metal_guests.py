"""Guests on lodge.elf: the self-checking ones, the board's test, Debian's kernel, two of them at once.

Run: make lodge lodge.elf && python3 -m pytest tests/metal
"""
import re
import subprocess
import sys

import pytest

from guests import ENDS_BOCHS, KNOWN, MACHINES, all_on, debian
from machine import ICOUNT, TOP, qemu
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import pieces     # noqa: E402
import processor  # noqa: E402
from test_guests import GUESTS, build  # noqa: E402


def guest_words(said):
    """What is not lodge's own."""
    return "".join(l + "\n" for l in said.splitlines() if not l.startswith("lodge: "))


@pytest.mark.parametrize("name", GUESTS)
@pytest.mark.parametrize("machine", MACHINES)
def test_small_guest(name, machine, tmp_path):
    """All at once, on one processor, each with its own memory."""
    if (machine, name) in ENDS_BOCHS:
        pytest.xfail(ENDS_BOCHS[machine, name])
    said = all_on(machine)
    out = said.out(name)
    if out != "ok" and machine == "qemu-svm" and processor.bare(build(name, tmp_path), tmp_path) == out:
        pytest.xfail(f"QEMU's processor itself: {out}")
    words, why = KNOWN.get((machine, name), (None, None))
    if words == out:
        pytest.xfail(why)
    assert out == "ok", said.text
    assert said.end(name) == ("reset" if name == "triple" else "exit 1"), said.text


def check_debian(said, cpus, times=1):
    busybox = subprocess.run(["sha256sum", pieces.packages() / "bin/busybox"], capture_output=True, text=True).stdout
    assert said.count(f"cpus {cpus}\n") == times, said
    assert said.count(busybox.split()[0]) == times and said.count("Linux version") == times, said


def test_vmx_has_more():
    """A guest of the board's test and one of Debian's kernel among the small ones, and the machine switched off."""
    said = all_on("bochs-vmx")
    assert said.out("board").endswith("ok") and said.end("board") == "exit 33", said.text
    check_debian(said.out("debian") + "\n", 1)
    assert said.end("debian") == "powered off" and said.off, said.text


def test_exits_cost():
    """bochs counts instructions, so the limit is exact: docs/metal.md, figures."""
    costs = dict(re.findall(r"^(\S+) (\d+)$", all_on("bochs-vmx").out("exits"), re.M))
    assert int(costs["cpuid"]) - int(costs["nop"]) <= 200, costs


@pytest.mark.parametrize("vcpus, cpus", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_board(vcpus, cpus, tmp_path):
    """It measures one clock by another.  One CPU is emulated without noise; with two a busy host may come
    between two readings, so there is a second try: what lodge did wrong would fail twice."""
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    guest = definition(tmp_path, "board", TOP / "build/guest/board.elf", append=f"cpus={vcpus}", cpus=vcpus,
                       test_devices="true", no_reboot="true")
    made = pack(tmp_path, guest)
    for _ in range(1 if cpus == 1 else 2):
        said, _ = qemu(made, smp=cpus, timeout=600, options=ICOUNT if cpus == 1 else ())
        if "lodge: board: exit 33\n" in said:
            break
    assert guest_words(said).rstrip().endswith("ok") and "lodge: board: exit 33\n" in said, said


@pytest.mark.parametrize("vcpus, cpus", [(1, 1), (2, 2)])
def test_debians_kernel(vcpus, cpus, tmp_path):
    """Unmodified, to a shell's commands and off."""
    said, status = qemu(pack(tmp_path, debian(tmp_path, "web", cpus=vcpus)), smp=cpus, memory=1024, timeout=600)
    check_debian(said, vcpus)
    assert "lodge: web: powered off\nlodge: all machines are off\n" in said and status == 0


def test_two_at_once(tmp_path):
    said, _ = qemu(pack(tmp_path, debian(tmp_path, "web", cpus=2), debian(tmp_path, "db", cpus=2)),
                   smp=2, memory=1024, timeout=900)
    check_debian(said, 2, times=2)
    assert "lodge: web: powered off\n" in said and "lodge: db: powered off\n" in said, said


def test_a_guest_that_dies_takes_nobody_along(tmp_path):
    """One triple-faults, the other has its test before it."""
    triple = definition(tmp_path, "triple", build("triple", tmp_path), no_reboot="true")
    (tmp_path / "g").mkdir()
    gates = definition(tmp_path, "gates", build("gates", tmp_path / "g"), test_devices="true", no_reboot="true")
    said, _ = qemu(pack(tmp_path, triple, gates))
    assert "lodge: triple: reset\n" in said and "lodge: gates: exit 1\n" in said, said
    assert "ok\n" in said and "all machines are off" in said
