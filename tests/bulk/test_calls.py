"""One request of a run: what was not let go is called back, whatever the moment."""

from __future__ import annotations

import re
from collections import UserDict
from collections.abc import KeysView

import anyio
import anyio.lowlevel
import pytest

from aiai_async import AsyncImagesClient, RateLimits
from aiai_async._facts import Limits, QueueStatus
from aiai_async.bulk.calls import Call, CalledBack
from aiai_async.bulk.items import Item, State
from aiai_async.bulk.limits import describe_waiting
from aiai_async.bulk.sink import PartSink

from .fakes import FakeTransport, client_of


def no_sink(_: int) -> PartSink:
    """Nothing is received."""
    raise AssertionError


def make_item(request: UserDict[str, object]) -> Item:
    """An item that is taken up."""
    return Item(index=0, id="a", request=request, n=1, state=State.PENDING)


async def test_called_back_before_it_began() -> None:
    """As by a stop while its key is written."""
    async with client_of(transport := FakeTransport()) as client:
        call = Call(client)
        call.stop_waiting()
        with pytest.raises(CalledBack):
            await call.send(make_item(UserDict(prompt="a")), key="k", sink=no_sink)
    assert not transport.bodies and not call.was_sent


async def test_called_back_at_the_last_moment() -> None:
    """Up to the transport nothing waits where there is room, so cancelling alone is noticed too late."""

    class Stopping(UserDict[str, object]):
        def keys(self) -> KeysView[str]:
            call.stop_waiting()
            return super().keys()

    async with client_of(transport := FakeTransport(), max_connections=1) as client:
        call = Call(client)
        with pytest.raises(CalledBack):
            await call.send(make_item(Stopping(prompt="a")), key="k", sink=no_sink)
        assert not transport.bodies and not call.was_sent
        # Its place was given back.
        assert client.limits.in_flight == 0
        await client.generate("b")
        assert describe_waiting(client) is None


async def test_what_is_waited_for_is_named_below_a_second_too() -> None:
    """As where a limit lets one go each second: the figure says nothing then, the name does."""
    limits = RateLimits(requests_per_minute=60, concurrency=1)
    async with client_of(FakeTransport(), limits=limits) as client, anyio.create_task_group() as tasks:
        for _ in range(70):
            tasks.start_soon(client.generate, "a")
        while (words := describe_waiting(client)) is None or "requests" not in words:
            await anyio.lowlevel.checkpoint()
        # How long depends on how fast the others went.
        assert re.fullmatch(r"waiting( \d+ s)? for requests per minute", words), words
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("next_in", "words"),
    [
        (0.4, "waiting for images per minute"),
        (12.3, "waiting 12 s for images per minute"),
        (None, "waiting for images per minute"),
    ],
)
async def test_the_words_of_waiting(monkeypatch: pytest.MonkeyPatch, next_in: float | None, words: str) -> None:
    """With seconds where they say something."""
    queue = QueueStatus(
        server="http://x",
        model=None,
        waiting=1,
        in_flight=0,
        next_in=next_in,
        waiting_for="images per minute",
        paused_until=None,
        reason=None,
        limits=(),
    )
    monkeypatch.setattr(AsyncImagesClient, "limits", Limits([queue]))
    async with client_of(FakeTransport()) as client:
        assert describe_waiting(client) == words
