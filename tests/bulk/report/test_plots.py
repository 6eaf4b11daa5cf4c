"""Pictures that are well-formed, stay within their frame, and say in words what they show."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiai_async.bulk.report import plots
from aiai_async.bulk.report.history import Bins, History, Series
from aiai_async.bulk.report.plots import HEIGHT, WIDTH, Line, Plot, choose_ticks, draw, make_legend, plots_of
from aiai_async.bulk.report.timeline import Timeline

SVG = "{http://www.w3.org/2000/svg}"


def parse(markup: str) -> ET.Element:
    """Read a picture as XML."""
    return ET.fromstring(markup.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def make_history() -> History:
    """A job of two runs, of a minute each."""
    history = History(Timeline(((0.0, 60.0), (500.0, 560.0))))
    for second in range(50):
        for begin in (0, 500):
            history.add(at=begin + second + 8.0, sent_at=begin + second, latency=8.0, images=2, cost=0.25)
    return history


def make_plot(values: tuple[float | None, ...], **more: object) -> Plot:
    """A picture of these values."""
    bins = Bins(1.0, len(values), float(len(values)))
    line = Line(name="v", series=Series(bins, values), style="a", kind=str(more.pop("kind", "step")))
    facts: dict[str, object] = {"name": "p", "title": "T", "unit": "u", "summary": "s", "lines": (line,), **more}
    facts = {"show": lambda value: f"{value:g}", "show_tick": lambda value: f"{value:g}", **facts}
    return Plot(duration=bins.duration, **facts)  # type: ignore[arg-type] # a test's


def test_all_pictures_of_a_job() -> None:
    """Each with title, description, labelled axes, and a mark where the second run began."""
    plots = plots_of(make_history(), limit=250.0, unknown_costs=3)
    assert [plot.name for plot in plots] == ["rate", "flight", "latency", "cost"]
    for plot in plots:
        picture = parse(draw(plot))
        assert picture.get("role") == "img"
        assert picture.get("aria-labelledby") == f"{plot.name}-title {plot.name}-desc"
        assert picture.findtext(f"{SVG}title") == f"{plot.title} over time"
        assert picture.findtext(f"{SVG}desc") == plot.summary
        texts = [text.text for text in picture.iter(f"{SVG}text")]
        assert plot.unit in texts and "time that the job ran (min)" in texts and "0" in texts
        assert len(picture.findall(f"{SVG}line[@class='joint']")) == 1
    rate, flight, latency, cost = plots
    assert rate.summary == "At most 120 images per minute, 8.0 s into the job. The limit is 250 per minute."
    assert len(parse(draw(rate)).findall(f"{SVG}line[@class='level']")) == 1
    assert (
        flight.summary
        == "At most 8.0 items in flight, 8.0 s into the job. Each value is the mean over its part of the time."
    )
    assert latency.summary.endswith("50 % within 8.0 s, 90 % within 8.0 s, 99 % within 8.0 s.")
    assert cost.summary == "It grew to $25.00, as far as it is known. Of 3 items it isn't known."
    legend = make_legend(latency)
    assert legend is not None and re.findall("</svg>(p[0-9]+)<", legend) == ["p50", "p90", "p99"]
    assert make_legend(cost) is None


def test_what_is_not_known_is_not_drawn() -> None:
    """Neither a limit nor latencies nor cost."""
    history = History(Timeline(((0.0, 60.0),)))
    rate, flight = plots_of(history, limit=None, unknown_costs=0)
    assert rate.summary == "There was nothing to show." and "level" not in draw(rate)
    assert flight.name == "flight"


@given(
    values=st.lists(st.one_of(st.none(), st.floats(0, 1e9)), min_size=1, max_size=90),
    kind=st.sampled_from(["step", "area", "line"]),
    level=st.one_of(st.none(), st.floats(0.001, 1e9)),
)
def test_everything_is_within_the_frame(values: list[float | None], kind: str, level: float | None) -> None:
    """Whatever the values are."""
    plot = make_plot(tuple(values), kind=kind, level=None if level is None else ("limit", level))
    picture = parse(draw(plot))
    for path in picture.iter(f"{SVG}path"):
        for x, y in re.findall(r"([-0-9.e+]+) ([-0-9.e+]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT
    for line in picture.iter(f"{SVG}line"):
        assert all(-1 <= float(line.get(name, "0")) <= HEIGHT + 1 for name in ("y1", "y2"))


def test_a_gap_stays_one() -> None:
    """Two pieces, and no line between them; a line that begins later doesn't come from 0."""
    assert draw(make_plot((1.0, None, 2.0))).count("<path") == 2
    assert draw(make_plot((1.0, None, 2.0), kind="area")).count("<path") == 4
    assert draw(make_plot((None, 2.0), kind="line")).count("L") == 0


@given(highest=st.floats(1e-6, 1e12))
def test_ticks(highest: float) -> None:
    """Few, even, from 0 to the highest value or just above it."""
    ticks = choose_ticks(highest)
    assert 2 <= len(ticks) <= 6 and ticks[0] == 0 and ticks[-1] >= highest * (1 - 1e-6) and ticks[-2] < highest
    assert ticks[1] == pytest.approx(ticks[-1] / (len(ticks) - 1))


def test_many_runs_are_not_marked() -> None:
    """They would be a grey wall."""
    assert "joint" not in draw(make_plot((1.0,), joints=tuple(range(100))))


@pytest.mark.parametrize(("duration", "unit"), [(30.0, "s"), (600.0, "min"), (90_000.0, "h")])
def test_the_unit_of_time(duration: float, unit: str) -> None:
    """Is one in which numbers are small."""
    assert f"({unit})" in draw(plots_of(History(Timeline(((0.0, duration),))), limit=None, unknown_costs=0)[0])


@pytest.mark.parametrize("highest", [0.00002, 0.3, 7.0, 480.0, 12_345.0, 999_999.0, 4.5e7])
def test_numbers_beside_the_axis_have_room(highest: float) -> None:
    """Of any size, in images and in dollars: short ones, and the drawing begins behind them."""
    for show_tick in (plots._show_tick, plots._show_usd_tick):
        drawing = draw(make_plot((highest,), show_tick=show_tick))
        labels = re.findall(r'<text x="([0-9.]+)" y="[0-9.]+" text-anchor="end">([^<]*)</text>', drawing)
        labels = labels[: len(choose_ticks(highest))]
        assert len(labels) >= 3 and all(len(text) <= 10 for _, text in labels), labels
        # 6.2 of the 11 pixels of the font are the widest of its digits.
        assert all(float(x) - 6.2 * len(text) >= 0 for x, text in labels), labels
