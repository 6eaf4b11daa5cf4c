"""How long a server asks to wait, in every form that is seen."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async._facts import Headers
from aiai_async.wire.limits import parse_duration, parse_retry_after

NOW = 1792567680.0
"""Wed, 21 Oct 2026 07:28:00 GMT."""

DURATIONS = {
    "seconds": ("20", 20.0),
    "fractions": ("0.25", 0.25),
    "white space around": (" 5 ", 5.0),
    "zero": ("0", 0.0),
    "milliseconds": ("120ms", 0.12),
    "seconds with a unit": ("58.891s", 58.891),
    "minutes and seconds": ("6m0s", 360.0),
    "minutes and fractions": ("1m2.5s", 62.5),
    "hours and minutes": ("1h2m", 3720.0),
    "days": ("1d", 86400.0),
    "all": ("1d1h1m1s1ms", 90061.001),
    "empty": ("", None),
    "words": ("soon", None),
    "negative": ("-1", None),
    "negative with a unit": ("-1s", None),
    "infinite": ("inf", None),
    "no number": ("nan", None),
    "an unknown unit": ("5y", None),
    "a number and more": ("5s later", None),
    "too large for a float": ("9" * 400, None),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.values(), ids=DURATIONS.keys())
def test_durations(text: str, expected: float | None) -> None:
    """Plain seconds, or parts with units; what is neither is None."""
    assert parse_duration(text) == (None if expected is None else pytest.approx(expected))


HEADERS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"Retry-After": "20"}, 20.0),
    "fractions": ({"retry-after": "0.5"}, 0.5),
    "zero": ({"retry-after": "0"}, 0.0),
    "milliseconds": ({"retry-after-ms": "534"}, 0.534),
    "milliseconds go first": ({"retry-after": "1", "Retry-After-Ms": "534"}, 0.534),
    "a duration": ({"retry-after": "1m2s"}, 62.0),
    "a date": ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, 30.0),
    "a date in the past": ({"retry-after": "Wed, 21 Oct 2026 07:27:30 GMT"}, 0.0),
    "a date as of the server's clock": (
        {"retry-after": "Wed, 21 Oct 2026 09:00:30 GMT", "date": "Wed, 21 Oct 2026 09:00:00 GMT"},
        30.0,
    ),
    "a date beside a broken clock": ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "today"}, 30.0),
    "a date of RFC 850": ({"retry-after": "Wednesday, 21-Oct-26 07:28:30 GMT"}, 30.0),
    "a date of asctime": ({"retry-after": "Wed Oct 21 07:28:30 2026"}, 30.0),
    "a date of an unknown zone": ({"retry-after": "Wed, 21 Oct 2026 07:28:30 -0000"}, 30.0),
    "a date that is none": ({"retry-after": "Wed, 99 Oct 2026 07:28:30 GMT"}, None),
    "a date beyond the calendar": ({"retry-after": "Wed, 21 Oct 99999 07:28:30 GMT"}, None),
    "negative": ({"retry-after": "-1"}, None),
    "empty": ({"retry-after": ""}, None),
    "words": ({"retry-after": "soon"}, None),
    "infinite": ({"retry-after": "inf"}, None),
    "broken milliseconds beside seconds": ({"retry-after-ms": "soon", "retry-after": "3"}, 3.0),
    "nothing": ({}, None),
}


@pytest.fixture(params=["UTC", "America/New_York", "Asia/Shanghai"])
def _time_zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_time_zone")
@pytest.mark.parametrize(("fields", "expected"), HEADERS.values(), ids=HEADERS.keys())
def test_retry_after_in_the_header_fields(fields: dict[str, str], expected: float | None) -> None:
    """Seconds, fractions, a date; wherever the machine stands."""
    assert parse_retry_after(Headers(fields.items()), now=NOW) == expected


BODIES: dict[str, tuple[object, float | None]] = {
    "at the top": ({"retry_after": 3}, 3.0),
    "in the error": ({"error": {"message": "x", "retry_after": 1.5}}, 1.5),
    "a string": ({"retry_after": "2m"}, 120.0),
    "null": ({"retry_after": None}, None),
    "a boolean": ({"retry_after": True}, None),
    "negative": ({"retry_after": -5}, None),
    "no number at the top, one in the error": ({"retry_after": "soon", "error": {"retry_after": 4}}, 4.0),
    "a list": ({"retry_after": [1]}, None),
    "the error is a string": ({"error": "slow down"}, None),
    "a list of objects": ([{"retry_after": 1}], None),
    "no JSON": (None, None),
}


@pytest.mark.parametrize(("body", "expected"), BODIES.values(), ids=BODIES.keys())
def test_retry_after_in_the_body(body: object, expected: float | None) -> None:
    """At the top or in the error object."""
    assert parse_retry_after({}, body, now=NOW) == expected


MESSAGES = {
    "milliseconds": ("Rate limit reached. Please try again in 534ms.", 0.534),
    "minutes and seconds": ("Please try again in 1m2.5s. Visit https://example.com", 62.5),
    "hours": ("try again in 1h2m3s", 3723.0),
    "seconds with their unit": ("Please try again in 20s.", 20.0),
    "seconds in words": ("Please retry after 20 seconds.", 20.0),
    "one second in words": ("Try again in 1 second", 1.0),
    "minutes in words": ("retry in 1.5 minutes", 90.0),
    "hours in words": ("try again after 2 Hours", 7200.0),
    "milliseconds in words": ("try again in 50 milliseconds", 0.05),
    "in capitals": ("TRY AGAIN IN 5S", 5.0),
    "no time": ("Please try again later", None),
    "a number that means something else": ("limit 5 per min", None),
    "a Chinese message": ("请求过于频繁，请稍后再试", None),
    "nothing": ("", None),
}


@pytest.mark.parametrize(("message", "expected"), MESSAGES.values(), ids=MESSAGES.keys())
def test_retry_after_in_the_message(message: str, expected: float | None) -> None:
    """As OpenAI and Azure write it."""
    assert parse_retry_after({}, None, message, now=NOW) == (None if expected is None else pytest.approx(expected))


def test_the_header_goes_before_the_body_and_the_body_before_the_message() -> None:
    """Each is looked at where the one before says nothing that can be read."""
    body, message = {"retry_after": 2}, "try again in 3s"
    assert parse_retry_after({"retry-after": "1"}, body, message, now=NOW) == 1.0
    assert parse_retry_after({"retry-after": "soon"}, body, message, now=NOW) == 2.0
    assert parse_retry_after({"retry-after": "soon"}, {"retry_after": "soon"}, message, now=NOW) == 3.0


_words = st.text(max_size=30) | st.text(st.sampled_from("0123456789.msh dayGMTOct:+-, "), max_size=40)


@given(header=_words, date=_words, value=st.recursive(_words | st.integers() | st.floats(), st.lists), message=_words)
@settings(max_examples=200)
def test_whatever_a_server_says_is_a_wait_or_none(header: str, date: str, value: object, message: str) -> None:
    """Never an exception, never negative, never infinite."""
    fields = {"retry-after-ms": date, "retry-after": header, "date": date}
    for seconds in (
        parse_retry_after(fields, {"error": {"retry_after": value}}, f"try again in {message}", now=NOW),
        parse_retry_after({}, {"retry_after": value}, f"try again in {message}", now=NOW),
    ):
        assert seconds is None or 0.0 <= seconds < float("inf")
