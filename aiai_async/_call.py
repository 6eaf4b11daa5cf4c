"""One call for a plain answer: attempts, until the body of one was read and is an answer."""

from __future__ import annotations

import time
from typing import Final

import anyio

from aiai_async._answers import AnswerReader
from aiai_async._attempts import Attempts, Opened
from aiai_async._errors import APIConnectionError, APIResponseError
from aiai_async._schemas import Fetch, ImagesResponse, Tariff
from aiai_async._sinks import SinkFactory
from aiai_async.wire import codec, problems
from aiai_async.wire.problems import Problem


class Call:
    """One call, made once by `run`.

    Args:
        attempts: the attempts of this call, none made yet.
        fetch: fetches what the answer gives as links.
        tariff: knows what the answer costs.
        max_answer_bytes: bound of the answer.
        expects_one: whether the request asks for one image.
        sink: where images go; None: into memory.
    """

    __slots__ = ("_attempts", "_expects_one", "_fetch", "_max_answer_bytes", "_sink", "_tariff")

    def __init__(
        self,
        attempts: Attempts,
        *,
        fetch: Fetch,
        tariff: Tariff,
        max_answer_bytes: int,
        expects_one: bool,
        sink: SinkFactory | None,
    ) -> None:
        self._attempts: Final = attempts
        self._fetch: Final = fetch
        self._tariff: Final = tariff
        self._max_answer_bytes: Final = max_answer_bytes
        self._expects_one: Final = expects_one
        self._sink: Final = sink

    async def run(self) -> ImagesResponse:
        """Make attempts until one succeeds or the policy says no.

        Raises:
            APIError: the last attempt's error.
            Exception: whatever the sink or the key's callable raises.
        """
        while True:
            permit = await self._attempts.wait_for_permit()
            try:
                outcome = await self._attempt()
            except BaseException as error:
                self._attempts.abandon(error)
                raise
            finally:
                permit.release()
            if isinstance(outcome, ImagesResponse):
                self._attempts.measure(outcome.usage)
                return outcome
            if delay := self._attempts.fail(outcome):
                await anyio.sleep(delay)

    async def _attempt(self) -> ImagesResponse | Problem:
        outcome: ImagesResponse | Problem | None = None
        with self._attempts.in_time:
            opened = await self._attempts.open()
            outcome = opened if isinstance(opened, Problem) else await self._read(opened)
        return outcome or Problem(error=self._attempts.describe_timeout())

    async def _read(self, opened: Opened) -> ImagesResponse | Problem:
        """Read the body of a 2xx."""
        head = opened.head
        reader = AnswerReader(
            opened.response,
            max_bytes=self._max_answer_bytes,
            sink=self._sink,
            expects_one=self._expects_one,
            clock=self._attempts,
        )
        try:
            parsed = await reader.read()
            if inside := codec.find_error(parsed.tree):
                return problems.read_error_inside(head, inside, redactor=opened.redactor, now=time.time())
            info = self._attempts.describe(opened)
            answer = codec.read_answer(
                parsed.tree,
                parsed.images,
                url=head.url,
                fetch=self._fetch,
                http=info,
                tariff=self._tariff,
            )
        except APIConnectionError as error:
            return Problem(error=error)
        except APIResponseError as error:
            named = problems.name_answer(error, head, reader.text, redactor=opened.redactor)
            return Problem(error=named, status=head.status)
        finally:
            opened.response.close()
        self._attempts.succeed(opened, info)
        return answer
