"""Plain answers over a real socket: every variation that servers send, small and large, whole and cut anywhere."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiai_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    AsyncImagesClient,
    BadRequestError,
    FileSink,
    ImagesResponse,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    RateLimitError,
    RetryPolicy,
)
from tests.scripted import OK, PNG, Answer, Received, ScriptedServer, answer_with, http_answer

LARGE = b"\x89PNG\r\n\x1a\n" + hashlib.shake_128(b"a large image").digest(1_500_001)
B64 = base64.b64encode(PNG).decode()


async def ask(answer: Answer, **arguments: Any) -> ImagesResponse:
    async with (
        ScriptedServer(answer) as server,
        AsyncImagesClient("sk-test", base_url=server.base_url, retry=0) as client,
    ):
        return await client.generate("A", **arguments)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])


class TestVariations:
    @pytest.mark.parametrize(
        ("created", "expected"),
        [
            (1713833628, dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC)),
            (1713833628.5, dt.datetime(2024, 4, 23, 0, 53, 48, 500000, tzinfo=dt.UTC)),
            ("1713833628", dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC)),
            ("2024-04-23T02:53:48+02:00", dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC)),
            ("soon", None),
            (None, None),
        ],
    )
    async def test_created(self, created: object, expected: dt.datetime | None) -> None:
        response = await ask(http_answer(200, {**answer_with(), "created": created}))
        assert response.created == expected

    @pytest.mark.parametrize(
        "item",
        [
            {"b64_json": B64},
            {"b64_json": B64, "url": ""},
            {"b64_json": B64, "url": None},
            {"b64_json": "data:image/png;base64," + B64},
            {"b64_json": "\r\n".join(B64[at : at + 76] for at in range(0, len(B64), 76))},
            {"b64_json": B64.rstrip("=")},
            {"b64_json": B64.replace("+", "-").replace("/", "_")},
            {"b64_json": B64, "index": 0, "something": {"new": [1]}},
        ],
        ids=["plain", "url-empty", "url-null", "data-uri", "line-breaks", "no-padding", "url-safe", "unknown-fields"],
    )
    @pytest.mark.parametrize("send", [http_answer, lambda _, body: chunked(json.dumps(body).encode(), 7)])
    async def test_an_image(self, item: dict[str, object], send: Callable[[int, object], bytes]) -> None:
        response = await ask(send(200, {"data": [item]}))
        assert response.image.content == PNG
        assert (response.image.media_type, response.image.size_bytes) == ("image/png", len(PNG))
        assert response.image.b64_json == B64
        assert response.created is None and response.usage is None

    async def test_escapes_that_other_encoders_write(self) -> None:
        body = b'{"data":[{"b64_json":"%b"}]}' % B64.replace("/", r"\/").replace("=", r"\u003d").encode()
        for answer in (http_answer(200, body), chunked(body, 1)):
            assert (await ask(answer)).image.content == PNG

    @pytest.mark.parametrize(
        ("url", "absolute"),
        [
            ("https://cdn.example/a.png?sig=1", "https://cdn.example/a.png?sig=1"),
            ("/files/a.png", "http://127.0.0.1:{port}/files/a.png"),
            ("//cdn.example/a.png", "http://cdn.example/a.png"),
        ],
    )
    async def test_a_link(self, url: str, absolute: str) -> None:
        async with ScriptedServer(http_answer(200, {"data": [{"url": url, "b64_json": None}]})) as server:
            async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
                image = (await client.generate("A")).image
        assert image.url == absolute.format(port=server.port)
        assert image.content is None and image.size_bytes is None and image.media_type is None

    async def test_everything_else_is_kept(self) -> None:
        response = await ask(
            http_answer(
                200,
                {
                    **answer_with(PNG, LARGE),
                    "usage": {
                        "total_tokens": 10,
                        "input_tokens": 4.0,
                        "output_tokens": "6",
                        "input_tokens_details": {"text_tokens": 4, "image_tokens": None, "cached_tokens": 1},
                        "odd": [1],
                    },
                    "background": "opaque",
                    "output_format": "png",
                    "quality": "high",
                    "size": "1024x1024",
                    "trace": {"id": 1},
                },
                headers={"X-Request-Id": "req_1"},
            )
        )
        assert [image.content for image in response.data] == [PNG, LARGE]
        assert (response.background, response.output_format, response.quality) == ("opaque", "png", "high")
        assert response.size == "1024x1024" and response.extra == {"trace": {"id": 1}}
        usage = response.usage
        assert usage is not None and usage.input_tokens_details is not None
        assert (usage.total_tokens, usage.input_tokens, usage.output_tokens) == (10, 4, 6)
        assert (usage.input_tokens_details.text_tokens, usage.input_tokens_details.extra) == (4, {"cached_tokens": 1})
        assert usage.extra == {"odd": [1]} and usage.output_tokens_details is None
        assert response.http is not None
        assert (response.http.status, response.http.request_id, response.http.attempts) == (200, "req_1", 1)
        assert response.http.headers["x-request-id"] == "req_1" and response.http.elapsed > 0

    async def test_fewer_images_than_were_asked_for(self) -> None:
        assert len((await ask(http_answer(200, answer_with(PNG)), n=4)).data) == 1

    @pytest.mark.parametrize("status", [200, 201, 202])
    async def test_any_2xx(self, status: int) -> None:
        assert (await ask(http_answer(status, answer_with()))).image.content == PNG

    @pytest.mark.parametrize("label", ["text/event-stream", "text/html", ""])
    async def test_whatever_the_label(self, label: str) -> None:
        assert (await ask(http_answer(200, answer_with(), headers={"Content-Type": label}))).image.content == PNG

    async def test_blemishes_that_are_not_worth_an_image(self) -> None:
        """A BOM, bytes that aren't UTF-8, NaN and white space around."""
        body = b'\xef\xbb\xbf \n{"created": NaN, "x": "\xff", "data": [{"b64_json": "%b"}]} \n' % B64.encode()
        for answer in (http_answer(200, body), chunked(body, 5)):
            assert (await ask(answer)).image.content == PNG


