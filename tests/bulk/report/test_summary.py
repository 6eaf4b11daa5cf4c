"""Figures in words: where a job stands, how a run ended, what is known of limits and of money."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aiai_async.bulk.items import Reason, State
from aiai_async.bulk.records import KnownCost, RunRow
from aiai_async.bulk.report import words
from aiai_async.bulk.report.page import Rows, render
from aiai_async.bulk.report.summary import Summary, describe_end, find_limit, to_limits


def make_summary(**changes: Any) -> Summary:
    """A job of ten items, of which four are done."""
    facts: dict[str, Any] = {
        "name": "job",
        "made_at": 1e9,
        "is_under_way": False,
        "counts": {State.DONE: 4, State.PENDING: 6},
        "images": 4,
        "size_bytes": 10,
        "cost": KnownCost(usd=0.16, unknown=0),
        "more_cost": 0.0,
        "runs": (),
        "limits": (),
        "running_time": 60.0,
    }
    return Summary(**{**facts, **changes})


def read_text(summary: Summary) -> str:
    """What the page says."""
    page = render(summary, (), (), Rows(), nonce="n").partition("<main>")[2].partition('id="images"')[0]
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", page))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_words(reason: Reason) -> None:
    """That follow "the last run"."""
    run = RunRow(run=1, ended_at=1.0, reason=reason.value)
    assert describe_end(run, is_under_way=False).startswith(("took", "was "))


def test_where_a_job_stands() -> None:
    """Done, under way, cut off, or of an earlier version that told nothing."""
    assert make_summary().describe_state() == "Not finished: 4 of 10 items done."
    assert make_summary(counts={State.DONE: 1}).describe_state() == "Finished: 1 of 1 item done."
    assert make_summary(is_under_way=True).describe_state() == "Under way: 4 of 10 items done when this page was made."
    runs = [RunRow(run=1, ended_at=1.0, reason="later"), RunRow(run=2)]
    assert make_summary(runs=runs).describe_state().endswith("The last run was cut off, for instance by a crash.")
    assert describe_end(runs[0], is_under_way=False) == "ended: later"
    assert describe_end(RunRow(run=1, ended_at=1.0), is_under_way=False) == "ended"


def test_limits() -> None:
    """One without a number is none; those of images add up, those of requests at once are no rate."""
    found = to_limits(
        {
            "images m": {"limit": 5, "window": 60, "source": "headers"},
            "images n": {"limit": 2.5, "window": 30.0},
            "images at once": {"limit": 3, "window": None},
            "requests": {"limit": 500, "window": 60},
            "odd": {"limit": True},
            "unknown": {},
        }
    )
    assert [limit.name for limit in found] == ["images m", "images n", "images at once", "requests"]
    assert find_limit(found) == 10.0 and find_limit([]) is None
    text = read_text(make_summary(limits=found, runs=[RunRow(run=1)]))
    assert "images at once 3 at once –" in text and "images; the limit is 10/min, 40 % of it used" in text


def test_limits_of_models_whose_names_speak_of_images() -> None:
    """Are of what their own names say; of two windows of a model the narrower holds."""
    facts: list[dict[str, Any]] = [
        {"name": "requests", "model": "gpt-image-1", "limit": 500, "window": 60},
        {"name": "tokens", "model": "gpt-image-1", "limit": 100_000, "window": 60},
        {"name": "concurrency", "model": "gpt-image-1", "limit": 16, "window": None},
    ]
    found = to_limits({f"{each['name']} {each['model']}": each for each in facts})
    assert find_limit(found) is None
    text = read_text(make_summary(limits=found, runs=[RunRow(run=1)]))
    assert "images; no limit of images is known" in text and "requests gpt-image-1 500 in 1 min 00 s" in text
    facts += [
        {"name": "images", "model": "gpt-image-1", "limit": 20, "window": 60},
        {"name": "images-per-day", "model": "gpt-image-1", "limit": 14_400, "window": 86_400},
        {"name": "images", "model": "gpt-image-2", "limit": 5, "window": 60},
    ]
    assert find_limit(to_limits({f"{each['name']} {each['model']}": each for each in facts})) == 15.0


def test_money() -> None:
    """What isn't known is never 0, and an estimate has the date of its prices."""
    assert "Cost $0.16 of all answers, in US dollars" in read_text(make_summary())
    unknown = read_text(make_summary(cost=KnownCost(usd=0.0, unknown=4)))
    assert "Cost not known of 4 items it isn&#x27;t known" in unknown
    more = read_text(make_summary(more_cost=0.5, priced_on=("2025-12-24", "2026-10-01")))
    words = "Cost $0.16 at most $0.66 with what else may have been billed, by prices"
    assert f"{words} of 2025-12-24, 2026-10-01 Throughput" in more
    assert f"{words} Throughput" in read_text(make_summary(more_cost=0.5))
    text = read_text(make_summary(unpriced=2))
    assert "Cost $0.16 2 items more may have been billed, nobody knows how much" in text


def test_what_is_not_known() -> None:
    """Is said to be not known."""
    text = read_text(make_summary(images=0, running_time=0.0))
    assert "Throughput not known images; no limit of images is known" in text and "Refused with 429 not known" in text


def test_many_runs() -> None:
    """The last ones are shown."""
    runs = [RunRow(run=number, started_at=1e9 + number, ended_at=1e9 + number + 0.5) for number in range(1, 101)]
    text = read_text(make_summary(runs=runs))
    assert "The last 30 of 100." in text and "in 100 runs" in text


def test_times() -> None:
    """Of any length; one that no calendar has is a number."""
    assert [words.seconds(value) for value in (0, 59.4, 59.6, 3600, 172800)] == [
        "0 ms",
        "59 s",
        "1 min 00 s",
        "1 h 00 min",
        "2 d 0 h",
    ]
    assert words.moment(1e300) == "<span>1e+300</span>"
    assert words.share(0, 0) == "0 %"
