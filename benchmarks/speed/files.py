"""Saving images to files, with all of them under way at once; and the same images to memory, to compare."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path
from typing import Final, cast

from .answers import SMALL, expect, name_image
from .clients import Client, Saver
from .meters import Checker, PeakMemory, Stopwatch
from .sessions import Measured, Session, repeat, warm_up

_IN_MEMORY: Final = Path("/dev/shm")


async def saving(session: Session, *, size_bytes: int, at_once: int, to_memory: bool = True) -> Measured:
    """Images to files, so many at once; `of_memory` is the rate as a share of that to memory, `to_memory` asked for."""
    model = name_image(size_bytes)
    checker = Checker(SMALL, model)
    folder = Path(tempfile.mkdtemp(prefix="aiai-bench-", dir=find_fast_folder()))
    try:
        async with session.open() as client:
            await warm_up(client, checker, count=at_once, at_once=at_once)
            saved = 0
            memory = PeakMemory()

            async def save() -> None:
                nonlocal saved
                saved += 1
                await _save(session, client, model, folder / f"{saved}.png")

            watch = Stopwatch(checker, session.server)
            watch.start()
            await repeat(save, at_once, seconds=session.seconds, least=at_once)
            watch.stop()
            peak = memory.read_mb()
            megabytes = saved * size_bytes / 1e6
            _check_files(folder, saved, model)
            measured = {
                "peak_mb_per_request": peak / at_once,
                "peak_mb": peak,
                "mb_per_s": megabytes / watch.seconds,
                "cpu_ms_per_mb": watch.cpu / megabytes * 1e3,
                "server_busy": watch.server_busy,
            }
            if to_memory:
                rate = await _measure_to_memory(session, client, checker, model, at_once)
                measured |= {"memory_mb_per_s": rate, "of_memory": measured["mb_per_s"] / rate}
            return measured
    finally:
        shutil.rmtree(folder)


def find_fast_folder() -> Path | None:
    """Give a folder in memory, where the system has one, so that no disk is measured; None: the usual one."""
    return _IN_MEMORY if _IN_MEMORY.is_dir() else None


async def _save(session: Session, client: Client, model: str, path: Path) -> None:
    if session.kind.can_save:
        await cast(Saver, client).save(model, path)
    else:
        content = await client.generate(model)
        await asyncio.to_thread(path.write_bytes, content)


def _check_files(folder: Path, count: int, model: str) -> None:
    """Compare all files with what was sent, and remove them.

    Raises:
        ValueError: one is not there, is another, or there are more.
    """
    expected = expect(model)[0]
    paths = sorted(folder.iterdir())
    if len(paths) != count:
        raise ValueError(f"{model}: {len(paths)} files, not {count}")
    for path in paths:
        if path.read_bytes() != expected:
            raise ValueError(f"{model}: {path.name} is not what was sent")
        path.unlink()


async def _measure_to_memory(session: Session, client: Client, checker: Checker, model: str, at_once: int) -> float:
    """Give the MB/s of the same images at the same number at once, decoded and let go."""

    async def ask() -> None:
        checker.check(model, await client.generate(model))

    watch = Stopwatch(checker)
    watch.start()
    await repeat(ask, at_once, seconds=session.seconds, least=at_once)
    watch.stop()
    return checker.size_bytes / 1e6 / watch.seconds
