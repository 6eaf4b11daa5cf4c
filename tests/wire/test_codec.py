"""Requests to bytes, and every variation of a plain answer to the same response."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiai_async._errors import APIResponseError, InvalidRequestError
from aiai_async._facts import TokenDetails, Usage
from aiai_async._schemas import Image, ImageRequest, ImagesResponse
from aiai_async.wire import codec
from aiai_async.wire.images import ImageScanner

URL = "https://api.example.com/v1/images/generations/"
PNG = b"\x89PNG\r\n\x1a\n and more"
B64 = base64.b64encode(PNG).decode()
OTHER = b"RIFF\0\0\0\0WEBP and more"


def read_whole(text: bytes, *, url: str = URL) -> ImagesResponse:
    """Read an answer as small ones are read."""
    tree = codec.parse_answer(text)
    return codec.read_answer(tree, codec.take_images(tree), url=url)


def read_scanned(text: bytes, *, piece: int, url: str = URL) -> ImagesResponse:
    """Read an answer through the scanner, in pieces of a length."""
    scanner = ImageScanner()
    contents: list[bytes] = []
    current = b""
    for at in range(0, len(text), piece):
        for item in scanner.feed(text[at : at + piece]):
            if isinstance(item, bytes):
                current += item
            elif current:
                contents.append(current)
                current = b""
    tree = codec.parse_answer(scanner.finish())
    return codec.read_answer(tree, [Image(content=content) for content in contents], url=url)


def read_all_ways(text: bytes, *, url: str = URL) -> ImagesResponse:
    """Read an answer whole, through the scanner, and byte by byte: it must be the same."""
    whole = read_whole(text, url=url)
    assert read_scanned(text, piece=1 << 20, url=url) == whole
    assert read_scanned(text, piece=1, url=url) == whole
    return whole


def answer(**fields: object) -> bytes:
    """Write an answer with one image beside the given fields."""
    return json.dumps({"data": [{"b64_json": B64}], **fields}).encode()


FULL: dict[str, Any] = {
    "created": 1713833628,
    "data": [{"b64_json": B64, "revised_prompt": "a tall lighthouse"}],
    "background": "transparent",
    "output_format": "png",
    "quality": "high",
    "size": "1024x1024",
    "usage": {
        "total_tokens": 100,
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 50},
    },
}


def test_a_full_answer_gives_every_field() -> None:
    """The answer as OpenAI's description of the endpoint shows it."""
    response = read_all_ways(json.dumps(FULL).encode())
    assert response == ImagesResponse(
        created=dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC),
        data=(Image(content=PNG, revised_prompt="a tall lighthouse"),),
        background="transparent",
        output_format="png",
        quality="high",
        size="1024x1024",
        usage=Usage(
            total_tokens=100,
            input_tokens=50,
            output_tokens=50,
            input_tokens_details=TokenDetails(text_tokens=10, image_tokens=40),
            output_tokens_details=TokenDetails(text_tokens=0, image_tokens=50),
        ),
    )
    assert response.image.media_type == "image/png"


CREATED = {
    "an integer": (1713833628, "2024-04-23T00:53:48+00:00"),
    "a float": (1713833628.5, "2024-04-23T00:53:48.500000+00:00"),
    "a string": ("1713833628", "2024-04-23T00:53:48+00:00"),
    "a float in a string": ("1713833628.5", "2024-04-23T00:53:48.500000+00:00"),
    "milliseconds": (1713833628500, "2024-04-23T00:53:48.500000+00:00"),
    "an ISO date": ("2024-04-23T00:53:48Z", "2024-04-23T00:53:48+00:00"),
    "an ISO date with an offset": ("2024-04-23T02:53:48+02:00", "2024-04-23T00:53:48+00:00"),
    "an ISO date without an offset": ("2024-04-23T00:53:48", "2024-04-23T00:53:48+00:00"),
    "zero": (0, "1970-01-01T00:00:00+00:00"),
    "null": (None, None),
    "an empty string": ("", None),
    "words": ("yesterday", None),
    "a boolean": (True, None),
    "a list": ([1], None),
    "an object": ({}, None),
    "beyond the calendar": (1e30, None),
    "beyond a float": (10**400, None),
    "infinite, in a string": ("inf", None),
    "an ISO date that leaves the calendar": ("0001-01-01T00:00:00+12:00", None),
}


