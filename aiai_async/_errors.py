"""Every error of this package; the names are those of the official SDK where it has one.

    AIAIError                                   .may_have_been_billed
    ├─ ConfigurationError                       the client can't be made or used like this
    ├─ InvalidRequestError (also ValueError)    found before anything was sent: .field .value .allowed
    ├─ APIError                                 .message .code .param .type .body .request_id .attempts
    │   ├─ APIConnectionError                   .host .port
    │   │   └─ APITimeoutError                  .phase .seconds
    │   ├─ APIStatusError                       .status_code .headers
    │   │   ├─ BadRequestError (400)            ModerationBlockedError below it
    │   │   ├─ AuthenticationError (401), PermissionDeniedError (403), NotFoundError (404), ConflictError (409),
    │   │   │  PayloadTooLargeError (413), UnprocessableEntityError (422)
    │   │   ├─ QuotaExceededError               no money is left: 402, and any status with such a code
    │   │   ├─ RateLimitError (429)             .retry_after
    │   │   └─ InternalServerError (5xx)
    │   ├─ APIResponseError                     a 2xx that is not an answer
    │   └─ StreamError                          an error event in a stream; a stream closed early
    │       └─ IncompleteStreamError            .partial_images .completed
    └─ DownloadError                            .url .status_code

Each can be made from a message alone, says its facts as attributes, and survives `pickle` and `copy` with them. What
stands in them was freed of secrets by who made them; control characters of server text are replaced here.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, Final, Literal

Phase = Literal["connect", "first_byte", "stall", "total", "queue"]

# Enough for every real message; servers put whole web pages into theirs.
_LONGEST_SHOWN: Final = 1000


def clean(text: str) -> str:
    """Make text of a server safe to show on one line: no control characters, and not endless.

    Example:
        >>> clean("two\\nlines \\x1b[31mred")
        'two lines �[31mred'
    """
    if len(text) > _LONGEST_SHOWN:
        text = f"{text[:_LONGEST_SHOWN]}… ({len(text)} characters)"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in text).strip()


def _clean_or_none(text: str | None) -> str | None:
    return None if text is None else clean(text)


def _restore(
    cls: type[AIAIError], args: tuple[object, ...], facts: dict[str, Any], cause: BaseException | None
) -> AIAIError:
    error = cls.__new__(cls, *args)
    error.__dict__.update(facts)
    error.__cause__ = cause
    return error


class AIAIError(Exception):
    """The base of everything that this package raises on its own account."""

    may_have_been_billed: bool
    """True where the server may have made and billed an image although the call failed; False unless known better."""

    def __init__(self, message: str = "", *, may_have_been_billed: bool = False) -> None:
        super().__init__(message)
        self.may_have_been_billed = may_have_been_billed

    def __reduce__(self) -> tuple[Any, ...]:
        # The return type is that of object.__reduce__, which is typed no more narrowly. Foreign causes stay behind:
        # not all of them survive pickling.
        cause = self.__cause__ if isinstance(self.__cause__, AIAIError) else None
        return _restore, (type(self), self.args, self.__dict__, cause)


class ConfigurationError(AIAIError):
    """The client can't be made or used like this; the message says what to set."""


