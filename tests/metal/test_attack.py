"""Attackers beside a victim on lodge.elf (attack.py): each case is held, the checker finds nothing, the attacker is
started again.  Some on QEMU by exact time; LONG=1: all, with one processor and with two, and on bochs, which takes its
time, those that only its processors can show.  All on all: tests/metal/attack.py."""
import os
import re
import subprocess

import pytest

from attack import NAMES, fit_for, held, run
from machine import TOP, qemu
from packs import definition, pack

# Those that could take a turn away from others: by exact time
ENDLESS = [n for n in NAMES if n.startswith(("irq-", "fault-db", "fault-ac", "fault-pf", "call-flood"))][:18:2]
ON_BOCHS = ["msr-efer", "msr-ones-c001", "port-string-wild", "mem-read-high", "insn-svm", "insn-vmx", "insn-xsetbv", "insn-xstate",
            "insn-dr", "call-console", "irq-nmi", "fault-db-loop", "fault-ac-loop", "race-mmio", "random-user-1"]


def test_there_are_enough():
    assert len(NAMES) >= 100 and len(set(NAMES)) == len(NAMES)


@pytest.mark.skipif("LONG" not in os.environ, reason="LONG=1: all attackers; QEMU's own process dies of SIGSEGV in some runs, or stands")
@pytest.mark.parametrize("cpus", [1, 2])
def test_all_cases(cpus):
    names = fit_for("qemu-svm", cpus)
    said = run("qemu-svm", cpus, names, ms=2)
    assert held(said, names) == [], said[-3000:]


def test_nobody_waits():
    said = run("qemu-svm", 1, ENDLESS, ms=6, counted=True)
    assert held(said, ENDLESS) == [], said[-3000:]


# OPEN: on bochs' AMD-V the victim finds the attacker's CR2 after page faults; not seen on QEMU, whose it is is not known
CR2 = pytest.mark.xfail(reason="CR2 of a neighbour on bochs' AMD-V, open", strict=False)


@pytest.mark.skipif("LONG" not in os.environ, reason="LONG=1: attackers on bochs, minutes of CPU time")
@pytest.mark.parametrize("machine", [pytest.param("bochs-svm", marks=CR2), "bochs-vmx"])
def test_on_bochs(machine):
    names = fit_for(machine, 1, ON_BOCHS)
    said = run(machine, 1, names, ms=1)
    assert held(said, names) == [], said[-3000:]


@pytest.mark.parametrize("cpus", [1, 2])
def test_rings(cpus, tmp_path):
    """The hostile driver of tests/guest/vfuzz, whose devices are this hypervisor's, with the victim's checker beside it."""
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/vfuzz.elf", "build/guest/board.elf"], check=True)
    for name in ("virtio", "nvme"):
        with open(tmp_path / f"{name}.img", "wb") as f:
            f.truncate(8 << 20)
    fuzz = definition(tmp_path, "vfuzz", TOP / "build/guest/vfuzz.elf", memory="64M", append=f"'seed=3 rounds=12 ops=150 cpus={cpus}'",
                      cpus=cpus, disk=f"[{tmp_path}/virtio.img, \"{tmp_path}/nvme.img,if=nvme\"]", test_devices="true",
                      no_reboot="true")
    other = definition(tmp_path, "other", TOP / "build/guest/board.elf", append="cpus=1", test_devices="true", no_reboot="true")
    said, _ = qemu(pack(tmp_path, fuzz, other), smp=cpus, line="check", timeout=600)
    assert re.search(r"^vfuzz\| vfuzz seed 3: \d+ operations$", said, re.M) and "lodge: vfuzz: exit 33\n" in said, said[-3000:]
    assert " wrong" not in said and "lodge: other: exit" in said and "all machines are off" in said, said[-3000:]
