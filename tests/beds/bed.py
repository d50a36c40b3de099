"""A machine to test hypervisors in: what both beds share.

The machine (L1) is Debian's cloud kernel with KVM's modules and an initramfs of busybox, a lodge
and the files a test wants, all from Debian packages that are downloaded and unpacked, never
installed.  It runs one command and powers off.  Three serial lines: the kernel's console, what
the command says, and the command's exit status, so that none of them disturbs another.

Two archives make the initramfs: the machine's own, made once and kept in build/beds, and one of
this run.  Linux unpacks them one after the other."""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import sys
import tempfile

import linux
from pieces import WORK, Archive, kernel, packages

MODULES = ["kvm-amd", "kvm-intel"]
FAILED = 125                    # as lodge's own: the bed did not come to run the command
KERNEL = "console=ttyS0,115200 quiet panic=-1 mitigations=off nowatchdog random.trust_cpu=on " \
    "rcupdate.rcu_cpu_stall_suppress=1 tsc=reliable no_timer_check nokaslr cryptomgr.notests"

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/usr/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
ln -sf /proc/self/fd /dev/fd
ip link set lo up 2>/dev/null
stty -F /dev/ttyS1 raw -echo 115200
stty -F /dev/ttyS2 raw -echo 115200
grep -qw svm /proc/cpuinfo && other=kvm-intel.ko || other=kvm-amd.ko
while read -r m; do [ $m = $other ] || insmod /modules/$m; done < /modules/order
cd /bed
sh /bed/command < /dev/null > /dev/ttyS1 2>&1
status=$?
stty -F /dev/ttyS1 -raw # waits until all that was said is out
echo "exit $status" > /dev/ttyS2
stty -F /dev/ttyS2 -raw
poweroff -f
"""


def base(modules):
    """The machine's own archive, made anew when this file or the modules change."""
    own = hashlib.sha256(pathlib.Path(__file__).read_bytes() + repr(modules).encode()).hexdigest()[:12]
    done = WORK / f"base-{own}.cpio"
    if done.exists():
        return done
    new = WORK / f"base.{os.getpid()}"
    a = Archive(new)
    for folder in ("bin", "usr/bin", "dev", "proc", "sys", "tmp", "root", "run", "var/tmp", "bed", "modules"):
        a.folder(folder)
    a.text("init", INIT, 0o755)
    a.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    a.text("etc/group", "root:x:0:\n")
    a.file("bin/busybox", packages() / "bin/busybox")
    a.modules(MODULES + modules)
    a.close()
    new.rename(done)
    return done


def quoted(words):
    return " ".join("'" + w.replace("'", "'\\''") + "'" for w in words)


def initramfs(to, o):
    """This run's initramfs: the base, then the programs, files and the command."""
    run = to.with_suffix(".run")
    a = Archive(run)
    a.text("bed/command", "exec " + quoted(o.command) + "\n")
    if o.lodge:
        a.program("bin/lodge", o.lodge)
    if o.guest is not None:
        a.file("bed/K", kernel())
        a.file("bed/I", linux.initrd(o.guest + "\n"))
    for p in o.program:
        a.program(os.path.abspath(p), p)
    for f in o.file:
        name, _, source = f.rpartition("=")
        a.tree(name if name.startswith("/") else f"bed/{name or os.path.basename(source)}", source)
    a.close()
    with open(to, "wb") as out:
        for part in (base(o.module), run):
            with open(part, "rb") as f:
                shutil.copyfileobj(f, out)
    run.unlink()


def options(about, **defaults):
    p = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter,
                                usage="%(prog)s [options] -- COMMAND [ARGUMENT...]")
    p.add_argument("--lodge", metavar="FILE", help="this lodge, with its libraries, as /bin/lodge")
    p.add_argument("--program", metavar="FILE", action="append", default=[],
                   help="a program of the host's with its libraries, at its own path")
    p.add_argument("--file", metavar="[NAME=]FILE", action="append", default=[],
                   help="a file or folder, as NAME in the command's folder /bed, or at NAME where that begins with /")
    p.add_argument("--module", metavar="NAME", action="append", default=[], help="one more module for the L1 kernel")
    p.add_argument("--guest", metavar="SCRIPT",
                   help="a Linux guest: Debian's cloud kernel as K, and as I an initramfs of busybox that runs SCRIPT "
                        "and powers off")
    p.add_argument("-m", "--memory", metavar="MIB", type=int, help="memory of the L1 machine (%(default)s)")
    p.add_argument("--append", metavar="WORDS", default="", help="more words for the L1 kernel's command line")
    p.add_argument("--timeout", metavar="SECONDS", type=int, help="give up then, exit status 124 (%(default)s)")
    p.add_argument("--log", metavar="FILE", help="keep the L1 kernel's console here")
    p.add_argument("command", nargs="+", help=argparse.SUPPRESS)
    p.set_defaults(**defaults)
    return p


class Run:
    """A folder for one run, and how it ended."""

    def __init__(self, o):
        WORK.mkdir(parents=True, exist_ok=True)
        self.o, self.dir = o, pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
        self.console, self.status = self.dir / "console", self.dir / "status"

    def __enter__(self):
        try:
            initramfs(self.dir / "initrd", self.o)
        except BaseException:
            shutil.rmtree(self.dir)
            raise
        return self

    def __exit__(self, *_):
        if self.o.log and self.console.exists():
            shutil.copy(self.console, self.o.log)
        shutil.rmtree(self.dir)

    def told(self):
        """The command's exit status, or None when the machine did not come to tell it."""
        found = re.search(r"exit (\d+)\n", self.status.read_text()) if self.status.exists() else None
        return int(found[1]) if found else None

    def end(self, late):
        """The exit status for this run; says what is known when the machine ended otherwise."""
        status = self.told()
        if status is not None:
            return status
        tail = self.console.read_text(errors="replace").splitlines()[-60:] if self.console.exists() else []
        print(f"bed: the L1 machine {'took more than %d s' % self.o.timeout if late else 'ended'}"
              " before its command did; its console:", *tail, sep="\n  ", file=sys.stderr)
        return 124 if late else FAILED
