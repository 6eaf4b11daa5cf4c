"""An asyncio event loop whose clock jumps, and a transport without a network that runs on it.

Where nothing is left to do but wait, the clock jumps to the end of the wait: an hour of a test is a millisecond, and
comes out the same each time.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextvars import Context
from typing import Any, Final, ParamSpec, TypeVar

import attrs

from aiai_async import APIConnectionError, AsyncImagesClient
from aiai_async._exchange import TransportRequest
from aiai_async._facts import Headers
from tests.scripted import KEY, answer_with, error_body

P = ParamSpec("P")
T = TypeVar("T")

BEGIN: Final = 1000.0
"""When every virtual clock begins."""


class NothingWillHappenError(Exception):
    """Every task waits, and nothing is there that could ever wake one: a test would hang."""


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: where nothing is ready, the time is over at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.has_threads = False
        self.polls = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.polls += 1
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            if self.has_threads:
                return super().select(None)
            raise NothingWillHappenError("all tasks wait, no timer is set and no socket is ready")
        self.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock of its own.

    Args:
        has_threads: whether another thread may wake what waits: then it is waited for where no timer is set.
    """

    def __init__(self, *, has_threads: bool = False) -> None:
        self._jumping: Final = _JumpingSelector()
        self._jumping.has_threads = has_threads
        self._timers: list[asyncio.TimerHandle] = []
        self.timers_set = 0
        """Timers set so far."""
        super().__init__(self._jumping)

    @property
    def polls(self) -> int:
        """How often the loop went round."""
        return self._jumping.polls

    def time(self) -> float:
        return self._jumping.now

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers_set += 1
        if len(self._timers) > 2 * len(self.pending_timers()) + 64:
            self._timers = self.pending_timers()
        self._timers.append(timer)
        return timer

    def pending_timers(self) -> list[asyncio.TimerHandle]:
        """Give the timers that are set for later."""
        return [timer for timer in self._timers if not timer.cancelled() and timer.when() > self.time()]


def run(main: Coroutine[Any, Any, T], *, has_threads: bool = False) -> T:
    """Run a coroutine to its end on a new virtual loop.

    Raises:
        NothingWillHappenError: it would hang.
    """
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(has_threads=has_threads)) as runner:
        return runner.run(main)


