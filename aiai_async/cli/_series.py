"""Files of streams: the partial images beside the final one that they lead to, all with one name.

Events don't say which of several images they show. The first partial image with some index is taken for the first
image's, the second one with it for the second's: this holds whether a server makes its images together or one by one,
and where it doesn't, only names are wrong.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Final

import anyio.to_thread

from aiai_async import ImageRequest
from aiai_async.cli._outcomes import SavedImage
from aiai_async.cli._saving import Destination, SavingError


class Claims:
    """The names that the streams of one command have taken, so that no two of them take the same.

    Args:
        destination: where the files go.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination: Final = destination
        self._taken: Final[set[str]] = set()

    async def take(self, prompt: str) -> str:
        """Give the first name, without suffix, that no file in the folder has and no other stream has taken.

        Raises:
            SavingError: the folder can't be read.
        """
        folder = self._destination.folder
        try:
            in_use = await anyio.to_thread.run_sync(_list_stems, folder)
        except OSError as error:
            raise SavingError(f"a partial image can't be written to {folder}: {error.strerror}") from error
        # From here on nothing is awaited, so that nobody comes between looking and taking.
        for stem in self._destination.make_stems(prompt):
            if stem not in self._taken and stem not in in_use:
                self._taken.add(stem)
                return stem
        raise AssertionError("names have no end")


def _list_stems(folder: Path) -> set[str]:
    """Give what the names in a folder begin with, up to each of their dots."""
    return {name[:at] for name in os.listdir(folder) for at, character in enumerate(name) if character == "."}


class Series:
    """Saves the images of one stream as they come.

    Args:
        destination: where they go.
        request: what they are made from, and named after.
        claims: the names taken by all streams.
    """

    def __init__(self, destination: Destination, request: ImageRequest, claims: Claims) -> None:
        self._destination: Final = destination
        self._request: Final = request
        self._claims: Final = claims
        self._stems: Final[list[str]] = []
        """The names of the images that had a partial one, in order."""
        self._seen: Final[Counter[int]] = Counter()
        """How many partial images with an index came."""
        self._completed = 0

    async def save_partial(self, content: bytes, index: int) -> SavedImage:
        """Write a partial image.

        Raises:
            SavingError: it can't be written.
        """
        place = self._seen[index]
        self._seen[index] += 1
        while len(self._stems) <= place:
            self._stems.append(await self._claims.take(self._request.prompt))
        return await self._destination.save_partial(content, index, stem=self._stems[place])

    async def save(self, content: bytes) -> SavedImage:
        """Write a final image.

        Raises:
            SavingError: it can't be written there; where it is instead.
        """
        place = self._completed
        self._completed += 1
        stem = self._stems[place] if place < len(self._stems) else None
        return await self._destination.save(content, self._request, stem=stem)
