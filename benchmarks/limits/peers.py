"""What people use instead of the client's scheduler: three policies over the same simulated network.

Each is told what its users would tell it. None of them is the real program but the limiter: they are the rules of one,
on a virtual clock.
"""

from __future__ import annotations

import asyncio
import importlib
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from .network import Network, Reply
from .servers import Request, Rule

# Those of the official SDK, openai 3.57: _constants.py and _base_client.py.
_INITIAL_DELAY: Final = 0.5
_MOST_DELAY: Final = 8.0
_MOST_RETRY_AFTER: Final = 120.0
_RETRIES: Final = 20
_AT_ONCE: Final = 64

# Those of the cookbook's script.
_PAUSE: Final = 15.0
_ATTEMPTS: Final = 5
_LOOP: Final = 0.001


async def run_sdk(network: Network) -> None:
    """64 at once, each with the official SDK's back-off and 20 retries.

    408, 409, 429 and 5xx are sent again: after what Retry-After says where that is at most two minutes (one that says
    more is not tried again), else after 0.5 s doubling to 8 s, less up to a quarter by chance.
    """
    places = asyncio.Semaphore(_AT_ONCE)
    luck = random.Random(2)

    async def call(index: int) -> None:
        async with places:
            await _with_backoff(network, index, luck)

    await asyncio.gather(*(call(index) for index in range(len(network.requests))))


async def run_limiter(network: Network) -> None:
    """A limiter of fixed rate that is told the true rates (aiolimiter), before a call with the same back-off.

    As users write it: `async with limiter: await client.images.generate(...)`, with the SDK's retries inside. One
    limiter for each limit; a limit that changes is told as it was in the beginning, a cap on simultaneous requests not
    at all. Tokens are the client's estimate.
    """
    luck = random.Random(2)
    limiters = [(rule, _make_limiter(rule)) for rule in network.server.rules]

    async def call(index: int) -> None:
        for rule, limiter in limiters:
            if cost := _guess(network.requests[index], rule):
                await limiter.acquire(cost)
        await _with_backoff(network, index, luck)

    await asyncio.gather(*(call(index) for index in range(len(network.requests))))


async def run_cookbook(network: Network) -> None:
    """The OpenAI cookbook's script for parallel requests, told the true rates: after a 429 everything pauses for 15 s.

    It takes from buckets that begin full and fill evenly, sends, and takes up to five attempts for each request; those
    to be tried again go first. A server that has too much to do costs an attempt like any error.

    Source: examples/api_request_parallel_processor.py of github.com/openai/openai-cookbook.
    """
    loop = asyncio.get_running_loop()
    todo = deque((index, _ATTEMPTS) for index in range(len(network.requests)))
    again: deque[tuple[int, int]] = deque()
    levels = {id(rule): _Level(rule.limit * 60 / rule.per, loop.time()) for rule in network.server.rules}
    running: set[asyncio.Task[None]] = set()
    ended = asyncio.Event()
    paused_until = 0.0

    async def attempt(index: int, attempts_left: int) -> None:
        nonlocal paused_until
        reply = await network.exchange(index)
        if reply.status == 200:
            return
        if reply.status == 429:
            paused_until = loop.time() + _PAUSE
        if attempts_left:
            again.append((index, attempts_left))
        else:
            network.record.fail(loop.time())

    def note_end(task: asyncio.Task[None]) -> None:
        running.discard(task)
        ended.set()

    while todo or again or running:
        if not todo and not again:
            ended.clear()
            await ended.wait()
            continue
        index, attempts_left = again.popleft() if again else todo.popleft()
        costs = [(levels[id(rule)], _guess(network.requests[index], rule)) for rule in network.server.rules]
        if (wait := max((level.wait(cost, loop.time()) for level, cost in costs), default=0.0)) > 0:
            await asyncio.sleep(max(wait, _LOOP))
        for level, cost in costs:
            level.take(cost, loop.time())
        task = asyncio.create_task(attempt(index, attempts_left - 1))
        running.add(task)
        task.add_done_callback(note_end)
        await asyncio.sleep(_LOOP)
        # As in the script: a 429 that comes during the pause doesn't make this one longer.
        await asyncio.sleep(max(0.0, paused_until - loop.time()))


PEERS: Final[Mapping[str, Callable[[Network], Coroutine[Any, Any, None]]]] = {
    "64 at once, back-off": run_sdk,
    "fixed rate, back-off": run_limiter,
    "15 s pause": run_cookbook,
}
"""By the names that tables give them."""  # Any: what a coroutine yields and is sent is the loop's affair


async def _with_backoff(network: Network, index: int, luck: random.Random) -> None:
    for retry in range(_RETRIES + 1):
        reply = await network.exchange(index)
        if reply.status == 200:
            return
        asked = _read_wait(reply)
        if reply.status == 402 or (asked is not None and asked > _MOST_RETRY_AFTER):
            break
        delay = min(_MOST_DELAY, _INITIAL_DELAY * 2.0**retry) * (1 - 0.25 * luck.random())
        if retry < _RETRIES:
            await asyncio.sleep(asked if asked else delay)
    network.record.fail(asyncio.get_running_loop().time())


def _read_wait(reply: Reply) -> float | None:
    """Read how long a server asks to wait; None: it doesn't say. A date is one in the past."""
    if (milliseconds := reply.headers.get("retry-after-ms")) is not None:
        return float(milliseconds) / 1000
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isdecimal() else None


def _guess(request: Request, rule: Rule) -> float:
    """Give what a request costs by a rule, as far as a client can know it."""
    return request.estimate if rule.name == "tokens" else request.of(rule)


class _Limiter(Protocol):
    async def acquire(self, amount: float) -> None: ...


def _make_limiter(rule: Rule) -> _Limiter:
    # Not imported on top: it is no part of the developers' tools, and type checks do without it.
    limiter: _Limiter = importlib.import_module("aiolimiter").AsyncLimiter(rule.limit, rule.per)
    return limiter


class _Level:
    """What the cookbook's script thinks is left of a limit for a minute."""

    def __init__(self, limit: float, now: float) -> None:
        self._limit: Final = limit
        self._left = limit
        self._at = now

    def wait(self, cost: float, now: float) -> float:
        self._fill(now)
        return max(0.0, cost - self._left) * 60 / self._limit

    def take(self, cost: float, now: float) -> None:
        self._fill(now)
        self._left -= cost

    def _fill(self, now: float) -> None:
        self._left = min(self._limit, self._left + self._limit * (now - self._at) / 60)
        self._at = now
