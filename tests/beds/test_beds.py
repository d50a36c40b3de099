"""lodge on hardware virtualization: self-checking guests and Debian's kernel, in each bed; the
small ones on this machine's own /dev/kvm, too.  A bed is started once for all of its guests.

Run: make lodge && python3 -m pytest -rs tests/beds/test_beds.py
One bed, another engine: ENGINE=interp python3 -m pytest tests/beds/test_beds.py -k svm
"""
import functools
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
BOARDS = {f"board-{n}": n for n in (1, 2)}
LINUXES = {"svm": [1, 2], "vmx": [1], "here": []}       # vCPUs
OPTIONS = {"svm": ["--smp", "2"], "vmx": [], "here": []}
TIMEOUT = {"svm": 600, "vmx": 1800, "here": 600}        # seconds; some 100, 600 and 30 on an idle machine
TINY = ["real", "seg", "smc", "triple", "board-1"]      # what a KVM that runs guests by software can do, too
SHORT = "-m 64M --test-devices --no-reboot --console none --net none"
LONG = f"-m 256M --net none --kernel K --initrd I --append '{linux.APPEND}'"
SAYS = "echo cpus $(nproc); sha256sum /bin/busybox; cat /proc/version\n"
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
    files = {"K": pieces.kernel(), "I": linux.initrd(SAYS), "board.elf": TOP / "build/guest/board.elf"}
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    for g in GUESTS:
        files[f"{g}.elf"] = build(g, tmp_path_factory.mktemp(g))
    return files


def script(place):
    """debug comes last: QEMU keeps a guest's breakpoints beyond its end (docs/beds.md)."""
    lines = {g: f"try {g} 120 --kernel {g}.elf {SHORT} --debugcon stdio" for g in GUESTS}
    lines |= {b: f"try {b} 120 --kernel board.elf --append cpus={n} -c {n} {SHORT}" for b, n in BOARDS.items()}
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
def at(guests, tmp_path_factory):
    """at(place, name): a guest's answer."""
    done = {}

    def ask(place, name):
        why = out_of_reach(place, name)
        if why:
            pytest.skip(f"{name} is not run here: {why}")
        if place not in done:
            folder = tmp_path_factory.mktemp(place)
            done[place] = answers(run(place, script(place), guests, folder, OPTIONS[place], TIMEOUT[place])[0])
        assert name in done[place], f"{name} was not run: {sorted(done[place])}"
        return done[place][name]
    return ask


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", GUESTS)
def test_small_guest(at, guests, place, name, tmp_path):
    status, out, err = at(place, name)
    if out.strip() != "ok":
        processor.excuse(place, name, out.strip(), guests[f"{name}.elf"], tmp_path)
    assert out.rstrip("\n") == "ok", out + err
    assert status == (0 if name == "triple" else 1)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", BOARDS)
def test_board(at, place, name):
    status, out, err = at(place, name)
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
