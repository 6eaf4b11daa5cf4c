"""The scheduler on a virtual clock, through the client: who waits, who goes, what follows a refusal, what is told."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import attrs
import pytest

from aiai_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    AsyncImagesClient,
    BadRequestError,
    ConfigurationError,
    InternalServerError,
    InvalidRequestError,
    QuotaExceededError,
    RateLimitError,
    RateLimits,
    RetryPolicy,
    StreamError,
    Timeout,
)
from aiai_async._facts import Limits, LimitStatus, QueueStatus
from aiai_async._scheduler import Asker, Scheduler
from aiai_async.policy.ceilings import Cost
from aiai_async.wire.endpoint import Origin
from tests.scripted import KEY
from tests.test_stream import completed, partial
from tests.virtual import (
    IMAGE,
    Answer,
    Exchange,
    FakeTransport,
    VirtualLoop,
    elapsed,
    gather,
    loop,
    make_client,
    on_virtual_clock,
    refused,
    run,
    settle,
)

ONE = RateLimits(concurrency=1)
"""One at a time: what comes next waits."""


def start(*calls: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    return [asyncio.ensure_future(call) for call in calls]


async def start_waiting(client: AsyncImagesClient, *prompts: str, **arguments: Any) -> list[asyncio.Task[Any]]:
    """Begin calls, each of them in the queue before the next."""
    tasks = []
    for prompt in prompts:
        tasks += start(client.generate(prompt, **arguments))
        await settle(3)
    return tasks


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    for result in await gather(*tasks):
        assert isinstance(result, asyncio.CancelledError)


class TestCancelling:
    @on_virtual_clock
    async def test_while_waiting(self) -> None:
        """Its place is given back at once, nothing is sent for it, and who came later goes in its turn."""
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            first, second, third = await start_waiting(client, "A", "B", "C")
            assert (client.limits.in_flight, client.limits.waiting) == (1, 2)
            await cancel(second)
            assert client.limits.waiting == 1
            await gather(first, third)
            assert transport.prompts == ["A", "C"]
            assert (client.limits.in_flight, client.limits.waiting) == (0, 0)

    @on_virtual_clock
    async def test_who_waited_behind_it_goes_at_once(self) -> None:
        """Ten images that were waited for are wanted no more: one image fits now."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(images_per_minute=10)) as client:
            first, ten, last = [
                *await start_waiting(client, "A"),
                *await start_waiting(client, "ten", n=10),
                *await start_waiting(client, "B"),
            ]
            await asyncio.sleep(5)
            await cancel(ten)
            await gather(first, last)
            assert transport.sent_at[1] == pytest.approx(5, abs=0.1)

    @pytest.mark.parametrize("rounds", range(8))
    @pytest.mark.parametrize("how", ["task", "scope"])
    def test_just_after_it_was_let_in(self, rounds: int, how: str) -> None:
        """Before its task ran, and at each step after that: the permit goes to the next, and no place is lost."""

        async def main() -> None:
            async with make_client(transport := FakeTransport(), limits=ONE) as client:
                scope = anyio.CancelScope()

                async def make_first() -> None:
                    await client.generate("A")
                    # Nothing ran since the permit was released.
                    assert client.limits.in_flight == 1
                    for _ in range(rounds):
                        await asyncio.sleep(0)
                    scope.cancel() if how == "scope" else second.cancel()

                async def make_second() -> None:
                    with scope:
                        await client.generate("B")

                first, second = start(make_first(), make_second())
                await settle()
                (third,) = await start_waiting(client, "C")
                await first
                if how == "task":
                    await cancel(second)
                else:
                    await second
                    assert scope.cancelled_caught
                await third
                assert [p for p in transport.prompts if p != "B"] == ["A", "C"]
                assert transport.sent_at[-1] < 1.01
                assert (client.limits.in_flight, client.limits.waiting) == (0, 0)
                await client.generate("D")

        run(main())

    @on_virtual_clock
    async def test_just_as_it_fails(self) -> None:
        """Cancelled in the same step in which its queue fails, it is cancelled."""
        async with make_client(FakeTransport(), limits=ONE) as client:
            (first, second) = await start_waiting(client, "A", "B")
            closing = asyncio.ensure_future(client.aclose())
            await asyncio.sleep(0)
            await cancel(second)
            await gather(first, closing)
            assert client.limits.waiting == 0


class TestClosing:
    @on_virtual_clock
    async def test_who_waits_is_told(self) -> None:
        """At once; what was under way is cut; and entering the client again opens it."""
        client = make_client(transport := FakeTransport(), limits=ONE)
        async with client:
            tasks = await start_waiting(client, "A", "B", "C", stream=False)
        first, *others = await gather(*tasks)
        assert isinstance(first, APIConnectionError)
        for error in others:
            assert isinstance(error, ConfigurationError)
            assert str(error) == "this client was closed while the request waited; nothing was sent"
        assert others[0] is not others[1]
        assert elapsed() < 0.01 and len(transport.exchanges) == 1
        async with client:
            assert (client.limits.in_flight, client.limits.waiting) == (0, 0)
            await client.generate("D")
            assert client.limits.in_flight == 0

    @on_virtual_clock
    async def test_between_two_attempts(self) -> None:
        """Who waits for the next attempt of a call is told too."""
        async with make_client(FakeTransport(lambda _: refused(headers={"Retry-After": "30"}))) as client:
            (task,) = await start_waiting(client, "A")
            await asyncio.sleep(1)
            assert client.limits.waiting == 1
            await client.aclose()
            with pytest.raises(ConfigurationError, match="closed while the request waited"):
                await task

    @on_virtual_clock
    async def test_a_stream_that_waits(self) -> None:
        async with make_client(FakeTransport(), limits=ONE) as client:
            first, second = await start_waiting(client, "A", "B", stream=True)
            await client.aclose()
            _, error = await gather(first, second)
            assert isinstance(error, ConfigurationError)

    def test_from_another_thread(self) -> None:
        """The client is closed on another loop while calls wait on this one."""
        transport = FakeTransport(lambda _: Answer(delay=float("inf")))
        # Their own time, which is virtual, would be over at once.
        client = make_client(transport, limits=ONE, timeout=Timeout(total=None))
        is_waiting = threading.Event()
        results: list[object] = []

        async def wait() -> None:
            tasks = await start_waiting(client, "A", "B", "C")
            is_waiting.set()
            results.extend(await gather(*tasks))

        thread = threading.Thread(target=lambda: run(wait(), has_threads=True), daemon=True)
        thread.start()
        assert is_waiting.wait(20)
        assert (client.limits.in_flight, client.limits.waiting) == (1, 2)
        asyncio.run(client.aclose())
        thread.join(20)
        assert not thread.is_alive()
        assert [type(each) for each in results] == [APIConnectionError, ConfigurationError, ConfigurationError]


