"""What the client's scheduler knows, in the words of a job. The one place that asks the client about it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

from aiai_async import AsyncImagesClient


def describe_waiting(client: AsyncImagesClient) -> str | None:
    """Say why requests wait and for how long, in words for people; None where none do.

    How many are in flight is not said: a job counts its items otherwise than the client its requests.
    """
    queues = [queue for queue in client.limits.queues if queue.waiting_for is not None]
    # The queue that goes on last is what the job waits for.
    queue = max(queues, key=lambda queue: math.inf if queue.next_in is None else queue.next_in, default=None)
    if queue is None:
        return None
    # Below a second the figure says nothing: what it waits for does, as where a limit lets one go each second.
    seconds = "" if queue.next_in is None or queue.next_in < 1.0 else f" {queue.next_in:.0f} s"
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
    rates: dict[str | None, float] = {}
    for limit in client.limits:
        if counts_images(limit.name) and limit.window:
            # Of several windows the narrowest holds.
            rates[limit.model] = min(limit.limit * 60.0 / limit.window, rates.get(limit.model, math.inf))
    return sum(rates.values()) if rates else None


def counts_images(name: str) -> bool:
    """Tell whether a limit is one of images, by its own name, without a model's.

    Example:
        >>> counts_images("images"), counts_images("requests"), counts_images("image-tokens")
        (True, False, False)
    """
    return "image" in name and "request" not in name and "token" not in name
