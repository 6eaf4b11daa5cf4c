"""A run of the pure core alone: no event loop, no client, thousands of requests in a moment.

What answers say goes through the same text and the same parser as with the whole client.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from aiai_async._facts import LimitFact, RateLimits
from aiai_async.policy.accounts import Account
from aiai_async.policy.admission import Admission
from aiai_async.policy.ceilings import Cost
from aiai_async.policy.ledger import Ticket
from aiai_async.policy.retry import backoff
from aiai_async.policy.waiters import Waiter
from aiai_async.wire.limits import parse_limits, parse_retry_after

from .network import CONNECT, REFUSAL, Times, write_headers
from .records import Record
from .servers import Request, Server, Verdict

_RETRIES: Final = 20
# The time of day, in Unix seconds, for dates in answers.
_WALL: Final = 1.8e9

Watch = Callable[[float, Admission, Record], None]


def run(
    server: Server,
    requests: Sequence[Request],
    times: Times,
    *,
    declared: RateLimits | None = None,
    watch: Watch = lambda now, queue, record: None,
) -> Record:
    """Let the queues of one key meet one server, all requests waiting from the beginning.

    Args:
        server: a new one.
        requests: the job.
        times: draws how long things take.
        declared: the limits that the queues are told.
        watch: is shown each queue after each step, and what happened until then.
    """
    return _Run(server, requests, times, declared, watch).run()


class _Run:
    def __init__(
        self,
        server: Server,
        requests: Sequence[Request],
        times: Times,
        declared: RateLimits | None,
        watch: Watch,
    ) -> None:
        self._server: Final = server
        self._requests: Final = requests
        self._times: Final = times
        self._watch: Final = watch
        self._record: Final = Record(requests)
        self._luck: Final = random.Random(1)
        account = Account()
        self._queues: Final = {
            model: Admission(declared, account) for model in dict.fromkeys(request.model for request in requests)
        }
        self._events: Final[list[tuple[float, int, Callable[[float], None]]]] = []
        self._numbers: Final = itertools.count()
        self._waiting: Final[dict[Waiter, _Call]] = {}
        self._idle = 0

    def run(self) -> Record:
        for index in range(len(self._requests)):
            self._enter(_Call(index))
        now = 0.0
        while now < math.inf:
            for queue in self._queues.values():
                for waiter, ticket in queue.poll(now):
                    self._send(self._waiting.pop(waiter), waiter, ticket, now)
                self._watch(now, queue, self._record)
            wake_at = min(queue.wake_at if queue.waiting else math.inf for queue in self._queues.values())
            next_at = min(wake_at, self._events[0][0] if self._events else math.inf)
            if next_at == math.inf:
                break
            now = max(now, next_at)
            while self._events and self._events[0][0] <= now:
                heapq.heappop(self._events)[2](now)
        self._record.fail(now, len(self._waiting))
        return self._record

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), what))

    def _queue_of(self, call: _Call) -> Admission:
        return self._queues[self._requests[call.index].model]

    def _enter(self, call: _Call) -> None:
        request = self._requests[call.index]
        cost = Cost(images=request.images, tokens=request.estimate)
        waiter = self._queue_of(call).enter(cost, order=call.order)
        call.order = waiter.order
        self._waiting[waiter] = call

    def _send(self, call: _Call, waiter: Waiter, ticket: Ticket, now: float) -> None:
        if self._idle:
            self._idle -= 1
            self._write(call, ticket, now)
        else:
            self._at(now + CONNECT, lambda at: self._connect(call, ticket, at))

    def _connect(self, call: _Call, ticket: Ticket, now: float) -> None:
        for queue in self._queues.values():
            queue.note_connect(CONNECT)
        self._write(call, ticket, now)

    def _write(self, call: _Call, ticket: Ticket, now: float) -> None:
        self._record.note("sent", now)
        self._queue_of(call).sent(ticket, now)
        way = self._times.draw_way()
        self._at(now + way, lambda at: self._arrive(call, ticket, way, at))

    def _arrive(self, call: _Call, ticket: Ticket, way: float, now: float) -> None:
        verdict = self._server.arrive(self._requests[call.index], now)
        if verdict.status == 200:
            self._record.admit(call.index, now)
            self._at(now + self._times.draw_answer(), lambda at: self._answer(call, ticket, verdict, at))
        else:
            self._at(now + REFUSAL - way, lambda at: self._refuse(call, ticket, verdict, at))

    def _answer(self, call: _Call, ticket: Ticket, verdict: Verdict, now: float) -> None:
        self._server.leave()
        self._idle += 1
        self._record.note("answered", now)
        queue = self._queue_of(call)
        facts, _ = self._parse(call, verdict, now)
        queue.accept(ticket, facts, now)
        if tokens := self._requests[call.index].tokens:
            queue.measure(ticket, tokens)
        queue.finish(ticket, now)

    def _refuse(self, call: _Call, ticket: Ticket, verdict: Verdict, now: float) -> None:
        self._idle += 1
        self._record.refuse(status=verdict.status, is_quota=verdict.is_quota, now=now)
        queue = self._queue_of(call)
        if verdict.is_quota:
            queue.finish(ticket, now)
            self._record.fail(now)
            for each in self._queues.values():
                each.fail_all()
                self._forget_failed(each, now)
            return
        facts, retry_after = self._parse(call, verdict, now)
        if verdict.status == 503 and not retry_after:
            queue.hold(now)
            queue.finish(ticket, now)
            call.retries += 1
            if call.retries > _RETRIES:
                self._record.fail(now)
            else:
                delay = backoff(call.retries, base_delay=0.5, max_delay=8.0, random=self._luck.random)
                self._at(now + delay, lambda _: self._enter(call))
            return
        queue.refuse(ticket, "rate" if verdict.status == 429 else "overload", facts, retry_after, now)
        self._forget_failed(queue, now)
        self._enter(call)

    def _forget_failed(self, queue: Admission, now: float) -> None:
        while queue.failed:
            del self._waiting[queue.failed.pop()]
            self._record.fail(now)

    def _parse(self, call: _Call, verdict: Verdict, now: float) -> tuple[tuple[LimitFact, ...], float | None]:
        headers = write_headers(self._server, self._requests[call.index], verdict, now)
        return parse_limits(headers, now=_WALL), parse_retry_after(headers, now=_WALL)


class _Call:
    """A request, until it is answered or given up."""

    __slots__ = ("index", "order", "retries")

    def __init__(self, index: int) -> None:
        self.index: Final = index
        self.order: int | None = None
        self.retries = 0
