"""Sends the items of an open job and makes their answers durable; what is decided about them is decided in `items`.

An item holds its place from before it is sent until its files are durable. Nothing is sent under a key that is not in
the journal; between an answer and its row not even a cancellation comes.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
import anyio.to_thread
import attrs
from anyio.abc import TaskGroup

from aiai_async import AsyncImagesClient, DownloadError, Image, ImagesResponse
from aiai_async.bulk import limits
from aiai_async.bulk.books import Books
from aiai_async.bulk.budgets import Exhausted
from aiai_async.bulk.calls import Call, CalledBack
from aiai_async.bulk.errors import JobError
from aiai_async.bulk.folder import OpenJob
from aiai_async.bulk.items import (
    Item,
    Reason,
    Retry,
    State,
    Tally,
    WritingError,
    judge,
    keeps_key,
    takes_up,
)
from aiai_async.bulk.keys import watch_key
from aiai_async.bulk.listeners import Listeners, OnItem, OnProgress
from aiai_async.bulk.outcomes import answer_of, answered, describe, describe_error, failed, put_back, to_row
from aiai_async.bulk.progress import Progress, Speed, measure
from aiai_async.bulk.provenance import Provenance, embed_in
from aiai_async.bulk.records import Ended, ImageRow, Record, RunRow, Started
from aiai_async.bulk.room import Room
from aiai_async.bulk.sink import PartSink
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
        self._embeds: Final = provenance.embed
        self._writer: Final = Writer(
            self._journal,
            job.images,
            reserve=self._reserve,
            has_sidecars=provenance.sidecar,
            limiter=self._limiter,
        )
        self._room: Final = Room(job.folder)
        self._tally: Final = Tally(self._journal.count(), images=self._journal.count_images())
        self._books: Final = Books(self._journal, client.prices, max_images=max_images, max_cost=max_cost)
        self._run: Final = self._journal.begin_run()
        self._run_row = RunRow(run=self._run)
        self._waits: Final = Waits()
        self._scope: Final = anyio.CancelScope()
        self._changed = anyio.Event()
        self._in_flight = 0
        self._calls: Final[dict[int, Call]] = {}
        """The requests that are sent or wait to be, by their items' indexes."""
        self._fetching = 0
        self._expected_images = 0
        self._held_by: str | None = None
        """Why the next item waits for those in flight, in words; None: it doesn't, or only for a place."""
        self._started_at = anyio.current_time()
        self._speed: Final = Speed(now=self._started_at)
        self.reason: Reason = Reason.FINISHED
        """Why the run ended."""
        self.message: str | None = None
        """The same in words, where they say more."""
        self.exhausted: Exhausted | None = None
        """The budget that ended the run, where one did."""
        self.has_sent = False
        """Whether anything was sent or fetched."""
        self._is_stopped = False

    def stop(self, reason: Reason, message: str | None = None) -> None:
        """Send nothing more; what is in flight is finished. The first reason stays."""
        if not self._is_stopped:
            self._is_stopped = True
            self.reason, self.message = reason, message
            for call in list(self._calls.values()):
                call.stop_waiting()
        self._wake()

    def abort(self) -> None:
        """Cut off what is in flight."""
        self._is_stopped, self.reason, self.message = True, Reason.ABORTED, None
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
            with self._scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._listeners.listen)
                    async with anyio.create_task_group() as items:
                        await self._send_all(items)
                    tasks.cancel_scope.cancel()
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

    def _note_run(self) -> None:
        """Have the journal know how the run goes; it is written with the next change."""
        row = attrs.evolve(
            self._run_row,
            refusals=self._waits.refusals,
            waited=round(self._waits.seconds(now=anyio.current_time()), 3),
        )
        self._journal.note_run(row)

    def _measure(self) -> Progress:
        return measure(
            self._tally,
            self._speed,
            in_flight=self._in_flight - self._count_waiting(),
            fetching=self._fetching,
            started_at=self._started_at,
            now=anyio.current_time(),
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
            async for item in self._admit():
                items.start_soon(self._work, item)
        except sqlite3.Error as error:
            self.stop(Reason.DISK, f"{self._journal.path} can't be read: {error}")

    async def _admit(self) -> AsyncIterator[Item]:
        """Give the items that may be sent now, one after another, each with its place taken."""
        for states in ((State.UNFINISHED, State.LINKED), takes_up(self._retry)):
            after = -1
            while page := await self._read_page(states, after):
                for item in page:
                    if not await self._take_place(item):
                        return
                    yield item
                after = page[-1].index

    async def _read_page(self, states: tuple[State, ...], after: int) -> list[Item]:
        return await anyio.to_thread.run_sync(
            lambda: self._journal.page(states, after=after, run=self._run, limit=_PAGE), limiter=self._limiter
        )

    async def _take_place(self, item: Item) -> bool:
        """Wait until an item may be sent; False: nothing more may be."""
        while not self._is_stopped:
            if self._in_flight < self._concurrency:
                has_room = self._room.is_there_for(self._expected_images + item.n, now=anyio.current_time())
                if has_room and self._books.take(item):
                    self._held_by = None
                    self._in_flight += 1
                    self._expected_images += item.n
                    return True
                if self._in_flight == 0:
                    self._stop_for_want(has_room, item)
                    return False
                self._held_by = self._books.describe_hold(item) if has_room else "the disk is nearly full"
            # Whatever ends may give back some of the budget, or a place.
            await self._changed.wait()
        return False

    def _stop_for_want(self, has_room: bool, item: Item) -> None:
        if has_room:
            self.exhausted, words = self._books.explain(item)
            self.stop(Reason.BUDGET, words)
        else:
            self.stop(Reason.DISK, f"the disk of {self._job.folder} is nearly full: {self._room.describe()}")

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # -- one item

    async def _work(self, item: Item) -> None:
        try:
            await self._make(item)
        except (NotWritten, sqlite3.Error) as error:
            self.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")
        finally:
            self._in_flight -= 1
            self._expected_images -= item.n
            self._wake()
            self._listeners.progressed_again()

    async def _make(self, item: Item) -> None:
        if self._is_stopped:
            # After it took its place.
            self._books.give_back(item)
            return
        self.has_sent = True
        if item.state is State.LINKED:
            answer = answer_of(await self._record_of(item.index), at=time.time())
            is_fetched = await self._fetch_links(item, answer)
            again = attrs.evolve(item, state=State.UNKNOWN)
            if is_fetched or self._retry not in ("unknown", "all") or self._is_stopped or not self._books.take(again):
                return
        is_same = keeps_key(item.state) and item.key is not None
        key = item.key if is_same and item.key is not None else str(uuid.uuid4())
        sent = self._books.send(item, is_same=is_same)
        is_new = item.state in (State.PENDING, State.UNFINISHED)
        earlier = None if is_new else await self._record_of(item.index)
        await self._writer.write(
            Started(
                index=item.index,
                key=key,
                run=self._run,
                spent=sent.spent,
                at=time.time(),
                estimate=sent.estimate,
                spent_cost=sent.spent_cost,
            )
        )
        self._tally.move(item.state, State.UNFINISHED)
        await self._request(sent, key, earlier)

    async def _request(self, item: Item, key: str, earlier: Record | None) -> None:
        sinks: list[PartSink] = []

        def make_sink(k: int) -> PartSink:
            sinks.append(PartSink(self._job.images, f"{item.index:06d}-{k}", limiter=self._limiter))
            return sinks[-1]

        started_at = anyio.current_time()
        error: Exception | None = None
        response: ImagesResponse | None = None
        call = self._calls[item.index] = Call(self._client, self._waits)
        if self._is_stopped:
            # While its key was written.
            call.stop_waiting()
        try:
            response = await call.send(item, key=key, sink=make_sink)
        except CalledBack:
            if item.state is not State.UNFINISHED and not call.may_have_been_billed:
                await self._note(item, put_back(item, earlier, at=time.time()), is_put_back=True)
            return
        except Exception as exc:
            # Whatever it is: let out, it would cut off the others, which are paid for.
            error = exc
        finally:
            del self._calls[item.index]
        if response is not None:
            received = [image.sha256 for image in response.data]
            images = [await self._embed(item, image) for image in response.data]
            response = attrs.evolve(response, data=tuple(images))
            change = answered(item, response, run=self._run, at=time.time(), sent_at=call.sent_at, received=received)
        else:
            assert error is not None
            elapsed = anyio.current_time() - started_at
            change = failed(
                item,
                error,
                run=self._run,
                at=time.time(),
                elapsed=elapsed,
                sent_at=call.sent_at,
                was_sent=call.was_sent,
                may_have_been_billed=call.may_have_been_billed,
            )
        kept = {row.part for row in change.rows}
        with anyio.CancelScope(shield=True):
            for sink in sinks:
                # Of attempts that failed after some of their images were whole.
                if sink.path.name not in kept:
                    await sink.abort()
            await self._note(item, change)
        if error is not None:
            self._stop_after(error, was_sent=call.was_sent)
        if change.state is State.LINKED:
            linked = attrs.evolve(item, state=State.LINKED, images=change.images, cost=change.cost)
            await self._fetch_links(linked, change)

    async def _fetch_links(self, item: Item, answer: Ended) -> bool:
        """Fetch the images of an answer that are only links yet; tell whether all are here."""
        self._fetching += 1
        try:
            return await self._fetch_rows(item, answer)
        finally:
            self._fetching -= 1

    async def _fetch_rows(self, item: Item, answer: Ended) -> bool:
        fetched: list[ImageRow] = []
        error: Exception | None = None
        for row in answer.rows:
            if row.name is not None:
                continue
            try:
                if row.url is None:
                    raise DownloadError("the image is neither here nor behind a link")
                received = await self._client.download(row.url, sink=self._make_sinks(item, row.k))
                image = await self._embed(item, received)
            except Exception as exc:
                # The others are fetched all the same: links expire.
                error = exc
                continue
            image = attrs.evolve(image, revised_prompt=row.revised_prompt)
            fetched.append(to_row(item, row.k, image, received=received.sha256))
        is_whole = error is None
        with anyio.CancelScope(shield=True):
            change = attrs.evolve(
                answer,
                state=State.DONE if is_whole else State.LINKED,
                at=time.time(),
                run=self._run,
                images=len(answer.rows),
                rows=tuple(fetched),
                is_answer=False,
                error=None if error is None else describe_error(error),
            )
            linked = attrs.evolve(item, state=State.LINKED, images=len(answer.rows), cost=answer.cost)
            await self._note(linked, change, before=State.LINKED)
        if isinstance(error, WritingError):
            self.stop(Reason.DISK, f"{self._job.folder} can't be written: {error.cause}")
        return is_whole

    async def _embed(self, item: Item, image: Image) -> Image:
        """Write an item's request into an image file, where that is asked for; without it, the image is kept."""
        if not self._embeds:
            return image
        # Between an answer and its row not even a cancellation comes.
        with anyio.CancelScope(shield=True):
            try:
                image = await anyio.to_thread.run_sync(embed_in, image, item.request, limiter=self._limiter)
            except OSError as error:
                self.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")
            except Exception as error:
                # Let out, it would cut off the others, and this one would be lost; all are paid for.
                self.stop(Reason.CONFIGURATION, f"{describe(error)}: a request could not be written into an image")
        return image

    def _make_sinks(self, item: Item, k: int) -> Callable[[int], PartSink]:
        return lambda _: PartSink(self._job.images, f"{item.index:06d}-{k}", limiter=self._limiter)

    async def _record_of(self, index: int) -> Record:
        return await anyio.to_thread.run_sync(self._journal.record_of, index, limiter=self._limiter)

    # -- what became of it

    async def _note(
        self, item: Item, change: Ended, *, before: State = State.UNFINISHED, is_put_back: bool = False
    ) -> None:
        """Make an end durable, then count it and tell of it; one that was only put back is no news."""
        self._note_run()
        await self._writer.write(change)
        self._tally.move(before, change.state, images=change.images)
        self._books.settle(item, change, before=before, is_put_back=is_put_back)
        for row in change.rows:
            self._room.note(row.size_bytes)
        if is_put_back:
            return
        if change.state is not State.LINKED or change.error is not None:
            self._speed.note(images=change.images if change.state is State.DONE else 0, now=anyio.current_time())
            self._listeners.ended(item, change)

    def _stop_after(self, error: Exception, *, was_sent: bool) -> None:
        """Send nothing more where an error concerns all items."""
        stops = judge(error, was_sent=was_sent).stops
        if stops is not None:
            self.stop(stops, describe(error))

    def _count_waiting(self) -> int:
        return sum(call.is_waiting for call in self._calls.values())

    def _describe_waiting(self) -> str | None:
        if self._is_stopped and self._in_flight:
            return f"stopping: {self._in_flight:,} in flight are finished first"
        reason = limits.describe_waiting(self._client)
        if reason is None and (waiting := self._count_waiting()):
            return f"{waiting:,} waiting for a place or another attempt"
        if reason is None and self._held_by is not None:
            return f"waiting for what is in flight: {self._held_by}"
        return reason
