"""Image events: every way that servers say them, every way that a stream goes wrong, and what its end means."""

from __future__ import annotations

import base64
import copy
import datetime as dt
import json
import pickle
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiai_async._errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    IncompleteStreamError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
)
from aiai_async._facts import Headers, TokenDetails, Usage
from aiai_async._schemas import Image, ImageCompletedEvent, ImagesResponse, PartialImageEvent
from aiai_async._secret import Redactor
from aiai_async.wire.events import EventFailed, EventReader, ImageEvent, events_of_answer, is_final
from aiai_async.wire.images import Found, ImageEnd, ImageStart
from aiai_async.wire.problems import AnswerHead
from aiai_async.wire.sse import ServerSentEvent, SSEDecoder

URL = "https://api.example.com/v1/images/generations/"
KEY = "sk-proj-Zq9x7LmPp2Rt5Wv8"
REQUEST_ID = "req_7f3"

BLURRED = b"RIFF\0\0\0\0WEBP blurred"
SHARP = b"\x89PNG\r\n\x1a\n and sharp"
OTHER = b"\x89PNG\r\n\x1a\n and another"

PARTIAL = "image_generation.partial_image"
COMPLETED = "image_generation.completed"
SUCCEEDED = "image_generation.partial_succeeded"


def b64(content: bytes) -> str:
    """Write an image as base64."""
    return base64.b64encode(content).decode()


def make_reader(headers: Mapping[str, str] | None = None) -> EventReader:
    """Make a reader of the events of an answer."""
    fields = Headers((headers or {"x-request-id": REQUEST_ID}).items())
    return EventReader(AnswerHead(status=200, headers=fields, url=URL), redactor=Redactor([KEY]))


class Stream:
    """A stream that was read: what it gave, and what ended it."""

    def __init__(self, reader: EventReader | None = None) -> None:
        self.reader = reader or make_reader()
        self.events: list[ImageEvent] = []
        self.failed: EventFailed | None = None
        self.fault: APIResponseError | None = None

    @property
    def error(self) -> APIError:
        """What the server said."""
        assert self.failed is not None
        return self.failed.problem.error

    @property
    def images(self) -> list[bytes | str | None]:
        """Of each event its image, or the link to it."""
        return [event.image.content or event.image.url for event in self.events]

    def read(self, body: bytes, *, piece: int = 1 << 20, is_cut: bool = False) -> Stream:
        """Read a body in pieces of a length, with or without its end."""
        decoder = SSEDecoder()

        def give() -> Iterator[Found | ServerSentEvent]:
            for at in range(0, len(body), piece):
                yield from decoder.feed(body[at : at + piece])
            if not is_cut:
                yield from decoder.finish()

        try:
            self._take(give())
        except EventFailed as failed:
            self.failed = failed
        except APIResponseError as fault:
            self.fault = fault
        if self.failed is None:
            self.events += self.reader.finish()
        assert self.events == sorted_as(self.events, [*self.reader.partial_images, *self.reader.completed])
        return self

    def _take(self, found: Iterable[Found | ServerSentEvent]) -> None:
        images: list[Image] = []
        content = b""
        for item in found:
            if isinstance(item, ServerSentEvent):
                taken, images = images, []
                for event in self.reader.read(item, taken, now=0.0):
                    self.events.append(event)
            elif isinstance(item, ImageEnd):
                images.append(Image(content=content))
            else:
                content = b"" if isinstance(item, ImageStart) else content + item


def sorted_as(order: list[ImageEvent], events: Iterable[ImageEvent]) -> list[ImageEvent]:
    """Give the same events in an order, and those that aren't in it behind them."""
    left = list(events)
    found = [left.pop(left.index(event)) for event in order if event in left]
    return found + left


def said(event: str = "", **fields: object) -> bytes:
    """Write an event with JSON as its data; without a type no `event:` line is written."""
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(fields)}\n\n".encode()


def partial(index: int = 0, content: bytes = BLURRED, **fields: object) -> bytes:
    """Write a partial image as OpenAI does."""
    return said(PARTIAL, type=PARTIAL, b64_json=b64(content), partial_image_index=index, **fields)


def completed(content: bytes = SHARP, **fields: object) -> bytes:
    """Write a final image as OpenAI does."""
    return said(COMPLETED, type=COMPLETED, b64_json=b64(content), **fields)


def succeeded(content: bytes = SHARP, **fields: object) -> bytes:
    """Write a final image as gateways do that say what all of it cost behind it."""
    return said(SUCCEEDED, type=SUCCEEDED, b64_json=b64(content), **fields)


def read_all_ways(body: bytes) -> Stream:
    """Read a body whole and byte by byte: it must be the same."""
    whole, bytewise = Stream().read(body), Stream().read(body, piece=1)
    assert bytewise.events == whole.events
    assert (bytewise.failed is None) == (whole.failed is None)
    assert (bytewise.fault is None) == (whole.fault is None)
    if whole.failed is not None:
        assert type(bytewise.error) is type(whole.error)
        assert str(bytewise.error) == str(whole.error)
    return whole


def read_one(body: bytes) -> ImageEvent:
    """Read the only event of a body."""
    [event] = read_all_ways(body).events
    return event


