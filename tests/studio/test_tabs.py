"""Tabs that come, go and come back, and how much waits for one that doesn't listen."""

from __future__ import annotations

import asyncio

from aiai_async.studio.tabs import Mailbox, Tabs
from tests.virtual import on_virtual_clock


async def test_a_slow_tab_is_told_once_of_what_changed_often() -> None:
    """What waits for it is never more than the names of what changed."""
    mailbox = Mailbox()
    for _ in range(1000):
        mailbox.note("a")
        mailbox.note("b")
    assert await mailbox.take() == ["a", "b"]
    waiting = asyncio.create_task(mailbox.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    mailbox.note("c")
    assert await waiting == ["c"]


@on_virtual_clock
async def test_a_tab_that_comes_back_in_time_was_never_gone() -> None:
    """A reload; and one that doesn't come back is told of once."""
    gone: list[str] = []
    tabs = Tabs(grace=3.0, on_gone=gone.append)
    tabs.leave("a", tabs.enter("a"))
    assert "a" not in tabs
    await asyncio.sleep(2.9)
    mailbox = tabs.enter("a")
    await asyncio.sleep(10)
    assert gone == []
    tabs.leave("a", mailbox)
    await asyncio.sleep(3.1)
    assert gone == ["a"]


@on_virtual_clock
async def test_a_copy_of_a_tab_keeps_it_open() -> None:
    """Browsers copy a tab with its memory, and so with its name."""
    gone: list[str] = []
    tabs = Tabs(grace=0.0, on_gone=gone.append)
    first, second = tabs.enter("a"), tabs.enter("a")
    tabs.leave("a", first)
    await asyncio.sleep(1)
    assert gone == []
    tabs.note("x")
    assert await second.take() == ["x"]
    tabs.leave("a", second)
    await asyncio.sleep(1)
    assert (gone, len(tabs)) == (["a"], 0)


@on_virtual_clock
async def test_nobody_is_waited_for_at_the_end() -> None:
    """The studio cuts off everything itself."""
    gone: list[str] = []
    tabs = Tabs(grace=3.0, on_gone=gone.append)
    tabs.leave("a", tabs.enter("a"))
    tabs.close()
    await asyncio.sleep(10)
    assert gone == []
