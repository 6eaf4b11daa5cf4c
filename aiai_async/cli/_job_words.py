"""What a job does, in lines for people and objects for programs. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final

from aiai_async.bulk import BadRow, JobResult, Progress
from aiai_async.bulk.budgets import Exhausted
from aiai_async.bulk.costs import JobCost, format_usd
from aiai_async.bulk.drafts import Summary
from aiai_async.bulk.items import Item, State
from aiai_async.bulk.outputs import IMAGES
from aiai_async.bulk.records import Ended
from aiai_async.cli._words import count, format_seconds, one_line, shorten

_OUTCOMES: Final[Mapping[str, str]] = {
    "failed": "failed for good",
    "failed_for_now": "failed for now",
    "unknown": "may have been billed without an image",
    "not_downloaded": "not downloaded yet",
    "unfinished": "unfinished",
    "pending": "not sent",
}


def describe_rows(summary: Summary) -> str:
    """Say what rows there are."""
    models = ", ".join(f"{name or 'no model named'}: {number:,}" for name, number in summary.models.items())
    words = f"{count(summary.rows, 'row')}, {count(summary.images, 'image')} ({models})"
    return f"{words}, {count(summary.bad_count, 'bad row')} left out" if summary.bad_count else words


def rows_to_object(summary: Summary, cost: JobCost) -> dict[str, object]:
    """Give what rows there are as an object."""
    return {
        "type": "rows",
        "rows": summary.rows,
        "images": summary.images,
        "models": {name or "": number for name, number in summary.models.items()},
        "bad_rows": summary.bad_count,
        **cost_to_object(cost),
    }


def describe_cost(cost: JobCost) -> list[str]:
    """Say in lines what rows may cost at most, of when the prices are, and what isn't known."""
    lines: list[str] = []
    known = {model: usd for model, usd in cost.by_model.items() if usd is not None}
    if known or not cost.by_model:
        each = f": {', '.join(f'{_name(model)} {format_usd(usd)}' for model, usd in known.items())}" if known else ""
        lines.append(f"it may cost up to {format_usd(cost.usd)}{each} ({_describe_dates(cost.priced_on)})")
    if cost.unknown_rows:
        models = [one_line(model) for model in cost.unknown_models if model is not None]
        reasons = [f"no price of {', '.join(models)}"] if models else []
        reasons += ["no model named"] if None in cost.unknown_models else []
        rest = "; that is not in it" if known else ""
        words = f"what {count(cost.unknown_rows, 'row')} cost isn't known ({'; '.join(reasons)}){rest}"
        lines.append(f"{words}; --prices FILE.toml gives prices")
    return lines


def _name(model: str | None) -> str:
    return "no model named" if model is None else one_line(model)


def _describe_dates(dates: Sequence[dt.date]) -> str:
    return f"prices of {', '.join(map(str, dates))}" if dates else "prices without a date"


def cost_to_object(cost: JobCost) -> dict[str, object]:
    """Give what rows may cost as fields of an object; unknown is null, never 0."""
    is_known = any(usd is not None for usd in cost.by_model.values())
    return {
        "estimated_cost_usd": _round(cost.usd) if is_known else None,
        "estimated_cost_by_model": {model or "": _round(usd) for model, usd in cost.by_model.items()},
        "unknown_cost_rows": cost.unknown_rows,
        "prices_dates": [str(date) for date in cost.priced_on],
    }


def _round(usd: float | None) -> float | None:
    """Round US dollars for programs: sums of floats have a tail that means nothing."""
    return None if usd is None else round(usd, 9)


def ask_for_cost(cost: JobCost, *, spent: float = 0.0, max_cost: float | None) -> str:
    """Ask whether a job that may cost so much is to go on, after what its runs before may have cost."""
    cap = "" if max_cost is None else f"; it stops before {format_usd(max_cost)} could be passed"
    before = f"; {format_usd(spent)} are spent or may be" if spent > 0 else ""
    return f"{'; '.join(describe_cost(cost))}{before}{cap}. Go on? [y/N] "


def bad_row_to_object(row: BadRow) -> dict[str, object]:
    """Give a bad row as an object."""
    return {"type": "bad_row", "line": row.line, "reason": row.reason}


def describe_progress(progress: Progress) -> str:
    """Say in one line how far a job is, what it costs, and why it waits."""
    words = "; ".join(filter(None, (count_progress(progress), describe_spending(progress))))
    return f"{words}; {one_line(progress.waiting)}" if progress.waiting else words


def describe_spending(progress: Progress) -> str | None:
    """Say what a job has cost so far and what all of it may come to; None where nothing is known."""
    if progress.cost is None and progress.estimated_cost is None:
        return None
    so_far = "an unknown amount" if progress.cost is None else format_usd(progress.cost)
    if progress.unknown_costs and progress.cost is not None:
        so_far = f"{so_far} (and {count(progress.unknown_costs, 'answer')} unknown)"
    if progress.estimated_cost is None:
        return f"{so_far} spent"
    dates = f" ({_describe_dates(progress.priced_on)})" if progress.priced_on else ""
    return f"{so_far} of about {format_usd(progress.estimated_cost)} spent{dates}"


def count_progress(progress: Progress) -> str:
    """Say in one line how far a job is."""
    parts = [f"{progress.done:,} of {progress.total:,} done"]
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.unknown:
        parts.append(f"{progress.unknown:,} unknown")
    parts.append(f"{progress.in_flight:,} in flight")
    limit = "" if progress.limit is None else f" of {progress.limit:,.0f}"
    parts.append(f"{progress.rate:,.1f}{limit} images/min")
    if progress.eta is not None:
        parts.append(f"{format_duration(progress.eta)} left")
    return ", ".join(parts)