@pytest.mark.parametrize(("value", "expected"), CREATED.values(), ids=CREATED.keys())
def test_created_is_read_in_every_form(value: object, expected: str | None) -> None:
    """An aware UTC time, or None; never a reason to lose the image."""
    created = read_all_ways(answer(created=value)).created
    assert (None if created is None else created.isoformat()) == expected
    assert created is None or created.tzinfo is dt.UTC


def test_created_may_be_left_out() -> None:
    """Some gateways do."""
    assert read_all_ways(answer()).created is None


USAGE = {
    "null": (None, None),
    "empty": ({}, None),
    "no object": ("many", None),
    "counts as strings": ({"total_tokens": "100"}, Usage(total_tokens=100)),
    "counts as floats": ({"total_tokens": 100.0}, Usage(total_tokens=100)),
    "counts that are none": (
        {"total_tokens": None, "input_tokens": True, "output_tokens": "many"},
        Usage(),
    ),
    "details null": ({"total_tokens": 1, "input_tokens_details": None}, Usage(total_tokens=1)),
    "details empty": ({"total_tokens": 1, "input_tokens_details": {}}, Usage(total_tokens=1)),
    "details of one kind": (
        {"output_tokens_details": {"image_tokens": 5}},
        Usage(output_tokens_details=TokenDetails(image_tokens=5)),
    ),
    "unknown fields": (
        {"total_tokens": 1, "cost": 0.04, "input_tokens_details": {"cached_tokens": 2}},
        Usage(total_tokens=1, input_tokens_details=TokenDetails(extra={"cached_tokens": 2}), extra={"cost": 0.04}),
    ),
    "a field called extra": ({"extra": 5}, Usage(extra={"extra": 5})),
}


@pytest.mark.parametrize(("value", "expected"), USAGE.values(), ids=USAGE.keys())
def test_usage_is_read_in_every_form(value: object, expected: Usage | None) -> None:
    """What can be understood is taken, what is unknown is kept."""
    assert read_all_ways(answer(usage=value)).usage == expected


@pytest.mark.parametrize("digits", [19, 20, 5000])
def test_a_count_of_any_length_in_a_string_does_no_harm(digits: int) -> None:
    """No count of tokens has twenty digits."""
    usage = read_all_ways(answer(usage={"total_tokens": "1" * digits})).usage
    assert usage == Usage(total_tokens=int("1" * 19) if digits == 19 else None)


def test_a_count_that_is_not_finite_is_none() -> None:
    """1e400 is legal JSON and infinite to Python."""
    assert read_all_ways(b'{"data": [{"b64_json": "%b"}], "usage": {"total_tokens": 1e400}}' % B64.encode()).usage == (
        Usage()
    )


