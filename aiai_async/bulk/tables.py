"""CSV whose columns are the fields of requests: records that may span lines, and what is wrong with them."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Final

import attrs

from aiai_async.bulk.errors import BadRow
from aiai_async.bulk.rows import COLUMNS, Row, Rows, explain_unknown, make_row

_NUMBERS: Final = frozenset({"n", "output_compression", "partial_images"})
_DELIMITERS: Final = ",;\t"


def read_csv(lines: Iterator[tuple[int, str | BadRow]]) -> Rows:
    """Read records whose first one names the columns.

    Args:
        lines: with their ends and numbers; bad ones as what is wrong with them.
    """
    feed = _Feed(lines)
    header = feed.read_header()
    if header is None:
        return
    if isinstance(header, BadRow):
        yield header
        return
    records = csv.reader(feed, delimiter=header.delimiter, strict=True)
    while True:
        feed.begin()
        try:
            cells = next(records)
        except StopIteration:
            return
        except csv.Error as error:
            yield BadRow(feed.first, f"is not CSV: {error}")
            if feed.is_at_end:
                return
            # What the reader holds of the record is gone with it: the next line begins a new one.
            records = csv.reader(feed, delimiter=header.delimiter, strict=True)
            continue
        if (bad := feed.take_bad()) is not None:
            yield bad
        elif any(cell.strip() for cell in cells):
            yield _read_cells(header.names, cells, feed.first)


@attrs.frozen
class _Header:
    names: list[str]
    delimiter: str


class _Feed:
    """Gives the csv module its lines, and remembers where the record began and which of its lines were bad."""

    def __init__(self, lines: Iterator[tuple[int, str | BadRow]]) -> None:
        self._lines: Final = lines
        self._bad: BadRow | None = None
        self._is_new = True
        self.first = 0
        self.is_at_end = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for number, line in self._lines:
            if self._is_new:
                self.first, self._is_new = number, False
            if isinstance(line, BadRow):
                self._bad = self._bad or line
                # Some text in its place, so that the record goes on as it would have.
                return "?\n"
            return line
        self.is_at_end = True
        raise StopIteration

    def begin(self) -> None:
        """Note that the next line begins a record."""
        self._is_new = True

    def take_bad(self) -> BadRow | None:
        """Give the first bad line of the record."""
        bad, self._bad = self._bad, None
        return bad

    def read_header(self) -> _Header | BadRow | None:
        """Read the names of the columns; None where there is nothing."""
        self.begin()
        for line in self:
            if self._bad is not None:
                return self._bad
            if not line.strip():
                continue
            # Spreadsheets of half of Europe separate by semicolons.
            delimiter = max(_DELIMITERS, key=line.count)
            try:
                cells = next(csv.reader([line], delimiter=delimiter, strict=True))
            except csv.Error as error:
                return BadRow(self.first, f"the names of the columns are not CSV: {error}")
            names = [name.strip().lower() for name in cells]
            for name in names:
                if name not in COLUMNS:
                    return BadRow(self.first, f"column {explain_unknown(name)}")
                if names.count(name) > 1:
                    return BadRow(self.first, f"there are two columns {name}")
            if "prompt" not in names:
                return BadRow(self.first, "there is no column prompt; the first line names the columns")
            return _Header(names, delimiter)
        return None


def _read_cells(names: list[str], cells: list[str], number: int) -> Row | BadRow:
    if len(cells) > len(names):
        return BadRow(
            number, f"has {len(cells)} cells for {len(names)} columns; put quotes around text with separators"
        )
    fields: dict[str, object] = {}
    for name, cell in zip(names, cells, strict=False):
        text = cell.strip()
        if not text:
            continue
        if name in _NUMBERS:
            # isdecimal is true for digits of every script, which int takes too.
            if not (text.isascii() and text.lstrip("-").isdigit()) or len(text) > 9:
                return BadRow(number, f"{name}: {text[:40]!r} is no integer")
            fields[name] = int(text)
        else:
            fields[name] = text
    return make_row(fields, number)
