#!/usr/bin/env python3
"""make bench-kvm: lodge's engine kvm beside QEMU with KVM, counted in instructions.

All run in tests/beds/svm (AMD-V by QEMU's TCG) with --icount, where a nanosecond of CPU time is one
executed instruction, those of the guest, of KVM and of the monitor together, and a run repeats.

  boot     from the start of the process to the guest's init: instructions, VM exits, returns of
           KVM_RUN; and the process's memory that is not the guest's
  disk     per 4 KiB virtio-blk write, 32 in flight
  send     per 1500-byte packet from the guest, by virtio-net and a tap
  receive  per 1500-byte packet to the guest
  state    lodge save of a 512 MiB guest with 64 MiB touched; lodge restore to the first KVM_RUN
  first    CPU time from exec to the first KVM_RUN, on this machine's own /dev/kvm

usage: kvm.py [--with lodge,microvm,pc] [--run boot,disk,send,receive,state,first] [--json]"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TOP / "tests" / "beds"))
import linux  # noqa: E402
import pieces  # noqa: E402

HERE = TOP / "bench" / "kvm"
BUILD = TOP / "build" / "bench"
LODGE = pathlib.Path(os.environ.get("LODGE", TOP / "lodge")).resolve()
ENGINE = os.environ.get("ENGINE", "kvm")
QEMU = "/usr/bin/qemu-system-x86_64"
FIRMWARE = ["/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-microvm.bin", "/usr/share/qemu/linuxboot_dma.bin",
            "/usr/share/qemu/kvmvapic.bin", "/usr/share/qemu/pvh.bin"]
MODULES = ("virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net")
APPEND = "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on"
COUNT = {"disk": 2048, "send": 4000, "receive": 4000}
NAMES = {"lodge": "lodge", "microvm": "QEMU microvm", "pc": "QEMU pc"}

# each monitor makes up an address of its own; L1 sends to this one
NETWORK = "ip link set eth0 address 52:54:00:12:34:56 up; ip address add 10.9.0.2/24 dev eth0; arp -s 10.9.0.1 02:00:00:00:00:01\n"
GUEST = {
    "boot": "",
    "disk": f"load disk /dev/vda {COUNT['disk']} 32\n",
    "send": NETWORK + f"load send 10.9.0.1 {COUNT['send']}\n",
    "receive": NETWORK + f"load receive {COUNT['receive']}\n",
    "state": "yes lodge | head -c 64m > /tmp/touched; echo READY; sleep 1000\n",
}
TAP = """tunctl -t tap0 > /dev/null
ip link set tap0 address 02:00:00:00:00:01 up
ip address add 10.9.0.1/24 dev tap0
arp -s 10.9.0.2 52:54:00:12:34:56
"""
BEFORE = {  # in L1, before the monitor starts
    "boot": "",
    "disk": "truncate -s 64M disk\n",
    "send": TAP + "./load receive 1000000000 > /dev/null &\n",
    # what does not fit the tap's queue is dropped: the guest always has a packet waiting
    "receive": TAP + "./load send 10.9.0.2 1000000000 > /dev/null &\n",
    "state": "",
}


def tools():
    """The three programs, built: meter (L1), load (L1 and guest), first.so (L1 and here)."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name, how in (("meter", ["-static"]), ("load", ["-static"]), ("first", ["-shared", "-fPIC"])):
        out = BUILD / (name + (".so" if name == "first" else ""))
        subprocess.run(["gcc", "-O2", "-Wall", *how, "-o", out, HERE / f"{name}.c"], check=True)


def lodge(what):
    words = ["lodge", "run", "--engine", ENGINE, "-q", "-m", "512M" if what == "state" else "256M", "--kernel", "K",
             "--initrd", "I", "--append", APPEND]
    words += ["--net", "tap:tap0" if what in ("send", "receive") else "none"]
    return words + (["--disk", "disk"] if what == "disk" else [])


def qemu(machine, bus):
    def line(what):
        words = [QEMU, "-M", machine, "-accel", "kvm", "-cpu", "host", "-m", "256", "-nodefaults", "-display", "none",
                 "-no-user-config", "-no-reboot", "-serial", "stdio", "-kernel", "K", "-initrd", "I", "-append", APPEND]
        if what == "disk":
            words += ["-drive", "if=none,id=d,file=disk,format=raw,aio=io_uring", "-device",
                      f"virtio-blk-{bus},drive=d"]
        if what in ("send", "receive"):
            words += ["-netdev", "tap,id=n,ifname=tap0,script=no,downscript=no", "-device",
                      f"virtio-net-{bus},netdev=n,mac=52:54:00:12:34:56" + (",romfile=" if bus == "pci" else "")]
        return words
    return line


MONITORS = {"lodge": lodge, "microvm": qemu("microvm", "device"), "pc": qemu("pc", "pci")}