SETTINGS: dict[str, Any] = {
    "background": "opaque",
    "output_format": "webp",
    "quality": "high",
    "size": "1024x1024",
}


def test_a_partial_image_gives_every_field() -> None:
    """As OpenAI's description of the event shows it."""
    assert read_one(partial(2, created_at=1713833628, **SETTINGS)) == PartialImageEvent(
        image=Image(content=BLURRED),
        partial_image_index=2,
        created_at=dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC),
        **SETTINGS,
    )


def test_a_final_image_gives_every_field() -> None:
    """As OpenAI's description of the event shows it."""
    usage = {
        "total_tokens": 100,
        "input_tokens": 50,
        "output_tokens": 50,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }
    event = read_one(completed(created_at=1713833628, usage=usage, **SETTINGS))
    assert event == ImageCompletedEvent(
        image=Image(content=SHARP),
        usage=Usage(
            total_tokens=100,
            input_tokens=50,
            output_tokens=50,
            input_tokens_details=TokenDetails(text_tokens=10, image_tokens=40),
        ),
        created_at=dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC),
        **SETTINGS,
    )
    assert event.type == COMPLETED
    assert event.b64_json == b64(SHARP)


FINAL = ImageCompletedEvent(image=Image(content=SHARP))
LINK = "https://cdn.example.com/a.png?sig=1"

FINALS: Mapping[str, tuple[bytes, ImageCompletedEvent]] = {
    "both say the type": (completed(), FINAL),
    "only the data says the type": (said(type=COMPLETED, b64_json=b64(SHARP)), FINAL),
    "only the event line says the type": (said(COMPLETED, b64_json=b64(SHARP)), FINAL),
    "another type in the event line": (said("message", type=COMPLETED, b64_json=b64(SHARP)), FINAL),
    "another type in the data": (said(COMPLETED, type="image", b64_json=b64(SHARP)), FINAL),
    "a type that is no string": (said(COMPLETED, type=[1, {}], b64_json=b64(SHARP)), FINAL),
    "another name for it": (succeeded(), FINAL),
    "the type behind the image": (said(b64_json=b64(SHARP), type=COMPLETED), FINAL),
    "a data URI": (said(COMPLETED, b64_json=f"data:image/png;base64,{b64(SHARP)}"), FINAL),
    "no padding": (said(COMPLETED, b64_json=b64(SHARP).rstrip("=")), FINAL),
    "line breaks": (said(COMPLETED, b64_json=f"{b64(SHARP)[:8]}\r\n{b64(SHARP)[8:]}\r\n"), FINAL),
    "slashes escaped": (completed().replace(b"/", b"\\/"), FINAL),
    "URL-safe alphabet": (said(COMPLETED, b64_json=base64.urlsafe_b64encode(SHARP).decode()), FINAL),
    "the key written in escapes": (completed().replace(b'"b64_json"', b'"b64\\u005fjson"'), FINAL),
    "several lines of data": (completed().replace(b", ", b",\ndata:\ndata: "), FINAL),
    "CRLF": (completed().replace(b"\n", b"\r\n"), FINAL),
    "without the blank line": (completed()[:-2], FINAL),
    "a link": (said(COMPLETED, type=COMPLETED, url=LINK), ImageCompletedEvent(image=Image(url=LINK))),
    "a relative link": (
        said(COMPLETED, url="/files/a.png"),
        ImageCompletedEvent(image=Image(url="https://api.example.com/files/a.png")),
    ),
    "a link beside an empty image": (
        said(COMPLETED, b64_json="", url=LINK),
        ImageCompletedEvent(image=Image(url=LINK)),
    ),
    "a link beside null": (said(COMPLETED, b64_json=None, url=LINK), ImageCompletedEvent(image=Image(url=LINK))),
    "an image beside an empty link": (said(COMPLETED, b64_json=b64(SHARP), url=""), FINAL),
    "an image and a link": (
        said(COMPLETED, b64_json=b64(SHARP), url=LINK),
        ImageCompletedEvent(image=Image(content=SHARP, url=LINK)),
    ),
    "a revised prompt": (
        completed(revised_prompt="a tall lighthouse"),
        ImageCompletedEvent(image=Image(content=SHARP, revised_prompt="a tall lighthouse")),
    ),
    "an empty error beside the image": (completed(error=None), FINAL),
    "an error beside the image": (completed(error={"message": "the log is full"}), FINAL),
    "the last of two images": (
        said(COMPLETED, b64_json=b64(OTHER), x=1).replace(b'"x": 1', f'"b64_json": "{b64(SHARP)}"'.encode()),
        FINAL,
    ),
    "unknown fields": (
        completed(seed=7, nested={"b64_json": "QUJD"}, list=[1]),
        attrs.evolve(FINAL, extra={"seed": 7, "nested": {"b64_json": "QUJD"}, "list": [1]}),
    ),
    "usage null": (completed(usage=None), FINAL),
    "usage of nonsense": (completed(usage="5"), FINAL),
    "usage with unknown fields": (
        completed(usage={"total_tokens": "5", "generated_images": 1}),
        attrs.evolve(FINAL, usage=Usage(total_tokens=5, extra={"generated_images": 1})),
    ),
    "settings that say nothing": (completed(size="", quality=None, background=[1], output_format=True), FINAL),
    "NaN": (completed(x=float("nan")).replace(b', "x": NaN', b', "created_at": NaN'), FINAL),
}


