"""Servers with limits, in a few lines each, and a client that is nothing but the core: time is a number here."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from aiai_async._facts import LimitFact, RateLimits
from aiai_async.policy.accounts import Account
from aiai_async.policy.admission import Admission
from aiai_async.policy.ceilings import Cost
from aiai_async.policy.ledger import Ticket
from aiai_async.policy.waiters import Waiter

CONNECT = 0.05
ONE_WAY = 0.01
TINY = 1e-9


class Rule(Protocol):
    """One limit."""

    limit: float

    def wait(self, cost: float, now: float) -> float:
        """Give in how many seconds so much would be let in; 0: at once."""
        ...

    def take(self, cost: float, now: float) -> None:
        """Let it in."""
        ...

    def resets_in(self, now: float) -> float:
        """Give in how many seconds all of it is back."""
        ...

    def remaining(self, now: float) -> float:
        """Give what is left."""
        ...


class Bucket:
    """Fills evenly."""

    def __init__(self, limit: float, *, burst: float | None = None) -> None:
        self.limit = limit
        self.holds = self.left = limit if burst is None else burst
        self.at = 0.0

    def remaining(self, now: float) -> float:
        """Fill it up until now."""
        self.left = min(self.holds, self.left + (now - self.at) * self.limit / 60.0)
        self.at = now
        return self.left

    def wait(self, cost: float, now: float) -> float:
        """Until so much has come back."""
        missing = cost - self.remaining(now)
        return missing * 60.0 / self.limit if missing > TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        """Out of it."""
        self.left = self.remaining(now) - cost

    def resets_in(self, now: float) -> float:
        """Until it is full."""
        return (self.holds - self.remaining(now)) * 60.0 / self.limit


class Window:
    """So much in each minute, from `phase` on."""

    def __init__(self, limit: float, *, phase: float = 0.0) -> None:
        self.limit, self.phase = limit, phase
        self.used, self.number = 0.0, -1

    def remaining(self, now: float) -> float:
        """What is left in the minute that is under way."""
        number = math.floor((now - self.phase) / 60.0 + TINY)
        if number != self.number:
            self.number, self.used = number, 0.0
        return self.limit - self.used

    def wait(self, cost: float, now: float) -> float:
        """Until the next minute."""
        return self.resets_in(now) if cost > self.remaining(now) + TINY else 0.0

    def take(self, cost: float, now: float) -> None:
        """Out of this minute."""
        self.remaining(now)
        self.used += cost

    def resets_in(self, now: float) -> float:
        """Until the next minute."""
        self.remaining(now)
        return (self.number + 1) * 60.0 + self.phase - now


class Sliding:
    """So much in any minute."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.log: deque[tuple[float, float]] = deque()

    def remaining(self, now: float) -> float:
        """What was not taken in the last minute."""
        while self.log and self.log[0][0] + 60.0 <= now + TINY:
            self.log.popleft()
        return self.limit - sum(cost for _, cost in self.log)

    def wait(self, cost: float, now: float) -> float:
        """Until enough was taken more than a minute ago."""
        missing = cost - self.remaining(now)
        for at, taken in self.log:
            if missing <= TINY:
                break
            missing -= taken
            if missing <= TINY:
                return at + 60.0 - now
        return 0.0

    def take(self, cost: float, now: float) -> None:
        """Into the log."""
        self.log.append((now, cost))

    def resets_in(self, now: float) -> float:
        """Until the last was a minute ago."""
        self.remaining(now)
        return self.log[-1][0] + 60.0 - now if self.log else 0.0


@dataclass
class Server:
    """Rules that all have to agree.

    `says`: what an answer tells: figures, figures in whole seconds, only Retry-After, or nothing.
    `stamp`: whether figures are those of letting in, or of the answer.
    """

    rules: dict[str, Rule] = field(default_factory=dict)
    says: Literal["figures", "whole seconds", "retry-after", "nothing"] = "figures"
    stamp: Literal["admission", "answer"] = "admission"
    cap: int | None = None
    in_flight: int = 0

    def wait(self, cost: Cost, now: float) -> float | None:
        """Give how long it would have to wait; None: as long as the server takes no more at once."""
        if self.cap is not None and self.in_flight >= self.cap:
            return None
        return max((rule.wait(cost_by(name, cost), now) for name, rule in self.rules.items()), default=0.0)

    def take(self, cost: Cost, now: float) -> None:
        """Let it in."""
        self.in_flight += 1
        for name, rule in self.rules.items():
            rule.take(cost_by(name, cost), now)

    def facts(self, now: float) -> tuple[LimitFact, ...]:
        """Say how it stands."""
        if self.says in ("retry-after", "nothing"):
            return ()
        whole = self.says == "whole seconds"
        return tuple(
            LimitFact(
                name=name,
                limit=rule.limit,
                remaining=float(max(0, math.floor(rule.remaining(now) + TINY))),
                resets_in=self.round(rule.resets_in(now)),
                resolution=1.0 if whole else 0.001,
            )
            for name, rule in self.rules.items()
        )

    def retry_after(self, wait: float | None) -> float | None:
        """Say how long to wait."""
        return None if wait is None or self.says == "nothing" else self.round(wait)

    def round(self, seconds: float) -> float:
        """Round a time up, as servers do."""
        return float(math.ceil(seconds)) if self.says == "whole seconds" else math.ceil(seconds * 1000) / 1000


