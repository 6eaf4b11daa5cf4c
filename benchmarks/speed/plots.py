"""A picture for each curve of growth."""

from __future__ import annotations

import importlib
import io
import re
from pathlib import Path
from typing import Any, Final

from .clients import KINDS, OURS, PEER, REFERENCE
from .growth import Growth
from .scenarios import MEASURES

_COLOURS: Final = {
    KINDS[OURS].title: "#1f6fb4",
    f"{KINDS[OURS].title}, to a file": "#37a3a3",
    KINDS[REFERENCE].title: "#c8322b",
    KINDS[PEER].title: "#7a6f9b",
}


def name_picture(growth: Growth) -> str:
    """Name a curve's file."""
    return f"performance-{growth.curve.name}.svg"


def draw(growth: Growth, folder: Path) -> None:
    """Draw a curve: a panel for each of its measures, all axes logarithmic."""
    # Not imported on top: it is no part of the developers' tools, and type checks do without it. Any: so is its type.
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    # The same picture each time: text as text, and no ids made by chance.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": growth.curve.name, "font.size": 9})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    measures = growth.curve.measures
    figure, panels = pyplot.subplots(
        1, len(measures), figsize=(10, 3.2), layout="constrained", squeeze=False, facecolor="white"
    )
    figure.get_layout_engine().set(wspace=0.06)
    for panel, measure in zip(panels[0], measures, strict=True):
        for label, points in growth.values.items():
            shown = [(x / growth.curve.scale, each[measure]) for x, each in points.items() if each.get(measure, 0) > 0]
            if not shown:
                continue
            width = 2.0 if label.startswith(KINDS[OURS].title) else 1.3
            panel.plot(
                *zip(*shown, strict=True), color=_COLOURS[label], linewidth=width, marker="o", markersize=4, label=label
            )
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_title(MEASURES[measure].title, fontsize=9, loc="left")
        panel.set_xlabel(growth.curve.axis)
        panel.grid(visible=True, which="major", color="#dde3e9", linewidth=0.7)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
        _widen(panel)
        panel.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=_find_steps(*panel.get_ylim())))
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(matplotlib.ticker.FuncFormatter(_write_tick))
            axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    if len(growth.values) > 1:
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    # A tenth of a point is finer than anybody sees, and the file half as large.
    (folder / name_picture(growth)).write_text(re.sub(r"(?<= )(-?\d+\.\d)\d+", r"\1", text.getvalue()))


def _write_tick(value: float, _: int) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:g}"


def _find_steps(low: float, high: float) -> tuple[int, ...]:
    """Choose where a scale has its numbers, so that there are some and not too many."""
    return (1, 2, 5) if high / low < 1000 else (1,)


def _widen(panel: Any) -> None:  # Any: matplotlib's axes
    """Show at least a factor of ten, so that what hardly changes looks so."""
    low, high = panel.get_ylim()
    if high / low < 10:
        middle = (low * high) ** 0.5
        panel.set_ylim(middle / 10**0.5, middle * 10**0.5)