@pytest.mark.parametrize(("body", "expected"), FINALS.values(), ids=FINALS.keys())
def test_a_final_image_is_read_in_every_form(body: bytes, expected: ImageCompletedEvent) -> None:
    """Whole and byte by byte."""
    stream = read_all_ways(body)
    assert stream.events == stream.reader.completed == [expected]
    assert stream.reader.partial_images == []
    assert stream.reader.explain_end(None, asked_for=1) is None


WHEN = dt.datetime(2024, 4, 23, 0, 53, 48, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"created_at": 1713833628}, WHEN),
        ({"created_at": 1713833628.0}, WHEN),
        ({"created_at": "1713833628"}, WHEN),
        ({"created_at": 1713833628000}, WHEN),
        ({"created_at": "2024-04-23T00:53:48Z"}, WHEN),
        ({"created": 1713833628}, WHEN),
        ({"created_at": 1713833628, "created": 5}, WHEN),
        ({}, None),
        ({"created_at": None}, None),
        ({"created_at": "soon"}, None),
        ({"created_at": [1]}, None),
        ({"created_at": 10**400}, None),
    ],
    ids=repr,
)
def test_the_time_is_read_in_every_form(fields: dict[str, object], expected: dt.datetime | None) -> None:
    """And is no unknown field, whichever name it has."""
    for body in (partial(**fields), completed(**fields), succeeded(**fields)):
        event = read_one(body)
        assert event.created_at == expected
        assert event.extra == {}


@pytest.mark.parametrize(
    ("written", "expected"),
    [(0, 0), (3, 3), (None, 1), ("2", 1), (True, 1), ([0], 1), (1.5, 1)],
    ids=repr,
)
def test_a_partial_image_without_a_number_is_counted(written: object, expected: int) -> None:
    """From 0, in the order they came."""
    stream = read_all_ways(partial(0) + said(PARTIAL, b64_json=b64(BLURRED), partial_image_index=written))
    assert [event.partial_image_index for event in stream.reader.partial_images] == [0, expected]
    assert type(stream.reader.partial_images[1].partial_image_index) is int


PARTIALS: Mapping[str, tuple[bytes, Image | None]] = {
    "both say the type": (partial(), Image(content=BLURRED)),
    "only the data says the type": (said(type=PARTIAL, b64_json=b64(BLURRED)), Image(content=BLURRED)),
    "only the event line says the type": (said(PARTIAL, b64_json=b64(BLURRED)), Image(content=BLURRED)),
    "a link": (said(PARTIAL, url="a.png"), Image(url=f"{URL}a.png")),
    "no image": (said(PARTIAL, partial_image_index=0), None),
    "an empty image": (said(PARTIAL, b64_json=""), None),
}


@pytest.mark.parametrize(("body", "image"), PARTIALS.values(), ids=PARTIALS.keys())
def test_a_partial_image_is_never_a_final_one(body: bytes, image: Image | None) -> None:
    """In whatever form it comes."""
    stream = read_all_ways(body)
    assert [event.image for event in stream.reader.partial_images] == ([] if image is None else [image])
    assert stream.reader.completed == []
    assert isinstance(stream.reader.explain_end(None, asked_for=1), APIError)


SKIPPED: Mapping[str, bytes] = {
    "an unknown type": said("image_generation.started", type="image_generation.started", size="auto"),
    "an unknown type with an image": said("image_generation.preview", b64_json=b64(OTHER)),
    "an unknown type in the data": said(type="image_generation.preview", b64_json=b64(OTHER)),
    "no type": said(b64_json=b64(OTHER)),
    "a type that is no string": said(type=["error"], b64_json=b64(OTHER)),
    "a type of many levels": b'data: {"type": ' + b"[" * 1000 + b"]" * 1000 + b"}\n\n",
    "an empty error": said(error=None) + said(error={}) + said(error="") + said(error=False),
    "ping": b"event: ping\ndata: {}\n\n",
    "no JSON": b"event: ping\ndata: now\n\n",
    "no object": b"data: [1]\n\ndata: null\n\ndata: 5\n\ndata:\n\n" + b'data: "error"\n\n',
    "a final image without an image": said(COMPLETED, type=COMPLETED, usage={"total_tokens": 5}),
    "a comment": b": PING\n\n",
    "an unknown line": b"Internal Server Error\n",
    "a bare line": b'{"type": "ping"}\n',
    "a bare line with an image": f'{{"type": "{COMPLETED}", "b64_json": "{b64(OTHER)}"}}\n'.encode(),
    "a bare line with a number for an image": f'{{"type": "{COMPLETED}", "b64_json": "0"}}\n'.encode(),
    "a bare line that is no object": b"{oops}\n",
}


