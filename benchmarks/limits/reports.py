"""Tables of what was measured: a row for each kind of world, with the worst of its variants."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import attrs

from .measures import OURS, Result, bound_of, distance, judge
from .peers import PEERS
from .worlds import World

BEGIN: Final = "<!-- made by benchmarks/ratelimit.py -->"
END: Final = "<!-- end of what is made -->"


@attrs.frozen(kw_only=True)
class Finding:
    """A world, and what each policy came to in it."""

    world: World
    results: Mapping[str, Result]
    """By the policy's name."""

    @property
    def ours(self) -> Result:
        """What the client came to."""
        return self.results[OURS]

    @property
    def is_met(self) -> bool:
        """Whether the client kept the world's bounds."""
        return judge(self.world, self.ours).is_met


def describe(world: World, result: Result) -> str:
    """Describe one result in a line; what bound it misses comes first: R of the ratio, 4 of the 429s, F of failures."""
    verdict = judge(world, result)
    missed = "".join(
        letter
        for letter, met in zip("R4F", (verdict.ratio, verdict.refusals, verdict.failures), strict=True)
        if not met
    )
    return (
        f"{'ok  ' if verdict.is_met else 'MISS'} {missed:3} {'T' if world.is_tuned else 'u'} {world.name:76} "
        f"ratio {result.ratio:5.2f} ({_write_bound(world)})  429 {result.refused:4} {result.refused_share:6.2%}  "
        f"fail {result.failures} [{result.took:.1f}s]"
    )


def count_by_row(findings: Sequence[Finding]) -> Iterator[str]:
    """Say of each row how many variants keep their bounds."""
    for row, group in _by_row(findings):
        yield f"{row:32} {sum(finding.is_met for finding in group)}/{len(group)}"
    yield f"total {sum(finding.is_met for finding in findings)} of {len(findings)}"


