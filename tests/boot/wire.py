#!/usr/bin/env python3
"""A tap interface wire0 with 10.9.0.1 on it; port 7001 sends 16 MiB, and who calls port 7002
is asked for /file by HTTP before the call ends; its hash is said.
It wants a network namespace of its own:

usage: unshare -rn wire.py MTU COMMAND ARG...   ends as COMMAND does"""
import hashlib
import socket
import subprocess
import sys
import threading
import urllib.request


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def interface(mtu):
    ip("tuntap", "add", "dev", "wire0", "mode", "tap", "vnet_hdr")
    ip("addr", "add", "10.9.0.1/24", "dev", "wire0")
    ip("link", "set", "wire0", "mtu", mtu, "up")


def listen(port, use):
    s = socket.create_server(("10.9.0.1", port))
    t = threading.Thread(target=lambda: use(s.accept()[0]), daemon=True)
    t.start()
    return t


def give(c):
    c.sendall(bytes(range(256)) * 65536)
    c.close()


def counted():
    """Bytes and frames that the host had from the guest."""
    for line in open("/proc/net/dev"):
        if line.strip().startswith("wire0:"):
            return [int(x) for x in line.split(":")[1].split()[:2]]


def take(c):
    h, (bytes_then, frames_then) = hashlib.sha256(), counted()
    with urllib.request.urlopen("http://10.9.0.2/file") as r:
        while part := r.read(1 << 16):
            h.update(part)
    size, frames = counted()
    print(f"came={h.hexdigest()} frame={(size - bytes_then) // (frames - frames_then)}", flush=True)
    c.close()


def main(mtu, *command):
    interface(mtu)
    listen(7001, give)
    taken = listen(7002, take)
    status = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    taken.join(20)
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
