"""The limits on a clock that is a number."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async._facts import RateLimits
from aiai_async.server.limits import (
    Bucket,
    Budget,
    Cost,
    FixedWindow,
    KeyLimits,
    Limiter,
    LimitStyle,
    SlidingWindow,
    format_duration,
    parse_limit_style,
)
from aiai_async.server.refusals import Refusal

KINDS = [Bucket, FixedWindow, SlidingWindow]
ONE = Cost(images=1, tokens=100, model="gpt-image-1")


def refusal_of(limits: KeyLimits, now: float, cost: Cost = ONE) -> Refusal:
    """Give the refusal of a request that must not be let in."""
    with pytest.raises(Refusal) as caught:
        limits.admit(cost, now)
    return caught.value


def message_of(refusal: Refusal) -> object:
    """Give what a refusal says."""
    error = refusal.body["error"]
    assert isinstance(error, dict)
    return error["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_minutes_worth_may_go_at_once(kind: type[Budget]) -> None:
    """And no more."""
    budget = kind(3)  # type: ignore[call-arg] # a Protocol says nothing of how it is made
    for _ in range(3):
        assert budget.wait_for(1, 10.0) == 0
        budget.take(1, 10.0)
    assert budget.available(10.0) == 0
    assert budget.wait_for(1, 10.0) > 0
    assert math.isinf(budget.wait_for(4, 10.0))


def test_a_bucket_fills_up_evenly() -> None:
    """One of three comes back after twenty seconds."""
    bucket = Bucket(3)
    bucket.take(3, 100.0)
    assert bucket.wait_for(1, 100.0) == pytest.approx(20)
    assert bucket.wait_for(1, 120.0) == 0
    assert bucket.resets_in(110.0) == pytest.approx(50)
    assert bucket.available(1000.0) == 3


def test_a_fixed_window_gives_all_back_at_its_end() -> None:
    """It opens with the first request, and with the first after it ended."""
    window = FixedWindow(3)
    window.take(1, 100.0)
    window.take(2, 130.0)
    assert window.wait_for(1, 140.0) == 20
    assert (window.available(160.0), window.resets_in(160.0)) == (3, 0)
    window.take(1, 200.0)
    assert window.resets_in(210.0) == 50


def test_a_sliding_window_gives_back_what_left_it() -> None:
    """Each request a minute after it went."""
    window = SlidingWindow(3)
    window.take(1, 100.0)
    window.take(2, 130.0)
    assert window.wait_for(1, 140.0) == 20
    assert window.wait_for(2, 140.0) == 50
    assert window.resets_in(140.0) == 50
    assert (window.available(160.0), window.available(190.0)) == (1, 3)
    assert window.resets_in(190.0) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_less_than_one_a_minute_lets_one_go_at_a_time(kind: type[Budget]) -> None:
    """A limit of half a request is no limit of nothing."""
    budget = kind(0.5)  # type: ignore[call-arg] # as above
    assert budget.wait_for(1, 0.0) == 0
    budget.take(1, 0.0)
    assert budget.wait_for(1, 1.0) > 0


@given(
    kind=st.sampled_from(KINDS),
    steps=st.lists(st.tuples(st.integers(1, 3), st.floats(0, 30)), max_size=60),
)
def test_who_waits_as_told_is_let_in(kind: type[Budget], steps: list[tuple[int, float]]) -> None:
    """Waiting as long as `wait_for` says suffices, and nobody gets more than two minutes' worth in a minute."""
    budget = kind(5)  # type: ignore[call-arg] # as above
    now, taken = 50.0, list[tuple[float, int]]()
    for cost, pause in steps:
        now += pause
        wait = budget.wait_for(cost, now)
        if wait > 0:
            now += wait
            # The sum of both may be a hair below the end of a window.
            now = math.nextafter(now, math.inf)
            assert budget.wait_for(cost, now) <= 1e-6
        budget.take(cost, now)
        taken.append((now, cost))
        assert sum(each for at, each in taken if at > now - 60) <= 10
        assert budget.available(now) >= -1e-6


def test_all_budgets_let_in_or_none_takes() -> None:
    """What images refuse costs no request."""
    limits = KeyLimits(RateLimits(requests_per_minute=10, images_per_minute=3), "bucket")
    limits.admit(Cost(images=2, tokens=0, model="m"), 0.0)
    refusal_of(limits, 0.0, Cost(images=2, tokens=0, model="m"))
    assert limits.headers(0.0)["x-ratelimit-remaining-requests"] == "9"
    assert limits.headers(0.0)["x-ratelimit-remaining-images"] == "1"


def test_headers_are_openais() -> None:
    """One triple for each dimension that is limited."""
    limits = KeyLimits(RateLimits(images_per_minute=5, tokens_per_minute=1000), "bucket")
    assert limits.headers(0.0)["x-ratelimit-reset-images"] == "0s"
    limits.admit(ONE, 0.0)
    assert limits.headers(6.0) == {
        "x-ratelimit-limit-images": "5",
        "x-ratelimit-remaining-images": "4",
        "x-ratelimit-reset-images": "6s",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "1000",
        "x-ratelimit-reset-tokens": "0s",
    }


