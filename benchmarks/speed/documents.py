"""Puts what was measured into the documentation, between marks, with the machine, the versions and the date."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from .clients import KINDS, OURS, PEER, REFERENCE
from .growth import Growth
from .plots import name_picture
from .rounds import Result
from .scenarios import MEASURES
from .tables import Finding, write_findings, write_number, write_result, write_row

_PACKAGES: Final = ("aiohttp", "orjson", "pybase64", "uvloop", "httpx", "httpx-sse", "openai", "litellm")
_COLUMNS: Final = (OURS, REFERENCE, PEER, "litellm")
_README_ROWS: Final = (
    ("A 2 MB image, one at a time: CPU ms/MB", "2mb-1", "cpu_ms_per_mb"),
    ("the same: MB/s", "2mb-1", "mb_per_s"),
    ("Eight at once: peak memory in MB", "2mb-8", "peak_mb"),
    ("Stream: ms to the first partial image of 1 MB", "stream", "first_ms"),
    ("Small answers, 64 at once: requests/s", "small-64", "requests_per_s"),
    ("2,000 in flight, 1 s of latency: seconds above that", "2000-in-flight", "cold_above_s"),
    ("120 requests against a limit, 2 retries: failed", "limited-2", "failed"),
    ("A script that makes one request: CPU ms", "import", "ready_cpu_ms"),
)


def describe_environment() -> dict[str, str]:
    """Say on what was measured, and when."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "machine": f"{os.cpu_count()} cores, {_find_processor()}, {platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **versions,
    }


def write_results(
    results: Sequence[Result], findings: Sequence[Finding], environment: Mapping[str, str]
) -> Iterator[str]:
    """Write what had to be reached and every table."""
    yield _write_environment(environment)
    yield ""
    met = sum(bool(finding.is_met) for finding in findings)
    yield f"{met} of {len(findings)} bounds are met."
    yield ""
    yield from write_findings(findings)
    for result in results:
        yield from write_result(result)


def write_growth(growth: Growth, environment: Mapping[str, str] | None = None) -> Iterator[str]:
    """Write one curve: its picture, and a table of its figures."""
    curve = growth.curve
    titles = [MEASURES[name].title for name in curve.measures]
    yield f"![{curve.title}: {'; '.join(titles)}]({name_picture(growth)})"
    yield ""
    lines = list(growth.values)
    yield write_row(["", curve.axis, *titles])
    yield write_row(["---", *["---:"] * (len(titles) + 1)])
    for label in lines:
        for point, measured in sorted(growth.values[label].items()):
            cells = [write_number(measured.get(name), 3) for name in curve.measures]
            yield write_row([label, f"{point / curve.scale:,g}", *cells])
            label = ""
    yield ""
    for name, failure in growth.failures.items():
        yield f"- {name}: failed: {failure}"
    if growth.failures:
        yield ""
    if environment is not None:
        yield _write_environment(environment)
        yield ""


def write_readme(results: Sequence[Result]) -> Iterator[str]:
    """Write the one table that matters."""
    by_name = {result.scenario.name: result for result in results}
    yield write_row(["", *(KINDS[name].title for name in _COLUMNS)])
    yield write_row(["---", *["---:"] * len(_COLUMNS)])
    for title, scenario, measure in _README_ROWS:
        if (result := by_name.get(scenario)) is not None:
            yield write_row([title, *(write_number(result.median(name, measure), 3) for name in _COLUMNS)])
    yield ""


def insert(path: Path, name: str, lines: Iterable[str]) -> None:
    """Put lines into a text between the two marks of this name.

    Raises:
        ValueError: it does not have them.
    """
    begin, end = f"<!-- made by benchmarks/performance.py: {name} -->", f"<!-- end of {name} -->"
    text = path.read_text(encoding="utf-8")
    before, found_begin, rest = text.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end:
        raise ValueError(f"{path} has no marks for {name}: {begin} and {end}")
    made = "\n".join([begin, "", *lines, end])
    path.write_text(before + made + after, encoding="utf-8")


def _write_environment(environment: Mapping[str, str]) -> str:
    head = dict(environment)
    date, machine = head.pop("date"), head.pop("machine")
    return f"Measured {date} on {machine}; {', '.join(f'{name} {version}' for name, version in head.items())}."


def _find_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
