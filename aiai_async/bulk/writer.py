"""Makes changes durable, many at once: one transaction, then the renames it allows, then one sync of the folder.

The order is the job's promise: an image's file is synced before its row is committed, and has no name before that.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread

from aiai_async._files import sync_folder
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.provenance import sidecar_of, sidecar_path, write_sidecar
from aiai_async.bulk.records import Ended, ImageRow, Started
from aiai_async.bulk.room import find_free_bytes

# Enough to make the wait for the disk small for each; more would only make the others wait.
_MOST_AT_ONCE: Final = 256
RESERVE: Final = "reserve.part"
_RESERVE_BYTES: Final = 1 << 20


class NotWritten(Exception):
    """The journal or the folder can't be written; what the change was about is not durable."""


class Reserve:
    """A file that is given up when the disk is full, so that the last rows can still be written.

    Args:
        folder: the job's.
    """

    def __init__(self, folder: Path) -> None:
        self._path: Final = folder / RESERVE
        self._is_there = False

    def take(self) -> None:
        """Make the file, as large as a small disk lets it be; one that can't be made is done without."""
        self._is_there = True
        free_bytes = find_free_bytes(self._path.parent)
        share = _RESERVE_BYTES if free_bytes is None else free_bytes // 16
        try:
            self._path.write_bytes(bytes(min(_RESERVE_BYTES, share)))
        except OSError:
            self.give_up()

    def give_up(self) -> bool:
        """Remove the file; tell whether it was there."""
        was_there, self._is_there = self._is_there, False
        if was_there:
            try:
                self._path.unlink()
            except OSError:
                return False
        return was_there


class Writer:
    """Takes changes from many tasks and writes them in one thread, in the order they came.

    Args:
        journal: where they go.
        images: the folder of the image files.
        reserve: given up where the disk is full.
        has_sidecars: whether a JSON file is put beside each image.
        limiter: bounds the threads of the job.
    """

    def __init__(
        self,
        journal: Journal,
        images: Path,
        *,
        reserve: Reserve,
        has_sidecars: bool = False,
        limiter: anyio.CapacityLimiter,
    ) -> None:
        self._journal: Final = journal
        self._images: Final = images
        self._reserve: Final = reserve
        self._has_sidecars: Final = has_sidecars
        self._limiter: Final = limiter
        self._waiting: list[_Change] = []
        self._is_writing = False

    async def write(self, change: Started | Ended) -> None:
        """Make a change durable; of images, their files have their names then. Not cut off by cancelling.

        Raises:
            NotWritten: it is not durable.
        """
        mine = _Change(change)
        self._waiting.append(mine)
        with anyio.CancelScope(shield=True):
            if self._is_writing:
                # Whoever writes takes this one along, or wakes us to write the next ones.
                await mine.event.wait()
            if not mine.is_done:
                await self._write_waiting()
        if mine.error is not None:
            raise NotWritten(str(mine.error)) from mine.error

    async def _write_waiting(self) -> None:
        self._is_writing = True
        # Those who were let go at the same moment have their changes written with this one.
        await anyio.lowlevel.checkpoint()
        batch, self._waiting = self._waiting[:_MOST_AT_ONCE], self._waiting[_MOST_AT_ONCE:]
        error: Exception | None = RuntimeError("the event loop ended meanwhile")
        try:
            await anyio.to_thread.run_sync(self._write_now, [change.change for change in batch], limiter=self._limiter)
            error = None
        except (sqlite3.Error, OSError) as exc:
            error = exc
        finally:
            self._is_writing = False
            for change in batch:
                change.is_done, change.error = True, error
                change.event.set()
            if self._waiting:
                # One of them writes next. Until it runs, others that come wait for it.
                self._is_writing = True
                self._waiting[0].event.set()

    def _write_now(self, changes: Sequence[Started | Ended]) -> None:
        stale = self._find_stale(changes)
        if any(row.part is not None and row.received_sha256 is not None for row in _rows_of(changes)):
            # A file with its request in it took the place of the one that came: before the row says which it is.
            sync_folder(self._images)
        try:
            self._journal.apply(changes)
        except sqlite3.Error:
            if not self._reserve.give_up():
                raise
            self._journal.apply(changes)
        placed = [change for change in changes if isinstance(change, Ended) and _has_parts(change.rows)]
        for change in placed:
            for row in change.rows:
                if row.name is not None and row.part is not None:
                    rename(self._images / row.part, self._images / row.name)
                    if not self._has_sidecars:
                        # It would tell of an earlier image under this name.
                        sidecar_path(self._images / row.name).unlink(missing_ok=True)
            if self._has_sidecars:
                self._write_sidecars(change.index, [row.name for row in change.rows if row.name is not None])
        for name in stale:
            (self._images / name).unlink(missing_ok=True)
            sidecar_path(self._images / name).unlink(missing_ok=True)
        if placed or stale:
            sync_folder(self._images)
            self._journal.note_placed(change.index for change in placed)

    def _write_sidecars(self, index: int, names: Sequence[str]) -> None:
        record = self._journal.record_of(index)
        for row in record.rows:
            if row.name is not None and row.name in names:
                write_sidecar(self._images / row.name, sidecar_of(record, row))

    def _find_stale(self, changes: Sequence[Started | Ended]) -> list[str]:
        """Give the files of earlier answers whose rows go, and whose names the new ones don't take."""
        stale: list[str] = []
        for change in changes:
            if isinstance(change, Ended) and change.is_answer:
                names = {row.name for row in change.rows}
                before = self._journal.rows_of(change.index)
                stale += [row.name for row in before if row.name is not None and row.name not in names]
        return stale


class _Change:
    """A change on its way, and whoever waits for it."""

    __slots__ = ("change", "error", "event", "is_done")

    def __init__(self, change: Started | Ended) -> None:
        self.change: Final = change
        self.event: Final = anyio.Event()
        self.is_done = False
        self.error: Exception | None = None


def _rows_of(changes: Sequence[Started | Ended]) -> list[ImageRow]:
    return [row for change in changes if isinstance(change, Ended) for row in change.rows]


def _has_parts(rows: Sequence[ImageRow]) -> bool:
    return any(row.name is not None and row.part is not None for row in rows)


def rename(part: Path, path: Path) -> None:
    """Give a file its name; the one place that does."""
    os.replace(part, path)
