"""Rate limits of the kinds that servers of this API have: bucket, fixed window, sliding window, cap on concurrency.

Pure: `now` is an argument, in seconds of any clock that never runs backwards. A request is let in by all of its budgets
or by none; what is refused costs nothing. How it looks in headers is here too, since a limit and its headers are one
thing; it knows nothing of who asks but a key.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, Literal, Protocol, cast, get_args

import attrs

from aiai_async._facts import RateLimits
from aiai_async.server.refusals import Refusal

LimitStyle = Literal["bucket", "fixed", "sliding", "hidden", "hidden-fixed", "hidden-sliding"]
"""How limits are enforced; the hidden ones show in no header, not even Retry-After. `hidden` is a hidden bucket."""

MINUTE: Final = 60.0
# Any key is accepted by default, so anybody may make up keys: the least recently used are forgotten beyond this.
_MOST_KEYS: Final = 10_000
# Refills are sums of floats: a budget that is short by this little is not short.
_TINY: Final = 1e-9
# When the next place gets free isn't known; a second is what gateways say.
_WAIT_FOR_A_PLACE: Final = 1.0


class Budget(Protocol):
    """So much a minute, by some rule of when it comes back."""

    limit: float

    def available(self, now: float) -> float:
        """Give how much could be taken."""
        ...

    def resets_in(self, now: float) -> float:
        """Give the seconds until all of it is back."""
        ...

    def wait_for(self, cost: float, now: float) -> float:
        """Give the seconds until `cost` could be taken: 0 where it can be now, infinity where it never can."""
        ...

    def take(self, cost: float, now: float) -> None:
        """Take `cost`; to be called only where `wait_for` gave 0."""
        ...


class Bucket:
    """Holds a minute's worth, and fills up evenly."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        # Less than one a minute still lets one go at a time.
        self._capacity = max(limit, 1.0)
        self._level = self._capacity
        self._stamped_at = -math.inf

    def available(self, now: float) -> float:
        if self._stamped_at == -math.inf:
            return self._capacity
        return min(self._capacity, self._level + (now - self._stamped_at) * self.limit / MINUTE)

    def resets_in(self, now: float) -> float:
        return (self._capacity - self.available(now)) * MINUTE / self.limit

    def wait_for(self, cost: float, now: float) -> float:
        if cost > self._capacity:
            return math.inf
        missing = cost - self.available(now)
        return missing * MINUTE / self.limit if missing > _TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        self._level = max(0.0, self.available(now) - cost)
        self._stamped_at = now


class FixedWindow:
    """Lets a minute's worth go in each window; a window opens with the first request after the last one ended."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._used = 0.0
        self._ends_at = -math.inf

    def available(self, now: float) -> float:
        return max(1.0, self.limit) - (self._used if now < self._ends_at else 0.0)

    def resets_in(self, now: float) -> float:
        return max(0.0, self._ends_at - now)

    def wait_for(self, cost: float, now: float) -> float:
        if cost > max(1.0, self.limit):
            return math.inf
        return self.resets_in(now) if cost > self.available(now) + _TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        if now >= self._ends_at:
            self._used, self._ends_at = 0.0, now + MINUTE
        self._used += cost


class SlidingWindow:
    """Lets a minute's worth go in any minute, wherever it begins."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._used = 0.0
        self._log: deque[tuple[float, float]] = deque()

    def available(self, now: float) -> float:
        while self._log and self._log[0][0] + MINUTE <= now:
            self._used -= self._log.popleft()[1]
        return max(1.0, self.limit) - self._used

    def resets_in(self, now: float) -> float:
        self.available(now)
        return self._log[-1][0] + MINUTE - now if self._log else 0.0

    def wait_for(self, cost: float, now: float) -> float:
        if cost > max(1.0, self.limit):
            return math.inf
        missing = cost - self.available(now)
        for taken_at, taken in self._log:
            if missing <= _TINY:
                break
            missing -= taken
            if missing <= _TINY:
                return taken_at + MINUTE - now
        return 0.0

    def take(self, cost: float, now: float) -> None:
        self._log.append((now, cost))
        self._used += cost


_BUDGETS: Final[Mapping[str, type[Bucket] | type[FixedWindow] | type[SlidingWindow]]] = {
    "bucket": Bucket,
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
}
_IN_WORDS: Final = {
    "requests": "requests per min (RPM)",
    "images": "images per min (IPM)",
    "tokens": "tokens per min (TPM)",
}


@attrs.frozen(kw_only=True)
class Cost:
    """What one request takes of each budget."""

    images: int
    tokens: int
    model: str
    """For the message of a refusal."""

    def of(self, dimension: str) -> int:
        """Give the part that is taken of one dimension."""
        return {"requests": 1, "images": self.images, "tokens": self.tokens}[dimension]


_OTHER_NAMES: Final = {"window": "fixed", "hidden-window": "hidden-fixed", "hidden-bucket": "hidden"}


