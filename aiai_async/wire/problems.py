"""From an answer that is no image to an exception: which class, and every fact that the server gave.

Servers of this API put errors into many shapes; all are read here, and secrets are removed before anything is kept.
Whether to try again is not decided here (`policy.retry`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs
import orjson

from aiai_async._errors import (
    APIError,
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    ModerationBlockedError,
    NotFoundError,
    PayloadTooLargeError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    UnprocessableEntityError,
)
from aiai_async._facts import Headers
from aiai_async._frozen import frozen
from aiai_async._secret import Redactor, strip_userinfo
from aiai_async.wire.json_text import NotJSON, parse_json

MAX_ERROR_BYTES: Final = 64 << 10
"""Bound of the body of an error, 64 KiB: real ones have hundreds of bytes, gateways' web pages some thousands."""

_REQUEST_ID_HEADERS: Final = (
    "x-oneapi-request-id",
    "x-request-id",
    "apim-request-id",
    "x-litellm-call-id",
    "x-generation-id",
    "cf-ray",
)
_REQUEST_ID_IN_MESSAGE: Final = re.compile(r"\(request id: ([\w.:/-]+)\)", re.IGNORECASE)
_STATUS: Final = re.compile(r"[45][0-9]{2}")
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

_CLASSES: Final[Mapping[int, type[APIStatusError]]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
}
# Whatever status they come with: LiteLLM keeps only the type of a moderation block, and OpenAI says 400 when the
# billing limit is reached.
_CLASSES_BY_NAME: Final[Mapping[str, type[APIStatusError]]] = {
    "moderation_blocked": ModerationBlockedError,
    "content_policy_violation": ModerationBlockedError,
    "image_generation_user_error": ModerationBlockedError,
    "insufficient_quota": QuotaExceededError,
    "insufficient_user_quota": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
}
# Where no status says it: an error event, an error inside a 200.
_CLASSES_BY_CODE: Final[Mapping[str, type[APIStatusError]]] = {
    "invalid_request": BadRequestError,
    "invalid_request_error": BadRequestError,
    "invalid_value": BadRequestError,
    "invalid_api_key": AuthenticationError,
    "authentication_error": AuthenticationError,
    "permission_denied": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "rate_limit_exceeded": RateLimitError,
    "server_error": InternalServerError,
    "internal_error": InternalServerError,
    "internal_server_error": InternalServerError,
    "bad_response_body": InternalServerError,
}
_HINTS: Final[Mapping[type[APIStatusError], str]] = {
    AuthenticationError: "check the key: AIAI_API_KEY, or api_key=",
    PermissionDeniedError: "check what this key may do, and with which models",
    NotFoundError: "check the model's name, and base_url, which usually ends in /v1",
    PayloadTooLargeError: "shorten the prompt",
    QuotaExceededError: "add credit or raise the key's limit; nothing more will succeed on it until then",
    ModerationBlockedError: "change the prompt; the same one will be blocked again",
}


@frozen(kw_only=True, eq=False)
class AnswerHead:
    """What of an answer comes before its body."""

    status: int
    headers: Headers
    url: str
    """Where the request went."""

    @property
    def may_tell_limits(self) -> bool:
        """Whether the header fields may say something of rate limits, which `wire.limits` reads."""
        names = "\n".join(self.headers.by_lower_name)
        return "ratelimit" in names or "rate-limit" in names

    @property
    def name(self) -> str:
        """Such as `200 from http://127.0.0.1:8765/v1/images/generations/`."""
        return f"{self.status} from {strip_userinfo(self.url)}"


@attrs.frozen(kw_only=True, eq=False)
class Problem:
    """Why an attempt gave no images, with what the decision to try again needs besides."""

    error: APIError
    status: int | None = None
    """The HTTP status that was answered; None where there was no answer."""
    retry_after: float | None = None
    """Seconds the server asked to wait; None where it didn't say."""


@attrs.frozen(kw_only=True, eq=False)
class _Said:
    """What the body says of an error."""

    message: str
    code: str | None = None
    param: str | None = None
    type: str | None = None


def find_request_id(headers: Mapping[str, str], message: str = "") -> str | None:
    """Find the server's id of a request: in the header fields, else at the end of the message.

    Example:
        >>> find_request_id({}, "no channel (request id: 2026abc)")
        '2026abc'
    """
    for name in _REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return value
    match = _REQUEST_ID_IN_MESSAGE.search(message) if message else None
    return match[1] if match else None


