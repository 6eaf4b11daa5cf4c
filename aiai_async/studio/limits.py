"""What the scheduler knows, for the page's panel: each limit, and why which run waits. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from aiai_async._facts import Limits, LimitStatus, QueueStatus
from aiai_async.studio.runs import Run


def describe_limits(limits: Limits, runs: Iterable[Run], now: dt.datetime) -> dict[str, Any]:
    """Give the panel's content; Any: it is JSON.

    Args:
        limits: as the client knows them.
        runs: those that are under way, in the order they began.
        now: in UTC.
    """
    return {
        "waiting": limits.waiting,
        "in_flight": limits.in_flight,
        "words": limits.describe_wait(),
        "queues": [_queue_to_plain(queue, now) for queue in limits.queues],
        "waits": find_waits(limits, runs),
    }


def find_waits(limits: Limits, runs: Iterable[Run]) -> dict[str, str]:
    """Say of each run that waits what for, by its id; those that wait less than a second are left out.

    A run knows itself whether it waits, and the queue of its model what for.
    """
    waiting = [run for run in runs if run.is_running and run.is_waiting]
    waits: dict[str, str] = {}
    for queue in limits.queues:
        if not queue.waiting or queue.waiting_for is None or (queue.next_in is not None and queue.next_in < 1.0):
            continue
        words = f"waiting for {queue.waiting_for}"
        if queue.next_in is not None:
            words += f", the next goes in {queue.next_in:.0f} s"
        waits.update((run.id, words) for run in waiting if run.request.model == queue.model)
    return waits


def _queue_to_plain(queue: QueueStatus, now: dt.datetime) -> dict[str, Any]:
    paused = None if queue.paused_until is None else max(0.0, (queue.paused_until - now).total_seconds())
    return {
        "server": queue.server,
        "model": queue.model,
        "waiting": queue.waiting,
        "in_flight": queue.in_flight,
        "waiting_for": queue.waiting_for,
        "next_in": _round(queue.next_in),
        "paused_for": _round(paused),
        "reason": queue.reason,
        "limits": [_limit_to_plain(limit) for limit in queue.limits],
    }


def _limit_to_plain(limit: LimitStatus) -> dict[str, Any]:
    return {
        "name": limit.name,
        "source": limit.source,
        "limit": _round(limit.limit),
        "remaining": _round(limit.remaining),
        "window": _round(limit.window),
        "resets_in": _round(limit.resets_in),
    }


def _round(number: float | None) -> float | None:
    """Leave out what nobody reads: what hasn't changed is not sent again."""
    return None if number is None else round(number)