DATA = {
    "base64 alone": ({"b64_json": B64}, Image(content=PNG)),
    "a link alone": ({"url": "https://cdn.example.com/a.png?sig=1"}, Image(url="https://cdn.example.com/a.png?sig=1")),
    "base64, and url empty": ({"b64_json": B64, "url": ""}, Image(content=PNG)),
    "base64, and url null": ({"url": None, "b64_json": B64}, Image(content=PNG)),
    "a link, and b64_json empty": ({"b64_json": "", "url": "https://e.com/a"}, Image(url="https://e.com/a")),
    "a link, and b64_json null": ({"b64_json": None, "url": "https://e.com/a"}, Image(url="https://e.com/a")),
    "both": ({"b64_json": B64, "url": "https://e.com/a"}, Image(content=PNG, url="https://e.com/a")),
    "data URI": ({"b64_json": f"data:image/png;base64,{B64}"}, Image(content=PNG)),
    "line breaks": ({"b64_json": f"{B64[:8]}\r\n{B64[8:]}\n"}, Image(content=PNG)),
    "no padding": ({"b64_json": B64.rstrip("=")}, Image(content=PNG)),
    "a relative link": ({"url": "/files/a.png"}, Image(url="https://api.example.com/files/a.png")),
    "a link without a scheme": ({"url": "//cdn.example.com/a"}, Image(url="https://cdn.example.com/a")),
    "a link relative to the endpoint": ({"url": "a.png"}, Image(url=f"{URL}a.png")),
    "revised_prompt": ({"b64_json": B64, "revised_prompt": "x"}, Image(content=PNG, revised_prompt="x")),
    "revised_prompt null": ({"b64_json": B64, "revised_prompt": None}, Image(content=PNG)),
    "revised_prompt empty": ({"b64_json": B64, "revised_prompt": ""}, Image(content=PNG)),
    "revised_prompt of another type": ({"b64_json": B64, "revised_prompt": ["x"]}, Image(content=PNG)),
    "unknown fields": ({"b64_json": B64, "seed": 5, "nsfw": [False]}, Image(content=PNG)),
}


@pytest.mark.parametrize(("item", "expected"), DATA.values(), ids=DATA.keys())
def test_an_item_of_data_is_read_in_every_form(item: object, expected: Image) -> None:
    """Base64 or a link, each odd in its own way."""
    assert read_all_ways(answer(data=[item])).data == (expected,)


def test_several_images_stay_in_order() -> None:
    """Base64 and links beside each other; an item without an image is passed over."""
    other = base64.b64encode(OTHER).decode()
    items = [{"url": "https://e.com/a"}, {"b64_json": other}, {}, None, 5, {"b64_json": B64, "revised_prompt": "x"}]
    response = read_all_ways(answer(data=items))
    assert [(image.content, image.url, image.revised_prompt) for image in response.data] == [
        (None, "https://e.com/a", None),
        (OTHER, None, None),
        (PNG, None, "x"),
    ]


def test_a_key_that_comes_twice_counts_as_the_last() -> None:
    """As in every JSON parser; the image before it is not mistaken for the one that counts."""
    other = base64.b64encode(OTHER)
    one = b'{"data": [{"b64_json": "%b", "b64_json": "%b"}]}' % (other, B64.encode())
    two = b'{"data": [{"b64_json": "%b"}], "data": [{"b64_json": "%b"}]}' % (other, B64.encode())
    for text in (one, two):
        assert read_all_ways(text).image.content == PNG


def test_unknown_fields_are_kept() -> None:
    """At the top; whatever they hold."""
    response = read_all_ways(answer(id="img_1", nested={"a": [1, None]}, extra="mine", error=None))
    assert response.extra == {"id": "img_1", "nested": {"a": [1, None]}, "extra": "mine"}


@pytest.mark.parametrize("value", [None, "", True, [], {}], ids=repr)
@pytest.mark.parametrize("name", ["background", "output_format", "quality", "size"])
def test_a_setting_that_says_nothing_is_none(name: str, value: object) -> None:
    """Settings are strings or None."""
    assert getattr(read_all_ways(answer(**{name: value})), name) is None


def test_a_number_where_a_string_is_expected_is_given_as_text() -> None:
    """Careless encoders write one for the other."""
    assert read_all_ways(answer(size=1024)).size == "1024"


