"""Saving and restoring: how long a 512 MiB guest with 64 MiB touched stands, and how soon a
restored one runs.  Part of bench.py; alone: python3 bench/saved.py"""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[1]
LODGE = TOP / "lodge"
TOUCH = "head -c {mib}m /dev/urandom > /tmp/touched; echo touched; while :; do sleep 1; done"


def wait_for(path, text, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if path.exists() and text in path.read_text(errors="replace"):
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: the guest never said {text!r}")


def first_instruction(folder, env):
    """Microseconds from machine_init to the guest's first instruction, and from exec to the answer of its socket."""
    started = time.monotonic()
    p = subprocess.Popen([LODGE, "restore", folder, "-v", "-q", "--engine", "interp", "--name", "back",
                          "--console", "none"], env=env,
                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    for line in p.stderr:
        m = re.search(r"first instruction (\d+) us", line)
        if m:
            break
    whole = time.monotonic() - started
    p.send_signal(signal.SIGKILL)
    p.communicate()
    return int(m[1]), whole * 1e6


def run(n):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as d:
        folder = pathlib.Path(d)
        env = dict(os.environ, XDG_RUNTIME_DIR=d)
        console = folder / "console"
        p = subprocess.Popen([LODGE, "run", "-q", "-m", "512M", "--net", "none", "--name", "bench", "--console",
                              f"file:{console}", "--", "sh", "-c", TOUCH.format(mib=64)], env=env,
                             stdin=subprocess.DEVNULL)
        wait_for(console, "touched")
        pauses = []
        for _ in range(n):
            r = subprocess.run([LODGE, "save", "bench", folder / "saved", "--json"], env=env, check=True,
                               capture_output=True, text=True)
            pauses.append(json.loads(r.stdout))
        p.kill()
        p.wait()
        best = min(pauses, key=lambda j: j["pause_us"])
        print(f"save 512 MiB, 64 MiB touched: stood {best['pause_us'] / 1000:.1f} ms for {best['bytes'] / 2**20:.0f} MiB "
              f"(the kernel's and the page cache's among them)")
        times = [first_instruction(folder / "saved", env) for _ in range(max(n, 3))]
        print(f"restore to the first instruction: {min(t[0] for t in times) / 1000:.1f} ms, "
              f"with the program's start {min(t[1] for t in times) / 1000:.1f} ms")
        shutil.rmtree(folder / "saved")


if __name__ == "__main__":
    run(3)
