"""Rate limits as servers enforce them, simulated: what is let in, what is refused, and what is known of it.

Nothing here is shared with the client, nor with the local server. `now` is an argument, in seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Final, Protocol

import attrs

from .headers import Figure, Style

TINY: Final = 1e-9


@attrs.frozen(kw_only=True)
class Request:
    """What one request costs."""

    images: int = 1
    tokens: float = 0.0
    """In truth; 0: no limit counts them."""
    quality: str | None = None
    """As it is asked for; a client guesses the tokens by it."""
    estimate: float = 0.0
    """What a client guesses them to be."""
    model: str = "gpt-image-1"

    def of(self, rule: Rule) -> float:
        """Give what it costs by one rule."""
        if rule.model is not None and rule.model != self.model:
            return 0.0
        return {"images": float(self.images), "tokens": self.tokens}.get(rule.name, 1.0)


class Rule(Protocol):
    """One limit."""

    limit: float
    per: float
    """How much, in so many seconds."""
    name: str
    """What it counts: requests, images or tokens."""
    model: str | None
    """The only model that it counts; None: all."""

    def wait(self, cost: float, now: float) -> float:
        """Give the seconds until `cost` would be let in; 0: now."""
        ...

    def take(self, cost: float, now: float) -> None:
        """Take it."""
        ...

    def punish(self, cost: float, now: float) -> None:
        """Count a request that was refused."""
        ...

    def figure(self, now: float) -> Figure:
        """Say how it stands."""
        ...

    def change(self, factor: float, now: float) -> None:
        """Make the limit so many times what it was."""
        ...


@attrs.define
class Bucket:
    """Fills evenly by `limit` in `per` seconds; holds `burst`, which is the whole limit where it is None."""

    limit: float
    name: str = attrs.field(default="requests", kw_only=True)
    per: float = attrs.field(default=60.0, kw_only=True)
    model: str | None = attrs.field(default=None, kw_only=True)
    burst: float | None = attrs.field(default=None, kw_only=True)
    _level: float = attrs.field(init=False)
    _at: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._level = self._capacity

    def wait(self, cost: float, now: float) -> float:
        """See `Rule`."""
        self._fill(now)
        missing = min(cost, self._capacity) - self._level
        return missing / self._rate if missing > TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        """See `Rule`."""
        self._fill(now)
        self._level -= cost

    def punish(self, cost: float, now: float) -> None:
        """See `Rule`. It doesn't fall below empty."""
        self._fill(now)
        self._level = max(0.0, self._level - cost)

    def figure(self, now: float) -> Figure:
        """See `Rule`."""
        self._fill(now)
        left = max(0.0, math.floor(self._level + TINY))
        full_in = (self._capacity - self._level) / self._rate
        return Figure(name=self.name, limit=self.limit, remaining=left, resets_in=full_in, window=self.per)

    def change(self, factor: float, now: float) -> None:
        """See `Rule`."""
        self._fill(now)
        self.limit *= factor
        if self.burst is not None:
            self.burst = max(1.0, self.burst * factor)
        self._level = min(self._level, self._capacity)

    @property
    def _capacity(self) -> float:
        return self.limit if self.burst is None else self.burst

    @property
    def _rate(self) -> float:
        return self.limit / self.per

    def _fill(self, now: float) -> None:
        self._level = min(self._capacity, self._level + (now - self._at) * self._rate)
        self._at = now


@attrs.define
class Window:
    """So much in each window of a grid that began `phase` seconds before 0."""

    limit: float
    name: str = attrs.field(default="requests", kw_only=True)
    per: float = attrs.field(default=60.0, kw_only=True)
    model: str | None = attrs.field(default=None, kw_only=True)
    phase: float = attrs.field(default=0.0, kw_only=True)
    _used: float = attrs.field(default=0.0, init=False)
    _index: int = attrs.field(default=-1, init=False)

    def wait(self, cost: float, now: float) -> float:
        """See `Rule`. One that costs more than all of it is let into an empty one."""
        self._roll(now)
        return self._ends_in(now) if self._used + cost > self.limit + TINY and self._used > 0 else 0.0

    def take(self, cost: float, now: float) -> None:
        """See `Rule`."""
        self._roll(now)
        self._used += cost

    def punish(self, cost: float, now: float) -> None:
        """See `Rule`."""
        self.take(cost, now)

    def figure(self, now: float) -> Figure:
        """See `Rule`."""
        self._roll(now)
        left = max(0.0, math.floor(self.limit - self._used))
        return Figure(name=self.name, limit=self.limit, remaining=left, resets_in=self._ends_in(now), window=self.per)

    def change(self, factor: float, now: float) -> None:
        """See `Rule`."""
        self.limit *= factor

    def _roll(self, now: float) -> None:
        index = math.floor((now + self.phase) / self.per + TINY)
        if index != self._index:
            self._index, self._used = index, 0.0

    def _ends_in(self, now: float) -> float:
        end = (math.floor((now + self.phase) / self.per + TINY) + 1) * self.per - self.phase
        return max(0.0, end - now)


