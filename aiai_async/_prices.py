"""What models cost: one dated table, and the prices that a caller gives. Pure: files are read by whoever has them.

Sources, looked at on the day of `PRICES_DATE`:

- tokens: OpenAI, "Pricing", https://developers.openai.com/api/docs/pricing, and the model pages beside it,
  https://developers.openai.com/api/docs/models/gpt-image-1 and the others. The same figures stand in
  model_prices_and_context_window_backup.json of LiteLLM 1.110.2, which names that page as its source. A price of text
  output of gpt-image-2 stands in neither, so it isn't known here;
- DALL·E: OpenAI, "Pricing", https://openai.com/pricing, as long as these models were on it; the same figures stand in
  the file above of LiteLLM 1.72.0.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, cast

import attrs

from aiai_async._errors import ConfigurationError
from aiai_async._tokens import family_of, parse_size

PRICES_DATE: Final = dt.date(2026, 11, 26)
"""The day the table is of."""

MILLION: Final = 1_000_000
"""So many tokens have a price."""
KINDS: Final = ("text_input", "cached_text_input", "image_input", "cached_image_input", "text_output", "image_output")
"""The kinds of tokens that have a price."""


def _is_price(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf


def _check_price(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not _is_price(value):
        raise ValueError(f"{attribute.name}: {value!r} is not a number of US dollars")


def _read_images(value: object) -> Mapping[tuple[str, str], float]:
    """Read prices of images as (quality, size) to US dollars; an empty text is any."""
    if value is None:
        return MappingProxyType({})
    read: dict[tuple[str, str], float] = {}
    for quality, inner in _split_images(value):
        for size, price in inner.items():
            if not _is_price(price):
                raise ValueError(f"images: {price!r} is not a number of US dollars")
            read[quality, size] = float(price)
    return MappingProxyType(read)


def _to_date(value: Any) -> Any:
    # Any: what a file or a program gives. A datetime is a date to Python, and can't be compared with one.
    return value.date() if isinstance(value, dt.datetime) else value


def _split_images(value: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    # Any: what a file or a program gives.
    if not isinstance(value, Mapping):
        yield "", {"": value}
        return
    for name, inner in value.items():
        if isinstance(name, tuple):
            # As this class keeps them.
            quality, size = name
            yield quality, {size: inner}
        elif not isinstance(name, str):
            raise TypeError(f"images: {name!r} is neither a size nor a quality")
        elif parse_size(name) is not None:
            yield "", {name: inner}
        elif isinstance(inner, Mapping):
            for size in inner:
                if not isinstance(size, str) or parse_size(size) is None:
                    raise ValueError(f"images: {size!r} is no size such as 1024x1024")
            yield name, dict(inner)
        else:
            yield name, {"": inner}


@attrs.frozen(kw_only=True)
class ModelPrices:
    """What one model costs, in US dollars. None: that price isn't known.

    Tokens have a price for a million of each kind; a cached kind that has none costs as much as the other. `images` is
    a price for each image: a number, or by size, or by quality, or by quality and size. Where tokens have prices it is
    used for answers that say nothing of tokens.

    Raises:
        ValueError: a price is no number of 0 or more, or there is none at all.

    Example:
        >>> ModelPrices(images={"standard": {"1024x1024": 0.04}, "hd": 0.08}).image_price("hd", "1792x1024")
        0.08
    """

    text_input: float | None = attrs.field(default=None, validator=_check_price)
    cached_text_input: float | None = attrs.field(default=None, validator=_check_price)
    image_input: float | None = attrs.field(default=None, validator=_check_price)
    cached_image_input: float | None = attrs.field(default=None, validator=_check_price)
    text_output: float | None = attrs.field(default=None, validator=_check_price)
    image_output: float | None = attrs.field(default=None, validator=_check_price)
    images: Mapping[tuple[str, str], float] = attrs.field(default=None, converter=_read_images, hash=False)
    priced_on: dt.date | None = attrs.field(
        default=None, converter=_to_date, validator=attrs.validators.optional(attrs.validators.instance_of(dt.date))
    )
    """The day the prices are of; None where that isn't known."""

    def __attrs_post_init__(self) -> None:
        if not self.has_token_prices and not self.images:
            raise ValueError(f"there is no price; give images, or some of {', '.join(KINDS)}")

    @property
    def has_token_prices(self) -> bool:
        """Whether any kind of token has a price."""
        return any(getattr(self, kind) is not None for kind in KINDS)

    def price_of(self, kind: str) -> float | None:
        """Give the price of a million tokens of a kind."""
        price: float | None = getattr(self, kind)
        return price if price is not None or not kind.startswith("cached_") else self.price_of(kind[len("cached_") :])

    def image_price(self, quality: str | None, size: str | None) -> float | None:
        """Give the price of one image; None where it isn't known."""
        for found in ((quality or "", size or ""), (quality or "", ""), ("", size or ""), ("", "")):
            if found in self.images:
                return self.images[found]
        return None

    def dearest_image(self, quality: str | None, size: str | None) -> float | None:
        """Give the most that an image may cost, where quality or size are left to the model."""
        fitting = [
            price
            for (of_quality, of_size), price in self.images.items()
            if (of_quality in ("", quality) or quality is None) and (of_size in ("", size) or size is None)
        ]
        return max(fitting, default=None)

    def __getstate__(self) -> dict[str, Any]:
        # A read-only view of a mapping can't be pickled.
        return {**attrs.asdict(self, recurse=False), "images": dict(self.images)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "images": MappingProxyType(state["images"])}.items():
            object.__setattr__(self, name, value)


