"""Servers with real limits over real sockets: every request succeeds, and few are refused.

Few and short, with limits of a second and less; how well each kind of limit is kept is measured by the benchmarks, on
a virtual clock. Here it is shown that sockets, clocks and lateness of a real program don't spoil it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest
from aiohttp import web

from aiai_async import AsyncImagesClient, ImagesResponse, RateLimitError, RateLimits
from aiai_async.server import LocalServer
from tests.scripted import KEY, answer_with, error_body


class Rule(Protocol):
    """A limit: lets a request in or says how long to wait."""

    limit: int

    def admit(self, now: float) -> float:
        """Take one and give 0; or give the seconds until one can be had."""
        ...

    def left(self, now: float) -> tuple[float, float]:
        """Give what is left, and the seconds until all of it is back."""
        ...


class Bucket:
    def __init__(self, per_second: float, burst: int) -> None:
        self.limit = burst
        self._per_second = per_second
        self._level, self._at = float(burst), -math.inf

    def left(self, now: float) -> tuple[float, float]:
        if self._at > -math.inf:
            self._level = min(self.limit, self._level + (now - self._at) * self._per_second)
        self._at = now
        return self._level, (self.limit - self._level) / self._per_second

    def admit(self, now: float) -> float:
        level, _ = self.left(now)
        if level < 1:
            return (1 - level) / self._per_second
        self._level -= 1
        return 0.0


class FixedWindow:
    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._window, self._used = -1, 0

    def left(self, now: float) -> tuple[float, float]:
        window = math.floor(now / self._seconds)
        if window != self._window:
            self._window, self._used = window, 0
        return self.limit - self._used, (window + 1) * self._seconds - now

    def admit(self, now: float) -> float:
        left, resets_in = self.left(now)
        if left < 1:
            return resets_in
        self._used += 1
        return 0.0


class SlidingWindow:
    def __init__(self, limit: int, seconds: float) -> None:
        self.limit = limit
        self._seconds = seconds
        self._log: deque[float] = deque()

    def left(self, now: float) -> tuple[float, float]:
        while self._log and self._log[0] <= now - self._seconds:
            self._log.popleft()
        return self.limit - len(self._log), self._log[-1] + self._seconds - now if self._log else 0.0

    def admit(self, now: float) -> float:
        left, _ = self.left(now)
        if left < 1:
            return self._log[0] + self._seconds - now
        self._log.append(now)
        return 0.0


class LimitedServer:
    """A server with a limit, which counts what it lets in and what it refuses.

    Args:
        rule: the limit over time; None: there is none.
        cap: requests under way at once.
        says: what answers tell: "headers" (limit, remaining, reset), "retry-after" (refusals alone, in whole seconds),
            or "nothing".
        latency: seconds that an image takes.
    """

    def __init__(
        self, rule: Rule | None, *, cap: float = math.inf, says: str = "nothing", latency: float = 0.05
    ) -> None:
        self.let_in = self.refused = 0
        self._rule = rule
        self._cap = cap
        self._says = says
        self._latency = latency
        self._running = 0
        self.most_running = 0

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen, and give the base URL."""
        app = web.Application()
        app.router.add_post("/v1/images/generations/", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        await request.read()
        now = time.monotonic()
        wait = 1.0 if self._running >= self._cap else 0.0
        if self._rule is not None:
            wait = wait or self._rule.admit(now)
        headers = self._tell(now)
        if wait:
            self.refused += 1
            if self._says != "nothing":
                headers["Retry-After"] = str(math.ceil(wait))
            return web.json_response(error_body("too many", code="rate_limit_exceeded"), status=429, headers=headers)
        self.let_in += 1
        self._running += 1
        self.most_running = max(self.most_running, self._running)
        try:
            await asyncio.sleep(self._latency)
        finally:
            self._running -= 1
        return web.json_response(answer_with(), headers=headers)

    def _tell(self, now: float) -> dict[str, str]:
        if self._says != "headers" or self._rule is None:
            return {}
        left, resets_in = self._rule.left(now)
        return {
            "x-ratelimit-limit-requests": str(self._rule.limit),
            "x-ratelimit-remaining-requests": str(math.floor(left)),
            "x-ratelimit-reset-requests": f"{math.ceil(resets_in * 1000)}ms",
        }


async def make(base_url: str, count: int, **options: Any) -> list[ImagesResponse | BaseException]:
    async with AsyncImagesClient(KEY, base_url=base_url, **options) as client:
        calls = [client.generate(f"image {number}") for number in range(count)]
        return await asyncio.gather(*calls, return_exceptions=True)


@pytest.mark.parametrize(
    ("server", "count", "most_refused"),
    [
        pytest.param(lambda: LimitedServer(Bucket(20, 5), says="headers"), 40, 20, id="bucket-headers"),
        pytest.param(lambda: LimitedServer(FixedWindow(10, 0.5), says="headers"), 50, 20, id="window-headers"),
        pytest.param(lambda: LimitedServer(SlidingWindow(10, 0.5), says="headers"), 50, 20, id="sliding-headers"),
        pytest.param(lambda: LimitedServer(FixedWindow(20, 1.0), says="retry-after"), 50, 25, id="window-retry-after"),
        pytest.param(lambda: LimitedServer(Bucket(20, 5)), 40, 30, id="hidden-bucket"),
        pytest.param(lambda: LimitedServer(FixedWindow(10, 0.5)), 40, 30, id="hidden-window"),
        pytest.param(lambda: LimitedServer(SlidingWindow(10, 0.5)), 40, 30, id="hidden-sliding"),
        pytest.param(lambda: LimitedServer(None, cap=3), 40, 20, id="hidden-cap"),
        pytest.param(lambda: LimitedServer(None), 60, 0, id="no-limit"),
    ],
)
async def test_all_succeed_and_few_are_refused(server: Any, count: int, most_refused: int) -> None:
    """Started all at once, without a word to the client of what limits."""
    limited: LimitedServer = server()
    async with limited.serve() as base_url:
        results = await make(base_url, count)
    assert [each for each in results if isinstance(each, BaseException)] == []
    assert limited.let_in == count
    assert limited.refused <= most_refused


async def test_a_declared_cap_is_kept() -> None:
    """The local server refuses nothing where it is told beforehand what it allows."""
    limits = RateLimits(concurrency=3)
    async with LocalServer(limits=limits, latency=0.02) as server:
        async with AsyncImagesClient(KEY, base_url=server.base_url, limits=limits) as client:
            size: Any = {"model": "dall-e-2", "size": "256x256"}
            await asyncio.gather(*(client.generate(f"image {number}", **size) for number in range(12)))
        assert [each.status for each in server.requests] == [200] * 12


async def test_an_undeclared_cap_is_found() -> None:
    """The local server's own refusals, with the headers it has, lead to what it allows."""
    async with LocalServer(limits=RateLimits(concurrency=3), limit_style="hidden", latency=0.05) as server:
        async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
            size: Any = {"model": "dall-e-2", "size": "256x256"}
            await asyncio.gather(*(client.generate(f"image {number}", **size) for number in range(30)))
        statuses = [each.status for each in server.requests]
    assert statuses.count(200) == 30
    assert statuses.count(429) <= 20


async def test_a_refusal_of_the_local_server() -> None:
    """Two clients that don't know of each other: what the second is refused tells it of the limit."""
    size: Any = {"model": "dall-e-2", "size": "256x256"}
    async with LocalServer(limits=RateLimits(images_per_minute=2)) as server:
        async with AsyncImagesClient(KEY, base_url=server.base_url) as other:
            await other.generate("A", n=2, **size)
        async with AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client:
            with pytest.raises(RateLimitError, match="images per min") as caught:
                await client.generate("B", **size)
            told = {limit.name: limit for limit in client.limits}
    assert caught.value.retry_after == pytest.approx(30, abs=2)
    assert (told["images"].source, told["images"].limit) == ("learned", 2)
