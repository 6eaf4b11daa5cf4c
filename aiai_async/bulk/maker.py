"""Makes single items: a key, a request, an answer or an error, its links; each step is durable before the next.

Nothing is sent under a key that is not in the journal. Between an answer and its row not even a cancellation comes:
those who run `make` shield it, and `cut_off` ends what may be cut off, requests and downloads. Which item goes when is
`runner`'s, what becomes of it is decided in `items`.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from typing import Final

import anyio
import anyio.to_thread
import attrs

from aiai_async import AsyncImagesClient, Image, ImagesResponse
from aiai_async._loops import running_loop
from aiai_async.bulk.books import Books
from aiai_async.bulk.calls import Call, CalledBack
from aiai_async.bulk.folder import OpenJob
from aiai_async.bulk.items import Item, Reason, Retry, State, WritingError, judge, keeps_key
from aiai_async.bulk.links import Links
from aiai_async.bulk.outcomes import answer_of, answered, describe, failed, put_back
from aiai_async.bulk.provenance import embed_in
from aiai_async.bulk.records import Ended, Record, Started
from aiai_async.bulk.sink import PartSink
from aiai_async.bulk.waits import Waits
from aiai_async.bulk.watcher import Watcher
from aiai_async.bulk.writer import NotWritten, Writer


class Maker:
    """Makes the items of one run, each by a call of `make`, many at once.

    Args:
        client: sends the requests.
        job: open.
        run: its number.
        retry: which of the items that had ended are taken up again.
        embeds: whether requests are written into the image files.
        books: of the budgets; an item's share is taken before it comes here.
        writer: makes changes durable.
        waits: is told when requests wait.
        limiter: bounds the threads of the job.
        watcher: is told what becomes of the items.
    """

    def __init__(
        self,
        client: AsyncImagesClient,
        job: OpenJob,
        *,
        run: int,
        retry: Retry | None,
        embeds: bool,
        books: Books,
        writer: Writer,
        waits: Waits,
        limiter: anyio.CapacityLimiter,
        watcher: Watcher,
    ) -> None:
        self._client: Final = client
        self._job: Final = job
        self._now: Final = running_loop().time
        self._links: Final = Links(
            client,
            run=run,
            # Each is written at once: of several that are written together none would stay where one can't be.
            make_sink=lambda item, k: self._make_sink(item, k, is_left=False),
            embed=self._embed,
            end=lambda item, change: self._end(item, change, before=State.LINKED),
            on_unwritable=self._stop_for_disk,
        )
        self._base: Final = job.images / "new"
        self._run: Final = run
        self._retry: Final[Retry | None] = retry
        self._embeds: Final = embeds
        self._books: Final = books
        self._writer: Final = writer
        self._waits: Final = waits
        self._limiter: Final = limiter
        self._watcher: Final = watcher
        self._calls: Final[dict[int, Call]] = {}
        """The requests that are sent or wait to be, by their items' indexes."""
        self._begun: Final[dict[int, _Begun]] = {}
        """Items whose keys were written with the end of another one, by their indexes."""
        # A run gives an item one key at most; a random number for each would take 3 us.
        self._keys: Final = uuid.uuid4()
        self.has_sent = False
        """Whether anything was sent or fetched."""
        self.is_stopping = False
        """Whether nothing more may be sent."""

    def send_nothing(self) -> None:
        """Send nothing more; what is here is left as it is, for `cut_off`."""
        self.is_stopping = True

    def call_back(self) -> None:
        """Send nothing more, also of what is here and waits to be let go."""
        self.is_stopping = True
        for call in list(self._calls.values()):
            call.stop_waiting()

    def cut_off(self) -> None:
        """End all requests and downloads at once, and send nothing more; what was answered is still made durable."""
        self.is_stopping = True
        for call in list(self._calls.values()):
            call.cut_off()
        self._links.cut_off()

    @property
    def fetching(self) -> int:
        """Items whose links are being fetched."""
        return self._links.fetching

    def count_waiting(self) -> int:
        """Count the requests that wait to be let go, or for another attempt."""
        return sum(call.is_waiting for call in self._calls.values())

    async def make(self, item: Item) -> Item | None:
        """Send an item and make durable what becomes of it. To be shielded from cancelling; see `cut_off`.

        Returns:
            The item that took its place and is to be made next, since its key is in the journal; None: there is none.

        Raises:
            NotWritten, sqlite3.Error: the journal or the folder can't be written or read.
        """
        begun = self._begun.pop(item.index, None)
        if begun is None and self.is_stopping:
            # After it took its place.
            self._books.give_back(item)
            return None
        self.has_sent = True
        try:
            if begun is None and (begun := await self._begin(item)) is None:
                return None
            return await self._request(begun)
        except CalledBack:
            # Of a download: its answer is in the journal.
            return None

    async def _begin(self, item: Item) -> _Begun | None:
        """Write an item's key; None: it needs no request."""
        if item.state is State.LINKED:
            answer = answer_of(await self._record_of(item.index), at=time.time())
            is_fetched = await self._links.fetch(item, answer)
            again = attrs.evolve(item, state=State.UNKNOWN)
            if is_fetched or self._retry not in ("unknown", "all") or self.is_stopping or not self._books.take(again):
                return None
        is_new = item.state in (State.PENDING, State.UNFINISHED)
        begun = self._give_key(item, earlier=None if is_new else await self._record_of(item.index))
        try:
            await self._writer.write(begun.change)
        except NotWritten:
            await self._put_back_unsent(begun)
            raise
        self._watcher.started(item)
        return begun

    def _give_key(self, item: Item, *, earlier: Record | None) -> _Begun:
        is_same = keeps_key(item.state) and item.key is not None
        key = item.key if is_same and item.key is not None else f"{self._keys}-{item.index}"
        sent = self._books.send(item, is_same=is_same)
        change = Started(
            index=item.index,
            key=key,
            run=self._run,
            spent=sent.spent,
            at=time.time(),
            estimate=sent.estimate,
            spent_cost=sent.spent_cost,
        )
        return _Begun(sent, change, earlier)

    # -- its request

    async def _request(self, begun: _Begun) -> Item | None:
        item = begun.item
        sinks: list[PartSink] = []

        def make_sink(k: int) -> PartSink:
            sinks.append(self._make_sink(item, k, is_left=not self._embeds))
            return sinks[-1]

        started_at = self._now()
        error: Exception | None = None
        response: ImagesResponse | None = None
        call = self._calls[item.index] = Call(self._client, self._waits)
        if self.is_stopping:
            # While its key was written.
            call.stop_waiting()
        try:
            response = await call.send(item, key=begun.change.key, sink=make_sink)
        except CalledBack:
            if item.state is not State.UNFINISHED and not call.is_cut and not call.may_have_been_billed:
                await self._end(item, put_back(item, begun.earlier, at=time.time()), is_put_back=True)
            return None
        except Exception as exc:
            # Whatever it is: let out, it would cut off the others, which are paid for.
            error = exc
        finally:
            del self._calls[item.index]
        if response is not None:
            try:
                return await self._take_answer(item, response, call, sinks)
            except WritingError as exc:
                error = exc
        assert error is not None
        change = failed(
            item,
            error,
            run=self._run,
            at=time.time(),
            elapsed=self._now() - started_at,
            sent_at=call.sent_at,
            was_sent=call.was_sent,
            may_have_been_billed=call.may_have_been_billed,
        )
        await _abort(sinks)
        await self._end(item, change)
        stops = judge(error, was_sent=call.was_sent).stops
        if stops is not None:
            # It concerns all items.
            self._watcher.stop(stops, describe(error))
        return None

    async def _take_answer(
        self, item: Item, response: ImagesResponse, call: Call, sinks: list[PartSink]
    ) -> Item | None:
        received: list[str | None] = []
        if self._embeds:
            received = [image.sha256 for image in response.data]
            images = [await self._embed(item, image) for image in response.data]
            response = attrs.evolve(response, data=tuple(images))
        change = answered(item, response, run=self._run, at=time.time(), sent_at=call.sent_at, received=received)
        kept = {row.part for row in change.rows}
        # Of attempts that failed after some of their images were whole.
        rest = [sink for sink in sinks if sink.path.name not in kept]
        await _abort(rest)
        whole = [sink for sink in sinks if sink not in rest]
        if change.state is State.LINKED:
            await self._end(item, change, sinks=whole)
            linked = attrs.evolve(item, state=State.LINKED, images=change.images, cost=change.cost)
            await self._links.fetch(linked, change)
            return None
        return await self._end_and_follow(item, change, whole)

    async def _end_and_follow(self, item: Item, change: Ended, sinks: list[PartSink]) -> Item | None:
        """Make an end durable, and with it the key of the item that takes the place: one wait for both.

        That is sent only after this one's files have their names. A wait of its own for each takes 7 us more.
        """
        following = self._watcher.follow()
        if following is None:
            await self._end(item, change, sinks=sinks)
            return None
        begun = self._give_key(following, earlier=None)
        try:
            await self._writer.write(change, sinks, following=begun.change)
        except NotWritten:
            await self._put_back_unsent(begun)
            raise
        self._watcher.ended(item, change, before=State.UNFINISHED, is_put_back=False)
        self._watcher.started(following)
        self._begun[following.index] = begun
        return following

    def _make_sink(self, item: Item, k: int, *, is_left: bool) -> PartSink:
        is_left = is_left and self._writer.may_leave()
        return PartSink(self._base, f"{item.index:06d}-{k}", limiter=self._limiter, is_left=is_left)

    async def _embed(self, item: Item, image: Image) -> Image:
        """Write an item's request into an image file, where that is asked for; without it, the image is kept."""
        if not self._embeds:
            return image
        try:
            image = await anyio.to_thread.run_sync(embed_in, image, item.request, limiter=self._limiter)
        except OSError as error:
            self._stop_for_disk(error)
        except Exception as error:
            # Let out, it would cut off the others, and this one would be lost; all are paid for.
            words = f"{describe(error)}: a request could not be written into an image"
            self._watcher.stop(Reason.CONFIGURATION, words)
        return image

    def _stop_for_disk(self, error: OSError) -> None:
        self._watcher.stop(Reason.DISK, f"{self._job.folder} can't be written: {error}")

    # -- the journal

    async def _end(
        self,
        item: Item,
        change: Ended,
        *,
        sinks: list[PartSink] | None = None,
        before: State = State.UNFINISHED,
        is_put_back: bool = False,
    ) -> None:
        await self._writer.write(change, sinks or ())
        self._watcher.ended(item, change, before=before, is_put_back=is_put_back)

    async def _put_back_unsent(self, begun: _Begun) -> None:
        """Put an item back whose key could not be written, or could with a group of which something else failed then.

        Left in the journal, by a rename or a sync that failed after the commit, it would count as maybe billed.
        """
        if begun.item.state is State.UNFINISHED:
            # It may have been, by an earlier run.
            return
        # Where not even this can be written, the run ends as it does anyway, and the next one asks under that key.
        with contextlib.suppress(NotWritten):
            await self._writer.write(put_back(begun.item, begun.earlier, at=time.time()))

    async def _record_of(self, index: int) -> Record:
        return await anyio.to_thread.run_sync(self._job.journal.record_of, index, limiter=self._limiter)


class _Begun:
    """An item whose key is in the journal, or goes there."""

    __slots__ = ("change", "earlier", "item")

    def __init__(self, item: Item, change: Started, earlier: Record | None) -> None:
        self.item: Final = item
        """As it is sent."""
        self.change: Final = change
        self.earlier: Final = earlier
        """What was known of it, where it had ended before."""


async def _abort(sinks: list[PartSink]) -> None:
    for sink in sinks:
        await sink.abort()
