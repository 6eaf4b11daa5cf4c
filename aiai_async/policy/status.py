"""What is known of a queue's limits, as values. Pure: `now` is an argument."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiai_async._facts import LimitStatus

if TYPE_CHECKING:
    from aiai_async.policy.admission import Admission


def describe_pause(admission: Admission) -> tuple[float | None, str | None]:
    """Give until when a queue pauses after a refusal, and why; None and None where it doesn't."""
    lockout = admission.lockout
    return (None, None) if lockout is None else (lockout.until, f"waiting for {admission.describe(lockout)}")


def describe_limits(admission: Admission, now: float) -> Iterator[LimitStatus]:
    """Give what is known of each limit; facts of the whole queue are left out."""
    now = admission.tick(now)
    for unit, ceiling in admission.ceilings.items():
        resets_at = ceiling.resets_at(now)
        yield LimitStatus(
            name=unit,
            model=None,
            source="declared",
            limit=ceiling.limit,
            remaining=max(0.0, ceiling.limit - ceiling.used),
            window=ceiling.window,
            resets_in=resets_at - now,
        )
    if admission.concurrency is not None:
        left = max(0, admission.concurrency - admission.in_flight)
        yield LimitStatus(
            name="concurrency", model=None, source="declared", limit=float(admission.concurrency), remaining=float(left)
        )
    for budget in admission.budgets.values():
        if budget.limit < math.inf:
            yield LimitStatus(
                name=budget.name,
                model=None,
                source="learned",
                limit=budget.limit,
                remaining=max(0.0, budget.available(now)),
                window=budget.window,
                resets_in=None if budget.reset_at is None else max(0.0, budget.reset_at - now),
            )
    if admission.caps.cap is not None:
        left = max(0, admission.caps.cap - admission.in_flight)
        yield LimitStatus(
            name="concurrency", model=None, source="discovered", limit=float(admission.caps.cap), remaining=float(left)
        )
    rates = admission.rates
    if rates.window is not None:
        window = rates.window
        resets_at = window.resets_at(now)
        yield LimitStatus(
            name="requests",
            model=None,
            source="discovered",
            limit=window.limit,
            remaining=max(0.0, window.limit - window.used),
            window=window.window,
            resets_in=resets_at - now,
        )
    elif rates.rate is not None:
        yield LimitStatus(name="requests", model=None, source="discovered", limit=rates.rate * 60.0, window=60.0)
