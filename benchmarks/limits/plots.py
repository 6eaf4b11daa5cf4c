"""Pictures of a few worlds: what was in flight, admitted and refused, second by second."""

from __future__ import annotations

import importlib
import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from .measures import OURS, play
from .records import Kind, Record
from .worlds import World

WORLDS: Final = (
    "learned from headers / bucket 60, full, admission / 30 s",
    "5 images a minute / window 5, answer / 30 s",
    "hidden / window 60, phase 0.5 / 2 s",
    "unknown cap / 8 / 2 s",
)
"""The names of those that are drawn."""
_PEER: Final = "64 at once, back-off"
_POINTS: Final = 100
_COLOURS: Final[dict[str, str]] = {"in flight": "#9aa5b1", "admitted": "#1f6fb4", "refused": "#c8322b"}


def draw(worlds: Sequence[World], path: Path) -> None:
    """Draw worlds below each other, the client on the left and 64 at once with back-off on the right, into an SVG."""
    # Not imported on top: it is no part of the developers' tools, and type checks do without it. Any: so is its type.
    matplotlib: Any = importlib.import_module("matplotlib")
    matplotlib.use("svg")
    # The same picture each time: text as text, and no ids made by chance.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "ratelimit", "font.size": 8})
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, rows = pyplot.subplots(len(worlds), 2, figsize=(9, 2.1 * len(worlds)), layout="constrained", squeeze=False)
    for world, axes in zip(worlds, rows, strict=True):
        records = [play(world, policy)[0] for policy in (OURS, _PEER)]
        end = max(record.events[-1][0] for record in records)
        for axis, policy, record in zip(axes, (OURS, _PEER), records, strict=True):
            _draw_panel(axis, world, record, end, most=max(map(_most_in_flight, records)))
            said = _describe(world, record)
            axis.set_title(f"{policy}: {world.name if policy == OURS else said}", fontsize=8, loc="left")
            if policy == OURS:
                axis.text(0.98, 0.38, said, transform=axis.transAxes, ha="right", fontsize=7)
            axis.set_ylabel("requests")
    rows[0][1].legend(loc="upper right", fontsize=7, frameon=False)
    for axis in rows[-1]:
        axis.set_xlabel("minutes")
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    # A tenth of a point is finer than anybody sees, and the file half as large.
    path.write_text(re.sub(r"(?<= )(-?\d+\.\d)\d+", r"\1", text.getvalue()))


def _draw_panel(axis: Any, world: World, record: Record, end: float, *, most: int) -> None:  # Any: matplotlib's axes
    times = [end * step / _POINTS for step in range(_POINTS + 1)]
    minutes = [time / 60 for time in times]
    for kind in ("admitted", "refused"):
        axis.plot(minutes, _count(record, kind, times), color=_COLOURS[kind], linewidth=1.3, label=kind)
    # On a scale of its own, in the lower half.
    below = axis.twinx()
    below.fill_between(minutes, _count_in_flight(record, times), color=_COLOURS["in flight"], linewidth=0)
    below.set_ylim(0, 2.2 * most)
    below.set_yticks([0, most])
    below.set_ylabel("in flight", color=_COLOURS["in flight"])
    axis.fill_between([], [], color=_COLOURS["in flight"], label="in flight")
    axis.set_zorder(below.get_zorder() + 1)
    axis.patch.set_visible(False)
    axis.set_xlim(0, end / 60)
    axis.set_ylim(0, 1.08 * len(world.requests))


def _describe(world: World, record: Record) -> str:
    lost = len(world.requests) - record.admitted
    return f"{record.refused:,} × 429 of {record.sent:,} sent" + (f", {lost} requests lost" if lost else "")


def _count_in_flight(record: Record, times: Sequence[float]) -> list[int]:
    counts = [_count(record, kind, times) for kind in ("sent", "refused", "answered")]
    return [sent - refused - answered for sent, refused, answered in zip(*counts, strict=True)]


def _most_in_flight(record: Record) -> int:
    in_flight = most = 0
    for _, kind in record.events:
        in_flight += {"sent": 1, "admitted": 0}.get(kind, -1)
        most = max(most, in_flight)
    return most


def _count(record: Record, kind: Kind, times: Sequence[float]) -> list[int]:
    """Count what happened until each time."""
    at = [time for time, each in record.events if each == kind]
    return [bisect_right(at, time) for time in times]
