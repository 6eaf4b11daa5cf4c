"""Answers and errors as changes for the journal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, overload

import attrs

from aiai_async import AIAIError, APIError, Image, ImagesResponse
from aiai_async.bulk.items import Item, State, WritingError, judge
from aiai_async.bulk.names import make_name
from aiai_async.bulk.records import Ended, ImageRow, Record

# Attributes of errors that programs decide by.
_FACTS: Final = ("code", "status_code", "param", "phase", "retry_after", "url")
# A server's message has been cut already; one of our own may hold a whole prompt.
_LONGEST_MESSAGE: Final = 2000
_NAMES: Final[dict[type, list[str]]] = {}
"""The fields of classes that were asked for."""


def answered(
    item: Item,
    response: ImagesResponse,
    *,
    run: int,
    at: float,
    sent_at: float | None = None,
    received: Sequence[str | None] = (),
) -> Ended:
    """Make the change of an item that was answered: done, or linked where not every image is here yet.

    Args:
        item: it.
        response: its answer; of its images what their files are now.
        run: the run's number.
        at: Unix seconds.
        sent_at: when its first attempt was let go, in Unix seconds.
        received: the sha256 of each image as it came, where their files were changed after that.
    """
    shas: Sequence[str | None] = received or [None] * len(response.data)
    rows = tuple(to_row(item, k, image, received=shas[k]) for k, image in enumerate(response.data))
    http = response.http
    return Ended(
        index=item.index,
        state=State.DONE if all(row.name is not None for row in rows) else State.LINKED,
        at=at,
        run=run,
        images=len(rows),
        rows=rows,
        is_answer=True,
        # What was taken up as pending was never answered.
        is_first=item.state is State.PENDING,
        request_id=None if http is None else to_sound(http.request_id),
        attempts=None if http is None else http.attempts,
        elapsed=None if http is None else http.elapsed,
        usage=None if response.usage is None else to_plain(response.usage),
        sent_at=sent_at,
        cost=None if response.cost is None else response.cost.usd,
        cost_source=None if response.cost is None else response.cost.source,
    )


def to_row(item: Item, k: int, image: Image, *, received: str | None = None) -> ImageRow:
    """Make the row of an image that a sink wrote, or that is still a link; `received` is the sha256 it came with."""
    is_here = image.path is not None
    text = item.id if item.has_custom_id else str(item.request.get("prompt", ""))
    return ImageRow(
        k=k,
        name=make_name(item.index, text, k, image.media_type) if is_here else None,
        part=image.path.name if image.path is not None else None,
        sha256=image.sha256 if is_here else None,
        size_bytes=image.size_bytes if is_here else None,
        media_type=image.media_type if is_here else None,
        revised_prompt=to_sound(image.revised_prompt),
        url=to_sound(image.url),
        received_sha256=received if is_here and received != image.sha256 else None,
    )


def failed(
    item: Item,
    error: Exception,
    *,
    run: int,
    at: float,
    elapsed: float,
    sent_at: float | None = None,
    was_sent: bool = True,
    may_have_been_billed: bool = False,
) -> Ended:
    """Make the change of an item whose request ended in an error.

    Args:
        item: as it was taken up: one that was unfinished may have been billed before, under the same key.
        error: what its request ended in.
        run: the run's number.
        at: Unix seconds.
        elapsed: seconds that the request took.
        sent_at: when its first attempt was let go, in Unix seconds; None where none was.
        was_sent: False where no attempt was let go.
        may_have_been_billed: whether an attempt before the last one may have been; errors of the API know it.
    """
    state = judge(error, was_sent=was_sent).state
    spent: int | None = None
    spent_cost: float | None = None
    if state is State.FAILED_FOR_NOW and may_have_been_billed and not isinstance(error, APIError):
        state = State.UNKNOWN
    elif item.state is State.UNFINISHED and state is State.FAILED_FOR_NOW:
        # It keeps its key: a refusal says nothing of what was sent under it before, and under another one it could be
        # paid twice.
        state = State.UNFINISHED
    elif item.state is State.UNFINISHED and state is State.FAILED:
        spent, spent_cost = item.spent + item.n, item.spent_cost + (item.estimate or 0.0)
    return Ended(
        index=item.index,
        state=state,
        at=at,
        run=run,
        spent=spent,
        spent_cost=spent_cost,
        request_id=to_sound(getattr(error, "request_id", None)),
        attempts=getattr(error, "attempts", None),
        elapsed=elapsed,
        sent_at=sent_at,
        error={
            **describe_error(error),
            "may_have_been_billed": state in (State.UNKNOWN, State.UNFINISHED) or spent is not None,
        },
    )


def put_back(item: Item, earlier: Record | None, *, at: float) -> Ended:
    """Make the change of an item that was taken up and not sent: it is again what it was.

    Args:
        item: it.
        earlier: what was known of it; None where it was pending.
        at: Unix seconds.
    """
    if earlier is None:
        return Ended(index=item.index, state=State.PENDING, at=at)
    return Ended(
        index=item.index,
        state=earlier.item.state,
        at=at,
        images=earlier.item.images,
        spent=earlier.item.spent,
        request_id=earlier.request_id,
        attempts=earlier.attempts,
        elapsed=earlier.elapsed,
        usage=earlier.usage,
        error=earlier.error,
        sent_at=earlier.sent_at,
        cost=earlier.cost,
        cost_source=earlier.cost_source,
        estimate=earlier.item.estimate,
        spent_cost=earlier.item.spent_cost,
        earlier_cost=earlier.item.earlier_cost,
    )


def answer_of(record: Record, *, at: float) -> Ended:
    """Give the answer that an item got in an earlier run, whose links are to be fetched."""
    return Ended(
        index=record.item.index,
        state=State.LINKED,
        at=at,
        images=len(record.rows),
        rows=record.rows,
        request_id=record.request_id,
        attempts=record.attempts,
        elapsed=record.elapsed,
        usage=record.usage,
        sent_at=record.sent_at,
        cost=record.cost,
        cost_source=record.cost_source,
    )


def describe_error(error: Exception) -> dict[str, object]:
    """Give an error as an object. Of one that isn't ours only the type is kept: its text may hold a secret."""
    facts: dict[str, object] = {}
    if isinstance(error, AIAIError):
        facts = {name: getattr(error, name, None) for name in _FACTS}
    return {
        "type": type(error).__name__,
        "message": describe(error)[:_LONGEST_MESSAGE],
        **{
            name: to_sound(value) if isinstance(value, str) else value
            for name, value in facts.items()
            if value is not None
        },
        "may_have_been_billed": judge(error).state is State.UNKNOWN,
    }


