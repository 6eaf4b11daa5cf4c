"""Makes changes durable, many at once: their files, one transaction, the renames it allows, one sync of the folder.

The order is the job's promise: an image's file is synced before its row is committed, and has no name before that.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import anyio
import anyio.lowlevel
import anyio.to_thread

from aiai_async._files import sync_folder
from aiai_async.bulk.items import WritingError
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.outcomes import describe
from aiai_async.bulk.pace import Pace
from aiai_async.bulk.provenance import sidecar_of, sidecar_path, write_sidecar
from aiai_async.bulk.records import Ended, ImageRow, Started
from aiai_async.bulk.room import find_free_bytes
from aiai_async.bulk.sink import PartSink

# Enough to make the wait for the disk small for each, where what it takes doesn't grow with the files; see `pace`.
_MOST_AT_ONCE: Final = 256
RESERVE: Final = "reserve.part"
_RESERVE_BYTES: Final = 1 << 20
_ENDED: Final = RuntimeError("the event loop ended meanwhile")


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

    While one group of changes is written the next one gathers: what waits for the disk, and the hop to a thread, is
    paid once for all that came meanwhile.

    Args:
        journal: where they go.
        images: the folder of the image files.
        reserve: given up where the disk is full.
        has_sidecars: whether a JSON file is put beside each image.
        limiter: bounds the threads of the job.
        on_group: is called before each group is written.
    """

    def __init__(
        self,
        journal: Journal,
        images: Path,
        *,
        reserve: Reserve,
        has_sidecars: bool = False,
        limiter: anyio.CapacityLimiter,
        on_group: Callable[[], object],
    ) -> None:
        self._journal: Final = journal
        self._images: Final = images
        # Text, since joining paths takes 4 us.
        self._folder: Final = f"{images}{os.sep}"
        self._reserve: Final = reserve
        self._has_sidecars: Final = has_sidecars
        self._limiter: Final = limiter
        self._on_group: Final = on_group
        self._pace: Final = Pace()
        self._groups: Final[deque[_Group]] = deque()
        """Those that wait, the last one with room for more."""
        self._came = anyio.Event()
        self._is_closed = False

    async def run(self) -> None:
        """Write what comes, until `close` was called and nothing is left. Not cut off by cancelling."""
        try:
            with anyio.CancelScope(shield=True):
                while not self._is_closed or self._groups:
                    if not self._groups:
                        self._came = anyio.Event()
                        await self._came.wait()
                    # Those who were let go at the same moment have their changes written with the first one's.
                    await anyio.lowlevel.checkpoint()
                    if self._groups:
                        await self._write(self._groups.popleft())
        finally:
            # Some are left only where the event loop ends.
            self._is_closed = True
            for group in self._groups:
                group.end(_ENDED)

    def may_leave(self) -> bool:
        """Tell whether the next small image is better left to be written with its row, as on a disk that is quick."""
        return self._pace.may_leave()

    def close(self) -> None:
        """Let `run` end; nothing more is taken."""
        self._is_closed = True
        self._came.set()

    async def write(
        self, change: Started | Ended, sinks: Sequence[PartSink] = (), *, following: Started | None = None
    ) -> None:
        """Make a change durable; of images, their files have their names then. To be shielded from cancelling.

        Args:
            change: it.
            sinks: those of its images; what they left to be written is written first.
            following: another change, which is durable with it or not at all.

        Raises:
            WritingError: an image can't be written; the change is not durable then, and nothing is left of its images.
            NotWritten: it is not durable as a whole; its row may be, where a rename or a sync after that failed.
        """
        if self._is_closed:
            raise NotWritten(str(_ENDED))
        if not self._groups or len(self._groups[-1].entries) >= _MOST_AT_ONCE:
            self._groups.append(_Group())
            self._came.set()
        group, entry = self._groups[-1], _Entry(change, sinks, following)
        group.entries.append(entry)
        await group.has_ended.wait()
        if entry.error is not None:
            raise entry.error
        if group.error is not None:
            raise NotWritten(_describe(group.error)) from group.error

    async def _write(self, group: _Group) -> None:
        error: Exception | None = _ENDED
        try:
            self._on_group()
            await anyio.to_thread.run_sync(self._write_now, group.entries, limiter=self._limiter)
            error = None
        except Exception as exc:
            # Whatever it is: let out, it would end the writing, and all that is in flight would be lost.
            error = exc
        finally:
            group.end(error)

    def _write_now(self, entries: Sequence[_Entry]) -> None:
        seconds: list[float] = []
        for entry in entries:
            entry.finish_files(seconds)
        self._pace.note(seconds)
        written = [entry for entry in entries if entry.error is None]
        changes = [entry.change for entry in written]
        changes += [entry.following for entry in written if entry.following is not None]
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
        placed = [change for change in changes if isinstance(change, Ended) and self._place(change)]
        for name in stale:
            (self._images / name).unlink(missing_ok=True)
            sidecar_path(self._images / name).unlink(missing_ok=True)
        if placed or stale:
            sync_folder(self._images)
            self._journal.note_placed(change.index for change in placed)

    def _place(self, change: Ended) -> bool:
        """Give the files of an answer their names; tell whether there were any."""
        has_parts = False
        for row in change.rows:
            if row.name is None or row.part is None:
                continue
            has_parts = True
            rename(f"{self._folder}{row.part}", f"{self._folder}{row.name}")
            if not self._has_sidecars and not change.is_first:
                # It would tell of an earlier image under this name.
                sidecar_path(self._images / row.name).unlink(missing_ok=True)
        if has_parts and self._has_sidecars:
            self._write_sidecars(change.index, [row.name for row in change.rows if row.name is not None])
        return has_parts

    def _write_sidecars(self, index: int, names: Sequence[str]) -> None:
        record = self._journal.record_of(index)
        for row in record.rows:
            if row.name is not None and row.name in names:
                write_sidecar(self._images / row.name, sidecar_of(record, row))

    def _find_stale(self, changes: Sequence[Started | Ended]) -> list[str]:
        """Give the files of earlier answers whose rows go, and whose names the new ones don't take."""
        stale: list[str] = []
        for change in changes:
            if isinstance(change, Ended) and change.is_answer and not change.is_first:
                names = {row.name for row in change.rows}
                before = self._journal.rows_of(change.index)
                stale += [row.name for row in before if row.name is not None and row.name not in names]
        return stale


