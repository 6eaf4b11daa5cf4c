"""Many requests: results as they finish, how far ahead is read and sent, what one failure does, how a batch ends."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import errno
import functools
import gc
import json
import logging
import os
import pickle
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from aiai_async import (
    AIAIError,
    APIConnectionError,
    AsyncImagesClient,
    BadRequestError,
    BatchResult,
    ConfigurationError,
    ImageRequest,
    ImagesResponse,
    InvalidRequestError,
    QuotaExceededError,
    RetryPolicy,
)
from aiai_async import _batch as batch_module
from aiai_async._facts import Headers
from aiai_async._transport import TransportRequest
from aiai_async.server import LocalServer
from tests.scripted import (
    KEY,
    OK,
    PNG,
    Received,
    answer_with,
    error_body,
    http_answer,
    never_answer,
    serving,
)

AHEAD = 64
"""What may be read beyond `concurrency`, as documented."""

GOOD = json.dumps(answer_with(PNG)).encode()
EMPTY_ACCOUNT = 429, json.dumps(error_body("no money", code="insufficient_quota")).encode()


class FakeResponse:
    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.headers = Headers([("content-type", "application/json"), ("x-request-id", "req_1")])
        self._pieces = [body, b""]

    async def read(self) -> bytes:
        return self._pieces.pop(0)

    def close(self) -> None:
        pass


class FakeTransport:
    """Answers what `answer` says to a prompt, which it may wait for; counts what is under way."""

    def __init__(self, answer: Callable[[str], Awaitable[tuple[int, bytes]]] | None = None) -> None:
        self._answer = answer
        self.prompts: list[str] = []
        self.running = self.most = 0

    async def send(self, request: TransportRequest) -> FakeResponse:
        assert request.body is not None
        prompt = json.loads(request.body)["prompt"]
        self.prompts.append(prompt)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            status, body = await (self._answer or self._answer_at_once)(prompt)
        finally:
            self.running -= 1
        return FakeResponse(status, body)

    async def aclose(self) -> None:
        pass

    async def _answer_at_once(self, _: str) -> tuple[int, bytes]:
        await asyncio.sleep(0)
        return 200, GOOD


class HeldTransport(FakeTransport):
    """Holds each prompt until a test answers it."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self._answers: dict[str, asyncio.Future[tuple[int, bytes]]] = {}

    async def _wait(self, prompt: str) -> tuple[int, bytes]:
        self._answers[prompt] = asyncio.get_running_loop().create_future()
        return await self._answers[prompt]

    def answer(self, prompt: str, status: int = 200, body: bytes = GOOD) -> None:
        self._answers.pop(prompt).set_result((status, body))


def make_client(transport: FakeTransport | None = None, **options: Any) -> AsyncImagesClient:
    options = {"retry": RetryPolicy(base_delay=0), **options}
    return AsyncImagesClient(options.pop("api_key", KEY), transport=transport or FakeTransport(), **options)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Source:
    """An async source that tells how far it was read, and whether it was closed."""

    def __init__(self, *, error: Exception | None = None, end: int = sys.maxsize) -> None:
        self.read = 0
        self.is_closed = False
        self._error = error
        self._end = end

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            while self.read < self._end:
                self.read += 1
                yield str(self.read - 1)
            if self._error is not None:
                raise self._error
        finally:
            self.is_closed = True


def is_used_up(source: Source, transport: FakeTransport, furthest: int) -> bool:
    return source.read >= furthest and transport.running == 0


