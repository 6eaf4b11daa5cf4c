"""Bodies become checked requests, or refusals that name the field as the API does."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.server.refusals import Refusal
from aiai_async.server.validate import CheckedRequest, asks_for_stream, check_request, parse_body

JSON = "application/json"
scalars = st.sampled_from(
    [None, True, False, 0, 1, 3, -1, 2**40, 0.5, "", "auto", "png", "a cat", "1x1", "\ud800", "flux"]
)
anything = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.just("key"), scalars)
FIELDS = [
    "prompt",
    "model",
    "n",
    "size",
    "background",
    "moderation",
    "quality",
    "style",
    "output_format",
    "output_compression",
    "response_format",
    "stream",
    "partial_images",
    "user",
]


def refusal_of(fields: dict[str, object]) -> dict[str, object]:
    """Give the error that these fields are refused with."""
    with pytest.raises(Refusal) as caught:
        check_request(fields)
    assert caught.value.status == 400
    error = caught.value.body["error"]
    assert isinstance(error, dict)
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    return error


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("text/plain", b"{}", 415, "unsupported_content_type"),
        ("application/x-www-form-urlencoded", b"{}", 415, "unsupported_content_type"),
        (JSON, b"", 400, "invalid_json"),
        (JSON, b'{"prompt": "a', 400, "invalid_json"),
        (JSON, b"\xff\xfe", 400, "invalid_json"),
        (JSON, b'["prompt"]', 400, "invalid_json"),
        (JSON, b"null", 400, "invalid_json"),
        (JSON, b"[" * 500_000, 400, "invalid_json"),
        (JSON, b'{"prompt": NaN}', 400, "invalid_json"),
    ],
    ids=["text", "form", "empty", "broken", "no unicode", "array", "null", "deep", "nan"],
)
def test_what_is_no_json_object_is_refused(content_type: str, body: bytes, status: int, code: str) -> None:
    """Whatever is wrong with the body as a whole, it is a refusal and nothing else."""
    with pytest.raises(Refusal) as caught:
        parse_body(content_type, body)
    error = caught.value.body["error"]
    assert isinstance(error, dict)
    assert (caught.value.status, error["code"]) == (status, code)


def test_a_json_object_is_taken() -> None:
    """The ordinary case."""
    assert parse_body(JSON, b'{"prompt": "a"}') == {"prompt": "a"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": "a" * 1001}, "prompt"),
        ({"prompt": "a" * 4001, "model": "dall-e-3"}, "prompt"),
        ({"prompt": "a" * 32_001, "model": "gpt-image-1"}, "prompt"),
        ({"prompt": "a" * 32_001, "model": "flux"}, "prompt"),
        ({"prompt": "a", "model": 5}, "model"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": 11}, "n"),
        ({"prompt": "a", "n": "2"}, "n"),
        ({"prompt": "a", "n": 1.5}, "n"),
        ({"prompt": "a", "n": True}, "n"),
        ({"prompt": "a", "n": 11, "model": "flux"}, "n"),
        ({"prompt": "a", "n": 2, "model": "dall-e-3"}, "n"),
        ({"prompt": "a", "size": "1536x1024"}, "size"),
        ({"prompt": "a", "size": "1000x1000", "model": "gpt-image-1"}, "size"),
        ({"prompt": "a", "size": "1000x1000", "model": "gpt-image-2"}, "size"),
        ({"prompt": "a", "size": "90000x90000", "model": "flux"}, "size"),
        ({"prompt": "a", "background": "transparent", "output_format": "jpeg"}, "background"),
        ({"prompt": "a", "background": "opaque", "model": "dall-e-3"}, "background"),
        ({"prompt": "a", "quality": "hd", "model": "gpt-image-1"}, "quality"),
        ({"prompt": "a", "moderation": "high", "model": "gpt-image-1"}, "moderation"),
        ({"prompt": "a", "output_format": "gif", "model": "gpt-image-1"}, "output_format"),
        ({"prompt": "a", "output_compression": 101, "output_format": "webp"}, "output_compression"),
        ({"prompt": "a", "response_format": "b64_json", "model": "gpt-image-1"}, "response_format"),
        ({"prompt": "a", "style": "vivid", "model": "dall-e-2"}, "style"),
        ({"prompt": "a", "stream": "true", "model": "gpt-image-1"}, "stream"),
        ({"prompt": "a", "stream": 1, "model": "gpt-image-1"}, "stream"),
        ({"prompt": "a", "stream": True, "model": "dall-e-2"}, "stream"),
        ({"prompt": "a", "stream": True, "model": "dall-e-3"}, "stream"),
        ({"prompt": "a", "partial_images": 2, "model": "gpt-image-1"}, "partial_images"),
        ({"prompt": "a", "partial_images": 4, "stream": True, "model": "gpt-image-1"}, "partial_images"),
    ],
    ids=str,
)
def test_a_wrong_field_is_named(fields: dict[str, object], param: str) -> None:
    """`param` is the name that the API gives."""
    assert refusal_of(fields)["param"] == param


def test_a_missing_prompt_has_its_own_code() -> None:
    """As the API tells what is missing from what is wrong."""
    assert refusal_of({"model": "gpt-image-1"})["code"] == "missing_required_parameter"


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({}, "dall-e-2"),
        ({"size": "256x256"}, "dall-e-2"),
        ({"background": "transparent"}, "gpt-image-1"),
        ({"moderation": "low"}, "gpt-image-1"),
        ({"output_format": "webp"}, "gpt-image-1"),
        ({"quality": "low"}, "gpt-image-1"),
        ({"quality": "standard"}, "dall-e-2"),
        ({"stream": True}, "gpt-image-1"),
        ({"stream": False}, "dall-e-2"),
    ],
    ids=str,
)
def test_the_model_is_chosen_by_what_only_some_have(fields: dict[str, object], model: str) -> None:
    """dall-e-2, unless a field only gpt-image models have is given."""
    assert check_request({"prompt": "a", **fields}).model == model


def test_defaults_of_a_gpt_image_model() -> None:
    """What `auto` and nothing come to."""
    expected = CheckedRequest(
        model="gpt-image-1",
        prompt="a",
        n=1,
        width=1024,
        height=1024,
        quality="medium",
        background="opaque",
        output_format="png",
        compression=100,
        response_format="b64_json",
        style="vivid",
        stream=False,
        partial_images=0,
        is_dalle=False,
    )
    automatic = {"size": "auto", "quality": "auto", "background": "auto", "n": None, "unknown": 5}
    assert check_request({"prompt": "a", "model": "gpt-image-1"}) == expected
    assert check_request({"prompt": "a", "model": "gpt-image-1", **automatic}) == expected


def test_defaults_of_a_dalle_model() -> None:
    """Links, and no settings to speak of."""
    request = check_request({"prompt": "a"})
    assert (request.response_format, request.quality, request.is_dalle) == ("url", "standard", True)


def test_an_unknown_model_is_drawn_whatever_it_is_asked() -> None:
    """A gateway maps any name, and its fields may hold anything."""
    fields: dict[str, object] = {
        "prompt": "a",
        "model": "flux",
        "size": "16:9",
        "quality": "4k",
        "output_format": "gif",
        "output_compression": 900,
        "response_format": "url",
    }
    request = check_request(fields)
    assert (request.width, request.quality, request.output_format) == (1024, "medium", "png")
    assert (request.compression, request.response_format) == (100, "url")


def test_partial_images_count_only_in_a_stream() -> None:
    """They are kept for who streams."""
    request = check_request({"prompt": "a", "model": "gpt-image-1", "stream": True, "partial_images": 2})
    assert (request.stream, request.partial_images) == (True, 2)


@pytest.mark.parametrize(("asked", "given_"), [(-1, 0), (0, 0), (3, 3), (2**40, 3)])
def test_no_model_is_sent_more_than_three_partial_images(asked: int, given_: int) -> None:
    """A model that nobody knows may be asked for any number."""
    assert (
        check_request({"prompt": "a", "model": "flux", "stream": True, "partial_images": asked}).partial_images
        == given_
    )


@pytest.mark.parametrize(
    ("body", "streams"),
    [
        (b'{"stream": true}', True),
        (b'{"stream": false}', False),
        (b'{"stream": "true"}', False),
        (b'{"stream": 1}', False),
        (b"{}", False),
        (b"[true]", False),
        (b'{"stream": tru', False),
        (b"", False),
    ],
    ids=repr,
)
def test_whether_a_stream_is_asked_for_shows_before_the_check(body: bytes, streams: bool) -> None:
    """A body that is wrong is refused later."""
    assert asks_for_stream(body) is streams


@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_any_body_is_checked_or_refused(fields: dict[str, object]) -> None:
    """No value of any field brings the server down."""
    with contextlib.suppress(Refusal):
        assert 1 <= check_request(fields).n <= 10
