#!/usr/bin/python3
"""Removes one guard after the other from a copy of the source, and looks whether a test notices.

    make mutate-metal                 all of tests/mutate/guards.py (about an hour)
    make mutate-metal MUTANTS=10      ten of them, others each day
    tests/mutate/mutate.py -k virtq   those whose file or text has this in it
    tests/mutate/mutate.py --stale    only whether each row still fits the source
"""
import argparse
import datetime
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from guards import GUARDS  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parents[2]
LIMIT = 120           # seconds for a test: what hangs was noticed, too


def stale():
    """Rows that do not fit."""
    return [f"{f}: {text!r} is there {(TOP / f).read_text().count(text)} times" for f, text, _, _ in GUARDS
            if (TOP / f).read_text().count(text) != 1]


def copy(to):
    for name in ("core", "engines", "hosts", "tests", "scripts", "images"):
        shutil.copytree(TOP / name, to / name, symlinks=True)
    for name in ("gcc", "metal-gcc", "guest"):
        if (TOP / "build" / name).exists():
            shutil.copytree(TOP / "build" / name, to / "build" / name)
    for name in ("Makefile", "lodge", "lodge.elf"):
        if (TOP / name).exists():
            shutil.copy2(TOP / name, to / name)


def make(tree, *what):
    return subprocess.run(["make", "-s", "-C", tree, "CC=gcc", "CFLAGS=-Wno-error", *what], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)


def passes(words, tree):
    try:
        done = subprocess.run(words, cwd=tree, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def noticed(tree, test):
    """Whether the test fails in that tree."""
    kind, _, name = test.partition(":")
    program = f"build/gcc/tests/{kind}/{name}"
    built = make(tree, program if kind in ("unit", "host") else "lodge.elf")
    if built.returncode:
        sys.exit(f"a mutant does not compile:\n{built.stdout[-2000:]}")
    if kind in ("unit", "host"):
        return not passes([program], tree)
    if kind == "attack":
        return not passes(["tests/metal/attack.py", "--machine", "qemu-svm", "--cpus", "1", "--counted", "--case", "1",
                           *name.split(",")], tree)
    name = name or "tests/metal/test_check.py::test_all_is_well"
    return not passes(["/usr/bin/python3", "-m", "pytest", "-q", "-x", name], tree)


def try_one(tree, guard):
    file, text, instead, test = guard
    source = tree / file
    was = source.read_text()
    try:
        source.write_text(was.replace(text, instead))
        return noticed(tree, test)
    finally:
        source.write_text(was)


def chosen(n, word):
    some = [g for g in GUARDS if word in g[0] or word in g[1] or word in g[3]]
    if not n or n >= len(some):
        return some
    first = datetime.date.today().toordinal() * n
    return [some[(first + i) % len(some)] for i in range(n)]


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    p.add_argument("-n", type=int, default=0, help="so many, others each day; 0: all")
    p.add_argument("-k", default="", help="those with this in file, text or test")
    p.add_argument("--stale", action="store_true")
    o = p.parse_args()
    wrong = stale()
    if wrong or o.stale:
        print(*wrong, f"{len(GUARDS)} guards, {len(wrong)} rows do not fit the source", sep="\n")
        return bool(wrong)
    survivors, some = [], chosen(o.n, o.k)
    with tempfile.TemporaryDirectory() as t:
        copy(pathlib.Path(t))
        for guard in some:
            caught = try_one(pathlib.Path(t), guard)
            print(f"{'noticed ' if caught else 'SURVIVED'} {guard[3]:32} {guard[0]}: {' '.join(guard[1].split())}", flush=True)
            survivors += [] if caught else [guard]
    print(f"{len(some) - len(survivors)} of {len(some)} noticed")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