class InvalidRequestError(AIAIError, ValueError):
    """A request was found wrong before anything was sent."""

    field: str | None
    """The name of the field or argument that is wrong."""
    value: object
    """What it held; after pickling its repr, where it can't be pickled."""
    allowed: tuple[object, ...] | str | None
    """What it may hold: the values, or words; None where that can't be said."""

    def __init__(
        self,
        message: str = "",
        *,
        field: str | None = None,
        value: object = None,
        allowed: tuple[object, ...] | str | None = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        self.value = value
        self.allowed = allowed

    def __reduce__(self) -> tuple[Any, ...]:
        restore, (cls, args, facts, cause) = super().__reduce__()
        try:
            pickle.dumps(self.value)
        except Exception:  # an object of the caller may raise anything when it is pickled
            # What can't be sent can often not be pickled either: then its repr goes along, so that the error arrives.
            facts = {**facts, "value": repr(self.value)}
        return restore, (cls, args, facts, cause)


class APIError(AIAIError):
    """The API could not be reached, refused, or answered something that is no answer.

    Args:
        message: what happened, in the server's words where it had some.
        hint: what to do about it.
    """

    message: str
    """What happened."""
    hint: str | None
    """What to do about it."""
    code: str | None
    """The server's code, such as `rate_limit_exceeded`; a number is given as text."""
    param: str | None
    """The request's field that the server names."""
    type: str | None
    """The server's type, such as `invalid_request_error`."""
    body: object
    """The answer's body: parsed JSON, else text, at most 64 KiB of it; None where there was none."""
    request_id: str | None
    """The server's id of the request, for its operator."""
    attempts: int
    """Attempts that were made, this one included."""

    def __init__(
        self,
        message: str = "",
        *,
        hint: str | None = None,
        code: str | None = None,
        param: str | None = None,
        type: str | None = None,
        body: object = None,
        request_id: str | None = None,
        attempts: int = 1,
        may_have_been_billed: bool = False,
    ) -> None:
        message = clean(message)
        super().__init__(message, may_have_been_billed=may_have_been_billed)
        self.message = message
        self.hint = hint
        self.code = _clean_or_none(code)
        self.param = _clean_or_none(param)
        self.type = _clean_or_none(type)
        self.body = body
        self.request_id = _clean_or_none(request_id)
        self.attempts = attempts

    def __str__(self) -> str:
        request = f"request {self.request_id}, " if self.request_id else ""
        billed = "; it may have been billed" if self.may_have_been_billed else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{self._head()} [{request}attempt {self.attempts}]{billed}{hint}"

    def _head(self) -> str:
        return self.message


class APIConnectionError(APIError):
    """The connection could not be made, or broke before the answer was whole."""

    host: str | None
    port: int | None

    def __init__(self, message: str = "", *, host: str | None = None, port: int | None = None, **facts: Any) -> None:
        # facts are APIError's, which checks them; spelling them out again in every class would only hide the new ones.
        super().__init__(message, **facts)
        self.host = host
        self.port = port


class APITimeoutError(APIConnectionError):
    """A time of `Timeout` ran out."""

    phase: Phase
    """Which time it was."""
    seconds: float | None
    """How long that was."""

    def __init__(
        self, message: str = "", *, phase: Phase = "total", seconds: float | None = None, **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.phase = phase
        self.seconds = seconds


class APIStatusError(APIError):
    """The server answered with an error status, or with an error that means one."""

    status_code: int = 0
    """The HTTP status; where the error was said inside a 200 or a stream, the status that it means."""
    headers: Mapping[str, str]
    """The answer's header fields; the case of names doesn't matter."""

    def __init__(
        self,
        message: str = "",
        *,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        if status_code is not None:
            self.status_code = status_code
        self.headers = {} if headers is None else headers

    def _head(self) -> str:
        name = self.code or self.type
        status = f"{self.status_code} {name}" if name and name != str(self.status_code) else str(self.status_code)
        return f"{status}: {self.message}" if self.message else status


class BadRequestError(APIStatusError):
    """The server found the request wrong (400)."""

    status_code = 400


class ModerationBlockedError(BadRequestError):
    """The prompt or the image was refused by moderation; sending it again changes nothing."""


class AuthenticationError(APIStatusError):
    """The key is not accepted (401)."""

    status_code = 401


class PermissionDeniedError(APIStatusError):
    """The key may not do this (403)."""

    status_code = 403


class NotFoundError(APIStatusError):
    """There is no such path or model (404)."""

    status_code = 404


class ConflictError(APIStatusError):
    """The request is at odds with another one (409)."""

    status_code = 409


class PayloadTooLargeError(APIStatusError):
    """The request is too large for the server (413)."""

    status_code = 413


class UnprocessableEntityError(APIStatusError):
    """The server understood the request and can't do it (422)."""

    status_code = 422


class QuotaExceededError(APIStatusError):
    """No money or quota is left on the key; nothing more will succeed on it until that changes."""

    status_code = 402


class RateLimitError(APIStatusError):
    """Too much was asked for at once (429)."""

    status_code = 429
    retry_after: float | None
    """Seconds the server asked to wait; None where it didn't say."""

    def __init__(self, message: str = "", *, retry_after: float | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retry_after = retry_after


class InternalServerError(APIStatusError):
    """The server or a gateway failed (5xx)."""

    status_code = 500


class APIResponseError(APIError):
    """A 2xx that is not an answer: a web page, bad JSON, no image, or more than the bounds allow."""


class StreamError(APIError):
    """An error event in a stream, or a stream that was closed early."""


class IncompleteStreamError(StreamError):
    """A stream ended after image events and before its end."""

    partial_images: tuple[object, ...]
    """The partial images that came, as events."""
    completed: tuple[object, ...]
    """The images that did complete, as events."""

    def __init__(
        self,
        message: str = "",
        *,
        partial_images: tuple[object, ...] = (),
        completed: tuple[object, ...] = (),
        **facts: Any,
    ) -> None:
        super().__init__(message, **facts)
        self.partial_images = partial_images
        self.completed = completed


class DownloadError(AIAIError):
    """An image that the server gave as a link could not be fetched; the image was made and paid for all the same."""

    url: str | None
    """The link, without its query, which often holds a signature."""
    status_code: int | None
    """The HTTP status that was answered; None where there was none."""

    def __init__(self, message: str = "", *, url: str | None = None, status_code: int | None = None) -> None:
        super().__init__(clean(message))
        self.url = url
        self.status_code = status_code
