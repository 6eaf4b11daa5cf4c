"""The clients that are measured, each as its own documentation shows it, behind one small interface.

A client's module is imported by the process that measures it, and by no other.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

PROMPT: Final = "A lighthouse at dusk, the sea calm, a keeper on the gallery"


class Client(Protocol):
    """One client, open."""

    async def generate(self, model: str) -> bytes:
        """Make one image and give it decoded."""
        ...

    def stream(self, model: str) -> AsyncIterator[bytes]:
        """Give a stream's images decoded, as they come."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


class Saver(Client, Protocol):
    """A client that has a way of its own to write files."""

    async def save(self, model: str, path: Path) -> None:
        """Make one image into a file."""
        ...


class Kind(NamedTuple):
    """One client, and how it is started.

    No attrs class: what is imported here counts where the start of a script is measured.
    """

    name: str
    title: str
    """As tables call it."""
    module: str
    """Its module here; `open_client(base_url, retries)` makes the client."""
    imports: str
    """What a program that uses it imports."""
    is_on_uvloop: bool = False
    can_stream: bool = True
    can_save: bool = False
    """Whether it is a Saver; of the others, what was decoded is written."""

    def load(self) -> Callable[[str, int | None], Client]:
        """Import it, and give what makes a client of a base URL and a number of retries (None: its default)."""
        module = importlib.import_module(f".{self.module}", __name__)
        return cast("Callable[[str, int | None], Client]", module.open_client)


OURS: Final = "aiai"
REFERENCE: Final = "raw_aiohttp_orjson"
PEER: Final = "openai"

KINDS: Final = {
    kind.name: kind
    for kind in [
        Kind(name=OURS, title="aiai_async", module="ours", imports="import aiai_async", can_save=True),
        Kind(
            name="aiai_uvloop",
            title="aiai_async, uvloop",
            module="ours",
            imports="import aiai_async, uvloop",
            is_on_uvloop=True,
            can_save=True,
        ),
        Kind(
            name=REFERENCE,
            title="aiohttp + orjson + pybase64",
            module="reference",
            imports="import aiohttp, orjson, pybase64",
        ),
        Kind(
            name="aiohttp_json", title="aiohttp + json + base64", module="plain", imports="import aiohttp, json, base64"
        ),
        Kind(name="httpx", title="httpx + httpx-sse", module="with_httpx", imports="import httpx, httpx_sse"),
        Kind(name=PEER, title="openai", module="official", imports="import openai"),
        Kind(
            name="openai_aiohttp",
            title="openai on aiohttp",
            module="official_aiohttp",
            imports="import openai; openai.DefaultAioHttpClient",
        ),
        Kind(name="litellm", title="litellm", module="with_litellm", imports="import litellm", can_stream=False),
    ]
}
