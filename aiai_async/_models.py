"""What each model accepts: a table, and the check of a request against it before anything is sent; and what it costs.

A rule holds only for a model that the table names; other models and other fields pass, since gateways map any name.
The table of prices with its sources is in `_prices`, what follows from it in `_costs`; both can be had from here. This
module knows fields and values, nothing of HTTP.

Source: the parameter table of the API's page "Create image" and OpenAI's published description of the same endpoint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NoReturn

import attrs

from aiai_async._errors import InvalidRequestError
from aiai_async._tokens import PARTIAL_IMAGE_TOKENS, family_of, image_tokens, parse_size

if TYPE_CHECKING:
    from aiai_async._costs import cost_of, estimate_cost
    from aiai_async._prices import PRICES, PRICES_DATE, ModelPrices
else:

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        # The table of prices takes 3 ms to load, and few programs look at it.
        from aiai_async import _costs, _prices

        return getattr(_costs if hasattr(_costs, name) else _prices, name)


__all__ = [
    "PARTIAL_IMAGE_TOKENS",
    "PRICES",
    "PRICES_DATE",
    "RULES",
    "ModelPrices",
    "ModelRules",
    "check",
    "cost_of",
    "estimate_cost",
    "estimate_tokens",
    "image_tokens",
    "parse_size",
    "refuse",
    "rules_of",
]

MAX_IMAGES: Final = 10
MAX_PROMPT_CHARACTERS: Final = 32_000

# Both sides, the ratio and the whole picture of a model that takes any size. The whole is 3840x2160 either way round.
_SIDE_STEP: Final = 16
_LONGEST_SIDE: Final = 3840
_MOST_PIXELS: Final = 3840 * 2160
_WIDEST_RATIO: Final = 3
_FREE_SIZE_IN_WORDS: Final = (
    "auto or WIDTHxHEIGHT with both sides divisible by 16, a ratio from 1:3 to 3:1 and at most 3840x2160"
)

# Where a request leaves the size to the model: the one that it mostly takes.
_USUAL_SIZE: Final = (1024, 1024)
_CHARACTERS_BY_TOKEN: Final = 4

_FIXED_SIZES: Final = ("1024x1024", "1536x1024", "1024x1536", "auto")


@attrs.frozen(kw_only=True)
class ModelRules:
    """What one model accepts. An empty tuple: the model doesn't have the field."""

    name: str
    max_prompt_characters: int
    max_images: int = MAX_IMAGES
    sizes: tuple[str, ...]
    any_size: bool = False
    """True where any WIDTHxHEIGHT within the bounds is a size too."""
    qualities: tuple[str, ...]
    backgrounds: tuple[str, ...] = ()
    moderations: tuple[str, ...] = ()
    output_formats: tuple[str, ...] = ()
    response_formats: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    streams: bool = False


def _gpt_image(name: str, *, any_size: bool = False) -> ModelRules:
    return ModelRules(
        name=name,
        max_prompt_characters=MAX_PROMPT_CHARACTERS,
        sizes=("auto",) if any_size else _FIXED_SIZES,
        any_size=any_size,
        qualities=("auto", "low", "medium", "high"),
        backgrounds=("transparent", "opaque", "auto"),
        moderations=("low", "auto"),
        output_formats=("png", "jpeg", "webp"),
        streams=True,
    )


RULES: Final[Mapping[str, ModelRules]] = {
    rules.name: rules
    for rules in (
        ModelRules(
            name="dall-e-2",
            max_prompt_characters=1_000,
            sizes=("256x256", "512x512", "1024x1024"),
            qualities=("standard",),
            response_formats=("url", "b64_json"),
        ),
        ModelRules(
            name="dall-e-3",
            max_prompt_characters=4_000,
            max_images=1,
            sizes=("1024x1024", "1792x1024", "1024x1792"),
            qualities=("standard", "hd"),
            response_formats=("url", "b64_json"),
            styles=("vivid", "natural"),
        ),
        _gpt_image("gpt-image-1"),
        _gpt_image("gpt-image-1-mini"),
        _gpt_image("gpt-image-1.5"),
        _gpt_image("gpt-image-2", any_size=True),
    )
}
"""The models that are known, by name."""


def rules_of(model: str | None) -> ModelRules | None:
    """Find the rules of a model; a dated name has those of its family, an unknown model has none.

    Example:
        >>> rules_of("gpt-image-2-2026-04-21").name
        'gpt-image-2'
        >>> rules_of("flux-pro") is None
        True
    """
    return None if model is None else RULES.get(model) or RULES.get(family_of(model))


