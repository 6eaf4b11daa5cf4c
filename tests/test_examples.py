"""The examples run as they are, against the local server over real sockets."""

from __future__ import annotations

import asyncio
import base64
import functools
import importlib.util
import json
import os
import runpy
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import aiohttp
import nbformat
import pytest
import uvicorn
from aiohttp import web
from nbclient import NotebookClient
from playwright.async_api import Browser, Page

from aiai_async.server import LocalServer

from .browser import PHONE, find_violations, open_page

EXAMPLES = Path(__file__).parent.parent / "examples"

Serve = Callable[[], AbstractAsyncContextManager[str]]


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalServer]:
    """The local server, to which the environment points."""
    async with LocalServer("sk-example") as server:
        monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
        monkeypatch.setenv("AIAI_API_KEY", "sk-example")
        yield server


def load(name: str) -> ModuleType:
    """Import an example anew."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options_of(name: str) -> dict[str, Any]:
    """Give the options with which an aiohttp example serves itself when it is run, but for the address."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web, "run_app", lambda _, **options: given.update(options))
        runpy.run_path(os.fspath(EXAMPLES / f"{name}.py"), run_name="__main__")
    return {option: value for option, value in given.items() if option not in ("host", "port")}


@asynccontextmanager
async def aiohttp_application(name: str = "web_aiohttp") -> AsyncIterator[str]:
    """Serve an aiohttp example and give its URL."""
    runner = web.AppRunner(load(name).make_app(), **options_of(name))
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def fastapi_application(name: str = "web_fastapi") -> AsyncIterator[str]:
    """Serve a FastAPI example and give its URL."""
    # Listening before the server runs: who connects in between waits in the kernel's queue.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(load(name).app, log_level="warning", lifespan="on", ws="none")
        application = uvicorn.Server(config)
        task = asyncio.create_task(application.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            application.should_exit = True
            await task


async def post(base_url: str, body: object) -> tuple[int, str, str | None, bytes]:
    """Post JSON to an application and give status, media type, Retry-After and body."""
    async with aiohttp.ClientSession() as session, session.post(f"{base_url}/images", json=body) as answer:
        return answer.status, answer.content_type, answer.headers.get("retry-after"), await answer.read()


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


def test_the_first_program_saves_an_image(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a user runs it, but for the process."""

    async def serve_and_run() -> None:
        async with LocalServer() as server:
            monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
            monkeypatch.setenv("AIAI_API_KEY", "sk-example")
            monkeypatch.chdir(tmp_path)
            # It starts a loop of its own.
            await asyncio.to_thread(runpy.run_path, os.fspath(EXAMPLES / "first.py"))

    asyncio.run(serve_and_run())
    assert capsys.readouterr().out == "saved lighthouse.png\n"
    assert (tmp_path / "lighthouse.png").read_bytes().startswith(b"\x89PNG")


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


def test_a_file_of_prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user runs it, but for the process; a line that fails is told with its number, and the others are made."""

    async def serve_and_run() -> None:
        async with pointed_at(monkeypatch):
            monkeypatch.chdir(tmp_path)
            Path("prompts.txt").write_text("A lighthouse\n\nFog\n")
            monkeypatch.setattr("sys.argv", ["batch.py", "prompts.txt"])
            with pytest.raises(SystemExit) as caught:
                # It starts a loop of its own.
                await asyncio.to_thread(runpy.run_path, os.fspath(EXAMPLES / "batch.py"), None, "__main__")
            assert caught.value.code == 1

    asyncio.run(serve_and_run())
    printed = capsys.readouterr()
    assert sorted(printed.out.splitlines()) == ["000000.png", "000002.png"]
    assert printed.err.startswith("line 2: prompt: ''")
    assert {path.name for path in tmp_path.glob("*.png")} == {"000000.png", "000002.png"}


def test_a_job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As a user runs it, but for the process; run again it sends nothing."""

    async def serve_and_run() -> int:
        async with pointed_at(monkeypatch) as server:
            monkeypatch.chdir(tmp_path)
            for _ in range(2):
                # It starts a loop of its own.
                await asyncio.to_thread(runpy.run_path, os.fspath(EXAMPLES / "job.py"), None, "__main__")
            return len(server.requests)

    assert asyncio.run(serve_and_run()) == 8
    assert capsys.readouterr().out.splitlines()[-1] == "8 of 8 done: lighthouses/report.html"
    assert len(list((tmp_path / "lighthouses" / "images").iterdir())) == 8


def test_what_images_cost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before, after, and with a cap."""

    async def serve_and_run() -> None:
        async with pointed_at(monkeypatch):
            monkeypatch.chdir(tmp_path)
            await asyncio.to_thread(runpy.run_path, os.fspath(EXAMPLES / "cost.py"), None, "__main__")

    asyncio.run(serve_and_run())
    before, after, job = capsys.readouterr().out.splitlines()
    assert before.startswith("at most $0.0110, by prices of 20")
    assert after.startswith("$0.0109, as prices say: {'text_input': ")
    assert job == "8 of 8 done for $0.09"
    assert len(list((tmp_path / "lighthouses" / "images").glob("*.png.json"))) == 8


@pytest.mark.parametrize("serve", [aiohttp_application, fastapi_application], ids=["aiohttp", "fastapi"])
class TestWebApplication:
    """What both web applications do alike."""

    async def test_gives_the_image(self, serve: Serve, server: LocalServer) -> None:
        """With its media type; several requests use one client."""
        async with serve() as base_url:
            for _ in range(2):
                status, media_type, _, body = await post(base_url, {"prompt": "A lighthouse at dusk"})
                assert (status, media_type, body[8:12]) == (200, "image/webp", b"WEBP")
        assert [request.status for request in server.requests] == [200, 200]

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ("moderation_blocked", (400, None)),
            ("rate_limited_hour", (503, "3600")),
            ("insufficient_quota", (502, None)),
            ("invalid_api_key", (502, None)),
            ("status_504", (502, None)),
        ],
    )
    async def test_maps_errors(
        self, serve: Serve, server: LocalServer, fault: str, expected: tuple[int, str | None]
    ) -> None:
        """To a status and, where waiting helps, to how long; what concerns our key is not told."""
        server.set_faults(fault)
        async with serve() as base_url:
            status, media_type, retry_after, body = await post(base_url, {"prompt": "A lighthouse at dusk"})
        assert (status, retry_after) == expected
        assert media_type == "application/json"
        assert b"key" not in body and b"quota" not in body

    @pytest.mark.parametrize("body", [{"prompt": ""}, {"prompt": "x" * 40_000}], ids=["empty", "long"])
    async def test_refuses_a_wrong_prompt(self, serve: Serve, server: LocalServer, body: object) -> None:
        """Without asking the API."""
        async with serve() as base_url:
            status, _, _, answer = await post(base_url, body)
        assert status == 400 and b"prompt" in answer
        assert server.requests == ()

    @pytest.mark.parametrize("body", [{}, [], "text"], ids=["no prompt", "a list", "a string"])
    async def test_refuses_another_body(self, serve: Serve, server: LocalServer, body: object) -> None:
        """As a mistake of the client."""
        async with serve() as base_url:
            status, _, _, _ = await post(base_url, body)
        assert 400 <= status < 500
        assert server.requests == ()


