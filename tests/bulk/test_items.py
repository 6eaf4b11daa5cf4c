"""The rules of items: classes of errors, what reruns take up, budgets, counts. No loop, no files."""

from __future__ import annotations

import pickle
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async import (
    APIConnectionError,
    APIError,
    APIResponseError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    InternalServerError,
    InvalidRequestError,
    ModerationBlockedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
)
from aiai_async.bulk import BadRow, InputError, JobError
from aiai_async.bulk.budgets import Budget
from aiai_async.bulk.items import (
    Reason,
    State,
    Tally,
    WritingError,
    digest_of,
    exit_code,
    judge,
    keeps_key,
    make_id,
    spent_on,
    takes_up,
)

FAILED, FOR_NOW, UNKNOWN = State.FAILED, State.FAILED_FOR_NOW, State.UNKNOWN


@pytest.mark.parametrize(
    ("error", "state", "stops"),
    [
        (InvalidRequestError(), FAILED, None),
        (BadRequestError(), FAILED, None),
        (ModerationBlockedError(), FAILED, None),
        (NotFoundError(), FAILED, None),
        (PayloadTooLargeError(), FAILED, None),
        (UnprocessableEntityError(), FAILED, None),
        (APIStatusError(status_code=405), FAILED, None),
        (APIStatusError(status_code=501), FAILED, None),
        (APIStatusError(status_code=307), FOR_NOW, None),
        (APIStatusError(status_code=408), FOR_NOW, None),
        (ConflictError(), FOR_NOW, None),
        (RateLimitError(), FOR_NOW, None),
        (InternalServerError(), FOR_NOW, None),
        (APIConnectionError(), FOR_NOW, None),
        (APITimeoutError(phase="connect"), FOR_NOW, None),
        (APIError(), FOR_NOW, None),
        (InternalServerError(status_code=504, may_have_been_billed=True), UNKNOWN, None),
        (BadRequestError(may_have_been_billed=True), UNKNOWN, None),
        (APITimeoutError(may_have_been_billed=True), UNKNOWN, None),
        (APIResponseError(may_have_been_billed=True), UNKNOWN, None),
        (QuotaExceededError(), FOR_NOW, Reason.QUOTA),
        (QuotaExceededError(may_have_been_billed=True), UNKNOWN, Reason.QUOTA),
        (AuthenticationError(), FOR_NOW, Reason.REFUSED_KEY),
        (PermissionDeniedError(), FOR_NOW, Reason.REFUSED_KEY),
        (ConfigurationError(), FOR_NOW, Reason.CONFIGURATION),
        (WritingError(OSError(28, "No space left on device")), UNKNOWN, Reason.DISK),
        (ZeroDivisionError(), UNKNOWN, None),
    ],
    ids=repr,
)
def test_classes_of_errors(error: Exception, state: State, stops: Reason | None) -> None:
    """What may have been billed is unknown whatever it is; the rest is for good or for now."""
    verdict = judge(error)
    assert (verdict.state, verdict.stops) == (state, stops)


def test_what_failed_before_anything_was_sent_is_not_billed() -> None:
    """A foreign error then stops the run; one of ours is what it always is."""
    verdict = judge(ZeroDivisionError(), was_sent=False)
    assert (verdict.state, verdict.stops) == (FOR_NOW, Reason.CONFIGURATION)
    assert judge(InvalidRequestError(), was_sent=False) == judge(InvalidRequestError())


@pytest.mark.parametrize(
    ("retry", "more"), [(None, set()), ("failed", {FAILED}), ("unknown", {UNKNOWN}), ("all", {FAILED, UNKNOWN})]
)
def test_what_a_rerun_takes_up(retry: str | None, more: set[State]) -> None:
    """What is done is never asked for again."""
    found = set(takes_up(retry))  # type: ignore[arg-type] # the parameters are these literals
    assert found == {State.PENDING, FOR_NOW, *more}
    assert State.DONE not in found


def test_only_what_nobody_saw_end_keeps_its_key() -> None:
    """A stored error would come again under the same key."""
    assert [state for state in State if keeps_key(state)] == [State.UNFINISHED]


def counts(**numbers: int) -> Mapping[State, int]:
    """Counts by the names of states."""
    return {State(name): number for name, number in numbers.items()}


