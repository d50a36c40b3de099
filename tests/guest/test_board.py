"""The board from inside: ACPI tables, timers, interrupt chips, CPUs (tests/guest/board).

Run: make lodge && python3 -m pytest tests/guest/test_board.py
"""
import os
import pathlib
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
LODGE = os.environ.get("LODGE", str(TOP / "lodge"))


@pytest.fixture(scope="module")
def board():
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/board.elf"], check=True)
    return TOP / "build/guest/board.elf"


@pytest.mark.parametrize("cpus", [1, 2, 4, 8])
def test_board(board, cpus, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    done = subprocess.run([LODGE, "run", "--kernel", board, "--append", f"cpus={cpus}",
                           "-c", str(cpus), "-m", "64M", "--test-devices", "--no-reboot",
                           "--console", "none", "--net", "none"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert done.stdout.endswith("ok\n"), done.stdout + done.stderr
    assert done.returncode == 33
    assert done.stderr == ""