class TestQueueTimeout:
    @on_virtual_clock
    async def test_it_runs_out(self) -> None:
        """After just that long, saying what was waited for; nothing was sent, and nothing is left in the queue."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(requests_per_minute=1)) as client:
            await client.generate("A")
            began_at = elapsed()
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("B", timeout=Timeout(queue=5))
            assert elapsed() - began_at == pytest.approx(5)
            error = caught.value
            assert (error.phase, error.seconds, error.attempts, error.may_have_been_billed) == ("queue", 5, 0, False)
            assert "requests per minute" in str(error) and "raise Timeout.queue to wait longer" in str(error)
            assert "fake.test:80" in str(error)
            assert (client.limits.waiting, client.limits.in_flight) == (0, 0)
            assert transport.prompts == ["A"]

    @on_virtual_clock
    async def test_who_waits_behind_it_goes_on(self) -> None:
        async with make_client(transport := FakeTransport(), limits=RateLimits(images_per_minute=10)) as client:
            await client.generate("A")
            slow, quick = start(
                client.generate("B", n=10, timeout=Timeout(queue=5)), client.generate("C", timeout=Timeout(queue=20))
            )
            error, answer = await gather(slow, quick)
            assert isinstance(error, APITimeoutError) and not isinstance(answer, BaseException)
            assert transport.sent_at[1] == pytest.approx(1 + 5, abs=0.01)

    @on_virtual_clock
    async def test_waiting_is_no_part_of_total(self) -> None:
        """`total` begins to run when the call is let go."""
        rule = {"A": 1.0, "B": 9.0, "C": 11.0}
        transport = FakeTransport(lambda each: Answer(delay=rule[each.prompt]))
        limits = RateLimits(requests_per_minute=1)
        async with make_client(transport, limits=limits, timeout=Timeout(total=10)) as client:
            _, good, bad = await gather(*await start_waiting(client, "A", "B", "C"))
            assert not isinstance(good, BaseException)
            assert good.http.elapsed == pytest.approx(60 + 9, abs=0.1)
            assert isinstance(bad, APITimeoutError) and bad.phase == "total"
            assert elapsed() == pytest.approx(2 * 60 + 10, abs=0.1)

    @on_virtual_clock
    async def test_total_is_no_part_of_waiting(self) -> None:
        async with make_client(FakeTransport(lambda _: Answer(delay=30)), timeout=Timeout(queue=1)) as client:
            await client.generate("A")

    @on_virtual_clock
    async def test_all_waits_of_a_call_together(self) -> None:
        """Refused and refused again, the waits add up."""
        transport = FakeTransport(lambda _: refused(headers={"Retry-After": "3"}))
        async with make_client(transport, timeout=Timeout(queue=5)) as client:
            with pytest.raises(APITimeoutError) as caught:
                await client.generate("A")
            assert elapsed() == pytest.approx(5 + 2 * 0.05, abs=0.02)
            assert (caught.value.phase, caught.value.seconds, caught.value.attempts) == ("queue", 5, 2)
            assert "it waited for as long as the server asks after a refusal" in str(caught.value)

    @on_virtual_clock
    async def test_used_up_to_the_last(self) -> None:
        """With nothing left of it, a refused call says in its error what it would wait for."""
        transport = FakeTransport(lambda _: refused(headers={"Retry-After": "5"}))
        async with make_client(transport, timeout=Timeout(queue=5)) as client:
            with pytest.raises(APITimeoutError, match="it waited for as long as") as caught:
                await client.generate("A")
            assert caught.value.attempts in (1, 2)
            assert elapsed() == pytest.approx(5.05, abs=0.1)


class TestOrder:
    @on_virtual_clock
    async def test_first_come_first_served(self) -> None:
        prompts = [str(number) for number in range(50)]
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            await gather(*await start_waiting(client, *prompts))
        assert transport.prompts == prompts

    @on_virtual_clock
    async def test_priorities(self) -> None:
        """Higher ones go first, equal ones in the order in which they came; the default is 0."""
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            tasks = await start_waiting(client, "first")
            for prompt, priority in (("a", 0), ("b", 5), ("c", 1), ("d", 5), ("e", -1)):
                tasks += await start_waiting(client, prompt, priority=priority)
            tasks += await start_waiting(client, "f")
            await gather(*tasks)
        assert transport.prompts == ["first", "b", "d", "c", "a", "f", "e"]

    @on_virtual_clock
    async def test_many_images_are_not_overtaken(self) -> None:
        """Single images that would fit don't pass ten that don't yet."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(images_per_minute=10)) as client:
            tasks = await start_waiting(client, *"abc")
            tasks += await start_waiting(client, "ten", n=10)
            tasks += await start_waiting(client, *"defgh")
            await gather(*tasks)
        assert transport.prompts == [*"abc", "ten", *"defgh"]
        assert transport.sent_at[3] == pytest.approx(60, abs=0.1)

    @on_virtual_clock
    async def test_who_was_refused_keeps_its_place(self) -> None:
        """The order is kept over a pause: the refused ones go first, in their order."""

        def rule(each: Exchange) -> Answer:
            return refused(headers={"Retry-After": "2"}) if elapsed() < 1 else IMAGE

        async with make_client(transport := FakeTransport(rule)) as client:
            tasks = await start_waiting(client, *"abcdef")
            await gather(*tasks)
        after = [each.prompt for each in transport.exchanges if each.began_at > 1]
        assert after == list("abcdef")

    @on_virtual_clock
    async def test_models_share_connections_fairly(self) -> None:
        """A queue that never ends does not keep others from a connection for ever."""
        async with make_client(transport := FakeTransport(), max_connections=2) as client:
            many = await start_waiting(client, *(str(number) for number in range(40)), model="a")
            await asyncio.sleep(0.5)
            others = await start_waiting(client, "x", "y", "z", model="b")
            await gather(*many, *others)
        assert transport.prompts[:8] == ["0", "1", "x", "2", "y", "3", "z", "4"]


ORIGIN = Origin.of("http://fake.test/v1")


def ask(scheduler: Scheduler, **options: Any) -> Any:
    asker = Asker(origin=ORIGIN, key="key", model=None, cost=Cost(images=1, tokens=0))
    return scheduler.acquire(asker, **options)


