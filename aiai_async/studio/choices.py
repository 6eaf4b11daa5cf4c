"""What the page offers for each model, and what it sends as a request. Pure; the rules are those of `_models`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from aiai_async import ImageRequest, InvalidRequestError
from aiai_async._models import MAX_IMAGES, MAX_PROMPT_CHARACTERS, RULES, ModelRules, rules_of

DEFAULT_MODEL: Final = "gpt-image-1"
PARTIAL_IMAGES: Final = (0, 1, 2, 3)
# Sizes that a model which takes any is offered; others can be typed.
_SUGGESTED_SIZES: Final = ("1024x1024", "1536x1024", "1024x1536", "2048x2048", "3840x2160", "2160x3840")
_FIELDS: Final = tuple(field.name for field in attrs.fields(ImageRequest))


def describe_models() -> dict[str, Any]:
    """Give what the page offers, as JSON: each model with the values of its fields, and what holds for any other.

    An empty list: the model doesn't have the field. Any: it is JSON.
    """
    return {
        "default_model": DEFAULT_MODEL,
        # The newest and most used family first.
        "models": [
            _describe(rules) for rules in sorted(RULES.values(), key=lambda rules: (not rules.streams, rules.name))
        ],
        "other": {
            "name": None,
            "streams": None,
            "sizes": [],
            "any_size": True,
            "suggested_sizes": list(_SUGGESTED_SIZES),
            "qualities": [],
            "backgrounds": [],
            "moderations": [],
            "styles": [],
            "output_formats": [],
            "partial_images": list(PARTIAL_IMAGES),
            "max_images": MAX_IMAGES,
            "max_prompt_characters": MAX_PROMPT_CHARACTERS,
        },
    }


def _describe(rules: ModelRules) -> dict[str, Any]:
    return {
        "name": rules.name,
        "streams": rules.streams,
        "sizes": list(rules.sizes),
        "any_size": rules.any_size,
        "suggested_sizes": list(_SUGGESTED_SIZES) if rules.any_size else [],
        "qualities": list(rules.qualities),
        "backgrounds": list(rules.backgrounds),
        "moderations": list(rules.moderations),
        "styles": list(rules.styles),
        "output_formats": list(rules.output_formats),
        "partial_images": list(PARTIAL_IMAGES) if rules.streams else [],
        "max_images": rules.max_images,
        "max_prompt_characters": rules.max_prompt_characters,
    }


def read_request(tree: object) -> ImageRequest:
    """Make a request of what the page sent, and check it against its model's rules.

    Args:
        tree: parsed JSON: the fields of `ImageRequest`; None and an empty text are not given.

    Raises:
        InvalidRequestError: a field is wrong; it says which.

    Example:
        >>> read_request({"prompt": "A kite", "model": "dall-e-3", "size": ""}).to_fields()
        {'prompt': 'A kite', 'model': 'dall-e-3'}
    """
    if not isinstance(tree, Mapping):
        raise InvalidRequestError("the request is no JSON object")
    for name in tree:
        if name not in _FIELDS:
            raise InvalidRequestError(f"{str(name)[:60]!r} is no field of a request", field=str(name)[:60])
    # Any: the values are checked at run time, by `validate`.
    given: dict[str, Any] = {name: value for name, value in tree.items() if value is not None and value != ""}
    given.setdefault("prompt", "")
    request = ImageRequest(**given)
    request.validate()
    return request


def streams(request: ImageRequest) -> bool:
    """Tell whether a request is asked for as a stream: where its model does that; of others, where the user says so.

    Example:
        >>> streams(ImageRequest(prompt="A kite", model="dall-e-3"))
        False
        >>> streams(ImageRequest(prompt="A kite", model="some-model", partial_images=2))
        True
    """
    rules = rules_of(request.model)
    return request.partial_images is not None if rules is None else rules.streams
