"""The table "again or not, and when", row by row."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._errors import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    BadRequestError,
    InternalServerError,
    ModerationBlockedError,
    QuotaExceededError,
    RateLimitError,
    StreamError,
)
from aiai_async._facts import Headers
from aiai_async.policy.retry import Again, Decision, RetryPolicy, backoff, decide, judge, pauses_queue


def status_error(status: int, **facts: Any) -> tuple[APIError, int]:
    """Make the error of a status, as far as this table looks at it."""
    return APIStatusError("m", status_code=status, **facts), status


TABLE: dict[str, tuple[tuple[APIError, int | None], Again]] = {
    "400": (status_error(400), Again.NEVER),
    "400 moderation": ((ModerationBlockedError("m", code="moderation_blocked"), 400), Again.NEVER),
    "401": (status_error(401), Again.NEVER),
    "403": (status_error(403), Again.NEVER),
    "402": ((QuotaExceededError("m"), 402), Again.NEVER),
    "429 insufficient_quota": ((QuotaExceededError("m", code="insufficient_quota"), 429), Again.NEVER),
    "429 billing_hard_limit_reached": ((QuotaExceededError("m", code="billing_hard_limit_reached"), 429), Again.NEVER),
    "404": (status_error(404), Again.NEVER),
    "405": (status_error(405), Again.NEVER),
    "413": (status_error(413), Again.NEVER),
    "422": (status_error(422), Again.NEVER),
    "501": (status_error(501), Again.NEVER),
    "409": (status_error(409), Again.YES),
    "429": ((RateLimitError("m"), 429), Again.YES),
    "503": (status_error(503), Again.YES),
    "529": (status_error(529), Again.YES),
    "503 model_not_found": (status_error(503, code="model_not_found"), Again.NEVER),
    "500 with type server_error": (status_error(500, type="server_error"), Again.YES),
    "500 with type server_error and a code": (status_error(500, type="server_error", code="x"), Again.YES),
    "500 with code invalid_request": (status_error(500, code="invalid_request"), Again.NEVER),
    "500 with code invalid_request, type server_error": (
        status_error(500, code="invalid_request", type="server_error"),
        Again.NEVER,
    ),
    "500 otherwise": (status_error(500), Again.AMBIGUOUS),
    "500 bad_response_body": (status_error(500, code="bad_response_body"), Again.AMBIGUOUS),
    "500 internal_server_error": (status_error(500, code="500", type="internal_server_error"), Again.AMBIGUOUS),
    "500 with server_error as a gateway's code": (
        status_error(500, code="server_error", type="upstream_error"),
        Again.AMBIGUOUS,
    ),
    "408": (status_error(408), Again.AMBIGUOUS),
    "502": (status_error(502), Again.AMBIGUOUS),
    "502 with type server_error": (status_error(502, type="server_error"), Again.AMBIGUOUS),
    "504": (status_error(504), Again.AMBIGUOUS),
    "520": (status_error(520), Again.AMBIGUOUS),
    "521": (status_error(521), Again.AMBIGUOUS),
    "522": (status_error(522), Again.AMBIGUOUS),
    "523": (status_error(523), Again.AMBIGUOUS),
    "524": (status_error(524), Again.AMBIGUOUS),
    "a 5xx that the table doesn't name": (status_error(507), Again.AMBIGUOUS),
    "a 4xx that the table doesn't name": (status_error(418), Again.NEVER),
    "a redirect that isn't followed": (status_error(307), Again.NEVER),
    "a 2xx that is no answer": ((APIResponseError("m", may_have_been_billed=True), 200), Again.NEVER),
    "an error inside a 200": ((InternalServerError("m", may_have_been_billed=True), 200), Again.NEVER),
    "a refusal inside a 200": ((BadRequestError("m"), 200), Again.NEVER),
    "a rate limit inside a 200": ((RateLimitError("m"), 200), Again.NEVER),
    "nothing was sent": ((APIConnectionError("m"), None), Again.YES),
    "the connect timeout": ((APITimeoutError("m", phase="connect"), None), Again.YES),
    "cut after it was sent": ((APIConnectionError("m", may_have_been_billed=True), None), Again.AMBIGUOUS),
    "timed out after it was sent": (
        (APITimeoutError("m", phase="stall", may_have_been_billed=True), None),
        Again.AMBIGUOUS,
    ),
    "an error of a stream": ((StreamError("m"), None), Again.NEVER),
    "x-should-retry true": (status_error(400, headers=Headers([("X-Should-Retry", "true")])), Again.YES),
    "x-should-retry false": (status_error(429, headers=Headers([("x-should-retry", " False ")])), Again.NEVER),
    "x-should-retry of another value": (status_error(429, headers={"x-should-retry": "maybe"}), Again.YES),
    "x-should-retry true, no money": (
        (QuotaExceededError("m", headers={"x-should-retry": "true"}), 429),
        Again.YES,
    ),
}


@pytest.mark.parametrize(("answered", "expected"), TABLE.values(), ids=TABLE.keys())
def test_each_row_of_the_table(answered: tuple[APIError, int | None], expected: Again) -> None:
    """What servers of this API are not known to bill is sent again; the rest is not, or is ambiguous."""
    error, status = answered
    assert judge(error, status=status) is expected


def test_a_status_error_whose_status_nobody_answered_is_never_sent_again() -> None:
    """As an error event of a stream has it."""
    assert judge(RateLimitError("m"), status=None) is Again.NEVER


def run(
    error: APIError,
    *,
    status: int | None = None,
    policy: RetryPolicy | None = None,
    retry_after: float | None = None,
    since_sent: float | None = 30.0,
    attempts: int = 1,
    time_left: float = math.inf,
    luck: float = 1.0,
) -> Decision:
    """Decide with the usual circumstances."""
    return decide(
        error,
        status=status,
        retry_after=retry_after,
        since_sent=since_sent,
        attempts=attempts,
        time_left=time_left,
        policy=policy or RetryPolicy(),
        random=lambda: luck,
    )


CUT = APIConnectionError("m", may_have_been_billed=True)
STALLED = APITimeoutError("m", phase="first_byte", may_have_been_billed=True)
BAD_GATEWAY, _ = status_error(502)
NO_RETRY = Decision(delay=None, may_have_been_billed=False, reason="")
AMBIGUOUS = Decision(delay=None, may_have_been_billed=True, reason="so it is not sent again on its own")


@pytest.mark.parametrize(("error", "status"), [(CUT, None), (BAD_GATEWAY, 502)], ids=["cut", "502"])
class TestAmbiguous:
    """What may have been billed."""

    def test_is_not_sent_again_by_default(self, error: APIError, status: int | None) -> None:
        """And says so."""
        assert run(error, status=status, since_sent=1.001) == AMBIGUOUS

    @pytest.mark.parametrize("since_sent", [0.0, 0.5, 1.0])
    def test_is_sent_again_where_it_came_at_once(self, error: APIError, status: int | None, since_sent: float) -> None:
        """No server makes an image within a second of sending: it wasn't billed."""
        decision = run(error, status=status, since_sent=since_sent)
        assert decision == Decision(delay=0.5, may_have_been_billed=False, reason="")

    def test_instant_can_be_turned_off(self, error: APIError, status: int | None) -> None:
        """With `instant=0` only what failed in no time at all counts."""
        assert run(error, status=status, since_sent=0.001, policy=RetryPolicy(instant=0)) == AMBIGUOUS

    def test_is_sent_again_where_the_caller_asks_for_it(self, error: APIError, status: int | None) -> None:
        """It is still said that it may have been billed."""
        decision = run(error, status=status, policy=RetryPolicy(retry_ambiguous=True))
        assert decision == Decision(delay=0.5, may_have_been_billed=True, reason="")

    def test_stays_ambiguous_when_attempts_are_used_up(self, error: APIError, status: int | None) -> None:
        """Where it wasn't instant; where it was, nothing was billed."""
        policy = RetryPolicy(retry_ambiguous=True)
        assert run(error, status=status, policy=policy, attempts=3).may_have_been_billed
        assert run(error, status=status, since_sent=0.1, attempts=3) == NO_RETRY

    def test_is_not_instant_where_it_is_not_known_when_it_was_sent(self, error: APIError, status: int | None) -> None:
        """Rather not paid twice."""
        assert run(error, status=status, since_sent=None) == AMBIGUOUS


