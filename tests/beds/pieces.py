"""What machines and guests for the beds are made of: Debian's packages, and archives of files."""
import os
import pathlib
import re
import shutil
import stat
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
WORK = TOP / "build" / "beds"


class Archive:
    """An initramfs: a cpio archive in the format newc (Documentation/driver-api/early-userspace)."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.f, self.ino, self.made = open(path, "wb"), 0, set()

    def entry(self, name, mode, data=b""):
        self.ino += 1
        name = name.encode() + b"\0"
        fields = [self.ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0]
        head = b"070701" + b"".join(b"%08x" % v for v in fields) + name
        self.f.write(head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4))

    def folder(self, name):
        name = name.strip("/")
        if name and name not in self.made:
            self.folder(os.path.dirname(name))
            self.made.add(name)
            self.entry(name, stat.S_IFDIR | 0o755)

    def text(self, name, text, mode=0o644):
        self.folder(os.path.dirname(name))
        self.entry(name.strip("/"), stat.S_IFREG | mode, text.encode())

    def file(self, name, source):
        self.folder(os.path.dirname(name))
        source = pathlib.Path(source)
        if not source.is_file():
            raise SystemExit(f"bed: {source}: no such file")
        self.entry(name.strip("/"), stat.S_IFREG | (source.stat().st_mode & 0o777), source.read_bytes())

    def tree(self, name, source):
        """A file, or all that is below a folder."""
        if not os.path.isdir(source):
            return self.file(name, source)
        self.folder(name)
        for one in sorted(os.listdir(source)):
            self.tree(f"{name}/{one}", os.path.join(source, one))

    def program(self, name, source):
        """A program and the shared libraries it asks for, where its loader looks for them; and those
        that lodge loads by name."""
        self.file(name, source)
        self.libraries(source)
        if b"libslirp.so.0" in pathlib.Path(source).read_bytes():
            cache = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
            for lib in re.findall(r"libslirp\.so\.0 \(.*x86-64\) => (/\S+)", cache):
                self.library(lib)
                self.libraries(lib)

    def library(self, lib):
        if lib not in self.made:
            self.made.add(lib)
            self.file(lib, lib)

    def libraries(self, source):
        listed = subprocess.run(["ldd", source], capture_output=True, text=True).stdout
        for lib in re.findall(r"(/\S+) \(0x", listed):
            self.library(lib)

    def modules(self, names):
        """Kernel modules in /modules, and /modules/order."""
        order = module_order(names)
        for m in order:
            self.file(f"modules/{m.name}", m)
        self.text("modules/order", "".join(m.name + "\n" for m in order))

    def close(self):
        self.entry("TRAILER!!!", 0)
        self.f.close()


def fetch(script):
    """Runs lines of images/fetch.sh's own."""
    env = dict(os.environ, LODGE_CACHE=str(WORK))
    subprocess.run(["sh", "-euc", f'. "{TOP}/images/fetch.sh"\n{script}'], check=True, env=env)


def packages():
    """Debian's cloud kernel and a static busybox, unpacked below build/beds."""
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "packages").exists():
        new = WORK / f"packages.{os.getpid()}"
        fetch(f'unpack "$(kernel_package)" {new}; unpack busybox-static {new}')
        for rest in ("usr", "etc"):
            shutil.rmtree(new / rest, ignore_errors=True)
        try:
            new.rename(WORK / "packages")
        except OSError:         # somebody was faster
            shutil.rmtree(new)
    return WORK / "packages"


def kernel():
    return next((packages() / "boot").glob("vmlinuz-*"))


def modules():
    """The folder of the kernel's modules."""
    return next((packages() / "lib/modules").iterdir())


def module_order(names):
    """The modules' files, each after those it needs."""
    if not names:
        return []
    script = f'. "{TOP}/images/fetch.sh"; module_order {modules()} {" ".join(names)}'
    out = subprocess.run(["sh", "-euc", script], check=True, capture_output=True, text=True,
                         env=dict(os.environ, LODGE_CACHE=str(WORK)))
    return [modules() / m for m in dict.fromkeys(out.stdout.split())]
