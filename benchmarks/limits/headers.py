"""What a server says of its limits, written as the header fields and bodies that real ones send.

| style | limits | how long to wait |
| --- | --- | --- |
| `full` | `x-ratelimit-*` fields, resets in milliseconds | `retry-after-ms` and `retry-after` |
| `whole` | `x-ratelimit-*` fields, resets in whole seconds | `retry-after` |
| `ietf` | `RateLimit` and `RateLimit-Policy`, whole seconds | `retry-after` |
| `retry-after` | nothing | `retry-after-ms` and `retry-after` |
| `retry-after, whole` | nothing | `retry-after` |
| `hidden` | nothing | nothing |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import attrs

Style = Literal["full", "whole", "ietf", "retry-after", "retry-after, whole", "hidden"]

_IN_MILLISECONDS: Final = ("full", "retry-after")


@attrs.frozen(kw_only=True)
class Figure:
    """How one limit stands."""

    name: str
    limit: float
    remaining: float
    resets_in: float
    window: float


def write_limits(figures: Sequence[Figure], style: Style) -> dict[str, str]:
    """Write how limits stand.

    Example:
        >>> figure = Figure(name="images", limit=5.0, remaining=2.0, resets_in=30.25, window=60.0)
        >>> write_limits([figure], "ietf")
        {'ratelimit': '"images";r=2;t=31', 'ratelimit-policy': '"images";q=5;w=60'}
    """
    fields: dict[str, str] = {}
    if style in ("full", "whole"):
        for figure in figures:
            reset = f"{math.ceil(figure.resets_in * 1000) / 1000:g}s" if style == "full" else _up(figure.resets_in)
            fields[f"x-ratelimit-limit-{figure.name}"] = f"{figure.limit:.0f}"
            fields[f"x-ratelimit-remaining-{figure.name}"] = f"{figure.remaining:.0f}"
            fields[f"x-ratelimit-reset-{figure.name}"] = reset
    elif style == "ietf" and figures:
        fields["ratelimit"] = ", ".join(
            f'"{figure.name}";r={figure.remaining:.0f};t={_up(figure.resets_in)}' for figure in figures
        )
        fields["ratelimit-policy"] = ", ".join(
            f'"{figure.name}";q={figure.limit:.0f};w={figure.window:.0f}' for figure in figures
        )
    return fields


def write_wait(seconds: float | None, style: Style) -> dict[str, str]:
    """Write how long a refused request should wait; None: that isn't known."""
    if seconds is None or style == "hidden":
        return {}
    fields = {"retry-after": _up(seconds)}
    if style in _IN_MILLISECONDS:
        fields["retry-after-ms"] = _up(seconds * 1000)
    return fields


def error_of(status: int, *, is_quota: bool = False) -> dict[str, object]:
    """Give the error in the body of an answer that is no 2xx; it speaks of no figures."""
    code: str | None
    if is_quota:
        message, kind, code = "You exceeded your current quota, please check your plan.", *2 * ("insufficient_quota",)
    elif status == 429:
        message, kind, code = "Too many requests. Please slow down.", "requests", "rate_limit_exceeded"
    else:
        message, kind, code = "The server is overloaded.", "server_error", None
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _up(number: float) -> str:
    return str(math.ceil(number))
