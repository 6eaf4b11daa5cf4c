"""The events of a stream: when each is due, and what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aiai_async.server.answers import count_tokens
from aiai_async.server.events import Moment, encode_error, encode_event, make_fields, schedule
from aiai_async.server.validate import CheckedRequest, check_request


def asked(**fields: object) -> CheckedRequest:
    """Check a request for a stream."""
    return check_request({"prompt": "four", "model": "gpt-image-1", "quality": "low", "stream": True, **fields})


@pytest.mark.parametrize(
    ("partial_images", "due"),
    [(0, [20]), (1, [10, 20]), (2, [20 / 3, 40 / 3, 20]), (3, [5, 10, 15, 20])],
)
def test_partial_images_are_spread_evenly(partial_images: int, due: list[float]) -> None:
    """The i-th of k at (i + 1) / (k + 1) of the latency, the final image at its end."""
    moments = schedule(asked(partial_images=partial_images), 20)
    assert [moment.due for moment in moments] == pytest.approx(due)
    assert [moment.partial for moment in moments] == [*range(partial_images), None]


def test_several_images_are_made_at_the_same_time() -> None:
    """Each step shows all of them."""
    assert schedule(asked(partial_images=1, n=2), 10) == (
        Moment(image=0, partial=0, due=5),
        Moment(image=1, partial=0, due=5),
        Moment(image=0, partial=None, due=10),
        Moment(image=1, partial=None, due=10),
    )


def test_without_latency_all_is_due_at_once() -> None:
    """In the same order."""
    assert {moment.due for moment in schedule(asked(partial_images=3, n=10), 0)} == {0}


def test_an_event_says_what_the_plain_answer_says() -> None:
    """The partial image its number, the final one its usage."""
    partial, final = schedule(asked(partial_images=1), 21)
    settings = {"background": "opaque", "output_format": "png", "quality": "low", "size": "1024x1024"}
    assert make_fields(asked(partial_images=1), partial, created=100) == {
        "type": "image_generation.partial_image",
        "partial_image_index": 0,
        "created_at": 110,
        **settings,
    }
    assert make_fields(asked(partial_images=1), final, created=100) == {
        "type": "image_generation.completed",
        "created_at": 121,
        **settings,
        "usage": {
            "total_tokens": 373,
            "input_tokens": 1,
            "output_tokens": 372,
            "input_tokens_details": {"text_tokens": 1, "image_tokens": 0},
        },
    }


@pytest.mark.parametrize("partial_images", [0, 3])
def test_the_usage_of_all_events_is_that_of_the_request(partial_images: int) -> None:
    """The tokens of the prompt are counted once."""
    request = asked(n=3, partial_images=partial_images)
    usages: list[Any] = [
        make_fields(request, moment, created=0).get("usage", {"total_tokens": 0}) for moment in schedule(request, 0)
    ]
    whole = count_tokens(request, partial_images=partial_images)
    assert sum(usage["total_tokens"] for usage in usages) == whole.total


def test_events_are_written_with_a_name_and_one_line_of_data() -> None:
    """As the API does."""
    assert encode_event({"type": "image_generation.completed", "size": "1x1"}, "aGk=") == (
        b"event: image_generation.completed\n"
        b'data: {"type":"image_generation.completed","b64_json":"aGk=","size":"1x1"}\n\n'
    )


def test_a_failure_is_an_event_in_openais_shape() -> None:
    """What would be a 500, had the status not been sent."""
    event, data, *_ = encode_error("It broke.").decode().split("\n")
    assert event == "event: error"
    assert json.loads(data.removeprefix("data: ")) == {
        "type": "error",
        "error": {"message": "It broke.", "type": "server_error", "param": None, "code": None},
    }