class TestEncodings:
    @pytest.mark.parametrize("image", [PNG, LARGE], ids=["small", "large"])
    @pytest.mark.parametrize(
        ("name", "encode"),
        [
            ("gzip", gzip.compress),
            ("deflate", zlib.compress),
            ("identity", bytes),
        ],
    )
    async def test_content_codings(self, image: bytes, name: str, encode: Callable[[bytes], bytes]) -> None:
        body = encode(json.dumps(answer_with(image)).encode())
        assert (await ask(http_answer(200, body, headers={"Content-Encoding": name}))).image.content == image

    @pytest.mark.parametrize("size", [1000, 4096, 16384, 250_001])
    async def test_chunks_of_any_size(self, size: int) -> None:
        assert (await ask(chunked(json.dumps(answer_with(LARGE)).encode(), size))).image.content == LARGE

    async def test_byte_by_byte(self) -> None:
        async def slowly(_: Received, writer: asyncio.StreamWriter) -> None:
            for at in range(len(OK)):
                writer.write(OK[at : at + 1])
                await asyncio.sleep(0)

        assert (await ask(slowly)).image.content == PNG

    async def test_the_end_of_the_connection_as_the_end_of_the_body(self) -> None:
        body = json.dumps(answer_with(LARGE)).encode()
        answer = http_answer(200, body, headers={"Connection": "close"}, length=False)
        assert (await ask(answer)).image.content == LARGE


def wrong(body: object, words: str, name: str) -> Any:
    return pytest.param(body if isinstance(body, bytes) else json.dumps(body).encode(), words, id=name)


