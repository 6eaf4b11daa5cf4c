"""What the page offers is what the rules take, and what it sends is checked by them."""

from __future__ import annotations

from typing import Any

import pytest

from aiai_async import ImageRequest, InvalidRequestError
from aiai_async._models import RULES, check
from aiai_async.studio.choices import describe_models, read_request, streams

MODELS = describe_models()["models"]
FIELDS = {
    "sizes": "size",
    "suggested_sizes": "size",
    "qualities": "quality",
    "backgrounds": "background",
    "moderations": "moderation",
    "styles": "style",
    "output_formats": "output_format",
    "partial_images": "partial_images",
}


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model["name"])
def test_everything_that_is_offered_is_accepted(model: dict[str, Any]) -> None:
    """Each value of each field, and the largest number."""
    for offered, field in FIELDS.items():
        for value in model[offered]:
            fields = {"prompt": "A kite", "model": model["name"], field: value}
            check(model["name"], {**fields, **({"stream": True} if model["streams"] else {})})
    check(model["name"], {"prompt": "A kite", "n": model["max_images"]})


def test_every_model_is_offered_those_that_stream_first() -> None:
    """A list in the page's own code would grow old."""
    assert {model["name"] for model in MODELS} == set(RULES)
    assert [model["streams"] for model in MODELS] == sorted((model["streams"] for model in MODELS), reverse=True)


def test_what_is_left_open_is_not_sent() -> None:
    """An empty text of a form is no value."""
    request = read_request({"prompt": "A kite", "model": "", "size": None, "n": 2})
    assert request.to_fields() == {"prompt": "A kite", "n": 2}


@pytest.mark.parametrize(
    ("tree", "field", "words"),
    [
        ([], None, "the request is no JSON object"),
        ({}, "prompt", "prompt: ''"),
        ({"prompt": "A kite", "model": "dall-e-3", "n": 2}, "n", "n: 2 is not accepted by dall-e-3; use 1"),
        ({"prompt": "A kite", "n": "two"}, "n", "n: 'two' is not accepted by the API; give an integer"),
        ({"prompt": "A kite", "model": "dall-e-2", "partial_images": 1}, "stream", "stream: True is not accepted"),
        ({"prompt": "A kite", "stream": True}, "stream", "'stream' is no field of a request"),
        ({"prompt": "A kite", "api_key": "x"}, "api_key", "'api_key' is no field of a request"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_with_its_field(tree: object, field: str | None, words: str) -> None:
    """So that the page can say it where it is."""
    with pytest.raises(InvalidRequestError) as caught:
        read_request(tree)
    assert caught.value.field == field
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("fields", "is_streamed"),
    [
        ({"model": "gpt-image-1"}, True),
        ({"model": "gpt-image-1", "partial_images": 0}, True),
        ({"model": "gpt-image-2-2026-04-21"}, True),
        ({"model": "dall-e-3"}, False),
        ({"model": "flux-pro"}, False),
        ({"model": "flux-pro", "partial_images": 0}, True),
        ({}, False),
    ],
    ids=str,
)
def test_a_stream_is_asked_for_where_there_is_one(fields: dict[str, Any], is_streamed: bool) -> None:
    """Of models that nobody knows, where the user says so."""
    assert streams(ImageRequest(prompt="A kite", **fields)) is is_streamed
