"""What answers cost and requests may cost: worked examples of the published pages, odd usages, properties."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async import ConfigurationError, Cost, Image, ImageRequest, ImagesResponse, Usage, cost_of, estimate_cost
from aiai_async._costs import COST_HEADER, find_rate, parse_cost, settings_of
from aiai_async._facts import Headers, TokenDetails
from aiai_async._models import PRICES, PRICES_DATE
from aiai_async._prices import read_prices
from aiai_async._schemas import HTTPInfo, Tariff
from aiai_async._tokens import image_tokens

SQUARE, UPRIGHT, WIDE = "1024x1024", "1024x1536", "1536x1024"

# US dollars for one image, rounded as they are there. Source: OpenAI, the model pages, "Image generation, per image",
# https://developers.openai.com/api/docs/models/gpt-image-1 and .../gpt-image-1-mini, looked at on 2026-11-26; those of
# gpt-image-1.5 and, at https://fal.ai/models/openai/gpt-image-2, of gpt-image-2 by way of LiteLLM 1.110.2.
PER_IMAGE = {
    ("gpt-image-1", "low", SQUARE): 0.011,
    ("gpt-image-1", "low", UPRIGHT): 0.016,
    ("gpt-image-1", "low", WIDE): 0.016,
    ("gpt-image-1", "medium", SQUARE): 0.042,
    ("gpt-image-1", "medium", UPRIGHT): 0.063,
    ("gpt-image-1", "medium", WIDE): 0.063,
    ("gpt-image-1", "high", SQUARE): 0.167,
    ("gpt-image-1", "high", UPRIGHT): 0.25,
    ("gpt-image-1", "high", WIDE): 0.25,
    ("gpt-image-1-mini", "low", SQUARE): 0.005,
    ("gpt-image-1-mini", "low", WIDE): 0.006,
    ("gpt-image-1-mini", "medium", SQUARE): 0.011,
    ("gpt-image-1-mini", "medium", UPRIGHT): 0.015,
    ("gpt-image-1-mini", "high", SQUARE): 0.036,
    ("gpt-image-1-mini", "high", WIDE): 0.052,
    ("gpt-image-1.5", "low", SQUARE): 0.009,
    ("gpt-image-1.5", "low", UPRIGHT): 0.013,
    ("gpt-image-1.5", "medium", SQUARE): 0.034,
    ("gpt-image-1.5", "medium", WIDE): 0.05,
    ("gpt-image-1.5", "high", SQUARE): 0.133,
    ("gpt-image-1.5", "high", UPRIGHT): 0.2,
    ("gpt-image-2", "low", SQUARE): 0.006,
    ("gpt-image-2", "low", UPRIGHT): 0.005,
    ("gpt-image-2", "medium", SQUARE): 0.053,
    ("gpt-image-2", "medium", "1920x1088"): 0.04,
    ("gpt-image-2", "high", SQUARE): 0.211,
    ("gpt-image-2", "high", UPRIGHT): 0.165,
    ("gpt-image-2", "high", "3840x2160"): 0.4,
    ("dall-e-2", None, "256x256"): 0.016,
    ("dall-e-2", "standard", "512x512"): 0.018,
    ("dall-e-3", "standard", "1792x1024"): 0.08,
    ("dall-e-3", "hd", "1024x1024"): 0.08,
    ("dall-e-3", "hd", "1024x1792"): 0.12,
}


def answer(usage: Usage | None = None, *, images: int = 1, header: str | None = None, **fields: Any) -> ImagesResponse:
    """An answer; the fields are those of ImagesResponse."""
    headers = Headers([] if header is None else [("X-LiteLLM-Response-Cost", header)])
    http = HTTPInfo(status=200, headers=headers, request_id=None, attempts=1, elapsed=1.0)
    return ImagesResponse(data=(Image(),) * images, usage=usage, http=http, **fields)


def usage_of(text: int, image: int, out: int, **details: Any) -> Usage:
    """Usage as the API states it; details are further fields of the input."""
    return Usage(
        total_tokens=text + image + out,
        input_tokens=text + image,
        output_tokens=out,
        input_tokens_details=TokenDetails(text_tokens=text, image_tokens=image, extra=details),
    )


@pytest.mark.parametrize(("model", "quality", "size"), PER_IMAGE, ids=str)
def test_estimates_are_the_published_prices_of_images(model: str, quality: str | None, size: str) -> None:
    """To the tenth of a cent, as they are rounded there, and above 10 cents to a hundredth of it."""
    found = estimate_cost({"prompt": "a", "model": model, "quality": quality, "size": size})
    assert found is not None
    published = PER_IMAGE[model, quality, size]
    assert abs(found - published) <= max(0.0007, 0.01 * published)
    assert (found.source, found.priced_on) == ("estimate", PRICES_DATE)


def test_the_example_of_the_api_reference() -> None:
    """Text, image input and image output of gpt-image-1 have a price each.

    Source: the usage in the example of the API reference, "Create image": 50 tokens of input, 10 of them text and 40
    image, and 50 of output; $5, $10 and $40 for a million by the model page, looked at on 2026-11-26.
    """
    found = cost_of(answer(usage_of(10, 40, 50)), model="gpt-image-1")
    assert found is not None
    assert found == pytest.approx(10 * 5e-6 + 40 * 10e-6 + 50 * 40e-6)
    assert found.parts == pytest.approx({"text_input": 0.00005, "image_input": 0.0004, "image_output": 0.002})
    assert (found.source, found.priced_on) == ("prices", PRICES_DATE)


def test_the_costs_of_partial_images() -> None:
    """100 tokens each, $0.004 of gpt-image-1; within the usage of a stream, and counted before.

    Source: OpenAI, "Image generation", "Partial images cost"; the table of 0, 100, 200, 300 tokens and $0.000 to $0.012
    in https://community.openai.com/t/1275254.
    """
    fields = {"prompt": "a", "model": "gpt-image-1", "size": SQUARE, "quality": "low"}
    plain = estimate_cost(fields)
    for count in (0, 1, 2, 3):
        found = estimate_cost({**fields, "partial_images": count})
        assert plain is not None and found is not None
        assert found - plain == pytest.approx(count * 0.004)
        assert estimate_cost({**fields, "partial_images": count}, stream=False) == plain
    twice = estimate_cost({**fields, "partial_images": 3, "n": 2}, stream=True)
    assert plain is not None and twice == pytest.approx(2 * (plain + 0.012))


@pytest.mark.parametrize(
    ("usage", "parts"),
    [
        (usage_of(100, 0, 272), {"text_input": 500, "image_output": 272 * 32}),
        (Usage(input_tokens=100, output_tokens=272), {"text_input": 500, "image_output": 272 * 32}),
        (
            Usage(output_tokens=272, input_tokens_details=TokenDetails(text_tokens=7)),
            {"text_input": 35, "image_output": 272 * 32},
        ),
        (
            Usage(input_tokens=100, output_tokens=1, input_tokens_details=TokenDetails(image_tokens=60)),
            {"text_input": 200, "image_input": 480, "image_output": 32},
        ),
        (
            Usage(
                input_tokens=1,
                output_tokens=300,
                output_tokens_details=TokenDetails(text_tokens=28, image_tokens=272),
            ),
            {"text_input": 5, "text_output": 280, "image_output": 272 * 32},
        ),
        (
            Usage(input_tokens=1, output_tokens=300, output_tokens_details=TokenDetails(text_tokens=28)),
            {"text_input": 5, "text_output": 280, "image_output": 272 * 32},
        ),
        (
            Usage(input_tokens=1, output_tokens=300, output_tokens_details=TokenDetails(image_tokens=272)),
            {"text_input": 5, "text_output": 280, "image_output": 272 * 32},
        ),
        (
            Usage(input_tokens=100, output_tokens=1, input_tokens_details=TokenDetails(text_tokens=40)),
            {"text_input": 200, "image_input": 480, "image_output": 32},
        ),
        (
            usage_of(100, 60, 1, cached_tokens=40),
            {"text_input": 300, "cached_text_input": 50, "image_input": 480, "image_output": 32},
        ),
        (
            usage_of(100, 60, 1, cached_tokens=130),
            {"cached_text_input": 125, "image_input": 240, "cached_image_input": 60, "image_output": 32},
        ),
        (
            usage_of(100, 60, 1, cached_tokens=80, cached_tokens_details={"text_tokens": 30, "image_tokens": 50}),
            {
                "text_input": 350,
                "cached_text_input": 37.5,
                "image_input": 80,
                "cached_image_input": 100,
                "image_output": 32,
            },
        ),
        # What can't be: more cached than there is, counts below 0, counts that are none.
        (
            usage_of(10, 0, 1, cached_tokens=99, cached_tokens_details={"text_tokens": 99, "image_tokens": "many"}),
            {"cached_text_input": 12.5, "image_output": 32},
        ),
        (usage_of(10, 0, 1, cached_tokens=-5), {"text_input": 50, "image_output": 32}),
        (usage_of(10, 0, 1, cached_tokens=True), {"text_input": 50, "image_output": 32}),
    ],
    ids=[
        "details",
        "no details: input is text, output images",
        "details only",
        "the rest of the input is text",
        "text comes out too",
        "text comes out, the rest is images",
        "images come out, the rest is text",
        "the rest of the input is images",
        "cached, the kind not said",
        "more cached than text",
        "cached by kind",
        "more cached than there is",
        "less than nothing",
        "true is no number",
    ],
)
def test_usage_becomes_money_by_kind(usage: Usage, parts: dict[str, float]) -> None:
    """In millionths of a US dollar, by the prices of gpt-image-1.5."""
    found = cost_of(answer(usage), model="gpt-image-1.5")
    assert found is not None
    assert {kind: usd * 1e6 for kind, usd in found.parts.items()} == pytest.approx(parts)
    assert found == pytest.approx(sum(parts.values()) / 1e6)


@pytest.mark.parametrize(
    ("usage", "model"),
    [
        (None, "gpt-image-1"),
        (Usage(), "gpt-image-1"),
        (Usage(total_tokens=300), "gpt-image-1"),
        (Usage(total_tokens=0, input_tokens=0, output_tokens=0), "gpt-image-1"),
        (Usage(input_tokens=9, output_tokens=0), "gpt-image-1"),
        (Usage(output_tokens=272), "gpt-image-1"),
        (usage_of(1, 0, 2), "flux-pro"),
        (usage_of(1, 0, 2), None),
        # Text that comes out has no known price.
        (
            attrs.evolve(usage_of(1, 0, 9), output_tokens_details=TokenDetails(text_tokens=3, image_tokens=6)),
            "gpt-image-2",
        ),
    ],
    ids=["none", "empty", "only a total", "zeros", "no output", "no input", "no price", "no model", "a kind without"],
)
def test_what_is_not_known_is_none_and_never_0(usage: Usage | None, model: str | None) -> None:
    """Whichever of the two is missing, the figures or the prices."""
    assert cost_of(answer(usage, size=SQUARE, quality="low"), model=model) is None


@pytest.mark.parametrize(
    ("asked", "told", "usd"),
    [
        ({"model": "dall-e-3", "size": "1792x1024", "quality": "hd"}, {}, 0.12),
        ({"model": "dall-e-3", "size": "1792x1024"}, {}, 0.08),
        ({"model": "dall-e-3"}, {}, 0.04),
        ({"model": "dall-e-2"}, {}, 0.02),
        ({"model": "dall-e-2", "size": "256x256"}, {}, 0.016),
        # What the server says that it made wins over what was asked for.
        ({"model": "dall-e-2", "size": "auto"}, {"size": "512x512"}, 0.018),
        ({"model": "dall-e-3", "quality": "auto"}, {"size": "1024x1024", "quality": "hd"}, 0.08),
        ({"model": "dall-e-2", "size": "333x333"}, {}, None),
    ],
    ids=str,
)
def test_images_have_a_price_each(asked: dict[str, str], told: dict[str, str], usd: float | None) -> None:
    """By model, quality and size, for as many as came."""
    tariff = Tariff.of({**asked, "prompt": "a", "n": 3}, {})
    found = tariff.find_cost(answer(images=2, **told))
    assert found == (None if usd is None else pytest.approx(2 * usd))
    if found is not None:
        assert found.parts == {"images": found.usd}


def test_prices_of_images_are_for_answers_that_say_nothing_of_tokens() -> None:
    """Where a model has both kinds of prices."""
    prices = {"painter": {"text_input": 5, "image_output": 40, "images": 0.5}}
    assert cost_of(answer(usage_of(0, 0, 100)), model="painter", prices=prices) == pytest.approx(0.004)
    assert cost_of(answer(), model="painter", prices=prices) == 0.5
    zeros = Usage(total_tokens=0, input_tokens=0, output_tokens=0)
    assert cost_of(answer(zeros), model="painter", prices=prices) == 0.5


@pytest.mark.parametrize("header", ["0.042", " 0.042 ", "4.2e-2", "42e-3"])
def test_the_servers_own_figure_wins(header: str) -> None:
    """Over usage, over prices, and where there are none."""
    for model in ("gpt-image-1", "flux-pro", None):
        found = cost_of(answer(usage_of(1, 2, 3), header=header), model=model, prices={"gpt-image-1": {"images": 9}})
        assert found == 0.042 and found is not None
        assert (found.source, found.priced_on, found.parts) == ("server", None, {})
    zero = cost_of(answer(header="0.0"))
    assert zero == 0.0 and zero is not None and zero.source == "server"


@pytest.mark.parametrize(
    "header", ["None", "", " ", "-0.042", "nan", "inf", "-inf", "1e999", "free", "$0.04", "0,04", "0.04, 0.04", "٣"]
)
def test_a_header_that_is_no_amount_is_passed_over(header: str) -> None:
    """What comes next says what it cost."""
    assert cost_of(answer(usage_of(0, 0, 100), header=header), model="gpt-image-1") == pytest.approx(0.004)
    assert parse_cost(header) is None


@given(st.text() | st.floats().map(str))
def test_whatever_a_header_holds_it_is_an_amount_or_nothing(text: str) -> None:
    """And never raises."""
    found = parse_cost(text)
    assert found is None or (0 <= found < math.inf and found.source == "server")


def test_an_answer_of_the_client_knows_its_model() -> None:
    """So that other prices can be tried on it; without any it costs what the client said."""
    own = read_prices({"gpt-image-1": {"text_input": 0, "image_output": 10, "priced_on": dt.date(2026, 1, 2)}})
    tariff = Tariff.of({"model": "gpt-image-1", "size": SQUARE, "prompt": "a", "quality": 5}, own)
    assert tariff.asked == {"model": "gpt-image-1", "size": SQUARE}
    response = answer(usage_of(7, 0, 100), tariff=tariff)
    assert response.cost == 0.001 and response.cost is not None and response.cost.priced_on == dt.date(2026, 1, 2)
    assert cost_of(response) == response.cost
    assert cost_of(response, prices={}) == pytest.approx(0.004035)
    assert cost_of(response, model="gpt-image-2") == pytest.approx(0.003035)
    assert cost_of(response, prices={"gpt-image-1": {"images": 3}}) == 3
    # An answer is equal to one that doesn't know what it cost.
    assert response == answer(usage_of(7, 0, 100))


def test_an_answer_made_by_hand_has_no_cost() -> None:
    """Until somebody says what made it."""
    response = ImagesResponse(data=(Image(),), usage=usage_of(0, 0, 100))
    assert response.cost is None and cost_of(response) is None
    assert cost_of(response, model="gpt-image-1-2025-04-23") == pytest.approx(0.004)


@pytest.mark.parametrize(
    ("fields", "usd"),
    [
        ({"model": "gpt-image-1"}, 6240 * 40e-6),
        ({"model": "gpt-image-1", "size": "auto", "quality": "auto"}, 6240 * 40e-6),
        ({"model": "gpt-image-1", "size": "auto", "quality": "low"}, 408 * 40e-6),
        ({"model": "gpt-image-1", "n": 10, "size": SQUARE, "quality": "low"}, 2720 * 40e-6),
        ({"model": "gpt-image-2-2026-04-21", "size": SQUARE}, 7024 * 30e-6),
        ({"model": "dall-e-3"}, 0.12),
        ({"model": "dall-e-3", "quality": "standard"}, 0.08),
        ({"model": "dall-e-2", "n": 4}, 0.08),
        ({"model": "dall-e-2", "size": "333x333"}, None),
        ({"model": "flux-pro"}, None),
        ({}, None),
        ({"model": 5}, None),
    ],
    ids=str,
)
def test_estimates_without_a_prompt(fields: dict[str, object], usd: float | None) -> None:
    """What is left to the model counts as the most it can be; what has no price is not known."""
    assert estimate_cost(fields) == (None if usd is None else pytest.approx(usd))


def test_an_estimate_takes_a_request_and_other_prices() -> None:
    """As they come from a program."""
    request = ImageRequest(prompt="A kite", model="painter", n=2)
    assert estimate_cost(request) is None
    assert estimate_cost(request, prices={"painter": {"images": 0.3}}) == 0.6
    with pytest.raises(ConfigurationError, match="prices of painter"):
        estimate_cost(request, prices={"painter": {"image": 0.3}})
    # Half a price is none.
    assert estimate_cost(request, prices={"painter": {"image_output": 40}}) is None
    assert estimate_cost(request, prices={"painter": {"text_input": 5}}) is None


def test_a_prompt_counts_as_a_token_for_each_byte() -> None:
    """No text has more; for each image, as n pictures are made as n requests would be."""
    fields = {"model": "gpt-image-1", "size": SQUARE, "quality": "low"}
    for prompt, n, size_bytes in (("kite", 1, 4), ("灯塔", 1, 6), ("kite", 3, 12), ("\ud800", 1, 1)):
        found = estimate_cost({**fields, "prompt": prompt, "n": n})
        assert found is not None and found.parts["text_input"] == pytest.approx(size_bytes * 5e-6)


MODELS = [*PRICES, "gpt-image-1-2025-04-23", "flux-pro"]


@given(
    model=st.sampled_from(MODELS) | st.text() | st.none(),
    size=st.sampled_from([SQUARE, UPRIGHT, WIDE, "auto", "256x256", "3840x2160"]) | st.text() | st.none(),
    quality=st.sampled_from(["low", "medium", "high", "auto", "hd", "standard", "max"]) | st.text() | st.none(),
    n=st.integers(1, 10) | st.none(),
    partial_images=st.integers(0, 3) | st.none(),
    prompt=st.text(max_size=50),
)
def test_an_estimate_is_0_or_more_or_not_known(**fields: Any) -> None:
    """Whatever is asked for."""
    found = estimate_cost(fields)
    assert found is None or 0 < found < math.inf
    rate = find_rate(**settings_of(fields), prices={})
    assert (rate is None) == (found is None)
    if found is not None and rate is not None:
        n, size_bytes = fields["n"] or 1, len(fields["prompt"].encode(errors="replace"))
        assert rate.cost(n=n, prompt_bytes=size_bytes) == found
        # It is linear, so that a job can add up its rows by their settings.
        assert rate.cost(n=2 * n, prompt_bytes=size_bytes) == pytest.approx(2 * found)


@given(
    model=st.sampled_from([name for name in PRICES if name.startswith("gpt")]),
    sides=st.sampled_from([(1024, 1024), (1536, 1024), (1024, 1536)]),
    quality=st.sampled_from(["low", "medium", "high"]),
    leaves=st.sets(st.sampled_from(["size", "quality"])),
    n=st.integers(1, 10),
    partial_images=st.integers(0, 3),
    prompt=st.text(min_size=1, max_size=200),
    share=st.floats(0, 1),
)
def test_no_answer_costs_more_than_was_expected(
    model: str,
    sides: tuple[int, int],
    quality: str,
    leaves: set[str],
    n: int,
    partial_images: int,
    prompt: str,
    share: float,
) -> None:
    """Counted as the API counts it, with any number of tokens that the prompt can have."""
    fields = {
        "model": model,
        "size": f"{sides[0]}x{sides[1]}",
        "quality": quality,
        "n": n,
        "partial_images": partial_images,
        "prompt": prompt,
    }
    asked = {name: value for name, value in fields.items() if name not in leaves}
    text = math.floor(share * n * len(prompt.encode(errors="replace")))
    out = n * (image_tokens(model, size=sides, quality=quality) + 100 * partial_images)
    actual = Tariff.of(asked, {}).find_cost(answer(usage_of(text, 0, out), images=n))
    expected = estimate_cost(asked)
    assert actual is not None and expected is not None
    assert actual <= expected + 1e-12


@given(n=st.integers(1, 10), came=st.integers(1, 10), model=st.sampled_from(["dall-e-2", "dall-e-3"]))
def test_no_picture_of_dalle_costs_more_than_was_expected(n: int, came: int, model: str) -> None:
    """Whatever was left out."""
    actual = Tariff.of({"model": model}, {}).find_cost(answer(images=min(n, came)))
    expected = estimate_cost({"model": model, "n": n, "prompt": "a"})
    assert actual is not None and expected is not None and actual <= expected


def test_the_header_has_the_name_that_litellm_gives_it() -> None:
    """Source: https://docs.litellm.ai/docs/proxy/response_headers, and wire.md."""
    assert COST_HEADER == "x-litellm-response-cost"
    assert isinstance(parse_cost("1"), Cost)
