"""What a server says of its limits: how long it asks to wait, how much may be used, how much of that is left.

It says so in header fields of many forms, in the body and in the message; all are read here, and none decides anything.
Times come out as seconds from now. Nothing here raises, whatever the server sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, cast

import attrs

from aiai_async._facts import LimitFact
from aiai_async.wire.durations import DURATION, parse_date, parse_duration, parse_number, parse_time_left

_WAIT: Final = re.compile(
    rf"(?:try again|retry)\s+(?:in|after)\s+"
    rf"(?:({DURATION.pattern})|(\d+(?:\.\d+)?)\s*(millisecond|second|minute|hour)s?)",
    re.ASCII | re.IGNORECASE,
)
_UNITS: Final[Mapping[str, str]] = {"millisecond": "ms", "second": "s", "minute": "m", "hour": "h"}

# By the last word of a limit's name, or after "per" in a message.
_WINDOWS: Final[Mapping[str, float]] = {
    "second": 1.0,
    "sec": 1.0,
    "minute": 60.0,
    "min": 60.0,
    "1m": 60.0,
    "hour": 3600.0,
    "day": 86400.0,
}

# Header fields with one figure of one limit, the most believed first. The groups are the figure and the limit's name.
_FORMS: Final = (
    "x-ratelimit-(limit|remaining|reset)-(.+)",
    "x-rate-limit-(limit|remaining|reset)-(.+)",
    "x-ratelimit-(limit|remaining|reset)()",
    "x-rate-limit-(limit|remaining|reset)()",
    "ratelimit-(limit|remaining|reset)()",
)
_FIELD: Final = re.compile("|".join(f"^{form}$" for form in _FORMS), re.MULTILINE)

# A quote that isn't closed reaches to the end: looking for its other half from every place would take quadratic time.
_PIECE: Final = re.compile(r'([,;]?)((?:"(?:[^"\\]|\\.)*+"?|[^",;])*+)', re.DOTALL)

_PARAMETERS: Final[Mapping[str, str]] = {"q": "limit", "r": "remaining", "t": "reset", "w": "window"}

# Units of policies that limit something else than a rate.
_NO_RATE: Final = re.compile(r"bytes|concurren")

# The repetitions have bounds, so that a long message of any text takes linear time.
_LIMIT_IN_MESSAGE: Final = re.compile(
    r"\b((?:[a-z]{1,16}-){0,2}(?:requests|images|tokens))\s{1,3}per\s{1,3}(second|sec|minute|min|hour|day)\b",
    re.ASCII | re.IGNORECASE,
)
_FIGURE: Final = r"[:=]?\s{0,3}(\d[\d,]{0,30}(?:\.\d{1,9})?)"
_LIMIT: Final = re.compile(rf"\blimit{_FIGURE}", re.ASCII | re.IGNORECASE)
_USED: Final = re.compile(rf"\b(?:used|current){_FIGURE}", re.ASCII | re.IGNORECASE)


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
    if (text := headers.get("retry-after-ms")) is not None and (milliseconds := parse_number(text)) is not None:
        return milliseconds / 1000
    if (text := headers.get("retry-after")) is not None:
        if (seconds := parse_duration(text)) is not None:
            return seconds
        if (then := parse_date(text)) is not None:
            sent_at = parse_date(headers.get("date", ""))
            return max(0.0, then - (now if sent_at is None else sent_at))
    for value in _find_in_body(body):
        if isinstance(value, (str, int, float)) and (seconds := parse_duration(str(value))) is not None:
            return seconds
    if match := _WAIT.search(message):
        duration, number, word = match[1], match[4], match[5]
        return parse_duration(duration.lower() if duration else number + _UNITS[word.lower()])
    return None


def parse_limits(headers: Mapping[str, str], message: str = "", *, now: float) -> tuple[LimitFact, ...]:
    """Read every limit that an answer speaks of.

    | where | for example |
    | --- | --- |
    | a header field for each figure of a limit | `x-ratelimit-remaining-tokens: 12` or `x-rate-limit-...` |
    | the same for requests, without a name | `x-ratelimit-limit: 60`, `RateLimit-Limit: 100, 100;w=60` |
    | the IETF's drafts from 08 on | `RateLimit: "default";r=50;t=30`, `RateLimit-Policy: "default";q=100;w=60` |
    | those before | `RateLimit: limit=100, remaining=50, reset=30`, `RateLimit-Policy: 100;w=60` |
    | OpenAI's message of a refusal | `... on images per min (IPM): Limit 5, Used 5, Requested 1.` |

    What stands higher in this table is believed first. A lower place adds to a name what is still unknown of it, unless
    its limit or window is another: then it speaks of something else, and figures of both would not fit together.

    Args:
        headers: the answer's header fields, by names whose case doesn't matter; a plain dict has lower-case names.
        message: the error's message; "" for an answer that is no refusal.
        now: the local clock in Unix seconds, used for moments where the answer has no `Date` of its own.

    Returns:
        One fact for each name, in the order of names. A limit that is -1, 0 or no number is None; what says neither
        how much may be used nor how much is left is not among them.

    Source: draft-ietf-httpapi-ratelimit-headers; for OpenAI https://platform.openai.com/docs/guides/rate-limits, and
    messages that its users quote.

    Example:
        >>> parse_limits({"x-ratelimit-limit-images": "5", "x-ratelimit-reset-images": "12s"}, now=0.0)
        (LimitFact(name='images', limit=5.0, remaining=None, resets_in=12.0, window=None, resolution=0.001),)
    """
    names = "\n".join(headers).lower()
    facts: dict[str, LimitFact] = {}
    if "ratelimit" in names or "rate-limit" in names:
        for fact in _read_headers(headers, names, now=now):
            _add(facts, fact)
    if message:
        for fact in _read_message(message):
            _add(facts, fact)
    return tuple(fact for _, fact in sorted(facts.items()) if fact.limit is not None or fact.remaining is not None)


def _add(facts: dict[str, LimitFact], fact: LimitFact) -> None:
    known = facts.get(fact.name)
    if known is None:
        facts[fact.name] = fact
    elif _agree(known.limit, fact.limit) and _agree(known.window, fact.window):
        timed = fact if known.resets_in is None else known
        facts[fact.name] = LimitFact(
            name=fact.name,
            limit=fact.limit if known.limit is None else known.limit,
            remaining=fact.remaining if known.remaining is None else known.remaining,
            resets_in=timed.resets_in,
            window=fact.window if known.window is None else known.window,
            resolution=timed.resolution,
        )


def _agree(one: float | None, other: float | None) -> bool:
    return one is None or other is None or one == other


def _read_headers(headers: Mapping[str, str], names: str, *, now: float) -> Iterator[LimitFact]:
    date = headers.get("date", "")
    figures: dict[tuple[int, str], dict[str, str]] = {}
    for match in _FIELD.finditer(names):
        # The last group that took part tells which of the forms it is.
        form = match.lastindex or 0
        figures.setdefault((form, match[form]), {})[match[form - 1]] = headers.get(match[0], "")
    for form, name in sorted(figures):
        texts = figures[form, name]
        texts["window"] = _find_window(texts.get("limit", ""))
        yield _read_fact(name or "requests", texts, date=date, now=now)
    current, policy = headers.get("ratelimit", ""), headers.get("ratelimit-policy", "")
    if current or policy:
        yield from _read_structured(current, policy, date=date, now=now)


def _find_window(limit: str) -> str:
    # Of `100, 100;w=60, 5000;w=3600` the first is the limit in force; a quota of the same number says its window.
    quotas = _parse_members(limit) if ";" in limit else []
    windows = [quota.parameters.get("w", "") for quota in quotas if quota.key == quotas[0].key]
    return next(filter(None, windows), "")


def _read_structured(current: str, policy: str, *, date: str, now: float) -> Iterator[LimitFact]:
    members, policies = _parse_members(current), _parse_members(policy)
    # The dictionary of the earlier drafts; of a list, whose members have no value, nothing comes out.
    yield _read_fact("requests", {member.key: member.value for member in members}, date=date, now=now)
    units = {member.key: member.parameters.get("qu", "").lower() for member in policies}
    for member in (*members, *policies):
        unit = units.get(member.key, "")
        if _NO_RATE.search(unit):
            continue
        name = member.key
        texts = {_PARAMETERS[key]: value for key, value in member.parameters.items() if key in _PARAMETERS}
        if name in ("", "default"):
            name = "requests" if unit in ("", "request") else unit
        elif parse_number(name) is not None and not texts.keys() & {"limit", "remaining"}:
            # `100;w=60` of the earlier drafts, where a policy is its quota.
            name, texts["limit"] = "requests", name
        yield _read_fact(name, texts, date=date, now=now)


def _read_fact(name: str, texts: Mapping[str, str], *, date: str, now: float) -> LimitFact:
    reset = texts.get("reset")
    left = parse_time_left(reset, date=date, now=now) if reset else None
    return LimitFact(
        name=name,
        limit=_parse_figure(texts.get("limit", "")) or None,
        remaining=_parse_figure(texts.get("remaining", "")),
        resets_in=None if left is None else left.seconds,
        # The name may have it: "requests-per-minute", or "minute" alone as Kong writes.
        window=parse_number(texts.get("window", "")) or _WINDOWS.get(name.rpartition("-")[2]),
        resolution=0.0 if left is None else left.resolution,
    )


def _parse_figure(text: str) -> float | None:
    return parse_number(text.partition(",")[0].partition(";")[0])


@attrs.frozen
class _Member:
    """A member of a list or dictionary of structured fields.

    Quotes are gone from it, other types are as they are written. Source: RFC 9651, 3.1 and 3.2.
    """

    key: str
    """In a list, the item itself."""
    value: str
    """What a dictionary has for the key; empty in a list."""
    parameters: dict[str, str] = attrs.field(factory=dict)


def _parse_members(text: str) -> list[_Member]:
    members: list[_Member] = []
    for separator, piece in _PIECE.findall(text):
        piece = piece.strip()
        key, _, value = (piece, "", "") if piece.startswith('"') else piece.partition("=")
        key, value = key.strip().strip('"').lower(), value.strip().strip('"')
        if separator == ";" and members:
            members[-1].parameters[key] = value
        elif piece:
            members.append(_Member(key, value))
    return members


def _read_message(message: str) -> Iterator[LimitFact]:
    _, *pieces = _LIMIT_IN_MESSAGE.split(message)
    for name, unit, rest in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        limit, used = _find_figure(_LIMIT, rest), _find_figure(_USED, rest)
        yield LimitFact(
            name=name.lower(),
            limit=limit or None,
            remaining=None if limit is None or used is None else max(0.0, limit - used),
            window=_WINDOWS[unit.lower()],
        )


def _find_figure(pattern: re.Pattern[str], text: str) -> float | None:
    match = pattern.search(text)
    return None if match is None else parse_number(match[1].replace(",", ""))


def _find_in_body(body: object) -> list[object]:
    if not isinstance(body, dict):
        return []
    tree = cast("dict[str, object]", body)
    inner = tree.get("error")
    places = [tree, cast("dict[str, object]", inner)] if isinstance(inner, dict) else [tree]
    return [place["retry_after"] for place in places if "retry_after" in place]


_AT_ONCE: Final = re.compile(r"concurren|simultaneous|in parallel|at the same time", re.IGNORECASE)


def speaks_of_concurrency(*texts: str | None) -> bool:
    """Tell whether a refusal is about how many requests are under way at once, by what it says.

    Example:
        >>> speaks_of_concurrency("Too many concurrent requests", None)
        True
    """
    return any(text is not None and _AT_ONCE.search(text) is not None for text in texts)
