"""The books of a run against a model of what a server bills: the cap is never passed, whatever crashes when.

The journal is a real one; what is random is what is sent when, how it ends, and when the process ends.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from aiai_async import PRICES_DATE, APIConnectionError, BadRequestError, ModelPrices, RateLimitError
from aiai_async.bulk import JobError
from aiai_async.bulk.books import Books
from aiai_async.bulk.items import PAID_STATES, Item, State, keeps_key, money_on, takes_up
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.outcomes import failed, put_back
from aiai_async.bulk.records import Ended, ImageRow, Record, Started

from .test_drafts import make_draft, row

SIZES = ("256x256", "512x512", "1024x1024")
PRICES = {"painter": ModelPrices(images={"256x256": 0.02, "512x512": 0.05, "1024x1024": 0.07})}
STATES = (State.UNFINISHED, *takes_up("all"))
ERRORS: dict[str, Exception] = {
    "failed": BadRequestError("no", status_code=400),
    "failed_for_now": RateLimitError("later", status_code=429),
    "unknown": APIConnectionError("cut", may_have_been_billed=True),
}


@attrs.define
class InFlight:
    """A request that was sent."""

    item: Item
    key: str
    earlier: Record | None


class Ledger(RuleBasedStateMachine):
    """Sends and ends items, crashes, begins anew; a server bills each key once.

    It bills at most what was expected, or up to four times as much. Then it bills the same for all images with the same
    settings, and says so in its answers; what may be paid twice is not asked for again.
    """

    @initialize(
        cap=st.floats(0, 0.8),
        dearness=st.none() | st.fixed_dictionaries({size: st.floats(0, 4) for size in (*SIZES, None)}),
        rows=st.lists(
            st.tuples(st.sampled_from([*SIZES, None]), st.integers(1, 3)),
            min_size=1,
            max_size=9,
        ),
    )
    def begin(self, cap: float, dearness: dict[str | None, float] | None, rows: list[tuple[str | None, int]]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "job.sqlite"
        sizes = [{} if size is None else {"size": size} for size, _ in rows]
        lines = [row(line, f"p{line}", n=n, **sizes[line - 1]) for line, (_, n) in enumerate(rows, 1)]
        make_draft(self.path, lines, model="painter")
        self.cap = cap
        self.bills: dict[str, float] = {}
        """What the server billed, by key: a request that comes twice under one key is billed once."""
        self.keys = 0
        self.run = 0
        self.dearness = dearness
        self.states = STATES if dearness is None else (State.UNFINISHED, *takes_up(None))
        self.allowed = 0.0
        """What single items were let go for though they could pass the cap: one has to be, to learn what it costs."""
        self.open()

    def open(self) -> None:
        self.journal = Journal(self.path)
        self.journal._connection.execute("PRAGMA synchronous = OFF")
        self.run += 1
        self.in_flight: list[InFlight] = []
        self.places: list[Item] = []
        self.books = Books(self.journal, PRICES, max_images=None, max_cost=self.cap)
        self.books.open(self.states)

    def teardown(self) -> None:
        if hasattr(self, "journal"):
            self.journal.close()
            shutil.rmtree(self.folder)

    @rule(place=st.integers(0, 5))
    def take_a_place(self, place: int) -> None:
        """As the runner does it: what this run did not take up yet, if there is room."""
        found = self.journal.page(self.states, after=-1, run=self.run, limit=10)
        held = {item.index for item in self.places}
        free = [item for item in found if item.index not in held]
        if free:
            item = free[place % len(free)]
            counts, used = self.books._counts, self.books.used.usd
            untold, is_alone = counts.untold_usd, not counts._untold_flying
            if self.books.take(item):
                self.places.append(item)
                if counts.untold_usd > untold and 4 * counts.untold_usd > self.cap - (used - untold) + 1e-9:
                    assert is_alone
                    self.allowed += 3 * counts.flying[item.index].usd

    @precondition(lambda self: self.places)
    @rule(is_sent=st.booleans())
    def leave_the_place(self, is_sent: bool) -> None:
        """The key is in the journal before anything is sent."""
        item = self.places.pop(0)
        if not is_sent:
            self.books.give_back(item)
            return
        is_same = keeps_key(item.state) and item.key is not None
        self.keys += not is_same
        key = item.key if is_same and item.key is not None else f"key {self.keys}"
        earlier = None if item.state in (State.PENDING, State.UNFINISHED) else self.journal.record_of(item.index)
        sent = self.books.send(item, is_same=is_same)
        started = Started(
            index=item.index,
            key=key,
            run=self.run,
            spent=sent.spent,
            at=1.0,
            estimate=sent.estimate,
            spent_cost=sent.spent_cost,
        )
        self.journal.apply([started], run=self.run)
        self.in_flight.append(InFlight(sent, key, earlier))

    @precondition(lambda self: self.in_flight)
    @rule(
        place=st.integers(0, 5),
        share=st.floats(0, 1),
        says_cost=st.booleans(),
        ending=st.sampled_from(["done", "linked", "failed", "failed_for_now", "unknown", "put back", "crash"]),
    )
    def end(self, place: int, share: float, says_cost: bool, ending: str) -> None:
        """A request ends; or the process does, while it is under way."""
        flight = self.in_flight.pop(place % len(self.in_flight))
        item = flight.item
        assert item.estimate is not None
        if ending in ("done", "linked", "unknown", "crash"):
            self.bills.setdefault(flight.key, self.bill(item, share))
        if ending == "crash":
            self.crash()
            return
        if ending == "put back":
            if item.state is State.UNFINISHED:
                return
            change = put_back(item, flight.earlier, at=2.0)
        elif ending in ("done", "linked"):
            rows = tuple(
                ImageRow(k=k, url="http://x") if ending == "linked" else ImageRow(k=k, name=f"{item.index}-{k}")
                for k in range(item.n)
            )
            change = Ended(
                index=item.index,
                state=State.LINKED if ending == "linked" else State.DONE,
                at=2.0,
                images=item.n,
                rows=rows,
                is_answer=True,
                cost=self.bills[flight.key] if says_cost or self.dearness else None,
                cost_source="prices" if says_cost or self.dearness else None,
            )
        else:
            change = failed(item, ERRORS[ending], run=self.run, at=2.0, elapsed=1.0)
            if item.state is State.UNFINISHED and change.state is State.FAILED:
                # What an earlier attempt was billed is never told.
                self.allowed += 3 * item.estimate
        self.journal.apply([change])
        self.books.settle(item, change, before=State.UNFINISHED, is_put_back=ending == "put back")

    def bill(self, item: Item, share: float) -> float:
        """What the server bills for an item."""
        assert item.estimate is not None
        if self.dearness is None:
            return share * item.estimate
        size = item.request.get("size")
        assert size is None or isinstance(size, str)
        return self.dearness[size] * PRICES["painter"].images["", size or SIZES[-1]] * item.n

    @rule()
    def crash(self) -> None:
        """What is in flight may have been billed; what only had its place was not sent."""
        self.journal._connection.close()
        self.open()

    @invariant()
    def the_cap_is_never_passed(self) -> None:
        if hasattr(self, "journal"):
            assert sum(self.bills.values()) <= self.cap + (self.allowed if self.dearness else 0.0) + 1e-9

    @invariant()
    def the_ledger_is_the_sum_of_the_items(self) -> None:
        """And of what has its place and is not sent yet."""
        if not hasattr(self, "journal"):
            return
        items = [record.item for record in self.journal.records()]
        total = sum(
            money_on(item.state, cost=item.cost, estimate=item.estimate, spent_cost=item.spent_cost) for item in items
        )
        assert self.journal.count_spent_cost() == pytest.approx(total)
        # Under the cap what may have been billed counts at what such images are known to cost by now.
        counted = self.books._counted_estimate
        total = sum(
            money_on(item.state, cost=item.cost, estimate=counted(item), spent_cost=item.spent_cost) for item in items
        )
        waiting = sum(
            self.books._counts.flying[item.index].usd
            - ((counted(item) or 0.0) if item.state is State.UNFINISHED else 0.0)
            for item in self.places
        )
        assert self.books.used.usd == pytest.approx(total + waiting)
        images = sum(self.books._taken[item.index].charge.images for item in self.places)
        assert self.books.used.images == self.journal.count_spent() + images
        known = self.journal.cost()
        assert known.usd == pytest.approx(sum((item.cost or 0.0) + item.earlier_cost for item in items))
        assert known.unknown == sum(item.state in (State.DONE, State.LINKED) and item.cost is None for item in items)
        assert all(item.cost is None or item.state in PAID_STATES for item in items)


Ledger.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestLedger = Ledger.TestCase


def open_books(path: Path, **limits: Any) -> tuple[Journal, Books]:
    """The books of a job, as a run opens them."""
    journal = Journal(path)
    books = Books(journal, limits.pop("prices", PRICES), **{"max_images": None, "max_cost": None, **limits})
    books.open(STATES)
    return journal, books


def send(journal: Journal, books: Books, item: Item) -> Item:
    """An item on its way."""
    assert books.take(item)
    sent = books.send(item, is_same=False)
    change = Started(index=item.index, key="k", run=1, spent=0, at=1.0, estimate=sent.estimate)
    journal.apply([change], run=1)
    return sent


def answer(journal: Journal, books: Books, item: Item, cost: float | None) -> None:
    """It is answered."""
    change = Ended(index=item.index, state=State.DONE, at=2.0, images=item.n, is_answer=True, cost=cost)
    journal.apply([change])
    books.settle(item, change, before=State.UNFINISHED, is_put_back=False)


def test_what_costs_more_than_expected_is_expected_to_cost_as_much_from_then_on(tmp_path: Path) -> None:
    """Also after the process ended; requests with other settings are not concerned."""
    lines = [row(1, "a", size="256x256"), row(2, "b", size="256x256"), row(3, "c", size="256x256", n=2)]
    make_draft(tmp_path / "job.sqlite", [*lines, row(4, "d", size="512x512")], model="painter")
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.25)
    first, second, third, fourth = journal.page([State.PENDING], after=-1, run=1, limit=9)
    answer(journal, books, send(journal, books, first), cost=0.1)
    assert books.used.usd == 0.1
    assert books.take(fourth) and books.used.usd == pytest.approx(0.15)
    books.give_back(fourth)
    assert books.take(second) and books.used.usd == pytest.approx(0.2)
    books.give_back(second)
    assert not books.take(third)
    exhausted, words = books.explain(third)
    assert exhausted == "max_cost"
    assert words == (
        "the budget of $0.25 leaves no room for the next item, which may cost up to $0.20 with quality left to the "
        "model; $0.10 are spent or may be"
    )
    journal.close()
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.25)
    assert books.take(second) and books.used.usd == pytest.approx(0.2)
    assert not books.take(fourth) or books.used.usd == pytest.approx(0.25)
    journal.close()


def test_what_is_in_flight_counts_as_dear_as_its_like_at_once(tmp_path: Path) -> None:
    """Also what may have been billed before, in this process and in the next one."""
    sizes = ["256x256", "512x512", "256x256", "256x256", "256x256"]
    lines = [row(line, f"p{line}", size=size) for line, size in enumerate(sizes, 1)]
    make_draft(tmp_path / "job.sqlite", lines, model="painter")
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=1)
    first, other, flying, unknown, placed = journal.page([State.PENDING], after=-1, run=1, limit=9)
    sent = send(journal, books, first)
    send(journal, books, other)
    send(journal, books, flying)
    lost = send(journal, books, unknown)
    change = failed(lost, ERRORS["unknown"], run=1, at=2.0, elapsed=1.0)
    journal.apply([change])
    books.settle(lost, change, before=State.UNFINISHED, is_put_back=False)
    assert books.take(placed)
    assert books.used.usd == pytest.approx(4 * 0.02 + 0.05)
    answer(journal, books, sent, cost=0.1)
    assert books.used.usd == pytest.approx(4 * 0.1 + 0.05)
    assert books.send(placed, is_same=False).estimate == pytest.approx(0.1)
    journal.close()
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=1)
    assert books.used.usd == pytest.approx(3 * 0.1 + 0.05)
    (again,) = [item for item in journal.page([State.UNFINISHED], after=-1, run=9, limit=9) if item.index == 2]
    assert books.take(again) and books.used.usd == pytest.approx(3 * 0.1 + 0.05)
    assert books.send(again, is_same=True).estimate == pytest.approx(0.1)
    journal.close()


def test_little_is_risked_until_the_first_answer(tmp_path: Path) -> None:
    """A quarter of what is left; one item goes in any case, and it is said what the others wait for."""
    make_draft(
        tmp_path / "job.sqlite", [row(line, f"p{line}", size="256x256") for line in range(1, 9)], model="painter"
    )
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.16)
    items = journal.page([State.PENDING], after=-1, run=1, limit=9)
    assert [books.take(item) for item in items[:3]] == [True, True, False]
    assert (
        books.describe_hold(items[2])
        == "until one has told what it costs, no more than a quarter of the budget's rest is risked"
    )
    sent = books.send(items[0], is_same=False)
    answer(journal, books, sent, cost=0.02)
    assert [books.take(item) for item in items[2:]] == [True] * 6
    journal.close()
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.07)
    assert books.take(items[1]) and books.take(items[2]) and not books.take(items[3])
    journal.close()


def test_an_answer_that_says_nothing_counts_at_its_estimate(tmp_path: Path) -> None:
    """For the cap; what is shown says that it isn't known."""
    make_draft(tmp_path / "job.sqlite", [row(1, "a", size="256x256")], model="painter")
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.05)
    (item,) = journal.page([State.PENDING], after=-1, run=1, limit=9)
    assert books.spending is not None and books.spending.shown == 0.0
    answer(journal, books, send(journal, books, item), cost=None)
    assert books.used.usd == pytest.approx(0.02)
    assert (books.spending.shown, books.spending.unknown, journal.cost()) == (None, 1, (0.0, 1))
    journal.close()
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.05)
    assert books.used.usd == pytest.approx(0.02)
    journal.close()


