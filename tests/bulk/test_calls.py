"""One request of a run: what was not let go is called back, whatever the moment."""

from __future__ import annotations

from collections import UserDict
from collections.abc import KeysView

import pytest

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
