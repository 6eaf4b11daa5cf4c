"""Answers, their tokens and their refusals as JSON values."""

from __future__ import annotations

import pytest

from aiai_async.server.answers import count_tokens, make_answer, revise_prompt
from aiai_async.server.refusals import mask
from aiai_async.server.validate import check_request

TOKENS = {
    ("low", "1024x1024"): 272,
    ("medium", "1024x1024"): 1056,
    ("high", "1024x1024"): 4160,
    ("low", "1024x1536"): 408,
    ("medium", "1024x1536"): 1584,
    ("high", "1024x1536"): 6240,
    ("low", "1536x1024"): 400,
    ("medium", "1536x1024"): 1568,
    ("high", "1536x1024"): 6208,
}


@pytest.mark.parametrize(("quality", "size"), TOKENS, ids=str)
def test_output_tokens_are_those_of_the_table(quality: str, size: str) -> None:
    """By quality and size, for each image."""
    fields = {"prompt": "a", "model": "gpt-image-1", "quality": quality, "size": size}
    assert count_tokens(check_request(fields)).image_output == TOKENS[quality, size]
    assert count_tokens(check_request({**fields, "n": 3})).image_output == 3 * TOKENS[quality, size]


def test_another_model_counts_otherwise() -> None:
    """As its calculator does: the wide picture has fewer tokens than the square one."""
    request = check_request({"prompt": "a", "model": "gpt-image-2", "quality": "high", "size": "1536x1024"})
    assert count_tokens(request).image_output == 5488


def test_another_size_costs_by_its_area() -> None:
    """Twice the square of the table, of a model that nobody knows."""
    request = check_request({"prompt": "a", "model": "flux-pro", "quality": "low", "size": "2048x1024"})
    assert count_tokens(request).image_output == 2 * 272


def test_each_partial_image_costs_a_hundred_more() -> None:
    """For each of the images."""
    request = check_request({"prompt": "a", "model": "gpt-image-1", "quality": "low", "n": 2})
    assert count_tokens(request, partial_images=3).image_output == 2 * (272 + 300)


def test_the_sums_in_usage_are_right() -> None:
    """Total is input and output, and the details say of what kind."""
    request = check_request({"prompt": "four", "model": "gpt-image-1", "quality": "low"})
    assert count_tokens(request).as_usage() == {
        "total_tokens": 273,
        "input_tokens": 1,
        "output_tokens": 272,
        "input_tokens_details": {"text_tokens": 1, "image_tokens": 0},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 272},
    }


def test_dalle_says_nothing_of_usage_and_settings() -> None:
    """Only when and what."""
    request = check_request({"prompt": "a", "model": "dall-e-3", "quality": "hd"})
    assert make_answer(request, [{"url": "u"}], created=5) == {"created": 5, "data": [{"url": "u"}]}
    assert count_tokens(request).image_output == 0


def test_a_prompt_is_revised_in_the_style_asked_for() -> None:
    """The words of the caller stay, and the style shows."""
    natural = revise_prompt(check_request({"prompt": "A cat.", "model": "dall-e-3", "style": "natural"}))
    vivid = revise_prompt(check_request({"prompt": "A cat.", "model": "dall-e-3"}))
    assert natural.startswith("A cat. ")
    assert natural != vivid


@pytest.mark.parametrize("key", ["a", "secret", "sk-0123456789abc", "schlüssel-0123456789-0123", "a\nb" * 20], ids=repr)
def test_short_and_strange_keys_show_nothing(key: str) -> None:
    """A part of a short key is too much of it."""
    assert mask(key) == "***"


def test_a_long_key_is_recognized_and_no_more() -> None:
    """Five letters of it."""
    assert mask("sk-proj-0123456789abcdef") == "sk-***ef"
