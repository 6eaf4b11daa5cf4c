"""A job before it is one: its rows checked and written to a file of their own, which then becomes the journal.

All rows are checked before anything is sent, and what is wrong is told together. In memory are the first bad rows and
nothing else; a row takes about 300 bytes and its prompt on the disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

import attrs

from aiai_async import InvalidRequestError
from aiai_async._models import check
from aiai_async.bulk import schema
from aiai_async.bulk.costs import Outlay
from aiai_async.bulk.errors import BadRow, InputError, JobError
from aiai_async.bulk.items import digest_of, make_id
from aiai_async.bulk.rows import FIELDS, Row

# As many are shown; a file of the wrong kind has a million of them.
_MOST_BAD_ROWS: Final = 200
_ROWS_AT_ONCE: Final = 1000


def read_defaults(defaults: Mapping[str, object] | None) -> dict[str, object]:
    """Read what rows without a field of their own take.

    Raises:
        JobError: one is no field that can have a default.
    """
    given = {name: value for name, value in (defaults or {}).items() if value is not None}
    for name in given:
        if name not in FIELDS or name == "prompt":
            raise JobError(f"defaults: {name!r} is no field that rows can share; there are {', '.join(FIELDS[1:])}")
    return given


@attrs.frozen(kw_only=True)
class Summary:
    """What rows there are."""

    name: str
    rows: int
    images: int
    models: Mapping[str | None, int]
    """Rows by model."""
    bad_rows: tuple[BadRow, ...] = ()
    """The first of those left out."""
    bad_count: int = 0
    digest: bytes = b""
    """Of what the rows hold, in their order."""
    outlays: tuple[Outlay, ...] = ()
    """The rows, added up by what their prices depend on; empty where nobody asked."""


class Draft:
    """Rows on their way into a job; use it as a context manager, which removes the file where it was not adopted.

    Args:
        path: where it is written; a file there is replaced.
        defaults: the fields that rows take where they have none of their own.
        name: what the input is called.
    """

    def __init__(self, path: Path, *, defaults: Mapping[str, object], name: str) -> None:
        self.path: Final = path
        self._defaults: Final = defaults
        self._name: Final = name
        self._digest: Final = hashlib.sha256()
        self._bad_rows: list[BadRow] = []
        self._bad_count = 0
        self._rows = 0
        self._images = 0
        self._models: Final[dict[str | None, int]] = {}
        self._place = 0
        self._waiting: list[tuple[object, ...]] = []
        self._connection = schema.create(path)
        self._connection.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()
        # Gone where it became the journal. The folder may have gone with it.
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def add(self, rows: Iterable[Row | BadRow]) -> None:
        """Check rows and take them in; bad ones are only noted.

        Raises:
            JobError: from a row that could not be read at all.
            sqlite3.Error: the file can't be written.
        """
        for row in rows:
            place, self._place = self._place, self._place + 1
            if isinstance(row, BadRow):
                self._refuse(row)
                continue
            # A row's own fields win.
            request = {**self._defaults, **row.fields}
            try:
                model = request.get("model")
                check(model if isinstance(model, str) else None, request)
                text = json.dumps(request, ensure_ascii=False, separators=(",", ":"))
                text.encode()
            except InvalidRequestError as error:
                self._refuse(BadRow(row.line, str(error)))
            except UnicodeEncodeError:
                self._refuse(BadRow(row.line, "holds a lone surrogate, which no encoding of Unicode can hold"))
            else:
                self._take(place, row, request, text)

    def finish(self, *, skip_invalid: bool) -> Summary:
        """Tell equal rows apart and refuse equal `custom_id`s; the draft is whole then.

        Raises:
            InputError: rows are wrong, and shall not be skipped.
            JobError: there are no rows.
        """
        self._write()
        self._refuse_repeated_ids()
        if self._bad_count and not skip_invalid:
            raise InputError(self._name, tuple(self._bad_rows), self._bad_count)
        if not self._rows:
            raise JobError(f"{self._name}: there are no rows{' but bad ones' if self._bad_count else ''}")
        self._number_equal_rows()
        self._connection.execute("COMMIT")
        schema.finish(self._connection)
        return Summary(
            name=self._name,
            rows=self._rows,
            images=self._images,
            models=self._models,
            bad_rows=tuple(self._bad_rows),
            bad_count=self._bad_count,
            digest=self._digest.digest(),
        )

    def add_up(self) -> tuple[Outlay, ...]:
        """Add up the rows of a finished draft by what their prices depend on."""
        return tuple(schema.add_up(self._connection))

    def sign(self, summary: Summary, *, file_digest: bytes | None, settings: str, meta: Mapping[str, str]) -> None:
        """Write into the draft what job it is, before it becomes a journal."""
        self._connection.execute(
            "INSERT INTO inputs (name, rows, rows_digest, file_digest, settings) VALUES (?, ?, ?, ?, ?)",
            (summary.name, summary.rows, summary.digest, file_digest, settings),
        )
        self._connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())

    def close(self) -> None:
        """Close the file, so that it can be synced and renamed or attached."""
        self._connection.close()

    def _take(self, place: int, row: Row, request: Mapping[str, object], text: str) -> None:
        digest = digest_of(row.fields)
        row_id = row.custom_id or make_id(digest, 1)
        n, model = cast("int", request.get("n", 1)), cast("str | None", request.get("model"))
        self._digest.update(json.dumps([row.custom_id, digest.hex()]).encode())
        self._rows += 1
        self._images += n
        if model in self._models or len(self._models) < _MOST_BAD_ROWS:
            self._models[model] = self._models.get(model, 0) + 1
        self._waiting.append((place, row.line, row_id, row.custom_id is not None, digest, text, n))
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self._write()

    def _write(self) -> None:
        self._connection.executemany(
            "INSERT INTO items (idx, line, id, has_custom_id, digest, request, n) VALUES (?, ?, ?, ?, ?, ?, ?)",
            self._waiting,
        )
        self._waiting.clear()

    def _refuse(self, row: BadRow) -> None:
        self._bad_count += 1
        if len(self._bad_rows) < _MOST_BAD_ROWS:
            self._bad_rows.append(row)

    def _refuse_repeated_ids(self) -> None:
        """Sorting finds them with memory that doesn't grow, where a set of a million ids would."""
        execute = self._connection.execute
        execute("CREATE TEMP TABLE repeated (id TEXT PRIMARY KEY, first INTEGER) WITHOUT ROWID")
        execute(
            "INSERT INTO temp.repeated SELECT id, min(idx) FROM items WHERE has_custom_id"
            " GROUP BY id HAVING count(*) > 1"
        )
        found = execute(
            # CROSS JOIN keeps this order: the ids of `items` have no index yet.
            "SELECT i.line, i.id, f.line, i.n, i.request FROM items i CROSS JOIN temp.repeated r"
            " ON r.id = i.id AND i.idx > r.first CROSS JOIN items f ON f.idx = r.first"
            " WHERE i.has_custom_id ORDER BY i.idx"
        )
        for line, row_id, first, n, request in found:
            self._refuse(BadRow(line, f"custom_id: {row_id[:60]!r} is that of line {first} too"))
            self._rows -= 1
            self._images -= n
            model = json.loads(request).get("model")
            if model in self._models:
                self._models[model] -= 1
        execute(
            "DELETE FROM items WHERE has_custom_id AND EXISTS"
            " (SELECT 1 FROM temp.repeated r WHERE r.id = items.id AND items.idx > r.first)"
        )
        execute("DROP TABLE temp.repeated")
        self._bad_rows.sort(key=lambda row: row.line)

    def _number_equal_rows(self) -> None:
        execute = self._connection.execute
        execute("CREATE TEMP TABLE equal (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        execute(
            "INSERT INTO temp.equal SELECT digest FROM items WHERE NOT has_custom_id"
            " GROUP BY digest HAVING count(*) > 1"
        )
        execute("CREATE TEMP TABLE occurrences (idx INTEGER PRIMARY KEY, occurrence INTEGER)")
        execute(
            "INSERT INTO temp.occurrences SELECT idx, row_number() OVER (PARTITION BY digest ORDER BY idx)"
            " FROM items WHERE NOT has_custom_id AND digest IN (SELECT digest FROM temp.equal)"
        )
        # `make_id` in SQL: its first half is there already.
        execute(
            "UPDATE items SET id = id || '-' || (SELECT occurrence FROM temp.occurrences o WHERE o.idx = items.idx)"
            " WHERE idx IN (SELECT idx FROM temp.occurrences WHERE occurrence > 1)"
        )
        execute("DROP TABLE temp.occurrences")
        execute("DROP TABLE temp.equal")


def explain_failure(path: Path, error: sqlite3.Error | OSError) -> JobError:
    """Say that a draft can't be written."""
    words = error.strerror or error if isinstance(error, OSError) else error
    return JobError(f"{path.parent}: can't be written: {words}; nothing was sent")