def test_a_timeout_of_our_own_is_never_instant() -> None:
    """The server may still be at work, however short the time was."""
    assert run(STALLED, since_sent=0.01) == AMBIGUOUS


def test_a_connect_timeout_is_tried_again() -> None:
    """Nothing was sent."""
    error = APITimeoutError("m", phase="connect")
    assert run(error, since_sent=None) == Decision(delay=0.5, may_have_been_billed=False, reason="")


BUSY, _ = status_error(503)


@pytest.mark.parametrize(
    ("attempts", "max_retries", "is_sent"),
    [(1, 0, False), (1, 1, True), (2, 1, False), (2, 2, True), (3, 2, False)],
)
def test_attempts_are_counted(attempts: int, max_retries: int, is_sent: bool) -> None:
    """`max_retries` is what comes after the first; with 0 nothing is ever sent twice."""
    decision = run(BUSY, status=503, attempts=attempts, policy=RetryPolicy(max_retries=max_retries))
    assert (decision.delay is not None) is is_sent
    if not is_sent:
        assert decision == NO_RETRY


QUEUED: dict[str, tuple[APIError, int, float | None]] = {
    "429": (RateLimitError("m"), 429, None),
    "429 with Retry-After": (RateLimitError("m"), 429, 20.0),
    "429 with a Retry-After of 0": (RateLimitError("m"), 429, 0.0),
    "503 with Retry-After": (*status_error(503), 20.0),
    "529 with Retry-After": (*status_error(529), 20.0),
}


