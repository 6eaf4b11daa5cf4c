"""The official SDK on its other transport, aiohttp."""

from __future__ import annotations

from . import Client
from .official import Official, openai


def open_client(base_url: str, retries: int | None) -> Client:
    """Open it on aiohttp."""
    return Official(base_url, retries, http_client=openai.DefaultAioHttpClient())