class TestAHundredThousand:
    # Measuring coverage makes every line of it several times slower.
    @pytest.mark.timeout(240)
    def test_waiters(self) -> None:
        """They cost neither timers nor rounds of the loop, and are gone at once when they are cancelled."""
        count = 100_000

        async def main() -> None:
            scheduler = Scheduler(limits=RateLimits(requests_per_minute=1), max_connections=0)
            permit = await ask(scheduler)
            permit.note_sent(loop().time())
            tasks = [asyncio.ensure_future(ask(scheduler)) for _ in range(count)]
            polls, timers = loop().polls, loop().timers_set
            await settle(3)
            assert scheduler.describe().waiting == count
            assert loop().timers_set - timers <= 2
            assert len(loop().pending_timers()) == 1
            await asyncio.sleep(50)
            assert loop().polls - polls < 20
            await asyncio.sleep(15)
            # A minute has passed: just one more went.
            assert sum(task.done() for task in tasks) == 1
            assert scheduler.describe().waiting == count - 1
            tasks[0].result().note_sent(loop().time())
            tasks[0].result().release()
            await cancel(*tasks[1:])
            assert (scheduler.describe().waiting, scheduler.describe().in_flight) == (0, 1)
            permit.release()
            assert not loop().pending_timers()
            assert loop().polls - polls < 40

        run(main())

    def test_memory_of_a_waiter(self) -> None:
        """What the scheduler itself keeps of each: measured at about 1.2 KB, most of it asyncio's event and future."""
        count = 2_000

        async def main() -> None:
            scheduler = Scheduler(limits=ONE, max_connections=0)
            permit = await ask(scheduler)
            gates = [ask(scheduler) for _ in range(count)]
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                for gate in gates:
                    gate.send(None)
                taken = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert scheduler.describe().waiting == count
            assert taken / count < 4_000
            for gate in gates:
                gate.close()
            assert scheduler.describe().waiting == 0
            permit.release()

        run(main())

    @on_virtual_clock
    async def test_calls(self) -> None:
        """The same through the client, with fewer: one timer for all, and no more rounds than there are events."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(requests_per_minute=60)) as client:
            tasks = start(*(client.generate(str(number)) for number in range(1_000)))
            await settle()
            # Of the transport there is one timer for each request in flight.
            assert len(loop().pending_timers()) <= 1 + client.limits.in_flight + transport.connecting
            await asyncio.sleep(30)
            polls = loop().polls
            await asyncio.sleep(29)
            assert loop().polls - polls < 10
            await cancel(*(task for task in tasks if not task.done()))
            assert client.limits.waiting == 0


Path = Callable[[AsyncImagesClient, FakeTransport], Awaitable[None]]


def events(*kinds: bytes, **options: Any) -> Answer:
    return Answer(body=list(kinds), headers={"content-type": "text/event-stream"}, **options)


def answering(answer: Answer, error: type[Exception] | None = None, **arguments: Any) -> Path:
    """Make the path of a call that gets this answer and ends so."""

    async def path(client: AsyncImagesClient, transport: FakeTransport) -> None:
        transport.rule = lambda _: answer
        if error is None:
            await client.generate("A", **arguments)
        else:
            with pytest.raises(error):
                await client.generate("A", **arguments)

    return path


def cancelled_after(seconds: float) -> Path:
    """Make the path of a call that is cancelled so long after it was let go."""

    async def path(client: AsyncImagesClient, transport: FakeTransport) -> None:
        transport.rule = lambda _: Answer(delay=1, body=[b'{"data"', b": ["], piece_delay=1)
        (task,) = start(client.generate("A"))
        await asyncio.sleep(seconds)
        assert client.limits.in_flight == 1
        await cancel(task)

    return path


class FailingSink:
    async def write(self, data: bytes) -> None:
        raise OSError("no space left")

    async def finish(self) -> None: ...

    async def abort(self) -> None: ...


async def with_a_sink_that_fails(client: AsyncImagesClient, _: FakeTransport) -> None:
    with pytest.raises(OSError, match="no space"):
        await client.generate("A", sink=lambda _: FailingSink())


async def with_a_key_that_fails(client: AsyncImagesClient, _: FakeTransport) -> None:
    async def give_key() -> str:
        raise LookupError("no key")

    with pytest.raises(LookupError):
        await client.with_options(api_key=give_key).generate("A")


async def streamed_to_the_end(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), completed(), piece_delay=1)
    async with client.stream("A") as stream:
        assert [each.type async for each in stream]


async def streamed_without_a_block(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), completed(), piece_delay=1)
    stream = await client.generate("A", stream=True)
    await stream.response()


async def streamed_and_left(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), partial(1), completed(), piece_delay=1)
    async with client.stream("A") as stream:
        async for _event in stream:
            break


async def streamed_and_cancelled(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), completed(), piece_delay=1)
    async with client.stream("A") as stream:
        with anyio.move_on_after(1.5):
            await stream.response()


async def streamed_and_closed_by_another(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), completed(), piece_delay=1)
    async with client.stream("A") as stream:
        (reading,) = start(stream.response())
        await asyncio.sleep(1.5)
        await stream.aclose()
        assert isinstance((await gather(reading))[0], StreamError)
        assert client.limits.in_flight == 0


async def streamed_and_forgotten(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0), completed(), piece_delay=1)
    stream = await client.generate("A", stream=True)
    await anext(stream)
    assert client.limits.in_flight == 1
    with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
        del stream
        gc.collect()


async def streamed_and_broken(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: events(partial(0))
    async with client.stream("A") as stream:
        with pytest.raises(StreamError):
            await stream.response()


async def streamed_and_refused(client: AsyncImagesClient, transport: FakeTransport) -> None:
    transport.rule = lambda _: refused(400)
    with pytest.raises(BadRequestError):
        await client.generate("A", stream=True)


PATHS: list[Any] = [
    pytest.param(answering(IMAGE), id="success"),
    *(pytest.param(answering(refused(s), APIError), id=f"{s}") for s in (301, 400, 401, 404, 429, 500, 503)),
    pytest.param(answering(refused(503, headers={"Retry-After": "1"}), APIError), id="503-retry-after"),
    pytest.param(answering(refused(code="insufficient_quota"), QuotaExceededError), id="quota"),
    pytest.param(answering(Answer(body=b"<html>"), APIResponseError), id="web-page"),
    pytest.param(answering(Answer(body={"error": {"message": "no"}}), APIError), id="error-inside-200"),
    pytest.param(answering(Answer(error=APIConnectionError("broke")), APIConnectionError), id="broken"),
    pytest.param(answering(Answer(error=ZeroDivisionError()), ZeroDivisionError), id="broken-transport"),
    pytest.param(answering(Answer(delay=9), APITimeoutError, timeout=3), id="total"),
    pytest.param(answering(Answer(delay=9), APITimeoutError, timeout=Timeout(first_byte=3)), id="first-byte"),
    pytest.param(cancelled_after(0.05), id="cancelled-connecting"),
    pytest.param(cancelled_after(0.15), id="cancelled-sending"),
    pytest.param(cancelled_after(0.7), id="cancelled-before-the-head"),
    pytest.param(cancelled_after(1.7), id="cancelled-in-the-body"),
    with_a_sink_that_fails,
    with_a_key_that_fails,
    streamed_to_the_end,
    streamed_without_a_block,
    streamed_and_left,
    streamed_and_cancelled,
    streamed_and_closed_by_another,
    streamed_and_forgotten,
    streamed_and_broken,
    streamed_and_refused,
]


class TestPermits:
    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("bound", [{"limits": ONE}, {"max_connections": 1}], ids=["limit", "connections"])
    @pytest.mark.parametrize("others", [0, 3])
    def test_each_is_given_back_once(self, path: Path, others: int, bound: dict[str, Any]) -> None:
        """Whatever a call comes to, alone or with others around it: the next is alone under way, and one does go."""

        async def main() -> None:
            transport = FakeTransport(connect=0.1, sending=0.1)
            async with make_client(transport, retry=0, **bound) as client:
                for _ in range(2):
                    await path(client, transport)
                    assert (client.limits.in_flight, client.limits.waiting) == (0, 0)
                    assert transport.in_flight == 0
                await asyncio.sleep(300)
                transport.rule, transport.most_in_flight = lambda _: IMAGE, 0
                calls = [client.generate(str(number)) for number in range(1 + others)]
                assert not any(isinstance(each, BaseException) for each in await gather(*calls))
                assert transport.most_in_flight == 1
                assert (client.limits.in_flight, client.limits.waiting) == (0, 0)

        run(main())

    @on_virtual_clock
    async def test_a_stream_keeps_its_permit_to_its_end(self) -> None:
        """Also while nobody reads it."""
        transport = FakeTransport(lambda _: events(partial(0), completed()))
        async with make_client(transport, limits=ONE) as client:
            async with client.stream("A") as stream:
                (second,) = await start_waiting(client, "B", stream=True)
                await asyncio.sleep(100)
                assert not second.done() and client.limits.waiting == 1
                await stream.response()
                await settle()
                await asyncio.sleep(1)
                assert second.done()
            await second.result().aclose()
            assert client.limits.in_flight == 0

    @on_virtual_clock
    async def test_a_stream_closed_while_it_waits(self) -> None:
        """Cancelling the opening of a stream gives its place back."""
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            first, second, third = await start_waiting(client, "A", "B", "C")
            await cancel(second)
            await gather(first, third)
            assert transport.prompts == ["A", "C"]


class TestConnections:
    @on_virtual_clock
    async def test_they_are_shared_by_models(self) -> None:
        async with make_client(transport := FakeTransport(), max_connections=3) as client:
            calls = [client.generate(str(number), model=f"model-{number % 4}") for number in range(24)]
            assert not any(isinstance(each, BaseException) for each in await gather(*calls))
            assert transport.most_in_flight == 3
            assert elapsed() == pytest.approx(24 / 3, rel=0.1)

    @on_virtual_clock
    async def test_none_is_free(self) -> None:
        """Who waits for one is told so."""
        async with make_client(FakeTransport(), max_connections=1) as client:
            tasks = await start_waiting(client, "A", "B")
            (queue,) = client.limits.queues
            assert (queue.waiting, queue.waiting_for) == (1, "a free connection")
            with pytest.raises(APITimeoutError, match="it waited for a free connection"):
                await client.generate("C", timeout=Timeout(queue=0.5))
            await gather(*tasks)

    @on_virtual_clock
    async def test_zero_is_no_cap(self) -> None:
        """With nothing limiting, 2,000 calls are under way in a moment, where connects are as fast as on loopback."""
        transport = FakeTransport(lambda _: Answer(delay=30), connect=0.0003)
        async with make_client(transport, max_connections=0) as client:
            assert not any(
                isinstance(each, BaseException)
                for each in await gather(*(client.generate(str(number)) for number in range(2_000)))
            )
            assert transport.most_in_flight == 2_000
            assert transport.sent_at[-1] < 0.2


class TestWhatWasNeverSent:
    @on_virtual_clock
    async def test_a_refused_connection(self) -> None:
        """It used nothing of the one request a minute: the next attempt goes after the back-off."""
        failures = [True, True, False]
        transport = FakeTransport(refuses=lambda: failures.pop(0))
        limits = RateLimits(requests_per_minute=1, images_per_minute=1, tokens_per_minute=10_000)
        async with make_client(transport, limits=limits) as client:
            response = await client.generate("A")
            assert response.http is not None and response.http.attempts == 3
            assert elapsed() < 5

    @on_virtual_clock
    async def test_cancelled_while_connecting(self) -> None:
        transport = FakeTransport(connect=1)
        async with make_client(transport, limits=RateLimits(requests_per_minute=1)) as client:
            (task,) = await start_waiting(client, "A")
            await asyncio.sleep(0.5)
            await cancel(task)
            await client.generate("B")
            assert elapsed() < 5

    @on_virtual_clock
    async def test_cancelled_after_sending(self) -> None:
        """Then it was used."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(requests_per_minute=1)) as client:
            (task,) = await start_waiting(client, "A")
            await asyncio.sleep(0.5)
            await cancel(task)
            await client.generate("B")
            assert transport.sent_at[1] == pytest.approx(60, abs=0.1)