def check(model: str | None, fields: Mapping[str, object]) -> None:
    """Check a request's fields against the rules of its model.

    Args:
        model: the model's name, or None where none is given: then only the rules of all models hold.
        fields: the body's fields that are given, `prompt` among them and `stream` where it is asked for; None counts
            as not given.

    Raises:
        InvalidRequestError: a field is not accepted; it says which, what it held and what is allowed.

    Example:
        >>> check("dall-e-3", {"prompt": "A lighthouse", "n": 2})
        Traceback (most recent call last):
        aiai_async._errors.InvalidRequestError: n: 2 is not accepted by dall-e-3; use 1
    """
    given = {name: value for name, value in fields.items() if value is not None}
    for name, value in given.items():
        # Of most fields that is all.
        if type(value) is not _TYPES.get(name):
            _check_type(name, value)
    by = model or "the API"
    rules = rules_of(model)
    _check_prompt(given.get("prompt"), by)
    if "n" in given:
        _check_count(given["n"], by)
    if model is not None and rules is None:
        return
    _check_bounds(given, rules, by)
    if rules is None or given.keys() <= _CHECKED:
        return
    _check_size(given.get("size"), rules, by)
    for name, allowed in _CHOICES[rules.name].items():
        if name in given and given[name] not in allowed:
            refuse(name, given[name], allowed, by)
    if given.get("stream") is True and not rules.streams:
        refuse("stream", True, "leave it out, or use a gpt-image model", by)
    _check_partial_images(given.get("partial_images"), by)
    _check_formats(given, rules, by)


def check_prompt(prompt: object, model: str | None, most: float) -> None:
    """Check the prompt alone, of a request whose other fields are known to be right.

    Args:
        prompt: what the image shows.
        model: the model, for the message.
        most: as `max_prompt_characters` gave it.

    Raises:
        InvalidRequestError: it is not accepted.
    """
    if type(prompt) is not str and prompt is not None:
        _check_type("prompt", prompt)
    by = model or "the API"
    _check_prompt(prompt, by)
    _check_length(prompt, most, by)


def max_prompt_characters(model: str | None) -> float:
    """Give how long a prompt may be; infinite for a model that isn't known.

    Example:
        >>> max_prompt_characters("dall-e-2")
        1000
    """
    rules = rules_of(model)
    if rules is None:
        return MAX_PROMPT_CHARACTERS if model is None else math.inf
    return rules.max_prompt_characters


def estimate_tokens(fields: Mapping[str, object]) -> float:
    """Estimate the tokens that a request is billed for, by its size, quality, number and prompt; 0 for dall-e.

    A quality that isn't given, or left to the model, counts as the best, a size as the usual one. A first guess, for
    rate limits: answers correct it.

    Example:
        >>> estimate_tokens({"model": "gpt-image-1", "prompt": "A lighthouse", "size": "1024x1024", "quality": "low"})
        275.0
    """
    model = fields.get("model")
    name = model if isinstance(model, str) else ""
    if name.startswith("dall-e"):
        return 0.0
    get = fields.get
    prompt, n, size, quality = get("prompt"), get("n"), get("size"), get("quality")
    sides = (parse_size(size) if isinstance(size, str) else None) or _USUAL_SIZE
    each = image_tokens(name, size=sides, quality=quality if isinstance(quality, str) else "")
    partial_images = fields.get("partial_images")
    previews = PARTIAL_IMAGE_TOKENS * partial_images if _is_integer(partial_images) else 0  # type: ignore[operator] # an int
    count = n if isinstance(n, int) else 1
    words = len(prompt) // _CHARACTERS_BY_TOKEN if isinstance(prompt, str) else 0
    return float(words + count * (each + previews))


def refuse(field: str, value: object, allowed: tuple[object, ...] | str, by: str) -> NoReturn:
    """Raise the `InvalidRequestError` that says this value of this field isn't accepted.

    Args:
        field: the name of the field or argument.
        value: what it held; a long one is shown cut.
        allowed: the values it may have (none: the field itself is not accepted), or words after "use" or a verb.
        by: who does not accept it, for the message.
    """
    shown = repr(value)
    if len(shown) > 60:
        shown = f"{shown[:60]}…"
    if isinstance(allowed, str):
        advice = allowed
    elif allowed:
        *most, last = (str(choice) for choice in allowed)
        advice = f"use {', '.join(most)} or {last}" if most else f"use {last}"
    else:
        advice = "leave it out"
    raise InvalidRequestError(
        f"{field}: {shown} is not accepted by {by}; {advice}", field=field, value=value, allowed=allowed
    )


