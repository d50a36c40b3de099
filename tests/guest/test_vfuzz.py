"""The hostile guest (vfuzz): legal queues first, then lies, from one vCPU and from two.

Each run has a seed; whatever a run finds, the same seed finds again (with two vCPUs the
operations are the same and their order is not).  The guest itself checks that a broken
device says so, that the others go on serving, and that a reset heals; from outside we
see that the monitor lives, stays small and says little.
Run: make lodge && python3 -m pytest tests/guest/test_vfuzz.py
One by hand: VFUZZ_SEED=7 python3 -m pytest tests/guest/test_vfuzz.py -k one
"""
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests"))
from engines import ENGINES  # noqa: E402

LODGE = os.environ.get("LODGE", str(TOP / "lodge"))
SEEDS = [int(os.environ["VFUZZ_SEED"])] if "VFUZZ_SEED" in os.environ else range(1, 9)
ROUNDS = int(os.environ.get("VFUZZ_ROUNDS", 40))
DEVICES = {"net", "blk", "nvme", "rng"}
KIB_MORE = 32 * 1024        # what the monitor may grow by
LINES = 10                  # what it may say in a second
GOOD = 33                   # debug-exit: 0x10 << 1 | 1


@pytest.fixture(scope="session")
def vfuzz():
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/vfuzz.elf"], check=True)
    return TOP / "build/guest/vfuzz.elf"


def monitors_own(pid):
    """KiB of the process that are not the guest's memory; None when it has gone."""
    own, guest = 0, False
    try:
        with open(f"/proc/{pid}/smaps") as f:
            for line in f:
                if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                    guest = "memfd:lodge-ram" in line
                elif line.startswith("Rss:") and not guest:
                    own += int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None
    return own or None


class Machine:
    """lodge with the guest, watched: its words with their times, its size."""

    def __init__(self, kernel, folder, cmdline, cpus, program=LODGE, env=None):
        disks = [folder / "virtio.img", folder / "nvme.img"]
        for d in disks:
            with open(d, "wb") as f:
                f.truncate(8 << 20)
        self.p = subprocess.Popen(
            [program, "run", "--kernel", kernel, "--append", cmdline, "-m", "64M", "-c", str(cpus),
             "--disk", disks[0], "--disk", f"{disks[1]},if=nvme", "--net", "user",
             "--test-devices", "--no-reboot", "--console", "none"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=dict(os.environ, **(env or {})))
        self.said, self.sizes = [], []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.p.stderr:
            self.said.append((time.monotonic(), line.decode(errors="replace").rstrip()))

    def run(self, timeout):
        out = []
        reader = threading.Thread(target=lambda: out.append(self.p.stdout.read()), daemon=True)
        reader.start()
        end = time.monotonic() + timeout
        while self.p.poll() is None and time.monotonic() < end:
            size = monitors_own(self.p.pid)
            if size:
                self.sizes.append(size)
            time.sleep(0.02 if len(self.sizes) < 20 else 0.2)
        if self.p.poll() is None:
            self.p.kill()
        self.p.wait()
        reader.join(5)
        self.reader.join(5)
        return out[0].decode(errors="replace")

    def most_lines_in_a_second(self):
        times = [t for t, _ in self.said]
        return max((sum(1 for u in times if t <= u < t + 1) for t in times), default=0)


def go(vfuzz, folder, seed, cpus, engine):
    m = Machine(vfuzz, folder, f"seed={seed} rounds={ROUNDS} ops=250 cpus={cpus}", cpus,
                env={"LODGE_ENGINE": engine})
    out = m.run(timeout=300)
    words = "\n".join(s for _, s in m.said)
    assert m.p.returncode == GOOD, f"{out}\n{words}"
    assert out.endswith("ok\n")
    assert int(re.search(rf"vfuzz seed {seed}: (\d+) operations", out)[1]) >= ROUNDS * 250 * cpus
    broke = {name: int(n) for name, n in re.findall(r"vfuzz: (\w+) in slot .* broke (\d+) times", out)}
    assert set(broke) == DEVICES
    assert all(broke.values()), broke
    assert "queue broken" in words
    assert m.most_lines_in_a_second() <= LINES, words
    assert "assert" not in words
    if len(m.sizes) > 2:
        assert max(m.sizes) - m.sizes[1] <= KIB_MORE, m.sizes
    return m


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", SEEDS)
def test_one_vcpu(vfuzz, tmp_path, seed, engine):
    go(vfuzz, tmp_path, seed, 1, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", SEEDS)
def test_two_vcpus(vfuzz, tmp_path, seed, engine):
    go(vfuzz, tmp_path, seed, 2, engine)


def sanitized(kind):
    """A lodge built with a sanitizer."""
    folder = "build/gcc-san" + ("thread" if kind == "thread" else "")
    subprocess.run(["make", "-s", "-j2", "-C", TOP, f"SAN={kind}", f"{folder}/lodge"], check=True)
    return TOP / folder / "lodge"


@pytest.mark.parametrize("cpus", [1, 2])
def test_addresses_and_arithmetic(vfuzz, tmp_path, cpus):
    m = Machine(vfuzz, tmp_path, f"seed=21 rounds={ROUNDS} ops=250 cpus={cpus}", cpus,
                sanitized("1"))
    out = m.run(timeout=300)
    assert m.p.returncode == GOOD, out + "\n".join(s for _, s in m.said)


def test_races(vfuzz, tmp_path):
    """Guest memory is the guest's to race for; nothing else may be raced for."""
    m = Machine(vfuzz, tmp_path, "seed=22 rounds=16 ops=60 cpus=2", 2, sanitized("thread"),
                {"TSAN_OPTIONS": f"log_path={tmp_path}/race history_size=5 exitcode=0"})
    out = m.run(timeout=300)
    reports = "".join(p.read_text(errors="replace") for p in tmp_path.glob("race.*"))
    races = [r for r in reports.split("=" * 18) if "WARNING" in r and "memfd:lodge-ram" not in r]
    assert not races, races[0]
    assert m.p.returncode == GOOD, out


def test_operations_are_the_seeds(vfuzz, tmp_path):
    """What is counted, and what broke for a device that answers at once, is the seed's."""
    def told(n):
        folder = tmp_path / str(n)
        folder.mkdir()
        m = Machine(vfuzz, folder, "seed=11 rounds=8 ops=100 cpus=1", 1)
        out = m.run(timeout=60)
        assert m.p.returncode == GOOD, out
        return re.search(r"vfuzz: rng .*", out)[0], re.search(r"vfuzz seed .*", out)[0]

    assert told(1) == told(2)