class TestResults:
    async def test_over_a_real_socket(self) -> None:
        """Prompts and whole requests, each with its answer."""
        requests: list[str | ImageRequest] = ["A lighthouse", ImageRequest(prompt="Fog", model="gpt-image-1")]
        async with serving(OK) as (server, client), client.batch(requests, concurrency=1) as results:
            found = [result async for result in results]
        assert [result.index for result in found] == [0, 1]
        assert [result.request for result in found] == [ImageRequest(prompt="A lighthouse"), requests[1]]
        assert [result.error for result in found] == [None, None]
        assert [result.response.image.content for result in found if result.response] == [PNG, PNG]
        assert [request.json for request in server.requests] == [
            {"prompt": "A lighthouse"},
            {"prompt": "Fog", "model": "gpt-image-1"},
        ]
        assert server.connections == 1

    async def test_of_the_local_server(self) -> None:
        prompts = [f"A lighthouse, number {number}" for number in range(12)]
        async with LocalServer(latency=(0, 0.02)) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
            results = await client.generate_many(
                [ImageRequest(prompt=prompt, model="dall-e-2", size="256x256") for prompt in prompts], concurrency=5
            )
        assert [result.request.prompt for result in results] == prompts
        assert all(isinstance(result.response, ImagesResponse) for result in results)
        # They are links, and nobody fetched them.
        assert server.downloads == ()

    async def test_come_as_they_finish(self) -> None:
        transport = HeldTransport()
        async with make_client(transport) as client, client.batch(["a", "b", "c"]) as results:
            await until(lambda: transport.running == 3)
            indexes: list[int] = []
            for prompt in "cab":
                transport.answer(prompt)
                indexes.append((await anext(results)).index)
            assert indexes == [2, 0, 1]
            for _ in range(2):
                with pytest.raises(StopAsyncIteration):
                    await anext(results)

    async def test_one_failure_hurts_no_other(self) -> None:
        """Not what is refused before it is sent, nor what the server refuses, nor an item that is no prompt."""

        async def answer(prompt: str) -> tuple[int, bytes]:
            return (400, json.dumps(error_body("bad")).encode()) if prompt == "bad" else (200, GOOD)

        requests: list[Any] = [
            "good",
            "",
            5,
            None,
            {"prompt": "good"},
            ImageRequest(prompt="good", model="dall-e-3", n=2),
            "bad",
            "good",
        ]
        transport = FakeTransport(answer)
        async with make_client(transport) as client:
            results = await client.generate_many(requests)
            unchecked = await client.with_options(validate=False).generate_many(requests[2:5])
        kinds = [type(result.error) for result in results]
        invalid = InvalidRequestError
        assert kinds == [type(None), invalid, invalid, invalid, invalid, invalid, BadRequestError, type(None)]
        assert [result.response is None for result in results] == [result.error is not None for result in results]
        assert str(results[2].error) == (
            "requests: 5 is not accepted by batch; give prompts as strings, or ImageRequests"
        )
        assert results[2].request == ImageRequest(prompt=5)  # type: ignore[arg-type] # that is what is wrong with it
        assert [type(result.error) for result in unchecked] == [invalid] * 3
        assert transport.prompts == ["good", "bad", "good"]

    async def test_what_the_key_callable_raises_is_the_results_error(self) -> None:
        failure = OSError("the vault is closed")
        keys: Iterator[str | OSError] = iter([failure, KEY, KEY])

        async def give_key() -> str:
            key = next(keys)
            if isinstance(key, OSError):
                raise key
            return key

        async with make_client(api_key=give_key) as client:
            results = await client.generate_many(["a", "b", "c"], concurrency=1)
        assert [result.error for result in results] == [failure, None, None]

    async def test_a_request_that_something_else_cancelled(self) -> None:
        """Is an error of its own, and cancels nothing else."""
        keys = iter([False, True, True])

        async def give_key() -> str:
            if not next(keys):
                future = asyncio.get_running_loop().create_future()
                future.cancel()
                await future
            return KEY

        async with make_client(api_key=give_key) as client:
            results = await client.generate_many(["a", "b", "c"], concurrency=1)
        error = results[0].error
        assert isinstance(error, AIAIError) and "was cancelled" in str(error) and error.may_have_been_billed
        assert [result.error for result in results[1:]] == [None, None]

    async def test_nothing_to_do(self) -> None:
        async with make_client() as client:
            assert await client.generate_many([]) == []
            async with client.batch(iter(())) as results:
                assert [result async for result in results] == []

    async def test_a_view_has_its_own_options(self) -> None:
        async with serving(OK) as (server, client):
            await client.with_options(default_headers={"x-team": "a"}).generate_many(["A"])
        assert server.requests[0].headers["x-team"] == "a"

    async def test_a_result_survives_pickling(self) -> None:
        async with serving(OK) as (_, client):
            results = await client.generate_many(["A", ""])
        copies = pickle.loads(pickle.dumps(results))
        assert copies[0] == results[0]
        assert str(copies[1].error) == str(results[1].error)

    async def test_generate_many_keeps_the_order_of_the_input(self) -> None:
        async def answer(prompt: str) -> tuple[int, bytes]:
            for _ in range(40 - int(prompt)):
                await asyncio.sleep(0)
            return 200, GOOD

        async with make_client(FakeTransport(answer)) as client:
            for source in (list(map(str, range(40))), map(str, range(40)), Source(end=40)):
                results = await client.generate_many(source)
                assert [(result.index, result.request.prompt) for result in results] == [
                    (number, str(number)) for number in range(40)
                ]

    async def test_generate_many_loses_nothing_with_a_source_that_fails(self) -> None:
        """Nothing was sent yet."""
        transport, failure = FakeTransport(), KeyError("a")
        async with make_client(transport) as client:
            with pytest.raises(KeyError) as caught:
                await client.generate_many(Source(error=failure, end=100))
        assert caught.value is failure
        assert transport.prompts == []

    async def test_several_tasks_share_the_results(self) -> None:
        found: list[int] = []

        async def work() -> None:
            async for result in results:
                found.append(result.index)
                await asyncio.sleep(0)

        async with make_client() as client, client.batch(map(str, range(200)), concurrency=10) as results:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(5):
                    tasks.create_task(work())
        assert sorted(found) == list(range(200))


