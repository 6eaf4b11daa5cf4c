"""One of a thing for each event loop: connections and queues belong to the loop that uses them."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from aiai_async._errors import ConfigurationError

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one value for each event loop, at its first use there, and forgets it with the loop.

    Args:
        make: makes the value; called on the loop that it is for.
    """

    __slots__ = ("_last", "_make", "_values")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make: Final = make
        self._values: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, T]] = weakref.WeakKeyDictionary()
        self._last: tuple[weakref.ref[asyncio.AbstractEventLoop], T] | None = None
        """The loop that asked last, and its value: nearly always the one that asks next."""

    def get(self) -> T:
        """Give the running loop's value.

        Raises:
            ConfigurationError: the running event loop is trio's.
        """
        return self.of(running_loop())

    def of(self, loop: asyncio.AbstractEventLoop) -> T:
        """Give the value of a loop, which is the running one."""
        last = self._last
        if last is not None and last[0]() is loop:
            return last[1]
        value = self._values.get(loop)
        if value is None:
            value = self._values[loop] = self._make()
        self._last = weakref.ref(loop, self._forget), value
        return value

    def _forget(self, loop: weakref.ref[asyncio.AbstractEventLoop]) -> None:
        if self._last is not None and self._last[0] is loop:
            self._last = None

    def items(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Give every loop's value."""
        return list(self._values.items())

    def take_all(self) -> list[tuple[asyncio.AbstractEventLoop, T]]:
        """Give every loop's value and forget them."""
        values = list(self._values.items())
        self._values.clear()
        self._last = None
        return values


def running_loop() -> asyncio.AbstractEventLoop:
    """Give the running event loop.

    Raises:
        ConfigurationError: it is trio's.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "aiai_async runs on asyncio, and no asyncio event loop runs here; "
            "trio is not supported yet: use asyncio.run(...) or anyio.run(..., backend='asyncio')"
        ) from None
