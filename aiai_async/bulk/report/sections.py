"""The sections of the page above the sheet: figures, what is not done, how it went. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiai_async.bulk.records import RunRow
from aiai_async.bulk.report import words
from aiai_async.bulk.report.failures import STATES, Failures
from aiai_async.bulk.report.markup import Markup, join, tag
from aiai_async.bulk.report.plots import Plot, draw, make_legend
from aiai_async.bulk.report.summary import Limit, Summary, describe_end, find_limit

_MOST_RUNS: Final = 30
_MOST_LIMITS: Final = 30
_LONGEST_MESSAGE: Final = 600

# -- the figures


def make_summary(summary: Summary) -> Markup:
    """Make the section of the figures."""
    tiles = [
        _make_tile(
            "Items done", f"{summary.done:,}", f"of {summary.total:,}, {words.share(summary.done, summary.total)}"
        ),
        _make_tile("Images", f"{summary.images:,}", words.size(summary.size_bytes)),
        _make_cost(summary),
        _make_throughput(summary),
        _make_refusals(summary),
        _make_tile("Waiting", words.seconds(summary.waited), "in which requests were ready and none was let go"),
        _make_tile("Running", words.seconds(summary.running_time), f"in {words.count(len(summary.runs), 'run')}"),
    ]
    if summary.latencies:
        rest = ", ".join(f"{percent} % within {words.seconds(value)}" for percent, value in summary.latencies[1:])
        tiles.append(_make_tile("Latency", words.seconds(summary.latencies[0][1]), f"the median; {rest}"))
    return tag(
        "section",
        tag("h2", "Summary", id="summary-title"),
        *(tag("p", note, class_="note") for note in summary.notes),
        _make_bar(summary),
        tag("dl", *tiles, class_="tiles"),
        id="summary",
        aria_labelledby="summary-title",
    )


def _make_tile(name: str, value: str, more: str) -> Markup:
    return tag(
        "div", tag("dt", name), tag("dd", value, class_="value"), tag("dd", more, class_="more") if more else None
    )


def _make_cost(summary: Summary) -> Markup:
    unknown = summary.cost.unknown
    parts: list[str] = []
    if unknown:
        parts.append(f"of {words.count(unknown, 'item')} it isn't known")
    if summary.more_cost > 0:
        most = words.usd(summary.cost.usd + summary.more_cost)
        dates = f" of {', '.join(summary.priced_on)}" if summary.priced_on else ""
        parts.append(f"at most {most} with what else may have been billed, by prices{dates}")
    if summary.unpriced:
        number = words.count(summary.unpriced, "item")
        parts.append(f"{number} more may have been billed, nobody knows how much")
    is_known = summary.cost.usd > 0 or not unknown
    value = words.usd(summary.cost.usd) if is_known else "not known"
    return _make_tile("Cost", value, "; ".join(parts) or "of all answers, in US dollars")


def _make_throughput(summary: Summary) -> Markup:
    rate, limit = summary.images_per_minute, find_limit(summary.limits)
    value = "not known" if rate is None else f"{rate:,.0f}/min" if rate >= 10 else f"{rate:.1f}/min"
    if limit is None:
        return _make_tile("Throughput", value, "images; no limit of images is known")
    used = "" if rate is None else f", {words.share(rate, limit)} of it used"
    return _make_tile("Throughput", value, f"images; the limit is {limit:,.10g}/min{used}")


def _make_refusals(summary: Summary) -> Markup:
    value = f"{summary.refusals:,}" if summary.runs else "not known"
    were = "was" if summary.repeats == 1 else "were"
    repeats = f"{words.count(summary.repeats, 'attempt')} in all {were} not the first" if summary.repeats else ""
    return _make_tile("Refused with 429", value, repeats)


def _make_bar(summary: Summary) -> Markup:
    """Draw what part of the items is in which state, and name it."""
    shown = [(state, summary.counts[state]) for state in STATES if summary.counts.get(state)]
    parts: list[Markup] = []
    x = 0.0
    for state, number in shown:
        width = 100 * number / summary.total
        parts.append(tag("rect", x=f"{x:.4f}%", width=f"{width:.4f}%", y=0, height=12, class_=f"s-{state.value}"))
        x += width
    names = [
        tag(
            "li",
            tag("span", class_=f"dot s-{state.value}"),
            f"{STATES[state]} ",
            tag("b", f"{number:,}"),
            tag("span", f" {words.share(number, summary.total)}", class_="more"),
        )
        for state, number in shown
    ]
    bar = tag("svg", *parts, class_="states-bar", aria_hidden="true", height=12)
    return join(bar, tag("ul", *names, class_="states", aria_label="What became of the items"))


# -- what is not done


def make_failures(failures: Sequence[tuple[int, Failures]]) -> Markup:
    """Make the section of what is not done."""
    return tag(
        "section",
        tag("h2", "Not done", id="failures-title"),
        tag("div", *(_make_failure(number, found) for number, found in failures), class_="kinds"),
        id="failures",
        aria_labelledby="failures-title",
    )


def _make_failure(number: int, found: Failures) -> Markup:
    state = found.kind.state
    message = None
    if found.message is not None:
        message = tag("p", tag("q", words.shorten(found.message, _LONGEST_MESSAGE), dir="auto"), class_="message")
    examples = [
        tag("li", tag("a", f"#{index}", href=f"#item-{index}"), " ", tag("bdi", prompt, dir="auto"))
        for index, prompt in found.examples
    ]
    return tag(
        "article",
        tag("h3", tag("bdi", found.kind.title), " ", tag("span", words.count(found.count, "item"), class_="number")),
        tag("p", tag("span", STATES[state], class_=f"badge s-{state.value}"), class_="badges"),
        message,
        tag("p", found.kind.advice, class_="advice"),
        tag(
            "details",
            tag("summary", "The first of them" if found.count > len(examples) else "Which"),
            tag("ul", *examples, class_="examples"),
        ),
        tag("button", "Show in the sheet", type="button", class_="show", data_kind=number, hidden=True),
        class_="kind",
    )


# -- how it went


def make_history(summary: Summary, plots: Sequence[Plot]) -> Markup:
    """Make the section of how it went."""
    figures = [
        tag(
            "figure",
            tag("figcaption", plot.title),
            make_legend(plot),
            draw(plot),
            tag("p", plot.summary, class_="more"),
        )
        for plot in plots
    ]
    note = "Items that are in flight are counted when they have ended." if summary.is_under_way else None
    return tag(
        "section",
        tag("h2", "Over time", id="history-title"),
        None if note is None else tag("p", note, class_="note"),
        tag("div", *figures, class_="plots"),
        _make_runs(summary) if summary.runs else None,
        _make_limits(summary.limits) if summary.limits else None,
        id="history",
        aria_labelledby="history-title",
    )


def _make_runs(summary: Summary) -> Markup:
    shown = summary.runs[-_MOST_RUNS:]
    rows = [_make_run(run, is_under_way=summary.is_under_way and run is summary.runs[-1]) for run in shown]
    hidden = len(summary.runs) - len(shown)
    return join(
        tag("h3", "Runs"),
        tag("p", f"The last {len(shown)} of {len(summary.runs):,}.", class_="more") if hidden else None,
        _make_table(("Run", "Began", "Took", "How it ended", "429s", "Waiting"), rows),
    )


def _make_run(run: RunRow, *, is_under_way: bool) -> list[Markup | str]:
    took = None
    if run.started_at is not None and run.ended_at is not None:
        took = words.seconds(max(0.0, run.ended_at - run.started_at))
    return [
        str(run.run),
        "–" if run.started_at is None else words.moment(run.started_at),
        took or "–",
        describe_end(run, is_under_way=is_under_way),
        f"{run.refusals:,}",
        words.seconds(run.waited),
    ]


def _make_limits(limits: Sequence[Limit]) -> Markup:
    rows: list[list[Markup | str]] = []
    for limit in limits[:_MOST_LIMITS]:
        window = "at once" if not limit.window else f"in {words.seconds(limit.window)}"
        rows.append([limit.name, f"{limit.limit:,.10g} {window}", limit.source or "–"])
    return join(tag("h3", "Limits"), _make_table(("What", "How much", "Known from"), rows))


def _make_table(heads: Sequence[str], rows: Sequence[Sequence[Markup | str]]) -> Markup:
    """Make a table, each of whose cells carries its head for screens on which rows are broken up."""
    body = [
        tag("tr", *(tag("td", cell, data_head=head) for head, cell in zip(heads, row, strict=True))) for row in rows
    ]
    return tag(
        "table",
        tag("thead", tag("tr", *(tag("th", head, scope="col") for head in heads))),
        tag("tbody", *body),
    )