class TestPace:
    @settings(max_examples=15)
    @given(concurrency=st.integers(1, 100), taken=st.lists(st.integers(0, 40), max_size=6))
    def test_reads_and_sends_no_further_than_it_may(self, concurrency: int, taken: Sequence[int]) -> None:
        """However results are taken: `concurrency` under way, and that many and 64 read beyond what was taken."""

        async def main() -> None:
            source, transport, count = Source(), FakeTransport(), 0
            async with make_client(transport) as client, client.batch(source, concurrency=concurrency) as results:
                for number in taken:
                    for _ in range(number):
                        await anext(results)
                        count += 1
                        assert source.read - count <= concurrency + AHEAD
                    # Nobody takes: everything is used up in the end, and nothing more.
                    furthest = count + concurrency + AHEAD
                    await until(functools.partial(is_used_up, source, transport, furthest))
                    await settle()
                    assert source.read == len(transport.prompts) == furthest
            assert transport.most <= concurrency
            # Left at once, it was not even begun.
            assert source.is_closed or source.read == 0

        asyncio.run(main())

    @pytest.mark.parametrize(("max_connections", "expected"), [(3, 3), (0, 10_000)])
    async def test_without_concurrency(self, max_connections: int, expected: int) -> None:
        """As many as there may be connections; where that has no bound either, ten thousand, all at once."""
        transport, source = HeldTransport(), Source()
        async with make_client(transport, max_connections=max_connections) as client:
            async with client.batch(source) as results:
                async with asyncio.timeout(30):
                    while transport.running < expected:
                        await asyncio.sleep(0)
                await settle()
                assert (transport.running, source.read) == (expected, expected)
                for prompt in list(transport.prompts):
                    transport.answer(prompt)
                for _ in range(expected):
                    assert (await anext(results)).error is None

    async def test_ten_thousand_waiting_for_one_connection(self) -> None:
        transport = FakeTransport()
        async with make_client(transport, max_connections=1) as client:
            results = await client.generate_many(map(str, range(10_000)), concurrency=10_000)
        assert [result.error for result in results] == [None] * 10_000
        assert transport.most == 1

    async def test_memory_is_constant(self) -> None:
        """Of six thousand requests, errors among them, only those under way and not taken are there at a time."""
        alive: weakref.WeakSet[ImageRequest] = weakref.WeakSet()
        most = 0

        async def endless() -> AsyncIterator[ImageRequest]:
            for number in range(6_000):
                request = ImageRequest(prompt="bad" if number % 3 else "good", n=0 if number % 5 == 0 else None)
                alive.add(request)
                yield request
                del request

        async def answer(prompt: str) -> tuple[int, bytes]:
            return (400, b"{}") if prompt == "bad" else (200, GOOD)

        async with make_client(FakeTransport(answer)) as client:
            # What lies in cycles would only be freed by the collector.
            gc.collect()
            gc.disable()
            try:
                async with client.batch(endless(), concurrency=16) as results:
                    count = 0
                    async for result in results:
                        count += 1
                        most = max(most, len(alive))
                        del result
            finally:
                gc.enable()
        assert count == 6_000
        assert most <= 16 + AHEAD + 3

    async def test_a_generator_that_blocks_holds_nothing_up(self) -> None:
        """Neither the loop nor what was read before."""
        go_on = threading.Event()

        def slow() -> Iterator[str]:
            yield "a"
            assert go_on.wait(10)
            yield "b"

        async with make_client() as client, client.batch(slow()) as results:
            assert (await anext(results)).index == 0
            go_on.set()
            assert (await anext(results)).index == 1
            with pytest.raises(StopAsyncIteration):
                await anext(results)


