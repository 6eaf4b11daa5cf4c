"""How many output tokens an image has, by model, size and quality. Pure.

Source, looked at on 2026-11-26: OpenAI, "Image generation",
https://developers.openai.com/api/docs/guides/image-generation, sections "Calculating costs", with its calculator for
gpt-image-2, and "Partial images cost". With the calculator's formula the prices of images that fal.ai publishes for
gpt-image-2 and -2.5 agree to the token.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Final

_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")
_SIZE: Final = re.compile(r"([1-9]\d{0,5})x([1-9]\d{0,5})\Z", re.ASCII)

PARTIAL_IMAGE_TOKENS: Final = 100
"""Output tokens that each partial image of a stream costs besides."""

_SQUARE: Final = 1024 * 1024
_BY_SIZE: Final[Mapping[str, Mapping[tuple[int, int], int]]] = {
    "low": {(1024, 1024): 272, (1024, 1536): 408, (1536, 1024): 400},
    "medium": {(1024, 1024): 1056, (1024, 1536): 1584, (1536, 1024): 1568},
    "high": {(1024, 1024): 4160, (1024, 1536): 6240, (1536, 1024): 6208},
}
"""Output tokens of an image, of the models that are counted by size."""
_COUNTED_BY_SIZE: Final = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5")

# The price of an image that is published for gpt-image-1-mini is more than that of these tokens ($0.005 for 272 of them
# at $8 a million); what makes the difference isn't said. Expected are as many as the published price would buy.
_EXPECTED_OF_MINI: Final[Mapping[str, Mapping[tuple[int, int], int]]] = {
    "low": {(1024, 1024): 625, (1024, 1536): 750, (1536, 1024): 750},
    "medium": {(1024, 1024): 1375, (1024, 1536): 1875, (1536, 1024): 1875},
    "high": {(1024, 1024): 4500, (1024, 1536): 6500, (1536, 1024): 6500},
}

# From gpt-image-2 on the longer side has so many tokens by quality, the shorter one in proportion, and their product is
# taken times (2,000,000 + pixels) / 4,000,000. 1024x1024 in high quality: 96 * 96 * 0.762 = 7,024.
_OFFSET_PIXELS: Final = 2_000_000
_SCALE_PIXELS: Final = 4_000_000
_SIDES_OF_2: Final[Mapping[str, int]] = {"low": 16, "medium": 48, "high": 96}
_SIDES_OF_2_5: Final[Mapping[str, int]] = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
_SIDES: Final[Mapping[str, Mapping[str, int]]] = {
    "gpt-image-2": _SIDES_OF_2,
    "gpt-image-2.5-flare": _SIDES_OF_2_5,
    "gpt-image-2.5-sunburst": _SIDES_OF_2_5,
}
# The dearest of all sizes: the largest square of at most 3840 * 2160 pixels with sides that 16 divides.
_DEAREST_SIZE: Final = (2880, 2880)


@functools.lru_cache(maxsize=64)
def parse_size(text: str) -> tuple[int, int] | None:
    """Read `WIDTHxHEIGHT` in pixels; None where it is something else.

    Example:
        >>> parse_size("1536x1024")
        (1536, 1024)
    """
    match = _SIZE.match(text)
    return (int(match[1]), int(match[2])) if match else None


@functools.lru_cache(maxsize=64)
def family_of(model: str) -> str:
    """Give a model's name without its date.

    Example:
        >>> family_of("gpt-image-2-2026-04-21"), family_of("flux-pro")
        ('gpt-image-2', 'flux-pro')
    """
    return _DATE.sub("", model)


# Asked of each request, and always the same few things.
@functools.lru_cache(maxsize=64)
def image_tokens(model: str, *, size: tuple[int, int], quality: str) -> int:
    """Count the output tokens of one image, without partial images.

    A size that the published table hasn't got counts by its area. A model that nobody knows is taken for gpt-image-1.

    Args:
        model: its name, perhaps dated.
        size: width and height in pixels.
        quality: as it was made; one that the model doesn't have counts as its best.

    Example:
        >>> image_tokens("gpt-image-1", size=(1024, 1536), quality="high")
        6240
        >>> image_tokens("gpt-image-2", size=(1024, 1024), quality="high")
        7024
    """
    sides = _SIDES.get(family_of(model))
    return _count_by_sides(sides, size, quality) if sides else _count_by_size(_BY_SIZE, size, quality)


def _count_by_size(table: Mapping[str, Mapping[tuple[int, int], int]], size: tuple[int, int], quality: str) -> int:
    by_size = table.get(quality, table["high"])
    by_area = -(-by_size[1024, 1024] * size[0] * size[1] // _SQUARE)
    return by_size.get(size, max(1, by_area))


def _count_by_sides(sides: Mapping[str, int], size: tuple[int, int], quality: str) -> int:
    longer = sides.get(quality, max(sides.values()))
    # Rounded half up.
    shorter = (2 * longer * min(size) + max(size)) // (2 * max(size))
    return -(-longer * shorter * (_OFFSET_PIXELS + size[0] * size[1]) // _SCALE_PIXELS)


def expected_tokens(model: str, *, size: str | None, quality: str | None) -> int:
    """Give the most output tokens that an image may have; None is left to the model.

    Example:
        >>> expected_tokens("gpt-image-1", size=None, quality=None)
        6240
    """
    family = family_of(model)
    sides = parse_size(size) if size is not None else None
    best = quality or ""
    if family in _SIDES:
        return _count_by_sides(_SIDES[family], sides or _DEAREST_SIZE, best)
    table = _EXPECTED_OF_MINI if family == "gpt-image-1-mini" else _BY_SIZE
    dearest = max(table.get(best, table["high"]).values())
    tokens = dearest if sides is None else _count_by_size(table, sides, best)
    if family in _COUNTED_BY_SIZE:
        return tokens
    # Another name may stand for any of them.
    return max(tokens, _count_by_sides(_SIDES_OF_2, sides or _DEAREST_SIZE, best))
