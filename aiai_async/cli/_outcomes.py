"""What became of each prompt, and how that is said: in lines for people, as an object for programs. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from aiai_async import AIAIError, Image, Usage
from aiai_async.cli._words import count, format_seconds, format_size, one_line, shorten

# Attributes of errors that programs decide by.
_FACTS: Final = ("code", "status_code", "param", "phase", "retry_after", "attempts", "url", "path", "links")
# Below the prompt, which stands behind the mark and the time.
_INDENT: Final = " " * 11


@attrs.frozen(kw_only=True)
class SavedImage:
    """An image file that was written."""

    path: Path
    size_bytes: int
    media_type: str | None


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of one prompt."""

    index: int
    """Its place among the prompts, from 0."""
    prompt: str
    images: tuple[SavedImage, ...] = ()
    """What was saved; also where there is an error, which may concern another of its images."""
    usage: Usage | None = None
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
    """

    def __init__(self, images: Sequence[Image] = ()) -> None:
        self.links: tuple[str, ...] = tuple(image.url for image in images if image.url is not None)
        """To the images that are not fetched; they expire."""
        if self.links:
            words = f"interrupted, but these links to its images work for a while: {' '.join(self.links)}"
        else:
            words = "interrupted; it may have been billed all the same"
        super().__init__(words, may_have_been_billed=True)


@attrs.frozen(kw_only=True)
class Summary:
    """What became of all prompts."""

    outcomes: tuple[Outcome, ...]
    elapsed: float
    """Seconds from the first request to the last image on the disk."""


def describe_outcome(outcome: Outcome, *, mark: str) -> list[str]:
    """Say in lines what was made of a prompt, where its images are and what they cost."""
    parts = [shorten(outcome.prompt)]
    if outcome.usage is not None and outcome.usage.total_tokens is not None:
        parts.append(f"({count(outcome.usage.total_tokens, 'token')})")
    first = f"{mark} {format_seconds(outcome.elapsed):>7}  {' '.join(parts)}"
    return [first, *(f"{_INDENT}{_describe_image(image)}" for image in outcome.images)]


def _describe_image(image: SavedImage) -> str:
    kind = "unknown type" if image.media_type is None else image.media_type.removeprefix("image/")
    return f"{one_line(str(image.path))} ({kind}, {format_size(image.size_bytes)})"


def describe_failure(outcome: Outcome) -> str:
    """Say in one line what went wrong with which prompt."""
    assert outcome.error is not None
    return f"{shorten(outcome.prompt)}: {explain(outcome.error)}"


def must_be_told(outcome: Outcome) -> bool:
    """Tell whether an error deserves a line of its own; the others are counted at the end."""
    if isinstance(outcome.error, InterruptedRequest):
        return bool(outcome.error.links)
    return outcome.error is not None and outcome.was_sent


def describe_interruption(outcomes: Sequence[Outcome]) -> str:
    """Say in one line what an interruption leaves behind."""
    images = sum(len(outcome.images) for outcome in outcomes)
    cut_off = sum(isinstance(outcome.error, InterruptedRequest) for outcome in outcomes)
    words = f"interrupted: {count(images, 'image')} saved"
    return f"{words}, {count(cut_off, 'request')} cut off, which may be billed all the same" if cut_off else words


def summarize(summary: Summary) -> str:
    """Say in one line what became of all."""
    images = sum(len(outcome.images) for outcome in summary.outcomes)
    failed = sum(outcome.error is not None for outcome in summary.outcomes)
    unsent = sum(not outcome.was_sent for outcome in summary.outcomes)
    tokens = [outcome.usage.total_tokens for outcome in summary.outcomes if outcome.usage is not None]
    parts = [f"saved {count(images, 'image')} in {format_seconds(summary.elapsed)}"]
    if any(tokens):
        parts.append(f"{count(sum(number or 0 for number in tokens), 'token')} used")
    if failed:
        parts.append(f"{failed:,} of {count(len(summary.outcomes), 'prompt')} failed")
    if unsent:
        parts.append(f"{unsent:,} of them not sent, since they would have failed in the same way")
    return ", ".join(parts)


def explain(error: Exception) -> str:
    """Say in one line what is wrong; what this package didn't foresee is said to be that."""
    if isinstance(error, AIAIError):
        return one_line(str(error))
    return one_line(f"unexpected {type(error).__name__}: {error}; --debug shows where")


def to_json(value: object) -> str:
    """Write JSON on one line. All of it is ASCII: any encoding can carry it, and lone surrogates of file names too."""
    return json.dumps(value)


def to_object(outcome: Outcome) -> dict[str, object]:
    """Give an outcome as an object; `error` is in it only where there is one."""
    shown: dict[str, object] = {
        "index": outcome.index,
        "prompt": outcome.prompt,
        "paths": [str(image.path) for image in outcome.images],
        "usage": None if outcome.usage is None else _to_plain(outcome.usage),
        "request_id": outcome.request_id,
        "elapsed": round(outcome.elapsed, 3),
    }
    if outcome.error is not None:
        shown["error"] = _error_to_object(outcome.error, was_sent=outcome.was_sent)
    return shown


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


def _to_plain(value: Any) -> dict[str, object]:
    """Give usage as the server wrote it: unknown fields beside the known ones, and nothing that was left out."""
    # Any: usage and its details are two classes with one thing in common, that they are attrs classes.
    fields: dict[str, object] = {}
    for name in (field.name for field in attrs.fields(type(value))):
        part = getattr(value, name)
        if name == "extra":
            assert isinstance(part, Mapping)
            fields.update(part)
        elif part is not None:
            fields[name] = _to_plain(part) if attrs.has(type(part)) else part
    return fields