class TestQuota:
    @on_virtual_clock
    async def test_all_who_wait_on_the_key_fail_at_once(self) -> None:
        """Those of other models too, each with an exception of its own that says nothing was sent; no other key's."""

        def rule(each: Exchange) -> Answer:
            return refused(code="insufficient_quota", after=0.05) if each.key == KEY else IMAGE

        async with make_client(transport := FakeTransport(rule), max_connections=2) as client:
            poor = start(*(client.generate(str(number), model=f"model-{number % 2}") for number in range(20)))
            await settle()
            rich = client.with_options(api_key="sk-another-key-123")
            others = start(*(rich.generate(str(number)) for number in range(3)))
            results = await gather(*poor)
            assert elapsed() < 0.11
            assert all(isinstance(each, QuotaExceededError) for each in results)
            errors = [each for each in results if isinstance(each, QuotaExceededError)]
            assert Counter(error.attempts for error in errors) == {1: 2, 0: 18}
            assert len(set(map(id, errors))) == 20
            waited = next(error for error in errors if error.attempts == 0)
            assert "this one was not sent" in str(waited) and not waited.may_have_been_billed
            assert not any(isinstance(each, BaseException) for each in await gather(*others))
            assert len([each for each in transport.exchanges if each.key == KEY]) == 2

    @on_virtual_clock
    async def test_later_calls_ask_again(self) -> None:
        """The account may have been filled up meanwhile."""
        answers = [refused(code="insufficient_quota"), IMAGE]
        async with make_client(FakeTransport(lambda _: answers.pop(0))) as client:
            with pytest.raises(QuotaExceededError):
                await client.generate("A")
            await client.generate("A")


