"""How long the disk takes for a small file, and so who syncs it: one thread, one after another, or many at once. Pure.

A hop to a thread takes 140 us of CPU, which is ten small files where a sync takes nothing. Where it takes 10 ms, as on
disks of networks and clouds, one thread would let 90 items through in a second in place of 490.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# Of one file. From about 0.7 ms on many threads are quicker.
_SLOW_SECONDS: Final = 0.0005
# No more of it counts, so that one that was held up changes nothing, and a few quick ones say that the disk is again.
_MOST_SECONDS: Final = 2 * _SLOW_SECONDS
# So many files make what was known before forgotten.
_MEMORY: Final = 4
# While the disk is slow, one of so many images is left to the one thread, which measures it.
_PROBED: Final = 100


class Pace:
    """What is known of the disk's pace. `note` may be called in another thread than `may_leave`."""

    __slots__ = ("_asked", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        """Of the quickest file of a group, in the mean of the last ones."""
        self._asked = 0
        """How often it was asked since the disk is slow."""

    def note(self, seconds: Sequence[float]) -> None:
        """Take note of small files that were written and synced one after another: how long each took.

        The quickest counts: the others may have waited for the interpreter, which the event loop keeps busy.
        """
        if seconds:
            quickest = min(*seconds, _MOST_SECONDS)
            self._seconds += (quickest - self._seconds) * min(1.0, len(seconds) / _MEMORY)

    def may_leave(self) -> bool:
        """Tell whether the next small image is better left to the thread that writes one after another."""
        if self._seconds <= _SLOW_SECONDS:
            self._asked = 0
            return True
        self._asked += 1
        return self._asked % _PROBED == 0
