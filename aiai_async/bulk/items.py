"""What an item is and what becomes of it: states, outcome classes, ids, what a rerun takes up. Pure.

The rule: an image that may have been paid for is never asked for again unless the user says so. So every error is put
into one of four classes here and nowhere else, and budgets count what may have been billed as spent.
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Final, Literal, get_args

import attrs

from aiai_async import (
    AIAIError,
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    PermissionDeniedError,
    QuotaExceededError,
)

Retry = Literal["failed", "unknown", "all"]
"""Which of the items that had ended a run takes up again, under a new key: those that failed for good, those that may
have been billed, or both."""

RETRIES: Final[tuple[Retry, ...]] = get_args(Retry)

# Statuses that say "not now"; every other 4xx says the same again however often it is asked.
_STATUSES_FOR_NOW: Final = frozenset({408, 409, 425, 429})


class State(enum.Enum):
    """Where an item stands; the values are those of the journal and of `errors.jsonl`."""

    # An enumeration's own is written in Python, and items are counted by state.
    __hash__ = object.__hash__

    PENDING = "pending"
    """Nothing was sent for it."""
    UNFINISHED = "unfinished"
    """It is in flight, or was when the process ended: it is asked for again under the same key."""
    LINKED = "not_downloaded"
    """It was answered with links, and not all of them were fetched: they are fetched again, nothing is generated."""
    DONE = "done"
    FAILED = "failed"
    """For good: it would fail again."""
    FAILED_FOR_NOW = "failed_for_now"
    """Nothing was billed, and it may succeed later."""
    UNKNOWN = "unknown"
    """It may have been billed, and there is no image."""


class Reason(enum.Enum):
    """Why a run ended; the values are those of the command's JSON."""

    FINISHED = "finished"
    """Every item was taken up."""
    BUDGET = "budget"
    """The next item could have passed `max_images` or `max_cost`."""
    QUOTA = "quota"
    """No money or quota is left on the key."""
    REFUSED_KEY = "refused_key"
    """The key was not accepted, or may not do this."""
    DISK = "disk"
    """The folder can't be written."""
    CONFIGURATION = "configuration"
    """The client can't be used, or something of the caller's that every request needs failed, such as its key."""
    STOPPED = "stopped"
    """`stop` was called: what was in flight was finished."""
    ABORTED = "aborted"
    """`abort` was called, or the run was cancelled: what was in flight was cut off."""


@attrs.frozen(kw_only=True)
class Item:
    """One row of a job, as a run takes it up."""

    index: int
    """Its place, which begins its file names."""
    id: str
    """Its `custom_id`, or a hash of its row."""
    has_custom_id: bool = False
    request: Mapping[str, object]
    """The fields of its request."""
    n: int
    """Images it asks for."""
    state: State
    key: str | None = None
    """The `Idempotency-Key` of the last time it was sent; None where it never was."""
    images: int = 0
    """Images that its last answer held."""
    spent: int = 0
    """Images that earlier keys of it may have cost."""
    cost: float | None = None
    """US dollars that its last answer cost; None where that isn't known."""
    estimate: float | None = None
    """US dollars that it was expected to cost at most when it was last sent; None where that wasn't known."""
    spent_cost: float = 0.0
    """US dollars that earlier keys of it may have cost."""
    earlier_cost: float = 0.0
    """US dollars of that which answers are known to have cost."""


PAID_STATES: Final = (State.DONE, State.LINKED, State.UNKNOWN, State.UNFINISHED)
"""States of items whose last request was paid, or may have been."""