BLEMISHES = {
    "a byte-order mark": b"\xef\xbb\xbf" + answer(x=1),
    "white space around": b"\r\n\t " + answer(x=1) + b"\n\n",
    "NaN": answer(x=1).replace(b'"x": 1', b'"x": NaN'),
    "a raw line break in a string": answer(x="a b").replace(b"a b", b"a\nb"),
    "bytes that aren't UTF-8": answer(x="a b").replace(b"a b", b"\xff\xfe"),
    "a lone surrogate": answer(x="a b").replace(b"a b", b"\\ud800"),
    "a number of 400 digits": answer(x=1).replace(b'"x": 1', b'"x": ' + b"9" * 400),
}


@pytest.mark.parametrize("text", BLEMISHES.values(), ids=BLEMISHES.keys())
def test_an_answer_with_a_blemish_is_still_an_answer(text: bytes) -> None:
    """The image was paid for: strict JSON is not insisted on."""
    assert codec.may_be_answer(text)
    assert read_whole(text).image.content == PNG
    assert read_scanned(text, piece=1).image.content == PNG


REFUSED = {
    "no data": (b'{"created": 1, "id": 5}', "has no `data`; its fields are 'created', 'id'"),
    "nothing at all": (b"{}", "has no `data`; its fields are none"),
    "data null": (b'{"data": null}', "has no `data`; its fields are 'data'"),
    "data an object": (b'{"data": {"url": "u"}}', "`data` is no list; it begins {'url': 'u'}"),
    "data a string": (b'{"data": "image"}', "`data` is no list; it begins 'image'"),
    "data empty": (b'{"data": []}', "`data` is empty: no image was made"),
    "an item without an image": (
        b'{"data": [{"revised_prompt": "x"}]}',
        "`data[0]` holds neither `b64_json` nor `url`; it begins {'revised_prompt': 'x'}",
    ),
    "both keys empty": (
        b'{"data": [{"b64_json": "", "url": ""}]}',
        "`data[0]` holds neither `b64_json` nor `url`; it begins {'b64_json': '', 'url': ''}",
    ),
    "keys of other types": (
        b'{"data": [{"b64_json": 5, "url": []}]}',
        "`data[0]` holds neither `b64_json` nor `url`; it begins {'b64_json': 5, 'url': []}",
    ),
    "a link that is no URL": (
        b'{"data": [{"url": "http://["}]}',
        "`data[0]` holds neither `b64_json` nor `url`; it begins {'url': 'http://['}",
    ),
    "an item that is a string": (b'{"data": ["x"]}', "`data[0]` holds neither `b64_json` nor `url`; it begins 'x'"),
    "a list": (b'[{"b64_json": ""}]', """is JSON, but no object; it begins '[{"b64_json": ""}]'"""),
    "a string": (b'"hello"', """is JSON, but no object; it begins '"hello"'"""),
    "cut": (b'{"data": [', "is not JSON: Expecting value, near '{\"data\": ['"),
    "two objects": (b'{"data": []}{}', "is not JSON: Extra data, near '{\"data\": []}{}'"),
    "nothing": (b"", "is not JSON: Expecting value, near ''"),
    "nested without end": (b'{"data": ' + b"[" * 50_000, "is not JSON: it is nested too deeply"),
    "an endless number": (b'{"data": ' + b"1" * 10_000 + b"}", ""),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_answer_says_which_part_was_wrong(text: bytes, message: str) -> None:
    """With a short excerpt; it may have been billed, since it was a 2xx."""
    with pytest.raises(APIResponseError) as caught:
        read_whole(text)
    assert caught.value.message.startswith(message)
    assert len(caught.value.message) < 250
    assert caught.value.may_have_been_billed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"data": {"a": "' + b"x" * 10_000 + b'"}}', "`data` is no list; it begins"),
        (b'{"data": [{"' + b"x" * 10_000 + b'": 1}]}', "`data[0]` holds neither"),
        (b'["' + b"x" * 10_000 + b'"]', "is JSON, but no object"),
        (b'{"' + b"x" * 10_000 + b'": 1}', "has no `data`"),
        (b"x" * 10_000, "is not JSON"),
    ],
    ids=["data", "item", "list", "fields", "text"],
)
def test_an_excerpt_is_short(text: bytes, message: str) -> None:
    """However long the body is."""
    with pytest.raises(APIResponseError) as caught:
        read_whole(text)
    assert caught.value.message.startswith(message)
    assert len(str(caught.value)) < 1200


