"""The way to a simulated server: connections, the time that all takes, and answers as they come over the wire."""

from __future__ import annotations

import asyncio
import functools
import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import attrs

from .headers import write_limits, write_wait
from .records import Record
from .servers import Request, Server, Verdict

T = TypeVar("T")

CONNECT: Final = 0.05
"""Seconds that a new connection takes."""
REFUSAL: Final = 0.05
"""Seconds from sending to a refusal."""
ONE_WAY: Final = 0.001
"""Seconds from sending to the server's decision."""
_SIGMA: Final = 0.35


class Times:
    """Draws how long things take; the n-th request that is let in takes the same in each run.

    Args:
        latency: median of how long those take that are let in, in seconds; they are lognormal.
        seed: of the chance in it.
        jitter: most that the way to the server takes longer than `ONE_WAY`, in seconds: one that is sent a little later
            may arrive before.
    """

    def __init__(self, latency: float, *, seed: int, jitter: float = 0.0) -> None:
        self._mu: Final = math.log(latency)
        self._jitter: Final = jitter
        self._luck: Final = random.Random(seed)
        self._luck_on_the_way: Final = random.Random(seed)

    def draw_answer(self) -> float:
        """Give the seconds from the server's decision to the answer."""
        return max(ONE_WAY, self._luck.lognormvariate(self._mu, _SIGMA) - ONE_WAY)

    def draw_way(self) -> float:
        """Give the seconds from sending to the server's decision."""
        return ONE_WAY + self._jitter * self._luck_on_the_way.random()


@attrs.frozen(kw_only=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    """What of the header speaks of limits, by lower-case names."""
    is_quota: bool


class Network:
    """Carries requests to one server, on the running event loop.

    Args:
        server: where they go.
        requests: the requests of the job, in the order in which they are asked for.
        times: draws how long things take.
    """

    def __init__(self, server: Server, requests: Sequence[Request], times: Times) -> None:
        self.server: Final = server
        self.requests: Final = requests
        self.record: Final = Record(requests)
        self._times: Final = times
        self._idle = 0
        """Connections that are kept and not in use."""
        self._due: Final[list[tuple[float, int, Callable[[], None]]]] = []
        self._numbers: Final = itertools.count()

    async def exchange(
        self,
        index: int,
        *,
        on_connected: Callable[[float], None] = lambda _: None,
        on_sent: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Send the request with this place in the order, and wait for the answer."""
        loop = asyncio.get_running_loop()
        if self._idle:
            self._idle -= 1
        else:
            connected = loop.create_future()
            self._at(CONNECT, functools.partial(_set, connected, None))
            await connected
            on_connected(CONNECT)
        on_sent()
        self.record.note("sent", loop.time())
        answered: asyncio.Future[Verdict] = loop.create_future()
        way = self._times.draw_way()
        self._at(way, functools.partial(self._arrive, index, way, answered))
        verdict = await answered
        if verdict.status == 200:
            self.server.leave()
            self.record.note("answered", loop.time())
        else:
            self.record.refuse(is_quota=verdict.is_quota, status=verdict.status, now=loop.time())
        self._idle += 1
        headers = write_headers(self.server, self.requests[index], verdict, loop.time())
        return Reply(status=verdict.status, headers=headers, is_quota=verdict.is_quota)

    def _arrive(self, index: int, way: float, answered: asyncio.Future[Verdict]) -> None:
        now = asyncio.get_running_loop().time()
        verdict = self.server.arrive(self.requests[index], now)
        if verdict.status == 200:
            self.record.admit(index, now)
        answer_in = self._times.draw_answer() if verdict.status == 200 else REFUSAL - way
        self._at(answer_in, functools.partial(_set, answered, verdict))

    def _at(self, delay: float, what: Callable[[], None]) -> None:
        """Do something later; what is due at the same moment comes in the order of asking, unlike with `call_at`."""
        loop = asyncio.get_running_loop()
        at = loop.time() + delay
        heapq.heappush(self._due, (at, next(self._numbers), what))
        loop.call_at(at, self._do_next)

    def _do_next(self) -> None:
        heapq.heappop(self._due)[2]()


def _set(future: asyncio.Future[T], value: T) -> None:
    # It may have been cancelled.
    if not future.done():
        future.set_result(value)


def write_headers(server: Server, request: Request, verdict: Verdict, now: float) -> dict[str, str]:
    """Write what the answer says of limits that comes at `now`."""
    figures = verdict.figures
    if verdict.status == 200:
        if server.stamp == "answer":
            figures = server.figures(request.model, now - ONE_WAY)
        return write_limits(figures, server.style)
    fields = write_limits(figures, server.style)
    if server.lie is not None and verdict.status == 429 and not verdict.is_quota:
        return {**fields, "retry-after": server.lie}
    # What an outage says of its end it says whatever the server's limits are like.
    return fields | write_wait(verdict.wait, "whole" if verdict.status == 503 else server.style)
