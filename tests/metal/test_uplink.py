"""A switch's way out: a guest gets an address from outside, reaches the host, and is who it is there, too.

Run: make lodge lodge.elf && python3 -m pytest tests/metal/test_uplink.py
"""
import hashlib
import http.server
import os
import re
import sys
import threading

import pytest

from machine import TOP, qemu
from packs import definition, pack

for folder in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / folder))
import linux   # noqa: E402
import pieces  # noqa: E402
from test_guests import build  # noqa: E402

MADE = os.urandom(150000).hex().encode()
TOOK = []

# 300 KB from the host and the same back, which goes out in segments that lodge cuts
FETCH = """
wget -q -O /tmp/got http://10.0.2.2:PORT/ && echo got $(sha256sum < /tmp/got)
wget -q -O /tmp/answer --post-file /tmp/got http://10.0.2.2:PORT/ && echo sent
"""
# With an address by DHCP
WEB = """
cat > /bin/lease << 'END'
#!/bin/sh
[ "$1" = bound ] && ip addr add $ip/$mask dev eth0 && ip route add default via $router && echo lease $ip
exit 0
END
chmod +x /bin/lease
ip link set lo up; ip link set eth0 up
udhcpc -i eth0 -n -q -s /bin/lease > /tmp/dhcp 2>&1; grep lease /tmp/dhcp | tail -1
ping -c 2 -W 5 10.0.2.2 > /dev/null && echo outside answers
FETCH
ip addr add 10.0.2.77/24 dev eth0
ping -c 1 -W 3 10.0.2.78 > /dev/null && echo the neighbour answers
touch /tmp/done; cd /tmp; nc -l -p 99 -e true
"""
# On the same switch, without the word uplink
DB = """
ip link set lo up; ip link set eth0 up
ip addr add 10.0.2.78/24 dev eth0
until nc 10.0.2.77 99 -w 1 < /dev/null 2> /dev/null; do sleep 1; done
ping -c 2 -W 2 10.0.2.2 > /dev/null || echo outside is not there
"""
# With an address of its own that is not the one it uses
LIAR = """
ip link set eth0 up
ip addr add 10.0.2.50/24 dev eth0
ping -c 1 -W 5 10.0.2.2 > /dev/null && echo as itself
FETCH
ip addr del 10.0.2.50/24 dev eth0; ip addr add 10.0.2.51/24 dev eth0
ping -c 1 -W 3 10.0.2.2 > /dev/null || echo not as another
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(MADE)

    def do_POST(self):
        TOOK.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.answer(b"ok")

    def log_message(self, *_):
        pass


@pytest.fixture
def port():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    TOOK.clear()
    yield server.server_address[1]
    server.shutdown()


def guest(folder, name, script, net, memory="128M"):
    initrd = linux.initrd(script, ("virtio_pci", "virtio_net"))
    file = definition(folder, name, pieces.kernel(), memory=memory, initrd=initrd, append=f"'{linux.APPEND}'")
    file.write_text(file.read_text().replace("net: none", f"net: '{net}'"))
    return file


def test_qemu(tmp_path, port):
    """Who may go out does, who may not does not, and nobody as another; by a card of each kind."""
    fetch = FETCH.replace("PORT", str(port))
    made = [guest(tmp_path, name, script.replace("FETCH", fetch), net) for name, script, net in (
        ("web", WEB, "switch,uplink"), ("db", DB, "switch"), ("liar", LIAR, "switch:other,uplink=nic1,ip=10.0.2.50"))]
    made.append(definition(tmp_path, "late", build("gates", tmp_path)))
    made[3].write_text(made[3].read_text().replace("net: none", "net: 'switch:third,uplink=nic5'"))
    said, status = qemu(pack(tmp_path, *made), line="check", smp=2, memory=768,
                        options=("-nic", "user,model=e1000", "-nic", "user,model=virtio-net-pci"))
    for name in ("web", "liar"):
        assert f"{name}| got {hashlib.sha256(MADE).hexdigest()} " in said, said
        assert f"{name}| sent\n" in said, said
    assert TOOK == [MADE, MADE], ([len(t) for t in TOOK], said)
    assert re.search(r"lease 10\.0\.2\.\d+", said) and "web| outside answers\n" in said, said
    assert "web| the neighbour answers\n" in said and "db| outside is not there\n" in said, said
    assert "liar| as itself\n" in said and "liar| not as another\n" in said, said
    assert "lodge: late: net switch:third: uplink nic5: there is no such network card" in said, said
    assert " wrong" not in said and status == 0, said
