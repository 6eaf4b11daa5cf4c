"""The ledger: what one queue has under way, what that took of each limit, and what answers say is left.

Everything that is let go is written in here, again when it is written to the network, and struck out when it is over.
So it knows for each figure of an answer which requests it counts, and tells the budgets. Pure: `now` is an argument,
seconds of a clock that never runs backwards. It knows nothing of who waits, nor of when the next may go.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiai_async._facts import LimitFact
from aiai_async.policy.accounts import Account
from aiai_async.policy.budgets import Budget, Note
from aiai_async.policy.ceilings import MINUTE, Ceiling, Cost, Slot, Unit
from aiai_async.policy.ramp import Unheard
from aiai_async.policy.refills import Reading

# Where a minute's limit is this high, servers enforce it by the second.
_BY_SECOND_FROM: Final = 6000.0
# A budget for tokens explains a refusal up to this: estimates are off by as much.
_TOKENS_OFF: Final = 3.0
# Votes until figures are believed to be taken when a request is answered, and votes at most.
_STAMP_BELIEF: Final = 2
_MOST_STAMP_VOTES: Final = 4


class Ticket(Unheard):
    """A request that was let go, until it is reported to be over."""

    __slots__ = (
        "beside",
        "cost",
        "doubted",
        "is_over",
        "levels",
        "number",
        "order",
        "place",
        "sent_at",
        "slots",
    )

    def __init__(self, number: int, order: int, cost: Cost, beside: int, now: float) -> None:
        super().__init__(now)
        self.number: Final = number
        """Its place in the order of letting go."""
        self.order: Final = order
        """Its place in the queue, which it has again if it is refused."""
        self.place = 0
        """Its place in the order of writing; 0: it isn't written yet."""
        self.cost: Final = cost
        self.beside: Final = beside
        """How many others were in flight."""
        self.sent_at = now
        self.slots: tuple[tuple[Ceiling, Slot, float], ...] = ()
        self.levels: dict[str, Note] | None = None
        """What was thought to be left of each budget when it was sent."""
        self.doubted: tuple[Budget, ...] = ()
        """Budgets that were thought to be used up, and that it tries."""
        self.is_over = False


