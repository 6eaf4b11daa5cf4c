"""Sends streams, and what faults say: parts with silence between them, and an ending that may be none.

The one place that touches a connection's transport. It decides nothing; the schedule and the record do.
"""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import anyio
from aiohttp import web

from aiai_async._log import LOGGER
from aiai_async.server.events import EVENT_STREAM, Moment, encode_error
from aiai_async.server.faults import Fault
from aiai_async.server.templates import Part, cut_parts, fill, render_body

# Linger on, for 0 seconds: closing then sends RST instead of FIN, on every system.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

_Write = Callable[[bytes], Awaitable[None]]


async def send_stream(
    request: web.Request, moments: Iterable[Moment], make: Callable[[Moment], Awaitable[bytes]]
) -> web.StreamResponse:
    """Answer a request with a stream; the status goes out at once.

    Args:
        request: what is answered.
        moments: the events, in order.
        make: draws and writes one of them.
    """
    response = web.StreamResponse()
    response.content_type = EVENT_STREAM
    await response.prepare(request)
    try:
        await play(moments, make, response.write)
    except ConnectionError:
        raise
    except Exception:
        # The status is out: what else would be a 500 is an event.
        LOGGER.exception("the local server failed in the middle of a stream")
        await response.write(encode_error("The server had an error while processing your request."))
    return response


async def play(moments: Iterable[Moment], make: Callable[[Moment], Awaitable[bytes]], write: _Write) -> None:
    """Write each event when it is due, counted from now; what is late goes out as soon as it is made.

    Each step is made while the one before it is fresh, so that all images are there in time, and only one step is held.
    """
    started_at = anyio.current_time()
    for _, step in itertools.groupby(moments, key=lambda moment: moment.partial):
        made = [(moment.due, await make(moment)) for moment in step]
        for due, data in made:
            await anyio.sleep_until(started_at + due)
            await write(data)


async def send_fault(
    request: web.Request,
    fault: Fault,
    values: Mapping[str, str],
    *,
    content_type: str = "application/json",
    ordinary: str | bytes = "$answer",
    events: Mapping[str, Sequence[Part]] = MappingProxyType({}),
    started_at: float = 0.0,
    latency: float = 0.0,
) -> web.StreamResponse:
    """Send a fault as the answer to a request.

    Returns when the body is out or the connection is broken. Where the fault hangs, returns never: the client's leaving
    or the server's end cancels it.

    Args:
        request: what is answered.
        fault: what is sent.
        values: what the names in its body and headers stand for.
        content_type: what the ordinary answer is labelled.
        ordinary: the body of the ordinary answer, or a template of it.
        events: what the names of a stream's events stand for.
        started_at: when the request was let in, which is what the times of events are counted from.
        latency: seconds after that at which an answer is due that has not been waited for yet.
    """
    await anyio.sleep(fault.delay)
    started_at += fault.delay
    parts = [] if fault.is_silent else render_body(fault, values, ordinary, events=events, due=latency)
    response = web.StreamResponse(status=fault.status or 200)
    response.content_type = content_type
    response.headers.update({name: fill(value, values) for name, value in fault.headers.items()})
    if not fault.is_silent:
        size = sum(len(part.data) for part in parts)
        # A body in one part says its length, like an ordinary answer. Others go in chunks, and so do streams and one
        # that is cut at its very end: only the missing last chunk tells it from a whole one.
        if len(parts) == 1 and content_type != EVENT_STREAM and (fault.ending == "whole" or fault.part < 1):
            response.content_length = size
        await response.prepare(request)
        for part in cut_parts(parts, round(size * fault.part)):
            await anyio.sleep(max(part.gap, started_at + part.due - anyio.current_time()))
            await response.write(part.data)
    await _end(request, response, fault)
    return response


async def _end(request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
    transport = request.transport
    if fault.ending == "whole" or transport is None:
        return
    if fault.ending == "hang":
        await _hang(response, fault)
    if fault.ending == "reset":
        # What was written is still in the transport's buffer where the client reads slowly; a reset drops it, which is
        # what a crashed server looks like.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()


async def _hang(response: web.StreamResponse, fault: Fault) -> None:
    beat = fault.heartbeat
    if beat is None or fault.is_silent:
        await anyio.sleep_forever()
    else:
        data = beat.data.encode() if isinstance(beat.data, str) else beat.data
        while True:
            await anyio.sleep(beat.gap)
            await response.write(data)
