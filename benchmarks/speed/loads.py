"""The loads that a client is put under, each in the process that measures it. What comes out are names and numbers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple

from .answers import SMALL, name_image, name_slow
from .clients import Client, Kind
from .meters import Checker, PeakMemory, Server, Stopwatch
from .starts import measure_start

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
    async def open(self, retries: int | None = None) -> AsyncIterator[Client]:
        """Open the client, and close it at the end."""
        client = self.open_client(retries)
        try:
            yield client
        finally:
            await client.aclose()


async def answers(session: Session, *, size_bytes: int, at_once: int = 1) -> Measured:
    """Plain answers with one image, so many under way at all times."""
    model = name_image(size_bytes)
    checker = Checker(SMALL, model)
    async with session.open() as client:
        await _warm_up(client, checker)
        memory = PeakMemory()

        async def ask() -> None:
            checker.check(model, await client.generate(model))

        await _repeat(ask, at_once, least=2 * at_once)
        watch = Stopwatch(checker, session.server)
        watch.start()
        await _repeat(ask, at_once, seconds=session.seconds, least=max(3, at_once))
        watch.stop()
        return _describe(watch, checker, memory)


async def streams(session: Session, *, model: str) -> Measured:
    """Streams one after another; `first_ms` is the time until the first partial image is there."""
    checker = Checker(SMALL, model)
    firsts: list[float] = []
    async with session.open() as client:
        await _warm_up(client, checker)
        memory = PeakMemory()

        async def ask() -> None:
            began_at, count = time.perf_counter(), 0
            async for content in client.stream(model):
                if count == 0:
                    firsts.append(time.perf_counter() - began_at)
                checker.check(model, content, count)
                count += 1
            checker.expect_images(model, count)

        await _repeat(ask, 1, least=2)
        firsts.clear()
        watch = Stopwatch(checker, session.server)
        watch.start()
        await _repeat(ask, 1, seconds=session.seconds, least=3)
        watch.stop()
        return _describe(watch, checker, memory) | {"first_ms": sorted(firsts)[len(firsts) // 2] * 1e3}


async def in_flight(session: Session, *, count: int, latency_ms: int) -> Measured:
    """So many requests at once against a server that takes its time: cold, then again with open connections."""
    model = name_slow(latency_ms)
    checker = Checker(SMALL, model)
    async with session.open() as client:
        await _warm_up(client, checker, count=1)
        memory = PeakMemory()

        async def ask() -> None:
            checker.check(model, await client.generate(model))

        async def ask_all() -> None:
            await asyncio.gather(*[ask() for _ in range(count)])

        cold, warm = Stopwatch(checker, session.server), Stopwatch(checker, session.server)
        for watch in (cold, warm):
            watch.start()
            await ask_all()
            watch.stop()
        return {
            "cold_above_s": cold.seconds - latency_ms / 1e3,
            "cold_cpu_us": cold.cpu / count * 1e6,
            "warm_above_s": warm.seconds - latency_ms / 1e3,
            "warm_cpu_us": warm.cpu / count * 1e6,
            "peak_kb": memory.read_mb() / count * 1e3,
            "server_busy": cold.server_busy,
        }


async def start(session: Session) -> Measured:
    """Processes that import the client, or make one request with it."""
    return measure_start(session.kind.name, session.base_url)


async def _warm_up(client: Client, checker: Checker, *, count: int = 5) -> None:
    """Open a connection, and load what is loaded at first use."""
    for _ in range(count):
        checker.check(SMALL, await client.generate(SMALL))


async def _repeat(ask: Callable[[], Awaitable[None]], at_once: int, *, least: int, seconds: float = 0.0) -> None:
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


def _describe(watch: Stopwatch, checker: Checker, memory: PeakMemory) -> Measured:
    megabytes, requests = checker.size_bytes / 1e6, checker.images
    return {
        "requests": requests,
        "cpu_us": watch.cpu / requests * 1e6,
        "requests_per_s": requests / watch.seconds,
        "cpu_ms_per_mb": watch.cpu / megabytes * 1e3,
        "mb_per_s": megabytes / watch.seconds,
        "peak_mb": memory.read_mb(),
        "server_busy": watch.server_busy,
    }


LOADS: Final[dict[str, Callable[..., Awaitable[Measured]]]] = {  # ...: each has arguments of its own
    "answers": answers,
    "streams": streams,
    "in_flight": in_flight,
    "start": start,
}
