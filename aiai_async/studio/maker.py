"""Makes the images of runs: a task each, which is cut by leaving the stream's block.

It knows the client and the runs, nothing of HTTP: whoever wants to know is told by a function that something changed.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import anyio

from aiai_async import (
    AsyncImagesClient,
    DownloadError,
    Image,
    ImageRequest,
    ImagesResponse,
    PartialImageEvent,
)
from aiai_async._log import LOGGER
from aiai_async._shared import CALL_WATCH, CallWatch
from aiai_async.studio.choices import streams
from aiai_async.studio.gallery import Gallery, Picture
from aiai_async.studio.limits import describe_limits
from aiai_async.studio.runs import Failure, History, Run, describe_error

_SECONDS_TO_CUT: Final = 5.0

CUT_BY_USER: Final = "Cut off here"
CUT_WITH_TAB: Final = "Cut off: the tab that began it was closed"
CUT_AT_END: Final = "Cut off: the studio was stopped"


class Maker:
    """Makes runs, and remembers them.

    Args:
        client: sends the requests.
        gallery: keeps the pictures.
        on_change: is called with a run's id when something about it changed, also when it is forgotten.
    """

    def __init__(self, client: AsyncImagesClient, gallery: Gallery, on_change: Callable[[str], None]) -> None:
        self._client: Final = client
        self._gallery: Final = gallery
        self._on_change: Final = on_change
        self.history: Final = History()
        self._tasks: Final[dict[str, asyncio.Task[None]]] = {}
        self._scopes: Final[dict[str, anyio.CancelScope]] = {}
        self._cuts: Final[dict[str, str]] = {}
        """Why runs are being cut off."""

    def start(self, request: ImageRequest, *, tab: str) -> Run:
        """Begin a run of a request that is checked; a client has room for all that a person starts."""
        run = Run(
            id=secrets.token_urlsafe(12),
            number=self.history.count + 1,
            tab=tab,
            request=request,
            streams=streams(request),
            now=anyio.current_time(),
            began_at=time.time(),
        )
        for old in self.history.add(run):
            self._drop(old)
        self._scopes[run.id] = scope = anyio.CancelScope()
        self._tasks[run.id] = task = asyncio.create_task(self._run(run, scope))
        task.add_done_callback(lambda _: self._tasks.pop(run.id))
        self._on_change(run.id)
        return run

    def cut(self, run: Run, reason: str) -> None:
        """Cut a run off; one that has ended stays as it is."""
        scope = self._scopes.get(run.id)
        if scope is None or run.id in self._cuts:
            return
        self._cuts[run.id] = reason
        scope.cancel()

    def cut_tab(self, tab: str) -> None:
        """Cut off what a tab began."""
        for run in self.history.running(tab):
            self.cut(run, CUT_WITH_TAB)

    def forget(self, run: Run) -> None:
        """Forget a run that has ended, with its pictures."""
        self.history.remove(run)
        self._drop(run)

    async def aclose(self) -> None:
        """Cut off everything, and wait until that is done."""
        for run in self.history.running():
            self.cut(run, CUT_AT_END)
        tasks = tuple(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_SECONDS_TO_CUT)

    def describe_limits(self) -> dict[str, Any]:
        """Give what the scheduler knows; Any: it is JSON."""
        return describe_limits(self._client.limits, self.history.running(), dt.datetime.now(dt.UTC))

    def _drop(self, run: Run) -> None:
        for name in run.names:
            self._gallery.drop(name)
        self._on_change(run.id)

    # -- one run

    async def _run(self, run: Run, scope: anyio.CancelScope) -> None:
        response: ImagesResponse | None = None
        watch = CallWatch(on_begin=lambda: self._note_wait(run, False), on_pause=lambda: self._note_wait(run, True))
        # In the task's own context: no other run is watched by it.
        CALL_WATCH.set(watch)
        with scope:
            try:
                response = await (self._stream(run) if run.streams else self._generate(run))
            except Exception as error:
                # Whatever it is: it is this run's, and the page says it.
                LOGGER.debug("run %d failed", run.number, exc_info=error)
                run.fail(describe_error(error))
        del self._scopes[run.id]
        now = anyio.current_time()
        reason = self._cuts.pop(run.id, None)
        if response is not None:
            # An answer of links of which none could be fetched is none to whoever looks.
            run.finish("done" if any(run.names) else "failed", now=now, response=response)
        elif scope.cancelled_caught and reason is not None:
            # Asked only now: between being cut and noticing it an attempt may still have been let go.
            run.fail(describe_cut(reason, watch, retries_ambiguous=self._client.retry.retry_ambiguous))
            run.finish("cut", now=now)
        else:
            run.finish("failed", now=now)
        self._on_change(run.id)

    def _note_wait(self, run: Run, is_waiting: bool) -> None:
        run.is_waiting = is_waiting
        self._on_change(run.id)

    async def _stream(self, run: Run) -> ImagesResponse:
        async with self._client.stream(run.request) as stream:
            run.is_answered = True
            self._on_change(run.id)
            async for event in stream:
                partial = event.partial_image_index if isinstance(event, PartialImageEvent) else None
                await self._take(run, event.image, partial=partial)
            return await stream.response()

    async def _generate(self, run: Run) -> ImagesResponse:
        response = await self._client.generate(run.request)
        run.is_answered = True
        for image in response.data:
            await self._take(run, image)
        return response

    async def _take(self, run: Run, image: Image, *, partial: int | None = None) -> None:
        """Keep a picture; one behind a link that can't be fetched is a failure of its own, and hurts no other."""
        try:
            content = await image.read()
        except DownloadError as error:
            words = f"the image was made and paid for, but its link can't be fetched: {error}"
            run.fail(Failure(type="DownloadError", message=words, link=image.url))
            self._on_change(run.id)
            return
        picture = Picture(content, Image(content=content).media_type)
        name, dropped = self._gallery.put(picture)
        for old in dropped:
            for other in self.history:
                if other.forget(old):
                    self._on_change(other.id)
        run.add(
            name,
            partial=partial,
            media_type=picture.media_type,
            size_bytes=len(content),
            now=anyio.current_time(),
        )
        self._on_change(run.id)


def describe_cut(reason: str, watch: CallWatch, *, retries_ambiguous: bool) -> Failure:
    """Say what it means that a run was cut off.

    Args:
        reason: why it was.
        watch: what became of its attempts.
        retries_ambiguous: whether what may have been billed is tried again, and not only what was refused.
    """
    if not watch.was_under_way:
        return Failure(type="Cut", message=f"{reason} while it waited: nothing was sent.")
    if not watch.is_under_way and not retries_ambiguous:
        words = " while it waited to be tried again: what was sent was refused, which costs nothing."
        return Failure(type="Cut", message=f"{reason}{words}")
    return Failure(type="Cut", message=f"{reason}; it may be billed all the same.", may_have_been_billed=True)
