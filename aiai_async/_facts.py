"""Frozen values that several parts of the package share, one definition each.

They are here so that `wire` and `policy` never import each other, and so that the local server can speak of the same
things without the client's wire code. Nothing here decides anything.
"""

from __future__ import annotations

import datetime as dt
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn, overload

import attrs

_NAME: Final = operator.itemgetter(0)
_VALUE: Final = operator.itemgetter(1)


class Headers(Mapping[str, str]):
    """The header fields of one answer: a mapping that doesn't care for the case of names.

    A field that came several times is joined by a comma and a space (RFC 9110, 5.3).

    Example:
        >>> Headers([("Retry-After", "3")])["retry-after"]
        '3'
    """

    __slots__ = ("_names", "by_lower_name")

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        # Every answer makes one: in C, that is twice as fast.
        fields = tuple(fields)
        names = [*map(_NAME, fields)]
        self.by_lower_name: Final[dict[str, str]] = dict(zip(map(str.lower, names), map(_VALUE, fields), strict=True))
        """The values by lower-case name: for those who look for many that may not be there."""
        self._names: Final = names if len(self.by_lower_name) == len(names) else self._join(fields)
        """As the server wrote them, in its order."""

    def _join(self, fields: Iterable[tuple[str, str]]) -> list[str]:
        """Put the values of fields together that came several times, and give the first spelling of each name."""
        spellings: dict[str, str] = {}
        for name, value in fields:
            key = name.lower()
            self.by_lower_name[key] = f"{self.by_lower_name[key]}, {value}" if key in spellings else value
            spellings.setdefault(key, name)
        return list(spellings.values())

    def __getitem__(self, name: str) -> str:
        return self.by_lower_name[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self.by_lower_name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.by_lower_name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {name.lower(): value for name, value in self.items()} == {
            str(name).lower(): value for name, value in other.items()
        }

    def __hash__(self) -> int:
        return hash(frozenset(self.by_lower_name.items()))

    def __repr__(self) -> str:
        return f"Headers({list(self.items())!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # The return type is that of object.__reduce__, which is typed no more narrowly.
        return Headers, (list(self.items()),)


@attrs.frozen(kw_only=True)
class TokenDetails:
    """Tokens of one direction by kind."""

    text_tokens: int | None = None
    """Tokens of text; None where the server doesn't say."""
    image_tokens: int | None = None
    """Tokens of images; None where the server doesn't say."""
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False)
    """Fields of the server that this package doesn't know."""


@attrs.frozen(kw_only=True)
class Usage:
    """Tokens that one answer was billed for, as the server counted them; None where it didn't say."""

    total_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: TokenDetails | None = None
    output_tokens_details: TokenDetails | None = None
    extra: Mapping[str, object] = attrs.field(factory=dict, hash=False)
    """Fields of the server that this package doesn't know."""


def add_usages(usages: Iterable[Usage]) -> Usage | None:
    """Add up what several events were billed for; None where none says anything.

    A number that some don't say is the sum of the others. What isn't known by name is taken from the last that has it.

    Example:
        >>> add_usages([Usage(total_tokens=5), Usage(total_tokens=7, input_tokens=2)]).total_tokens
        12
    """
    total: Usage | None = None
    for usage in usages:
        total = usage if total is None else _add(total, usage)
    return total


def _add(one: Any, other: Any) -> Any:
    # Any: either two Usages or two TokenDetails, whose fields are numbers, those details, and `extra`.
    sums: dict[str, object] = {}
    for name in (field.name for field in attrs.fields(type(one))):
        mine, theirs = getattr(one, name), getattr(other, name)
        if name == "extra":
            sums[name] = {**mine, **theirs}
        elif mine is None or theirs is None:
            sums[name] = theirs if mine is None else mine
        else:
            sums[name] = mine + theirs if isinstance(mine, int) else _add(mine, theirs)
    return type(one)(**sums)


CostSource = Literal["server", "prices", "estimate"]
"""Who says what something costs: the server, prices with what it was billed for, or prices before it was made."""


