"""Many requests at once: Batch, the results it gives as they finish, and what ends it.

One task reads the requests and starts a task for each, never more than a bound ahead of what was handed out. Those
tasks belong to a task of the batch's own: between two steps of the iterator nothing of the caller's is open, so a batch
can be used inside an async generator, and an exception of the block stays what it is. How a request is made is a
function that is given; this module knows nothing of attempts or connections.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, NoReturn, Self, cast

import anyio
import anyio.lowlevel
import attrs

from aiai_async._errors import AIAIError, ConfigurationError, InvalidRequestError, QuotaExceededError
from aiai_async._log import LOGGER
from aiai_async._loops import running_loop
from aiai_async._models import refuse
from aiai_async._schemas import ImageRequest, ImagesResponse
from aiai_async._shared import Gate
from aiai_async._sources import Requests, check_requests, read, read_all

# So that the next request is there when a place is free, whatever the caller does with a result.
_AHEAD: Final = 64
# Where nothing else bounds them; a task takes about 10 kB.
_MOST_TASKS: Final = 10_000
# What is cancelled ends at once, unless code of the caller's holds on.
_LEAVE_SECONDS: Final = 10.0


@attrs.frozen(kw_only=True)
class BatchResult:
    """What became of one request of a batch: either `response` or `error` is there.

    Example:
        >>> BatchResult(index=0, request=ImageRequest(prompt="A lighthouse"), error=QuotaExceededError("no")).response
    """

    index: int
    """The request's place in the input, from 0."""
    request: ImageRequest
    """What was asked for; a prompt became a request. An item that is neither stands in its `prompt`."""
    response: ImagesResponse | None = None
    error: Exception | None = None
    """Why there is no response: an AIAIError, or whatever the callable that gives the key raised."""


class Batch:
    """An async context manager that makes many requests; see `AsyncImagesClient.batch`.

    Args:
        requests: where the requests come from.
        generate: makes one.
        gate: asked before each attempt; shut here when the account is found empty.
        concurrency: requests under way at once; None: `max_connections` of them.
        max_connections: connections that there may be at once; 0: no cap.
        check_open: raises where nothing can be sent any more.

    Raises:
        InvalidRequestError: an argument can't be used.
    """

    def __init__(
        self,
        requests: Requests,
        *,
        generate: Callable[[ImageRequest], Awaitable[ImagesResponse]],
        gate: Gate,
        concurrency: int | None,
        max_connections: int,
        check_open: Callable[[], None],
    ) -> None:
        check_requests(requests, "batch")
        if concurrency is not None and (
            isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1
        ):
            refuse("concurrency", concurrency, "give a number above 0, or None", "batch")
        self._requests: Requests = requests
        self._generate: Final = generate
        self._gate: Final = gate
        self._max_running: Final = concurrency or max_connections or _MOST_TASKS
        self._check_open: Final = check_open
        self._results: BatchResults | None = None

    async def read_all(self) -> None:
        """Read the requests to their end before anything is sent.

        Raises:
            Exception: whatever their source raises.
        """
        # What is no request gets its error as when it is read later.
        self._requests = cast("list[ImageRequest]", await read_all(self._requests))

    async def __aenter__(self) -> BatchResults:
        if self._results is not None:
            raise ConfigurationError("this batch was entered before, and its requests are read; make another one")
        self._check_open()
        self._results = BatchResults(self._generate, gate=self._gate, max_running=self._max_running)
        self._results.begin(self._requests)
        return self._results

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._results is not None
        failure = await self._results.leave()
        if failure is not None and error is None:
            raise failure

    def __aiter__(self) -> NoReturn:
        raise ConfigurationError("a batch has to be entered: `async with client.batch(...) as results:`")


