"""The pause after a refusal."""

from __future__ import annotations

from typing import Any

import pytest

from aiai_async.policy.lockout import Cause, Lockout


def search(now: float) -> float:
    """Look again in seven seconds."""
    return now + 7.0


def lock(wait: float | None = None, *, cause: Cause = "rate", name: str | None = None, search: Any = search) -> Lockout:
    """Begin one at 100."""
    return Lockout(cause, now=100.0, wait=wait, search=search, name=name, is_lesson=True)


@pytest.mark.parametrize(
    ("wait", "name", "until"),
    [
        (12.0, None, 112.0),
        (12.0, "requests", 112.0),
        (120.0, None, 220.0),
        (3600.0, None, 107.0),
        (None, None, 107.0),
        (None, "requests", 100.0),
        (3600.0, "requests", 100.0),
    ],
    ids=["asked", "asked, and explained", "the longest", "a lie", "not said", "explained", "explained, and a lie"],
)
def test_how_long_it_is_at_first(wait: float | None, name: str | None, until: float) -> None:
    """As long as the server asks; else its budget says when it is back, or its end is looked for."""
    lockout = lock(wait, name=name)
    assert lockout.until == until
    assert (lockout.began_at, lockout.refused_at) == (100.0, 100.0)


def test_each_refusal_after_it_makes_it_longer() -> None:
    """Though the server says no more than before; twice as much each time, up to a bound."""
    lockout = lock(0.1)
    assert lockout.is_told
    waits = []
    now = lockout.until
    for _ in range(60):
        lockout.prolong(0.1, now)
        waits.append(round(lockout.until - now, 6))
        now = lockout.until
    assert waits[:7] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert waits[-1] == 8.0
    assert not lockout.is_told


def test_what_the_server_asks_for_then_is_waited_for_where_it_is_longer() -> None:
    """Never shorter than that."""
    lockout = lock(1.0)
    lockout.prolong(30.0, 101.0)
    assert lockout.until == 131.0
    lockout.prolong(None, 131.0)
    assert lockout.until == 138.0


def test_what_is_explained_is_looked_for_the_second_time() -> None:
    """Its figures were wrong."""
    lockout = lock(name="requests")
    lockout.prolong(None, 105.0)
    assert lockout.until == 112.0
    assert lockout.refused_at == 105.0


def test_looking_never_goes_back_in_time() -> None:
    """Whatever the search gives."""
    lockout = lock(search=lambda now: now - 50.0)
    assert lockout.until == 100.0


def test_refusals_of_what_was_under_way_only_prolong_it() -> None:
    """By what they ask for, where that is later."""
    lockout = lock(12.0)
    lockout.note_late(None, 101.0)
    lockout.note_late(3600.0, 101.0)
    lockout.note_late(1.0, 102.0)
    assert (lockout.until, lockout.refused_at) == (112.0, 102.0)
    lockout.note_late(20.0, 103.0)
    assert lockout.until == 123.0
    assert lockout.is_told
    silent = lock()
    silent.note_late(20.0, 103.0)
    assert (silent.until, silent.asked_until) == (123.0, 123.0)


def test_told_is_only_what_was_true() -> None:
    """Not what had to be looked for."""
    assert not lock().is_told
    assert not lock(3600.0, search=lambda now: now + 5000.0).is_told


def test_a_lie_is_not_what_was_told() -> None:
    """Its end was looked for."""
    assert not lock(3600.0).is_told


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cause": "overload"}, "too much to do"),
        ({"cause": "concurrency"}, "no more at once"),
        ({"wait": 5.0}, "as long as the server asks"),
        ({}, "a rate limit that the server doesn't name"),
    ],
    ids=["overload", "concurrency", "asked", "unknown"],
)
def test_it_says_what_is_waited_for(facts: dict[str, Any], words: str) -> None:
    """For the command line, and the message of who waits in vain."""
    assert words in lock(**facts).describe()
