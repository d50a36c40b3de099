"""A bare machine, emulated, with lodge.elf in it: what it says on its serial port."""
import pathlib
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
IMAGE = TOP / "lodge.elf"
# A nanosecond is an instruction, and time that is slept through passes at once: no noise of the host's gets in
ICOUNT = ("-icount", "shift=0,sleep=off")


def qemu(*modules, smp=1, memory=512, cpu="max,+svm", line="", timeout=300, options=(), image=IMAGE,
         dies=False):
    """(what was said, QEMU's exit status).  The machine is to switch itself off; dies: or to be killed."""
    assert image.exists(), "build it first: make lodge.elf"
    words = ["qemu-system-x86_64", "-M", "pc", "-nodefaults", "-accel", "tcg", "-cpu", cpu, "-smp", str(smp),
             "-m", str(memory), "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(image),
             "-append", line, *options]
    if modules:
        words += ["-initrd", ",".join(str(m) for m in modules)]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=timeout)
    except subprocess.TimeoutExpired as late:
        if not dies:
            raise
        return late.stdout.decode(errors="replace").replace("\r", ""), None
    last = "" if done.returncode == 0 else f"\nqemu: {done.returncode} {done.stderr[-300:]}"
    return done.stdout.replace("\r", "") + last, done.returncode
