"""What a user gets wrong: one clear error with the name, the cause and what to do."""
import os
import signal
import subprocess

import pytest

from conftest import LODGE


def refused(r, *words):
    assert r.returncode == 125, (r.returncode, r.stderr)
    lines = [l for l in r.stderr.splitlines() if l.startswith("lodge:")]
    assert len(lines) == 1, r.stderr
    for w in words:
        assert w in r.stderr, r.stderr


def test_unknown_image(lodge):
    refused(lodge("run", "debain"), "debain", "did you mean 'debian'")


def test_missing_kernel(lodge, tmp_path):
    refused(lodge("run", "--kernel", tmp_path / "nothing"), "nothing", "No such file")


def test_kernel_is_a_folder(lodge, tmp_path):
    refused(lodge("run", "--kernel", tmp_path), str(tmp_path))


def test_truncated_kernel(lodge, tiny, tmp_path):
    whole = (tiny / "vmlinuz").read_bytes()
    for n in (0, 1, 512, 600, 4096, len(whole) // 2):
        (tmp_path / "k").write_bytes(whole[:n])
        refused(lodge("run", "--kernel", tmp_path / "k"), "k")


def test_kernel_of_the_wrong_kind(lodge, tmp_path):
    (tmp_path / "k").write_bytes(b"#!/bin/sh\n" * 1000)
    refused(lodge("run", "--kernel", tmp_path / "k"), "k")


@pytest.mark.skipif(os.getuid() == 0, reason="root can read everything")
def test_unreadable_kernel(lodge, tmp_path):
    (tmp_path / "k").write_bytes(b"x" * 10000)
    (tmp_path / "k").chmod(0)
    refused(lodge("run", "--kernel", tmp_path / "k"), "Permission denied")


def test_missing_initrd(lodge, tiny, tmp_path):
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "--initrd", tmp_path / "no"), "no", "No such file")


def test_too_much_memory(lodge, tiny):
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "-m", "900G"), "memory")
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "-m", "2T"), "1 TiB")
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "-m", "1Q"), "1Q", "512M")


def test_too_little_memory(lodge, tiny):
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "-m", "8M"), "memory")


def test_too_many_cpus(lodge, tiny):
    refused(lodge("run", "--kernel", tiny / "vmlinuz", "-c", "1000"), "1000")


def test_unknown_option(lodge):
    r = lodge("run", "--memroy", "1G")
    assert r.returncode == 125 and "memroy" in r.stderr


def test_unknown_command(lodge):
    r = lodge("rnu")
    assert r.returncode == 125 and "rnu" in r.stderr and "did you mean 'run'" in r.stderr


def test_missing_disk(lodge, tiny, tmp_path):
    refused(lodge("run", "--disk", tmp_path / "no.img"), "no.img")


def test_odd_disk(lodge, tiny, tmp_path):
    (tmp_path / "d").write_bytes(b"x" * 1000)
    refused(lodge("run", "--disk", tmp_path / "d"), "512")


def test_two_machines_on_one_disk(lodge, tiny, tmp_path):
    disk = tmp_path / "d.img"
    disk.write_bytes(b"\0" * (1 << 20))
    p = lodge.start("run", "-q", "--disk", str(disk), "--net", "none", "--", "sleep", "1000")
    try:
        import time
        time.sleep(1.5)
        refused(lodge("run", "-q", "--disk", disk, "--", "true"), "d.img", str(p.pid))
        refused(lodge("run", "-q", "--disk", f"{disk},ro", "--", "true"), "d.img")
    finally:
        p.kill()
        p.wait()
    r = lodge("run", "-q", "--net", "none", "--disk", f"{disk},ro", "--", "true")
    assert r.returncode == 0, r.stderr


def test_a_port_that_is_taken(lodge, tiny):
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        refused(lodge("run", "-q", "-p", f"{port}:80", "--", "true"), str(port))


def test_no_such_tap(lodge, tiny):
    refused(lodge("run", "-q", "--net", "tap:nosuchtap0", "--", "true"), "nosuchtap0")


def test_bad_port(lodge):
    refused(lodge("run", "-p", "99999:80"), "99999:80", "8080:80")


