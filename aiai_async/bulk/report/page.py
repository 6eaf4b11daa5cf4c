"""The page: what is fixed comes from `assets/`, what is of the job comes in escaped by `markup` or `entries.dump`.

Its policy lets it load nothing but its own pictures and pieces, and run nothing that doesn't carry a word made anew for
each page. Pure, but for reading the package's own files.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from string import Template
from typing import Final
from urllib.parse import quote

import attrs

from aiai_async import __version__
from aiai_async.bulk.outputs import ERRORS, IMAGES, RESULTS
from aiai_async.bulk.records import Record, RunRow
from aiai_async.bulk.report import words
from aiai_async.bulk.report.entries import STATE_ORDER, dump
from aiai_async.bulk.report.failures import STATES, Failures
from aiai_async.bulk.report.markup import Markup, join, raw, tag
from aiai_async.bulk.report.pieces import Piece
from aiai_async.bulk.report.plots import Plot, draw, make_legend
from aiai_async.bulk.report.summary import Limit, Summary, describe_end, find_limit
from aiai_async.bulk.report.thumbnails import GONE, PLAIN, THUMB, THUMBS

# 'self' is what a server of the folder needs. From the disk it means other things in other browsers; file: doesn't.
_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)
_MOST_RUNS: Final = 30
_MOST_LIMITS: Final = 30
_LONGEST_MESSAGE: Final = 600
_LONGEST_PLAIN: Final = 300
MOST_PLAIN: Final = 200
"""Items that are shown where no script runs."""


@attrs.frozen(kw_only=True)
class Rows:
    """The items as the script gets them."""

    index: str = "[]"
    """JSON of the first of them, which stand in the page itself."""
    details: str = "[]"
    """What is looked up of the same."""
    pieces: Sequence[Piece] = ()
    """The rest."""
    models: Sequence[str] = ()
    """The models' names by their numbers."""
    plain: Sequence[Markup] = ()
    """The first items, for where no script runs."""


def render(
    summary: Summary, failures: Sequence[tuple[int, Failures]], plots: Sequence[Plot], rows: Rows, *, nonce: str
) -> str:
    """Make the page.

    Args:
        summary: the figures.
        failures: what is not done, each with its number, in the order in which it is shown.
        plots: what is drawn.
        rows: the items.
        nonce: a word that nobody who wrote any of this could know.
    """
    sections = [_make_summary(summary)]
    links = [("summary", "Summary")]
    if failures:
        sections.append(_make_failures(failures))
        links.append(("failures", "Not done"))
    if summary.runs or plots:
        sections.append(_make_history(summary, plots))
        links.append(("history", "Over time"))
    links.append(("images", "Images"))
    job = {
        "states": [[state.value, STATES[state], summary.counts.get(state, 0)] for state in STATE_ORDER],
        "order": [STATE_ORDER.index(state) for state in STATES],
        "kinds": [[number, kind.kind.title, kind.count] for number, kind in failures],
        "models": list(rows.models),
        "pieces": [attrs.astuple(piece) for piece in rows.pieces],
        "total": summary.total,
    }
    state = tag("p", summary.describe_state(), class_="state")
    when = tag("p", "Made ", words.moment(summary.made_at), ".", class_="made")
    return Template(_read("report.html")).substitute(
        policy=_POLICY.format(nonce=nonce),
        nonce=nonce,
        title=join(f"{summary.name}: job report"),
        style=raw(_read("report.css")),
        script=raw(_read("report.js")),
        heading=join("Job ", tag("bdi", summary.name)),
        state=join(state, when),
        links=join(*(tag("a", name, href=f"#{target}") for target, name in links)),
        sections=join(*sections),
        plain=_make_plain(rows.plain, summary.total),
        footer=tag("p", f"Made by aiai-async {__version__} from the journal of the job."),
        job=raw(dump(job)),
        index=raw(rows.index),
        details=raw(rows.details),
    )


@functools.cache
def _read(name: str) -> str:
    return (resources.files("aiai_async.bulk.report") / "assets" / name).read_text(encoding="utf-8")


# -- the figures


def _make_summary(summary: Summary) -> Markup:
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
        parts.append(f"of {words.count(unknown, 'item')} the cost isn't known")
    if summary.spent_cost > 0:
        parts.append(f"up to {words.usd(summary.spent_cost)} more for what has no image or was asked for again")
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
    return join(bar, tag("ul", *names, class_="states", aria_label="Items by status"))


# -- what is not done


def _make_failures(failures: Sequence[tuple[int, Failures]]) -> Markup:
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


def _make_history(summary: Summary, plots: Sequence[Plot]) -> Markup:
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


# -- without scripts


def _make_plain(entries: Sequence[Markup], total: int) -> Markup:
    first = "" if total <= len(entries) else f"These are the first {len(entries)} of {total:,} items. "
    note = f"Without scripts nothing can be filtered or enlarged here. {first}All are in {RESULTS} and {ERRORS}."
    return join(tag("p", note, class_="note"), tag("ul", *entries, class_="plain"))


def make_plain_entry(record: Record, looks: Sequence[int]) -> Markup:
    """Make what stands for an item where no script runs."""
    item = record.item
    names = [row.name for row in record.rows if row.name is not None]
    images = [
        tag(
            "a",
            tag("img", src=_address(name, look), alt=f"Image of item {item.index}", loading="lazy"),
            href=_address(name),
        )
        for name, look in zip(names, looks, strict=True)
        if look != GONE
    ]
    prompt = words.shorten(str(item.request.get("prompt", "")), _LONGEST_PLAIN)
    return tag("li", *images, " ", tag("bdi", prompt, dir="auto"), f" #{item.index}: {STATES[item.state]}")


def _address(name: str, look: int = PLAIN) -> str:
    return f"{THUMBS}/{quote(name)}.webp" if look == THUMB else f"{IMAGES}/{quote(name)}"


def name_of_model(request: Mapping[str, object]) -> str:
    """Name the model of a request as the page does."""
    return words.shorten(str(request.get("model") or "no model named"), 100)
