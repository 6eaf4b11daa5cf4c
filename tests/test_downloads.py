"""Images behind links: without the key, from where they may be fetched, tried again on their own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aiai_async import AsyncImagesClient, DownloadError, Image, RetryPolicy, Timeout
from tests.scripted import PNG, Answer, Received, ScriptedServer, hang_up, http_answer, never_answer

KEY = "sk-test-0123456789"
FILE = http_answer(200, PNG, headers={"Content-Type": "image/png"})


@contextlib.asynccontextmanager
async def linked(link: str, *answers: Answer, **options: Any) -> AsyncIterator[tuple[Image, ScriptedServer]]:
    """An image whose link was answered by a server, which then gives these answers."""
    options = {"retry": RetryPolicy(base_delay=0), **options}
    async with ScriptedServer(http_answer(200, {"data": [{"url": link}]}), *answers) as server:
        async with AsyncImagesClient(KEY, base_url=server.base_url, **options) as client:
            yield (await client.generate("A")).image, server


async def test_read_and_save(tmp_path: Path) -> None:
    """Without the key and whatever else the client sends; the suffix comes from the bytes."""
    headers = {"X-Team": "a"}
    async with linked("/files/a?sig=1", FILE, default_headers=headers) as (image, server):
        assert await image.read() == PNG
        assert await image.save(tmp_path / "a") == tmp_path / "a.png"
    assert (tmp_path / "a.png").read_bytes() == PNG
    post, *gets = server.requests
    assert [(r.method, r.path) for r in gets] == [("GET", "/files/a?sig=1")] * 2
    for request in gets:
        assert "authorization" not in request.headers and "x-team" not in request.headers
        assert KEY not in str(request.headers)
    assert "x-team" in post.headers


@pytest.mark.parametrize("answer", [http_answer(500), http_answer(429), hang_up, FILE[:-3] + b""])
async def test_failures_are_tried_again(answer: Answer) -> None:
    if isinstance(answer, bytes) and answer.startswith(FILE[:12]):
        answer = http_answer(200, PNG, headers={"Connection": "close"})[:-3]
    async with linked("/a", answer, answer, FILE) as (image, server):
        assert await image.read() == PNG
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("answer", "words", "status"),
    [
        (http_answer(404), "404 was answered", 404),
        (http_answer(403), "403 was answered", 403),
        (http_answer(304), "304 was answered", 304),
        (http_answer(200, b""), "an empty body", 200),
        (http_answer(200, b"<html>", headers={"Content-Type": "text/html; x"}), "text/html, not an image", 200),
        (http_answer(200, b"{}"), "application/json, not an image", 200),
    ],
)
async def test_what_is_final(answer: bytes, words: str, status: int) -> None:
    """The error says what happened, and that the image needn't be made again."""
    async with linked("/a?sig=secret", answer) as (image, server):
        with pytest.raises(DownloadError, match=words) as caught:
            await image.read()
    assert len(server.requests) == 2
    assert caught.value.status_code == status
    assert caught.value.url == f"http://127.0.0.1:{server.port}/a"
    assert "don't generate it again" in str(caught.value)
    assert "secret" not in str(caught.value)


async def test_it_gives_up() -> None:
    async with linked("/a", http_answer(503)) as (image, server):
        with pytest.raises(DownloadError, match=r"503 was answered \[attempt 3\]"):
            await image.read()
    assert len(server.requests) == 4
    async with linked("/a", http_answer(429, headers={"Retry-After": "500"})) as (image, server):
        with pytest.raises(DownloadError, match="429"):
            await image.read()
    assert len(server.requests) == 2


