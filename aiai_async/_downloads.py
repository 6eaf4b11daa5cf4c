"""Images that a server gave as links: fetched without the key, from public addresses only, tried again on their own."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import Final, Protocol, TypeVar
from urllib.parse import urljoin

import anyio
import attrs

from aiai_async._errors import APIConnectionError, DownloadError
from aiai_async._exchange import AddressForbidden, AddressRule, TransportRequest, TransportResponse
from aiai_async._log import LOGGER
from aiai_async._schemas import Image, ImageCompletedEvent, PartialImageEvent
from aiai_async._secret import strip_query, strip_userinfo
from aiai_async._shared import Options, Shared
from aiai_async._sinks import SinkFactory, SinkReceiver
from aiai_async.policy.deadlines import Deadlines
from aiai_async.policy.retry import backoff
from aiai_async.wire.endpoint import MAX_REDIRECTS, Origin
from aiai_async.wire.images import MAX_IMAGE_BYTES, ImageEnd, ImageStart
from aiai_async.wire.limits import parse_retry_after

ImageEventT = TypeVar("ImageEventT", PartialImageEvent, ImageCompletedEvent, PartialImageEvent | ImageCompletedEvent)
ResultT = TypeVar("ResultT", covariant=True)

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
# Fetching costs nothing and changes nothing, so more is tried again than for a request.
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529})


class Downloader:
    """Fetches the links of one client view.

    Args:
        shared: what the client's calls share.
        options: whose `timeout` and `retry` hold here too; each download has a `total` of its own.
    """

    __slots__ = ("_options", "_shared")

    def __init__(self, shared: Shared, options: Options) -> None:
        self._shared: Final = shared
        self._options: Final = options

    def attach_event(self, event: ImageEventT) -> ImageEventT:
        """Give the image of an event that is a link what it takes to be read; others stay as they are."""
        image = event.image
        return event if image.url is None else attrs.evolve(event, image=attrs.evolve(image, fetch=self.fetch))

    async def fetch(self, url: str) -> bytes:
        """Fetch an image into memory.

        Args:
            url: absolute, http or https.

        Raises:
            DownloadError: it can't be fetched, or what lies there is no image.
        """
        return await self._fetch(url, _Pieces)

    async def fetch_image(self, url: str, sink: SinkFactory) -> Image:
        """Fetch an image into a sink, in constant memory.

        Raises:
            DownloadError: as `fetch`.
            Exception: whatever the sink raises.
        """
        return await self._fetch(url, lambda: _ToSink(sink))

    async def _fetch(self, url: str, make_target: Callable[[], _Target[ResultT]]) -> ResultT:
        _check_url(url, url)
        policy, started_at = self._options.retry, anyio.current_time()
        deadlines = Deadlines(self._options.timeout, started_at=started_at)
        attempts = 0
        while True:
            attempts += 1
            # No permit is taken: who reads a link between two events of a stream would wait for the stream's own.
            if self._shared.is_closed:
                raise _refuse(url, "the client was closed; read images before that")
            target = make_target()
            failure = await self._attempt(url, deadlines, target)
            if failure is None:
                return target.result()
            outcome = failure
            delay = max(
                backoff(attempts, base_delay=policy.base_delay, max_delay=policy.max_delay, random=random.random),
                outcome.retry_after,
            )
            is_too_long = policy.max_retry_after is not None and outcome.retry_after > policy.max_retry_after
            is_late = delay >= deadlines.time_left(anyio.current_time())
            if not outcome.is_worth_another or attempts > policy.max_retries or is_too_long or is_late:
                raise _refuse(url, f"{outcome.words} [attempt {attempts}]", outcome.status) from outcome.cause
            await anyio.sleep(delay)

    async def _attempt(self, url: str, deadlines: Deadlines, target: _Target[object]) -> _Failure | None:
        """Fetch once; None where the target has the image."""
        started_at = anyio.current_time()
        outcome: _Failure | None = None
        result = "cancelled"
        # The first byte of a file that lies ready is waited for no longer than the next ones.
        deadlines.progress(started_at)
        options = self._options
        rule = None if options.allow_private_downloads else AddressRule(options.endpoint.origin.host)
        try:
            with anyio.CancelScope(deadline=deadlines.at) as scope:
                outcome = await _Fetch(self._shared, options, rule, deadlines, scope, target).run(url)
            if scope.cancelled_caught:
                outcome = _Failure(f"nothing more came within Timeout.{deadlines.phase}={deadlines.seconds:g} s")
            result = "200" if outcome is None else outcome.words
            return outcome
        finally:
            if result != "200":
                await target.abort()
            if LOGGER.isEnabledFor(logging.INFO):
                LOGGER.info("GET %s %s in %.3f s", strip_query(url), result, anyio.current_time() - started_at)


class _Target(Protocol[ResultT]):
    """Where one attempt's bytes go."""

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> None: ...

    async def abort(self) -> None: ...

    def result(self) -> ResultT: ...


