"""Values that several parts share."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._facts import Headers, RateLimits, TokenDetails, Usage

HEADERS = Headers([("Content-Type", "a"), ("X-Request-Id", "1"), ("content-type", "b")])


def test_the_case_of_a_header_does_not_matter() -> None:
    """To look it up, to ask for it, to compare."""
    assert HEADERS["X-REQUEST-ID"] == HEADERS["x-request-id"] == "1"
    assert "x-Request-iD" in HEADERS
    assert "x-other" not in HEADERS
    assert 5 not in HEADERS  # type: ignore[comparison-overlap] # that is the case
    assert HEADERS.get("x-other") is None
    with pytest.raises(KeyError):
        HEADERS["x-other"]


def test_a_header_that_comes_twice_is_joined() -> None:
    """RFC 9110, 5.3; the first spelling of its name stays."""
    assert HEADERS["content-type"] == "a, b"
    assert list(HEADERS) == ["Content-Type", "X-Request-Id"]
    assert len(HEADERS) == 2
    assert repr(HEADERS) == "Headers([('Content-Type', 'a, b'), ('X-Request-Id', '1')])"


def test_headers_are_equal_to_any_mapping_of_the_same_fields() -> None:
    """Whatever the case of names; and what is equal has the same hash."""
    assert HEADERS == {"CONTENT-TYPE": "a, b", "x-request-id": "1"}
    assert Headers([("A", "1")]) != Headers([("A", "2")])
    assert Headers([("A", "1")]) != [("A", "1")]
    assert hash(Headers([("A", "1"), ("B", "2")])) == hash(Headers([("b", "2"), ("a", "1")]))


@given(st.lists(st.tuples(st.text(st.sampled_from("aAbB-"), max_size=3), st.text(max_size=3)), max_size=5))
def test_headers_survive_pickling_and_copying(fields: list[tuple[str, str]]) -> None:
    """With the spelling of their names."""
    headers = Headers(fields)
    for twin in (pickle.loads(pickle.dumps(headers)), copy.copy(headers), copy.deepcopy(headers)):
        assert twin == headers
        assert repr(twin) == repr(headers)


def test_usage_can_be_hashed_and_compared() -> None:
    """Also where it holds fields that this package doesn't know."""
    usage = Usage(total_tokens=1, input_tokens_details=TokenDetails(extra={"a": []}), extra={"cost": []})
    assert hash(usage) == hash(Usage(total_tokens=1, input_tokens_details=TokenDetails()))
    assert usage != Usage(total_tokens=1)


@pytest.mark.parametrize("name", ["requests_per_minute", "images_per_minute", "tokens_per_minute", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, math.nan, "5"], ids=repr)
def test_a_limit_is_above_zero(name: str, value: Any) -> None:
    """None is no limit."""
    with pytest.raises(ValueError, match=f"{name}: .* is not a number above 0; use None for no limit"):
        RateLimits(**{name: value})
    assert getattr(RateLimits(**{name: None}), name) is None
    assert getattr(RateLimits(**{name: 5}), name) == 5
