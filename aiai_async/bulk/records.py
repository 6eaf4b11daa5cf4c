"""What goes into a journal and comes out of it, as values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple

import attrs

from aiai_async.bulk.items import Item, State

ITEM_COLUMNS: Final = (
    "idx, id, has_custom_id, request, n, state, key, images, spent, cost, estimate, spent_cost, earlier_cost"
)
RECORD_COLUMNS: Final = f"{ITEM_COLUMNS}, line, request_id, attempts, elapsed, usage, error, at, sent_at, cost_source"
IMAGE_COLUMNS: Final = "k, name, part, sha256, size_bytes, media_type, revised_prompt, url, received_sha256"
# `attrs.astuple` takes 20 times as long.
_IMAGE_FIELDS: Final = attrgetter(*IMAGE_COLUMNS.split(", "))
# `json.dumps` would make a new one each time.
_ENCODER: Final = json.JSONEncoder(default=str)
_ITEM_COUNT: Final = len(ITEM_COLUMNS.split(","))
# An enumeration looks its values up ten times as slowly.
_STATES: Final = {state.value: state for state in State}


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
    received_sha256: str | None = None
    """Of the image as the server sent it; None where the file is the same."""


@attrs.frozen(kw_only=True)
class Started:
    """An item is about to be sent under a key."""

    index: int
    key: str
    run: int
    spent: int
    """Images that its earlier keys may have cost."""
    at: float
    estimate: float | None = None
    """US dollars that it may cost at most, as far as prices tell; None where they are unknown."""
    spent_cost: float = 0.0
    """US dollars that its earlier keys may have cost."""


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
    is_first: bool = False
    """Whether it is known that there was no earlier one."""
    spent: int | None = None
    """Images that its earlier keys may have cost; None: as it was."""
    request_id: str | None = None
    attempts: int | None = None
    elapsed: float | None = None
    usage: Mapping[str, object] | None = None
    error: Mapping[str, object] | None = None
    sent_at: float | None = None
    """When its first attempt was let go, in Unix seconds; None where none was."""
    cost: float | None = None
    """US dollars that the answer cost; None where that isn't known."""
    cost_source: str | None = None
    """Who says so: see `aiai_async.Cost.source`."""
    estimate: float | None = None
    """US dollars that it was expected to cost at most; None: as it was."""
    spent_cost: float | None = None
    """US dollars that its earlier keys may have cost; None: as it was."""
    earlier_cost: float | None = None
    """US dollars of that which answers are known to have cost; None: as it was."""


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
    at: float | None = None
    """When its state changed, in Unix seconds: when it ended, where it has."""
    sent_at: float | None = None
    """When the first attempt of its last answer or failure was let go, in Unix seconds; None where that isn't known."""
    cost_source: str | None = None
    """Who says what it cost; None where nobody does."""

    @property
    def cost(self) -> float | None:
        """US dollars that its last answer cost; None where that isn't known."""
        return self.item.cost


@attrs.frozen(kw_only=True)
class RunRow:
    """One run of a job."""

    run: int
    started_at: float | None = None
    """Unix seconds."""
    ended_at: float | None = None
    """Unix seconds; None while it runs, and where it was killed."""
    reason: str | None = None
    """Why it ended; see `items.Reason`."""
    refusals: int = 0
    """Answers with status 429 that it met."""
    waited: float = 0.0
    """Seconds in which requests were ready and none was let go."""


class KnownCost(NamedTuple):
    """What the answers of a job cost, as far as that is known."""

    usd: float
    """The sum of what is known, also of answers whose items were made anew."""
    unknown: int
    """Items that were answered and whose cost isn't known."""


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
    return None if value is None else _ENCODER.encode(value)


def to_columns(row: ImageRow) -> tuple[object, ...]:
    """Give the columns of `IMAGE_COLUMNS`."""
    columns: tuple[object, ...] = _IMAGE_FIELDS(row)
    return columns


def _load(text: str | None) -> dict[str, Any] | None:
    # Any: it is JSON.
    if text is None:
        return None
    value: dict[str, Any] = json.loads(text)
    return value


def to_image_row(row: Sequence[Any]) -> ImageRow:
    """Read the columns of `IMAGE_COLUMNS`."""
    # Any: what sqlite3 gives has no narrower type.
    k, name, part, sha256, size_bytes, media_type, revised_prompt, url, received_sha256 = row
    return ImageRow(
        k=k,
        name=name,
        part=part,
        sha256=sha256,
        size_bytes=size_bytes,
        media_type=media_type,
        revised_prompt=revised_prompt,
        url=url,
        received_sha256=received_sha256,
    )


def to_item(row: Sequence[Any]) -> Item:
    """Read the columns of `ITEM_COLUMNS`."""
    # Any: what sqlite3 gives has no narrower type.
    index, row_id, has_custom_id, request, n, state, key, images, spent, cost, estimate, spent_cost, earlier_cost = row
    return Item(
        index=index,
        id=row_id,
        has_custom_id=bool(has_custom_id),
        request=json.loads(request),
        n=n,
        state=_STATES[state],
        key=key,
        images=images,
        spent=spent,
        cost=cost,
        estimate=estimate,
        spent_cost=spent_cost,
        earlier_cost=earlier_cost,
    )


def to_record(row: Sequence[Any], rows: tuple[ImageRow, ...]) -> Record:
    """Read the columns of `RECORD_COLUMNS`."""
    line, request_id, attempts, elapsed, usage, error, at, sent_at, cost_source = row[_ITEM_COUNT:]
    return Record(
        item=to_item(row[:_ITEM_COUNT]),
        rows=rows,
        line=line,
        request_id=request_id,
        attempts=attempts,
        elapsed=elapsed,
        usage=_load(usage),
        error=_load(error),
        at=at,
        sent_at=sent_at,
        cost_source=cost_source,
    )
