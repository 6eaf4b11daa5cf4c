"""Rows from text, CSV, JSON lines and OpenAI Batch lines; what is wrong is told of its line, and the next follows."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async import ImageRequest
from aiai_async.bulk import BadRow, JobError
from aiai_async.bulk.inputs import FileInput, Format, StreamInput, read_rows, to_input
from aiai_async.bulk.rows import Row, to_row


def read(text: str | bytes, format: Format | None = None) -> list[Any]:
    """Read rows: prompts or fields of good ones, lines and reasons of bad ones."""
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    found: list[Any] = []
    for row in read_rows(stream, format=format):
        if isinstance(row, BadRow):
            found.append((row.line, row.reason))
        else:
            found.append({**({"custom_id": row.custom_id} if row.custom_id else {}), **row.fields})
    assert not stream.closed
    return found


def line_numbers(text: str, format: Format | None = None) -> list[int]:
    """Where rows begin."""
    return [row.line for row in read_rows(io.BytesIO(text.encode()), format=format)]


# -- text


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text(end: str) -> None:
    """A prompt a line, blank ones left out, a mark at the beginning too; other separators stand in prompts."""
    text = end.join(["\ufeff a kite ", "", "two\x0bparts\u2028here", "last"])
    assert read(text) == [{"prompt": "a kite"}, {"prompt": "two\x0bparts\u2028here"}, {"prompt": "last"}]
    assert line_numbers(text) == [1, 3, 4]


def test_text_that_is_no_text() -> None:
    """Each bad line by itself."""
    assert read(b"good\n\xff\xfe bad\nzero\0\nbetter\n") == [
        {"prompt": "good"},
        (2, "is not UTF-8: byte 0xff behind ''"),
        (3, "holds a zero character; is the file UTF-16? save it as UTF-8"),
        {"prompt": "better"},
    ]
    assert read("A kite\n".encode("utf-16"))[0][0] == 1


def test_a_line_without_end() -> None:
    """Is not held in memory."""
    assert read(b"x" * (3 << 20) + b"\nnext\n") == [(1, "has more than 1,048,576 characters"), {"prompt": "next"}]


# -- JSON lines


def test_json_lines() -> None:
    """Fields of a request; null is left out; text is not sniffed for them where the suffix says so."""
    text = '{"prompt": "a", "n": 2, "size": null, "custom_id": "x"}\n\n{"prompt": "b", "stream": false}\n'
    assert read(text) == [{"custom_id": "x", "prompt": "a", "n": 2}, {"prompt": "b"}]
    assert read(text, "text")[0] == {"prompt": text.splitlines()[0]}


def test_batch_lines() -> None:
    """As OpenAI takes them, with either form of the path."""
    lines = [
        {"custom_id": "1", "method": "POST", "url": "/v1/images/generations", "body": {"prompt": "a", "n": 1}},
        {
            "custom_id": "2",
            "method": "post",
            "url": "https://api.example.com/v1/images/generations/",
            "body": {"prompt": "b"},
        },
        {"custom_id": "3", "method": "GET", "url": "/v1/images/generations", "body": {"prompt": "c"}},
        {"custom_id": "4", "method": "POST", "url": "/v1/chat/completions", "body": {"prompt": "d"}},
        {"custom_id": "5", "method": "POST", "url": "/v1/images/generations", "body": 5},
        {"custom_id": "6", "body": {"prompt": "f"}, "extra": 1},
    ]
    assert read("\n".join(map(json.dumps, lines))) == [
        {"custom_id": "1", "prompt": "a", "n": 1},
        {"custom_id": "2", "prompt": "b"},
        (3, "method: 'GET' is not POST"),
        (4, "url: '/v1/chat/completions' is not /v1/images/generations"),
        (5, "body: is no object"),
        (6, "extra: a batch line has custom_id, method, url and body only"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"prompt": "a"', "is not JSON: Expecting ',' delimiter, at character 15"),
        ('{"prompt": "a", "n": NaN}', "is not JSON: NaN is no value of JSON"),
        ("[1]", "is JSON, but no object: [1]"),
        ('{"prompt": "a", "sise": "auto"}', "'sise' is no field of a request; did you mean size?"),
        ('{"prompt": "a", "stream": true}', "stream: a job doesn't stream; leave it out"),
        ('{"prompt": "a", "custom_id": 5}', "custom_id: 5 is no string"),
        ('{"prompt": "a", "custom_id": ""}', "custom_id: has 0 characters; give 1 to 512"),
        (f'{{"prompt": "a", "custom_id": "{"x" * 513}"}}', "custom_id: has 513 characters; give 1 to 512"),
        (
            '{"prompt": "a", "custom_id": "\\ud800"}',
            "custom_id: holds a lone surrogate, which no encoding of Unicode can hold",
        ),
        ("[" * 100_000, "is not JSON: nested too deeply"),
    ],
    ids=lambda value: value[:40],
)
def test_bad_json(line: str, reason: str) -> None:
    """Is told, and the next line is read."""
    assert read(f'{line}\n{{"prompt": "next"}}\n', "jsonl") == [(1, reason), {"prompt": "next"}]


# -- CSV


def test_csv() -> None:
    """Columns are fields in any order; cells may span lines; empty ones are left out; rows know where they begin."""
    text = '\ufeffPrompt, n ,custom_id\n"two\nlines",2,x\n\n"say ""hi""",,\n"a, b"\n'
    assert read(text, "csv") == [
        {"custom_id": "x", "prompt": "two\nlines", "n": 2},
        {"prompt": 'say "hi"'},
        {"prompt": "a, b"},
    ]
    assert line_numbers(text, "csv") == [2, 5, 6]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_separators(delimiter: str) -> None:
    """Spreadsheets write three of them."""
    assert read(f"prompt{delimiter}size\r\na{delimiter}auto\r\n", "csv") == [{"prompt": "a", "size": "auto"}]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("\n\n", []),
        ("prompt,sise\na,b\n", [(1, "column 'sise' is no field of a request; did you mean size?")]),
        ("prompt,prompt\na,b\n", [(1, "there are two columns prompt")]),
        ("size,n\nauto,1\n", [(1, "there is no column prompt; the first line names the columns")]),
        ('"prompt\nx', [(1, "the names of the columns are not CSV: unexpected end of data")]),
        ("prompt,n\na,b,c\n", [(2, "has 3 cells for 2 columns; put quotes around text with separators")]),
        ("prompt,n\na,two\nb,1.5\n", [(2, "n: 'two' is no integer"), (3, "n: '1.5' is no integer")]),
        ("prompt,n\nc,９\nd,-1\n", [(2, "n: '９' is no integer"), {"prompt": "d", "n": -1}]),
        ('prompt,n\n"a"x,1\nb,2\n', [(2, "is not CSV: ',' expected after '\"'"), {"prompt": "b", "n": 2}]),
        ('prompt,n\na,1\n"never closed,2\nb,3\n', [{"prompt": "a", "n": 1}, (3, "is not CSV: unexpected end of data")]),
        (f'prompt\n"{"x" * 140_000}"\n', [(2, "is not CSV: field larger than field limit (131072)")]),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_hostile_csv(text: str, found: list[Any]) -> None:
    """What is wrong is told with its line; what follows is read where that is possible."""
    assert read(text, "csv") == found