@pytest.mark.parametrize(
    ("numbers", "reason", "code"),
    [
        ({"done": 3}, Reason.FINISHED, 0),
        ({"done": 3}, Reason.STOPPED, 0),
        ({}, Reason.FINISHED, 0),
        ({"done": 3, "failed": 1}, Reason.FINISHED, 1),
        ({"unknown": 1}, Reason.FINISHED, 1),
        ({"not_downloaded": 1}, Reason.FINISHED, 1),
        ({"pending": 1}, Reason.DISK, 1),
        ({"pending": 1}, Reason.REFUSED_KEY, 1),
        ({"pending": 1}, Reason.BUDGET, 3),
        ({"pending": 1, "failed": 1}, Reason.QUOTA, 3),
        ({"pending": 1}, Reason.STOPPED, 130),
        ({"unfinished": 1}, Reason.ABORTED, 130),
    ],
    ids=str,
)
def test_exit_codes(numbers: dict[str, int], reason: Reason, code: int) -> None:
    """0 all done, 1 some are not, 3 a budget or quota, 130 interrupted."""
    assert exit_code(counts(**numbers), reason) == code


outcomes = st.sampled_from([State.DONE, FAILED, FOR_NOW, UNKNOWN])


@given(
    limit=st.integers(0, 30), plan=st.lists(st.tuples(st.integers(1, 10), outcomes, st.integers(1, 10))), data=st.data()
)
def test_a_budget_is_never_passed(limit: int, plan: list[tuple[int, State, int]], data: st.DataObject) -> None:
    """However items end and in whatever order, what may have been paid for stays within it."""
    budget = Budget(limit)
    flying: list[tuple[int, State, int]] = []
    paid = 0
    for n, outcome, images in plan:
        if budget.take(n):
            flying.append((n, outcome, min(n, images)))
        while flying and data.draw(st.booleans()):
            n, outcome, images = flying.pop(data.draw(st.integers(0, len(flying) - 1)))
            used = spent_on(outcome, n=n, images=images if outcome is State.DONE else 0, spent=0)
            paid += used
            budget.settle(taken=n, used=used)
        assert paid + sum(n for n, _, _ in flying) == budget.used <= limit


def test_no_budget() -> None:
    """Nothing is counted against nothing; taking nothing is always possible."""
    assert Budget(None, spent=5).take(1000)
    assert Budget(0).take(0) and not Budget(0).take(1)


@pytest.mark.parametrize(
    ("state", "images", "expected"),
    [
        (State.PENDING, 0, 2),
        (State.UNFINISHED, 0, 6),
        (State.LINKED, 3, 5),
        (State.DONE, 3, 5),
        (FAILED, 0, 2),
        (FOR_NOW, 0, 2),
        (UNKNOWN, 0, 6),
        (UNKNOWN, 3, 5),
    ],
    ids=str,
)
def test_what_an_item_may_have_cost(state: State, images: int, expected: int) -> None:
    """Two under an earlier key, and four were asked for now."""
    assert spent_on(state, n=4, images=images, spent=2) == expected


def test_tally() -> None:
    """Items move, images are counted where they are done."""
    tally = Tally({State.PENDING: 3}, images=1)
    tally.move(State.PENDING, State.UNFINISHED)
    tally.move(State.UNFINISHED, State.LINKED, images=2)
    assert (tally.images, tally.total) == (1, 3)
    tally.move(State.LINKED, State.DONE, images=2)
    assert (tally.images, tally[State.DONE], tally.count([State.PENDING, State.DONE])) == (3, 1, 3)


rows = st.dictionaries(st.text(max_size=5), st.one_of(st.text(max_size=5), st.integers()), max_size=4)


@given(one=rows, other=rows)
def test_digests(one: dict[str, object], other: dict[str, object]) -> None:
    """Equal rows have equal digests, in whatever order; others have others."""
    assert (digest_of(one) == digest_of(other)) == (one == other)
    assert digest_of(one) == digest_of(dict(reversed(one.items())))
    assert make_id(digest_of(one), 1) != make_id(digest_of(one), 2)


def test_errors_pickle() -> None:
    """With their facts."""
    error = InputError("rows.csv", (BadRow(3, "odd"),), 7)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.bad_rows, copy.count) == (str(error), error.bad_rows, 7)
    assert str(error) == "rows.csv can't be used: line 3: odd (and 6 more); nothing was sent"
    assert str(InputError()) == "the input can't be used; nothing was sent"
    assert str(pickle.loads(pickle.dumps(JobError("no")))) == "no"
