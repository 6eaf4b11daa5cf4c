"""What cuts a call short: at its deadline, by `cancel`, and never anything but its own block."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest

from aiai_async._watchdog import DeadlineTimer, Watchdog
from aiai_async.policy.deadlines import Deadlines, Timeout
from tests.virtual import elapsed, loop, on_virtual_clock


def make(total: float | None = 10, first_byte: float | None = None) -> tuple[Watchdog, Deadlines]:
    """A watchdog of the running loop, and the deadlines that it looks at."""
    deadlines = Deadlines(Timeout(total=total, first_byte=first_byte), started_at=loop().time())
    return Watchdog(loop(), deadlines, DeadlineTimer()), deadlines


def cancels() -> int:
    """How many requests to cancel this task are open."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@on_virtual_clock
async def test_a_block_ends_at_the_deadline() -> None:
    """And with it all that the deadline did."""
    watchdog, _ = make(total=10)
    with watchdog:
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert (elapsed(), cancels(), loop().pending_timers()) == (10, 0, [])
    await asyncio.sleep(1)


@on_virtual_clock
async def test_a_block_in_time_is_left_alone() -> None:
    """Its timer too is gone."""
    watchdog, _ = make(total=10)
    with watchdog:
        await asyncio.sleep(9)
    assert loop().pending_timers() == []
    await asyncio.sleep(9)


@on_virtual_clock
async def test_one_timer_serves_many_blocks() -> None:
    """It wakes for the first of their deadlines."""
    watch, ended = DeadlineTimer(), dict[float, float]()

    async def run(total: float) -> None:
        deadlines = Deadlines(Timeout(total=total), started_at=loop().time())
        with Watchdog(loop(), deadlines, watch):
            await asyncio.sleep(100)
        ended[total] = elapsed()

    async with asyncio.TaskGroup() as group:
        for total in (20, 30, 200, 10, 40):
            group.create_task(run(total))
        await asyncio.sleep(0)
        waits = [timer.when() - loop().time() for timer in loop().pending_timers()]
        assert sorted(waits) == [10, *(100 for _ in range(5))]
    assert ended == {10: 10, 20: 20, 30: 30, 40: 40, 200: 100}
    assert loop().pending_timers() == []


@on_virtual_clock
async def test_deadlines_are_moved_both_ways() -> None:
    """To later without a new timer; to earlier with one."""
    watchdog, deadlines = make(total=100, first_byte=5)
    with watchdog:
        (timer,) = loop().pending_timers()
        deadlines.postpone(50)
        watchdog.move()
        assert loop().pending_timers() == [timer]
        await asyncio.sleep(120)
        deadlines.sent(loop().time())
        watchdog.move()
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert elapsed() == 125


@on_virtual_clock
async def test_without_a_deadline_there_is_no_timer() -> None:
    """Until one is set."""
    watchdog, deadlines = make(total=None, first_byte=5)
    with watchdog:
        assert loop().pending_timers() == []
        deadlines.sent(loop().time())
        watchdog.move()
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert elapsed() == 5


@on_virtual_clock
async def test_a_deadline_that_has_passed_ends_the_block_where_it_first_waits() -> None:
    """A block that never waits is over before that, and nothing behind it is hit."""
    watchdog, deadlines = make(total=1)
    deadlines.postpone(-5)
    with watchdog:
        pass
    await asyncio.sleep(1)
    with watchdog:
        await asyncio.sleep(1)
        pytest.fail("it went on")
    assert (elapsed(), cancels()) == (1, 0)


@on_virtual_clock
async def test_whoever_cancels_the_task_is_obeyed() -> None:
    """Before the deadline, and in the same moment."""
    for seconds in (3, 10):
        watchdog, _ = make(total=10)

        async def wait(watchdog: Watchdog = watchdog) -> None:
            with watchdog:
                await asyncio.sleep(100)

        task = asyncio.create_task(wait())
        loop().call_later(seconds, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()


@pytest.mark.parametrize("seconds", [3, 10])
def test_a_scope_of_the_callers_gets_what_is_its_own(seconds: float) -> None:
    """Also where its deadline and that of the block pass in the same moment."""

    @on_virtual_clock
    async def run() -> None:
        watchdog, _ = make(total=10)
        with anyio.move_on_after(seconds) as scope:
            with watchdog:
                await asyncio.sleep(100)
            # The watchdog came first: the scope's turn is next.
            await asyncio.sleep(100)
            pytest.fail("it went on")
        assert scope.cancelled_caught
        assert (elapsed(), cancels()) == (seconds, 0)

    run()


@on_virtual_clock
async def test_other_exceptions_pass() -> None:
    """Also one that the end of the block led to."""
    watchdog, _ = make(total=10)
    with pytest.raises(ValueError, match="mine"), watchdog:
        raise ValueError("mine")
    with pytest.raises(ValueError, match="closing"), watchdog:
        try:
            await asyncio.sleep(100)
        finally:
            raise ValueError("closing")
    assert cancels() == 0


@on_virtual_clock
async def test_an_end_that_was_swallowed_comes_again() -> None:
    """When the block says that it goes on; else it is taken back with it."""
    watchdog, _ = make(total=10)
    with watchdog:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        watchdog.go_on()
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert (elapsed(), cancels()) == (10, 0)
    watchdog, _ = make(total=10)
    with watchdog:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100)
        watchdog.move()
        await asyncio.sleep(1)
    assert (elapsed(), cancels()) == (21, 0)
    await asyncio.sleep(1)


@on_virtual_clock
async def test_a_block_that_goes_on_in_time_has_its_deadline_moved() -> None:
    """`go_on` is `move` besides."""
    watchdog, deadlines = make(total=100, first_byte=5)
    with watchdog:
        deadlines.sent(loop().time())
        watchdog.go_on()
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert elapsed() == 5


@on_virtual_clock
async def test_another_task_ends_the_block() -> None:
    """By `cancel`; outside of a block that does nothing."""
    watchdog, _ = make(total=10)
    watchdog.cancel()
    await asyncio.sleep(1)
    loop().call_later(3, watchdog.cancel)
    with watchdog:
        await asyncio.sleep(100)
        pytest.fail("it went on")
    assert (elapsed(), cancels()) == (4, 0)


@on_virtual_clock
async def test_clean_up_is_not_cut() -> None:
    """After `rest` no deadline counts."""
    watchdog, _ = make(total=10)
    with watchdog:
        await asyncio.sleep(9)
        watchdog.rest()
        await asyncio.sleep(9)
    assert elapsed() == 18