def bed(script, what, name):
    """Runs the script in L1 with all it needs; what it said."""
    initrd = linux.initrd(GUEST[what], MODULES, (BUILD / "load",))
    files = [f"K={pieces.kernel()}", f"I={initrd}", *(f"{t}={BUILD}/{t}" for t in ("meter", "load", "first.so"))]
    words = ["--lodge", LODGE] if name == "lodge" else ["--program", QEMU]
    files += [] if name == "lodge" else [f"{f}={f}" for f in FIRMWARE]
    done = subprocess.run([TOP / "tests/beds/svm", "--icount", "-m", "2048", "--module", "tun", *words,
                           *(w for f in files for w in ("--file", f)), "--", "sh", "-c", script],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    if done.returncode:
        print(f"{name}: {what}: ended with {done.returncode}:", done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return done.stdout


def quoted(words):
    return " ".join("'" + str(w).replace("'", "'\\''") + "'" for w in words)


def meters(text):
    """{word: {meter: value}}"""
    return {m[1]: {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", m[2])}
            for m in re.finditer(r"^meter (.*?) (tsc=.*)$", text, re.M)}


def boot(name):
    m = meters(bed(f"./meter 300 INIT {quoted(MONITORS[name]('boot'))}", "boot", name)).get("INIT")
    return m and {"instructions": m["cpu"], "exits": m["exits"], "returns": m["returns"], "own KiB": m["own"]}


def load(what, name):
    script = BEFORE[what] + f"./meter 600 'LOAD BEGIN,LOAD END' {quoted(MONITORS[name](what))}"
    m = meters(bed(script, what, name))
    if "LOAD END" not in m:
        return None
    per = {k: (m["LOAD END"][k] - m["LOAD BEGIN"][k]) / COUNT[what] for k in ("cpu", "exits", "returns")}
    return {"instructions": round(per["cpu"]), "exits": round(per["exits"], 3), "returns": round(per["returns"], 3)}


STATE = """export XDG_STATE_HOME=$PWD/s XDG_RUNTIME_DIR=$PWD/r; mkdir -p s r; chmod 700 r
%s --name one --console file:console > /dev/null < /dev/null &
until grep -q READY console 2> /dev/null; do sleep 0.1; done
lodge save one saved --json
LD_PRELOAD=$PWD/first.so timeout 60 lodge restore saved --name two --console none 2>&1 < /dev/null
kill %%1
"""


def state(name):
    if name != "lodge":
        return None
    out = bed(STATE % quoted(lodge("state")), "state", name)
    told = re.search(r"^\{.*\}$", out, re.M)
    first = re.search(r"^first (\d+)$", out, re.M)
    return {"save": json.loads(told[0]) if told else None, "restore, instructions": int(first[1]) if first else None}


def first(name):
    """The best of 10: on a machine with others, the least disturbed one."""
    initrd, best = linux.initrd(GUEST["boot"], MODULES, (BUILD / "load",)), None
    # not QEMU's "host": it asks for what a nested KVM may refuse
    own = {"lodge": LODGE, "K": pieces.kernel(), "I": initrd, "host": "qemu64"}
    words = [str(own.get(w, w)) for w in MONITORS[name]("boot")]
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, LD_PRELOAD=str(BUILD / "first.so"), XDG_STATE_HOME=home)
        for _ in range(10):
            err = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True).stderr
            m = re.search(r"^first (\d+)$", err, re.M)
            if not m:
                print(f"{name}: first: {err.strip()[-300:]}", file=sys.stderr)
                return None
            best = min(best or int(m[1]), int(m[1]))
    return {"ms": round(best / 1e6, 2)}


RUNS = {"boot": boot, "disk": lambda n: load("disk", n), "send": lambda n: load("send", n),
        "receive": lambda n: load("receive", n), "state": state, "first": first}


def table(found):
    for what, by in found.items():
        rows = list(dict.fromkeys(k for r in by.values() if r for k in r))
        if not rows:
            continue
        names = list(by)
        print(f"\n{what:24s}" + "".join(f"{NAMES[n]:>16s}" for n in names))
        for row in rows:
            values = [(by[n] or {}).get(row) for n in names]
            print(f"  {row:22s}" + "".join(f"{'-' if v is None else format(v, ',') if not isinstance(v, dict) else str(v):>16s}"
                                           for v in values), end="")
            rivals = [v for n, v in zip(names, values) if n == "microvm" and isinstance(v, (int, float)) and v]
            if names[0] == "lodge" and isinstance(values[0], (int, float)) and rivals:
                print(f"   {values[0] / rivals[0]:.2f} of microvm's", end="")
            print()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--with", dest="names", default="lodge,microvm,pc")
    a.add_argument("--run", default="boot,disk,send,receive,state,first")
    a.add_argument("--json", action="store_true")
    o = a.parse_args()
    tools()
    found = {}
    for what in o.run.split(","):
        for name in o.names.split(","):
            found.setdefault(what, {})[name] = RUNS[what](name)
            print(f"{what}: {NAMES[name]}: {found[what][name]}", file=sys.stderr, flush=True)
    if o.json:
        print(json.dumps(found, indent=1))
    else:
        table(found)


main()
