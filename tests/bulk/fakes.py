"""What the tests of jobs ask instead of an API: a transport without sockets, and a server that counts."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from aiohttp import web

from aiai_async import AsyncImagesClient, RetryPolicy
from aiai_async._exchange import TransportRequest
from aiai_async._facts import Headers

PNG = b"\x89PNG\r\n\x1a\n"


def picture(prompt: str, k: int = 0, size_bytes: int = 200) -> bytes:
    """What begins like a PNG, and is different for each prompt."""
    return (PNG + f"{prompt}/{k}/".encode()).ljust(size_bytes, b".")


def answer_to(body: dict[str, Any], *, size_bytes: int = 200, images: int | None = None) -> dict[str, Any]:
    """The JSON of a plain answer."""
    count = images if images is not None else body.get("n", 1)
    pictures = (picture(body["prompt"], k, size_bytes) for k in range(count))
    return {
        "data": [{"b64_json": base64.b64encode(content).decode()} for content in pictures],
        "usage": {"total_tokens": 7, "input_tokens": 3, "output_tokens": 4},
    }


class FakeResponse:
    """An answer that is there at once."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.status = status
        fields = {"content-type": "application/json", "x-request-id": "req_fake", **(headers or {})}
        self.headers = Headers(fields.items())
        self._pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]

    async def read(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        pass


def as_json(status: int, tree: object, **headers: str) -> FakeResponse:
    """An answer with JSON in it."""
    return FakeResponse(status, json.dumps(tree).encode(), headers)


def error(status: int, message: str = "no", code: str | None = None, **headers: str) -> FakeResponse:
    """An error in OpenAI's shape."""
    return as_json(status, {"error": {"message": message, "code": code}}, **headers)


Answer = Callable[[dict[str, Any]], Any]


class FakeTransport:
    """Answers from a function of the body, which may be async; anything else than a response is made one."""

    def __init__(self, answer: Answer | None = None, *, downloads: Callable[[str], FakeResponse] | None = None) -> None:
        self.answer = answer
        self.downloads = downloads
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.fetched: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0

    @property
    def prompts(self) -> list[str]:
        """What was asked for, in order."""
        return [body["prompt"] for body in self.bodies]

    async def send(self, request: TransportRequest) -> FakeResponse:
        if request.method == "GET":
            assert "authorization" not in request.headers
            self.fetched.append(request.url)
            assert self.downloads is not None
            return self.downloads(request.url)
        assert request.body is not None
        body = json.loads(request.body)
        self.bodies.append(body)
        self.keys.append(request.headers["idempotency-key"])
        request.on_sent()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            found = answer_to(body) if self.answer is None else self.answer(body)
            if isinstance(found, Awaitable):
                found = await found
        finally:
            self.in_flight -= 1
        if isinstance(found, Exception):
            raise found
        return found if isinstance(found, FakeResponse) else as_json(200, found)

    async def aclose(self) -> None:
        pass


def client_of(transport: FakeTransport, **options: Any) -> AsyncImagesClient:
    """A client that asks the fake, and doesn't wait between attempts."""
    options = {"retry": RetryPolicy(max_retries=0, base_delay=0, instant=0), **options}
    return AsyncImagesClient("sk-test", base_url="http://127.0.0.1:9/v1", transport=transport, **options)


class CountingServer:
    """A real server on loopback that remembers what it was asked; it knows nothing of idempotency keys."""

    def __init__(self, *, latency: float = 0.0, size_bytes: int = 3000) -> None:
        self.latency = latency
        self.size_bytes = size_bytes
        self.asked: list[tuple[str, str]] = []
        """Prompts and keys, in order."""
        self.arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/v1/images/generations/", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append((body["prompt"], request.headers["idempotency-key"]))
        self.arrived.set()
        await asyncio.sleep(self.latency)
        return web.json_response(answer_to(body, size_bytes=self.size_bytes))

    def count(self) -> Counter[str]:
        """How often each prompt was asked for."""
        return Counter(prompt for prompt, _ in self.asked)


def environment_of_child(base_url: str) -> dict[str, str]:
    """The environment of a process that is killed, or may write little: coverage's file of it would be cut off."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    return {**kept, "AIAI_API_KEY": "sk-test", "AIAI_BASE_URL": base_url}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rows_of(folder: Path, query: str = "SELECT idx, state FROM items ORDER BY idx") -> Sequence[Any]:
    """Look into a job's journal."""
    with closing(sqlite3.connect(folder / "job.sqlite")) as connection:
        return connection.execute(query).fetchall()


def names_in(folder: Path) -> list[str]:
    """The files that a user sees among the images."""
    return sorted(path.name for path in (folder / "images").iterdir() if not path.name.endswith(".part"))
