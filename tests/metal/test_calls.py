"""Hypercalls: docs/hypercalls.md, by the guest that shows them."""
import subprocess

import pytest

from machine import TOP, qemu
from packs import definition, pack


@pytest.fixture
def guest(tmp_path):
    subprocess.run(["make", "-s", "-C", TOP, "build/guest/calls.elf"], check=True)
    return lambda name, role: definition(tmp_path, name, TOP / "build/guest/calls.elf", memory="16M", append=f"role={role}",
                                         test_devices="true", no_reboot="true")


def test_alone(guest, tmp_path):
    said, _ = qemu(pack(tmp_path, guest("web", 0)))
    assert "spoken by a hypercall\nok\n" in said and "lodge: web: powered off\n" in said, said


@pytest.mark.parametrize("engine", ["interp", "bt"])
def test_alone_on_linux(engine, guest, tmp_path):
    guest("web", 0)
    done = subprocess.run([TOP / "lodge", "run", "--kernel", TOP / "build/guest/calls.elf", "-m", "16M", "--append", "role=0",
                           "--engine", engine, "--test-devices", "--debugcon", "stdio", "--console", "none", "--net", "none"],
                          capture_output=True, text=True, timeout=300, env={"XDG_STATE_HOME": str(tmp_path), "PATH": "/usr/bin"})
    assert "spoken by a hypercall\nok\n" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("cpus", [1, 2])
def test_events(cpus, guest, tmp_path):
    """All 64 come, and the answer; a third machine, on no channel, stays alone."""
    made = pack(tmp_path, guest("web", 1), guest("db", 2), guest("other", 0))
    said, _ = qemu(made, smp=cpus, line="channel=web,db check")
    for name in ("web", "db", "other"):
        assert f"{name}| ok\n" in said and f"lodge: {name}: powered off\n" in said, said
