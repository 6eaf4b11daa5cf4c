"""What the names in a fault's body stand for, and the pieces that it becomes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.server.faults import Fault, Piece
from aiai_async.server.templates import Part, answer_values, cut_parts, fill, picture_values, render_body

CONTENT = bytes(range(256)) + b"!"
B64 = base64.b64encode(CONTENT).decode()
PICTURE = picture_values(B64, "image/png", lambda: "http://h:1/images/x.png")
ANSWER: dict[str, Any] = {"created": 7, "data": [{"b64_json": B64}, {"b64_json": B64}], "usage": {"total_tokens": 1}}


def body_of(fault: Fault) -> bytes:
    """Give the whole body that a fault sends."""
    return joined(render_body(fault, answer_values(ANSWER, fault, [PICTURE, PICTURE], "req_1")))


def joined(parts: list[Part]) -> bytes:
    """Give what all parts are together."""
    return b"".join(part.data for part in parts)


def test_a_picture_in_every_spelling() -> None:
    """Each of them is base64 of the same bytes, if one knows how to read it."""
    assert json.loads(f'"{PICTURE["b64_lines"]}"').replace("\r\n", "") == B64
    assert max(len(line) for line in PICTURE["b64_lines"].split("\\r\\n")) == 76
    assert PICTURE["b64_unpadded"] == B64.rstrip("=") != B64
    assert base64.urlsafe_b64decode(PICTURE["b64_urlsafe"]) == CONTENT
    assert json.loads(f'"{PICTURE["b64_escaped"]}"') == B64 != PICTURE["b64_escaped"]
    assert (PICTURE["url"], PICTURE["url_path"]) == ("http://h:1/images/x.png", "/images/x.png")
    assert PICTURE["media_type"] == "image/png"


def test_a_link_is_made_only_when_it_is_asked_for() -> None:
    """Links keep pictures in memory."""
    links = iter(["http://h:1/images/x.png"])
    values = picture_values(B64, "image/png", lambda: next(links))
    assert len(values) == len(list(values))
    assert fill("$media_type", values) == "image/png"
    assert list(links) == ["http://h:1/images/x.png"]


def test_without_a_body_the_ordinary_answer_is_sent() -> None:
    """As JSON, with every picture."""
    assert json.loads(body_of(Fault())) == ANSWER


def test_elements_of_data_can_be_put_in_other_words() -> None:
    """All of them, and the rest of the answer stays."""
    body = json.loads(body_of(Fault(image='{"b64_json": "data:$media_type;base64,$b64"}')))
    assert body == {**ANSWER, "data": [{"b64_json": f"data:image/png;base64,{B64}"}] * 2}


def test_parts_of_the_answer_have_names() -> None:
    """And what has none stays as it is."""
    body = body_of(
        Fault(body='{"c": $created, "u": $usage, "f": [$first], "i": [$images], "r": "$request_id", "n": "$no"}')
    )
    assert json.loads(body) == {
        "c": 7,
        "u": {"total_tokens": 1},
        "f": ANSWER["data"][:1],
        "i": ANSWER["data"],
        "r": "req_1",
        "n": "$no",
    }


@pytest.mark.parametrize(
    ("status", "type_", "code"),
    [
        (503, "server_error", None),
        (429, "requests", "rate_limit_exceeded"),
        (400, "invalid_request_error", None),
        (599, "server_error", None),
    ],
)
def test_an_error_status_alone_gets_an_ordinary_error(status: int, type_: str, code: str | None) -> None:
    """In OpenAI's shape."""
    error = json.loads(body_of(Fault(status=status)))["error"]
    assert (error["type"], error["code"], error["param"]) == (type_, code, None)
    assert "a fault that this local server was told to make" in error["message"]


def test_a_redirect_has_no_body() -> None:
    """Nobody reads it."""
    assert body_of(Fault(status=307)) == b""


def test_pieces_keep_their_gaps_and_bytes_are_no_template() -> None:
    """The gap is the silence before."""
    fault = Fault(body=["a", Piece("$created", gap=2), Piece(b"$created", gap=3)])
    values = answer_values(ANSWER, fault, [], "req_1")
    assert render_body(fault, values) == [Part(data=b"a"), Part(data=b"7", gap=2), Part(data=b"$created", gap=3)]


def test_pieces_can_be_cut_small() -> None:
    """The piece's own gap before its first part, the fault's gap between the others."""
    fault = Fault(body=[Piece("abcde", gap=1), ""], piece_bytes=2, gap=0.5)
    assert render_body(fault, {}) == [
        Part(data=b"ab", gap=1),
        Part(data=b"cd", gap=0.5),
        Part(data=b"e", gap=0.5),
        Part(data=b""),
    ]


EVENTS = {"partials": [Part(data=b"one", due=5), Part(data=b"two", gap=1, due=10)], "completed": []}


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("$partials", [Part(data=b"one", due=5), Part(data=b"two", gap=1, due=10)]),
        ("a${partials}b", [Part(data=b"a"), *EVENTS["partials"], Part(data=b"b")]),
        ("$completed", []),
        ("", [Part(data=b"")]),
        ("$$partials", [Part(data=b"$partials")]),
        ("$request_id$completed$no", [Part(data=b"req_1"), Part(data=b"$no")]),
        ("$created", [Part(data=b"7", due=20)]),
        ([Piece("$partials", gap=3)], [Part(data=b"one", gap=3, due=5), Part(data=b"two", gap=1, due=10)]),
        ([Piece("x$partials", gap=3)], [Part(data=b"x", gap=3), *EVENTS["partials"]]),
    ],
    ids=repr,
)
def test_events_in_a_body_are_sent_by_themselves(body: Any, parts: list[Part]) -> None:
    """Each when it is due, and what holds something of the answer when that is."""
    fault = Fault(body=body)
    assert render_body(fault, answer_values(ANSWER, fault, [], "req_1"), events=EVENTS, due=20) == parts


def test_events_cut_small_keep_when_they_are_due() -> None:
    """The first part of each; the others follow."""
    parts = render_body(Fault(body="$partials", piece_bytes=2, gap=0.5), {}, events=EVENTS)
    assert parts == [
        Part(data=b"on", due=5),
        Part(data=b"e", gap=0.5),
        Part(data=b"tw", gap=1, due=10),
        Part(data=b"o", gap=0.5),
    ]


@given(st.lists(st.binary(max_size=5).map(lambda data: Part(data=data)), max_size=6), st.integers(0, 40))
def test_cutting_keeps_the_beginning(parts: list[Part], most: int) -> None:
    """So many bytes, or all."""
    assert joined(cut_parts(parts, most)) == joined(parts)[:most]
