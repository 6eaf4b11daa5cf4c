"""The cancel scope of a call, whose deadline moves with what the call waits for.

Which time runs out next is `policy.deadlines`'s to say; here one timer sleeps until then.
"""

from __future__ import annotations

import asyncio
import functools
import math
from types import TracebackType
from typing import Final

import anyio

from aiai_async.policy.deadlines import Deadlines


@functools.cache
def _scope_class() -> type[anyio.CancelScope]:
    # anyio finds out for each scope what kind of event loop runs, 1.3 us, and here it is asyncio's always.
    return type(anyio.CancelScope())


class Watchdog:
    """Runs blocks, one after another, each in a cancel scope that is cancelled when the next deadline passes.

    anyio's own deadlines aren't used: moving one sets the loop's timer anew, which is 2 us, and that of a call moves
    four times, to later nearly always. Here the timer wakes at the earlier time then, and sleeps on.

    Args:
        loop: the running event loop.
        deadlines: say when; `move` is to be called where they may be earlier than before.
    """

    __slots__ = ("_deadlines", "_loop", "_scope", "_timer", "_wakes_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, deadlines: Deadlines) -> None:
        self._loop: Final = loop
        self._deadlines: Final = deadlines
        self._scope: anyio.CancelScope | None = None
        """That of the block that runs."""
        self._timer: asyncio.TimerHandle | None = None
        self._wakes_at = math.inf
        """When the timer wakes; infinite: there is none."""

    def __enter__(self) -> anyio.CancelScope:
        scope = self._scope = _scope_class()()
        scope.__enter__()
        self._watch(scope)
        return scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        scope, self._scope = self._scope, None
        self._stop_timer()
        assert scope is not None
        return bool(scope.__exit__(kind, error, traceback))

    def move(self) -> None:
        """Take note that the deadlines were moved."""
        if self._deadlines.at < self._wakes_at and self._scope is not None:
            self._stop_timer()
            self._watch(self._scope)

    def _watch(self, scope: anyio.CancelScope) -> None:
        at = self._wakes_at = self._deadlines.at
        if at <= self._loop.time():
            scope.cancel()
        elif at < math.inf:
            self._timer = self._loop.call_at(at, self._watch, scope)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
