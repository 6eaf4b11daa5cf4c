"""What went over the network in one run, and the figures that are made of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import attrs

from .servers import Request

Kind = Literal["sent", "admitted", "refused", "answered"]


@attrs.define
class Record:
    """When what happened, in seconds since the beginning, in this order."""

    requests: Sequence[Request]
    events: list[tuple[float, Kind]] = attrs.field(factory=list, init=False)
    """"refused": the 429 was there; an answer of another status is none of these."""
    admitted_at: dict[int, float] = attrs.field(factory=dict, init=False)
    """When each request was let in, by its place in the order of asking."""
    failed_at: list[float] = attrs.field(factory=list, init=False)
    """When requests were given up."""
    quota_at: float = math.inf
    """When an answer said first that the account is empty."""
    sent: int = attrs.field(default=0, init=False)
    refused: int = attrs.field(default=0, init=False)
    makespan: float = attrs.field(default=0.0, init=False)
    """When the last image was there."""

    def note(self, kind: Kind, now: float) -> None:
        """Note an event."""
        self.events.append((now, kind))
        if kind == "sent":
            self.sent += 1
        elif kind == "refused":
            self.refused += 1
        elif kind == "answered":
            self.makespan = now

    def admit(self, index: int, now: float) -> None:
        """Note that a request was let in."""
        self.note("admitted", now)
        self.admitted_at[index] = now

    def refuse(self, *, status: int, is_quota: bool, now: float) -> None:
        """Note that a refusal was there."""
        if is_quota:
            self.quota_at = min(self.quota_at, now)
        elif status == 429:
            self.note("refused", now)

    def fail(self, now: float, count: int = 1) -> None:
        """Note that requests were given up."""
        self.failed_at += [now] * count

    @property
    def admitted(self) -> int:
        """How many requests were let in."""
        return len(self.admitted_at)

    @property
    def failures(self) -> int:
        """How many requests were given up."""
        return len(self.failed_at)

    @property
    def refused_share(self) -> float:
        """The 429s, as a part of what was sent."""
        return self.refused / max(1, self.sent)

    @property
    def quota_lag(self) -> float:
        """Seconds from the first answer that the account is empty to the last failure."""
        return max(self.failed_at, default=math.inf) - self.quota_at

    @property
    def longest_unfair_wait(self) -> float:
        """Seconds by which one that was asked for later got in before an earlier one of its model, at most."""
        longest = 0.0
        first_later: dict[str, float] = {}
        for index in range(len(self.requests) - 1, -1, -1):
            at = self.admitted_at.get(index)
            if at is not None:
                model = self.requests[index].model
                longest = max(longest, at - first_later.get(model, math.inf))
                first_later[model] = min(at, first_later.get(model, math.inf))
        return longest
