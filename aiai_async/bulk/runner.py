"""One run of an open job: which item goes when, how far it is, why it ends. What is done with an item is `maker`'s.

An item holds its place from before it is sent until its files are durable.
"""

from __future__ import annotations

import sqlite3
import time
from collections import deque
from typing import Final

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from aiai_async import AsyncImagesClient
from aiai_async._loops import running_loop
from aiai_async.bulk import limits
from aiai_async.bulk.books import Books
from aiai_async.bulk.budgets import Exhausted
from aiai_async.bulk.errors import JobError
from aiai_async.bulk.folder import OpenJob
from aiai_async.bulk.items import Item, Reason, Retry, State, Tally, takes_up
from aiai_async.bulk.keys import watch_key
from aiai_async.bulk.listeners import Listeners, OnItem, OnProgress
from aiai_async.bulk.maker import Maker
from aiai_async.bulk.progress import Progress, Speed, measure
from aiai_async.bulk.provenance import Provenance
from aiai_async.bulk.records import Ended, RunRow
from aiai_async.bulk.room import Room
from aiai_async.bulk.waits import Waits
from aiai_async.bulk.writer import NotWritten, Reserve, Writer

_PAGE: Final = 100
# Threads that write: enough for a disk, and the program's own threads are not taken from it.
_THREADS: Final = 16


