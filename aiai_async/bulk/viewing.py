"""A job as others see it, while it runs or afterwards: read from its journal, which is neither written nor locked.

Each look opens the journal anew, reads and closes it, which takes some tenths of a second for a hundred thousand items:
so a run in another process is never held up, and one that begins or ends meanwhile is seen. All that may appear in the
folder is SQLite's own index beside the log of a run that was killed; the next run takes both away. It blocks: call it
in a thread. What a journal says is taken for what it is, the content of a file that somebody may have made by hand.
"""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import attrs

from aiai_async.bulk import lock, schema
from aiai_async.bulk.errors import JobError
from aiai_async.bulk.items import State
from aiai_async.bulk.outputs import IMAGES, JOURNAL

WINDOW_SECONDS: Final = 60.0
"""What the rates are counted over."""


@attrs.frozen(kw_only=True)
class ViewedImage:
    """An image file of a job, which is there."""

    item: int
    k: int
    """Its place in the answer, from 0."""
    name: str
    prompt: str
    at: float | None
    """When its item ended, in Unix seconds."""
    size_bytes: int


@attrs.frozen(kw_only=True)
class ViewedFailure:
    """An item that is not done, and why."""

    item: int
    state: str
    prompt: str
    message: str
    at: float | None


@attrs.frozen(kw_only=True)
class JobView:
    """How a job stands."""

    counts: Mapping[str, int]
    """Items by state, every state named."""
    images: int
    """Images of the items that are done."""
    is_running: bool
    """Whether a run is under way, here or in another process."""
    rate: float
    """Images per minute, over the last minute."""
    items_per_second: float
    """Items that were done, over the last minute."""
    cost_usd: float | None
    """What the items cost as far as that is known; None where no item's cost is."""
    without_cost: int
    """Items that are done and whose cost isn't known."""
    first_at: float | None
    """When the first item was taken up or ended, in Unix seconds."""
    last_at: float | None
    """When something happened last."""
    newest: tuple[ViewedImage, ...]
    failures: tuple[ViewedFailure, ...]
    """The latest."""

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def remaining(self) -> int:
        """Items that are still to be sent, or under way."""
        names = (State.PENDING, State.UNFINISHED, State.LINKED, State.FAILED_FOR_NOW)
        return sum(self.counts[state.value] for state in names)


