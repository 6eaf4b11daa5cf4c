"""Faults: what the server does wrong on purpose, each a small record, and which request gets which.

Pure: a record says what is sent, in which pieces, with which gaps and how it ends; `delivery` sends it. A body is a
template over the ordinary answer (`templates`), so that an odd shape still carries a real picture, and a new oddity, a
stream's too, is one more record and no code. The ready-made records are in `fault_table`.
"""

from __future__ import annotations

import random
import string
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, get_args

import attrs

On = Literal["generate", "slash", "stream", "download"]
"""Which requests a fault counts: all for images, those whose path ends in a slash, those that ask for a stream, or the
downloads of pictures."""

Ending = Literal["whole", "cut", "reset", "hang"]
"""How a body ends: as it should; by closing the connection (FIN); by resetting it (RST); or never."""

ANSWER_VALUES: Final = ("answer", "created", "images", "first", "usage")
"""The names in a body that stand for parts of the ordinary answer, which then has to be made."""

STREAM_VALUES: Final = ("stream", "partials", "first_partial", "completed", "first_completed")
"""The names in a body that stand for events of the ordinary stream, each sent when it is due."""

EVENT_FRAME: Final = "event: $type\ndata: $data\n\n"
"""How an event is written, where a fault doesn't say otherwise."""

# Seconds between two signs of life; gateways take from one to fifteen.
_HEARTBEAT: Final = 1.0


def _not_negative(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name}: {value!r} is below 0")


def _text_or_bytes(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, (str, bytes)):
        raise TypeError(f"{attribute.name}: {value!r} is neither text nor bytes")


@attrs.frozen
class Piece:
    """A part of a body that is sent by itself."""

    data: str | bytes = attrs.field(validator=_text_or_bytes)
    """Text is a template; bytes are sent as they are."""
    gap: float = attrs.field(default=0.0, kw_only=True, validator=_not_negative)
    """Seconds of silence before it."""


