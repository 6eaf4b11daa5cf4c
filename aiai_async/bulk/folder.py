"""Opening a job's folder: the lock, the journal, and whether the input is the one that the job was made of.

Nothing here is sent or made durable before all rows are checked; what was begun in vain is removed again. It blocks:
call it in a thread. Rows are given by the caller, since they may come from an async iterable.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from aiai_async._files import sync_folder
from aiai_async.bulk.drafts import Draft, Summary, explain_failure
from aiai_async.bulk.errors import BadRow, JobError
from aiai_async.bulk.inputs import FileInput
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.lock import FolderLock
from aiai_async.bulk.outputs import ERRORS, IMAGES, JOURNAL, REPORT, RESULTS
from aiai_async.bulk.records import Differences
from aiai_async.bulk.recovery import Recovery, recover
from aiai_async.bulk.rows import Row
from aiai_async.bulk.sink import PART
from aiai_async.bulk.writer import RESERVE

_DRAFT: Final = f"input{PART}"
# What a crash may leave of ours in the folder itself.
_LEFT_BEHIND: Final = (_DRAFT, RESERVE, f"{RESULTS}.", f"{ERRORS}.", f"{REPORT}.")


@attrs.frozen(kw_only=True)
class OpenJob:
    """A job that this process holds; `close` gives it back."""

    folder: Path
    journal: Journal
    recovery: Recovery
    summary: Summary | None
    """The rows of the input; None where it is known and was not read."""
    is_new: bool
    added: int
    """Rows that `extend` added."""
    _lock: FolderLock = attrs.field(alias="lock")

    @property
    def images(self) -> Path:
        """The folder of the image files."""
        return self.folder / IMAGES

    def close(self) -> None:
        """Close the journal, then let others have the folder."""
        try:
            self.journal.close()
        finally:
            self._lock.release()


class Opening:
    """Opens a job: `begin`, `add` where that says so, `finish`. A context manager, which undoes what was not finished.

    Args:
        folder: the job's; it is made where it isn't there.
        name: what the input is called.
        defaults: the fields that rows take where they have none of their own.
        extend: whether rows that the job doesn't have are added to it.
        skip_invalid: whether bad rows are left out.
        has_sidecars: whether images that have no sidecar get one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        defaults: Mapping[str, object],
        extend: bool,
        skip_invalid: bool,
        has_sidecars: bool = False,
    ) -> None:
        self._folder: Final = folder
        self._name: Final = name
        self._defaults: Final = defaults
        self._settings: Final = json.dumps(defaults, sort_keys=True)
        self._extend: Final = extend
        self._skip_invalid: Final = skip_invalid
        self._has_sidecars: Final = has_sidecars
        self._is_made = False
        self._lock: FolderLock | None = None
        self._journal: Journal | None = None
        self._draft: Draft | None = None
        self._file_digest: bytes | None = None
        self._is_finished = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._draft is not None:
            self._draft.__exit__(kind, error, traceback)
        if self._is_finished:
            return
        if self._journal is not None:
            with contextlib.suppress(sqlite3.Error):
                self._journal.close()
        if self._lock is not None:
            self._lock.release()
        if self._is_made:
            # Only where nothing is in it.
            with contextlib.suppress(OSError):
                self._folder.rmdir()

    def begin(self, file: FileInput | None) -> bool:
        """Take the folder; tell whether the rows have to be read.

        Args:
            file: the input, where it is a file: one whose bytes are known is not read again.

        Raises:
            JobError: the folder can't be used, or is another job's.
        """
        try:
            self._take_folder()
            path = self._folder / JOURNAL
            if path.exists():
                self._journal = Journal(path)
            else:
                self._require_no_images()
            # A pipe can be read only once, by whoever reads the rows.
            if file is not None and file.path.is_file():
                self._file_digest = _digest_file(file.path)
                if self._journal is not None and self._journal.knows_file(self._file_digest, self._settings):
                    return False
            if self._journal is not None and not self._extend:
                self._compare_settings()
            self._draft = Draft(self._folder / _DRAFT, defaults=self._defaults, name=self._name)
        except OSError as error:
            raise JobError(f"{self._folder}: can't be used: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise explain_failure(self._folder / JOURNAL, error) from error
        return True

    def add(self, rows: Iterable[Row | BadRow]) -> None:
        """Take in rows of the input."""
        assert self._draft is not None
        try:
            self._draft.add(rows)
        except sqlite3.Error as error:
            raise explain_failure(self._draft.path, error) from error

    def finish(self, *, now: float) -> OpenJob:
        """Open the job, put its folder in order, and give it.

        Args:
            now: Unix seconds.

        Raises:
            InputError: rows are wrong.
            JobError: the job is another one, or the folder can't be used.
        """
        try:
            return self._finish(now)
        except OSError as error:
            raise JobError(f"{self._folder}: can't be used: {error.strerror or error}") from error
        except sqlite3.Error as error:
            raise explain_failure(self._folder / JOURNAL, error) from error

    def _finish(self, now: float) -> OpenJob:
        summary, added, is_new = None, 0, self._journal is None
        if self._draft is not None:
            summary = self._draft.finish(skip_invalid=self._skip_invalid)
            meta = {"job": uuid.uuid4().hex, "created_at": str(now)} if is_new else {}
            self._draft.sign(summary, file_digest=self._file_digest, settings=self._settings, meta=meta)
            self._draft.close()
            added = self._adopt(self._draft.path) if is_new else self._take_in(self._draft.path, summary)
        assert self._journal is not None
        assert self._lock is not None
        opened = OpenJob(
            folder=self._folder,
            journal=self._journal,
            recovery=recover(self._journal, self._folder / IMAGES, now=now, has_sidecars=self._has_sidecars),
            summary=summary,
            is_new=is_new,
            added=added,
            lock=self._lock,
        )
        self._is_finished = True
        return opened

    def _take_folder(self) -> None:
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True)
            self._is_made = True
            sync_folder(self._folder.parent)
        self._lock = FolderLock.take(self._folder)
        for path in self._folder.iterdir():
            if path.name.startswith(_LEFT_BEHIND) and path.name.endswith(PART):
                path.unlink()

    def _require_no_images(self) -> None:
        images = self._folder / IMAGES
        if images.is_dir() and any(not path.name.endswith(PART) for path in images.iterdir()):
            raise JobError(
                f"{images} holds images, but there is no {JOURNAL} beside it that knows them: put it back, "
                "or choose another folder"
            )

    def _adopt(self, draft: Path) -> int:
        """Make a draft the journal of a new job."""
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        (self._folder / IMAGES).mkdir(exist_ok=True)
        path = self._folder / JOURNAL
        for name in (f"{JOURNAL}-wal", f"{JOURNAL}-shm"):
            (self._folder / name).unlink(missing_ok=True)
        os.replace(draft, path)
        sync_folder(self._folder)
        self._journal = Journal(path)
        return 0

    def _compare_settings(self) -> None:
        assert self._journal is not None
        before = self._journal.last_settings()
        if before != self._defaults:
            words = _describe_settings(before, self._defaults)
            raise JobError(
                f"{self._folder} was begun with other settings: {words}; give those, or another folder, "
                "or --extend to add rows with the new ones"
            )

    def _take_in(self, draft: Path, summary: Summary) -> int:
        assert self._journal is not None
        if self._journal.knows_rows(summary.digest, self._settings):
            return 0
        found = self._journal.compare(draft)
        if found.changed:
            raise JobError(
                f"{self._folder} is another job: {summary.name}, line {found.first_changed_line}: custom_id "
                f"{str(found.first_changed)[:60]!r} has other fields than in the job"
                f"{f', and so have {found.changed - 1:,} more' if found.changed > 1 else ''}; choose another folder"
            )
        before = self._journal.last_settings()
        if not found.new and not found.missing and before == self._defaults:
            # The same rows in another order, or what was skipped before has become good and bad again.
            return 0
        if not self._extend:
            words = _describe_rows(found, summary.name)
            raise JobError(f"{self._folder} is another job: {words}; choose another folder, or --extend adds new rows")
        if not found.new and before != self._defaults:
            words = _describe_settings(before, self._defaults)
            raise JobError(
                f"{self._folder} has all rows of {summary.name} already, with other settings: {words}; the same rows "
                "with other settings need another folder"
            )
        return self._journal.extend(draft)


def _describe_settings(before: Mapping[str, object], now: Mapping[str, object]) -> str:
    """Say what differs.

    Example:
        >>> _describe_settings({"n": 2}, {"n": 1, "size": "auto"})
        'n: 2 before, 1 now; size: not set before, auto now'
    """
    parts: list[str] = []
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            old, new = (str(side[name]) if name in side else "not set" for side in (before, now))
            parts.append(f"{name}: {old} before, {new} now")
    return "; ".join(parts)


def _describe_rows(found: Differences, name: str) -> str:
    parts: list[str] = []
    if found.new:
        prompt = str(found.first_new)
        shown = prompt if len(prompt) <= 40 else f"{prompt[:40]}…"
        rows = "row" if found.new == 1 else "rows"
        first = f"line {found.first_new_line} ({shown!r})"
        parts.append(f"{name} has {found.new:,} {rows} that it doesn't have, the first on {first}")
    if found.missing:
        parts.append(f"{found.missing:,} of its {found.total:,} rows are missing in {name}")
    return ", and ".join(parts)


def _digest_file(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise JobError(f"{path}: can't be read: {error.strerror or error}") from error
