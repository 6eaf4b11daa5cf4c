"""Frozen values that several parts of the package share, one definition each.

They are here so that `wire` and `policy` never import each other, and so that the local server can speak of the same
things without the client's wire code. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import attrs


class Headers(Mapping[str, str]):
    """The header fields of one answer: a mapping that doesn't care for the case of names.

    A field that came several times is joined by a comma and a space (RFC 9110, 5.3).

    Example:
        >>> Headers([("Retry-After", "3")])["retry-after"]
        '3'
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        joined: dict[str, tuple[str, str]] = {}
        for name, value in fields:
            before = joined.get(name.lower())
            joined[name.lower()] = (name, value) if before is None else (before[0], f"{before[1]}, {value}")
        self._fields: Final = joined

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._fields.values())

    def __len__(self) -> int:
        return len(self._fields)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._fields

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return {name.lower(): value for name, value in self.items()} == {
            str(name).lower(): value for name, value in other.items()
        }

    def __hash__(self) -> int:
        return hash(frozenset((name, value) for name, (_, value) in self._fields.items()))

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


def _positive(_: object, attribute: attrs.Attribute[Any], value: float | None) -> None:
    if value is not None and not (isinstance(value, (int, float)) and value > 0):
        raise ValueError(f"{attribute.name}: {value!r} is not a number above 0; use None for no limit")


@attrs.frozen(kw_only=True)
class RateLimits:
    """How much may be asked for; None is no limit of that kind.

    On the local server each is a budget that holds a minute's worth.

    Raises:
        ValueError: a limit is not above 0.

    Example:
        >>> RateLimits(images_per_minute=5).images_per_minute
        5
    """

    requests_per_minute: float | None = attrs.field(default=None, validator=_positive)
    images_per_minute: float | None = attrs.field(default=None, validator=_positive)
    tokens_per_minute: float | None = attrs.field(default=None, validator=_positive)
    concurrency: int | None = attrs.field(default=None, validator=_positive)
    """Requests under way at once."""
