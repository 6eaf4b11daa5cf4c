"""What the tests of the studio share: one that runs beside the local server, and a program that speaks to it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import anyio
import attrs
import pytest

from aiai_async import AsyncImagesClient
from aiai_async.server import LocalServer
from aiai_async.studio import Studio

KEY = "sk-studio-0123456789"
TAB = "tab-of-a-test"


@attrs.define
class Tab:
    """An open tab, as a program sees it."""

    session: aiohttp.ClientSession
    url: str
    token: str
    name: str
    socket: aiohttp.ClientWebSocketResponse
    hello: dict[str, Any]

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Studio-Token": self.token, "X-Studio-Tab": self.name}

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request as the page does; give the status and the JSON."""
        options = {} if body is None else {"json": body}
        async with self.session.request(method, self.url + path, headers=self.headers, **options) as response:
            content = await response.read()
            return response.status, json.loads(content) if content else None

    async def begin(self, prompt: str, **fields: object) -> dict[str, Any]:
        """Begin a run and give it."""
        status, run = await self.send("POST", "api/runs", {"prompt": prompt, "model": "gpt-image-1", **fields})
        assert status == 201, run
        return run  # type: ignore[no-any-return] # it is JSON

    async def until(self, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read what is told until a message is what is waited for."""
        with anyio.fail_after(20):
            while True:
                message: dict[str, Any] = json.loads(await self.socket.receive_bytes())
                if condition(message):
                    return message

    async def until_ended(self, run: dict[str, Any]) -> dict[str, Any]:
        """Wait until a run is over, and give it as it is then."""
        message = await self.until(
            lambda message: (
                message["type"] == "run" and message["run"]["id"] == run["id"] and message["run"]["status"] != "running"
            )
        )
        return message["run"]  # type: ignore[no-any-return] # it is JSON


OpenTab = Callable[..., Any]


async def read_token(session: aiohttp.ClientSession, url: str) -> str:
    """Find the token in the page."""
    async with session.get(url) as response:
        found = re.search(r'name="studio-token" content="([^"]+)"', await response.text())
    assert found
    return found[1]


@asynccontextmanager
async def open_tab(studio: Studio, *, name: str = TAB) -> AsyncGenerator[Tab]:
    """Open the page as a browser does, and leave it with the block."""
    async with aiohttp.ClientSession() as session:
        token = await read_token(session, studio.url)
        address = f"{studio.url}api/events?tab={name}"
        async with session.ws_connect(address, protocols=("aiai-studio", f"token.{token}")) as socket:
            hello: dict[str, Any] = json.loads(await socket.receive_bytes())
            yield Tab(session, studio.url, token, name, socket, hello)


@pytest.fixture
async def server() -> AsyncIterator[LocalServer]:
    """The local server, as quick as it can be."""
    async with LocalServer(KEY) as server:
        yield server


@pytest.fixture
async def client(server: LocalServer) -> AsyncIterator[AsyncImagesClient]:
    """A client of it."""
    async with AsyncImagesClient(KEY, base_url=server.base_url) as client:
        yield client


@pytest.fixture
async def studio(client: AsyncImagesClient) -> AsyncIterator[Studio]:
    """A studio that waits for no tab to come back."""
    async with Studio(client, grace=0) as studio:
        yield studio


@pytest.fixture
async def tab(studio: Studio) -> AsyncIterator[Tab]:
    """An open tab of it."""
    async with open_tab(studio) as tab:
        yield tab


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Any]]:
    """Start a server with options of its own, a client and a studio: `server, studio = await start(latency=60)`."""
    async with AsyncExitStack() as stack:

        async def start(
            *, grace: float = 0, most_bytes: int | None = None, **options: Any
        ) -> tuple[LocalServer, Studio]:
            server = await stack.enter_async_context(LocalServer(KEY, **options))
            client = await stack.enter_async_context(AsyncImagesClient(KEY, base_url=server.base_url, retry=0))
            bound = {} if most_bytes is None else {"most_bytes": most_bytes}
            return server, await stack.enter_async_context(Studio(client, grace=grace, **bound))

        yield start


async def until(condition: Callable[[], bool]) -> None:
    """Let others run until something has become true."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.001)
