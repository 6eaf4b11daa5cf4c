"""The front door: AsyncImagesClient. It gathers options and arguments; the work is done below."""

from __future__ import annotations

import functools
import os
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Unpack, overload

import attrs

from aiai_async import _log
from aiai_async._arguments import (
    Changes,
    collect,
    find_key,
    hide,
    hide_values,
    merge_body,
    merge_headers,
    read_call_timeout,
    read_changes,
    read_default_headers,
    read_idempotency_key,
    read_limits,
    read_max_answer_bytes,
    read_max_connections,
    read_prices,
    read_proxy,
    read_retry,
    read_timeout,
)
from aiai_async._attempts import Attempts
from aiai_async._call import Call
from aiai_async._facts import Limits, RateLimits
from aiai_async._models import estimate_tokens, refuse
from aiai_async._plans import Plan
from aiai_async._scheduler import Asker, Scheduler
from aiai_async._schemas import (
    Background,
    Image,
    ImageRequest,
    ImagesResponse,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    Size,
    Style,
)
from aiai_async._secret import SecretText
from aiai_async._shared import Gate, Options, Shared
from aiai_async._sinks import SinkFactory
from aiai_async._transport import AiohttpTransport, Transport
from aiai_async.policy.ceilings import Cost
from aiai_async.policy.deadlines import Timeout
from aiai_async.policy.retry import RetryPolicy
from aiai_async.wire.codec import encode_request
from aiai_async.wire.endpoint import Endpoint

if TYPE_CHECKING:
    # What not every program needs is loaded when it is used: streams, batches and links take a third of the time that
    # the client takes to load.
    from aiai_async._batch import Batch, BatchResult
    from aiai_async._prices import ModelPrices, Prices
    from aiai_async._sources import Requests
    from aiai_async._stream import ImageStream

DEFAULT_BASE_URL: Final = "https://api.aiai.com/v1"


