"""Where the tests run lodge: the two beds and this machine itself.

A place runs a shell script, with a lodge and files beside it, and gives back what was said and the
exit status.  Starting a bed takes a minute under bochs, so a test's script does much at once."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import warnings

import pytest

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[1]
LODGE = pathlib.Path(os.environ.get("LODGE", TOP / "lodge")).resolve()
ENGINE = os.environ.get("ENGINE", "kvm")
NEEDS = {"svm": ["qemu-system-x86_64"], "vmx": ["bochs", "grub-mkrescue", "xorriso", "mformat"], "here": []}


def lacking(place):
    """Why the place is absent, or None."""
    for tool in NEEDS[place]:
        if not shutil.which(tool):
            return f"{tool} is not installed"
    if place == "here":
        try:
            os.close(os.open("/dev/kvm", os.O_RDWR))
        except OSError as e:
            return f"/dev/kvm: {e.strerror}"
    return None


def here(script, files, folder, timeout):
    for name, source in files.items():
        shutil.copy(source, folder / name)
    env = dict(os.environ, PATH=f"{LODGE.parent}:{os.environ['PATH']}", XDG_STATE_HOME=str(folder / "state"))
    return subprocess.run(["sh", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace")


def bed(place, script, files, options, timeout):
    words = [w for name, source in files.items() for w in ("--file", f"{name}={source}")]
    return subprocess.run([sys.executable, HERE / place, "--lodge", LODGE, "--timeout", str(timeout), *words,
                           *options, "--", "sh", "-c", script],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")


BROKE = (124, 125)      # the bed itself: it stood still, its kernel panicked


def run(place, script, files, folder, options=(), timeout=900):
    """(what was said, exit status); skips the test where the place is absent.

    A bed that breaks is started once more, and that is said: the emulators' own faults (docs/beds.md) do
    that now and then.  What a guest answers is never asked twice."""
    why = lacking(place)
    if why:
        pytest.skip(f"no {place}: {why}")
    assert LODGE.exists(), "build it first: make lodge"
    if place == "here":
        done = here(script, files, folder, timeout)
    else:
        done = bed(place, script, files, options, timeout)
        if done.returncode in BROKE:
            warnings.warn(f"bed {place} broke and is started once more:\n{(done.stdout + done.stderr)[-3000:]}")
            done = bed(place, script, files, options, timeout)
    assert done.returncode not in BROKE, done.stdout + done.stderr
    return done.stdout, done.stderr, done.returncode


def answers(text):
    """{name: (exit status, what it said, its errors)} of a script that prints @@ NAME STATUS, words, @@, errors."""
    found = re.findall(r"^@@ (\S+) (\d+)\n(.*?)^@@\n(.*?)(?=^@@ |\Z)", text, re.S | re.M)
    return {name: (int(status), out, err) for name, status, out, err in found}
