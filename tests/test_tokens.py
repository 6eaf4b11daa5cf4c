"""How many tokens an image has: against the published tables, and what is expected where something is left open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._tokens import expected_tokens, family_of, image_tokens, parse_size

# Source: OpenAI, "Image generation", "Calculating costs", the table of GPT Image models before gpt-image-2;
# https://developers.openai.com/api/docs/guides/image-generation, looked at on 2026-11-26.
BY_SIZE = {
    ("low", (1024, 1024)): 272,
    ("low", (1024, 1536)): 408,
    ("low", (1536, 1024)): 400,
    ("medium", (1024, 1024)): 1056,
    ("medium", (1024, 1536)): 1584,
    ("medium", (1536, 1024)): 1568,
    ("high", (1024, 1024)): 4160,
    ("high", (1024, 1536)): 6240,
    ("high", (1536, 1024)): 6208,
}
# Source: the prices of images that fal.ai publishes, divided by its $30 for a million tokens; figures of gpt-image-2.5
# at https://fal.ai/models/openai/gpt-image-2.5/flare/text-to-image as they stand in LiteLLM 1.110.2. Its qualities low,
# high and max have the sides of gpt-image-2's low, medium and high.
BY_SIDES = {
    ("low", (1024, 768)): 134,
    ("low", (1024, 1024)): 196,
    ("low", (1024, 1536)): 158,
    ("low", (1920, 1080)): 147,
    ("low", (2560, 1440)): 205,
    ("low", (3840, 2160)): 371,
    ("medium", (1024, 1024)): 439,
    ("medium", (1024, 1536)): 343,
    ("medium", (3840, 2160)): 865,
    ("high", (1024, 768)): 1204,
    ("high", (1024, 1024)): 1756,
    ("high", (1024, 1536)): 1372,
    ("high", (1920, 1080)): 1320,
    ("high", (2560, 1440)): 1843,
    ("high", (3840, 2160)): 3336,
    ("xhigh", (1024, 768)): 2140,
    ("xhigh", (1024, 1024)): 3122,
    ("xhigh", (1024, 1536)): 2459,
    ("xhigh", (3840, 2160)): 5930,
    ("max", (1024, 768)): 4815,
    ("max", (1024, 1024)): 7024,
    ("max", (1024, 1536)): 5488,
    ("max", (1920, 1080)): 5280,
    ("max", (2560, 1440)): 7370,
    ("max", (3840, 2160)): 13342,
}
QUALITIES_OF_2 = {"low": "low", "high": "medium", "max": "high"}


@pytest.mark.parametrize(("quality", "size"), BY_SIZE, ids=str)
@pytest.mark.parametrize("model", ["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-1-2025-04-23"])
def test_the_tokens_of_the_published_table(model: str, quality: str, size: tuple[int, int]) -> None:
    """For all models that are counted by it."""
    assert image_tokens(model, size=size, quality=quality) == BY_SIZE[quality, size]


@pytest.mark.parametrize(("quality", "size"), BY_SIDES, ids=str)
def test_the_tokens_of_the_calculator(quality: str, size: tuple[int, int]) -> None:
    """To the token, either way round."""
    tokens = BY_SIDES[quality, size]
    for sides in (size, (size[1], size[0])):
        assert image_tokens("gpt-image-2.5-flare", size=sides, quality=quality) == tokens
        assert image_tokens("gpt-image-2.5-sunburst-2026-09-08", size=sides, quality=quality) == tokens
        if quality in QUALITIES_OF_2:
            assert image_tokens("gpt-image-2-2026-04-21", size=sides, quality=QUALITIES_OF_2[quality]) == tokens


def test_a_size_that_is_not_in_the_table_counts_by_its_area() -> None:
    """Rounded up, and never 0."""
    assert image_tokens("gpt-image-1", size=(2048, 1024), quality="low") == 544
    assert image_tokens("flux-pro", size=(1024, 1025), quality="low") == 273
    assert image_tokens("gpt-image-1", size=(1, 1), quality="low") == 1


def test_a_quality_that_is_not_known_counts_as_the_best() -> None:
    """Such as one that came later."""
    assert image_tokens("gpt-image-1", size=(1024, 1024), quality="ultra") == 4160
    assert image_tokens("gpt-image-2", size=(1024, 1024), quality="ultra") == 7024


@pytest.mark.parametrize(
    ("model", "size", "quality", "tokens"),
    [
        ("gpt-image-1", "1024x1024", "low", 272),
        ("gpt-image-1", None, "low", 408),
        ("gpt-image-1", "1024x1024", None, 4160),
        ("gpt-image-1.5", None, None, 6240),
        # As many as the published price of an image buys: $0.005 and $0.052 at $8 a million.
        ("gpt-image-1-mini", "1024x1024", "low", 625),
        ("gpt-image-1-mini", None, None, 6500),
        ("gpt-image-2", "1024x1024", None, 7024),
        # The dearest size that it takes: 2880x2880.
        ("gpt-image-2", None, None, 23719),
        ("gpt-image-2", None, "low", 659),
        # Any of them may be behind another name.
        ("flux-pro", "1536x1024", "high", 6208),
        ("flux-pro", "1024x1024", None, 7024),
        ("flux-pro", None, None, 23719),
    ],
)
def test_what_is_left_to_the_model_counts_as_the_most(
    model: str, size: str | None, quality: str | None, tokens: int
) -> None:
    """Size, quality, or both."""
    assert expected_tokens(model, size=size, quality=quality) == tokens


@given(
    model=st.sampled_from(["gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "gpt-image-2", "flux-pro"]),
    quality=st.sampled_from(["low", "medium", "high"]),
    asks_for_quality=st.booleans(),
    size=st.sampled_from([(1024, 1024), (1536, 1024), (1024, 1536)]),
    asks_for_size=st.booleans(),
)
def test_no_image_has_more_than_expected(
    model: str, quality: str, asks_for_quality: bool, size: tuple[int, int], asks_for_size: bool
) -> None:
    """Whatever the model chose where it was left to it."""
    expected = expected_tokens(
        model,
        size=f"{size[0]}x{size[1]}" if asks_for_size else None,
        quality=quality if asks_for_quality else None,
    )
    assert 0 < image_tokens(model, size=size, quality=quality) <= expected


@given(width=st.integers(1, 240), height=st.integers(1, 240), quality=st.sampled_from(["low", "medium", "high"]))
def test_the_dearest_size_is_the_dearest(width: int, height: int, quality: str) -> None:
    """Of all that gpt-image-2 takes."""
    size = (16 * width, 16 * height)
    if size[0] * size[1] <= 3840 * 2160 and max(size) <= 3 * min(size):
        assert image_tokens("gpt-image-2", size=size, quality=quality) <= expected_tokens(
            "gpt-image-2", size=None, quality=quality
        )


def test_names_and_sizes() -> None:
    """Dates belong to snapshots; what is no size is None."""
    assert family_of("gpt-image-2-2026-04-21") == "gpt-image-2"
    assert family_of("gpt-image-2-2026-04") == "gpt-image-2-2026-04"
    assert parse_size("3840x2160") == (3840, 2160)
    assert parse_size("auto") is parse_size("0x10") is parse_size("10x10px") is None