_CHOICES: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    rules.name: {
        "quality": rules.qualities,
        "background": rules.backgrounds,
        "moderation": rules.moderations,
        "output_format": rules.output_formats,
        "response_format": rules.response_formats,
        "style": rules.styles,
    }
    for rules in RULES.values()
}


def _is_integer(value: object) -> bool:
    # True and False are ints to Python and booleans to JSON.
    return isinstance(value, int) and not isinstance(value, bool)


_TYPES: Final[Mapping[str, type]] = {
    **dict.fromkeys(
        (
            "prompt",
            "model",
            "size",
            "background",
            "moderation",
            "quality",
            "style",
            "output_format",
            "response_format",
            "user",
        ),
        str,
    ),
    **dict.fromkeys(("n", "output_compression", "partial_images"), int),
    "stream": bool,
}
# Where there is nothing else, nothing is left to be checked after the bounds.
_CHECKED: Final = frozenset({"prompt", "model", "n"})
_ADVICE: Final = {str: "give a string", int: "give an integer", bool: "give true or false"}


def _check_type(name: str, value: object) -> None:
    kind = _TYPES.get(name)
    if kind is not None and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        refuse(name, value, _ADVICE[kind], "the API")


def _check_prompt(prompt: object, by: str) -> None:
    if not isinstance(prompt, str) or not prompt.strip():
        refuse("prompt", prompt, "say what the image shows", by)
    if prompt.isascii():
        return
    try:
        prompt.encode()
    except UnicodeEncodeError:
        refuse("prompt", prompt, "remove the lone surrogate, which no encoding of Unicode can hold", by)


def _check_count(n: object, by: str) -> None:
    if isinstance(n, int) and n < 1:
        refuse("n", n, "use 1 or more", by)


def _check_length(prompt: object, most: float, by: str) -> None:
    if isinstance(prompt, str) and len(prompt) > most:
        refuse("prompt", prompt, f"use at most {most:,} characters, this one has {len(prompt):,}", by)


def _check_bounds(given: Mapping[str, object], rules: ModelRules | None, by: str) -> None:
    _check_length(given["prompt"], MAX_PROMPT_CHARACTERS if rules is None else rules.max_prompt_characters, by)
    n = given.get("n")
    most = MAX_IMAGES if rules is None else rules.max_images
    if isinstance(n, int) and n > most:
        refuse("n", n, (1,) if most == 1 else f"use 1 to {most}", by)
    if "partial_images" in given and given.get("stream") is not True:
        refuse(
            "partial_images", given["partial_images"], "leave it out, or ask for a stream", "a request without stream"
        )


def _check_size(size: object, rules: ModelRules, by: str) -> None:
    if not isinstance(size, str) or size in rules.sizes:
        return
    if not rules.any_size:
        refuse("size", size, rules.sizes, by)
    sides = parse_size(size)
    if sides is None:
        refuse("size", size, f"use {_FREE_SIZE_IN_WORDS}", by)
    width, height = sides
    longer, shorter = max(sides), min(sides)
    if (
        width % _SIDE_STEP
        or height % _SIDE_STEP
        or longer > _LONGEST_SIDE
        or width * height > _MOST_PIXELS
        or longer > shorter * _WIDEST_RATIO
    ):
        refuse("size", size, f"use {_FREE_SIZE_IN_WORDS}", by)


def _check_partial_images(count: object, by: str) -> None:
    if isinstance(count, int) and not 0 <= count <= 3:
        refuse("partial_images", count, (0, 1, 2, 3), by)


def _check_formats(given: Mapping[str, object], rules: ModelRules, by: str) -> None:
    compression = given.get("output_compression")
    chosen = given.get("output_format", "png")
    if compression is not None:
        if not rules.output_formats:
            refuse("output_compression", compression, (), by)
        if not isinstance(compression, int) or not 0 <= compression <= 100:
            refuse("output_compression", compression, "use 0 to 100", by)
        if chosen == "png":
            words = "set output_format to webp or jpeg, or leave it out"
            refuse("output_compression", compression, words, f"{by} with output_format png")
    if given.get("background") == "transparent" and chosen == "jpeg":
        words = "set output_format to png or webp, or background to opaque or auto"
        refuse("background", "transparent", words, f"{by} with output_format jpeg")
