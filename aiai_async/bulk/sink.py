"""Where the image bytes of a job go: a temporary file, synced when it is whole. Its name comes later, from `writer`.

At most an eighth of a MiB is held in memory, and what came last, whatever the image's size. An image of up to 32 KiB
can be left to the writer, which makes one hop to a thread for many of them; see `pace` for when that pays. It is held
until then, with the others of its answer.
"""

from __future__ import annotations

import contextlib
import random
import threading
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from aiai_async._files import PartFile
from aiai_async.bulk.items import WritingError

PART: Final = ".part"
_COLLECTED_BYTES: Final = 1 << 17
# All of an answer wait together, of each that is in flight: ten with 64 at once are 20 MiB.
_MOST_LEFT_BYTES: Final = 1 << 15


class PartSink:
    """Writes one image to a temporary file of its own and syncs it. See `aiai_async.ImageSink`.

    Args:
        base: a path in the folder where the file goes; the file's name begins with its name.
        stem: what follows in the file's name.
        limiter: bounds the threads of the job.
        is_left: whether `finish` leaves a small image to `finish_now`.

    Raises:
        WritingError: from `write`, `finish` and `finish_now`, where the file can't be written.
    """

    __slots__ = (
        "_collected",
        "_collected_bytes",
        "_file",
        "_has_begun",
        "_is_aborted",
        "_is_left",
        "_is_whole",
        "_limiter",
        "_lock",
        "path",
    )

    def __init__(self, base: Path, stem: str, *, limiter: anyio.CapacityLimiter, is_left: bool = False) -> None:
        # A path that is read from text keeps its names in Python's table of interned strings. That is made anew, as a
        # megabyte beside the old one, each 24,000 names, and left holes: 47 bytes an item.
        # The number is random enough that two attempts don't meet; that no other file is written to is seen to by
        # `PartFile`.
        self.path: Final = base.with_suffix(f".{stem}-{random.getrandbits(32):08x}{PART}")
        self._limiter: Final = limiter
        self._is_left: Final = is_left
        self._file: PartFile | None = None
        self._collected: list[bytes] = []
        self._collected_bytes = 0
        # Cancelling may end the await while the thread goes on: abort waits for it, and nothing follows.
        self._lock: Final = threading.Lock()
        self._has_begun = False
        """Whether a thread was ever sent to the file."""
        self._is_whole = False
        self._is_aborted = False

    async def write(self, data: bytes, /) -> None:
        """Take the next bytes."""
        self._collected.append(data)
        self._collected_bytes += len(data)
        if self._collected_bytes >= _COLLECTED_BYTES:
            self._has_begun = True
            await anyio.to_thread.run_sync(self._flush, limiter=self._limiter)

    async def finish(self) -> None:
        """Write the rest and sync, unless that is left to `finish_now`; the file keeps its temporary name."""
        if self._has_begun or not self._is_left or self._collected_bytes > _MOST_LEFT_BYTES:
            self._has_begun = True
            await anyio.to_thread.run_sync(self.finish_now, limiter=self._limiter)

    def finish_now(self) -> bool:
        """Write what is not written and sync it; again does nothing. Tell whether there was anything. It blocks."""
        with self._lock:
            try:
                self._write_collected()
                if self._file is None or self._is_whole:
                    return False
                self._file.finish()
                self._is_whole = True
            except OSError as error:
                raise WritingError(error) from error
        return True

    async def abort(self) -> None:
        """Remove what was written; also after `finish`."""
        if self._has_begun:
            await anyio.to_thread.run_sync(self.abort_now, limiter=self._limiter)
        else:
            self.abort_now()

    def abort_now(self) -> None:
        """Remove what was written. It blocks."""
        with self._lock:
            self._is_aborted = True
            self._collected.clear()
            file, self._file = self._file, None
            # The folder may be gone: then so is the file.
            with contextlib.suppress(OSError):
                if file is not None:
                    file.abort()

    def _flush(self) -> None:
        with self._lock:
            try:
                self._write_collected()
            except OSError as error:
                raise WritingError(error) from error

    def _write_collected(self) -> None:
        if self._is_aborted or self._is_whole:
            return
        if self._file is None:
            self._file = PartFile(self.path)
        pieces, self._collected, self._collected_bytes = self._collected, [], 0
        self._file.write(pieces)
