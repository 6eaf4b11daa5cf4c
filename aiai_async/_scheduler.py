"""Sleeps and wakes for `policy.admission`: one queue for each server, key and model, and the permits they give.

What may go, and when, is decided there; this module has one timer for each queue, wakes who was let go, and sees to it
that every permit is given back once. A queue that is quiet has no task and no timer, and is forgotten in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dt
import math
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Final

import attrs

from aiai_async._errors import (
    APIError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    QuotaExceededError,
    RateLimitError,
)
from aiai_async._facts import LimitFact, Limits, QueueStatus, RateLimits
from aiai_async._frozen import frozen
from aiai_async._loops import PerLoop, running_loop
from aiai_async.policy.accounts import Account
from aiai_async.policy.admission import Admission
from aiai_async.policy.ceilings import Cost
from aiai_async.policy.ledger import Ticket
from aiai_async.policy.lockout import Cause
from aiai_async.policy.status import describe_limits, describe_pause
from aiai_async.policy.waiters import Waiter
from aiai_async.wire.endpoint import Origin

# What is known of limits is worth keeping for a while, but not for ever: names of models may be made up.
_MOST_QUIET_QUEUES: Final = 256

# Seconds that a timer may be late until those who come look themselves who may go.
_LATE: Final = 0.001

Clock = Callable[[], float]
"""Gives the time of an event loop, in seconds."""

DeclaredLimits = RateLimits | Mapping[str, RateLimits] | None


@frozen(kw_only=True, eq=False)
class Asker:
    """Who asks for permits: one call."""

    origin: Origin
    key: Hashable = attrs.field(repr=False)
    """What tells keys apart."""
    model: str | None
    cost: Cost
    priority: int = 0
    """Higher goes first."""
    patience: float | None = None
    """Seconds that a server may ask it to wait; None: as long as it takes."""


class Scheduler:
    """The queues of one client, on each event loop its own.

    Args:
        limits: what the caller says of the limits: of every model, or by model.
        max_connections: requests under way at once on each event loop; 0: no cap.
    """

    __slots__ = ("_desks", "limits", "max_connections")

    def __init__(self, *, limits: DeclaredLimits, max_connections: int) -> None:
        self.limits: Final = limits
        self.max_connections: Final = max_connections
        self._desks: Final = PerLoop(lambda: _Desk(limits, max_connections or math.inf))

    def acquire_nowait(self, asker: Asker, loop: asyncio.AbstractEventLoop) -> Permit | None:
        """Let a request go at once where nothing limits it and nothing waits before it; None: it has to wait.

        Args:
            asker: the call.
            loop: the running event loop.
        """
        return self._desks.of(loop).find_queue(asker).acquire_nowait(asker, loop.time)

    async def acquire(self, asker: Asker, *, timeout: float | None = None, order: int | None = None) -> Permit:
        """Wait until a request may go.

        Args:
            asker: the call.
            timeout: longest wait, in seconds; None is no bound.
            order: the `order` of the permit before, where its request was refused: it keeps its place in the queue.

        Raises:
            APITimeoutError: `timeout` passed; its phase is "queue".
            APIError: the server lets nothing through for longer than the call's patience: a copy of its last refusal;
                or the account is empty: a copy of what the server said of it.
            ConfigurationError: the client was closed meanwhile.
        """
        return await self._desks.get().find_queue(asker).acquire(asker, timeout=timeout, order=order)

    def describe(self) -> Limits:
        """Say what is known now of all limits, on all event loops."""
        return Limits(status for _, desk in self._desks.items() for status in desk.describe())

    def close(self) -> None:
        """Wake all who wait, on all event loops: the client was closed."""
        for loop, desk in self._desks.take_all():
            if loop is _find_running_loop():
                desk.close()
            else:
                # Where the loop has ended, nobody waits.
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(desk.close)


class Permit:
    """Lets one attempt go. What is learned of the attempt is reported here, and `release` ends it once.

    Args:
        queue: what gave it.
        ticket: the queue's own record of the attempt.
        clock: that of the loop.
    """

    __slots__ = ("_clock", "_queue", "_ticket", "_was_sent")

    def __init__(self, queue: _Queue, ticket: Ticket, clock: Clock) -> None:
        self._queue: Final = queue
        self._ticket: Final = ticket
        self._clock: Final = clock
        self._was_sent = False

    @property
    def order(self) -> int:
        """The place in the queue."""
        return self._ticket.order

    def note_connect(self, seconds: float) -> None:
        """Report how long a TCP connect took."""
        self._queue.desk.note_connect(self._queue.origin, seconds)

    def note_sent(self, now: float) -> None:
        """Report that the request was written."""
        self._was_sent = True
        queue = self._queue
        queue.admission.sent(self._ticket, now)
        if queue.waiters.count:
            queue.pump()

    def accept(self, facts: Sequence[LimitFact]) -> None:
        """Report that the server let the request in, and what it says of limits."""
        self._was_sent = True
        queue = self._queue
        if not self._ticket.is_over:
            queue.admission.accept(self._ticket, facts, self._clock())
            if queue.waiters.count:
                queue.pump()

    def measure(self, tokens: int) -> None:
        """Report what the answer was billed for."""
        admission = self._queue.admission
        if admission.budgets:
            admission.measure(self._ticket, tokens)

    def refuse(self, error: APIError, cause: Cause, facts: Iterable[LimitFact], retry_after: float | None) -> float:
        """Report that the server refused the request; the permit is given back.

        Args:
            error: what those who wait get a copy of, if the server outlasts them.
            cause: what refused.
            facts: what the answer says of limits.
            retry_after: seconds it asks to wait; None: it doesn't say.

        Returns:
            Seconds for which nothing was let through, although one request was tried at the end of each pause.
        """
        queue, now = self._queue, self._clock()
        if not self._ticket.is_over:
            # A copy holds no traceback, and so none of the request's memory.
            queue.last_refusal = copy.copy(error)
            queue.admission.refuse(self._ticket, cause, facts, retry_after, now)
            queue.note_end()
        return queue.admission.blocked_for(now)

    def note_overload(self) -> None:
        """Report that the server has too much to do and doesn't say for how long."""
        self._queue.admission.hold(self._clock())

    def note_quota(self, error: QuotaExceededError) -> None:
        """Report that the account is empty: everything that waits on its key fails."""
        self._queue.desk.fail_account(self._queue.account, error)

    def release(self) -> None:
        """Give the permit back, once however often it is called; what was never sent gives its budget back too."""
        if not self._ticket.is_over:
            self._queue.admission.finish(self._ticket, self._clock(), is_used=self._was_sent)
            self._queue.note_end()


