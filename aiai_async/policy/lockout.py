"""The pause after a refusal: one for the whole queue, and one request that tries its end.

Pure: `now` is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

Cause = Literal["rate", "concurrency", "overload"]
"""What refused: a limit over time, a cap on simultaneous requests, or a server that has too much to do."""

# A wait beyond this is taken for a lie where the caller has no bound of his own: its end is looked for instead.
LONGEST_WAIT: Final = 120.0
# Refused again after waiting for as long as the server asked: so much more, twice as much each time.
_FIRST_EXTRA: Final = 0.25
_MOST_EXTRA: Final = 8.0


class Lockout:
    """From the first refusal until a request is let in again.

    Args:
        cause: what refused.
        now: when the first refusal came.
        wait: seconds the server asked for; None: the end is looked for.
        search: gives when to try next where no wait says it, after a refusal at the time it is given.
        name: the limit that the server's own figures say is used up; its budget says when it is back.
        is_lesson: whether it teaches of a limit that nothing else tells of.
    """

    __slots__ = (
        "_search",
        "_tries",
        "asked_until",
        "began_at",
        "by_completion",
        "cause",
        "is_lesson",
        "name",
        "refused_at",
        "until",
    )

    def __init__(
        self,
        cause: Cause,
        *,
        now: float,
        wait: float | None,
        search: Callable[[float], float],
        name: str | None,
        is_lesson: bool,
    ) -> None:
        self.cause: Final = cause
        self.began_at: Final = now
        self.is_lesson: Final = is_lesson
        self.name: Final = name
        self.refused_at = now
        """When the last refusal came."""
        self.by_completion = False
        """Whether the request that tries was let go because another had ended."""
        self.until = now
        """When a request may try."""
        self.asked_until: float | None = None
        """Until when the server asked to wait; None: it didn't."""
        self._search: Final = search
        self._tries = 0
        self.prolong(wait, now)

    @property
    def is_told(self) -> bool:
        """Whether the server said when it would be over, and it was."""
        return self.asked_until is not None and self._tries == 1 and self.until == self.asked_until

    def prolong(self, wait: float | None, now: float) -> None:
        """Set the next try, after a refusal at `now` that asks to wait so long."""
        self.refused_at = now
        if wait is not None:
            self.asked_until = now + wait
        if wait is not None and wait <= LONGEST_WAIT:
            extra = 0.0 if self._tries == 0 else min(_MOST_EXTRA, _FIRST_EXTRA * 2.0 ** min(self._tries - 1, 20))
            self.until = now + max(wait, extra)
        elif self.name is not None and self._tries == 0:
            self.until = now
        else:
            self.until = max(now, self._search(now))
        self._tries += 1

    def note_late(self, wait: float | None, now: float) -> None:
        """Note the refusal of a request that was on its way when the lockout began."""
        self.refused_at = now
        if wait is not None and wait <= LONGEST_WAIT:
            self.asked_until = max(self.asked_until or 0.0, now + wait)
            self.until = max(self.until, now + wait)

    def describe(self) -> str:
        """Say what is waited for, in words."""
        if self.cause == "overload":
            return "the server, which has too much to do"
        if self.cause == "concurrency":
            return "one of those under way to end: the server takes no more at once"
        if self.asked_until is not None:
            return "as long as the server asks after a refusal"
        return "the end of a rate limit that the server doesn't name"
