"""Definitions and packs for the tests."""
import subprocess

from machine import TOP


def definition(folder, name, kernel, memory="64M", **words):
    """A YAML file; words as `lodge run` has them, _ for -."""
    lines = [f"kernel: {kernel}", f"memory: {memory}", f"name: {name}", "net: none"]
    lines += [f"{k.replace('_', '-')}: {v}" for k, v in words.items()]
    file = folder / f"{name}.yaml"
    file.write_text("\n".join(lines) + "\n")
    return file


def pack(folder, *definitions):
    made = folder / "test.pack"
    subprocess.run([TOP / "lodge", "metal", "pack", *definitions, "-o", made], check=True,
                   env={"XDG_CACHE_HOME": str(folder), "PATH": "/usr/bin:/bin"})
    return made
