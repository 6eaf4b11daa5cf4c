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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from speed import documents, plots
from speed.clients import KINDS
from speed.growth import CURVES, Growth, measure_curve
from speed.rounds import Bench, Result, run_server
from speed.scenarios import SCENARIOS, Scenario
from speed.tables import Finding, judge, write_findings, write_result

_ROUNDS: Final = 5


def main() -> int:
    """Measure, print, and write what was asked for."""
    options = _read_arguments()
    scenarios = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    curves = [curve for curve in CURVES if options.only in curve.mark and (options.only or not curve.is_long)]
    if not scenarios and not curves:
        names = [*(scenario.name for scenario in SCENARIOS), *(curve.mark for curve in CURVES)]
        sys.exit(f"--only {options.only}: there are only {', '.join(names)}")
    began_at = time.perf_counter()
    results: list[Result] = []
    growths: list[Growth] = []
    with run_server() as port:
        bench = Bench(port, seconds=0.2 if options.quick else 0.5, quick=options.quick)
        for scenario in scenarios:
            if clients := [name for name in scenario.clients if name in options.clients]:
                _say(scenario.name)
                results.append(bench.measure(scenario, clients, _choose_rounds(scenario, options)))
                print(*write_result(results[-1]), sep="\n", flush=True)
        for curve in curves:
            _say(curve.mark)
            growths.append(measure_curve(bench, curve))
            print(*documents.write_growth(growths[-1]), sep="\n", flush=True)
    findings = judge(results)
    if findings:
        print(*write_findings(findings), sep="\n")
    seconds = time.perf_counter() - began_at
    print(f"{sum(bool(finding.is_met) for finding in findings)} of {len(findings)} bounds met, in {seconds:.0f} s")
    _write(options, results, findings, growths)
    return int(options.check and not all(finding.is_met for finding in findings))


def _say(name: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {name}", file=sys.stderr, flush=True)


def _read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="TEXT", default="", help="only scenarios and curves with this in their name")
    parser.add_argument("--clients", metavar="NAMES", type=_read_clients, default=tuple(KINDS), help=", ".join(KINDS))
    parser.add_argument("--rounds", metavar="N", type=int, help=f"how often each is measured; {_ROUNDS} or less")
    parser.add_argument("--quick", action="store_true", help="shorter, fewer points, one round")
    parser.add_argument("--check", action="store_true", help="end with 1 where a bound is missed")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the results there, beside others")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write tables there, between marks, plots beside")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="write the one table that matters there")
    return parser.parse_args()


def _read_clients(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(KINDS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}")
    return names


def _choose_rounds(scenario: Scenario, options: argparse.Namespace) -> int:
    if options.rounds is not None:
        return int(options.rounds)
    return 1 if options.quick else min(_ROUNDS, scenario.rounds or _ROUNDS)


def _write(
    options: argparse.Namespace, results: Sequence[Result], findings: Sequence[Finding], growths: Sequence[Growth]
) -> None:
    environment = documents.describe_environment()
    # A part of the clients replaces no table of all of them.
    is_all = options.only == "" and len(options.clients) == len(KINDS)
    if options.json is not None:
        before = json.loads(options.json.read_text()) if options.json.exists() else {}
        made = _to_tree(environment, results, findings, growths)
        tree = {name: {**before.get(name, {}), **found} for name, found in made.items()}
        options.json.write_text(json.dumps(tree, indent=1) + "\n")
        if len(options.clients) == len(KINDS) and (known := _read_results(tree, environment)):
            # What was measured anew stands beside what was measured before, on the same machine and the same day.
            results, findings, is_all = known, judge(known), True
    if options.markdown is not None:
        if is_all:
            documents.insert(options.markdown, "results", documents.write_results(results, findings, environment))
        for growth in growths:
            documents.insert(options.markdown, growth.curve.mark, documents.write_growth(growth, environment))
            plots.draw(growth, options.markdown.parent)
    if options.readme is not None and is_all:
        documents.insert(options.readme, "results", documents.write_readme(results))


def _read_results(tree: Mapping[str, Any], environment: Mapping[str, str]) -> list[Result] | None:
    """Give the results of all scenarios; None where one is missing, or was measured in another environment."""
    found = [(scenario, tree["scenarios"].get(scenario.name)) for scenario in SCENARIOS]
    if not all(each and each["environment"] == environment for _, each in found):
        return None
    return [
        Result(scenario=scenario, rounds=each["rounds"], failures=each["failures"]) for scenario, each in found if each
    ]


def _to_tree(
    environment: Mapping[str, str],
    results: Sequence[Result],
    findings: Sequence[Finding],
    growths: Sequence[Growth],
) -> dict[str, dict[str, Any]]:  # Any: JSON
    """Give all results as JSON's values; each says itself on what it was measured."""
    scenarios = {
        result.scenario.name: {
            "environment": environment,
            "rounds": result.rounds,
            "failures": result.failures,
            "bounds": [
                {
                    "measure": finding.bound.measure,
                    "against": finding.against,
                    "limit": finding.limit,
                    "found": finding.found,
                    "is_met": finding.is_met,
                }
                for finding in findings
                if finding.bound.scenario == result.scenario.name
            ],
        }
        for result in results
    }
    curves = {
        growth.curve.name: {"environment": environment, "values": growth.values, "failures": growth.failures}
        for growth in growths
    }
    return {"scenarios": scenarios, "growth": curves}


if __name__ == "__main__":
    sys.exit(main())
