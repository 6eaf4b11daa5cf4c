"""The front door: AsyncImagesClient. It gathers options and arguments; the work is done below."""

from __future__ import annotations

import os
import platform
import re
import ssl as ssl_module
import uuid
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final, TypedDict, TypeVar, Unpack

import attrs

from aiai_async import _log
from aiai_async._call import Call
from aiai_async._errors import ConfigurationError, InvalidRequestError
from aiai_async._models import check, refuse
from aiai_async._schemas import (
    Background,
    ImageRequest,
    ImagesResponse,
    Moderation,
    OutputFormat,
    Quality,
    ResponseFormat,
    Size,
    Style,
)
from aiai_async._secret import SecretText, is_sensitive_header
from aiai_async._shared import KeySource, Options, Shared, check_key
from aiai_async._sinks import SinkFactory
from aiai_async._transport import AiohttpTransport, Transport
from aiai_async._version import __version__
from aiai_async.policy.deadlines import Timeout
from aiai_async.policy.retry import RetryPolicy
from aiai_async.wire.codec import encode_request
from aiai_async.wire.endpoint import Endpoint

T = TypeVar("T")

DEFAULT_BASE_URL: Final = "https://api.aiai.com/v1"

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


class AsyncImagesClient:
    """Makes images through `POST {base_url}/images/generations/`.

    It may be made anywhere, also without an event loop, and used from several, one after another or at once.
    Connections are kept for reuse: leave an `async with` block, or await `aclose`, to close them.

    Args:
        api_key: the key; or an async callable that gives it, asked once per attempt; None: `AIAI_API_KEY`.
        base_url: where the API is, usually ending in `/v1`; None: `AIAI_BASE_URL`, else `https://api.aiai.com/v1`.
        timeout: bounds of a call; a number is `Timeout.total`, in seconds.
        retry: what is tried again; a number is `RetryPolicy.max_retries`.
        max_connections: requests under way at once on each event loop; more wait. 0: no cap.
        default_headers: sent with each request.
        proxy: URL of an HTTP proxy, perhaps with user and password; None: as the environment says.
        ssl: how to check the server's certificate: a context, or False for not at all.
        validate: whether requests are checked against the rules of their model before they are sent.
        allow_private_downloads: whether links to images may lead to addresses that are not public.
        max_answer_bytes: bound of a whole answer, after decompression.
        transport: carries the requests instead of `AiohttpTransport()`; see `aiai_async._transport.Transport`.

    Raises:
        ConfigurationError: the key is missing or malformed, or another argument can't be used.

    Example:
        >>> client = AsyncImagesClient("sk-test", base_url="http://127.0.0.1:8765/v1", timeout=60)
        >>> client
        AsyncImagesClient(base_url='http://127.0.0.1:8765/v1')
    """

    def __init__(
        self,
        api_key: str | Callable[[], Awaitable[str]] | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | float = Timeout(),  # it is frozen
        retry: RetryPolicy | int = RetryPolicy(),  # it is frozen
        max_connections: int = 1000,
        default_headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool | None = None,
        validate: bool = True,
        allow_private_downloads: bool = False,
        max_answer_bytes: int = 256 * 2**20,
        transport: Transport | None = None,
    ) -> None:
        _log.configure_from_environment()
        # Wrapped before anything can fail: tracebacks that show local variables must not show secrets.
        api_key, base_url, proxy = _hide(api_key), _hide(base_url), _hide(proxy)
        default_headers = _hide_values(default_headers)
        if base_url is None:
            base_url = SecretText(os.environ.get("AIAI_BASE_URL") or DEFAULT_BASE_URL)
        if isinstance(max_connections, bool) or not isinstance(max_connections, int) or max_connections < 0:
            raise ConfigurationError(f"max_connections is {max_connections!r}; give a number, 0 for no cap")
        self._options = Options(
            key=_find_key(api_key),
            endpoint=Endpoint(base_url),
            base_url=base_url,
            timeout=_read_timeout(timeout),
            retry=_read_retry(retry),
            default_headers=_read_default_headers(default_headers),
            proxy=_read_proxy(proxy),
            ssl=ssl,
            validate=validate,
            allow_private_downloads=allow_private_downloads,
            max_answer_bytes=_read_max_answer_bytes(max_answer_bytes),
        )
        self._shared = Shared(transport or AiohttpTransport(), max_connections=max_connections)
        self._is_view = False

    def __repr__(self) -> str:
        # Tracebacks that show local variables also show a client that could not be made.
        options: Options | None = getattr(self, "_options", None)
        shown = "" if options is None else f"base_url={options.endpoint.base_url!r}"
        return f"{type(self).__name__}({shown})"

    def with_options(self, **changes: Unpack[Changes]) -> AsyncImagesClient:
        """Give a view of this client with other options, on the same connections. Closing a view closes nothing.

        Raises:
            ConfigurationError: an option can't be used, or can't be changed.

        Example:
            >>> client = AsyncImagesClient("sk-test")
            >>> patient = client.with_options(timeout=1200, retry=5)
        """
        view = object.__new__(type(self))
        hidden = {name: _hide(value) for name, value in changes.items()}
        del changes
        view._options = attrs.evolve(self._options, **_read_changes(hidden))
        view._shared = self._shared
        view._is_view = True
        return view

    async def generate(
        self,
        prompt: str | ImageRequest,
        *,
        model: str | None = None,
        n: int | None = None,
        size: Size | None = None,
        background: Background | None = None,
        moderation: Moderation | None = None,
        quality: Quality | None = None,
        style: Style | None = None,
        output_format: OutputFormat | None = None,
        output_compression: int | None = None,
        response_format: ResponseFormat | None = None,
        partial_images: int | None = None,
        user: str | None = None,
        extra_body: Mapping[str, object] | None = None,
        extra_headers: Mapping[str, str] | None = None,
        timeout: Timeout | float | None = None,
        idempotency_key: str | None = None,
        sink: SinkFactory | None = None,
    ) -> ImagesResponse:
        """Make images and wait for them.

        Cancelling frees the connection at once; whether the server goes on and bills is its own affair.

        Args:
            prompt: what the images show; or a whole ImageRequest, whose fields the keywords override.
            model, n, size, background, moderation, quality, style, output_format, output_compression, response_format,
                partial_images, user: the fields of ImageRequest; None is not sent.
            extra_body: further fields of the body, sent as they are.
            extra_headers: further header fields.
            timeout: bounds of this call; None: the client's.
            idempotency_key: the call's `Idempotency-Key`, the same on each attempt; None: a new one.
            sink: asked for a sink for image i when its first byte is there; the bytes go there and not to
                `Image.content`. Each attempt asks anew.

        Returns:
            The answer; `data` may hold fewer images than were asked for, never none.

        Raises:
            InvalidRequestError: the request or an argument is wrong; nothing was sent.
            APIError: the call failed; `may_have_been_billed` says whether an image may have been made all the same.
            ConfigurationError: the client was closed, or what gives the key gave none.

        Example:
            async with AsyncImagesClient() as client:
                response = await client.generate("A lighthouse at dusk", model="gpt-image-1")
                await response.image.save("lighthouse.png")
        """
        self._shared.check_open()
        overrides = {
            "model": model,
            "n": n,
            "size": size,
            "background": background,
            "moderation": moderation,
            "quality": quality,
            "style": style,
            "output_format": output_format,
            "output_compression": output_compression,
            "response_format": response_format,
            "partial_images": partial_images,
            "user": user,
        }
        fields: dict[str, object] = prompt.to_fields() if isinstance(prompt, ImageRequest) else {"prompt": prompt}
        fields.update((name, value) for name, value in overrides.items() if value is not None)
        if self._options.validate:
            check(_read_model(fields), fields)
        if sink is not None and not callable(sink):
            refuse("sink", sink, "give a function that gives the sink of image i", "generate")
        options = self._options if timeout is None else attrs.evolve(self._options, timeout=_read_call_timeout(timeout))
        call = Call(
            shared=self._shared,
            options=options,
            body=encode_request(_merge_body(fields, extra_body)),
            headers=_merge_headers(self._options.default_headers, extra_headers, idempotency_key),
            expects_one=fields.get("n", 1) == 1,
            sink=sink,
        )
        return await call.run()

    @property
    def images(self) -> _Images:
        """The client as code for the official SDK sees it: `await client.images.generate(prompt=..., model=...)`."""
        return _Images(self)

    async def __aenter__(self) -> AsyncImagesClient:
        # A client made at import time is entered once per asyncio.run(): so entering opens what leaving closed.
        if not self._is_view:
            self._shared.is_closed = False
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; requests under way fail. Calling it again does nothing, nor does it on a view."""
        if self._is_view:
            return
        self._shared.is_closed = True
        await self._shared.transport.aclose()

    close = aclose


class _Images:
    """See `AsyncImagesClient.images`."""

    def __init__(self, client: AsyncImagesClient) -> None:
        self.generate = client.generate


def _find_key(api_key: str | Callable[[], Awaitable[str]] | None) -> KeySource:
    if api_key is None:
        # Only this variable: a key for another service must not be sent to this one.
        found = _hide(os.environ.get("AIAI_API_KEY"))
        if not found:
            raise ConfigurationError("there is no API key: set AIAI_API_KEY, or give api_key=")
        return check_key(found, "AIAI_API_KEY")
    if not isinstance(api_key, str) and callable(api_key):
        return api_key
    return check_key(api_key, "api_key")


def _hide(text: T) -> T | SecretText:
    return SecretText(text) if isinstance(text, str) else text


def _hide_values(headers: Mapping[str, str] | None) -> Mapping[str, str] | None:
    return {name: _hide(value) for name, value in headers.items()} if isinstance(headers, Mapping) else headers


def _read_timeout(timeout: Timeout | float) -> Timeout:
    try:
        return Timeout.of(timeout)
    except ValueError as error:
        raise ConfigurationError(f"timeout: {error}") from error


def _read_call_timeout(timeout: Timeout | float) -> Timeout:
    try:
        return Timeout.of(timeout)
    except ValueError as error:
        raise InvalidRequestError(f"timeout: {error}", field="timeout", value=timeout) from error


def _read_retry(retry: RetryPolicy | int) -> RetryPolicy:
    if isinstance(retry, RetryPolicy):
        return retry
    try:
        return RetryPolicy(max_retries=retry)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"retry is {retry!r}; give a RetryPolicy or a number of retries") from error


def _read_max_answer_bytes(count: int) -> int:
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"max_answer_bytes is {count!r}; give a number above 0")
    return count


def _read_proxy(proxy: str | None) -> str | None:
    if proxy is None:
        return None
    if not proxy.startswith(("http://", "https://")):
        raise ConfigurationError("proxy must be a URL that begins with http:// or https://")
    return proxy


def _read_default_headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    try:
        return _read_headers(headers, "default_headers")
    except InvalidRequestError as error:
        raise ConfigurationError(str(error)) from None


def _read_changes(changes: Mapping[str, object]) -> dict[str, Any]:
    def same(name: str, read: Callable[[Any], object]) -> Callable[[Any], dict[str, object]]:
        return lambda value: {name: read(value)}

    readers: dict[str, Callable[[Any], dict[str, object]]] = {
        "api_key": lambda key: {"key": _find_key(key)},
        "base_url": lambda url: {"endpoint": Endpoint(url), "base_url": url},
        "timeout": same("timeout", _read_timeout),
        "retry": same("retry", _read_retry),
        "default_headers": same("default_headers", _read_default_headers),
        "proxy": same("proxy", _read_proxy),
        "ssl": same("ssl", lambda ssl: ssl),
        "validate": same("validate", bool),
        "allow_private_downloads": same("allow_private_downloads", bool),
        "max_answer_bytes": same("max_answer_bytes", _read_max_answer_bytes),
    }
    read: dict[str, Any] = {}
    for name, value in changes.items():
        if name not in readers:
            known = ", ".join(Changes.__annotations__)
            raise ConfigurationError(f"with_options can't change {name}; it can change {known}")
        read.update(readers[name](value))
    return read


def _read_model(fields: Mapping[str, object]) -> str | None:
    model = fields.get("model")
    return model if isinstance(model, str) else None


def _merge_body(fields: dict[str, object], extra_body: Mapping[str, object] | None) -> dict[str, object]:
    if extra_body is None:
        return fields
    if not isinstance(extra_body, Mapping):
        refuse("extra_body", extra_body, "give a mapping of fields", "generate")
    if extra_body.get("stream"):
        refuse("extra_body", extra_body, "leave `stream` out of it, since the answer would be a stream", "generate")
    return {**fields, **extra_body}


def _read_headers(headers: Mapping[str, str] | None, source: str) -> dict[str, str]:
    """Check header fields and give them by lower-case name, those that are secret hidden from repr."""
    read: dict[str, str] = {}
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            refuse(source, name, "give names of header fields as strings", "HTTP")
        if not isinstance(value, str) or not value.isprintable() or not value.isascii():
            words = f"give {name} a string of printable ASCII characters"
            refuse(source, HiddenValue(), words, "HTTP")
        if (reason := _OWN_HEADERS.get(name.lower())) is not None:
            refuse(source, name, f"leave it out: {reason}", "this client")
        read[name.lower()] = SecretText(value) if is_sensitive_header(name) else value
    return read


class HiddenValue:
    """Stands in an error for a header's value, which may be a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown"


def _merge_headers(
    default: Mapping[str, str], extra: Mapping[str, str] | None, idempotency_key: str | None
) -> dict[str, str]:
    if idempotency_key is None:
        idempotency_key = str(uuid.uuid4())
    elif not isinstance(idempotency_key, str) or not re.fullmatch(r"[!-~]{1,255}", idempotency_key):
        refuse("idempotency_key", idempotency_key, "give 1 to 255 printable ASCII characters without spaces", "HTTP")
    return {
        "accept": "application/json",
        "user-agent": _USER_AGENT,
        **default,
        **_read_headers(extra, "extra_headers"),
        "content-type": "application/json",
        "idempotency-key": idempotency_key,
    }
