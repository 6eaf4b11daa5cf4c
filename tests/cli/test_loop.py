"""The event loop of the command line."""

from __future__ import annotations

import asyncio
import importlib.util
import sys

import pytest

from aiai_async.cli import _loop

HAS_UVLOOP = importlib.util.find_spec("uvloop") is not None


async def name_loop(*extra: str) -> str:
    """The running event loop's module."""
    return ".".join([type(asyncio.get_running_loop()).__module__.partition(".")[0], *extra])


@pytest.mark.skipif(not HAS_UVLOOP, reason="uvloop is not installed")
def test_uvloop_is_used_where_it_is_installed() -> None:
    """With arguments and results as they are, and for this loop only."""
    assert _loop.run(name_loop) == "uvloop"
    assert _loop.run(name_loop, "a", "b") == "uvloop.a.b"
    assert asyncio.run(name_loop()) == "asyncio"


def test_without_uvloop_it_is_asyncios(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, where there is none."""
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert _loop.run(name_loop) == "asyncio"
    monkeypatch.undo()
    monkeypatch.setattr(sys, "platform", "win32")
    assert not _loop.has_uvloop()
