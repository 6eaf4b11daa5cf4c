"""What a job came to, in figures and in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from aiai_async.bulk.items import Reason, State
from aiai_async.bulk.limits import counts_images
from aiai_async.bulk.records import KnownCost, RunRow
from aiai_async.bulk.report import words

_REASONS: Final[Mapping[Reason, str]] = {
    Reason.FINISHED: "took up every item",
    Reason.BUDGET: "was stopped by its budget",
    Reason.QUOTA: "was stopped: no money or quota is left on the key",
    Reason.REFUSED_KEY: "was stopped: the key was not accepted",
    Reason.DISK: "was stopped: the folder could not be written",
    Reason.CONFIGURATION: "was stopped by a setting that can't be used",
    Reason.STOPPED: "was stopped by hand, what was in flight finished",
    Reason.ABORTED: "was cut off by hand",
}


@attrs.frozen(kw_only=True)
class Limit:
    """What was learned of a limit."""

    name: str
    """What it is called on the page: with the model whose requests it holds back."""
    limit: float
    window: float | None
    """Seconds; None where it is of requests at once."""
    source: str | None
    counts: str
    """What it counts, such as images or requests."""
    model: str | None

    @property
    def per_minute(self) -> float | None:
        """The same by the minute."""
        return None if not self.window else self.limit * 60 / self.window


@attrs.frozen(kw_only=True)
class Summary:
    """The figures of a job."""

    name: str
    """Of its folder."""
    made_at: float
    """When they were taken, in Unix seconds."""
    is_under_way: bool
    counts: Mapping[State, int]
    images: int
    """Images of the items that are done."""
    size_bytes: int
    """Of their files."""
    cost: KnownCost
    more_cost: float
    """US dollars that may have been spent besides, by estimate: where a cost isn't known, where there is no image, for
    what was asked for again."""
    priced_on: Sequence[str] = ()
    """The days of the prices by which that is said, those that are known."""
    unpriced: int = 0
    """Items that may have been billed, and of which nothing says how much."""
    runs: Sequence[RunRow]
    limits: Sequence[Limit]
    running_time: float
    """Seconds, of all runs."""
    latencies: Sequence[tuple[int, float]] = ()
    """Percents, and within how many seconds so many answers came."""
    repeats: int = 0
    """Attempts that were not the first of their request."""
    notes: Sequence[str] = ()
    """What has to be said of the page itself."""

    @property
    def total(self) -> int:
        """All items."""
        return sum(self.counts.values())

    @property
    def done(self) -> int:
        """Those whose images are here."""
        return self.counts.get(State.DONE, 0)

    @property
    def images_per_minute(self) -> float | None:
        """How fast the images came, over all the time that the job ran; None where nothing is known."""
        return self.images * 60 / self.running_time if self.running_time > 0 and self.images else None

    @property
    def refusals(self) -> int:
        """Answers with status 429."""
        return sum(run.refusals for run in self.runs)

    @property
    def waited(self) -> float:
        """Seconds in which requests were ready and none was let go."""
        return sum(run.waited for run in self.runs)

    def describe_state(self) -> str:
        """Say in a sentence where the job stands."""
        done = f"{self.done:,} of {words.count(self.total, 'item')} done"
        if self.is_under_way:
            return f"Under way: {done} when this page was made."
        if self.done == self.total:
            return f"Finished: {done}."
        last = self.runs[-1] if self.runs else None
        if last is None:
            return f"Not finished: {done}."
        return f"Not finished: {done}. The last run {describe_end(last, is_under_way=False)}."


def describe_end(run: RunRow, *, is_under_way: bool) -> str:
    """Say how a run ended.

    Example:
        >>> describe_end(RunRow(run=1, reason="budget", ended_at=1.0), is_under_way=False)
        'was stopped by its budget'
    """
    if run.ended_at is None:
        return "is under way" if is_under_way else "was cut off, for instance by a crash"
    try:
        return _REASONS[Reason(run.reason)]
    except ValueError:
        return f"ended: {run.reason}" if run.reason else "ended"


def to_limits(found: Mapping[str, Mapping[str, object]]) -> list[Limit]:
    """Read limits as the journal keeps them; one without a number is left out."""
    limits: list[Limit] = []
    for name, facts in found.items():
        limit, window, source = facts.get("limit"), facts.get("window"), facts.get("source")
        if not _is_number(limit):
            continue
        limits.append(
            Limit(
                name=name,
                limit=float(limit),  # type: ignore[arg-type] # a number
                window=float(window) if _is_number(window) else None,  # type: ignore[arg-type] # a number
                source=None if source is None else str(source),
                # A name with the model's in it would take requests of gpt-image-1 for images.
                counts=str(facts.get("name") or name),
                model=None if facts.get("model") is None else str(facts["model"]),
            )
        )
    return limits


def find_limit(limits: Sequence[Limit]) -> float | None:
    """Give how many images per minute were allowed: the sum of those of several models; None where that isn't known."""
    rates: dict[str, float] = {}
    for limit in limits:
        if counts_images(limit.counts) and (rate := limit.per_minute):
            # Of several windows of a model the narrowest holds.
            key = limit.model or limit.name
            rates[key] = min(rate, rates.get(key, math.inf))
    return sum(rates.values()) if rates else None


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0
