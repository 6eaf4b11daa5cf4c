"""Who goes next, and when: the queue of one key and model.

All that limits a request meets here: budgets that are declared or read from answers, rates and caps that are found by
refusals, the ramp, and the pause after a refusal. It decides and never waits: whoever calls it sleeps until `wake_at`
and polls. Pure: `now` is an argument, seconds of a steady clock; one that jumps back is taken to stand still.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from aiai_async._facts import LimitFact, RateLimits
from aiai_async.policy.accounts import Account
from aiai_async.policy.budgets import Budget
from aiai_async.policy.caps import CapFinder
from aiai_async.policy.ceilings import Cost, Unit, describe_limit, unit_of
from aiai_async.policy.discovery import RateFinder
from aiai_async.policy.ledger import Ledger, Ticket
from aiai_async.policy.lockout import Cause, Lockout
from aiai_async.policy.ramp import Ramp
from aiai_async.policy.waiters import Waiter, Waiters

# So many refusals that the figures explain but didn't foretell, among so many let in: somebody else uses the key.
_SURPRISES: Final = 3
_SURPRISE_SPAN: Final = 60
_FIRST_HOLD: Final = 0.25
_MOST_HOLD: Final = 5.0


class Admission:
    """The queue of one key and model. See the module.

    Args:
        declared: what the caller says of the limits.
        account: what it shares with the other queues of its key; None: it is the only one.
    """

    def __init__(self, declared: RateLimits | None = None, account: Account | None = None) -> None:
        declared = declared or RateLimits()
        self.account: Final = account or Account()
        self.account.join(self)
        self.ramp: Final = Ramp()
        self.rates: Final = RateFinder()
        self.caps: Final = CapFinder()
        self._ledger: Final = Ledger(self.account)
        self.budgets: Final = self._ledger.budgets
        self.ceilings: Final = self._ledger.ceilings
        self.concurrency: Final = declared.concurrency
        self._most: Final = math.inf if declared.concurrency is None else declared.concurrency
        self.in_flight = 0
        """Requests let go and not over."""
        self.lockout: Lockout | None = None
        self.waiters: Final = Waiters()
        """Those who wait, and those that were given up."""
        self.failed: Final = self.waiters.failed
        """Waiters that were given up, for the caller to take; each says why."""
        self.wake_at = math.inf
        """When to poll next; infinite: at the next report."""
        self.waits_for = ""
        """What held the first in the queue back when it was polled last, in words."""
        self.next_at = math.inf
        """When it goes, as far as was known then."""
        self._reacted = 0
        """The last request that was sent before the last reaction to a refusal."""
        self._canary: Ticket | None = None
        self._probe: Ticket | None = None
        """The request that tries whether a window holds more."""
        self._blocked_since = math.inf
        self._hold_until = -math.inf
        self._holds = 0
        self._surprises = 0
        self._last_surprise = 0
        self._now = -math.inf
        units: tuple[Unit, ...] = ("requests", "images", "tokens")
        for unit in units:
            limit: float | None = getattr(declared, f"{unit}_per_minute")
            if limit is not None:
                self._ledger.declare(unit, limit)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self.waiters.count and not self.in_flight

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self.waiters.count

    # Waiters

    def enter(
        self,
        cost: Cost,
        *,
        priority: int = 0,
        patience: float = math.inf,
        expires_at: float = math.inf,
        order: int | None = None,
    ) -> Waiter:
        """Let a request wait, behind all those of the same priority; `order` puts it back where it was."""
        return self.waiters.enter(cost, priority=priority, patience=patience, expires_at=expires_at, order=order)

    def leave(self, waiter: Waiter) -> None:
        """Take a waiter out that was not let go."""
        self.waiters.leave(waiter)

    def admit(self, cost: Cost, now: float) -> Ticket | None:
        """Let a request go at once where nothing waits before it and nothing limits; None: it has to `enter`."""
        if self.waiters.count:
            return None
        now = self.tick(now)
        self._prepare(now)
        if self._ready_at(cost, now) > now:
            return None
        return self._send(cost, now, self.waiters.next_order())

    def poll(self, now: float, *, room: float = math.inf) -> list[tuple[Waiter, Ticket]]:
        """Let go who may go, at most `room` of them, and set `wake_at`."""
        now = self.tick(now)
        self._prepare(now)
        self.wake_at = self.waiters.expire(now)
        let_go: list[tuple[Waiter, Ticket]] = []
        self.next_at = math.inf
        while (waiter := self.waiters.first()) is not None:
            if len(let_go) >= room:
                self.waits_for = "a free connection"
                break
            at = self._ready_at(waiter.cost, now)
            if at > now:
                self.next_at = at
                self.wake_at = min(self.wake_at, at)
                break
            self.waiters.leave(waiter)
            let_go.append((waiter, self._send(waiter.cost, now, waiter.order)))
        return let_go

    def note_lag(self, seconds: float) -> None:
        """Report how late a poll came that was asked for by `wake_at`."""
        self.ramp.note_lag(seconds)

    def note_connect(self, seconds: float) -> None:
        """Report the shortest TCP connect so far: about as long as a refusal takes."""
        self.ramp.note_connect(seconds)

    # Reports

    def sent(self, ticket: Ticket, now: float) -> None:
        """Report that a request was written. Where that isn't known, its answer tells that it was."""
        if not ticket.is_over and not ticket.place:
            now = self.tick(now)
            self.ramp.sent(ticket, now)
            ticket.sent_at = now
            self._ledger.write(ticket)

    def accept(self, ticket: Ticket, facts: Sequence[LimitFact], now: float) -> None:
        """Report that a request was let in and answered, however it is going to end."""
        now = self.tick(now)
        if not ticket.place:
            self._ledger.write(ticket)
        self._holds = 0
        self.caps.admit(ticket.beside)
        for budget in ticket.doubted:
            budget.quicken()
        ticket.doubted = ()
        self.ramp.hear(ticket, now, admitted=True)
        if facts:
            self._read(ticket, facts, now, is_refused=False)
        if self._canary is not None or self._probe is not None:
            self._check_canary(now)

    def refuse(
        self, ticket: Ticket, cause: Cause, facts: Iterable[LimitFact], retry_after: float | None, now: float
    ) -> None:
        """Report that a request was refused; it is over then.

        Args:
            ticket: the request.
            cause: what refused it.
            facts: what the answer says of limits.
            retry_after: seconds it asks to wait; 0 or None: it doesn't say.
            now: when it came.
        """
        if ticket.is_over:
            return
        now = self.tick(now)
        self._ledger.write(ticket)
        wait = retry_after or None
        if ticket is self._probe:
            self._probe = None
        self.ramp.note_refusal(now - ticket.sent_at)
        is_foretold = self._is_foretold()
        self._finish(ticket, now, is_used=False)
        name = self._read(ticket, facts, now, is_refused=True, retry_after=wait)
        is_explained = name is not None and cause == "rate"
        if ticket is self._canary:
            self._canary = None
            self._prolong(wait, now)
        elif ticket.number <= self._reacted:
            self._note_late_refusal(wait, now)
        elif cause == "rate" and not is_explained and wait is None and self.caps.refuse(ticket.beside):
            self._reacted = self.account.number
        else:
            self._lock(cause, wait, now, name=name if is_explained else None, is_foretold=is_foretold)
        if wait is not None:
            self.waiters.fail("demand", lambda waiter: waiter.patience < wait)

    def blocked_for(self, now: float) -> float:
        """Give for how many seconds nothing was let in, although one request was tried at the end of each pause."""
        return max(0.0, now - self._blocked_since)

    def finish(self, ticket: Ticket, now: float, *, is_used: bool = True) -> None:
        """Report that a request is over; not `is_used`: it never reached the server, and gives its budget back."""
        if ticket.is_over:
            return
        now = self.tick(now)
        self._finish(ticket, now, is_used=is_used)
        if ticket is self._canary and not is_used:
            self._canary = None
        lockout = self.lockout
        if (
            lockout is not None
            and self._canary is None
            and self.caps.is_suspected
            and not self.caps.is_tried
            and now >= lockout.began_at + self.ramp.silence
        ):
            lockout.until = now

    def hold(self, now: float) -> None:
        """Report that the server has too much to do, without a word of how long: the others wait a little."""
        now = self.tick(now)
        self._hold_until = now + min(_MOST_HOLD, _FIRST_HOLD * 2.0 ** min(self._holds, 10))
        self._holds += 1

    def measure(self, ticket: Ticket, tokens: float) -> None:
        """Report what a request took in tokens, in truth."""
        self._ledger.measure(ticket, tokens)

    def fail_all(self) -> None:
        """Report that nothing more will be let in: all waiters fail."""
        self.waiters.fail("quota", lambda _: True)

    def share(self, budget: Budget) -> None:
        """Use another queue's budget instead of an own one: it is the same limit."""
        self._ledger.share(budget, self._now)

    # Within

    def tick(self, now: float) -> float:
        """Give the queue's own time: that of a clock which never runs backwards."""
        if now > self._now:
            self._now = now
        return self._now

    def _ready_at(self, cost: Cost, now: float) -> float:
        """Give when the first in the queue may go; infinite: not before something is reported."""
        lockout = self.lockout
        if lockout is not None and (self._canary is not None or now < lockout.until):
            self.waits_for = self.describe(lockout)
            return lockout.until if self._canary is None else self._settles_at()
        if lockout is None and now < self._hold_until:
            self.waits_for = "the server to recover"
            return self._hold_until
        if self.in_flight >= self._most or (lockout is None and not self.caps.allows(self.in_flight)):
            self.waits_for = "one of those under way to end"
            return math.inf
        at = self.ramp.ready_at(now)
        self.waits_for = "signs that more are let in"
        if at is None:
            return self._settles_at()
        if not self._ledger.has_limits and self.rates.is_unknown:
            # So it is nearly always, and this is done for each request.
            return at
        for unit, ceiling in self.ceilings.items():
            if (ready_at := ceiling.ready_at(cost.of(unit), now)) > at:
                at, self.waits_for = ready_at, describe_limit(unit, ceiling.window)
        for name, ceiling in self._ledger.by_second.items():
            if (ready_at := ceiling.ready_at(1.0, now)) > at:
                at, self.waits_for = ready_at, describe_limit(name, ceiling.window)
        if lockout is None and (ready_at := self.rates.ready_at(now)) > at:
            at, self.waits_for = ready_at, "a rate limit that the server doesn't name"
        is_sure = lockout is not None or not self.rates.is_probe(now)
        for budget in self.budgets.values():
            ready_at, sure = budget.ready_at(cost.of(budget.unit), now)
            is_sure &= sure
            if ready_at > at:
                at, self.waits_for = ready_at, describe_limit(budget.name, budget.window)
        if at <= now and not is_sure and self.ramp.count > 0:
            # One request tries what isn't sure.
            return self._settles_at()
        return at

    def describe(self, lockout: Lockout) -> str:
        """Say what is waited for in a lockout."""
        budget = None if lockout.name is None else self.budgets.get(lockout.name)
        return lockout.describe() if budget is None else describe_limit(budget.name, budget.window)

    def _prepare(self, now: float) -> None:
        """Take in what silence tells."""
        if self.lockout is not None or self._probe is not None:
            self._check_canary(now)
        self.ramp.is_careful = self.rates.is_raising
        self.ramp.floor = self.caps.cap or 1.0

    def _settles_at(self) -> float:
        at = self.ramp.settles_at()
        return math.inf if at is None else at

    def _send(self, cost: Cost, now: float, order: int) -> Ticket:
        is_probe = self.lockout is None and self.rates.is_probe(now)
        ticket = self._ledger.open(cost, order, self.in_flight, now)
        self.ramp.send(ticket)
        self.caps.send(self.in_flight)
        self.in_flight += 1
        self.rates.send(now, self.ramp.silence, is_canary=self.lockout is not None)
        if is_probe:
            self._probe = ticket
        if self.lockout is not None:
            self._canary = ticket
            if self.caps.is_suspected and not self.caps.is_tried and self.in_flight - 1 < self.caps.held:
                self.caps.is_tried = self.lockout.by_completion = True
        return ticket

    def _finish(self, ticket: Ticket, now: float, *, is_used: bool) -> None:
        self.in_flight -= 1
        self.ramp.hear(ticket, now, admitted=is_used)
        if not is_used:
            self.rates.take_back()
        self._ledger.close(ticket, now, is_used=is_used)

    def _check_canary(self, now: float) -> None:
        """End the lockout where the one request that tries was let in."""
        self.ramp.settle(now)
        if self._probe is not None and self._probe.heard:
            self._probe = None
            self.rates.raise_window()
        canary, lockout = self._canary, self.lockout
        if canary is None or lockout is None or not canary.heard:
            return
        self._canary = self.lockout = None
        self._blocked_since = math.inf
        if lockout.cause == "concurrency":
            self.caps.suppose(max(1, self.caps.held))
            return
        is_cap = lockout.by_completion and self.caps.confirm()
        self.caps.is_suspected = False
        if lockout.is_lesson and not is_cap:
            self.rates.learn(
                exhausted_at=lockout.began_at,
                refused_at=lockout.refused_at,
                recovered_at=canary.sent_at,
                is_told=lockout.is_told,
                blur=self.ramp.silence,
            )

    def _lock(self, cause: Cause, wait: float | None, now: float, *, name: str | None, is_foretold: bool) -> None:
        """Begin a lockout."""
        self.ramp.settle(now)
        self._reacted = self.account.number
        self._canary = None
        if name is not None and not is_foretold and unit_of(name) != "tokens":
            is_recent = self.ramp.admitted - self._last_surprise <= _SURPRISE_SPAN
            self._surprises = self._surprises + 1 if is_recent else 1
            self._last_surprise = self.ramp.admitted
        is_lesson = cause == "rate" and (name is None or self._surprises >= _SURPRISES)
        self.lockout = Lockout(
            cause, now=now, wait=wait, search=lambda at: self.rates.search(now, at), name=name, is_lesson=is_lesson
        )
        self.ramp.restart(now)
        if cause == "rate":
            self.account.warn(self, now)
        self._blocked_since = now
        is_unexplained = is_lesson and name is None and wait is None and not self.rates.is_full
        if cause == "concurrency" or is_unexplained:
            self.caps.suspect(self.in_flight)
        else:
            self.caps.is_suspected = False

    def _prolong(self, wait: float | None, now: float) -> None:
        """The request that tried was refused."""
        lockout = self.lockout
        assert lockout is not None
        lockout.by_completion = False
        self._reacted = self.account.number
        lockout.prolong(wait, now)
        blocked = self.blocked_for(now)
        self.waiters.fail("blocked", lambda waiter: waiter.patience < blocked)

    def _note_late_refusal(self, wait: float | None, now: float) -> None:
        """A request was refused that was on its way when the lockout began."""
        lockout = self.lockout
        self.caps.refuse_late()
        if lockout is not None:
            lockout.note_late(wait, now)

    def _is_foretold(self) -> bool:
        """Tell whether a refusal is no surprise: a budget's shape is a guess still, or there is none."""
        return not self.budgets or any(budget.shape == "unknown" for budget in self.budgets.values())

    def _read(
        self,
        ticket: Ticket,
        facts: Iterable[LimitFact],
        now: float,
        *,
        is_refused: bool,
        retry_after: float | None = None,
    ) -> str | None:
        """Take over what an answer says of limits; gives the one that explains a refusal."""
        name = self._ledger.read(
            ticket, facts, now, silence=self.ramp.silence, is_refused=is_refused, retry_after=retry_after
        )
        self.ramp.is_informed = bool(self.budgets)
        return name
