"""Whether there is room on the disk for what is in flight, so that a job stops before it is full, not after."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

# Before the first image came nobody knows how large they are.
_FIRST_GUESS_BYTES: Final = 64 << 10
# For the journal and its log, and the files at the end; of a small disk a part.
_MARGIN_BYTES: Final = 4 << 20
_MARGIN_SHARE: Final = 4
# The disk is asked anew at most so often, in seconds: on network file systems that takes a round trip.
_EVERY: Final = 0.1


class Room:
    """Watches the free space of a folder's disk.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        self._largest_bytes = _FIRST_GUESS_BYTES
        self._free_bytes: int | None = None
        self._margin_bytes: Final = _find_margin(folder)
        self._asked_at = float("-inf")

    def note(self, size_bytes: int | None) -> None:
        """Note how large an image was."""
        self._largest_bytes = max(self._largest_bytes, (size_bytes or 0) * 5 // 4)
        if self._free_bytes is not None:
            self._free_bytes -= size_bytes or 0

    def is_there_for(self, images: int, *, now: float) -> bool:
        """Tell whether so many images fit; True where the disk doesn't say."""
        if now - self._asked_at >= _EVERY:
            self._asked_at, self._free_bytes = now, find_free_bytes(self._folder)
        return self._free_bytes is None or self._free_bytes >= images * self._largest_bytes + self._margin_bytes

    def describe(self) -> str:
        """Say how much room there is."""
        free = "nothing" if self._free_bytes is None else f"{self._free_bytes / 1e6:.1f} MB"
        return f"{free} free, images of up to {self._largest_bytes / 1e6:.1f} MB"


def find_free_bytes(folder: Path) -> int | None:
    """Ask how much may still be written to a folder's disk; None where it doesn't say."""
    found = _ask(folder)
    return None if found is None else found.f_bavail * found.f_frsize


def _find_margin(folder: Path) -> int:
    found = _ask(folder)
    return 0 if found is None else min(_MARGIN_BYTES, found.f_blocks * found.f_frsize // _MARGIN_SHARE)


def _ask(folder: Path) -> os.statvfs_result | None:
    try:
        found = os.statvfs(folder)
    except (AttributeError, OSError):
        # Windows has no statvfs. A folder that is gone shows when it is written to.
        return None
    # Some file systems that don't know say zero of everything.
    return found if found.f_blocks else None
