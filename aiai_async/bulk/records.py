"""What goes into a journal and comes out of it, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from aiai_async.bulk.items import Item, State

ITEM_COLUMNS: Final = "idx, id, has_custom_id, request, n, state, key, images, spent"
RECORD_COLUMNS: Final = f"{ITEM_COLUMNS}, line, request_id, attempts, elapsed, usage, error"


@attrs.frozen(kw_only=True)
class ImageRow:
    """One image of an answer, as the journal knows it."""

    k: int
    """Its place in the answer, from 0."""
    name: str | None = None
    """Its file in `images/`; None while it is only a link."""
    part: str | None = None
    """The name it was written under, in the same folder."""
    sha256: str | None = None
    size_bytes: int | None = None
    media_type: str | None = None
    revised_prompt: str | None = None
    url: str | None = attrs.field(default=None, repr=False)
    """The link it was fetched from, or is to be."""


@attrs.frozen(kw_only=True)
class Started:
    """An item is about to be sent under a key."""

    index: int
    key: str
    run: int
    spent: int
    """Images that its earlier keys may have cost."""
    at: float


@attrs.frozen(kw_only=True)
class Ended:
    """An item was answered, or failed."""

    index: int
    state: State
    at: float
    run: int | None = None
    """The run that took it up, where that was not noted by a `Started`."""
    images: int = 0
    """Images that the answer held."""
    rows: tuple[ImageRow, ...] = ()
    """Those that are written or linked; rows of the same place are replaced."""
    is_answer: bool = False
    """Whether the rows are a whole answer, which takes the place of an earlier one."""
    spent: int | None = None
    """Images that its earlier keys may have cost; None: as it was."""
    request_id: str | None = None
    attempts: int | None = None
    elapsed: float | None = None
    usage: Mapping[str, object] | None = None
    error: Mapping[str, object] | None = None


@attrs.frozen(kw_only=True)
class Record:
    """All that the journal knows of one item."""

    item: Item
    rows: tuple[ImageRow, ...]
    line: int
    request_id: str | None
    attempts: int | None
    elapsed: float | None
    usage: Mapping[str, Any] | None
    """Any: it is JSON."""
    error: Mapping[str, Any] | None


@attrs.frozen(kw_only=True)
class Differences:
    """How an input differs from the rows of a job."""

    total: int
    """Rows of the job."""
    new: int
    """Rows that the job doesn't have."""
    first_new_line: int | None
    first_new: str | None
    """The prompt of the first of them."""
    changed: int
    """Rows whose `custom_id` the job knows with other fields."""
    first_changed_line: int | None
    first_changed: str | None
    missing: int
    """Rows of the job that the input doesn't have."""


def dump(value: Mapping[str, object] | None) -> str | None:
    """Write a mapping for a column; None is NULL."""
    return None if value is None else json.dumps(value, default=str)


def _load(text: str | None) -> dict[str, Any] | None:
    # Any: it is JSON.
    if text is None:
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def to_item(row: Sequence[Any]) -> Item:
    """Read the columns of `ITEM_COLUMNS`."""
    # Any: what sqlite3 gives has no narrower type.
    index, row_id, has_custom_id, request, n, state, key, images, spent = row
    return Item(
        index=index,
        id=row_id,
        has_custom_id=bool(has_custom_id),
        request=json.loads(request),
        n=n,
        state=State(state),
        key=key,
        images=images,
        spent=spent,
    )


def to_record(row: Sequence[Any], rows: tuple[ImageRow, ...]) -> Record:
    """Read the columns of `RECORD_COLUMNS`."""
    line, request_id, attempts, elapsed, usage, error = row[9:]
    return Record(
        item=to_item(row[:9]),
        rows=rows,
        line=line,
        request_id=request_id,
        attempts=attempts,
        elapsed=elapsed,
        usage=_load(usage),
        error=_load(error),
    )
