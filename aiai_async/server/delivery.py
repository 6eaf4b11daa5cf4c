"""Sends what a fault says: pieces with gaps between them, and an ending that may be none.

The one place that touches a connection's transport. It decides nothing; the record does.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Final

import anyio
from aiohttp import web

from aiai_async.server.faults import Fault
from aiai_async.server.templates import cut_pieces, fill, render_body

# Linger on, for 0 seconds: closing then sends RST instead of FIN, on every system.
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


async def send_fault(
    request: web.Request,
    fault: Fault,
    values: Mapping[str, str],
    *,
    content_type: str = "application/json",
    ordinary: str | bytes = "$answer",
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
    """
    await anyio.sleep(fault.delay)
    pieces = [] if fault.is_silent else render_body(fault, values, ordinary)
    response = web.StreamResponse(status=fault.status or 200)
    response.content_type = content_type
    response.headers.update({name: fill(value, values) for name, value in fault.headers.items()})
    if not fault.is_silent:
        size = sum(len(data) for _, data in pieces)
        # A body in one piece says its length, like an ordinary answer. Others go in chunks, and so does one that is cut
        # at its very end: only the missing last chunk tells it from a whole one.
        if len(pieces) == 1 and (fault.ending == "whole" or fault.part < 1):
            response.content_length = size
        await response.prepare(request)
        for gap, data in cut_pieces(pieces, round(size * fault.part)):
            await anyio.sleep(gap)
            await response.write(data)
    await _end(request, fault)
    return response


async def _end(request: web.Request, fault: Fault) -> None:
    transport = request.transport
    if fault.ending == "whole" or transport is None:
        return
    if fault.ending == "hang":
        await anyio.sleep_forever()
    if fault.ending == "reset":
        # What was written is still in the transport's buffer where the client reads slowly; a reset drops it, which is
        # what a crashed server looks like.
        connection: socket.socket = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    else:
        transport.close()
