"""A world: a server, a job, and what is to be reached there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import attrs

from aiai_async._facts import RateLimits

from .servers import Request, Server

Measure = Literal["makespan", "share", "quota"]


@attrs.frozen(kw_only=True)
class World:
    """A server, a job, and bounds."""

    row: str
    variant: str
    make: Callable[[], Server]
    """Makes the server, new for each run."""
    latency: float
    """Median of how long those take that are let in, in seconds."""
    jitter: float = 0.0
    """Most that one request takes longer than another to arrive, in seconds."""
    requests: Sequence[Request]
    ratio: float
    """Bound of the makespan, as a multiple of the least possible. Of a share: this part of it below and above 1."""
    slack: float = 0.0
    """So many seconds come on top."""
    refused: float
    """Bound of the 429s, as a part of what is sent."""
    refused_extra: int = 0
    """Or so many of them, and 2.5 % besides; 0: there is no such other bound."""
    declared: RateLimits | None = None
    """What the client is told."""
    measure: Measure = "makespan"
    """What is looked at: the makespan, what was got of the fair share, or how soon all fail."""
    is_patient: bool = False
    """Whether the client waits as long as it takes."""
    max_retries: int = 2
    is_long: bool = False
    """Whether it is too long for the whole client, so that only its core takes part."""
    is_tuned: bool = True
    """Whether it was looked at while the scheduler was tuned."""

    @property
    def name(self) -> str:
        """Such as `hidden / window 60, phase 0.1 / 2 s`."""
        return f"{self.row} / {self.variant} / {self.latency:g} s"
