"""How long a run waited, and how often it was refused: what the report sets against its throughput. Pure."""

from __future__ import annotations


class Waits:
    """Counts the seconds in which requests were ready and none was let go, whether one waited or a thousand.

    Example:
        >>> waits = Waits()
        >>> waits.begin(now=1.0); waits.begin(now=2.0); waits.end(now=3.0)
        >>> waits.seconds(now=5.0)
        4.0
        >>> waits.end(now=5.0)
        >>> waits.seconds(now=9.0)
        4.0
    """

    def __init__(self) -> None:
        self._waiting = 0
        self._since = 0.0
        self._seconds: float = 0.0
        self.refusals = 0
        """Answers with status 429."""

    def begin(self, *, now: float) -> None:
        """Note that a request is ready."""
        if self._waiting == 0:
            self._since = now
        self._waiting += 1

    def end(self, *, now: float) -> None:
        """Note that it was let go, or given up."""
        self._waiting -= 1
        if self._waiting == 0:
            self._seconds += now - self._since

    def seconds(self, *, now: float) -> float:
        """Give the seconds so far."""
        return self._seconds + (now - self._since if self._waiting else 0.0)
