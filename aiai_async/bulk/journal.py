"""The journal of a job: what became of each item, on the disk before anybody acts on it.

Here it is written; what it says is read in `reading`. Every method blocks and takes its turn: call it in a thread.
Several changes go into one transaction, since each waits for the disk once (`writer`). It decides nothing: states come
from `items`, files are `recovery`'s.
"""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import attrs

from aiai_async.bulk import schema
from aiai_async.bulk.items import State
from aiai_async.bulk.reading import Reading
from aiai_async.bulk.records import (
    IMAGE_COLUMNS,
    Differences,
    Ended,
    ImageRow,
    RunRow,
    Started,
    dump,
    to_columns,
)


class Journal(Reading):
    """An open journal.

    Args:
        path: its file.
        read_only: whether it is only read, as may be done while a run of the job writes it.

    Raises:
        JobError: it is damaged, of a newer version, or can't be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        super().__init__(path, schema.open_reading(path) if read_only else schema.open_journal(path))
        self._is_read_only: Final = read_only
        # Renames that are on the disk; the next transaction says so, for a sync of its own would cost as much as one.
        self._placed: list[int] = []
        # How the run goes; written with the next transaction where it is not.
        self._run: RunRow | None = None
        self._written_run: RunRow | None = None

    def close(self) -> None:
        """Write what is to be written and close the file; it is one file then, without a log beside it."""
        with self._lock:
            if self._is_read_only:
                self._connection.close()
                return
            try:
                if self._placed or self._run is not self._written_run:
                    self._apply([])
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                self._connection.close()

    # -- during a run

    def begin_run(self) -> int:
        """Give the number of the run that begins."""
        with self._lock:
            return int(self._read_meta("run") or 0) + 1

    def apply(self, changes: Sequence[Started | Ended], *, run: int | None = None) -> None:
        """Write changes so that they are on the disk when this returns: all of them or, where it raises, none.

        Raises:
            sqlite3.Error: they can't be written.
        """
        with self._lock:
            self._apply(changes, run=run)

    def replace_row(self, index: int, row: ImageRow) -> None:
        """Write what is known of an image of an item; its rename is not known to be on the disk then."""
        with self._lock:
            self._put_rows([(index, row)])

    def note_run(self, run: RunRow) -> None:
        """Note how a run goes, or went; written with the next change. This alone takes no turn and blocks nobody."""
        self._run = run

    def note_placed(self, indexes: Iterable[int]) -> None:
        """Note that the files of these items have their names, durably; written with the next change."""
        with self._lock:
            self._placed.extend(indexes)

    def confirm(self, usd: float) -> None:
        """Note that somebody agreed to a job that may cost so many US dollars."""
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('confirmed_usd', ?)", (repr(usd),))

    def note_price_dates(self, dates: Iterable[dt.date]) -> None:
        """Note of which days the prices are by which costs were estimated, besides those of earlier runs."""
        with self._lock:
            every = sorted({*self._read_price_dates(), *(date.isoformat() for date in dates)})
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('priced_on', ?)", (json.dumps(every),))

    def note_limits(self, limits: Mapping[str, Mapping[str, object]]) -> None:
        """Write what was learned of the limits, for the report."""
        with self._lock:
            self._connection.executemany(
                "INSERT OR REPLACE INTO limits VALUES (?, ?)",
                [(name, json.dumps(facts)) for name, facts in limits.items()],
            )

    # -- its input

    def compare(self, draft: Path) -> Differences:
        """Compare the rows of a draft, which is whole and closed, with those of the job."""
        with self._lock, _Attached(self._connection, draft):
            execute = self._connection.execute
            new, first_new = execute(
                "SELECT count(*), min(d.idx) FROM draft.items d LEFT JOIN main.items m ON m.id = d.id"
                " WHERE m.id IS NULL"
            ).fetchone()
            first_line, first_request = execute(
                "SELECT min(line), min(request) FROM draft.items WHERE idx = ?", (first_new,)
            ).fetchone()
            changed, changed_line, changed_id = execute(
                "SELECT count(*), min(d.line), min(d.id) FROM draft.items d JOIN main.items m ON m.id = d.id"
                " WHERE m.digest <> d.digest"
            ).fetchone()
            (missing,) = execute(
                "SELECT count(*) FROM main.items m LEFT JOIN draft.items d ON m.id = d.id WHERE d.id IS NULL"
            ).fetchone()
            (total,) = execute("SELECT count(*) FROM main.items").fetchone()
        return Differences(
            total=total,
            new=new,
            first_new_line=first_line,
            first_new=None if first_request is None else str(json.loads(first_request).get("prompt", "")),
            changed=changed,
            first_changed_line=changed_line,
            first_changed=changed_id,
            missing=missing,
        )

    def extend(self, draft: Path) -> int:
        """Take in the rows of a draft that the job doesn't have, and that the draft is one of its inputs.

        Returns:
            How many rows were new.
        """
        with self._lock, _Attached(self._connection, draft):
            execute = self._connection.execute
            execute("BEGIN IMMEDIATE")
            try:
                columns = "line, id, has_custom_id, digest, request, n"
                added = execute(
                    f"INSERT INTO main.items (idx, {columns})"
                    " SELECT (SELECT max(idx) + 1 FROM main.items) + row_number() OVER (ORDER BY idx) - 1,"
                    f" {columns} FROM draft.items d WHERE NOT EXISTS (SELECT 1 FROM main.items m WHERE m.id = d.id)"
                ).rowcount
                execute(
                    "INSERT INTO main.inputs (name, rows, rows_digest, file_digest, settings)"
                    " SELECT name, rows, rows_digest, file_digest, settings FROM draft.inputs"
                )
                commit(self._connection)
            except BaseException:
                self._roll_back()
                raise
        return added

    # -- with the lock

    def _apply(self, changes: Sequence[Started | Ended], *, run: int | None = None) -> None:
        execute, run_row = self._connection.execute, self._run
        execute("BEGIN IMMEDIATE")
        try:
            if run is not None:
                execute("INSERT OR REPLACE INTO meta VALUES ('run', ?)", (str(run),))
            if run_row is not None and run_row is not self._written_run:
                execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?)", attrs.astuple(run_row))
            self._connection.executemany(
                "UPDATE images SET placed = 1 WHERE item = ? AND name IS NOT NULL", [(index,) for index in self._placed]
            )
            for some in _split(changes):
                if isinstance(some[0], Started):
                    self._start(cast("list[Started]", some))
                else:
                    self._end(cast("list[Ended]", some))
            commit(self._connection)
        except BaseException:
            self._roll_back()
            raise
        self._placed.clear()
        self._written_run = run_row

    def _start(self, changes: Sequence[Started]) -> None:
        # The rows of an earlier answer stay until there is another one: their images may still be there.
        self._connection.executemany(
            "UPDATE items SET state = ?, key = ?, run = ?, spent = ?, spent_cost = ?, estimate = ?, images = 0,"
            " earlier_cost = earlier_cost + coalesce(cost, 0),"
            " request_id = NULL, attempts = NULL, elapsed = NULL, usage = NULL, error = NULL, cost = NULL,"
            " cost_source = NULL, sent_at = NULL, at = ? WHERE idx = ?",
            [
                (
                    State.UNFINISHED.value,
                    change.key,
                    change.run,
                    change.spent,
                    change.spent_cost,
                    change.estimate,
                    change.at,
                    change.index,
                )
                for change in changes
            ],
        )

    def _end(self, changes: Sequence[Ended]) -> None:
        self._connection.executemany(
            "UPDATE items SET state = ?, run = coalesce(?, run), images = ?, spent = coalesce(?, spent),"
            " spent_cost = coalesce(?, spent_cost), earlier_cost = coalesce(?, earlier_cost),"
            " estimate = coalesce(?, estimate), error = ?, at = ?,"
            # What is told later, of a download, leaves what the answer told.
            " request_id = coalesce(?, request_id), attempts = coalesce(?, attempts), elapsed = coalesce(?, elapsed),"
            " usage = coalesce(?, usage), sent_at = coalesce(?, sent_at), cost = coalesce(?, cost),"
            " cost_source = coalesce(?, cost_source) WHERE idx = ?",
            [
                (
                    change.state.value,
                    change.run,
                    change.images,
                    change.spent,
                    change.spent_cost,
                    change.earlier_cost,
                    change.estimate,
                    dump(change.error),
                    change.at,
                    change.request_id,
                    change.attempts,
                    change.elapsed,
                    dump(change.usage),
                    change.sent_at,
                    change.cost,
                    change.cost_source,
                    change.index,
                )
                for change in changes
            ],
        )
        self._connection.executemany(
            "DELETE FROM images WHERE item = ?",
            [(change.index,) for change in changes if change.is_answer and not change.is_first],
        )
        self._put_rows([(change.index, row) for change in changes for row in change.rows])

    def _put_rows(self, rows: Sequence[tuple[int, ImageRow]]) -> None:
        """Write rows, each with its item's index."""
        self._connection.executemany(
            f"INSERT OR REPLACE INTO images (item, {IMAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(index, *to_columns(row)) for index, row in rows],
        )


def commit(connection: sqlite3.Connection) -> None:
    """Commit; the one place that does."""
    connection.execute("COMMIT")


def _split(changes: Iterable[Started | Ended]) -> Iterator[list[Started | Ended]]:
    """Give the changes in pieces, each of one kind and of different items: one statement for each takes half as long.

    They come in such pieces, since all that were written together go on together.
    """
    some: list[Started | Ended] = []
    indexes: set[int] = set()
    for change in changes:
        if some and (type(change) is not type(some[0]) or change.index in indexes):
            yield some
            some, indexes = [], set()
        some.append(change)
        indexes.add(change.index)
    if some:
        yield some


class _Attached:
    """Has a draft's tables at hand for a while."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection: Final = connection
        self._path: Final = path

    def __enter__(self) -> None:
        self._connection.execute("ATTACH ? AS draft", (str(self._path.absolute()),))

    def __exit__(self, *_: object) -> None:
        self._connection.execute("DETACH draft")
