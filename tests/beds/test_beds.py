"""lodge on hardware virtualization: self-checking guests and Debian's kernel, in each bed; the
small ones on this machine's own /dev/kvm, too.  A bed is started once for all of its guests.

Run: make lodge && python3 -m pytest -rs tests/beds/test_beds.py
One bed, another engine: ENGINE=interp python3 -m pytest tests/beds/test_beds.py -k svm
"""
import concurrent.futures
import functools
import hashlib
import random
import re
import subprocess
import sys

import pytest

import linux
import pieces
import processor
from places import ENGINE, LODGE, TOP, answers, lacking, run

sys.path.insert(0, str(TOP / "tests" / "guest"))
from test_guests import GUESTS, build  # noqa: E402

PLACES = ["svm", "vmx", "here"]
BOARDS = {"svm": [1, 2], "vmx": [1], "here": [1, 2]}    # vCPUs; two that wait for each other are slow on bochs' one CPU
LINUXES = {"svm": [1, 2], "vmx": [1], "here": []}       # vCPUs
OPTIONS = {"svm": ["--smp", "2"], "vmx": [], "here": []}
TIMEOUT = {"svm": 2000, "vmx": 6000, "here": 600}       # seconds; some 60, 300 and 30 on an idle machine
TINY = ["real", "seg", "smc", "triple", "board-1"]      # what a KVM that runs guests by software can do, too
SHORT = "-m 64M --test-devices --no-reboot --console none --net none"
LONG = f"-m 256M --net none --kernel K --initrd I --append '{linux.APPEND}' --disk nvme,if=nvme --disk virtio " \
    "--trace nvme0,disk1"
BLOCKS = 32
SAYS = f"""echo cpus $(nproc); sha256sum /bin/busybox; cat /proc/version
for d in nvme0n1 vda; do echo $d $(dd if=/dev/$d bs=4k count={BLOCKS} iflag=direct 2> /dev/null | sha256sum); done
"""
TRY = f"""
mkdir -p state; export XDG_STATE_HOME=$PWD/state
try() {{
	name=$1 limit=$2; shift 2
	timeout $limit lodge run --engine {ENGINE} "$@" > out 2> err < /dev/null
	echo "@@ $name $?"; cat out; echo; echo "@@"; cat err
}}
"""


@pytest.fixture(scope="session")
def guests(tmp_path_factory):
    """What a place runs: {name in its folder: file}."""
    disk = tmp_path_factory.mktemp("disk") / "disk"
    disk.write_bytes(random.Random(1).randbytes(BLOCKS * 4096))
    files = {"K": pieces.kernel(), "I": linux.initrd(SAYS, ("virtio_pci", "virtio_blk")), "nvme": disk, "virtio": disk,
             "board.elf": TOP / "build/guest/board.elf"}
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    for g in GUESTS:
        files[f"{g}.elf"] = build(g, tmp_path_factory.mktemp(g))
    return files


def script(place):
    """debug comes last: QEMU keeps a guest's breakpoints beyond its end (docs/beds.md)."""
    lines = {g: f"try {g} 600 --kernel {g}.elf {SHORT} --debugcon stdio" for g in GUESTS}
    lines |= {f"board-{n}": f"try board-{n} 600 --kernel board.elf --append cpus={n} -c {n} {SHORT}" for n in BOARDS[place]}
    lines |= {f"linux-{n}": f"try linux-{n} 900 -c {n} {LONG}" for n in LINUXES[place]}
    lines["debug"] = lines.pop("debug")
    return TRY + "\n".join(line for name, line in lines.items() if not out_of_reach(place, name))


@functools.cache
def distrusted():
    """Why lodge would not take the engine on this machine unasked, or None."""
    said = subprocess.run([LODGE, "doctor"], capture_output=True, text=True).stdout
    found = re.search(rf"^(?:warn|bad) +engine {ENGINE} +(.*)$", said, re.M)
    return found and found[1]


def out_of_reach(place, name):
    """Why the guest is not run there, or None."""
    return distrusted() if place == "here" and not lacking(place) and name not in TINY else None


@pytest.fixture(scope="session")
def at(request, guests, tmp_path_factory):
    """at(place, name): a guest's answer.  All places that are asked for start at the first question, so that
    bochs has a processor of its own while the other beds' tests go on (conftest.py puts its last)."""
    asked = {p for p in PLACES for i in request.session.items if f"[{p}-" in i.name or f"-{p}]" in i.name}
    folders = {p: tmp_path_factory.mktemp(p) for p in asked}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = {p: pool.submit(run, p, script(p), guests, folders[p], OPTIONS[p], TIMEOUT[p]) for p in asked}

        def ask(place, name):
            why = out_of_reach(place, name)
            if why:
                pytest.skip(f"{name} is not run here: {why}")
            said = answers(done[place].result()[0])
            assert name in said, f"{name} was not run: {sorted(said)}"
            return said[name]
        yield ask


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", GUESTS)
def test_small_guest(at, guests, place, name, tmp_path):
    status, out, err = at(place, name)
    if out.strip() != "ok":
        processor.excuse(place, name, out.strip(), guests[f"{name}.elf"], tmp_path)
    assert out.rstrip("\n") == "ok", out + err
    assert status == (0 if name == "triple" else 1)


@pytest.mark.parametrize("place, cpus", [(p, n) for p in PLACES for n in BOARDS[p]])
def test_board(at, place, cpus):
    status, out, err = at(place, f"board-{cpus}")
    assert out.rstrip("\n").endswith("ok"), out + err
    assert (status, err) == (33, "")


@pytest.mark.parametrize("place, cpus", [(p, n) for p in PLACES for n in LINUXES[p]])
def test_debians_kernel(at, place, cpus):
    """Unmodified, to a shell's command and off."""
    status, out, err = at(place, f"linux-{cpus}")
    busybox = subprocess.run(["sha256sum", pieces.packages() / "bin/busybox"], capture_output=True, text=True).stdout
    assert status == 0, out + err
    assert f"cpus {cpus}" in out and "Debian" in out, out + err
    assert busybox.split()[0] in out, out


@pytest.mark.parametrize("place, cpus", [(p, n) for p in PLACES for n in LINUXES[p]])
def test_disks_and_their_doorbells(at, guests, place, cpus):
    """What is read is right, and an engine that can listen for doorbells hears them: those of virtio, and
    NVMe's, which Linux keeps in memory.  None of them is an exit."""
    status, out, err = at(place, f"linux-{cpus}")
    for disk in ("nvme0n1", "vda"):
        assert f"{disk} {hashlib.sha256(guests['nvme'].read_bytes()).hexdigest()}" in out, out + err[-3000:]
    if ENGINE != "kvm":
        return
    for name in ("nvme0", "disk1"):
        assert len(re.findall(rf"{name}: bell at", err)) >= BLOCKS, err[-3000:]
    assert not re.search(r"mem nvme0\+0x10(08|0c|1[0-9a-f]) size 4 <-|mem disk1\+0x30[0-9a-f][0-9a-f] ", err), err[-3000:]
