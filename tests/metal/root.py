"""A small root file system on a disk of its own for Debian's cloud kernel, which has NVMe and ext4 built in."""
import shutil
import subprocess

import linux
import pieces

APPEND = f"{linux.APPEND} root=/dev/nvme0n1 rootfstype=ext4 rw init=/init"


def disk(file, script, modules=(), size="40M"):
    """busybox, the kernel's modules by name and a script that runs instead of a login, on an ext4."""
    tree = file.with_suffix(".tree")
    for folder in ("bin", "dev", "proc", "sys", "tmp", "root", "modules", "sbin", "usr/bin", "usr/sbin"):
        (tree / folder).mkdir(parents=True)
    shutil.copy(pieces.packages() / "bin/busybox", tree / "bin")
    order = pieces.module_order(modules)
    for m in order:
        shutil.copy(m, tree / "modules")
    (tree / "modules/order").write_text("".join(m.name + "\n" for m in order))
    (tree / "script").write_text(script)
    (tree / "init").write_text(linux.INIT)
    (tree / "init").chmod(0o755)
    subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-d", tree, file, size], check=True)
    return file
