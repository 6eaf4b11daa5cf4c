"""Makes the images of many prompts, several at once, and saves each as it comes.

One prompt's failure never hurts another: each ends in an `Outcome`, also where Ctrl-C cuts it off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import anyio
import anyio.lowlevel

from aiai_async import (
    AIAIError,
    AsyncImagesClient,
    AuthenticationError,
    Image,
    ImageRequest,
    ImagesResponse,
    QuotaExceededError,
)
from aiai_async.cli._outcomes import InterruptedRequest, Outcome, SavedImage, Summary
from aiai_async.cli._output import Output
from aiai_async.cli._saving import Destination, SavingError


class Maker:
    """Makes the images of these requests, once, by `run`.

    Args:
        requests: already checked.
        destination: where images go.
        output: is told what happens.
        concurrency: requests under way at once.
    """

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
        async with anyio.create_task_group() as tasks:
            for _ in range(min(self._concurrency, len(self._requests))):
                tasks.start_soon(self._work, client, waiting)
        outcomes = tuple(sorted(self.outcomes, key=lambda outcome: outcome.index))
        return Summary(outcomes=outcomes, elapsed=anyio.current_time() - started_at)

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
        started_at = anyio.current_time()
        response: ImagesResponse | None = None
        saved: list[SavedImage] = []
        error: Exception | None = None
        try:
            response = await client.generate(request)
            error = await self._save(response.data, request.prompt, saved)
        except (QuotaExceededError, AuthenticationError) as exc:
            # Nothing that is sent with this key will succeed.
            self._stopped_by = error = exc
        except anyio.get_cancelled_exc_class():
            error = InterruptedRequest(() if response is None else response.data[len(saved) :])
            raise
        except Exception as exc:
            # Whatever it is: let out, it would cancel the others, which are paid for.
            error = exc
        finally:
            http = None if response is None else response.http
            self._end(
                Outcome(
                    index=index,
                    prompt=request.prompt,
                    images=tuple(saved),
                    usage=None if response is None else response.usage,
                    request_id=getattr(error, "request_id", None) if http is None else http.request_id,
                    elapsed=anyio.current_time() - started_at,
                    error=error,
                )
            )

    def _end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.output.finished(outcome)

    async def _save(self, images: Sequence[Image], prompt: str, saved: list[SavedImage]) -> SavingError | None:
        """Save all that can be saved, and give the first error."""
        first_error: SavingError | None = None
        for image in images:
            try:
                content = await self._read(image)
                # Not even Ctrl-C comes between an image that is here and its file.
                with anyio.CancelScope(shield=True):
                    saved.append(await self._destination.save(content, prompt))
            except SavingError as error:
                first_error = first_error or error
        return first_error

    async def _read(self, image: Image) -> bytes:
        try:
            return await image.read()
        except AIAIError as error:
            # The whole link with its signature is shown here, to its owner, who can still use it.
            words = (
                f"the image was made and paid for, but its link can't be fetched: {error}; try it yourself: {image.url}"
            )
            raise SavingError(words, url=image.url) from error


def count_images(requests: Sequence[ImageRequest]) -> int:
    """Count the images that are asked for."""
    return sum(request.n or 1 for request in requests)
