"""Plots over time as SVG, drawn here and nowhere else: axes with units, words for who doesn't see them. Pure.

Colours are classes of the page's style sheet, so that the same drawing is legible in light and dark; lines differ in
their dashes too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from aiai_async.bulk.report import words
from aiai_async.bulk.report.history import PERCENTILES, History, Series, peak
from aiai_async.bulk.report.markup import Markup, tag

WIDTH: Final = 400
HEIGHT: Final = 204
# Around the drawing: room for the numbers at the left, at least, the unit above, the numbers of the time below.
_LEFT: Final = 46
# A digit of the drawing's font, 11 px high, is about 6.2 px wide in the widest fonts in use.
_DIGIT: Final = 6.6
_RIGHT: Final = 10
_TOP: Final = 24
_BOTTOM: Final = 34
_TICKS: Final = 4
# Lines of runs would be a grey wall.
_MOST_JOINTS: Final = 25
# Below a billionth is nothing of what is drawn here.
_SMALLEST: Final = 1e-9


@attrs.frozen(kw_only=True)
class Line:
    """Something that changes over time."""

    name: str
    series: Series
    style: str
    """Class of the style sheet: a, b or c."""
    kind: str = "step"
    """step: a value holds for its whole bin; area: the same, filled; line: it holds at the bin's end, from 0."""


@attrs.frozen(kw_only=True)
class Plot:
    """What one picture shows."""

    name: str
    """Makes its ids, unique on the page."""
    title: str
    unit: str
    """Of the upright axis."""
    summary: str
    """The same in a sentence."""
    lines: tuple[Line, ...]
    duration: float
    """Seconds."""
    joints: tuple[float, ...] = ()
    """Where a run begins that isn't the first."""
    level: tuple[str, float] | None = None
    """A limit, with its name."""
    show: Callable[[float], str]
    """Writes a number of the upright axis, as exactly as words have it."""
    show_tick: Callable[[float], str]
    """Writes a number beside the axis, as short as it can be."""


def plots_of(history: History, *, limit: float | None, unknown_costs: int) -> tuple[Plot, ...]:
    """Choose what to draw of a job.

    Args:
        history: what is known of it.
        limit: images per minute that were allowed; None where that isn't known.
        unknown_costs: how many items' cost isn't known.
    """
    duration, joints = history.timeline.duration, history.timeline.joints
    found: list[Plot] = []

    def add(
        name: str,
        title: str,
        unit: str,
        summary: str,
        *lines: Line,
        level: tuple[str, float] | None = None,
        show: Callable[[float], str] = _show_number,
        show_tick: Callable[[float], str] = _show_tick,
    ) -> None:
        found.append(
            Plot(
                name=name,
                title=title,
                unit=unit,
                summary=summary,
                lines=lines,
                duration=duration,
                joints=joints,
                level=level,
                show=show,
                show_tick=show_tick,
            )
        )

    rate = history.images_per_minute()
    limited = "" if limit is None else f" The limit is {limit:,.10g} per minute."
    add(
        "rate",
        "Images per minute",
        "images/min",
        f"{_say_peak(rate, 'images per minute')}{limited}",
        Line(name="images per minute", series=rate, style="a", kind="area"),
        level=None if limit is None else ("limit", limit),
    )
    flight = history.in_flight()
    add(
        "flight",
        "In flight",
        "items",
        f"{_say_peak(flight, 'items in flight')} Each value is the mean over its part of the time.",
        Line(name="items in flight", series=flight, style="b", kind="area"),
    )
    if history.latencies.count:
        known = [(percent, history.latencies.percentile(percent) or 0.0) for percent in PERCENTILES]
        over_all = ", ".join(f"{percent} % within {words.seconds(value)}" for percent, value in known)
        styles = ("a", "b", "c")
        add(
            "latency",
            "Latency",
            "seconds",
            f"From sending to the answer, of all that was answered: {over_all}.",
            *(
                Line(name=f"p{percent}", series=history.latency(percent), style=style)
                for percent, style in zip(PERCENTILES, styles, strict=True)
            ),
        )
    if history.has_cost:
        cost = history.cumulative_cost()
        total = cost.values[-1] or 0.0
        rest = f" Of {words.count(unknown_costs, 'item')} it isn't known." if unknown_costs else ""
        add(
            "cost",
            "Cost so far",
            "US dollars",
            f"It grew to {words.usd(total)}, as far as it is known.{rest}",
            Line(name="known cost", series=cost, style="a", kind="line"),
            show=words.usd,
            show_tick=_show_usd_tick,
        )
    return tuple(found)


