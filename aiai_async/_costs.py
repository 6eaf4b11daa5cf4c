"""What an answer cost and what a request may cost, in US dollars. Pure.

What isn't known is None and never 0: a model without a price, a kind of token without one, an answer that says nothing
of what it was billed for. The server's own figure wins over every table.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs

from aiai_async._facts import Cost, TokenDetails, Usage
from aiai_async._prices import MILLION, ModelPrices, Prices, find_prices, read_prices
from aiai_async._tokens import PARTIAL_IMAGE_TOKENS, expected_tokens, family_of

if TYPE_CHECKING:
    from aiai_async._schemas import ImageRequest, ImagesResponse

COST_HEADER: Final = "x-litellm-response-cost"
_NUMBER: Final = re.compile(r"\d+(\.\d*)?([eE][+-]?\d+)?\Z", re.ASCII)

# What the API takes where a request to a DALL·E model leaves it out.
_DALLE_QUALITY: Final = "standard"
_DALLE_SIZE: Final = "1024x1024"


def parse_cost(text: str | None) -> Cost | None:
    """Read what a server says that an answer cost; None where it says nothing that is an amount.

    Example:
        >>> parse_cost("0.0421"), parse_cost("None"), parse_cost("-1"), parse_cost("nan"), parse_cost("")
        (Cost(0.0421, source='server'), None, None, None, None)
    """
    if text is None or not _NUMBER.match(text.strip()):
        return None
    usd = float(text)
    return Cost(usd, source="server") if usd < math.inf else None


def cost_of(response: ImagesResponse, *, model: str | None = None, prices: Prices | None = None) -> Cost | None:
    """Say what an answer cost, in US dollars; None where that isn't known.

    The server's own figure wins (`x-litellm-response-cost`); then tokens by kind; then a price for each image. Text is
    what input tokens are where the server doesn't say, and images what output tokens are.

    Args:
        response: of this client, or made by hand.
        model: the model that made it; None: the one that was asked for, where the answer comes from this client.
        prices: replace those of the table, or add to it. None with no model: what the client said.

    Raises:
        ConfigurationError: the prices can't be used.

    Example:
        >>> from aiai_async import Image, ImagesResponse, Usage
        >>> usage = Usage(input_tokens=10, output_tokens=272)
        >>> cost_of(ImagesResponse(data=(Image(),), usage=usage), model="gpt-image-1")
        Cost(0.01093, source='prices')
    """
    if model is None and prices is None and response.cost is not None:
        return response.cost
    tariff = response._tariff  # pyright: ignore[reportPrivateUsage] # it is there for this
    asked = {} if tariff is None else tariff.asked
    return find_cost(response, model or asked.get("model"), asked, read_prices(prices))


def find_cost(
    response: ImagesResponse, model: str | None, asked: Mapping[str, str], own: Mapping[str, ModelPrices]
) -> Cost | None:
    """Say what an answer cost; see `cost_of`.

    Args:
        response: the answer.
        model: what made it, where that is known.
        asked: the settings of the request that prices depend on, those that it names.
        own: the caller's prices.
    """
    headers = {} if response.http is None else response.http.headers
    stated = parse_cost(headers.get(COST_HEADER))
    if stated is not None:
        return stated
    found = find_prices(model, own)
    if found is None or model is None:
        return None
    # An image has output tokens. Some gateways write zeros where they know nothing of them.
    output = _count_output(response.usage) if found.has_token_prices and response.usage is not None else {}
    if response.usage is not None and any(output.values()):
        parts = _price_tokens(found, response.usage, output)
        return None if parts is None else _add_up(parts, found, source="prices")
    is_dalle = family_of(model).startswith("dall-e")
    quality = response.quality or _named(asked.get("quality")) or (_DALLE_QUALITY if is_dalle else None)
    size = response.size or _named(asked.get("size")) or (_DALLE_SIZE if is_dalle else None)
    price = found.image_price(quality, size)
    return None if price is None else _add_up({"images": price * len(response.data)}, found, source="prices")


def _price_tokens(prices: ModelPrices, usage: Usage, output: Mapping[str, int]) -> dict[str, float] | None:
    """Give US dollars by kind; None where a kind has no price, or the server says nothing of the input."""
    if usage.input_tokens is None and usage.input_tokens_details is None:
        return None
    parts: dict[str, float] = {}
    for kind, tokens in {**_count_input(usage), **output}.items():
        price = prices.price_of(kind) if tokens else 0.0
        if price is None:
            return None
        if tokens:
            parts[kind] = tokens * price / MILLION
    return parts


def _count_input(usage: Usage) -> dict[str, int]:
    details = usage.input_tokens_details or TokenDetails()
    text, image = _split(usage.input_tokens, details, is_rest_text=True)
    cached = _count(details.extra.get("cached_tokens"))
    by_kind = details.extra.get("cached_tokens_details")
    if isinstance(by_kind, Mapping):
        cached_text, cached_image = _count(by_kind.get("text_tokens")), _count(by_kind.get("image_tokens"))
    else:
        # Not said of which kind: then of the cheaper, which comes first.
        cached_text = min(cached, text)
        cached_image = cached - cached_text
    cached_text, cached_image = min(cached_text, text), min(cached_image, image)
    return {
        "text_input": text - cached_text,
        "cached_text_input": cached_text,
        "image_input": image - cached_image,
        "cached_image_input": cached_image,
    }


def _count_output(usage: Usage) -> dict[str, int]:
    details = usage.output_tokens_details or TokenDetails()
    text, image = _split(usage.output_tokens, details, is_rest_text=False)
    return {"text_output": text, "image_output": image}


def _split(total: int | None, details: TokenDetails, *, is_rest_text: bool) -> tuple[int, int]:
    """Give tokens of text and of images; a kind that isn't told is what the other leaves of all."""
    text, image = details.text_tokens, details.image_tokens
    if text is None and (is_rest_text or image is not None):
        return max(0, _count(total) - _count(image)), _count(image)
    if image is None:
        return _count(text), max(0, _count(total) - _count(text))
    return _count(text), _count(image)


