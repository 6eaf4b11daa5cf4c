"""What every load works with: the client and the server, and a way to keep so many requests under way."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import NamedTuple

from .answers import SMALL
from .clients import Client, Kind
from .meters import Checker, PeakMemory, Server, Stopwatch

Measured = dict[str, float]


class Session(NamedTuple):
    """What a load works with."""

    kind: Kind
    base_url: str
    open_client: Callable[[int | None], Client]
    """Makes the client, with this number of retries; None: its default."""
    server: Server
    seconds: float
    """How long to measure, where a load goes on for a time."""

    @contextlib.asynccontextmanager
    async def open(self, retries: int | None = None) -> AsyncGenerator[Client]:
        """Open the client, and close it at the end."""
        client = self.open_client(retries)
        try:
            yield client
        finally:
            await client.aclose()


async def warm_up(client: Client, checker: Checker, *, count: int = 5, at_once: int = 1) -> None:
    """Open connections, and load what is loaded at first use."""

    async def ask() -> None:
        checker.check(SMALL, await client.generate(SMALL))

    await repeat(ask, at_once, least=count)


async def repeat(ask: Callable[[], Awaitable[None]], at_once: int, *, least: int, seconds: float = 0.0) -> None:
    """Ask, `at_once` times at once, until the time is over and there were `least` requests."""
    end = time.perf_counter() + seconds
    begun = 0

    async def go_on() -> None:
        nonlocal begun
        while begun < least or time.perf_counter() < end:
            begun += 1
            await ask()

    if at_once == 1:
        await go_on()
    else:
        await asyncio.gather(*[go_on() for _ in range(at_once)])


def describe(watch: Stopwatch, checker: Checker, memory: PeakMemory) -> Measured:
    """Give the numbers of plain answers and streams."""
    megabytes, images = checker.size_bytes / 1e6, checker.images
    return {
        "images": images,
        "cpu_us": watch.cpu / images * 1e6,
        "requests_per_s": images / watch.seconds,
        "cpu_ms_per_mb": watch.cpu / megabytes * 1e3,
        "mb_per_s": megabytes / watch.seconds,
        "peak_mb": memory.read_mb(),
        "server_busy": watch.server_busy,
    }
