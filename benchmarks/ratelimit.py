"""How close the scheduler comes to the least possible time, and how many 429s that costs, beside what others do.

    python benchmarks/ratelimit.py                      # all worlds, a few minutes
    python benchmarks/ratelimit.py --quick              # one variant of each row
    python benchmarks/ratelimit.py --core               # the pure core alone, and only what misses a bound
    python benchmarks/ratelimit.py --trace "hidden / window 60, phase 0.5 / 2 s"

The real client runs on a clock that jumps, against servers that are simulated: see `limits/`.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

import attrs
from limits import plots, reports, timelines
from limits.measures import OURS, Result, measure
from limits.peers import PEERS
from limits.reports import Finding
from limits.rows import MIDDLE, worlds
from limits.worlds import World

_PICTURE: Final = "rate-limits.svg"


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = _read_arguments()
    began_at = time.perf_counter()
    chosen = [world for world in worlds() if options.only in world.name]
    if options.trace is not None:
        if hasattr(signal, "SIGPIPE"):
            # `| head` ends it, as it does other programs.
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        timelines.trace(next(world for world in worlds() if options.trace in world.name))
        return
    if options.quick:
        chosen = _pick(chosen)
    policies = [OURS] if options.core else [OURS, *PEERS]
    findings = list(_measure_all(chosen, policies, core_only=options.core, jobs=options.jobs))
    for finding in findings:
        if options.verbose or not finding.is_met:
            print(reports.describe(finding.world, finding.ours))
    print(*reports.count_by_row(findings), sep="\n")
    seconds = time.perf_counter() - began_at
    print(f"{seconds:.1f} s")
    if options.json is not None:
        options.json.write_text(_to_json(findings))
    if options.markdown is not None:
        made = reports.write_markdown(findings, seconds=seconds, picture=options.plots and _PICTURE)
        text = options.markdown.read_text() if options.markdown.exists() else ""
        options.markdown.write_text(reports.insert(text, made))
    if options.plots is not None:
        options.plots.mkdir(parents=True, exist_ok=True)
        plots.draw([world for world in worlds() if world.name in plots.WORLDS], options.plots / _PICTURE)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="only worlds whose name has this in it")
    parser.add_argument("--quick", action="store_true", help="one variant of each row")
    parser.add_argument("--core", action="store_true", help="the pure core alone, without others beside it")
    parser.add_argument("--verbose", action="store_true", help="a line for each world, also where bounds are kept")
    parser.add_argument("--trace", metavar="WORLD", help="print what happens in the first world with this in its name")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all results there")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables there, between its marks")
    parser.add_argument("--plots", metavar="FOLDER", type=Path, help="draw a few worlds there")
    parser.add_argument("--jobs", metavar="N", type=int, default=os.cpu_count(), help="processes at once")
    return parser.parse_args()


def _pick(chosen: Sequence[World]) -> list[World]:
    """Pick one variant of each row, where there is one with answers after two seconds."""
    picked: dict[str, World] = {}
    for world in chosen:
        if world.row not in picked or (world.latency == MIDDLE and picked[world.row].latency != MIDDLE):
            picked[world.row] = world
    return list(picked.values())


def _measure_all(
    chosen: Sequence[World], policies: Sequence[str], *, core_only: bool, jobs: int | None
) -> Iterator[Finding]:
    """Measure in several processes, the longest runs first."""
    # The others have no variants of their own that they were tuned on: they run where that is looked at.
    runs = [(world, policy) for world in chosen for policy in policies if world.is_tuned or policy == OURS]
    runs.sort(key=lambda run: len(run[0].requests), reverse=True)
    results: dict[str, dict[str, Result]] = {world.name: {} for world in chosen}
    with ProcessPoolExecutor(jobs) as pool:
        names, by = [world.name for world, _ in runs], [policy for _, policy in runs]
        found = pool.map(functools.partial(_measure_one, core_only=core_only), names, by)
        for done, (name, policy, result) in enumerate(zip(names, by, found, strict=True), start=1):
            results[name][policy] = result
            if sys.stderr.isatty():
                print(f"\r{done} of {len(runs)} ", end="" if done < len(runs) else "\n", file=sys.stderr, flush=True)
    for world in chosen:
        yield Finding(world=world, results=results[world.name])


def _measure_one(name: str, policy: str, *, core_only: bool) -> Result:
    return measure(_worlds_by_name()[name], policy, core_only=core_only)


@functools.cache
def _worlds_by_name() -> dict[str, World]:
    return {world.name: world for world in worlds()}


def _to_json(findings: Sequence[Finding]) -> str:
    tree = [
        {
            "row": finding.world.row,
            "variant": finding.world.variant,
            "latency": finding.world.latency,
            "is_tuned": finding.world.is_tuned,
            "is_met": finding.is_met,
            "results": {policy: attrs.asdict(result) for policy, result in finding.results.items()},
        }
        for finding in findings
    ]
    return json.dumps(tree, indent=1)


if __name__ == "__main__":
    main()
