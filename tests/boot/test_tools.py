"""Programs that are hard on a processor, in a guest of two: stress-ng, which verifies what it
computes, and a compiler.

They are on a disk of their own (tools.sh), which the image tiny mounts and goes into.  The stressors
do a number of operations here and end within seconds.  For ten minutes, each as long as any other:
	STRESS_SECONDS=600 python3 -m pytest tests/boot/test_tools.py -k stress"""
import hashlib
import os
import pathlib
import subprocess

import pytest

from conftest import HOME, TOP

HERE = pathlib.Path(__file__).parent
INTO = ("mkdir /tools; mount -o ro {disk} /tools && for d in proc sys dev tmp; do mount --rbind /$d /tools/$d; done; "
        "export PATH=/usr/bin:/usr/sbin:/bin:/sbin; ")

# stressor: operations
STRESS = {
    "cpu": 100, "crypt": 20, "fp": 4, "matrix": 60, "vecmath": 100, "vecfp": 10, "vecwide": 100, "vecshuf": 10, "str": 300,
    "qsort": 1, "zlib": 2, "atomic": 50, "memcpy": 20, "vm": 2000, "vm-rw": 5, "fault": 1000, "mprotect": 50, "context": 100,
    "switch": 5000, "futex": 1000, "fork": 40, "signal": 5000, "sigsegv": 2000, "sigfpe": 1000, "icache": 10, "far-branch": 5,
    "tsc": 200, "peterson": 2000,
}


@pytest.fixture(scope="session")
def tools(env):
    """The disk with gcc and stress-ng, made when what makes it has changed."""
    parts = [HERE / "tools.sh", TOP / "images/fetch.sh"]
    version = hashlib.sha256(b"".join(p.read_bytes() for p in parts)).hexdigest()[:16]
    cache = HOME / ".cache/lodge"
    to, part = cache / f"tools-{version}", cache / f"tools.{os.getpid()}.part"
    if not to.exists():
        (cache / "work").mkdir(parents=True, exist_ok=True)
        subprocess.run(["sh", HERE / "tools.sh", part], check=True, timeout=900,
                       env=dict(env, LODGE_CACHE=str(cache / "work"), LODGE_IMAGES=str(TOP / "images")))
        part.rename(to)
    return to / "tools.ext4"


@pytest.fixture
def inside(lodge, tiny, tools):
    """Runs a shell's words among the tools, on two processors."""
    def run(words, *args, timeout=900):
        return lodge("run", "-q", "--net", "none", "-c", 2, "--disk", f"{tools},ro,if=nvme", *args, "tiny", "--", "sh", "-c",
                     INTO.format(disk="/dev/nvme0n1") + 'exec chroot /tools sh -ec "$1"', "sh", words, timeout=timeout)
    return run


def test_stress(inside):
    seconds = float(os.environ.get("STRESS_SECONDS", 0))
    until = {name: f"--timeout {seconds / len(STRESS):.0f}" if seconds else f"--{name}-ops {n}" for name, n in STRESS.items()}
    words = "".join(f"stress-ng -q --temp-path /tmp --verify --{name} 2 {end} || echo {name} failed\n"
                    for name, end in until.items())
    r = inside(words + "echo all done", timeout=900 + 4 * seconds)
    assert (r.returncode, r.stdout) == (0, "all done\n"), r.stderr


def test_stress_sees_what_is_wrong(inside):
    """What a failure of one looks like to the test above."""
    r = inside("stress-ng -q --temp-path /nowhere --verify --cpu 1 --cpu-ops 1 || echo cpu failed; echo all done")
    assert r.stdout.endswith("cpu failed\nall done\n"), (r.stdout, r.stderr)


def test_a_program_is_built(inside, tmp_path):
    """The same compiler or not, here and there it must print the same."""
    sources = HERE / "program"
    subprocess.run(["gcc", "-O2", "-o", tmp_path / "program", *sorted(sources.glob("*.c")), "-lm"], check=True)
    told = subprocess.run([tmp_path / "program"], check=True, capture_output=True, text=True).stdout
    assert "8320987112741390144276341183223364380754172606361245952449277696409600000000000000\n" in told # 60!
    disk = tmp_path / "program.ext4"
    subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", "-d", sources, disk, "4M"], check=True)
    r = inside("mount -o ro /dev/vda /mnt; cp /mnt/*.[ch] /tmp; cd /tmp; for f in *.c; do gcc -O2 -Wall -Werror -c $f; done; "
               "gcc -o program *.o -lm; ./program", "--disk", f"{disk},ro")
    assert (r.returncode, r.stdout) == (0, told), r.stderr