@pytest.mark.parametrize("body", SKIPPED.values(), ids=SKIPPED.keys())
def test_what_is_no_image_event_is_skipped(body: bytes) -> None:
    """Alone, and between the events of a stream."""
    assert read_all_ways(body).events == []
    stream = read_all_ways(body + partial() + body + completed() + body)
    assert stream.images == [BLURRED, SHARP]
    assert stream.failed is None
    assert stream.fault is None


def test_a_bare_line_within_an_event_does_no_harm() -> None:
    """The event still has its image."""
    body = completed().replace(b"\ndata", b'\n{"type": "ping"}\ndata')[:-1] + b'{"type": "ping"}\n\n'
    assert read_all_ways(body + partial()).images == [SHARP, BLURRED]


def test_several_final_images_come_in_order() -> None:
    """With `n` above 1 there is one event for each, without a number."""
    stream = read_all_ways(
        partial(0)
        + completed(SHARP, usage={"total_tokens": 5})
        + partial(0)
        + completed(OTHER, usage={"total_tokens": 7})
    )
    assert stream.images == [BLURRED, SHARP, BLURRED, OTHER]
    assert [event.usage for event in stream.reader.completed] == [Usage(total_tokens=5), Usage(total_tokens=7)]
    assert [event.image.content for event in stream.reader.partial_images] == [BLURRED, BLURRED]


TOTAL = said(COMPLETED, type=COMPLETED, usage={"total_tokens": 9}, created_at=5)

HELD: Mapping[str, tuple[bytes, list[tuple[bytes, int | None]]]] = {
    "one image, then what it cost": (succeeded() + TOTAL, [(SHARP, 9)]),
    "two images, then what they cost": (succeeded(SHARP) + succeeded(OTHER) + TOTAL, [(SHARP, None), (OTHER, 9)]),
    "each with its cost": (
        succeeded(SHARP, usage={"total_tokens": 1}) + succeeded(OTHER, usage={"total_tokens": 2}),
        [(SHARP, 1), (OTHER, 2)],
    ),
    "its cost stays where the last event says none": (
        succeeded(usage={"total_tokens": 1}) + said(COMPLETED),
        [(SHARP, 1)],
    ),
    "no final event": (succeeded(), [(SHARP, None)]),
    "no final event, but the end said": (succeeded() + b"data: [DONE]\n\n", [(SHARP, None)]),
    "both events have the image": (succeeded() + completed(usage={"total_tokens": 9}), [(SHARP, 9)]),
    "both events have each image": (
        succeeded(SHARP) + completed(SHARP) + succeeded(OTHER) + completed(OTHER, usage={"total_tokens": 9}),
        [(SHARP, None), (OTHER, 9)],
    ),
    "the final event has another image": (
        succeeded(SHARP) + completed(OTHER, usage={"total_tokens": 9}),
        [(SHARP, None), (OTHER, 9)],
    ),
    "the same image twice, by the same name": (succeeded(SHARP) + succeeded(SHARP), [(SHARP, None), (SHARP, None)]),
    "other events between": (
        succeeded() + b": PING\n\n" + said("ping") + partial() + TOTAL,
        [(SHARP, 9)],
    ),
}


@pytest.mark.parametrize(("body", "expected"), HELD.values(), ids=HELD.keys())
def test_an_image_by_another_name_is_a_final_one_once(body: bytes, expected: list[tuple[bytes, int | None]]) -> None:
    """What all of them cost, said behind them, goes to the last."""
    stream = read_all_ways(body)
    found = [
        (event.image.content, None if event.usage is None else event.usage.total_tokens)
        for event in stream.reader.completed
    ]
    assert found == expected
    assert all(event.type == COMPLETED for event in stream.reader.completed)
    assert stream.reader.explain_end(None, asked_for=len(expected)) is None


def test_links_by_another_name_are_told_apart() -> None:
    """They have no bytes to be compared."""
    body = said(SUCCEEDED, url="a") + said(COMPLETED, url="a") + said(SUCCEEDED, url="b") + said(COMPLETED, url="c")
    assert read_all_ways(body).images == [f"{URL}{name}" for name in "abc"]


def test_an_image_by_another_name_is_there_before_the_body_ends() -> None:
    """It waits for the next event only, and for nothing behind `[DONE]`."""
    reader = make_reader()
    image = [Image(content=SHARP)]
    held = ServerSentEvent(event=SUCCEEDED, data=b'{"b64_json": "0"}')
    assert list(reader.read(held, image, now=0.0)) == []
    assert list(reader.read(held, image, now=0.0)) == [FINAL]
    assert list(reader.read(ServerSentEvent(data=b" [DONE] "), [], now=0.0)) == [FINAL]
    assert reader.is_done
    assert reader.finish() == []
    assert reader.completed == [FINAL, FINAL]


INNER: dict[str, object] = {
    "message": "too many requests",
    "type": "requests",
    "param": None,
    "code": "rate_limit_exceeded",
}
OUTER = {"error": INNER}

