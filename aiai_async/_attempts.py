"""The attempts of one logical call: permits, sending, deadlines, and what follows from a failure.

Core decides (`policy`, `wire`); this module sends and waits. Whoever reads the answer does so `in_time`, in a block
whose deadline is moved from here, so that nothing stays open between two steps of a stream.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio

from aiai_async._errors import APIConnectionError, APIError, APITimeoutError, QuotaExceededError, clean
from aiai_async._exchange import TransportRequest, TransportResponse
from aiai_async._facts import LimitFact, Usage
from aiai_async._frozen import frozen
from aiai_async._log import LOGGER
from aiai_async._loops import running_loop
from aiai_async._scheduler import Asker, Permit, explain_block
from aiai_async._schemas import HTTPInfo
from aiai_async._secret import Redactor, Secret
from aiai_async._shared import CALL_WATCH, Options, Shared
from aiai_async._watchdog import Watchdog
from aiai_async.policy.deadlines import Deadlines
from aiai_async.policy.lockout import Cause
from aiai_async.policy.retry import decide, pauses_queue
from aiai_async.wire import problems
from aiai_async.wire.endpoint import MAX_REDIRECTS
from aiai_async.wire.problems import AnswerHead, Problem


@frozen(eq=False)
class Opened:
    """A 2xx whose body is still to be read, and has to be closed."""

    head: AnswerHead
    response: TransportResponse
    redactor: Redactor


class Attempts:
    """The attempts of one call, one after another.

    Args:
        shared: what the client's calls share.
        options: how calls are made, with this call's own timeout.
        body: the request, encoded.
        headers: header fields by lower-case name, all but the key and the next.
        idempotency_key: the call's `Idempotency-Key`, the same on each attempt.
        is_taken_slowly: whether the answer goes to a sink.
        asker: who asks for permits.
    """

    count = 0
    """Attempts begun so far."""
    _permit: Permit | None = None
    _waited = 0.0
    """Seconds spent waiting for permits."""
    _blocked_for = 0.0
    """Seconds for which nothing was let through when the last one was refused."""
    _refusals = 0
    """Those of them that a rate limit refused."""
    _may_have_been_billed = False
    """Whether an attempt before this one may have been."""
    _attempt_at = 0.0
    _began_at = 0.0
    """When sending the last request began."""
    _sent_at: float | None = None
    """When it was written; None where it wasn't, as far as is known."""

    def __init__(
        self,
        *,
        shared: Shared,
        options: Options,
        body: bytes,
        headers: Mapping[str, str],
        idempotency_key: str,
        is_taken_slowly: bool,
        asker: Asker,
    ) -> None:
        self._shared: Final = shared
        self._asker: Final = asker
        self._options: Final = options
        self._body: Final = body
        self._headers: Final = headers
        self._idempotency_key: Final = idempotency_key
        self._is_taken_slowly: Final = is_taken_slowly
        loop = running_loop()
        self._loop: Final = loop
        # anyio.current_time() finds out first what kind of loop runs: 0.8 us, six times a call.
        self._now: Final = loop.time
        self._started_at = self._now()
        self._deadlines: Final = Deadlines(options.timeout, started_at=self._started_at)
        self.in_time: Final = Watchdog(loop, self._deadlines, shared.deadline_timers.of(loop))
        """Runs a block until the next deadline."""
        self._watch: Final = CALL_WATCH.get()
        self._suspended_at = self._started_at
        self._url = options.endpoint.url
        """Where the last request went."""

    async def wait_for_permit(self) -> Permit:
        """Begin the next attempt: wait to be let go, which is not part of the call's time.

        Raises:
            APITimeoutError: `Timeout.queue` passed.
            APIError: the queue fails who waits; see `Scheduler.acquire`.
            ConfigurationError: the client was closed.
            QuotaExceededError: the call is one of a batch that found the account empty meanwhile.
        """
        asked_at = now = self._now()
        if self._shared.is_closed:
            self._shared.check_open()
        permit = self._shared.scheduler.acquire_nowait(self._asker, self._loop) if self._permit is None else None
        if permit is None:
            permit = await self._queue_up(None if self._permit is None else self._permit.order)
            now = self._now()
        self._permit = permit
        if self._options.gate is not None or self._watch is not None:
            self._pass_checks(permit)
        if waited := now - asked_at:
            self._waited += waited
            self._deadlines.postpone(waited)
        if self.count:
            self._deadlines.pause()
        self._attempt_at = self._suspended_at = self._began_at = now
        self._sent_at = None
        self.count += 1
        return permit

    def _pass_checks(self, permit: Permit) -> None:
        """Ask those who may stop the attempt now that it may go."""
        try:
            if self._options.gate is not None:
                self._options.gate.check()
            if self._watch is not None:
                self._watch.begin()
        except BaseException as error:
            permit.release()
            if isinstance(error, QuotaExceededError):
                self._complete(error)
            raise

    async def _queue_up(self, order: int | None) -> Permit:
        bound = self._options.timeout.queue
        try:
            return await self._shared.scheduler.acquire(
                self._asker, timeout=None if bound is None else max(0.0, bound - self._waited), order=order
            )
        except APIError as error:
            self._complete(error)
            if isinstance(error, APITimeoutError):
                error.seconds = bound
            raise

    async def open(self) -> Opened | Problem:
        """Send the request, to another URL of the same origin too where the server wants that; within `in_time`."""
        options = self._options
        key = options.key if isinstance(options.key, Secret) else await options.ask_for_key(options.key)
        redactor = options.make_redactor(key, self._headers)
        endpoint = options.endpoint
        url = endpoint.url
        redirects = 0
        while True:
            try:
                response = await self._send(url, key)
            except APIConnectionError as error:
                return Problem(error=error)
            assert self._permit is not None
            head = AnswerHead(status=response.status, headers=response.headers, url=url)
            if 200 <= head.status < 300:
                self._permit.accept(_read_limits(head) if head.may_tell_limits else ())
                return Opened(head, response, redactor)
            try:
                body = await read_bounded(response, problems.MAX_ERROR_BYTES)
            finally:
                response.close()
            if 300 <= head.status < 400:
                redirect = endpoint.follow(url, status=head.status, location=head.headers.get("location"))
                redirects += 1
                if redirect.url is None or redirects > MAX_REDIRECTS:
                    reason = redirect.reason or f"{head.name}: redirected {redirects} times, last to {redirect.url}"
                    return problems.read_refused_redirect(head, reason, redactor=redactor)
                url = redirect.url
                continue
            problem = problems.read_problem(head, body, redactor=redactor, now=time.time())
            other = endpoint.without_slash(url, status=head.status, code=problem.error.code)
            if other is None:
                self._report(self._permit, head, problem)
                return problem
            url = other

    def describe(self, opened: Opened) -> HTTPInfo:
        """Say how an answer came that was read to its end."""
        return HTTPInfo(
            status=opened.head.status,
            headers=problems.make_safe_headers(opened.head, opened.redactor),
            request_id=problems.find_safe_id(opened.head, opened.redactor),
            attempts=self.count,
            elapsed=self._now() - self._started_at,
        )

    def succeed(self, opened: Opened, info: HTTPInfo) -> None:
        """Note that the attempt was a success."""
        self._options.endpoint.remember(opened.head.url)
        if LOGGER.isEnabledFor(logging.INFO):
            self._log(str(info.status), info.request_id)

    def measure(self, usage: Usage | None) -> None:
        """Note what the answer was billed for."""
        if self._permit is not None and usage is not None and usage.total_tokens is not None:
            self._permit.measure(usage.total_tokens)

    def abandon(self, error: BaseException | None) -> None:
        """Note that the caller left the attempt, or that code of the caller's raised; None: it was closed."""
        is_cancelled = error is None or isinstance(error, anyio.get_cancelled_exc_class())
        self._log("cancelled" if is_cancelled else type(error).__name__, None)

    def fail(self, problem: Problem) -> float:
        """Give the seconds to wait before the next attempt.

        Raises:
            APIError: there is none; it is the problem's error, completed.
        """
        self._log(str(problem.status or type(problem.error).__name__), problem.error.request_id)
        now = self._now()
        error = problem.error
        decision = decide(
            error,
            status=problem.status,
            retry_after=problem.retry_after,
            since_sent=now - (self._began_at if self._sent_at is None else self._sent_at),
            attempts=self.count - self._refusals,
            time_left=self._deadlines.time_left(now),
            policy=self._options.retry,
            random=random.random,
        )
        is_closed = self._shared.is_closed and isinstance(error, APIConnectionError)
        # Closing the client cuts its connections; like our own time-outs that says nothing of what the server does.
        self._may_have_been_billed |= decision.may_have_been_billed or (is_closed and self._sent_at is not None)
        error.attempts = self.count
        error.may_have_been_billed = self._may_have_been_billed
        patience = self._options.retry.max_retry_after
        if decision.delay == 0.0 and patience is not None and self._blocked_for > patience:
            error.hint = "; ".join(filter(None, (error.hint, explain_block(patience))))
            raise error
        if decision.delay is None or is_closed:
            reason = "the client was closed meanwhile" if is_closed else decision.reason
            error.hint = "; ".join(filter(None, (reason, error.hint))) or None
            raise error
        again = "trying again in %.3f s after: %s" if decision.delay else "waiting in the queue again (%.0f) after: %s"
        LOGGER.debug(again, decision.delay, error)
        if self._watch is not None:
            self._watch.pause()
        return decision.delay

    def _report(self, permit: Permit, head: AnswerHead, problem: Problem) -> None:
        """Tell the queue what an answer that is no 2xx says of limits."""
        from aiai_async.wire.limits import speaks_of_concurrency

        error, retry_after = problem.error, problem.retry_after
        if self._watch is not None and head.status == 429:
            self._watch.refusals += 1
        facts = _read_limits(head, error.message)
        if isinstance(error, QuotaExceededError):
            permit.note_quota(error)
        elif pauses_queue(error, status=problem.status, retry_after=retry_after):
            self._refusals += 1
            is_about_concurrency = speaks_of_concurrency(error.type, error.code, error.message)
            cause: Cause = "concurrency" if is_about_concurrency else "rate"
            self._blocked_for = permit.refuse(error, "overload" if head.status != 429 else cause, facts, retry_after)
        elif head.status in (503, 529):
            permit.note_overload()
        else:
            permit.accept(facts)

    def _complete(self, error: APIError) -> None:
        """Say in an error that came instead of a permit what was done before."""
        error.attempts = self.count
        error.may_have_been_billed = self._may_have_been_billed

    def fail_finally(self, error: APIError) -> None:
        """Note that the attempt failed after images were handed out, so that there is no other."""
        self._log(type(error).__name__, error.request_id)
        error.attempts = self.count

    def describe_timeout(self) -> APITimeoutError:
        """Make the error for the deadline that passed."""
        deadlines, origin = self._deadlines, self._options.endpoint.origin
        words = {
            "first_byte": "no image began to come from {} within {:g} s of sending",
            "stall": "an image stopped coming from {} for {:g} s",
        }.get(deadlines.phase, "the call to {} was not over within {:g} s")
        return APITimeoutError(
            words.format(f"{origin.host}:{origin.port}", deadlines.seconds),
            hint=f"raise Timeout.{deadlines.phase} to wait longer",
            host=origin.host,
            port=origin.port,
            phase=deadlines.phase,
            seconds=deadlines.seconds,
            may_have_been_billed=self._sent_at is not None,
        )

    def note_progress(self) -> None:
        """See `ReadingClock`."""
        self._deadlines.progress(self._now())
        self.in_time.go_on()

    def suspend(self) -> None:
        """Note that a step of a stream is over."""
        self._suspended_at = self._now()

    def resume(self) -> None:
        """Note that the next step begins: the caller's time between two is not the server's."""
        self._deadlines.skip(self._now() - self._suspended_at)

    def pause(self) -> None:
        """See `ReadingClock`."""
        self._deadlines.pause()
        self.in_time.move()

    def stop(self) -> None:
        """See `ReadingClock`."""
        self.in_time.rest()

    async def _send(self, url: str, key: Secret) -> TransportResponse:
        headers = {
            "authorization": key.bearer,
            **self._headers,
            "idempotency-key": self._idempotency_key,
        }
        self._url = url
        self._began_at = self._now()
        if self._sent_at is not None:
            # It goes on to another URL.
            self._sent_at = None
            self.pause()
        response = await self._shared.transport.send(
            TransportRequest(
                method="POST",
                url=url,
                headers=headers,
                body=self._body,
                connect_timeout=self._options.timeout.connect,
                proxy=self._options.proxy,
                ssl=self._options.ssl,
                is_taken_slowly=self._is_taken_slowly,
                on_sent=self._note_sent,
                on_connected=self._note_connected,
            )
        )
        if self._sent_at is None:
            # The transport didn't tell, but it was.
            self._sent_at = self._now()
            self._deadlines.sent(self._sent_at)
            self.in_time.move()
        return response

    def _note_connected(self, seconds: float) -> None:
        if self._permit is not None:
            self._permit.note_connect(seconds)

    def _note_sent(self) -> None:
        now = self._sent_at = self._now()
        if self._permit is not None:
            self._permit.note_sent(now)
        self._deadlines.sent(now)
        self.in_time.move()

    def _log(self, result: str, request_id: str | None) -> None:
        if LOGGER.isEnabledFor(logging.INFO):
            LOGGER.info(
                "POST %s %s in %.3f s [request %s, attempt %d]",
                urlsplit(self._url).path,
                result,
                self._now() - self._attempt_at,
                clean(request_id or "-"),
                self.count,
            )


def _read_limits(head: AnswerHead, message: str = "") -> tuple[LimitFact, ...]:
    # Loaded with the first answer that tells of limits: its patterns take 2 ms to compile.
    from aiai_async.wire.limits import parse_limits

    return parse_limits(head.headers.by_lower_name, message, now=time.time())


async def read_bounded(response: TransportResponse, max_bytes: int) -> bytes:
    """Read an error's body to its end, or until it breaks or has more than `max_bytes`; give at most that many.

    A body that broke is no other error than the one whose status has come.
    """
    pieces: list[bytes] = []
    size_bytes = 0
    with contextlib.suppress(APIConnectionError):
        while size_bytes <= max_bytes and (piece := await response.read()):
            pieces.append(piece)
            size_bytes += len(piece)
    return b"".join(pieces)[:max_bytes]
