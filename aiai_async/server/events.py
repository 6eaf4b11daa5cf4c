"""The events of a stream: which there are, when each is due, what each says, and how it is written.

Pure: pictures come in as base64 text, times as arguments. What may go wrong with a stream is in `stream_faults`.

Source: ImageGenPartialImageEvent and ImageGenCompletedEvent in https://github.com/openai/openai-openapi.
"""

from __future__ import annotations

from typing import Final

import attrs
import orjson

from aiai_async.server.answers import count_tokens
from aiai_async.server.refusals import JSONObject, error_object
from aiai_async.server.validate import CheckedRequest

EVENT_STREAM: Final = "text/event-stream"
PARTIAL: Final = "image_generation.partial_image"
COMPLETED: Final = "image_generation.completed"


@attrs.frozen(kw_only=True)
class Moment:
    """One event of a stream, before its picture is drawn."""

    image: int
    """Which of the images of the request it shows, from 0."""
    partial: int | None
    """Which of the partial images it is, from 0; None is the final one."""
    due: float
    """Seconds after the request was let in."""


def schedule(request: CheckedRequest, latency: float) -> tuple[Moment, ...]:
    """Spread the events of a stream evenly over its latency, in the order they are sent.

    All images of a request are made at the same time, so each step shows every one of them before the next comes.

    Args:
        request: what was asked for.
        latency: seconds that the final images take.

    Example:
        >>> from aiai_async.server.validate import check_request
        >>> fields = {"prompt": "a", "stream": True, "partial_images": 3}
        >>> [moment.due for moment in schedule(check_request(fields), 20.0)]
        [5.0, 10.0, 15.0, 20.0]
    """
    steps = request.partial_images + 1
    return tuple(
        Moment(image=image, partial=None if step == steps else step - 1, due=latency * step / steps)
        for step in range(1, steps + 1)
        for image in range(request.n)
    )


def make_fields(request: CheckedRequest, moment: Moment, *, created: int) -> JSONObject:
    """Give what an event says besides its picture, the type first.

    The usage of all events together is that of the whole request: the first image's has the tokens of the prompt.

    Args:
        request: what was asked for.
        moment: which event it is.
        created: when the request was let in, in seconds since 1970.
    """
    fields: JSONObject = {"type": COMPLETED if moment.partial is None else PARTIAL}
    if moment.partial is not None:
        fields["partial_image_index"] = moment.partial
    fields |= {
        "background": request.background,
        "created_at": created + int(moment.due),
        "output_format": request.output_format,
        "quality": request.quality,
        "size": f"{request.width}x{request.height}",
    }
    if moment.partial is None:
        fields["usage"] = _count_usage(request, moment.image)
    return fields


def encode_event(fields: JSONObject, b64: str) -> bytes:
    """Write an event with its picture as it goes over the wire."""
    kind = str(fields["type"])
    return encode_sse(kind, {"type": kind, "b64_json": b64} | fields)


def encode_error(message: str) -> bytes:
    """Write the event that says that the server failed in the middle of a stream."""
    return encode_sse("error", {"type": "error"} | error_object(message, type="server_error"))


def encode_sse(event: str, data: JSONObject) -> bytes:
    """Write one server-sent event, its data as JSON on one line.

    Example:
        >>> encode_sse("error", {"type": "error"})
        b'event: error\\ndata: {"type":"error"}\\n\\n'
    """
    return b"event: %s\ndata: %s\n\n" % (event.encode(), orjson.dumps(data))


def _count_usage(request: CheckedRequest, image: int) -> JSONObject:
    tokens = count_tokens(attrs.evolve(request, n=1), partial_images=request.partial_images)
    if image > 0:
        tokens = attrs.evolve(tokens, text_input=0)
    usage = tokens.as_usage()
    # The usage of a stream's event is described without it.
    del usage["output_tokens_details"]
    return usage
