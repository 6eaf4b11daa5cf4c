"""What the client's scheduler knows, in the words of a job. The one place that asks the client about it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from aiai_async import AsyncImagesClient


def describe_waiting(client: AsyncImagesClient) -> str | None:
    """Say why requests wait and for how long, in words for people; None where none do, or not for long.

    How many are in flight is not said: a job counts its items otherwise than the client its requests.
    """
    queues = [queue for queue in client.limits.queues if queue.waiting_for is not None]
    # The queue that goes on last is what the job waits for.
    queue = max(queues, key=lambda queue: math.inf if queue.next_in is None else queue.next_in, default=None)
    if queue is None or (queue.next_in is not None and queue.next_in < 1.0):
        return None
    seconds = "" if queue.next_in is None else f" {queue.next_in:.0f} s"
    return f"waiting{seconds} for {queue.waiting_for}"


def limits_of(client: AsyncImagesClient) -> dict[str, Mapping[str, object]]:
    """Give what is known of the limits by name, as JSON, for the journal and the report."""
    kept = ("name", "model", "source", "limit", "window")
    return {
        " ".join(filter(None, (limit.name, limit.model))): attrs.asdict(
            limit, filter=lambda attribute, _: attribute.name in kept
        )
        for limit in client.limits
    }


def images_per_minute(client: AsyncImagesClient) -> float | None:
    """Give the limit of images per minute, where it is known: the sum of those of several models."""
    limits = [limit for limit in client.limits if "image" in limit.name and limit.window]
    return sum(limit.limit * 60.0 / limit.window for limit in limits if limit.window) if limits else None
