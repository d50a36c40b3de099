"""What a place's own processor makes of a small guest, so that its faults are not laid at lodge's door.

QEMU's TCG has no segment limits, no reserved-bit faults and more such gaps: what fails on it without
any hypervisor, word for word, fails on it with one.  KVM emulates some things itself, and not all as
the processor does; where that shows, it is written down here, and a test that passes all the same says
so (strict)."""
import subprocess

import pytest

# Known by their exact words: {(place, guest): (words, why)}.  Each was tried without lodge: the guest
# alone on bochs (GRUB loads it), or in bed vmx by QEMU with -accel kvm.
KNOWN = {
    ("vmx", "debug"): ("FAIL one iteration", "KVM's: bochs alone passes, QEMU on KVM fails so"),
    ("vmx", "paging64"): ("FAIL SMAP, implicit", "bochs' processor itself, without KVM"),
    ("vmx", "task"): ("FAIL bad DS in a new task", "KVM's, which emulates task switches: bochs alone passes, QEMU on KVM fails so"),
}


def bare(elf, folder):
    """The guest's words on QEMU's processor alone."""
    out = folder / "bare.out"
    out.write_text("")
    subprocess.run(["qemu-system-x86_64", "-M", "pc", "-nodefaults", "-display", "none", "-no-reboot", "-accel", "tcg",
                    "-cpu", "max", "-m", "64", "-kernel", elf, "-debugcon", f"file:{out}",
                    "-device", "isa-debug-exit,iobase=0xf4"], timeout=60, stdin=subprocess.DEVNULL)
    return out.read_text().strip()


def excuse(place, name, out, elf, folder):
    """Ends the test as an expected failure where the place's processor or KVM is known to fail so."""
    if place == "svm" and bare(elf, folder) == out:
        pytest.xfail(f"QEMU's processor itself: {out}")
    words, why = KNOWN.get((place, name), (None, None))
    if words == out:
        pytest.xfail(why)