def format_duration(seconds: float) -> str:
    """Write a length of time that may be hours.

    Example:
        >>> format_duration(42.4), format_duration(754), format_duration(7384)
        ('42 s', '12 min 34 s', '2 h 03 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def progress_to_object(progress: Progress) -> dict[str, object]:
    """Give how far a job is as an object."""
    return {
        "type": "progress",
        "done": progress.done,
        "failed": progress.failed,
        "unknown": progress.unknown,
        "in_flight": progress.in_flight,
        "total": progress.total,
        "images": progress.images,
        "elapsed": round(progress.elapsed, 3),
        "images_per_minute": round(progress.rate, 2),
        "images_per_minute_limit": progress.limit,
        "eta": None if progress.eta is None else round(progress.eta, 1),
        "waiting": progress.waiting,
        "cost_usd": _round(progress.cost),
        "unknown_costs": progress.unknown_costs,
        "estimated_cost_usd": _round(progress.estimated_cost),
        "prices_dates": [str(date) for date in progress.priced_on],
    }


def describe_failure(item: Item, change: Ended) -> str:
    """Say in one line what went wrong with an item."""
    name = item.id if item.has_custom_id else shorten(str(item.request.get("prompt", "")))
    message = (change.error or {}).get("message", "")
    return one_line(f"{name}: {_OUTCOMES.get(change.state.value, change.state.value)}: {message}")


def item_to_object(item: Item, change: Ended) -> dict[str, object]:
    """Give what became of an item as an object."""
    shown: dict[str, object] = {
        "type": "item",
        "index": item.index,
        "custom_id": item.id,
        "outcome": change.state.value,
        "paths": [f"{IMAGES}/{row.name}" for row in change.rows if row.name is not None],
        "usage": change.usage,
        "cost_usd": _round(change.cost),
        "cost_source": change.cost_source,
        "request_id": change.request_id,
        "attempts": change.attempts,
        "elapsed": None if change.elapsed is None else round(change.elapsed, 3),
    }
    if change.state is not State.DONE:
        shown["error"] = change.error
    return shown


def describe_recovery(result: JobResult) -> list[str]:
    """Say what was put in order before the run, where there was something."""
    found = result.recovery
    lines: list[str] = []
    if found.renamed:
        lines.append(f"{count(found.renamed, 'image')} of the run before got their names")
    if found.lost:
        lines.append(f"the images of {count(found.lost, 'item')} are missing or damaged; see {result.errors_path}")
    if found.found:
        lines.append(f"the missing images of {count(found.found, 'item')} are there again")
    return lines


def describe_result(result: JobResult, *, elapsed: float) -> str:
    """Say in one line what a run left."""
    folder = one_line(str(result.folder))
    parts = [f"{result.done:,} of {count(result.total, 'item')} done, {count(result.images, 'image')} in {folder}"]
    parts += [f"{number:,} {_OUTCOMES[name]}" for name, number in result.counts.items() if number and name in _OUTCOMES]
    if result.sent_nothing and result.done == result.total:
        return f"{folder} is finished: {parts[0]}; nothing was sent"
    if result.sent_nothing and result.reason == "finished":
        return f"{folder} has nothing left to send: {', '.join(parts)}; nothing was sent"
    if words := _describe_cost_of(result):
        parts.append(words)
    return f"{', '.join(parts)}; this run took {format_seconds(elapsed)}"


def _describe_cost_of(result: JobResult) -> str | None:
    if result.cost is None:
        return f"what {count(result.unknown_costs, 'item')} cost isn't known"
    unknown = f" and what {count(result.unknown_costs, 'item')} cost, which isn't known" if result.unknown_costs else ""
    return f"{format_usd(result.cost)} spent{unknown}" if result.cost or unknown else None


def describe_resuming(command: str, *, is_piped: bool, exhausted: Exhausted | None = None) -> str:
    """Say how to go on.

    Args:
        command: the same one again.
        is_piped: whether its rows come from standard input.
        exhausted: the budget that stopped it.

    Example:
        >>> describe_resuming("aiai-async batch - --out job", is_piped=True)
        'to go on, with the same input: aiai-async batch - --out job'
    """
    raising = "" if exhausted is None else f", raise --{exhausted.replace('_', '-')}"
    return f"to go on{raising}{', with the same input' if is_piped else ''}: {command}"


def advise(result: JobResult, *, command: str, is_piped: bool) -> list[str]:
    """Say what to do about what is not done."""
    lines: list[str] = []
    if result.exhausted is not None or result.remaining:
        lines.append(describe_resuming(command, is_piped=is_piped, exhausted=result.exhausted))
    if result.failed:
        lines.append("--retry failed asks again for what failed for good")
    if result.unknown:
        lines.append("--retry unknown asks again for what may have been billed: it may be paid twice")
    if result.done + result.counts["pending"] < result.total:
        lines.append(f"what went wrong is in {one_line(str(result.errors_path))}")
    return lines


def result_to_object(result: JobResult, *, elapsed: float, command: str) -> dict[str, object]:
    """Give what a run left as an object."""
    return {
        "type": "result",
        **result.counts,
        "total": result.total,
        "images": result.images,
        "cost_usd": _round(result.cost),
        "unknown_costs": result.unknown_costs,
        "exhausted": result.exhausted,
        "reason": result.reason,
        "message": result.message,
        "sent_nothing": result.sent_nothing,
        "exit_code": result.exit_code,
        "elapsed": round(elapsed, 3),
        "folder": str(result.folder),
        "results": str(result.results_path),
        "errors": str(result.errors_path),
        "report": str(result.report_path),
        "resume": command if result.remaining else None,
    }
