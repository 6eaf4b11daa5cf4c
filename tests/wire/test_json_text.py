"""JSON text to values, tolerant of what servers get wrong."""

from __future__ import annotations

import contextlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async.wire.json_text import NotJSON, parse_json

TOLERATED: dict[str, tuple[bytes, object]] = {
    "strict": (b'{"a": [1, 2.5, true, null, "\\u00e9"]}', {"a": [1, 2.5, True, None, "é"]}),
    "a byte-order mark": (b"\xef\xbb\xbf[1]", [1]),
    "infinity": (b"[Infinity, -Infinity]", [math.inf, -math.inf]),
    "a raw line break": (b'["a\nb"]', ["a\nb"]),
    "no UTF-8": (b'["\xff"]', ["\ufffd"]),
    "a lone surrogate": (b'["\\ud800"]', ["\ud800"]),
    "a key twice": (b'{"a": 1, "a": 2}', {"a": 2}),
}


@pytest.mark.parametrize(("text", "expected"), TOLERATED.values(), ids=TOLERATED.keys())
def test_what_can_be_read_is_read(text: bytes, expected: object) -> None:
    """Strict JSON, and what the standard library takes beyond it."""
    assert parse_json(text) == expected


REFUSED = {
    "nothing": (b"", "Expecting value, near ''"),
    "words": (b"upstream error", "Expecting value, near 'upstream error'"),
    "cut": (b'{"a": 1', "Expecting ',' delimiter, near '{\"a\": 1'"),
    "something after it": (b"{} x", "Extra data, near '{} x'"),
    "too deep": (b"[" * 100_000, "it is nested too deeply, or holds a number too long"),
    "a NaN beside a number without end": (
        b"[NaN, " + b"1" * 5000 + b"]",
        "it is nested too deeply, or holds a number too long",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_json_says_near_what(text: bytes, message: str) -> None:
    """A short excerpt, never a trace of the parser."""
    with pytest.raises(NotJSON) as caught:
        parse_json(text)
    assert str(caught.value) == message


def test_the_excerpt_surrounds_the_fault() -> None:
    """Twenty characters before it and twenty after."""
    with pytest.raises(NotJSON) as caught:
        parse_json(b'["' + b"a" * 50 + b'", ' + b"!" + b"b" * 50 + b"]")
    assert str(caught.value) == f"Expecting value, near '{'a' * 17}\", !{'b' * 19}'"


_trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(_trees)
def test_any_tree_comes_back(tree: Any) -> None:
    """What the standard library writes is read as it reads it."""
    text = json.dumps(tree)
    assert parse_json(text.encode()) == json.loads(text)


@given(st.binary(max_size=40) | st.text(st.sampled_from('[]{}",:0-e.\\tN '), max_size=20).map(str.encode))
@settings(max_examples=200)
def test_any_bytes_are_a_tree_or_the_named_error(text: bytes) -> None:
    """And nothing else."""
    with contextlib.suppress(NotJSON):
        parse_json(text)
