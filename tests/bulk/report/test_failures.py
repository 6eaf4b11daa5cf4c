"""What is not done, by kind: few kinds, each with words of what to do."""

from __future__ import annotations

from typing import Any

import pytest

import aiai_async
from aiai_async.bulk.items import Item, State, WritingError
from aiai_async.bulk.records import Record
from aiai_async.bulk.recovery import LOST
from aiai_async.bulk.report.failures import STATES, FailureTable, Kind, kind_of


def make_record(index: int, state: State, error: dict[str, Any] | None = None, prompt: str = "p") -> Record:
    """An item as the journal has it."""
    item = Item(index=index, id=f"row-{index}", request={"prompt": prompt}, n=1, state=state)
    return Record(
        item=item, rows=(), line=index + 1, request_id=None, attempts=None, elapsed=None, usage=None, error=error
    )


RAISED = [
    *(
        name
        for name in aiai_async.__all__
        if isinstance(kind := getattr(aiai_async, name), type) and issubclass(kind, aiai_async.AIAIError)
    ),
    WritingError.__name__,
    LOST,
]


@pytest.mark.parametrize("name", [name for name in RAISED if name not in ("AIAIError", "APIError", "APIStatusError")])
def test_every_error_has_words(name: str) -> None:
    """Not only its class's name."""
    kind = Kind(State.FAILED, name)
    assert kind.title != name and kind.advice.endswith("with --retry failed it asks again.")


@pytest.mark.parametrize("state", [state for state in State if state is not State.DONE])
def test_every_state_has_words(state: State) -> None:
    """Also where there was no error."""
    kind = kind_of(make_record(0, state))
    assert kind.title == STATES[state] and len(kind.advice) > 20


def test_facts_are_named() -> None:
    """The status and the service's own word stand in the title; a class that isn't ours is named."""
    error = {"type": "BadRequestError", "status_code": 400, "code": "bad <size>"}
    assert kind_of(make_record(0, State.FAILED, error)).title == "Not accepted by the service (400 bad <size>)"
    assert kind_of(make_record(0, State.UNKNOWN, {"type": "KeyError", "status_code": "odd"})).title == "KeyError"
    assert kind_of(make_record(0, State.UNKNOWN, {})).title == "unknown error"


def test_items_are_grouped() -> None:
    """With the first message and the first few of them; in the order in which somebody has to look at them."""
    table = FailureTable()
    moderated = {"type": "ModerationBlockedError", "message": "no"}
    numbers = [
        table.add(make_record(0, State.PENDING)),
        table.add(make_record(1, State.DONE)),
        table.add(make_record(2, State.FAILED_FOR_NOW, {"type": "InternalServerError", "message": "503"})),
        *(table.add(make_record(3 + k, State.FAILED, moderated, "w " * 500)) for k in range(8)),
        table.add(make_record(20, State.PENDING)),
    ]
    assert numbers == [0, None, 1, *[2] * 8, 0]
    found = table.sorted()
    assert [(number, failures.count) for number, failures in found] == [(2, 8), (1, 1), (0, 2)]
    assert found[0][1].message == "no" and [index for index, _ in found[0][1].examples] == [3, 4, 5, 6, 7]
    assert len(found[0][1].examples[0][1]) == 80


def test_kinds_are_bounded() -> None:
    """Whatever a server makes up."""
    table = FailureTable()
    for index in range(5000):
        table.add(make_record(index, State.FAILED, {"type": "BadRequestError", "code": f"{index}" * 100}))
    found = table.sorted()
    assert len(found) <= 70 and sum(failures.count for _, failures in found) == 5000
    assert all(len(failures.kind.title) < 120 for _, failures in found)
