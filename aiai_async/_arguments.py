"""Reads and checks what callers give, before anything is done with it; nothing here waits.

What is wrong with a client's own arguments is a ConfigurationError, what is wrong with a call's an InvalidRequestError.
"""

from __future__ import annotations

import json
import os
import platform
import re
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar

from aiai_async._errors import ConfigurationError, InvalidRequestError
from aiai_async._facts import RateLimits
from aiai_async._models import refuse
from aiai_async._schemas import (
    Background,
    ImageRequest,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    Size,
    Style,
)
from aiai_async._secret import SecretText, is_sensitive_header
from aiai_async._shared import KeySource, check_key
from aiai_async._version import __version__
from aiai_async.policy.deadlines import Timeout
from aiai_async.policy.retry import RetryPolicy
from aiai_async.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from aiai_async._prices import ModelPrices, Prices

T = TypeVar("T")

_IDEMPOTENCY_KEY: Final = re.compile(r"[!-~]{1,255}")
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Written by the client or by HTTP itself; another value would break the request or be paid twice.
_OWN_HEADERS: Final[Mapping[str, str]] = {
    "content-type": "it is always application/json",
    "content-length": "it is counted from the body",
    "transfer-encoding": "the body is sent whole",
    "content-encoding": "the body is sent as it is",
    "idempotency-key": "give idempotency_key= to a call",
}
_USER_AGENT: Final = f"aiai-async/{__version__} Python/{platform.python_version()}"


class Changes(TypedDict, total=False):
    """What `with_options` may change; each as in the constructor."""

    api_key: str | Callable[[], Awaitable[str]]
    base_url: str
    timeout: Timeout | float
    retry: RetryPolicy | int
    default_headers: Mapping[str, str] | None
    proxy: str | None
    ssl: ssl_module.SSLContext | bool | None
    validate: bool
    allow_private_downloads: bool
    max_answer_bytes: int
    prices: Prices | None


def find_key(api_key: str | Callable[[], Awaitable[str]] | None) -> KeySource:
    """Give the key that the constructor got, or the environment's."""
    if api_key is None:
        # Only this variable: a key for another service must not be sent to this one.
        found = hide(os.environ.get("AIAI_API_KEY"))
        if not found:
            raise ConfigurationError("there is no API key: set AIAI_API_KEY, or give api_key=")
        return check_key(found, "AIAI_API_KEY")
    if not isinstance(api_key, str) and callable(api_key):
        return api_key
    return check_key(api_key, "api_key")


def hide(text: T) -> T | SecretText:
    """Give a text whose repr is hidden; anything else as it is."""
    return SecretText(text) if isinstance(text, str) else text


def hide_values(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """Give header fields whose values have a hidden repr; anything else as it is."""
    return {name: hide(value) for name, value in headers.items()} if isinstance(headers, Mapping) else headers


def read_timeout(timeout: Timeout | float) -> Timeout:
    """Read the client's `timeout`."""
    try:
        return Timeout.of(timeout)
    except ValueError as error:
        raise ConfigurationError(f"timeout: {error}") from error


def read_call_timeout(timeout: Timeout | float) -> Timeout:
    """Read a call's `timeout`."""
    try:
        return Timeout.of(timeout)
    except ValueError as error:
        raise InvalidRequestError(f"timeout: {error}", field="timeout", value=timeout) from error


def read_retry(retry: RetryPolicy | int) -> RetryPolicy:
    """Read `retry`: a policy, or the number of retries."""
    if isinstance(retry, RetryPolicy):
        return retry
    try:
        return RetryPolicy(max_retries=retry)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"retry is {retry!r}; give a RetryPolicy or a number of retries") from error


def read_limits(limits: object) -> RateLimits | dict[str, RateLimits] | None:
    """Read `limits`: of every model, or by model."""
    if limits is None or isinstance(limits, RateLimits):
        return limits
    if isinstance(limits, Mapping):
        copied = dict(limits)
        if all(isinstance(name, str) and isinstance(each, RateLimits) for name, each in copied.items()):
            return copied
    raise ConfigurationError(
        f"limits is {limits!r}; give RateLimits(...), a mapping of models to RateLimits, or None to learn them"
    )


def read_max_connections(count: int) -> int:
    """Read `max_connections`."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 0:
        raise ConfigurationError(f"max_connections is {count!r}; give a number, 0 for no cap")
    return count


def read_max_answer_bytes(count: int) -> int:
    """Read `max_answer_bytes`."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"max_answer_bytes is {count!r}; give a number above 0")
    return count


def read_proxy(proxy: str | None) -> str | None:
    """Read `proxy`; the message doesn't show it, since it may hold a password."""
    if proxy is None:
        return None
    if not isinstance(proxy, str) or not proxy.startswith(("http://", "https://")):
        raise ConfigurationError("proxy must be a URL that begins with http:// or https://")
    return proxy


def read_default_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    """Read `default_headers`, and give all header fields of each request but the key, by lower-case name."""
    try:
        given = _read_headers(headers, "default_headers")
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None
    return {"accept": "application/json", "user-agent": _USER_AGENT, **given, "content-type": "application/json"}


