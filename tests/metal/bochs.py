"""The same on bochs, which has what QEMU has not: VT-x, and AMD-V with all that Ryzen has.

bochs has no -kernel: GRUB on a CD loads lodge.elf.  Its instructions are its ticks, so a run repeats."""
import os
import pathlib
import pty
import shutil
import subprocess
import tempfile
import threading
import time

from machine import IMAGE

VMX, SVM = "corei7_skylake_x", "ryzen"
BOCHSRC = """plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=1, parallel=1, serial=1
megs: {memory}
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model={cpu}, count={smp}, ips=1000000000, reset_on_triple_fault=0
clock: sync=none
boot: cdrom
ata0-master: type=cdrom, path={dir}/iso, status=inserted
{more}com1: enabled=1, mode=file, dev={dir}/said
parport1: enabled=1, file={dir}/printed
display_library: term
error: action=ignore
info: action=ignore
panic: action=fatal
log: {dir}/log
"""


def disc(folder, modules, line, image):
    tree = folder / "disc"
    (tree / "boot/grub").mkdir(parents=True)
    shutil.copy(image, tree / "lodge.elf")
    menu = ["set timeout=0", "menuentry l {", f"multiboot /lodge.elf {line}"]
    for i, m in enumerate(modules):
        shutil.copy(m, tree / f"module{i}")
        menu.append(f"module /module{i}")
    (tree / "boot/grub/grub.cfg").write_text("\n".join([*menu, "}", ""]))
    subprocess.run(["grub-mkrescue", "-o", folder / "iso", tree], check=True, capture_output=True)


def drain(fd):
    """Nobody looks at the emulator's screen, but it must not wait for a reader."""
    try:
        while os.read(fd, 65536):
            pass
    except OSError:
        pass


def words(folder):
    said = folder / "said"
    return said.read_text(errors="replace").replace("\r", "") if said.exists() else ""


def wait(machine, timeout):
    """Until it ended; what it said last is not in the file before."""
    try:
        machine.wait(timeout)
    except subprocess.TimeoutExpired:
        return
    finally:
        machine.kill()
        machine.wait()


def start(folder, modules, cpu, smp, memory, line, image, more=""):
    """The emulator, and its screen's end."""
    assert image.exists(), "build it first: make lodge.elf"
    disc(folder, modules, line, image)
    (folder / "bochsrc").write_text(BOCHSRC.format(memory=memory, cpu=cpu, smp=smp, dir=folder, more=more))
    (folder / "commands").write_text("c\n")
    ours, its = pty.openpty()
    machine = subprocess.Popen(["bochs", "-q", "-f", folder / "bochsrc", "-rc", folder / "commands"],
                               stdin=its, stdout=its, stderr=its, start_new_session=True,
                               env=dict(os.environ, TERM="vt100"))
    os.close(its)
    threading.Thread(target=drain, args=[ours], daemon=True).start()
    return machine


def saved_by_bochs(module, printed, line, cpu=VMX, memory=128, timeout=300):
    """Until a machine is saved: what came out of the parallel port."""
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        machine = start(folder, [module], cpu, 1, memory, line, IMAGE)
        out, till = folder / "printed", time.monotonic() + timeout
        while not (out.exists() and out.read_bytes()[-36:-24] == b"lodgout1" + (5).to_bytes(4, "little")):
            assert machine.poll() is None and time.monotonic() < till, words(folder)
            time.sleep(0.5)
        machine.kill()
        machine.wait()
        shutil.copy(out, printed)


def bochs(*modules, cpu=VMX, smp=1, memory=256, line="", timeout=900, image=IMAGE, more=""):
    """(what was said, whether it switched itself off); as qemu().  When it did not, bochs' own last words are added."""
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        machine = start(folder, modules, cpu, smp, memory, line, image, more)
        wait(machine, timeout)
        log = (folder / "log").read_text(errors="replace")
        off = "soft power off" in log
        return words(folder) + ("" if off else f"\nbochs: {log[-300:]}"), off
