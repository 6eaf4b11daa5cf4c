"""What a job costs: rows appraised one by one and added up, what it has come to, budgets of two kinds."""

from __future__ import annotations

import datetime as dt
import sqlite3
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aiai_async import PRICES_DATE, ModelPrices, estimate_cost
from aiai_async.bulk.budgets import Budget, Budgets, Charge
from aiai_async.bulk.costs import Appraiser, JobCost, Outlay, Spending, format_usd
from aiai_async.bulk.schema import add_up

from .test_drafts import make_draft, row

PRICES = {"painter": ModelPrices(images=0.05, priced_on=dt.date(2026, 1, 2)), "undated": ModelPrices(images=0.01)}

requests = st.fixed_dictionaries(
    {"prompt": st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)},
    optional={
        "model": st.sampled_from(["gpt-image-1", "gpt-image-2", "dall-e-2", "painter", "undated", "flux-pro"]),
        "size": st.just("1024x1024"),
        "n": st.integers(1, 10),
    },
)


@settings(max_examples=40, deadline=None)
@example(
    rows=[{"prompt": "a\x00" + "b" * 1000, "model": "gpt-image-1"}, {"prompt": "a\\u0000b", "model": "gpt-image-1"}]
)
@given(rows=st.lists(requests, min_size=1, max_size=12))
def test_rows_add_up_to_the_sum_of_their_estimates(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    """By the settings that prices depend on, in SQL, as one by one in Python."""
    path = tmp_path_factory.mktemp("job") / "job.sqlite"
    make_draft(path, [row(line, **fields) for line, fields in enumerate(rows, 1)])
    connection = sqlite3.connect(path)
    outlays = add_up(connection)
    connection.close()
    appraiser = Appraiser(PRICES)
    found = appraiser.add_up(outlays)
    estimates = [estimate_cost(fields, prices=PRICES) for fields in rows]
    assert found.usd == pytest.approx(sum(estimate or 0.0 for estimate in estimates))
    assert found.unknown_rows == sum(estimate is None for estimate in estimates)
    unknown = [fields for fields, estimate in zip(rows, estimates, strict=True) if estimate is None]
    assert found.unknown_images == sum(fields.get("n", 1) for fields in unknown)
    assert set(found.unknown_models) == {fields.get("model") for fields in unknown}
    assert found.by_model.keys() == {fields.get("model") for fields in rows}
    for fields, estimate in zip(rows, estimates, strict=True):
        assert appraiser.appraise(fields, n=fields.get("n", 1)) == (
            None if estimate is None else pytest.approx(estimate)
        )
    for model, usd in found.by_model.items():
        if usd is not None:
            same = [
                estimate or 0.0
                for fields, estimate in zip(rows, estimates, strict=True)
                if fields.get("model") == model
            ]
            assert usd == pytest.approx(sum(same))


def outlay(**fields: Any) -> Outlay:
    """Rows of one kind."""
    defaults = {"model": "painter", "size": None, "quality": None, "partial_images": 0, "text_bytes": 0}
    return Outlay(**{**defaults, "rows": 1, "images": 1, **fields})


def test_a_model_with_a_size_that_has_no_price_has_none() -> None:
    """What is known of it still counts in the sum; the dates are those of all prices that were used."""
    found = Appraiser(PRICES).add_up(
        [
            outlay(model="dall-e-2", size="256x256", images=2),
            outlay(model="dall-e-2", size="333x333", rows=3, images=4),
            outlay(model="dall-e-2", size="512x512"),
            outlay(),
            outlay(model="undated"),
            outlay(model=None),
        ]
    )
    assert found.usd == pytest.approx(0.032 + 0.018 + 0.05 + 0.01)
    assert found.by_model == {"dall-e-2": None, "painter": 0.05, "undated": 0.01, None: None}
    assert found.unknown_models == ("dall-e-2", None)
    assert (found.unknown_rows, found.unknown_images) == (4, 5)
    assert found.priced_on == (dt.date(2026, 1, 2), PRICES_DATE)


def test_an_appraiser_learns() -> None:
    """The most that an image with the same settings has cost; also where there is no price at all."""
    appraiser = Appraiser(PRICES)
    request = {"prompt": "a", "model": "painter", "size": "1024x1024"}
    appraiser.learn(request, usd=0.02, images=1)
    assert appraiser.appraise(request, n=2) == 0.1
    appraiser.learn({**request, "prompt": "b"}, usd=0.14, images=2)
    appraiser.learn(request, usd=0.06, images=1)
    assert appraiser.appraise(request, n=3) == pytest.approx(0.21)
    assert appraiser.appraise({**request, "size": "auto"}, n=1) == 0.05
    assert appraiser.price(request, n=1) == 0.05
    assert appraiser.appraise({"prompt": "a", "model": "flux-pro"}, n=1) is None
    appraiser.learn_price(("flux-pro", None, None), 0.3)
    assert appraiser.appraise({"prompt": "a", "model": "flux-pro"}, n=2) == 0.6
    assert appraiser.price({"prompt": "a", "model": "flux-pro"}, n=2) is None


def test_the_whole_is_expected_to_cost_as_much_of_its_estimate_as_what_was_made() -> None:
    """At first all of it; what ends without an answer falls out."""
    spending = Spending(known=1.0, unknown=0, left=JobCost(usd=4.0, by_model={"m": 4.0}))
    assert (spending.shown, spending.estimate_whole()) == (1.0, 5.0)
    spending.note(estimate=1.0, cost=0.5, n=1, images=1)
    assert (spending.shown, spending.estimate_whole()) == (1.5, 3.0)
    spending.note(estimate=1.0, cost=None, n=1, images=0)
    assert spending.estimate_whole() == 2.5
    # An answer whose cost isn't known says nothing of the others.
    spending.note(estimate=1.0, cost=None, n=1, images=1)
    assert (spending.shown, spending.unknown, spending.estimate_whole()) == (1.5, 1, 2.0)


def test_without_prices_the_whole_is_known_once_servers_state_costs() -> None:
    """By the image; before that it isn't known."""
    spending = Spending(
        known=0.0, unknown=0, left=JobCost(usd=0.0, by_model={None: None}, unknown_rows=3, unknown_images=6)
    )
    assert spending.estimate_whole() is None
    spending.note(estimate=None, cost=0.3, n=2, images=2)
    assert spending.estimate_whole() == pytest.approx(0.9)
    spending.note(estimate=None, cost=None, n=2, images=0)
    assert spending.estimate_whole() == pytest.approx(0.6)
    spending.note(estimate=None, cost=0.3, n=2, images=2)
    assert spending.estimate_whole() == pytest.approx(0.6)


def test_nothing_known_is_not_shown_as_0() -> None:
    """Answers came, and nobody knows what they cost."""
    left = JobCost(usd=0.0, by_model={})
    assert Spending(known=0.0, unknown=1, left=left).shown is None
    assert Spending(known=0.5, unknown=1, left=left).shown == 0.5
    assert Spending(known=0.0, unknown=0, left=left).shown == 0.0


def test_both_budgets_or_none() -> None:
    """What has no room in one takes nothing of the other."""
    budgets = Budgets(Budget(3), Budget(0.3))
    assert budgets.take(Charge(2, 0.1))
    assert not budgets.take(Charge(2, 0.1)) and budgets.find_exhausted(Charge(2, 0.1)) == "max_images"
    assert not budgets.take(Charge(1, 0.25)) and budgets.find_exhausted(Charge(1, 0.25)) == "max_cost"
    assert (budgets.images.used, budgets.cost.used) == (2, 0.1)
    assert budgets.find_exhausted(Charge(1, 0.2)) is None
    # An answer that cost more all the same.
    budgets.settle(taken=Charge(2, 0.1), used=Charge(1, 0.5))
    assert (budgets.images.used, budgets.cost.used) == (1, 0.5)
    assert not budgets.take(Charge(1, 0.001)) and budgets.take(Charge(1, 0.0))


def test_a_budget_takes_what_fits_exactly() -> None:
    """Though a sum of floats is a little more."""
    budget = Budget(0.3)
    assert all(budget.take(0.1) for _ in range(3))
    assert not budget.take(0.0001)


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0, "$0.00"),
        (1, "$1.00"),
        (1234.567, "$1,234.57"),
        (0.25, "$0.25"),
        (0.5, "$0.50"),
        (0.99999, "$1.00"),
        (0.0421, "$0.0421"),
        (0.00012, "$0.00012"),
        (0.00005, "$0.00005"),
        (0.0000012, "$0.0000012"),
    ],
)
def test_amounts_are_written_as_people_read_them(usd: float, text: str) -> None:
    """Small ones so that they can be told apart."""
    assert format_usd(usd) == text