class TestAnEmptyAccount:
    async def test_ends_the_sending_but_not_the_results(self) -> None:
        """What is under way is awaited; all others get the same error, each its own copy of it."""
        transport, source = HeldTransport(), Source(end=300)
        async with make_client(transport) as client, client.batch(source, concurrency=3) as results:
            await until(lambda: transport.running == 3)
            transport.answer("1", *EMPTY_ACCOUNT)
            first = await anext(results)
            # More than may be read ahead.
            found = [await anext(results) for _ in range(200)]
            assert transport.running == 2
            transport.answer("0")
            transport.answer("2")
            found += [result async for result in results]
        assert first.index == 1 and isinstance(first.error, QuotaExceededError)
        by_index = {result.index: result for result in found}
        assert sorted(by_index) == [0, *range(2, 300)]
        assert by_index[0].response is not None and by_index[2].response is not None
        errors = [by_index[index].error for index in range(3, 300)]
        assert all(isinstance(error, QuotaExceededError) for error in errors)
        assert len(set(map(id, errors))) == len(errors)
        assert transport.prompts == ["0", "1", "2"]
        assert str(first.error).startswith("429 insufficient_quota: no money [request req_1, attempt 1]; add credit")
        assert str(errors[0]).startswith(
            "429 insufficient_quota: no money [request req_1, attempt 0]; "
            "so was another request of the batch answered, and nothing more is sent; add credit"
        )

    async def test_those_that_wait_for_a_connection_are_not_sent(self) -> None:
        async with serving(http_answer(*EMPTY_ACCOUNT), max_connections=1) as (server, client):
            results = await client.generate_many(["a"] * 20, concurrency=10)
            assert [type(result.error) for result in results] == [QuotaExceededError] * 20
            assert len(server.requests) == 1
            # It was the batch's affair: the client still works, and every place was given back.
            with pytest.raises(QuotaExceededError):
                await client.generate("a")

    @pytest.mark.parametrize("is_ambiguous", [False, True])
    async def test_one_that_would_be_tried_again_is_not(self, is_ambiguous: bool) -> None:
        """It says what is true of itself: its attempts, and whether one of them may have been billed."""
        transport = HeldTransport()
        retry = RetryPolicy(base_delay=0, retry_ambiguous=True, instant=0)
        async with make_client(transport, retry=retry) as client, client.batch(["a", "b"]) as results:
            await until(lambda: transport.running == 2)
            transport.answer("b", *EMPTY_ACCOUNT)
            assert (await anext(results)).index == 1
            transport.answer("a", 500 if is_ambiguous else 503, b"{}")
            error = (await anext(results)).error
        assert isinstance(error, QuotaExceededError)
        assert (error.attempts, error.may_have_been_billed) == (1, is_ambiguous)
        assert transport.prompts == ["a", "b"]

    async def test_a_batch_of_one_client_is_not_stopped_by_another(self) -> None:
        transport = HeldTransport()
        async with make_client(transport) as client:
            async with client.batch(["a"]) as one, client.batch(["b", "c"], concurrency=1) as other:
                await until(lambda: transport.running == 2)
                transport.answer("a", *EMPTY_ACCOUNT)
                assert isinstance((await anext(one)).error, QuotaExceededError)
                transport.answer("b")
                assert (await anext(other)).error is None
                await until(lambda: transport.running == 1)
                transport.answer("c")
                assert (await anext(other)).error is None