@pytest.mark.parametrize(("error", "status", "retry_after"), QUEUED.values(), ids=QUEUED.keys())
class TestQueued:
    """A refusal that holds back every request of its queue."""

    def test_it_waits_in_the_queue_again(self, error: APIError, status: int, retry_after: float | None) -> None:
        """With no delay of its own; how long is the queue's business."""
        assert pauses_queue(error, status=status, retry_after=retry_after)
        decision = run(error, status=status, retry_after=retry_after)
        assert decision == Decision(delay=0.0, may_have_been_billed=False, reason="")

    def test_that_is_no_retry(self, error: APIError, status: int, retry_after: float | None) -> None:
        """However many attempts were made, and however little of the call's own time is left: it doesn't run there."""
        decision = run(error, status=status, retry_after=retry_after, attempts=1000, time_left=0.001)
        assert decision.delay == 0.0

    def test_with_max_retries_0_it_is_raised(self, error: APIError, status: int, retry_after: float | None) -> None:
        """Nothing is ever sent twice then."""
        assert run(error, status=status, retry_after=retry_after, policy=RetryPolicy(max_retries=0)) == NO_RETRY

    def test_what_the_server_forbids_is_raised(self, error: APIError, status: int, retry_after: float | None) -> None:
        """By `x-should-retry`."""
        headers = {"x-should-retry": "false"}
        forbidden = APIStatusError("m", status_code=status, code=error.code, headers=headers)
        assert run(forbidden, status=status, retry_after=retry_after) == NO_RETRY


PLAIN: dict[str, tuple[APIError, int | None, float | None]] = {
    "503": (BUSY, 503, None),
    "503 with a Retry-After of 0": (BUSY, 503, 0.0),
    "529": (*status_error(529), None),
    "503 model_not_found": (*status_error(503, code="model_not_found"), 5.0),
    "500 with Retry-After": (*status_error(500), 5.0),
    "429 insufficient_quota": (QuotaExceededError("m"), 429, 5.0),
    "no answer": (CUT, None, None),
}


@pytest.mark.parametrize(("error", "status", "retry_after"), PLAIN.values(), ids=PLAIN.keys())
def test_what_says_nothing_of_the_others_pauses_no_queue(
    error: APIError, status: int | None, retry_after: float | None
) -> None:
    """It is tried again on its own, or not at all."""
    assert not pauses_queue(error, status=status, retry_after=retry_after)


def test_max_retries_0_holds_for_what_is_instant_too() -> None:
    """And for what the caller would accept as ambiguous, and what the server wants retried."""
    never = RetryPolicy(max_retries=0, retry_ambiguous=True)
    assert run(CUT, since_sent=0.0, policy=never).delay is None
    assert run(CUT, policy=never).delay is None
    error, _ = status_error(503, headers={"x-should-retry": "true"})
    assert run(error, status=503, policy=never).delay is None


