"""Guests on lodge.elf: the self-checking ones, the board's test, Debian's kernel, two of them at once.

Run: make lodge lodge.elf && python3 -m pytest tests/metal
"""
import subprocess
import sys

import pytest

from machine import ICOUNT, TOP, qemu
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import linux      # noqa: E402
import pieces     # noqa: E402
import processor  # noqa: E402
from test_guests import GUESTS, build  # noqa: E402

WORK = "echo cpus $(nproc); sha256sum /bin/busybox; cat /proc/version\n"


def guest_words(said):
    """What is not lodge's own."""
    return "".join(l + "\n" for l in said.splitlines() if not l.startswith("lodge: "))


@pytest.mark.parametrize("name", GUESTS)
def test_small_guest(name, tmp_path):
    elf = build(name, tmp_path)
    said, _ = qemu(pack(tmp_path, definition(tmp_path, name, elf, test_devices="true", no_reboot="true")))
    out = guest_words(said).strip()
    if out != "ok" and processor.bare(elf, tmp_path) == out:
        pytest.xfail(f"QEMU's processor itself: {out}")
    assert out == "ok", said
    assert f"lodge: {name}: {'reset' if name == 'triple' else 'exit 1'}\n" in said


@pytest.mark.parametrize("vcpus, cpus", [(1, 1), (2, 1), (2, 2), (4, 2)])
def test_board(vcpus, cpus, tmp_path):
    """It measures one clock by another.  One CPU is emulated without noise; with two a busy host may come
    between two readings, so there is a second try: what lodge did wrong would fail twice."""
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    guest = definition(tmp_path, "board", TOP / "build/guest/board.elf", append=f"cpus={vcpus}", cpus=vcpus,
                       test_devices="true", no_reboot="true")
    made = pack(tmp_path, guest)
    for _ in range(1 if cpus == 1 else 2):
        said, _ = qemu(made, smp=cpus, timeout=120, options=ICOUNT if cpus == 1 else ())
        if "lodge: board: exit 33\n" in said:
            break
    assert guest_words(said).rstrip().endswith("ok") and "lodge: board: exit 33\n" in said, said


def debian(folder, name, **words):
    return definition(folder, name, pieces.kernel(), memory="256M", initrd=linux.initrd(WORK),
                      append=f"'{linux.APPEND}'", **words)


def check_debian(said, cpus, times=1):
    busybox = subprocess.run(["sha256sum", pieces.packages() / "bin/busybox"], capture_output=True, text=True).stdout
    assert said.count(f"cpus {cpus}\n") == times, said
    assert said.count(busybox.split()[0]) == times and said.count("Linux version") == times, said


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
