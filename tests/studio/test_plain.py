"""JSON of whatever a server or a journal holds."""

from __future__ import annotations

import json
import math

import pytest

from aiai_async.studio.plain import read_json, write_json


@pytest.mark.parametrize(
    ("tree", "text"),
    [
        ({"words": "日本"}, '{"words":"日本"}'),
        ("\ud83d", r'"\ud83d"'),
        ([2**64, math.nan, -math.inf], "[18446744073709551616, null, null]"),
        ({"at": b"x", 1: (math.inf,), "x": "\ud800"}, r"""{"at": "b'x'", "1": [null], "x": "\ud800"}"""),
        (math.inf, "null"),
    ],
)
def test_everything_is_written(tree: object, text: str) -> None:
    """As text that every browser can parse."""
    assert write_json(tree).decode() == text
    json.loads(text)


def test_half_a_pair_is_read() -> None:
    """What is no JSON is an error in either way."""
    assert read_json(rb'["\ud800", 98765432109876543210]') == ["\ud800", 98765432109876543210]
    for text in (b"{", b"\xff", b""):
        with pytest.raises(ValueError):
            read_json(text)
    with pytest.raises(RecursionError):
        read_json(b"[" * 100_000)
