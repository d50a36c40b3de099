"""The machine's own disks, given out in parts: what a guest wrote and made durable is on the image, where it belongs.

Run: make lodge lodge.elf && python3 -m pytest tests/metal/test_disks.py     (LONG=1: on bochs, too)
"""
import hashlib
import os
import re
import struct
import sys
import zlib

import pytest

from bochs import bochs
from machine import TOP, qemu
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import linux   # noqa: E402
import pieces  # noqa: E402
from test_guests import build  # noqa: E402

MIB = 1 << 20
# Each disk is told its name by its serial number; it is written, forgotten and read again
SCRIPT = """
cd /sys/block
for d in vd*; do
  name=$(cat $d/serial)
  dd if=/dev/urandom of=/tmp/made bs=64k count=20 2> /dev/null
  a=$(sha256sum < /tmp/made)
  dd if=/tmp/made of=/dev/$d bs=64k conv=fsync 2> /dev/null || echo $name cannot be written
  echo 3 > /proc/sys/vm/drop_caches
  b=$(dd if=/dev/$d bs=64k count=20 2> /dev/null | sha256sum)
  [ "$a" = "$b" ] && echo "$name wrote $a"
  echo "$name has $(cat $d/size)"
done
"""
WROTE = 20 * 65536
AHCI = ("-device", "ich9-ahci,id=ahci")
NVME = "nvme,serial=b"
BLOCKS_4K = "nvme,serial=a,logical_block_size=4096,physical_block_size=4096"


def guest(folder, name, *disks, script=SCRIPT, memory="192M"):
    initrd = linux.initrd(script, ("virtio_pci", "virtio_blk"))
    return definition(folder, name, pieces.kernel(), memory=memory, initrd=initrd, append=f"'{linux.APPEND}'",
                      disk="[" + ", ".join(f"'{d}'" for d in disks) + "]")


def gpt(image, *parts, size=64, guid=0xa0):
    """A disk of so many MiB with partitions (first MiB, MiB, label)."""
    rows = b"".join(bytes([0x11]) * 16 + bytes([guid + i]) * 16 +
                    struct.pack("<QQQ", at * 2048, (at + n) * 2048 - 1, 0) + label.encode("utf-16le").ljust(72, b"\0")
                    for i, (at, n, label) in enumerate(parts)).ljust(128 * 128, b"\0")
    def head(crc):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, 1, size * 2048 - 1, 34, size * 2048 - 34,
                           bytes(16), 2, 128, 128, zlib.crc32(rows))
    mbr = bytearray(512)
    mbr[446:462] = struct.pack("<4B4BII", 0, 0, 2, 0, 0xee, 255, 255, 255, 1, size * 2048 - 1)
    mbr[510:] = b"\x55\xaa"
    image.write_bytes(bytes(mbr) + head(zlib.crc32(head(0))).ljust(512, b"\0") + rows)
    with image.open("r+b") as f:
        f.truncate(size * MIB)
    return image


def mbr(image, *parts, size=64):
    """The same by an MBR, without labels."""
    table = bytearray(512)
    for i, (at, n) in enumerate(parts):
        table[446 + 16 * i:462 + 16 * i] = struct.pack("<4B4BII", 0, 0, 0, 0, 0x83, 0, 0, 0, at * 2048, n * 2048)
    table[510:] = b"\x55\xaa"
    image.write_bytes(bytes(table))
    with image.open("r+b") as f:
        f.truncate(size * MIB)
    return image


def drive(image, i, device):
    return ["-drive", f"if=none,id=d{i},format=raw,file={image}", "-device", f"{device},drive=d{i}"]


def landed(said, machine, name, image, at):
    """What the guest says it wrote on a disk is on the image at so many MiB, and nothing is in front."""
    wrote = re.search(rf"^(?:{machine}\| )?{re.escape(name)} wrote ([0-9a-f]{{64}})", said, re.M)
    assert wrote, said
    with image.open("rb") as f:
        f.seek(at * MIB - 512)
        before, data = f.read(512), f.read(WROTE)
    assert hashlib.sha256(data).hexdigest() == wrote[1], f"{name}: the image has something else"
    assert not any(before), f"{name}: written in front of its place"


def test_qemu(tmp_path):
    """Each kind of controller, and each way to name a part."""
    a = gpt(tmp_path / "a", (1, 8, "boot"), (9, 40, "web root"))
    b = mbr(tmp_path / "b", (2, 20))
    e = mbr(tmp_path / "e", (5, 8))
    c, d = mbr(tmp_path / "c"), gpt(tmp_path / "d", (9, 2, "a"), (11, 9, "b"), size=32, guid=0xb0)
    said, status = qemu(pack(tmp_path, guest(tmp_path, "web", "host:label=web root", "host:virtio0/p1", "host:ide0@24M+4M",
                                             "host:ide0/p1", "host:nvme0@8M+4M", "host:guid=b1b1b1b1-b1b1-b1b1-b1b1-b1b1b1b1b1b1", "host:sata0/p1")),
                        line="check", memory=512,
                        options=[*drive(a, 0, "virtio-blk-pci"), *drive(b, 1, "ide-hd"), *drive(c, 2, BLOCKS_4K), *drive(d, 3, NVME),
                                 *AHCI, *drive(e, 4, "ide-hd,bus=ahci.2")])
    landed(said, "web", "sata0/p1", e, 5)
    landed(said, "web", "nvme0@8M+4M", c, 8)
    landed(said, "web", "guid=b1b1b1b1-b1b1-b", d, 11)
    landed(said, "web", "ide0@24M+4M", b, 24)
    landed(said, "web", "ide0/p1", b, 2)
    landed(said, "web", "label=web root", a, 9)
    landed(said, "web", "virtio0/p1", a, 1)
    assert "label=web root has 81920\n" in said and "virtio0/p1 has 16384\n" in said, said
    assert " wrong" not in said and status == 0, said


