"""An event loop whose time jumps: where nothing is left to do, it is at once the moment of the next timer.

An hour of waiting takes as long as the code that runs in it, and each run is like the one before. What comes from
outside (sockets, threads) is looked at too, but time does not wait for it.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

# Where no timer is set, only something from outside can go on: so long is really waited for it.
_PATIENCE: Final = 10.0
# A timer may be due a little before what its owner computes by, who sets another for the same moment, and so on for
# ever: real clocks go on meanwhile. After so many rounds this one does too, by so many seconds in each.
_ROUNDS: Final = 100
_TICK: Final = 1e-6


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock of its own, which begins at 0.

    Example:
        >>> async def sleep_for_an_hour() -> float:
        ...     await asyncio.sleep(3600)
        ...     return asyncio.get_running_loop().time()
        >>> run(sleep_for_an_hour())
        3600.0
    """

    def __init__(self) -> None:
        self._jumps = _JumpingSelector()
        super().__init__(self._jumps)

    def time(self) -> float:
        """Give the seconds since the beginning, of the loop's own clock."""
        return self._jumps.now


def run(main: Coroutine[Any, Any, T]) -> T:  # Any: what a coroutine yields and is sent is the loop's affair
    """Run a coroutine to its end on a new loop, whose time jumps.

    Raises:
        RuntimeError: it waits for what never comes.
    """
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class _JumpingSelector(selectors.DefaultSelector):
    """Moves the clock on where others sleep."""

    now = 0.0
    _rounds = 0
    """Rounds of the loop at this moment."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready: list[tuple[selectors.SelectorKey, int]] = super().select(0)
        if timeout is None and not ready:
            ready = super().select(_PATIENCE)
            if not ready:
                raise RuntimeError("everything waits, no timer is set, and nothing comes from outside")
        elif timeout is not None and not ready:
            self.now += timeout
            self._rounds = 0 if timeout > _TICK else self._rounds + 1
            if self._rounds > _ROUNDS:
                self.now += _TICK
        return ready
