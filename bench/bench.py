#!/usr/bin/env python3
"""make bench: lodge beside bochs and QEMU's TCG, on the same kernel and initrd in the same run.

What is measured, each figure the best of N runs (shared machines are noisy; compare columns, not runs):
  boot     start of the program to the guest's init
  lbench   34 workloads inside the guest (bench/guest/lbench.c), seconds for the nominal work
  start    lodge's start to the guest's first instruction; memory beyond the guest's after boot
  two      what two vCPUs do at once, by what one does
  save     how long a guest stands while it is saved, how soon a restored one runs

usage: bench.py [-n RUNS] [--with lodge,qemu,bochs] [--run PREFIX[,PREFIX...]|none] [--time SECONDS] [--cpu]"""
import argparse
import math
import os
import pathlib
import re
import select
import shutil
import subprocess
import sys
import time
import tty

import saved
import two

TOP = pathlib.Path(__file__).resolve().parents[1]
WORK = TOP / "build" / "bench"
LODGE = TOP / "lodge"


def sh(*args, **kw):
    return subprocess.run([str(a) for a in args], check=True, **kw)


def prepare():
    """Debian's cloud kernel, and an initramfs of busybox and lbench."""
    WORK.mkdir(parents=True, exist_ok=True)
    sh(LODGE, "run", "-q", "--net", "none", "--", "true", stdin=subprocess.DEVNULL)
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "lodge"
    tiny = sorted(cache.glob("tiny-*/vmlinuz"), key=os.path.getmtime)[-1].parent
    root = WORK / "root"
    shutil.rmtree(root, ignore_errors=True)
    for d in ("bin", "proc", "sys", "dev", "tmp"):
        (root / d).mkdir(parents=True)
    sh("gcc", "-O2", "-static", "-pthread", "-o", root / "bin/lbench", TOP / "bench/guest/lbench.c", "-lm")
    shutil.copy("/bin/busybox", root / "bin/busybox")
    shutil.copy(TOP / "bench/guest/init", root / "init")
    (root / "init").chmod(0o755)
    sh("sh", "-c", f"cd {root} && find . | cpio -o -H newc --quiet | gzip -1 > {WORK}/initrd")
    return tiny / "vmlinuz", WORK / "initrd"


def wall(pid, started):
    return time.monotonic() - started


