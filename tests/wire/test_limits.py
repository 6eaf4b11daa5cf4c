"""What a server says of its limits, in every form that is seen."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async._facts import Headers, LimitFact
from aiai_async.wire.limits import parse_limits, parse_retry_after

NOW = 1792567680.0
"""Wed, 21 Oct 2026 07:28:00 GMT."""

WAITS: dict[str, tuple[dict[str, str], float | None]] = {
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
@pytest.mark.parametrize(("fields", "expected"), WAITS.values(), ids=WAITS.keys())
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
    "seconds without end": (f"try again in {'9' * 400} seconds", None),
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


DATE = "Wed, 21 Oct 2026 09:00:00 GMT"
"""The server's clock, which isn't the local one."""


def requests(**figures: float) -> LimitFact:
    return LimitFact(name="requests", **figures)


LIMITS: dict[str, tuple[dict[str, str], list[LimitFact]]] = {
    "ordinary header fields": ({"Date": DATE, "Content-Type": "application/json"}, []),
    "OpenAI's": (
        {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-limit-tokens": "150000",
            "x-ratelimit-remaining-requests": "59",
            "x-ratelimit-remaining-tokens": "149984",
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-reset-tokens": "6m0s",
        },
        [
            requests(limit=60, remaining=59, resets_in=1, resolution=0.001),
            LimitFact(name="tokens", limit=150000, remaining=149984, resets_in=360, resolution=0.001),
        ],
    ),
    "any name, in any case": (
        {"X-RateLimit-Limit-Input-Images": "5", "X-Ratelimit-Remaining-INPUT-IMAGES": "4"},
        [LimitFact(name="input-images", limit=5, remaining=4)],
    ),
    "in the other spelling": (
        {"X-Rate-Limit-Limit-Images": "5", "X-Rate-Limit-Remaining-Images": "0", "X-Rate-Limit-Reset-Images": "12"},
        [LimitFact(name="images", limit=5, remaining=0, resets_in=12, resolution=1)],
    ),
    "in both spellings": (
        {"x-rate-limit-remaining-images": "3", "x-ratelimit-remaining-images": "4", "x-rate-limit-limit-images": "5"},
        [LimitFact(name="images", limit=5, remaining=4)],
    ),
    "without a name": (
        {"x-ratelimit-limit": "60", "x-ratelimit-remaining": "59", "x-ratelimit-reset": "1.5"},
        [requests(limit=60, remaining=59, resets_in=1.5, resolution=0.001)],
    ),
    "without a name, in the other spelling": (
        {"x-rate-limit-limit": "60", "x-rate-limit-remaining": "59"},
        [requests(limit=60, remaining=59)],
    ),
    "without a name, of several windows": (
        {"x-ratelimit-limit": "100, 100;w=60, 5000;w=3600", "x-ratelimit-remaining": "99"},
        [requests(limit=100, remaining=99, window=60)],
    ),
    "with a name and without, of the same limit": (
        {"x-ratelimit-limit": "60", "x-ratelimit-reset": "7", "x-ratelimit-limit-requests": "60"},
        [requests(limit=60, resets_in=7, resolution=1)],
    ),
    "with a name and without, of different limits": (
        {"x-ratelimit-limit": "9000", "x-ratelimit-reset": "7", "x-ratelimit-limit-requests": "60"},
        [requests(limit=60)],
    ),
    "with a name and without, of different windows": (
        {"x-ratelimit-limit-requests": "60;w=60", "ratelimit-limit": "60;w=3600", "ratelimit-remaining": "1"},
        [requests(limit=60, window=60)],
    ),
    "with an empty name": ({"x-ratelimit-limit-": "60"}, []),
    "a reset in Unix seconds": (
        {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "1792567690"},
        [requests(remaining=1, resets_in=10, resolution=1)],
    ),
    "a reset as of the server's clock": (
        {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "2026-10-21T09:00:30.5Z", "date": DATE},
        [requests(remaining=1, resets_in=30.5, resolution=1)],
    ),
    "a reset in the past": (
        {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "Wed, 21 Oct 2026 07:00:00 GMT"},
        [requests(remaining=1, resets_in=0, resolution=1)],
    ),
    "a reset that can't be read": (
        {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "soon"},
        [requests(remaining=1)],
    ),
    "a reset alone": ({"x-ratelimit-reset-requests": "12s"}, []),
    "a reset after, of Discord": ({"x-ratelimit-reset-after": "1.2"}, []),
    "no limit: -1": ({"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "-1"}, []),
    "no limit: empty": ({"x-ratelimit-limit-tokens": "", "x-ratelimit-remaining-tokens": " "}, []),
    "no limit: a word": ({"x-ratelimit-limit": "unlimited", "x-ratelimit-remaining": "unlimited"}, []),
    "no limit: infinite": ({"x-ratelimit-limit": "inf", "x-ratelimit-remaining": "nan"}, []),
    "no limit: garbage": ({"x-ratelimit-limit": "<5>", "x-ratelimit-remaining": ";;,=", "ratelimit": ';;,="'}, []),
    "no limit, but a figure that is left": (
        {"x-ratelimit-limit-tokens": "-1", "x-ratelimit-remaining-tokens": "7"},
        [LimitFact(name="tokens", remaining=7)],
    ),
    "a limit of nothing": ({"x-ratelimit-limit": "0", "x-ratelimit-remaining": "0"}, [requests(remaining=0)]),
    "fields that came twice": (
        {"x-ratelimit-limit": "60, 60", "x-ratelimit-remaining": "59, 59", "x-ratelimit-reset": "30, 30"},
        [requests(limit=60, remaining=59, resets_in=30, resolution=1)],
    ),
    "a name per minute": (
        {"x-ratelimit-limit-requests-per-minute": "60"},
        [LimitFact(name="requests-per-minute", limit=60, window=60)],
    ),
    "a name of a minute": (
        {"x-ratelimit-limit-images-minute": "5", "x-ratelimit-limit-tokens-min": "6", "x-ratelimit-limit-x-1m": "7"},
        [
            LimitFact(name="images-minute", limit=5, window=60),
            LimitFact(name="tokens-min", limit=6, window=60),
            LimitFact(name="x-1m", limit=7, window=60),
        ],
    ),
    "names of other times": (
        {"x-ratelimit-limit-a-second": "1", "x-ratelimit-limit-b-per-hour": "2", "x-ratelimit-limit-c-per-day": "3"},
        [
            LimitFact(name="a-second", limit=1, window=1),
            LimitFact(name="b-per-hour", limit=2, window=3600),
            LimitFact(name="c-per-day", limit=3, window=86400),
        ],
    ),
    "Kong's, of two windows": (
        {
            "X-RateLimit-Limit-Hour": "100",
            "X-RateLimit-Limit-Minute": "10",
            "X-RateLimit-Remaining-Hour": "99",
            "X-RateLimit-Remaining-Minute": "9",
            "RateLimit-Limit": "10",
            "RateLimit-Remaining": "9",
            "RateLimit-Reset": "30",
        },
        [
            LimitFact(name="hour", limit=100, remaining=99, window=3600),
            LimitFact(name="minute", limit=10, remaining=9, window=60),
            requests(limit=10, remaining=9, resets_in=30, resolution=1),
        ],
    ),
    "the IETF's first drafts": (
        {"RateLimit-Limit": "100, 100;w=60", "RateLimit-Remaining": "50", "RateLimit-Reset": "30"},
        [requests(limit=100, remaining=50, resets_in=30, window=60, resolution=1)],
    ),
    "the limit in force is that of the second window": (
        {"RateLimit-Limit": '5000, 100;w=60;comment="a, b", 5000 ; w=3600'},
        [requests(limit=5000, window=3600)],
    ),
    "the limit in force is of no window": ({"RateLimit-Limit": "70, 100;w=60"}, [requests(limit=70)]),
    "draft 6, as express-rate-limit writes it": (
        {"RateLimit-Policy": "5;w=60", "RateLimit-Limit": "5", "RateLimit-Remaining": "4", "RateLimit-Reset": "60"},
        [requests(limit=5, remaining=4, resets_in=60, window=60, resolution=1)],
    ),
    "draft 7, as express-rate-limit writes it": (
        {"RateLimit-Policy": "5;w=60", "RateLimit": "limit=5, remaining=4, reset=60"},
        [requests(limit=5, remaining=4, resets_in=60, window=60, resolution=1)],
    ),
    "draft 7, of several windows": (
        {"RateLimit-Policy": "10;w=1, 50;w=60", "RateLimit": "reset=5,remaining=4,limit=50"},
        [requests(limit=50, remaining=4, resets_in=5, window=60, resolution=1)],
    ),
    "draft 7, the policy alone": ({"RateLimit-Policy": "100;w=60"}, [requests(limit=100, window=60)]),
    "draft 8, as express-rate-limit writes it": (
        {
            "RateLimit-Policy": '"5-in-1min"; q=5; w=60; pk=:NTk3ZWI4=:',
            "RateLimit": '"5-in-1min"; r=4; t=60',
        },
        [LimitFact(name="5-in-1min", limit=5, remaining=4, resets_in=60, window=60, resolution=1)],
    ),
    "the default policy": (
        {"RateLimit": '"default";r=50;t=30', "RateLimit-Policy": '"default";q=100;w=60'},
        [requests(limit=100, remaining=50, resets_in=30, window=60, resolution=1)],
    ),
    "a policy without a name": ({"RateLimit": '"";r=50'}, [requests(remaining=50)]),
    "tokens, other orders, unknown parameters, fractions": (
        {"RateLimit": "default ;x; t=1.5;r=50", "RateLimit-Policy": 'default;pk=:a+/=:;w=60;note="a;b,c\\"=";q=100'},
        [requests(limit=100, remaining=50, resets_in=1.5, window=60, resolution=0.001)],
    ),
    "several policies": (
        {
            "RateLimit": '"burst";r=5;t=1, "Daily";r=900;t=4000',
            "RateLimit-Policy": '"daily";q=1000;w=86400,"burst";q=10;w=1, "unused";q=7',
        },
        [
            LimitFact(name="burst", limit=10, remaining=5, resets_in=1, window=1, resolution=1),
            LimitFact(name="daily", limit=1000, remaining=900, resets_in=4000, window=86400, resolution=1),
            LimitFact(name="unused", limit=7),
        ],
    ),
    "the default policy is of images": (
        {"RateLimit": '"default";r=3', "RateLimit-Policy": '"default";q=5;w=60;qu="images"'},
        [LimitFact(name="images", limit=5, remaining=3, window=60)],
    ),
    "the default policy is of requests, as an early draft names them": (
        {"RateLimit-Policy": '"default";q=5;qu="request"'},
        [requests(limit=5)],
    ),
    "a named policy is of tokens": (
        {"RateLimit-Policy": '"daily";q=5;w=86400;qu="tokens"'},
        [LimitFact(name="daily", limit=5, window=86400)],
    ),
    "policies of bytes and of simultaneous requests": (
        {
            "RateLimit": '"default";r=50, "volume";r=7;t=1, "jobs";r=2',
            "RateLimit-Policy": '"default";q=60,"volume";q=9;qu="content-bytes","jobs";q=3;qu="concurrent-requests"',
        },
        [requests(limit=60, remaining=50)],
    ),
    "a policy whose name is a number": (
        {"RateLimit": '"100";r=5', "RateLimit-Policy": '"100";q=10;w=60'},
        [LimitFact(name="100", limit=10, remaining=5, window=60)],
    ),
    "a policy without its quota": ({"RateLimit-Policy": '"default";w=60'}, []),
    "a window of nothing": ({"RateLimit-Policy": '"default";q=5;w=0'}, [requests(limit=5)]),
    "a quote that isn't closed": ({"RateLimit": '"default;r=50, "b";r=1'}, []),
    "header fields of a provider go before the IETF's": (
        {
            "RateLimit": '"default";r=1',
            "RateLimit-Policy": '"default";q=60;w=60',
            "x-ratelimit-remaining-requests": "2",
        },
        [requests(limit=60, remaining=2, window=60)],
    ),
}


@pytest.mark.parametrize(("fields", "facts"), LIMITS.values(), ids=LIMITS.keys())
@pytest.mark.parametrize("turn", [1, -1], ids=["as sent", "the other way round"])
def test_limits_in_the_header_fields(fields: dict[str, str], facts: list[LimitFact], turn: int) -> None:
    """Each limit once, in the order of names, whatever the order of the header fields."""
    assert list(parse_limits(Headers([*fields.items()][::turn]), now=NOW)) == facts
    assert list(parse_limits({name.lower(): value for name, value in fields.items()}, now=NOW)) == facts


REFUSALS: dict[str, tuple[str, list[LimitFact]]] = {
    "input images": (
        "Rate limit reached for gpt-image-1 in organization org-x on input-images per min: Limit 5, Used 5, "
        "Requested 1. Please try again in 12s.",
        [LimitFact(name="input-images", limit=5, remaining=0, window=60)],
    ),
    "requests": (
        "Rate limit reached for gpt-4 on requests per min (RPM): Limit 60, Used 58, Requested 3.",
        [requests(limit=60, remaining=2, window=60)],
    ),
    "images, with slashes": (
        "on images per minute (IPM): Limit: 5 / Used: 5",
        [LimitFact(name="images", limit=5, remaining=0, window=60)],
    ),
    "tokens of a day": (
        "on tokens per day (TPD): Limit 1000, Current: 1000",
        [LimitFact(name="tokens", limit=1000, remaining=0, window=86400)],
    ),
    "as of dall-e-3": (
        "Rate limit exceeded for images per minute in organization org-4U7. Limit: 5/1min. Current: 6/1min. Please",
        [LimitFact(name="images", limit=5, remaining=0, window=60)],
    ),
    "a model that isn't open to the user": (
        "Rate limit exceeded for images per minute in organization org-4U7. Limit: 0/1min. Current: 1/1min.",
        [LimitFact(name="images", remaining=0, window=60)],
    ),
    "as of 2023": (
        "on requests per min. Limit: 60.000000 / min. Current: 70.000000 / min. Contact support",
        [requests(limit=60, remaining=0, window=60)],
    ),
    "thousands": (
        "on tokens per min (TPM): Limit 1,000,000, Used 987,654, Requested 20,000.",
        [LimitFact(name="tokens", limit=1000000, remaining=12346, window=60)],
    ),
    "too large": (
        "Request too large on tokens per hour: Limit 10000, Requested 12000.",
        [LimitFact(name="tokens", limit=10000, window=3600)],
    ),
    "in capitals": ("REQUESTS PER SECOND: LIMIT=3, USED=1", [requests(limit=3, remaining=2, window=1)]),
    "two limits": (
        "on images per min: Limit 5, Used 4; on requests per sec: Limit 2, Used 2",
        [LimitFact(name="images", limit=5, remaining=1, window=60), requests(limit=2, remaining=0, window=1)],
    ),
    "no figures": ("Rate limit reached for gpt-image-1 on images per minute.", []),
    "what is used, but not of how much": ("images per minute: used 5", []),
    "the figure is before": ("limit 5 images per minute reached", []),
    "another thing": ("5 characters per minute: limit 5", []),
    "nothing of limits": ("The server had an error", []),
}


@pytest.mark.parametrize(("message", "facts"), REFUSALS.values(), ids=REFUSALS.keys())
def test_limits_in_the_message(message: str, facts: list[LimitFact]) -> None:
    """As OpenAI writes a refusal."""
    assert list(parse_limits({}, message, now=NOW)) == facts


MESSAGE = "on images per min (IPM): Limit 5, Used 5, Requested 1."

BOTH: dict[str, tuple[dict[str, str], list[LimitFact]]] = {
    "header fields of the same limit": (
        {"x-ratelimit-limit-images": "5", "x-ratelimit-remaining-images": "1", "x-ratelimit-reset-images": "12s"},
        [LimitFact(name="images", limit=5, remaining=1, resets_in=12, window=60, resolution=0.001)],
    ),
    "header fields without the limit": (
        {"x-ratelimit-remaining-images": "1"},
        [LimitFact(name="images", limit=5, remaining=1, window=60)],
    ),
    "header fields with the reset alone": (
        {"x-ratelimit-reset-images": "12s"},
        [LimitFact(name="images", limit=5, remaining=0, resets_in=12, window=60, resolution=0.001)],
    ),
    "header fields of another limit of that name": (
        {"x-ratelimit-limit-images": "700", "x-ratelimit-reset-images": "1h0m0s"},
        [LimitFact(name="images", limit=700, resets_in=3600, resolution=0.001)],
    ),
    "header fields of another name": (
        {"x-ratelimit-limit-requests": "60"},
        [LimitFact(name="images", limit=5, remaining=0, window=60), requests(limit=60)],
    ),
}


@pytest.mark.parametrize(("fields", "facts"), BOTH.values(), ids=BOTH.keys())
def test_the_message_adds_to_what_the_header_fields_say(fields: dict[str, str], facts: list[LimitFact]) -> None:
    """Names that they don't have, and what they leave out of the same limit."""
    assert list(parse_limits(fields, MESSAGE, now=NOW)) == facts