@pytest.mark.parametrize("model", ["flux-pro", None])
def test_a_cap_needs_prices(tmp_path: Path, model: str | None) -> None:
    """Of all that may be sent, and of what was made before."""
    named = {} if model is None else {"model": model}
    make_draft(tmp_path / "job.sqlite", [row(1, "a", **named), row(2, "b", model="dall-e-2", size="256x256")])
    with pytest.raises(JobError) as caught:
        open_books(tmp_path / "job.sqlite", max_cost=5)
    name = "flux-pro" if model else "rows that name no model"
    assert f"max_cost can't be kept: the price of {name} isn't known (1 row); nothing was sent." in str(caught.value)
    journal, books = open_books(tmp_path / "job.sqlite")
    first, _ = journal.page([State.PENDING], after=-1, run=1, limit=9)
    assert books.spending is not None and books.spending.estimate_whole() is None
    answer(journal, books, send(journal, books, first), cost=None)
    assert books.used.usd == 0.0
    journal.close()
    # It is done, and nobody knows what it cost.
    with pytest.raises(JobError, match="isn't known"):
        open_books(tmp_path / "job.sqlite", max_cost=5)
    if model is not None:
        journal, books = open_books(tmp_path / "job.sqlite", max_cost=5, prices={model: ModelPrices(images=0.5)})
        assert books.used.usd == 0.5
        journal.close()


def test_what_is_left_to_the_model_is_said_where_it_makes_items_dear(tmp_path: Path) -> None:
    """So that one sees why a small budget lets nothing go; the budget of images comes first."""
    make_draft(tmp_path / "job.sqlite", [row(1, "a", n=2)], model="gpt-image-1")
    journal, books = open_books(tmp_path / "job.sqlite", max_cost=0.2)
    (item,) = journal.page([State.PENDING], after=-1, run=1, limit=9)
    assert not books.take(item)
    words = (
        f"which may cost up to $0.4992 by prices of {PRICES_DATE} with size and quality left to the model; $0.00 are"
    )
    assert words in books.explain(item)[1]
    journal.close()
    journal, books = open_books(tmp_path / "job.sqlite", max_images=1)
    assert not books.take(item) and books.explain(item) == (
        "max_images",
        "the budget of 1 images leaves no room for the next item, which asks for 2; 0 are spent or may be",
    )
    journal.close()