class TestASourceThatFails:
    @pytest.mark.parametrize("is_async", [False, True])
    async def test_its_error_comes_last_and_as_itself(self, is_async: bool) -> None:
        """After the results of what it gave before, and once."""
        failure = KeyError("a")

        def broken() -> Iterator[str]:
            yield from ("0", "1")
            raise failure

        transport = HeldTransport()
        source = Source(end=2, error=failure) if is_async else broken()
        async with make_client(transport) as client, client.batch(source) as results:
            await until(lambda: transport.running == 2)
            await settle()
            transport.answer("1")
            assert (await anext(results)).index == 1
            transport.answer("0")
            assert (await anext(results)).index == 0
            with pytest.raises(KeyError) as caught:
                await anext(results)
            assert caught.value is failure
            with pytest.raises(StopAsyncIteration):
                await anext(results)

    async def test_who_leaves_before_is_not_told(self) -> None:
        async with make_client() as client, client.batch(Source(end=1, error=KeyError("a"))) as results:
            await settle()
            assert (await anext(results)).index == 0

    @pytest.mark.parametrize("value", [0, -1, True, 1.5, "3"])
    def test_a_concurrency_that_is_none(self, value: Any) -> None:
        with pytest.raises(InvalidRequestError, match="give a number above 0, or None") as caught:
            make_client().batch([], concurrency=value)
        assert caught.value.field == "concurrency"

    async def test_what_is_no_source(self) -> None:
        """Said at once, not when the block is entered."""
        client = make_client()
        with pytest.raises(InvalidRequestError, match="requests: 'A lighthouse' is not accepted by batch; put it into"):
            client.batch("A lighthouse")
        with pytest.raises(InvalidRequestError, match="requests"):
            await client.generate_many(5)  # type: ignore[arg-type] # that is what is wrong with it