class WritingError(Exception):
    """An image was received, and paid for, and can't be written."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"the image was made and paid for, but it can't be written: {cause}")
        self.cause: Final = cause


@attrs.frozen
class Verdict:
    """What an error means for an item, and for the whole run."""

    state: State
    stops: Reason | None = None
    """Why nothing more may be sent; None where the others go on."""


def judge(error: Exception, *, was_sent: bool = True) -> Verdict:
    """Put an error that a request ended in into its class.

    Args:
        error: what it ended in.
        was_sent: False where it is known that no attempt was let go.

    Example:
        >>> judge(InvalidRequestError("n: 11 is not accepted")).state
        <State.FAILED: 'failed'>
        >>> judge(QuotaExceededError()).stops
        <Reason.QUOTA: 'quota'>
    """
    if not was_sent and not isinstance(error, AIAIError):
        # From code of the caller, which would fail in the same way for every item.
        return Verdict(State.FAILED_FOR_NOW, Reason.CONFIGURATION)
    stops = _find_stop(error)
    if isinstance(error, WritingError) or not isinstance(error, AIAIError) or error.may_have_been_billed:
        # An exception that isn't ours comes from code of the caller, and doesn't say whether anything was sent.
        return Verdict(State.UNKNOWN, stops)
    if stops is not None:
        return Verdict(State.FAILED_FOR_NOW, stops)
    if isinstance(error, InvalidRequestError):
        return Verdict(State.FAILED)
    if isinstance(error, APIStatusError):
        is_final = 400 <= error.status_code < 500 and error.status_code not in _STATUSES_FOR_NOW
        return Verdict(State.FAILED if is_final or error.status_code == 501 else State.FAILED_FOR_NOW)
    return Verdict(State.FAILED_FOR_NOW)


def _find_stop(error: Exception) -> Reason | None:
    if isinstance(error, QuotaExceededError):
        return Reason.QUOTA
    if isinstance(error, (AuthenticationError, PermissionDeniedError)):
        return Reason.REFUSED_KEY
    if isinstance(error, WritingError):
        return Reason.DISK
    return Reason.CONFIGURATION if isinstance(error, ConfigurationError) else None


def takes_up(retry: Retry | None) -> tuple[State, ...]:
    """Give the states whose items a run takes up, besides those that were in flight.

    Example:
        >>> [state.value for state in takes_up("unknown")]
        ['pending', 'failed_for_now', 'unknown']
    """
    states = [State.PENDING, State.FAILED_FOR_NOW]
    if retry in ("failed", "all"):
        states.append(State.FAILED)
    if retry in ("unknown", "all"):
        states.append(State.UNKNOWN)
    return tuple(states)


def keeps_key(state: State) -> bool:
    """Tell whether an item in this state is sent under the key it has.

    Only what nobody saw end keeps it: a server that stores answers by key would give a stored error again.
    """
    return state is State.UNFINISHED


def spent_on(state: State, *, n: int, images: int, spent: int) -> int:
    """Count the images that an item may have cost.

    Example:
        >>> spent_on(State.UNKNOWN, n=4, images=0, spent=0), spent_on(State.DONE, n=4, images=3, spent=4)
        (4, 7)
    """
    if state in (State.UNKNOWN, State.UNFINISHED):
        # An answer that is lost has told how many it held.
        return spent + (images or n)
    return spent + images if state in (State.DONE, State.LINKED) else spent


def money_on(state: State, *, cost: float | None, estimate: float | None, spent_cost: float) -> float:
    """Count the US dollars that an item may have cost; what isn't known at all counts as nothing.

    Args:
        state: where it stands.
        cost: what its last answer cost; None where that isn't known.
        estimate: what it was expected to cost at most.
        spent_cost: what its earlier keys may have cost.

    Example:
        >>> money_on(State.UNKNOWN, cost=None, estimate=0.25, spent_cost=0.25)
        0.5
        >>> money_on(State.DONE, cost=0.04, estimate=0.25, spent_cost=0.25)
        0.29
    """
    if state not in PAID_STATES:
        return spent_cost
    return spent_cost + ((estimate or 0.0) if cost is None else cost)


class Tally:
    """Counts the items by state, and the images.

    Args:
        counts: items by state, before the run.
        images: images of the items that are done.
    """

    def __init__(self, counts: Mapping[State, int], *, images: int) -> None:
        self._counts: Final = {state: counts.get(state, 0) for state in State}
        self.images = images

    def __getitem__(self, state: State) -> int:
        return self._counts[state]

    @property
    def total(self) -> int:
        """All items."""
        return sum(self._counts.values())

    def move(self, before: State, after: State, *, images: int = 0) -> None:
        """Count an item elsewhere, and its images where it is done."""
        self._counts[before] -= 1
        self._counts[after] += 1
        self.images += images if after is State.DONE else 0

    def count(self, states: Iterable[State]) -> int:
        """Count the items in any of these states."""
        return sum(self._counts[state] for state in states)


def exit_code(counts: Mapping[State, int], reason: Reason) -> int:
    """Give a run's exit code: 0 all done, 1 some items are not, 3 stopped by a budget or quota, 130 interrupted."""
    if all(number == 0 for state, number in counts.items() if state is not State.DONE):
        return 0
    if reason in (Reason.STOPPED, Reason.ABORTED):
        return 130
    return 3 if reason in (Reason.BUDGET, Reason.QUOTA) else 1


def digest_of(fields: Mapping[str, object]) -> bytes:
    """Give the 10 bytes by which a row is known: those of its own fields, in whatever order.

    Example:
        >>> digest_of({"prompt": "A kite", "n": 2}) == digest_of({"n": 2, "prompt": "A kite"})
        True
    """
    text = json.dumps(fields, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=10).digest()


def make_id(digest: bytes, occurrence: int) -> str:
    """Name a row that has no `custom_id`: by what it holds, and which of the equal rows it is.

    Its number in the input would not do: a line put in before it must not make it another item, which is paid for anew.

    Example:
        >>> make_id(bytes(10), 1), make_id(bytes(10), 2)
        ('row-00000000000000000000', 'row-00000000000000000000-2')
    """
    return f"row-{digest.hex()}" if occurrence == 1 else f"row-{digest.hex()}-{occurrence}"
