"""A guest on a tap interface, in a network namespace of the test's own: addresses by hand, 16 MiB each way by
TCP with checksum and segmentation offload, and what the interface says of it."""
import hashlib
import pathlib
import subprocess
import sys

from conftest import LODGE

HERE = pathlib.Path(__file__).resolve().parent
GUEST = """
ip link set lo up; ip addr add 10.9.0.2/24 dev eth0; ip link set eth0 up
ping -c 2 -W 5 10.9.0.1 > /dev/null && echo pinged
nc 10.9.0.1 7001 < /dev/null | sha256sum
dd if=/dev/zero bs=1M count=16 2> /dev/null | tr '\\0' 'L' > /tmp/file
httpd -h /tmp; nc 10.9.0.1 7002 < /dev/null
cat /sys/class/net/eth0/mtu
"""


def test_tap(lodge, env, tiny, unshare):
    r = subprocess.run([*unshare("n"), sys.executable, HERE / "wire.py", "1400", LODGE, "run", "-q", "--net", "tap:wire0",
                        "--", "sh", "-c", GUEST], env=env, text=True, capture_output=True, timeout=120)
    assert r.returncode == 0, r.stderr
    lines = r.stdout.split()
    sent = hashlib.sha256(bytes(range(256)) * 65536).hexdigest()
    came = hashlib.sha256(b"L" * (16 << 20)).hexdigest()
    assert "pinged" in lines and sent in lines and "1400" in lines
    assert f"came={came}" in lines
    size, = (int(x[6:]) for x in lines if x.startswith("frame="))
    assert size > 1500  # longer than the MTU: the guest left the cutting to the host
