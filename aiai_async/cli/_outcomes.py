"""What became of each prompt, and how that is said: in lines for people, as an object for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from aiai_async import AIAIError, Cost, Image, ImageCompletedEvent, PartialImageEvent, Usage
from aiai_async.bulk.costs import format_usd
from aiai_async.bulk.outcomes import to_plain
from aiai_async.cli._words import count, format_seconds, format_size, one_line, shorten

# Attributes of errors that programs decide by.
_FACTS: Final = ("code", "status_code", "param", "phase", "retry_after", "attempts", "url", "path", "links")
# Below the prompt, which stands behind the mark and the time.
_INDENT: Final = " " * 11
# A stream's line has more to say behind the prompt.
_LONGEST_PROMPT_OF_EVENT: Final = 40


@attrs.frozen(kw_only=True)
class SavedImage:
    """An image file that was written."""

    path: Path
    size_bytes: int
    media_type: str | None
    sha256: str | None = None
    """Of the file."""
    received_sha256: str | None = None
    """Of the image as the server sent it."""
    revised_prompt: str | None = None
    """The prompt that was really used, where the server changed it."""


@attrs.frozen(kw_only=True)
class Arrival:
    """An image that came out of a stream."""

    index: int
    """The place of its prompt among the prompts, from 0."""
    prompt: str
    elapsed: float
    """Seconds from the start of its request."""
    event: PartialImageEvent | ImageCompletedEvent
    saved: SavedImage | None = None
    """None: it is not saved, be it that nobody asked for that or that it failed."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one prompt."""

    index: int
    """Its place among the prompts, from 0."""
    prompt: str
    images: tuple[SavedImage, ...] = ()
    """What was saved; also where there is an error, which may concern another of its images."""
    partial_images: tuple[SavedImage, ...] = ()
    """The partial images that were saved."""
    was_streamed: bool = False
    """True where its images were told one by one, as they came."""
    usage: Usage | None = None
    cost: Cost | None = None
    """What the answer cost; None where there is none, or that isn't known."""
    request_id: str | None = None
    elapsed: float = 0.0
    """Seconds from its start to the last image on the disk."""
    error: Exception | None = None
    was_sent: bool = True
    """False where it was left out, since an earlier error showed that none will succeed."""


class InterruptedRequest(AIAIError):
    """A request was cancelled before its images were saved.

    Args:
        images: those that had come and are not saved: links only, since the others are saved whatever comes.
        saving_error: why an image that came before is not where it should be.
    """

    def __init__(self, images: Sequence[Image] = (), saving_error: AIAIError | None = None) -> None:
        self.links: tuple[str, ...] = tuple(image.url for image in images if image.url is not None)
        """To the images that are not fetched; they expire."""
        if self.links:
            words = f"interrupted, but these links to its images work for a while: {' '.join(self.links)}"
        else:
            words = "interrupted; it may have been billed all the same"
        self.leaves_something: bool = bool(self.links) or saving_error is not None
        """Whether there is an image that only the message leads to."""
        super().__init__(words if saving_error is None else f"{words}; {saving_error}", may_have_been_billed=True)


@attrs.frozen(kw_only=True)
class Summary:
    """What became of all prompts."""

    outcomes: tuple[Outcome, ...]
    elapsed: float
    """Seconds from the first request to the last image on the disk."""


def describe_outcome(outcome: Outcome, *, mark: str) -> list[str]:
    """Say in lines what was made of a prompt, where its images are and what they cost."""
    parts = [shorten(outcome.prompt)]
    if figures := _list_figures(outcome.usage, outcome.cost):
        parts.append(f"({', '.join(figures)})")
    first = f"{mark} {format_seconds(outcome.elapsed):>7}  {' '.join(parts)}"
    return [first, *(f"{_INDENT}{_describe_image(image)}" for image in outcome.images)]


def _list_figures(usage: Usage | None, cost: Cost | None) -> list[str]:
    tokens = None if usage is None else usage.total_tokens
    figures = [] if tokens is None else [count(tokens, "token")]
    return figures if cost is None else [*figures, format_usd(cost)]


def describe_arrival(arrival: Arrival, *, mark: str) -> str:
    """Say in one line what came when, of which prompt, how large it is, and where it was saved.

    Args:
        arrival: what came.
        mark: stands before a final image that is saved.
    """
    event, saved = arrival.event, arrival.saved
    usage = event.usage if isinstance(event, ImageCompletedEvent) else None
    what = f"partial image {event.partial_image_index}" if isinstance(event, PartialImageEvent) else "final image"
    if saved is None:
        parts = [f"{what}{_describe_content(event.image.media_type, event.image.size_bytes)}"]
    else:
        parts = [what, _describe_image(saved)]
    if usage is not None and usage.total_tokens is not None:
        parts.append(count(usage.total_tokens, "token"))
    begin = mark if saved is not None and isinstance(event, ImageCompletedEvent) else " " * len(mark)
    prompt = shorten(arrival.prompt, longest=_LONGEST_PROMPT_OF_EVENT)
    return f"{begin} {format_seconds(arrival.elapsed):>7}  {prompt}: {', '.join(parts)}"


def _describe_image(image: SavedImage) -> str:
    return f"{one_line(str(image.path))}{_describe_content(image.media_type, image.size_bytes)}"


def _describe_content(media_type: str | None, size_bytes: int | None) -> str:
    kind = "unknown type" if media_type is None else media_type.removeprefix("image/")
    # An image that is a link has neither.
    return " (a link)" if size_bytes is None else f" ({kind}, {format_size(size_bytes)})"


def describe_failure(outcome: Outcome) -> str:
    """Say in one line what went wrong with which prompt."""
    assert outcome.error is not None
    return f"{shorten(outcome.prompt)}: {explain(outcome.error)}"


