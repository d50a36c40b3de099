"""The checker finds nothing where nothing is, and finds what it is for: a mistake is put into a copy of the source,
and the hypervisor made of it must accuse itself."""
import shutil
import subprocess
import sys

import pytest

from bochs import bochs
from machine import TOP, qemu
from packs import definition, pack

sys.path.insert(0, str(TOP / "tests" / "guest"))
from test_guests import build  # noqa: E402

MUTANTS = {
    "the neighbour's memory": ("engines/npt.c", "*e = phys | bits", "*e = (phys + 64 * MiB) | bits",
                               "reaches a frame that is not its own"),
    "one page too many": ("hosts/metal/frames.c", "	return f * PAGE_SIZE;\n}", "	set(f + n - 1, f + n, OWNER_LODGE);\n"
                          "	return f * PAGE_SIZE;\n}", "is not its own"),
    "an MSR": ("engines/svm/svm.c", "0xc0000101, 0xc0000102,", "0xc0000101, 0xc0000080,", "an MSR that does not exit"),
    "a port": ("engines/svm/svm.c", "memset(k->iopm, 0xff", "memset(k->iopm, 0xf7", "a port that does not exit"),
    "CPUID": ("engines/svm/regs.c", "I_CPUID | ", "", "an instruction or event that does not exit"),
    "#AC": ("engines/svm/regs.c", "1u << VEC_AC | ", "", "an instruction or event that does not exit"),
    "CR4": ("engines/svm/regs.c", "c->cr_write = 1 << 4 | ", "c->cr_write = ", "CR4 or CR8 does not exit"),
    "interrupts": ("engines/svm/regs.c", "c->v_intr = V_INTR_MASKING;", "c->v_intr = 0;", "masks the machine's"),
    "data that runs": ("hosts/metal/paging.c", "[MAP_WRITE] = PTE_P | PTE_W | PTE_NX", "[MAP_WRITE] = PTE_P | PTE_W",
                       "a page that can be written and executed"),
}


DISK_MUTANT = ("hosts/metal/disk_host.c", "a->first < b->first + b->sectors", "a->first > b->first + b->sectors",
               "has a part of a disk that another has, too")
# On VT-x a start takes long: one mistake that only VMREAD shows.  tests/unit/test_vmx_audit.c has the others
VMX_MUTANT = ("engines/vmx/feature.c", "CPU_HLT | CPU_MWAIT |", "CPU_HLT |", "an instruction or event that does not exit")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The source and what was made of it, so that one file is compiled."""
    to = tmp_path_factory.mktemp("source")
    for name in ("core", "engines", "hosts"):
        shutil.copytree(TOP / name, to / name)
    shutil.copy2(TOP / "Makefile", to)
    shutil.copytree(TOP / "build/metal-gcc", to / "build/metal-gcc")
    return to


@pytest.fixture
def two(tmp_path):
    """One that starts and stays, for its neighbour to be looked at."""
    board = subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    assert board.returncode == 0
    return pack(tmp_path, *(definition(tmp_path, n, TOP / "build/guest/board.elf", append="cpus=1", test_devices="true",
                                       no_reboot="true") for n in ("web", "db")))


def test_all_is_well(two):
    said, _ = qemu(two, line="check")
    assert said.count("lodge: check: ok, ") == 4 and " wrong" not in said, said
    assert "16352 frames of machines" in said or "32704 frames of machines" in said, said


def mutant(copy, file, good, bad, run):
    """What the hypervisor says with that mistake in it."""
    source = (copy / file).read_text()
    assert source.count(good) == 1, "the mutant no longer fits the source"
    try:
        (copy / file).write_text(source.replace(good, bad))
        subprocess.run(["make", "-s", "-C", copy, "CC=gcc", "lodge.elf"], check=True, stdout=subprocess.DEVNULL)
        return run(copy / "lodge.elf")[0]
    finally:
        (copy / file).write_text(source)


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant(name, copy, two):
    file, good, bad, words = MUTANTS[name]
    said = mutant(copy, file, good, bad, lambda image: qemu(two, line="check", image=image, timeout=20, dies=True))
    assert words in said, said


def test_mutant_of_disks(copy, tmp_path):
    """Two get the same disk to write to."""
    (tmp_path / "d").write_bytes(bytes(1 << 20))
    guests = [definition(tmp_path, n, TOP / "build/guest/board.elf", append="cpus=1", test_devices="true", no_reboot="true",
                         disk="host:virtio0") for n in ("web", "db")]
    options = ("-drive", f"if=none,id=d,format=raw,file={tmp_path}/d", "-device", "virtio-blk-pci,drive=d")
    file, good, bad, words = DISK_MUTANT
    said = mutant(copy, file, good, bad, lambda image: qemu(pack(tmp_path, *guests), line="check", image=image, timeout=20,
                                                            dies=True, options=options))
    assert words in said, said


def test_mutant_on_vmx(copy, tmp_path):
    """One is looked at when it was made, and when its neighbour ends."""
    for name in ("gates", "msr"):
        (tmp_path / name).mkdir()
    guests = [definition(tmp_path, n, build(n, tmp_path / n), memory="16M", test_devices="true", no_reboot="true")
              for n in ("gates", "msr")]
    file, good, bad, words = VMX_MUTANT
    said = mutant(copy, file, good, bad, lambda image: bochs(pack(tmp_path, *guests), line="check", image=image))
    assert words in said and "all machines are off" in said, said
