"""Ceilings: at most so much in any window, by what a limit counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.policy.budgets import Budget
from aiai_async.policy.ceilings import Ceiling, Cost, Slot, Unit, describe_limit, unit_of

ROUNDING = 1e-6


@pytest.mark.parametrize(("unit", "cost"), [("requests", 1.0), ("images", 4.0), ("tokens", 900.0)])
def test_a_request_costs_by_what_is_counted(unit: Unit, cost: float) -> None:
    """One request, so many images, so many tokens."""
    assert Cost(images=4, tokens=900).of(unit) == cost


def test_tokens_are_estimated_when_they_are_first_counted() -> None:
    """And once only: a limit on requests never asks."""
    asked: list[str] = []

    def estimate() -> float:
        asked.append("asked")
        return 900.0

    cost = Cost(images=4, tokens=estimate)
    assert (cost.of("requests"), cost.of("images"), asked) == (1.0, 4, [])
    assert (cost.of("tokens"), cost.tokens, asked) == (900.0, 900.0, ["asked"])


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("requests", "requests"),
        ("project-requests", "requests"),
        ("images", "images"),
        ("input-images", "images"),
        ("tokens", "tokens"),
        ("image-tokens", "tokens"),
        ("minute", "requests"),
    ],
)
def test_a_limit_counts_what_its_name_says(name: str, unit: Unit) -> None:
    """Requests, where the name says nothing."""
    assert unit_of(name) == unit
    assert Budget(name).unit == unit


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (1.0, "images per second"),
        (60.0, "images per minute"),
        (60.9, "images per minute"),
        (62.0, "images per 62 s"),
        (3600.0, "images per hour"),
        (86400.0, "images per day"),
        (0.25, "images per 0.25 s"),
    ],
)
def test_a_limit_is_described_in_words(window: float, words: str) -> None:
    """A window that is measured is never exactly a minute."""
    assert describe_limit("images", window) == words


class TestCeiling:
    """At most so much in any window."""

    def test_all_may_go_at_once_and_then_nothing_for_a_window(self) -> None:
        """Each place is back a window after it was taken."""
        ceiling = Ceiling(3)
        for at in (100.0, 100.0, 110.0):
            assert ceiling.ready_at(1, at) == at
            ceiling.take(1, at)
        assert ceiling.ready_at(1, 110.0) == 160.0
        assert ceiling.ready_at(3, 110.0) == 170.0
        assert ceiling.resets_at(110.0) == 170.0
        assert ceiling.ready_at(2, 160.0) == 160.0
        assert ceiling.ready_at(3, 160.0) == 170.0
        assert ceiling.resets_at(170.0) == 170.0
        assert ceiling.used == 0

    def test_what_costs_more_than_all_goes_alone(self) -> None:
        """Or it would wait forever."""
        ceiling = Ceiling(3)
        assert ceiling.ready_at(10, 0.0) == 0.0
        ceiling.take(10, 0.0)
        assert ceiling.ready_at(1, 1.0) == 60.0
        ceiling = Ceiling(3)
        ceiling.take(1, 0.0)
        assert ceiling.ready_at(10, 1.0) == 60.0

    def test_less_than_one_in_a_window_is_one_in_a_longer_one(self) -> None:
        """A request every two minutes."""
        ceiling = Ceiling(0.5)
        assert (ceiling.limit, ceiling.window) == (1.0, 120.0)

    def test_what_was_never_used_is_given_back_at_once(self) -> None:
        """Once, and only as long as it counts."""
        ceiling = Ceiling(2)
        first, second = ceiling.take(1, 0.0), ceiling.take(1, 10.0)
        ceiling.give_back(first, 1)
        assert ceiling.used == 1
        assert ceiling.ready_at(1, 10.0) == 10.0
        ceiling.give_back(first, 1)
        assert ceiling.used == 1
        assert ceiling.ready_at(1, 70.0) == 70.0
        ceiling.give_back(second, 1)
        assert ceiling.used == 0

    def test_a_ceiling_that_was_lowered_lets_go_when_its_window_is_empty(self) -> None:
        """However much more was taken before."""
        ceiling = Ceiling(3)
        ceiling.take(3, 0.0)
        ceiling.limit = 1
        assert ceiling.ready_at(1, 1.0) == 60.0

    def test_what_rounding_leaves_over_keeps_nobody_waiting(self) -> None:
        """The sum of absurd figures isn't what it should be."""
        ceiling = Ceiling(10)
        absurd = ceiling.take(1e17, 0.0)
        ceiling.take(9, 1.0)
        ceiling.give_back(absurd, 1e17)
        assert ceiling.used == 16
        assert ceiling.ready_at(10, 1.0) == 1.0

    def test_its_log_stays_short(self) -> None:
        """A hundred thousand in a minute are some hundred slots; they count until the last of a slot is gone."""
        ceiling = Ceiling(100_000)
        for number in range(100_000):
            ceiling.take(1, number * 0.0006)
        assert len(ceiling._slots) <= 257
        assert ceiling.ready_at(1, 60.0) <= 60.0 + 60.0 / 256

    @given(
        limit=st.integers(1, 20) | st.floats(0.1, 20),
        steps=st.lists(
            st.tuples(
                st.sampled_from([0.0, 0.001, 0.1, 1.0, 30.0, 59.999, 60.0]) | st.floats(0, 200),
                st.sampled_from([1.0, 1.0, 2.0, 5.0]),
                st.booleans(),
                st.booleans(),
            ),
            max_size=60,
        ),
    )
    def test_never_more_than_its_limit_in_any_window(
        self, limit: float, steps: list[tuple[float, float, bool, bool]]
    ) -> None:
        """Wherever a window begins, whatever was given back; who waits as long as it says may go then."""
        ceiling = Ceiling(limit)
        now, taken = 0.0, list[tuple[float, float, Slot]]()
        for step, cost, waits, is_given_back in steps:
            now += step
            ready_at = ceiling.ready_at(cost, now)
            assert ready_at >= now
            if ready_at > now and waits:
                now = ready_at
                assert ceiling.ready_at(cost, now) <= now + ROUNDING
                ready_at = now
            if ready_at == now:
                taken.append((now, cost, ceiling.take(cost, now)))
            if is_given_back and taken:
                _, given, slot = taken.pop()
                ceiling.give_back(slot, given)
            recent = [cost for at, cost, _ in taken if at > now - ceiling.window + ROUNDING]
            assert sum(recent) <= ceiling.limit + ROUNDING or len(recent) == 1
            assert ceiling.used >= sum(recent) - ROUNDING
