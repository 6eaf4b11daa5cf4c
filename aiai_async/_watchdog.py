"""Cuts short what takes too long: a block of a call, whose deadline moves with what the call waits for.

Which time runs out next is `policy.deadlines`'s to say; here one timer sleeps until the first of all calls' deadlines.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Final

from aiai_async.policy.deadlines import Deadlines


class DeadlineTimer:
    """The timer of one event loop's watchdogs.

    A timer for each of them, which is nearly always cancelled, takes 4 us a call. This one is for the first deadline of
    all; most others come later, and are looked at when it is due.
    """

    __slots__ = ("_timer", "_watchdogs", "due_at")

    def __init__(self) -> None:
        self._watchdogs: Final[dict[Watchdog, None]] = {}
        self._timer: asyncio.Handle | None = None
        self.due_at = math.inf
        """When it is due; infinite: there is none."""

    def add(self, watchdog: Watchdog) -> None:
        """Watch a deadline, also one that was moved."""
        self._watchdogs[watchdog] = None
        if watchdog.deadlines.at < self.due_at:
            self._sleep(watchdog.loop, watchdog.deadlines.at)

    def remove(self, watchdog: Watchdog) -> None:
        """Watch it no more, if it was."""
        self._watchdogs.pop(watchdog, None)
        if not self._watchdogs and self._timer is not None:
            self._sleep(watchdog.loop, math.inf)

    def _sleep(self, loop: asyncio.AbstractEventLoop, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.due_at = until
        self._timer = loop.call_at(until, self._wake, loop) if until < math.inf else None

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        # Event loops wake a little early too.
        now, first = max(self.due_at, loop.time()), math.inf
        for watchdog in [*self._watchdogs]:
            at = watchdog.deadlines.at
            if at <= now:
                watchdog.cancel()
            elif at < first:
                first = at
        self._sleep(loop, first)


class Watchdog:
    """Runs blocks, one after another, each until it ends, the next deadline passes, or it is ended by `cancel`.

    It works like `asyncio.timeout`: the task is cancelled, and what that raised ends with the block. anyio's scopes
    would do too, and are what clean-up is shielded by; but one takes 4 us, a move of its deadline 2 us more, and
    loading them a tenth of what a script takes that makes one request.

    Args:
        loop: the running event loop.
        deadlines: say when; `move` is to be called where they were moved.
        timer: the loop's.
    """

    __slots__ = ("_before", "_cut_soon", "_cuts", "_task", "_timer", "deadlines", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines, timer: DeadlineTimer) -> None:
        self.loop: Final = loop
        self.deadlines: Final = deadlines
        self._timer: Final = timer
        self._task: asyncio.Task[object] | None = None
        """What runs the block; None: none runs."""
        self._cut_soon: asyncio.Handle | None = None
        self._before = 0
        """Requests to cancel the task that came before the block, and are not taken back here."""
        self._cuts = 0
        """Those that came from here."""

    def __enter__(self) -> Watchdog:
        task = asyncio.current_task(self.loop)
        assert task is not None
        assert self._task is None
        self._task = task
        self._before = task.cancelling()
        self._timer.add(self)
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
        if self.deadlines.at < self._timer.due_at and self._task is not None and not self._cuts:
            self._timer.add(self)

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
        self._cut_soon = self.loop.call_soon(self._cut)

    def rest(self) -> None:
        """Watch no more: what is left of the block is bounded otherwise."""
        self._timer.remove(self)
        if self._cut_soon is not None:
            self._cut_soon.cancel()
            self._cut_soon = None

    def _cut(self) -> None:
        if self._task is not None:
            self._cuts += 1
            self._task.cancel()
