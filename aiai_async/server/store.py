"""The pictures that are fetched by link: kept in memory for a while, and not more than so much.

Pure: `now` is an argument. Whoever knows a link may have the picture, as with the real API.
"""

from __future__ import annotations

import secrets
from typing import Final

import attrs

# 256 MiB: some thousand pictures of this server, or the twenty latest of the largest kind.
MOST_BYTES: Final = 256 * 2**20


@attrs.frozen(kw_only=True)
class StoredPicture:
    """One picture behind a link."""

    content: bytes
    media_type: str
    expires_at: float


class PictureStore:
    """Keeps pictures by name; drops them when they expire, and the oldest where there are too many.

    Args:
        lifetime: seconds that a picture can be had for.
        most_bytes: how much is kept in all; the latest picture is kept whatever its size.
    """

    def __init__(self, *, lifetime: float, most_bytes: int = MOST_BYTES) -> None:
        self._lifetime: Final = lifetime
        self._most_bytes: Final = most_bytes
        # In the order they came, which is also the order they expire in.
        self._pictures: dict[str, StoredPicture] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._pictures)

    def put(self, content: bytes, output_format: str, now: float) -> str:
        """Keep a picture and give the name to ask for it by, which nobody can guess."""
        name = f"{secrets.token_urlsafe(18)}.{output_format}"
        expires_at = now + self._lifetime
        self._pictures[name] = StoredPicture(
            content=content, media_type=f"image/{output_format}", expires_at=expires_at
        )
        self._size_bytes += len(content)
        while len(self._pictures) > 1:
            oldest, picture = next(iter(self._pictures.items()))
            if picture.expires_at > now and self._size_bytes <= self._most_bytes:
                break
            self._size_bytes -= len(picture.content)
            del self._pictures[oldest]
        return name

    def get(self, name: str, now: float) -> StoredPicture | None:
        """Give a picture; None where it has expired, was dropped, or never was."""
        picture = self._pictures.get(name)
        return picture if picture is not None and picture.expires_at > now else None