@pytest.mark.parametrize(
    ("style", "retry_after"), [("bucket", "12"), ("fixed", "50"), ("sliding", "50")], ids=["bucket", "fixed", "sliding"]
)
def test_a_refusal_says_when(style: LimitStyle, retry_after: str) -> None:
    """In both headers and in words, as OpenAI does."""
    limits = KeyLimits(RateLimits(images_per_minute=5), style)
    for _ in range(5):
        limits.admit(ONE, 0.0)
    refusal = refusal_of(limits, 0.0 if style == "bucket" else 10.0)
    assert refusal.status == 429
    assert refusal.headers["Retry-After"] == retry_after
    assert refusal.headers["retry-after-ms"] == f"{retry_after}000"
    assert refusal.headers["x-ratelimit-remaining-images"] == "0"
    assert message_of(refusal) == (
        "Rate limit reached for gpt-image-1 on images per min (IPM): Limit 5, Used 5, Requested 1. "
        f"Please try again in {retry_after}s."
    )
    error = refusal.body["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["code"]) == ("images", "rate_limit_exceeded")


@pytest.mark.parametrize("style", ["hidden", "hidden-fixed", "hidden-sliding"])
def test_hidden_limits_say_nothing(style: LimitStyle) -> None:
    """No header at all; only the 429 itself."""
    limits = KeyLimits(RateLimits(requests_per_minute=1), style)
    limits.admit(ONE, 0.0)
    assert limits.headers(0.0) == {}
    refusal = refusal_of(limits, 0.0)
    assert (refusal.status, refusal.headers) == (429, {})
    assert "try again" not in str(message_of(refusal))


def test_more_than_a_minutes_worth_is_never_let_in() -> None:
    """It is said to be too large, and no time is given to wait."""
    limits = KeyLimits(RateLimits(images_per_minute=5), "bucket")
    refusal = refusal_of(limits, 0.0, Cost(images=6, tokens=0, model="gpt-image-1"))
    assert "Retry-After" not in refusal.headers
    assert str(message_of(refusal)).startswith("Request too large for gpt-image-1 on images per min")


def test_a_cap_on_concurrency_frees_a_place_with_each_answer() -> None:
    """Who is refused takes no budget."""
    limits = KeyLimits(RateLimits(concurrency=2, requests_per_minute=10), "bucket")
    limits.admit(ONE, 0.0)
    limits.admit(ONE, 0.0)
    refusal = refusal_of(limits, 0.0)
    assert refusal.headers["Retry-After"] == "1"
    assert refusal.headers["x-ratelimit-remaining-requests"] == "8"
    limits.release()
    limits.admit(ONE, 0.0)


def test_each_key_has_its_own_limits() -> None:
    """And keeps them as long as it is used."""
    limiter = Limiter(RateLimits(requests_per_minute=1), "bucket")
    limiter.of("one").admit(ONE, 0.0)
    limiter.of("other").admit(ONE, 0.0)
    refusal_of(limiter.of("one"), 0.0)


def test_keys_beyond_ten_thousand_are_forgotten() -> None:
    """The least recently used first: made-up keys don't fill the memory."""
    limiter = Limiter(RateLimits(requests_per_minute=1), "bucket")
    kept, forgotten = limiter.of("kept"), limiter.of("forgotten")
    for number in range(9_998):
        limiter.of(str(number))
    assert limiter.of("kept") is kept
    limiter.of("one more")
    assert limiter.of("kept") is kept
    assert limiter.of("forgotten") is not forgotten


def test_without_limits_nothing_is_refused_or_said() -> None:
    """The default."""
    limits = Limiter(None, "bucket").of("key")
    for _ in range(1000):
        limits.admit(ONE, 0.0)
    assert limits.headers(0.0) == {}


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("bucket", "bucket"),
        ("fixed", "fixed"),
        ("fixed_window", "fixed"),
        ("window", "fixed"),
        ("Sliding window", "sliding"),
        ("hidden", "hidden"),
        ("hidden_sliding_window", "hidden-sliding"),
        ("hidden-bucket", "hidden"),
        ("hidden-window", "hidden-fixed"),
    ],
)
def test_styles_are_read_as_people_write_them(text: str, style: str) -> None:
    """The word "window" and the kind of dash don't matter."""
    assert parse_limit_style(text) == style


def test_an_unknown_style_is_an_error_that_names_the_known() -> None:
    """No silent default."""
    with pytest.raises(ValueError, match="limit_style: 'leaky' is not one of bucket, fixed, sliding"):
        parse_limit_style("leaky")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0001, "1ms"), (0.12, "120ms"), (0.9999, "1s"), (58.891, "58.891s"), (360, "6m0s"), (3720, "1h2m0s")],
)
def test_durations_are_gos(seconds: float, text: str) -> None:
    """Rounded up, so that who waits as told is not refused again."""
    assert format_duration(seconds) == text
