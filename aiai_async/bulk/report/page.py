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
from aiai_async.bulk.records import Record
from aiai_async.bulk.report import words
from aiai_async.bulk.report.entries import STATE_ORDER, dump
from aiai_async.bulk.report.failures import STATES, Failures
from aiai_async.bulk.report.markup import Markup, join, raw, tag
from aiai_async.bulk.report.pieces import Piece
from aiai_async.bulk.report.plots import Plot
from aiai_async.bulk.report.sections import make_failures, make_history, make_summary
from aiai_async.bulk.report.summary import Summary
from aiai_async.bulk.report.thumbnails import GONE, PLAIN, THUMB, THUMBS

# 'self' is what a server of the folder needs. From the disk it means other things in other browsers; file: doesn't.
_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; img-src 'self' file:; "
    "base-uri 'none'; form-action 'none'"
)
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
    sections = [make_summary(summary)]
    links = [("summary", "Summary")]
    if failures:
        sections.append(make_failures(failures))
        links.append(("failures", "Not done"))
    if summary.runs or plots:
        sections.append(make_history(summary, plots))
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