BEGINNINGS = {
    "object": (b'{"data"', True),
    "list": (b"[", True),
    "white space": (b" \r\n\t{", True),
    "byte-order mark": (b"\xef\xbb\xbf {", True),
    "empty": (b"", False),
    "blank": (b" \n", False),
    "web page": (b"<!doctype html>", False),
    "words": (b"upstream error", False),
    "stream": (b'data: {"type"', False),
}


@pytest.mark.parametrize(("text", "expected"), BEGINNINGS.values(), ids=BEGINNINGS.keys())
def test_the_first_character_tells_whether_it_may_be_an_answer(text: bytes, expected: bool) -> None:
    """The label in Content-Type is not to be trusted."""
    assert codec.may_be_answer(text) is expected


WEB_PAGE = ("is a web page, not JSON", "is the base URL missing /v1?")
NO_JSON = {
    "a web page": (b"<!doctype html><html>", *WEB_PAGE),
    "a web page after white space": (b"\n\n <HTML>", *WEB_PAGE),
    "a web page after a byte-order mark": (b"\xef\xbb\xbf<!DOCTYPE html>", *WEB_PAGE),
    "nothing": (b"", "the body is empty", None),
    "white space": (b" \r\n", "the body is empty", None),
    "events with data first": (b'data: {"type": "x"}', "is a stream of events, which was not asked for", None),
    "events with a name first": (b"event: x\ndata: {}", "is a stream of events, which was not asked for", None),
    "events with a comment first": (b": PING\n\n", "is a stream of events, which was not asked for", None),
    "words": (b"upstream connect error", "is not JSON; it begins 'upstream connect error'", None),
    "many words": (b"x" * 100_000, f"is not JSON; it begins {'x' * 40!r}", None),
    "an image": (b"\x89PNG\r\n", "is not JSON; it begins '\ufffdPNG\\r\\n'", None),
}


@pytest.mark.parametrize(("text", "message", "hint"), NO_JSON.values(), ids=NO_JSON.keys())
def test_a_body_that_does_not_begin_like_json_is_called_what_it_is(text: bytes, message: str, hint: str | None) -> None:
    """A web page gets the advice that helps: the base URL lacks its path."""
    error = codec.refuse_text(text)
    assert error.message == message
    assert error.hint == hint
    assert error.may_have_been_billed


ERRORS_INSIDE = {
    "an object": ({"error": {"message": "x"}}, True),
    "a string": ({"error": "x"}, True),
    "beside empty data": ({"error": {"message": "x"}, "data": []}, True),
    "beside null data": ({"error": {"message": "x"}, "data": None}, True),
    "null": ({"error": None, "data": []}, False),
    "empty": ({"error": {}}, False),
    "beside images": ({"error": {"message": "one was blocked"}, "data": [{"url": "u"}]}, False),
    "none": ({"data": []}, False),
}


@pytest.mark.parametrize(("tree", "expected"), ERRORS_INSIDE.values(), ids=ERRORS_INSIDE.keys())
def test_an_error_inside_a_200_is_found(tree: dict[str, object], expected: bool) -> None:
    """Only where no image came: what was paid for is not thrown away."""
    assert codec.find_error(tree) == (tree if expected else None)


# Requests.


def test_only_what_was_given_is_sent() -> None:
    """No nulls; an integer stays an integer, a boolean a boolean, and Chinese is UTF-8."""
    fields = ImageRequest(prompt="灯塔", model="gpt-image-1", n=2, output_compression=0, size=None).to_fields()
    assert codec.encode_request({**fields, "stream": True}) == (
        '{"prompt":"灯塔","model":"gpt-image-1","n":2,"output_compression":0,"stream":true}'.encode()
    )