Prices = Mapping[str, ModelPrices | Mapping[str, object] | dt.date]
"""Prices by model that a caller gives: they replace those of the table, or add to it. A date: see `read_prices`."""


def _tokens(**prices: float) -> ModelPrices:
    return ModelPrices(**cast("dict[str, Any]", prices), priced_on=PRICES_DATE)


_OF_2: Final = _tokens(
    text_input=5.00, cached_text_input=1.25, image_input=8.00, cached_image_input=2.00, image_output=30.00
)

PRICES: Final[Mapping[str, ModelPrices]] = {
    "gpt-image-1": _tokens(
        text_input=5.00, cached_text_input=1.25, image_input=10.00, cached_image_input=2.50, image_output=40.00
    ),
    "gpt-image-1-mini": _tokens(
        text_input=2.00, cached_text_input=0.20, image_input=2.50, cached_image_input=0.25, image_output=8.00
    ),
    "gpt-image-1.5": _tokens(
        text_input=5.00,
        cached_text_input=1.25,
        image_input=8.00,
        cached_image_input=2.00,
        text_output=10.00,
        image_output=32.00,
    ),
    "gpt-image-2": _OF_2,
    "gpt-image-2.5-flare": _OF_2,
    "gpt-image-2.5-sunburst": _OF_2,
    "dall-e-2": ModelPrices(images={"256x256": 0.016, "512x512": 0.018, "1024x1024": 0.020}, priced_on=PRICES_DATE),
    "dall-e-3": ModelPrices(
        images={
            "standard": {"1024x1024": 0.040, "1792x1024": 0.080, "1024x1792": 0.080},
            "hd": {"1024x1024": 0.080, "1792x1024": 0.120, "1024x1792": 0.120},
        },
        priced_on=PRICES_DATE,
    ),
}
"""What is known of each model, by name; a dated name costs what its family costs."""


def read_prices(prices: Prices | None) -> dict[str, ModelPrices]:
    """Check prices that a caller gives, such as those of a TOML file.

    Args:
        prices: by model, either `ModelPrices` or a mapping of its fields. A date under `priced_on`, beside the models,
            is that of all that have none of their own.

    Raises:
        ConfigurationError: they can't be used; it says which and why.

    Example:
        >>> read_prices({"flux-pro": {"images": 0.05}})["flux-pro"].image_price(None, "1024x1024")
        0.05
    """
    if prices is None:
        return {}
    if not isinstance(prices, Mapping):
        raise ConfigurationError(f"prices is {prices!r:.60}; give a mapping of models to their prices")
    given: dict[Any, Any] = dict(prices)
    date = given.pop("priced_on", None)
    if date is not None and not isinstance(date, dt.date):
        raise ConfigurationError(f"prices: priced_on is {date!r:.60}; give a date such as 2026-11-26")
    return {_read_name(name): _read_model(name, fields, date) for name, fields in given.items()}


def _read_name(name: object) -> str:
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"prices: {name!r:.60} is no name of a model")
    return name


def _read_model(name: str, fields: object, date: dt.date | None) -> ModelPrices:
    if isinstance(fields, ModelPrices):
        return fields
    if not isinstance(fields, Mapping):
        raise ConfigurationError(
            f"prices of {name}: {fields!r:.60} is neither ModelPrices nor a mapping; a price for each image is "
            f"{{'images': 0.04}}"
        )
    known = [*KINDS, "images", "priced_on"]
    for field, value in fields.items():
        if field not in known:
            # TOML takes [gpt-image-1.5] for the table 5 in gpt-image-1.
            hint = f'; put the name in quotes: ["{name}.{field}"]' if isinstance(value, Mapping) else ""
            raise ConfigurationError(f"prices of {name}: {field!r} is none of {', '.join(known)}{hint}")
    values: dict[str, Any] = {"priced_on": date, **fields}
    try:
        return ModelPrices(**values)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"prices of {name}: {error}") from error


def find_prices(model: str | None, prices: Mapping[str, ModelPrices]) -> ModelPrices | None:
    """Find what a model costs; None where that isn't known.

    Args:
        model: its name, perhaps dated; None where none was given: then the server chooses, and nobody knows.
        prices: the caller's, which `read_prices` gave; they win over the table.
    """
    if model is None:
        return None
    names = (model, family_of(model))
    return next((table[name] for table in (prices, PRICES) for name in names if name in table), None)
