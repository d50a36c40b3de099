#!/usr/bin/env python3
"""make bench-metal: what lodge.elf costs, in instructions, on AMD-V as QEMU's TCG has it and on VT-x as bochs has it.

-icount shift=0 makes a nanosecond of an instruction, and so does bochs: RDTSC in a guest counts those of the guest
and of the hypervisor, and a run repeats.  KVM's and Xen's columns were measured the same way, once: Linux 6.1 with a
monitor of 34 lines, Xen 4.17 with a PVH guest, both on these emulated processors; Xen with APICv on VT-x.

usage: metal.py [--json]"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests" / "metal"))
from bochs import bochs  # noqa: E402
from machine import ICOUNT, qemu  # noqa: E402
from packs import definition, pack  # noqa: E402

# name: KVM, Xen, the most that is allowed
SVM = {
    "cpuid": (2911, 5372, 250), "rdmsr": (2967, 5275, 250), "hypercall": (3149, 5481, 200),
    "out": (3163, None, 900), "in": (3183, 1113, 900),
    "out, in ring 3": (3163, None, 900), "in, in ring 3": (3183, 1113, 900),
    "wbinvd": (2797, 5229, None), "lapic-read": (3748, 14312, 350), "lapic-write": (3580, 17636, 350),
    "self-ipi": (12579, 53654, 1500),
}
VMX = {
    "cpuid": (1126, 877, 200), "rdmsr": (1265, 776, None), "out": (7458, None, None), "in": (7514, 1271, None),
    "wbinvd": (1087, 725, None), "lapic-read": (16093, 3, None), "lapic-write": (8360, 4, None),
    "self-ipi": (30218, 18, None),
}
BOOT = (6_870_700_000, 5_141_567_361, 5_000_000)


def measure(machine, **options):
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/exits.elf"], check=True)
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        guest = definition(folder, "exits", TOP / "build/guest/exits.elf", memory="32M", test_devices="true",
                           no_reboot="true")
        said, _ = machine(pack(folder, guest), timeout=300, **options)
    figures = {k: int(n) for k, n in re.findall(r"^(\S+) (\d+)$", said, re.M)}
    loop = figures.pop("nop")
    figures = {k: n - loop for k, n in figures.items()}
    figures["boot"] = int(re.search(r"^lodge: exits: runs, (\d+) us after lodge began$", said, re.M)[1]) * 1000
    return figures


def table(title, figures, kinds, boot):
    rows = [(k if "ipi" in k or "," in k else f"{k} exit", figures[k], *kinds[k]) for k in kinds]
    rows.append(("image entry to guest", figures["boot"], *boot))
    print(f"{title:22}{'lodge':>12}{'KVM':>16}{'Xen':>16}{'at most':>12}")
    for name, lodge, *rest in rows:
        kvm, xen, most = (f"{n:,}" if n else "-" for n in rest)
        print(f"{name:22}{lodge:12,}{kvm:>16}{xen:>16}{most:>12}")


def main():
    svm, vmx = measure(qemu, options=ICOUNT), measure(bochs)
    apart = measure(qemu, options=ICOUNT, line="attendant=on")  # devices in ring 3
    svm |= {f"{k}, in ring 3": apart[k] for k in ("out", "in")}
    if "--json" in sys.argv:
        print(json.dumps({"svm": svm, "vmx": vmx}))
        return
    table("AMD-V, QEMU", svm, SVM, BOOT)
    print()
    table("VT-x, bochs", vmx, VMX, (None, None, None))


if __name__ == "__main__":
    main()