class _Entry:
    """One who waits."""

    __slots__ = ("error", "permit", "timeout", "turn")

    def __init__(self, turn: asyncio.Future[None], timeout: float | None) -> None:
        # A future, not an event of anyio, which takes 5 us more: of 2,000 requests at once nearly all wait.
        self.turn: Final = turn
        """Is done when the wait is over."""
        self.timeout: Final = timeout
        """Seconds it may wait still; None: without a bound."""
        self.permit: Permit | None = None
        self.error: Exception | None = None

    def end(self) -> None:
        """Wake who waits, unless that was cancelled in this moment."""
        if not self.turn.done():
            self.turn.set_result(None)


class _Queue:
    """One queue, and its timer."""

    __slots__ = (
        "_entries",
        "_timer",
        "_wakes_at",
        "account",
        "admission",
        "desk",
        "last_refusal",
        "model",
        "origin",
        "turn",
        "waiters",
    )

    def __init__(
        self, desk: _Desk, account: Account, origin: Origin, model: str | None, declared: RateLimits | None
    ) -> None:
        self.desk: Final = desk
        self.account: Final = account
        self.origin: Final = origin
        self.model: Final = model
        self.admission: Final = Admission(declared, account)
        self.waiters: Final = self.admission.waiters
        self.last_refusal: APIError | None = None
        self._entries: Final[dict[Waiter, _Entry]] = {}
        self._timer: asyncio.Handle | None = None
        self._wakes_at = math.inf
        """When the timer is due, where there is one."""
        self.turn = 0
        """The desk's turn when it let a waiter go last."""

    def acquire_nowait(self, asker: Asker, clock: Clock) -> Permit | None:
        desk = self.desk
        if desk.room <= 0:
            return None
        ticket = self.admission.admit(asker.cost, clock())
        if ticket is None:
            return None
        desk.in_flight += 1
        return Permit(self, ticket, clock)

    async def acquire(self, asker: Asker, *, timeout: float | None, order: int | None) -> Permit:
        if order is None and (permit := self.acquire_nowait(asker, self.desk.now)) is not None:
            return permit
        admission, desk = self.admission, self.desk
        waiter = admission.enter(
            asker.cost,
            priority=asker.priority,
            patience=math.inf if asker.patience is None else asker.patience,
            expires_at=math.inf if timeout is None else desk.now() + timeout,
            order=order,
        )
        entry = self._entries[waiter] = _Entry(desk.loop.create_future(), timeout)
        # Behind others it changes nothing, unless its own bound of waiting is the next time to wake, or so many come at
        # once that the timer is late.
        if timeout is not None or self.waiters.first() is waiter or desk.now() > admission.wake_at + _LATE:
            self.pump()
        try:
            if entry.permit is None and entry.error is None:
                await entry.turn
        except BaseException:
            # Cancelled: perhaps just after it was let go.
            if entry.permit is not None:
                entry.permit.release()
            elif self._entries.pop(waiter, None) is not None:
                admission.leave(waiter)
                self.pump()
            raise
        if entry.error is not None:
            raise entry.error
        assert entry.permit is not None
        return entry.permit

    def pump(self) -> None:
        """Let go who may go now, fail who has to, and set the timer for the next."""
        admission, desk, waiters = self.admission, self.desk, self.waiters
        if not waiters.count and not waiters.failed:
            if self._timer is not None:
                self._set_timer(math.inf)
            return
        now = desk.now()
        for waiter, ticket in admission.poll(now, room=desk.room):
            desk.in_flight += 1
            desk.turn += 1
            self.turn = desk.turn
            entry = self._entries.pop(waiter)
            entry.permit = Permit(self, ticket, desk.now)
            entry.end()
        while admission.failed:
            waiter = admission.failed.pop()
            self._fail(self._entries.pop(waiter), waiter)
        self._set_timer(admission.wake_at)

    def note_end(self) -> None:
        """Note that a request is over."""
        desk = self.desk
        desk.in_flight -= 1
        if desk.room == 1:
            # Others may have waited for it.
            desk.share_room()
        if self.waiters.count or self.waiters.failed:
            self.pump()

    def fail_all(self, make: Callable[[], Exception]) -> None:
        """Fail all who wait."""
        self.admission.fail_all()
        for waiter in self.admission.failed:
            entry = self._entries.pop(waiter)
            entry.error = make()
            entry.end()
        self.admission.failed.clear()
        self.pump()

    def describe(self) -> QueueStatus:
        admission, now = self.admission, self.desk.now()
        wall = dt.datetime.now(dt.UTC)
        until, reason = describe_pause(admission)
        paused_until = None if until is None or until <= now else wall + dt.timedelta(seconds=until - now)
        next_in = admission.next_at - now if admission.waiting and admission.next_at < math.inf else None
        return QueueStatus(
            server=f"{self.origin.scheme}://{self.origin.host}:{self.origin.port}",
            model=self.model,
            waiting=admission.waiting,
            in_flight=admission.in_flight,
            waiting_for=admission.waits_for if admission.waiting else None,
            next_in=None if next_in is None else max(0.0, next_in),
            paused_until=paused_until,
            reason=None if paused_until is None else reason,
            limits=tuple(
                attrs.evolve(
                    status,
                    model=self.model,
                    waiting=admission.waiting,
                    in_flight=admission.in_flight,
                    paused_until=paused_until,
                    reason=None if paused_until is None else reason,
                )
                for status in describe_limits(admission, now)
            ),
        )

    def _fail(self, entry: _Entry, waiter: Waiter) -> None:
        if waiter.failure == "timeout":
            words = (
                f"no request was let go to {self.origin.host}:{self.origin.port} within {entry.timeout:g} s: "
                f"it waited for {self.admission.waits_for}"
            )
            entry.error = APITimeoutError(
                words,
                hint="raise Timeout.queue to wait longer",
                host=self.origin.host,
                port=self.origin.port,
                phase="queue",
            )
        else:
            assert self.last_refusal is not None
            is_demand = waiter.failure == "demand"
            entry.error = _to_rate_limit_error(
                self.last_refusal, explain_demand(waiter.patience) if is_demand else explain_block(waiter.patience)
            )
        entry.end()

    def _set_timer(self, at: float) -> None:
        timer = self._timer
        if timer is not None:
            if self._wakes_at == at:
                return
            timer.cancel()
            self._timer = None
        if at < math.inf:
            # Of a time that has come uvloop gives a handle that doesn't know when it is due.
            self._timer, self._wakes_at = self.desk.loop.call_at(at, self._wake, at), at

    def _wake(self, due_at: float) -> None:
        self._timer = None
        self.admission.note_lag(self.desk.now() - due_at)
        self.pump()