def find_safe_id(head: AnswerHead, redactor: Redactor, message: str = "") -> str | None:
    """Find the server's id of a request, without secrets."""
    request_id = find_request_id(head.headers.by_lower_name, message)
    return None if request_id is None else redactor.text(request_id)


def make_safe_headers(head: AnswerHead, redactor: Redactor) -> Headers:
    """Give an answer's header fields without secrets."""
    headers = head.headers
    is_needed = redactor.is_needed(headers, headers.by_lower_name)
    return Headers(redactor.headers(headers).items()) if is_needed else headers


def read_problem(head: AnswerHead, body: bytes, *, redactor: Redactor, now: float) -> Problem:
    """Turn an answer with an error status into its exception.

    Args:
        head: the answer's status and header fields.
        body: at most `MAX_ERROR_BYTES` of the body, in any shape.
        redactor: knows what must not show.
        now: the local clock in Unix seconds, for `Retry-After` as a date.
    """
    tree = _parse(body)
    # Secrets are removed before a text is cut, lest half of one is left; where the body was cut, from its end too.
    text = redactor.text(body.decode(errors="replace"))
    said = _find_said(tree) or _Said(message=_describe_text(text, head.status))
    error_class = _choose_class(head.status, said)
    shown = tree if tree is not None else redactor.cut_text(text) if len(body) >= MAX_ERROR_BYTES else text or None
    return _make(error_class, said, head, shown, redactor=redactor, now=now)


def read_error_inside(
    head: AnswerHead,
    tree: Mapping[str, object],
    *,
    redactor: Redactor,
    now: float,
    otherwise: type[APIError] = APIResponseError,
) -> Problem:
    """Turn an error object inside a 2xx into its exception: the class of its code, else `otherwise`.

    A refusal of the request was not billed; anything else may have been.
    """
    said = _find_said(tree) or _Said(message="an error without words")
    error_class = _choose_class_by_code(said)
    problem = _make(error_class or otherwise, said, head, tree if _is_small(tree) else None, redactor=redactor, now=now)
    is_refusal = error_class is not None and error_class.status_code < 500
    problem.error.may_have_been_billed = not is_refusal
    return problem


def read_refused_redirect(head: AnswerHead, reason: str, *, redactor: Redactor) -> Problem:
    """Turn a redirect that isn't followed into its exception, which names both URLs."""
    error = APIStatusError(
        redactor.text(reason),
        hint="set base_url to where the API really is",
        status_code=head.status,
        headers=make_safe_headers(head, redactor),
        request_id=find_safe_id(head, redactor),
    )
    return Problem(error=error, status=head.status)


def name_answer(error: APIResponseError, head: AnswerHead, body: bytes, *, redactor: Redactor) -> APIResponseError:
    """Say which answer an error of the codec or the scanner is about.

    Args:
        error: what was found, in words that follow "200 from URL: ".
        head: the answer's status and header fields.
        body: what is known of its text, without images; at most `MAX_ERROR_BYTES` of it are kept.
        redactor: knows what must not show.

    Returns:
        The error anew. What caused the first one stays behind: the parser's words hold a piece of the body.
    """
    tree = _parse(body) if len(body) <= MAX_ERROR_BYTES else None
    text = redactor.cut_text(body[:MAX_ERROR_BYTES].decode(errors="replace"))
    return APIResponseError(
        # The message may hold an excerpt of the body, which can begin or end inside a secret.
        redactor.cut_text(f"{head.name}: {error.message}"),
        hint=error.hint,
        body=redactor.tree(tree) if tree is not None else text or None,
        request_id=find_safe_id(head, redactor),
        may_have_been_billed=error.may_have_been_billed,
    )


def _make(
    error_class: type[APIError], said: _Said, head: AnswerHead, body: object, *, redactor: Redactor, now: float
) -> Problem:
    # Loaded with the first error: its patterns take 2 ms to compile.
    from aiai_async.wire.limits import parse_retry_after

    retry_after = parse_retry_after(head.headers, body, said.message, now=now)
    facts: dict[str, Any] = {
        "code": said.code and redactor.text(said.code),
        "param": said.param and redactor.text(said.param),
        "type": said.type and redactor.text(said.type),
        "body": redactor.tree(body),
        "request_id": find_safe_id(head, redactor, said.message),
    }
    message = redactor.text(said.message)
    if issubclass(error_class, APIStatusError):
        facts["headers"] = make_safe_headers(head, redactor)
        facts["hint"] = _HINTS.get(error_class)
        if head.status >= 300:
            facts["status_code"] = head.status
        elif said.code is not None and (status := _read_status(said.code)):
            facts["status_code"] = error_class.status_code if error_class is ModerationBlockedError else status
    else:
        message = f"{redactor.text(head.name)}: an error inside the answer: {message}"
    if issubclass(error_class, RateLimitError):
        facts["retry_after"] = retry_after
        facts["hint"] = None if retry_after is None else f"the server asks to wait {retry_after:g} s"
    return Problem(error=error_class(message, **facts), status=head.status, retry_after=retry_after)


