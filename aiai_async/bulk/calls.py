"""One request of a run, from its waiting to be let go until its answer: what only waits can be called back.

So can anything be that is to be cut off: the tasks of a run are shielded, since between an answer and its row not even
a cancellation comes, and a request is what may end before its time.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from aiai_async import AsyncImagesClient, ImagesResponse
from aiai_async._loops import running_loop
from aiai_async._shared import CALL_WATCH, CallWatch
from aiai_async._sinks import SinkFactory
from aiai_async.bulk.items import Item
from aiai_async.bulk.waits import Waits


class CalledBack(Exception):
    """The request was not under way when the run was stopped, or it was cut off."""


class Call:
    """One request, sent once by `send`.

    Args:
        client: sends it.
        waits: is told when it waits.
    """

    __slots__ = (
        "_client",
        "_cuts",
        "_is_counted",
        "_is_stopping",
        "_loop",
        "_task",
        "_waits",
        "_watch",
        "is_cut",
        "sent_at",
    )

    def __init__(self, client: AsyncImagesClient, waits: Waits | None = None) -> None:
        self._client: Final = client
        self._waits: Final = waits or Waits()
        self._is_counted = False
        """Whether `waits` was told that it waits, and not yet that it doesn't."""
        self._loop: Final = running_loop()
        self._task: asyncio.Task[object] | None = None
        """What waits for the answer."""
        self._cuts = 0
        """How often it was cancelled from here."""
        self._watch: Final = CallWatch(on_begin=self._begin, on_pause=self._note_pause)
        self._is_stopping = False
        self.is_cut = False
        """Whether it was cut off, whatever it was at."""
        self.sent_at: float | None = None
        """When its first attempt was let go, in Unix seconds; None where none was."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits to be let go, or for another attempt."""
        return not self._watch.is_under_way

    @property
    def was_sent(self) -> bool:
        """Whether any attempt was let go."""
        return self._watch.was_under_way

    @property
    def may_have_been_billed(self) -> bool:
        """Whether an attempt that was followed by a wait for another one may have been.

        Only a policy that says so has what is ambiguous tried again; else all that is tried again was refused.
        """
        return self._watch.was_paused and self._client.retry.retry_ambiguous

    async def send(self, item: Item, *, key: str, sink: SinkFactory) -> ImagesResponse:
        """Send the request and wait for its answer.

        Raises:
            CalledBack: it was not under way when the run was stopped, or it was cut off.
            Exception: what `generate` raises.
        """
        self._check()
        # Any: the fields were checked when the row was read.
        fields: dict[str, Any] = {**item.request}
        token = CALL_WATCH.set(self._watch)
        self._count(is_waiting=True)
        task = self._task = asyncio.current_task(self._loop)
        assert task is not None
        before = task.cancelling()
        try:
            response: ImagesResponse = await self._client.generate(**fields, sink=sink, idempotency_key=key)
            return response
        except asyncio.CancelledError:
            # Where somebody else wants the task cancelled too, it goes on to be.
            if not self._cuts or task.cancelling() > before + self._cuts:
                raise
            raise CalledBack from None
        finally:
            self._task = None
            for _ in range(self._cuts):
                task.uncancel()
            CALL_WATCH.reset(token)
            self._count(is_waiting=False)
            self._waits.refusals += self._watch.refusals

    def stop_waiting(self) -> None:
        """Call it back unless it is under way, now and whenever it would wait again."""
        self._is_stopping = True
        if not self._watch.is_under_way:
            self._cancel()

    def cut_off(self) -> None:
        """End it at once."""
        self._is_stopping = self.is_cut = True
        self._cancel()

    def _cancel(self) -> None:
        # Not at once: a task that cancels itself may be done with the request before that takes effect. An anyio scope
        # would do as well; it takes 8 us, with each request.
        self._loop.call_soon(self._cut)

    def _cut(self) -> None:
        if self._task is not None:
            self._cuts += 1
            self._task.cancel()

    def _begin(self) -> None:
        self._check()
        self._count(is_waiting=False)
        if self.sent_at is None:
            self.sent_at = time.time()

    def _check(self) -> None:
        # Cancelling is not enough: up to the first byte there may be no point at which it is noticed.
        if self._is_stopping:
            raise CalledBack

    def _note_pause(self) -> None:
        self._count(is_waiting=True)
        if self._is_stopping:
            self._cancel()

    def _count(self, *, is_waiting: bool) -> None:
        if is_waiting != self._is_counted:
            self._is_counted = is_waiting
            change = self._waits.begin if is_waiting else self._waits.end
            change(now=self._loop.time())
