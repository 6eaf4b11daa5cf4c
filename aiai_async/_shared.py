"""What the calls of a client share, and the options that each of its views has of its own."""

from __future__ import annotations

import copy
import functools
import inspect
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

import attrs

from aiai_async._errors import ConfigurationError, QuotaExceededError
from aiai_async._exchange import Transport
from aiai_async._loops import PerLoop
from aiai_async._plans import Plans
from aiai_async._scheduler import Scheduler
from aiai_async._secret import Redactor, Secret, find_password, is_sensitive_header
from aiai_async._watchdog import DeadlineTimer
from aiai_async.policy.deadlines import Timeout
from aiai_async.policy.retry import RetryPolicy
from aiai_async.wire.endpoint import Endpoint

if TYPE_CHECKING:
    from aiai_async._prices import ModelPrices

KeySource = Secret | Callable[[], Awaitable[str]]
"""The key itself, or an async callable that is asked once per attempt."""


class Gate:
    """Lets the attempts of a batch go until the account is found empty: what can't be paid is asked for no more."""

    __slots__ = ("_error",)

    def __init__(self) -> None:
        self._error: QuotaExceededError | None = None

    def shut(self, error: QuotaExceededError) -> None:
        """Let nothing more go, for this reason."""
        if self._error is None:
            # A copy holds no traceback, and so none of the request's memory.
            self._error = copy.copy(error)

    def check(self) -> None:
        """Let an attempt go.

        Raises:
            QuotaExceededError: the gate is shut; a new exception each time, which says that nothing was sent.
        """
        if self._error is not None:
            error = copy.copy(self._error)
            error.attempts = 0
            error.may_have_been_billed = False
            answered = "so was another request of the batch answered, and nothing more is sent"
            error.hint = "; ".join(filter(None, (answered, error.hint)))
            raise error


@attrs.frozen(kw_only=True, eq=False)
class Options:
    """How calls are made; `with_options` changes a copy."""

    key: KeySource = attrs.field(repr=False)
    endpoint: Endpoint
    base_url: str = attrs.field(repr=False)
    """As it was given, perhaps with a password."""
    timeout: Timeout
    retry: RetryPolicy
    headers: Mapping[str, str] = attrs.field(repr=False)
    """Header fields of each request but the key, by lower-case name."""
    proxy: str | None = attrs.field(repr=False)
    ssl: ssl_module.SSLContext | bool | None
    validate: bool
    allow_private_downloads: bool
    max_answer_bytes: int
    prices: Mapping[str, ModelPrices]
    """The caller's, by model; they win over the table."""
    gate: Gate | None = None
    """Asked before each attempt."""

    @functools.cached_property
    def plans(self) -> Plans:
        """What follows from the settings of requests."""
        return Plans(self.prices, validate=self.validate)

    @functools.cached_property
    def queue_key(self) -> Hashable:
        """What tells keys apart in queues; its hash is worked out once, and that of a Secret each time."""
        return self.key.reveal() if isinstance(self.key, Secret) else self.key

    async def ask_for_key(self, source: Callable[[], Awaitable[str]]) -> Secret:
        """Give the key for one attempt.

        Raises:
            ConfigurationError: the callable gave something that can't be sent as a key.
        """
        answer = source()
        if not inspect.isawaitable(answer):
            raise ConfigurationError("api_key is a callable that is not async; make it `async def`")
        return check_key(await answer, "what the api_key callable gave")

    def make_redactor(self, key: Secret, headers: Mapping[str, str]) -> Redactor:
        """Make what removes every secret of a call from text: its key, passwords in URLs, header fields it sends."""
        return self._redactor if key is self.key and headers is self.headers else self._make_redactor(key, headers)

    @functools.cached_property
    def _redactor(self) -> Redactor:
        # Of most calls it is the same: making one takes 8 us.
        assert isinstance(self.key, Secret)
        return self._make_redactor(self.key, self.headers)

    def _make_redactor(self, key: Secret, headers: Mapping[str, str]) -> Redactor:
        passwords = (find_password(url) for url in (self.base_url, self.proxy) if url)
        sensitive = (value for name, value in headers.items() if is_sensitive_header(name))
        return Redactor(filter(None, [key.reveal(), *passwords, *sensitive]))


def check_key(key: object, source: str) -> Secret:
    """Wrap a key.

    Args:
        key: what was given.
        source: where it comes from, for the message.

    Raises:
        ConfigurationError: it can't be sent as a key; the message doesn't show it.
    """
    if not isinstance(key, str):
        kind = type(key).__name__
        raise ConfigurationError(f"{source} is of type {kind}; give a string, or an async callable that gives one")
    secret = Secret(key)
    # Tracebacks that show local variables must not show the key.
    del key
    if (fault := secret.find_fault()) is not None:
        raise ConfigurationError(f"{source} {fault}; set AIAI_API_KEY or api_key= to the key alone")
    return secret


class Shared:
    """The transport and the queues of all views of one client.

    Args:
        transport: carries the requests.
        scheduler: says when they may go.
    """

    __slots__ = ("deadline_timers", "is_closed", "scheduler", "transport")

    def __init__(self, transport: Transport, scheduler: Scheduler) -> None:
        self.transport: Final = transport
        self.scheduler: Final = scheduler
        self.deadline_timers: Final = PerLoop(DeadlineTimer)
        self.is_closed = False

    def check_open(self) -> None:
        """Refuse to work for a client that was closed.

        Raises:
            ConfigurationError: it was.
        """
        if self.is_closed:
            raise ConfigurationError("this client was closed; make a new one, or use it inside its `async with` block")

    async def aclose(self) -> None:
        """Wake who waits in a queue, and close all connections."""
        self.is_closed = True
        self.scheduler.close()
        await self.transport.aclose()


class CallWatch:
    """Tells whether a call is under way, or waits: to be let go, or to be tried again.

    Whoever puts one into `CALL_WATCH` learns it of the calls made in its context. A job does, so that what only waits
    is not sent after it was stopped.

    Args:
        on_begin: is called when an attempt was let go; where it raises, nothing is sent, and the call ends in that.
        on_pause: is called when an attempt failed and another one will follow.
    """

    __slots__ = ("_on_begin", "_on_pause", "is_under_way", "refusals", "was_paused", "was_under_way")

    def __init__(self, *, on_begin: Callable[[], None], on_pause: Callable[[], None]) -> None:
        self._on_begin: Final = on_begin
        self._on_pause: Final = on_pause
        self.is_under_way = False
        self.was_under_way = False
        """Whether any attempt was let go so far."""
        self.was_paused = False
        """Whether an attempt failed and another one was to follow."""
        self.refusals = 0
        """Answers with status 429."""

    def begin(self) -> None:
        """Note that an attempt was let go.

        Raises:
            Exception: it is not to be sent.
        """
        self._on_begin()
        self.is_under_way = self.was_under_way = True

    def pause(self) -> None:
        """Note that it failed and the call waits for the next one."""
        self.is_under_way, self.was_paused = False, True
        self._on_pause()


CALL_WATCH: Final[ContextVar[CallWatch | None]] = ContextVar("call_watch", default=None)
