"""What is measured, and what has to be reached: tables of data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import attrs

from .answers import name_stream
from .clients import KINDS, OURS, PEER, REFERENCE

EVERYBODY: Final = tuple(KINDS)
EACH_ROUND: Final = (OURS, "aiai_uvloop", REFERENCE, PEER)
"""Clients that are measured in each round: those that bounds speak of. The others are measured in two."""
STREAMERS: Final = tuple(name for name, kind in KINDS.items() if kind.can_stream)
_MIB: Final = 2**20 / 1e6
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
    "cold_cpu_us": Measure(title="CPU µs per request, cold"),
    "warm_cpu_us": Measure(title="CPU µs per request, warm"),
    "peak_kb": Measure(title="peak kB per request"),
    "failed": Measure(title="failed"),
    "refused": Measure(title="429s"),
    "makespan": Measure(title="makespan ÷ least"),
    "peak_mb_per_request": Measure(title="peak MB per request"),
    "of_memory": Measure(title="of the rate to memory", is_more_better=True),
    "item_cpu_us": Measure(title="CPU µs per item"),
    "items_per_s": Measure(title="items/s", is_more_better=True),
    "slope_bytes": Measure(title="memory: bytes per further item"),
    "journal_bytes": Measure(title="journal: bytes per item"),
    "enter_us": Measure(title="to enter the queue: CPU µs"),
    "wake_us": Measure(title="to be woken: µs, median"),
    "wake_p99_us": Measure(title="99 %"),
    "leave_us": Measure(title="to leave it cancelled: CPU µs"),
    "waiter_kb": Measure(title="kB per waiter"),
    "hold_ms": Measure(title="longest turn of the loop: ms"),
    "hold_cpu_ms": Measure(title="of CPU: ms"),
    "callback_ms": Measure(title="longest callback: ms"),
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
    """What tables show; also a client's ratio to the reference, where that is among the clients."""
    clients: tuple[str, ...] = EVERYBODY
    rounds: int | None = None
    """How often, where that is less than elsewhere."""
    once: tuple[str, ...] = ("litellm",)
    """Clients that are measured in one round only: its import alone takes three seconds."""
    quick_arguments: Mapping[str, Any] | None = None
    """What replaces the arguments in a quick run."""


SCENARIOS: Final = (
    Scenario(
        name="import",
        title="Importing it; a script that makes one request",
        load="start",
        measures=("import_cpu_ms", "import_mb", "ready_cpu_ms", "ready_mb"),
        rounds=3,
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
        # Most of a minute each: the time that its pool takes grows with the square.
        once=("httpx", "litellm"),
    ),
    *(
        Scenario(
            name=f"limited-{retries}",
            title=f"120 requests at once against 1,200 a minute with a burst of 20, {retries} retries",
            load="limited",
            arguments={"kind": "told", "count": 120, "retries": retries},
            measures=("failed", "makespan", "refused"),
            clients=(OURS, PEER, "litellm"),
            rounds=3,
            once=(PEER, "litellm"),
        )
        for retries in (2, 10)
    ),
    Scenario(
        name="limited-hidden",
        title="The same with 2 retries, and a server that says nothing of its limit",
        load="limited",
        arguments={"kind": "hidden", "count": 120, "retries": 2},
        measures=("failed", "makespan", "refused"),
        clients=(OURS, PEER),
        rounds=2,
        once=(PEER,),
    ),
    *(
        Scenario(
            name=f"saving-{megabytes}mb",
            title=f"Images of {megabytes} MB into files, 64 at once",
            load="saving",
            arguments={"size_bytes": megabytes * 1_000_000, "at_once": 64},
            measures=("peak_mb_per_request", "mb_per_s", "of_memory", "cpu_ms_per_mb"),
            clients=(OURS, REFERENCE) if megabytes > 2 else (OURS, "aiai_uvloop", REFERENCE, PEER),
            rounds=3,
            # The reference holds two gigabytes of text and as much of images at 30 MB, and takes half a minute.
            once=(PEER,) if megabytes == 2 else (REFERENCE,),
        )
        for megabytes in (2, 10, 30)
    ),
    Scenario(
        name="job",
        title="A job of 100,000 items on a fake transport",
        load="job",
        arguments={"count": 100_000},
        quick_arguments={"count": 5_000},
        measures=("item_cpu_us", "items_per_s", "peak_mb", "slope_bytes", "journal_bytes"),
        clients=(OURS,),
        rounds=1,
    ),
    Scenario(
        name="scheduler",
        title="The scheduler alone: nothing limiting; 100,000 waiters",
        load="scheduler",
        arguments={"count": 50_000, "waiters": 100_000},
        measures=("cpu_us", "enter_us", "wake_us", "wake_p99_us", "leave_us", "waiter_kb"),
        clients=(OURS,),
        rounds=3,
    ),
    Scenario(
        name="hold",
        title="The event loop held, by 16 images of 6 MB at once",
        load="holds",
        arguments={"size_bytes": 6_000_000, "at_once": 16},
        measures=("hold_ms", "hold_cpu_ms", "callback_ms"),
        clients=(OURS, "aiai_uvloop", REFERENCE, "aiohttp_json", PEER),
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
    *(
        bound
        for name in ("limited-2", "limited-10")
        for bound in (
            Bound(scenario=name, measure="failed", value=0),
            Bound(scenario=name, measure="makespan", value=1.08),
            Bound(scenario=name, measure="refused", value=12),
        )
    ),
    *(
        bound
        for name in ("saving-2mb", "saving-10mb", "saving-30mb")
        for bound in (
            Bound(scenario=name, measure="peak_mb_per_request", value=_MIB),
            Bound(scenario=name, measure="of_memory", value=0.8),
        )
    ),
    Bound(scenario="job", measure="item_cpu_us", value=300),
    # Nothing may stay of an item. An arena of Python's allocator that is touched for the first time, 1 MiB, is 21 bytes
    # an item of half the job; a number kept for each in a dict would be 100.
    Bound(scenario="job", measure="slope_bytes", value=32),
    Bound(scenario="scheduler", measure="cpu_us", value=10),
    Bound(scenario="hold", measure="hold_ms", value=5),
)
