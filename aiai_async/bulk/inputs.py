"""The rows of a job: from text, CSV, JSON lines and OpenAI Batch lines, one after another, in constant memory.

A row is read and named here; whether its model takes it is checked where the defaults are known (`drafts`). A row that
can't be read never ends the reading: it is given as a `BadRow`, and the next one follows.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, cast, get_args

import attrs

from aiai_async import ImageRequest
from aiai_async.bulk.errors import BadRow, JobError
from aiai_async.bulk.rows import Row, Rows, make_row, to_row
from aiai_async.bulk.tables import read_csv

Format = Literal["text", "csv", "jsonl"]
FORMATS: Final[tuple[Format, ...]] = get_args(Format)

# 1 MiB: a prompt has at most 32,000 characters; without a bound a file without line ends would fill the memory.
_LONGEST_LINE: Final = 1 << 20
_SUFFIXES: Final[Mapping[str, Format]] = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
_ENDPOINT: Final = re.compile(r"(https?://[^/]+)?(/[^?#]*)?/images/generations/?", re.IGNORECASE)


@attrs.frozen
class FileInput:
    """A file of rows.

    Args:
        path: the file.
        format: how it is written; None: as its suffix says, else as it looks.
    """

    path: Path
    format: Format | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return str(self.path)

    def rows(self) -> Rows:
        """Read the rows; the file is closed at their end.

        Raises:
            JobError: it can't be read.
        """
        try:
            with open(self.path, "rb") as stream:
                yield from read_rows(stream, format=self.format or _SUFFIXES.get(self.path.suffix.lower()))
        except OSError as error:
            raise JobError(f"{self.path}: can't be read: {error.strerror or error}") from error


@attrs.frozen
class StreamInput:
    """Rows that can be read once, such as those of standard input."""

    stream: BinaryIO
    name: str = "standard input"
    format: Format | None = None

    def rows(self) -> Rows:
        """Read the rows.

        Raises:
            JobError: it can't be read.
        """
        try:
            yield from read_rows(self.stream, format=self.format)
        except OSError as error:
            raise JobError(f"{self.name}: can't be read: {error.strerror or error}") from error


@attrs.frozen
class IterableInput:
    """Rows that a program gives."""

    requests: Iterable[ImageRequest | str]
    name: str = "the requests"

    def rows(self) -> Rows:
        """Give the rows."""
        for line, request in enumerate(self.requests, 1):
            yield to_row(request, line)


Input = FileInput | StreamInput | IterableInput


def read_rows(stream: BinaryIO, *, format: Format | None = None) -> Rows:
    """Read the rows of a file.

    Args:
        stream: UTF-8 with or without a mark, lines ending in any way.
        format: None: JSON lines where the first line begins with a brace, else text.

    Example:
        >>> [row.fields for row in read_rows(io.BytesIO(b"A kite\\n\\nA harbour\\n"))]
        [{'prompt': 'A kite'}, {'prompt': 'A harbour'}]
    """
    # What is no UTF-8 becomes surrogates and is told of its own line; decoding strictly would end the reading.
    text = io.TextIOWrapper(
        stream, encoding="utf-8-sig", errors="surrogateescape", newline="" if format == "csv" else None
    )
    try:
        lines = _read_lines(text)
        if format == "csv":
            yield from read_csv(lines)
            return
        for number, line in lines:
            if isinstance(line, BadRow):
                yield line
            elif line.strip():
                if format is None:
                    format = "jsonl" if line.lstrip().startswith("{") else "text"
                yield _read_json(line, number) if format == "jsonl" else _read_prompt(line, number)
    finally:
        # The stream is its owner's to close.
        text.detach()


def _read_lines(text: io.TextIOWrapper) -> Iterator[tuple[int, str | BadRow]]:
    """Give each line with its number; one that is too long or no UTF-8 as a bad row."""
    number = 0
    while line := text.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith(("\n", "\r")):
            while (rest := text.readline(_LONGEST_LINE)) and not rest.endswith(("\n", "\r")):
                pass
            yield number, BadRow(number, f"has more than {_LONGEST_LINE:,} characters")
        elif "\0" in line:
            yield number, BadRow(number, "holds a zero character; is the file UTF-16? save it as UTF-8")
        elif (fault := _find_fault(line)) is not None:
            yield number, BadRow(number, fault)
        else:
            yield number, line


def _find_fault(line: str) -> str | None:
    try:
        line.encode()
    except UnicodeEncodeError as error:
        return f"is not UTF-8: byte 0x{ord(line[error.start]) & 0xFF:02x} behind {line[: error.start][-20:]!r}"
    return None


def _read_prompt(line: str, number: int) -> Row:
    return Row(line=number, fields={"prompt": line.strip()})


# -- JSON lines


def _read_json(line: str, number: int) -> Row | BadRow:
    try:
        tree = json.loads(line.strip(), parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        return BadRow(number, f"is not JSON: {error.msg}, at character {error.colno}")
    except (ValueError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        return BadRow(number, f"is not JSON: {words}")
    if not isinstance(tree, dict):
        return BadRow(number, f"is JSON, but no object: {line.strip()[:40]}")
    fields = cast("dict[str, object]", tree)
    return _read_batch_line(fields, number) if "body" in fields else make_row(fields, number)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no value of JSON")


def _read_batch_line(tree: Mapping[str, object], number: int) -> Row | BadRow:
    """Read a line as OpenAI's Batch API takes it.

    Source: https://platform.openai.com/docs/guides/batch, "Preparing your batch file"
    """
    method, url, body = tree.get("method", "POST"), tree.get("url"), tree["body"]
    if not isinstance(method, str) or method.upper() != "POST":
        return BadRow(number, f"method: {method!r} is not POST")
    if url is not None and not (isinstance(url, str) and _ENDPOINT.fullmatch(url)):
        return BadRow(number, f"url: {url!r} is not /v1/images/generations")
    if not isinstance(body, dict):
        return BadRow(number, "body: is no object")
    if unknown := sorted(tree.keys() - {"custom_id", "method", "url", "body"}):
        return BadRow(number, f"{unknown[0]}: a batch line has custom_id, method, url and body only")
    return make_row({"custom_id": tree.get("custom_id"), **cast("dict[str, object]", body)}, number)


def to_input(source: Any) -> Input:
    """Choose how a job's source is read.

    Args:
        source: Any, since it is what a caller gives: a path, an iterable of requests or prompts, or an input.

    Raises:
        JobError: it is none of them.
    """
    if isinstance(source, (FileInput, StreamInput, IterableInput)):
        return source
    if isinstance(source, (str, Path)):
        return FileInput(Path(source))
    if isinstance(source, Iterable):
        return IterableInput(source)
    raise JobError(f"source is of type {type(source).__name__}; give a path, or an iterable of requests or prompts")
