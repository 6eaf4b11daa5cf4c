"""Streams over a real socket: events as they come, what ends them, what is given back, and when."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gc
import hashlib
import json
import logging
import pickle
import sys
import warnings
from pathlib import Path

import pytest

from aiai_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APITimeoutError,
    AsyncImagesClient,
    BadRequestError,
    FileSink,
    ImageCompletedEvent,
    ImageStream,
    IncompleteStreamError,
    InternalServerError,
    InvalidRequestError,
    ModerationBlockedError,
    PartialImageEvent,
    RateLimitError,
    RetryPolicy,
    StreamError,
    Timeout,
)
from tests.scripted import (
    KEY,
    OK,
    PNG,
    Answer,
    Received,
    ScriptedServer,
    answer_with,
    error_body,
    hang_up,
    http_answer,
    never_answer,
    serving,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LARGE = b"\x89PNG\r\n\x1a\n" + hashlib.shake_128(b"a large image").digest(3_000_001)


def event(kind: str, image: bytes | None = None, *, name: bool = True, **fields: object) -> bytes:
    """Write an image event as servers do."""
    body: dict[str, object] = {"type": f"image_generation.{kind}", **fields}
    if image is not None:
        body["b64_json"] = base64.b64encode(image).decode()
    return (f"event: image_generation.{kind}\n" if name else "").encode() + f"data: {json.dumps(body)}\n\n".encode()


def partial(index: int = 0, image: bytes = PNG) -> bytes:
    return event("partial_image", image, partial_image_index=index)


def completed(image: bytes = PNG + b"final", **fields: object) -> bytes:
    return event("completed", image, **fields)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""


def sse(*pieces: bytes, end: bool = True) -> bytes:
    """Write a whole answer of chunks; without its end the connection stays open."""
    return HEAD + b"".join(map(chunk, pieces)) + (b"0\r\n\r\n" if end else b"")


def cut(*pieces: bytes) -> bytes:
    """Write an answer whose connection is closed before its end."""
    return sse(*pieces, end=False).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def then_silence(*pieces: bytes) -> Answer:
    async def script(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(sse(*pieces, end=False))
        await asyncio.Event().wait()

    return script


class TestAWholeStream:
    async def test_events_and_the_answer(self) -> None:
        """The request asks for a stream; events have their fields; the connection is used again."""
        answer = sse(
            partial(0),
            partial(1),
            completed(usage={"total_tokens": 7}, created_at=1713833628, size="1024x1024", quality="low", x=1),
        )
        async with serving(answer) as (server, client):
            for _ in range(2):
                async with client.stream("A", model="gpt-image-1", partial_images=2) as stream:
                    events = [each async for each in stream]
                    response = await stream.response()
                    assert await stream.response() == response
        assert server.requests[0].json == {
            "prompt": "A",
            "model": "gpt-image-1",
            "partial_images": 2,
            "stream": True,
        }
        assert server.connections == 1
        first, second, last = events
        assert isinstance(first, PartialImageEvent) and isinstance(second, PartialImageEvent)
        assert isinstance(last, ImageCompletedEvent)
        assert (first.partial_image_index, second.partial_image_index) == (0, 1)
        assert (first.type, last.type) == ("image_generation.partial_image", "image_generation.completed")
        assert first.image.content == PNG and first.b64_json == base64.b64encode(PNG).decode()
        assert last.extra == {"x": 1} and last.created_at == dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC)
        assert response.image.content == PNG + b"final"
        assert (response.size, response.quality, response.created) == ("1024x1024", "low", last.created_at)
        assert response.usage is not None and response.usage.total_tokens == 7
        assert response.http is not None and response.http.attempts == 1

    async def test_the_answer_without_looking_at_the_events(self) -> None:
        async with serving(sse(partial(), completed())) as (_, client):
            stream = await client.generate("A", stream=True)
            assert (await stream.response()).image.content == PNG + b"final"
            assert len(stream.partial_images) == len(stream.completed) == 1
            assert [each async for each in stream] == []

    async def test_several_images_and_the_sum_of_their_usage(self) -> None:
        answer = sse(
            completed(usage={"total_tokens": 5, "output_tokens": 5}), completed(LARGE, usage={"total_tokens": 7})
        )
        async with serving(answer) as (_, client):
            response = await (await client.generate("A", n=2, stream=True)).response()
        assert [image.content for image in response.data] == [PNG + b"final", LARGE]
        assert response.usage is not None
        assert (response.usage.total_tokens, response.usage.output_tokens) == (12, 5)

    async def test_fewer_images_than_were_asked_for(self) -> None:
        async with serving(sse(completed())) as (_, client):
            assert len((await (await client.generate("A", n=3, stream=True)).response()).data) == 1

    async def test_a_partial_image_comes_before_the_server_goes_on(self) -> None:
        """The server sends the next part only when the caller has seen this one."""
        seen = asyncio.Event()

        async def script(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + chunk(partial()))
            await seen.wait()
            writer.write(chunk(completed()) + b"0\r\n\r\n")

        async with serving(script) as (_, client), client.stream("A") as stream:
            assert isinstance(await anext(stream), PartialImageEvent)
            seen.set()
            assert (await stream.response()).image.content == PNG + b"final"

    @pytest.mark.parametrize("size", [1, 7, 4096])
    async def test_chunks_cut_anywhere(self, size: int) -> None:
        data = partial() + b": PING\r\n\r\n" + completed().replace(b"\n", b"\r\n") + b"data: [DONE]\n\n"
        answer = sse(*(data[at : at + size] for at in range(0, len(data), size)))
        async with serving(answer) as (_, client), client.stream("A") as stream:
            assert [each.image.content async for each in stream] == [PNG, PNG + b"final"]

    @pytest.mark.parametrize("label", ["application/json", "text/html", ""])
    async def test_whatever_the_label(self, label: str) -> None:
        answer = sse(completed()).replace(b"text/event-stream", label.encode())
        async with serving(answer) as (_, client), client.stream("A") as stream:
            assert (await stream.response()).image.content == PNG + b"final"

    async def test_a_plain_answer_instead(self) -> None:
        """It becomes completed events, whatever its label; only the last carries the usage."""
        body = answer_with(PNG, LARGE, usage={"total_tokens": 9})
        for label in ("application/json", "text/event-stream"):
            async with serving(http_answer(200, body, headers={"Content-Type": label})) as (_, client):
                async with client.stream("A", n=2) as stream:
                    events = [each async for each in stream]
                    response = await stream.response()
            assert [type(each) for each in events] == [ImageCompletedEvent] * 2
            assert [each.usage is not None for each in stream.completed] == [False, True]
            assert response.usage is not None and response.usage.total_tokens == 9
            assert [image.content for image in response.data] == [PNG, LARGE]

    async def test_a_bare_line_between_the_lines_of_an_event(self) -> None:
        """It is none of the event's, and has none of its images."""
        answer = sse(completed()[:-1] + b'{"note": 1}\n\n')
        async with serving(answer) as (_, client), await client.generate("A", stream=True) as stream:
            assert (await stream.response()).image.content == PNG + b"final"

    async def test_a_link_can_be_read(self) -> None:
        answer = sse(event("completed", url="/files/a.png"))
        file = http_answer(200, PNG, headers={"Content-Type": "image/png"})
        async with serving(answer, file) as (_, client), client.stream("A") as stream:
            assert await (await stream.response()).image.read() == PNG

    async def test_code_for_the_official_sdk(self) -> None:
        async with serving(sse(partial(), completed())) as (_, client):
            kinds = [
                (each.type, getattr(each, "partial_image_index", None), bool(each.b64_json))
                async for each in await client.images.generate(prompt="A", model="gpt-image-1", stream=True)
            ]
        assert kinds == [
            ("image_generation.partial_image", 0, True),
            ("image_generation.completed", None, True),
        ]

    async def test_a_model_without_streams(self) -> None:
        async with serving(OK) as (server, client):
            with pytest.raises(InvalidRequestError) as caught:
                async with client.stream("A", model="dall-e-3"):
                    pytest.fail("the block must not be entered")
            assert caught.value.field == "stream"
            client.stream("A")  # never entered, which is nothing to warn of
        assert server.requests == []