SHAPES: Mapping[str, bytes] = {
    "event: error, wrapped, with a type": said("error", type="error", **OUTER),
    "event: error, wrapped": said("error", **OUTER),
    "event: error, the object itself": said("error", **INNER),
    "the type in the data": said(type="error", **OUTER),
    "data only": said(**OUTER),
    "data only, behind [DONE]": b"data: [DONE]\n\n" + said(**OUTER),
    "in an event of another type": said("message", **OUTER),
    "in a final event": said(COMPLETED, type=COMPLETED, **OUTER),
    "in a final event, beside an empty image": said(COMPLETED, b64_json="", url=None, **OUTER),
    "in a partial event": said(PARTIAL, **OUTER),
    "a bare line": json.dumps(OUTER).encode() + b"\n",
    "a bare line and a blank one": json.dumps(OUTER).encode() + b"\r\n\r\n",
    "a bare line with a type": json.dumps({"type": "error", **OUTER}).encode() + b"\n",
    "the end of the body": json.dumps(OUTER).encode(),
    "several lines of data": said("error", **OUTER).replace(b", ", b",\ndata: "),
    "without the blank line": said("error", **OUTER)[:-2],
    "behind comments": b": PING\n\n: PING\n" + said(**OUTER),
    "behind half an image": b'data: {"b64_json": "QUJDQUJDQUJD\n' + json.dumps(OUTER).encode() + b"\n\n",
}


@pytest.mark.parametrize("body", SHAPES.values(), ids=SHAPES.keys())
def test_an_error_is_read_in_every_shape(body: bytes) -> None:
    """The class is that of its code; the rest of the stream is of no interest."""
    for stream in (read_all_ways(body), read_all_ways(body + b"\n\n" + partial() + completed())):
        error = stream.error
        assert type(error) is RateLimitError
        assert error.message == "too many requests"
        assert error.code == "rate_limit_exceeded"
        assert error.status_code == 429
        assert error.request_id == REQUEST_ID
        assert error.may_have_been_billed is False
        assert stream.events == []
    assert copy.deepcopy(stream.error).__dict__ == pickle.loads(pickle.dumps(stream.error)).__dict__


def failure(code: object = None, **fields: object) -> dict[str, object]:
    """Write an error object."""
    return {"message": "no", "code": code, **fields}


CODES: Mapping[str, tuple[dict[str, object], type[APIError], int | None]] = {
    "400": (failure(400), BadRequestError, 400),
    "a number as text": (failure("401"), AuthenticationError, 401),
    "404.0": (failure(404.0), NotFoundError, 404),
    "418": (failure(418), APIStatusError, 418),
    "429": (failure(429), RateLimitError, 429),
    "500": (failure(500), InternalServerError, 500),
    "503": (failure(503), InternalServerError, 503),
    "599": (failure(599), InternalServerError, 599),
    "200": (failure(200), StreamError, None),
    "600": (failure(600), StreamError, None),
    "-429": (failure(-429), StreamError, None),
    "1234": (failure(1234), StreamError, None),
    "null": (failure(), StreamError, None),
    "a flag": (failure(True), StreamError, None),
    "unknown": (failure("stream_broke"), StreamError, None),
    "empty": (failure(""), StreamError, None),
    "invalid_request": (failure("invalid_request"), BadRequestError, 400),
    "invalid_api_key": (failure("invalid_api_key"), AuthenticationError, 401),
    "model_not_found": (failure("model_not_found"), NotFoundError, 404),
    "rate_limit_exceeded": (failure("rate_limit_exceeded"), RateLimitError, 429),
    "insufficient_quota": (failure("insufficient_quota"), QuotaExceededError, 402),
    "insufficient_quota as the type": (failure(429, type="insufficient_quota"), QuotaExceededError, 429),
    "server_error": (failure("server_error"), InternalServerError, 500),
    "bad_response_body": (failure("bad_response_body"), InternalServerError, 500),
    "server_error as the type only": (failure(type="server_error"), StreamError, None),
    "moderation_blocked": (failure("moderation_blocked"), ModerationBlockedError, 400),
    "content_policy_violation": (failure("content_policy_violation"), ModerationBlockedError, 400),
    "moderation by its type": (failure(type="image_generation_user_error"), ModerationBlockedError, 400),
    "moderation as LiteLLM keeps it": (failure("400", type="image_generation_user_error"), ModerationBlockedError, 400),
    "moderation behind another status": (failure(500, type="moderation_blocked"), ModerationBlockedError, 400),
    "only a message": ({"message": "no"}, StreamError, None),
}


@pytest.mark.parametrize(("fields", "error_class", "status"), CODES.values(), ids=CODES.keys())
def test_the_class_of_an_error_follows_from_its_code(
    fields: dict[str, object], error_class: type[APIError], status: int | None
) -> None:
    """However it is wrapped."""
    for body in (said("error", type="error", error=fields), said(error=fields), json.dumps({"error": fields}).encode()):
        error = read_all_ways(body).error
        assert type(error) is error_class
        assert getattr(error, "status_code", None) == status
        # A refusal was not billed; who knows what else was.
        assert error.may_have_been_billed is (status is None or status >= 500)
        assert error.message.endswith("no")


