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
    has_reference = REFERENCE in scenario.clients
    has_server = any("server_busy" in each for measured in result.rounds for each in measured.values())
    heads = ["client"]
    for measure in scenario.measures:
        heads += [MEASURES[measure].title, *(["÷ ref."] if has_reference else [])]
    heads += ["server busy"] if has_server else []
    yield write_row(heads)
    yield write_row(["---", *["---:"] * (len(heads) - 1)])
    for name in KINDS:
        if name in result.failures:
            yield write_row([KINDS[name].title, f"failed: {result.failures[name]}"])
        elif any(name in measured for measured in result.rounds):
            cells = [KINDS[name].title]
            for measure in scenario.measures:
                cells.append(write_number(result.median(name, measure), MEASURES[measure].digits))
                if has_reference:
                    cells.append(write_number(result.ratio(name, REFERENCE, measure), 3))
            if has_server:
                busy = result.median(name, "server_busy")
                cells.append("–" if busy is None else f"{busy:.0%}")
            yield write_row(cells)
    yield ""


def write_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """Write what had to be reached and what was."""
    yield write_row(["scenario", "measure", "against", "bound", "found", ""])
    yield write_row(["---", "---", "---", "---:", "---:", "---"])
    for finding in findings:
        measure = MEASURES[finding.bound.measure]
        sign = "≥" if measure.is_more_better else "≤"
        times = " ×" if finding.against and measure.is_more_better else ""
        yield write_row(
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


def write_row(cells: Iterable[str]) -> str:
    """Write one row of a table."""
    return f"| {' | '.join(cells)} |"
