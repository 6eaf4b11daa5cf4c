"""What the queues of one key share."""

from __future__ import annotations

import pytest

from aiai_async._facts import LimitFact
from aiai_async.policy.accounts import Account
from aiai_async.policy.admission import Admission
from aiai_async.policy.ceilings import Cost


class Models:
    """Queues of several models on one key, whose requests are answered at once."""

    def __init__(self, count: int = 2) -> None:
        self.account = Account()
        self.queues = [Admission(None, self.account) for _ in range(count)]
        self.now = 0.0

    def ask(self, which: int, remaining: float, *, limit: float = 60.0, name: str = "requests") -> None:
        """Send a request of one model, and answer it with what is left."""
        queue = self.queues[which]
        self.now += 1.0
        ticket = queue.admit(Cost(tokens=10), self.now)
        assert ticket is not None
        queue.sent(ticket, self.now)
        resets_in = 600.0 - self.now
        fact = LimitFact(name=name, limit=limit, remaining=remaining, resets_in=resets_in)
        queue.accept(ticket, [fact], self.now)
        queue.finish(ticket, self.now)

    def is_one(self, name: str = "requests") -> bool:
        """Whether the first two use one budget."""
        one, other = self.queues[:2]
        return one.budgets[name] is other.budgets[name]


def test_a_limit_that_falls_by_what_the_other_sent_is_one_for_both() -> None:
    """Then what one takes is missing for the other."""
    models = Models()
    left = 600.0
    for _ in range(4):
        for which in (0, 1):
            for _ in range(4):
                left -= 1
                models.ask(which, left, limit=600.0)
    assert models.is_one()
    assert models.queues[0].budgets["requests"].available(models.now) == left
    models.ask(1, left - 1, limit=600.0)
    assert models.queues[0].budgets["requests"].available(models.now) == left - 1


def test_much_that_the_other_sent_tells_it_at_once() -> None:
    """One answer is enough then."""
    models = Models()
    for number, which in enumerate((0, 1, 0)):
        models.ask(which, 599.0 - number, limit=600.0)
    for number in range(12):
        models.ask(1, 596.0 - number, limit=600.0)
    models.ask(0, 584.0, limit=600.0)
    assert models.is_one()


def test_limits_that_dont_are_each_models_own() -> None:
    """One doesn't hold the other back; what is told then is not forgotten by one odd figure."""
    models = Models()
    for number in range(1, 31):
        models.ask(0, 600.0 - number, limit=600.0)
        models.ask(1, 600.0 - number, limit=600.0)
    assert not models.is_one()


@pytest.mark.parametrize("limits", [(600.0, 300.0)], ids=["other numbers"])
def test_limits_of_other_numbers_are_never_one(limits: tuple[float, float]) -> None:
    """Whatever falls by how much."""
    models = Models()
    for number in range(1, 21):
        models.ask(0, limits[0] - 2 * number, limit=limits[0])
        models.ask(1, limits[1] - 2 * number, limit=limits[1])
    assert not models.is_one()


def test_figures_that_fit_neither_tell_nothing() -> None:
    """Another program may use the key too."""
    models = Models()
    for number in range(1, 11):
        for each in range(3):
            models.ask(1, 600.0 - 3 * number - each, limit=600.0)
        models.ask(0, 600.0 - 20 * number, limit=600.0)
    assert not models.is_one()


def test_tokens_are_not_compared() -> None:
    """What they cost is a guess."""
    models = Models()
    for number in range(1, 21):
        models.ask(0, 6000.0 - 20 * number, limit=6000.0, name="tokens")
        models.ask(1, 6000.0 - 20 * number, limit=6000.0, name="tokens")
    assert not models.is_one("tokens")


def test_a_third_model_joins_them() -> None:
    """If its limit has the same name and number; one of another number stays out."""
    models = Models(3)
    left = 600.0
    models.ask(2, 10.0, limit=20.0)
    for _ in range(4):
        for which in (0, 1):
            for _ in range(4):
                left -= 1
                models.ask(which, left, limit=600.0)
    assert models.is_one()
    assert models.queues[2].budgets["requests"] is not models.queues[0].budgets["requests"]


def test_a_queue_that_is_gone_is_compared_no_more() -> None:
    """And what was noted of it is forgotten."""
    models = Models()
    for number in range(1, 6):
        models.ask(0, 600.0 - number, limit=600.0)
        models.ask(1, 600.0 - number, limit=600.0)
    gone = models.queues[1]
    models.account.leave(gone)
    assert set(models.account._seen) <= {models.queues[0].budgets["requests"]}
    assert models.account._queues == [models.queues[0]]
    for number in range(6, 20):
        models.ask(0, 600.0 - 2 * number, limit=600.0)
    assert not models.is_one()


def test_a_budget_that_is_shared_knows_what_is_under_way_in_both() -> None:
    """What was written after its newest answer, and what isn't written yet; not what that answer counts."""
    account = Account()
    one, other = Admission(None, account), Admission(None, account)
    first = one.admit(Cost(), 0.0)
    assert first is not None
    one.sent(first, 0.0)
    counted = other.admit(Cost(), 0.0)
    assert counted is not None
    other.sent(counted, 0.0)
    last = one.admit(Cost(), 1.0)
    assert last is not None
    one.sent(last, 1.0)
    one.accept(last, [LimitFact(name="requests", limit=60.0, remaining=50.0, resets_in=59.0)], 1.0)
    written = other.admit(Cost(), 2.0)
    assert written is not None
    other.sent(written, 2.0)
    unwritten = other.admit(Cost(), 3.0)
    assert unwritten is not None
    budget = one.budgets["requests"]
    other.share(budget)
    assert other.budgets["requests"] is budget
    assert budget.available(3.0) == 48
    other.sent(unwritten, 3.0)
    other.finish(unwritten, 3.0, is_used=False)
    assert budget.available(3.0) == 49