def describe(error: Exception) -> str:
    """Say what an error is, in words that may be kept."""
    if isinstance(error, (AIAIError, WritingError)):
        return to_sound(str(error))
    return f"{type(error).__name__}, raised by code outside aiai_async; its text is not kept, for it may hold a secret"


@overload
def to_sound(text: str) -> str: ...
@overload
def to_sound(text: None) -> None: ...
@overload
def to_sound(text: str | None) -> str | None: ...
def to_sound(text: str | None) -> str | None:
    """Give a server's text as Unicode can hold it: JSON may have a lone surrogate, which SQLite and UTF-8 don't take.

    Example:
        >>> to_sound("a kite" + chr(0xD800))
        'a kite�'
    """
    if text is None or text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def to_plain(value: Any) -> dict[str, object]:
    """Give usage as the server wrote it: unknown fields beside the known ones, and nothing that was left out."""
    # Any: usage and its details are two classes with one thing in common, that they are attrs classes.
    fields: dict[str, object] = {}
    kind = type(value)
    if kind not in _NAMES:
        _NAMES[kind] = [field.name for field in attrs.fields(kind)]
    for name in _NAMES[kind]:
        part = getattr(value, name)
        if name == "extra":
            assert isinstance(part, Mapping)
            fields.update(part)
        elif part is not None:
            fields[name] = to_plain(part) if attrs.has(type(part)) else part
    return fields
