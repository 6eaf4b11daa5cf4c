"""What the server answers, by the request's `model`, and the images that have to come out of it.

A model is the name of an answer: `b64-2000000` has an image of so many bytes, `stream-1000000-3-2000000` three partial
images and a final one. Server and client make them from the name alone, so every byte can be compared.
"""

from __future__ import annotations

import base64
import functools
import random
from typing import Final

SMALL: Final = "b64-1000"
"""The smallest answer: what is left is the cost of a request."""
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def name_image(size_bytes: int) -> str:
    """Name the answer with one image of this size."""
    return f"b64-{size_bytes}"


def name_stream(partial_bytes: int, count: int, final_bytes: int) -> str:
    """Name the stream of `count` partial images and a final one."""
    return f"stream-{partial_bytes}-{count}-{final_bytes}"


def name_slow(milliseconds: int) -> str:
    """Name the small answer that comes after this time."""
    return f"slow-{milliseconds}"


def name_limited(kind: str, run: int) -> str:
    """Name the small answer of a server with a rate limit; each `run` has a limit of its own."""
    return f"limited-{kind}-{run}"


@functools.cache
def make_image(size_bytes: int, seed: int = 0) -> bytes:
    """Make an image that no coding makes smaller, always the same."""
    return _SIGNATURE + random.Random(f"{size_bytes} {seed}").randbytes(size_bytes - len(_SIGNATURE))


def expect(model: str) -> tuple[bytes, ...]:
    """Give the images that an answer holds, partial ones first."""
    kind, *numbers = model.split("-")
    if kind == "b64":
        return (make_image(int(numbers[0])),)
    if kind == "stream":
        partial_bytes, count, final_bytes = map(int, numbers)
        return (*(make_image(partial_bytes, number + 1) for number in range(count)), make_image(final_bytes))
    return (make_image(1000),)


@functools.cache
def write_answer(model: str) -> bytes:
    """Write the whole answer, head and body."""
    images = [base64.b64encode(image) for image in expect(model)]
    if not model.startswith("stream-"):
        return _write_head("application/json", _write_json(images[0]))
    events = [_write_partial(index, image) for index, image in enumerate(images[:-1])]
    return _write_head("text/event-stream", b"".join([*events, _write_completed(images[-1])]))


def write_refusal(retry_after: int | None, fields: str = "") -> bytes:
    """Write a 429."""
    body = b'{"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}'
    wait = "" if retry_after is None else f"retry-after: {retry_after}\r\n"
    head = f"HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\n{wait}{fields}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


def _write_head(content_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nx-request-id: req_7f3a9c\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


_USAGE: Final = (
    b'{"total_tokens": 1582, "input_tokens": 22, "output_tokens": 1560, '
    b'"input_tokens_details": {"text_tokens": 22, "image_tokens": 0}}'
)
_FORM: Final = b'"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024"'


def _write_json(image: bytes) -> bytes:
    data = b'[{"b64_json": "' + image + b'"}]'
    return b'{"created": 1790000000, ' + _FORM + b', "data": ' + data + b', "usage": ' + _USAGE + b"}"


def _write_partial(index: int, image: bytes) -> bytes:
    kind = b"image_generation.partial_image"
    fields = b', "created_at": 1790000000, ' + _FORM + b', "partial_image_index": %d' % index
    return b"event: " + kind + b'\ndata: {"type": "' + kind + b'", "b64_json": "' + image + b'"' + fields + b"}\n\n"


def _write_completed(image: bytes) -> bytes:
    kind = b"image_generation.completed"
    fields = b', "created_at": 1790000000, ' + _FORM + b', "usage": ' + _USAGE
    return b"event: " + kind + b'\ndata: {"type": "' + kind + b'", "b64_json": "' + image + b'"' + fields + b"}\n\n"