class AsyncImagesClient:
    """Makes images through `POST {base_url}/images/generations/`.

    It may be made anywhere, also without an event loop, and used from several, one after another or at once.
    Connections are kept for reuse: leave an `async with` block, or await `aclose`, to close them.

    Args:
        api_key: the key; or an async callable that gives it, asked once per attempt; None: `AIAI_API_KEY`.
        base_url: where the API is, usually ending in `/v1`; None: `AIAI_BASE_URL`, else `https://api.aiai.com/v1`.
        timeout: bounds of a call; a number is `Timeout.total`, in seconds.
        retry: what is tried again; a number is `RetryPolicy.max_retries`.
        limits: rate limits that are known: of every model, or by model. They are ceilings over any minute. None: they
            are learned from the server's answers and refusals, which is done besides in any case.
        max_connections: requests under way at once on each event loop; more wait in the queue. 0: no cap.
        default_headers: sent with each request.
        proxy: URL of an HTTP proxy, perhaps with user and password; None: as the environment says.
        ssl: how to check the server's certificate: a context, or False for not at all.
        validate: whether requests are checked against the rules of their model before they are sent.
        allow_private_downloads: whether links to images may lead to addresses that are not public.
        max_answer_bytes: bound of a whole answer, after decompression.
        prices: what models cost, by name: `ModelPrices`, or mappings of its fields. They replace those of the table, or
            add to it, for `ImagesResponse.cost`.
        transport: carries the requests instead of `AiohttpTransport()`; see `aiai_async._transport.Transport`.

    Raises:
        ConfigurationError: the key is missing or malformed, or another argument can't be used.

    Example:
        >>> client = AsyncImagesClient("sk-test", base_url="http://127.0.0.1:8765/v1", timeout=60)
        >>> client
        AsyncImagesClient(base_url='http://127.0.0.1:8765/v1')
    """

    def __init__(
        self,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | float = Timeout(),  # it is frozen
        retry: RetryPolicy | int = RetryPolicy(),  # it is frozen
        limits: RateLimits | Mapping[str, RateLimits] | None = None,
        max_connections: int = 1000,
        default_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        validate: bool = True,
        allow_private_downloads: bool = False,
        max_answer_bytes: int = 256 * 2**20,
        prices: Prices | None = None,
        transport: Transport | None = None,
    ) -> None:
        _log.configure_from_environment()
        # Wrapped before anything can fail: tracebacks that show local variables must not show secrets.
        api_key, base_url, proxy = hide(api_key), hide(base_url), hide(proxy)
        default_headers = hide_values(default_headers)
        if base_url is None:
            base_url = SecretText(os.environ.get("AIAI_BASE_URL") or DEFAULT_BASE_URL)
        self._options = Options(
            key=find_key(api_key),
            endpoint=Endpoint(base_url),
            base_url=base_url,
            timeout=read_timeout(timeout),
            retry=read_retry(retry),
            headers=read_default_headers(default_headers),
            proxy=read_proxy(proxy),
            ssl=ssl,
            validate=validate,
            allow_private_downloads=allow_private_downloads,
            max_answer_bytes=read_max_answer_bytes(max_answer_bytes),
            prices=read_prices(prices),
        )
        scheduler = Scheduler(limits=read_limits(limits), max_connections=read_max_connections(max_connections))
        self._shared = Shared(transport or AiohttpTransport(), scheduler)
        self._is_view = False

    def __repr__(self) -> str:
        # Tracebacks that show local variables also show a client that could not be made.
        options: Options | None = getattr(self, "_options", None)
        shown = "" if options is None else f"base_url={options.endpoint.base_url!r}"
        return f"{type(self).__name__}({shown})"

    def with_options(self, **changes: Unpack[Changes]) -> AsyncImagesClient:
        """Give a view of this client with other options, on the same connections. Closing a view closes nothing.

        Raises:
            ConfigurationError: an option can't be used, or can't be changed.

        Example:
            >>> client = AsyncImagesClient("sk-test")
            >>> patient = client.with_options(timeout=1200, retry=5)
        """
        view = object.__new__(type(self))
        hidden = {name: hide(value) for name, value in changes.items()}
        del changes
        view._options = attrs.evolve(self._options, **read_changes(hidden))
        view._shared = self._shared
        view._is_view = True
        return view

    @overload
    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        stream: Literal[False] = False,
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> ImagesResponse: ...

    @overload
    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        stream: Literal[True],
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> ImageStream: ...

    @overload
    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        stream: bool,
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> ImagesResponse | ImageStream: ...

    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        stream: bool = False,
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> ImagesResponse | ImageStream:
        """Make images and wait for them.

        Cancelling frees the connection at once; whether the server goes on and bills is its own affair.

        Args:
            prompt: what the images show; or a whole ImageRequest, whose fields the keywords override.
            model, n, size, background, moderation, quality, style, output_format, output_compression, response_format,
                partial_images, user: the fields of ImageRequest; None is not sent.
            stream: whether to get an ImageStream, whose events come while the images are made; gpt-image models only.
            extra_body: further fields of the body, sent as they are.
            extra_headers: further header fields.
            timeout: bounds of this call; None: the client's.
            priority: calls of a higher one go first where calls wait for a rate limit or a connection.
            idempotency_key: the call's `Idempotency-Key`, the same on each attempt; None: a new one.
            sink: asked for a sink for image i when its first byte is there; the bytes go there and not to
                `Image.content`. Each attempt asks anew.

        Returns:
            The answer; `data` may hold fewer images than were asked for, never none. With `stream=True` an ImageStream,
            as soon as the server has begun to answer: close it, or use it as a context manager.

        Raises:
            InvalidRequestError: the request or an argument is wrong; nothing was sent.
            APIError: the call failed; `may_have_been_billed` says whether an image may have been made all the same.
            ConfigurationError: the client was closed, or what gives the key gave none.

        Example:
            async with AsyncImagesClient() as client:
                response = await client.generate("A lighthouse at dusk", model="gpt-image-1")
                await response.image.save("lighthouse.png")
        """
        self._shared.check_open()
        if extra_headers is not None:
            extra_headers = hide_values(extra_headers)
        fields = collect(
            prompt,
            model=model,
            n=n,
            size=size,
            background=background,
            moderation=moderation,
            quality=quality,
            style=style,
            output_format=output_format,
            output_compression=output_compression,
            response_format=response_format,
            partial_images=partial_images,
            user=user,
            stream=stream,
        )
        plan = self._options.plans.find(fields)
        if not isinstance(stream, bool):
            refuse("stream", stream, "give True or False", "generate")
        if isinstance(priority, bool) or not isinstance(priority, int):
            refuse("priority", priority, "give an integer", "generate")
        if sink is not None and not callable(sink):
            refuse("sink", sink, "give a function that gives the sink of image i", "generate")
        options = self._options if timeout is None else attrs.evolve(self._options, timeout=read_call_timeout(timeout))
        if extra_body is not None:
            fields = merge_body(fields, extra_body)
            plan = Plan.of(fields, options.prices)
        body = encode_request(fields)
        asker = Asker(
            origin=options.endpoint.origin,
            key=options.queue_key,
            model=plan.model,
            cost=Cost(images=plan.images, tokens=functools.partial(estimate_tokens, fields)),
            priority=priority,
            patience=options.retry.max_retry_after,
        )
        attempts = Attempts(
            shared=self._shared,
            options=options,
            body=body,
            headers=merge_headers(options.headers, extra_headers),
            idempotency_key=read_idempotency_key(idempotency_key),
            is_taken_slowly=sink is not None,
            asker=asker,
        )
        if stream:
            from aiai_async._downloads import Downloader
            from aiai_async._stream import ImageStream

            return await ImageStream(
                attempts,
                downloader=Downloader(self._shared, options),
                tariff=plan.tariff,
                max_answer_bytes=options.max_answer_bytes,
                asked_for=plan.images,
                sink=sink,
            ).open()
        return await Call(
            attempts,
            fetch=functools.partial(_fetch, self._shared, options),
            tariff=plan.tariff,
            max_answer_bytes=options.max_answer_bytes,
            expects_one=plan.images == 1,
            sink=sink,
        ).run()

    def stream(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        priority: int = 0,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> AbstractAsyncContextManager[ImageStream]:
        """Make images and see them come: `generate(..., stream=True)` as an async context manager.

        The arguments are those of `generate`, and so is what is raised when the block is entered. Leaving the block
        early cuts the request at once.

        Example:
            async with client.stream("A lighthouse", model="gpt-image-1", partial_images=2) as stream:
                async for event in stream:
                    print(event.type, event.image)
                response = await stream.response()
        """
        return _OpenedStream(
            self.generate(
                prompt,
                model=model,
                n=n,
                size=size,
                background=background,
                moderation=moderation,
                quality=quality,
                style=style,
                output_format=output_format,
                output_compression=output_compression,
                response_format=response_format,
                partial_images=partial_images,
                user=user,
                stream=True,
                extra_body=extra_body,
                extra_headers=extra_headers,
                timeout=timeout,
                priority=priority,
                idempotency_key=idempotency_key,
                sink=sink,
            )
        )

    def batch(self, requests: Requests, *, concurrency: int | None = None) -> Batch:
        """Make many requests: an async context manager that gives an async iterator of `BatchResult`, as they finish.

        What goes wrong with a request is its result's `error` and concerns no other. Only a QuotaExceededError does:
        after it nothing more is sent, what is under way is awaited, and every further request gets a copy of it. What
        the source itself raises is raised once the requests before it have their results. Leaving the block cancels
        what runs, whether or not it is billed, and closes the source where it is a generator.

        Args:
            requests: prompts or ImageRequests, from any iterable or async iterable. They are read only as fast as
                results are taken, at most `concurrency` and 64 more ahead, so that a million take constant memory.
                What is neither a list, a tuple nor a range is read in a thread and may block.
            concurrency: requests under way at once; None: as many as `max_connections` lets go. What was made and not
                taken is in memory, at most `concurrency` and 64 results.

        Raises:
            InvalidRequestError: an argument can't be used; a single request belongs into a list.
            ConfigurationError: on entering: the client was closed, or this batch was entered before.

        Example:
            prompts = Path("prompts.txt").read_text().splitlines()
            async with client.batch(prompts, concurrency=20) as results:
                async for result in results:
                    if result.response is not None:
                        await result.response.image.save(f"images/{result.index}")
                    else:
                        print(result.request.prompt, result.error)
        """
        from aiai_async._batch import Batch

        gate = Gate()
        view = self.with_options()
        view._options = attrs.evolve(self._options, gate=gate)
        return Batch(
            requests,
            generate=view.generate,
            gate=gate,
            concurrency=concurrency,
            max_connections=self._shared.scheduler.max_connections,
            check_open=self._shared.check_open,
        )

    async def generate_many(self, requests: Requests, *, concurrency: int | None = None) -> list[BatchResult]:
        """Make many requests and give one result for each, in the order of the input; see `batch` for the arguments.

        All images are in memory in the end: for more than a few hundred use `batch`. The requests are read to their
        end before the first is sent, so that nothing is lost with a source that fails.

        Raises:
            InvalidRequestError: an argument can't be used.
            Exception: what the source raised; nothing was sent.

        Example:
            for result in await client.generate_many(["A lighthouse at dusk", "Fog over a harbour"]):
                print(result.request.prompt, result.response or result.error)
        """
        batch = self.batch(requests, concurrency=concurrency)
        await batch.read_all()
        async with batch as results:
            return sorted([result async for result in results], key=lambda result: result.index)

    @property
    def limits(self) -> Limits:
        """What is known now of each limit, declared, learned or discovered, and how many requests wait.

        Example:
            for limit in client.limits:
                print(limit.name, limit.remaining, "of", limit.limit, "resets in", limit.resets_in)
        """
        return self._shared.scheduler.describe()

    async def download(self, url: str, *, sink: SinkFactory | None = None) -> Image:
        """Fetch an image behind a link, without the API key: for links that were kept, such as those of a job.

        Args:
            url: as `Image.url` gave it.
            sink: asked for a sink, with 0, when the first byte is there, anew in each attempt; None: into memory.

        Raises:
            DownloadError: it can't be fetched; the image was made and paid for all the same.
            Exception: whatever the sink raises.
        """
        from aiai_async._downloads import Downloader

        downloader = Downloader(self._shared, self._options)
        image = await downloader.fetch_image(url, sink) if sink else Image(content=await downloader.fetch(url))
        return attrs.evolve(image, url=url)

    @property
    def base_url(self) -> str:
        """Where requests go, without a slash at the end; user and password in it are left out."""
        return self._options.endpoint.base_url

    @property
    def retry(self) -> RetryPolicy:
        """What this client, or this view of it, tries again."""
        return self._options.retry

    @property
    def prices(self) -> Mapping[str, ModelPrices]:
        """Prices that were given to this client, or to this view of it, by model; they win over the table."""
        return self._options.prices

    @property
    def images(self) -> _Images:
        """The client as code for the official SDK sees it: `await client.images.generate(prompt=..., model=...)`."""
        return _Images(self)

    async def __aenter__(self) -> AsyncImagesClient:
        # A client made at import time is entered once per asyncio.run(): so entering opens what leaving closed.
        if not self._is_view:
            self._shared.is_closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; requests under way and those that wait fail.

        Calling it again does nothing, nor does it on a view.
        """
        if self._is_view:
            return
        await self._shared.aclose()

    close = aclose


async def _fetch(shared: Shared, options: Options, url: str) -> bytes:
    """Fetch an image that is a link."""
    from aiai_async._downloads import Downloader

    return await Downloader(shared, options).fetch(url)


class _OpenedStream(AbstractAsyncContextManager["ImageStream"]):
    """See `AsyncImagesClient.stream`."""

    def __init__(self, opening: Coroutine[object, object, ImageStream]) -> None:
        self._opening = opening
        self._stream: ImageStream | None = None

    async def __aenter__(self) -> ImageStream:
        self._stream = await self._opening
        return self._stream

    async def __aexit__(self, *_: object) -> None:
        if self._stream is not None:
            await self._stream.aclose()

    def __del__(self) -> None:
        # Never entered: that is no reason to warn of a coroutine that wasn't awaited.
        self._opening.close()


class _Images:
    """See `AsyncImagesClient.images`."""

    def __init__(self, client: AsyncImagesClient) -> None:
        self.generate = client.generate