def processor(pid, started):
    """Seconds of processor time that the process had, all threads."""
    return sum(int(f.read_text().split()[0]) for f in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def until(command, pattern, timeout, clock=wall):
    """Runs command until a line matches; [(seconds, line)], the last one the match (or not)."""
    lines, started, rest = [], time.monotonic(), b""
    p = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while time.monotonic() - started < timeout:
            if not select.select([p.stdout], [], [], 1)[0]:
                continue
            part = os.read(p.stdout.fileno(), 65536)
            *whole, rest = (rest + part).split(b"\n")
            now = clock(p.pid, started)
            lines += [(now, l.decode(errors="replace").rstrip()) for l in whole]
            if not part or any(re.search(pattern, l) for _, l in lines[len(lines) - len(whole):]):
                break
    finally:
        try:
            os.killpg(p.pid, 9)
        except ProcessLookupError:
            pass
        p.wait()
    return lines


def lodge(kernel, initrd, append):
    return [LODGE, "run", "--kernel", kernel, "--initrd", initrd, "--append", append, "-m", "512M", "--net", "none",
            "--engine", os.environ.get("LODGE_ENGINE", "auto")]


def qemu(kernel, initrd, append):
    """microvm has no clock to calibrate the TSC by: the guest is told what TCG's is, the host's."""
    mhz = float(re.search(r"cpu MHz\s*: ([\d.]+)", open("/proc/cpuinfo").read())[1])
    append += f" tsc=reliable tsc_early_khz={int(mhz * 1000)}"
    return ["qemu-system-x86_64", "-M", "microvm", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "512",
            "-nographic", "-no-reboot", "-kernel", kernel, "-initrd", initrd, "-append", append]


BOCHSRC = """plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=0, serial=1
megs: 512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, count=1, ips=1000000000, reset_on_triple_fault=0
clock: sync=none
boot: cdrom
ata0-master: type=cdrom, path={iso}, status=inserted
com1: enabled=1, mode=term, dev={out}
display_library: term
error: action=ignore
info: action=ignore
panic: action=fatal
log: /dev/null
"""


def bochs(kernel, initrd, append):
    """bochs has no -kernel: GRUB on a CD loads it.  The serial line is a terminal: only to one does
    bochs write each byte at once, and the stamps of the lines are what counts."""
    iso, tree = WORK / "bochs.iso", WORK / "iso"
    (tree / "boot/grub").mkdir(parents=True, exist_ok=True)
    shutil.copy(kernel, tree / "vmlinuz")
    shutil.copy(initrd, tree / "initrd")
    (tree / "boot/grub/grub.cfg").write_text(
        f"set timeout=0\nmenuentry l {{\nlinux /vmlinuz {append}\ninitrd /initrd\n}}\n")
    sh("grub-mkrescue", "-o", iso, tree, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    rc = WORK / "bochsrc"
    rc.write_text(BOCHSRC.format(iso=iso, out="/dev/null"))
    (WORK / "bochs.rc").write_text("c\n")
    return [sys.executable, __file__, "--bochs", rc]


def bochs_on_terminal(rc):
    """What runs as the rival: bochs with its serial line on a terminal of ours, which goes to stdout."""
    ours, its = os.openpty()
    tty.setraw(its)
    rc = pathlib.Path(rc)
    rc.write_text(rc.read_text().replace("dev=/dev/null", f"dev={os.ttyname(its)}"))
    subprocess.Popen(["script", "-qfc", f"bochs -q -f {rc} -rc {WORK}/bochs.rc", "/dev/null"],
                     env=dict(os.environ, TERM="vt100"), stdin=subprocess.DEVNULL,
                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while part := os.read(ours, 65536):
        os.write(1, part)


RIVALS = {"lodge": lodge, "qemu": qemu, "bochs": bochs}
APPEND = "console=ttyS0 quiet panic=-1 lb.t={t} lb.run={run}"


def boots(names, kernel, initrd, runs):
    best = {}
    for _ in range(runs):
        for n in names:
            lines = until(RIVALS[n](kernel, initrd, APPEND.format(t=0, run="none")), "LB_INIT", 400)
            at = [t for t, l in lines if "LB_INIT" in l]
            if at:
                best[n] = min(best.get(n, 1e9), at[0])
            else:
                print(f"{n}: did not reach init; its last lines:", *[l for _, l in lines[-5:]], sep="\n  ")
    return best


ROW = re.compile(r"BENCH (\S+)\s+([\d.]+) best=([\d.]+) reps=(\d+) elapsed=([\d.]+) chk=(\S+)")


def rows(lines, t, stamped):
    """What lbench says; or by the stamps of its lines: from one to the next it did the reps, and one or
    two to warm up."""
    found, before = {}, lines[0][0] if lines else 0
    for at, l in lines:
        m = ROW.search(l)
        if m:
            reps, nominal = int(m[4]), float(m[2]) * int(m[4]) / max(float(m[5]), 1e-3)
            warm = 2 if float(t) >= 0.2 else 1
            found[m[1]] = ((at - before) / (reps + warm) * nominal if stamped else float(m[3]), m[6])
        if found or "LB_INIT" in l:
            before = at
    return found


def lbench(name, kernel, initrd, t, run, cpu=False):
    """The guest's own figures; bochs' guest lives by a clock of its own, so there the host's stamps count."""
    command = RIVALS[name](kernel, initrd, APPEND.format(t=t, run=run))
    lines = until(command, "LB_END", 3000, processor if cpu else wall)
    return rows(lines, t, cpu or name == "bochs")


def native(t, run, cpu=False):
    args = [] if run in ("", "all") else run.split(",")
    if cpu:
        lines = until([WORK / "root/bin/lbench", "-t", str(t), *args], "BENCHDONE", 3000, processor)
        return rows([(0, "")] + lines, t, True)
    r = subprocess.run([WORK / "root/bin/lbench", "-t", str(t), *args], capture_output=True, text=True)
    return {m[1]: (float(m[3]), m[6]) for m in ROW.finditer(r.stdout)}


def geomean(x):
    return math.exp(sum(map(math.log, x)) / len(x)) if x else float("nan")


def table(columns):
    base = columns["native"]
    names = [c for c in columns if c != "native"]
    print(f"\n{'workload':22s} {'native s':>9s}" + "".join(f"{n:>18s}" for n in names))
    groups = {}
    for w, (s, chk) in base.items():
        row = f"{w:22s} {s:9.4f}"
        for n in names:
            if w not in columns[n]:
                row += f"{'-':>18s}"
                continue
            b, c = columns[n][w]
            wrong = chk != c and w.split(".")[0] != "os"
            row += f"{b:9.4f} {b / s:6.1f}x{'!' if wrong else ' '}"
            groups.setdefault((w.split(".")[0], n), []).append(b / s)
        print(row)
    for g in sorted({g for g, _ in groups}):
        print(f"{'geomean ' + g:32s}" + "".join(f"{geomean(groups[(g, n)]):16.1f}x " if (g, n) in groups else f"{'-':>18s}" for n in names))


def footprint(kernel, initrd):
    """Memory of the process beyond guest RAM, and its start, as lodge's own trace tells."""
    p = subprocess.Popen([str(c) for c in lodge(kernel, initrd, APPEND.format(t=0, run="none").replace("lb.run=none", "lb.run=os.nothing"))],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace")
    for line in p.stdout:
        if "LB_INIT" in line:
            break
    rss = shared = 0
    current = None
    for l in open(f"/proc/{p.pid}/smaps"):
        m = re.match(r"[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)", l)
        if m:
            current = m[1]
        elif l.startswith("Rss:"):
            n = int(l.split()[1])
            if "memfd:lodge-ram" in current or "/lodge/kernel-" in current:
                shared += n
            else:
                rss += n
    p.kill()
    p.wait()
    print(f"memory beyond guest RAM after boot: {rss / 1024:.1f} MiB (guest RAM touched: {shared / 1024:.0f} MiB)")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-n", type=int, default=2)
    a.add_argument("--with", dest="names", default="lodge,qemu,bochs")
    a.add_argument("--run", default="int,mem,fp,os")
    a.add_argument("--bochs-run", default="int,mem,fp.matmul_s,fp.nbody,fp.mandel,fp.x87,os",
                   help="what bochs runs: its processor offers no AVX (%(default)s)")
    a.add_argument("--time", default="0.05")
    a.add_argument("--cpu", action="store_true",
                   help="workloads by the processor time of the whole monitor, bochs' not: for machines that are not idle")
    o = a.parse_args()
    names = o.names.split(",")
    kernel, initrd = prepare()
    best = boots(names, kernel, initrd, o.n)
    for n in names:
        if n in best:
            print(f"boot to init  {n:6s} {best[n]:7.2f} s   {best[n] / best.get('lodge', best[n]):5.2f} of lodge's")
    sys.stdout.flush()
    footprint(kernel, initrd)
    saved.run(o.n)
    two.run(lambda append: until(lodge(kernel, initrd, append) + ["-c", "2"], "LB_END", 1000), "0.25")
    sys.stdout.flush()
    if o.run != "none":
        columns = {"native": native(o.time, o.run, o.cpu)}
        for n in names if not o.cpu else [n for n in names if n != "bochs"]:  # a child of its terminal's
            columns[n] = lbench(n, kernel, initrd, o.time, o.bochs_run if n == "bochs" else o.run, o.cpu)
        table(columns)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bochs"]:
        bochs_on_terminal(sys.argv[2])
    else:
        main()
