"""What the queues of one key share: the order of their requests, and limits that count for several models.

Whether a limit is each model's own or one for several is told by the server's figures: where they fall by what another
model sent, it is one. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiai_async.policy.admission import Admission
    from aiai_async.policy.budgets import Budget

# Readings that agree until two budgets are taken for one.
_BELIEF: Final = 2
# Figures tell the two apart only where others sent so much meanwhile.
_LEAST_FOREIGN: Final = 3.0
# One that tells of so much is enough.
_MUCH_FOREIGN: Final = 10.0
# Requests on their way blur what a figure says of others by this part.
_BLUR: Final = 0.4


class Account:
    """The queues of one key."""

    __slots__ = ("_queues", "_seen", "_votes", "number", "place")

    def __init__(self) -> None:
        self.number = 0
        """Requests let go so far, in all queues."""
        self.place = 0
        """Requests written so far, in all queues."""
        self._queues: Final[list[Admission]] = []
        self._seen: Final[dict[Budget, tuple[float, float]]] = {}
        """What others had taken of limits of the same name when a budget was looked at last, and how much less was left
        of it since than it should be."""
        self._votes: Final[dict[Budget, int]] = {}

    def join(self, queue: Admission) -> None:
        """Note a queue."""
        self._queues.append(queue)

    def leave(self, queue: Admission) -> None:
        """Forget a queue."""
        self._queues.remove(queue)
        for budget in queue.budgets.values():
            self._seen.pop(budget, None)
            self._votes.pop(budget, None)

    def warn(self, queue: Admission, now: float) -> None:
        """Note that a queue was refused: the others go gently, since it may be their limit too."""
        for each in self._queues:
            if each is not queue:
                each.ramp.restart(now)

    def compare(self, budget: Budget, *, remaining: float, expected: float) -> None:
        """Find out whether a limit is one with another model's: where it is, both queues get the same budget.

        Args:
            budget: the limit that an answer tells of, before that is taken over.
            remaining: what the answer says is left.
            expected: what would be left if nobody else used it.
        """
        others = [
            other
            for each in self._queues
            if (other := each.budgets.get(budget.name)) is not None
            and other is not budget
            and other.limit == budget.limit
        ]
        if not others:
            return
        taken = sum(other.taken for other in others)
        if budget not in self._seen:
            self._seen[budget] = taken, 0.0
            return
        base, off = self._seen[budget]
        off += expected - remaining
        foreign = taken - base
        if foreign < _LEAST_FOREIGN:
            self._seen[budget] = base, off
            return
        self._seen[budget] = taken, 0.0
        blur = max(1.0, _BLUR * foreign)
        weight = _BELIEF if foreign >= _MUCH_FOREIGN else 1
        votes = self._votes.get(budget, 0)
        if abs(off) <= blur / 2:
            votes -= weight
        elif abs(off - foreign) <= blur:
            votes += weight
        self._votes[budget] = max(-_BELIEF, votes)
        if votes >= _BELIEF:
            self._unite(budget)

    def _unite(self, budget: Budget) -> None:
        for queue in self._queues:
            other = queue.budgets.get(budget.name)
            if other is not None and other is not budget and other.limit == budget.limit:
                queue.share(budget)
        self._seen.pop(budget, None)
        self._votes.pop(budget, None)
