"""One value for each event loop, which lives no longer than its loop."""

from __future__ import annotations

import asyncio
import gc
import weakref

from aiai_async._loops import PerLoop


class Value:
    """Something that belongs to a loop."""


def test_each_loop_has_its_own() -> None:
    """Also where they take turns."""
    values = PerLoop(Value)

    async def get() -> Value:
        return values.get()

    with asyncio.Runner() as one, asyncio.Runner() as other:
        first, second = one.run(get()), other.run(get())
        assert first is not second
        assert [one.run(get()), other.run(get()), one.run(get())] == [first, second, first]
        assert [value for _, value in values.items()] == [first, second]
        assert [value for _, value in values.take_all()] == [first, second]
        assert one.run(get()) is not first


def test_a_value_goes_with_its_loop() -> None:
    """The last one that was asked for, too."""
    values = PerLoop(Value)

    async def get() -> weakref.ref[Value]:
        return weakref.ref(values.get())

    value = asyncio.run(get())
    gc.collect()
    assert (value(), values.items()) == (None, [])
