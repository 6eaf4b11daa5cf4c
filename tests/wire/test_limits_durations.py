"""Numbers, lengths of time and moments in every form that servers write them (`wire/durations.py`)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.wire.durations import TimeLeft, parse_date, parse_duration, parse_number, parse_time_left

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
    "microseconds": ("250us", 0.00025),
    "microseconds as Go prints them": ("1.5µs", 0.0000015),
    "nanoseconds": ("100ns", 0.0000001),
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
    "too large for a float, with a unit": ("9" * 400 + "s", None),
}


@pytest.mark.parametrize(("text", "expected"), DURATIONS.values(), ids=DURATIONS.keys())
def test_durations(text: str, expected: float | None) -> None:
    """Plain seconds, or parts with units; what is neither is None."""
    assert parse_duration(text) == (None if expected is None else pytest.approx(expected))


@given(hours=st.integers(0, 99), minutes=st.integers(0, 59), millis=st.integers(0, 59_999))
def test_a_duration_that_go_prints_is_read_back(hours: int, minutes: int, millis: int) -> None:
    """Parts add up, whichever are there."""
    printed = (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{millis / 1000:.10g}s"
    assert parse_duration(printed) == pytest.approx(hours * 3600 + minutes * 60 + millis / 1000)


DATE = "Wed, 21 Oct 2026 09:00:00 GMT"
"""The server's clock, which isn't the local one."""

TIMES: dict[str, tuple[str, str, TimeLeft | None]] = {
    "milliseconds": ("120ms", "", TimeLeft(0.12, 0.001)),
    "seconds and milliseconds": ("58.891s", "", TimeLeft(58.891, 0.001)),
    "minutes, whole": ("6m0s", "", TimeLeft(360.0, 0.001)),
    "hours": ("1h2m", "", TimeLeft(3720.0, 0.001)),
    "a duration beside a Date": ("59s", DATE, TimeLeft(59.0, 0.001)),
    "whole seconds": ("30", "", TimeLeft(30.0, 1.0)),
    "whole seconds beside a Date": ("30", DATE, TimeLeft(30.0, 1.0)),
    "fractions of seconds": ("1.5", "", TimeLeft(1.5, 0.001)),
    "zero": ("0", "", TimeLeft(0.0, 1.0)),
    "the longest that is no moment": ("99999999", "", TimeLeft(99999999.0, 1.0)),
    "Unix seconds": ("1792567690", "", TimeLeft(10.0, 1.0)),
    "Unix seconds with a fraction": ("1792567690.5", "", TimeLeft(10.5, 0.001)),
    "Unix seconds by the server's clock": ("1792573205.5", DATE, TimeLeft(5.5, 1.0)),
    "Unix seconds beside a broken clock": ("1792567690", "today", TimeLeft(10.0, 1.0)),
    "Unix seconds that are over": ("100000000", "", TimeLeft(0.0, 1.0)),
    "Unix milliseconds": ("1792567680250", "", TimeLeft(0.25, 0.001)),
    "Unix milliseconds by the server's clock": ("1792573201500", DATE, TimeLeft(1.5, 1.0)),
    "Unix milliseconds that are over": ("100000000000", "", TimeLeft(0.0, 0.001)),
    "Unix microseconds": ("1792567680250000", "", None),
    "an HTTP date": ("Wed, 21 Oct 2026 07:28:30 GMT", "", TimeLeft(30.0, 1.0)),
    "an HTTP date by the server's clock": ("Wed, 21 Oct 2026 09:00:30 GMT", DATE, TimeLeft(30.0, 1.0)),
    "an HTTP date that is over": ("Wed, 21 Oct 2026 07:00:00 GMT", "", TimeLeft(0.0, 1.0)),
    "an ISO date": ("2026-10-21T07:28:30Z", "", TimeLeft(30.0, 1.0)),
    "an ISO date with a fraction": (" 2026-10-21T07:28:30.250Z ", "", TimeLeft(30.25, 0.001)),
    "an ISO date of another zone": ("2026-10-21T09:28:30+02:00", "", TimeLeft(30.0, 1.0)),
    "an ISO date without a zone": ("2026-10-21T07:28:30", "", TimeLeft(30.0, 1.0)),
    "an ISO date by the server's clock": ("2026-10-21T09:00:30.5Z", DATE, TimeLeft(30.5, 1.0)),
    "an ISO date of no month": ("2026-13-21T07:28:30Z", "", None),
    "the field came twice": ("30, 31", "", TimeLeft(30.0, 1.0)),
    "the field came twice, no time first": ("soon, 31", "", None),
    "negative": ("-1", "", None),
    "empty": ("", "", None),
    "words": ("never", "", None),
    "infinite": ("inf", "", None),
    "no number": ("nan", "", None),
}


@pytest.mark.parametrize(("text", "date", "expected"), TIMES.values(), ids=TIMES.keys())
def test_time_left(text: str, date: str, expected: TimeLeft | None) -> None:
    """However a reset is written, it is the seconds from now; how exact they are is known too."""
    assert parse_time_left(text, date=date, now=NOW) == expected


@given(
    moment=st.integers(int(NOW) - 10**6, int(NOW) + 10**6),
    write=st.sampled_from(
        [
            str,
            lambda moment: f"{moment}000",
            lambda moment: format_datetime(dt.datetime.fromtimestamp(moment, dt.UTC), usegmt=True),
            lambda moment: dt.datetime.fromtimestamp(moment, dt.UTC).isoformat(),
        ]
    ),
)
def test_a_moment_means_the_same_in_every_form(moment: int, write: Callable[[int], str]) -> None:
    """Unix seconds, milliseconds, an HTTP date, an ISO date."""
    left = parse_time_left(write(moment), date="", now=NOW)
    assert left is not None and left.seconds == max(0.0, moment - NOW)


texts = st.text(max_size=30) | st.text(st.sampled_from("0123456789.msh dayGMTOctZ:+-, µ"), max_size=40)


@given(text=texts, date=texts)
def test_whatever_the_text_it_is_a_time_or_none(text: str, date: str) -> None:
    """Never an exception, never negative, never infinite."""
    left = parse_time_left(text, date=date, now=NOW)
    for figure in (parse_number(text), parse_duration(text), None if left is None else left.seconds):
        assert figure is None or 0.0 <= figure < math.inf
    assert left is None or left.resolution in (0.001, 1.0)
    assert (moment := parse_date(text)) is None or math.isfinite(moment)
