"""The pictures that the page shows: in memory, by names that nobody can guess, not more than so many bytes. Pure."""

from __future__ import annotations

import secrets
from typing import Final

import attrs

MOST_BYTES: Final = 256 * 2**20
"""256 MiB: a hundred pictures of the usual size with their partial ones."""


@attrs.frozen
class Picture:
    """One picture as it came."""

    content: bytes = attrs.field(repr=False)
    media_type: str | None
    """Told by its bytes; None where they are no image that is known."""


class Gallery:
    """Keeps pictures; the oldest are dropped where there are too many.

    Args:
        most_bytes: how much is kept in all; the latest picture is kept whatever its size.

    Example:
        >>> gallery = Gallery(most_bytes=3)
        >>> first, _ = gallery.put(Picture(b"ab", None))
        >>> _, dropped = gallery.put(Picture(b"cd", None))
        >>> dropped == [first], gallery.get(first) is None
        (True, True)
    """

    def __init__(self, *, most_bytes: int = MOST_BYTES) -> None:
        self.most_bytes: Final = most_bytes
        self._pictures: Final[dict[str, Picture]] = {}
        self.size_bytes = 0
        """What is kept now."""

    def put(self, picture: Picture) -> tuple[str, list[str]]:
        """Keep a picture; give its name, and the names of those that were dropped for it."""
        name = secrets.token_urlsafe(18)
        self._pictures[name] = picture
        self.size_bytes += len(picture.content)
        dropped: list[str] = []
        while self.size_bytes > self.most_bytes and len(self._pictures) > 1:
            oldest = next(iter(self._pictures))
            self.drop(oldest)
            dropped.append(oldest)
        return name, dropped

    def get(self, name: str) -> Picture | None:
        """Give a picture; None where it was dropped, or never was."""
        return self._pictures.get(name)

    def drop(self, name: str) -> None:
        """Forget a picture; one that isn't there is no mistake."""
        picture = self._pictures.pop(name, None)
        if picture is not None:
            self.size_bytes -= len(picture.content)
