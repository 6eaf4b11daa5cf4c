"""The record of what came in."""

from __future__ import annotations

import pytest

from aiai_async.server.received import Received


def test_a_record_grows_as_more_becomes_known() -> None:
    """Arrival, body, status; what was taken out before stays as it was."""
    received = Received(10)
    number = received.add("POST", "/v1/x?y=1", {"Content-Type": "application/json"}, 5.0)
    (before,) = received.all()
    received.note_body(number, "application/json", b'{"n": 2}')
    received.note_status(number, 200)
    (after,) = received.all()
    assert (before.body, before.status) == (b"", None)
    assert (after.method, after.path, after.body, after.status) == ("POST", "/v1/x?y=1", {"n": 2}, 200)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [("text/plain", b"{}"), ("application/json", b"{"), ("application/json", b"")],
    ids=["text", "broken", "empty"],
)
def test_what_is_no_json_stays_bytes(content_type: str, body: bytes) -> None:
    """The label and the content both have to say JSON."""
    received = Received(10)
    received.note_body(received.add("POST", "/", {}, 0.0), content_type, body)
    assert received.all()[0].body == body


@pytest.mark.parametrize("name", ["Authorization", "authorization", "api-key", "Cookie"])
def test_headers_are_kept_without_keys(name: str) -> None:
    """No record shows a key, whatever the name's case."""
    received = Received(10)
    received.add("POST", "/", {name: "Bearer sk-secret", "Accept": "*/*"}, 0.0)
    assert dict(received.all()[0].headers) == {"Accept": "*/*"}
    assert "sk-secret" not in repr(received.all())


def test_only_the_latest_are_kept() -> None:
    """What is said of a forgotten one is forgotten too."""
    received = Received(2)
    first = received.add("POST", "/1", {}, 0.0)
    received.add("POST", "/2", {}, 0.0)
    received.add("POST", "/3", {}, 0.0)
    received.note_status(first, 200)
    assert [record.path for record in received.all()] == ["/2", "/3"]
    nothing = Received(0)
    nothing.add("POST", "/", {}, 0.0)
    assert len(nothing) == 0