def bucket(per_second: float, burst: float, **refusal: Any) -> Callable[[Exchange], Answer]:
    """Make the rule of a server with a bucket that says nothing of itself but what `refusal` does."""
    level, at = burst, 0.0

    def rule(_: Exchange) -> Answer:
        nonlocal level, at
        level, at = min(burst, level + (elapsed() - at) * per_second), elapsed()
        if level < 1 - 1e-9:
            return refused(**refusal)
        level -= 1
        return IMAGE

    return rule


class TestPauses:
    @on_virtual_clock
    async def test_without_a_word_of_how_long(self) -> None:
        """One pause for all; at its end one request goes first, the others when it was let in; the order is kept."""
        closed_until = 5.0

        def rule(each: Exchange) -> Answer:
            return refused() if 1 < elapsed() < closed_until else IMAGE

        transport = FakeTransport(rule)
        async with make_client(transport, limits=RateLimits(concurrency=4)) as client:
            prompts = [f"{number:02}" for number in range(20)]
            results = await gather(*await start_waiting(client, *prompts))
            assert not any(isinstance(each, BaseException) for each in results)
        let_in = [each.prompt for each in transport.exchanges if each.sent_at is not None and not 1 < each.sent_at < 5]
        assert let_in == prompts
        refusals = [each.sent_at or 0.0 for each in transport.exchanges if 1 < (each.sent_at or 0) < 5]
        # The four that went at once, then one at a time.
        alone = refusals[4:]
        assert len(alone) <= 6
        assert all(later - earlier > 0.05 for earlier, later in itertools.pairwise(alone))
        first, second, *_ = (each for each in transport.exchanges if (each.sent_at or 0) > closed_until)
        assert second.began_at - (first.sent_at or 0) > 0.01

    @pytest.mark.parametrize("wait", [0.5, 3, 30, 119])
    def test_as_long_as_the_server_asks(self, wait: float) -> None:
        """Nothing is sent before, and then soon; one goes first, and the next when that was let in."""
        until = 0.0

        async def main() -> None:
            def rule(_: Exchange) -> Answer:
                nonlocal until
                until = until or elapsed() + 0.05 + wait
                left = until - elapsed()
                return refused(headers={"retry-after-ms": f"{left * 1000:.6f}"}) if left > 0 else IMAGE

            transport = FakeTransport(rule)
            async with make_client(transport) as client:
                results = await gather(*(client.generate(str(number)) for number in range(30)))
                assert not any(isinstance(each, BaseException) for each in results)
            assert [at for at in transport.sent_at if 0.2 < at < until] == []
            after = [each for each in transport.exchanges if each.began_at > 0.2]
            assert [each.prompt for each in after] == [str(number) for number in range(30)]
            assert 0 <= after[0].began_at - until < 0.15
            assert after[1].began_at - (after[0].sent_at or 0) > 0.001

        run(main())

    @on_virtual_clock
    async def test_it_is_told(self) -> None:
        """`client.limits` says until when and why, and what the first in the queue waits for."""
        answers = [refused(headers={"Retry-After": "30"})]
        transport = FakeTransport(lambda _: answers.pop() if answers else IMAGE)
        async with make_client(transport, limits=ONE) as client:
            tasks = await start_waiting(client, "A", "B")
            await asyncio.sleep(10)
            limits = client.limits
            assert limits.waiting == 2 and limits.paused_until is not None
            left = limits.paused_until.timestamp() - time.time()
            assert left == pytest.approx(20, abs=0.5)
            assert limits.reason == "waiting for as long as the server asks after a refusal"
            (queue,) = limits.queues
            assert queue.waiting_for == "as long as the server asks after a refusal"
            assert queue.next_in == pytest.approx(20.05, abs=0.05)
            await gather(*tasks)
            assert client.limits.paused_until is None and client.limits.reason is None

    @on_virtual_clock
    async def test_a_busy_server_that_says_how_long(self) -> None:
        """A 503 with Retry-After pauses the queue; it is no retry."""
        transport = FakeTransport(lambda each: refused(503, headers={"Retry-After": "2"}) if elapsed() < 9 else IMAGE)
        async with make_client(transport, retry=1) as client:
            results = await gather(*(client.generate(str(number)) for number in range(10)))
            assert not any(isinstance(each, BaseException) for each in results)
            assert len([each for each in transport.exchanges if (each.sent_at or 0) > 0.2]) <= 10 + 5

    @on_virtual_clock
    async def test_a_busy_server_that_does_not(self) -> None:
        """A 503 without is a retry, counted in `max_retries`."""
        transport = FakeTransport(lambda _: refused(503))
        async with make_client(transport, retry=RetryPolicy(max_retries=3)) as client:
            with pytest.raises(InternalServerError) as caught:
                await client.generate("A")
            assert caught.value.attempts == len(transport.exchanges) == 4
            assert client.limits.paused_until is None

    @on_virtual_clock
    async def test_refusals_are_no_retries(self) -> None:
        """More 429s than `max_retries` are waited out, and leave the retries for what fails otherwise."""
        answers = [*[refused(headers={"Retry-After": "1"})] * 5, refused(503), IMAGE]
        async with make_client(FakeTransport(lambda _: answers.pop(0)), retry=1) as client:
            response = await client.generate("A")
            assert response.http is not None and response.http.attempts == 7

    @on_virtual_clock
    async def test_a_server_that_says_not_to_come_back(self) -> None:
        """`x-should-retry: false` on a 429 is obeyed by the refused; the others pause."""
        answers = [refused(headers={"x-should-retry": "false", "Retry-After": "2"})]
        transport = FakeTransport(lambda _: answers.pop() if answers else IMAGE)
        async with make_client(transport, limits=ONE) as client:
            first, second = await gather(*await start_waiting(client, "A", "B"))
            assert isinstance(first, RateLimitError) and first.attempts == 1
            assert not isinstance(second, BaseException)
            assert transport.sent_at[1] == pytest.approx(2.05, abs=0.02)

    @on_virtual_clock
    async def test_no_retries_at_all(self) -> None:
        """With `max_retries=0` the first 429 is raised; what is in the queue pauses all the same."""
        answers = [refused(headers={"Retry-After": "2"})]
        transport = FakeTransport(lambda _: answers.pop() if answers else IMAGE)
        async with make_client(transport, limits=ONE, retry=0) as client:
            first, second, third = await gather(*await start_waiting(client, "A", "B", "C"))
            assert isinstance(first, RateLimitError)
            assert (first.attempts, first.retry_after) == (1, 2.0)
            assert not isinstance(second, BaseException) and not isinstance(third, BaseException)
            assert transport.sent_at[1] == pytest.approx(2.05, abs=0.02)

    @on_virtual_clock
    async def test_a_server_with_a_hidden_limit(self) -> None:
        """Nothing fails, and few are refused."""
        async with make_client(transport := FakeTransport(bucket(10, 5))) as client:
            results = await gather(*(client.generate(str(number)) for number in range(300)))
            assert not any(isinstance(each, BaseException) for each in results)
        assert len(transport.exchanges) - 300 < 60
        assert transport.sent_at[-1] < 1.5 * (300 - 5) / 10


