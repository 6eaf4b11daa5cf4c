"""For how long the event loop is held while many images come at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from .answers import SMALL, name_image
from .clients import Client
from .meters import Checker
from .sessions import Measured, Session, warm_up


class Turns:
    """Watches the turns of the running loop.

    A callback that asks for its next turn at once sees every turn; how long the longest one took is for how long
    anything else had to wait. On asyncio's own loop the longest single callback is found too.
    """

    def __init__(self) -> None:
        self.longest = 0.0
        self.longest_cpu = 0.0
        self.longest_callback = 0.0

    @contextmanager
    def watch(self) -> Generator[None]:
        """Watch while the block runs."""
        loop = asyncio.get_running_loop()
        is_over = False
        last, last_cpu = time.perf_counter(), time.thread_time()

        def tick() -> None:
            nonlocal last, last_cpu
            now, now_cpu = time.perf_counter(), time.thread_time()
            self.longest = max(self.longest, now - last)
            self.longest_cpu = max(self.longest_cpu, now_cpu - last_cpu)
            last, last_cpu = now, now_cpu
            if not is_over:
                loop.call_soon(tick)

        handle_class: Any = asyncio.Handle  # Any: `_run` is private, and nothing else sees a single callback
        run = handle_class._run

        def run_timed(handle: asyncio.Handle) -> None:
            began_at = time.perf_counter()
            run(handle)
            self.longest_callback = max(self.longest_callback, time.perf_counter() - began_at)

        handle_class._run = run_timed
        loop.call_soon(tick)
        try:
            yield
        finally:
            is_over = True
            handle_class._run = run


async def holds(session: Session, *, size_bytes: int, at_once: int) -> Measured:
    """The longest turn of the loop while so many images come at once; nothing is checked meanwhile."""
    model = name_image(size_bytes)
    checker = Checker(SMALL, model)
    async with session.open() as client:
        await warm_up(client, checker)
        # The first time opens connections.
        await _watch(client, checker, model, at_once)
        turns = await _watch(client, checker, model, at_once)
        measured = {"hold_ms": turns.longest * 1e3, "hold_cpu_ms": turns.longest_cpu * 1e3}
        # uvloop runs its callbacks itself.
        return measured | ({"callback_ms": turns.longest_callback * 1e3} if turns.longest_callback else {})


async def _watch(client: Client, checker: Checker, model: str, at_once: int) -> Turns:
    turns = Turns()
    with turns.watch():
        contents = await asyncio.gather(*[client.generate(model) for _ in range(at_once)])
    await asyncio.sleep(0)
    for content in contents:
        checker.check(model, content)
    return turns