@pytest.mark.parametrize(
    "serve",
    [
        functools.partial(aiohttp_application, "relay_aiohttp"),
        functools.partial(fastapi_application, "relay_fastapi"),
    ],
    ids=["aiohttp", "fastapi"],
)
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

    @pytest.mark.parametrize(
        ("fault", "expected"),
        [
            ("moderation_blocked", "moderation_blocked"),
            ("rate_limited_hour", "come again in 3600 s"),
            ("insufficient_quota", "the image could not be made"),
            ("invalid_api_key", "the image could not be made"),
        ],
    )
    async def test_tells_no_visitor_about_our_key(
        self, serve: Serve, server: LocalServer, fault: str, expected: str
    ) -> None:
        """Nor about our money; what helps the visitor is told."""
        server.set_faults(fault)
        async with serve() as base_url, aiohttp.ClientSession() as session:
            async with session.get(f"{base_url}/images", params={"prompt": "A lighthouse"}) as answer:
                content = await answer.text()
        assert content.startswith("id: 1\nevent: error\ndata: ") and expected in content
        assert "key" not in content and "quota" not in content

    async def test_makes_nothing_for_a_browser_that_comes_again(self, serve: Serve, server: LocalServer) -> None:
        """An EventSource does so by itself, also when the stream was whole."""
        async with serve() as base_url, aiohttp.ClientSession() as session:
            headers = {"Last-Event-ID": "1"}
            async with session.get(f"{base_url}/images", params={"prompt": "A lighthouse"}, headers=headers) as answer:
                assert (answer.status, await answer.read()) == (204, b"")
        assert server.requests == ()

    async def test_a_visitor_who_leaves_before_the_first_image(
        self, serve: Serve, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Cuts the request at once, since nothing would be written for minutes that could fail."""
        async with LocalServer(latency=60) as server:
            monkeypatch.setenv("AIAI_BASE_URL", server.base_url)
            monkeypatch.setenv("AIAI_API_KEY", "sk-example")
            async with serve() as base_url, aiohttp.ClientSession() as session:
                async with session.get(f"{base_url}/images", params={"prompt": "A lighthouse"}):
                    await _until(lambda: server.in_flight == 1)
                await session.close()
                await _until(lambda: server.in_flight == 0)


class TestPreview:
    """The widget in its page, in a real browser."""

    @staticmethod
    async def wait_for_words(page: Page, words: str) -> None:
        await page.wait_for_function(
            "words => document.querySelector('[role=status]').textContent.includes(words)", arg=words
        )

    @staticmethod
    async def make(page: Page, prompt: str) -> None:
        await page.get_by_label("What it shows").fill(prompt)
        await page.get_by_label("What it shows").press("Enter")

    async def test_a_picture_sharpens(self, browser: Browser, server: LocalServer) -> None:
        """One image after the other in the same place, with words and time; the last one is the server's."""
        async with fastapi_application("preview_fastapi") as url:
            watched = await open_page(browser, size=PHONE)
            page = watched.page
            await page.goto(url)
            await page.evaluate("""() => {
                window.sources = []
                const note = () => sources.push(document.querySelector("img").src)
                new MutationObserver(note).observe(document.querySelector("img"), { attributeFilter: ["src"] })
            }""")
            await self.make(page, "A <b>lighthouse</b>")
            await self.wait_for_words(page, "s: finished")
            sources = await page.evaluate("sources")
            assert len(set(sources)) >= 2
            (request,) = server.requests
            assert isinstance(request.body, dict) and request.body["prompt"] == "A <b>lighthouse</b>"
            image = page.get_by_role("img", name="A <b>lighthouse</b>")
            assert await image.get_attribute("src") == sources[-1]
            assert base64.b64decode(sources[-1].partition(",")[2])[8:12] == b"WEBP"
            assert await image.evaluate("image => image.naturalWidth") == 1024
            assert await find_violations(page) == [] and watched.complaints == []
            assert "sk-example" not in await page.content()

    async def test_errors_are_said(self, browser: Browser, server: LocalServer) -> None:
        """In words, below the form."""
        server.set_faults("moderation_blocked")
        async with fastapi_application("preview_fastapi") as url:
            watched = await open_page(browser)
            await watched.page.goto(url)
            await self.make(watched.page, "A lighthouse")
            await self.wait_for_words(watched.page, "moderation_blocked")

    @pytest.mark.parametrize("how", ["the next one", "a tab that leaves"])
    async def test_a_request_is_cut(self, browser: Browser, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        """Up to the API's server, by the next one or when the tab leaves."""
        async with pointed_at(monkeypatch, "stream_hang") as server, fastapi_application("preview_fastapi") as url:
            watched = await open_page(browser)
            await watched.page.goto(url)
            await self.make(watched.page, "A lighthouse")
            await self.wait_for_words(watched.page, "1 of up to 3 previews")
            assert server.in_flight == 1
            if how == "the next one":
                await self.make(watched.page, "A kite")
                await _until(lambda: len(server.requests) == 2 and server.in_flight == 1)
            await watched.page.goto("about:blank")
            await _until(lambda: server.in_flight == 0)

    async def test_a_page_of_another_site_can_not_spend_your_money(self, server: LocalServer) -> None:
        """What a form can send is no JSON."""
        async with fastapi_application("preview_fastapi") as url, aiohttp.ClientSession() as session:
            for options in (
                {"data": {"prompt": "A kite"}},
                {"data": b'{"prompt": "A kite"}', "headers": {"Content-Type": "text/plain"}},
                # As a page sends a Blob without a type; older versions of FastAPI take it for JSON.
                {"data": b'{"prompt": "A kite"}', "skip_auto_headers": ["Content-Type"]},
            ):
                async with session.post(f"{url}/images", **options) as answer:
                    assert answer.status == 422
        assert server.requests == ()


async def test_the_notebook(server: LocalServer, tmp_path: Path) -> None:
    """As a user runs it, in a kernel of its own: what is displayed is each image in turn, then the final one."""
    notebook = nbformat.read(EXAMPLES / "preview.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "outputs are not committed"
    updates: list[Any] = []

    class Watching(NotebookClient):
        def process_message(self, message: Any, *arguments: Any) -> Any:
            if message["msg_type"] == "update_display_data":
                updates.append(message["content"]["data"])
            return super().process_message(message, *arguments)

    await Watching(
        notebook, kernel_name="python3", timeout=50, resources={"metadata": {"path": tmp_path}}
    ).async_execute()
    shown = [base64.b64decode(data["image/png"]) for data in updates if "image/png" in data]
    # Three requests of three partial images and a final one.
    assert len(shown) == 12 and len(set(shown)) == 12 and all(image.startswith(b"\x89PNG") for image in shown)
    assert shown[3] == (tmp_path / "lighthouse.png").read_bytes()
    (cell,) = [cell for cell in notebook.cells if "lighthouse.png" in cell.source]
    picture, caption = cell.outputs
    assert base64.b64decode(picture.data["image/png"]) == shown[3]
    assert caption.data["text/html"].startswith("finished after ")
    assert len(server.requests) == 3


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)
