"""One run: a request, what has come of it so far, and how the page is told. Pure: `now` is an argument.

And the runs that are remembered: as many, the oldest forgotten first, but none that is under way.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Literal

import attrs

from aiai_async import AIAIError, Cost, ImageRequest, ImagesResponse
from aiai_async._facts import Usage

MOST_RUNS: Final = 100
"""Runs that are remembered."""

# What the server chose where the request left it open.
_SETTINGS: Final = ("size", "quality", "background", "output_format")

Status = Literal["running", "done", "failed", "cut"]


@attrs.frozen(kw_only=True)
class Step:
    """One picture on the way to a final one, or that itself."""

    name: str
    """What it is asked for by."""
    partial: int | None
    """Which of the partial pictures it is, from 0; None: the final one."""
    elapsed: float
    """Seconds from the start of the run to its arrival."""
    media_type: str | None
    size_bytes: int


@attrs.frozen(kw_only=True)
class Failure:
    """What went wrong, in words."""

    type: str
    message: str
    may_have_been_billed: bool = False
    link: str | None = None
    """To an image that was made and can't be fetched."""


def describe_error(error: Exception) -> Failure:
    """Put an error into its own words; one that this package didn't foresee is said to be that.

    Example:
        >>> describe_error(AIAIError("no such thing")).message
        'no such thing'
    """
    kind = type(error).__name__
    if isinstance(error, AIAIError):
        return Failure(type=kind, message=str(error), may_have_been_billed=error.may_have_been_billed)
    # It comes from somewhere between: whether anything was sent isn't known.
    return Failure(type=kind, message=f"unexpected {kind}: {error}", may_have_been_billed=True)


class Run:
    """What is known of one run.

    Args:
        id: its name, which nobody can guess.
        number: its place among the runs, from 1.
        tab: the tab that began it.
        request: what is asked for.
        streams: whether it is asked for as a stream.
        now: seconds of the clock that the other times are of.
        began_at: Unix seconds.
    """

    def __init__(
        self, *, id: str, number: int, tab: str, request: ImageRequest, streams: bool, now: float, began_at: float
    ) -> None:
        self.id: Final = id
        self.number: Final = number
        self.tab: Final = tab
        self.request: Final = request
        self.streams: Final = streams
        self._started_at: Final = now
        self._began_at: Final = began_at
        self.status: Status = "running"
        self.is_waiting = True
        """Whether no attempt is under way: it waits to be let go, for the first time or again."""
        self.is_answered = False
        """Whether the server has begun to answer."""
        self.steps: Final[list[list[Step]]] = [[] for _ in range(request.n or 1)]
        """The pictures that came: of each image those on the way to it, in order, the final one last."""
        self._dropped: Final[set[str]] = set()
        self._seen: Final[dict[int | None, int]] = {}
        self._failures: Final[list[Failure]] = []
        self._elapsed: float | None = None
        self._answer: dict[str, Any] = _describe_answer(None)

    @property
    def is_running(self) -> bool:
        """Whether it is under way."""
        return self.status == "running"

    @property
    def names(self) -> Iterator[str]:
        """The names of its pictures."""
        return (step.name for steps in self.steps for step in steps)

    def add(self, name: str, *, partial: int | None, media_type: str | None, size_bytes: int, now: float) -> None:
        """Note that a picture came.

        The wire doesn't say which of several images an event shows. Each step shows every one of them before the next
        comes, so it is told by counting.
        """
        place = self._seen.get(partial, 0)
        self._seen[partial] = place + 1
        step = Step(
            name=name, partial=partial, elapsed=now - self._started_at, media_type=media_type, size_bytes=size_bytes
        )
        self.steps[place % len(self.steps)].append(step)

    def forget(self, name: str) -> bool:
        """Note that a picture is kept no longer; tell whether it is one of this run."""
        is_mine = name in set(self.names)
        if is_mine:
            self._dropped.add(name)
        return is_mine

    def fail(self, failure: Failure) -> None:
        """Note what went wrong with it, or with one of its images."""
        self._failures.append(failure)

    def finish(self, status: Status, *, now: float, response: ImagesResponse | None = None) -> None:
        """Note how it ended. The answer itself is not kept: its pictures are the gallery's, which bounds them."""
        self.status = status
        self._elapsed = now - self._started_at
        self._answer = _describe_answer(response)

    def to_plain(self, now: float) -> dict[str, Any]:
        """Give all of it for the page; Any: it is JSON. A link's or error's text is no markup to whoever shows it."""
        return {
            "id": self.id,
            "number": self.number,
            "tab": self.tab,
            "request": self.request.to_fields(),
            "streams": self.streams,
            "status": self.status,
            "is_answered": self.is_answered,
            "began_at": self._began_at,
            "elapsed": now - self._started_at if self._elapsed is None else self._elapsed,
            "images": [[self._step_to_plain(step) for step in steps] for steps in self.steps],
            "failures": [attrs.asdict(failure) for failure in self._failures],
            **self._answer,
        }

    def _step_to_plain(self, step: Step) -> dict[str, Any]:
        return {**attrs.asdict(step), "is_dropped": step.name in self._dropped}


def _describe_answer(response: ImagesResponse | None) -> dict[str, Any]:
    http = None if response is None else response.http
    images = () if response is None else response.data
    return {
        "usage": None if response is None else _usage_to_plain(response.usage),
        "cost": None if response is None else cost_to_plain(response.cost),
        "settings": {name: value for name in _SETTINGS if (value := getattr(response, name, None)) is not None},
        "revised_prompt": next((image.revised_prompt for image in images if image.revised_prompt), None),
        "request_id": None if http is None else http.request_id,
        "attempts": None if http is None else http.attempts,
    }


def _usage_to_plain(usage: Usage | None) -> dict[str, int | None] | None:
    if usage is None:
        return None
    return {name: getattr(usage, name) for name in ("total_tokens", "input_tokens", "output_tokens")}


def cost_to_plain(cost: Cost | None) -> dict[str, Any] | None:
    """Give what something cost as JSON; None where that isn't known. Any: it is JSON."""
    if cost is None:
        return None
    priced_on = None if cost.priced_on is None else cost.priced_on.isoformat()
    return {"usd": cost.usd, "source": cost.source, "priced_on": priced_on}


class History:
    """The runs that are remembered, in the order they began.

    Args:
        most: how many, None: `MOST_RUNS`; those under way are remembered in any case.
    """

    def __init__(self, *, most: int | None = None) -> None:
        self._most: Final = MOST_RUNS if most is None else most
        self._runs: Final[dict[str, Run]] = {}
        self.count = 0
        """How many there were in all."""

    def __iter__(self) -> Iterator[Run]:
        return iter(tuple(self._runs.values()))

    def get(self, id: str) -> Run | None:
        """Give a run; None where it is forgotten, or never was."""
        return self._runs.get(id)

    def add(self, run: Run) -> list[Run]:
        """Remember a run; give those that are forgotten for it."""
        self._runs[run.id] = run
        self.count += 1
        forgotten = [old for old in self if not old.is_running][: max(0, len(self._runs) - self._most)]
        for old in forgotten:
            del self._runs[old.id]
        return forgotten

    def remove(self, run: Run) -> None:
        """Forget a run."""
        self._runs.pop(run.id, None)

    def running(self, tab: str | None = None) -> list[Run]:
        """Give the runs under way: all, or those that a tab began."""
        return [run for run in self if run.is_running and tab in (None, run.tab)]
