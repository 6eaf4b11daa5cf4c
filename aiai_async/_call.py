"""One logical call: permit, attempts, deadlines, and the answer read as it arrives.

Core decides (`policy`, `wire`); this module sends, waits and reads. Each attempt runs in one cancel scope, whose
deadline is moved as the attempt goes on.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio
import attrs

from aiai_async._answers import AnswerReader, read_bounded
from aiai_async._downloads import Downloader
from aiai_async._errors import APIConnectionError, APIResponseError, APITimeoutError, clean
from aiai_async._exchange import TransportRequest, TransportResponse
from aiai_async._facts import Headers
from aiai_async._log import LOGGER
from aiai_async._schemas import HTTPInfo, ImagesResponse
from aiai_async._secret import Redactor, Secret, SecretText
from aiai_async._shared import Options, Shared
from aiai_async._sinks import SinkFactory
from aiai_async.policy.deadlines import Deadlines
from aiai_async.policy.retry import decide
from aiai_async.wire import codec, problems
from aiai_async.wire.endpoint import MAX_REDIRECTS
from aiai_async.wire.problems import AnswerHead, Problem

Outcome = ImagesResponse | Problem


class Call:
    """One call to the endpoint, made once by `run`.

    Args:
        shared: what the client's calls share.
        options: how calls are made, with this call's own timeout.
        body: the request, encoded.
        headers: header fields by lower-case name, all but the key.
        expects_one: whether the request asks for one image.
        sink: where images go; None: into memory.
    """

    def __init__(
        self,
        *,
        shared: Shared,
        options: Options,
        body: bytes,
        headers: Mapping[str, str],
        expects_one: bool,
        sink: SinkFactory | None,
    ) -> None:
        self._shared: Final = shared
        self._options: Final = options
        self._body: Final = body
        self._headers: Final = headers
        self._expects_one: Final = expects_one
        self._sink: Final = sink
        self._deadlines = Deadlines(options.timeout, started_at=0.0)
        self._scope: anyio.CancelScope | None = None
        self._began_at = 0.0
        """When sending the last request began."""
        self._sent_at: float | None = None
        """When it was written; None where it wasn't, as far as is known."""

    async def run(self) -> ImagesResponse:
        """Make attempts until one succeeds or the policy says no.

        Raises:
            APIError: the last attempt's error.
            Exception: whatever the sink or the key's callable raises.
        """
        started_at = anyio.current_time()
        self._deadlines = Deadlines(self._options.timeout, started_at=started_at)
        for attempts in itertools.count(1):
            asked_at = anyio.current_time()
            async with self._shared.permit():
                self._shared.check_open()
                self._deadlines.postpone(anyio.current_time() - asked_at)
                outcome = await self._attempt(attempts)
            if isinstance(outcome, ImagesResponse):
                assert outcome.http is not None
                elapsed = anyio.current_time() - started_at
                return attrs.evolve(outcome, http=attrs.evolve(outcome.http, attempts=attempts, elapsed=elapsed))
            await anyio.sleep(self._choose_delay(outcome, attempts))
        raise AssertionError("counting has no end")

    def _choose_delay(self, problem: Problem, attempts: int) -> float:
        """Give the wait before the next attempt, or raise the error where there is none."""
        now = anyio.current_time()
        error = problem.error
        decision = decide(
            error,
            status=problem.status,
            retry_after=problem.retry_after,
            since_sent=now - (self._began_at if self._sent_at is None else self._sent_at),
            attempts=attempts,
            time_left=self._deadlines.time_left(now),
            policy=self._options.retry,
            random=random.random,
        )
        error.attempts = attempts
        error.may_have_been_billed = decision.may_have_been_billed
        if decision.delay is None:
            error.hint = "; ".join(filter(None, (decision.reason, error.hint))) or None
            raise error
        LOGGER.debug("trying again in %.3f s after: %s", decision.delay, error)
        return decision.delay

    async def _attempt(self, number: int) -> Outcome:
        started_at = anyio.current_time()
        self._deadlines.pause()
        outcome: Outcome | None = None
        try:
            with anyio.CancelScope(deadline=self._deadlines.at) as self._scope:
                outcome = await self._exchange()
            if outcome is None:
                outcome = Problem(error=self._describe_timeout())
            return outcome
        finally:
            self._log(outcome, number, anyio.current_time() - started_at)

    async def _exchange(self) -> Outcome:
        key = await self._options.read_key()
        redactor = self._options.make_redactor(key, self._headers)
        try:
            return await self._post(key, redactor)
        except APIConnectionError as error:
            return Problem(error=error)

    async def _post(self, key: Secret, redactor: Redactor) -> Outcome:
        """Send the request, to another URL of the same origin too where the server wants that."""
        endpoint = self._options.endpoint
        url = endpoint.url
        redirects = 0
        while True:
            response = await self._send(url, key)
            head = AnswerHead(status=response.status, headers=response.headers, url=url)
            try:
                if 200 <= head.status < 300:
                    outcome = await self._read_answer(head, response, redactor)
                    if isinstance(outcome, ImagesResponse):
                        endpoint.remember(url)
                    return outcome
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
                return problem
            url = other

    async def _send(self, url: str, key: Secret) -> TransportResponse:
        headers = {"authorization": SecretText(f"Bearer {key.reveal()}"), **self._headers}
        self._sent_at = None
        self._began_at = anyio.current_time()
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
                on_sent=self._note_sent,
            )
        )
        if self._sent_at is None:
            self._note_sent()
        return response

    def _note_sent(self) -> None:
        self._sent_at = anyio.current_time()
        self._deadlines.sent(self._sent_at)
        self._move_deadline()

    def _move_deadline(self) -> None:
        assert self._scope is not None
        if self._scope.deadline != self._deadlines.at:
            self._scope.deadline = self._deadlines.at

    def note_progress(self) -> None:
        """See `ReadingClock`."""
        self._deadlines.progress(anyio.current_time())
        self._move_deadline()

    def pause(self) -> None:
        """See `ReadingClock`."""
        self._deadlines.pause()
        self._move_deadline()

    async def _read_answer(self, head: AnswerHead, response: TransportResponse, redactor: Redactor) -> Outcome:
        """Read the body of a 2xx."""
        reader = AnswerReader(
            response,
            max_bytes=self._options.max_answer_bytes,
            sink=self._sink,
            expects_one=self._expects_one,
            clock=self,
        )
        try:
            parsed = await reader.read()
            if inside := codec.find_error(parsed.tree):
                return problems.read_error_inside(head, inside, redactor=redactor, now=time.time())
            answer = codec.read_answer(parsed.tree, parsed.images, url=head.url)
        except APIResponseError as error:
            named = problems.name_answer(error, head, reader.text, redactor=redactor)
            return Problem(error=named, status=head.status)
        fetch = Downloader(self._shared, self._options).fetch
        return attrs.evolve(
            answer,
            data=tuple(image if image.url is None else attrs.evolve(image, fetch=fetch) for image in answer.data),
            http=HTTPInfo(
                status=head.status,
                headers=Headers(redactor.headers(head.headers).items()),
                request_id=problems.find_request_id(head.headers),
                attempts=1,
                elapsed=0.0,
            ),
        )

    def _describe_timeout(self) -> APITimeoutError:
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

    def _log(self, outcome: Outcome | None, number: int, elapsed: float) -> None:
        if not LOGGER.isEnabledFor(logging.INFO):
            return
        request_id: str | None = None
        if outcome is None:
            result = "cancelled"
        elif isinstance(outcome, Problem):
            result = str(outcome.status or type(outcome.error).__name__)
            request_id = outcome.error.request_id
        else:
            assert outcome.http is not None
            result, request_id = str(outcome.http.status), outcome.http.request_id
        path = urlsplit(self._options.endpoint.url).path
        LOGGER.info(
            "POST %s %s in %.3f s [request %s, attempt %d]", path, result, elapsed, clean(request_id or "-"), number
        )