class TestWhatEndsIt:
    @pytest.mark.parametrize(
        ("body", "kind"),
        [
            (
                b'event: error\ndata: {"type":"error","error":{"message":"no","code":"moderation_blocked"}}\n\n',
                ModerationBlockedError,
            ),
            (b'event: error\ndata: {"message":"no","code":429}\n\n', RateLimitError),
            (b'data: {"error":{"message":"no","code":"internal_server_error"}}\n\n', InternalServerError),
            (b'{"error":{"message":"no","code":"invalid_request"}}\n', BadRequestError),
            (b'{"error":{"message":"no"}}', StreamError),
        ],
        ids=["wrapped", "not-wrapped", "data-only", "bare-line", "end-of-body"],
    )
    @pytest.mark.parametrize("before", [(), (partial(),)], ids=["at-once", "after-a-partial"])
    async def test_the_five_error_shapes(self, body: bytes, kind: type[APIError], before: tuple[bytes, ...]) -> None:
        """The class of its code, also after images; never tried again."""
        async with serving(sse(*before, body)) as (server, client), client.stream("A") as stream:
            with pytest.raises(APIError, match="no") as caught:
                async for _ in stream:
                    pass
            with pytest.raises(kind):
                await stream.response()
            assert [each async for each in stream] == []
        assert type(caught.value) is kind
        assert len(stream.partial_images) == len(before)
        assert len(server.requests) == 1
        if before:
            assert caught.value.may_have_been_billed

    async def test_an_error_line_before_a_stream(self) -> None:
        answer = sse(b'{"error":{"message":"no","code":"moderation_blocked"}}\n', b"data: [DONE]\n\n")
        async with serving(answer) as (_, client), client.stream("A") as stream:
            with pytest.raises(ModerationBlockedError):
                await stream.response()

    async def test_an_error_status(self) -> None:
        """It is raised where the stream is opened."""
        async with serving(http_answer(400, error_body("bad"))) as (_, client):
            with pytest.raises(BadRequestError):
                await client.generate("A", stream=True)
            with pytest.raises(BadRequestError):
                async with client.stream("A"):
                    pytest.fail("the block must not be entered")

    @pytest.mark.parametrize(
        ("answer", "cause"),
        [
            (sse(partial()), type(None)),
            (sse(partial(), b"data: [DONE]\n\n"), type(None)),
            (sse(partial(), completed()[:200]), APIResponseError),
            (cut(partial()), APIConnectionError),
            (cut(partial(), completed()[:200]), APIConnectionError),
            (sse(partial(), event("completed", None)[:-5] + b"\n\n"), APIResponseError),
        ],
        ids=["end", "done", "end-inside-an-image", "cut", "cut-inside-an-image", "not-json"],
    )
    async def test_after_a_partial_image_it_is_incomplete(self, answer: bytes, cause: type) -> None:
        """A partial image is never passed off as a final one; the error carries what came, and pickles with it."""
        async with serving(answer) as (server, client), client.stream("A") as stream:
            with pytest.raises(IncompleteStreamError) as caught:
                await stream.response()
        error = caught.value
        assert type(error.__cause__) is cause
        assert error.may_have_been_billed
        assert [each.image.content for each in error.partial_images] == [PNG]
        assert error.completed == ()
        assert len(server.requests) == 1
        copy = pickle.loads(pickle.dumps(error))
        assert copy.partial_images == error.partial_images and str(copy) == str(error)

    async def test_n_in_the_extra_body_counts_too(self) -> None:
        async with serving(cut(completed())) as (_, client), client.stream("A", extra_body={"n": 2}) as stream:
            with pytest.raises(IncompleteStreamError):
                await stream.response()

    async def test_a_link_in_the_error_can_be_read(self) -> None:
        """It was paid for."""
        file = http_answer(200, PNG, headers={"Content-Type": "image/png"})
        async with serving(cut(event("completed", url="/a.png")), file) as (_, client):
            async with client.stream("A", n=2) as stream:
                with pytest.raises(IncompleteStreamError) as caught:
                    await stream.response()
            assert await caught.value.completed[0].image.read() == PNG

    async def test_after_done_nothing_is_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The server holds the connection."""
        monkeypatch.setattr("aiai_async._bodies._GRACE_SECONDS", 0.01)
        answer = then_silence(completed(), b"data: [DONE]\n\n")
        async with serving(answer) as (server, client), client.stream("A") as stream:
            assert (await stream.response()).image.content == PNG + b"final"
            await server.wait_until(lambda: server.closed == 1)

    async def test_an_error_line_is_not_waited_behind(self) -> None:
        """The same with the error first."""
        answer = then_silence(b'{"error":{"message":"no","code":"moderation_blocked"}}\n\n')
        async with serving(answer) as (_, client), client.stream("A") as stream:
            with pytest.raises(ModerationBlockedError):
                await stream.response()

    async def test_what_completed_before_a_cut_is_kept(self) -> None:
        async with serving(cut(completed())) as (_, client), client.stream("A", n=2) as stream:
            with pytest.raises(IncompleteStreamError) as caught:
                await stream.response()
        assert [each.image.content for each in caught.value.completed] == [PNG + b"final"]
        assert stream.completed == caught.value.completed

    async def test_a_cut_after_all_that_was_asked_for(self) -> None:
        """Everything paid for is there: that is an answer."""
        async with serving(cut(partial(), completed())) as (_, client), client.stream("A") as stream:
            assert (await stream.response()).image.content == PNG + b"final"

    async def test_held_images_come_before_the_error(self) -> None:
        answer = cut(event("partial_succeeded", PNG))
        async with serving(answer) as (_, client), client.stream("A", n=2) as stream:
            assert (await anext(stream)).image.content == PNG
            with pytest.raises(IncompleteStreamError):
                await anext(stream)

    @pytest.mark.parametrize(
        ("answer", "words"),
        [
            (sse(), "without an image"),
            (sse(b": ping\n\n", b"data: [DONE]\n\n"), "without an image"),
            (http_answer(200, b""), "without an image"),
            (http_answer(200, b"<html>"), "is a web page"),
            (http_answer(200, {"data": []}), "`data` is empty"),
            (http_answer(200, b'{"data": [\n'), "is not JSON"),
            (sse(b"\n" * 70_000), "without an image"),
        ],
    )
    async def test_no_answer_at_all(self, answer: bytes, words: str) -> None:
        async with serving(answer) as (server, client), client.stream("A") as stream:
            with pytest.raises(APIResponseError, match=words) as caught:
                await stream.response()
        assert caught.value.may_have_been_billed
        assert len(server.requests) == 1

    async def test_an_endless_line(self) -> None:
        async def endless(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + chunk(b"data: "))
            while True:
                writer.write(chunk(b"x" * 65536))
                await writer.drain()

        async with serving(endless) as (_, client), client.stream("A") as stream:
            with pytest.raises(APIResponseError, match="bytes of text outside its images"):
                await stream.response()

    async def test_max_answer_bytes(self) -> None:
        async with serving(sse(partial(0, LARGE)), max_answer_bytes=10**6) as (_, client), client.stream("A") as stream:
            with pytest.raises(APIResponseError, match="max_answer_bytes"):
                await stream.response()


class TestWhatIsTriedAgain:
    async def test_before_the_first_event(self) -> None:
        """A status that is tried again, a connection that closed at once, a body that broke off within a second."""
        answers = http_answer(503), hang_up, cut(b": ping\n\n"), sse(completed())
        async with serving(*answers, retry=RetryPolicy(max_retries=3, base_delay=0)) as (server, client):
            async with client.stream("A") as stream:
                response = await stream.response()
        assert response.http is not None and response.http.attempts == 4
        assert len({r.headers["idempotency-key"] for r in server.requests}) == 1

    async def test_not_what_may_have_been_billed(self) -> None:
        retry = RetryPolicy(instant=0, base_delay=0)
        async with serving(cut(b": ping\n\n"), retry=retry) as (server, client), client.stream("A") as stream:
            with pytest.raises(APIConnectionError) as caught:
                await stream.response()
        assert type(caught.value) is APIConnectionError
        assert caught.value.may_have_been_billed
        assert len(server.requests) == 1


class TestWhatRunsOut:
    @pytest.mark.parametrize(
        ("answer", "timeout", "phase"),
        [
            (never_answer, Timeout(first_byte=0.03), "first_byte"),
            (then_silence(b": ping\n\n"), Timeout(first_byte=0.03), "first_byte"),
            (then_silence(partial()[:60]), Timeout(first_byte=5, stall=0.03), "stall"),
            (then_silence(b": ping\n\n"), Timeout(total=0.03), "total"),
        ],
    )
    async def test_before_an_event(self, answer: Answer, timeout: Timeout, phase: str) -> None:
        async with serving(answer, timeout=timeout) as (_, client):
            with pytest.raises(APITimeoutError) as caught:
                async with client.stream("A") as stream:
                    await stream.response()
        assert caught.value.phase == phase

    async def test_after_an_event(self) -> None:
        answer = then_silence(partial())
        async with serving(answer, timeout=Timeout(stall=0.03)) as (server, client), client.stream("A") as stream:
            with pytest.raises(IncompleteStreamError) as caught:
                await stream.response()
            await server.wait_until(lambda: server.closed == 1)
        assert isinstance(caught.value.__cause__, APITimeoutError)
        assert caught.value.__cause__.phase == "stall"

    async def test_comments_extend_nothing(self) -> None:
        async def pinging(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD + chunk(partial()))
            while True:
                writer.write(chunk(b": PING\n\n"))
                await asyncio.sleep(0.002)

        for timeout, phase in ((Timeout(stall=0.04), "stall"), (Timeout(total=0.04), "total")):
            async with serving(pinging, timeout=timeout) as (_, client), client.stream("A") as stream:
                with pytest.raises(IncompleteStreamError) as caught:
                    await stream.response()
            assert isinstance(caught.value.__cause__, APITimeoutError)
            assert caught.value.__cause__.phase == phase

    async def test_a_slow_reader_is_not_the_servers_stall(self) -> None:
        async with serving(sse(partial(), completed()), timeout=Timeout(stall=0.03)) as (_, client):
            async with client.stream("A") as stream:
                async for _each in stream:
                    await asyncio.sleep(0.05)
                assert len((await stream.response()).data) == 1

    async def test_a_slow_reader_holds_the_server_back(self) -> None:
        sent = 0

        async def flood(_: Received, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(HEAD + chunk(partial()))
            while True:
                writer.write(chunk(partial(0, LARGE)))
                await writer.drain()
                sent += 1

        async with serving(flood) as (_, client), client.stream("A") as stream:
            await anext(stream)
            await asyncio.sleep(0.05)
            before = sent
            await asyncio.sleep(0.05)
            assert sent == before


class TestLeaving:
    async def test_early(self) -> None:
        """The request is cut at once, and the client goes on."""
        async with serving(then_silence(partial()), OK, max_connections=1) as (server, client):
            async with client.stream("A") as stream:
                await anext(stream)
            await server.wait_until(lambda: server.closed == 1)
            with pytest.raises(StreamError, match="closed before its end"):
                await stream.response()
            assert len(stream.partial_images) == 1
            await stream.aclose()
            await client.generate("A")

    async def test_from_another_task(self) -> None:
        """The reader's loop ends, without an error."""
        async with serving(then_silence(partial()), OK, max_connections=1) as (server, client):
            stream = await client.generate("A", stream=True)
            got_one = asyncio.Event()

            async def read() -> list[object]:
                events = []
                async for each in stream:
                    events.append(each)
                    got_one.set()
                return events

            reader = asyncio.create_task(read())
            await got_one.wait()
            await asyncio.sleep(0)
            await stream.aclose()
            assert len(await reader) == 1
            await server.wait_until(lambda: server.closed == 1)
            with pytest.raises(StreamError):
                await stream.response()
            await client.generate("A")

    async def test_from_another_task_while_it_waits_to_try_again(self) -> None:
        retry = RetryPolicy(base_delay=60, max_delay=60)
        async with serving(cut(b": ping\n\n"), retry=retry) as (server, client):
            stream = await client.generate("A", stream=True)
            reader = asyncio.create_task(stream.response())
            await server.wait_until(lambda: server.closed == 1)
            for _ in range(20):
                await asyncio.sleep(0)
            await stream.aclose()
            with pytest.raises(StreamError, match="closed before its end"):
                await reader

    async def test_by_an_exception_in_the_block(self) -> None:
        async with serving(then_silence(partial())) as (server, client):
            with pytest.raises(ZeroDivisionError):
                async with client.stream("A") as stream:
                    await anext(stream)
                    1 / 0  # noqa: B018 # raises
            await server.wait_until(lambda: server.closed == 1)

    async def test_by_cancelling_at_every_step(self) -> None:
        """Cancelled after k turns of the loop, for every k that a stream takes: nothing is left behind."""
        written: list[bool] = []

        async def in_parts(_: Received, writer: asyncio.StreamWriter) -> None:
            answer = sse(partial(), completed())
            for at in range(0, len(answer), 700):
                writer.write(answer[at : at + 700])
                await writer.drain()
                await asyncio.sleep(0)
            written.append(True)

        async def read(client: AsyncImagesClient) -> None:
            async with client.stream("A") as stream:
                await stream.response()

        for turns in range(200):
            async with ScriptedServer(in_parts) as server:
                client = AsyncImagesClient(KEY, base_url=server.base_url, retry=0, max_connections=1)
                written.clear()
                task = asyncio.create_task(read(client))
                for _ in range(turns):
                    await asyncio.sleep(0)
                if task.done():
                    task.result()
                    await client.aclose()
                    break
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await server.wait_until(lambda: written or server.closed == server.connections)
                await read(client)
                await client.aclose()
                await server.wait_until(lambda: server.closed == server.connections)
            assert asyncio.all_tasks() == {asyncio.current_task()}
        else:
            pytest.fail("the stream never ended")
        assert turns > 5

    async def test_reading_links_between_events_needs_no_second_place(self) -> None:
        file = http_answer(200, PNG, headers={"Content-Type": "image/png"})
        answer = sse(event("completed", url="/a.png"))
        async with serving(answer, file, max_connections=1) as (_, client), client.stream("A") as stream:
            async for each in stream:
                assert await each.image.read() == PNG

    async def test_a_plain_answer_gives_its_place_back_with_its_last_event(self) -> None:
        async with serving(OK, max_connections=1) as (_, client):
            stream = await client.generate("A", stream=True)
            await anext(stream)
            await client.generate("A")

    async def test_an_abandoned_stream_gives_back_although_the_warning_is_an_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Also where the collector runs in another thread."""
        async with serving(then_silence(partial()), then_silence(partial()), OK, max_connections=1) as (_, client):
            for is_here in (True, False):
                stream: ImageStream | None = await client.generate("A", stream=True)
                assert stream is not None
                await anext(stream)
                with warnings.catch_warnings():
                    warnings.simplefilter("error" if is_here else "ignore")
                    holder = [stream]
                    stream = None
                    if is_here:
                        monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
                        holder.clear()
                        monkeypatch.undo()
                    else:
                        await asyncio.to_thread(holder.clear)
            await client.generate("A")

    async def test_an_abandoned_stream_warns_and_gives_its_place_back(self) -> None:
        async with serving(then_silence(partial()), OK, max_connections=1) as (server, client):
            stream: ImageStream | None = await client.generate("A", stream=True)
            assert stream is not None
            await anext(stream)
            with pytest.warns(ResourceWarning, match="neither read to its end nor closed"):
                stream = None
                gc.collect()
            await client.generate("A")
            await server.wait_until(lambda: server.closed >= 1)

    async def test_two_readers_are_refused(self) -> None:
        async with serving(then_silence(partial())) as (_, client), client.stream("A") as stream:
            await anext(stream)
            reader = asyncio.create_task(anext(stream))
            await asyncio.sleep(0)
            with pytest.raises(StreamError, match="another task"):
                await anext(stream)
            await stream.aclose()
            with pytest.raises(StopAsyncIteration):
                await reader

    async def test_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "aiai_async")
        async with serving(sse(completed()), then_silence(partial()), cut(partial())) as (_, client):
            async with client.stream("A") as stream:
                await stream.response()
            async with client.stream("A") as stream:
                await anext(stream)
            async with client.stream("A") as stream:
                with pytest.raises(IncompleteStreamError):
                    await stream.response()
        assert [record.message.split()[2] for record in caplog.records] == ["200", "cancelled", "IncompleteStreamError"]


class TestSinks:
    @pytest.mark.parametrize("name", [True, False], ids=["named", "type-in-data"])
    async def test_final_images_only(self, tmp_path: Path, name: bool) -> None:
        """Numbered as they complete; partial images stay in memory."""
        answer = sse(
            event("partial_image", PNG, name=name, partial_image_index=0),
            event("completed", LARGE, name=name),
            event("completed", PNG, name=name),
        )
        async with serving(answer) as (_, client):
            async with client.stream("A", n=2, sink=lambda i: FileSink(tmp_path / f"{i}.png")) as stream:
                response = await stream.response()
        assert stream.partial_images[0].image.content == PNG
        assert [image.content for image in response.data] == [None, None]
        assert [image.path for image in response.data] == [tmp_path / "0.png", tmp_path / "1.png"]
        assert (tmp_path / "0.png").read_bytes() == LARGE
        assert response.image.sha256 == hashlib.sha256(LARGE).hexdigest()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]

    async def test_where_the_type_stands_behind_the_image(self, tmp_path: Path) -> None:
        data = json.dumps({"b64_json": base64.b64encode(PNG).decode(), "type": "image_generation.completed"}).encode()

        async def in_pieces(_: Received, writer: asyncio.StreamWriter) -> None:
            for piece in (HEAD, chunk(b"data: " + data[:100]), chunk(data[100:] + b"\n\n") + b"0\r\n\r\n"):
                writer.write(piece)
                await asyncio.sleep(0.01)

        async with serving(in_pieces) as (_, client):
            async with client.stream("A", sink=lambda i: FileSink(tmp_path / f"{i}.png")) as stream:
                response = await stream.response()
        assert response.image.content is None
        assert (tmp_path / "0.png").read_bytes() == PNG

    async def test_a_cut_leaves_no_half(self, tmp_path: Path) -> None:
        async with serving(cut(completed(), completed(LARGE)[:2_000_000])) as (_, client):
            async with client.stream("A", n=2, sink=lambda i: FileSink(tmp_path / f"{i}.png")) as stream:
                with pytest.raises(IncompleteStreamError) as caught:
                    await stream.response()
        assert [path.name for path in tmp_path.iterdir()] == ["0.png"]
        assert [each.image.path for each in caught.value.completed] == [tmp_path / "0.png"]

    async def test_what_a_sink_raises_ends_the_stream(self, tmp_path: Path) -> None:
        async with serving(sse(completed()), OK, max_connections=1) as (_, client):
            async with client.stream("A", sink=lambda i: FileSink(tmp_path / "missing" / "a.png")) as stream:
                with pytest.raises(FileNotFoundError):
                    await stream.response()
            await client.generate("A")

    async def test_a_plain_answer_instead(self, tmp_path: Path) -> None:
        async with serving(OK) as (_, client):
            async with client.stream("A", sink=lambda i: FileSink(tmp_path / f"{i}.png")) as stream:
                assert (await stream.response()).image.path == tmp_path / "0.png"