def on_virtual_clock(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Make a test of a coroutine function that runs on a virtual loop."""

    @functools.wraps(test)
    def run_it(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(test(*args, **kwargs))

    return run_it


def loop() -> VirtualLoop:
    """Give the running loop."""
    running = asyncio.get_running_loop()
    assert isinstance(running, VirtualLoop)
    return running


def elapsed() -> float:
    """Seconds since the virtual clock began."""
    return loop().time() - BEGIN


async def settle(rounds: int = 20) -> None:
    """Let everything go on that needs no time."""
    for _ in range(rounds):
        await asyncio.sleep(0)


@attrs.define(eq=False)
class Exchange:
    """One request as the fake server sees it. Times are seconds since the clock began."""

    number: int
    """From 0."""
    prompt: str
    model: str | None
    key: str
    n: int
    began_at: float
    sent_at: float | None = None
    """When it was written."""
    answered_at: float | None = None
    """When the head of the answer was there."""
    ended_at: float | None = None
    """When the connection was given back, or the request failed or was cut."""


@attrs.frozen(kw_only=True)
class Answer:
    """What the fake server answers."""

    status: int = 200
    body: object = None
    """JSON, or bytes, or an iterable of pieces of bytes; None: an image, or an error without a word."""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    delay: float = 0.0
    """Seconds from writing to the head of the answer."""
    piece_delay: float = 0.0
    """Seconds before each piece of the body."""
    error: Exception | None = None
    """Raised instead of an answer."""

    @property
    def pieces(self) -> list[bytes]:
        """The body in pieces."""
        body = self.body
        if body is None:
            body = answer_with() if self.status < 300 else error_body("no")
        if isinstance(body, bytes):
            return [body]
        if isinstance(body, (dict, str)):
            return [json.dumps(body).encode()]
        assert isinstance(body, Iterable)
        return list(body)


IMAGE: Final = Answer(delay=1.0)
"""An image after a second."""

Rule = Callable[[Exchange], Answer]
"""What the server answers to a request, asked when it was written."""


def refused(status: int = 429, *, after: float = 0.05, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
    """Make a refusal."""
    return Answer(status=status, delay=after, headers=headers or {}, body=error_body("too many", **body))


class FakeTransport:
    """Answers what a rule says, and keeps the rules of `Transport`: connections, writing, closing, cancelling.

    A connection is kept for reuse where an answer was read to its end, and a new one takes `connect` seconds. What is
    in flight is counted from writing until the connection is given back.

    Args:
        rule: what is answered.
        connect: seconds that a TCP connect takes.
        sending: seconds from the connection to the request being written.
        refuses: whether the next connect is refused; asked each time.
        tells_of_connects: whether `on_connected` is called.
    """

    def __init__(
        self,
        rule: Rule | None = None,
        *,
        connect: float = 0.001,
        sending: float = 0.0,
        refuses: Callable[[], bool] = lambda: False,
        tells_of_connects: bool = True,
    ) -> None:
        self.rule: Rule = rule or (lambda _: IMAGE)
        self.exchanges: list[Exchange] = []
        self.connecting = self.in_flight = self.most_in_flight = 0
        self.idle = self.connects = 0
        self._connect: Final = connect
        self._sending: Final = sending
        self._refuses: Final = refuses
        self._tells_of_connects: Final = tells_of_connects
        self._waits: Final[set[asyncio.Future[None]]] = set()
        """What waits for time to pass, on whichever loop."""

    @property
    def prompts(self) -> list[str]:
        """What was written, in that order."""
        sent = [each for each in self.exchanges if each.sent_at is not None]
        return [each.prompt for each in sorted(sent, key=lambda each: (each.sent_at, each.number))]

    @property
    def sent_at(self) -> list[float]:
        """When it was, in seconds since the clock began."""
        return sorted(each.sent_at for each in self.exchanges if each.sent_at is not None)

    async def send(self, request: TransportRequest) -> FakeResponse:
        """See `Transport.send`."""
        assert request.body is not None
        body = json.loads(request.body)
        exchange = Exchange(
            number=len(self.exchanges),
            prompt=body["prompt"],
            model=body.get("model"),
            key=request.headers["authorization"].removeprefix("Bearer "),
            n=body.get("n", 1),
            began_at=elapsed(),
        )
        self.exchanges.append(exchange)
        try:
            await self._open(request)
            await self.wait(self._sending)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            exchange.sent_at = elapsed()
            try:
                request.on_sent()
                answer = self.rule(exchange)
                await self.wait(answer.delay)
                if answer.error is not None:
                    raise answer.error
                exchange.answered_at = elapsed()
                return FakeResponse(self, exchange, answer)
            except BaseException:
                self.in_flight -= 1
                raise
        except BaseException:
            exchange.ended_at = elapsed()
            raise

    async def aclose(self) -> None:
        """See `Transport.aclose`."""
        self.idle = 0
        for wait in list(self._waits):
            wait.get_loop().call_soon_threadsafe(_cut, wait)

    async def wait(self, seconds: float) -> None:
        """Let time pass, for ever where it is infinite, unless the transport is closed."""
        if seconds <= 0:
            return
        running = asyncio.get_running_loop()
        over: asyncio.Future[None] = running.create_future()
        timer = running.call_later(seconds, _end, over) if seconds < math.inf else None
        self._waits.add(over)
        try:
            await over
        finally:
            if timer is not None:
                timer.cancel()
            self._waits.discard(over)

    async def _open(self, request: TransportRequest) -> None:
        if self.idle:
            self.idle -= 1
            return
        self.connecting += 1
        try:
            await self.wait(self._connect)
        finally:
            self.connecting -= 1
        if self._refuses():
            raise APIConnectionError("could not connect", host="fake", port=1, may_have_been_billed=False)
        self.connects += 1
        if self._tells_of_connects:
            request.on_connected(self._connect)


def _end(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_result(None)


def _cut(wait: asyncio.Future[None]) -> None:
    if not wait.done():
        wait.set_exception(APIConnectionError("the client was closed", may_have_been_billed=False))


class FakeResponse:
    """An answer of the fake server; see `TransportResponse`."""

    def __init__(self, transport: FakeTransport, exchange: Exchange, answer: Answer) -> None:
        self.status = answer.status
        self.headers = Headers([("content-type", "application/json"), *answer.headers.items()])
        self._transport: Final = transport
        self._exchange: Final = exchange
        self._piece_delay: Final = answer.piece_delay
        self._pieces: Final = answer.pieces
        self._was_read = False

    async def read(self) -> bytes:
        """See `TransportResponse.read`."""
        assert self._exchange.ended_at is None, "read after close"
        await self._transport.wait(self._piece_delay)
        if self._pieces:
            return self._pieces.pop(0)
        self._was_read = True
        return b""

    def close(self) -> None:
        """See `TransportResponse.close`."""
        if self._exchange.ended_at is None:
            self._exchange.ended_at = elapsed()
            self._transport.in_flight -= 1
            self._transport.idle += self._was_read


def make_client(transport: FakeTransport, **options: Any) -> AsyncImagesClient:
    """Make a client of the fake server."""
    return AsyncImagesClient(
        options.pop("api_key", KEY), base_url="http://fake.test/v1", transport=transport, **options
    )


async def gather(*calls: Awaitable[T]) -> list[T | BaseException]:
    """Wait for all calls, and give what they gave or raised."""
    return await asyncio.gather(*calls, return_exceptions=True)