WORDS: Mapping[str, tuple[bytes, str]] = {
    "a string": (said(error="the upstream is gone"), "the upstream is gone"),
    "a string in an error event": (said("error", error="the upstream is gone"), "the upstream is gone"),
    "a message": (said("error", message="the upstream is gone"), "the upstream is gone"),
    "a detail": (said("error", detail="the upstream is gone"), "the upstream is gone"),
    "Chinese": (said("error", message="上游负载已饱和"), "上游负载已饱和"),
    "a JSON string": (b'event: error\ndata: "the upstream is gone"\n\n', "the upstream is gone"),
    "an array": (b'event: error\ndata: [{"message": "the upstream is gone"}]\n\n', "the upstream is gone"),
    "plain text": (b"event: error\ndata: the upstream\ndata: is gone\n\n", "the upstream is gone"),
    "nothing": (b"event: error\ndata:\n\n", "an error without words"),
    "null": (b"event: error\ndata: null\n\n", "an error without words"),
    "an empty object": (said("error"), "an error without words"),
    "a flag": (said(error=True), "an error without words"),
    "an empty message": (said(error={"message": ""}), "an error without words"),
}


@pytest.mark.parametrize(("body", "words"), WORDS.values(), ids=WORDS.keys())
def test_an_error_without_a_code_is_a_stream_error(body: bytes, words: str) -> None:
    """In the server's words; it may have been billed."""
    error = read_all_ways(body).error
    assert type(error) is StreamError
    assert error.message == f"200 from {URL}: an error inside the answer: {words}"
    assert error.may_have_been_billed is True
    assert error.request_id == REQUEST_ID


def test_an_error_keeps_all_that_the_server_said() -> None:
    """Also how long to wait, and the id at the end of its message."""
    reader = make_reader({"Retry-After": "7"})
    body = said("error", error={**INNER, "message": "slow down (request id: abc)", "param": "size", "extra": 1})
    stream = Stream(reader).read(body)
    error = stream.error
    assert isinstance(error, RateLimitError)
    assert error.retry_after == 7
    assert (error.type, error.param, error.request_id) == ("requests", "size", "abc")
    assert error.body == {"error": {**INNER, "message": "slow down (request id: abc)", "param": "size", "extra": 1}}
    assert stream.failed is not None
    assert stream.failed.problem.retry_after == 7
    assert stream.failed.problem.status == 200
    assert "slow down" in str(stream.failed)


@pytest.mark.parametrize("body", [partial(), completed(), succeeded()], ids=["partial", "completed", "held"])
@pytest.mark.parametrize("fields", [failure(429), failure()], ids=["429", "no code"])
def test_an_error_behind_an_image_may_have_been_billed(body: bytes, fields: dict[str, object]) -> None:
    """It keeps the class of its code, and the image is handed out before it."""
    stream = read_all_ways(body + said("error", error=fields))
    assert len(stream.events) == 1
    assert stream.error.may_have_been_billed is True
    assert type(stream.error) is (StreamError if fields["code"] is None else RateLimitError)


def test_an_image_that_is_held_back_comes_before_the_error_also_where_the_results_are_collected() -> None:
    """The caller's list has it when the error is raised; else the same would be asked for and paid for again."""
    reader = make_reader()
    ready: list[ImageEvent] = []
    ready.extend(reader.read(ServerSentEvent(event=SUCCEEDED, data=b'{"b64_json": "0"}'), [FINAL.image], now=0.0))
    assert ready == []
    with pytest.raises(EventFailed):
        ready.extend(reader.read(ServerSentEvent(data=json.dumps(OUTER).encode()), [], now=0.0))
    assert ready == reader.completed == [FINAL]


@pytest.mark.parametrize(
    "body",
    [
        said("error", error={"message": f"wrong key {KEY}", "code": f"x {KEY}", "type": KEY, "param": KEY, KEY: [KEY]}),
        said("error", error={"message": f"wrong key {KEY}", "code": 429}),
        f"event: error\ndata: wrong key {KEY}\n\n".encode(),
        said(error=f"wrong key {KEY}"),
        json.dumps({"error": {"message": KEY}}).encode(),
    ],
    ids=["everywhere", "with a status", "plain text", "a string", "a bare line"],
)
def test_no_error_shows_the_key(body: bytes) -> None:
    """Not in its words, not in its facts, not in its header fields."""
    reader = make_reader({"x-request-id": KEY, "x-echo": KEY})
    error = Stream(reader).read(body).error
    assert KEY not in str(error)
    assert KEY not in repr(error.__dict__)
    assert "***" in str(error)


def test_an_incomplete_stream_shows_no_key() -> None:
    """Not in its request id, not in the name of the answer."""
    reader = EventReader(
        AnswerHead(status=200, headers=Headers([("x-request-id", KEY)]), url=f"https://u:p@a.example/{KEY}/"),
        redactor=Redactor([KEY]),
    )
    Stream(reader).read(partial())
    error = reader.explain_end(None, asked_for=1)
    assert error is not None
    assert KEY not in str(error) and "u:p" not in str(error)
    assert error.request_id == "***"


