"""The translator, watched: beside the interpreter (--shadow), and by the verifier.

Here each block is compared a hundred times, and each hundredth time from then on; the workload runs once, or
for SHADOW_SECONDS of the host's clock (the guest's goes an eighth as fast), so that ten minutes are:
	SHADOW_SECONDS=600 python3 -m pytest tests/boot/test_shadow.py -k beside
Always is
minutes for a boot, and an hour for what systemd does afterwards:
	lodge run --shadow -v --net none tiny -- uname -a
	lodge run --shadow=1000 -v --net none tiny -- sh -c 'while :; do sha256sum /bin/busybox; ls -lR /proc/sys | sort | gzip | md5sum; done'
	lodge run --shadow -v --kernel vmlinuz --disk disk.ext4,if=nvme --append 'console=ttyS0 root=/dev/nvme0n1 rw'"""
import os
import re
import subprocess

from conftest import TOP

COUNTS = (r"shadow: (\d+) blocks, (\d+) instructions the same; (\d+) of the blocks by single steps; "
          r"(\d+) too large; (\d+) passed by")
WORK = ("for i in 1 2 3 4 5 6 7 8 9; do echo $i | md5sum; done > /tmp/a; gzip < /bin/busybox | gzip -dc | "
        "cmp - /bin/busybox && sha256sum /bin/busybox > /tmp/b && seq 300 | sort -r | awk '{s += 1.5 / $1} END {print s}'")
SECONDS = int(os.environ.get("SHADOW_SECONDS", "0"))
AGAIN = f"end=$(($(date +%s) + {SECONDS // 8})); while [ $(date +%s) -lt $end ]; do ({WORK}) > /tmp/last; done; {WORK}"
SUM = sum(1.5 / n for n in range(1, 301))


def test_beside_the_interpreter(lodge, tiny):
    r = lodge("run", "--engine", "bt", "--shadow=100", "-v", "--net", "none", "-m", "128M", "tiny", "--", "sh", "-c",
              AGAIN, timeout=900 + 20 * SECONDS)
    assert "differ" not in r.stderr, r.stderr
    assert r.returncode == 0 and r.stdout == f"{SUM:.6g}\n", r.stderr
    blocks, insns, stepped, large, passed = (int(n) for n in re.search(COUNTS, r.stderr).groups())
    assert blocks > 2_000_000 and insns > 3 * blocks and passed > 10 * blocks
    assert stepped < blocks / 10 and large < blocks / 1000


def test_two_processors_are_refused(lodge, tiny):
    r = lodge("run", "--engine", "bt", "--shadow", "-c", "2", "tiny", "--", "true")
    assert r.returncode == 125 and "--shadow" in r.stderr and "--cpus" in r.stderr
    r = lodge("run", "--shadow", "--engine", "interp", "tiny", "--", "true")
    assert r.returncode == 125 and "--engine" in r.stderr


def test_every_block_is_proved(lodge, tiny):
    """A boot in a lodge that proves what bt makes; it ends at the first wrong block."""
    subprocess.run(["make", "-s", "-C", TOP, "build/gcc/tests/cpu/lodge-verified"], check=True)
    r = subprocess.run([TOP / "build/gcc/tests/cpu/lodge-verified", "run", "-q", "--engine", "bt", "--net", "none",
                        "-c", "2", "tiny", "--", "uname", "-s"], env=lodge.env, stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=300)
    assert r.returncode == 0 and r.stdout == "Linux\n", r.stderr
    blocks, links = (int(n) for n in re.search(r"verified: (\d+) blocks, (\d+) links", r.stderr).groups())
    assert blocks > 50_000 and links > 30_000