def view(folder: Path, *, now: float, newest: int = 24, failures: int = 5) -> JobView:
    """Look at a job.

    Args:
        folder: the job's.
        now: Unix seconds.
        newest, failures: at most so many of each.

    Raises:
        JobError: there is no job, it is of a newer version, or its journal can't be read.
    """
    path = folder / JOURNAL
    try:
        with closing(schema.open_reading(path, is_glance=True)) as connection:
            # What is read by several statements is of one moment.
            connection.execute("BEGIN")
            return _read(connection, folder, now=now, newest=newest, failures=failures)
    except (sqlite3.Error, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise JobError(f"{path}: the journal can't be read: {error}") from error


def find_image(folder: Path, item: int, k: int) -> Path | None:
    """Give the file of an image that the journal knows; None where there is none.

    Raises:
        JobError: as `view`.
    """
    path = folder / JOURNAL
    try:
        with closing(schema.open_reading(path, is_glance=True)) as connection:
            found = connection.execute("SELECT name FROM images WHERE item = ? AND k = ?", (item, k)).fetchone()
    except sqlite3.Error as error:
        raise JobError(f"{path}: the journal can't be read: {error}") from error
    file = None if found is None else _to_file(folder, found[0])
    return None if file is None or not _has_images(folder) or _find_size(file) is None else file


def _read(connection: sqlite3.Connection, folder: Path, *, now: float, newest: int, failures: int) -> JobView:
    counts = {state.value: 0 for state in State}
    counts.update(connection.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall())
    # Journals of earlier versions don't have it, and what is only looked at is not brought up to date.
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(items)")}
    cost = "sum(cost), count(*) FILTER (WHERE is_done AND cost IS NULL)" if "cost" in columns else "NULL, 0"
    since = now - WINDOW_SECONDS
    # In the first minute of a run there is no whole minute to count over.
    has_runs = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'runs'").fetchone()
    (run_from,) = connection.execute("SELECT max(started_at) FROM runs").fetchone() if has_runs else (None,)
    images, recent_images, recent_items, window_from, first_at, last_at, cost_usd, without_cost = connection.execute(
        "SELECT coalesce(sum(images) FILTER (WHERE is_done), 0),"
        " coalesce(sum(images) FILTER (WHERE is_done AND at > :since), 0),"
        " count(*) FILTER (WHERE is_done AND at > :since),"
        f" min(at) FILTER (WHERE at > :since), min(at), max(at), {cost}"
        " FROM (SELECT *, state = 'done' AS is_done FROM items NOT INDEXED)",
        {"since": since},
    ).fetchone()
    window = max(1.0, min(WINDOW_SECONDS, now - (run_from or window_from or now)))
    return JobView(
        counts=counts,
        images=images,
        is_running=lock.is_running(folder),
        rate=recent_images * 60 / window,
        items_per_second=recent_items / window,
        cost_usd=cost_usd,
        without_cost=without_cost,
        first_at=first_at,
        last_at=last_at,
        newest=_read_newest(connection, folder, most=newest),
        failures=_read_failures(connection, most=failures),
    )


def _read_newest(connection: sqlite3.Connection, folder: Path, *, most: int) -> tuple[ViewedImage, ...]:
    found: list[ViewedImage] = []
    if not _has_images(folder):
        return ()
    items = connection.execute(
        "SELECT idx, request, at FROM items WHERE state = 'done' ORDER BY at DESC, idx DESC LIMIT ?", (most,)
    ).fetchall()
    for index, request, at in items:
        rows = connection.execute(
            "SELECT k, name FROM images WHERE item = ? AND name IS NOT NULL ORDER BY k", (index,)
        ).fetchall()
        for k, name in rows:
            file = _to_file(folder, name)
            # A row is there a moment before its file has its name.
            size_bytes = None if file is None else _find_size(file)
            if size_bytes is not None and len(found) < most:
                found.append(
                    ViewedImage(item=index, k=k, name=name, prompt=_find_prompt(request), at=at, size_bytes=size_bytes)
                )
    return tuple(found)


def _read_failures(connection: sqlite3.Connection, *, most: int) -> tuple[ViewedFailure, ...]:
    found = connection.execute(
        "SELECT idx, state, request, error, at FROM items WHERE error IS NOT NULL AND state <> 'done'"
        " ORDER BY at DESC, idx DESC LIMIT ?",
        (most,),
    ).fetchall()
    return tuple(
        ViewedFailure(
            item=index,
            state=state,
            prompt=_find_prompt(request),
            message=str(_load(error).get("message") or ""),
            at=at,
        )
        for index, state, request, error, at in found
    )


def _find_prompt(request: str) -> str:
    return str(_load(request).get("prompt", ""))


def _load(text: str) -> dict[str, Any]:
    # Any: it is JSON.
    tree: object = json.loads(text)
    if not isinstance(tree, dict):
        raise TypeError("what should be an object is none")
    return tree


def _to_file(folder: Path, name: object) -> Path | None:
    """Give the path of an image file; None where the name leads elsewhere."""
    if not isinstance(name, str) or not name or name in (".", "..") or Path(name).name != name or "\\" in name:
        return None
    return folder / IMAGES / name


def _has_images(folder: Path) -> bool:
    """Tell whether there is a folder of images that is one, and no link to another."""
    try:
        return stat.S_ISDIR(os.lstat(folder / IMAGES).st_mode)
    except (OSError, ValueError):
        return False


def _find_size(file: Path) -> int | None:
    """Give the size of a file that is one and no link to another."""
    try:
        found = os.lstat(file)
    except (OSError, ValueError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
