"""Makes the images of many prompts as streams: each image is told, and saved, when it is there.

How several go at once, and what an error or Ctrl-C means, is `Maker`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import anyio
import attrs

from aiai_async import (
    AIAIError,
    APIError,
    AsyncImagesClient,
    ImageCompletedEvent,
    ImageRequest,
    IncompleteStreamError,
    PartialImageEvent,
)
from aiai_async._facts import add_usages
from aiai_async.cli._maker import Maker, Work, read_image
from aiai_async.cli._outcomes import Arrival, SavedImage, count_saved
from aiai_async.cli._output import Output
from aiai_async.cli._saving import Destination, SavingError
from aiai_async.cli._series import Claims, Series


class StreamMaker(Maker):
    """Makes the images of these requests as streams, once, by `run`.

    Args:
        requests: already checked.
        destination: where images go.
        output: is told what happens.
        concurrency: requests under way at once.
        save_partials: whether partial images are saved too.
    """

    _streams: ClassVar[bool] = True

    def __init__(
        self,
        requests: Sequence[ImageRequest],
        *,
        destination: Destination,
        output: Output,
        concurrency: int,
        save_partials: bool,
    ) -> None:
        super().__init__(requests, destination=destination, output=output, concurrency=concurrency)
        self._save_partials: Final = save_partials
        self._claims: Final = Claims(destination)

    async def _request(self, client: AsyncImagesClient, work: Work) -> None:
        series = Series(self._destination, work.request, self._claims)
        try:
            async with client.stream(work.request) as stream:
                async for event in stream:
                    await self._take(event, series, work)
                response = await stream.response()
        except APIError as error:
            _explain_rest(error, work)
            raise
        work.cost = response.cost
        work.request_id = None if response.http is None else response.http.request_id

    async def _take(self, event: PartialImageEvent | ImageCompletedEvent, series: Series, work: Work) -> None:
        """Save what an event brought, as far as it is to be saved, and tell of it."""
        elapsed = anyio.current_time() - work.started_at
        saved: SavedImage | None = None
        try:
            # Not even Ctrl-C comes between an image that is here and its file.
            if isinstance(event, ImageCompletedEvent):
                _note_completed(event, work)
                content = await read_image(event.image)
                with anyio.CancelScope(shield=True):
                    saved = await series.save(content)
                    saved = attrs.evolve(saved, revised_prompt=event.image.revised_prompt)
                    work.note_saved(event.image, saved)
            elif self._save_partials:
                content = await _read_partial(event)
                with anyio.CancelScope(shield=True):
                    saved = await series.save_partial(content, event.partial_image_index)
                    work.saved_partials.append(saved)
        except SavingError as error:
            work.note_unsaved(error)
        self.output.came(
            Arrival(index=work.index, prompt=work.request.prompt, elapsed=elapsed, event=event, saved=saved)
        )


def _explain_rest(error: APIError, work: Work) -> None:
    """Add to what ended a stream what became of the images before; who reads it has no other place to learn it."""
    if isinstance(error, IncompleteStreamError):
        # The library's own hint tells programs where the events are.
        error.hint = f"saved before that: {count_saved(len(work.saved), len(work.saved_partials))}"
    if work.saving_error is not None:
        error.hint = f"{error.hint}; {work.saving_error}" if error.hint else str(work.saving_error)


def _note_completed(event: ImageCompletedEvent, work: Work) -> None:
    work.unsaved.append(event.image)
    if event.usage is not None:
        work.usage = event.usage if work.usage is None else add_usages([work.usage, event.usage])


async def _read_partial(event: PartialImageEvent) -> bytes:
    try:
        return await event.image.read()
    except AIAIError as error:
        raise SavingError(f"a partial image can't be fetched from its link: {error}") from error