@attrs.define
class Sliding:
    """So much in any window: a log of what was let in."""

    limit: float
    name: str = attrs.field(default="requests", kw_only=True)
    per: float = attrs.field(default=60.0, kw_only=True)
    model: str | None = attrs.field(default=None, kw_only=True)
    _log: list[tuple[float, float]] = attrs.field(factory=lambda: [(-math.inf, 0.0)], init=False)
    """When something was taken, and how much until then, in all."""
    _first: int = attrs.field(default=0, init=False)
    """The last entry that doesn't count any more."""

    def wait(self, cost: float, now: float) -> float:
        """See `Rule`."""
        # Free again is what was taken until this has been reached.
        needed = self._log[-1][1] + min(cost, self.limit) - self.limit
        if needed <= self._forgotten(now) + TINY:
            return 0.0
        index = bisect_left(self._log, needed - TINY, key=_taken_until)
        return self._log[index][0] + self.per - now

    def take(self, cost: float, now: float) -> None:
        """See `Rule`."""
        self._log.append((now, self._log[-1][1] + cost))

    def punish(self, cost: float, now: float) -> None:
        """See `Rule`."""
        self.take(cost, now)

    def figure(self, now: float) -> Figure:
        """See `Rule`."""
        last_at, taken = self._log[-1]
        left = max(0.0, math.floor(self.limit - taken + self._forgotten(now)))
        whole_in = max(0.0, last_at + self.per - now)
        return Figure(name=self.name, limit=self.limit, remaining=left, resets_in=whole_in, window=self.per)

    def change(self, factor: float, now: float) -> None:
        """See `Rule`."""
        self.limit *= factor

    def _forgotten(self, now: float) -> float:
        """Give how much was taken before the window that ends now."""
        while self._first + 1 < len(self._log) and self._log[self._first + 1][0] + self.per <= now + TINY:
            self._first += 1
        return self._log[self._first][1]


def _taken_until(entry: tuple[float, float]) -> float:
    return entry[1]


@attrs.define
class BySecond(Window):
    """A limit for a minute that is enforced in each second; its figures speak of the minute."""

    per: float = attrs.field(default=1.0, kw_only=True)
    _minute: Window = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._minute = Window(self.limit, phase=20.0)
        self.limit /= 60.0

    def take(self, cost: float, now: float) -> None:
        """See `Rule`."""
        super().take(cost, now)
        self._minute.take(cost, now)

    def figure(self, now: float) -> Figure:
        """See `Rule`."""
        return self._minute.figure(now)


@attrs.frozen(kw_only=True)
class Verdict:
    """What a server does with a request."""

    status: int
    is_quota: bool = False
    """Whether it is refused since the account is empty."""
    figures: tuple[Figure, ...] = ()
    wait: float | None = None
    """Exact seconds until it would be let in; None where that isn't known."""


@attrs.define(kw_only=True)
class Server:
    """Rules that all have to agree, and what else befalls a request."""

    rules: list[Rule]
    style: Style = "full"
    """How it speaks of its limits."""
    stamp: str = "admission"
    """Whether figures are as of "admission" or of the "answer"."""
    counts_refusals: bool = False
    cap: int | None = None
    """Most requests at once."""
    change_at: int | None = None
    """After how many requests were let in the limits change."""
    change_factor: float = 1.0
    outage: tuple[float, float] | None = None
    """From when to when it answers 503."""
    outage_wait: float | None = None
    """The Retry-After of those."""
    lie: str | None = None
    """The Retry-After that is said, whatever is true."""
    quota: int | None = None
    """How many requests the account pays for."""
    quota_status: int = 429
    other_rate: float = 0.0
    """Requests a second of another program on the same key, which doesn't try again what is refused."""
    in_flight: int = attrs.field(default=0, init=False)
    admitted: int = attrs.field(default=0, init=False)
    others_admitted: int = attrs.field(default=0, init=False)
    others_refused: int = attrs.field(default=0, init=False)
    _others_at: float = attrs.field(default=0.0, init=False)

    def arrive(self, request: Request, now: float) -> Verdict:
        """Let a request in, or not."""
        self.let_others(now)
        if self.is_out(now):
            return Verdict(status=503, wait=self.outage_wait)
        if self.quota is not None and self.admitted >= self.quota:
            return Verdict(status=self.quota_status, is_quota=True)
        if self.cap is not None and self.in_flight >= self.cap:
            return Verdict(status=429)
        wait = self.wait(request, now)
        if wait > 0:
            if self.counts_refusals:
                for rule in self.rules:
                    rule.punish(request.of(rule), now)
                wait = self.wait(request, now)
            return Verdict(status=429, figures=self.figures(request.model, now), wait=wait)
        for rule in self.rules:
            rule.take(request.of(rule), now)
        self.admitted += 1
        self.in_flight += 1
        if self.change_at is not None and self.admitted == self.change_at:
            for rule in self.rules:
                rule.change(self.change_factor, now)
        return Verdict(status=200, figures=self.figures(request.model, now))

    def leave(self) -> None:
        """Note that a request that was let in is over."""
        self.in_flight -= 1

    def is_out(self, now: float) -> bool:
        """Tell whether there is an outage."""
        return self.outage is not None and self.outage[0] <= now < self.outage[1]

    def wait(self, request: Request, now: float) -> float:
        """Give the seconds until the rules would let a request in; 0: now."""
        return max((rule.wait(request.of(rule), now) for rule in self.rules), default=0.0)

    def figures(self, model: str, now: float) -> tuple[Figure, ...]:
        """Say how the limits stand that count a model."""
        return tuple(rule.figure(now) for rule in self.rules if rule.model in (None, model))

    def let_others(self, now: float) -> None:
        """Let the other program send what it has until now."""
        one = Request()
        while self.other_rate and self._others_at <= now:
            at = self._others_at
            if self.wait(one, at) > 0:
                self.others_refused += 1
            else:
                for rule in self.rules:
                    rule.take(one.of(rule), at)
                self.others_admitted += 1
            self._others_at += 1 / self.other_rate