UNWRITABLE = {
    "an object": ("seed", object()),
    "bytes": ("seed", b"x"),
    "a set, deep inside": ("seed", {"a": [{1}]}),
    "a lone surrogate": ("seed", "\ud800"),
    "an integer of 65 bits": ("seed", 1 << 65),
    "a key that is no string": ("seed", {1: 2}),
}


@pytest.mark.parametrize(("name", "value"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_a_field_that_is_no_json_is_named(name: str, value: object) -> None:
    """Before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        codec.encode_request({"prompt": "x", name: value, "n": 1})
    assert caught.value.field == name
    assert caught.value.value is value
    assert str(caught.value).startswith(f"{name}: can't be written as JSON")


def test_a_field_whose_name_is_no_string_is_named() -> None:
    """As `extra_body` may have one."""
    fields: Any = {"prompt": "x", 5: "y"}
    with pytest.raises(InvalidRequestError) as caught:
        codec.encode_request(fields)
    assert caught.value.field == "5"


# Any bytes.

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(B64),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [*FULL, *FULL["usage"], "b64_json", "url", "revised_prompt", "error", "code", "message", "x"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
_links = st.text(st.sampled_from("/:[]@?#.%ahtp\\ 1é℀"), max_size=12) | st.text(max_size=8)
_answers = st.fixed_dictionaries(
    {"data": st.lists(st.fixed_dictionaries({}, optional={"b64_json": _json, "url": _links | _json}), max_size=3)},
    optional={name: _json for name in [*FULL, "x"] if name != "data"},
)
_bodies = st.one_of(
    st.binary(max_size=60),
    _json.map(lambda tree: json.dumps(tree).encode()),
    _answers.map(lambda tree: json.dumps(tree).encode()),
    st.tuples(
        _answers.map(lambda tree: json.dumps(tree).encode()), st.binary(min_size=1, max_size=3), st.floats(0, 1)
    ).map(
        lambda parts: parts[0][: int(len(parts[0]) * parts[2])] + parts[1] + parts[0][int(len(parts[0]) * parts[2]) :]
    ),
)


@given(body=_bodies)
@example(body=b'{"data":[{"url":"http://["}]}')
@example(body=b"[" * 100_000)
@example(body=b'{"a":' * 100_000)
@example(body=b'{"data":[{"b64_json":"", "url":"x"}], "created":' + b"9" * 5000 + b"}")
@example(body=b'{"data":[{"url":"x"}], "usage":' + b'{"input_tokens_details":' * 900 + b"1" + b"}" * 901)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_response_or_the_named_error(body: bytes) -> None:
    """Never a KeyError, a JSONDecodeError or a RecursionError; and what comes out can be shown."""
    outcomes: list[object] = []
    for read in (read_whole, lambda text: read_scanned(text, piece=7)):
        try:
            response = read(body)
        except APIResponseError as refusal:
            outcomes.append("refused" if refusal.may_have_been_billed and len(str(refusal)) < 1500 else refusal)
        else:
            assert response.data
            assert repr(response)
            outcomes.append("read")
    assert len(set(outcomes)) == 1
    assert str(codec.refuse_text(body))
    assert codec.may_be_answer(body) in (True, False)


_writable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@given(_writable)
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_what_was_given(tree: object) -> None:
    """A request's fields come back from its JSON."""
    assert json.loads(codec.encode_request({"prompt": "x", "extra": tree})) == {"prompt": "x", "extra": tree}


def test_a_link_and_an_image_of_a_response_can_be_shown_without_secrets() -> None:
    """The signature of a link is not part of the repr."""
    shown = repr(read_whole(answer(data=[{"url": "https://e.com/a.png?sig=secret"}])))
    assert "https://e.com/a.png" in shown
    assert "secret" not in shown
    assert os.linesep not in shown
