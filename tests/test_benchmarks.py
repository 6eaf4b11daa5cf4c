"""The arithmetic of `benchmarks/performance.py`, its tables of data, and each of its loads once, as short as can be."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.speed import documents
from benchmarks.speed.answers import expect, make_image, name_image, name_stream, write_answer
from benchmarks.speed.clients import KINDS, OURS, PEER, REFERENCE
from benchmarks.speed.growth import CURVES, Growth
from benchmarks.speed.meters import Checker
from benchmarks.speed.rounds import Bench, Result, choose_clients, run_server
from benchmarks.speed.scenarios import BOUNDS, MEASURES, SCENARIOS, Bound, Scenario
from benchmarks.speed.tables import judge, write_number, write_result

SCENARIO = Scenario(name="some", title="Some", load="answers", measures=("cpu_us", "requests_per_s"))


def result_of(**values: list[float]) -> Result:
    """Make a result with one measure, by client."""
    rounds = [
        {name: {"cpu_us": value} for name, value in zip(values, each, strict=True) if not math.isnan(value)}
        for each in zip(*values.values(), strict=True)
    ]
    return Result(scenario=SCENARIO, rounds=rounds, failures={})


def test_ratios_are_taken_within_each_round() -> None:
    """A round in which the machine was slow for both leaves the ratio as it is."""
    result = result_of(aiai=[10, 300, 12], raw_aiohttp_orjson=[10, 100, 6])
    assert result.median("aiai", "cpu_us") == 12
    assert result.ratio("aiai", "raw_aiohttp_orjson", "cpu_us") == 2


def test_rounds_without_one_of_both_are_left_out() -> None:
    """Who is not measured in each round is compared in those in which it was; without any there is no ratio."""
    result = result_of(aiai=[10, 20, 90], litellm=[20, math.nan, 30])
    assert result.ratio("aiai", "litellm", "cpu_us") == pytest.approx((0.5 + 3) / 2)
    assert result.ratio("aiai", "openai", "cpu_us") is None
    assert result.median("openai", "cpu_us") is None


@pytest.mark.parametrize(
    ("bound", "found", "is_met"),
    [
        (Bound(scenario="some", measure="cpu_us", reference=0.5), 0.5, True),
        (Bound(scenario="some", measure="cpu_us", reference=0.49), 0.5, False),
        (Bound(scenario="some", measure="cpu_us", value=10), 10, True),
        (Bound(scenario="some", measure="cpu_us", value=9), 10, False),
        (Bound(scenario="some", measure="cpu_us", peer=9), None, None),
        (Bound(scenario="some", measure="requests_per_s", reference=0.5), None, None),
    ],
)
def test_bounds(bound: Bound, found: float | None, is_met: bool | None) -> None:
    """A bound is a most; what was not measured is neither met nor missed."""
    (finding,) = judge([result_of(aiai=[10], raw_aiohttp_orjson=[20])], [bound])
    assert (finding.found, finding.is_met) == (found, is_met)


def test_a_bound_is_a_least_where_more_is_better() -> None:
    """Ten times as many requests, not a tenth."""
    rounds = [{OURS: {"requests_per_s": 100.0}, PEER: {"requests_per_s": 10.0}}]
    result = Result(scenario=SCENARIO, rounds=rounds, failures={})
    for least, is_met in ((10, True), (11, False)):
        (finding,) = judge([result], [Bound(scenario="some", measure="requests_per_s", peer=least)])
        assert finding.is_met is is_met


def test_bounds_of_scenarios_that_were_not_run_are_left_out() -> None:
    """`--only` judges what it measures."""
    assert judge([], BOUNDS) == []


def test_the_tables_of_data_fit_each_other() -> None:
    """Each bound speaks of a scenario that measures it, with those it is compared with, and all names are known."""
    by_name = {scenario.name: scenario for scenario in SCENARIOS}
    assert len(by_name) == len(SCENARIOS)
    for scenario in SCENARIOS:
        assert set(scenario.measures) <= set(MEASURES)
        assert {*scenario.clients, *scenario.once} <= set(KINDS)
    for bound in BOUNDS:
        scenario = by_name[bound.scenario]
        assert bound.measure in scenario.measures
        needed = {OURS, *([REFERENCE] if bound.reference is not None else []), *([PEER] if bound.peer else [])}
        assert needed <= set(scenario.clients)
    for curve in CURVES:
        assert set(curve.measures) <= set(MEASURES)


def test_each_round_begins_with_another_client() -> None:
    """The slowest is measured once, others in the first and every third round, and those with bounds in each."""
    scenario = Scenario(name="some", title="", load="answers", measures=(), once=("httpx",))
    clients = [OURS, REFERENCE, "httpx", "litellm"]
    assert [choose_clients(scenario, clients, number) for number in range(3)] == [
        [OURS, REFERENCE, "httpx", "litellm"],
        [REFERENCE, OURS],
        ["litellm", OURS, REFERENCE],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0, "0"),
        (0.12345, "0.123"),
        (1.0, "1"),
        (12.345, "12.3"),
        (999.6, "1,000"),
        (1234567.0, "1,234,567"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    """Three digits, thousands in groups."""
    assert write_number(value, 3) == text


def test_a_table_tells_what_failed() -> None:
    """A client that could not be measured has a line that says why."""
    result = Result(scenario=SCENARIO, rounds=[{REFERENCE: {"cpu_us": 4.0}}], failures={"httpx": "OSError: no"})
    assert list(write_result(result)) == [
        "### Some",
        "",
        "| client | CPU µs per request | ÷ ref. | requests/s | ÷ ref. |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| aiohttp + orjson + pybase64 | 4 | 1 | – | – |",
        "| httpx + httpx-sse | failed: OSError: no |",
        "",
    ]


def test_growth_is_a_table_by_line_and_point() -> None:
    """Points in their order, on the scale of the plot."""
    curve = next(curve for curve in CURVES if curve.name == "sizes")
    values = {"aiai_async": {2_000_000: {"cpu_ms_per_mb": 0.5}, 100_000: {"cpu_ms_per_mb": 1.5, "peak_mb": 3.0}}}
    lines = list(documents.write_growth(Growth(curve=curve, values=values, failures={})))
    assert lines[2:] == [
        "|  | MB per image | CPU ms/MB | peak MB |",
        "| --- | ---: | ---: | ---: |",
        "| aiai_async | 0.1 | 1.5 | 3 |",
        "|  | 2 | 0.5 | – |",
        "",
    ]


def test_what_is_made_goes_between_its_marks(tmp_path: Path) -> None:
    """The rest of the text stays; a text without the marks is an error, not overwritten."""
    path = tmp_path / "text.md"
    path.write_text("before\n<!-- made by benchmarks/performance.py: a -->\nold\n<!-- end of a -->\nafter\n")
    documents.insert(path, "a", ["new", ""])
    assert path.read_text() == (
        "before\n<!-- made by benchmarks/performance.py: a -->\n\nnew\n\n<!-- end of a -->\nafter\n"
    )
    with pytest.raises(ValueError, match="no marks for b"):
        documents.insert(path, "b", [])


def test_the_documentation_has_the_marks() -> None:
    """What `make bench` writes has its place."""
    folder = Path(__file__).parent.parent
    marks = [("README.md", "results"), ("docs/performance.md", "results")]
    marks += [("docs/performance.md", f"growth-{curve.name}") for curve in CURVES]
    for name, mark in marks:
        text = (folder / name).read_text(encoding="utf-8")
        assert f"<!-- made by benchmarks/performance.py: {mark} -->" in text
        assert f"<!-- end of {mark} -->" in text


def test_answers_hold_what_is_expected_of_them() -> None:
    """The server's bytes and what clients' images are compared with come from one name."""
    head, _, body = write_answer(name_image(5000)).partition(b"\r\n\r\n")
    assert f"content-length: {len(body)}".encode() in head
    assert (base64.b64decode(json.loads(body)["data"][0]["b64_json"]),) == expect(name_image(5000))
    stream = name_stream(3000, 2, 4000)
    lines = write_answer(stream).partition(b"\r\n\r\n")[2].split(b"\n")
    events = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
    assert tuple(base64.b64decode(event["b64_json"]) for event in events) == expect(stream)
    assert [len(image) for image in expect(stream)] == [3000, 3000, 4000]


def test_an_image_that_differs_is_an_error() -> None:
    """One byte is enough, and so is a stream that lacks an image."""
    model = name_image(30_000)
    checker = Checker(model)
    checker.check(model, make_image(30_000))
    with pytest.raises(ValueError, match="is not what was sent"):
        checker.check(model, make_image(30_000)[:-1] + b"?")
    with pytest.raises(ValueError, match="0 images came, not 1"):
        checker.expect_images(model, 0)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Give a driver with a server of its own."""
    with run_server() as port:
        yield Bench(port, seconds=0.0)


