"""What is measured, and what has to be reached: tables of data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from .answers import name_stream
from .clients import KINDS, OURS, PEER, REFERENCE

EVERYBODY: Final = tuple(KINDS)
STREAMERS: Final = tuple(name for name, kind in KINDS.items() if kind.can_stream)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Measure:
    """One number of a measurement."""

    title: str
    """What and in what unit, as tables call it."""
    digits: int = 3
    """Significant ones, in tables."""
    is_more_better: bool = False


MEASURES: Final = {
    "import_cpu_ms": Measure(title="import: CPU ms"),
    "import_mb": Measure(title="import: MB"),
    "ready_cpu_ms": Measure(title="one request: CPU ms"),
    "ready_mb": Measure(title="one request: MB"),
    "cpu_us": Measure(title="CPU µs per request"),
    "requests_per_s": Measure(title="requests/s", is_more_better=True),
    "cpu_ms_per_mb": Measure(title="CPU ms/MB"),
    "mb_per_s": Measure(title="MB/s", is_more_better=True),
    "peak_mb": Measure(title="peak MB"),
    "first_ms": Measure(title="first partial after ms"),
    "cold_above_s": Measure(title="s above the latency, cold"),
    "warm_cpu_us": Measure(title="CPU µs per request, warm"),
    "peak_kb": Measure(title="peak kB per request"),
    "server_busy": Measure(title="server busy", digits=2),
}


@attrs.frozen(kw_only=True)
class Scenario:
    """One kind of work, done by several clients."""

    name: str
    title: str
    load: str
    """The function of `loads` that does it."""
    arguments: Mapping[str, Any] = _NOTHING  # Any: each load's own
    measures: tuple[str, ...]
    """What tables show."""
    clients: tuple[str, ...] = EVERYBODY
    seconds: float = 0.5
    rounds: int | None = None
    """How often, where that is less than elsewhere."""


SCENARIOS: Final = (
    Scenario(
        name="import",
        title="Importing it; a script that makes one request",
        load="start",
        measures=("import_cpu_ms", "import_mb", "ready_cpu_ms", "ready_mb"),
    ),
    Scenario(
        name="small-1",
        title="Small answers one after another",
        load="answers",
        arguments={"size_bytes": 1000},
        measures=("cpu_us", "requests_per_s"),
    ),
    Scenario(
        name="small-64",
        title="Small answers, 64 at once",
        load="answers",
        arguments={"size_bytes": 1000, "at_once": 64},
        measures=("cpu_us", "requests_per_s"),
    ),
    Scenario(
        name="small-256",
        title="Small answers, 256 at once",
        load="answers",
        arguments={"size_bytes": 1000, "at_once": 256},
        measures=("cpu_us", "requests_per_s"),
    ),
    Scenario(
        name="2mb-1",
        title="Images of 2 MB, one at a time",
        load="answers",
        arguments={"size_bytes": 2_000_000},
        measures=("cpu_ms_per_mb", "mb_per_s", "peak_mb"),
    ),
    Scenario(
        name="2mb-8",
        title="Images of 2 MB, eight at once",
        load="answers",
        arguments={"size_bytes": 2_000_000, "at_once": 8},
        measures=("cpu_ms_per_mb", "mb_per_s", "peak_mb"),
    ),
    Scenario(
        name="200kb-1",
        title="Images of 200 kB, one at a time",
        load="answers",
        arguments={"size_bytes": 200_000},
        measures=("cpu_ms_per_mb", "mb_per_s", "peak_mb"),
    ),
    Scenario(
        name="stream",
        title="Streams of three 1 MB partial images and a 2 MB one",
        load="streams",
        arguments={"model": name_stream(1_000_000, 3, 2_000_000)},
        measures=("cpu_ms_per_mb", "first_ms", "peak_mb"),
        clients=STREAMERS,
    ),
    Scenario(
        name="2000-in-flight",
        title="2,000 in flight against 1 s of latency",
        load="in_flight",
        arguments={"count": 2000, "latency_ms": 1000},
        measures=("cold_above_s", "warm_cpu_us", "peak_kb"),
        rounds=3,
    ),
)


@attrs.frozen(kw_only=True)
class Bound:
    """What this package has to reach in one measure of one scenario.

    Each figure is a most, or a least where more is better; None: nothing is asked.
    """

    scenario: str
    measure: str
    reference: float | None = None
    """As a multiple of what the reference takes."""
    peer: float | None = None
    """As a multiple of what the official SDK takes, on its default transport."""
    value: float | None = None
    """The measure itself."""


BOUNDS: Final = (
    Bound(scenario="import", measure="import_cpu_ms", reference=0.6),
    Bound(scenario="import", measure="import_mb", reference=0.7),
    Bound(scenario="import", measure="ready_cpu_ms", reference=1.2, peer=0.33),
    Bound(scenario="small-1", measure="cpu_us", reference=1.1, peer=0.22),
    Bound(scenario="small-64", measure="cpu_us", reference=1.1, peer=0.12),
    Bound(scenario="small-64", measure="requests_per_s", peer=10),
    Bound(scenario="small-256", measure="cpu_us", reference=1.1, peer=0.12),
    Bound(scenario="small-256", measure="requests_per_s", peer=10),
    Bound(scenario="2mb-1", measure="cpu_ms_per_mb", reference=0.65, peer=0.10),
    Bound(scenario="2mb-1", measure="mb_per_s", reference=1.4),
    Bound(scenario="2mb-1", measure="peak_mb", reference=0.6, peer=0.8),
    Bound(scenario="2mb-8", measure="cpu_ms_per_mb", reference=0.75, peer=0.12),
    Bound(scenario="2mb-8", measure="peak_mb", reference=0.7),
    Bound(scenario="200kb-1", measure="cpu_ms_per_mb", reference=1.1, peer=0.16),
    Bound(scenario="200kb-1", measure="peak_mb", reference=1.0),
    Bound(scenario="stream", measure="cpu_ms_per_mb", reference=0.65, peer=0.07),
    Bound(scenario="stream", measure="first_ms", reference=0.75),
    Bound(scenario="stream", measure="peak_mb", reference=0.5),
    Bound(scenario="2000-in-flight", measure="cold_above_s", reference=1.15),
    Bound(scenario="2000-in-flight", measure="warm_cpu_us", reference=1.05, peer=0.06),
    Bound(scenario="2000-in-flight", measure="peak_kb", reference=1.25),
)

JUDGED: Final = (OURS, REFERENCE, PEER)
"""The clients that bounds speak of: never left out where bounds are looked at."""