class _Desk:
    """The queues of one event loop, and the connections that they share."""

    __slots__ = ("_accounts", "_connects", "_limits", "_loop", "_most", "_queues", "in_flight", "turn")

    def __init__(self, limits: DeclaredLimits, most: float) -> None:
        self._limits: Final = limits
        self._most: Final = most
        self._queues: Final[dict[tuple[Origin, Hashable, str | None], _Queue]] = {}
        self._accounts: Final[dict[tuple[Origin, Hashable], Account]] = {}
        self._connects: Final[dict[Origin, float]] = {}
        # A desk that held its loop would keep both for ever: see `PerLoop`.
        self._loop: Final = weakref.ref(running_loop())
        self.in_flight = 0
        self.turn = 0
        """Requests let go so far after waiting."""

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that it is for."""
        loop = self._loop()
        assert loop is not None
        return loop

    @property
    def room(self) -> float:
        """How many more requests may be under way."""
        return self._most - self.in_flight

    @property
    def now(self) -> Clock:
        """The loop's clock, in seconds."""
        return self.loop.time

    def find_queue(self, asker: Asker) -> _Queue:
        """Give the queue of a call."""
        name = (asker.origin, asker.key, asker.model)
        queue = self._queues.get(name)
        if queue is None:
            queue = self._queues[name] = self._make_queue(asker)
        return queue

    def note_connect(self, origin: Origin, seconds: float) -> None:
        """Note a TCP connect; the shortest counts."""
        if seconds < self._connects.get(origin, math.inf):
            self._connects[origin] = seconds
            for queue in self._queues.values():
                if queue.origin == origin:
                    queue.admission.note_connect(seconds)
                    if queue.waiters.count:
                        queue.pump()

    def share_room(self) -> None:
        """Let a queue use a connection that was left: they take turns, so that none keeps others waiting for ever."""
        waiting = [queue for queue in self._queues.values() if queue.admission.waiting]
        for queue in sorted(waiting, key=lambda queue: queue.turn):
            queue.pump()

    def fail_account(self, account: Account, error: QuotaExceededError) -> None:
        """Fail all who wait on a key."""
        for queue in list(self._queues.values()):
            if queue.account is account:
                queue.fail_all(lambda: _copy_for_others(error))

    def describe(self) -> list[QueueStatus]:
        return [queue.describe() for queue in list(self._queues.values())]

    def close(self) -> None:
        for queue in list(self._queues.values()):
            queue.fail_all(
                lambda: ConfigurationError("this client was closed while the request waited; nothing was sent")
            )

    def _make_queue(self, asker: Asker) -> _Queue:
        self._forget_quiet()
        account = self._accounts.setdefault((asker.origin, asker.key), Account())
        declared = self._limits
        if isinstance(declared, Mapping):
            declared = declared.get(asker.model or "")
        queue = _Queue(self, account, asker.origin, asker.model, declared)
        if (seconds := self._connects.get(asker.origin)) is not None:
            queue.admission.note_connect(seconds)
        return queue

    def _forget_quiet(self) -> None:
        quiet = [name for name, queue in self._queues.items() if queue.admission.is_quiet]
        for name in quiet[: max(0, len(quiet) - _MOST_QUIET_QUEUES + 1)]:
            queue = self._queues.pop(name)
            queue.account.leave(queue.admission)
        if quiet:
            in_use = {(origin, key) for origin, key, _ in self._queues}
            for account in [name for name in self._accounts if name not in in_use]:
                del self._accounts[account]


