"""Makes the images of many prompts, several at once, and saves each as it comes.

One prompt's failure never hurts another: each ends in an `Outcome`, also where Ctrl-C cuts it off.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import ClassVar, Final

import anyio
import anyio.lowlevel
import attrs

from aiai_async import (
    AIAIError,
    AsyncImagesClient,
    AuthenticationError,
    Cost,
    Image,
    ImageRequest,
    QuotaExceededError,
    Usage,
)
from aiai_async.bulk.provenance import Origin
from aiai_async.cli._outcomes import InterruptedRequest, Outcome, SavedImage, Summary
from aiai_async.cli._output import Output
from aiai_async.cli._saving import Destination, SavingError

_SECONDS_BETWEEN_LOOKS: Final = 0.5


@attrs.define(kw_only=True)
class Work:
    """What was reached for one prompt so far; whatever ends it, its outcome is made of this."""

    index: int
    """Its place among the prompts, from 0."""
    request: ImageRequest
    started_at: float
    saved: list[SavedImage] = attrs.Factory(list)
    saved_partials: list[SavedImage] = attrs.Factory(list)
    unsaved: list[Image] = attrs.Factory(list)
    """Final images that came and are not saved."""
    usage: Usage | None = None
    cost: Cost | None = None
    request_id: str | None = None
    saving_error: SavingError | None = None
    """Why the first image that could not be saved could not."""

    def note_saved(self, image: Image, saved: SavedImage) -> None:
        """Note where an image of `unsaved` is now."""
        self.saved.append(saved)
        self.unsaved = [other for other in self.unsaved if other is not image]

    def note_unsaved(self, error: SavingError) -> None:
        """Note that an image could not be saved; the others still can."""
        self.saving_error = self.saving_error or error


class Maker:
    """Makes the images of these requests, once, by `run`.

    Args:
        requests: already checked.
        destination: where images go.
        output: is told what happens.
        concurrency: requests under way at once.
    """

    _streams: ClassVar[bool] = False
    """Whether the output is told of each image as it comes."""

    def __init__(
        self, requests: Sequence[ImageRequest], *, destination: Destination, output: Output, concurrency: int
    ) -> None:
        self._requests: Final = requests
        self._destination: Final = destination
        self.output: Final = output
        self._concurrency: Final = concurrency
        self._stopped_by: AIAIError | None = None
        """The error after which nothing more is sent."""
        self.outcomes: Final[list[Outcome]] = []
        """In the order in which they ended; those that were cut off too."""

    async def run(self, client: AsyncImagesClient) -> Summary:
        """Send the requests and save what comes. Cancelling cuts what is under way; what came is still saved.

        Raises:
            ConfigurationError: the destination can't be used; nothing was sent.
        """
        await self._destination.prepare()
        self.output.began(prompts=len(self._requests), images=count_images(self._requests))
        started_at = anyio.current_time()
        waiting = iter(enumerate(self._requests))
        async with anyio.create_task_group() as watching:
            watching.start_soon(self._watch, client)
            async with anyio.create_task_group() as tasks:
                for _ in range(min(self._concurrency, len(self._requests))):
                    tasks.start_soon(self._work, client, waiting)
            watching.cancel_scope.cancel()
        outcomes = tuple(sorted(self.outcomes, key=lambda outcome: outcome.index))
        return Summary(outcomes=outcomes, elapsed=anyio.current_time() - started_at)

    async def _watch(self, client: AsyncImagesClient) -> None:
        """Tell what requests wait for, as long as it takes."""
        while True:
            await anyio.sleep(_SECONDS_BETWEEN_LOOKS)
            self.output.waits(client.limits.describe_wait())

    async def _work(self, client: AsyncImagesClient, waiting: Iterator[tuple[int, ImageRequest]]) -> None:
        for index, request in waiting:
            # A cancellation that came while the one before was saved takes effect here, before anything is sent.
            await anyio.lowlevel.checkpoint()
            if self._stopped_by is not None:
                self._end(Outcome(index=index, prompt=request.prompt, error=self._stopped_by, was_sent=False))
            else:
                self.output.started(index, request.prompt)
                await self._make(client, index, request)

    async def _make(self, client: AsyncImagesClient, index: int, request: ImageRequest) -> None:
        work = Work(index=index, request=request, started_at=anyio.current_time())
        error: Exception | None = None
        try:
            try:
                await self._request(client, work)
            finally:
                await self._write_sidecars(work)
            error = work.saving_error
        except (QuotaExceededError, AuthenticationError) as exc:
            # Nothing that is sent with this key will succeed.
            self._stopped_by = error = exc
        except anyio.get_cancelled_exc_class():
            error = InterruptedRequest(work.unsaved, work.saving_error)
            raise
        except Exception as exc:
            # Whatever it is: let out, it would cancel the others, which are paid for.
            error = exc
        finally:
            self._end(
                Outcome(
                    index=index,
                    prompt=request.prompt,
                    images=tuple(work.saved),
                    partial_images=tuple(work.saved_partials),
                    was_streamed=self._streams,
                    usage=work.usage,
                    cost=work.cost,
                    request_id=getattr(error, "request_id", None) or work.request_id,
                    elapsed=anyio.current_time() - work.started_at,
                    error=error,
                )
            )

    def _end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.output.finished(outcome)

    async def _request(self, client: AsyncImagesClient, work: Work) -> None:
        """Send one request and save what comes, noting in `work` what was reached; what it raises is the outcome's."""
        response = await client.generate(work.request)
        work.usage, work.cost = response.usage, response.cost
        work.request_id = None if response.http is None else response.http.request_id
        work.unsaved = [*response.data]
        for image in response.data:
            try:
                content = await read_image(image)
                # Not even Ctrl-C comes between an image that is here and its file.
                with anyio.CancelScope(shield=True):
                    saved = await self._destination.save(content, work.request)
                    work.note_saved(image, attrs.evolve(saved, revised_prompt=image.revised_prompt))
            except SavingError as error:
                work.note_unsaved(error)

    async def _write_sidecars(self, work: Work) -> None:
        """Say beside each image what it was made from, as far as that is known when the request is over."""
        origin = Origin(
            request=work.request.to_fields(),
            request_id=work.request_id,
            created=dt.datetime.now(dt.UTC),
            cost_usd=work.cost,
            cost_source=None if work.cost is None else work.cost.source,
            images=len(work.saved) + len(work.unsaved),
        )
        with anyio.CancelScope(shield=True):
            for saved in work.saved:
                try:
                    await self._destination.write_sidecar(saved, origin)
                except SavingError as error:
                    work.note_unsaved(error)


async def read_image(image: Image) -> bytes:
    """Give an image's bytes, from behind its link where it is one.

    Raises:
        SavingError: the link can't be fetched.
    """
    try:
        return await image.read()
    except AIAIError as error:
        # The whole link with its signature is shown here, to its owner, who can still use it.
        words = f"the image was made and paid for, but its link can't be fetched: {error}; try it yourself: {image.url}"
        raise SavingError(words, url=image.url) from error


def count_images(requests: Sequence[ImageRequest]) -> int:
    """Count the images that are asked for."""
    return sum(request.n or 1 for request in requests)
