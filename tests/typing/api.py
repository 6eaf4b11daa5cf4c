"""How the public names look to a type checker; checked by mypy and pyright, never run."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import assert_type

from aiai_async import (
    AiohttpTransport,
    APIError,
    APITimeoutError,
    AsyncImagesClient,
    BatchResult,
    Cost,
    FileSink,
    Image,
    ImageCompletedEvent,
    ImageRequest,
    ImageSink,
    ImagesResponse,
    ImageStream,
    InvalidRequestError,
    ModelPrices,
    PartialImageEvent,
    RateLimitError,
    RateLimits,
    RetryPolicy,
    Timeout,
    Usage,
    cost_of,
    estimate_cost,
)
from aiai_async._facts import Limits, LimitStatus, QueueStatus
from aiai_async._transport import Transport, TransportRequest, TransportResponse
from aiai_async.bulk import BulkJob, JobResult, Progress


async def give_key() -> str:
    return "sk-test"


class OwnTransport:
    async def send(self, request: TransportRequest) -> TransportResponse:
        raise NotImplementedError

    async def aclose(self) -> None: ...


class OwnSink:
    def __init__(self) -> None:
        self.path = Path("a.png")

    async def write(self, data: bytes) -> None: ...

    async def finish(self) -> None: ...

    async def abort(self) -> None: ...


def make_sink(index: int) -> ImageSink:
    return OwnSink() if index else FileSink(f"{index}.png")


def construct() -> None:
    AsyncImagesClient()
    AsyncImagesClient("sk-test", base_url="http://127.0.0.1/v1", timeout=60, retry=3, max_connections=0)
    AsyncImagesClient(give_key, timeout=Timeout(total=None), retry=RetryPolicy(retry_ambiguous=True), ssl=False)
    own: Transport = OwnTransport()
    AsyncImagesClient("sk-test", transport=own)
    AsyncImagesClient("sk-test", transport=AiohttpTransport())
    limits = RateLimits(requests_per_minute=500, images_per_minute=4.5, tokens_per_minute=1e6, concurrency=None)
    AsyncImagesClient("sk-test", limits=limits, timeout=Timeout(queue=30))
    AsyncImagesClient("sk-test", limits={"gpt-image-1": limits, "dall-e-3": RateLimits(concurrency=2)})
    AsyncImagesClient("sk-test", limits=5)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    RateLimits(requests=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    AsyncImagesClient("sk-test", api_version="1")  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]


async def use(client: AsyncImagesClient) -> None:
    async with client as entered:
        assert_type(entered, AsyncImagesClient)
    response = await client.generate("A lighthouse", model="my-own-model", size="800x600", quality="high")
    assert_type(response, ImagesResponse)
    assert_type(response.image, Image)
    assert_type(response.data, tuple[Image, ...])
    assert_type(response.created, dt.datetime | None)
    assert_type(response.usage, Usage | None)
    assert_type(await response.image.read(), bytes)
    assert_type(await response.image.save("a"), Path)
    assert_type(await response.save_all("images"), tuple[Path, ...])
    await client.generate(ImageRequest(prompt="A lighthouse"), sink=make_sink)
    await client.generate(prompt="A lighthouse", sink=lambda index: FileSink(f"{index}.png"))
    await client.images.generate(prompt="A lighthouse")
    await client.with_options(timeout=5, default_headers={"x-team": "a"}).generate("A lighthouse")
    await client.generate("A lighthouse", priority=5, timeout=Timeout(queue=None))
    await client.generate("A", priority="high")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]
    client.with_options(timeot=5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    await client.generate("A", background="pink")  # type: ignore[call-overload] # pyright: ignore[reportArgumentType]


def look_at_costs(client: AsyncImagesClient, response: ImagesResponse) -> None:
    assert_type(response.cost, Cost | None)
    assert_type(cost_of(response), Cost | None)
    own = {"gpt-image-1": {"text_input": 4, "image_output": 30.0}}
    assert_type(estimate_cost(ImageRequest(prompt="A"), prices=own), Cost | None)
    AsyncImagesClient("sk-test", prices={"flux-pro": ModelPrices(images={"hd": 0.05}), "b": {"images": 1}})
    client.with_options(prices=own).with_options(prices=None)
    if response.cost is not None:
        assert_type(response.cost.usd, float)
        assert_type(response.cost + 1, float)
        assert_type(response.cost.priced_on, dt.date | None)
        assert response.cost.source in ("server", "prices", "estimate")
    assert_type(client.prices["flux-pro"].images["hd", ""], float)


def look_at_limits(client: AsyncImagesClient) -> None:
    limits = client.limits
    assert_type(limits, Limits)
    assert_type(limits.waiting, int)
    assert_type(limits.in_flight, int)
    assert_type(limits.paused_until, dt.datetime | None)
    assert_type(limits.reason, str | None)
    assert_type(limits.queues, tuple[QueueStatus, ...])
    assert_type(limits[0], LimitStatus)
    assert_type(limits[:2], tuple[LimitStatus, ...])
    for limit in limits:
        assert_type(limit.name, str)
        assert_type(limit.limit, float)
        assert_type(limit.remaining, float | None)
        assert_type(limit.resets_in, float | None)
        assert limit.source in ("declared", "learned", "discovered")
    for queue in limits.queues:
        assert_type(queue.model, str | None)
        assert_type(queue.waiting_for, str | None)
        assert_type(queue.next_in, float | None)
    limits[0].limit = 5  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]
    client.limits = limits  # type: ignore[misc] # pyright: ignore[reportAttributeAccessIssue]


async def make_many(client: AsyncImagesClient, prompts: AsyncIterator[str]) -> None:
    async with client.batch(["A", ImageRequest(prompt="B")], concurrency=20) as results:
        async for result in results:
            assert_type(result, BatchResult)
            assert_type(result.index, int)
            assert_type(result.request, ImageRequest)
            assert_type(result.response, ImagesResponse | None)
            assert_type(result.error, Exception | None)
    client.batch(["A"])
    client.batch(f"{number}" for number in range(9))
    client.with_options(timeout=5).batch(prompts)
    client.batch([5])  # type: ignore[list-item] # pyright: ignore[reportArgumentType]
    assert_type(await client.generate_many(prompts, concurrency=5), list[BatchResult])


async def watch(client: AsyncImagesClient, is_stream: bool) -> None:
    assert_type(await client.generate("A", stream=False), ImagesResponse)
    assert_type(await client.generate("A", stream=True), ImageStream)
    assert_type(await client.generate("A", stream=is_stream), ImagesResponse | ImageStream)
    async with client.stream("A", partial_images=2, sink=make_sink, priority=-1) as stream:
        assert_type(stream, ImageStream)
        async for event in stream:
            assert_type(event, PartialImageEvent | ImageCompletedEvent)
            if isinstance(event, PartialImageEvent):
                assert_type(event.partial_image_index, int)
            else:
                assert_type(event.usage, Usage | None)
        assert_type(await stream.response(), ImagesResponse)
        assert_type(stream.completed, tuple[ImageCompletedEvent, ...])


async def run(client: AsyncImagesClient) -> None:
    requests: list[ImageRequest | str] = [ImageRequest(prompt="A"), "B"]
    job = BulkJob(requests, "job", client, concurrency=5, max_images=9, retry="all", defaults={"n": 2})
    result = await job.run(on_progress=lambda progress: assert_type(progress, Progress))
    assert_type(result, JobResult)
    assert_type(result.done, int)
    assert_type(result.results_path, Path)
    assert_type(result.cost, float | None)
    await job.run(on_progress=lambda progress: assert_type(progress.estimated_cost, float | None))
    BulkJob(requests, "job", client, max_cost=2.5, sidecar=True, embed=True)
    BulkJob(requests, "job", client, max_cost="5")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    BulkJob(Path("prompts.txt"), Path("job"), client, retry="some")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    assert_type(await client.download("https://example.com/a", sink=make_sink), Image)


def handle(error: APIError) -> None:
    assert_type(error.may_have_been_billed, bool)
    assert_type(error.request_id, str | None)
    if isinstance(error, RateLimitError):
        assert_type(error.retry_after, float | None)
    if isinstance(error, APITimeoutError):
        assert error.phase in ("connect", "first_byte", "stall", "total", "queue")


def refuse(error: InvalidRequestError) -> ValueError:
    assert_type(error.field, str | None)
    return error
