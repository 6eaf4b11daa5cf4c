"""`_maker`: many prompts at once, and what a cancellation leaves."""

from __future__ import annotations

from pathlib import Path

import anyio
import attrs
import pytest

from aiai_async import AsyncImagesClient, ImageRequest
from aiai_async.cli._maker import Maker
from aiai_async.cli._outcomes import InterruptedRequest, SavedImage, describe_interruption
from aiai_async.cli._output import PlainOutput
from aiai_async.cli._saving import Destination
from aiai_async.server import LocalServer


@attrs.frozen
class InterruptedDestination(Destination):
    """A folder; Ctrl-C comes while the first image is written to it."""

    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)

    async def save(self, content: bytes, request: ImageRequest) -> SavedImage:
        self.scope.cancel()
        return await super().save(content, request)


@pytest.mark.parametrize(("response_format", "saved"), [("b64_json", 3), ("url", 1)])
async def test_an_interruption_loses_no_image_that_is_here(
    response_format: str, saved: int, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Images of an answer that came are saved; links that were not yet fetched are shown to their owner."""
    destination = InterruptedDestination(tmp_path)
    async with LocalServer() as server, AsyncImagesClient("any", base_url=server.base_url) as client:
        fields = {"model": "dall-e-2", "n": 3, "size": "256x256", "response_format": response_format}
        # Typed as the client types them, which a table of cases can't be.
        request = ImageRequest(prompt="A kite", **fields)  # type: ignore[arg-type]
        maker = Maker([request, request], destination=destination, output=PlainOutput(), concurrency=1)
        with destination.scope:
            await maker.run(client)
    assert destination.scope.cancelled_caught
    (outcome,) = maker.outcomes
    assert [image.path.name for image in outcome.images] == [f"a-kite-{k + 1}.png" for k in range(saved)]
    assert all(image.path.stat().st_size == image.size_bytes for image in outcome.images)
    if response_format == "b64_json":
        return
    assert isinstance(outcome.error, InterruptedRequest) and len(outcome.error.links) == 2
    out, err = capsys.readouterr()
    assert err.startswith(
        "error: A kite: interrupted, but these links to its images work for a while: http://127.0.0.1"
    )
    assert "a-kite-1.png" in out
    assert describe_interruption(maker.outcomes) == (
        "interrupted: 1 image saved, 1 request cut off, which may be billed all the same"
    )