class TestNoAnswer:
    @pytest.mark.parametrize(
        ("body", "words"),
        [
            wrong(b"", "the body is empty", "empty"),
            wrong(b" \n ", "the body is empty", "blank"),
            wrong(b"<html>", "is a web page, not JSON", "web-page"),
            wrong(b"event: x\n\n", "is a stream of events", "stream"),
            wrong(b": ping\n\n", "is a stream of events", "stream-comment"),
            wrong(b"Internal error", "is not JSON; it begins 'Internal error'", "text"),
            wrong(b'{"data": [', "is not JSON: ", "cut"),
            wrong([1], "is JSON, but no object", "array"),
            wrong({}, "has no `data`; its fields are none", "no-fields"),
            wrong({"id": 1}, "has no `data`; its fields are 'id'", "no-data"),
            wrong({"data": None}, "has no `data`", "data-null"),
            wrong({"data": {"a": 1}}, "`data` is no list", "data-object"),
            wrong({"data": []}, "`data` is empty", "data-empty"),
            wrong({"data": [{}]}, "`data[0]` holds neither `b64_json` nor `url`", "item-empty"),
            wrong({"data": ["x"]}, "`data[0]` holds neither", "item-text"),
            wrong({"data": [{"b64_json": "", "url": None}]}, "`data[0]` holds neither", "both-empty"),
            wrong({"data": [{"b64_json": "so wrong!"}]}, "data[0].b64_json is not base64, near 'so", "not-base64"),
            wrong({"data": [{"b64_json": B64}, {"b64_json": "QUJD="}]}, "data[1].b64_json is not base64", "padding"),
        ],
    )
    @pytest.mark.parametrize("send", [lambda body: http_answer(200, body), lambda body: chunked(body, 3)])
    async def test_says_which_part_is_wrong(self, body: bytes, words: str, send: Callable[[bytes], bytes]) -> None:
        """Never a KeyError or a JSONDecodeError; it may have been billed."""
        with pytest.raises(APIResponseError) as caught:
            await ask(send(body))
        assert words in caught.value.message
        assert caught.value.message.startswith("200 from http://127.0.0.1")
        assert caught.value.may_have_been_billed

    async def test_an_item_without_an_image_beside_one_that_has_one(self) -> None:
        """What was paid for is not thrown away."""
        answer = {"data": [{"revised_prompt": "x"}, {"b64_json": B64}, None]}
        assert [image.content for image in (await ask(http_answer(200, answer))).data] == [PNG]

    @pytest.mark.parametrize(
        ("fields", "kind", "status", "billed"),
        [
            ({"code": 429}, RateLimitError, 429, False),
            ({"code": "429"}, RateLimitError, 429, False),
            ({"code": 503}, InternalServerError, 503, True),
            ({"code": "moderation_blocked"}, ModerationBlockedError, 400, False),
            ({"code": 500, "type": "image_generation_user_error"}, ModerationBlockedError, 400, False),
            ({"code": "invalid_request"}, BadRequestError, 400, False),
            ({"code": "model_not_found"}, NotFoundError, 404, False),
            ({"code": "bad_response_body"}, InternalServerError, 500, True),
            ({"code": None}, APIResponseError, None, True),
            ({"code": 7}, APIResponseError, None, True),
        ],
    )
    async def test_an_error_inside(
        self, fields: dict[str, object], kind: type[APIError], status: int | None, billed: bool
    ) -> None:
        """The class of its code; never tried again, though a 429 would be."""
        answer = http_answer(200, {"error": {"message": "went wrong", **fields}})
        async with ScriptedServer(answer) as server:
            async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
                with pytest.raises(APIError, match="went wrong") as caught:
                    await client.generate("A")
        assert type(caught.value) is kind
        assert getattr(caught.value, "status_code", None) == status
        assert caught.value.may_have_been_billed is billed
        assert len(server.requests) == 1

    async def test_an_empty_error_beside_images_is_none(self) -> None:
        for error in (None, {}, ""):
            assert (await ask(http_answer(200, {**answer_with(), "error": error}))).image.content == PNG