def _to_numbers(value: int | Iterable[int]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _to_names(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _to_pieces(value: str | bytes | Piece | Iterable[str | bytes | Piece] | None) -> tuple[Piece, ...] | None:
    if value is None:
        return None
    parts = [value] if isinstance(value, (str, bytes, Piece)) else value
    return tuple(part if isinstance(part, Piece) else Piece(part) for part in parts)


def _to_heartbeat(value: str | bytes | Piece | None) -> Piece | None:
    return Piece(value, gap=_HEARTBEAT) if isinstance(value, (str, bytes)) else value


def _beats(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, Piece) and value.gap > 0):
        raise ValueError(f"{attribute.name}: {value!r} is no piece with a gap above 0 to be sent again and again")


def _to_texts(fields: Mapping[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in dict(fields).items()}


def _is_status(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, int) and 200 <= value <= 599):
        raise ValueError(f"{attribute.name}: {value!r} is not an HTTP status from 200 to 599")


def _at_least_one(_: object, attribute: attrs.Attribute[Any], value: int | tuple[int, ...] | None) -> None:
    numbers = () if value is None else value if isinstance(value, tuple) else (value,)
    if any(number < 1 for number in numbers):
        raise ValueError(f"{attribute.name}: {value!r} is below 1; requests are counted from 1")


def _share(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{attribute.name}: {value!r} is not from 0 to 1")


@attrs.frozen(kw_only=True)
class Fault:
    """One thing that goes wrong, and when. Left as they are, the fields send the ordinary answer to every request.

    A fault that sends nothing of the ordinary answer comes after its `delay` alone, without validation, latency and
    rate limits; any other comes after all of these and its `delay`. A stream's status comes before the latency, over
    which its events are spread.

    Raises:
        ValueError: a number is out of its range, or more than one of `nth`, `every` and `probability` is given.

    Example:
        >>> Fault(nth=2, status=503, headers={"Retry-After": "1"}).status
        503
    """

    name: str = ""
    doc: str = ""
    """What it imitates, for the table of faults."""

    on: On = attrs.field(default="generate", validator=attrs.validators.in_(get_args(On)))
    nth: tuple[int, ...] = attrs.field(default=(), converter=_to_numbers, validator=_at_least_one)
    """Only these requests, counted from 1; a single number will do."""
    every: int | None = attrs.field(default=None, validator=_at_least_one)
    """Every so-many-th request."""
    probability: float | None = attrs.field(default=None, validator=_share)
    """Each request with this probability, drawn from the server's seed."""

    delay: float = attrs.field(default=0.0, validator=_not_negative)
    """Seconds before anything is sent."""
    status: int | None = attrs.field(default=None, validator=_is_status)
    """The HTTP status; None is the ordinary one."""
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_to_texts, hash=False)
    """Header fields, in place of the ordinary ones of the same name; the values are templates like the body."""
    without: tuple[str, ...] = attrs.field(default=(), converter=_to_names)
    """Header fields that are left away."""
    body: tuple[Piece, ...] | None = attrs.field(default=None, converter=_to_pieces)
    """What is sent; a text or a list will do. None is the ordinary answer, or an ordinary error where `status` is one.
    `$answer` stands for the ordinary answer; `$created`, `$usage`, `$images` (the elements of `data`) and `$first` (the
    first of them) for parts of it; `$request_id` for the id of the request. Where a stream is asked for, `$stream`
    stands for its events, `$partials` and `$completed` for those of partial and of final images, `$first_partial` and
    `$first_completed` for one; each event goes out when it is due, what stands after it follows at once."""
    image: str | None = None
    """One element of `data` in place of the ordinary one: JSON with `$b64`, `$b64_lines`, `$b64_unpadded`,
    `$b64_urlsafe`, `$b64_escaped`, `$url`, `$url_path`, `$media_type`. In a stream its fields are those of each event,
    in place of `b64_json`."""
    event: tuple[Piece, ...] | None = attrs.field(default=None, converter=_to_pieces)
    """How each event of a stream is written, pieces as in `body`: `$type`, `$data` (its JSON on one line),
    `$data_lines` (the same as several `data:` lines), `$settings` (its fields but type and image), `$number` (of the
    event, from 1), `$index` (of the image, from 0), and the names of `image`."""
    final: tuple[Piece, ...] | None = attrs.field(default=None, converter=_to_pieces)
    """The same for the events of final images, where they are written otherwise."""
    piece_bytes: int | None = attrs.field(default=None, validator=_at_least_one)
    """Send each piece of the body in parts of so many bytes."""
    gap: float = attrs.field(default=0.0, validator=_not_negative)
    """Seconds of silence between those parts."""
    part: float = attrs.field(default=1.0, validator=_share)
    """How much of the body is sent before the ending, 0 to 1; at 0 and with another ending than `whole`, not even the
    status is sent."""
    heartbeat: Piece | None = attrs.field(default=None, converter=_to_heartbeat, validator=_beats)
    """What is sent again and again while it hangs, its gap before each time; a text is sent every second."""
    ending: Ending = attrs.field(default="whole", validator=attrs.validators.in_(get_args(Ending)))

    def __attrs_post_init__(self) -> None:
        ways = [name for name in ("nth", "every", "probability") if getattr(self, name) not in (None, ())]
        if len(ways) > 1:
            raise ValueError(f"{' and '.join(ways)}: give only one of them")

    @property
    def needs_answer(self) -> bool:
        """True where something of the ordinary answer is sent."""
        if self.body is None:
            return self.status is None or self.status < 300
        return any(names_in(piece.data).intersection(ANSWER_VALUES + STREAM_VALUES) for piece in self.body)

    @property
    def is_silent(self) -> bool:
        """True where not even a status is sent."""
        return self.part == 0 and self.ending != "whole"


def names_in(data: str | bytes) -> set[str]:
    """Give the names that a template holds; bytes are none and hold none."""
    return set(string.Template(data).get_identifiers()) if isinstance(data, str) else set()


class FaultPlan:
    """Decides which request gets which fault: the first record that applies.

    Each record counts for itself the requests that it could apply to.
    """

    def __init__(self, faults: Iterable[Fault], *, seed: int) -> None:
        self._faults: Final = tuple(faults)
        self._counts = [0] * len(self._faults)
        self._chances = [random.Random(f"{seed}/fault/{place}") for place in range(len(self._faults))]

    def next(self, *kinds: On) -> Fault | None:
        """Count one request that is of these kinds, and give its fault or None."""
        chosen: Fault | None = None
        for place, fault in enumerate(self._faults):
            if fault.on not in kinds:
                continue
            self._counts[place] += 1
            # Drawn for each request, chosen or not, so that one record doesn't change the luck of another.
            applies = self._applies(fault, self._counts[place], self._chances[place].random())
            if applies and chosen is None:
                chosen = fault
        return chosen

    @staticmethod
    def _applies(fault: Fault, count: int, luck: float) -> bool:
        if fault.nth:
            return count in fault.nth
        if fault.every is not None:
            return count % fault.every == 0
        return fault.probability is None or luck < fault.probability
