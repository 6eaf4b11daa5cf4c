"""Runs as values, and which of them are remembered."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from aiai_async import Image, ImageRequest, ImagesResponse, RateLimitError, Usage
from aiai_async._prices import read_prices
from aiai_async._schemas import Tariff
from aiai_async.studio.runs import Failure, History, Run, describe_error


def make_run(number: int = 1, *, n: int | None = None, tab: str = "tab") -> Run:
    request = ImageRequest(prompt="A kite", n=n)
    return Run(id=f"run-{number}", number=number, tab=tab, request=request, streams=True, now=10.0, began_at=1e9)


def add(run: Run, name: str, partial: int | None, *, now: float = 11.0) -> None:
    run.add(name, partial=partial, media_type="image/png", size_bytes=3, now=now)


def names(run: Run) -> list[list[str]]:
    return [[step.name for step in steps] for steps in run.steps]


def test_pictures_of_several_images_go_where_they_belong() -> None:
    """Each step shows every image before the next comes."""
    run = make_run(n=2)
    for name, partial in (("a0", 0), ("b0", 0), ("a1", 1), ("b1", 1), ("a", None), ("b", None)):
        add(run, name, partial)
    assert names(run) == [["a0", "a1", "a"], ["b0", "b1", "b"]]


def test_more_pictures_than_were_asked_for_are_shown_too() -> None:
    """Some servers send a partial one twice."""
    run = make_run()
    for name, partial in (("0", 0), ("again", 0), ("final", None), ("another", None)):
        add(run, name, partial)
    assert names(run) == [["0", "again", "final", "another"]]


def test_a_run_says_all_that_the_page_shows() -> None:
    """While it is under way, and when it is done."""
    run = make_run()
    add(run, "x", 0, now=12.5)
    plain = run.to_plain(13.0)
    assert (plain["status"], plain["elapsed"], plain["usage"], plain["cost"]) == ("running", 3.0, None, None)
    assert plain["images"][0][0] == {
        "name": "x",
        "partial": 0,
        "elapsed": 2.5,
        "media_type": "image/png",
        "size_bytes": 3,
        "is_dropped": False,
    }
    response = ImagesResponse(
        data=(Image(content=b"x", revised_prompt="A red kite"),),
        usage=Usage(total_tokens=5),
        size="1024x1024",
        tariff=Tariff.of({"model": "m"}, read_prices({"priced_on": dt.date(2026, 1, 2), "m": {"images": 0.5}})),
    )
    run.finish("done", now=14.0, response=response)
    plain = run.to_plain(99.0)
    assert (plain["status"], plain["elapsed"]) == ("done", 4.0)
    assert plain["usage"] == {"total_tokens": 5, "input_tokens": None, "output_tokens": None}
    assert plain["cost"] == {"usd": 0.5, "source": "prices", "priced_on": "2026-01-02"}
    assert plain["settings"] == {"size": "1024x1024"}
    assert plain["revised_prompt"] == "A red kite"
    assert not any(isinstance(value, ImagesResponse) for value in vars(run).values()), "its pictures would pile up"


def test_what_is_kept_no_longer_is_said() -> None:
    """Of a run's own pictures only."""
    run = make_run()
    add(run, "x", None)
    assert not run.forget("y")
    assert run.forget("x")
    assert run.to_plain(11.0)["images"][0][0]["is_dropped"] is True


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (
            RateLimitError("too much", may_have_been_billed=True),
            Failure(
                type="RateLimitError",
                message="429: too much [attempt 1]; it may have been billed",
                may_have_been_billed=True,
            ),
        ),
        (
            ZeroDivisionError("by zero"),
            Failure(
                type="ZeroDivisionError", message="unexpected ZeroDivisionError: by zero", may_have_been_billed=True
            ),
        ),
    ],
    ids=["ours", "foreign"],
)
def test_errors_are_told_in_their_own_words(error: Exception, failure: Failure) -> None:
    """With the name that a program would catch."""
    assert describe_error(error) == failure


def test_the_oldest_runs_that_have_ended_are_forgotten() -> None:
    """What is under way is remembered in any case."""
    history = History(most=2)
    running, *ended = [make_run(number) for number in range(4)]
    forgotten: list[Any] = history.add(running)
    for run in ended:
        run.finish("done", now=11.0)
        forgotten += history.add(run)
    assert forgotten == ended[:2]
    assert list(history) == [running, ended[2]]
    assert history.count == 4
    assert history.get("run-1") is None


def test_the_runs_of_a_tab() -> None:
    """Those under way; the others have nothing that could be cut off."""
    history = History()
    mine, over, other = make_run(1), make_run(2), make_run(3, tab="other")
    over.finish("cut", now=11.0)
    for run in (mine, over, other):
        history.add(run)
    assert history.running("tab") == [mine]
    assert history.running() == [mine, other]
    history.remove(mine)
    assert history.running("tab") == []
