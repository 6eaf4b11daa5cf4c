"""The queue under anything that can be reported to it, in any order, by any clock."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aiai_async._facts import LimitFact, RateLimits
from aiai_async.policy.accounts import Account
from aiai_async.policy.admission import Admission
from aiai_async.policy.budgets import Budget
from aiai_async.policy.ceilings import Ceiling, Cost
from aiai_async.policy.ledger import Ticket
from aiai_async.policy.status import describe_limits, describe_pause
from aiai_async.policy.waiters import Waiter

# A poll that nothing came of is followed by another at `wake_at`; so many in a row are a busy loop.
MOST_POLLS = 400
ROUNDING = 1e-6

FIGURES = st.none() | st.sampled_from([0.0, 0.5, 1.0, 3.0, 5.0, 60.0, 60000.0]) | st.floats(0, 1e6)
LIMITS = st.none() | st.sampled_from([0.5, 1.0, 3.0, 5.0, 60.0, 6000.0, 60000.0]) | st.floats(0.01, 1e6)
TIMES = st.none() | st.sampled_from([0.0, 0.001, 1.0, 12.0, 60.0, 3600.0]) | st.floats(0, 1e5)
FACTS = st.lists(
    st.builds(
        LimitFact,
        name=st.sampled_from(["requests", "images", "tokens", "project"]),
        limit=LIMITS,
        remaining=FIGURES,
        resets_in=TIMES,
        window=st.sampled_from([None, None, None, 1.0, 60.0, 3600.0]),
        resolution=st.sampled_from([0.0, 0.001, 1.0]),
    ),
    max_size=3,
    unique_by=lambda fact: fact.name,
)
STEPS = st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.3, 1.0, 5.0, 20.0, 60.0, 600.0]) | st.floats(-100, 1000)
COSTS = st.builds(Cost, images=st.sampled_from([1.0, 1.0, 2.0, 10.0]), tokens=st.sampled_from([0.0, 100.0, 4000.0]))
CAUSES = st.sampled_from(["rate", "rate", "concurrency", "overload"])


class Queue:
    """An admission, and what must be true of it, noted from outside."""

    def __init__(self, declared: RateLimits | None, account: Account) -> None:
        self.declared = declared or RateLimits()
        self.admission = Admission(declared, account)
        self.waiting: list[Waiter] = []
        self.live: list[Ticket] = []
        self.over: list[Ticket] = []
        self.entered = self.let_go = self.left = self.failed = 0
        self.taken: dict[Ticket, float] = {}
        """When those were let go that count."""

    def poll(self, now: float, room: float) -> list[Ticket]:
        """Poll, and hold what it did against the claims."""
        admission = self.admission
        clock = max(now, admission._now)
        tickets: list[Ticket] = []
        let_go = admission.poll(now, room=room)
        self.take_failed()
        assert len(let_go) <= room
        in_order = sorted(self.waiting, key=lambda waiter: (-waiter.priority, waiter.order))
        assert [waiter for waiter, _ in let_go] == in_order[: len(let_go)], "somebody went before his turn"
        for waiter, ticket in let_go:
            assert waiter.is_gone
            assert waiter.failure is None
            assert waiter.expires_at > clock
            self.waiting.remove(waiter)
            self.note_let_go(ticket)
            tickets.append(ticket)
        if self.waiting and len(let_go) < room:
            assert admission.wake_at > clock, "a busy loop"
            assert admission.wake_at < math.inf or self.live, "nothing will ever wake it"
            assert admission.waits_for
        self.check_ceilings(clock)
        return tickets

    def note_let_go(self, ticket: Ticket) -> None:
        """Note that it went."""
        self.live.append(ticket)
        self.taken[ticket] = self.admission._now
        self.let_go += 1

    def take_failed(self) -> None:
        """Take those who were given up, as the shell does."""
        for waiter in self.admission.failed:
            assert waiter.failure is not None
            self.waiting.remove(waiter)
            self.failed += 1
        self.admission.failed.clear()

    def check_ceilings(self, clock: float) -> None:
        """What was let go in the last minute, and is under way, is within what was declared."""
        declared = self.declared
        if declared.concurrency is not None:
            assert len(self.live) <= declared.concurrency
        recent = [ticket for ticket, at in self.taken.items() if at > clock - 60.0 + ROUNDING]
        for unit in ("requests", "images", "tokens"):
            limit = getattr(declared, f"{unit}_per_minute")
            if limit is not None:
                costs = [ticket.cost.of(unit) for ticket in recent]
                # What costs more than all of it goes alone.
                assert sum(costs) <= max(limit, 1.0) + ROUNDING or sum(cost > 0 for cost in costs) <= 1


class AdmissionMachine(RuleBasedStateMachine):
    """Two queues of one key."""

    queues: list[Queue]
    now: float

    @initialize(
        declared=st.lists(
            st.none()
            | st.builds(
                RateLimits,
                requests_per_minute=st.none() | st.sampled_from([0.5, 1.0, 3.0, 60.0, 6000.0]),
                images_per_minute=st.none() | st.sampled_from([1.0, 5.0, 60.0]),
                tokens_per_minute=st.none() | st.sampled_from([100.0, 10000.0]),
                concurrency=st.none() | st.integers(1, 4),
            ),
            min_size=1,
            max_size=2,
        ),
        now=st.sampled_from([0.0, 1000.0, 1e6]),
    )
    def begin(self, declared: list[RateLimits | None], now: float) -> None:
        """A client is made."""
        account = Account()
        self.account = account
        self.queues = [Queue(each, account) for each in declared]
        self.now = now

    def pick(self, which: int) -> Queue:
        """Choose a queue."""
        return self.queues[which % len(self.queues)]

    @rule(which=st.integers(0, 1), step=STEPS)
    def time_passes(self, which: int, step: float) -> None:
        """Forward or backward; 0: by as much as the queue asked for."""
        wake_at = self.pick(which).admission.wake_at
        self.now = wake_at if step == 0.0 and wake_at < math.inf else self.now + step

    @rule(
        which=st.integers(0, 1),
        count=st.sampled_from([1, 1, 3, 20, 100]),
        cost=COSTS,
        priority=st.sampled_from([0, 0, 0, 1, -1]),
        patience=st.sampled_from([math.inf, math.inf, 0.0, 30.0]),
        bound=st.sampled_from([math.inf, math.inf, 0.0, 10.0, 100.0]),
    )
    def enter(self, which: int, count: int, cost: Cost, priority: int, patience: float, bound: float) -> None:
        """Some come."""
        queue = self.pick(which)
        for _ in range(count):
            waiter = queue.admission.enter(
                cost, priority=priority, patience=patience, expires_at=max(self.now, queue.admission._now) + bound
            )
            queue.waiting.append(waiter)
            queue.entered += 1

    @rule(which=st.integers(0, 1), cost=COSTS, count=st.sampled_from([1, 5]))
    def admit(self, which: int, cost: Cost, count: int) -> None:
        """Some that need not wait, where nobody does."""
        queue = self.pick(which)
        for _ in range(count):
            ticket = queue.admission.admit(cost, self.now)
            assert ticket is None or not queue.waiting, "somebody else waits"
            if ticket is not None:
                queue.note_let_go(ticket)
                queue.entered += 1
        queue.check_ceilings(queue.admission._now)

    @rule(which=st.integers(0, 1), each=st.integers(0, 10**6))
    def leave(self, which: int, each: int) -> None:
        """One gives up, twice."""
        queue = self.pick(which)
        if queue.waiting:
            waiter = queue.waiting.pop(each % len(queue.waiting))
            queue.admission.leave(waiter)
            queue.admission.leave(waiter)
            queue.left += 1

    @rule(which=st.integers(0, 1), room=st.sampled_from([math.inf, math.inf, 0, 1, 3]))
    def poll(self, which: int, room: float) -> None:
        """The timer fires."""
        self.pick(which).poll(self.now, room)

    @rule(which=st.integers(0, 1), share=st.sampled_from([0.0, 0.5, 1.0]))
    def all_are_sent(self, which: int, share: float) -> None:
        """The oldest of them."""
        queue = self.pick(which)
        for ticket in queue.live[: math.ceil(len(queue.live) * share)]:
            queue.admission.sent(ticket, self.now)

    @rule(which=st.integers(0, 1), each=st.integers(0, 10**6))
    def one_is_sent(self, which: int, each: int) -> None:
        """Any, also one that is over."""
        queue = self.pick(which)
        tickets = queue.live + queue.over
        if tickets:
            queue.admission.sent(tickets[each % len(tickets)], self.now)

    @rule(which=st.integers(0, 1), each=st.integers(0, 10**6), facts=FACTS, tokens=st.sampled_from([0, 1, 100, 10**5]))
    def accept(self, which: int, each: int, facts: list[LimitFact], tokens: int) -> None:
        """One is answered."""
        queue = self.pick(which)
        if queue.live:
            ticket = queue.live[each % len(queue.live)]
            queue.admission.accept(ticket, facts, self.now)
            queue.admission.measure(ticket, tokens)

    @rule(
        which=st.integers(0, 1),
        each=st.integers(0, 10**6),
        cause=CAUSES,
        facts=FACTS,
        retry_after=TIMES,
        again=st.booleans(),
        count=st.sampled_from([1, 1, 5]),
    )
    def refuse(
        self,
        which: int,
        each: int,
        cause: Any,
        facts: list[LimitFact],
        retry_after: float | None,
        again: bool,
        count: int,
    ) -> None:
        """Some are refused, and wait again where they were."""
        queue = self.pick(which)
        for _ in range(min(count, len(queue.live))):
            ticket = queue.live.pop(each % len(queue.live))
            del queue.taken[ticket]
            queue.over.append(ticket)
            queue.admission.refuse(ticket, cause, facts, retry_after, self.now)
            queue.take_failed()
            queue.admission.refuse(ticket, cause, facts, retry_after, self.now)
            queue.admission.finish(ticket, self.now)
            if again:
                queue.waiting.append(queue.admission.enter(ticket.cost, order=ticket.order))
                queue.entered += 1

    @rule(which=st.integers(0, 1), each=st.integers(0, 10**6), count=st.sampled_from([1, 10]), is_used=st.booleans())
    def finish(self, which: int, each: int, count: int, is_used: bool) -> None:
        """Some are over, or never reached the server; it is reported twice."""
        queue = self.pick(which)
        for _ in range(min(count, len(queue.live))):
            ticket = queue.live.pop(each % len(queue.live))
            if not is_used:
                del queue.taken[ticket]
            queue.over.append(ticket)
            queue.admission.finish(ticket, self.now, is_used=is_used)
            queue.admission.finish(ticket, self.now, is_used=not is_used)

    @rule(which=st.integers(0, 1))
    def hold(self, which: int) -> None:
        """A 503 without a word."""
        self.pick(which).admission.hold(self.now)

    @rule(which=st.integers(0, 1))
    def fail_all(self, which: int) -> None:
        """The account is empty."""
        queue = self.pick(which)
        queue.admission.fail_all()
        assert all(waiter.failure == "quota" for waiter in queue.admission.failed)
        queue.take_failed()
        assert not queue.waiting

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0.0, 0.001, 0.05, 3.0]), is_lag=st.booleans())
    def network(self, which: int, seconds: float, is_lag: bool) -> None:
        """A connect was measured, or a timer was late."""
        admission = self.pick(which).admission
        if is_lag:
            admission.note_lag(seconds)
        else:
            admission.note_connect(seconds)

    @rule(which=st.integers(0, 1), answers=st.booleans())
    def everything_settles(self, which: int, answers: bool) -> None:
        """Nothing but time passes, or what is under way is answered: somebody goes, sooner or later."""
        queue = self.pick(which)
        for _ in range(MOST_POLLS):
            if not queue.waiting:
                break
            if queue.poll(self.now, math.inf):
                break
            if not queue.waiting:
                break
            if queue.admission.wake_at == math.inf:
                assert queue.live
                if not answers:
                    break
                ticket = queue.live.pop(0)
                queue.over.append(ticket)
                queue.admission.accept(ticket, (), self.now)
                queue.admission.finish(ticket, self.now)
            else:
                self.now = max(self.now, queue.admission.wake_at)
        else:
            raise AssertionError(f"nobody goes: {queue.admission.waits_for}")

    @invariant()
    def nobody_is_lost(self) -> None:
        """Each waits, was let go, left or failed; each that was let go is under way or over."""
        for queue in getattr(self, "queues", []):
            queue.take_failed()
            assert queue.admission.waiting == len(queue.waiting)
            assert queue.entered == len(queue.waiting) + queue.let_go + queue.left + queue.failed
            assert queue.admission.in_flight == len(queue.live)
            assert queue.let_go == len(queue.live) + len(queue.over)
            assert queue.admission.is_quiet == (not queue.waiting and not queue.live)
            assert not any(waiter.is_gone for waiter in queue.waiting)

    @invariant()
    def sums_are_right(self) -> None:
        """What is kept as a sum is the sum of what it is made of."""
        for queue in getattr(self, "queues", []):
            admission = queue.admission
            assert len(admission._ledger._unwritten) + len(admission._ledger._written) == len(queue.live)
            for ceiling in (*admission.ceilings.values(), *admission._ledger.by_second.values()):
                check_ceiling(ceiling)
            for budget in admission.budgets.values():
                check_budget(budget)

    @invariant()
    def it_can_be_described(self) -> None:
        """At any moment, in figures that make sense."""
        for queue in getattr(self, "queues", []):
            # Looking is no tick of its clock: a later one that is taken back again would have forgotten what counts.
            for status in describe_limits(queue.admission, max(0.0, queue.admission._now)):
                assert status.limit > 0
                assert status.remaining is None or status.remaining >= 0
                assert status.resets_in is None or status.resets_in >= 0
                assert status.window is None or status.window > 0
            until, why = describe_pause(queue.admission)
            assert (until is None) == (why is None)


def check_ceiling(ceiling: Ceiling) -> None:
    """Its sum is that of its slots."""
    costs = [slot.cost for slot in ceiling._slots]
    assert min(costs, default=0.0) >= 0
    assert math.isclose(ceiling.used, sum(costs), rel_tol=1e-6, abs_tol=ROUNDING)


def check_budget(budget: Budget) -> None:
    """What is under way is the sum of what is written and what is not."""
    parts = [cost for cost, _ in budget._written.values()] + list(budget._unwritten.values())
    total = sum(parts)
    assert min(parts, default=0.0) >= 0
    assert math.isclose(budget._outstanding, total, rel_tol=1e-6, abs_tol=1e-6 * max(1.0, budget.scale * 1e5))
    assert not math.isnan(budget._kept)
    assert not math.isnan(budget._refilled)
    assert budget.scale > 0


TestAdmission = AdmissionMachine.TestCase
TestAdmission.settings = settings(max_examples=80, stateful_step_count=40)