def small(folder, name, disk):
    """A guest that asks for no disk, but has one."""
    return definition(folder, name, build("gates", folder), test_devices="true", no_reboot="true", disk=f"'{disk}'")


def test_mistakes(tmp_path):
    """What cannot be given is said in a sentence, and whoever can run does."""
    a = gpt(tmp_path / "a", (1, 8, "boot"), (9, 40, "data"), (49, 4, "twice"), (53, 4, "twice"))
    b = mbr(tmp_path / "b", (1, 8))
    b.write_bytes(b.read_bytes()[:450] + b"\xee" + b.read_bytes()[451:])      # a GPT that is none
    wants = {
        "disk": ("host:nvme7", "there is no disk nvme7; there are: virtio0, virtio1, virtio2"),
        "part": ("host:virtio0/p9", "there is no such partition"),
        "label": ("host:label=web", "there is no such partition"),
        "twice": ("host:label=twice", "several partitions have this name; name it like host:nvme0/p1"),
        "damaged": ("host:virtio1/p1", "its partition table is damaged"),
        "small": ("host:virtio0@60M+5M", "virtio0 has only 67108864 bytes"),
        "ro": ("host:virtio2", "virtio2 can only be read; say so by ,ro"),
        "one": ("host:virtio2,ro", None),
        "both": ("host:virtio2/p1,ro", None),
    }
    c = mbr(tmp_path / "c", (1, 8))
    options = [*drive(a, 0, "virtio-blk-pci"), *drive(b, 1, "virtio-blk-pci"), *drive(c, 2, "virtio-blk-pci")]
    options[-4 + 1] += ",readonly=on"
    rivals = {"whole": "host:virtio0,ro", "part2": "host:virtio0/p2", "piece": "host:virtio0@48M+2M"}
    made = [small(tmp_path, n, w[0]) for n, w in wants.items()]
    made += [guest(tmp_path, n, d, script="sleep 2\n", memory="96M") for n, d in rivals.items()]
    said, status = qemu(pack(tmp_path, *made), line="check", memory=1024, options=options)
    for name, (place, why) in wants.items():
        end = "failed" if why else "exit 1"
        assert f"lodge: {name}: {end}\n" in said, (name, said)
        assert not why or f"lodge: {name}: disk {place.removesuffix(',ro')}: {why}\n" in said, (name, said)
    won = re.findall(r"^lodge: (\w+): powered off$", said, re.M)
    assert len(won) == 1 and won[0] in rivals, said
    for name in set(rivals) - set(won):
        assert f"lodge: {name}: disk {rivals[name].removesuffix(',ro')}: {won[0]} has it, or a part of it\n" in said, said
    assert " wrong" not in said and status == 0, said


FAULTS = """
for d in vda vdb vdc; do
  dd if=/dev/zero of=/dev/$d bs=64k count=16 conv=fsync 2> /dev/null && echo $d is good || echo $d is bad
done
"""


@pytest.mark.parametrize("words", ["none", "VT-d is there and is not used"])
def test_iommu(tmp_path, words):
    """On a board with MCFG and SATA, too."""
    image = mbr(tmp_path / "a", (1, 8))
    options = ["-M", "q35", *drive(image, 0, "ide-hd,bus=ide.0")]
    said, status = qemu(pack(tmp_path, small(tmp_path, "a", "host:sata0/p1")), line="check",
                        options=options + (["-device", "intel-iommu"] if words != "none" else []))
    assert f"lodge: IOMMU: {words}: controllers" in said and "lodge: disk sata0: 64 MiB\n" in said, said
    assert "lodge: a: exit 1\n" in said and status == 0, said


def test_faults(tmp_path):
    """One fails, one does not answer any more: the guest hears of it, the others go on."""
    images = [mbr(tmp_path / n) for n in "abc"]
    options = drive(images[0], 0, NVME)
    options += ["-drive", f"if=none,id=d1,format=raw,file.driver=blkdebug,file.image.filename={images[1]},"
                "file.inject-error.0.event=write_aio,file.inject-error.0.errno=5", "-device", "virtio-blk-pci,drive=d1"]
    options += ["-drive", f"if=none,id=d2,format=raw,file={images[2]},throttling.bps-write=512",
                "-device", "nvme,serial=x,drive=d2"]
    said, status = qemu(pack(tmp_path, guest(tmp_path, "web", "host:nvme0", "host:virtio0", "host:nvme1", script=FAULTS)),
                        line="check", options=options)
    assert "vda is good\n" in said and "vdb is bad\n" in said and "vdc is bad\n" in said, said
    assert re.search(r"^lodge: disk virtio0: cannot write block \d+$", said, re.M), said
    assert len(re.findall("^lodge: disk virtio0", said, re.M)) < 14, "it is said a few times, not for ever"
    assert said.count("lodge: disk nvme1: does not answer as NVMe does; it is given up\n") == 1, said
    assert " wrong" not in said and status == 0, said


@pytest.mark.skipif("LONG" not in os.environ, reason="LONG=1: on bochs, 80 s of CPU time")
def test_bochs(tmp_path):
    """Its disks are on IDE."""
    image = mbr(tmp_path / "a", (1, 8), size=16)
    said, off = bochs(pack(tmp_path, guest(tmp_path, "web", "host:ide0/p1", memory="128M")), line="check", memory=320,
                      more=f"ata0-slave: type=disk, mode=flat, path={image}\n")
    landed(said, "web", "ide0/p1", image, 1)
    assert " wrong" not in said and off, said
