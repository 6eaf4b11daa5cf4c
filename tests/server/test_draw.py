"""The pictures: right in size and format, the same for the same prompt, and drawn whatever the prompt holds."""

from __future__ import annotations

import io
import sys

import attrs
import pytest
from PIL import Image, ImageChops, ImageStat

from aiai_async._errors import ConfigurationError
from aiai_async.server.draw import Drawing, OutputFormat, draw, paint, require_pillow


def small(prompt: str, *, seed: int = 0, index: int = 0) -> Drawing:
    """Make a drawing that takes no time."""
    return Drawing(prompt=prompt, seed=seed, index=index, width=96, height=64)


def opened(content: bytes) -> Image.Image:
    """Decode a picture wholly."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("size", [(1024, 1024), (256, 256), (1536, 1024), (96, 288), (16, 48), (1, 1)], ids=str)
def test_size_and_format_are_those_asked_for(output_format: OutputFormat, size: tuple[int, int]) -> None:
    """Any size can be drawn in any format."""
    drawing = Drawing(prompt="A lighthouse", width=size[0], height=size[1], output_format=output_format)
    picture = opened(draw(drawing))
    assert (picture.size, picture.format) == (size, output_format.upper())


@pytest.mark.parametrize("output_format", ["png", "webp"])
def test_a_transparent_background_lets_through_and_the_rest_does_not(output_format: OutputFormat) -> None:
    """The sky is away, the hills are there."""
    drawing = Drawing(prompt="A lighthouse", transparent=True, output_format=output_format)
    alpha = opened(draw(drawing)).getchannel("A")
    assert alpha.getpixel((0, 0)) == 0
    assert alpha.getpixel((512, 1023)) == 255


def test_an_opaque_picture_has_no_alpha() -> None:
    """Nobody has to flatten what was asked for opaque."""
    assert opened(draw(small("A lighthouse"))).mode == "RGB"


def test_the_same_drawing_gives_the_same_bytes() -> None:
    """Also when it is not remembered."""
    drawing = Drawing(prompt="A lighthouse", seed=3)
    assert draw.__wrapped__(drawing) == draw.__wrapped__(drawing)


@pytest.mark.parametrize(
    "other",
    [
        small("A windmill"),
        small("A lighthouse", seed=1),
        small("A lighthouse", index=1),
    ],
    ids=["prompt", "seed", "index"],
)
def test_another_prompt_seed_or_index_gives_another_picture(other: Drawing) -> None:
    """Each of them counts."""
    assert draw(other) != draw(small("A lighthouse"))


def test_one_prompt_gives_the_same_scene_in_every_size() -> None:
    """The scene is laid out in parts of the sides."""
    large = paint(Drawing(prompt="A lighthouse", width=512, height=512)).resize((64, 64))
    small = paint(Drawing(prompt="A lighthouse", width=1024, height=1024)).resize((64, 64))
    differences = [abs(a - b) for a, b in zip(large.tobytes(), small.tobytes(), strict=True)]
    assert sum(differences) / len(differences) < 4


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
def test_less_quality_makes_a_smaller_file(output_format: OutputFormat) -> None:
    """`output_compression` does something, at its ends too."""
    sizes = [
        len(draw(Drawing(prompt="A lighthouse", output_format=output_format, compression=quality)))
        for quality in (0, 50, 100)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize(
    "prompt",
    [
        "灯台と海",
        "منارة عند الغسق",
        "👩‍👩‍👧‍👦 at the sea",
        "line\nbreaks\tand\x00\x1b[31mcontrols",
        "x" * 32_000,
        " " * 500 + "late",
        "\ud800",
        "​",
        "\u202eright to left",
    ],
    ids=["japanese", "arabic", "emoji", "controls", "long word", "spaces", "surrogate", "zero width", "override"],
)
def test_any_prompt_can_be_drawn(prompt: str) -> None:
    """A letter that the font lacks is a box, never an error."""
    assert opened(draw(small(prompt))).size == (96, 64)


def difference(one: Image.Image, other: Image.Image) -> float:
    """How far two pictures of a size are apart for the eye, on a black ground."""
    seen = [Image.alpha_composite(Image.new("RGBA", p.size, (0, 0, 0)), p.convert("RGBA")) for p in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*seen)).mean)


@pytest.mark.parametrize(
    ("output_format", "transparent"),
    [("png", False), ("png", True), ("jpeg", False), ("webp", False), ("webp", True)],
)
@pytest.mark.parametrize("size", [(1024, 1024), (1024, 1536), (64, 64)], ids=str)
def test_partial_images_come_nearer_to_the_picture(
    output_format: OutputFormat, transparent: bool, size: tuple[int, int]
) -> None:
    """Each is of the same size and format, and nearer to the final one than the one before."""
    drawing = Drawing(
        prompt="A lighthouse",
        width=size[0],
        height=size[1],
        transparent=transparent,
        output_format=output_format,
    )
    final = opened(draw(drawing))
    partials = [opened(draw(attrs.evolve(drawing, partial=partial))) for partial in range(3)]
    assert {(partial.size, partial.format, partial.mode) for partial in partials} == {(size, final.format, final.mode)}
    first, second, third = (difference(partial, final) for partial in partials)
    assert first > second > third > 0
    assert first > 2 * third


def test_even_the_first_partial_image_shows_the_very_scene() -> None:
    """From afar it is the final picture, and no other one."""
    haze, final, other = (
        opened(draw(Drawing(prompt=prompt, partial=partial))).resize((8, 8), Image.Resampling.BOX)
        for prompt, partial in (("A lighthouse", 0), ("A lighthouse", None), ("A windmill", None))
    )
    assert difference(haze, final) < difference(other, final) / 5


@pytest.mark.parametrize("partial", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (16, 48), (3, 1)], ids=str)
def test_tiny_pictures_have_partial_images_too(size: tuple[int, int], partial: int) -> None:
    """However little there is to blur."""
    drawing = Drawing(prompt="A lighthouse", width=size[0], height=size[1], partial=partial)
    assert opened(draw(drawing)).size == size


def test_without_pillow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named as one types it."""
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'aiai-async\[server\]'"):
        require_pillow()
