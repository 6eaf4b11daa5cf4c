"""Cuts short what takes too long: a block of a call, whose deadline moves with what the call waits for.

Which time runs out next is `policy.deadlines`'s to say; here one timer sleeps until then.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final

from aiai_async.policy.deadlines import Deadlines


class Watchdog:
    """Runs blocks, one after another, each until it ends, the next deadline passes, or it is ended by `cancel`.

    It works like `asyncio.timeout`: the task is cancelled, and what that raised ends with the block. anyio's scopes
    would do too, and are what clean-up is shielded by; but one takes 4 us, a move of its deadline 2 us more, and
    loading them a tenth of what a script takes that makes one request. Moving a deadline to later, as nearly all moves
    are, only lets the timer wake at the earlier time and sleep on.

    Args:
        loop: the running event loop.
        deadlines: say when; `move` is to be called where they were moved.
    """

    __slots__ = ("_before", "_cuts", "_deadlines", "_loop", "_task", "_timer", "_wakes_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop: Final = loop
        self._deadlines: Final = deadlines
        self._task: asyncio.Task[object] | None = None
        """What runs the block; None: none runs."""
        self._timer: asyncio.Handle | None = None
        self._wakes_at = math.inf
        """When the timer wakes; infinite: there is none."""
        self._before = 0
        """Requests to cancel the task that came before the block, and are not taken back here."""
        self._cuts = 0
        """Those that came from here."""

    def __enter__(self) -> Watchdog:
        task = asyncio.current_task(self._loop)
        assert task is not None
        assert self._task is None
        self._task = task
        self._before = task.cancelling()
        self._watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.rest()
        task, self._task = self._task, None
        if not self._cuts:
            return False
        assert task is not None
        for _ in range(self._cuts):
            task.uncancel()
        self._cuts = 0
        # Where somebody else wants the task cancelled too, it goes on to be.
        return isinstance(error, asyncio.CancelledError) and task.cancelling() <= self._before

    def move(self) -> None:
        """Take note that the deadlines were moved."""
        if self._deadlines.at < self._wakes_at and self._task is not None and not self._cuts:
            self.rest()
            self._watch()

    def go_on(self) -> None:
        """Take note that the block does, with its deadlines moved: code of the caller's may have swallowed its end."""
        if self._cuts:
            self.cancel()
        else:
            self.move()

    def cancel(self) -> None:
        """End the block, if one runs, as if a deadline had passed."""
        self.rest()
        # Not at once: a task that cancels itself may be out of the block before that takes effect.
        self._timer = self._loop.call_soon(self._cut)

    def rest(self) -> None:
        """Watch no more: what is left of the block is bounded otherwise."""
        timer, self._timer = self._timer, None
        self._wakes_at = math.inf
        if timer is not None:
            timer.cancel()

    def _watch(self) -> None:
        at = self._deadlines.at
        if at <= self._loop.time():
            self.cancel()
        elif at < math.inf:
            self._wakes_at = at
            self._timer = self._loop.call_at(at, self._watch)

    def _cut(self) -> None:
        if self._task is not None:
            self._cuts += 1
            self._task.cancel()
