"""The journal of a job: what became of each item, on the disk before anybody acts on it.

Every method blocks and takes its turn: call it in a thread. Several changes go into one transaction, since each waits
for the disk once (`writer`). It decides nothing: states come from `items`, files are `recovery`'s.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiai_async.bulk import schema
from aiai_async.bulk.costs import Outlay, Settings
from aiai_async.bulk.items import PAID_STATES, Item, State, spent_on
from aiai_async.bulk.records import (
    IMAGE_COLUMNS,
    ITEM_COLUMNS,
    RECORD_COLUMNS,
    Differences,
    Ended,
    ImageRow,
    KnownCost,
    Record,
    RunRow,
    Started,
    dump,
    to_item,
    to_record,
)


class Journal:
    """An open journal.

    Args:
        path: its file.
        read_only: whether it is only read, as may be done while a run of the job writes it.

    Raises:
        JobError: it is damaged, of a newer version, or can't be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path: Final = path
        self._lock: Final = threading.Lock()
        self._is_read_only: Final = read_only
        self._connection: Final = schema.open_reading(path) if read_only else schema.open_journal(path)
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
            self._put_rows(index, [row])

    def note_run(self, run: RunRow) -> None:
        """Note how a run goes, or went; written with the next change. This alone takes no turn and blocks nobody."""
        self._run = run

    def note_placed(self, indexes: Iterable[int]) -> None:
        """Note that the files of these items have their names, durably; written with the next change."""
        with self._lock:
            self._placed.extend(indexes)

    def page(self, states: Sequence[State], *, after: int, run: int, limit: int) -> list[Item]:
        """Give the next items in these states that this run has not taken up, by index."""
        marks, values = _listed(states)
        with self._lock:
            rows = self._connection.execute(
                f"SELECT {ITEM_COLUMNS} FROM items WHERE state IN ({marks}) AND idx > ? AND run <> ?"
                " ORDER BY idx LIMIT ?",
                (*values, after, run, limit),
            ).fetchall()
        return [to_item(row) for row in rows]

    def rows_of(self, index: int) -> tuple[ImageRow, ...]:
        """Give the images of an item."""
        with self._lock:
            return self._rows_of(index)

    def record_of(self, index: int) -> Record:
        """Give all that is known of an item."""
        with self._lock:
            row = self._connection.execute(f"SELECT {RECORD_COLUMNS} FROM items WHERE idx = ?", (index,)).fetchone()
            return to_record(row, self._rows_of(index))

    def confirm(self, usd: float) -> None:
        """Note that somebody agreed to a job that may cost so many US dollars."""
        with self._lock:
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('confirmed_usd', ?)", (repr(usd),))

    def confirmed(self) -> float:
        """Give the US dollars that somebody agreed to; 0 where nobody was asked."""
        with self._lock:
            return float(self._read_meta("confirmed_usd") or 0.0)

    def note_price_dates(self, dates: Iterable[dt.date]) -> None:
        """Note of which days the prices are by which costs were estimated, besides those of earlier runs."""
        with self._lock:
            every = sorted({*self._read_price_dates(), *(date.isoformat() for date in dates)})
            self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('priced_on', ?)", (json.dumps(every),))

    def price_dates(self) -> list[str]:
        """Give of which days the prices are by which costs were estimated, as YYYY-MM-DD, in order."""
        with self._lock:
            return self._read_price_dates()

    def note_limits(self, limits: Mapping[str, Mapping[str, object]]) -> None:
        """Write what was learned of the limits, for the report."""
        with self._lock:
            self._connection.executemany(
                "INSERT OR REPLACE INTO limits VALUES (?, ?)",
                [(name, json.dumps(facts)) for name, facts in limits.items()],
            )

    def limits(self) -> dict[str, Mapping[str, object]]:
        """Give what was learned of the limits."""
        with self._lock:
            return {
                name: json.loads(facts)
                for name, facts in self._connection.execute("SELECT name, facts FROM limits ORDER BY name")
            }

    # -- what there is

    @contextlib.contextmanager
    def snapshot(self) -> Generator[None]:
        """Let all that is read in the block be of one moment, whatever a run writes meanwhile.

        The log beside the file grows as long as that lasts. Nothing may be written in the block.
        """
        with self._lock:
            self._connection.execute("BEGIN")
        try:
            yield
        finally:
            with self._lock:
                self._roll_back()

    def extents(self) -> dict[int, tuple[float, float]]:
        """Give by run when its first item was sent and its last one ended, in Unix seconds.

        An item counts for the last run that took it up.
        """
        with self._lock:
            found = self._connection.execute(
                "SELECT run, min(coalesce(sent_at, at - elapsed, at)), max(at) FROM items"
                " WHERE at IS NOT NULL AND run > 0 GROUP BY run"
            ).fetchall()
        return {run: (first, last) for run, first, last in found}

    def image_names(self) -> Iterator[str]:
        """Give the names of all image files by item, in constant memory."""
        item, k = -1, -1
        while True:
            with self._lock:
                found = self._connection.execute(
                    "SELECT item, k, name FROM images WHERE (item, k) > (?, ?) AND name IS NOT NULL"
                    " ORDER BY item, k LIMIT 1000",
                    (item, k),
                ).fetchall()
            yield from (name for _, _, name in found)
            if not found:
                return
            item, k = found[-1][:2]

    def runs(self) -> list[RunRow]:
        """Give the runs of the job, in their order; those of version 1 are not known."""
        with self._lock:
            found = self._connection.execute(
                "SELECT run, started_at, ended_at, reason, coalesce(refusals, 0), coalesce(waited, 0.0) FROM runs"
                " ORDER BY run"
            ).fetchall()
        names = [field.name for field in attrs.fields(RunRow)]
        return [RunRow(**dict(zip(names, row, strict=True))) for row in found]

    def cost(self) -> KnownCost:
        """Add up what all answers cost, as far as that is known, also those of items that were made anew after that."""
        with self._lock:
            usd, unknown = self._connection.execute(
                "SELECT total(cost) + total(earlier_cost), coalesce(sum(cost IS NULL AND state IN (?, ?)), 0)"
                " FROM items WHERE state <> ?",
                (State.DONE.value, State.LINKED.value, State.PENDING.value),
            ).fetchone()
        return KnownCost(usd=usd, unknown=unknown)

    def count_unpriced(self) -> int:
        """Count the items that may have been billed, and of which nothing says how much that may be."""
        with self._lock:
            (number,) = self._connection.execute(
                "SELECT count(*) FROM items WHERE state IN (?, ?) AND cost IS NULL AND estimate IS NULL",
                (State.UNKNOWN.value, State.UNFINISHED.value),
            ).fetchone()
        return int(number)

    def count(self) -> dict[State, int]:
        """Count the items by state."""
        with self._lock:
            found = self._connection.execute("SELECT state, count(*) FROM items GROUP BY state").fetchall()
        return {State(state): number for state, number in found}

    def count_images(self) -> int:
        """Count the images of the items that are done."""
        with self._lock:
            (number,) = self._connection.execute(
                "SELECT coalesce(sum(images), 0) FROM items WHERE state = ?", (State.DONE.value,)
            ).fetchone()
        return int(number)

    def count_spent(self) -> int:
        """Count the images that the items may have cost so far; see `items.spent_on`."""
        with self._lock:
            found = self._connection.execute(
                "SELECT state, n, images, spent, count(*) FROM items WHERE state <> ? OR spent > 0 GROUP BY 1, 2, 3, 4",
                (State.PENDING.value,),
            ).fetchall()
        return sum(
            spent_on(State(state), n=n, images=images, spent=spent) * often for state, n, images, spent, often in found
        )

    def count_spent_cost(self, paid: Sequence[State] = PAID_STATES) -> float:
        """Add up the US dollars that the items may have cost so far; see `items.money_on`.

        Args:
            paid: states of those whose last request counts.
        """
        marks, states = _listed(paid)
        with self._lock:
            (usd,) = self._connection.execute(
                f"SELECT total(spent_cost) + total(CASE WHEN state IN ({marks}) THEN coalesce(cost, estimate) END)"
                " FROM items WHERE state <> ? OR spent_cost > 0",
                (*states, State.PENDING.value),
            ).fetchone()
        return float(usd)

    def outlays(self, states: Sequence[State], *, are_unpriced: bool = False) -> list[Outlay]:
        """Add up the items in these states by the settings that prices depend on.

        Args:
            states: of the items.
            are_unpriced: whether only those count of which nothing says what they cost or may have cost.
        """
        marks, values = _listed(states)
        unpriced = " AND cost IS NULL AND estimate IS NULL" if are_unpriced else ""
        with self._lock:
            return schema.add_up(self._connection, f"state IN ({marks}){unpriced}", values)

    def dearest(self) -> list[tuple[Settings, float]]:
        """Give what images of some settings have cost at most, where that was more than expected."""
        with self._lock:
            found = self._connection.execute(
                f"SELECT {schema.SETTINGS}, max(cost / images) FROM items WHERE images > 0"
                " AND (cost > estimate OR (cost IS NOT NULL AND estimate IS NULL)) GROUP BY 1, 2, 3"
            ).fetchall()
        return [((model, size, quality), usd) for model, size, quality, usd in found]

    def told(self) -> list[Settings]:
        """Give the settings of which an answer has told what it cost."""
        with self._lock:
            found = self._connection.execute(
                f"SELECT DISTINCT {schema.SETTINGS} FROM items WHERE cost IS NOT NULL"
            ).fetchall()
        return [(model, size, quality) for model, size, quality in found]

    def records(self, states: Sequence[State] | None = None, *, other_than: State | None = None) -> Iterator[Record]:
        """Give all items with their images, by index, in constant memory."""
        where, values = "1", list[str]()
        if states is not None:
            marks, values = _listed(states)
            where = f"state IN ({marks})"
        if other_than is not None:
            where, values = "state <> ?", [other_than.value]
        after = -1
        while True:
            with self._lock:
                found = self._connection.execute(
                    f"SELECT {RECORD_COLUMNS} FROM items WHERE {where} AND idx > ? ORDER BY idx LIMIT 500",
                    (*values, after),
                ).fetchall()
                records = [to_record(row, self._rows_of(row[0])) for row in found]
            yield from records
            if not found:
                return
            after = found[-1][0]

    def unplaced(self) -> list[tuple[int, ImageRow]]:
        """Give the images whose rename is not known to be on the disk, with their items' indexes."""
        with self._lock:
            indexes = self._connection.execute(
                "SELECT DISTINCT item FROM images WHERE placed = 0 AND name IS NOT NULL"
            ).fetchall()
            return [(index, row) for (index,) in indexes for row in self._rows_of(index) if row.name is not None]

    def files(self, state: State) -> Iterator[tuple[int, str, int | None]]:
        """Give index, name and size of the image files of all items in a state, by index."""
        item, k = -1, -1
        while True:
            with self._lock:
                found = self._connection.execute(
                    "SELECT item, k, name, size_bytes FROM images JOIN items ON idx = item"
                    " WHERE (item, k) > (?, ?) AND state = ? AND name IS NOT NULL ORDER BY item, k LIMIT 1000",
                    (item, k, state.value),
                ).fetchall()
            yield from ((index, name, size_bytes) for index, _, name, size_bytes in found)
            if not found:
                return
            item, k = found[-1][:2]

    # -- what job it is

    def knows_file(self, digest: bytes, settings: str) -> bool:
        """Tell whether a file with these bytes was taken in, with these settings."""
        return self._knows("file_digest", digest, settings)

    def knows_rows(self, digest: bytes, settings: str) -> bool:
        """Tell whether an input with these rows was taken in, with these settings."""
        return self._knows("rows_digest", digest, settings)

    def last_settings(self) -> dict[str, Any]:
        """Give the settings of the latest input; Any: they are JSON."""
        with self._lock:
            (text,) = self._connection.execute("SELECT settings FROM inputs ORDER BY number DESC LIMIT 1").fetchone()
        settings: dict[str, Any] = json.loads(text)
        return settings

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

    def _knows(self, column: str, digest: bytes, settings: str) -> bool:
        with self._lock:
            found = self._connection.execute(
                f"SELECT 1 FROM inputs WHERE {column} = ? AND settings = ?", (digest, settings)
            ).fetchone()
        return found is not None

    def _read_meta(self, name: str) -> str | None:
        found = self._connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def _read_price_dates(self) -> list[str]:
        dates: list[str] = json.loads(self._read_meta("priced_on") or "[]")
        return dates

    def _rows_of(self, index: int) -> tuple[ImageRow, ...]:
        found = self._connection.execute(
            f"SELECT {IMAGE_COLUMNS} FROM images WHERE item = ? ORDER BY k",
            (index,),
        )
        names = IMAGE_COLUMNS.split(", ")
        return tuple(ImageRow(**dict(zip(names, row, strict=True))) for row in found)

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
            for change in changes:
                if isinstance(change, Started):
                    self._start(change)
                else:
                    self._end(change)
            commit(self._connection)
        except BaseException:
            self._roll_back()
            raise
        self._placed.clear()
        self._written_run = run_row

    def _start(self, change: Started) -> None:
        # The rows of an earlier answer stay until there is another one: their images may still be there.
        self._connection.execute(
            "UPDATE items SET state = ?, key = ?, run = ?, spent = ?, spent_cost = ?, estimate = ?, images = 0,"
            " earlier_cost = earlier_cost + coalesce(cost, 0),"
            " request_id = NULL, attempts = NULL, elapsed = NULL, usage = NULL, error = NULL, cost = NULL,"
            " cost_source = NULL, sent_at = NULL, at = ? WHERE idx = ?",
            (
                State.UNFINISHED.value,
                change.key,
                change.run,
                change.spent,
                change.spent_cost,
                change.estimate,
                change.at,
                change.index,
            ),
        )

    def _end(self, change: Ended) -> None:
        execute = self._connection.execute
        execute(
            "UPDATE items SET state = ?, run = coalesce(?, run), images = ?, spent = coalesce(?, spent),"
            " spent_cost = coalesce(?, spent_cost), earlier_cost = coalesce(?, earlier_cost),"
            " estimate = coalesce(?, estimate), error = ?, at = ?,"
            # What is told later, of a download, leaves what the answer told.
            " request_id = coalesce(?, request_id), attempts = coalesce(?, attempts), elapsed = coalesce(?, elapsed),"
            " usage = coalesce(?, usage), sent_at = coalesce(?, sent_at), cost = coalesce(?, cost),"
            " cost_source = coalesce(?, cost_source) WHERE idx = ?",
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
            ),
        )
        if change.is_answer:
            execute("DELETE FROM images WHERE item = ?", (change.index,))
        self._put_rows(change.index, change.rows)

    def _put_rows(self, index: int, rows: Iterable[ImageRow]) -> None:
        self._connection.executemany(
            f"INSERT OR REPLACE INTO images (item, {IMAGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(index, *attrs.astuple(row)) for row in rows],
        )

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _listed(states: Sequence[State]) -> tuple[str, list[str]]:
    """Give the marks of a list in SQL, and what stands for them."""
    return ", ".join("?" * len(states)), [state.value for state in states]


def commit(connection: sqlite3.Connection) -> None:
    """Commit; the one place that does."""
    connection.execute("COMMIT")


class _Attached:
    """Has a draft's tables at hand for a while."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection: Final = connection
        self._path: Final = path

    def __enter__(self) -> None:
        self._connection.execute("ATTACH ? AS draft", (str(self._path.absolute()),))

    def __exit__(self, *_: object) -> None:
        self._connection.execute("DETACH draft")
