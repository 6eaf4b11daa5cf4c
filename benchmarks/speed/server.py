"""The server that clients are measured against: it writes prepared bytes and does next to nothing else.

It runs in a process of its own, on a core of its own. `GET /cpu` tells what it has used so far, so that every
measurement can show that it was the client that was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import os
import re
import time
from collections import defaultdict
from typing import Any, Final, cast

from .answers import SMALL, write_answer, write_refusal

_MODEL: Final = re.compile(rb'"model"\s*:\s*"(?:openai/)?([a-z0-9-]+)"')
_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)

PER_SECOND: Final = 20.0
BURST: Final = 20
LIMITED_LATENCY: Final = 0.2
"""Seconds that an answer takes where there is a limit."""


class Limit:
    """A bucket of 1,200 a minute that holds 20."""

    def __init__(self) -> None:
        self.refused = 0
        self._level = float(BURST)
        self._at = 0.0

    def admit(self, now: float) -> bool:
        """Take one."""
        self._level = min(BURST, self._level + (now - self._at) * PER_SECOND) if self._at else float(BURST)
        self._at = now
        if self._level < 1:
            self.refused += 1
            return False
        self._level -= 1
        return True

    def write_fields(self) -> str:
        """Write what OpenAI's servers say of a limit."""
        full_in = (BURST - self._level) / PER_SECOND
        return (
            "x-ratelimit-limit-requests: 1200\r\n"
            f"x-ratelimit-remaining-requests: {int(self._level)}\r\n"
            f"x-ratelimit-reset-requests: {max(1, round(full_in * 1000))}ms\r\n"
        )


class Connection(asyncio.Protocol):
    """One connection: a request is read, its prepared answer written."""

    def __init__(self, limits: defaultdict[str, Limit]) -> None:
        self._limits: Final = limits
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer when the request is whole; no client here sends a second one before that."""
        received = self._received = self._received + data if self._received else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        length = _LENGTH.search(received, 0, head_end)
        if length is not None and len(received) < head_end + 4 + int(length[1]):
            return
        self._received = b""
        if received.startswith(b"GET "):
            self._tell(received[4 : received.find(b" ", 4)].decode())
        else:
            found = _MODEL.search(received, head_end)
            self._answer(SMALL if found is None else found[1].decode())

    def _answer(self, model: str) -> None:
        kind, _, rest = model.partition("-")
        if kind == "slow":
            asyncio.get_running_loop().call_later(int(rest) / 1000, self._write, write_answer(SMALL))
        elif kind == "limited":
            self._answer_limited(self._limits[model], says_limit=rest.startswith("told"))
        else:
            self._write(write_answer(model))

    def _answer_limited(self, limit: Limit, *, says_limit: bool) -> None:
        is_let_in = limit.admit(time.monotonic())
        fields = limit.write_fields() if says_limit else ""
        if not is_let_in:
            self._write(write_refusal(1 if says_limit else None, fields))
            return
        answer = write_answer(SMALL).replace(b"\r\n\r\n", f"\r\n{fields}\r\n".encode(), 1)
        asyncio.get_running_loop().call_later(LIMITED_LATENCY, self._write, answer)

    def _tell(self, path: str) -> None:
        model = path.removeprefix("/refused/")
        text = str(time.process_time() if path == "/cpu" else self._limits[model].refused)
        self._write(f"HTTP/1.1 200 OK\r\ncontent-length: {len(text)}\r\n\r\n{text}".encode())

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        # A client that has gone meanwhile closed it.
        if not self._transport.is_closing():
            self._transport.write(data)


async def serve() -> None:
    """Serve on a free port, which is printed, until the process is ended."""
    limits: defaultdict[str, Limit] = defaultdict(Limit)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(limits), "127.0.0.1", 0, backlog=20_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Serve, on uvloop where it is installed, which takes half the time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--core", type=int, help="the core to run on")
    options = parser.parse_args()
    if options.core is not None:
        os.sched_setaffinity(0, {options.core})
    try:
        uvloop: Any = importlib.import_module("uvloop")  # Any: it is no part of the developers' tools
    except ImportError:
        asyncio.run(serve())
    else:
        uvloop.run(serve())


if __name__ == "__main__":
    main()