_field_names = st.sampled_from(
    [
        f"{prefix}-{figure}{name}"
        for prefix in ("x-ratelimit", "x-rate-limit", "ratelimit")
        for figure in ("limit", "remaining", "reset")
        for name in ("", "-images", "-requests", "-tokens-per-day")
    ]
    + ["ratelimit", "ratelimit-policy", "date", "x-ratelimit-limit-ſİ"]
)
_figures = st.lists(st.sampled_from([*'0123456789.,;=-"\\:?* \n', "default", "w", "q", "r", "t", "limit"])).map("".join)
_refusals = st.tuples(_figures, _figures).map(lambda two: f"images per min: Limit {two[0]}, Used {two[1]}")


@given(
    fields=st.dictionaries(_field_names | _words, _words | _figures | st.floats().map(str), max_size=12),
    message=_refusals | _words,
)
@settings(max_examples=300)
def test_whatever_a_server_says_of_limits_is_a_figure_or_none(fields: dict[str, str], message: str) -> None:
    """Never an exception, never negative, never infinite; each name once."""
    for headers in (fields, Headers(fields.items())):
        facts = parse_limits(headers, message, now=NOW)
        assert [fact.name for fact in facts] == sorted({fact.name for fact in facts})
        for fact in facts:
            assert fact.limit is not None or fact.remaining is not None
            for figure in (fact.limit, fact.remaining, fact.resets_in, fact.window):
                assert figure is None or 0.0 <= figure < float("inf")
            assert fact.limit != 0 and fact.window != 0
            assert (fact.resolution == 0.0) == (fact.resets_in is None)


