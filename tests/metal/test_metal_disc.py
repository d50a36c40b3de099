"""`lodge metal iso` and `run`: GRUB starts lodge.elf, by a BIOS and by UEFI.

Run: make lodge lodge.elf && python3 -m pytest tests/metal/test_metal_disc.py
"""
import os
import shutil
import subprocess
import sys

import pytest

from machine import TOP
from packs import definition

sys.path.insert(0, str(TOP / "tests" / "guest"))
from test_guests import build  # noqa: E402


def lodge(*words, program=TOP / "lodge", **env):
    return subprocess.run([program, "metal", *map(str, words)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=600, env=dict(os.environ, **env))


@pytest.fixture
def gates(tmp_path):
    disk = tmp_path / "d.img"
    disk.write_bytes(bytes(1 << 20))
    return definition(tmp_path, "gates", build("gates", tmp_path), test_devices="true", no_reboot="true", disk=disk)


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_run(firmware, gates, tmp_path):
    """The whole way: the disc is made, GRUB starts lodge.elf with the pack, the guest runs, all goes off."""
    done = lodge("run", gates, "--line", "check", *["--uefi"] * (firmware == "uefi"), TMPDIR=str(tmp_path))
    said = done.stdout.replace("\r", "")
    assert "lodge: 2 CPUs, " in said and "lodge: gates: exit 1\n" in said and "lodge: check: ok, " in said, said + done.stderr
    assert "lodge: all machines are off\n" in said and done.returncode == 0, said + done.stderr
    assert not list(tmp_path.glob("lodge-disc*")), "what was made for it is gone"


def test_iso_of_an_installed_lodge(gates, tmp_path):
    """lodge.elf is found where `make install` puts it; and both ways to start are on the disc."""
    subprocess.run(["make", "-s", "-C", TOP, "install", f"DESTDIR={tmp_path}", "PREFIX=/usr"], check=True)
    done = lodge("iso", gates, "-o", tmp_path / "l.iso", program=tmp_path / "usr/bin/lodge")
    assert done.returncode == 0 and not done.stderr, done.stderr
    report = subprocess.run(["xorriso", "-indev", tmp_path / "l.iso", "-report_el_torito", "plain"], capture_output=True, text=True)
    assert " BIOS " in report.stdout and " UEFI " in report.stdout, report.stdout
    assert not list(tmp_path.glob("l.iso.*"))
    (tmp_path / "usr/lib/lodge/lodge.elf").unlink()
    done = lodge("iso", gates, "-o", tmp_path / "m.iso", program=tmp_path / "usr/bin/lodge")
    assert done.returncode == 125 and "`make lodge.elf` makes it" in done.stderr and not (tmp_path / "m.iso").exists()


@pytest.mark.parametrize("tool, package", [("grub-mkrescue", "grub-common"), ("xorriso", "xorriso"), ("mformat", "mtools")])
def test_a_tool_is_missing(tool, package, gates, tmp_path):
    for other in {"grub-mkrescue", "xorriso", "mformat"} - {tool}:
        (tmp_path / other).symlink_to(shutil.which(other))
    done = lodge("iso", gates, "-o", tmp_path / "l.iso", PATH=str(tmp_path))
    assert done.returncode == 125 and not (tmp_path / "l.iso").exists()
    assert f"metal iso: {tool} is not installed; as root: apt-get install {package}\n" in done.stderr


@pytest.mark.parametrize("words, why", [
    ((), "metal: what? there are pack, iso, run and unpack"), (("burn", "x"), "metal: what?"), (("iso",), "metal: no definition"),
    (("run", "x.yaml", "--on", "xen"), "on xen: there are qemu, bochs-svm (or bochs) and bochs-vmx"), (("iso", "none.yaml"), "none.yaml: No such file"),
    (("iso", "x.yaml", "--line", "check; reboot"), "line 'check; reboot': words for lodge.elf are"),
    (("run", "x.yaml", "-c", "0"), "cpus 0: not a number from 1 to 64"),
])
def test_wrong_words(words, why, tmp_path):
    done = lodge(*words, TMPDIR=str(tmp_path))
    assert done.returncode == 125 and why in done.stderr, done.stderr


@pytest.mark.parametrize("words", [(), ("pack",), ("iso",), ("run",)])
def test_help(words):
    done = lodge(*words, "--help")
    assert done.returncode == 0 and "Example" in done.stdout and f"lodge metal {(*words, 'run')[0]} " in done.stdout