def must_be_told(outcome: Outcome) -> bool:
    """Tell whether an error deserves a line of its own; the others are counted at the end."""
    if isinstance(outcome.error, InterruptedRequest):
        return outcome.error.leaves_something
    return outcome.error is not None and outcome.was_sent


def describe_interruption(outcomes: Sequence[Outcome]) -> str:
    """Say in one line what an interruption leaves behind."""
    cut_off = sum(isinstance(outcome.error, InterruptedRequest) for outcome in outcomes)
    words = f"interrupted: {_count_all_saved(outcomes)} saved"
    return f"{words}, {count(cut_off, 'request')} cut off, which may be billed all the same" if cut_off else words


def summarize(summary: Summary) -> str:
    """Say in one line what became of all."""
    failed = sum(outcome.error is not None for outcome in summary.outcomes)
    unsent = sum(not outcome.was_sent for outcome in summary.outcomes)
    tokens = [outcome.usage.total_tokens for outcome in summary.outcomes if outcome.usage is not None]
    parts = [f"saved {_count_all_saved(summary.outcomes)} in {format_seconds(summary.elapsed)}"]
    if any(tokens):
        parts.append(f"{count(sum(number or 0 for number in tokens), 'token')} used")
    if words := _describe_costs(summary.outcomes):
        parts.append(words)
    if failed:
        parts.append(f"{failed:,} of {count(len(summary.outcomes), 'prompt')} failed")
    if unsent:
        parts.append(f"{unsent:,} of them not sent, since they would have failed in the same way")
    return ", ".join(parts)


def _describe_costs(outcomes: Sequence[Outcome]) -> str | None:
    """Say what all answers cost, by whose word, and of how many that isn't known; None where nothing is known."""
    costs = [outcome.cost for outcome in outcomes if outcome.cost is not None]
    if not costs:
        return None
    unknown = sum(bool(outcome.images) and outcome.cost is None for outcome in outcomes)
    dates = sorted({str(cost.priced_on) for cost in costs if cost.priced_on is not None})
    source = f" by prices of {', '.join(dates)}" if dates else ""
    rest = f" and what {count(unknown, 'answer')} cost, which isn't known" if unknown else ""
    return f"{format_usd(sum(costs))} spent{source}{rest}"


def count_saved(images: int, partial_images: int) -> str:
    """Say how many images were saved; of partial ones only where there are some."""
    words = count(images, "image")
    return f"{words} and {count(partial_images, 'partial image')}" if partial_images else words


def _count_all_saved(outcomes: Sequence[Outcome]) -> str:
    images = sum(len(outcome.images) for outcome in outcomes)
    return count_saved(images, sum(len(outcome.partial_images) for outcome in outcomes))


def explain(error: Exception) -> str:
    """Say in one line what is wrong; what this package didn't foresee is said to be that."""
    if isinstance(error, AIAIError):
        return one_line(str(error))
    return one_line(f"unexpected {type(error).__name__}: {error}; --debug shows where")


def to_json(value: object) -> str:
    """Write JSON on one line. All of it is ASCII: any encoding can carry it, and lone surrogates of file names too."""
    return json.dumps(value)


def to_object(outcome: Outcome) -> dict[str, object]:
    """Give an outcome as an object; `error` is in it only where there is one.

    That of a stream begins with its type, by which it differs from those of `arrival_to_object`.
    """
    shown: dict[str, object] = {
        **({"type": "outcome"} if outcome.was_streamed else {}),
        "index": outcome.index,
        "prompt": outcome.prompt,
        "paths": _list_paths(outcome.images),
        **({"partial_paths": _list_paths(outcome.partial_images)} if outcome.was_streamed else {}),
        "usage": None if outcome.usage is None else to_plain(outcome.usage),
        **cost_to_fields(outcome.cost),
        "request_id": outcome.request_id,
        "elapsed": round(outcome.elapsed, 3),
    }
    if outcome.error is not None:
        shown["error"] = _error_to_object(outcome.error, was_sent=outcome.was_sent)
    return shown


def cost_to_fields(cost: Cost | None) -> dict[str, object]:
    """Give a cost as fields of an object; unknown is null, never 0."""
    return {
        "cost_usd": None if cost is None else round(cost.usd, 9),
        "cost_source": None if cost is None else cost.source,
        "prices_date": None if cost is None or cost.priced_on is None else str(cost.priced_on),
    }


def arrival_to_object(arrival: Arrival) -> dict[str, object]:
    """Give what came out of a stream as an object; its type is that of the event."""
    event, saved = arrival.event, arrival.saved
    shown: dict[str, object] = {"type": event.type, "index": arrival.index, "prompt": arrival.prompt}
    if isinstance(event, PartialImageEvent):
        shown["partial_image_index"] = event.partial_image_index
    else:
        shown["usage"] = None if event.usage is None else to_plain(event.usage)
    return {
        **shown,
        "media_type": event.image.media_type if saved is None else saved.media_type,
        "size_bytes": event.image.size_bytes if saved is None else saved.size_bytes,
        "path": None if saved is None else str(saved.path),
        "elapsed": round(arrival.elapsed, 3),
    }


def _list_paths(images: Sequence[SavedImage]) -> list[str]:
    return [str(image.path) for image in images]


def _error_to_object(error: Exception, *, was_sent: bool) -> dict[str, object]:
    facts = {name: getattr(error, name, None) for name in _FACTS}
    return {
        "type": type(error).__name__,
        "message": explain(error),
        **{
            name: str(value) if isinstance(value, Path) else value for name, value in facts.items() if value is not None
        },
        "may_have_been_billed": was_sent and isinstance(error, AIAIError) and error.may_have_been_billed,
        "was_sent": was_sent,
    }
