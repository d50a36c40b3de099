#!/usr/bin/env python3
"""A bare `lodge run debian` in a plain container root without /dev/kvm, beside QEMU's TCG with the same disk and
kernel: which comes to the login sooner?  They take turns; the best of each counts.  Beside the wall's clock it tells
the processor time of each, all threads: on a machine that is wanted by others that is the fairer figure.

The root holds lodge, the libraries it is linked to and loads, cp, /proc, /dev/null and the image; it is entered
with no privilege where the host lets users have namespaces.

usage: tests/boot/sooner.py [RUNS]   wants qemu-system-x86_64, and the image debian in build/home (make test builds it)"""
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
HOME = TOP / "build" / "home"
LODGE = TOP / "lodge"
CP = shutil.which("cp")
LOGIN = re.compile(rb"login:")


def libraries():
    """Of lodge, and of the library that it loads for a user network."""
    found = subprocess.run("ldconfig -p | sed -n 's/.*libslirp.so.0 .*=> //p' | head -1", shell=True, check=True,
                           capture_output=True, text=True).stdout.split()
    for f in [str(LODGE), CP] + found:
        for word in subprocess.run(["ldd", f], check=True, capture_output=True, text=True).stdout.split():
            if word.startswith("/"):
                yield word
    yield from found


def make_root(root, image):
    for d in ("proc", "dev", "tmp", "bin", "root/.cache/lodge"):
        (root / d).mkdir(parents=True)
    (root / "dev/null").touch()
    shutil.copy(LODGE, root / "lodge")
    shutil.copy(CP, root / "bin/cp")
    for f in set(libraries()):
        to = root / f[1:]
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(f, to)
    subprocess.run(["cp", "-a", "--sparse=always", image, root / "root/.cache/lodge/"], check=True)


def namespaces():
    for how in ("-Urm", "-m"):
        if not subprocess.run(["unshare", how, "true"], capture_output=True).returncode:
            return ["unshare", how]
    sys.exit("sooner.py: no mount namespace can be had here")


def lodge(root, image):
    enter = (f"mount --rbind /proc {root}/proc && mount --bind /dev/null {root}/dev/null && "
             f"exec env -i HOME=/root PATH=/bin TERM=dumb {shutil.which('chroot')} {root} /lodge run debian")
    return [*namespaces(), "sh", "-c", enter]


def qemu(root, image):
    return ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024", "-nographic",
            "-no-reboot", "-kernel", image / "vmlinuz", "-drive", f"file={image / 'disk.ext4'},if=none,id=d,format=raw,snapshot=on",
            "-device", "nvme,drive=d,serial=d", "-nic", "user,model=virtio-net-pci", "-serial", "stdio", "-serial", "null",
            "-monitor", "none", "-append",
            "console=ttyS0 quiet panic=-1 root=/dev/nvme0n1 rootfstype=ext4 rw systemd.hostname=debian"]


def processor(pid):
    return sum(int(f.read_text().split()[0]) for f in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def seconds_to_login(command):
    started, said = time.monotonic(), b""
    p = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while not LOGIN.search(said):
            if not select.select([p.stdout], [], [], 600)[0] or not (part := os.read(p.stdout.fileno(), 65536)):
                sys.exit(f"sooner.py: {command[0]} did not come to the login:\n{said[-2000:].decode(errors='replace')}")
            said += part
        return time.monotonic() - started, processor(p.pid)
    finally:
        os.killpg(p.pid, 9)
        p.wait()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    image = max((HOME / ".cache/lodge").glob("debian-*/disk.ext4"), key=os.path.getmtime).parent
    best = {}
    with tempfile.TemporaryDirectory(dir=TOP / "build") as root:
        make_root(pathlib.Path(root), image)
        for _ in range(runs):
            for name, command in (("lodge", lodge), ("qemu", qemu)):
                took = seconds_to_login(command(root, image))
                best[name] = [min(pair) for pair in zip(best.get(name, took), took)]
    for n, what in enumerate(("on the wall", "of processor time")):
        ours, theirs = best["lodge"][n], best["qemu"][n]
        print(f"to the login, {what}: lodge {ours:.1f} s, QEMU's TCG {theirs:.1f} s: {theirs / ours:.2f} times as fast")
    sys.exit(best["lodge"][0] >= best["qemu"][0])


if __name__ == "__main__":
    main()