BROKEN: Mapping[str, bytes] = {
    "no JSON": f"event: {COMPLETED}\ndata: oops\n\n".encode(),
    "empty data": f"event: {PARTIAL}\ndata:\n\n".encode(),
    "half of it": completed()[:40],
    "an image that is none": said(COMPLETED, b64_json="!!!!!!!!!"),
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
def test_an_image_event_that_cannot_be_read_is_an_error(body: bytes) -> None:
    """What came before it stays."""
    for before in (b"", partial(), succeeded(), completed()):
        stream = read_all_ways(before + body)
        assert len(stream.events) == bool(before)
        assert stream.fault is not None
        assert stream.fault.may_have_been_billed is True


def test_an_image_event_that_is_no_json_is_called_so() -> None:
    """With its type and a short excerpt."""
    fault = Stream().read(f"event: {COMPLETED}\ndata: oops\n\n".encode()).fault
    assert fault is not None
    assert fault.message == f"an event of type {COMPLETED} is not JSON: Expecting value, near 'oops'"


CUT = APIConnectionError(
    "the connection to api.example.com was lost", host="api.example.com", may_have_been_billed=True
)
SLOW = APITimeoutError("nothing came for 120 s", phase="stall", seconds=120)
DONE = b"data: [DONE]\n\n"


WHOLE: Mapping[str, tuple[bytes, APIError | None, int]] = {
    "the image and the end": (completed(), None, 1),
    "partial images, the image, [DONE], the end": (partial() + completed() + DONE, None, 1),
    "fewer than were asked for": (completed(), None, 4),
    "fewer, by another name": (succeeded(), None, 4),
    "cut behind the image": (completed(), CUT, 1),
    "cut behind the image by another name": (succeeded(), CUT, 1),
    "cut behind all images": (completed() + completed(OTHER), CUT, 2),
    "more than were asked for": (completed() + completed(OTHER), SLOW, 1),
    "cut behind [DONE]": (completed() + DONE, CUT, 4),
    "too slow behind [DONE]": (completed() + DONE, SLOW, 4),
}


@pytest.mark.parametrize(("body", "cause", "asked_for"), WHOLE.values(), ids=WHOLE.keys())
def test_a_stream_is_whole_with_what_was_asked_for_or_its_own_end(
    body: bytes, cause: APIError | None, asked_for: int
) -> None:
    """How the connection ends behind that is of no interest."""
    stream = Stream().read(body, is_cut=cause is not None)
    assert stream.reader.explain_end(cause, asked_for=asked_for) is None


EMPTY: Mapping[str, bytes] = {
    "nothing": b"",
    "comments": b": PING\n\n",
    "unknown events": said("ping"),
    "a final event without an image": TOTAL,
    "only [DONE]": DONE,
}


@pytest.mark.parametrize("body", EMPTY.values(), ids=EMPTY.keys())
def test_a_stream_without_an_image_is_no_answer(body: bytes) -> None:
    """Where it ended by itself; where it was cut, what cut it is the error."""
    reader = Stream().read(body).reader
    error = reader.explain_end(None, asked_for=1)
    assert type(error) is APIResponseError
    assert error.message == f"200 from {URL}: the stream ended without an image"
    assert error.request_id == REQUEST_ID
    assert error.may_have_been_billed is True
    for cause in (CUT, SLOW):
        assert reader.explain_end(cause, asked_for=1) is cause


INCOMPLETE: Mapping[str, tuple[bytes, APIError | None, int, str]] = {
    "partial images and the end": (partial(0) + partial(1), None, 1, "2 partial and 0 final images"),
    "partial images, [DONE] and the end": (partial() + DONE, None, 1, "1 partial and 0 final images"),
    "partial images, cut": (partial(), CUT, 1, f"1 partial and 0 final images: {CUT.message}"),
    "partial images, [DONE], cut": (partial() + DONE, CUT, 1, f"1 partial and 0 final images: {CUT.message}"),
    "partial images, too slow": (partial(), SLOW, 1, f"1 partial and 0 final images: {SLOW.message}"),
    "one of two images, cut": (completed(), CUT, 2, f"0 partial and 1 final images: {CUT.message}"),
    "one of two images by another name, cut": (succeeded(), CUT, 2, f"0 partial and 1 final images: {CUT.message}"),
    "inside the final image": (partial() + completed()[:-20], CUT, 1, f"1 partial and 0 final images: {CUT.message}"),
}


@pytest.mark.parametrize(("body", "cause", "asked_for", "words"), INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_a_stream_that_breaks_off_behind_an_image_is_incomplete(
    body: bytes, cause: APIError | None, asked_for: int, words: str
) -> None:
    """The error holds all that came, and what ended it; a partial image is not passed off as a final one."""
    stream = Stream().read(body, is_cut=cause is not None)
    error = stream.reader.explain_end(cause, asked_for=asked_for)
    assert type(error) is IncompleteStreamError
    assert error.message == f"200 from {URL}: the stream ended after {words}"
    assert error.hint == "those are in .partial_images and .completed"
    assert error.request_id == REQUEST_ID
    assert error.may_have_been_billed is True
    assert error.partial_images == tuple(stream.reader.partial_images)
    assert error.completed == tuple(stream.reader.completed)
    assert len(error.partial_images) + len(error.completed) == len(stream.events) > 0
    assert error.__cause__ is cause
    again = pickle.loads(pickle.dumps(error))
    assert (again.partial_images, again.completed) == (error.partial_images, error.completed)
    assert str(again) == str(error)
    assert type(again.__cause__) is type(cause)


@pytest.mark.parametrize(
    ("event", "text", "expected"),
    [
        (PARTIAL, b"", False),
        (COMPLETED, b"", True),
        (SUCCEEDED, b'{"b64_json": "', True),
        (PARTIAL, b'{"type": "image_generation.completed"', False),
        (COMPLETED, b'{"type": "image_generation.partial_image"', True),
        ("", b'{"type": "image_generation.partial_image", "b64_json": "', False),
        ("", b'{"type":"image_generation.completed","b64_json":"', True),
        ("message", b'{\n"type" \t: \n"image_generation.partial_succeeded", "b64_json": "', True),
        ("", b"", None),
        ("", b'{"b64_json": "', None),
        ("message", b'{"type": "image", "b64_json": "', None),
        ("", b'{"type": "image_generation.preview", "b64_json": "', None),
        ("image_generation.preview", b"", None),
        ("", b'{"revised_prompt": "\\"type\\": \\"image_generation.completed\\"", "b64_json": "', None),
    ],
)
def test_whether_an_image_is_final_is_known_where_its_type_came_first(
    event: str, text: bytes, expected: bool | None
) -> None:
    """By the event line, else by the data; what a prompt quotes is no type."""
    assert is_final(event, text) is expected


def test_a_plain_answer_is_the_events_it_stands_for() -> None:
    """Each has the answer's settings, the last one alone what all of it cost."""
    images = tuple(Image(content=content) for content in (SHARP, OTHER, BLURRED))
    usage = Usage(total_tokens=9)
    answer = ImagesResponse(data=images, created=WHEN, usage=usage, extra={"seed": 1}, **SETTINGS)
    event = ImageCompletedEvent(image=images[0], created_at=WHEN, extra={"seed": 1}, **SETTINGS)
    assert events_of_answer(answer) == [
        event,
        attrs.evolve(event, image=images[1]),
        attrs.evolve(event, image=images[2], usage=usage),
    ]
    [only] = events_of_answer(ImagesResponse(data=images[:1], usage=usage))
    assert only == ImageCompletedEvent(image=images[0], usage=usage)


TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from([PARTIAL, COMPLETED, SUCCEEDED, "error", "message", ""])
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | TREES,
        "b64_json": st.sampled_from([b64(SHARP), b64(OTHER), "", "0", "QUJD\n", "data:;base64,QUJD"]) | TREES,
        "url": st.sampled_from(["a", LINK, "http://[", ""]) | TREES,
        "error": TREES,
        "usage": TREES,
        "created_at": TREES,
        "partial_image_index": TREES,
        "revised_prompt": TREES,
        "size": TREES,
        "x": TREES,
    },
)
SAID = st.builds(
    lambda event, fields, is_bare: (
        json.dumps(fields).encode() + b"\n" if is_bare else said(event)[: -len(b"data: {}\n\n")] + said("", **fields)
    ),
    TYPES,
    FIELDS,
    st.booleans(),
)


