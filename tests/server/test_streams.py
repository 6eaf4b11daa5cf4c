"""Streams from the server: the official client, the picture that gets sharper, time, and clients that leave."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import anyio
import anyio.lowlevel
import openai
import pytest
import trio
import trio.testing
from openai import AsyncStream
from openai.types import ImageGenStreamEvent
from PIL import Image, ImageChops, ImageStat

from aiai_async._facts import RateLimits
from aiai_async.server import LocalServer
from aiai_async.server.delivery import play
from aiai_async.server.draw import Drawing
from aiai_async.server.events import COMPLETED, PARTIAL, Moment, schedule
from aiai_async.server.validate import check_request

from .conftest import Connect, raw_request, until
from .test_app import GPT_MODELS, SCHEMAS, check_schema, post

BODY: dict[str, Any] = {"prompt": "A cat", "model": "gpt-image-1", "stream": True}


@asynccontextmanager
async def streaming(connect: Connect, server: LocalServer, **fields: Any) -> AsyncIterator[AsyncStream[Any]]:
    """Ask for a stream through the official client, and close it at the end."""
    stream: Any = await connect(server).images.generate(**{**BODY, **fields})
    async with stream:
        yield stream


async def events_of(connect: Connect, server: LocalServer, **fields: Any) -> list[ImageGenStreamEvent]:
    """Give all events of a stream, as the official client reads them."""
    async with streaming(connect, server, **fields) as stream:
        return [event async for event in stream]


def picture_of(event: Any) -> Image.Image:
    """Decode an event's picture wholly."""
    picture = Image.open(io.BytesIO(base64.b64decode(event.b64_json, validate=True)))
    picture.load()
    return picture


def distances(pictures: Sequence[Image.Image]) -> list[float]:
    """How far each picture is from the last one."""
    *partials, final = pictures
    return [sum(ImageStat.Stat(ImageChops.difference(partial, final)).mean) for partial in partials]


# -- the official client