@pytest.mark.parametrize("timeout", [Timeout(stall=0.03), Timeout(total=0.03)])
async def test_nothing_hangs(timeout: Timeout) -> None:
    """A server that accepts and never answers, and one that stops in the middle."""

    async def half(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(FILE[:-100])
        await asyncio.Event().wait()

    for answer in (never_answer, half):
        async with linked("/a", answer, retry=0, timeout=timeout) as (image, _):
            with pytest.raises(DownloadError, match=r"nothing more came within Timeout\.(stall|total)=0\.03 s"):
                await image.read()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects(status: int) -> None:
    async with linked("/a", http_answer(status, headers={"Location": "/b"}), FILE) as (image, server):
        assert await image.read() == PNG
    assert [r.path for r in server.requests][1:] == ["/a", "/b"]


async def test_redirects_without_end() -> None:
    async with linked("/a", http_answer(302, headers={"Location": "/a"})) as (image, server):
        with pytest.raises(DownloadError, match="redirects more than 5 times"):
            await image.read()
    assert len(server.requests) == 7


@pytest.mark.parametrize(
    "link", ["ftp://h/a.png", "file:///etc/passwd", "data:image/png;base64,QUJD", "http://h:99999/a"]
)
async def test_only_http(link: str) -> None:
    async with linked(link) as (image, server):
        with pytest.raises(DownloadError, match=r"not an absolute http or https URL|its host or port"):
            await image.read()
    assert len(server.requests) == 1


class TestAddresses:
    @pytest.mark.parametrize(
        "host", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "0.0.0.0"]
    )
    async def test_a_private_literal(self, host: str) -> None:
        async with linked(f"http://{host}/a") as (image, _):
            with pytest.raises(DownloadError, match="not a public address; allow_private_downloads=True lifts that"):
                await image.read()

    async def test_a_name_with_a_private_address(self) -> None:
        """What is checked is what is connected to: the resolver's answer."""
        async with ScriptedServer(FILE) as private:
            async with linked(f"http://localhost:{private.port}/a") as (image, _):
                with pytest.raises(DownloadError, match=r"localhost is at .*, which is not a public address"):
                    await image.read()
        assert private.connections == 0

    async def test_at_each_redirect_again(self) -> None:
        async with ScriptedServer(FILE) as private:
            for location in (f"http://localhost:{private.port}/a", "http://10.0.0.1/a", "file:///etc/passwd"):
                async with linked("/a", http_answer(302, headers={"Location": location})) as (image, _):
                    with pytest.raises(DownloadError, match=r"not a public address|not an absolute http"):
                        await image.read()
        assert private.connections == 0

    async def test_the_apis_own_host_is_trusted(self) -> None:
        """Whatever its address and port."""
        async with ScriptedServer(FILE) as other, linked(f"http://127.0.0.1:{other.port}/a") as (image, _):
            assert await image.read() == PNG

    async def test_the_rule_can_be_lifted(self) -> None:
        async with ScriptedServer(FILE) as private:
            link = f"http://localhost:{private.port}/a"
            async with linked(link, allow_private_downloads=True) as (image, _):
                assert await image.read() == PNG

    async def test_a_public_address_is_connected_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The resolver passes what is public on; here it leads back to loopback, since tests have no network."""
        async with ScriptedServer(FILE) as public:
            asked: list[str] = []

            async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
                asked.append(host)
                return [
                    {"hostname": host, "host": "127.0.0.1", "port": public.port, "family": 2, "proto": 0, "flags": 0}
                ]

            monkeypatch.setattr(aiohttp.DefaultResolver, "resolve", resolve)
            monkeypatch.setattr("aiai_async._connector.is_public", lambda address: address == "127.0.0.1")
            async with linked("http://cdn.example/a") as (image, _):
                assert await image.read() == PNG
        assert asked == ["cdn.example"]


async def test_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiai_async._downloads.MAX_IMAGE_BYTES", 100)
    async with linked("/a", FILE) as (image, _):
        with pytest.raises(DownloadError, match="more than 100 bytes"):
            await image.read()


async def test_the_log_has_a_line_without_the_query(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiai_async")
    async with linked("/a?sig=secret", http_answer(503), FILE) as (image, _):
        await image.read()
    lines = [record.message for record in caplog.records if record.message.startswith("GET")]
    assert [line.split(" in ")[0].partition("/a ")[2] for line in lines] == ["503 was answered", "200"]
    assert "secret" not in caplog.text


async def test_cancelling(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aiai_async")
    async with linked("/a", never_answer) as (image, server):
        task = asyncio.create_task(image.read())
        await server.wait_until(lambda: len(server.requests) == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.wait_until(lambda: server.closed >= 1)
    assert "/a cancelled in" in caplog.text


async def test_a_kept_link_is_fetched_into_memory() -> None:
    """By a client that didn't make it, without its key."""
    async with (
        ScriptedServer(FILE) as server,
        AsyncImagesClient(KEY, base_url=server.base_url, retry=RetryPolicy(max_retries=7)) as client,
    ):
        link = f"{server.base_url}/a?sig=1"
        image = await client.download(link)
        assert (image.content, image.url, image.media_type) == (PNG, link, "image/png")
        assert client.retry.max_retries == 7
    assert KEY not in str(server.requests[0].headers)


class MemorySink:
    """Keeps what it gets, and how it ended."""

    def __init__(self, made: list[MemorySink], *, fails: bool = False) -> None:
        self.data = b""
        self.end = ""
        self._fails = fails
        made.append(self)

    async def write(self, data: bytes, /) -> None:
        if self._fails:
            raise OSError(28, "No space left on device")
        self.data += data

    async def finish(self) -> None:
        self.end += "finished"

    async def abort(self) -> None:
        self.end += "aborted"


async def test_a_kept_link_is_fetched_into_a_sink() -> None:
    """Each attempt has one of its own; what it says of the image is what was written."""
    made: list[MemorySink] = []
    cut = http_answer(200, PNG, headers={"Connection": "close"})[:-3]
    web_page = http_answer(200, b"<p>", headers={"Content-Type": "text/html"})
    async with (
        ScriptedServer(cut, FILE, web_page) as server,
        AsyncImagesClient(KEY, base_url=server.base_url, retry=RetryPolicy(base_delay=0)) as client,
    ):
        image = await client.download(f"{server.base_url}/a", sink=lambda _: MemorySink(made))
        assert [sink.end for sink in made] == ["aborted", "finished"]
        assert made[1].data == PNG
        assert (image.content, image.size_bytes, image.media_type) == (None, len(PNG), "image/png")
        with pytest.raises(DownloadError, match="text/html, not an image"):
            await client.download(f"{server.base_url}/b", sink=lambda _: MemorySink(made))
        assert made[2].end == "aborted"


async def test_a_sinks_error_ends_the_download_as_itself() -> None:
    """It is not tried again: the disk is full."""
    made: list[MemorySink] = []
    async with ScriptedServer(FILE) as server, AsyncImagesClient(KEY, base_url=server.base_url) as client:
        with pytest.raises(OSError, match="No space left"):
            await client.download(f"{server.base_url}/a", sink=lambda _: MemorySink(made, fails=True))
    assert [sink.end for sink in made] == ["aborted"]
