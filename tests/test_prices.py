"""The table of prices against the published pages, and prices that a caller gives."""

from __future__ import annotations

import copy
import datetime as dt
import pickle
import tomllib
from typing import Any

import attrs
import pytest

from aiai_async import ConfigurationError, ModelPrices
from aiai_async._models import PRICES, PRICES_DATE
from aiai_async._prices import find_prices, read_prices

# US dollars for a million tokens: text, cached text, image, cached image; text and image that come out.
# Source: OpenAI, the model pages https://developers.openai.com/api/docs/models/gpt-image-1 and .../gpt-image-1-mini;
# the others by way of LiteLLM 1.110.2 from https://developers.openai.com/api/docs/pricing; looked at on 2026-11-26.
PUBLISHED = {
    "gpt-image-1": (5.00, 1.25, 10.00, 2.50, None, 40.00),
    "gpt-image-1-mini": (2.00, 0.20, 2.50, 0.25, None, 8.00),
    "gpt-image-1.5": (5.00, 1.25, 8.00, 2.00, 10.00, 32.00),
    "gpt-image-2": (5.00, 1.25, 8.00, 2.00, None, 30.00),
    "gpt-image-2.5-flare": (5.00, 1.25, 8.00, 2.00, None, 30.00),
    "gpt-image-2.5-sunburst": (5.00, 1.25, 8.00, 2.00, None, 30.00),
}
# US dollars for an image. Source: OpenAI, "Pricing", https://openai.com/pricing, as it was on 2023-12-25 and, by way of
# LiteLLM 1.72.0, in June 2025.
PUBLISHED_IMAGES = {
    ("dall-e-2", "standard", "256x256"): 0.016,
    ("dall-e-2", "standard", "512x512"): 0.018,
    ("dall-e-2", "standard", "1024x1024"): 0.020,
    ("dall-e-3", "standard", "1024x1024"): 0.040,
    ("dall-e-3", "standard", "1792x1024"): 0.080,
    ("dall-e-3", "standard", "1024x1792"): 0.080,
    ("dall-e-3", "hd", "1024x1024"): 0.080,
    ("dall-e-3", "hd", "1792x1024"): 0.120,
    ("dall-e-3", "hd", "1024x1792"): 0.120,
}


@pytest.mark.parametrize("model", PUBLISHED)
def test_prices_of_tokens_are_those_of_the_page(model: str) -> None:
    """By kind, and with the date of the table."""
    prices = PRICES[model]
    found = (
        prices.text_input,
        prices.cached_text_input,
        prices.image_input,
        prices.cached_image_input,
        prices.text_output,
        prices.image_output,
    )
    assert found == PUBLISHED[model]
    assert prices.priced_on == PRICES_DATE and prices.has_token_prices and not prices.images


@pytest.mark.parametrize(("model", "quality", "size"), PUBLISHED_IMAGES, ids=str)
def test_prices_of_images_are_those_of_the_page(model: str, quality: str, size: str) -> None:
    """By quality and size."""
    assert PRICES[model].image_price(quality, size) == PUBLISHED_IMAGES[model, quality, size]
    assert PRICES[model].priced_on == PRICES_DATE and not PRICES[model].has_token_prices


def test_every_model_of_the_table_is_compared_with_a_page() -> None:
    """None comes in beside these tests."""
    assert PRICES.keys() == PUBLISHED.keys() | {model for model, _, _ in PUBLISHED_IMAGES}


def test_what_an_image_costs_is_found_from_the_closest_to_the_widest() -> None:
    """Quality and size, quality, size, any; else it isn't known."""
    prices = ModelPrices(images={"hd": {"1024x1024": 4}, "low": 3, "512x512": 2})
    assert prices.image_price("hd", "1024x1024") == 4
    assert prices.image_price("hd", "256x256") is None
    assert prices.image_price("low", "1024x1024") == 3
    assert prices.image_price("other", "512x512") == prices.image_price(None, "512x512") == 2
    assert prices.image_price("other", "256x256") is None
    assert ModelPrices(images=1).image_price("any", None) == 1


def test_the_dearest_image_is_that_of_all_that_fit() -> None:
    """What is left to the model is anything."""
    prices = PRICES["dall-e-3"]
    assert prices.dearest_image(None, None) == 0.120
    assert prices.dearest_image("standard", None) == 0.080
    assert prices.dearest_image(None, "1024x1024") == 0.080
    assert prices.dearest_image("standard", "1024x1024") == 0.040
    assert prices.dearest_image("standard", "256x256") is None
    assert PRICES["dall-e-2"].dearest_image("standard", None) == 0.020


def test_a_cached_kind_without_a_price_costs_as_much_as_the_other() -> None:
    """No discount is assumed."""
    prices = ModelPrices(text_input=5, image_output=40)
    assert prices.price_of("cached_text_input") == 5
    assert prices.price_of("cached_image_input") is prices.price_of("image_input") is None


