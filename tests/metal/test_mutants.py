"""Guards that are taken out are missed: five of tests/mutate/guards.py, others each day, by tests that take seconds;
`make mutate-metal` tries all.  And each row of the table still fits the source."""
import datetime
import pathlib
import sys

from machine import TOP

sys.path.insert(0, str(TOP / "tests/mutate"))
import mutate  # noqa: E402
from guards import GUARDS  # noqa: E402


def test_no_row_is_stale():
    assert mutate.stale() == []
    assert len(GUARDS) >= 40


def test_five_of_today(tmp_path):
    quick = [g for g in GUARDS if g[3].startswith(("unit:", "host:"))]
    first = datetime.date.today().toordinal() * 5
    some = [quick[(first + i) % len(quick)] for i in range(5)]
    mutate.copy(pathlib.Path(tmp_path))
    assert [g for g in some if not mutate.try_one(tmp_path, g)] == []
