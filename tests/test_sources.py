"""Where requests come from: each kind of source, where it runs, who closes it and when."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from aiai_async import ImageRequest, InvalidRequestError
from aiai_async import _sources as sources
from aiai_async._sources import check_requests, read, read_all


async def in_steps(*items: object) -> AsyncIterator[object]:
    for item in items:
        await asyncio.sleep(0)
        yield item


class Countdown:
    """An async iterator that is no generator, as a queue's or a database's is."""

    def __init__(self, *items: str) -> None:
        self._items = list(items)

    def __aiter__(self) -> Countdown:
        return self

    async def __anext__(self) -> str:
        if not self._items:
            raise StopAsyncIteration
        return self._items.pop(0)


class TestReading:
    @pytest.mark.parametrize(
        "source",
        [
            ["a", "b"],
            ("a", "b"),
            range(2),
            deque(["a", "b"]),
            {"a": 1, "b": 2}.keys(),
            (each for each in "ab"),
            in_steps("a", "b"),
            Countdown("a", "b"),
            [],
        ],
        ids=["list", "tuple", "range", "deque", "keys", "generator", "async generator", "async iterator", "empty"],
    )
    async def test_every_kind(self, source: Any) -> None:
        """All items, in order."""
        expected = [0, 1] if isinstance(source, range) else [] if source == [] else ["a", "b"]
        assert await read_all(source) == expected

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_the_next_item_is_asked_for_when_it_is_wanted(self, is_async: bool) -> None:
        """And none after a no; then the generator is closed."""
        asked: list[int] = []
        taken: list[object] = []

        def count() -> Iterator[int]:
            try:
                for number in range(9):
                    asked.append(number)
                    yield number
            finally:
                asked.append(-1)

        async def count_slowly() -> AsyncIterator[int]:
            try:
                for number in range(9):
                    asked.append(number)
                    yield number
            finally:
                asked.append(-1)

        async def take(item: object) -> bool:
            taken.append(item)
            assert asked == list(range(len(taken)))
            await asyncio.sleep(0)
            return len(taken) < 3

        await read(count_slowly() if is_async else count(), take)  # type: ignore[arg-type] # numbers will do
        assert (taken, asked) == ([0, 1, 2], [0, 1, 2, -1])

    async def test_a_generator_runs_in_one_thread_and_not_in_ours(self) -> None:
        """From its first item to its end: what it opens may belong to a thread."""
        threads: list[int] = []

        def show_thread() -> Iterator[str]:
            try:
                for _ in range(50):
                    threads.append(threading.get_ident())
                    yield "a"
            finally:
                threads.append(threading.get_ident())

        await asyncio.gather(read_all(show_thread()), *(anyio.to_thread.run_sync(int) for _ in range(20)))
        assert len(threads) == 51 and len(set(threads)) == 1
        assert threading.get_ident() not in threads

    async def test_many_that_block_leave_the_threads_that_write_files_alone(self, tmp_path: Path) -> None:
        go_on = threading.Event()

        def blocking() -> Iterator[str]:
            go_on.wait(10)
            yield "a"

        async with anyio.create_task_group() as tasks:
            for _ in range(60):  # anyio has 40 threads for everybody
                tasks.start_soon(read_all, blocking())
            assert await anyio.Path(tmp_path / "a").write_text("a") == 1
            go_on.set()

    @pytest.mark.parametrize("error", [KeyError("a"), SystemExit(3)], ids=repr)
    async def test_what_a_source_raises(self, error: BaseException) -> None:
        """Comes out as it is."""

        def broken() -> Iterator[str]:
            yield "a"
            raise error

        async def broken_too() -> AsyncIterator[str]:
            yield "a"
            raise error

        for source in (broken(), broken_too()):
            with pytest.raises(type(error)) as caught:
                await read_all(source)
            assert caught.value is error

    async def test_a_file_is_not_closed(self, tmp_path: Path) -> None:
        """It isn't ours, nor is standard input."""
        (tmp_path / "a").write_text("a\nb\n")
        with (tmp_path / "a").open() as file:
            assert await read_all(file) == ["a\n", "b\n"]
            assert not file.closed