def test_prices_survive_pickling_and_copying() -> None:
    """With the prices of images, which nobody can change."""
    prices = PRICES["dall-e-3"]
    for twin in (pickle.loads(pickle.dumps(prices)), copy.deepcopy(prices)):
        assert twin == prices and twin.image_price("hd", "1024x1024") == 0.080
    with pytest.raises(TypeError):
        prices.images["hd", "1024x1024"] = 0.0  # type: ignore[index] # that is the case
    assert hash(prices) == hash(copy.deepcopy(prices))
    dated = attrs.evolve(prices, priced_on=dt.date(2026, 1, 1))
    assert dated.images == prices.images and dated != prices


TOML = """
priced_on = 2026-10-01

[gpt-image-1]
text_input = 4
image_output = 30.5

["gpt-image-1.5"]
image_output = 20
priced_on = 2026-09-01

["black-forest/flux-pro"]
images = 0.05

[painter.images]
"1024x1024" = 0.04
high = 0.08

[painter.images.low]
"512x512" = 0.01
"""


def test_prices_from_a_file_replace_those_of_the_table_and_add_to_it() -> None:
    """A whole entry takes the place of another; the date beside the models is that of those without one."""
    prices = read_prices(tomllib.loads(TOML))
    found = find_prices("gpt-image-1", prices)
    assert found == ModelPrices(text_input=4, image_output=30.5, priced_on=dt.date(2026, 10, 1))
    assert prices["gpt-image-1.5"].priced_on == dt.date(2026, 9, 1)
    flux = find_prices("black-forest/flux-pro", prices)
    assert flux is not None and flux.image_price("high", "9x9") == 0.05
    painter = prices["painter"]
    assert painter.image_price(None, "1024x1024") == 0.04
    assert painter.image_price("high", "1024x1024") == 0.08
    assert painter.image_price("low", "512x512") == 0.01
    assert find_prices("dall-e-3", prices) == PRICES["dall-e-3"]


def test_a_name_is_looked_for_whole_then_without_its_date() -> None:
    """And the caller's prices before the table's."""
    own = read_prices({"gpt-image-2": {"images": 1}, "gpt-image-1-2025-04-23": {"images": 2}})
    for model, price in (("gpt-image-2-2026-04-21", 1), ("gpt-image-2", 1), ("gpt-image-1-2025-04-23", 2)):
        found = find_prices(model, own)
        assert found is not None and found.image_price(None, None) == price
    assert find_prices("gpt-image-1", own) is PRICES["gpt-image-1"]
    assert find_prices("gpt-image-1-2099-01-01", {}) is PRICES["gpt-image-1"]
    assert find_prices("flux-pro", own) is None
    assert find_prices(None, own) is None
    assert read_prices(None) == {}
    assert read_prices({"m": PRICES["dall-e-2"]}) == {"m": PRICES["dall-e-2"]}


@pytest.mark.parametrize(
    ("prices", "words"),
    [
        ("gpt-image-1", "prices is 'gpt-image-1'; give a mapping of models to their prices"),
        ({1: {}}, "1 is no name of a model"),
        ({"": {}}, "'' is no name of a model"),
        ({"m": 0.04}, "prices of m: 0.04 is neither ModelPrices nor a mapping"),
        ({"m": {}}, "prices of m: there is no price; give images, or some of text_input"),
        ({"m": {"images": {}}}, "there is no price"),
        ({"m": {"image": 0.04}}, "prices of m: 'image' is none of text_input"),
        ({"gpt-image-1": {"5": {"images": 1}}}, 'put the name in quotes: ["gpt-image-1.5"]'),
        ({"m": {"images": -1}}, "images: -1 is not a number of US dollars"),
        ({"m": {"images": "0.04"}}, "images: '0.04' is not a number of US dollars"),
        ({"m": {"images": {"hd": {"big": 1}}}}, "images: 'big' is no size such as 1024x1024"),
        ({"m": {"images": {"hd": {1: 1}}}}, "images: 1 is no size"),
        ({"m": {"images": {1: 1}}}, "images: 1 is neither a size nor a quality"),
        ({"m": {"images": {"1024x1024": None}}}, "images: None is not a number"),
        ({"m": {"text_input": True}}, "text_input: True is not a number of US dollars"),
        ({"m": {"text_input": float("nan")}}, "text_input: nan is not a number"),
        ({"m": {"image_output": float("inf")}}, "image_output: inf is not a number"),
        ({"m": {"images": 1, "priced_on": "yesterday"}}, "priced_on"),
        ({"priced_on": "yesterday", "m": {"images": 1}}, "prices: priced_on is 'yesterday'; give a date"),
    ],
    ids=str,
)
def test_prices_that_cannot_be_used(prices: Any, words: str) -> None:
    """It says of which model, and why."""
    with pytest.raises(ConfigurationError) as caught:
        read_prices(prices)
    assert words in str(caught.value)


def test_a_date_with_a_time_is_a_date() -> None:
    """As TOML has them: both for all and for one model, so that they can be compared."""
    noon = dt.datetime(2026, 10, 1, 12)
    found = read_prices({"priced_on": noon, "a": {"images": 1}, "b": {"images": 1, "priced_on": noon}})
    assert found["a"].priced_on == found["b"].priced_on == dt.date(2026, 10, 1)
    assert type(found["a"].priced_on) is type(found["b"].priced_on) is dt.date
