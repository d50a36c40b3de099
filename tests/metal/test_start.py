"""lodge.elf comes up on a bare machine and switches it off.

Run: make lodge.elf && python3 -m pytest tests/metal
"""
import re

import pytest

from machine import ICOUNT, qemu


@pytest.mark.parametrize("cpus", [1, 2, 4])
def test_all_processors(cpus):
    said, status = qemu(smp=cpus)
    assert re.search(rf"^lodge: {cpus} CPUs?, TSC \d+ kHz", said, re.M), said
    assert "panic" not in said and status == 0


@pytest.mark.parametrize("memory", [64, 512, 5120])
def test_memory(memory):
    said, _ = qemu(memory=memory)
    free = int(re.search(r"(\d+) MiB of memory free", said)[1])
    assert memory - 4 - memory // 256 <= free < memory, said


def test_the_clock_is_the_machines():
    """With icount a nanosecond is an instruction, so the TSC's speed is known."""
    said, _ = qemu(options=ICOUNT)
    assert abs(int(re.search(r"TSC (\d+) kHz", said)[1]) - 1000000) < 1000, said