class _Pieces:
    """Keeps them in memory."""

    def __init__(self) -> None:
        self._pieces: Final[list[bytes]] = []

    async def write(self, data: bytes) -> None:
        self._pieces.append(data)

    async def finish(self) -> None:
        pass

    async def abort(self) -> None:
        self._pieces.clear()

    def result(self) -> bytes:
        return b"".join(self._pieces)


class _ToSink:
    """Passes them to a sink of the caller."""

    def __init__(self, factory: SinkFactory) -> None:
        self._receiver: Final = SinkReceiver(factory)
        self._has_begun = False

    async def write(self, data: bytes) -> None:
        begin = () if self._has_begun else (ImageStart(0),)
        self._has_begun = True
        await self._receiver.take((*begin, data))

    async def finish(self) -> None:
        await self._receiver.take((ImageEnd(),))

    async def abort(self) -> None:
        await self._receiver.abort()

    def result(self) -> Image:
        return self._receiver.images[0]


@attrs.frozen
class _Failure:
    """Why an attempt gave no image."""

    words: str
    status: int | None = None
    is_worth_another: bool = True
    retry_after: float = 0.0
    cause: Exception | None = None


class _Fetch:
    """One attempt: a GET, and those that its redirects lead to."""

    def __init__(
        self,
        shared: Shared,
        options: Options,
        rule: AddressRule | None,
        deadlines: Deadlines,
        scope: anyio.CancelScope,
        target: _Target[object],
    ) -> None:
        self._target: Final = target
        self._shared: Final = shared
        self._options: Final = options
        self._rule: Final = rule
        self._deadlines: Final = deadlines
        self._scope: Final = scope

    async def run(self, url: str) -> _Failure | None:
        first = url
        for _ in range(MAX_REDIRECTS + 1):
            try:
                response = await self._get(url)
            except AddressForbidden as error:
                words = f"{error.message}; allow_private_downloads=True lifts that"
                return _Failure(words, is_worth_another=False, cause=error)
            except APIConnectionError as error:
                return _Failure(error.message, cause=error)
            try:
                location = response.headers.get("location")
                if response.status not in _REDIRECTS or location is None:
                    return await self._read(response)
            except APIConnectionError as error:
                return _Failure(error.message, response.status, cause=error)
            finally:
                response.close()
            url = urljoin(url, location)
            _check_url(url, first)
        return _Failure(f"it redirects more than {MAX_REDIRECTS} times", is_worth_another=False)

    async def _get(self, url: str) -> TransportResponse:
        return await self._shared.transport.send(
            TransportRequest(
                method="GET",
                # The link is sent without the user and password that it may hold: nobody asked to send any.
                url=strip_userinfo(url),
                headers={"accept": "image/*, */*;q=0.5"},
                connect_timeout=self._options.timeout.connect,
                proxy=self._options.proxy,
                ssl=self._options.ssl,
                is_taken_slowly=True,
                address_rule=self._rule,
            )
        )

    async def _read(self, response: TransportResponse) -> _Failure | None:
        status = response.status
        if status != 200:
            wait = parse_retry_after(response.headers, now=time.time()) or 0.0
            return _Failure(f"{status} was answered", status, status in _AGAIN, wait)
        size_bytes = 0
        while piece := await response.read():
            size_bytes += len(piece)
            if size_bytes > MAX_IMAGE_BYTES:
                return _Failure(f"the image has more than {MAX_IMAGE_BYTES:,} bytes", status, is_worth_another=False)
            await self._target.write(piece)
            self._deadlines.progress(anyio.current_time())
            self._scope.deadline = self._deadlines.at
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if not size_bytes:
            return _Failure("an empty body was answered", status, is_worth_another=False)
        if kind.startswith("text/") or kind in ("application/json", "application/xml"):
            return _Failure(f"what lies there is {kind}, not an image", status, is_worth_another=False)
        await self._target.finish()
        return None


def _check_url(url: str, first: str) -> None:
    """Refuse what is no http(s) URL.

    Args:
        url: the link, or where a redirect leads.
        first: the link itself.
    """
    try:
        Origin.of(url)
    except ValueError as error:
        raise _refuse(first, f"{strip_query(url)[:100]!r} can't be fetched, {error}") from None


def _refuse(url: str, words: str, status: int | None = None) -> DownloadError:
    shown = strip_query(url)[:200]
    return DownloadError(
        f"the image at {shown} could not be downloaded: {words}; it was made, so don't generate it again",
        url=shown,
        status_code=status,
    )
