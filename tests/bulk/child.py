"""A job in a process of its own, which can be made to die by SIGKILL at a chosen write. See test_crashes.py."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio

from aiai_async import AsyncImagesClient, _files
from aiai_async.bulk import BulkJob, journal, writer

WRITES: dict[str, tuple[Any, str]] = {
    "sync": (_files, "sync"),
    "commit": (journal, "commit"),
    "rename": (writer, "rename"),
}

PRICED = {"model": "dall-e-2", "size": "256x256"}
"""What rows of a job with a cap on its cost ask for: $0.016 each."""


def die() -> None:
    """As the kernel's out-of-memory killer does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def arm(name: str, at: int, when: str) -> None:
    """Let the process die at the so-many-th call of a write, before or after it."""
    module, attribute = WRITES[name]
    original: Callable[..., object] = getattr(module, attribute)
    # Several threads write.
    numbers = itertools.count(1)

    @functools.wraps(original)
    def write(*arguments: Any) -> object:
        number = next(numbers)
        if number == at and when == "before":
            die()
        result = original(*arguments)
        if number == at:
            die()
        return result

    setattr(module, attribute, write)


async def main(folder: str, source: str, concurrency: int) -> int:
    cap = os.environ.get("TEST_MAX_COST")
    options: dict[str, Any] = {} if cap is None else {"max_cost": float(cap), "defaults": PRICED}
    async with AsyncImagesClient() as client:
        job = BulkJob(Path(source), folder, client, concurrency=concurrency, **options)
        result = await job.run()
    return result.exit_code


if __name__ == "__main__":
    folder, source, concurrency, *fault = sys.argv[1:]
    if fault:
        arm(fault[0], int(fault[1]), fault[2])
    sys.exit(anyio.run(main, folder, source, int(concurrency)))