class TestCancelling:
    async def test_a_generator_that_waits_for_room_is_closed(self) -> None:
        """In its thread."""
        closed_in: list[int] = []
        has_room = asyncio.Event()

        def endless() -> Iterator[str]:
            try:
                while True:
                    yield "a"
            finally:
                closed_in.append(threading.get_ident())

        async def take(_: object) -> bool:
            begun.set()
            await has_room.wait()
            return True

        begun = asyncio.Event()
        task = asyncio.create_task(read(endless(), take))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(closed_in) == 1 and closed_in[0] != threading.get_ident()

    async def test_a_generator_that_blocks_is_not_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is closed when it comes back, and its last item is dropped."""
        monkeypatch.setattr(sources, "_THREAD_SECONDS", 0.01)
        go_on, is_closed = threading.Event(), threading.Event()
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()
        taken: list[object] = []

        def blocking() -> Iterator[str]:
            try:
                loop.call_soon_threadsafe(begun.set)
                go_on.wait(10)
                yield "a"
            finally:
                is_closed.set()

        async def take(item: object) -> bool:
            taken.append(item)
            return False

        task = asyncio.create_task(read(blocking(), take))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_closed.is_set()
        go_on.set()
        assert await asyncio.to_thread(is_closed.wait, 5)

    def test_a_generator_that_outlives_its_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It is closed all the same, and nobody is told of an error."""
        monkeypatch.setattr(sources, "_THREAD_SECONDS", 0.01)
        go_on, is_closed = threading.Event(), threading.Event()

        def blocking() -> Iterator[str]:
            try:
                go_on.wait(10)
                yield "a"
            finally:
                is_closed.set()

        async def main() -> None:
            with anyio.move_on_after(0.05):
                await read_all(blocking())

        asyncio.run(main())
        go_on.set()
        assert is_closed.wait(5)
        for thread in threading.enumerate():
            if thread.name == "AnyIO worker thread":
                thread.join(5)

    @pytest.mark.parametrize("is_async", [False, True])
    async def test_before_it_began(self, is_async: bool) -> None:
        """Not an item is asked for, and the generator is closed."""

        def never() -> Generator[str]:
            pytest.fail("the generator must not run")
            yield "a"

        async def never_either() -> AsyncIterator[str]:
            pytest.fail("the generator must not run")
            yield "a"

        source, source_too = never(), never_either()
        with anyio.CancelScope() as scope:
            scope.cancel()
            await read_all(source_too if is_async else source)
        if is_async:
            with pytest.raises(StopAsyncIteration):
                await anext(source_too)
        else:
            assert inspect.getgeneratorstate(source) == inspect.GEN_CLOSED

    async def test_an_async_generator_has_time_to_end_but_not_forever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sources, "_CLOSE_SECONDS", 0.01)
        steps: list[str] = []

        async def slow_to_end() -> AsyncIterator[str]:
            try:
                yield "a"
            finally:
                await asyncio.sleep(0)
                steps.append("ended")
                await asyncio.Event().wait()
                pytest.fail("nobody sets it")

        with anyio.CancelScope() as scope:

            async def take(_: object) -> bool:
                scope.cancel()
                await anyio.sleep_forever()
                return True

            await read(slow_to_end(), take)
        assert steps == ["ended"]


class TestWhatIsNoSource:
    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("A lighthouse", "put it into a list"),
            (ImageRequest(prompt="A"), "put it into a list"),
            (b"A", "give an iterable"),
            ({"prompt": "A"}, "give an iterable"),
            (5, "give an iterable"),
            (None, "give an iterable"),
            (in_steps, "give an iterable"),
        ],
        ids=["str", "request", "bytes", "dict", "number", "none", "function"],
    )
    def test_is_refused(self, value: Any, words: str) -> None:
        """Iterated, some of them would be paid for letter by letter."""
        with pytest.raises(InvalidRequestError) as caught:
            check_requests(value, "batch")
        assert words in str(caught.value)
        assert (caught.value.field, caught.value.value) == ("requests", value)

    async def test_all_else_is_accepted(self) -> None:
        all_else: list[Any] = [[], (), range(3), {"a"}, iter("ab"), in_steps()]
        for source in all_else:
            check_requests(source, "batch")
