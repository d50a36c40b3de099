"""What KVM offers to guests beyond the processor, in bed svm: Debian's kernel takes each of its paravirtual
services with `--cpu host`, and with the baseline finds none of them but the clock, which the core has, too.
And what it does not offer: a register outside the policy is #GP and a line in the log."""
import re

import pytest

import linux
import pieces
from places import ENGINE, TOP, answers, run

import sys
sys.path.insert(0, str(TOP / "tests" / "guest"))
from test_guests import build  # noqa: E402

FIRST = 0x4b564d00                                      # MSR_KVM_WALL_CLOCK_NEW, and those that follow
CLOCK, ASYNC_PF, STEAL, EOI, ASYNC_PF_INT = 1, 2, 3, 4, 6
FEATURE = {"async PF": 4, "steal time": 5, "PV EOI": 6, "PV TLB flush": 9, "PV IPI": 11, "async PF by interrupt": 14}
GUEST = f"""
msr() {{ dd if=/dev/cpu/$1/msr bs=8 count=1 iflag=skip_bytes skip=$2 2> /dev/null | hexdump -v -e '2/4 "%08x "'; }}
for cpu in 0 1; do for n in 0 1 2 3 4 5 6; do echo "msr $cpu $n $(msr $cpu $(({FIRST} + n)))"; done; done
echo "features $(dd if=/dev/cpu/0/cpuid bs=16 count=1 iflag=skip_bytes skip=$((0x40000001)) 2> /dev/null |
	hexdump -v -n 4 -e '1/4 "%x"')"
dmesg | grep -i kvm
"""
SCRIPT = f"""
mkdir -p state; export XDG_STATE_HOME=$PWD/state
try() {{
	name=$1; shift
	timeout 600 lodge run --engine {ENGINE} "$@" > out 2> err < /dev/null
	echo "@@ $name $?"; cat out; echo; echo "@@"; cat err
}}
try msr -v --kernel msr.elf -m 64M --test-devices --no-reboot --console none --net none --debugcon stdio
for cpu in host baseline; do
	try $cpu --cpu $cpu -c 2 -m 256M --net none --kernel K --initrd I --append '{linux.APPEND} ignore_loglevel'
done
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    files = {"K": pieces.kernel(), "I": linux.initrd(GUEST, ("msr", "cpuid")),
             "msr.elf": build("msr", tmp_path_factory.mktemp("msr"))}
    return answers(run("svm", SCRIPT, files, tmp_path_factory.mktemp("svm"), ["--smp", "2"], timeout=2000)[0])


def guest(said, cpu):
    """(registers by CPU and number, feature bits, all it said)."""
    status, out, err = said[cpu]
    assert status == 0, out + err
    msr = {(int(c), int(n)): int(high + low, 16) if low else None
           for c, n, low, high in re.findall(r"^msr (\d) (\d) ?([0-9a-f]{8})? ?([0-9a-f]{8})?\s*$", out, re.M)}
    assert len(msr) == 14, out
    return msr, int(re.search(r"^features ([0-9a-f]+)", out, re.M)[1], 16), out


def test_a_guest_that_knows_them_takes_them(said):
    msr, features, out = guest(said, "host")
    for what, bit in FEATURE.items():
        assert features >> bit & 1, f"{what} is not offered: {out}"
    for cpu in (0, 1):
        for what in (CLOCK, ASYNC_PF, STEAL, EOI):
            assert msr[cpu, what] and msr[cpu, what] & 1, (cpu, what, out)
        assert msr[cpu, ASYNC_PF_INT], out
    for line in ("Using msrs 4b564d01 and 4b564d00", "setup PV IPIs", "KVM setup pv remote TLB flush"):
        assert line in out, out


def test_the_baseline_has_the_clock_only(said):
    msr, features, out = guest(said, "baseline")
    for what, bit in FEATURE.items():
        assert not features >> bit & 1, f"{what}: {out}"
    for cpu in (0, 1):
        assert msr[cpu, CLOCK] & 1, out
        assert [msr[cpu, n] for n in range(2, 7)] == [None] * 5, out  # #GP, which the guest survives
    assert "Using msrs 4b564d01 and 4b564d00" in out and "PV IPI" not in out and "TLB flush" not in out, out


def test_registers_outside_the_policy(said):
    status, out, err = said["msr"]
    assert (out.strip(), status) == ("ok", 1), out + err
    assert "rdmsr 0x186: no such register" in err and "wrmsr 0x186: no such register" in err, err
    assert err.count("no such register") == 5, err      # and then no more for ten seconds