def test_csv_with_bad_bytes() -> None:
    """Only their record is bad, though it spans lines."""
    assert read(b'prompt,n\n"a\n\xff\nb",1\nc,2\n', "csv") == [
        (3, "is not UTF-8: byte 0xff behind ''"),
        {"prompt": "c", "n": 2},
    ]
    assert read(b"prompt\xff\na\n", "csv")[0][0] == 1


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    lambda text: text.strip() == text and "\r" not in text
)


@given(prompts=st.lists(cells, min_size=1, max_size=5))
def test_what_pythons_csv_writes_is_read(prompts: list[str]) -> None:
    """Whatever the prompts hold."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["prompt", "user"])
    writer.writerows([prompt, "me"] for prompt in prompts)
    assert [row["prompt"] for row in read(text.getvalue(), "csv")] == prompts


@given(text=st.binary(max_size=200), format=st.sampled_from([None, "text", "csv", "jsonl"]))
def test_any_bytes_are_read_to_their_end(text: bytes, format: Format | None) -> None:
    """Nothing raises, and no row is both."""
    for row in read_rows(io.BytesIO(text), format=format):
        assert isinstance(row, (Row, BadRow)) and row.line >= 1


# -- sources


def test_formats_by_suffix(tmp_path: Path) -> None:
    """Of a file; another one is looked at."""
    for name, text in [("a.csv", "prompt\nx\n"), ("a.jsonl", '{"prompt": "x"}\n'), ("a.txt", "x\n"), ("a.list", "x\n")]:
        (tmp_path / name).write_text(text)
        (row,) = FileInput(tmp_path / name).rows()
        assert isinstance(row, Row) and row.fields == {"prompt": "x"}
    (row,) = (
        FileInput(tmp_path / "a.csv", "text").rows() if False else list(FileInput(tmp_path / "a.txt", "text").rows())
    )
    assert isinstance(row, Row)


def test_sources_of_programs() -> None:
    """Paths, iterables, inputs."""
    assert isinstance(to_input("a.txt"), FileInput) and isinstance(to_input(Path("a.txt")), FileInput)
    given_input = StreamInput(io.BytesIO(b"a\n"))
    assert to_input(given_input) is given_input and given_input.name == "standard input"
    assert [row.line for row in given_input.rows()] == [1]
    assert to_row(ImageRequest(prompt="a", n=2), 3) == Row(line=3, fields={"prompt": "a", "n": 2})
    assert isinstance(to_row(None, 3), BadRow)


def test_a_pipe_that_breaks() -> None:
    """Is an error of the job."""

    class Broken(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(JobError, match="standard input: can't be read: Input/output error"):
        list(StreamInput(Broken(b"x")).rows())
