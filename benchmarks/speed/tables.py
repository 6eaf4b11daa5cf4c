"""What was measured as Markdown, and which bounds are met."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import attrs

from .clients import KINDS, OURS, PEER, REFERENCE
from .rounds import Result
from .scenarios import BOUNDS, MEASURES, Bound


@attrs.frozen(kw_only=True)
class Finding:
    """One figure that a bound is about."""

    bound: Bound
    against: str
    """The other client, or "" where the measure itself is bounded."""
    limit: float
    found: float | None
    """None: it was not measured."""

    @property
    def is_met(self) -> bool | None:
        """Whether the bound is kept; None where that was not measured."""
        if self.found is None:
            return None
        return self.found >= self.limit if MEASURES[self.bound.measure].is_more_better else self.found <= self.limit


def judge(results: Sequence[Result], bounds: Iterable[Bound] = BOUNDS) -> list[Finding]:
    """Compare what was measured with the bounds, of the scenarios that were measured."""
    by_name = {result.scenario.name: result for result in results}
    findings: list[Finding] = []
    for bound in bounds:
        result = by_name.get(bound.scenario)
        if result is None:
            continue
        for other, limit in ((REFERENCE, bound.reference), (PEER, bound.peer)):
            if limit is not None:
                found = result.ratio(OURS, other, bound.measure)
                findings.append(Finding(bound=bound, against=other, limit=limit, found=found))
        if bound.value is not None:
            found = result.median(OURS, bound.measure)
            findings.append(Finding(bound=bound, against="", limit=bound.value, found=found))
    return findings


def write_result(result: Result) -> Iterator[str]:
    """Write one scenario's table: a line for each client, with its ratio to the reference."""
    scenario = result.scenario
    yield f"### {scenario.title}"
    yield ""
    heads = [cell for measure in scenario.measures for cell in (MEASURES[measure].title, "÷ ref.")]
    yield _write_row(["client", *heads, "server busy"])
    yield _write_row(["---", *["---:"] * (len(heads) + 1)])
    for name in KINDS:
        if name in result.failures:
            yield _write_row([KINDS[name].title, f"failed: {result.failures[name]}"])
        elif any(name in measured for measured in result.rounds):
            cells = [KINDS[name].title]
            for measure in scenario.measures:
                cells.append(write_number(result.median(name, measure), MEASURES[measure].digits))
                ratio = result.ratio(name, REFERENCE, measure)
                cells.append("1" if name == REFERENCE else write_number(ratio, 3))
            busy = result.median(name, "server_busy")
            yield _write_row([*cells, "–" if busy is None else f"{busy:.0%}"])
    yield ""


def write_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """Write what had to be reached and what was."""
    yield _write_row(["scenario", "measure", "against", "bound", "found", ""])
    yield _write_row(["---", "---", "---", "---:", "---:", "---"])
    for finding in findings:
        measure = MEASURES[finding.bound.measure]
        sign = "≥" if measure.is_more_better else "≤"
        times = " ×" if finding.against and measure.is_more_better else ""
        yield _write_row(
            [
                finding.bound.scenario,
                measure.title,
                KINDS[finding.against].title if finding.against else "–",
                f"{sign} {finding.limit:g}{times}",
                write_number(finding.found, 3),
                {True: "met", False: "**missed**", None: "not measured"}[finding.is_met],
            ]
        )
    yield ""


def write_number(value: float | None, digits: int) -> str:
    """Write a number with so many significant digits, and no more zeros than it has."""
    if value is None:
        return "–"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{float(f'{value:.{digits}g}'):g}"


def _write_row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