class TestPatience:
    @pytest.mark.parametrize("count", [1, 5])
    def test_a_server_that_refuses_for_ever(self, count: int) -> None:
        """Nothing was let through for `max_retry_after`: the calls fail, saying so, one alone too."""

        async def main() -> None:
            async with make_client(transport := FakeTransport(lambda _: refused())) as client:
                results = await gather(*(client.generate(str(number)) for number in range(count)))
                assert all(isinstance(each, RateLimitError) for each in results)
                assert 120 <= elapsed() <= 240
                assert len(transport.exchanges) < 60
                for error in results:
                    assert isinstance(error, RateLimitError)
                    assert error.status_code == 429
                    assert "nothing was let through for 120 s" in str(error)
                    assert "RateLimits(" in str(error) and "RetryPolicy(max_retry_after=...)" in str(error)
                    assert f"attempt {error.attempts}]" in str(error)
                assert sum(error.attempts for error in results if isinstance(error, APIError)) == len(
                    transport.exchanges
                )
                assert client.limits.waiting == 0

        run(main())

    @on_virtual_clock
    async def test_as_long_as_it_takes(self) -> None:
        """`max_retry_after=None` goes on for hours, and tries at least every two minutes."""
        transport = FakeTransport(lambda _: refused() if elapsed() < 4 * 3600 else IMAGE)
        async with make_client(transport, retry=RetryPolicy(max_retry_after=None)) as client:
            results = await gather(*(client.generate(str(number)) for number in range(5)))
            assert not any(isinstance(each, BaseException) for each in results)
        sent = transport.sent_at
        assert max(later - earlier for earlier, later in itertools.pairwise(sent)) <= 121
        assert elapsed() < 4 * 3600 + 130

    @on_virtual_clock
    async def test_a_wait_beyond_it(self) -> None:
        """A server that asks for an hour fails the refused and all who wait, at once."""
        transport = FakeTransport(lambda _: refused(headers={"Retry-After": "3600"}))
        async with make_client(transport, limits=ONE) as client:
            first, *others = await gather(*await start_waiting(client, "A", "B", "C"))
            assert elapsed() < 1
            assert isinstance(first, RateLimitError) and (first.attempts, first.retry_after) == (1, 3600.0)
            assert "max_retry_after=120" in str(first)
            for error in others:
                assert isinstance(error, RateLimitError) and error.attempts == 0
                assert "that is more than RetryPolicy.max_retry_after=120" in str(error)
            assert len(transport.exchanges) == 1

    @on_virtual_clock
    async def test_each_call_has_its_own(self) -> None:
        """A view with more patience waits on where another's call fails."""
        transport = FakeTransport(lambda _: refused(headers={"Retry-After": "60"}) if elapsed() < 50 else IMAGE)
        async with make_client(transport, limits=ONE) as client:
            hasty = client.with_options(retry=RetryPolicy(max_retry_after=30))
            tasks = await start_waiting(client, "A")
            tasks += await start_waiting(hasty, "B")
            tasks += await start_waiting(client, "C")
            first, second, third = await gather(*tasks)
            assert isinstance(second, RateLimitError)
            assert not isinstance(first, BaseException) and not isinstance(third, BaseException)

    @on_virtual_clock
    async def test_a_lie_is_found_out(self) -> None:
        """Without a bound, a server that asks for an hour is tried every two minutes."""
        transport = FakeTransport(lambda _: refused(headers={"Retry-After": "3600"}) if elapsed() < 300 else IMAGE)
        async with make_client(transport, retry=RetryPolicy(max_retry_after=None)) as client:
            await client.generate("A")
            assert elapsed() < 300 + 125


class TestDeclared:
    @on_virtual_clock
    async def test_requests(self) -> None:
        """A ceiling over any minute."""
        async with make_client(transport := FakeTransport(), limits=RateLimits(requests_per_minute=10)) as client:
            await gather(*(client.generate(str(number)) for number in range(25)))
        sent = transport.sent_at
        assert all(later - earlier >= 60 for earlier, later in zip(sent, sent[10:], strict=False))
        assert sent[-1] < 125

    @on_virtual_clock
    async def test_images(self) -> None:
        async with make_client(transport := FakeTransport(), limits=RateLimits(images_per_minute=10)) as client:
            await gather(*(client.generate(str(number), n=5) for number in range(5)))
        sent = transport.sent_at
        assert sent[1] < 1 and sent[2] == pytest.approx(60, abs=1) and sent[4] == pytest.approx(120, abs=1)

    @on_virtual_clock
    async def test_tokens(self) -> None:
        """They are estimated from size and quality."""
        limits = RateLimits(tokens_per_minute=2_000)
        async with make_client(transport := FakeTransport(), limits=limits) as client:
            await gather(
                *(client.generate(str(n), model="gpt-image-1", size="1024x1024", quality="medium") for n in range(2))
            )
        assert transport.sent_at[0] < 1 and transport.sent_at[1] == pytest.approx(60, abs=1)

    @on_virtual_clock
    async def test_concurrency(self) -> None:
        async with make_client(transport := FakeTransport(), limits=RateLimits(concurrency=3)) as client:
            await gather(*(client.generate(str(number)) for number in range(12)))
            assert transport.most_in_flight == 3 and elapsed() == pytest.approx(4, abs=0.5)

    @on_virtual_clock
    async def test_by_model(self) -> None:
        """Each model has its own; one that isn't named has none."""
        limits = {"slow": RateLimits(requests_per_minute=1), "other": RateLimits(requests_per_minute=1)}
        async with make_client(transport := FakeTransport(), limits=limits) as client:
            calls = [client.generate(model, model=model) for model in ("slow", "slow", "other", "free", "free")]
            await gather(*calls, client.generate("none"), client.generate("none"))
            late = [each.prompt for each in transport.exchanges if (each.sent_at or 0) > 1]
            assert late == ["slow"]
            assert {limit.model for limit in client.limits} == {"slow", "other"}


