"""From the bytes of a body to a request whose every field is right, or the refusal that the API would give.

Pure. What a model accepts is the table in `_models`; here are the rules of the body itself, the defaults, and what the
server needs to be able to draw for models that no table describes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, cast

import attrs
import orjson

from aiai_async._errors import InvalidRequestError
from aiai_async._models import MAX_IMAGES, MAX_PROMPT_CHARACTERS, ModelRules, check, parse_size, rules_of
from aiai_async.server.draw import OutputFormat
from aiai_async.server.refusals import JSONObject, Refusal

# Only these models have them: a request without a model that gives one is meant for gpt-image-1.
_FIELDS_OF_GPT_IMAGE: Final = ("background", "moderation", "output_format", "output_compression", "partial_images")
_QUALITIES_OF_GPT_IMAGE: Final = ("low", "medium", "high")

# A model that the table doesn't know may be asked for any size; more than this would only fill the memory.
_LONGEST_SIDE: Final = 4096
_MOST_PARTIAL_IMAGES: Final = 3


@attrs.frozen(kw_only=True)
class CheckedRequest:
    """A request with its defaults filled in, ready to be drawn."""

    model: str
    prompt: str
    n: int
    width: int
    height: int
    quality: str
    """low, medium or high; standard or hd for dall-e."""
    background: Literal["transparent", "opaque"]
    output_format: OutputFormat
    compression: int
    """The quality of jpeg and webp, 0 to 100."""
    response_format: Literal["url", "b64_json"]
    style: str
    stream: bool
    partial_images: int
    """How many were asked for, 0 to 3; 0 without `stream`."""
    is_dalle: bool
    """True for the models that answer with links by default and say nothing of usage and settings."""


def parse_body(content_type: str, body: bytes) -> JSONObject:
    """Read a body as a JSON object.

    Args:
        content_type: the media type of the body, without parameters.
        body: the whole body, already known to be of a reasonable size.

    Raises:
        Refusal: it is labelled otherwise, is not JSON, or is not an object.
    """
    if content_type != "application/json":
        raise Refusal(
            415,
            f"Unsupported content type: {content_type[:100]!r}. This API method only accepts 'application/json'; "
            "with curl, pass -H 'Content-Type: application/json'.",
            code="unsupported_content_type",
        )
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        message = f"We could not parse the JSON body of your request: {exc}. The API expects a JSON payload."
        raise Refusal(400, message, code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "The body of your request is not a JSON object.", code="invalid_json")
    return cast(JSONObject, value)


def asks_for_stream(body: bytes) -> bool:
    """Tell whether a body asks for a stream, before it is known whether it is right."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and value.get("stream") is True


def check_request(fields: Mapping[str, object]) -> CheckedRequest:
    """Check the fields of a body as the API does; null is the same as left out, unknown fields are dropped.

    Raises:
        Refusal: a field is wrong; its `param` is the field's name.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if "prompt" not in given:
        raise Refusal(400, "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter")
    model = given.get("model") or _choose_model(given)
    if not isinstance(model, str):
        raise Refusal(400, f"model: {model!r:.60} is not a string.", param="model", code="invalid_type")
    try:
        check(model, given)
    except InvalidRequestError as exc:
        raise Refusal(400, str(exc), param=exc.field, code="invalid_value") from None
    rules = rules_of(model)
    if rules is None:
        _check_unknown_model(given)
    return _fill_in(model, rules, given)


def _choose_model(given: Mapping[str, object]) -> str:
    if given.get("stream") is True or given.get("quality") in _QUALITIES_OF_GPT_IMAGE:
        return "gpt-image-1"
    return "gpt-image-1" if any(name in given for name in _FIELDS_OF_GPT_IMAGE) else "dall-e-2"


def _check_unknown_model(given: Mapping[str, object]) -> None:
    """Refuse what can't be drawn; the types are already known to be right."""
    prompt, n, size = given["prompt"], given.get("n", 1), given.get("size", "auto")
    if isinstance(n, int) and n > MAX_IMAGES:
        raise Refusal(400, f"n: {n} is more than {MAX_IMAGES}.", param="n", code="invalid_value")
    if isinstance(prompt, str) and len(prompt) > MAX_PROMPT_CHARACTERS:
        message = f"prompt: {len(prompt):,} characters are more than {MAX_PROMPT_CHARACTERS:,}."
        raise Refusal(400, message, param="prompt", code="invalid_value")
    sides = parse_size(size) if isinstance(size, str) else None
    if sides and max(sides) > _LONGEST_SIDE:
        message = f"size: {size} is more than this server draws; no side may be longer than {_LONGEST_SIDE}."
        raise Refusal(400, message, param="size", code="invalid_value")


def _fill_in(model: str, rules: ModelRules | None, given: Mapping[str, object]) -> CheckedRequest:
    # After the check each field is of its type; for unknown models the values may still be any.
    is_dalle = rules is not None and bool(rules.response_formats)
    width, height = parse_size(str(given.get("size", "auto"))) or (1024, 1024)
    quality = str(given.get("quality", "standard" if is_dalle else "auto"))
    if not is_dalle and quality not in _QUALITIES_OF_GPT_IMAGE:
        quality = "medium"
    asked_format = given.get("output_format")
    output_format: OutputFormat = "jpeg" if asked_format == "jpeg" else "webp" if asked_format == "webp" else "png"
    is_transparent = given.get("background") == "transparent" and output_format != "jpeg"
    stream = given.get("stream") is True
    return CheckedRequest(
        model=model,
        prompt=str(given["prompt"]),
        n=cast(int, given.get("n", 1)),
        width=width,
        height=height,
        quality=quality,
        background="transparent" if is_transparent else "opaque",
        output_format=output_format,
        compression=min(100, max(0, cast(int, given.get("output_compression", 100)))),
        response_format="url" if given.get("response_format", "url" if is_dalle else "") == "url" else "b64_json",
        style=str(given.get("style", "vivid")),
        stream=stream,
        partial_images=min(_MOST_PARTIAL_IMAGES, max(0, cast(int, given.get("partial_images", 0)))) if stream else 0,
        is_dalle=is_dalle,
    )