class Cost(float):
    """What something costs, in US dollars: a number that adds, compares and formats as one, and says where it is from.

    What isn't known is None everywhere, never 0.

    Args:
        usd: US dollars, 0 or more.
        source: who says so.
        parts: US dollars by kind: `text_input`, `cached_text_input`, `image_input`, `cached_image_input`,
            `text_output`, `image_output`, or `images` where they have a price each.
        priced_on: the day the prices are of; None where they were not needed, or have none.

    Raises:
        ValueError: it is no amount of money.

    Example:
        >>> cost = Cost(0.0421, source="prices", parts={"image_output": 0.042, "text_input": 0.0001})
        >>> f"{cost:.3f}", cost < 0.05
        ('0.042', True)
        >>> cost
        Cost(0.0421, source='prices')
    """

    __slots__ = ("parts", "priced_on", "source")

    source: CostSource
    """Who says so."""
    parts: Mapping[str, float]
    """US dollars by kind; empty where the server states only the sum."""
    priced_on: dt.date | None
    """The day the prices are of; None where they were not needed, or have none."""

    def __new__(
        cls,
        usd: float,
        *,
        source: CostSource = "prices",
        parts: Mapping[str, float] | None = None,
        priced_on: dt.date | None = None,
    ) -> Cost:
        if not 0 <= usd < math.inf:
            raise ValueError(f"usd: {usd!r} is not a number of 0 or more")
        self = super().__new__(cls, usd)
        for name, value in (
            ("source", source),
            ("parts", MappingProxyType({**(parts or {})})),
            ("priced_on", priced_on),
        ):
            object.__setattr__(self, name, value)
        return self

    @property
    def usd(self) -> float:
        """US dollars, as a plain float."""
        return float(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise attrs.exceptions.FrozenInstanceError

    def __delattr__(self, name: str) -> NoReturn:
        raise attrs.exceptions.FrozenInstanceError

    def __repr__(self) -> str:
        return f"Cost({float(self)!r}, source={self.source!r})"

    def __str__(self) -> str:
        return repr(float(self))

    def __reduce__(self) -> tuple[Any, ...]:
        # The return type is that of object.__reduce__, which is typed no more narrowly.
        return _make_cost, (float(self), self.source, dict(self.parts), self.priced_on)


def _make_cost(usd: float, source: CostSource, parts: Mapping[str, float], priced_on: dt.date | None) -> Cost:
    return Cost(usd, source=source, parts=parts, priced_on=priced_on)


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0 < value < math.inf):
        raise ValueError(f"{attribute.name}: {value!r} is not a number above 0; use None for no limit")