class TestArguments:
    @pytest.mark.parametrize(
        "limits", [5, "10/min", {"m": 5}, {1: RateLimits()}, [RateLimits()], {"m": None}, RateLimits]
    )
    def test_limits_that_are_none(self, limits: Any) -> None:
        with pytest.raises(ConfigurationError, match="limits is"):
            AsyncImagesClient(KEY, limits=limits)

    @pytest.mark.parametrize("field", ["requests_per_minute", "images_per_minute", "tokens_per_minute", "concurrency"])
    @pytest.mark.parametrize("value", [0, -1, "5", -0.5, float("nan")])
    def test_a_limit_that_is_none(self, field: str, value: Any) -> None:
        with pytest.raises(ValueError, match=f"{field}: .* is not a (whole )?number above 0"):
            RateLimits(**{field: value})

    @pytest.mark.parametrize("count", [-1, True, 1.5, "3", None])
    def test_connections(self, count: Any) -> None:
        with pytest.raises(ConfigurationError, match="max_connections is"):
            AsyncImagesClient(KEY, max_connections=count)

    @pytest.mark.parametrize("priority", [True, 1.5, "high", None])
    @on_virtual_clock
    async def test_a_priority_that_is_none(self, priority: Any) -> None:
        """Nothing is sent, and the error names the field."""
        async with make_client(transport := FakeTransport()) as client:
            for call in (client.generate("A", priority=priority), client.generate("A", priority=priority, stream=True)):
                with pytest.raises(InvalidRequestError) as caught:
                    await call
                assert (caught.value.field, caught.value.value) == ("priority", priority)
            with pytest.raises(InvalidRequestError):
                async with client.stream("A", priority=priority):
                    pass
        assert not transport.exchanges


class TestQueuesApart:
    @on_virtual_clock
    async def test_views_share_them(self) -> None:
        """Other options, the same key, server and model: the same queue, in the order in which they came."""
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            view = client.with_options(timeout=50, retry=5, default_headers={"x-team": "a"})
            tasks = await start_waiting(client, "A")
            tasks += await start_waiting(view, "B")
            tasks += await start_waiting(client, "C")
            assert client.limits == view.limits and len(client.limits.queues) == 1
            await gather(*tasks)
            assert transport.prompts == ["A", "B", "C"] and transport.most_in_flight == 1

    @on_virtual_clock
    async def test_keys_models_and_servers_have_their_own(self) -> None:
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            views = [
                (client, "a"),
                (client, "b"),
                (client.with_options(api_key="sk-another-key-123"), "a"),
                (client.with_options(base_url="http://other.test/v1"), "a"),
                (client.with_options(base_url="https://fake.test/v1"), "a"),
                (client.with_options(base_url="http://fake.test:81/v1"), "a"),
            ]
            await gather(*(view.generate("A", model=model) for view, model in views))
            assert transport.most_in_flight == len(views) == len(client.limits.queues)
            assert {queue.server for queue in client.limits.queues} == {
                "http://fake.test:80",
                "http://other.test:80",
                "https://fake.test:443",
                "http://fake.test:81",
            }

    @on_virtual_clock
    async def test_paths_of_a_server_share_one(self) -> None:
        """Limits are of the server and the key, whatever the path."""
        async with make_client(transport := FakeTransport(), limits=ONE) as client:
            other = client.with_options(base_url="http://fake.test/openai/v1")
            await gather(client.generate("A"), other.generate("B"))
            assert transport.most_in_flight == 1


def tell(**figures: object) -> dict[str, str]:
    return {f"x-ratelimit-{name.replace('_', '-')}": str(value) for name, value in figures.items()}


class TestLimits:
    def test_nothing_is_known(self) -> None:
        """Without any event loop, and it is a sequence like any other."""
        limits = AsyncImagesClient(KEY).limits
        assert (list(limits), limits.queues, limits.waiting, limits.in_flight) == ([], (), 0, 0)
        assert (limits.paused_until, limits.reason) == (None, None)

    @on_virtual_clock
    async def test_declared(self) -> None:
        limits = RateLimits(requests_per_minute=10, images_per_minute=20, tokens_per_minute=90_000, concurrency=4)
        async with make_client(FakeTransport(), limits=limits) as client:
            tasks = await start_waiting(client, "A", n=2, model="gpt-image-1")
            await asyncio.sleep(0.5)
            told = {limit.name: limit for limit in client.limits}
            assert {limit.source for limit in told.values()} == {"declared"}
            assert {limit.model for limit in told.values()} == {"gpt-image-1"}
            assert (told["requests"].limit, told["requests"].remaining, told["requests"].window) == (10, 9, 60)
            assert told["requests"].resets_in == pytest.approx(59.5, abs=0.1)
            assert (told["images"].limit, told["images"].remaining) == (20, 18)
            assert 0 < (told["tokens"].remaining or 0) < told["tokens"].limit == 90_000
            assert (told["concurrency"].limit, told["concurrency"].remaining) == (4, 3)
            assert (told["concurrency"].window, told["concurrency"].resets_in) == (None, None)
            assert {limit.in_flight for limit in told.values()} == {1}
            await gather(*tasks)

    @on_virtual_clock
    async def test_learned(self) -> None:
        """From the fields of an answer."""
        headers = tell(limit_requests=100, remaining_requests=98, reset_requests="1.2s")
        async with make_client(FakeTransport(lambda _: Answer(delay=0.05, headers=headers))) as client:
            await client.generate("A", model="m")
            (limit,) = client.limits
            assert (limit.name, limit.model, limit.source, limit.limit) == ("requests", "m", "learned", 100)
            assert limit.remaining is not None and 97 <= limit.remaining <= 99.1
            assert limit.resets_in is not None and 0 <= limit.resets_in <= 60

    @on_virtual_clock
    async def test_learned_from_a_refusal(self) -> None:
        headers = tell(limit_images=5, remaining_images=0, reset_images="60s") | {"Retry-After": "12"}
        answers = [refused(headers=headers)]
        async with make_client(FakeTransport(lambda _: answers.pop() if answers else IMAGE)) as client:
            tasks = await start_waiting(client, "A")
            await asyncio.sleep(1)
            (limit,) = client.limits
            assert (limit.name, limit.source, limit.limit) == ("images", "learned", 5)
            assert limit.remaining is not None and limit.remaining < 1
            assert limit.waiting == 1 and limit.paused_until is not None
            assert limit.reason is not None
            await gather(*tasks)

    @on_virtual_clock
    async def test_discovered(self) -> None:
        """From refusals alone."""
        async with make_client(FakeTransport(bucket(2, 4))) as client:
            await gather(*(client.generate(str(number)) for number in range(60)))
            (limit,) = [limit for limit in client.limits if limit.name == "requests"]
            assert limit.source == "discovered"
            assert limit.limit * 60 / (limit.window or 1) == pytest.approx(120, rel=0.5)

    @on_virtual_clock
    async def test_a_discovered_cap(self) -> None:
        def rule(_: Exchange) -> Answer:
            return refused(code="concurrency_limit") if transport.in_flight > 3 else IMAGE

        transport = FakeTransport(rule)
        async with make_client(transport) as client:
            results = await gather(*(client.generate(str(number)) for number in range(60)))
            assert not any(isinstance(each, BaseException) for each in results)
            (limit,) = [limit for limit in client.limits if limit.name == "concurrency"]
            assert (limit.source, limit.limit, limit.window) == ("discovered", 3, None)

    @on_virtual_clock
    async def test_values(self) -> None:
        """Frozen, comparable, hashable, picklable, and no key in them."""
        key = "sk-very-secret-0123456789"
        async with make_client(FakeTransport(), limits=ONE, api_key=key) as client:
            tasks = await start_waiting(client, "A", "B")
            limits = client.limits
            await gather(*tasks)
            later = client.limits
        assert isinstance(limits, Limits) and isinstance(limits.queues[0], QueueStatus)
        assert (limits.in_flight, limits.waiting) == (1, 1)
        assert (later.in_flight, later.waiting) == (0, 0)
        assert limits[0] == limits[0:1][0] and isinstance(limits[0], LimitStatus)
        copied = pickle.loads(pickle.dumps(limits))
        assert copied == limits != later and hash(copied) == hash(limits)
        assert list(copied) == list(limits) and copied.waiting == 1
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            limits[0].limit = 5  # type: ignore[misc] # that is the point
        for text in (repr(limits), repr(limits.queues), pickle.dumps(limits).decode("latin-1")):
            assert "very-secret" not in text

    def test_without_a_running_loop(self) -> None:
        """What was learned in a loop that stands still, or has ended, can be asked for."""
        client = make_client(FakeTransport(), limits=ONE)
        still = VirtualLoop()
        still.run_until_complete(client.generate("A"))
        (limit,) = client.limits
        assert (limit.limit, limit.in_flight) == (1, 0)
        still.run_until_complete(client.aclose())
        still.close()
        assert client.limits.in_flight == 0


