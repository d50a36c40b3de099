"""A 32-bit kernel: Debian's installer for i386, to its first screen on the serial console."""
import os
import subprocess

import pexpect
import pytest

from conftest import HOME, LODGE, TOP

PACKAGE = "debian-installer-12-netboot-i386"


@pytest.fixture(scope="session")
def installer(env):
    """linux and initrd.gz, downloaded and unpacked, not installed."""
    to = HOME / "installer"
    found = list(to.glob("**/text/debian-installer/i386/initrd.gz"))
    if not found:
        script = f'. "$LODGE_IMAGES/fetch.sh"; unpack {PACKAGE} {to}'
        subprocess.run(["sh", "-euc", script], check=True, timeout=600,
                       env=dict(env, LODGE_CACHE=str(HOME / "work"), LODGE_IMAGES=str(TOP / "images")))
        found = list(to.glob("**/text/debian-installer/i386/initrd.gz"))
    return found[0].parent


def test_first_screen(lodge, installer):
    c = pexpect.spawn(str(LODGE), ["run", "--kernel", str(installer / "linux"), "--initrd",
                                   str(installer / "initrd.gz"), "-m", "1G", "--append", "console=ttyS0 priority=low"],
                      env=dict(lodge.env, TERM="vt102"), timeout=400, encoding="utf-8", codec_errors="replace",
                      dimensions=(24, 80))
    # newt paints by single words
    c.expect("(?s)Debian installer.*main.*menu|Choose.*language|Select.*language", timeout=400)
    c.sendcontrol("]")
    c.send("q")
    c.expect(pexpect.EOF)
    c.close()
    assert c.exitstatus == 130
