"""Ceilings: what a request costs, by what limits count, and at most so much in any window.

A ceiling is a limit that is known before: declared, or part of one that is learned. It is kept by a log of what was
taken, which no server can contradict. Pure: `now` is an argument, seconds of one steady clock. It knows nothing of
what answers say.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Literal

Unit = Literal["requests", "images", "tokens"]

MINUTE: Final = 60.0
# Refills are sums of floats: what is short by this little is not short.
TINY: Final = 1e-6
# A window's log is kept in so many slots at most: 0.4 % of the window is how late a slot is given back.
_SLOTS: Final = 256
_WINDOWS: Final = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}


class Cost:
    """What one request takes.

    Args:
        images: how many it asks for.
        tokens: estimated before, by size and quality; or what estimates them, when a limit first counts tokens.
    """

    __slots__ = ("_tokens", "images")

    def __init__(self, *, images: float = 1.0, tokens: float | Callable[[], float] = 0.0) -> None:
        self.images: Final = images
        self._tokens = tokens

    @property
    def tokens(self) -> float:
        """How many tokens it is thought to take."""
        if callable(self._tokens):
            self._tokens = self._tokens()
        return self._tokens

    def of(self, unit: Unit) -> float:
        """Give the part that one kind of budget counts."""
        if unit == "requests":
            return 1.0
        return self.images if unit == "images" else self.tokens


def unit_of(name: str) -> Unit:
    """Tell what a limit counts by its name; what has another name counts requests.

    OpenAI counts the images that are made as "input-images".

    Example:
        >>> [unit_of(name) for name in ("tokens", "input-images", "requests", "project")]
        ['tokens', 'images', 'requests', 'requests']
    """
    if "token" in name:
        return "tokens"
    return "images" if "image" in name else "requests"


def describe_limit(name: str, window: float) -> str:
    """Say what a limit counts, and over what time.

    Example:
        >>> [describe_limit("images", 60.0), describe_limit("requests", 10.0)]
        ['images per minute', 'requests per 10 s']
    """
    for seconds, word in _WINDOWS.items():
        if abs(window / seconds - 1) < 0.02:
            return f"{name} per {word}"
    return f"{name} per {window:.3g} s"


class Slot:
    """A part of a ceiling's log: what was taken in a short stretch of time."""

    __slots__ = ("began_at", "cost", "last_at")

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.last_at = now
        self.cost = 0.0


class Ceiling:
    """At most `limit` in any `window`, wherever it begins.

    That is refused by no server that has this limit, whether it keeps a bucket, a fixed or a sliding window.

    Args:
        limit: how much; less than 1 is one in a longer window.
        window: its length in seconds.
    """

    __slots__ = ("_slots", "limit", "used", "window")

    def __init__(self, limit: float, window: float = MINUTE) -> None:
        self.limit = max(limit, 1.0)
        self.window = window if limit >= 1.0 else window / limit
        self.used = 0.0
        self._slots: Final[deque[Slot]] = deque()

    def ready_at(self, cost: float, now: float) -> float:
        """Give when `cost` may be taken; `now` where it may be at once.

        What costs more than the whole limit goes when nothing else is in the window.
        """
        self._forget(now)
        missing = self.used + min(cost, self.limit) - self.limit
        if missing <= TINY:
            return now
        for slot in self._slots:
            missing -= slot.cost
            if missing <= TINY:
                return slot.last_at + self.window
        return now

    def resets_at(self, now: float) -> float:
        """Give when all of it is back."""
        self._forget(now)
        return self._slots[-1].last_at + self.window if self._slots else now

    def take(self, cost: float, now: float) -> Slot:
        """Take `cost`, and give the slot it is in."""
        if not self._slots or now >= self._slots[-1].began_at + self.window / _SLOTS:
            self._slots.append(Slot(now))
        slot = self._slots[-1]
        slot.cost += cost
        slot.last_at = max(slot.last_at, now)
        self.used += cost
        return slot

    def give_back(self, slot: Slot, cost: float) -> None:
        """Give back what was never used."""
        # A slot that left the log has cost 0.
        cost = min(cost, slot.cost)
        slot.cost -= cost
        self.used = max(0.0, self.used - cost)

    def _forget(self, now: float) -> None:
        slots = self._slots
        while slots and slots[0].last_at + self.window <= now + TINY:
            slot = slots.popleft()
            self.used -= slot.cost
            slot.cost = 0.0
        if not slots:
            self.used = 0.0
