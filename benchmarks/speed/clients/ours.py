"""This package, with everything a user gets switched on: checks, retries, the scheduler, typed results."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from aiai_async import AsyncImagesClient, FileSink, RetryPolicy

from . import PROMPT, Saver


def open_client(base_url: str, retries: int | None) -> Saver:
    """Open it."""
    return _Ours(base_url, retries)


class _Ours:
    def __init__(self, base_url: str, retries: int | None) -> None:
        retry = RetryPolicy() if retries is None else RetryPolicy(max_retries=retries)
        # No cap: how many are in flight is what is measured.
        self._client: Final = AsyncImagesClient("sk-test", base_url=base_url, retry=retry, max_connections=0)

    async def generate(self, model: str) -> bytes:
        response = await self._client.generate(PROMPT, model=model)
        content = response.image.content
        assert content is not None
        return content

    async def stream(self, model: str) -> AsyncIterator[bytes]:
        async with self._client.stream(PROMPT, model=model, partial_images=3) as stream:
            async for event in stream:
                assert event.image.content is not None
                yield event.image.content

    async def save(self, model: str, path: Path) -> None:
        await self._client.generate(PROMPT, model=model, sink=lambda _: FileSink(path))

    async def aclose(self) -> None:
        await self._client.aclose()
