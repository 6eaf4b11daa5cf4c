"""Has pictures drawn, and events written, in threads: the event loop never waits for either.

It owns how many are drawn at once; how a picture looks is `draw`'s.
"""

from __future__ import annotations

import os
from typing import Final

import anyio
import anyio.to_thread
import pybase64

from aiai_async.server.draw import Drawing, draw
from aiai_async.server.events import Moment, encode_event, make_fields
from aiai_async.server.validate import CheckedRequest


class Painter:
    """Draws what requests ask for.

    Args:
        seed: changes the pictures.
    """

    def __init__(self, *, seed: int) -> None:
        self._seed: Final = seed
        self._threads: Final = anyio.CapacityLimiter(os.cpu_count() or 1)

    async def draw(self, wanted: CheckedRequest, image: int, partial: int | None = None) -> bytes:
        """Draw one image of a request, or one of its partial images. A thread that nobody waits for ends unheard."""
        drawing = self._plan(wanted, image, partial)
        return await anyio.to_thread.run_sync(draw, drawing, limiter=self._threads, abandon_on_cancel=True)

    async def write_event(self, wanted: CheckedRequest, moment: Moment, *, created: int) -> bytes:
        """Draw the picture of an event and write the event, all of it in the thread: base64 and JSON of megabytes."""

        def write() -> bytes:
            content = draw(self._plan(wanted, moment.image, moment.partial))
            return encode_event(make_fields(wanted, moment, created=created), pybase64.b64encode(content).decode())

        return await anyio.to_thread.run_sync(write, limiter=self._threads, abandon_on_cancel=True)

    def _plan(self, wanted: CheckedRequest, image: int, partial: int | None) -> Drawing:
        return Drawing(
            prompt=wanted.prompt,
            seed=self._seed,
            index=image,
            partial=partial,
            width=wanted.width,
            height=wanted.height,
            transparent=wanted.background == "transparent",
            output_format=wanted.output_format,
            compression=wanted.compression,
        )