def test_nobody_reads_the_console(lodge, tiny):
    p = lodge.start("run", "-q", "--net", "none", "--", "sh", "-c", "yes | head -c 300000; exit 3")
    p.stdout.close()
    assert p.wait(timeout=60) == 3


class TestDefinitions:
    def check(self, lodge, tmp_path, text):
        f = tmp_path / "web.yaml"
        f.write_text(text)
        return lodge("check", f)

    def test_good(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "image: tiny\nmemory: 1G\ncpus: 2\npublish: [8080:80]\nno-reboot: true\n")
        assert r.returncode == 0, r.stderr

    def test_unknown_key(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "image: tiny\nmemroy: 1G\n")
        assert r.returncode == 125
        assert "web.yaml:2:1: unknown key 'memroy', did you mean 'memory'?" in r.stderr
        assert "2 | memroy: 1G\n" in r.stderr and "| ^" in r.stderr

    def test_bad_value(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "memory: lots\n")
        assert r.returncode == 125 and "web.yaml:1:9: memory lots: not a size" in r.stderr

    def test_not_yaml(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "memory: [1G\ncpus: 2\n")
        assert r.returncode == 125 and "web.yaml:" in r.stderr

    def test_not_text(self, lodge, tmp_path):
        f = tmp_path / "web.yaml"
        f.write_bytes(b"cpus: 2\n%pub\x8esh: 1\n")
        r = lodge("check", f)
        assert r.returncode == 125 and "web.yaml:2:5: byte 0x8e: invalid leading UTF-8 octet" in r.stderr

    def test_two_documents(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "image: tiny\n---\ncpus: 2\n")
        assert r.returncode == 125 and "web.yaml:3:1: a second document" in r.stderr

    def test_a_nul_in_a_value(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, 'kernel: "vmlinuz\\0.evil"\n')
        assert r.returncode == 125 and "web.yaml:1:9: kernel wants one value" in r.stderr

    def test_every_error_is_told(self, lodge, tmp_path):
        r = self.check(lodge, tmp_path, "cpu: 2\nmemory: x\nno-reboot: 3\n")
        assert r.stderr.count("web.yaml:") == 3

    def test_runs(self, lodge, tiny, tmp_path):
        f = tmp_path / "web.yaml"
        f.write_text("image: tiny\nmemory: 256M\ncpus: 2\nnet: none\n")
        r = lodge("run", "-q", f, "--", "nproc", check=0)
        assert r.stdout.strip() == "2"


def test_a_program_that_is_not_there(lodge, debian):
    r = subprocess.run([LODGE, "run", "--name", "nocopy", "debian", "--", "true"], env=dict(lodge.env, PATH="/nowhere"),
                       capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120)
    assert r.returncode == 125 and "lodge: cp: No such file or directory\n" in r.stderr


def test_doctor(lodge):
    import json
    r = lodge("doctor")
    assert r.returncode == 0 and "engine bt" in r.stdout and "engine interp" in r.stdout
    found = json.loads(lodge("doctor", "--json", check=0).stdout)
    assert any(f["what"] == "engine interp" and f["verdict"] == "ok" for f in found)


def test_help(lodge):
    assert "lodge run" in lodge("--help", check=0).stdout
    for c in ("run", "check", "doctor"):
        r = lodge(c, "--help", check=0)
        assert f"lodge {c}" in r.stdout


def test_a_full_disk_on_the_host(lodge, tiny, tmp_path):
    """The guest is told of the error, the user of the cause, and the machine goes on."""
    disk = tmp_path / "d.img"
    with open(disk, "wb") as f:
        f.truncate(512 << 20)
    script = ("dd if=/dev/zero of=/dev/vda bs=1M seek=300 count=1 conv=fsync 2>&1 | grep -i error; "
              "dd if=/dev/vda bs=1M count=1 2>/dev/null | wc -c")
    # no file may grow over 200 MiB: what is written beyond fails like on a full disk
    r = subprocess.run(["bash", "-c", 'ulimit -f 204800; exec "$@"', "-", LODGE, "run", "-q", "--net", "none",
                        "-m", "128M", "--disk", disk, "--", "sh", "-c", script],
                       env=lodge.env, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert "rror" in r.stdout and r.stdout.strip().endswith("1048576"), (r.stdout, r.stderr)
    assert "d.img" in r.stderr, r.stderr