def _positive_integer(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{attribute.name}: {value!r} is not a whole number above 0; use None for no limit")


@attrs.frozen(kw_only=True)
class RateLimits:
    """How much may be asked for; None is no limit of that kind.

    On the local server each is a budget that holds a minute's worth. On a client it is a ceiling over any minute; how
    much may go at once is learned, never assumed.

    Raises:
        ValueError: a limit is not above 0.

    Example:
        >>> RateLimits(images_per_minute=5).images_per_minute
        5
    """

    requests_per_minute: float | None = attrs.field(default=None, validator=_positive)
    images_per_minute: float | None = attrs.field(default=None, validator=_positive)
    tokens_per_minute: float | None = attrs.field(default=None, validator=_positive)
    concurrency: int | None = attrs.field(default=None, validator=_positive_integer)
    """Requests under way at once."""


@attrs.frozen(kw_only=True)
class LimitFact:
    """What one answer says of one limit; None is what it doesn't say."""

    name: str
    """As the server names it: "requests", "tokens", "images", or any other; "requests" where it names none."""
    limit: float | None = None
    """How much may be used in a window."""
    remaining: float | None = None
    """How much of it is left."""
    resets_in: float | None = None
    """Seconds until the limit is whole again (a window's end, or when a bucket is full)."""
    window: float | None = None
    """Length of the window in seconds."""
    resolution: float = 0.0
    """How coarse `resets_in` is, in seconds: 1.0 where whole seconds are given."""


LimitSource = Literal["declared", "learned", "discovered"]
"""Who says so: the caller, the server's answers, or its refusals."""


@attrs.frozen(kw_only=True)
class LimitStatus:
    """What is known now of one limit, and how the queue fares that it holds back."""

    name: str
    """What it counts: "requests", "images", "tokens", "concurrency", or as the server names it."""
    model: str | None
    """The model whose requests it holds back; None: those that name none."""
    source: LimitSource
    limit: float
    """How much may go in a window, or at once."""
    remaining: float | None = None
    """How much of it is left; None where that isn't known."""
    window: float | None = None
    """Length of the window in seconds; None: it is a cap on what is under way at once."""
    resets_in: float | None = None
    """Seconds until all of it is back; None where that isn't known."""
    waiting: int = 0
    """Requests that wait in the queue."""
    in_flight: int = 0
    """Requests of the queue under way."""
    paused_until: dt.datetime | None = None
    """When the next request tries, in UTC, where the queue pauses after a refusal."""
    reason: str | None = None
    """Why the queue pauses, in words."""


@attrs.frozen(kw_only=True)
class QueueStatus:
    """One queue of a client: the requests of one model to one server with one key."""

    server: str
    """Such as `https://api.aiai.com`."""
    model: str | None
    waiting: int
    in_flight: int
    waiting_for: str | None
    """What holds the first in the queue back, in words, such as "images per minute"; None: nothing waits."""
    next_in: float | None
    """Seconds until the first in the queue goes, as far as is known."""
    paused_until: dt.datetime | None
    reason: str | None
    limits: tuple[LimitStatus, ...]


def _to_tuple(queues: Iterable[QueueStatus]) -> tuple[QueueStatus, ...]:
    return tuple(queues)


@attrs.frozen(repr=False)
class Limits(Sequence[LimitStatus]):
    """What is known now of all limits that a client has met: a sequence of them, and how many requests wait.

    It is a value: it doesn't change when what it tells of does.

    Example:
        >>> Limits(()).waiting
        0
    """

    queues: tuple[QueueStatus, ...] = attrs.field(converter=_to_tuple)
    """The queues, each with its limits."""

    @overload
    def __getitem__(self, index: int) -> LimitStatus: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[LimitStatus, ...]: ...

    def __getitem__(self, index: int | slice) -> LimitStatus | tuple[LimitStatus, ...]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())

    def __repr__(self) -> str:
        return f"Limits({list(self._all())!r})"

    def _all(self) -> tuple[LimitStatus, ...]:
        return tuple(limit for queue in self.queues for limit in queue.limits)

    @property
    def waiting(self) -> int:
        """How many requests wait, in all queues."""
        return sum(queue.waiting for queue in self.queues)

    @property
    def in_flight(self) -> int:
        """How many requests are under way, in all queues."""
        return sum(queue.in_flight for queue in self.queues)

    def describe_wait(self) -> str | None:
        """Say what requests wait for, and how long; None where none do, or for less than a second.

        Example:
            `waiting 12 s for images per minute, 3 in flight`
        """
        queues = [queue for queue in self.queues if queue.waiting_for is not None]
        # The queue that goes on last is what a program waits for.
        queue = max(queues, key=lambda queue: math.inf if queue.next_in is None else queue.next_in, default=None)
        if queue is None or (queue.next_in is not None and queue.next_in < 1.0):
            return None
        seconds = "" if queue.next_in is None else f" {queue.next_in:.0f} s"
        return f"waiting{seconds} for {queue.waiting_for}, {self.in_flight:,} in flight"

    @property
    def paused_until(self) -> dt.datetime | None:
        """When the last of the queues that pause goes on, in UTC; None: none pauses."""
        return max((queue.paused_until for queue in self.queues if queue.paused_until is not None), default=None)

    @property
    def reason(self) -> str | None:
        """Why that one pauses, in words."""
        until = self.paused_until
        return next((queue.reason for queue in self.queues if until is not None and queue.paused_until == until), None)
