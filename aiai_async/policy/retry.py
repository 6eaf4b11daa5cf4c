"""The table "again or not, and when".

By default only what servers of this API are not known to bill is sent again. What may have been billed is *ambiguous*:
it is sent again only where the caller asks for it, or where it came so soon after sending that no image can have been
made.

Source: the behaviour of OpenAI's API and of the gateways that serve it (one-api and its descendants, LiteLLM's proxy).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from aiai_async._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    ModerationBlockedError,
    QuotaExceededError,
)


class Again(enum.Enum):
    """Whether a failed attempt is sent again."""

    NEVER = "never"
    YES = "yes"
    AMBIGUOUS = "ambiguous"
    """It may have been billed."""


_BY_STATUS: Final[Mapping[int, Again]] = {
    400: Again.NEVER,
    401: Again.NEVER,
    402: Again.NEVER,
    403: Again.NEVER,
    404: Again.NEVER,
    405: Again.NEVER,
    408: Again.AMBIGUOUS,
    409: Again.YES,
    413: Again.NEVER,
    422: Again.NEVER,
    429: Again.YES,
    500: Again.AMBIGUOUS,
    501: Again.NEVER,
    502: Again.AMBIGUOUS,
    503: Again.YES,
    504: Again.AMBIGUOUS,
    520: Again.AMBIGUOUS,
    521: Again.AMBIGUOUS,
    522: Again.AMBIGUOUS,
    523: Again.AMBIGUOUS,
    524: Again.AMBIGUOUS,
    529: Again.YES,
}
# OpenAI's own server error is not billed; older gateways answer 500 to requests that are wrong.
_BY_TYPE: Final[Mapping[tuple[int, str | None], Again]] = {(500, "server_error"): Again.YES}
_BY_CODE: Final[Mapping[tuple[int, str | None], Again]] = {
    (500, "invalid_request"): Again.NEVER,
    (503, "model_not_found"): Again.NEVER,
}


def _number(*, least: float, or_none: bool = False) -> Callable[[Any, attrs.Attribute[Any], Any], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_right = (is_number and value >= least) or (or_none and value is None)  # type: ignore[operator] # a number here
        if not is_right:
            raise ValueError(f"{attribute.name}: {value!r} is not a number of {least:g} or more")

    return check


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often, and what, is tried again within one call.

    Raises:
        ValueError: a number is out of its range.

    Example:
        >>> RetryPolicy(max_retries=5).max_retries
        5
    """

    max_retries: int = attrs.field(default=2, validator=[attrs.validators.instance_of(int), _number(least=0)])
    """Attempts after the first; with 0 nothing is ever sent twice. Refusals by a rate limit don't count."""
    retry_ambiguous: bool = False
    """Whether to try again what may have been billed: it can be paid twice."""
    instant: float = attrs.field(default=1.0, validator=_number(least=0))
    """Seconds after sending within which no server makes an image: what fails so soon wasn't billed."""
    base_delay: float = attrs.field(default=0.5, validator=_number(least=0))
    """Longest wait after the first attempt, in seconds; it doubles with each."""
    max_delay: float = attrs.field(default=8.0, validator=_number(least=0))
    """No wait of our own is longer, in seconds."""
    max_retry_after: float | None = attrs.field(default=120.0, validator=_number(least=0, or_none=True))
    """Longest wait that a server may ask for, in seconds: one that asks for more, or that lets nothing through for so
    long, fails who waits. None: as long as it takes."""


@attrs.frozen(kw_only=True)
class Decision:
    """What follows from a failed attempt."""

    delay: float | None
    """Seconds to wait before the next attempt; None: there is none. 0: the wait is the queue's."""
    may_have_been_billed: bool
    reason: str
    """Why there is no next attempt, in words that can follow the error; empty where that needs no saying."""


def judge(error: APIError, *, status: int | None) -> Again:
    """Look up whether this error is worth another attempt.

    Args:
        error: what the attempt ended in.
        status: the HTTP status that was answered, None where there was no answer. The error may mean another one: an
            error inside a 200 is of the class of its code, but never tried again.
    """
    wish = _find_wish(error) if isinstance(error, APIStatusError) and status is not None else None
    return wish or _look_up(error, status)


