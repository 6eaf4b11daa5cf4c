"""Items as the page's script gets them: what the sheet and the filter need, and apart from it the rest. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiai_async.bulk.items import State
from aiai_async.bulk.records import ImageRow, Record

STATE_ORDER: Final = tuple(State)
"""An entry names its state by its place here."""

# A prompt may have 32,000 characters; what a server adds may have a million.
_LONGEST_PROMPT: Final = 40_000
_LONGEST_TEXT: Final = 8_000
_MOST_FACTS: Final = 60
# Made once: json.dumps makes one at each call.
_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_DEEPEST: Final = 4


def to_index(record: Record, *, kind: int | None, model: int, looks: Sequence[int]) -> list[object]:
    """Give what the sheet shows of an item, and what it is found by.

    Args:
        record: what the journal knows of it.
        kind: the number of its kind of failure; None where it is done.
        model: the number of its model.
        looks: of each image that has a file, how it can be shown; see `thumbnails.look_at`.
    """
    item = record.item
    images = [row for row in record.rows if row.name is not None]
    return [
        item.index,
        STATE_ORDER.index(item.state),
        -1 if kind is None else kind,
        model,
        _cut(item.request.get("prompt", ""), _LONGEST_PROMPT),
        _cut(item.id, _LONGEST_TEXT) if item.has_custom_id else 0,
        _cut(record.request_id, _LONGEST_TEXT) if record.request_id else 0,
        [fact for row, look in zip(images, looks, strict=True) for fact in (row.name, look)],
    ]


def to_details(record: Record) -> dict[str, object]:
    """Give what is shown of an item when it is enlarged; what isn't known is left out."""
    item = record.item
    settings = {name: value for name, value in item.request.items() if name not in ("prompt", "model")}
    found: dict[str, object | None] = {
        "line": record.line,
        "id": None if item.has_custom_id else item.id,
        "settings": _to_facts(settings),
        "images": [_to_image(row) for row in record.rows if row.name is not None],
        "links": [row.url for row in record.rows if row.name is None and row.url is not None],
        "revised": [_cut(row.revised_prompt, _LONGEST_TEXT) for row in record.rows if row.revised_prompt],
        "attempts": record.attempts,
        "elapsed": _round(record.elapsed),
        "sent_at": _round(record.sent_at),
        "at": _round(record.at) if item.state is not State.PENDING else None,
        "cost": record.cost,
        "cost_source": record.cost_source,
        "spent_images": item.spent or None,
        "spent_cost": item.spent_cost or None,
        "usage": _to_facts(record.usage or {}),
        "error": None if record.error is None else _to_facts(record.error),
    }
    return {name: value for name, value in found.items() if value is not None and value != []}


def latency_of(record: Record) -> float | None:
    """Tell how long an item took from its sending; None where that isn't known.

    What was fetched later, or noted, is not counted: the shorter of the two times that are known is nearer.
    """
    times = [record.elapsed] if record.elapsed is not None else []
    if record.sent_at is not None and record.at is not None:
        times.append(max(0.0, record.at - record.sent_at))
    return min(times, default=None)


def dump(value: object) -> str:
    """Write JSON that may stand in a page and in a script: ASCII, without a character that HTML knows.

    Example:
        >>> dump(["</script>\\u2028"])
        '["\\\\u003c/script\\\\u003e\\\\u2028"]'
    """
    text = _encode(value)
    # They stand in strings only.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _to_image(row: ImageRow) -> list[object]:
    return [row.sha256 or "", row.size_bytes if row.size_bytes is not None else -1, row.media_type or ""]


def _to_facts(tree: Mapping[str, Any], prefix: str = "", depth: int = 0) -> list[list[str]]:
    """Write what a mapping holds as pairs of words; what is within it has names with dots."""
    # Any: it is JSON.
    facts: list[list[str]] = []
    for name, value in tree.items():
        if len(facts) >= _MOST_FACTS:
            break
        called = _cut(f"{prefix}{name}", 200)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            facts += _to_facts(value, f"{called}.", depth + 1)
        elif value is not None:
            facts.append([called, _cut(value if isinstance(value, str) else json.dumps(value), _LONGEST_TEXT)])
    return facts[:_MOST_FACTS]


def _cut(value: object, most: int) -> str:
    text = str(value)
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} more characters)"


def _round(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)
