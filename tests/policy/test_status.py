"""What a user sees of a queue's limits."""

from __future__ import annotations

import attrs
import pytest

from aiai_async._facts import LimitFact, LimitStatus, RateLimits
from aiai_async.policy.admission import Admission
from aiai_async.policy.ceilings import Ceiling, Cost
from aiai_async.policy.status import describe_limits, describe_pause


def seen(admission: Admission, now: float) -> list[dict[str, object]]:
    """Describe its limits, without what is left out of all of them."""
    empty = attrs.asdict(LimitStatus(name="", model=None, source="learned", limit=1.0))
    return [
        {
            name: value
            for name, value in attrs.asdict(each).items()
            if value != empty[name] or name in ("limit", "source")
        }
        for each in describe_limits(admission, now)
    ]


def test_nothing_is_known_of_a_new_queue() -> None:
    """And it doesn't pause."""
    admission = Admission()
    assert list(describe_limits(admission, 0.0)) == []
    assert describe_pause(admission) == (None, None)


def test_what_is_declared_is_seen_from_the_beginning() -> None:
    """With what is left, and when all of it is back."""
    declared = RateLimits(requests_per_minute=60, images_per_minute=5, concurrency=3)
    admission = Admission(declared)
    ticket = admission.admit(Cost(images=2), 100.0)
    assert ticket is not None
    assert seen(admission, 110.0) == [
        {"name": "requests", "source": "declared", "limit": 60, "remaining": 59, "window": 60.0, "resets_in": 50.0},
        {"name": "images", "source": "declared", "limit": 5, "remaining": 3, "window": 60.0, "resets_in": 50.0},
        {"name": "concurrency", "source": "declared", "limit": 3.0, "remaining": 2.0},
    ]


def test_what_answers_say_is_learned() -> None:
    """A limit whose number isn't known yet is none."""
    admission = Admission()
    ticket = admission.admit(Cost(), 100.0)
    assert ticket is not None
    facts = [
        LimitFact(name="images", limit=5.0, remaining=4.0, resets_in=12.0, window=60.0),
        LimitFact(name="requests", limit=60.0),
    ]
    admission.accept(ticket, facts, 100.0)
    images, requests = describe_limits(admission, 102.0)
    assert (images.name, images.limit, images.remaining, images.window) == ("images", 5.0, 4.0, 60.0)
    assert images.resets_in == pytest.approx(10.0, abs=0.05)
    assert (requests.name, requests.limit) == ("requests", 60.0)
    assert [each.source for each in describe_limits(admission, 102.0)] == ["learned", "learned"]
    admission.budgets["images"].refill.limit = float("inf")
    assert [each.name for each in describe_limits(admission, 102.0)] == ["requests"]


def test_what_refusals_tell_is_discovered() -> None:
    """A cap; a window; a rate, over a minute."""
    admission = Admission()
    admission.caps.suppose(8)
    admission.rates.rate = 0.5
    assert seen(admission, 0.0) == [
        {"name": "concurrency", "source": "discovered", "limit": 8.0, "remaining": 8.0},
        {"name": "requests", "source": "discovered", "limit": 30.0, "window": 60.0},
    ]
    admission.rates.window = Ceiling(20, 10.0)
    admission.rates.window.take(5, 0.0)
    assert seen(admission, 4.0)[1] == {
        "name": "requests",
        "source": "discovered",
        "limit": 20,
        "remaining": 15.0,
        "window": 10.0,
        "resets_in": 6.0,
    }


def test_a_pause_says_until_when_and_why() -> None:
    """As long as nothing was let in again."""
    admission = Admission()
    ticket = admission.admit(Cost(), 100.0)
    assert ticket is not None
    admission.refuse(ticket, "rate", (), 12.0, 100.0)
    until, why = describe_pause(admission)
    assert until == 112.0
    assert why is not None
    assert why.startswith("waiting for ")