def parse_limit_style(text: str) -> LimitStyle:
    """Read a style; `_` and a following "window" don't matter.

    Raises:
        ValueError: there is no such style.

    Example:
        >>> parse_limit_style("fixed_window")
        'fixed'
    """
    style = text.strip().lower().replace("_", "-").replace(" ", "-")
    style = _OTHER_NAMES.get(style, style.removesuffix("-window"))
    if style not in get_args(LimitStyle):
        raise ValueError(f"limit_style: {text!r} is not one of {', '.join(get_args(LimitStyle))}")
    return cast(LimitStyle, style)


class KeyLimits:
    """The budgets of one key, and how many of its requests are under way."""

    def __init__(self, limits: RateLimits, style: LimitStyle) -> None:
        self._is_hidden = style.startswith("hidden")
        shape = style.removeprefix("hidden").removeprefix("-") or "bucket"
        self._budgets: dict[str, Budget] = {}
        self._concurrency = limits.concurrency
        self.in_flight = 0
        kind = _BUDGETS[shape]
        for dimension in _IN_WORDS:
            limit: float | None = getattr(limits, f"{dimension}_per_minute")
            if limit is not None:
                self._budgets[dimension] = kind(limit)

    def admit(self, cost: Cost, now: float) -> None:
        """Take what a request costs and count it as under way until `release`.

        Raises:
            Refusal: a budget is short, or too many requests are under way; nothing was taken.
        """
        if self._concurrency is not None and self.in_flight >= self._concurrency:
            message = (
                f"Too many concurrent requests for {cost.model}: Limit {self._concurrency}, In flight {self.in_flight}."
            )
            raise self._refuse(message, "concurrency", _WAIT_FOR_A_PLACE, now)
        waits = {name: budget.wait_for(cost.of(name), now) for name, budget in self._budgets.items()}
        worst = max(waits, key=waits.__getitem__, default=None)
        if worst is not None and waits[worst] > 0:
            raise self._refuse_for(worst, cost, waits[worst], now)
        for name, budget in self._budgets.items():
            budget.take(cost.of(name), now)
        self.in_flight += 1

    def release(self) -> None:
        """Give back the place of a request that was let in."""
        self.in_flight -= 1

    def headers(self, now: float) -> dict[str, str]:
        """Give the header fields that tell what is left; none where the limits are hidden."""
        if self._is_hidden:
            return {}
        fields: dict[str, str] = {}
        for name, budget in self._budgets.items():
            fields[f"x-ratelimit-limit-{name}"] = f"{budget.limit:.15g}"
            fields[f"x-ratelimit-remaining-{name}"] = str(max(0, math.floor(budget.available(now) + _TINY)))
            fields[f"x-ratelimit-reset-{name}"] = format_duration(budget.resets_in(now))
        return fields

    def _refuse_for(self, name: str, cost: Cost, wait: float, now: float) -> Refusal:
        budget = self._budgets[name]
        used = max(0, math.ceil(budget.limit - budget.available(now) - _TINY))
        figures = (
            f"for {cost.model} on {_IN_WORDS[name]}: Limit {budget.limit:.15g}, Used {used}, Requested {cost.of(name)}."
        )
        if math.isinf(wait):
            return self._refuse(f"Request too large {figures} Ask for fewer at once.", name, None, now)
        return self._refuse(f"Rate limit reached {figures}", name, wait, now)

    def _refuse(self, message: str, kind: str, wait: float | None, now: float) -> Refusal:
        headers = self.headers(now)
        if wait is not None and not self._is_hidden:
            # Rounded up: who comes back a millisecond early is refused again.
            headers |= {"Retry-After": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}
            message = f"{message} Please try again in {format_duration(wait)}."
        return Refusal(429, message, type=kind, code="rate_limit_exceeded", headers=headers)


class Limiter:
    """The limits of every key."""

    def __init__(self, limits: RateLimits | None, style: LimitStyle) -> None:
        self._limits = limits or RateLimits()
        self._style: Final = style
        self._keys: OrderedDict[str, KeyLimits] = OrderedDict()

    def of(self, key: str) -> KeyLimits:
        """Give the limits of one key; each key has its own."""
        found = self._keys.get(key)
        if found is None:
            found = self._keys[key] = KeyLimits(self._limits, self._style)
            if len(self._keys) > _MOST_KEYS:
                self._keys.popitem(last=False)
        self._keys.move_to_end(key)
        return found


def format_duration(seconds: float) -> str:
    """Write a length of time as Go does, which is how OpenAI's headers have it; rounded up to a millisecond.

    Example:
        >>> [format_duration(s) for s in (0, 0.12, 1, 58.891, 360, 3725.5)]
        ['0s', '120ms', '1s', '58.891s', '6m0s', '1h2m5.5s']
    """
    milliseconds = math.ceil(round(seconds * 1000, 3))
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.15g}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text
