"""Loads of parts of this package without a network: a job, and the scheduler."""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import statistics
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Final

from jobs import Transport

from aiai_async import AsyncImagesClient
from aiai_async._scheduler import Asker, Permit, Scheduler
from aiai_async.bulk import BulkJob, Progress
from aiai_async.policy.ceilings import Cost
from aiai_async.wire.endpoint import Origin

from .files import find_fast_folder
from .meters import PeakMemory, read_cpu, read_memory
from .sessions import Measured, Session

_ASKER = Asker(origin=Origin("https", "api.example.com", 443), key="key", model="gpt-image-1", cost=Cost())

# With fewer items, what is allocated once looks as if it grew.
_ENOUGH_FOR_SLOPE: Final = 50_000


async def job(session: Session, *, count: int) -> Measured:
    """A job of so many items on a transport that answers at once; its folder is in memory where there is such a one."""
    folder = Path(tempfile.mkdtemp(prefix="aiai-bench-", dir=find_fast_folder()))
    resident: list[tuple[int, int]] = []

    def note(progress: Progress) -> None:
        resident.append((progress.done, read_memory("VmRSS")))

    try:
        async with AsyncImagesClient("sk-test", base_url=session.base_url, transport=Transport()) as client:
            warm_up = BulkJob((f"w {number}" for number in range(500)), folder / "warm-up", client)
            await warm_up.run()
            memory = PeakMemory()
            began_at, cpu_at = time.perf_counter(), read_cpu()
            prompts = (f"A lighthouse, {number}" for number in itertools.count())
            result = await BulkJob(itertools.islice(prompts, count), folder / "job", client).run(on_progress=note)
            cpu, seconds = read_cpu() - cpu_at, time.perf_counter() - began_at
        if result.done != count:
            raise ValueError(f"{result.done} of {count} items are done")
        journal = sum(path.stat().st_size for path in (folder / "job").glob("job.sqlite*"))
        measured = {
            "item_cpu_us": cpu / count * 1e6,
            "items_per_s": count / seconds,
            "peak_mb": memory.read_mb(),
            "journal_bytes": journal / count,
        }
        if count >= _ENOUGH_FOR_SLOPE:
            # The first part fills caches of a fixed size, and what allocators keep.
            measured["slope_bytes"] = find_slope([each for each in resident if each[0] >= count / 2])
        return measured
    finally:
        shutil.rmtree(folder)


def find_slope(points: list[tuple[int, int]]) -> float:
    """Find by how much the second number rises with the first, by least squares; 0 where that can't be told."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    return statistics.linear_regression([x for x, _ in points], [y for _, y in points]).slope


async def scheduler(session: Session, *, count: int, waiters: int) -> Measured:
    """What letting a request go costs with nothing limiting it, and what waking one of very many who wait."""
    free = Scheduler(limits=None, max_connections=0)
    held: deque[Permit] = deque()
    loop = asyncio.get_running_loop()
    clock = loop.time

    async def go() -> None:
        permit = free.acquire_nowait(_ASKER, loop) or await free.acquire(_ASKER)
        permit.note_sent(clock())
        held.append(permit)
        if len(held) > 64:
            done = held.popleft()
            done.accept(())
            done.release()

    # As on a fast network: else the first ones are spread, and that is waiting and no cost.
    (await free.acquire(_ASKER)).note_connect(0.0002)
    for _ in range(2_000):
        await go()
    cpu_at = read_cpu()
    for _ in range(count):
        await go()
    cpu = read_cpu() - cpu_at
    return {"cpu_us": cpu / count * 1e6} | await _wake_waiters(waiters)


async def _wake_waiters(waiters: int) -> Measured:
    full = Scheduler(limits=None, max_connections=1)
    clock = asyncio.get_running_loop().time
    holder = await full.acquire(_ASKER)
    holder.note_sent(clock())
    woken: asyncio.Queue[tuple[Permit, float]] = asyncio.Queue()

    async def wait() -> None:
        permit = await full.acquire(_ASKER)
        woken.put_nowait((permit, time.perf_counter()))

    memory, cpu_at = PeakMemory(), read_cpu()
    tasks = [asyncio.create_task(wait()) for _ in range(waiters)]
    # One turn of the loop begins them all.
    await asyncio.sleep(0)
    if full.describe().waiting != waiters:
        raise RuntimeError(f"{full.describe().waiting} wait, not {waiters}")
    entering = read_cpu() - cpu_at
    peak = memory.read_mb()
    latencies: list[float] = []
    for _ in range(min(2_000, waiters)):
        released_at = time.perf_counter()
        holder.accept(())
        holder.release()
        holder, woken_at = await woken.get()
        holder.note_sent(clock())
        latencies.append(woken_at - released_at)
    latencies.sort()
    cpu_at, left = read_cpu(), sum(not task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    leaving = read_cpu() - cpu_at
    holder.release()
    return {
        "enter_us": entering / waiters * 1e6,
        "wake_us": latencies[len(latencies) // 2] * 1e6,
        "wake_p99_us": latencies[math.ceil(len(latencies) * 0.99) - 1] * 1e6,
        "leave_us": leaving / max(1, left) * 1e6,
        "waiter_kb": peak / waiters * 1e3,
    }
