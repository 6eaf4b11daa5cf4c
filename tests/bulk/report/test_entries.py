"""Items on their way into a script: nothing that HTML or JavaScript knows, and nothing that grows without bound."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk.items import Item, State
from aiai_async.bulk.records import ImageRow, Record
from aiai_async.bulk.report.entries import dump, latency_of, to_details, to_index

from .jobs import HOSTILE

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.sampled_from(HOSTILE), st.just("\ud800")),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)),
)


def make_record(**changes: Any) -> Record:
    """An item that is done, with one image."""
    facts = {
        name: changes.pop(name) for name in list(changes) if name in {field.name for field in attrs.fields(Record)}
    }
    item = Item(
        **{
            "index": 7,
            "id": "row-1",
            "request": {"prompt": "A kite", "model": "m", "size": "1024x1024"},
            "n": 1,
            "state": State.DONE,
            **changes,
        }
    )
    image = ImageRow(k=0, name="000007-a-kite-0.png", sha256="ab", size_bytes=5, media_type="image/png")
    told = {"rows": (image,), "line": 8, "request_id": "req", "attempts": 2, "elapsed": 1.23456, "usage": None}
    return Record(**{"item": item, "error": None, **told, **facts})


@given(value=JSON)
def test_what_is_dumped(value: object) -> None:
    """Is the same when it is read, and holds no character that could end a script or a comment, or a line."""
    text = dump(value)
    assert json.loads(text) == value
    assert text.isascii() and text.isprintable() and not set("<>&") & set(text)


def test_an_item_in_the_sheet() -> None:
    """Its place, state, kind, model, and what it is found by."""
    states = list(State)
    record = make_record()
    assert to_index(record, kind=None, model=3, looks=[1]) == [
        7, states.index(State.DONE), -1, 3, "A kite", 0, "req", ["000007-a-kite-0.png", 1],
    ]  # fmt: skip
    named = make_record(has_custom_id=True, id="mine", request_id=None, rows=(ImageRow(k=0, url="http://x"),))
    assert to_index(named, kind=2, model=0, looks=[])[2:] == [2, 0, "A kite", "mine", 0, []]


def test_what_is_looked_up() -> None:
    """What isn't known is left out; what is within is flat."""
    record = make_record(
        usage={"output_tokens": 5, "details": {"image": 4, "none": None}, "list": [1]},
        error={"type": "T", "message": "m"},
        at=20.0,
        sent_at=18.00049,
        cost=0.04,
        cost_source="prices",
        spent=2,
    )
    assert to_details(record) == {
        "line": 8,
        "id": "row-1",
        "settings": [["size", "1024x1024"]],
        "images": [["ab", 5, "image/png"]],
        "attempts": 2,
        "elapsed": 1.235,
        "sent_at": 18.0,
        "at": 20.0,
        "cost": 0.04,
        "cost_source": "prices",
        "spent_images": 2,
        "usage": [["output_tokens", "5"], ["details.image", "4"], ["list", "[1]"]],
        "error": [["type", "T"], ["message", "m"]],
    }
    linked = make_record(rows=(ImageRow(k=0, url="http://x", revised_prompt="r"),), at=5.0, state=State.PENDING)
    found = to_details(linked)
    assert found["links"] == ["http://x"] and found["revised"] == ["r"] and "images" not in found and "at" not in found


def test_nothing_grows_without_bound() -> None:
    """Neither a prompt, nor what a server adds, nor how deep it is."""
    deep: dict[str, object] = {}
    inner = deep
    for _ in range(200):
        inner["x"] = {"y": 1}
        inner = inner["x"]  # type: ignore[assignment] # a mapping
    record = make_record(
        request={"prompt": "p" * 10**6, "user": "u" * 10**6},
        usage={**{str(number): "v" * 10**5 for number in range(1000)}, "deep": deep},
        rows=(ImageRow(k=0, name="n", revised_prompt="r" * 10**6),),
    )
    assert len(dump(to_index(record, kind=None, model=0, looks=[0]))) < 50_000
    assert len(dump(to_details(record))) < 10**6
    assert len(dump(to_details(make_record(usage=deep)))) < 10_000


def test_latencies() -> None:
    """The shorter of what is known: an image that was fetched a day later didn't take a day."""
    assert latency_of(make_record(elapsed=None)) is None
    assert latency_of(make_record(elapsed=3.0)) == 3.0
    assert latency_of(make_record(elapsed=3.0, sent_at=10.0, at=12.0)) == 2.0
    assert latency_of(make_record(elapsed=3.0, sent_at=10.0, at=90_000.0)) == 3.0
    assert latency_of(make_record(elapsed=None, sent_at=10.0, at=9.0)) == 0.0
