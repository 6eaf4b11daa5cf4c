"""From a stream's events to the parts that a fault makes of them: what the names in its frames stand for.

Pure. An ordinary stream doesn't come here: its events are written one by one as they are drawn, while a fault has to
know all of a body before it can send half of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from aiai_async.server.events import Moment
from aiai_async.server.faults import EVENT_FRAME, Fault, Piece
from aiai_async.server.refusals import JSONObject
from aiai_async.server.templates import Part, Values, fill

_ORDINARY: Final = (Piece(EVENT_FRAME),)


@attrs.frozen(kw_only=True)
class DrawnEvent:
    """One event of a stream with its picture."""

    moment: Moment
    fields: JSONObject
    """What it says besides its picture, the type first."""
    picture: Values


def frame_events(fault: Fault, events: Sequence[DrawnEvent]) -> Mapping[str, Sequence[Part]]:
    """Write the events of a stream as a fault has them.

    Args:
        fault: what may say how an event is written and how its image looks.
        events: all events, in order.

    Returns:
        The parts that each of `STREAM_VALUES` stands for.
    """
    framed = [(event.moment.partial is None, _frame(fault, event, number)) for number, event in enumerate(events, 1)]
    partials = [parts for is_final, parts in framed if not is_final]
    completed = [parts for is_final, parts in framed if is_final]
    chosen = {
        "stream": [parts for _, parts in framed],
        "partials": partials,
        "first_partial": partials[:1],
        "completed": completed,
        "first_completed": completed[:1],
    }
    return {name: [part for parts in several for part in parts] for name, several in chosen.items()}


def _frame(fault: Fault, event: DrawnEvent, number: int) -> list[Part]:
    frame = fault.event or _ORDINARY
    if event.moment.partial is None and fault.final is not None:
        frame = fault.final
    values = _values_of(fault, event, number)
    return [
        Part(
            data=piece.data if isinstance(piece.data, bytes) else fill(piece.data, values).encode(),
            gap=piece.gap,
            due=event.moment.due,
        )
        for piece in frame
    ]


def _values_of(fault: Fault, event: DrawnEvent, number: int) -> Values:
    kind = event.fields["type"]
    settings = json.dumps({name: value for name, value in event.fields.items() if name != "type"})[1:-1]

    def lines() -> tuple[str, ...]:
        image = fill(fault.image or '{"b64_json": "$b64"}', event.picture)
        # The element's fields without its braces; they may be no proper JSON.
        fields = image.strip()[1:-1]
        return f'{{"type": "{kind}",', f"{fields},", f"{settings}}}"

    return event.picture.with_more(
        {
            "type": lambda: str(kind),
            "data": lambda: " ".join(lines()),
            "data_lines": lambda: "\n".join(f"data: {line}" for line in lines()),
            "settings": lambda: settings,
            "number": lambda: str(number),
            "index": lambda: str(event.moment.image),
        }
    )
