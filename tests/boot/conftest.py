"""What the tests of whole machines share: the program, its images, a way to run it.

Everything a test makes is below build/; the caches of images stay between runs.
A test that lacks something (a tool, a package) fails; only /dev-like facts of the
host are skipped, and loudly."""
import os
import pathlib
import subprocess
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
LODGE = TOP / "lodge"
HOME = TOP / "build" / "home"


@pytest.fixture(scope="session")
def env():
    HOME.mkdir(parents=True, exist_ok=True)
    e = dict(os.environ, HOME=str(HOME), XDG_CACHE_HOME=str(HOME / ".cache"),
             XDG_DATA_HOME=str(HOME / ".local/share"), XDG_STATE_HOME=str(HOME / ".local/state"),
             TERM="xterm", LC_ALL="C.UTF-8")
    return e


class Runner:
    def __init__(self, env):
        self.env = env

    def __call__(self, *args, timeout=120, stdin=subprocess.DEVNULL, check=None, text=True):
        started = time.monotonic()
        r = subprocess.run([LODGE, *map(str, args)], env=self.env, stdin=stdin, text=text,
                           capture_output=True, timeout=timeout, errors="replace" if text else None)
        r.seconds = time.monotonic() - started
        if check is not None:
            assert r.returncode == check, f"{args}: {r.returncode}\n{r.stdout[-2000:]}\n{r.stderr[-2000:]}"
        return r

    def start(self, *args, **kw):
        return subprocess.Popen([LODGE, *map(str, args)], env=self.env, text=True, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)


@pytest.fixture(scope="session")
def lodge(env):
    assert LODGE.exists(), "build it first: make lodge"
    return Runner(env)


def image(env, name):
    found = sorted((HOME / ".cache/lodge").glob(f"{name}-*/vmlinuz"), key=os.path.getmtime)
    assert found, f"image {name} was not built"
    return found[-1].parent


@pytest.fixture(scope="session")
def tiny(lodge, env):
    """The folder of the image tiny: vmlinuz, initrd."""
    lodge("run", "-q", "--net", "none", "--", "true", timeout=300, check=0)
    return image(env, "tiny")


@pytest.fixture(scope="session")
def debian(lodge, env, tmp_path_factory):
    """The folder of the image debian: vmlinuz, initrd, disk.ext4."""
    lodge("run", "-q", "--name", "builder", "debian", "--", "true", timeout=900, check=0)
    return image(env, "debian")


@pytest.fixture(scope="session")
def unshare():
    """Gives the words in front of a command that put it into namespaces of its own, like "mn"."""
    def words(which):
        for how in (f"-Ur{which}", f"-{which}"):  # a user's own; root's, where those are forbidden
            if not subprocess.run(["unshare", how, "true"], capture_output=True).returncode:
                return ["unshare", how]
        pytest.skip("no namespaces here: neither a user's own are allowed, nor root's (in a chroot, its "
                    "folder has to be a mount)")
    return words


@pytest.fixture
def disk(debian, tmp_path):
    """A fresh copy of Debian's disk."""
    to = tmp_path / "disk.ext4"
    subprocess.run(["cp", "--sparse=always", debian / "disk.ext4", to], check=True)
    return to
