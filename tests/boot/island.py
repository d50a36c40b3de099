#!/usr/bin/env python3
"""A host with a resolver, for machines that have none: a loopback, a name server on it, a web server,
and /etc/resolv.conf names them.  It wants namespaces of its own:

usage: unshare -rmn island.py COMMAND ARG...   {port} in ARG becomes the web server's; ends as COMMAND does"""
import http.server
import socket
import struct
import subprocess
import sys
import tempfile
import threading

NAME = "web.lodge.test"
HOST = "10.0.2.2"  # what a guest in user mode calls its host


def question(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels), struct.unpack_from(">H", query, at + 1)[0], query[12:at + 5]


def answer(query):
    """RFC 1035, 4.1: NAME has one address, every other name does not exist."""
    name, kind, asked = question(query)
    known = name.lower() == NAME
    found = known and kind == 1
    head = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, int(found), 0, 0)
    record = struct.pack(">HHHIH", 0xc00c, 1, 1, 60, 4) + socket.inet_aton(HOST) if found else b""
    return head + asked + record


def resolver():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(("127.0.0.1", 53))

    def serve():
        while True:
            query, who = s.recvfrom(512)
            s.sendto(answer(query), who)
    threading.Thread(target=serve, daemon=True).start()


class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"hello from {self.headers['Host'].split(':')[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass


def inside(command):
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.NamedTemporaryFile("w") as conf:
        conf.write("nameserver 127.0.0.1\n")
        conf.flush()
        subprocess.run(["mount", "--bind", conf.name, "/etc/resolv.conf"], check=True)
    resolver()
    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    return subprocess.run([c.replace("{port}", str(web.server_port)) for c in command], stdin=subprocess.DEVNULL).returncode


if __name__ == "__main__":
    sys.exit(inside(sys.argv[1:]))
