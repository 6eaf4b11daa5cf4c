"""Streams as servers write them, for scripted servers: what comes when is up to the test."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

from tests.scripted import PNG, Answer, Received

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Request-Id: req_7\r\nConnection: close\r\n\r\n"


def partial(index: int = 0, image: bytes = PNG) -> bytes:
    """Write the event of a partial image."""
    return _event("partial_image", image, partial_image_index=index)


def completed(image: bytes = PNG, **fields: object) -> bytes:
    """Write the event of a final image."""
    return _event("completed", image, **fields)


def error(message: str, **fields: object) -> bytes:
    """Write the event of an error."""
    body = {"type": "error", "error": {"message": message, "type": None, "param": None, "code": None, **fields}}
    return f"event: error\ndata: {json.dumps(body)}\n\n".encode()


def whole(*events: bytes) -> bytes:
    """Write an answer that ends behind these events; the end of the connection is its end."""
    return _HEAD + b"".join(events)


def held(*events: bytes, until: asyncio.Event, then: bytes = b"") -> Answer:
    """Make an answer that stops behind these events until it may go on."""

    async def script(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(*events))
        await until.wait()
        writer.write(then)
        await writer.drain()
        writer.close()

    return script


def by_prompt(choose: Callable[[str], bytes]) -> Answer:
    """Make an answer that depends on the prompt."""

    async def script(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(choose(str(request.json["prompt"])))
        await writer.drain()
        writer.close()

    return script


def _event(kind: str, image: bytes, **fields: object) -> bytes:
    body = {"type": f"image_generation.{kind}", "b64_json": base64.b64encode(image).decode(), **fields}
    return f"event: image_generation.{kind}\ndata: {json.dumps(body)}\n\n".encode()
