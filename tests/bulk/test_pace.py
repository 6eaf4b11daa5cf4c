"""How long the disk takes for a small file decides who syncs it."""

from __future__ import annotations

from aiai_async.bulk.pace import Pace


def test_of_a_quick_disk_all_is_left_to_one_thread() -> None:
    """Also before anything is known, and where one file was held up."""
    pace = Pace()
    assert all(pace.may_leave() for _ in range(1000))
    for _ in range(10):
        pace.note([0.00003])
    pace.note([3.0])
    pace.note([])
    pace.note([3.0, 0.00003, 3.0])
    assert pace.may_leave()


def test_of_a_slow_disk_one_in_a_hundred_is() -> None:
    """A few files tell; that one goes on measuring."""
    for files, times in ((64, 1), (1, 4)):
        pace = Pace()
        for _ in range(times):
            pace.note([0.01] * files)
        assert [pace.may_leave() for _ in range(300)].count(True) == 3


def test_a_disk_that_is_quick_again_is_found_out() -> None:
    """By a few files."""
    pace = Pace()
    pace.note([0.1] * 64)
    assert not pace.may_leave()
    for _ in range(3):
        pace.note([0.00003])
    assert pace.may_leave() and pace.may_leave()