def write_markdown(findings: Sequence[Finding], *, seconds: float, picture: str | None) -> str:
    """Write the tables, and below them each variant that misses a bound.

    Args:
        findings: what was measured.
        seconds: how long that took.
        picture: the name of the file beside the text that shows a few worlds; None: there is none.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("aiolimiter", "anyio"))
    lines = [
        BEGIN,
        "",
        f"{len(findings)} variants, {dt.datetime.now(dt.UTC):%Y-%m-%d}, in {seconds:.0f} s on {os.cpu_count()} cores "
        f"({platform.machine()}, {platform.system()}); Python {platform.python_version()}, "
        f"{versions}. In bounds: {sum(each.is_met for each in findings)}.",
        "",
        *_write_own_table(findings),
        "",
        "The worst of what was tuned on, beside what others do there. *Lost*: requests that were given up; how long",
        "the rest took says nothing then. For `insufficient_quota`: seconds from that answer to the last failure.",
        *_write_shares(findings),
        "",
        *_write_comparison(findings),
        "",
        *_write_misses(findings),
        "",
        *([] if picture is None else [f"![In flight, admitted and refused, in four worlds]({picture})", ""]),
        END,
    ]
    return "\n".join(lines)


def insert(text: str, made: str) -> str:
    """Put what is made into a text, between its two marks; a text without them is replaced."""
    if BEGIN not in text or END not in text:
        return made + "\n"
    before, _, rest = text.partition(BEGIN)
    return before + made + rest.partition(END)[2]


def _write_own_table(findings: Sequence[Finding]) -> Iterator[str]:
    names = (
        "world",
        "÷ least: bound",
        "tuned on",
        "kept out",
        "429s: bound",
        "tuned on",
        "kept out",
        "failed",
        "unfair",
        "in bounds: tuned on",
        "kept out",
    )
    yield f"| {' | '.join(names)} |"
    yield "| --- |" + " ---: |" * (len(names) - 1)
    for row, group in _by_row(findings):
        parts = [[each for each in group if each.world.is_tuned is is_tuned] for is_tuned in (True, False)]
        cells = [
            row,
            _write_bound(max((each.world for each in group), key=bound_of)),
            *(_write_worst_ratio(part, OURS) for part in parts),
            _write_refusal_bound(group[0].world),
            *(_write_worst_refusals(part, OURS) for part in parts),
            str(sum(each.ours.failures for each in group)),
            _write_seconds(max(each.ours.unfair_wait for each in group)),
            *(f"{sum(each.is_met for each in part)} of {len(part)}" if part else "–" for part in parts),
        ]
        yield f"| {' | '.join(cells)} |"


def _write_shares(findings: Sequence[Finding]) -> Iterator[str]:
    shares = [finding.ours.others_share for finding in findings if finding.ours.others_share is not None]
    if shares:
        yield f"The other program on the same key got {min(shares):.1%} to {max(shares):.0%} of what it asked for."


def _write_comparison(findings: Sequence[Finding]) -> Iterator[str]:
    policies = [OURS, *(name for name in PEERS if any(name in finding.results for finding in findings))]
    if len(policies) == 1:
        return
    yield f"| world | {' | '.join(policies)} |"
    yield "| --- |" + " --- |" * len(policies)
    for row, group in _by_row(findings):
        yield f"| {row} | {' | '.join(_write_cell(group, policy) for policy in policies)} |"


def _write_cell(group: Sequence[Finding], policy: str) -> str:
    found = [finding for finding in group if finding.world.is_tuned and policy in finding.results]
    if not found:
        return "–"
    lost = max(finding.results[policy].lost_share for finding in found)
    refused = f"{_write_worst_refusals(found, policy)} 429s"
    # What loses requests has less to do: its makespan says nothing.
    return (
        f"{_write_worst_ratio(found, policy)}, {refused}" if lost == 0 else f"**{_write_lost(lost)} lost**, {refused}"
    )


def _write_misses(findings: Sequence[Finding]) -> Iterator[str]:
    misses = [finding for finding in findings if not finding.is_met]
    if not misses:
        yield "No variant misses a bound."
        return
    yield f"<details><summary>The {len(misses)} variants that miss a bound</summary>"
    yield ""
    yield "| variant | tuned on | ÷ least | 429s |"
    yield "| --- | --- | ---: | ---: |"
    for finding in misses:
        world, ours, verdict = finding.world, finding.ours, judge(finding.world, finding.ours)
        ratio = _write_ratio(world, ours.ratio)
        refused = f"{ours.refused_share:.1%}"
        yield (
            f"| {world.name} | {'yes' if world.is_tuned else 'no'} | {ratio if verdict.ratio else f'**{ratio}**'} "
            f"| {refused if verdict.refusals else f'**{refused}**'} |"
        )
    yield ""
    yield "</details>"


def _by_row(findings: Iterable[Finding]) -> Iterator[tuple[str, list[Finding]]]:
    rows = dict.fromkeys(finding.world.row for finding in findings)
    for row, group in groupby(sorted(findings, key=lambda each: list(rows).index(each.world.row)), _row_of):
        yield row, list(group)


def _row_of(finding: Finding) -> str:
    return finding.world.row


def _write_worst_ratio(group: Sequence[Finding], policy: str) -> str:
    worst = _find_worst(group, lambda finding: distance(finding.world, finding.results[policy]))
    return "–" if worst is None else _write_ratio(worst.world, worst.results[policy].ratio)


def _write_worst_refusals(group: Sequence[Finding], policy: str) -> str:
    worst = _find_worst(group, lambda finding: finding.results[policy].refused_share)
    return "–" if worst is None else f"{worst.results[policy].refused_share:.1%}"


def _find_worst(group: Sequence[Finding], measure: Callable[[Finding], float]) -> Finding | None:
    return max(group, key=measure, default=None)


def _write_ratio(world: World, ratio: float) -> str:
    return _write_seconds(ratio) if world.measure == "quota" else f"{ratio:.2f}"


def _write_bound(world: World) -> str:
    if world.measure == "share":
        return f"{1 - world.ratio:.2f}–{1 + world.ratio:.2f}"
    return _write_ratio(world, bound_of(world))


def _write_refusal_bound(world: World) -> str:
    if world.refused >= 1:
        return "–"
    return f"{world.refused:.1%}" + (f", or {world.refused_extra} and 2.5%" if world.refused_extra else "")


def _write_lost(share: float) -> str:
    return f"{share:.0%}" if share >= 0.005 else f"{share:.1%}"


def _write_seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"
