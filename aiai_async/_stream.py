"""An answer as it comes: ImageStream, and what opens one.

Each step reads until there is an event, in a cancel scope of its own: between two steps nothing is open but the
connection, and the server is read no faster than the caller takes its events.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Generator
from types import TracebackType
from typing import Final, Self

import anyio
import attrs

from aiai_async._attempts import Attempts, Opened
from aiai_async._bodies import Body, choose_body
from aiai_async._downloads import Downloader
from aiai_async._errors import APIConnectionError, APIError, APIResponseError, IncompleteStreamError, StreamError
from aiai_async._facts import add_usages
from aiai_async._scheduler import Permit
from aiai_async._schemas import HTTPInfo, ImageCompletedEvent, ImagesResponse, PartialImageEvent, Tariff
from aiai_async._sinks import SinkFactory
from aiai_async._watchdog import Watchdog
from aiai_async.wire import problems
from aiai_async.wire.events import EventFailed, ImageEvent
from aiai_async.wire.problems import Problem


class ImageStream:
    """The events of one streamed answer, and in the end the answer itself.

    It comes from `client.stream(...)` or `await client.generate(..., stream=True)`. Leaving its `async with` block
    early cuts the request at once; whether the server goes on and bills is its own affair. It can be read once, by one
    task; cancelling a step, for instance by a time-out around `anext`, ends it.

    Example:
        async with client.stream("A lighthouse", model="gpt-image-1", partial_images=2) as stream:
            async for event in stream:
                if isinstance(event, PartialImageEvent):
                    await event.image.save(f"partial-{event.partial_image_index}")
            response = await stream.response()
    """

    def __init__(
        self,
        attempts: Attempts,
        *,
        downloader: Downloader,
        tariff: Tariff,
        max_answer_bytes: int,
        asked_for: int,
        sink: SinkFactory | None,
    ) -> None:
        self._attempts: Final = attempts
        self._downloader: Final = downloader
        self._tariff: Final = tariff
        self._max_answer_bytes: Final = max_answer_bytes
        self._asked_for: Final = asked_for
        self._sink: Final = sink
        self._ready: Final[list[ImageEvent]] = []
        """Events that came and were not handed out."""
        self._partial_images: Final[list[PartialImageEvent]] = []
        self._completed: Final[list[ImageCompletedEvent]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._permit: Permit | None = None
        self._opened: Opened | None = None
        self._body: Body | None = None
        self._scope: anyio.CancelScope | Watchdog | None = None
        """The scope of the step that is under way."""
        self._is_over = False
        """Whether nothing more is read: the stream ended, failed, or was closed."""
        self._http: HTTPInfo | None = None
        """How the answer came, once it is whole."""
        self._error: APIError | None = None
        self._is_error_told = False

    @property
    def partial_images(self) -> tuple[PartialImageEvent, ...]:
        """The partial images that were handed out so far."""
        return tuple(self._partial_images)

    @property
    def completed(self) -> tuple[ImageCompletedEvent, ...]:
        """The final images that were handed out so far."""
        return tuple(self._completed)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ImageEvent:
        """Wait for the next event.

        Raises:
            StopAsyncIteration: the stream is over, or was closed by another task.
            IncompleteStreamError: it broke after an event was handed out.
            APIError: it failed before that; or the server said an error.
        """
        if self._scope is not None:
            raise StreamError("the stream is being read by another task already")
        while not self._ready and not self._is_over:
            await self._step()
        if not self._ready:
            if self._error is None or self._is_error_told:
                raise StopAsyncIteration
            self._is_error_told = True
            raise self._error
        event = self._ready.pop(0)
        event = self._downloader.attach_event(event)
        if isinstance(event, PartialImageEvent):
            self._partial_images.append(event)
        else:
            self._completed.append(event)
        return event

    async def response(self) -> ImagesResponse:
        """Give the answer that `generate` without a stream would have given; called early, it reads to the end.

        Its `usage` is the sum of the events', its settings are those of the last.

        Raises:
            StreamError: the stream was closed before its end.
            APIError: the stream failed; the same error again each time.
        """
        async for _ in self:
            pass
        if self._error is not None:
            raise self._error
        if self._http is None:
            opened = self._opened
            raise StreamError(
                "the stream was closed before its end",
                hint="the images so far are in .completed",
                request_id=None if opened is None else problems.find_safe_id(opened.head, opened.redactor),
                attempts=self._attempts.count,
                may_have_been_billed=opened is not None,
            )
        last = self._completed[-1]
        return ImagesResponse(
            data=tuple(event.image for event in self._completed),
            created=last.created_at,
            usage=add_usages(event.usage for event in self._completed if event.usage is not None),
            background=last.background,
            output_format=last.output_format,
            quality=last.quality,
            size=last.size,
            extra=last.extra,
            http=self._http,
            tariff=self._tariff,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Cut the request where it is still under way, and give its connection and its place back.

        A task that waits for the next event sees the stream end. Calling it again does nothing.
        """
        if self._is_over:
            return
        self._is_over = True
        self._ready.clear()
        if self._scope is not None:
            # The reading task is woken and gives everything back itself.
            self._scope.cancel()
            return
        self._attempts.abandon(None)
        await self._give_back()

    async def open(self) -> Self:
        """Wait until the server answers with a 2xx. Called once, by who makes the stream.

        Raises:
            APIError: it didn't.
        """
        self._loop = asyncio.get_running_loop()
        while self._opened is None and not self._is_over:
            await self._step()
        if self._error is not None:
            self._is_error_told = True
            raise self._error
        return self

    def __del__(self) -> None:
        permit: Permit | None = getattr(self, "_permit", None)
        if permit is None:
            return
        # Before the warning, which may be an error; and on the loop that both belong to, which may have ended.
        self._permit = None
        give_back = [permit.release] if self._opened is None else [self._opened.response.close, permit.release]
        for each in give_back:
            with contextlib.suppress(RuntimeError):
                if _is_running(self._loop):
                    each()
                elif self._loop is not None:
                    self._loop.call_soon_threadsafe(each)
        warnings.warn(
            "an ImageStream was neither read to its end nor closed; use `async with`",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )

    async def _step(self) -> None:
        """Open the stream where it is not open, else read until there is an event or the stream is over."""
        if self._permit is None:
            with self._closable():
                self._permit = await self._attempts.wait_for_permit()
            if self._is_over:
                await self._give_back()
                return
        self._attempts.resume()
        problem: Problem | None = None
        is_in_time = False
        try:
            with self._attempts.in_time as self._scope:
                problem = await (self._open() if self._opened is None else self._read(self._opened))
                is_in_time = True
        except BaseException as error:
            self._is_over = True
            self._attempts.abandon(error)
            await self._give_back()
            raise
        finally:
            self._scope = None
            self._attempts.suspend()
        if self._is_over:
            await self._settle_after_close()
        elif problem is not None or not is_in_time:
            try:
                await self._settle(problem or Problem(error=self._attempts.describe_timeout()))
            except BaseException:
                self._is_over = True
                raise

    @contextlib.contextmanager
    def _closable(self) -> Generator[None]:
        """Run the block until it ends, or `aclose` is called."""
        with anyio.CancelScope() as self._scope:
            try:
                yield
            finally:
                self._scope = None

    async def _open(self) -> Problem | None:
        opened = await self._attempts.open()
        if isinstance(opened, Problem):
            return opened
        self._opened = opened
        return None

    async def _read(self, opened: Opened) -> Problem | None:
        """Read a piece of the body into `_ready`, and give what went wrong."""
        try:
            if self._body is None:
                self._body = await choose_body(
                    opened.response,
                    opened.head,
                    redactor=opened.redactor,
                    clock=self._attempts,
                    max_bytes=self._max_answer_bytes,
                    asked_for=self._asked_for,
                    sink=self._sink,
                )
            if await self._body.read(self._ready):
                return None
        except EventFailed as failed:
            return failed.problem
        except APIConnectionError as error:
            return Problem(error=error)
        except APIResponseError as error:
            text = b"" if self._body is None else self._body.text
            named = problems.name_answer(error, opened.head, text, redactor=opened.redactor)
            return Problem(error=named, status=opened.head.status)
        incomplete = self._body.explain_end(None, asked_for=self._asked_for)
        if incomplete is not None:
            return Problem(error=incomplete, status=opened.head.status)
        await self._finish(opened)
        return None

    async def _settle(self, problem: Problem) -> None:
        """Decide what an attempt's failure means: the end, or another attempt where no image was there yet."""
        error: APIError | None = problem.error
        body, opened = self._body, self._opened
        if body is not None and opened is not None and isinstance(error, (APIConnectionError, APIResponseError)):
            body.give_up(self._ready)
            error = body.explain_end(error, asked_for=self._asked_for)
            if error is None:
                await self._finish(opened)
                return
        await self._give_back()
        assert error is not None
        if isinstance(error, IncompleteStreamError):
            attach = self._downloader.attach_event
            error.partial_images = tuple(map(attach, body.partial_images if body else ()))
            error.completed = tuple(map(attach, body.completed if body else ()))
        if self._is_over:
            # Closed by another task meanwhile.
            self._ready.clear()
            return
        if body is not None and body.has_begun:
            self._attempts.fail_finally(error)
            self._is_over, self._error = True, error
            return
        try:
            delay = self._attempts.fail(attrs.evolve(problem, error=error))
        except APIError as final:
            self._is_over, self._error = True, final
            return
        self._opened = self._body = None
        with self._closable():
            await anyio.sleep(delay)

    async def _settle_after_close(self) -> None:
        """Give everything back where the step ended the stream, or another task closed it meanwhile."""
        if self._http is None:
            self._ready.clear()
            self._attempts.abandon(None)
        await self._give_back()

    async def _finish(self, opened: Opened) -> None:
        self._is_over = True
        self._http = self._attempts.describe(opened)
        self._attempts.succeed(opened, self._http)
        events = self._body.completed if self._body is not None else ()
        self._attempts.measure(add_usages(event.usage for event in events if event.usage is not None))
        await self._give_back()

    async def _give_back(self) -> None:
        """Give back the connection and the place, once; and have a sink that is not finished throw away what came."""
        permit, self._permit = self._permit, None
        if permit is None:
            return
        if self._opened is not None:
            self._opened.response.close()
        permit.release()
        if self._body is not None:
            await self._body.abort()


def _is_running(loop: asyncio.AbstractEventLoop | None) -> bool:
    """Tell whether a loop runs in this thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
