#!/usr/bin/python3
"""The attacker and its victim, side by side on lodge.elf: tests/guest/attack has the cases, tests/guest/victim is the
umpire, and the checker looks whenever a machine was made or taken apart.

    tests/metal/attack.py                             all cases on all machines (some 10 minutes)
    tests/metal/attack.py --machine bochs-vmx --cpus 2 msr-efer irq-nmi
    tests/metal/attack.py --seed 7 --case 100         another seed, 100 ms a case
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

from guests import MACHINES
from machine import ICOUNT, TOP
from packs import definition, pack

NAMES = re.findall(r'^\t\{ "([a-z0-9-]+)",', (TOP / "tests/guest/attack/cases.h").read_text(), re.M)

# bochs ends itself where AMD-V would let a guest go on (guests.py): a triple fault, and what may become one.  On VT-x it
# holds the machine's interrupts back while a guest that entered with IF clear does nothing that exits: no endless loops.
# Its serial port takes 87 us for a letter, as a real one does, and lodge waits for it (docs/metal.md): what prints without
# end takes hours there.
NOT_ON = {("bochs-svm", 1): ("fault-triple", "random-kernel", "port-uart", "port-words"),
          ("bochs-vmx", 1): ("fault-triple-cr3", "random-kernel", "port-uart", "port-words")}
NOT_ON |= {(machine, 2): what for (machine, _), what in NOT_ON.items()}
NOT_ON["qemu-svm", 1] = NOT_ON["qemu-svm", 2] = ("fault-shadow",)   # QEMU's own process dies of SIGSEGV, mostly


def fit_for(machine, cpus, names=None):
    return [n for n in names or NAMES if not n.startswith(NOT_ON.get((machine, cpus), "-"))]


def sets(names):
    """As the guest's command line has them."""
    bits = sum(1 << NAMES.index(n) for n in names)
    return " ".join(f"set{i}={bits >> 64 * i & (1 << 64) - 1}" for i in range(4))


def run(machine, cpus, names, seed=1, ms=8, timeout=1200, counted=False):
    """What was said.  counted: by -icount; a nanosecond is an instruction, as on bochs, and the victim can tell how
    long it waited whatever else the host does."""
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/attack.elf", "build/guest/victim.elf"], check=True)
    names = [n for n in NAMES if n in names]
    words = {"memory": "16M", "test_devices": "true", "no_reboot": "true"}
    exact = machine.startswith("bochs") or counted
    more = {} if machine.startswith("bochs") else {"options": ICOUNT if counted else (), "dies": True}
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        both = pack(folder,
                    definition(folder, "victim", TOP / "build/guest/victim.elf", append=f"'cases={len(names)} seed={seed} exact={exact:d}'", **words),
                    definition(folder, "attack", TOP / "build/guest/attack.elf", cpus=2,
                               append=f"'{sets(names)} seed={seed} case={ms}'", **words))
        return MACHINES[machine](both, smp=cpus, memory=256, timeout=timeout,
                                 line=f"check channel=victim,attack again=attack:{len(names)}", **more)[0]


def held(said, names):
    """Sentences on what went wrong: none."""
    began = re.findall(r"^attack\| attack: (\S+)$", said, re.M)
    done = [int(n) for n in re.findall(r"^victim\| (\d+) held: ", said, re.M)]
    names = [n for n in NAMES if n in names]
    wrong = []
    if began != names:
        wrong.append(f"began {len(began)} of {len(names)}, the last one {began[-1] if began else 'none'}")
    if done != list(range(1, len(names) + 1)):
        wrong.append(f"{len(done)} of {len(names)} were held")
    if "victim| all held\n" not in said or "lodge: victim: exit 33\n" not in said:
        wrong.append("the victim did not end well: " + " ".join(re.findall(r"^victim\| (?!\d+ held).*$", said, re.M)))
    wrong += re.findall(r"^lodge: (?:check: .*wrong.*|panic.*|victim: (?!runs|exit 33).*)$", said, re.M)
    wrong += re.findall(r"^attack\| (?:vfuzz|attack: no).*$", said, re.M)
    checks = len(re.findall(r"^lodge: check: ok, ", said, re.M))
    if checks < 2 * len(names):
        wrong.append(f"{checks} checks")
    if "lodge: all machines are off" not in said:
        wrong.append("the machine did not end")
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("--machine", action="append", choices=list(MACHINES))
    p.add_argument("--cpus", type=int, action="append")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--case", type=int, default=8, help="milliseconds that one may take")
    p.add_argument("--counted", action="store_true", help="on QEMU: time by instructions, one processor")
    p.add_argument("--timeout", type=int, default=1200)
    p.add_argument("--log", help="what was said goes there")
    p.add_argument("names", nargs="*", metavar="NAME", help="; ".join(NAMES))
    o = p.parse_args()
    bad = 0
    for machine in o.machine or MACHINES:
        for cpus in o.cpus or (1, 2):
            names = fit_for(machine, cpus, o.names)
            said = run(machine, cpus, names, o.seed, o.case, o.timeout, o.counted)
            wrong = held(said, names)
            if o.log:
                pathlib.Path(o.log).write_text(said)
            bad += bool(wrong)
            print(f"{machine}, {cpus} processor{'s'[:cpus > 1]}: {len(names)} cases, "
                  f"{len(re.findall(r'^victim. [0-9]+ held', said, re.M))} held", *wrong, sep="\n  ", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