def explain_demand(most: float) -> str:
    """Say why a call is given up of which the server asks to wait too long."""
    return f"that is more than RetryPolicy.max_retry_after={most:g}"


def explain_block(seconds: float) -> str:
    """Say why a call is given up for which the server lets nothing through, and what to do."""
    return (
        f"nothing was let through for {seconds:g} s: "
        "declare the limit with limits=RateLimits(...), or raise RetryPolicy(max_retry_after=...)"
    )


def _to_rate_limit_error(refusal: APIError, hint: str) -> APIError:
    """Make what those get who wait behind a refusal that outlasts them: an exception of their own."""
    if isinstance(refusal, RateLimitError):
        error = copy.copy(refusal)
        error.hint = "; ".join(filter(None, (refusal.hint, hint)))
        return error
    facts = {name: getattr(refusal, name) for name in ("code", "param", "type", "body", "request_id")}
    if isinstance(refusal, APIStatusError):
        facts |= {"status_code": refusal.status_code, "headers": refusal.headers}
    return RateLimitError(refusal.message, hint=hint, **facts)


def _copy_for_others(error: QuotaExceededError) -> QuotaExceededError:
    """Make what others get who wait on the same key: an exception of their own, without this one's traceback."""
    copied = copy.copy(error)
    copied.hint = "; ".join(filter(None, ("so was another request answered, and this one was not sent", error.hint)))
    return copied


def _find_running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
