"""The loads that a client is put under over the network; what needs more room is in `holds` and `files`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Final

from .answers import SMALL, name_image, name_limited, name_slow
from .meters import Checker, PeakMemory, Stopwatch
from .server import BURST, LIMITED_LATENCY, PER_SECOND
from .sessions import Measured, Session, describe, repeat, warm_up
from .starts import measure_start

# What takes so many seconds is not asked a second time.
_TOO_SLOW: Final = 30.0
# Until each connection is open, also of a client that begins gently: opening one costs as much as four requests.
_ROUNDS_TO_BEGIN: Final = 6


async def start(session: Session) -> Measured:
    """Processes that import the client, or make one request with it."""
    return measure_start(session.kind.name, session.base_url)


async def answers(session: Session, *, size_bytes: int, at_once: int = 1) -> Measured:
    """Plain answers with one image, so many under way at all times."""
    model = name_image(size_bytes)
    checker = Checker(SMALL, model)
    async with session.open() as client:
        await warm_up(client, checker)
        memory = PeakMemory()

        async def ask() -> None:
            checker.check(model, await client.generate(model))

        await repeat(ask, at_once, least=_ROUNDS_TO_BEGIN * at_once)
        watch = Stopwatch(checker, session.server)
        watch.start()
        await repeat(ask, at_once, seconds=session.seconds, least=max(3, at_once))
        watch.stop()
        return describe(watch, checker, memory)


async def streams(session: Session, *, model: str) -> Measured:
    """Streams one after another; `first_ms` is the time until the first partial image is there."""
    checker = Checker(SMALL, model)
    firsts: list[float] = []
    async with session.open() as client:
        await warm_up(client, checker)
        memory = PeakMemory()

        async def ask() -> None:
            began_at, count = time.perf_counter(), 0
            async for content in client.stream(model):
                if count == 0:
                    firsts.append(time.perf_counter() - began_at)
                checker.check(model, content, count)
                count += 1
            checker.expect_images(model, count)

        await repeat(ask, 1, least=2)
        firsts.clear()
        watch = Stopwatch(checker, session.server)
        watch.start()
        await repeat(ask, 1, seconds=session.seconds, least=3)
        watch.stop()
        return describe(watch, checker, memory) | {"first_ms": sorted(firsts)[len(firsts) // 2] * 1e3}


async def in_flight(session: Session, *, count: int, latency_ms: int) -> Measured:
    """So many requests at once against a server that takes its time: cold, then again with open connections."""
    model = name_slow(latency_ms)
    checker = Checker(SMALL, model)
    async with session.open() as client:
        await warm_up(client, checker, count=1)
        memory = PeakMemory()

        async def ask() -> None:
            checker.check(model, await client.generate(model))

        async def ask_all() -> None:
            await asyncio.gather(*[ask() for _ in range(count)])

        cold, warm = Stopwatch(checker, session.server), Stopwatch(checker, session.server)
        cold.start()
        await ask_all()
        cold.stop()
        measured: Measured = {
            "cold_above_s": cold.seconds - latency_ms / 1e3,
            "cold_cpu_us": cold.cpu / count * 1e6,
            "peak_kb": memory.read_mb() / count * 1e3,
            "server_busy": cold.server_busy,
        }
        if cold.seconds > _TOO_SLOW:
            return measured
        warm.start()
        await ask_all()
        warm.stop()
        return measured | {
            "warm_above_s": warm.seconds - latency_ms / 1e3,
            "warm_cpu_us": warm.cpu / count * 1e6,
            "peak_kb": memory.read_mb() / count * 1e3,
        }


async def limited(session: Session, *, kind: str, count: int, retries: int) -> Measured:
    """So many requests at once against 1,200 a minute, with a bucket that holds 20."""
    # Each measurement has a limit of its own, which is full.
    model = name_limited(kind, os.getpid())
    checker = Checker(model)
    async with session.open(retries) as client:

        async def ask() -> bool:
            try:
                content = await client.generate(model)
            except Exception:
                # Whatever a client raises: the image could be had, and the caller has none.
                return False
            checker.check(model, content)
            return True

        began_at = time.perf_counter()
        done = await asyncio.gather(*[ask() for _ in range(count)])
        seconds = time.perf_counter() - began_at
    least = (count - BURST) / PER_SECOND + LIMITED_LATENCY
    failed = done.count(False)
    measured: Measured = {"failed": failed, "refused": session.server.count_refused(model)}
    if not failed:
        # What gives up early is early: else the time says nothing.
        measured["makespan"] = seconds / least
    return measured
