"""One state for every engine: a guest with memory, registers, disks, clocks, network and console at
work (tests/boot/work.c) is saved on each engine and goes on on each, in bed svm, to its end and
without a wrong byte.

Run: make lodge && python3 -m pytest -rs tests/beds/test_matrix.py
The engines: ENGINES=kvm,interp (the first one boots the guest).  PLACE=here runs it on this machine.
"""
import os
import re
import subprocess

import pytest

import linux
import pieces
from places import HERE, TOP, answers, run

ENGINES = os.environ.get("ENGINES", "kvm,interp").split(",")
PLACE = os.environ.get("PLACE", "svm")
# A state is restored when the guest it is of has ended, so that a clock which did not stand leaps by as much
LEAP = 12
SECONDS = 4   # of the guest's work after a restore, by its clock
GUEST = """
ip link set lo up
ip address add 10.0.2.15/24 dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2
export LEAP=%d
work $seconds 7000 7001 /dev/nvme0n1 /dev/vda
""" % LEAP


@pytest.fixture(scope="module", params=[1, 2], ids=["1cpu", "2cpus"])
def matrix(request, tmp_path_factory):
    """{pair: (exit status, console, errors)}, from one start of the bed for each number of vCPUs."""
    folder = tmp_path_factory.mktemp("matrix")
    work = folder / "work"
    subprocess.run(["gcc", "-static", "-O1", "-o", work, TOP / "tests/boot/work.c"], check=True)
    initrd = linux.initrd(GUEST, ("virtio_pci", "virtio_net", "virtio_blk"), (work,))
    files = {"K": pieces.kernel(), "I": initrd, "matrix.sh": HERE / "matrix.sh"}
    memory = ["-m", "2048"] if PLACE == "svm" else []
    out, err, _ = run(PLACE, f"sh matrix.sh {SECONDS} {request.param} {' '.join(ENGINES)}", files, folder, memory, 1800)
    return answers(out), out + err


def lines(console):
    return [int(n) for n in re.findall(r"work: line (\d+) of many that go out one after the other", console)]


def good(console, err, status):
    assert "BAD" not in console and "work: ok" in console, console[-3000:] + err
    assert status == 0, err
    seen = lines(console)
    assert seen == list(range(seen[0], seen[-1] + 1)), "a line of the console is missing, or came twice"
    return seen


def test_the_saved_one_goes_on(matrix):
    done, all_of_it = matrix
    assert "boot" in done, all_of_it
    status, console, err = done["boot"]
    assert good(console, err, status)[0] == 0
    assert "a new connection" not in console


@pytest.mark.parametrize("target", ENGINES)
@pytest.mark.parametrize("source", ENGINES)
def test_saved_and_restored(matrix, source, target):
    done, all_of_it = matrix
    assert f"{source}-{target}" in done, all_of_it
    status, console, err = done[f"{source}-{target}"]
    assert good(console, err, status)
