"""Debian 12 as its users know it: on a disk, with systemd, to a login and back."""
import hashlib
import http.server
import pathlib
import re
import subprocess
import sys
import threading

import pexpect
import pytest

from conftest import LODGE

MiB = 1 << 20


def debugfs(disk, command):
    return subprocess.run(["/usr/sbin/debugfs", "-R", command, disk], capture_output=True, check=True).stdout


def boot_to_login(lodge, *args, timeout=240):
    c = pexpect.spawn(str(LODGE), ["run", *map(str, args)], env=lodge.env, timeout=timeout, encoding="utf-8",
                      codec_errors="replace")
    c.expect("debian login: |root@debian:~#")
    c.expect("root@debian:~#")
    return c


WRITE = ("head -c 3000000 /dev/urandom > /root/data && sync && sha256sum /root/data | cut -d' ' -f1")


def check_disk(disk, digest):
    assert hashlib.sha256(debugfs(disk, "cat /root/data")).hexdigest() == digest
    r = subprocess.run(["/usr/sbin/e2fsck", "-fn", disk], capture_output=True, text=True)
    assert r.returncode == 0, r.stdout


def write_and_power_off(c):
    c.sendline(WRITE)
    c.expect(r"([0-9a-f]{64})", timeout=120)
    digest = c.match[1]
    c.expect("root@debian:~#")
    c.sendline("poweroff")
    c.expect(pexpect.EOF, timeout=180)
    c.close()
    assert c.exitstatus == 0
    return digest


@pytest.mark.parametrize("cpus", [1, 4])
def test_from_nvme_without_initrd(lodge, debian, disk, cpus):
    c = boot_to_login(lodge, "--kernel", debian / "vmlinuz", "--disk", f"{disk},if=nvme", "--append",
                      "console=ttyS0 root=/dev/nvme0n1 rw", "-c", cpus)
    check_disk(disk, write_and_power_off(c))


def test_from_virtio_with_debians_initrd(lodge, debian, disk):
    c = boot_to_login(lodge, "--kernel", debian / "vmlinuz", "--initrd", debian / "initrd", "--disk", disk,
                      "--append", "console=ttyS0 root=/dev/vda rw", "-c", 2)
    check_disk(disk, write_and_power_off(c))


def test_a_command_in_debian(lodge, debian):
    r = lodge("run", "--name", "builder", "debian", "--", "sh", "-c", ". /etc/os-release; echo $ID $VERSION_ID; exit 9",
              timeout=240)
    assert r.returncode == 9, r.stderr
    assert r.stdout.strip().endswith("debian 12")


def test_a_disk_of_the_users_own(lodge, debian, disk):
    c = boot_to_login(lodge, disk)
    c.sendline("poweroff")
    c.expect(pexpect.EOF, timeout=180)


class Server:
    """Serves 100 MiB and takes as much; both are hashed."""

    def __init__(self):
        self.data = hashlib.shake_128(b"lodge").digest(100 * MiB)
        self.got = None
        outer = self

        class H(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.data)))
                self.end_headers()
                self.wfile.write(outer.data)

            def do_PUT(self):
                h, n = hashlib.sha256(), int(self.headers["Content-Length"])
                if self.headers.get("Expect"):
                    self.send_response_only(100)
                    self.end_headers()
                while n:
                    part = self.rfile.read(min(n, MiB))
                    h.update(part)
                    n -= len(part)
                outer.got = h.hexdigest()
                self.send_response(200)
                self.end_headers()

            def log_message(self, *a):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), H)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def test_100_mib_both_ways(lodge, debian):
    s = Server()
    url = f"http://10.0.2.2:{s.port}/"
    r = lodge("run", "-q", "--name", "builder", "debian", "--", "sh", "-c",
              f"curl -sS {url} -o /root/big && sha256sum /root/big && curl -sS -T /root/big {url}; rm /root/big",
              timeout=600)
    digest = hashlib.sha256(s.data).hexdigest()
    assert digest in r.stdout, (r.stdout, r.stderr)
    assert s.got == digest


def test_names_and_http(lodge, debian, unshare):
    """By name: the guest's resolver asks the gateway's, that one the host's."""
    island = pathlib.Path(__file__).with_name("island.py")
    r = subprocess.run([*unshare("mn"), sys.executable, island, LODGE, "run", "-q", "--name", "builder", "debian", "--", "sh", "-c",
                        "curl -sS http://web.lodge.test:{port}/; getent hosts nowhere.lodge.test || echo no such name"],
                       env=lodge.env, capture_output=True, text=True, timeout=300)
    assert r.stdout == "hello from web.lodge.test\nno such name\n", (r.stdout, r.stderr)
