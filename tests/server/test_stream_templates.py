"""What a fault makes of the events of a stream."""

from __future__ import annotations

import json

from aiai_async.server.events import COMPLETED, PARTIAL, Moment
from aiai_async.server.faults import STREAM_VALUES, Fault, Piece
from aiai_async.server.stream_templates import DrawnEvent, frame_events
from aiai_async.server.templates import Part, picture_values

PICTURE = picture_values("aGk=", "image/png", lambda: "http://h:1/images/x.png")
EVENTS = [
    DrawnEvent(
        moment=Moment(image=image, partial=partial, due=5.0 if partial is not None else 10.0),
        fields={"type": PARTIAL if partial is not None else COMPLETED, "size": "1x1"},
        picture=PICTURE,
    )
    for partial in (0, None)
    for image in (0, 1)
]


def texts(fault: Fault, name: str = "stream") -> list[str]:
    """Give the parts that a name stands for, as text."""
    return [part.data.decode() for part in frame_events(fault, EVENTS)[name]]


def test_events_are_ordinary_where_the_fault_says_nothing() -> None:
    """A name, one line of data, a blank line."""
    event, data, *rest = texts(Fault())[0].split("\n")
    assert (event, rest) == (f"event: {PARTIAL}", ["", ""])
    assert json.loads(data.removeprefix("data: ")) == {"type": PARTIAL, "b64_json": "aGk=", "size": "1x1"}


def test_each_name_stands_for_its_events() -> None:
    """And each event is due when it is."""
    framed = frame_events(Fault(event="$number $index $type"), EVENTS)
    parts = [
        Part(data=f"1 0 {PARTIAL}".encode(), due=5),
        Part(data=f"2 1 {PARTIAL}".encode(), due=5),
        Part(data=f"3 0 {COMPLETED}".encode(), due=10),
        Part(data=f"4 1 {COMPLETED}".encode(), due=10),
    ]
    assert framed == {
        "stream": parts,
        "partials": parts[:2],
        "first_partial": parts[:1],
        "completed": parts[2:],
        "first_completed": parts[2:3],
    }
    assert tuple(framed) == STREAM_VALUES


def test_data_on_several_lines_is_the_same() -> None:
    """A line end between two fields, as JSON allows."""
    lines = texts(Fault(event="$data_lines"))[0].split("\n")
    assert len(lines) == 3
    assert all(line.startswith("data: ") for line in lines)
    data = json.loads("\n".join(line.removeprefix("data: ") for line in lines))
    assert data == json.loads(texts(Fault(event="$data"))[0])


def test_an_image_in_other_words_stands_in_every_event() -> None:
    """The faults of plain answers hold for streams too."""
    for text in texts(Fault(image=' {"url": "$url", "b64_json": ""} ', event="$data")):
        assert json.loads(text) == {
            "type": json.loads(text)["type"],
            "url": "http://h:1/images/x.png",
            "b64_json": "",
            "size": "1x1",
        }


def test_final_images_can_be_written_otherwise() -> None:
    """Partial ones stay as they are."""
    assert texts(Fault(event="$number", final='{$settings, "b64": "$b64"}')) == [
        "1",
        "2",
        *['{"size": "1x1", "b64": "aGk="}'] * 2,
    ]


def test_an_event_may_have_several_pieces() -> None:
    """Sent one by one; bytes are no template."""
    framed = frame_events(Fault(event=[b"$type\xe5", Piece("\n$number", gap=1)]), EVENTS[:1])
    assert framed["stream"] == [Part(data=b"$type\xe5", due=5), Part(data=b"\n1", gap=1, due=5)]
