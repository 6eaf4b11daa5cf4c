"""Who is told how a run goes: the caller's callbacks, which may be async and may raise, and never cost an image."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Final

import anyio
from anyio.abc import TaskGroup

from aiai_async.bulk.items import Item
from aiai_async.bulk.progress import Progress
from aiai_async.bulk.records import Ended

_PROGRESS_EVERY: Final = 0.1
_HEARTBEAT: Final = 1.0

OnProgress = Callable[[Progress], object]
"""Is told how far the job is; what an async function gives is awaited beside the job."""
OnItem = Callable[[Item, Ended], object]
"""Is told of an item that ended."""


class Listeners:
    """Calls the callbacks of one run.

    Items that were shielded may end after the run was cut off, when `listen` has ended: they are told then too, but
    there is nothing left that would await what an async callback gives.

    Args:
        on_progress: is told how far the job is.
        on_item: is told of each item that ends.
        measure: tells how far the job is.
        on_error: is called once, when a callback raised; none is called after that.
    """

    def __init__(
        self,
        on_progress: OnProgress | None,
        on_item: OnItem | None,
        *,
        measure: Callable[[], Progress],
        on_error: Callable[[], None],
    ) -> None:
        self._on_progress: Final = on_progress
        self._on_item: Final = on_item
        self._measure: Final = measure
        self._on_error: Final = on_error
        self._told_at = float("-inf")
        self._tasks: TaskGroup | None = None
        self.error: Exception | None = None
        """What a callback raised."""

    async def listen(self) -> None:
        """Tell how far the job is, again and again, until this is cancelled."""
        try:
            async with anyio.create_task_group() as self._tasks:
                while True:
                    self.progressed()
                    await anyio.sleep(_HEARTBEAT)
        finally:
            self._tasks = None

    def ended(self, item: Item, change: Ended) -> None:
        """Tell of an item that ended."""
        if self._on_item is not None:
            self._call(lambda: None if self._on_item is None else self._on_item(item, change))

    def progressed_again(self, *, now: float) -> None:
        """Tell how far the job is, unless that was told a moment ago."""
        if now - self._told_at >= _PROGRESS_EVERY:
            self.progressed()

    def progressed(self) -> None:
        """Tell how far the job is."""
        self._told_at = anyio.current_time()
        if self._on_progress is not None:
            self._call(lambda: None if self._on_progress is None else self._on_progress(self._measure()))

    async def finish(self) -> None:
        """Tell how far the job is in the end.

        Raises:
            Exception: what a callback raised, now or before.
        """
        if self.error is None and self._on_progress is not None:
            found = self._on_progress(self._measure())
            if isinstance(found, Awaitable):
                await found
        if self.error is not None:
            raise self.error

    def _call(self, callback: Callable[[], object]) -> None:
        if self.error is not None:
            return
        try:
            found = callback()
        except Exception as error:
            self._fail(error)
            return
        if not isinstance(found, Awaitable):
            return
        if self._tasks is not None:
            self._tasks.start_soon(self._await, found)
        elif isinstance(found, Coroutine):
            # Python would warn that it was never awaited.
            found.close()

    async def _await(self, awaitable: Awaitable[object]) -> None:
        try:
            await awaitable
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        if self.error is None:
            self.error = error
            self._on_error()