class TestBounds:
    async def test_text_outside_images(self) -> None:
        body = json.dumps({**answer_with(), "x": "y" * (1 << 20)}).encode()
        with pytest.raises(APIResponseError, match="1,048,576 bytes of text outside its images"):
            await ask(http_answer(200, body))

    async def test_max_answer_bytes_by_its_length_and_by_what_comes(self) -> None:
        body = json.dumps(answer_with(LARGE)).encode()
        for answer in (http_answer(200, body), chunked(body, 10_000)):
            async with ScriptedServer(answer) as server:
                async with AsyncImagesClient("sk-test", base_url=server.base_url, max_answer_bytes=10**6) as client:
                    with pytest.raises(APIResponseError, match="max_answer_bytes=1,000,000"):
                        await client.generate("A")

    async def test_it_counts_after_decompression(self) -> None:
        body = gzip.compress(b'{"data": [' + b" " * 5_000_000 + b"]}")
        assert len(body) < 10_000
        with pytest.raises(APIResponseError, match="bytes of text outside"):
            await ask(http_answer(200, body, headers={"Content-Encoding": "gzip"}))

    async def test_an_error_body_without_end(self) -> None:
        """64 KiB of it are kept, the rest isn't waited for."""

        async def endless(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                writer.write(b"1000\r\n%b\r\n" % (b"x" * 4096))
                await writer.drain()

        with pytest.raises(BadRequestError) as caught:
            await ask(endless)
        assert caught.value.body == "x" * 65536

    async def test_a_body_cut_short(self) -> None:
        body = json.dumps(answer_with(LARGE)).encode()
        for answer in (
            http_answer(200, body, headers={"Connection": "close"})[:-5],
            http_answer(200, body, headers={"Connection": "close"})[:1000],
        ):
            with pytest.raises(APIConnectionError, match="before the answer was whole"):
                await ask(answer)

    async def test_an_answer_that_is_whole_but_ends_inside_an_image(self) -> None:
        with pytest.raises(APIResponseError, match=r"ends inside data\[0\]\.b64_json"):
            await ask(chunked(b'{"data": [{"b64_json": "QUJD', 1000))


class TestSinks:
    async def test_images_go_to_files(self, tmp_path: Path) -> None:
        """Content is None, and what was written is described."""
        answer = http_answer(200, answer_with(PNG, LARGE))
        response = await ask(answer, sink=lambda index: FileSink(tmp_path / f"{index}.png"), n=2)
        for index, (image, content) in enumerate(zip(response.data, (PNG, LARGE), strict=True)):
            assert image.content is None and image.b64_json is None
            assert image.path == tmp_path / f"{index}.png"
            assert image.path.read_bytes() == content == await image.read()
            assert image.sha256 == hashlib.sha256(content).hexdigest()
            assert (image.size_bytes, image.media_type) == (len(content), "image/png")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["0.png", "1.png"]

    async def test_small_answers_go_the_same_way_in_one_piece_as_in_many(self) -> None:
        """Also where the first element of `data` has no image: sinks are asked for by its place."""

        class Noting:
            def __init__(self, place: int) -> None:
                self.place = place
                steps.append(f"began {place}")

            async def write(self, data: bytes) -> None:
                written[self.place] = written.get(self.place, b"") + data

            async def finish(self) -> None:
                steps.append(f"finished {self.place}")

            async def abort(self) -> None:
                steps.append(f"aborted {self.place}")

        other = PNG + b"another one"
        items = [{"note": "none"}, {"b64_json": B64}, {"b64_json": base64.b64encode(other).decode()}]
        body = json.dumps({"data": items, "usage": {"total_tokens": 7}}).encode()
        for answer in (http_answer(200, body), chunked(body, 500)):
            steps, written = list[str](), dict[int, bytes]()
            response = await ask(answer, n=3, sink=Noting)
            assert steps == ["began 1", "finished 1", "began 2", "finished 2"]
            assert written == {1: PNG, 2: other}
            assert [image.content for image in response.data] == [None, None]
            assert [image.sha256 for image in response.data] == [
                hashlib.sha256(content).hexdigest() for content in (PNG, other)
            ]
            assert response.usage is not None and response.usage.total_tokens == 7

    async def test_each_attempt_asks_anew_after_an_abort(self) -> None:
        log: list[str] = []

        class Noting:
            def __init__(self, name: str) -> None:
                self.name = name

            async def write(self, data: bytes) -> None:
                if log[-1] != f"{self.name} write":
                    log.append(f"{self.name} write")

            async def finish(self) -> None:
                log.append(f"{self.name} finish")

            async def abort(self) -> None:
                log.append(f"{self.name} abort")

        def make(index: int) -> Noting:
            name = f"{index}{'ab'[len([line for line in log if 'asked' in line])]}"
            log.append(f"{name} asked")
            return Noting(name)

        cut = http_answer(200, answer_with(LARGE), headers={"Connection": "close"})[:500_000]
        async with ScriptedServer(cut, http_answer(200, answer_with(PNG))) as server:
            retry = RetryPolicy(base_delay=0)
            async with AsyncImagesClient("sk-test", base_url=server.base_url, retry=retry) as client:
                image = (await client.generate("A", sink=make)).image
        assert log == ["0a asked", "0a write", "0a abort", "0b asked", "0b write", "0b finish"]
        assert image.path is None and image.size_bytes == len(PNG)

    async def test_what_a_sink_raises_ends_the_call(self, tmp_path: Path) -> None:
        async with ScriptedServer(http_answer(200, answer_with(LARGE))) as server:
            async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
                with pytest.raises(FileNotFoundError):
                    await client.generate("A", sink=lambda _: FileSink(tmp_path / "missing" / "a.png"))
        assert len(server.requests) == 1

    async def test_a_slow_sink_is_not_the_servers_stall(self) -> None:
        class Slow:
            path = "somewhere"

            async def write(self, data: bytes) -> None:
                await asyncio.sleep(0.01)

            async def finish(self) -> None:
                await asyncio.sleep(0.06)

            async def abort(self) -> None:
                raise AssertionError("nothing failed")

        from aiai_async import Timeout

        image = (
            await ask(http_answer(200, answer_with(PNG)), sink=lambda _: Slow(), timeout=Timeout(stall=0.05))
        ).image
        assert image.path == Path("somewhere")

    async def test_cancelling_removes_what_was_begun(self, tmp_path: Path) -> None:
        async def half(_: Received, writer: asyncio.StreamWriter) -> None:
            answer = http_answer(200, answer_with(bytes(4_000_000)))
            writer.write(answer[:4_000_000])
            await asyncio.Event().wait()

        async with ScriptedServer(half) as server:
            async with AsyncImagesClient("sk-test", base_url=server.base_url) as client:
                task = asyncio.create_task(client.generate("A", sink=lambda _: FileSink(tmp_path / "a.png")))
                async with asyncio.timeout(5):
                    while not list(tmp_path.iterdir()):
                        await asyncio.sleep(0.001)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert list(tmp_path.iterdir()) == []
