"""How cost grows: with the requests in flight, with the size of images, with the items of a job."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from .clients import KINDS, OURS, PEER, REFERENCE
from .rounds import Bench, Measured, MeasurementFailed


@attrs.frozen(kw_only=True)
class Series:
    """One line of a plot."""

    label: str
    client: str
    load: str
    arguments: Callable[[int], Mapping[str, Any]]  # Any: each load's own
    most: float = float("inf")
    """No point lies beyond it: what takes minutes there."""


@attrs.frozen(kw_only=True)
class Curve:
    """One plot: panels beside each other, a measure each."""

    name: str
    title: str
    axis: str
    """What grows."""
    points: tuple[int, ...]
    quick_points: tuple[int, ...]
    measures: tuple[str, ...]
    series: tuple[Series, ...]
    rounds: int = 1
    is_long: bool = False
    """Whether it takes so long that it is only measured where it is named."""
    scale: float = 1.0
    """By what a point is divided where it is shown."""

    @property
    def mark(self) -> str:
        """What it is called on the command line, and in the marks of the documentation."""
        return f"growth-{self.name}"


@attrs.frozen(kw_only=True)
class Growth:
    """What a curve came to."""

    curve: Curve
    values: Mapping[str, Mapping[int, Measured]]
    """By label, then by point: the medians."""
    failures: Mapping[str, str]
    """By label and point, how the process ended."""


def measure_curve(bench: Bench, curve: Curve) -> Growth:
    """Measure a curve; what was measured by a scenario is not measured again where once is enough."""
    failures: dict[str, str] = {}
    values: dict[str, dict[int, Measured]] = {series.label: {} for series in curve.series}
    for point in curve.quick_points if bench.is_quick else curve.points:
        found: dict[str, list[Measured]] = {}
        for _ in range(1 if bench.is_quick else curve.rounds):
            for series in curve.series:
                if point <= series.most:
                    arguments = series.arguments(point)
                    known = bench.recall(series.load, series.client, arguments) if curve.rounds == 1 else None
                    try:
                        measured = known or bench.measure_one(series.load, series.client, arguments)
                    except MeasurementFailed as error:
                        failures[f"{series.label}, {point:,}"] = str(error)
                    else:
                        found.setdefault(series.label, []).append(measured)
        for label, rounds in found.items():
            names = set.intersection(*map(set, rounds))
            values[label][point] = {name: statistics.median(measured[name] for measured in rounds) for name in names}
    return Growth(curve=curve, values=values, failures=failures)


def _in_flight(count: int) -> dict[str, Any]:
    # Long enough for all to be sent before the first is answered.
    return {"count": count, "latency_ms": max(500, count)}


def _image(size_bytes: int) -> dict[str, Any]:
    return {"size_bytes": size_bytes}


def _file(size_bytes: int) -> dict[str, Any]:
    return {"size_bytes": size_bytes, "at_once": 1, "to_memory": False}


def _items(count: int) -> dict[str, Any]:
    return {"count": count}


def _title(client: str) -> str:
    return KINDS[client].title


CURVES: Final = (
    Curve(
        name="in-flight",
        title="Requests in flight",
        axis="requests in flight",
        points=(1, 10, 100, 300, 1000, 3000, 10_000),
        quick_points=(10, 300, 3000),
        measures=("warm_cpu_us", "cold_cpu_us", "peak_kb"),
        series=(
            Series(label=_title(OURS), client=OURS, load="in_flight", arguments=_in_flight),
            Series(label=_title(REFERENCE), client=REFERENCE, load="in_flight", arguments=_in_flight),
            Series(label=_title(PEER), client=PEER, load="in_flight", arguments=_in_flight, most=1000),
        ),
    ),
    Curve(
        name="sizes",
        title="Size of images, one at a time",
        axis="MB per image",
        points=(100_000, 200_000, 400_000, 700_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 30_000_000),
        quick_points=(100_000, 1_000_000, 10_000_000),
        scale=1e6,
        measures=("cpu_ms_per_mb", "peak_mb"),
        series=(
            Series(label=_title(OURS), client=OURS, load="answers", arguments=_image),
            Series(label=f"{_title(OURS)}, to a file", client=OURS, load="saving", arguments=_file),
            Series(label=_title(REFERENCE), client=REFERENCE, load="answers", arguments=_image),
            Series(label=_title(PEER), client=PEER, load="answers", arguments=_image),
        ),
        rounds=2,
    ),
    Curve(
        name="items",
        title="Items of a job",
        axis="items",
        points=(1, 10, 100, 1000, 10_000, 100_000, 1_000_000),
        quick_points=(1, 100, 5000),
        measures=("item_cpu_us", "peak_mb", "journal_bytes"),
        series=(Series(label=_title(OURS), client=OURS, load="job", arguments=_items),),
        is_long=True,
    ),
)