def cost_by(name: str, cost: Cost) -> float:
    """Give what a rule of that name counts."""
    return cost.images if name == "images" else cost.tokens if name == "tokens" else 1.0


@dataclass
class Outcome:
    """What a run came to."""

    makespan: float = 0.0
    refused: int = 0
    answered: list[int] = field(default_factory=list)
    """Which were answered, in the order of being let in."""
    failed: int = 0
    most_in_flight: int = 0
    admission: Admission | None = None


def run(
    server: Server,
    costs: Sequence[Cost],
    *,
    latency: float,
    declared: RateLimits | None = None,
    truth: Callable[[Cost], float] | None = None,
    others: Sequence[Server] = (),
    connect: float = CONNECT,
) -> Outcome:
    """Send requests that all wait from the beginning, until nothing is left to do.

    Args:
        server: who answers.
        costs: of the requests.
        latency: seconds from letting in to the answer; every third takes half as long.
        declared: what the caller says of the limits.
        truth: what a request takes in tokens, where that isn't what was estimated.
        others: who answers the queues of other models; requests take turns.
        connect: seconds that a connect takes.
    """
    servers = [server, *others]
    account = Account()
    queues = [Admission(declared, account) for _ in servers]
    for queue in queues:
        queue.note_connect(connect)
    outcome = Outcome(admission=queues[0])
    events: list[tuple[float, int, Callable[[float], None]]] = []
    numbers = itertools.count()
    kept: list[float] = []
    names: dict[Waiter, int] = {}

    def later(at: float, what: Callable[[float], None]) -> None:
        heapq.heappush(events, (at, next(numbers), what))

    def send(which: int, waiter: Waiter, ticket: Ticket, now: float) -> None:
        if kept and kept[0] <= now:
            heapq.heappop(kept)
            written = now
        else:
            written = now + connect
        later(written, lambda at: queues[which].sent(ticket, at))
        later(written + ONE_WAY, lambda at: arrive(which, waiter, ticket, at))

    def arrive(which: int, waiter: Waiter, ticket: Ticket, now: float) -> None:
        cost = ticket.cost if truth is None else Cost(images=ticket.cost.images, tokens=truth(ticket.cost))
        wait = servers[which].wait(cost, now)
        facts = servers[which].facts(now)
        if wait != 0.0:
            later(now + ONE_WAY, lambda at: refuse(which, waiter, ticket, facts, servers[which].retry_after(wait), at))
            return
        servers[which].take(cost, now)
        outcome.most_in_flight = max(outcome.most_in_flight, servers[which].in_flight)
        outcome.answered.append(names.pop(waiter))
        facts = servers[which].facts(now)
        took = latency if len(outcome.answered) % 3 else latency / 2
        later(now + took, lambda at: answer(which, ticket, facts, cost, at))

    def answer(which: int, ticket: Ticket, facts: tuple[LimitFact, ...], cost: Cost, now: float) -> None:
        servers[which].in_flight -= 1
        if servers[which].stamp == "answer":
            facts = servers[which].facts(now)
        heapq.heappush(kept, now + ONE_WAY)
        outcome.makespan = now
        queues[which].accept(ticket, facts, now)
        if cost.tokens:
            queues[which].measure(ticket, cost.tokens)
        queues[which].finish(ticket, now)

    def refuse(
        which: int, waiter: Waiter, ticket: Ticket, facts: tuple[LimitFact, ...], retry_after: float | None, now: float
    ) -> None:
        outcome.refused += 1
        heapq.heappush(kept, now + ONE_WAY)
        queues[which].refuse(ticket, "rate", facts, retry_after, now)
        outcome.failed += len(queues[which].failed)
        queues[which].failed.clear()
        names[queues[which].enter(ticket.cost, order=waiter.order)] = names.pop(waiter)

    for number, cost in enumerate(costs):
        names[queues[number % len(queues)].enter(cost)] = number
    now = 0.0
    while True:
        for which, queue in enumerate(queues):
            for waiter, ticket in queue.poll(now):
                send(which, waiter, ticket, now)
        wake_at = min(queue.wake_at if queue.waiting else math.inf for queue in queues)
        upcoming = min(wake_at, events[0][0] if events else math.inf)
        if upcoming == math.inf:
            return outcome
        now = max(now, upcoming)
        while events and events[0][0] <= now:
            heapq.heappop(events)[2](now)


def least(server: Server, costs: Sequence[Cost], *, latency: float) -> float:
    """Give how long a client takes that knows everything."""
    now = end = CONNECT + ONE_WAY
    running: list[float] = []
    for number, cost in enumerate(costs, start=1):
        while (wait := server.wait(cost, now)) != 0.0:
            if wait is None:
                now = max(now, heapq.heappop(running))
                server.in_flight -= 1
            else:
                now += wait
        server.take(cost, now)
        done = now + (latency if number % 3 else latency / 2)
        heapq.heappush(running, done)
        end = max(end, done)
    return end
