"""How much this package costs, beside what a user would pick instead: all clients, interleaved, against one server.

    python benchmarks/performance.py                                  # everything, about a quarter of an hour
    python benchmarks/performance.py --quick                          # a look
    python benchmarks/performance.py --only 2mb --clients aiai,raw_aiohttp_orjson --rounds 3
    python benchmarks/performance.py --check                          # ends with 1 where a bound is missed

What is measured and what has to be reached stands in `speed/scenarios.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from speed.clients import KINDS
from speed.rounds import Bench, Result, run_server
from speed.scenarios import SCENARIOS, Scenario
from speed.tables import Finding, judge, write_findings, write_result

_ROUNDS: Final = 5


def main() -> int:
    """Measure, print, and write what was asked for."""
    options = _read_arguments()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    if not chosen:
        sys.exit(f"--only {options.only}: there are only {', '.join(scenario.name for scenario in SCENARIOS)}")
    began_at = time.perf_counter()
    results: list[Result] = []
    with run_server() as port:
        bench = Bench(port, seconds=0.4 if options.quick else 1.0)
        for scenario in chosen:
            result = bench.measure(
                scenario, _choose_clients(scenario, options.clients), _choose_rounds(scenario, options)
            )
            results.append(result)
            print(*write_result(result), sep="\n", flush=True)
    findings = judge(results)
    print(*write_findings(findings), sep="\n")
    seconds = time.perf_counter() - began_at
    print(f"{sum(bool(finding.is_met) for finding in findings)} of {len(findings)} bounds met, in {seconds:.0f} s")
    if options.json is not None:
        options.json.write_text(_to_json(results, findings))
    return int(options.check and not all(finding.is_met for finding in findings))


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="only scenarios whose name has this in it")
    parser.add_argument("--clients", metavar="NAMES", type=_read_clients, help=f"of {', '.join(KINDS)}")
    parser.add_argument("--rounds", metavar="N", type=int, help=f"how often each is measured; {_ROUNDS} unless said")
    parser.add_argument("--quick", action="store_true", help="shorter, one round")
    parser.add_argument("--check", action="store_true", help="end with 1 where a bound is missed")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all results there")
    return parser.parse_args()


def _read_clients(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(KINDS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _choose_clients(scenario: Scenario, names: Sequence[str] | None) -> list[str]:
    return [name for name in scenario.clients if names is None or name in names]


def _choose_rounds(scenario: Scenario, options: argparse.Namespace) -> int:
    if options.rounds is not None:
        return int(options.rounds)
    return 1 if options.quick else min(_ROUNDS, scenario.rounds or _ROUNDS)


def _to_json(results: Sequence[Result], findings: Sequence[Finding]) -> str:
    tree: dict[str, Any] = {  # Any: JSON
        "scenarios": {
            result.scenario.name: {"rounds": result.rounds, "failures": result.failures} for result in results
        },
        "bounds": [
            {
                "scenario": finding.bound.scenario,
                "measure": finding.bound.measure,
                "against": finding.against,
                "limit": finding.limit,
                "found": finding.found,
                "is_met": finding.is_met,
            }
            for finding in findings
        ],
    }
    return json.dumps(tree, indent=1)


if __name__ == "__main__":
    sys.exit(main())
