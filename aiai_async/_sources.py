"""Reads requests from whatever holds them: a list, a generator that may block, an async iterable.

Whoever reads gives `take`, which is awaited with each item and says whether another is wanted; the next is asked for
only then. What a source raises is passed on as it is. A generator is closed where it was run. It knows nothing of what
the items are.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Generator, Iterable, Mapping
from typing import Any, Final

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from aiai_async._models import refuse
from aiai_async._schemas import ImageRequest

Requests = Iterable[str | ImageRequest] | AsyncIterable[str | ImageRequest]
"""Prompts or requests, one after another."""

Take = Callable[[object], Coroutine[Any, Any, bool]]

_IN_MEMORY: Final = (list, tuple, range)
"""Their next item is there at once; any other iterable may wait for a file, a database or a socket."""
# What an async generator does to end itself may wait for a server that doesn't answer.
_CLOSE_SECONDS: Final = 5.0
# A thread can't be interrupted: one that waits for input closes its generator when that comes.
_THREAD_SECONDS: Final = 1.0


def check_requests(requests: Requests, by: str) -> None:
    """Refuse what is no source of requests, or is one by mistake.

    Raises:
        InvalidRequestError: it is.
    """
    if isinstance(requests, (str, ImageRequest)):
        refuse("requests", requests, "put it into a list, or give it to `generate`", by)
    if isinstance(requests, (bytes, bytearray, Mapping)) or not isinstance(requests, (Iterable, AsyncIterable)):
        refuse("requests", requests, "give an iterable or async iterable of prompts or ImageRequests", by)


async def read(requests: Requests, take: Take) -> None:
    """Give each item to `take` until it says no, or there are no more; then close the source where it is a generator.

    Iterables other than lists, tuples and ranges are read in a thread of their own, from their first item to their
    last. Cancelling doesn't wait long for one that blocks: it is closed when it comes back.

    Raises:
        Exception: whatever the source raises.
    """
    if isinstance(requests, AsyncIterable):
        await _read_async(requests, take)
    elif isinstance(requests, _IN_MEMORY):
        await anyio.lowlevel.checkpoint()
        for item in requests:
            if not await take(item):
                break
    else:
        await _read_in_thread(requests, take)


async def read_all(requests: Requests) -> list[object]:
    """Give all items; see `read`."""
    items: list[object] = []

    async def take(item: object) -> bool:
        items.append(item)
        return True

    await read(requests, take)
    return items


async def _read_async(requests: AsyncIterable[object], take: Take) -> None:
    iterator = aiter(requests)
    try:
        # Cancelled already, not an item is asked for.
        await anyio.lowlevel.checkpoint()
        async for item in iterator:
            if not await take(item):
                break
    finally:
        if isinstance(iterator, AsyncGenerator):
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await iterator.aclose()


async def _read_in_thread(requests: Iterable[object], take: Take) -> None:
    has_begun = is_left = False
    has_ended = anyio.Event()
    step: anyio.CancelScope | None = None

    async def take_unless_left(item: object) -> bool:
        nonlocal step
        if not is_left:
            # Its own: this is a task of its own, which a cancelled task doesn't cancel unless anyio did it.
            with anyio.CancelScope() as step:
                return await take(item)
        return False

    def read_here() -> None:
        nonlocal has_begun
        has_begun = True
        try:
            iterator = iter(requests)
            try:
                for item in iterator:
                    # Looked at here too: the loop may have ended while the source blocked.
                    if is_left or not anyio.from_thread.run(take_unless_left, item):
                        break
            finally:
                _close(iterator)
        finally:
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                anyio.from_thread.run_sync(has_ended.set)

    try:
        # Its own limiter: a generator that waits for hours must not hold one of the threads that write files. And one
        # thread for all of it, since much of what generators hold, SQLite's cursors for one, belongs to a thread.
        await anyio.to_thread.run_sync(read_here, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    finally:
        is_left = True
        if step is not None:
            step.cancel()
        if has_begun:
            with anyio.move_on_after(_THREAD_SECONDS, shield=True):
                await has_ended.wait()
        else:
            # In case the thread begins in this very moment; then it closes the generator.
            with contextlib.suppress(ValueError):
                _close(requests)


def _close(iterator: object) -> None:
    # Files have a `close` too and are not ours to close.
    if isinstance(iterator, Generator):
        iterator.close()
