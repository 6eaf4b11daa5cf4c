"""Numbers, lengths of time and moments, in the forms that servers write them.

All come out as float, times in seconds; None is for a text that is none of these, or that means nothing (`-1`, `nan`,
`inf`). Nothing here raises, whatever the text. Which header field a text is from isn't known here.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

import attrs

# Those of Go's time.Duration.String(), which OpenAI's resets are written by, and days.
_UNITS: Final[Mapping[str, float]] = {
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|[dhms])", re.ASCII)
DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
"""One or more parts with a unit; has two groups of its own."""

# A plain number this large is a moment: 10^8 s are three years from now, or a day in 1973; likewise 10^11 ms.
_UNIX_SECONDS: Final = 1e8
_UNIX_MILLISECONDS: Final = 1e11
# In milliseconds the year 5138. Micro- and nanoseconds begin above, and nobody is known to send them.
_NO_MOMENT: Final = 1e14

_COARSE: Final = 1.0
_FINE: Final = 0.001


def parse_number(text: str) -> float | None:
    """Read a number that is finite and not negative.

    Example:
        >>> parse_number("1.5"), parse_number("-1")
        (1.5, None)
    """
    try:
        number = float(text)
    except ValueError:
        return None
    # A negative figure, infinity and NaN are none that anybody could mean.
    return number if math.isfinite(number) and number >= 0 else None


def parse_duration(text: str) -> float | None:
    """Read a duration: plain seconds, or parts with units such as `120ms`, `6m0s`, `1h2m`.

    Example:
        >>> parse_duration("1m2.5s")
        62.5
    """
    text = text.strip()
    if (seconds := parse_number(text)) is not None:
        return seconds
    if not DURATION.fullmatch(text):
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return seconds if math.isfinite(seconds) else None


def parse_date(text: str) -> float | None:
    """Read an HTTP date, in Unix seconds.

    Source: RFC 9110, 5.6.7.

    Example:
        >>> parse_date("Wed, 21 Oct 2026 07:28:00 GMT")
        1792567680.0
    """
    try:
        return _to_unix(parsedate_to_datetime(text))
    except (ValueError, OverflowError):
        return None


@attrs.frozen
class TimeLeft:
    """How long it is until a moment."""

    seconds: float
    """0.0 for a moment in the past."""
    resolution: float
    """How coarse that is, in seconds."""


def parse_time_left(text: str, *, date: str, now: float) -> TimeLeft | None:
    """Read when something is over, as a time from now.

    The text is a duration, Unix seconds or milliseconds, an HTTP date, or one of ISO 8601. A duration with a unit is
    exact, as its writer gives fractions where there are any; so is what has a fraction. Other figures are whole
    seconds, and so is whatever is measured from the server's `Date`.

    Args:
        text: of several, separated by commas, the first counts.
        date: the answer's `Date`, which a moment is measured from; "" where it has none.
        now: the local clock in Unix seconds, for where `date` can't be read.

    Example:
        >>> parse_time_left("6m0s", date="", now=0.0)
        TimeLeft(seconds=360.0, resolution=0.001)
        >>> parse_time_left("2026-10-21T07:28:30Z", date="Wed, 21 Oct 2026 07:28:00 GMT", now=0.0)
        TimeLeft(seconds=30.0, resolution=1.0)
    """
    resolution = _FINE if "." in text else _COARSE
    number = parse_number(text)
    if number is None:
        if (seconds := parse_duration(text)) is not None:
            return TimeLeft(seconds, _FINE)
        if (moment := _parse_iso_date(text)) is None and (moment := parse_date(text)) is None:
            first, comma, _ = text.partition(",")
            return parse_time_left(first, date=date, now=now) if comma else None
    elif number < _UNIX_SECONDS:
        return TimeLeft(number, resolution)
    elif number < _UNIX_MILLISECONDS:
        moment = number
    elif number < _NO_MOMENT:
        moment, resolution = number / 1000, _FINE
    else:
        return None
    if (sent_at := parse_date(date)) is not None:
        return TimeLeft(max(0.0, moment - sent_at), _COARSE)
    return TimeLeft(max(0.0, moment - now), resolution)


def _parse_iso_date(text: str) -> float | None:
    try:
        return _to_unix(dt.datetime.fromisoformat(text.strip()))
    except (ValueError, OverflowError):
        return None


def _to_unix(date: dt.datetime) -> float:
    # Where no zone is said, it is UTC: C's asctime form of an HTTP date has none.
    return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
