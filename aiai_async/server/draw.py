"""Draws the pictures: a small abstract landscape for each prompt, the same for the same prompt and seed.

The scene is laid out in parts of the picture's sides, so one prompt gives the same scene in every size. This module
blocks: the server calls it in a thread. It knows nothing of HTTP, and imports Pillow at the first picture.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import io
import math
import random
import textwrap
from typing import TYPE_CHECKING, Final, Literal

import attrs

from aiai_async._errors import ConfigurationError

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Color = tuple[int, int, int]
OutputFormat = Literal["png", "jpeg", "webp"]

# Sky above, sky at the horizon, sun, nearest hill: each scene takes one palette and shifts it a little.
_PALETTES: Final[tuple[tuple[Color, Color, Color, Color], ...]] = (
    ((43, 48, 102), (252, 163, 130), (255, 226, 176), (37, 30, 66)),
    ((88, 158, 214), (226, 241, 247), (255, 247, 214), (31, 84, 82)),
    ((16, 20, 48), (78, 84, 152), (240, 240, 255), (9, 12, 30)),
    ((104, 178, 172), (250, 232, 190), (255, 250, 235), (44, 78, 62)),
    ((122, 74, 130), (247, 178, 196), (255, 238, 214), (58, 30, 74)),
    ((226, 132, 82), (252, 222, 160), (255, 249, 222), (92, 42, 38)),
)
_HILLS: Final = 5
_LONGEST_CAPTION: Final = 160
# The radius of the first partial image's blur, in parts of the shorter side: the sun is a haze, the caption is gone.
_FIRST_BLUR: Final = 1 / 16
# The fastest level: level 6 takes five times as long for a file a third smaller, which nobody downloads far.
_PNG_LEVEL: Final = 1


@attrs.frozen(kw_only=True)
class Drawing:
    """What one picture is made from; equal drawings give equal bytes."""

    prompt: str
    seed: int = 0
    index: int = 0
    """Which of the pictures of one request this is, from 0."""
    partial: int | None = None
    """Which of its partial images, from 0, four times as sharp each time; None is the picture itself."""
    width: int = 1024
    height: int = 1024
    transparent: bool = False
    """Leave the sky away. Needs png or webp."""
    output_format: OutputFormat = "png"
    compression: int = 100
    """The quality of jpeg and webp, 0 to 100."""


def require_pillow() -> None:
    """Raise where nothing can be drawn.

    Raises:
        ConfigurationError: Pillow is not installed; the message says how to get it.
    """
    try:
        importlib.import_module("PIL")
    except ImportError as exc:
        raise ConfigurationError(
            "the local server draws with Pillow, which is not installed: pip install 'aiai-async[server]'"
        ) from exc


# The same few prompts come again and again in tests, and equal drawings give equal bytes. A stream's partial
# images are drawings too, three more for each.
@functools.lru_cache(maxsize=64)
def draw(drawing: Drawing) -> bytes:
    """Draw one picture and encode it. Takes tens of milliseconds for a megapixel."""
    picture = paint(drawing)
    return encode(picture if drawing.partial is None else blur(picture, drawing.partial), drawing)


def encode(picture: Image.Image, drawing: Drawing) -> bytes:
    """Write a picture in the format that was asked for."""
    file = io.BytesIO()
    if drawing.output_format == "png":
        picture.save(file, "PNG", compress_level=_PNG_LEVEL)
    elif drawing.output_format == "jpeg":
        # Pillow advises against more than 95: the file grows much and the picture hardly gets better.
        picture.convert("RGB").save(file, "JPEG", quality=min(95, max(1, drawing.compression)))
    else:
        picture.save(file, "WEBP", quality=drawing.compression, method=0)
    return file.getvalue()


def paint(drawing: Drawing) -> Image.Image:
    """Paint the scene: sky, sun, hills one behind the other, and the prompt below; RGBA where the sky is left away."""
    from PIL import Image, ImageDraw

    digest = hashlib.sha256(f"{drawing.seed}/{drawing.index}/{drawing.prompt}".encode("utf-8", "replace")).digest()
    chance = random.Random(digest)
    high, low, sun, near = (_shift(color, chance) for color in chance.choice(_PALETTES))
    size = (drawing.width, drawing.height)
    picture = Image.new("RGBA", size, (*high, 0)) if drawing.transparent else _gradient(high, low, size)
    _shine(picture, sun, chance)
    for layer in range(_HILLS):
        nearness = (layer + 1) / _HILLS
        _raise_hill(picture, _mix(low, near, nearness), chance, base=0.5 + 0.36 * nearness)
    _write_caption(ImageDraw.Draw(picture), drawing.prompt, _mix(sun, (255, 255, 255), 0.5), size)
    return picture


def blur(picture: Image.Image, partial: int) -> Image.Image:
    """Show a picture as it is while still in the making: heavily blurred at first, nearly sharp at the third time."""
    from PIL import Image, ImageFilter

    radius = min(picture.size) * _FIRST_BLUR / 4**partial
    # Most of a wide blur is done by reducing the picture and enlarging it again: four times as fast, and as soft.
    step = max(1, round(radius / 2))
    small = picture.reduce(step).filter(ImageFilter.GaussianBlur(radius / step))
    return small.resize(picture.size, Image.Resampling.BICUBIC)


def _shift(color: Color, chance: random.Random) -> Color:
    red, green, blue = (min(255, max(0, part + chance.randint(-18, 18))) for part in color)
    return red, green, blue


def _mix(one: Color, other: Color, share: float) -> Color:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _gradient(top: Color, bottom: Color, size: tuple[int, int]) -> Image.Image:
    from PIL import Image

    column = Image.new("RGB", (1, 64))
    column.putdata([_mix(top, bottom, min(1.0, row / 48)) for row in range(64)])
    # First down, then across: stretching both at once would interpolate every pixel of a row anew.
    return column.resize((1, size[1]), Image.Resampling.BICUBIC).resize(size, Image.Resampling.NEAREST)


def _shine(picture: Image.Image, color: Color, chance: random.Random) -> None:
    """Paste the sun with its glow, or a larger and a smaller one."""
    from PIL import Image

    glow = Image.radial_gradient("L")
    for count in range(chance.choice((1, 1, 1, 2))):
        radius = chance.uniform(0.06, 0.13) * min(picture.size) / (1 + count)
        x = round(chance.uniform(0.15, 0.85) * picture.width)
        y = round(chance.uniform(0.14, 0.42) * picture.height)
        half = max(2, round(radius * 3))
        # The gradient is 0 in the middle and 255 at three radii: a bright disc with a soft edge and a faint halo.
        disc = glow.point([max(0, min(255, 85 * 24 - level * 24)) or max(0, 190 - level) // 3 for level in range(256)])
        picture.paste(color, (x - half, y - half), disc.resize((2 * half, 2 * half), Image.Resampling.BILINEAR))


def _raise_hill(picture: Image.Image, color: Color, chance: random.Random, *, base: float) -> None:
    """Fill everything below a line of three waves around `base`, a part of the height."""
    from PIL import Image, ImageDraw

    waves = [(chance.uniform(0.4, 1.3) * 2.3**k, chance.uniform(0, math.tau), 0.045 / 2.1**k) for k in range(3)]
    width, height = picture.size
    # The waves reach 0.08 above the base: what lies higher is not touched, which saves a third of the time.
    top = int(height * (base - 0.09))
    # Twice as fine as the picture, then reduced: that is what smooths the edge.
    mask = Image.new("L", (width * 2, (height - top) * 2), 0)
    step = max(1, width // 128)
    line = [
        (x * 2, 2 * (height * (base + sum(a * math.sin(math.tau * f * x / width + p) for f, p, a in waves)) - top))
        for x in range(0, width + step, step)
    ]
    ImageDraw.Draw(mask).polygon([*line, ((width + step) * 2, mask.height), (0, mask.height)], fill=255)
    picture.paste(color, (0, top), mask.reduce(2))


def _write_caption(canvas: ImageDraw.ImageDraw, prompt: str, color: Color, size: tuple[int, int]) -> None:
    from PIL import ImageFont

    # Control characters and line ends would be drawn as boxes; letters that the font lacks still are.
    words = "".join(letter if letter.isprintable() else " " for letter in prompt[: 2 * _LONGEST_CAPTION])
    font_size = max(8, min(size) // 36)
    font = ImageFont.load_default(font_size)
    per_line = max(8, round(size[0] * 0.9 / (font_size * 0.55)))
    text = "\n".join(textwrap.wrap(words, per_line, max_lines=2, placeholder=" …"))
    canvas.multiline_text((size[0] / 2, size[1] * 0.965), text, fill=color, font=font, anchor="md", align="center")
