"""Values that several parts share."""

from __future__ import annotations

import copy
import datetime as dt
import math
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._facts import Cost, Headers, Limits, LimitStatus, QueueStatus, RateLimits, TokenDetails, Usage

HEADERS = Headers([("Content-Type", "a"), ("X-Request-Id", "1"), ("content-type", "b")])


def test_the_case_of_a_header_does_not_matter() -> None:
    """To look it up, to ask for it, to compare."""
    assert HEADERS["X-REQUEST-ID"] == HEADERS["x-request-id"] == "1"
    assert "x-Request-iD" in HEADERS
    assert "x-other" not in HEADERS
    assert 5 not in HEADERS  # type: ignore[comparison-overlap] # that is the case
    assert HEADERS.get("x-other") is None
    with pytest.raises(KeyError):
        HEADERS["x-other"]


def test_a_header_that_comes_twice_is_joined() -> None:
    """RFC 9110, 5.3; the first spelling of its name stays."""
    assert HEADERS["content-type"] == "a, b"
    assert list(HEADERS) == ["Content-Type", "X-Request-Id"]
    assert len(HEADERS) == 2
    assert repr(HEADERS) == "Headers([('Content-Type', 'a, b'), ('X-Request-Id', '1')])"


def test_headers_are_equal_to_any_mapping_of_the_same_fields() -> None:
    """Whatever the case of names; and what is equal has the same hash."""
    assert HEADERS == {"CONTENT-TYPE": "a, b", "x-request-id": "1"}
    assert Headers([("A", "1")]) != Headers([("A", "2")])
    assert Headers([("A", "1")]) != [("A", "1")]
    assert hash(Headers([("A", "1"), ("B", "2")])) == hash(Headers([("b", "2"), ("a", "1")]))


@given(st.lists(st.tuples(st.text(st.sampled_from("aAbB-"), max_size=3), st.text(max_size=3)), max_size=5))
def test_headers_survive_pickling_and_copying(fields: list[tuple[str, str]]) -> None:
    """With the spelling of their names."""
    headers = Headers(fields)
    for twin in (pickle.loads(pickle.dumps(headers)), copy.copy(headers), copy.deepcopy(headers)):
        assert twin == headers
        assert repr(twin) == repr(headers)


def test_usage_can_be_hashed_and_compared() -> None:
    """Also where it holds fields that this package doesn't know."""
    usage = Usage(total_tokens=1, input_tokens_details=TokenDetails(extra={"a": []}), extra={"cost": []})
    assert hash(usage) == hash(Usage(total_tokens=1, input_tokens_details=TokenDetails()))
    assert usage != Usage(total_tokens=1)


@pytest.mark.parametrize("name", ["requests_per_minute", "images_per_minute", "tokens_per_minute", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, math.nan, "5"], ids=repr)
def test_a_limit_is_above_zero(name: str, value: Any) -> None:
    """None is no limit."""
    with pytest.raises(ValueError, match=rf"{name}: .* is not a (whole )?number above 0; use None for no limit"):
        RateLimits(**{name: value})
    assert getattr(RateLimits(**{name: None}), name) is None
    assert getattr(RateLimits(**{name: 5}), name) == 5


@pytest.mark.parametrize("value", [1.5, True], ids=repr)
def test_requests_at_once_are_whole(value: Any) -> None:
    """Half a request isn't under way."""
    with pytest.raises(ValueError, match=r"concurrency: .* is not a whole number above 0"):
        RateLimits(concurrency=value)


REQUESTS = LimitStatus(name="requests", model="a", source="declared", limit=60.0)
IMAGES = LimitStatus(name="images", model="a", source="learned", limit=5.0, remaining=2.0, window=60.0)
TOKENS = LimitStatus(name="tokens", model="b", source="learned", limit=9000.0)
NOON = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)


def queue(model: str, *limits: LimitStatus, waiting: int = 0, paused_until: dt.datetime | None = None) -> QueueStatus:
    """Describe a queue two of whose requests are under way."""
    return QueueStatus(
        server="https://example.com:443",
        model=model,
        waiting=waiting,
        in_flight=2,
        waiting_for="images per minute" if waiting else None,
        next_in=None,
        paused_until=paused_until,
        reason=None if paused_until is None else f"waiting for {model}",
        limits=limits,
    )