class BatchResults:
    """The results of a batch in the order they finish. It may be read from any task of its event loop, also several.

    Cancelling a step, for instance by a time-out around `anext`, loses no result.
    """

    def __init__(
        self, generate: Callable[[ImageRequest], Awaitable[ImagesResponse]], *, gate: Gate, max_running: int
    ) -> None:
        self._generate: Final = generate
        self._gate: Final = gate
        self._max_running: Final = max_running
        self._max_ahead: Final = max_running + _AHEAD
        self._ready: Final[deque[BatchResult]] = deque()
        """Results that nobody took yet."""
        self._read = 0
        """How many requests were read."""
        self._taken = 0
        """How many results were handed out."""
        self._running = 0
        self._room = anyio.Event()
        """Set when another request may be read."""
        self._changed = anyio.Event()
        """Set, and replaced, when who waits for a result has to look again."""
        self._has_ended = anyio.Event()
        """Set when nothing is read or runs any more."""
        self._failure: BaseException | None = None
        """What the source raised, until it was passed on."""
        self._is_left = False
        """Whether the block was left before everything was handed out."""
        self._scope: Final = anyio.CancelScope()
        self._tasks: Final = anyio.create_task_group()
        self._task: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> BatchResult:
        """Wait for the next result.

        Raises:
            StopAsyncIteration: every request has had its result.
            ConfigurationError: the batch's block was left meanwhile.
            Exception: what the source of the requests raised, after the results of those that it gave before.
        """
        while True:
            if self._is_left:
                raise ConfigurationError("the batch's `async with` block was left; read its results inside it")
            if self._ready:
                self._taken += 1
                self._room.set()
                return self._ready.popleft()
            if self._has_ended.is_set():
                failure, self._failure = self._failure, None
                if failure is None:
                    raise StopAsyncIteration
                try:
                    raise failure
                finally:
                    # The exception holds this frame, which must not hold the exception.
                    del failure
            # Nothing may be awaited between this and taking the result: cancelled in between, it would be lost.
            await self._changed.wait()

    def begin(self, requests: Requests) -> None:
        """Start to read and to send."""
        self._task = running_loop().create_task(self._run(requests))

    async def leave(self) -> BaseException | None:
        """Cancel what runs, close the source, and give what that raised."""
        self._is_left = not self._has_ended.is_set() or bool(self._ready)
        self._ready.clear()
        # What the source raised before is of no interest to who doesn't read on.
        self._failure = None
        self._scope.cancel()
        self._notify()
        with anyio.move_on_after(_LEAVE_SECONDS, shield=True):
            await self._has_ended.wait()
        if not self._has_ended.is_set():
            LOGGER.warning("a batch was left, and after %g s not all of its requests had ended", _LEAVE_SECONDS)
        return self._failure

    async def _run(self, requests: Requests) -> None:
        try:
            with self._scope:
                async with self._tasks:
                    try:
                        await read(requests, self._take)
                    except Exception as error:
                        self._failure = error
        except BaseExceptionGroup as group:
            # Only what ends the program comes out of a request's task.
            self._failure = group.exceptions[0]
        except BaseException as error:  # passed on to who reads the results
            self._failure = error
        finally:
            self._has_ended.set()
            self._notify()

    async def _take(self, item: object) -> bool:
        """Start a request and wait until another may be read; False: none is wanted any more."""
        if self._is_left:
            return False
        index, self._read = self._read, self._read + 1
        request = item if isinstance(item, ImageRequest) else ImageRequest(prompt=item)  # type: ignore[arg-type] # checked below
        try:
            if not isinstance(item, (str, ImageRequest)):
                refuse("requests", item, "give prompts as strings, or ImageRequests", "batch")
            self._gate.check()
        except (InvalidRequestError, QuotaExceededError) as error:
            self._hand_out(BatchResult(index=index, request=request, error=error))
        else:
            self._running += 1
            self._tasks.start_soon(self._work, index, request)
        # Ten thousand that can all go at once must not hold the loop up.
        await anyio.lowlevel.checkpoint()
        while not self._is_left and not self._has_room():
            self._room = anyio.Event()
            await self._room.wait()
        return not self._is_left

    def _has_room(self) -> bool:
        return self._running < self._max_running and self._read - self._taken < self._max_ahead

    async def _work(self, index: int, request: ImageRequest) -> None:
        try:
            self._hand_out(await self._make(index, request))
        finally:
            self._running -= 1
            self._room.set()

    async def _make(self, index: int, request: ImageRequest) -> BatchResult:
        try:
            return BatchResult(index=index, request=request, response=await self._generate(request))
        except QuotaExceededError as error:
            self._gate.shut(error)
            return BatchResult(index=index, request=request, error=error)
        except Exception as error:  # whatever the callable that gives the key raises: the others go on
            return BatchResult(index=index, request=request, error=error)
        except asyncio.CancelledError as cancelled:
            if self._scope.cancel_called:
                raise
            # Passed on, it would cancel all the others.
            strange = AIAIError("the request was cancelled, and not by its batch", may_have_been_billed=True)
            strange.__cause__ = cancelled
            return BatchResult(index=index, request=request, error=strange)

    def _hand_out(self, result: BatchResult) -> None:
        self._ready.append(result)
        self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