class Runner:
    """One run of a job, by `run`, once.

    Args:
        client: sends the requests.
        job: open; it is not closed here.
        concurrency: items in flight at once.
        max_images: images that all runs of the job may cost; None is no limit.
        max_cost: US dollars that all runs of the job may cost; None is no limit.
        retry: which of the items that had ended are taken up again.
        provenance: what is written of where the images come from.
        on_progress: is told how far the job is.
        on_item: is told of each item that ends.
    """

    def __init__(
        self,
        client: AsyncImagesClient,
        job: OpenJob,
        *,
        concurrency: int,
        max_images: int | None,
        max_cost: float | None,
        retry: Retry | None,
        provenance: Provenance,
        on_progress: OnProgress | None,
        on_item: OnItem | None,
    ) -> None:
        # A job waits as long as a limit takes.
        self._client: Final = watch_key(client).with_options(retry=attrs.evolve(client.retry, max_retry_after=None))
        self._job: Final = job
        self._journal: Final = job.journal
        self._concurrency: Final = concurrency
        self._retry: Final[Retry | None] = retry
        self._listeners: Final = Listeners(
            on_progress,
            on_item,
            measure=self._measure,
            # What is in flight is paid for: it is finished before the error goes on its way.
            on_error=lambda: self.stop(Reason.STOPPED, "a callback raised"),
        )
        self._limiter: Final = anyio.CapacityLimiter(_THREADS)
        self._reserve: Final = Reserve(job.folder)
        self._writer: Final = Writer(
            self._journal,
            job.images,
            reserve=self._reserve,
            has_sidecars=provenance.sidecar,
            limiter=self._limiter,
            on_group=self._note_run,
        )
        self._room: Final = Room(job.folder)
        self._tally: Final = Tally(self._journal.count(), images=self._journal.count_images())
        self._books: Final = Books(self._journal, client.prices, max_images=max_images, max_cost=max_cost)
        self._run: Final = self._journal.begin_run()
        self._run_row = RunRow(run=self._run)
        self._waits: Final = Waits()
        self._maker: Final = Maker(
            self._client,
            job,
            run=self._run,
            retry=retry,
            embeds=provenance.embed,
            books=self._books,
            writer=self._writer,
            waits=self._waits,
            limiter=self._limiter,
            watcher=self,
        )
        self._ready: Final[deque[Item]] = deque()
        """Items that go next."""
        self._left = 0
        """With so few of them more are wanted."""
        self._scope: Final = anyio.CancelScope()
        self._changed: anyio.Event | None = None
        """What whoever sends waits for."""
        self._in_flight = 0
        self._expected_images = 0
        self._held_by: str | None = None
        """Why the next item waits for those in flight, in words; None: it doesn't, or only for a place."""
        # anyio.current_time() finds out first what kind of loop runs: 0.5 us, ten times an item.
        self._now: Final = running_loop().time
        self._started_at = self._now()
        self._speed: Final = Speed(now=self._started_at)
        self.reason: Reason = Reason.FINISHED
        """Why the run ended."""
        self.message: str | None = None
        """The same in words, where they say more."""
        self.exhausted: Exhausted | None = None
        """The budget that ended the run, where one did."""

    @property
    def has_sent(self) -> bool:
        """Whether anything was sent or fetched."""
        return self._maker.has_sent

    @property
    def _is_stopped(self) -> bool:
        return self._maker.is_stopping

    def stop(self, reason: Reason, message: str | None = None) -> None:
        """Send nothing more; what is in flight is finished. The first reason stays."""
        if not self._is_stopped:
            self.reason, self.message = reason, message
            self._maker.call_back()
        self._wake()

    def abort(self) -> None:
        """Cut off what is in flight."""
        self.reason, self.message = Reason.ABORTED, None
        self._maker.send_nothing()
        self._scope.cancel()

    async def run(self) -> None:
        """Send what there is to send and wait for it.

        Raises:
            Exception: what a callback raised, after what was in flight is finished.
        """
        self._run_row = attrs.evolve(self._run_row, started_at=time.time())
        self._note_run()
        try:
            await anyio.to_thread.run_sync(self._prepare, limiter=self._limiter)
            async with anyio.create_task_group() as writing:
                writing.start_soon(self._writer.run)
                try:
                    await self._run_in_scope()
                finally:
                    self._writer.close()
        except (sqlite3.Error, OSError) as error:
            self.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")
        except JobError:
            # Before anything was sent: nobody cut it off.
            self.reason = Reason.CONFIGURATION
            raise
        except BaseException:
            self.reason = Reason.ABORTED
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._reserve.give_up, limiter=self._limiter)
            self._run_row = attrs.evolve(self._run_row, ended_at=time.time(), reason=self.reason.value)
            self._note_run()
        await self._listeners.finish()

    async def _run_in_scope(self) -> None:
        with self._scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._listeners.listen)
                async with anyio.create_task_group() as items:
                    try:
                        await self._send_all(items)
                        while self._in_flight:
                            await self._wait_for_change()
                    except BaseException:
                        # Cancelled, which those who work are shielded from.
                        self._maker.cut_off()
                        raise
                tasks.cancel_scope.cancel()

    def _note_run(self) -> None:
        """Have the journal know how the run goes; it is written with the next change."""
        row = attrs.evolve(
            self._run_row,
            refusals=self._waits.refusals,
            waited=round(self._waits.seconds(now=self._now()), 3),
        )
        self._journal.note_run(row)

    def _measure(self) -> Progress:
        return measure(
            self._tally,
            self._speed,
            in_flight=self._in_flight - self._maker.count_waiting(),
            fetching=self._maker.fetching,
            started_at=self._started_at,
            now=self._now(),
            limit=limits.images_per_minute(self._client),
            waiting=self._describe_waiting(),
            spending=self._books.spending,
        )

    def _prepare(self) -> None:
        self._books.open((State.UNFINISHED, *takes_up(self._retry)))
        self._journal.apply([], run=self._run)
        self._reserve.take()

    # -- what goes next

    async def _send_all(self, items: TaskGroup) -> None:
        try:
            for states in ((State.UNFINISHED, State.LINKED), takes_up(self._retry)):
                after = -1
                while not self._is_stopped and (page := await self._read_page(states, after)):
                    after = page[-1].index
                    self._ready.extend(page)
                    # The next page is read while the rest of this one is sent.
                    await self._send(items, left=_PAGE // 2)
            await self._send(items, left=0)
        except sqlite3.Error as error:
            self.stop(Reason.DISK, f"{self._journal.path} can't be read: {error}")

    async def _read_page(self, states: tuple[State, ...], after: int) -> list[Item]:
        return await anyio.to_thread.run_sync(
            lambda: self._journal.page(states, after=after, run=self._run, limit=_PAGE), limiter=self._limiter
        )

    async def _send(self, items: TaskGroup, *, left: int) -> None:
        """See to it that what is ready is sent, until only so many are left or nothing more may be sent."""
        self._left = left
        while not self._is_stopped and len(self._ready) > left:
            if (item := self._take_next()) is not None:
                items.start_soon(self._work, item)
            elif not self._is_stopped:
                # Whatever ends may give back some of the budget, or a place.
                await self._wait_for_change()

    def _take_next(self) -> Item | None:
        """Give the next item if it may be sent now, with its place taken."""
        if self._is_stopped or not self._ready or self._in_flight >= self._concurrency:
            return None
        item = self._ready[0]
        has_room = self._room.is_there_for(self._expected_images + item.n, now=self._now())
        if has_room and self._books.take(item):
            self._held_by = None
            self._in_flight += 1
            self._expected_images += item.n
            return self._ready.popleft()
        if self._in_flight == 0:
            self._stop_for_want(has_room, item)
        else:
            self._held_by = self._books.describe_hold(item) if has_room else "the disk is nearly full"
        return None

    def _stop_for_want(self, has_room: bool, item: Item) -> None:
        if has_room:
            self.exhausted, words = self._books.explain(item)
            self.stop(Reason.BUDGET, words)
        else:
            self.stop(Reason.DISK, f"the disk of {self._job.folder} is nearly full: {self._room.describe()}")

    async def _wait_for_change(self) -> None:
        self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()

    async def _work(self, item: Item | None) -> None:
        """Make an item, and those that take its place.

        A task for each would take 20 us, a fifth of a request, and a shield around each write 8.
        """
        with anyio.CancelScope(shield=True):
            while item is not None:
                following: Item | None = None
                try:
                    following = await self._maker.make(item)
                except (NotWritten, sqlite3.Error) as error:
                    self.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")
                finally:
                    self._in_flight -= following is None
                    self._expected_images -= item.n
                    self._listeners.progressed_again(now=self._now())
                item = following or self._take_next()
                if item is None or self._in_flight < self._concurrency or len(self._ready) <= self._left:
                    self._wake()

    # -- what became of it; see `watcher`

    def started(self, item: Item) -> None:
        """Count an item that is sent next."""
        self._tally.move(item.state, State.UNFINISHED)

    def ended(self, item: Item, change: Ended, *, before: State, is_put_back: bool) -> None:
        """Count an item that ended, durably, and tell of it."""
        self._tally.move(before, change.state, images=change.images)
        self._books.settle(item, change, before=before, is_put_back=is_put_back)
        for row in change.rows:
            self._room.note(row.size_bytes)
        if is_put_back:
            return
        if change.state is not State.LINKED or change.error is not None:
            self._speed.note(images=change.images if change.state is State.DONE else 0, now=self._now())
            self._listeners.ended(item, change)

    def follow(self) -> Item | None:
        """Give an item to take the place of one that is about to end; see `watcher`."""
        if self._is_stopped or not self._ready or self._books.has_budget:
            # Of a budget the end may give back something, or tell that images cost more.
            return None
        item = self._ready[0]
        images = self._expected_images + item.n
        is_new = item.state is State.PENDING
        if not is_new or not self._room.is_there_for(images, now=self._now()) or not self._books.take(item):
            return None
        self._expected_images = images
        return self._ready.popleft()

    def _describe_waiting(self) -> str | None:
        if self._is_stopped and self._in_flight:
            return f"stopping: {self._in_flight:,} in flight are finished first"
        reason = limits.describe_waiting(self._client)
        if reason is None and (waiting := self._maker.count_waiting()):
            return f"{waiting:,} waiting for a place or another attempt"
        if reason is None and self._held_by is not None:
            return f"waiting for what is in flight: {self._held_by}"
        return reason