class Ledger:
    """The requests of one queue that are under way, and the limits that they take from.

    Args:
        account: what the queue shares with the others of its key.
    """

    __slots__ = (
        "_account",
        "_stamp_votes",
        "_token_reports",
        "_unwritten",
        "_written",
        "budgets",
        "by_second",
        "ceilings",
    )

    def __init__(self, account: Account) -> None:
        self.budgets: Final[dict[str, Budget]] = {}
        """Limits that answers speak of, by their names."""
        self.ceilings: Final[dict[Unit, Ceiling]] = {}
        """Limits that are declared."""
        self.by_second: Final[dict[str, Ceiling]] = {}
        """The part of a second of those that are high, in requests."""
        self._account: Final = account
        self._unwritten: Final[dict[int, Ticket]] = {}
        """Requests let go and not yet written, by number."""
        self._written: Final[dict[int, Ticket]] = {}
        """Requests written and not yet over, by place."""
        self._stamp_votes = 0
        """Above 0: figures are taken when a request is let in; below: when it is answered."""
        self._token_reports = 0

    @property
    def has_limits(self) -> bool:
        """Whether any is known."""
        return bool(self.ceilings or self.by_second or self.budgets)

    def declare(self, unit: Unit, limit: float) -> None:
        """Keep a limit that the caller knows of, in a minute."""
        self.ceilings[unit] = Ceiling(limit)
        self._limit_seconds(f"declared {unit}", limit)

    def open(self, cost: Cost, order: int, beside: int, now: float) -> Ticket:
        """Write in a request that is let go, and take what it costs."""
        self._account.number += 1
        number = self._account.number
        ticket = Ticket(number, order, cost, beside, now)
        self._unwritten[number] = ticket
        if self.ceilings or self.by_second:
            taken = [(ceiling, cost.of(unit)) for unit, ceiling in self.ceilings.items()]
            taken += [(ceiling, 1.0) for ceiling in self.by_second.values()]
            ticket.slots = tuple((ceiling, ceiling.take(each, now), each) for ceiling, each in taken)
        if self.budgets:
            ticket.doubted = tuple(
                budget for budget in self.budgets.values() if budget.is_doubted(cost.of(budget.unit), now)
            )
            ticket.levels = {}
            for name, budget in self.budgets.items():
                budget.take(number, cost.of(budget.unit), now)
                ticket.levels[name] = budget.note()
        return ticket

    def write(self, ticket: Ticket) -> None:
        """Give a request its place in the order of writing, once."""
        if ticket.place or ticket.is_over:
            return
        for _, slot, _ in ticket.slots:
            slot.last_at = max(slot.last_at, ticket.sent_at)
        del self._unwritten[ticket.number]
        self._account.place += 1
        ticket.place = self._account.place
        self._written[ticket.place] = ticket
        for budget in self.budgets.values():
            budget.write(ticket.number, ticket.place, ticket.sent_at)

    def close(self, ticket: Ticket, now: float, *, is_used: bool) -> None:
        """Strike out a request that is over; not `is_used`: what it took is given back."""
        ticket.is_over = True
        if ticket.place:
            del self._written[ticket.place]
        else:
            del self._unwritten[ticket.number]
        if not is_used:
            for ceiling, slot, cost in ticket.slots:
                ceiling.give_back(slot, cost)
            for budget in self.budgets.values():
                budget.give_back(ticket.number, ticket.place, now)

    def measure(self, ticket: Ticket, tokens: float) -> None:
        """Correct what tokens are estimated at by what a request took in truth."""
        budgets = [budget for budget in self.budgets.values() if budget.unit == "tokens"]
        if not budgets or ticket.cost.tokens <= 0 or tokens <= 0:
            return
        self._token_reports += 1
        weight = max(0.05, 1 / self._token_reports)
        for budget in budgets:
            budget.measure(tokens / ticket.cost.tokens, weight)

    def read(
        self,
        ticket: Ticket,
        facts: Iterable[LimitFact],
        now: float,
        *,
        silence: float,
        is_refused: bool,
        retry_after: float | None = None,
    ) -> str | None:
        """Take over what an answer says of limits; gives the one that explains a refusal.

        Args:
            ticket: the request that was answered.
            facts: what the answer says.
            now: when it came.
            silence: seconds after which a request that was not refused was let in.
            is_refused: whether it was refused.
            retry_after: seconds that a refusal asks to wait; None: it doesn't say.
        """
        explains: str | None = None
        for fact in facts:
            if fact.limit is None and fact.remaining is None:
                continue
            budget = self.budgets.get(fact.name)
            is_new = budget is None
            if budget is None:
                budget = self.budgets[fact.name] = Budget(fact.name)
                self._take_what_was_sent(budget, ticket, now)
            if fact.limit is not None and fact.limit != budget.limit:
                self._limit_seconds(fact.name, fact.limit if fact.window is None else fact.limit / fact.window * MINUTE)
            budget.blur = silence
            cost = ticket.cost.of(budget.unit)
            if is_refused and fact.remaining is not None:
                scaled = cost * budget.scale * (_TOKENS_OFF if budget.unit == "tokens" else 1.0)
                if fact.remaining < scaled:
                    explains = fact.name
                    budget.read_refusal(fact, cost, retry_after)
            took = now - ticket.sent_at
            jitter = took if is_refused else min(took, silence / 3)
            is_fresh = is_refused or took <= 3 * silence
            if is_fresh and not is_new and fact.remaining is not None and budget.unit != "tokens":
                self._compare(budget, fact.remaining, ticket, now)
                budget = self.budgets[fact.name]
            at_answer = Reading(place=self._settled_place(now, silence), at=now, jitter=0.0, is_fresh=is_fresh)
            at_admission = Reading(place=ticket.place, at=ticket.sent_at, jitter=jitter, is_fresh=is_fresh)
            if is_refused:
                budget.read(fact, at_admission, now)
                if is_new and budget.shape != "unknown":
                    self._note_levels(budget, fact, ticket)
            elif is_fresh:
                budget.read(fact, at_admission, now)
            else:
                self._vote_on_stamp(budget, fact, ticket, now, silence)
                is_answers = self._stamp_votes <= -_STAMP_BELIEF
                if is_answers:
                    budget.read(fact, at_answer, now)
                else:
                    budget.read(fact, at_admission, now, (ticket.levels or {}).get(fact.name))
                if is_new and fact.remaining is not None:
                    # It may be either; the next ones will tell.
                    budget.lower(fact.remaining - self._cost_after(at_answer.place, budget.unit), now)
            if is_refused and fact.remaining is not None and fact.name == explains:
                budget.lower(min(fact.remaining, max(0.0, cost * budget.scale - 1e-3)), now)
        return explains

    def share(self, budget: Budget, now: float) -> None:
        """Use another queue's budget instead of an own one: it is the same limit."""
        self.budgets[budget.name] = budget
        budget.is_shared = True
        for each in [*self._written.values(), *self._unwritten.values()]:
            each.levels = {name: note for name, note in (each.levels or {}).items() if name != budget.name}
            if each.place and each.place <= budget.anchor:
                # What was read counts it.
                continue
            budget.take(each.number, each.cost.of(budget.unit), now)
            if each.place:
                budget.write(each.number, each.place, each.sent_at)

    def _compare(self, budget: Budget, remaining: float, ticket: Ticket, now: float) -> None:
        noted = (ticket.levels or {}).get(budget.name)
        if noted is not None and not ticket.is_over:
            expected = budget.level(noted)
        else:
            expected = budget.available(now) + self._cost_after(ticket.place, budget.unit)
        self._account.compare(budget, remaining=remaining, expected=expected)

    def _settled_place(self, now: float, silence: float) -> int:
        """Give the last request that surely had reached the server a moment ago."""
        place = self._account.place
        for each in reversed(self._written.values()):
            if each.sent_at <= now - silence:
                break
            place = each.place - 1
        return place

    def _cost_after(self, place: int, unit: Unit) -> float:
        """Give what was let go after that, the request itself left out."""
        cost = sum(each.cost.of(unit) for each in self._unwritten.values())
        for each in reversed(self._written.values()):
            if each.place <= place:
                break
            cost += each.cost.of(unit)
        return cost

    def _take_what_was_sent(self, budget: Budget, ticket: Ticket, now: float) -> None:
        """Tell a new budget what was let go after the request that told of it."""
        for each in [*self._written.values(), *self._unwritten.values()]:
            if not each.place or each.place > ticket.place:
                budget.take(each.number, each.cost.of(budget.unit), now)
                if each.place:
                    budget.write(each.number, each.place, each.sent_at)

    def _note_levels(self, budget: Budget, fact: LimitFact, ticket: Ticket) -> None:
        """Work out what had been left after each request in flight, from a refusal that tells what is left now."""
        level, at = fact.remaining or 0.0, ticket.sent_at
        now_left = budget.note()
        for each in reversed(self._written.values()):
            if each.place > ticket.place:
                continue
            refilled = min(budget.capacity, max(0.0, level - budget.rate * (at - each.sent_at)))
            kept = level - (fact.remaining or 0.0) + now_left.kept
            note = Note(kept, refilled + now_left.refilled, budget.limit)
            each.levels = {**(each.levels or {}), budget.name: note}
            level += each.cost.of(budget.unit)

    def _vote_on_stamp(self, budget: Budget, fact: LimitFact, ticket: Ticket, now: float, silence: float) -> None:
        """Tell by what is left whether figures are as of letting in or as of answering."""
        noted = (ticket.levels or {}).get(budget.name)
        if noted is None or fact.remaining is None or budget.unit == "tokens" or budget.shape == "unknown":
            return
        if noted.limit != budget.limit:
            return
        then = budget.level(noted)
        current = budget.available(now) + self._cost_after(self._settled_place(now, silence), budget.unit)
        off_then, off_now = abs(fact.remaining - then), abs(fact.remaining - current)
        blur = max(2.0, 0.1 * min(budget.capacity, budget.limit), 2 * budget.rate * silence)
        if abs(off_then - off_now) > blur:
            vote = 1 if off_then < off_now else -1
            self._stamp_votes = max(-_MOST_STAMP_VOTES, min(_MOST_STAMP_VOTES, self._stamp_votes + vote))

    def _limit_seconds(self, name: str, limit: float) -> None:
        if limit >= _BY_SECOND_FROM and "token" not in name:
            self.by_second[name] = Ceiling(limit / MINUTE, 1.0)
        else:
            self.by_second.pop(name, None)