def pauses_queue(error: APIError, *, status: int | None, retry_after: float | None) -> bool:
    """Tell whether a refusal holds back every request of its queue: 429, and 503 and 529 that say how long.

    Who was refused waits in the queue again; that is no retry.
    """
    if isinstance(error, QuotaExceededError) or _BY_CODE.get((status or 0, error.code)) is Again.NEVER:
        return False
    return status == 429 or (status in (503, 529) and bool(retry_after))


def _look_up(error: APIError, status: int | None) -> Again:
    """Look an error up in the table, which says too whether it may have been billed."""
    if isinstance(error, APIStatusError) and status is not None:
        if isinstance(error, (QuotaExceededError, ModerationBlockedError)) or status < 400:
            return Again.NEVER
        by_name = _BY_CODE.get((status, error.code)) or _BY_TYPE.get((status, error.type))
        return by_name or _BY_STATUS.get(status, Again.AMBIGUOUS if status >= 500 else Again.NEVER)
    if isinstance(error, APIConnectionError):
        return Again.AMBIGUOUS if error.may_have_been_billed else Again.YES
    return Again.NEVER


def decide(
    error: APIError,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    since_sent: float | None,
    attempts: int,
    time_left: float,
    policy: RetryPolicy,
    random: Callable[[], float],
) -> Decision:
    """Decide whether a failed attempt is followed by another, and when.

    Args:
        error: what the attempt ended in.
        status: the HTTP status that was answered, None where there was no answer.
        retry_after: seconds the server asked to wait, None where it didn't.
        since_sent: seconds from the end of sending to the failure; None where nothing was sent.
        attempts: attempts made so far, from 1; those that a rate limit refused are left out.
        time_left: seconds until the call's own time is over; infinite where it has no bound.
        policy: the caller's wishes.
        random: gives a number from 0 to 1; an argument so that tests can choose it.
    """
    again = judge(error, status=status)
    billed = error.may_have_been_billed
    if _look_up(error, status) is Again.AMBIGUOUS:
        # A time-out of our own is never instant: the server may still be at work.
        is_instant = since_sent is not None and since_sent <= policy.instant and not isinstance(error, APITimeoutError)
        billed = not is_instant
        if again is Again.AMBIGUOUS and not is_instant and not policy.retry_ambiguous:
            return Decision(delay=None, may_have_been_billed=True, reason="so it is not sent again on its own")
    stop = Decision(delay=None, may_have_been_billed=billed, reason="")
    is_paused = pauses_queue(error, status=status, retry_after=retry_after)
    if again is Again.NEVER or policy.max_retries == 0 or (attempts > policy.max_retries and not is_paused):
        return stop
    if retry_after is not None and policy.max_retry_after is not None and retry_after > policy.max_retry_after:
        reason = f"that is more than RetryPolicy.max_retry_after={policy.max_retry_after:g}"
        return attrs.evolve(stop, reason=reason)
    if is_paused:
        return Decision(delay=0.0, may_have_been_billed=billed, reason="")
    delay = max(
        backoff(attempts, base_delay=policy.base_delay, max_delay=policy.max_delay, random=random), retry_after or 0.0
    )
    if delay >= time_left:
        return attrs.evolve(stop, reason=f"the next attempt would be in {delay:.3g} s, after Timeout.total is over")
    return Decision(delay=delay, may_have_been_billed=billed, reason="")


def backoff(attempt: int, *, base_delay: float, max_delay: float, random: Callable[[], float]) -> float:
    """Choose how long to wait before the next attempt: exponential, with full jitter.

    Args:
        attempt: attempts made so far, from 1.
        base_delay: longest wait after the first attempt, in seconds.
        max_delay: no wait is longer than this, in seconds.
        random: gives a number from 0 to 1.

    Returns:
        Seconds to wait. What the server asked for is not looked at here.

    Example:
        >>> backoff(3, base_delay=0.5, max_delay=8.0, random=lambda: 1.0)
        2.0
    """
    # The exponent is capped before the power is taken: 0.5 * 2 ** 1100 overflows a float.
    return random() * min(max_delay, base_delay * 2.0 ** min(attempt - 1, 100))


def _find_wish(error: APIStatusError) -> Again | None:
    """Read `x-should-retry`, by which a server overrules the table."""
    wish = error.headers.get("x-should-retry", "").strip().lower()
    return {"true": Again.YES, "false": Again.NEVER}.get(wish)