WAITS: dict[str, tuple[float | None, float | None, float | None]] = {
    "nothing asked": (None, 120.0, 0.5),
    "shorter than our own": (0.1, 120.0, 0.5),
    "longer than our own": (20.0, 120.0, 20.0),
    "longer than max_delay": (100.0, 120.0, 100.0),
    "as long as allowed": (120.0, 120.0, 120.0),
    "longer than allowed": (120.5, 120.0, None),
    "longer than allowed, with another bound": (3.0, 2.0, None),
    "any, without a bound": (86400.0, None, 86400.0),
}
CONFLICT, _ = status_error(409)


@pytest.mark.parametrize(("retry_after", "bound", "delay"), WAITS.values(), ids=WAITS.keys())
@pytest.mark.parametrize(("error", "status"), [(CONFLICT, 409), (RateLimitError("m"), 429)], ids=["409", "429"])
def test_the_wait_is_never_shorter_than_what_the_server_asked_for(
    error: APIError, status: int, retry_after: float | None, bound: float | None, delay: float | None
) -> None:
    """Its own, or the queue's; more than `max_retry_after` is raised at once, with words that name the setting."""
    policy = RetryPolicy(max_retry_after=bound)
    decision = run(error, status=status, retry_after=retry_after, policy=policy)
    assert decision.delay == (delay if delay is None or status == 409 else 0.0)
    if delay is None:
        assert decision.reason == f"that is more than RetryPolicy.max_retry_after={bound:g}"


@pytest.mark.parametrize(("time_left", "is_sent"), [(math.inf, True), (20.1, True), (20.0, False), (0.0, False)])
def test_no_attempt_is_made_after_the_calls_own_time(time_left: float, is_sent: bool) -> None:
    """Waiting for it would only end in a timeout that hides the reason."""
    decision = run(CONFLICT, status=409, retry_after=20.0, time_left=time_left)
    assert (decision.delay is not None) is is_sent
    if not is_sent:
        assert decision.reason == "the next attempt would be in 20 s, after Timeout.total is over"


@pytest.mark.parametrize(
    ("attempt", "longest"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 4.0), (5, 8.0), (6, 8.0), (100, 8.0), (100_000, 8.0)]
)
def test_backoff_doubles_up_to_its_bound(attempt: int, longest: float) -> None:
    """With full jitter: anything from nothing to that."""
    chosen = iter((0.0, 0.5, 1.0))
    waits = [backoff(attempt, base_delay=0.5, max_delay=8.0, random=lambda: next(chosen)) for _ in range(3)]
    assert waits == [0.0, longest / 2, longest]


@given(
    attempt=st.integers(1, 10_000),
    base_delay=st.floats(0, 1e6),
    max_delay=st.floats(0, 1e6),
    luck=st.floats(0, 1),
)
def test_backoff_never_leaves_its_bounds(attempt: int, base_delay: float, max_delay: float, luck: float) -> None:
    """Whatever the numbers."""
    assert 0.0 <= backoff(attempt, base_delay=base_delay, max_delay=max_delay, random=lambda: luck) <= max_delay


def test_the_policy_has_the_documented_defaults() -> None:
    """Users read them in the documentation."""
    assert attrs.asdict(RetryPolicy()) == {
        "max_retries": 2,
        "retry_ambiguous": False,
        "instant": 1.0,
        "base_delay": 0.5,
        "max_delay": 8.0,
        "max_retry_after": 120.0,
    }


@pytest.mark.parametrize("value", [-1, "2", None, True, math.nan], ids=repr)
@pytest.mark.parametrize("name", ["max_retries", "instant", "base_delay", "max_delay", "max_retry_after"])
def test_a_policy_of_nonsense_is_refused(name: str, value: Any) -> None:
    """By the name of the setting; None is one only for `max_retry_after`."""
    if name == "max_retry_after" and value is None:
        assert RetryPolicy(max_retry_after=None).max_retry_after is None
        return
    with pytest.raises((ValueError, TypeError), match=name):
        RetryPolicy(**{name: value})


def test_a_part_of_a_retry_is_refused() -> None:
    """Attempts are whole."""
    with pytest.raises(TypeError, match="max_retries"):
        RetryPolicy(max_retries=1.5)  # type: ignore[arg-type] # that is the case