class _Group:
    """Changes that are written together, and what those wait for who brought them."""

    __slots__ = ("entries", "error", "has_ended")

    def __init__(self) -> None:
        self.entries: Final[list[_Entry]] = []
        self.has_ended: Final = anyio.Event()
        self.error: Exception | None = None
        """Why none of them is durable."""

    def end(self, error: Exception | None) -> None:
        """Let those go who wait."""
        self.error = error
        self.has_ended.set()


class _Entry:
    """A change on its way, with the files it speaks of."""

    __slots__ = ("change", "error", "following", "sinks")

    def __init__(self, change: Started | Ended, sinks: Sequence[PartSink], following: Started | None) -> None:
        self.change: Final = change
        self.following: Final = following
        self.sinks: Final = sinks
        self.error: WritingError | None = None
        """Why this one is not durable, whatever becomes of the others."""

    def finish_files(self, seconds: list[float]) -> None:
        """Write and sync what is not yet, and add how long each took; where one can't be, none of them stays."""
        try:
            for sink in self.sinks:
                began_at = time.perf_counter()
                if sink.finish_now():
                    seconds.append(time.perf_counter() - began_at)
        except WritingError as error:
            self.error = error
            for sink in self.sinks:
                sink.abort_now()


def _rows_of(changes: Sequence[Started | Ended]) -> list[ImageRow]:
    return [row for change in changes if isinstance(change, Ended) for row in change.rows]


def _describe(error: Exception) -> str:
    return str(error) if error is _ENDED or isinstance(error, (sqlite3.Error, OSError)) else describe(error)


def rename(part: Path | str, path: Path | str) -> None:
    """Give a file its name; the one place that does."""
    os.replace(part, path)
