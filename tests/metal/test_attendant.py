"""A device that does wrong takes its own machine along, and nobody else: hosts/metal/ring3."""
import os
import re
import subprocess

import pexpect
import pytest

from bochs import SVM, bochs
from machine import IMAGE, TOP, qemu
from packs import definition, pack

# hosts/metal/ring3/fault.c: what the device does, and what is said of it
FAULTS = {
    "write": (1, r"failed with #PF at 0x\w+, address 0x\w+"), "read": (2, r"failed with #PF at 0x\w+, address 0x\w+"),
    "jump": (3, r"failed with #PF at 0x\w+, address 0x\w+"), "endless": (4, "do not come to an end"),
    "cli": (5, r"failed with #GP at 0x\w+"), "constant": (6, r"failed with #PF at 0x\w+, address 0x\w+"),
    "pointer": (7, r"call for registers to a strange place at 0x\w+"), "call": (8, r"call what there is not at 0x\w+"),
    "panic": (9, "gave up: told to"), "state": (10, r"call impossible XCR0 at 0x\w+"),
    "timer": (12, "do not come to an end"),
    "stack": (11, r"failed with #PF at 0x\w+, address 0x\w+"),
}


def fault(folder, name, what, ms=4000, **words):
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/fault.elf"], check=True)
    return definition(folder, name, TOP / "build/guest/fault.elf", memory="32M", append=f"'what={what} ms={ms}'",
                      test_devices="true", no_reboot="true", **words)


LONG = pytest.mark.skipif("LONG" not in os.environ, reason="LONG=1: faults in attendants on bochs, minutes of CPU time")


@pytest.mark.parametrize("machine, smp", [("qemu", 1), ("qemu", 2), pytest.param("bochs-svm", 1, marks=LONG),
                                          pytest.param("bochs-vmx", 1, marks=LONG)])
def test_every_fault_ends_its_machine_alone(machine, smp, tmp_path):
    """All at once beside one that looks at its memory all the time.  A second without end is long on bochs."""
    faults = {n: f for n, f in FAULTS.items() if machine == "qemu" or n not in ("endless", "timer")}
    made = pack(tmp_path, fault(tmp_path, "victim", 0, ms=4000 if machine == "qemu" else 200),
                *(fault(tmp_path, n, w) for n, (w, _) in faults.items()))
    run = {"qemu": qemu, "bochs-svm": lambda *a, **k: bochs(*a, cpu=SVM, **k), "bochs-vmx": bochs}[machine]
    said, _ = run(made, smp=smp, memory=768, line="check attendant=on")
    for name, (what, words) in faults.items():
        assert f"{name}| asks for {what}\n" in said, (name, said)
        assert re.search(rf"^lodge: {name}: its devices {words}: the machine ends$", said, re.M), (name, said)
        assert f"lodge: {name}: failed\n" in said, (name, said)
    assert said.count("victim| beat\n") == 4 and "lodge: victim: exit 33\n" in said, said
    assert " wrong" not in said and said.count("lodge: check: ok") == 2 * len(faults) + 2, said
    assert "goes on" not in said and "all machines are off" in said, said


def test_it_starts_again(tmp_path):
    made = pack(tmp_path, fault(tmp_path, "web", 1), fault(tmp_path, "db", 4, cpus=2))
    c = pexpect.spawn("qemu-system-x86_64", ["-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", "max,+svm", "-m", "256",
                      "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(IMAGE), "-append", "stay check attendant=on",
                      "-initrd", str(made)], timeout=60, encoding="utf-8", codec_errors="replace")
    c.expect("lodge: web: failed")
    c.expect("lodge: db: its devices do not come to an end: the machine ends")
    c.expect("lodge: db: failed")
    for name, words in (("web", "failed with #PF"), ("db", "do not come to an end")):
        c.send("\x1d")
        c.expect("lodge> ")
        c.send(f"start {name}\r")
        c.expect(f"lodge: {name}: runs")
        c.expect(f"lodge: {name}: its devices {words}")
        c.expect(f"lodge: {name}: failed")
        c.expect("lodge: check: ok")
    c.send("\x1d")
    c.expect("lodge> ")
    c.send("poweroff\r")
    c.expect("all machines are off")
    c.expect(pexpect.EOF)