class TestLeaving:
    async def test_cancels_what_runs_and_closes_the_source(self) -> None:
        """On the server's side the connections are cut."""
        source = Source()
        async with serving(never_answer) as (server, client):
            async with client.batch(source, concurrency=3):
                await server.wait_until(lambda: len(server.requests) == 3)
            assert source.is_closed
            await server.wait_until(lambda: server.closed == 3)
            assert len(server.requests) == 3

    async def test_a_generator_is_closed_in_its_thread(self) -> None:
        closed_in: list[threading.Thread] = []

        def endless() -> Iterator[str]:
            try:
                while True:
                    yield "a"
            finally:
                closed_in.append(threading.current_thread())

        async with make_client() as client, client.batch(endless(), concurrency=3) as results:
            await anext(results)
        assert len(closed_in) == 1 and closed_in[0] is not threading.current_thread()

    @pytest.mark.parametrize("error", [KeyError("mine"), asyncio.CancelledError(), SystemExit(3)], ids=repr)
    async def test_what_the_block_raises_stays_itself(self, error: BaseException) -> None:
        transport, source = HeldTransport(), Source()
        async with make_client(transport) as client:
            with pytest.raises(type(error)) as caught:
                async with client.batch(source, concurrency=3):
                    await until(lambda: transport.running == 3)
                    raise error
        assert caught.value is error
        assert transport.running == 0 and source.is_closed

    @pytest.mark.parametrize("many", [False, True])
    async def test_cancelling_who_iterates(self, many: bool) -> None:
        transport = HeldTransport()

        async def work() -> None:
            if many:
                await client.generate_many(map(str, range(50)), concurrency=3)
            async with client.batch(Source(), concurrency=3) as results:
                async for _ in results:
                    pytest.fail("there is no result")

        async with make_client(transport) as client:
            task = asyncio.create_task(work())
            await until(lambda: transport.running == 3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert transport.running == 0
            with anyio.move_on_after(0.05) as scope:
                await work()
            assert scope.cancelled_caught and transport.running == 0

    async def test_a_time_out_around_a_step_loses_nothing(self) -> None:
        """Nor does cancelling it in the very moment in which a result is there."""
        transport = HeldTransport()
        async with make_client(transport) as client, client.batch(["a", "b"]) as results:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await anext(results)
            reader = asyncio.ensure_future(anext(results))
            await until(lambda: transport.running == 2)
            transport.answer("a")
            await until(lambda: results._ready)
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert (await anext(results)).index == 0
            transport.answer("b")
            assert (await anext(results)).index == 1

    async def test_another_task_that_reads(self) -> None:
        """Is told, since what it has is not all there is."""
        async with make_client(HeldTransport()) as client:
            async with client.batch(Source()) as results:
                reader = asyncio.ensure_future(anext(results))
                await settle()
            for each in (reader, anext(results)):
                with pytest.raises(ConfigurationError, match="block was left"):
                    await each

    async def test_after_everything_was_taken(self) -> None:
        async with make_client() as client:
            async with client.batch(["a"]) as results:
                assert [result.index async for result in results] == [0]
            assert [result async for result in results] == []

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_at_once(self, is_async: bool) -> None:
        """Before anything could run: nothing is sent."""
        transport = FakeTransport()
        async with make_client(transport) as client:
            async with client.batch(Source() if is_async else ["a"]):
                pass
        assert transport.prompts == []

    async def test_without_a_block(self) -> None:
        async with make_client() as client:
            batch = client.batch(["a"])
            with pytest.raises(ConfigurationError, match="has to be entered: `async with"):
                async for _ in batch:
                    pass
            async with batch as results:
                assert (await anext(results)).error is None
            with pytest.raises(ConfigurationError, match="entered before"):
                async with batch:
                    pytest.fail("the block must not be entered")

    async def test_inside_an_async_generator(self) -> None:
        """As in a web application that relays: it may be closed by another task, between two steps."""
        transport, source = FakeTransport(), Source()

        async def relay() -> AsyncIterator[int]:
            async with client.batch(source, concurrency=3) as results:
                async for result in results:
                    yield result.index

        async with make_client(transport) as client:
            generator = relay()
            with anyio.CancelScope():
                await anext(generator)
            closing: Any = generator.aclose()  # type: ignore[attr-defined] # it is a generator
            await asyncio.ensure_future(closing)
        assert source.is_closed and transport.running == 0

    @pytest.mark.parametrize("is_raised", [False, True])
    async def test_a_source_that_can_not_be_closed(self, is_raised: bool) -> None:
        """Its error is raised where the block didn't raise one."""

        async def stubborn() -> AsyncIterator[str]:
            try:
                yield "a"
            finally:
                raise OSError("the file is gone")

        async with make_client(HeldTransport()) as client:
            with pytest.raises(KeyError if is_raised else OSError):
                async with client.batch(stubborn(), concurrency=1):
                    await settle()
                    if is_raised:
                        raise KeyError

    async def test_a_source_that_can_not_be_cancelled(self) -> None:
        """What it gives after the block was left is not sent."""

        async def deaf() -> AsyncIterator[str]:
            yield "a"
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            yield "b"

        transport = HeldTransport()
        async with make_client(transport) as client, client.batch(deaf()):
            await until(lambda: transport.running == 1)
            await settle()
        assert transport.prompts == ["a"]

    async def test_a_request_that_can_not_be_cancelled(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Is waited for, but not for ever."""
        monkeypatch.setattr(batch_module, "_LEAVE_SECONDS", 0.01)
        go_on = asyncio.Event()

        async def hold_on(_: str) -> tuple[int, bytes]:
            while not go_on.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(asyncio.shield(go_on.wait()), 0.5)
            return 200, GOOD

        transport = FakeTransport(hold_on)
        async with make_client(transport) as client:
            async with client.batch(["a"]):
                await until(lambda: transport.running == 1)
            go_on.set()
            await until(lambda: transport.running == 0)
        assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
            "a batch was left, and after 0.01 s not all of its requests had ended"
        ]

    def test_what_ends_the_program(self) -> None:
        """Raised inside a request, it ends the program, and nothing is left over."""
        sources: list[Source] = []

        async def interrupt(prompt: str) -> tuple[int, bytes]:
            if prompt == "1":
                await settle()
                raise KeyboardInterrupt
            await asyncio.Event().wait()
            return 200, GOOD

        async def main() -> None:
            sources.append(Source())
            async with make_client(FakeTransport(interrupt)) as client:
                async with client.batch(sources[0], concurrency=3) as results:
                    async for _ in results:
                        pytest.fail("there is no result")

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(main())
        assert sources[0].is_closed

    def test_trio_is_refused_clearly(self) -> None:
        async def main() -> None:
            async with make_client().batch(["a"]):
                pytest.fail("the block must not be entered")

        with pytest.raises(ConfigurationError, match="trio is not supported yet"):
            trio.run(main)


class TestTheClientIsClosed:
    async def test_meanwhile(self) -> None:
        """What is under way fails, what is left to read too, and nothing hangs."""
        async with serving(never_answer, retry=0) as (server, client):
            async with client.batch(map(str, range(100)), concurrency=5) as results:
                await server.wait_until(lambda: len(server.requests) == 5)
                await client.aclose()
                found = [result async for result in results]
        assert len(found) == 100 and len(server.requests) == 5
        assert sum(isinstance(result.error, APIConnectionError) for result in found) == 5
        assert sum(isinstance(result.error, ConfigurationError) for result in found) == 95

    async def test_before(self) -> None:
        client = make_client()
        await client.aclose()
        with pytest.raises(ConfigurationError, match="was closed"):
            async with client.batch(["a"]):
                pytest.fail("the block must not be entered")


OUT_OF_FILES = """
import asyncio, resource, sys
from aiai_async import AsyncImagesClient, RetryPolicy

async def main() -> None:
    retry = RetryPolicy(max_retries=1000, base_delay=0.02)
    async with AsyncImagesClient("sk-test", base_url=sys.argv[1], retry=retry) as client:
        await client.generate("the first")
        resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
        results = await client.generate_many(["A lighthouse"] * 60)
    errors = [result.error for result in results if result.error is not None]
    print(len(results), len(errors), *errors[:1])
    print(max(result.response.http.attempts for result in results if result.response is not None) > 1)

    async with AsyncImagesClient("sk-test", base_url=sys.argv[1], retry=0) as client:
        results = await client.generate_many(["A lighthouse"] * 60)
    errors = [result.error for result in results if result.error is not None]
    print(len(errors))
    print({type(each).__name__ for each in errors}, {each.may_have_been_billed for each in errors})
    print(errors[0].message.partition(": ")[2])

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
async def test_running_out_of_files_is_tried_again() -> None:
    """More requests than the process may open sockets: with retries all succeed, and none was billed twice."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(OK)

    async with serving(answer) as (server, _):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            OUT_OF_FILES,
            server.base_url,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        output, _ = await child.communicate()
    *before, failed, kinds, words = output.decode().splitlines()
    assert before == ["60 0", "True"]
    assert (kinds, words) == ("{'APIConnectionError'} {False}", os.strerror(errno.EMFILE))
    # Each of the first sixty was sent once, and of the last sixty those that didn't fail.
    assert 0 < int(failed) < 60
    assert len(server.requests) == 1 + 60 + 60 - int(failed)


def test_a_result_is_frozen() -> None:
    result = BatchResult(index=0, request=ImageRequest(prompt="A"))
    with pytest.raises(AttributeError):
        result.index = 1  # type: ignore[misc] # that is what is wrong with it
    assert copy.copy(result) == result
