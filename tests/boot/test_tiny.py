"""The image tiny: Debian's cloud kernel and busybox, in the ways a user starts it."""
import os
import re
import signal
import subprocess
import time

import pexpect
import pytest

from conftest import LODGE, TOP


def spawn(lodge, *args, timeout=90):
    return pexpect.spawn(str(LODGE), list(args), env=lodge.env, timeout=timeout, encoding="utf-8",
                         codec_errors="replace", dimensions=(24, 80))


def test_a_command_and_its_status(lodge, tiny):
    r = lodge("run", "--", "sh", "-c", "echo out; exit 7")
    assert r.returncode == 7
    assert r.stdout == "out\n"


def test_words_stay_words(lodge, tiny):
    r = lodge("run", "-q", "--net", "none", "--", "printf", "%s|", "a b", "it's", "$HOME", check=0)
    assert r.stdout == "a b|it's|$HOME|"


@pytest.mark.parametrize("cpus", [1, 4])
def test_processors(lodge, tiny, cpus):
    r = lodge("run", "-q", "-c", cpus, "--net", "none", "--", "nproc", check=0)
    assert r.stdout.strip() == str(cpus)


def test_memory(lodge, tiny):
    r = lodge("run", "-q", "-m", "4G", "--net", "none", "--", "sh", "-c", "grep MemTotal /proc/meminfo", check=0)
    assert 3.8e6 < int(re.search(r"(\d+) kB", r.stdout)[1]) < 4.2e6


def test_a_32_bit_program(lodge, tiny, tmp_path):
    """Under the 64-bit kernel, two of it among 64-bit ones."""
    o, program = tmp_path / "narrow.o", tmp_path / "narrow"
    subprocess.run(["as", "--32", "-o", o, TOP / "tests/boot/narrow.S"], check=True)
    subprocess.run(["ld", "-m", "elf_i386", "-s", "-o", program, o], check=True)
    os.truncate(program, 65536)
    r = lodge("run", "-q", "-c", "2", "--net", "none", "--disk", f"{program},ro", "--", "sh", "-c",
              "cat /dev/vda > /tmp/n; chmod +x /tmp/n; /tmp/n & sha256sum /bin/busybox > /tmp/s & /tmp/n && wait $! && wait",
              check=0)
    assert r.stdout == "narrow oknarrow ok"


def test_a_shell(lodge, tiny):
    c = spawn(lodge, "run")
    c.expect(f"engine +{os.environ['LODGE_ENGINE']}")
    c.expect("root@tiny:~#")
    c.sendline("echo $((6*7)) $(uname -m)")
    c.expect("42 x86_64")
    c.expect("#")
    c.sendline("poweroff")
    c.expect(pexpect.EOF)
    c.close()
    assert c.exitstatus == 0


def test_the_timeline(lodge, tiny):
    r = lodge("run", "--", "true", check=0)
    assert re.search(rf"engine +{os.environ['LODGE_ENGINE']} +asked for", r.stderr)
    assert re.search(r"boot +init [\d.]+s .*command [\d.]+s", r.stderr)


def test_escape_key_quits_and_restores_the_terminal(lodge, tiny):
    c = pexpect.spawn("/bin/sh", env=dict(lodge.env, PS1="HOST> "), timeout=60, encoding="utf-8",
                      codec_errors="replace")
    c.sendline(f"stty -a > {lodge.env['HOME']}/before; {LODGE} run; echo status $?; stty -a > {lodge.env['HOME']}/after")
    c.expect("root@tiny:~#")
    c.send("\x1d")
    c.send("h")
    c.expect("(?i)quit")
    c.send("\x1d")
    c.send("q")
    c.expect("status 130")
    c.sendline("exit")
    c.expect(pexpect.EOF)
    home = lodge.env["HOME"]
    assert open(f"{home}/before").read() == open(f"{home}/after").read()


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment(lodge, tiny, sig):
    for wait in (0.0, 0.02, 0.3, 1.5):
        p = lodge.start("run", "-q")
        time.sleep(wait)
        p.send_signal(sig)
        out, err = p.communicate(timeout=30)
        assert p.returncode in (130, 128 + sig, -sig), (wait, p.returncode, err)


def test_plain_machine(lodge, tiny):
    r = lodge("run", "--kernel", tiny / "vmlinuz", "--initrd", tiny / "initrd", "--append",
              "console=ttyS0 rdinit=/bin/busybox -- poweroff -f", "--net", "none", check=0)
    assert "Linux version 6" in r.stdout and "Power down" in r.stdout
    assert r.stderr == ""


def test_http_reaches_the_host(lodge, tiny):
    import http.server, threading

    class Hello(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"hello from the host\n")

        def log_message(self, *a):
            pass

    s = http.server.HTTPServer(("127.0.0.1", 0), Hello)
    threading.Thread(target=s.serve_forever, daemon=True).start()
    r = lodge("run", "-q", "--", "wget", "-q", "-O", "-", f"http://10.0.2.2:{s.server_port}/", check=0)
    s.shutdown()
    assert r.stdout == "hello from the host\n"