def read_prices(prices: Prices | None) -> Mapping[str, ModelPrices]:
    """Read `prices`."""
    if prices is None:
        return {}
    # With them comes the table of prices, which takes 3 ms to load.
    from aiai_async import _prices

    return _prices.read_prices(prices)


def read_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    """Turn what `with_options` got into changes of `Options`."""

    def same(name: str, read: Callable[[Any], object]) -> Callable[[Any], dict[str, object]]:
        return lambda value: {name: read(value)}

    readers: dict[str, Callable[[Any], dict[str, object]]] = {
        "api_key": lambda key: {"key": find_key(key)},
        "base_url": lambda url: {"endpoint": Endpoint(url), "base_url": url},
        "timeout": same("timeout", read_timeout),
        "retry": same("retry", read_retry),
        "default_headers": lambda headers: {"headers": read_default_headers(headers)},
        "proxy": same("proxy", read_proxy),
        "ssl": same("ssl", lambda ssl: ssl),
        "validate": same("validate", bool),
        "allow_private_downloads": same("allow_private_downloads", bool),
        "max_answer_bytes": same("max_answer_bytes", read_max_answer_bytes),
        "prices": same("prices", read_prices),
    }
    read: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in readers:
            known = ", ".join(Changes.__annotations__)
            raise ConfigurationError(f"with_options can't change {name}; it can change {known}")
        read.update(readers[name](value))
    return read


def collect(
    prompt: str | ImageRequest,
    *,
    model: str | None,
    n: int | None,
    size: Size | None,
    background: Background | None,
    moderation: Moderation | None,
    quality: Quality | None,
    style: Style | None,
    output_format: OutputFormat | None,
    output_compression: int | None,
    response_format: ResponseFormat | None,
    partial_images: int | None,
    user: str | None,
    stream: bool,
) -> dict[str, object]:
    """Put what a call gives, and isn't None, over the fields of its ImageRequest, or of none."""
    fields: dict[str, object] = {"prompt": prompt} if isinstance(prompt, str) else _take_fields(prompt)
    # Line by line: of most calls a comprehension would look at twelve that aren't given, in three times the time.
    if model is not None:
        fields["model"] = model
    if n is not None:
        fields["n"] = n
    if size is not None:
        fields["size"] = size
    if background is not None:
        fields["background"] = background
    if moderation is not None:
        fields["moderation"] = moderation
    if quality is not None:
        fields["quality"] = quality
    if style is not None:
        fields["style"] = style
    if output_format is not None:
        fields["output_format"] = output_format
    if output_compression is not None:
        fields["output_compression"] = output_compression
    if response_format is not None:
        fields["response_format"] = response_format
    if partial_images is not None:
        fields["partial_images"] = partial_images
    if user is not None:
        fields["user"] = user
    if stream:
        fields["stream"] = True
    return fields


def _take_fields(prompt: object) -> dict[str, object]:
    return prompt.to_fields() if isinstance(prompt, ImageRequest) else {"prompt": prompt}


def merge_body(fields: dict[str, object], extra_body: Mapping[str, object]) -> dict[str, object]:
    """Put `extra_body` over a request's fields."""
    if not isinstance(extra_body, Mapping):
        refuse("extra_body", extra_body, "give a mapping of fields", "generate")
    try:
        # The fast encoder would write NaN and infinity as null.
        json.dumps(extra_body, allow_nan=False, default=lambda _: None, skipkeys=True)
    except ValueError:
        refuse("extra_body", extra_body, "replace NaN and infinity, which JSON doesn't have", "JSON")
    if "stream" in extra_body:
        refuse("extra_body", extra_body, "leave `stream` out of it and give stream=True", "generate")
    return {**fields, **extra_body}


def _read_headers(headers: Mapping[str, str] | None, source: str) -> dict[str, str]:
    """Check header fields and give them by lower-case name, those that are secret hidden from repr."""
    if headers is not None and not isinstance(headers, Mapping):
        refuse(source, _HiddenValue(), "give a mapping of names to values", "HTTP")
    read: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            refuse(source, name, "give names of header fields as strings", "HTTP")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            words = f"give {name} a string of printable ASCII characters"
            refuse(source, _HiddenValue(), words, "HTTP")
        if (reason := _OWN_HEADERS.get(name.lower())) is not None:
            refuse(source, name, f"leave it out: {reason}", "this client")
        read[name.lower()] = SecretText(value) if is_sensitive_header(name) else value
    return read


class _HiddenValue:
    """Stands in an error for a header's value, which may be a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown"


def merge_headers(headers: Mapping[str, str], extra: Mapping[str, str] | None) -> Mapping[str, str]:
    """Put a call's `extra_headers` over the header fields of the client; where there are none, those are given."""
    return headers if extra is None else {**headers, **_read_headers(extra, "extra_headers")}


def read_idempotency_key(key: str | None) -> str:
    """Read `idempotency_key`, or make one."""
    if key is None:
        # As random as a UUID and a fifth of its cost. The system's source, since one of our own is copied by a fork.
        return os.urandom(16).hex()
    if not isinstance(key, str) or not _IDEMPOTENCY_KEY.fullmatch(key):
        refuse("idempotency_key", key, "give 1 to 255 printable ASCII characters without spaces", "HTTP")
    return key
