"""Self-checking guests: each .S says on top what it checks, and "ok" or what failed.

Run: make lodge && python3 -m pytest tests/guest
"""
import os
import pathlib
import subprocess
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from engines import ENGINES  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
LODGE = os.environ.get("LODGE", str(HERE.parents[1] / "lodge"))
GUESTS = sorted(p.stem for p in HERE.glob("*.S"))


def build(name, where):
    obj, wide, elf = where / "x.o", where / "x.64", where / "x.elf"
    subprocess.run(["gcc", "-c", "-o", obj, HERE / f"{name}.S"], check=True)
    subprocess.run(["ld", "-z", "max-page-size=4096", "--no-warn-rwx-segments",
                    "-T", HERE / "link.ld", "-o", wide, obj], check=True)
    subprocess.run(["objcopy", "-O", "elf32-i386", wide, elf], check=True)
    return elf


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", GUESTS)
def test_guest(name, engine, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    elf = build(name, tmp_path)
    done = subprocess.run([LODGE, "run", "--kernel", elf, "-m", "64M", "--test-devices",
                           "--engine", engine,
                           "--no-reboot", "--debugcon", "stdio", "--console", "none",
                           "--net", "none"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.stdout == "ok\n", done.stdout + done.stderr
    # (0 << 1) | 1 of debug-exit; a triple fault ends the VM like a power-off
    assert done.returncode == (0 if name == "triple" else 1)
