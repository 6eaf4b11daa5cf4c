"""Names of image files that every file system takes, whatever a prompt or a `custom_id` holds. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

_EXTENSIONS: Final[Mapping[str | None, str]] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "image/avif": "avif",
}
# With number, place and extension far below the 143 bytes that the strictest file systems take (eCryptfs).
_LONGEST_SLUG: Final = 60
_OTHERS: Final = re.compile("[^a-z0-9]+")
# Of a long text only the beginning is looked at.
_LOOKED_AT: Final = 500


def make_name(index: int, text: str, k: int, media_type: str | None) -> str:
    """Name an image file `{index:06d}-{slug}-{k}.{ext}`.

    The index begins it, so no two are equal on file systems that ignore case, and none is a device on Windows.

    Args:
        index: the item's.
        text: what to name it after.
        k: which of the item's images it is, from 0.
        media_type: what the bytes are; None where they are no image that is known.

    Example:
        >>> make_name(7, "../CON: «Été» 灯塔?", 0, "image/jpeg")
        '000007-con-ete-0.jpg'
    """
    return f"{index:06d}-{make_slug(text)}-{k}.{_EXTENSIONS.get(media_type, 'bin')}"


def make_slug(text: str) -> str:
    """Make a part of a file name of any text: ASCII letters and digits joined by hyphens, never empty.

    Example:
        >>> make_slug("A lighthouse, at dusk!"), make_slug("黄昏的灯塔")
        ('a-lighthouse-at-dusk', 'image')
    """
    letters = text[:_LOOKED_AT]
    if not letters.isascii():
        decomposed = unicodedata.normalize("NFKD", letters)
        letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    slug = _OTHERS.sub("-", letters.lower()).strip("-")
    if len(slug) > _LONGEST_SLUG:
        # Not in the middle of a word, if it has any.
        slug = slug[: _LONGEST_SLUG + 1].rpartition("-")[0] or slug[:_LONGEST_SLUG]
    return slug.strip("-") or "image"
