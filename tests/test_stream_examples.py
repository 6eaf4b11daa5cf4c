"""The examples of streams run as they are, against the local server over real sockets."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import runpy
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from aiai_async.server import LocalServer
from tests.test_examples import EXAMPLES, load

Serve = Callable[[], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def aiohttp_relay() -> AsyncIterator[str]:
    """Serve the aiohttp example and give its URL."""
    runner = web.AppRunner(load("relay_aiohttp").make_app(), handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fastapi_relay() -> AsyncIterator[str]:
    """Serve the FastAPI example and give its URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(load("relay_fastapi").app, log_level="warning", lifespan="on", ws="none")
        application = uvicorn.Server(config)
        task = asyncio.create_task(application.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            application.should_exit = True
            await task


@asynccontextmanager
async def pointed_at(monkeypatch: pytest.MonkeyPatch, *faults: str) -> AsyncIterator[LocalServer]:
    """The local server, to which the environment points."""
    async with LocalServer(faults=faults) as server:
        monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
        monkeypatch.setenv("AIAI_API_KEY", "sk-example")
        yield server


async def read_events(lines: AsyncIterator[bytes]) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Read what the relay sends, which is simple: an event line, a data line, a blank line."""
    name = ""
    async for line in lines:
        if line.startswith(b"event: "):
            name = line[7:].decode().strip()
        elif line.startswith(b"data: "):
            yield name, json.loads(line[6:])


async def lines_of(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Give the lines of an answer: aiohttp's own iteration refuses lines of more than 128 kB."""
    rest = b""
    async for piece in answer.content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line


def test_a_stream_in_ten_lines(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user runs it, but for the process."""

    async def serve_and_run() -> None:
        async with pointed_at(monkeypatch):
            monkeypatch.chdir(tmp_path)
            # It starts a loop of its own.
            await asyncio.to_thread(runpy.run_path, os.fspath(EXAMPLES / "stream.py"), None, "__main__")

    asyncio.run(serve_and_run())
    assert capsys.readouterr().out.splitlines() == [
        "image_generation.partial_image step-0.png",
        "image_generation.partial_image step-1.png",
        "image_generation.completed lighthouse.png",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lighthouse.png", "step-0.png", "step-1.png"]


@pytest.mark.parametrize("serve", [aiohttp_relay, fastapi_relay], ids=["aiohttp", "fastapi"])
class TestRelay:
    """What both relays do alike."""

    async def test_passes_partial_and_final_images_on(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        """As events of its own."""
        async with pointed_at(monkeypatch), serve() as url, aiohttp.ClientSession() as session:
            async with session.get(f"{url}/images", params={"prompt": "A lighthouse"}) as answer:
                assert answer.content_type == "text/event-stream"
                events = [event async for event in read_events(lines_of(answer))]
        assert [name for name, _ in events] == ["partial_image"] * 3 + ["completed"]
        for _, data in events:
            assert data["media_type"] == "image/png"
            assert base64.b64decode(data["base64"]).startswith(b"\x89PNG")

    async def test_a_visitor_who_leaves_cuts_the_request(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        """The first picture is there, the server goes on, the visitor goes away."""
        async with pointed_at(monkeypatch, "stream_hang") as server, serve() as url:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"{url}/images", params={"prompt": "A lighthouse"}) as answer:
                    name, _ = await anext(read_events(lines_of(answer)))
                    assert (name, server.in_flight) == ("partial_image", 1)
            async with asyncio.timeout(5):
                while server.in_flight:
                    await asyncio.sleep(0.001)

    async def test_an_error_is_an_event(self, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
        """At once or after a picture."""
        for fault, count in (("moderation_blocked", 0), ("stream_late_error_event", 1)):
            async with pointed_at(monkeypatch, fault), serve() as url, aiohttp.ClientSession() as session:
                async with session.get(f"{url}/images", params={"prompt": "A lighthouse"}) as answer:
                    events = [event async for event in read_events(lines_of(answer))]
            assert [name for name, _ in events] == ["partial_image"] * count + ["error"]
            assert events[-1][1]["message"]
