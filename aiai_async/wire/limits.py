"""What a server says of its limits: so far, how long it asks to wait.

Durations and dates in all the forms that are seen. Times come out as seconds from now.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final, cast

_UNITS: Final[Mapping[str, float]] = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[dhms])")
_DURATION: Final = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_IN_MESSAGE: Final = re.compile(
    rf"(?:try again|retry)\s+(?:in|after)\s+"
    rf"(?:({_DURATION.pattern})|(\d+(?:\.\d+)?)\s*(millisecond|second|minute|hour)s?)",
    re.ASCII | re.IGNORECASE,
)
_WORDS: Final[Mapping[str, float]] = {"millisecond": 0.001, "second": 1.0, "minute": 60.0, "hour": 3600.0}


def parse_duration(text: str) -> float | None:
    """Read a duration: plain seconds, or parts with units such as `120ms`, `6m0s`, `1h2m`; None where it is neither.

    Example:
        >>> parse_duration("1m2.5s")
        62.5
    """
    text = text.strip()
    if (seconds := _parse_number(text)) is not None:
        return seconds
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def parse_retry_after(
    headers: Mapping[str, str], body: object = None, message: str = "", *, now: float
) -> float | None:
    """Find how long the server asks to wait.

    In this order: `retry-after-ms`, `retry-after` (seconds, a duration, or an HTTP date), `retry_after` in the body or
    in its `error`, "try again in 534ms" in the message.

    Args:
        headers: the answer's header fields, by names whose case doesn't matter.
        body: the parsed body.
        message: the error's message.
        now: the local clock in Unix seconds, used for a date where the answer has no `Date` of its own.

    Returns:
        Seconds from now, 0.0 for a point in the past; None where it says nothing that can be read.

    Source: RFC 9110, 10.2.3.

    Example:
        >>> parse_retry_after({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, now=1792567680.0)
        30.0
    """
    if (text := headers.get("retry-after-ms")) is not None and (milliseconds := _parse_number(text)) is not None:
        return milliseconds / 1000
    if (text := headers.get("retry-after")) is not None:
        if (seconds := parse_duration(text)) is not None:
            return seconds
        if (then := _parse_date(text)) is not None:
            sent_at = _parse_date(headers.get("date", ""))
            return max(0.0, then - (now if sent_at is None else sent_at))
    for value in _find_in_body(body):
        if isinstance(value, (str, int, float)) and (seconds := parse_duration(str(value))) is not None:
            return seconds
    if match := _IN_MESSAGE.search(message):
        duration, number, word = match[1], match[4], match[5]
        return parse_duration(duration.lower()) if duration else float(number) * _WORDS[word.lower()]
    return None


def _find_in_body(body: object) -> list[object]:
    if not isinstance(body, dict):
        return []
    tree = cast("dict[str, object]", body)
    inner = tree.get("error")
    places = [tree, cast("dict[str, object]", inner)] if isinstance(inner, dict) else [tree]
    return [place["retry_after"] for place in places if "retry_after" in place]


def _parse_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    # A negative wait, infinity and NaN are no wait that anybody could mean.
    return number if math.isfinite(number) and number >= 0 else None


def _parse_date(text: str) -> float | None:
    try:
        date = parsedate_to_datetime(text)
        # Dates of HTTP are in UTC; the form of C's asctime doesn't say so.
        return (date if date.tzinfo else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
