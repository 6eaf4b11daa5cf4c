"""Fault records: what they may hold, and which request gets which."""

from __future__ import annotations

from typing import Any

import pytest

from aiai_async.server.faults import Fault, FaultPlan, On, Piece


def befallen(plan: FaultPlan, count: int, *kinds: On) -> list[str]:
    """Give the names of the faults that so many requests get, "" for none."""
    faults = [plan.next(*(kinds or ("generate",))) for _ in range(count)]
    return [fault.name if fault else "" for fault in faults]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({}, ["x", "x", "x", "x"]),
        ({"nth": 2}, ["", "x", "", ""]),
        ({"nth": [1, 4]}, ["x", "", "", "x"]),
        ({"every": 2}, ["", "x", "", "x"]),
        ({"probability": 0}, ["", "", "", ""]),
        ({"probability": 1}, ["x", "x", "x", "x"]),
    ],
    ids=str,
)
def test_a_fault_befalls_the_requests_it_names(fields: dict[str, Any], names: list[str]) -> None:
    """Counted from 1."""
    assert befallen(FaultPlan([Fault(name="x", **fields)], seed=0), 4) == names


def test_luck_is_the_same_for_the_same_seed() -> None:
    """And another for another, and about as good as it says."""
    fault = Fault(name="x", probability=0.3)
    one, again, other = (befallen(FaultPlan([fault], seed=seed), 1000) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert 250 < one.count("x") < 350


def test_the_first_record_that_applies_wins() -> None:
    """The others count the request all the same."""
    plan = FaultPlan([Fault(name="one", nth=2), Fault(name="two", every=2), Fault(name="rest", nth=[4, 5])], seed=0)
    assert befallen(plan, 5) == ["", "one", "", "two", "rest"]


def test_what_one_record_does_leaves_the_luck_of_another() -> None:
    """Luck is drawn for every request, whether another record took it or not."""
    lucky = Fault(name="x", probability=0.5)
    alone = befallen(FaultPlan([lucky], seed=0), 50)
    with_another = befallen(FaultPlan([lucky, Fault(every=2)], seed=0), 50)
    assert [name == "x" for name in with_another] == [name == "x" for name in alone]
    shadowed = [FaultPlan([Fault(name="first", nth=nth), lucky], seed=0) for nth in (1, 2)]
    one, two = (befallen(plan, 50) for plan in shadowed)
    assert one[2:] == two[2:]


def test_a_fault_of_streams_counts_streams_alone() -> None:
    """A plain request in between changes nothing."""
    plan = FaultPlan([Fault(name="stream", on="stream", nth=2)], seed=0)
    assert befallen(plan, 1, "generate", "stream") == [""]
    assert befallen(plan, 2, "generate") == ["", ""]
    assert befallen(plan, 2, "generate", "stream") == ["stream", ""]


def test_each_kind_of_request_is_counted_for_itself() -> None:
    """A request with a slash is a request for images too; a download is neither."""
    plan = FaultPlan(
        [Fault(name="slash", on="slash", nth=1), Fault(name="any", nth=2), Fault(name="down", on="download", nth=1)],
        seed=0,
    )
    assert befallen(plan, 1, "download") == ["down"]
    assert befallen(plan, 1, "generate") == [""]
    assert befallen(plan, 2, "generate", "slash") == ["slash", ""]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nth": 0}, "nth: .* is below 1"),
        ({"every": 0}, "every: 0 is below 1"),
        ({"probability": 1.5}, "probability: 1.5 is not from 0 to 1"),
        ({"part": -0.1}, "part: -0.1 is not from 0 to 1"),
        ({"delay": -1}, "delay: -1 is below 0"),
        ({"gap": -1}, "gap: -1 is below 0"),
        ({"piece_bytes": 0}, "piece_bytes: 0 is below 1"),
        ({"status": 99}, "status: 99 is not an HTTP status"),
        ({"status": "503"}, "status: '503' is not an HTTP status"),
        ({"ending": "explode"}, "'ending' must be in"),
        ({"on": "monday"}, "'on' must be in"),
        ({"heartbeat": Piece("x")}, "heartbeat: .* is no piece with a gap above 0"),
        ({"heartbeat": 5}, "heartbeat: 5 is no piece"),
        ({"nth": 1, "every": 2}, "nth and every: give only one of them"),
    ],
    ids=str,
)
def test_a_record_that_makes_no_sense_is_refused(fields: dict[str, Any], message: str) -> None:
    """At once, and with the field's name."""
    with pytest.raises(ValueError, match=message):
        Fault(**fields)


@pytest.mark.parametrize(
    ("fault", "needs_answer"),
    [
        (Fault(), True),
        (Fault(image='{"b64_json": "$b64"}'), True),
        (Fault(ending="cut", part=0.5), True),
        (Fault(status=200), True),
        (Fault(body="[$images]"), True),
        (Fault(body=["a", Piece("${answer}")]), True),
        (Fault(body="$first_partial"), True),
        (Fault(body="${stream}data: [DONE]"), True),
        (Fault(status=503), False),
        (Fault(status=307), False),
        (Fault(body="<html>"), False),
        (Fault(body="$request_id"), False),
        (Fault(body=b"$answer"), False),
        (Fault(body=""), False),
    ],
    ids=repr,
)
def test_only_what_sends_something_of_the_answer_needs_it(fault: Fault, needs_answer: bool) -> None:
    """Nothing is validated, counted or drawn for the others."""
    assert fault.needs_answer is needs_answer


def test_bodies_and_headers_are_taken_as_they_come() -> None:
    """A text, bytes or a list of pieces; numbers in headers, as TOML has them."""
    fault = Fault(body=["a", b"b", Piece("c", gap=1)], headers={"Retry-After": 1}, without="Server")
    assert fault.body == (Piece("a"), Piece(b"b"), Piece("c", gap=1))
    assert (fault.headers, fault.without) == ({"Retry-After": "1"}, ("Server",))
    assert Fault(body="a").body == (Piece("a"),)
    assert Fault(event="a", final=b"b").event == (Piece("a"),)
    assert Fault(heartbeat="a").heartbeat == Piece("a", gap=1.0)
