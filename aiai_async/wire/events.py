"""Server-sent events to image events, and what the end of a body means.

A stream's final image comes as `image_generation.completed`; on some servers it comes as
`image_generation.partial_succeeded`, one per image, and the `completed` behind them only says what all of it cost. Such
an image is held until the next event, so that the last one can carry that. A partial image never becomes a final one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

import attrs

from aiai_async._errors import APIError, APIResponseError, IncompleteStreamError, StreamError
from aiai_async._schemas import Image, ImageCompletedEvent, ImagesResponse, PartialImageEvent
from aiai_async._secret import Redactor
from aiai_async.wire import problems
from aiai_async.wire.codec import read_image, read_settings
from aiai_async.wire.json_text import NotJSON, parse_json
from aiai_async.wire.problems import AnswerHead, Problem
from aiai_async.wire.sse import ServerSentEvent

_PARTIAL: Final = "image_generation.partial_image"
_COMPLETED: Final = "image_generation.completed"
_SUCCEEDED: Final = "image_generation.partial_succeeded"
_IMAGE_TYPES: Final = frozenset({_PARTIAL, _COMPLETED, _SUCCEEDED})
_TYPE: Final = re.compile(rb'"type"\s*:\s*"(image_generation\.[a-z_]+)"')
_KNOWN: Final = frozenset(
    {
        "type",
        "b64_json",
        "url",
        "revised_prompt",
        "partial_image_index",
        "created_at",
        "created",
        "usage",
        "background",
        "output_format",
        "quality",
        "size",
        "error",
    }
)

ImageEvent = PartialImageEvent | ImageCompletedEvent


def is_final(event: str, text: bytes) -> bool | None:
    """Tell, before an event is whole, whether the image in it is a final one; None where that isn't known yet.

    Args:
        event: the event's type by its `event:` line, empty where there was none.
        text: the event's data so far, without its images.

    Example:
        >>> is_final("", b'{"type": "image_generation.partial_image", "b64_json": "')
        False
    """
    kind = event
    if kind not in _IMAGE_TYPES:
        match = _TYPE.search(text)
        kind = match[1].decode() if match else ""
    return kind != _PARTIAL if kind in _IMAGE_TYPES else None


class EventReader:
    """Reads the events of one stream.

    Args:
        head: the answer's status and header fields.
        redactor: knows what must not show.
    """

    __slots__ = ("_head", "_held", "_redactor", "completed", "is_done", "partial_images")

    def __init__(self, head: AnswerHead, *, redactor: Redactor) -> None:
        self._head: Final = head
        self._redactor: Final = redactor
        self._held: ImageCompletedEvent | None = None
        """A final image that waits for what the next event says of it."""
        self.partial_images: Final[list[PartialImageEvent]] = []
        self.completed: Final[list[ImageCompletedEvent]] = []
        self.is_done = False
        """Whether the stream said `[DONE]`."""

    def read(self, event: ServerSentEvent, images: Sequence[Image], *, now: float) -> Iterator[ImageEvent]:
        """Read one event, when the result is iterated.

        Args:
            event: the event; the strings of its images hold their numbers.
            images: its images.
            now: the local clock in Unix seconds, for `Retry-After` as a date.

        Yields:
            The image events that it completes, mostly one, or none for an event of an unknown type. What was held back
            comes before an error.

        Raises:
            EventFailed: it is an error.
            APIResponseError: it is an image event that can't be read.
        """
        text = event.data.strip()
        if text == b"[DONE]":
            self.is_done = True
            yield from self.finish()
            return
        tree = self._parse(event.event, text)
        if not isinstance(tree, dict):
            return
        fields = cast("dict[str, object]", tree)
        kind = event.event if event.event in _IMAGE_TYPES else _find_type(fields)
        if event.event == "error" or kind == "error" or _is_error(kind, fields):
            yield from self.finish()
            raise EventFailed(self._read_error(fields, now))
        # A bare line is of interest for its error only: its images were not decoded.
        if kind in _IMAGE_TYPES and not event.is_bare:
            yield from self._note(self._read_image_event(kind, fields, images))

    def finish(self) -> list[ImageEvent]:
        """Take note of the end of the body, and give what was held back for it."""
        held, self._held = self._held, None
        return self._note([] if held is None else [held])

    def explain_end(self, cause: APIError | None, *, asked_for: int) -> APIError | None:
        """Say what the end of a body means, after `finish`.

        Args:
            cause: what ended it, where it did not end by itself.
            asked_for: how many images were asked for.

        Returns:
            None where the stream is a whole answer; else the error: once an image event was handed out an
            `IncompleteStreamError` with the events so far, before that the cause itself.
        """
        if cause is None:
            if self.completed:
                return None
            if not self.partial_images:
                words = "the stream ended without an image"
                plain = APIResponseError(words, may_have_been_billed=True)
                return problems.name_answer(plain, self._head, b"", redactor=self._redactor)
        elif self.completed and (self.is_done or len(self.completed) >= asked_for):
            # All that was asked for has come; how the connection ended is of no interest.
            return None
        elif not (self.partial_images or self.completed):
            return cause
        counts = f"{len(self.partial_images)} partial and {len(self.completed)} final images"
        error = IncompleteStreamError(
            f"{self._redactor.text(self._head.name)}: the stream ended after {counts}"
            + ("" if cause is None else f": {cause.message}"),
            hint="those are in .partial_images and .completed",
            request_id=problems.find_safe_id(self._head, self._redactor),
            partial_images=tuple(self.partial_images),
            completed=tuple(self.completed),
            may_have_been_billed=True,
        )
        error.__cause__ = cause
        return error

    def _parse(self, kind: str, text: bytes) -> object:
        tree: object
        try:
            tree = parse_json(text)
        except NotJSON as error:
            if kind in _IMAGE_TYPES:
                words = f"an event of type {kind} is not JSON: {error}"
                raise APIResponseError(words, may_have_been_billed=True) from error
            tree = text.decode(errors="replace")
        # An error that isn't written like one is an error all the same; whatever else is unknown is passed over.
        return {"error": tree} if kind == "error" and not isinstance(tree, dict) else tree

    def _read_image_event(self, kind: str, fields: Mapping[str, object], images: Sequence[Image]) -> list[ImageEvent]:
        image = read_image(fields, images, url=self._head.url)
        tree = {**fields, "created": fields.get("created_at", fields.get("created"))}
        settings: dict[str, Any] = {**read_settings(tree, known=_KNOWN)}
        settings["created_at"] = settings.pop("created")
        usage = settings.pop("usage")
        if kind == _PARTIAL:
            index = fields.get("partial_image_index")
            number = len(self.partial_images) if isinstance(index, bool) or not isinstance(index, int) else index
            return [] if image is None else [PartialImageEvent(image=image, partial_image_index=number, **settings)]
        held, self._held = self._held, None
        if image is None:
            return [] if held is None else [attrs.evolve(held, usage=usage or held.usage)]
        event = ImageCompletedEvent(image=image, usage=usage, **settings)
        if kind == _SUCCEEDED:
            self._held = event
            return [] if held is None else [held]
        # A server that says both of one image says the same image twice.
        is_same = held is None or (held.image.sha256, held.image.url) == (image.sha256, image.url)
        return [event] if is_same or held is None else [held, event]

    def _note(self, events: list[ImageEvent]) -> list[ImageEvent]:
        for event in events:
            if isinstance(event, PartialImageEvent):
                self.partial_images.append(event)
            else:
                self.completed.append(event)
        return events

    def _read_error(self, fields: Mapping[str, object], now: float) -> Problem:
        problem = problems.read_error_inside(
            self._head, fields, redactor=self._redactor, now=now, otherwise=StreamError
        )
        if self.partial_images or self.completed:
            problem.error.may_have_been_billed = True
        return problem


def _find_type(fields: Mapping[str, object]) -> str:
    kind = fields.get("type")
    return kind if isinstance(kind, str) else ""


def _is_error(kind: str, fields: Mapping[str, object]) -> bool:
    """Tell whether an event without the type of an error holds one; beside an image it is of no interest."""
    has_image = kind in _IMAGE_TYPES and bool(fields.get("b64_json") or fields.get("url"))
    return bool(fields.get("error")) and not has_image


class EventFailed(Exception):
    """An event ended the stream."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem: Final = problem


def events_of_answer(answer: ImagesResponse) -> list[ImageCompletedEvent]:
    """Give a plain answer to a stream request as the events it stands for; only the last carries its usage."""
    settings: dict[str, Any] = {
        "created_at": answer.created,
        "background": answer.background,
        "output_format": answer.output_format,
        "quality": answer.quality,
        "size": answer.size,
        "extra": answer.extra,
    }
    *others, last = answer.data
    return [
        *(ImageCompletedEvent(image=image, **settings) for image in others),
        ImageCompletedEvent(image=last, usage=answer.usage, **settings),
    ]