class TestLoops:
    def test_one_after_another(self) -> None:
        """Each loop has queues of its own; a loop that ended leaves nothing."""
        client = make_client(transport := FakeTransport(), limits=RateLimits(requests_per_minute=1))

        async def main() -> float:
            transport.idle = 0
            await client.generate("A")
            return elapsed()

        assert run(main()) < 2
        assert run(main()) < 2

    def test_a_loop_that_was_left_in_the_middle(self) -> None:
        """What waited there is cancelled with it; the next loop is not held back by it."""
        client = make_client(transport := FakeTransport(), limits=ONE, max_connections=1)

        async def leave() -> None:
            await start_waiting(client, "A", "B", "C")
            await asyncio.sleep(0.5)

        async def main() -> None:
            transport.idle = 0
            await client.generate("D")
            assert transport.prompts == ["A", "D"]

        run(leave())
        run(main())
        assert (client.limits.in_flight, client.limits.waiting) == (0, 0)

    def test_what_a_loop_had_is_forgotten_with_it(self) -> None:
        client = make_client(transport := FakeTransport(), limits=ONE)

        async def main() -> None:
            transport.idle = 0
            await client.generate("A")

        for _ in range(5):
            run(main())
        gc.collect()
        assert len(client.limits.queues) <= 1

    def test_two_at_once(self) -> None:
        """Each has a queue and connections of its own."""
        transport = FakeTransport(lambda _: Answer(delay=float("inf")))
        client = make_client(transport, limits=ONE, max_connections=1, timeout=Timeout(total=None))
        are_waiting = threading.Barrier(3)
        leave = threading.Event()

        async def wait() -> None:
            tasks = await start_waiting(client, "A", "B")
            are_waiting.wait(5)
            leave.wait(5)
            await cancel(*tasks)

        threads = [threading.Thread(target=lambda: run(wait(), has_threads=True), daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        are_waiting.wait(5)
        limits = client.limits
        leave.set()
        for thread in threads:
            thread.join(20)
        assert [(queue.in_flight, queue.waiting) for queue in limits.queues] == [(1, 1), (1, 1)]
        assert (limits.in_flight, limits.waiting) == (2, 2)


class TestQuiet:
    @on_virtual_clock
    async def test_neither_task_nor_timer(self) -> None:
        """After traffic, refusals and cancelled waiters nothing is left on the loop."""
        answers = [refused(headers={"Retry-After": "5"}), refused()]
        transport = FakeTransport(lambda _: answers.pop() if answers else IMAGE)
        async with make_client(transport, limits=RateLimits(requests_per_minute=5)) as client:
            await gather(*(client.generate(str(number), timeout=Timeout(queue=900)) for number in range(15)))
            (late,) = await start_waiting(client, "A", timeout=Timeout(queue=500))
            await asyncio.sleep(2)
            await cancel(late)
            assert client.limits.waiting == 0
            assert loop().pending_timers() == []
            assert asyncio.all_tasks() == {asyncio.current_task()}

    @on_virtual_clock
    async def test_names_of_models_may_be_made_up(self) -> None:
        """A thousand of them leave a bounded number of queues, and keep no more than those."""
        async with make_client(FakeTransport()) as client:
            for number in range(1_000):
                await client.generate("A", model=f"model-{number}")
            assert len(client.limits.queues) <= 300
            gc.collect()
            kinds = Counter(type(each).__name__ for each in gc.get_objects())
            assert kinds["Admission"] <= 300 + 50

    @on_virtual_clock
    async def test_no_request_is_kept(self) -> None:
        """A refusal that was raised is not kept with all that its traceback holds."""

        class Big:
            pass

        async def fail(client: AsyncImagesClient) -> None:
            big = Big()
            await client.generate("A")
            del big

        async with make_client(FakeTransport(lambda _: refused()), retry=0) as client:
            (error,) = await gather(fail(client))
            assert isinstance(error, RateLimitError)
            del error
            await settle()
            gc.collect()
            assert not [each for each in gc.get_objects() if isinstance(each, Big)]