def _show_number(value: float) -> str:
    return f"{value:,.10g}"


def _show_tick(value: float) -> str:
    """Write a round number, thousands and millions shortly.

    Example:
        >>> _show_tick(2500), _show_tick(25_000), _show_tick(1_500_000), _show_tick(0.5)
        ('2,500', '25k', '1.5M', '0.5')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= max(size, 1e4):
            return f"{value / size:,.10g}{letter}"
    return _show_number(value)


def _show_usd_tick(value: float) -> str:
    """Write a round amount, without cents where there are none.

    Example:
        >>> _show_usd_tick(0), _show_usd_tick(40), _show_usd_tick(0.5), _show_usd_tick(2.5), _show_usd_tick(12_000)
        ('$0', '$40', '$0.50', '$2.50', '$12k')
    """
    return f"${_show_tick(value)}" if value == round(value) else words.usd(value)


def _say_peak(series: Series, noun: str) -> str:
    found = peak(series.values)
    if found is None or found[1] <= 0:
        return "There was nothing to show."
    place, value = found
    shown = f"{value:,.0f}" if value >= 10 else f"{value:.1f}"
    return f"At most {shown} {noun}, {words.seconds(series.bins.begin(place))} into the job."


def draw(plot: Plot) -> Markup:
    """Draw a plot."""
    highest = max(
        [value for line in plot.lines for value in line.series.values if value is not None]
        + ([] if plot.level is None else [plot.level[1]]),
        default=0.0,
    )
    ticks = choose_ticks(highest)
    labels = [plot.show_tick(tick) for tick in ticks]
    left = max(_LEFT, math.ceil(12 + _DIGIT * max(map(len, labels))))
    frame = _Frame(plot.duration, ticks[-1], left=left)
    divisor, time_unit = choose_time_unit(plot.duration)
    title, description = f"{plot.name}-title", f"{plot.name}-desc"
    parts: list[Markup] = [
        tag("title", f"{plot.title} over time", id=title),
        tag("desc", plot.summary, id=description),
        tag("text", plot.unit, x=0, y=11, class_="unit"),
    ]
    for tick, label in zip(ticks, labels, strict=True):
        y = frame.y(tick)
        parts.append(tag("line", x1=left, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="axis" if tick == 0 else "grid"))
        parts.append(tag("text", label, x=left - 6, y=y + 4, text_anchor="end"))
    for tick in _choose_time_ticks(plot.duration / divisor):
        x = frame.x(tick * divisor)
        parts.append(tag("line", x1=x, x2=x, y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM + 4, class_="axis"))
        # The last number may stand at the very edge.
        anchor = "end" if x > WIDTH - _RIGHT - 12 else "middle"
        parts.append(tag("text", f"{tick:,.10g}", x=x, y=HEIGHT - _BOTTOM + 16, text_anchor=anchor))
    parts.append(
        tag(
            "text",
            f"time that the job ran ({time_unit})",
            x=WIDTH - _RIGHT,
            y=HEIGHT - 3,
            text_anchor="end",
            class_="unit",
        )
    )
    if len(plot.joints) <= _MOST_JOINTS:
        for joint in plot.joints:
            x = frame.x(joint)
            parts.append(tag("line", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM, class_="joint"))
    if plot.level is not None:
        y = frame.y(plot.level[1])
        parts.append(tag("line", x1=left, x2=WIDTH - _RIGHT, y1=y, y2=y, class_="level"))
    for line in plot.lines:
        parts += _draw_line(line, frame)
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_labelledby=f"{title} {description}",
        class_="plot",
    )


class _Frame:
    """Turns seconds and values into places of the drawing."""

    def __init__(self, duration: float, highest: float, *, left: float) -> None:
        self._left: Final = left
        self._duration: Final = duration or 1.0
        self._highest: Final = highest

    def x(self, at: float) -> float:
        return round(self._left + (WIDTH - self._left - _RIGHT) * at / self._duration, 1)

    def y(self, value: float) -> float:
        return round(HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / self._highest, 1)


def make_legend(plot: Plot) -> Markup | None:
    """Name the lines of a plot; None where its title does."""
    if len(plot.lines) == 1 and plot.level is None:
        return None
    names = [(line.name, f"line {line.style}") for line in plot.lines]
    if plot.level is not None:
        names.append((f"{plot.level[0]}: {plot.show(plot.level[1])}", "level"))
    entries: list[Markup] = []
    for name, style in names:
        swatch = tag("svg", tag("line", x1=0, x2=26, y1=4, y2=4, class_=style), viewBox="0 0 26 8", aria_hidden="true")
        entries.append(tag("li", swatch, name))
    return tag("ul", *entries, class_="legend", aria_label=f"Lines of {plot.title}")


def _draw_line(line: Line, frame: _Frame) -> list[Markup]:
    bins = line.series.bins
    parts: list[Markup] = []
    for piece in _pieces(line.series.values):
        points: list[tuple[float, float]] = []
        if line.kind == "line" and piece[0][0] == 0:
            points.append((frame.x(0), frame.y(0)))
        for place, value in piece:
            y = frame.y(value)
            if line.kind != "line":
                points.append((frame.x(bins.begin(place)), y))
            points.append((frame.x(bins.end(place)), y))
        path = "M" + "L".join(f"{x:g} {y:g}" for x, y in points)
        if line.kind == "area":
            ground = frame.y(0)
            parts.append(
                tag(
                    "path",
                    d=f"{path}L{points[-1][0]:g} {ground:g}L{points[0][0]:g} {ground:g}Z",
                    class_=f"area {line.style}",
                )
            )
        parts.append(tag("path", d=path, class_=f"line {line.style}"))
    return parts


def _pieces(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Cut a series where it has no value."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is not None:
            pieces[-1].append((place, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def choose_ticks(highest: float, most: int = _TICKS) -> tuple[float, ...]:
    """Choose round numbers from 0 to the highest value or just above.

    Example:
        >>> choose_ticks(243.0), choose_ticks(0.0)
        ((0, 100.0, 200.0, 300.0), (0, 0.5, 1.0))
    """
    if highest < _SMALLEST:
        return (0, 0.5, 1.0)
    step = _choose_step(highest / most)
    # What is above by a rounding error only needs no tick more.
    count = math.ceil(highest / step - 1e-9)
    return (0, *(float(f"{step * number:.12g}") for number in range(1, count + 1)))


def choose_time_unit(duration: float) -> tuple[float, str]:
    """Choose a unit of time, and how many seconds it has.

    Example:
        >>> choose_time_unit(90.0), choose_time_unit(900.0), choose_time_unit(90000.0)
        ((1.0, 's'), (60.0, 'min'), (3600.0, 'h'))
    """
    if duration < 120:
        return 1.0, "s"
    return (60.0, "min") if duration < 120 * 60 else (3600.0, "h")


def _choose_time_ticks(duration: float) -> list[float]:
    step = _choose_step((duration or 1.0) / 5)
    return [float(f"{step * number:.12g}") for number in range(math.floor(duration / step + 1e-9) + 1)]


def _choose_step(least: float) -> float:
    """Give 1, 2 or 5 with noughts, not below what is given."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))
