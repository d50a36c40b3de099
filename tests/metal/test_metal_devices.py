"""Disks and a switch: two Debian guests, each on a root disk of its own, that talk to each other.

Run: make lodge lodge.elf && python3 -m pytest tests/metal/test_metal_devices.py
"""
import re
import sys

import pytest

from machine import TOP, qemu
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import pieces  # noqa: E402
import root    # noqa: E402

# the root disk is written, forgotten and read again; then 10 MiB go over the wire, and back
COMMON = """
sum_of() { sha256sum < $1; }
get() { until wget -q -O $2 http://$1 2> /dev/null; do sleep 0.2; done; }
verify() { sync; echo 3 > /proc/sys/vm/drop_caches; sha256sum < $1; }
dd if=/dev/urandom of=/made bs=64k count=64 2> /dev/null
a=$(sha256sum < /made); b=$(verify /made)
[ "$a" = "$b" ] && echo root disk ok
[ -b /dev/vda ] && dd if=/made of=/dev/vda bs=64k 2> /dev/null
b=$(verify /dev/vda); [ "$a" = "$b" ] && echo second disk ok
ip link set lo up; ip link set eth0 up
"""
WEB = COMMON + """
ip addr add 10.0.0.1/24 dev eth0
dd if=/dev/urandom of=/tmp/sent bs=64k count=160 2> /dev/null
echo sent $(sum_of /tmp/sent)
httpd -h /tmp
get 10.0.0.2/got /tmp/back
echo back $(sum_of /tmp/back)
touch /tmp/done
while ping -c 1 -W 1 10.0.0.2 > /dev/null; do sleep 1; done
"""
DB = COMMON + """
ip addr add 10.0.0.2/24 dev eth0
httpd -h /tmp
get 10.0.0.1/sent /root/got
echo got $(sum_of /root/got)
mv /root/got /tmp/got
get 10.0.0.1/done /dev/null
ping -c 1 -W 60 10.0.0.1 > /dev/null && echo own address goes
ip addr add 10.0.0.9/24 dev eth0
ping -c 1 -W 2 -I 10.0.0.9 10.0.0.1 > /dev/null || echo another address does not
"""
MODULES = ("virtio_pci", "virtio_net", "virtio_blk")


def debian(folder, name, script, net):
    disk = root.disk(folder / f"{name}.img", script, MODULES)
    other = folder / f"{name}2.img"
    other.write_bytes(bytes(4 << 20))
    file = definition(folder, name, pieces.kernel(), memory="192M", append=f"'{root.APPEND}'")
    file.write_text(file.read_text().replace("net: none", f"net: {net}") + f"disk: ['{disk},if=nvme', '{other}']\n")
    return file


def test_two_debians(tmp_path):
    """Disks, network, consoles, power off; and the machine goes off behind them."""
    said, status = qemu(pack(tmp_path, debian(tmp_path, "web", WEB, "switch,ip=10.0.0.1"),
                             debian(tmp_path, "db", DB, "switch,ip=10.0.0.2")),
                        smp=2, memory=1024, timeout=900, line="check")
    for name in ("web", "db"):
        assert f"{name}| root disk ok\n" in said and f"{name}| second disk ok\n" in said, said
    sums = re.findall(r"\| (sent|back|got) ([0-9a-f]{64})", said)
    assert sorted(w for w, _ in sums) == ["back", "got", "sent"] and len({s for _, s in sums}) == 1, said
    assert "db| own address goes\ndb| another address does not\n" in said, said
    assert "lodge: web: powered off\n" in said and "lodge: db: powered off\n" in said and " wrong" not in said, said
    assert said.endswith("lodge: all machines are off\n") and status == 0, said
