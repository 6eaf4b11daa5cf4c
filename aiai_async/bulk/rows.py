"""A row of the input as a value: what it may say, and why it can't be one."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Final, cast

import attrs

from aiai_async import ImageRequest
from aiai_async.bulk.errors import BadRow

FIELDS: Final = tuple(field.name for field in attrs.fields(ImageRequest))
"""What a row may say of its request."""
COLUMNS: Final = ("custom_id", *FIELDS)
"""The same, and how the row is called."""

_LONGEST_ID: Final = 512


@attrs.frozen(kw_only=True)
class Row:
    """One row of the input: what it says itself, without the defaults."""

    line: int
    """Where it begins, counted from 1."""
    custom_id: str | None = None
    fields: Mapping[str, object]


Rows = Iterator[Row | BadRow]


def to_row(request: object, line: int) -> Row | BadRow:
    """Make a row of what a program gives."""
    if isinstance(request, ImageRequest):
        return Row(line=line, fields=request.to_fields())
    if isinstance(request, str):
        return Row(line=line, fields={"prompt": request})
    return BadRow(line, f"{type(request).__name__} is neither an ImageRequest nor a prompt")


def make_row(fields: Mapping[str, object], number: int) -> Row | BadRow:
    """Make a row of the fields that line `number` gives; those that are None are left out."""
    given = {name: value for name, value in fields.items() if value is not None}
    custom_id = given.pop("custom_id", None)
    if given.get("stream") is False:
        del given["stream"]
    for name in given:
        if name not in FIELDS:
            return BadRow(number, explain_unknown(name))
    if custom_id is not None and (fault := _find_id_fault(custom_id)) is not None:
        return BadRow(number, f"custom_id: {fault}")
    return Row(line=number, custom_id=cast("str | None", custom_id), fields=given)


def _find_id_fault(custom_id: object) -> str | None:
    if not isinstance(custom_id, str):
        return f"{custom_id!r} is no string"
    if not 0 < len(custom_id) <= _LONGEST_ID:
        return f"has {len(custom_id):,} characters; give 1 to {_LONGEST_ID}"
    try:
        custom_id.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which no encoding of Unicode can hold"
    return None


def explain_unknown(name: str) -> str:
    """Say that there is no such field, and which was meant."""
    if name == "stream":
        return "stream: a job doesn't stream; leave it out"
    near = difflib.get_close_matches(name, COLUMNS, 1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(COLUMNS)}"
    return f"{name[:60]!r} is no field of a request; {advice}"