@pytest.mark.parametrize("client", [OURS, REFERENCE])
@pytest.mark.parametrize(
    ("load", "arguments", "measures"),
    [
        ("answers", {"size_bytes": 100_000, "at_once": 3}, {"cpu_us", "mb_per_s", "peak_mb", "server_busy"}),
        ("streams", {"model": name_stream(100_000, 3, 200_000)}, {"cpu_ms_per_mb", "first_ms"}),
        ("in_flight", {"count": 5, "latency_ms": 10}, {"cold_above_s", "warm_cpu_us", "peak_kb"}),
        ("saving", {"size_bytes": 100_000, "at_once": 3}, {"peak_mb_per_request", "of_memory"}),
    ],
)
def test_a_load(bench: Bench, client: str, load: str, arguments: dict[str, Any], measures: set[str]) -> None:
    """A process of its own does the work against the real server, checks every byte, and gives its numbers."""
    assert measures <= set(bench.measure_one(load, client, arguments))


@pytest.mark.parametrize(
    ("load", "arguments", "measures"),
    [
        ("holds", {"size_bytes": 300_000, "at_once": 2}, {"hold_ms", "callback_ms"}),
        ("job", {"count": 10}, {"item_cpu_us", "journal_bytes"}),
        ("scheduler", {"count": 10, "waiters": 20}, {"cpu_us", "wake_us"}),
        ("limited", {"kind": "told", "count": 5, "retries": 2}, {"failed", "refused", "makespan"}),
    ],
)
def test_a_load_of_this_package(bench: Bench, load: str, arguments: dict[str, Any], measures: set[str]) -> None:
    """As above, for what is measured of this package alone."""
    assert measures <= set(bench.measure_one(load, OURS, arguments))
