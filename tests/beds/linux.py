"""A Linux guest for the beds: Debian's cloud kernel and an initramfs that runs one script.

The script finds busybox's commands, the modules' devices, and powers the guest off when it ends."""
import hashlib
import os

from pieces import WORK, Archive, packages

INIT = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec > /dev/console 2>&1 < /dev/null
echo INIT
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r m; do insmod /modules/$m; done < /modules/order
. /script
poweroff -f
"""
APPEND = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"


def initrd(script, modules=(), programs=(), files=None):
    """An initramfs, made once for what is in it: its path below build/beds."""
    made = [hashlib.sha256(open(p, "rb").read()).hexdigest() for p in programs]
    key = repr((INIT, script, modules, made, sorted((files or {}).items()))).encode()
    done = WORK / f"guest-{hashlib.sha256(key).hexdigest()[:12]}.cpio"
    if done.exists():
        return done
    new = WORK / f"guest.{os.getpid()}"
    a = Archive(new)
    for folder in ("bin", "dev", "proc", "sys", "tmp", "root", "mnt", "modules"):
        a.folder(folder)
    a.text("init", INIT, 0o755)
    a.text("script", script)
    a.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    a.file("bin/busybox", packages() / "bin/busybox")
    for p in programs:
        a.file(f"bin/{os.path.basename(p)}", p)
    for name, text in (files or {}).items():
        a.text(name, text)
    a.modules(modules)
    a.close()
    new.rename(done)
    return done
