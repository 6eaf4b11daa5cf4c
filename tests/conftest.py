"""What every test starts from: an environment without this package's variables, and no proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import hypothesis
import pytest
from playwright.async_api import Browser

from .browser import launch

# pytest-asyncio looks for the current event loop before it sets its own, which makes one on Python 3.11 that nobody
# closes; said to be none, there is none to make.
asyncio.set_event_loop(None)

# How long an example takes is the machine's business, not a claim of these tests.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AIAI_API_KEY", "AIAI_BASE_URL", "AIAI_LOG", "AIAI_PRICES"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def browser() -> AsyncGenerator[Browser]:
    """A browser without a window; the test is skipped where there is none."""
    async with launch() as browser:
        yield browser
