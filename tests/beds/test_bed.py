"""The bed itself: a test in it fails when its command fails, and says why the machine did.

Run: python3 -m pytest -rs tests/beds/test_bed.py
"""
import subprocess
import sys

import pytest

from places import HERE, lacking

pytestmark = pytest.mark.skipif(bool(lacking("svm")), reason=f"no svm: {lacking('svm')}")


def svm(*words):
    return subprocess.run([sys.executable, HERE / "svm", *words], stdin=subprocess.DEVNULL, capture_output=True)


def test_a_commands_words_and_status():
    r = svm("--file", f"here={__file__}", "--", "sh", "-c",
            "test -c /dev/kvm || exit 1; printf 'a\\r\\nb\\377\\0'; cat here >&2; exit 42")
    assert r.returncode == 42, r.stderr
    assert r.stdout == b"a\r\nb\377\0" + open(__file__, "rb").read()


def test_a_machine_that_dies():
    r = svm("--", "sh", "-c", "echo c > /proc/sysrq-trigger; sleep 60")
    assert r.returncode == 125
    assert b"sysrq triggered crash" in r.stderr


def test_a_machine_that_hangs():
    r = svm("--timeout", "12", "--", "sleep", "1000")
    assert r.returncode == 124
    assert b"took more than 12 s" in r.stderr


def test_a_file_that_is_not_there():
    r = svm("--file", "nowhere", "--", "true")
    assert r.returncode == 1
    assert r.stderr == b"bed: nowhere: no such file\n"