def _choose_class(status: int, said: _Said) -> type[APIStatusError]:
    if by_name := _find_class_by_name(said):
        return by_name
    return _CLASSES.get(status) or (InternalServerError if status >= 500 else APIStatusError)


def _choose_class_by_code(said: _Said) -> type[APIStatusError] | None:
    if by_name := _find_class_by_name(said):
        return by_name
    code = said.code or ""
    if status := _read_status(code):
        return _choose_class(status, said)
    return _CLASSES_BY_CODE.get(code)


def _find_class_by_name(said: _Said) -> type[APIStatusError] | None:
    return _CLASSES_BY_NAME.get(said.code or "") or _CLASSES_BY_NAME.get(said.type or "")


def _read_status(code: str) -> int | None:
    return int(code) if _STATUS.fullmatch(code) else None


def _is_small(tree: Mapping[str, object]) -> bool:
    """Tell whether an answer is small enough to be kept in an error."""
    try:
        return len(orjson.dumps(tree)) <= MAX_ERROR_BYTES
    except TypeError:
        # Nested too deeply, or a number that only the tolerant parser takes.
        return False


def _parse(body: bytes) -> object:
    try:
        return parse_json(body)
    except NotJSON:
        return None


def _find_said(tree: object) -> _Said | None:
    """Find the error in a parsed body: in `error`, `message` or `detail`, or in an array that holds such an object."""
    if isinstance(tree, list):
        return next((said for item in _items(tree) if isinstance(item, dict) and (said := _find_said(item))), None)
    if not isinstance(tree, dict):
        return None
    outer = _fields(tree)
    inner = outer.get("error")
    if isinstance(inner, str) and inner:
        return _read_said(outer, inner)
    if isinstance(inner, dict) and inner:
        fields = _fields(inner)
        return _read_said(fields, _find_words(fields) or "an error without words")
    words = _find_words(outer)
    return _read_said(outer, words) if words else None


def _find_words(fields: Mapping[str, object], *, levels: int = 3) -> str | None:
    for name in ("message", "detail", "msg", "error"):
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict) and levels and (words := _find_words(_fields(value), levels=levels - 1)):
            return words
        if isinstance(value, list) and levels and (parts := _find_details(_items(value), levels=levels - 1)):
            return "; ".join(parts)
    return None


def _find_details(items: list[object], *, levels: int) -> list[str]:
    """Read a list of faults, each with `loc` and `msg`, as FastAPI writes them."""
    parts: list[str] = []
    for item in items:
        if isinstance(item, str):
            parts.append(item)
        elif isinstance(item, dict):
            fields = _fields(item)
            words, place = _find_words(fields, levels=levels), fields.get("loc")
            steps = (
                [str(step) for step in _items(place) if isinstance(step, (str, int))] if isinstance(place, list) else []
            )
            if words and steps:
                words = f"{'.'.join(steps)}: {words}"
            if words:
                parts.append(words)
    return parts


def _read_said(fields: Mapping[str, object], message: str) -> _Said:
    return _Said(
        message=message,
        code=_read_name(fields.get("code")),
        param=_read_name(fields.get("param")),
        type=_read_name(fields.get("type")),
    )


def _read_name(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) or None


def _describe_text(text: str, status: int) -> str:
    """Say what an error's body is that isn't JSON: the title of a web page, the beginning of a text."""
    # Loaded with the first error: `html` has the names of 2,000 characters.
    import html
    import http

    text = text.strip()
    if text.startswith("<"):
        title = _TITLE.search(text)
        words = " ".join(html.unescape(title[1]).split()) if title else ""
        return f"a web page{f' titled {words!r}' if words else ''} instead of an error of the API"
    if text and text[0] not in "{[":
        return text[:200]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "an error without words"


def _fields(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value)


def _items(value: object) -> list[object]:
    return cast("list[object]", value)