@given(
    limit=st.integers(1, 10**12),
    remaining=st.integers(0, 10**12),
    reset=st.integers(0, 10**6),
    window=st.sampled_from([1, 60, 3600, 86400]),
)
def test_a_limit_means_the_same_in_every_form(limit: int, remaining: int, reset: int, window: int) -> None:
    """What a server writes is read back, whichever form it has chosen."""
    expected = (requests(limit=limit, remaining=remaining, resets_in=reset, window=window, resolution=1.0),)
    plain = {"limit": f"{limit}, {limit};w={window}", "remaining": f"{remaining}", "reset": f"{reset}"}
    for headers in (
        {f"x-ratelimit-{figure}-requests": text for figure, text in plain.items()},
        {f"x-rate-limit-{figure}": text for figure, text in plain.items()},
        {f"ratelimit-{figure}": text for figure, text in plain.items()},
        {
            "ratelimit": f"limit={limit}, remaining={remaining}, reset={reset}",
            "ratelimit-policy": f"{limit};w={window}",
        },
        {
            "ratelimit": f'"default";r={remaining};t={reset}',
            "ratelimit-policy": f'"default";q={limit};w={window}',
        },
    ):
        assert parse_limits(headers, now=NOW) == expected


@given(limit=st.integers(1, 10**9), used=st.integers(0, 10**9))
def test_figures_of_a_message_are_read_back(limit: int, used: int) -> None:
    """With thousands separators or without; more than all can be used, but no less than nothing is left."""
    expected = (LimitFact(name="tokens", limit=limit, remaining=max(0, limit - used), window=60),)
    assert parse_limits({}, f"tokens per min (TPM): Limit {limit}, Used {used}, Requested 1.", now=NOW) == expected
    assert parse_limits({}, f"tokens per min (TPM): Limit {limit:,}, Used {used:,}, Requested 1.", now=NOW) == expected
