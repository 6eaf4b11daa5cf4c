"""What the codec says of a body before it is known to be a stream or a plain answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._errors import APIResponseError
from aiai_async.wire.codec import find_error_line, has_begun, may_be_answer, refuse_length

BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", False),
        (b" \r\n\t ", False),
        (BOM[:1], False),
        (BOM[:2], False),
        (BOM, False),
        (b"{", True),
        (b"\n\n {", True),
        (b":", True),
        (b"data", True),
        (b"<", True),
        (BOM + b"{", True),
        (BOM + b"d", True),
        (b"\xef\xbb{", True),
        (BOM + BOM[:1], True),
    ],
    ids=repr,
)
def test_a_body_has_begun_with_its_first_byte_that_is_not_blank(text: bytes, expected: bool) -> None:
    """A byte order mark tells nothing yet, nor does half of one."""
    assert has_begun(text) is expected


@given(mark=st.sampled_from([b"", BOM]), blanks=st.text(" \t\r\n").map(str.encode), text=st.sampled_from([b"{", b"["]))
def test_an_answer_is_told_as_soon_as_it_has_begun(mark: bytes, blanks: bytes, text: bytes) -> None:
    """Byte by byte: it is not taken for something else on the way, blanks behind the mark excepted."""
    body = mark + blanks + text
    begun = [body[:end] for end in range(len(body) + 1) if has_begun(body[:end])]
    assert begun
    assert begun[-1] == body
    assert may_be_answer(body)


ERROR = {"error": {"message": "好"}}
LINE = json.dumps(ERROR).encode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LINE, ERROR),
        (LINE + b"\n", ERROR),
        (LINE + b"\r\n\r\ndata: [DONE]\n\n", ERROR),
        (LINE + b"\ndata: {}\n\n", ERROR),
        (LINE + b"\n" + b'{"error": "another"}', ERROR),
        (BOM + LINE + b"\n", ERROR),
        (b"  " + LINE + b"\n", ERROR),
        (b'{"error": "text"}\nx', {"error": "text"}),
        (b'{"error": null}\n', None),
        (b'{"error": {}}\n', None),
        (b'{"data": []}\n', None),
        (b"[" + LINE + b"]\n", None),
        (b'"error"\n', None),
        (b"", None),
        (b"\n" + LINE, None),
        (LINE[:-1], None),
        (LINE + b" data: [DONE]", None),
        (b"data: " + LINE, None),
        (b"[" * 5000, None),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_first_line_that_is_an_error_is_found(text: bytes, expected: dict[str, object] | None) -> None:
    """Whatever comes behind it; a line that is cut, or holds no error, is none."""
    assert find_error_line(text) == expected


@given(text=st.binary())
def test_any_first_line_is_an_error_or_none(text: bytes) -> None:
    """And raises nothing."""
    assert find_error_line(text) is None
    assert find_error_line(LINE + b"\n" + text) == ERROR


def test_a_body_that_is_too_long_is_called_so() -> None:
    """With the option that bounds it, and what to do."""
    error = refuse_length(256 << 20)
    assert type(error) is APIResponseError
    assert error.message == "the answer has more than max_answer_bytes=268,435,456"
    assert error.hint == "ask for fewer images at once, or raise max_answer_bytes"
    assert error.may_have_been_billed is True
