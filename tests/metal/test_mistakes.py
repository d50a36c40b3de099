"""What is missing or wrong is said in a sentence, and whoever can run does."""
import re
import subprocess
import sys

import pytest

from machine import TOP, qemu
from packs import definition, pack

sys.path.insert(0, str(TOP / "tests" / "guest"))
from test_guests import build  # noqa: E402


@pytest.fixture
def gates(tmp_path):
    return definition(tmp_path, "gates", build("gates", tmp_path), test_devices="true", no_reboot="true")


@pytest.mark.parametrize("cpu, words", [
    ("max,-svm", "this processor has no AMD-V (SVM); this processor has no VT-x (VMX)"),
    ("max,+svm,-npt", "this processor's AMD-V has no nested paging, which lodge needs; "
     "this processor has no VT-x (VMX)"),
])
def test_processor(gates, tmp_path, cpu, words):
    said, status = qemu(pack(tmp_path, gates), cpu=cpu)
    assert f"lodge: no guest can run here: {words}\n" in said and status == 0


def test_no_module():
    said, _ = qemu()
    assert "lodge: no module, so no machine: hand over a pack, made by `lodge metal pack`\n" in said


def test_damaged_module(gates, tmp_path):
    good = pack(tmp_path, gates)
    bad, other, short = tmp_path / "bad", tmp_path / "other", tmp_path / "short"
    bytes_ = bytearray(good.read_bytes())
    short.write_bytes(bytes_[:len(bytes_) // 2])
    bytes_[40] ^= 1
    bad.write_bytes(bytes_)
    other.write_bytes(b"something else")
    said, _ = qemu(bad, other, short, good)
    assert "lodge: module 1: damaged; pack it again\n" in said
    assert "lodge: module 2: not a pack; make one with `lodge metal pack`\n" in said
    assert re.search(r"^lodge: module 3: cut short: \d+ bytes of \d+$", said, re.M), said
    assert "lodge: gates: exit 1\n" in said, "the good one runs"


def test_too_big(gates, tmp_path):
    big = definition(tmp_path, "big", TOP / "lodge", memory="2G")
    said, _ = qemu(pack(tmp_path, big, gates), memory=512)
    assert re.search(r"^lodge: big: memory: 2048 MiB in one piece are not to be had: \d+ MiB are free$", said, re.M)
    assert "lodge: big: failed\n" in said and "lodge: gates: exit 1\n" in said, said


def test_no_kernel(gates, tmp_path):
    text = tmp_path / "kernel"
    text.write_text("no kernel at all" * 100)
    said, _ = qemu(pack(tmp_path, definition(tmp_path, "none", text), gates))
    assert "not a kernel" in said and "lodge: none: failed\n" in said and "lodge: gates: exit 1\n" in said, said


def test_what_cannot_be_packed(gates, tmp_path):
    (tmp_path / "d.img").write_bytes(bytes(700))
    for word, why in (({"publish": "8080:80"}, "publish: not on bare metal yet"),
                      ({"firmware": tmp_path / "d.img"}, "firmware: not on bare metal yet"),
                      ({"disk": tmp_path / "d.img"}, "d.img: 700 bytes are not whole sectors of 512"),
                      ({"disk": "host:nvme0/"}, "disk host:nvme0/: not a place like host:nvme0, host:nvme0/p2"),
                      ({"disk": tmp_path / "none.img"}, "No such file")):
        d = definition(tmp_path, "x", TOP / "lodge.elf", **word)
        done = subprocess.run([TOP / "lodge", "metal", "pack", d, "-o", tmp_path / "x"], capture_output=True, text=True)
        assert done.returncode == 125 and why in done.stderr and not (tmp_path / "x").exists(), done.stderr


def test_words_of_run(gates, tmp_path):
    """What the emulated machine cannot be given, and a disk that only a bare machine has."""
    image = tmp_path / "d.img"
    image.write_bytes(bytes(1 << 20))
    for words, why in ((["--disk", f"{image},if=scsi"], "there are if=virtio, if=nvme, if=ahci and if=ide"),
                       (["--disk", f"{tmp_path}/none"], "No such file"), (["--disk", f"{image},if=ide"] * 4, "room for 3 disks on IDE"),
                       (["--uplink", "ne2k"], "there are e1000 and virtio"),
                       (["--on", "bochs", "--disk", str(image)], "bochs has disks on IDE alone"),
                       (["--on", "bochs", "--uplink", "virtio"], "write --uplink e1000")):
        done = subprocess.run([TOP / "lodge", "metal", "run", gates, *words], capture_output=True, text=True)
        assert done.returncode == 125 and why in done.stderr, done.stderr
    done = subprocess.run([TOP / "lodge", "run", "--kernel", TOP / "build/guest/board.elf", "--disk", "host:nvme0"],
                          capture_output=True, text=True)
    assert done.returncode == 125 and "only lodge.elf gives out" in done.stderr, done.stderr


def test_what_two_have_in_common(gates, tmp_path):
    """Lies in the pack once, unless it is a disk that is written to."""
    image = tmp_path / "d.img"
    image.write_bytes(b"disk" * 128 * 1953)
    size = {}
    for name, words in (("one", ["ro"]), ("shared", ["ro", "ro"]), ("own", ["ro", "if=nvme"])):
        made = [definition(tmp_path, f"{name}{i}", build("gates", tmp_path), disk=f"'{image},{w}'") for i, w in enumerate(words)]
        size[name] = pack(tmp_path, *made).stat().st_size
    assert size["shared"] == size["one"] and size["own"] >= size["one"] + image.stat().st_size, size


def test_one_address_twice(gates, tmp_path):
    """Two NICs may be one on two switches, not on one; whoever comes second stays off."""
    nets = {"a": "switch", "b": "switch", "c": "switch:other"}
    made = [definition(tmp_path, n, build("gates", tmp_path), test_devices="true", no_reboot="true") for n in nets]
    for file, net in zip(made, nets.values()):
        file.write_text(file.read_text().replace("net: none", f"net: '{net},mac=52:54:00:00:00:01'"))
    said, _ = qemu(pack(tmp_path, *made))
    assert "lodge: b: net switch:lan: a has the same MAC address; give one of them another by mac=\n" in said, said
    assert "lodge: b: failed\n" in said and "lodge: a: exit 1\n" in said and "lodge: c: exit 1\n" in said, said
