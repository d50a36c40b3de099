"""The three emulated machines, and small guests on them: one start runs them all, because bochs takes its time."""
import functools
import pathlib
import re
import subprocess
import sys
import tempfile

from bochs import SVM, VMX, bochs
from machine import TOP, qemu
from packs import definition, pack

for part in ("guest", "beds"):
    sys.path.insert(0, str(TOP / "tests" / part))
import linux   # noqa: E402
import pieces  # noqa: E402
from test_guests import GUESTS, build  # noqa: E402

MACHINES = {"qemu-svm": qemu, "bochs-svm": functools.partial(bochs, cpu=SVM), "bochs-vmx": functools.partial(bochs, cpu=VMX)}

# bochs ends where AMD-V lets a guest go on; each was seen alone
ENDS_BOCHS = {
    ("bochs-svm", "triple"): "bochs panics of a triple fault before it asks whether shutdown is intercepted",
    ("bochs-svm", "v86"): "bochs panics (VM is set in long mode) when virtual-8086 mode is left by an exit",
}
# What the processor itself makes of a guest, by the exact words
KNOWN = {
    ("bochs-svm", "debug"): ("FAIL DR6.BS", "bochs does not write DR6 where #DB is intercepted (APM vol. 2, 15.12.2)"),
    ("bochs-svm", "paging32"): ("FAIL pointers are registers", "AMD's, with nested paging (APM vol. 2, 15.25.10)"),
    ("bochs-svm", "paging64"): ("FAIL SMAP, implicit", "bochs' processor itself"),
    ("bochs-svm", "pcid"): ("FAIL no PCID", "bochs' Ryzen has none"),
    ("bochs-vmx", "paging64"): ("FAIL SMAP, implicit", "bochs' processor itself"),
}
MAKE = {"exits", "board"}     # made by make


def elf(name, folder):
    if name not in MAKE:
        folder.mkdir()
        return build(name, folder)
    file = TOP / f"build/guest/{name}.elf"
    subprocess.run(["make", "-s", "-C", TOP, file.relative_to(TOP)], check=True)
    return file


class Said:
    """What one start said, apart by machine."""

    def __init__(self, text, off):
        self.text, self.off = text, off
        self.words = {}
        for name, line in re.findall(r"^(\w+)\| (.*)$", text, re.M):
            self.words.setdefault(name, []).append(line)

    def out(self, name):
        return "\n".join(self.words.get(name, []))

    def end(self, name):
        """How it ended: exit 1, reset, ..."""
        found = re.search(rf"^lodge: {name}: ((?!runs)\w.*)$", self.text, re.M)
        return found and found[1]


WORK = "echo cpus $(nproc); sha256sum /bin/busybox; cat /proc/version\n"


def debian(folder, name, **words):
    """Debian's kernel, unmodified, to a shell's commands and off."""
    return definition(folder, name, pieces.kernel(), memory="256M", initrd=linux.initrd(WORK),
                      append=f"'{linux.APPEND}'", **words)


@functools.lru_cache
def all_on(machine):
    """All small guests at once, one processor.  On VT-x, too, what QEMU is started for apart: the board's test,
    Debian, and exits, which measures."""
    names = [n for n in GUESTS if (machine, n) not in ENDS_BOCHS]
    if machine == "bochs-vmx":
        names += ["exits", "board"]
    with tempfile.TemporaryDirectory() as t:
        folder = pathlib.Path(t)
        guests = [definition(folder, n, elf(n, folder / n), memory="32M", append="cpus=1", test_devices="true",
                             no_reboot="true") for n in names]
        if machine == "bochs-vmx":
            guests.append(debian(folder, "debian"))
        return Said(*MACHINES[machine](pack(folder, *guests), memory=1280))