@pytest.mark.parametrize("partial_images", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("model", [*GPT_MODELS, "some-gateway-model"])
async def test_every_model_streams(
    server: LocalServer, connect: Connect, model: str, partial_images: int | None
) -> None:
    """As many partial images as asked for, numbered, then the final one with what it cost."""
    more = {} if partial_images is None else {"partial_images": partial_images}
    *partials, final = await events_of(connect, server, model=model, quality="low", **more)
    count = partial_images or 0
    assert [event.type for event in partials] == [PARTIAL] * count
    assert [event.partial_image_index for event in partials if event.type == PARTIAL] == list(range(count))
    assert final.type == COMPLETED
    assert (final.size, final.quality, final.background, final.output_format) == ("1024x1024", "low", "opaque", "png")
    # gpt-image-2 counts otherwise than those before it.
    one = 196 if model.startswith("gpt-image-2") else 272
    assert (final.usage.input_tokens, final.usage.output_tokens) == (2, one + 100 * count)
    assert final.usage.total_tokens == final.usage.input_tokens + final.usage.output_tokens


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
async def test_the_picture_gets_sharper(server: LocalServer, connect: Connect, output_format: str) -> None:
    """Each partial image is nearer to the final one than the one before, in the size and format asked for."""
    events = await events_of(
        connect, server, partial_images=3, size="1536x1024", output_format=output_format, output_compression=None
    )
    pictures = [picture_of(event) for event in events]
    assert {(picture.size, picture.format) for picture in pictures} == {((1536, 1024), output_format.upper())}
    first, second, third = distances(pictures)
    assert first > second > third > 0


async def test_a_transparent_stream_is_transparent_throughout(server: LocalServer, connect: Connect) -> None:
    """From the first partial image on."""
    events = await events_of(connect, server, partial_images=2, background="transparent", output_format="webp")
    for event in events:
        assert picture_of(event).getchannel("A").getextrema() == (0, 255)
        assert event.background == "transparent"


async def test_the_final_image_is_the_one_of_a_plain_answer(server: LocalServer, connect: Connect) -> None:
    """To the byte; and every stream of a prompt is the same."""
    one, again = [[event.b64_json for event in await events_of(connect, server, partial_images=2)] for _ in range(2)]
    plain = await connect(server).images.generate(prompt="A cat", model="gpt-image-1")
    assert plain.data
    assert one == again
    assert len(set(one)) == 3
    assert one[-1] == plain.data[0].b64_json


async def test_n_images_complete_one_by_one(server: LocalServer, connect: Connect) -> None:
    """Each with partial images of its own, all that differ; together they cost what the request costs."""
    events: list[Any] = await events_of(connect, server, partial_images=2, n=2, quality="low")
    assert [event.type for event in events] == [PARTIAL] * 4 + [COMPLETED] * 2
    assert [event.partial_image_index for event in events[:4]] == [0, 0, 1, 1]
    assert len({event.b64_json for event in events}) == 6
    one, other = ([picture_of(event) for event in events[image::2]] for image in (0, 1))
    for pictures, others in ((one, other), (other, one)):
        near = distances(pictures)
        assert near[0] > near[1]
        assert distances([others[-1], pictures[-1]])[0] > near[1]
    usages = [event.usage for event in events[4:]]
    assert [usage.output_tokens for usage in usages] == [472, 472]
    assert sum(usage.total_tokens for usage in usages) == 2 + 2 * 472


async def test_the_official_client_leaves_early(server: LocalServer, connect: Connect) -> None:
    """And can ask again at once."""
    async with streaming(connect, server, partial_images=3, n=10) as stream:
        async for event in stream:
            assert event.type == PARTIAL
            break
    await until(lambda: server.in_flight == 0)
    assert len(await events_of(connect, server)) == 1


@pytest.mark.parametrize("model", ["dall-e-2", "dall-e-3"])
async def test_dalle_does_not_stream(server: LocalServer, connect: Connect, model: str) -> None:
    """A plain error, before any stream."""
    with pytest.raises(openai.BadRequestError) as caught:
        await events_of(connect, server, model=model)
    assert (caught.value.type, caught.value.param) == ("invalid_request_error", "stream")


@pytest.mark.parametrize(
    "fields", [{"partial_images": 4}, {"partial_images": -1}, {"stream": "true"}, {"n": 11}], ids=str
)
async def test_a_wrong_request_gets_no_stream(
    server: LocalServer, http: aiohttp.ClientSession, fields: dict[str, object]
) -> None:
    """JSON, with the field's name."""
    status, answer = await post(http, server, {**BODY, **fields})
    assert (status, answer["error"]["param"]) == (400, next(iter(fields)))
    check_schema(answer, SCHEMAS["ErrorResponse"])


# -- the wire


def read_events(content: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the events of an orderly stream: two lines and a blank one each."""
    *blocks, rest = content.decode().split("\n\n")
    assert rest == ""
    for block in blocks:
        event, data = block.split("\n")
        assert event.startswith("event: ") and data.startswith("data: ")
        yield event.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize(
    "fields",
    [{}, {"partial_images": 3, "n": 2, "quality": "high"}, {"size": "1024x1536", "output_format": "webp"}],
    ids=str,
)
async def test_events_are_as_openai_describes_them(
    server: LocalServer, http: aiohttp.ClientSession, fields: dict[str, object]
) -> None:
    """Every field is in the published description, and of the type that it says."""
    url, headers = f"{server.base_url}/images/generations", {"Authorization": "Bearer k"}
    async with http.post(url, json={**BODY, **fields}, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        events = list(read_events(await answer.read()))
    for event, data in events:
        assert event == data["type"]
        schema = {PARTIAL: "ImageGenPartialImageEvent", COMPLETED: "ImageGenCompletedEvent"}[event]
        check_schema(data, SCHEMAS[schema])


async def test_the_head_is_that_of_other_answers(http: aiohttp.ClientSession) -> None:
    """An id, and what is left of the limits, to which partial images count."""
    async with LocalServer(limits=RateLimits(requests_per_minute=9, tokens_per_minute=10_000)) as server:
        url, headers = f"{server.base_url}/images/generations", {"Authorization": "Bearer k"}
        body = {**BODY, "partial_images": 3, "quality": "low"}
        async with http.post(url, json=body, headers=headers) as answer:
            assert answer.headers["x-request-id"].startswith("req_")
            assert answer.headers["x-ratelimit-remaining-requests"] == "8"
            assert answer.headers["x-ratelimit-remaining-tokens"] == str(10_000 - 2 - 272 - 300)
            await answer.read()
        assert [record.status for record in server.requests] == [200]


async def test_a_whole_stream_leaves_the_connection_open(server: LocalServer) -> None:
    """The next request goes over the same one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**24)
    for _ in range(2):
        writer.write(raw_request(json.dumps(BODY).encode()).replace(b"Connection: close\r\n", b""))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert (await reader.readuntil(b"\r\n0\r\n\r\n")).endswith(b"\n\n\r\n0\r\n\r\n")
    writer.close()


async def test_a_failure_in_the_middle_is_an_error_event(
    server: LocalServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The status is out; it is logged, and the client hears of it without a trace."""

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError("inner secret")

    monkeypatch.setattr("aiai_async.server.painter.draw", fail)
    with pytest.raises(openai.APIError, match="The server had an error") as caught:
        await events_of(connect, server)
    assert "secret" not in str(caught.value.body)
    assert [record.exc_info is not None for record in caplog.records] == [True]


# -- time


class Clock:
    """The time of the running loop, which goes on only as it does anyway, or by as much as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0.0
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + self._ahead)

    async def advance(self, seconds: float) -> None:
        """Let time pass at once, and then everything happen that was waiting for it."""
        self._ahead += seconds
        for _ in range(200):
            await anyio.lowlevel.checkpoint()


async def test_partial_images_are_spread_over_the_latency(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head at once; the i-th of three partial images at a quarter more each; the last image at the end."""
    clock = Clock(monkeypatch)
    came: list[str] = []

    async def read(stream: AsyncStream[Any]) -> None:
        async for event in stream:
            came.append(event.type)  # noqa: PERF401 # looked at while it grows

    async with LocalServer(latency=400) as server, streaming(connect, server, partial_images=3) as stream:
        async with anyio.create_task_group() as group:
            group.start_soon(read, stream)
            for count in (1, 2, 3, 4):
                await clock.advance(90)
                assert len(came) == count - 1
                await clock.advance(10)
                await until(lambda count=count: len(came) == count)  # type: ignore[misc] # mypy can't infer this lambda
    assert came == [PARTIAL] * 3 + [COMPLETED]


@pytest.mark.parametrize(
    ("latency", "making", "times"),
    [
        (20, 0.0, [5, 5, 10, 10, 15, 15, 20, 20]),
        (20, 1.0, [5, 5, 10, 10, 15, 15, 20, 20]),
        (4, 1.0, [2, 2, 4, 4, 6, 6, 8, 8]),
        (0, 0.0, [0] * 8),
    ],
    ids=["at once", "in time", "late", "no latency"],
)
def test_events_are_written_when_they_are_due(latency: float, making: float, times: list[float]) -> None:
    """Whatever the making takes, as long as it is done before; what is late is written as soon as it is made."""
    written: list[tuple[float, bytes]] = []

    async def make(moment: Moment) -> bytes:
        await anyio.sleep(making)
        return f"{moment.partial}/{moment.image}".encode()

    async def write(data: bytes) -> None:
        written.append((anyio.current_time() - started_at, data))

    started_at = 0.0

    async def run() -> None:
        nonlocal started_at
        started_at = anyio.current_time()
        fields = {"prompt": "a", "stream": True, "partial_images": 3, "n": 2}
        await play(schedule(check_request(fields), latency), make, write)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [at for at, _ in written] == pytest.approx(times)
    assert [data.decode() for _, data in written] == [f"{p}/{i}" for p in (0, 1, 2, None) for i in (0, 1)]


async def test_a_faulty_stream_keeps_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events when they are due; what follows one, at once."""
    clock = Clock(monkeypatch)
    async with LocalServer(latency=40, faults=["stream_late_error_end"]) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(raw_request(json.dumps({**BODY, "partial_images": 1}).encode()))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        reading = asyncio.ensure_future(reader.read())
        await clock.advance(19)
        assert not reading.done()
        await clock.advance(1)
        body = await reading
        assert body.index(b"partial_image") < body.index(b'{"error"')
        writer.close()


# -- clients that leave, and a server that stops


@pytest.mark.parametrize("fields", [{"partial_images": 3, "n": 10}, {}], ids=str)
async def test_who_leaves_stops_the_work(fields: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """At once, also while a picture is drawn or an hour is waited for; the place is free again."""
    limits = RateLimits(concurrency=1)
    for latency in (0, 3600):
        async with LocalServer(latency=latency, limits=limits) as server:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                writer.write(raw_request(json.dumps({**BODY, "prompt": f"{latency}", **fields}).encode()))
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                writer.transport.abort()
                await until(lambda: server.in_flight == 0)
    assert caplog.records == []


async def test_who_leaves_while_it_is_written_to_is_no_mistake(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that fails because the connection is gone ends the stream, and nothing is logged."""

    async def fail(*_: object) -> None:
        raise ConnectionResetError("Cannot write to closing transport")

    monkeypatch.setattr("aiai_async.server.delivery.play", fail)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(raw_request(json.dumps(BODY).encode()))
    await reader.read()
    writer.close()
    assert server.in_flight == 0
    assert caplog.records == []


async def test_closing_cuts_streams_under_way(caplog: pytest.LogCaptureFixture) -> None:
    """At once, and without a word in the log."""
    async with LocalServer(latency=3600) as server:
        connections = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(5)]
        for reader, writer in connections:
            writer.write(raw_request(json.dumps({**BODY, "partial_images": 3}).encode()))
            await reader.readuntil(b"\r\n\r\n")
        assert server.in_flight == 5
    assert server.in_flight == 0
    for reader, writer in connections:
        with anyio.fail_after(5):
            assert b"0\r\n\r\n" not in await reader.read()
        writer.close()
    assert caplog.records == []


async def test_a_slow_reader_holds_the_stream_back(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't read is not piled up: the next event is made when the one before it is out."""
    drawn: list[int | None] = []

    def draw_much(drawing: Drawing) -> bytes:
        drawn.append(drawing.partial)
        return bytes(30_000_000)

    monkeypatch.setattr("aiai_async.server.painter.draw", draw_much)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**10)
    writer.write(raw_request(json.dumps({**BODY, "partial_images": 3}).encode()))
    await reader.readuntil(b"event: ")
    for _ in range(500):
        await anyio.lowlevel.checkpoint()
    assert (drawn, server.in_flight) == ([0], 1)
    writer.transport.abort()
    await until(lambda: server.in_flight == 0)