def test_limits_are_those_of_all_queues() -> None:
    """As a sequence; what waits and is under way is added up."""
    limits = Limits([queue("a", REQUESTS, IMAGES, waiting=3), queue("b", TOKENS, waiting=4)])
    assert list(limits) == [REQUESTS, IMAGES, TOKENS]
    assert (len(limits), limits[0], limits[-1], limits[1:]) == (3, REQUESTS, TOKENS, (IMAGES, TOKENS))
    assert IMAGES in limits
    assert (limits.waiting, limits.in_flight) == (7, 4)
    assert [each.model for each in limits.queues] == ["a", "b"]
    assert repr(limits) == f"Limits([{REQUESTS!r}, {IMAGES!r}, {TOKENS!r}])"


def test_limits_pause_as_long_as_the_last_of_the_queues() -> None:
    """With its reason; None where none pauses."""
    later = NOON + dt.timedelta(seconds=5)
    limits = Limits([queue("a", paused_until=NOON), queue("b", paused_until=later), queue("c")])
    assert (limits.paused_until, limits.reason) == (later, "waiting for b")
    for quiet in (Limits([queue("a", REQUESTS)]), Limits([])):
        assert (quiet.paused_until, quiet.reason) == (None, None)


def test_limits_say_what_is_waited_for() -> None:
    """By the queue that goes on last; what goes on within a second is not worth a word."""
    soon, later = (attrs.evolve(queue("a", waiting=1), next_in=seconds) for seconds in (0.5, 12.3))
    unknown = attrs.evolve(queue("b", waiting=1), waiting_for="one of those under way to end")
    assert Limits([queue("a")]).describe_wait() is None
    assert Limits([soon]).describe_wait() is None
    assert Limits([later, soon]).describe_wait() == "waiting 12 s for images per minute, 4 in flight"
    assert Limits([later, unknown]).describe_wait() == "waiting for one of those under way to end, 4 in flight"


def test_limits_are_a_value() -> None:
    """They can be compared, hashed, copied and sent to another process."""
    limits = Limits([queue("a", REQUESTS, waiting=3)])
    assert limits == Limits(iter([queue("a", REQUESTS, waiting=3)]))
    assert hash(limits) == hash(Limits([queue("a", REQUESTS, waiting=3)]))
    assert limits != Limits([queue("a", REQUESTS, waiting=4)])
    assert limits != [REQUESTS]  # type: ignore[comparison-overlap] # that is the case
    for twin in (pickle.loads(pickle.dumps(limits)), copy.deepcopy(limits)):
        assert twin == limits


PARTS = {"text_input": 0.0001, "image_output": 0.042}


def test_a_cost_is_a_number() -> None:
    """It adds, compares and formats as one."""
    cost = Cost(0.0421, source="prices", parts=PARTS, priced_on=dt.date(2026, 11, 5))
    assert cost == 0.0421 and cost < 0.05 and hash(cost) == hash(0.0421)
    assert sum([cost, cost]) == pytest.approx(0.0842)
    assert f"{cost:.3f}" == "0.042" and str(cost) == "0.0421"
    assert type(cost.usd) is float and cost.usd == 0.0421
    assert repr(cost) == "Cost(0.0421, source='prices')"
    assert cost.parts == PARTS and cost.priced_on == dt.date(2026, 11, 5)
    assert Cost(0).parts == {} and Cost(0).priced_on is None


def test_a_cost_is_frozen() -> None:
    """Nor do its parts change with the mapping they came from."""
    parts = dict(PARTS)
    cost = Cost(0.0421, parts=parts)
    parts["images"] = 1.0
    assert cost.parts == PARTS
    with pytest.raises(AttributeError):
        cost.source = "server"
    with pytest.raises(AttributeError):
        del cost.source
    with pytest.raises(TypeError):
        cost.parts["images"] = 1.0  # type: ignore[index] # that is the case


def test_a_cost_survives_pickling_and_copying() -> None:
    """With what it says of itself."""
    cost = Cost(0.0421, source="server", parts=PARTS, priced_on=dt.date(2026, 11, 5))
    for twin in (pickle.loads(pickle.dumps(cost)), copy.copy(cost), copy.deepcopy(cost)):
        assert type(twin) is Cost and twin == cost and repr(twin) == repr(cost)
        assert (twin.parts, twin.priced_on) == (cost.parts, cost.priced_on)


@pytest.mark.parametrize("usd", [-0.01, math.nan, math.inf, -math.inf])
def test_what_is_no_amount_of_money_is_no_cost(usd: float) -> None:
    """Unknown is None."""
    with pytest.raises(ValueError, match="usd: "):
        Cost(usd)