@given(
    body=st.lists(SAID | st.sampled_from([DONE, TOTAL, partial(), succeeded(), completed()]), max_size=6).map(b"".join)
)
@example(body=said(COMPLETED, b64_json="0"))
@example(body=said(type=PARTIAL, b64_json={}, url="http://["))
def test_any_events_give_image_events_or_the_named_errors(body: bytes) -> None:
    """Whatever stands in their fields, and cut anywhere the same."""
    stream = read_all_ways(body)
    assert all(event.image.content or event.image.url for event in stream.events)
    for cause in (None, CUT):
        end = stream.reader.explain_end(cause, asked_for=1)
        assert end is None or isinstance(end, APIError)
        assert end is not None or stream.reader.completed


@given(body=st.binary(max_size=200), event=TYPES)
def test_any_bytes_give_nothing_or_the_named_errors(body: bytes, event: str) -> None:
    """As a stream, as an event's data, and as a bare line."""
    for text in (
        body,
        f"event: {event}\ndata: ".encode() + body,
        b'{"error": "' + body,
        b'{"error": "' + body + b'"}\n',
    ):
        read_all_ways(text)


@pytest.mark.parametrize("name", ["type", "error", "usage", "created_at", "url", "x", "partial_image_index"])
@pytest.mark.parametrize("levels", [100, 400, 1000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'], ids=["arrays", "objects"])
def test_a_field_of_many_levels_does_no_harm(name: str, levels: int, opening: bytes) -> None:
    """Python's own stack is not so deep."""
    closing = b"]" if opening == b"[" else b"}"
    value = opening * levels + b"1" + closing * levels
    body = completed()[:-3] + b', "%b": ' % name.encode() + value + b"}\n\n"
    for text in (
        body,
        body.replace(b"b64_json", b"b64"),
        b"event: error\n" + said(x=1)[:-3] + b', "y": ' + value + b"}\n\n",
    ):
        stream = Stream().read(text)
        assert stream.failed is None or isinstance(stream.error, APIError)
        assert len(stream.events) <= 1