def _count(value: object) -> int:
    return max(0, value) if isinstance(value, int) and not isinstance(value, bool) else 0


def _named(value: str | None) -> str | None:
    return None if value == "auto" else value


def _add_up(parts: Mapping[str, float], prices: ModelPrices, *, source: Any) -> Cost:
    # Any: a CostSource, which only type checkers know.
    return Cost(math.fsum(parts.values()), source=source, parts=parts, priced_on=prices.priced_on)


# -- what a request may cost


@attrs.frozen(kw_only=True)
class Rate:
    """What requests of one kind may cost at most: so much for each image, and so much for each byte of the prompt."""

    by_image: Mapping[str, float]
    """US dollars for each image, by kind."""
    by_byte: float
    """US dollars for each byte of the prompt and each image: no text has more tokens than bytes."""
    priced_on: dt.date | None

    def add_up(self, *, images: int, text_bytes: int) -> float:
        """Give US dollars that so many images may cost at most, and so many bytes, counted once for each image."""
        return math.fsum(self.by_image.values()) * images + self.by_byte * text_bytes

    def cost(self, *, n: int, prompt_bytes: int) -> Cost:
        """Give what a request may cost at most."""
        parts = {kind: usd * n for kind, usd in self.by_image.items()}
        if self.by_byte:
            parts["text_input"] = self.by_byte * prompt_bytes * n
        return Cost(math.fsum(parts.values()), source="estimate", parts=parts, priced_on=self.priced_on)


def find_rate(
    *,
    model: str | None,
    size: str | None,
    quality: str | None,
    partial_images: int = 0,
    prices: Mapping[str, ModelPrices],
) -> Rate | None:
    """Find what requests with these settings may cost at most; None where the price isn't known.

    Args:
        model: its name, perhaps dated.
        size: WIDTHxHEIGHT; None and "auto": the dearest.
        quality: None and "auto": the dearest.
        partial_images: asked for with each image.
        prices: the caller's, which `read_prices` gave.
    """
    found = find_prices(model, prices)
    if found is None or model is None:
        return None
    size, quality = _named(size), _named(quality)
    if found.has_token_prices:
        if found.image_output is None or found.text_input is None:
            return None
        tokens = expected_tokens(model, size=size, quality=quality) + PARTIAL_IMAGE_TOKENS * partial_images
        by_image = {"image_output": tokens * found.image_output / MILLION}
        return Rate(by_image=by_image, by_byte=found.text_input / MILLION, priced_on=found.priced_on)
    price = found.dearest_image(quality, size)
    return None if price is None else Rate(by_image={"images": price}, by_byte=0.0, priced_on=found.priced_on)


def estimate_cost(
    request: ImageRequest | Mapping[str, object], *, prices: Prices | None = None, stream: bool | None = None
) -> Cost | None:
    """Say what a request may cost at most, before it is sent; None where the price isn't known.

    It counts model, size, quality, `n` and partial images. What is left to the model counts as the most it can be, the
    prompt as one token for each byte, which no text has more of.

    Args:
        request: or the fields of one.
        prices: replace those of the table, or add to it.
        stream: False: partial images don't count, which only a stream has; None: they do where they are asked for.

    Raises:
        ConfigurationError: the prices can't be used.

    Example:
        >>> fields = {"prompt": "A lighthouse", "model": "gpt-image-1", "size": "1024x1024", "quality": "low"}
        >>> f"{estimate_cost(fields):.5f}"
        '0.01094'
    """
    fields: Mapping[str, object] = request if isinstance(request, Mapping) else request.to_fields()
    rate = find_rate(**settings_of(fields, stream=stream), prices=read_prices(prices))
    if rate is None:
        return None
    prompt, n = fields.get("prompt"), fields.get("n")
    text = prompt if isinstance(prompt, str) else ""
    return rate.cost(n=_count(n) or 1, prompt_bytes=len(text.encode(errors="replace")))


def settings_of(fields: Mapping[str, object], *, stream: bool | None = None) -> dict[str, Any]:
    """Give what the price of an image depends on, as arguments of `find_rate`, which is why they are Any."""
    texts = {name: fields.get(name) for name in ("model", "size", "quality")}
    partial_images = 0 if stream is False else _count(fields.get("partial_images"))
    return {
        **{name: value if isinstance(value, str) else None for name, value in texts.items()},
        "partial_images": partial_images,
    }
