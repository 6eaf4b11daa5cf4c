"""What a journal says: its items and images, sums over them, what is known of the job. Nothing is written here.

Every method blocks and takes its turn: call it in a thread. What may be many comes piece by piece, so that a job of a
million rows is read in constant memory.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
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
    ImageRow,
    KnownCost,
    Record,
    RunRow,
    to_image_row,
    to_item,
    to_record,
)


class Reading:
    """The side of an open journal that reads.

    Args:
        path: its file.
        connection: to it, used by one thread at a time, which the methods see to.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path: Final = path
        self._lock: Final = threading.Lock()
        self._connection: Final = connection

    # -- items and images

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

    def records(self, states: Sequence[State] | None = None, *, other_than: State | None = None) -> Iterator[Record]:
        """Give all items with their images, by index, in constant memory.

        Where another process may write, call it in a `snapshot`.
        """
        where, values = "1", list[str]()
        if states is not None:
            marks, values = _listed(states)
            where = f"state IN ({marks})"
        if other_than is not None:
            where, values = "state <> ?", [other_than.value]
        after = -1
        items_query = f"SELECT {RECORD_COLUMNS} FROM items WHERE {where} AND idx > ? ORDER BY idx LIMIT 500"
        # One statement for the images of all of a page: one for those of each item would take twice as long, and joined
        # to the items there would be a copy of its request for each image. Of items between, which may be very many,
        # none is read.
        of_these = "" if where == "1" else f" AND (SELECT {where} FROM items WHERE idx = item)"
        images_query = f"SELECT item, {IMAGE_COLUMNS} FROM images WHERE item BETWEEN ? AND ?{of_these} ORDER BY item, k"
        while True:
            with self._lock:
                items = self._connection.execute(items_query, (*values, after)).fetchall()
                if not items:
                    return
                after = items[-1][0]
                images = self._connection.execute(images_query, (items[0][0], after, *values)).fetchall()
            by_item = {index: list(rows) for index, rows in groupby(images, itemgetter(0))}
            for item in items:
                yield to_record(item, tuple([to_image_row(row[1:]) for row in by_item.get(item[0], ())]))

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

    # -- sums

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

    def count_unpriced(self) -> int:
        """Count the items that may have been billed, and of which nothing says how much that may be."""
        with self._lock:
            (number,) = self._connection.execute(
                "SELECT count(*) FROM items WHERE state IN (?, ?) AND cost IS NULL AND estimate IS NULL",
                (State.UNKNOWN.value, State.UNFINISHED.value),
            ).fetchone()
        return int(number)

    def cost(self) -> KnownCost:
        """Add up what all answers cost, as far as that is known, also those of items that were made anew after that."""
        with self._lock:
            usd, unknown = self._connection.execute(
                "SELECT total(cost) + total(earlier_cost), coalesce(sum(cost IS NULL AND state IN (?, ?)), 0)"
                " FROM items WHERE state <> ?",
                (State.DONE.value, State.LINKED.value, State.PENDING.value),
            ).fetchone()
        return KnownCost(usd=usd, unknown=unknown)

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

    # -- the job

    def runs(self) -> list[RunRow]:
        """Give the runs of the job, in their order; those of version 1 are not known."""
        with self._lock:
            found = self._connection.execute(
                "SELECT run, started_at, ended_at, reason, coalesce(refusals, 0), coalesce(waited, 0.0) FROM runs"
                " ORDER BY run"
            ).fetchall()
        names = [field.name for field in attrs.fields(RunRow)]
        return [RunRow(**dict(zip(names, row, strict=True))) for row in found]

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

    def limits(self) -> dict[str, Mapping[str, object]]:
        """Give what was learned of the limits."""
        with self._lock:
            return {
                name: json.loads(facts)
                for name, facts in self._connection.execute("SELECT name, facts FROM limits ORDER BY name")
            }

    def confirmed(self) -> float:
        """Give the US dollars that somebody agreed to; 0 where nobody was asked."""
        with self._lock:
            return float(self._read_meta("confirmed_usd") or 0.0)

    def price_dates(self) -> list[str]:
        """Give of which days the prices are by which costs were estimated, as YYYY-MM-DD, in order."""
        with self._lock:
            return self._read_price_dates()

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
        return tuple(to_image_row(row) for row in found)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _listed(states: Sequence[State]) -> tuple[str, list[str]]:
    """Give the marks of a list in SQL, and what stands for them."""
    return ", ".join("?" * len(states)), [state.value for state in states]
