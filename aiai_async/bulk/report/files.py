"""Writes the report: thumbnails first, then the journal's rows in one read, in constant memory, into the page.

It never keeps a run of the job from anything: the journal is only read, of one moment, and has no lock for that.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Final

from aiai_async._files import sync_folder
from aiai_async.bulk.errors import JobError
from aiai_async.bulk.items import State
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.lock import FolderLock, is_running
from aiai_async.bulk.outputs import JOURNAL, REPORT, replacing
from aiai_async.bulk.records import Record
from aiai_async.bulk.report import words
from aiai_async.bulk.report.entries import dump, latency_of, to_details, to_index
from aiai_async.bulk.report.failures import FailureTable
from aiai_async.bulk.report.history import PERCENTILES, History
from aiai_async.bulk.report.markup import Markup
from aiai_async.bulk.report.page import MOST_PLAIN, Rows, make_plain_entry, name_of_model, render
from aiai_async.bulk.report.pieces import Pieces
from aiai_async.bulk.report.plots import plots_of
from aiai_async.bulk.report.summary import Summary, find_limit, to_limits
from aiai_async.bulk.report.thumbnails import GONE, PLAIN, THUMBS, Made, explain_absence, look_at, make_thumbnails, tidy
from aiai_async.bulk.report.timeline import Timeline

_LOCK: Final = "report.lock"
# A page is read and written in seconds.
_LOCK_SECONDS: Final = 30.0
_MOST_MODELS: Final = 100
_OTHER_MODELS: Final = "other models"
_HAS_IMAGES: Final = (State.DONE, State.LINKED)
_HAS_ENDED: Final = (*_HAS_IMAGES, State.FAILED, State.FAILED_FOR_NOW, State.UNKNOWN)


def report_on(folder: Path, *, on_made: Callable[[Made], object] = lambda _: None) -> Path:
    """Write the report of a job that may be under way, or may have crashed; the journal is only read. It blocks.

    Args:
        folder: the job's.
        on_made: is told of the thumbnails that are made, often.

    Returns:
        The path of the page.

    Raises:
        JobError: the folder is no job's, its journal can't be read, or it can't be written.
    """
    try:
        journal = Journal(folder / JOURNAL, read_only=True)
        try:
            return write_report(journal, folder, may_be_under_way=True, on_made=on_made)
        finally:
            journal.close()
    except OSError as error:
        raise JobError(f"{folder}: the report can't be written: {error.strerror or error}") from error
    except sqlite3.Error as error:
        raise JobError(f"{folder / JOURNAL}: the journal can't be read: {error}") from error


def write_report(
    journal: Journal,
    folder: Path,
    *,
    may_be_under_way: bool = False,
    thumbnail_time: float | None = None,
    on_made: Callable[[Made], object] = lambda _: None,
) -> Path:
    """Write the report, whole or not at all.

    Args:
        journal: of the job.
        folder: the job's.
        may_be_under_way: whether a run may go on with the job meanwhile, in this process or another; it is looked at
            when the journal is read.
        thumbnail_time: seconds after which no thumbnail is begun; the page shows the images themselves then. None: all
            that are missing are made.
        on_made: is told of the thumbnails that are made, often.

    Raises:
        OSError: it can't be written.
        JobError: another process is writing it, and doesn't come to an end.
        sqlite3.Error: the journal can't be read.
    """
    # Thumbnails may take minutes, and nobody is kept waiting for them: each is whole or not there, whoever makes it.
    tidy(folder, now=time.time())
    deadline = None if thumbnail_time is None else time.monotonic() + thumbnail_time
    made = make_thumbnails(folder, journal.image_names(), deadline=deadline, on_made=on_made)
    with _held(folder), journal.snapshot():
        _write(journal, folder, made, may_be_under_way=may_be_under_way)
    return folder / REPORT


@contextlib.contextmanager
def _held(folder: Path) -> Generator[None]:
    """Let nobody else write the report meanwhile; a run of the job is not kept from anything."""
    give_up_at = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            lock = FolderLock.take(folder, _LOCK, held="its report is being written")
            break
        except JobError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.05)
    try:
        yield
    finally:
        lock.release()


def _write(journal: Journal, folder: Path, made: Made, *, may_be_under_way: bool) -> None:
    now = time.time()
    runs = journal.runs()
    # A run that has ended holds its folder until its own page is written, which this one must not gainsay.
    has_ended = bool(runs) and runs[-1].ended_at is not None
    is_under_way = may_be_under_way and not has_ended and is_running(folder)
    timeline = Timeline.of(runs, journal.extents(), now=now if is_under_way else None)
    reader = _Reader(folder, History(timeline))
    for record in journal.records():
        reader.add(record)
    reader.finish()
    limits = to_limits(journal.limits())
    cost = journal.cost()
    latencies = reader.history.latencies
    summary = Summary(
        name=folder.resolve().name,
        made_at=now,
        is_under_way=is_under_way,
        counts=journal.count(),
        images=journal.count_images(),
        size_bytes=reader.size_bytes,
        cost=cost,
        # Sums of the same numbers in another order differ by a trifle.
        more_cost=max(0.0, round(journal.count_spent_cost() - cost.usd, 9)),
        priced_on=journal.price_dates(),
        unpriced=journal.count_unpriced(),
        runs=runs,
        limits=limits,
        running_time=timeline.duration,
        latencies=[(percent, latencies.percentile(percent) or 0.0) for percent in PERCENTILES if latencies.count],
        repeats=reader.repeats,
        notes=_describe_thumbnails(reader.shown_whole, made),
    )
    plots = plots_of(reader.history, limit=find_limit(limits), unknown_costs=cost.unknown)
    page = render(summary, reader.failures.sorted(), plots, reader.rows(), nonce=secrets.token_urlsafe(18))
    with replacing(folder / REPORT) as file:
        file.write(page)
    sync_folder(folder)
    reader.tidy()


def _describe_thumbnails(shown_whole: int, made: Made) -> list[str]:
    """Say why images are shown whole, which is slow where they are many."""
    if not shown_whole:
        return []
    shown = (
        f"{words.count(shown_whole, 'image')} {'is' if shown_whole == 1 else 'are'} shown whole, without a thumbnail"
    )
    if (absence := explain_absence()) is not None:
        return [f"{shown}: {absence}, then aiai-async report FOLDER makes them."]
    parts: list[str] = []
    if made.error is not None:
        parts.append(made.error)
    if made.left and made.error is None:
        parts.append("aiai-async report FOLDER makes those that are missing")
    if made.broken:
        parts.append(f"{words.count(made.broken, 'file')} can't be read as an image")
    return [f"{shown}: {'; '.join(parts)}." if parts else f"{shown}."]


class _Reader:
    """Takes the items one by one, in order, and keeps only what doesn't grow with them."""

    def __init__(self, folder: Path, history: History) -> None:
        self._folder: Final = folder
        self._has_thumbnails: Final = (folder / THUMBS).is_dir()
        self._pieces: Final = Pieces(folder)
        self._models: Final[dict[str, int]] = {}
        self._plain: Final[list[Markup]] = []
        self.history: Final = history
        self.failures: Final = FailureTable()
        self.size_bytes = 0
        self.repeats = 0
        self.shown_whole = 0
        """Images that have no thumbnail."""

    def add(self, record: Record) -> None:
        """Take an item."""
        item = record.item
        looks: list[int] = []
        for row in record.rows:
            if row.name is None:
                continue
            look = look_at(self._folder, row.name, has_thumbnails=self._has_thumbnails)
            looks.append(look)
            self.shown_whole += look == PLAIN
            self.size_bytes += 0 if look == GONE else row.size_bytes or 0
        self.repeats += max(0, (record.attempts or 1) - 1)
        if item.state in _HAS_ENDED and record.at is not None:
            self.history.add(
                at=record.at,
                sent_at=record.sent_at,
                latency=latency_of(record),
                images=item.images if item.state in _HAS_IMAGES else 0,
                # What was made anew was paid for before too; when, isn't known any more.
                cost=None if item.cost is None and not item.earlier_cost else (item.cost or 0.0) + item.earlier_cost,
            )
        if len(self._plain) < MOST_PLAIN:
            self._plain.append(make_plain_entry(record, looks))
        self._pieces.add(
            dump(
                to_index(
                    record, kind=self.failures.add(record), model=self._number_model(record.item.request), looks=looks
                )
            ),
            dump(to_details(record)),
        )

    def finish(self) -> None:
        """Write what is not written yet."""
        self._pieces.finish()

    def rows(self) -> Rows:
        """Give what the page's script gets."""
        pieces = self._pieces
        return Rows(
            index=pieces.index,
            details=pieces.details,
            pieces=pieces.written,
            models=list(self._models),
            plain=self._plain,
        )

    def tidy(self) -> None:
        """Remove what no page needs any more."""
        self._pieces.tidy()

    def _number_model(self, request: Mapping[str, object]) -> int:
        name = name_of_model(request)
        if name not in self._models and len(self._models) >= _MOST_MODELS:
            name = _OTHER_MODELS
        return self._models.setdefault(name, len(self._models))
