"""The books of a run: what each item takes of the budgets, and what is known of what the job costs.

It asks the journal once, when they are opened; after that it only adds up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from aiai_async import ModelPrices
from aiai_async.bulk.budgets import Budget, Budgets, Charge, Exhausted
from aiai_async.bulk.costs import Appraiser, JobCost, Spending, format_usd, settings_key
from aiai_async.bulk.counts import Counted, Counts
from aiai_async.bulk.errors import JobError
from aiai_async.bulk.items import PAID_STATES, Item, State, money_on, spent_on
from aiai_async.bulk.journal import Journal
from aiai_async.bulk.records import Ended

_NOTHING: Final = Charge(0, 0.0)
# States of items that may have been billed, without an answer that tells what they cost.
_UNSETTLED: Final = (State.UNFINISHED, State.UNKNOWN)
# No run has this number.
_NO_RUN: Final = -1
_PAGE: Final = 500


@attrs.frozen
class _Taken:
    """What was taken for an item that is about to be sent."""

    charge: Charge
    estimate: float | None
    """What it may cost, in US dollars; None where that isn't known."""


class Books:
    """What the items of one run take of the budgets of their job.

    Args:
        journal: knows what was spent before.
        prices: those that win over the table.
        max_images: images that all runs may cost; None is no limit.
        max_cost: US dollars that all runs may cost; None is no limit.
    """

    def __init__(
        self,
        journal: Journal,
        prices: Mapping[str, ModelPrices],
        *,
        max_images: int | None,
        max_cost: float | None,
    ) -> None:
        self._journal: Final = journal
        self._appraiser: Final = Appraiser(prices)
        self._budgets = Budgets(Budget(max_images), Budget(max_cost))
        self._has_cap: Final = max_cost is not None
        self.has_budget: Final = max_cost is not None or max_images is not None
        """Whether there is a limit to anything; else nothing is taken and settled, only what it costs is added up."""
        self._counts: Final = Counts()
        """Empty without a cap on what the job costs."""
        self._taken: Final[dict[int, _Taken]] = {}
        """By index, of the items that have their place and are not sent yet."""
        self.spending: Spending | None = None
        """What the job costs; None until the books are open."""

    @property
    def used(self) -> Charge:
        """What is spent, may be, or is taken."""
        return Charge(int(self._budgets.images.used), self._budgets.cost.used)

    def open(self, states: tuple[State, ...]) -> None:
        """Read what was spent, and appraise what is to be sent. It blocks.

        Args:
            states: of the items that the run sends.

        Raises:
            JobError: there is a cap on what the job costs, and a price isn't known.
        """
        left = self._appraiser.add_up(self._journal.outlays(states))
        before = self._appraiser.add_up(self._journal.outlays(PAID_STATES, are_unpriced=True))
        if self._has_cap:
            _require_prices(left, before)
        self._journal.note_price_dates((*left.priced_on, *before.priced_on))
        known = self._journal.cost()
        self.spending = Spending(known=known.usd, unknown=known.unknown, left=left)
        for settings, usd in self._journal.dearest():
            self._appraiser.learn_price(settings, usd)
        images, cost = self._budgets.images, self._budgets.cost
        spent_cost = self._journal.count_spent_cost() + before.usd
        self._budgets = Budgets(
            Budget(images.limit, spent=self._journal.count_spent()), Budget(cost.limit, spent=spent_cost)
        )
        if self._has_cap:
            self._count_unsettled()

    def _count_unsettled(self) -> None:
        """Count what may have been billed before at what such images are known to cost now."""
        for settings in self._journal.told():
            self._counts.tell(settings, 0.0)
        after = -1
        while page := self._journal.page(_UNSETTLED, after=after, run=_NO_RUN, limit=_PAGE):
            for item in page:
                usd = self._counted_estimate(item) or 0.0
                before = self._appraiser.price(item.request, n=item.n) if item.estimate is None else item.estimate
                self._budgets.cost.used += usd - (before or 0.0)
                self._rest(item, usd)
            after = page[-1].index

    def take(self, item: Item) -> bool:
        """Take what an item may cost more than what is counted for it, if it is left; tell whether it was."""
        taken = self._appraise(item)
        if self.has_budget and (self._is_risky(item, taken) or not self._budgets.take(taken.charge)):
            return False
        if item.state is State.LINKED:
            return True
        self._taken[item.index] = taken
        if self._has_cap:
            if item.state is State.UNFINISHED:
                # It is paid once, and counted as in flight from now on.
                self._counts.wake(item.index)
            self._counts.fly(item.index, Counted(settings_key(item.request), item.n, taken.estimate or 0.0))
        return True

    def _is_risky(self, item: Item, taken: _Taken) -> bool:
        """Tell whether an item has to wait until it is known what images with its settings cost."""
        limit = self._budgets.cost.limit
        if limit is None or item.state is State.LINKED:
            return False
        left = limit - (self._budgets.cost.used - self._counts.untold_usd)
        return not self._counts.may_fly(settings_key(item.request), taken.charge.usd, left=left)

    def give_back(self, item: Item) -> None:
        """Give back what was taken for an item that was not sent after all."""
        taken = self._taken.pop(item.index, None)
        if taken is None:
            return
        if not self.has_budget:
            return
        charge, used = taken.charge, _NOTHING
        if (counted := self._counts.land(item.index)) is not None:
            charge = attrs.evolve(charge, usd=counted.usd)
            if item.state is State.UNFINISHED:
                used = Charge(0, self._counted_estimate(item) or 0.0)
                self._rest(item, used.usd)
        self._budgets.settle(taken=charge, used=used)

    def explain(self, item: Item) -> tuple[Exhausted | None, str]:
        """Say which budget has no room for an item, and the figures."""
        charge = self._appraise(item).charge
        exhausted = self._budgets.find_exhausted(charge)
        if exhausted == "max_cost":
            limit_usd, used_usd = self._budgets.cost.limit or 0.0, self._budgets.cost.used
            words = f"the budget of {format_usd(limit_usd)} leaves no room for the next item, which may cost up to"
            words = f"{words} {format_usd(charge.usd)}{self._describe_dates()}{_describe_choice(item)}"
            return exhausted, f"{words}; {format_usd(used_usd)} are spent or may be"
        limit, used = self._budgets.images.limit or 0, self._budgets.images.used
        words = f"the budget of {limit:,} images leaves no room for the next item, which asks for {item.n}"
        return exhausted, f"{words}; {used:,} are spent or may be"

    def describe_hold(self, item: Item) -> str:
        """Say why an item has to wait for those in flight, which may give back some of a budget."""
        taken = self._appraise(item)
        if self._is_risky(item, taken) and self._budgets.find_exhausted(taken.charge) is None:
            return "until one has told what it costs, no more than a quarter of the budget's rest is risked"
        if self._budgets.find_exhausted(self._appraise(item).charge) == "max_cost":
            limit, used = self._budgets.cost.limit or 0.0, self._budgets.cost.used
            return f"{format_usd(used)} of the budget of {format_usd(limit)} are spent or may be"
        return f"{self.used.images:,} of the budget of {self._budgets.images.limit or 0:,} images are spent or may be"

    def _describe_dates(self) -> str:
        dates = () if self.spending is None else self.spending.priced_on
        return f" by prices of {', '.join(map(str, dates))}" if dates else ""

    def send(self, item: Item, *, is_same: bool) -> Item:
        """Give an item as it is sent: what its earlier keys may have cost, and what it may cost now.

        Args:
            item: as it was taken up; what it may cost was taken.
            is_same: whether it is sent under the key that it has.
        """
        estimate = self._taken.pop(item.index).estimate
        if (counted := self._counts.flying.get(item.index)) is not None and estimate is not None:
            # It may be known by now that such images cost more.
            estimate = counted.usd
        if is_same or item.state not in PAID_STATES:
            return item if estimate == item.estimate else attrs.evolve(item, estimate=estimate)
        sent = attrs.evolve(
            item,
            spent=spent_on(item.state, n=item.n, images=item.images, spent=item.spent),
            spent_cost=self._money_on(item),
            estimate=estimate,
        )
        # What its earlier key may have cost is in what is spent now.
        self._counts.wake(item.index)
        return sent

    def settle(self, item: Item, change: Ended, *, before: State, is_put_back: bool) -> None:
        """Count what an item cost instead of what it might have.

        Args:
            item: as it was sent, or as it was answered where its links were fetched.
            change: what became of it.
            before: how it is counted until now.
            is_put_back: whether it was not sent after all.
        """
        if self.has_budget:
            self._settle(item, change, before)
        if before is State.UNFINISHED and not is_put_back:
            self._note(item, change)

    def _settle(self, item: Item, change: Ended, before: State) -> None:
        counted = self._counts.land(item.index) if before is State.UNFINISHED else None
        taken = Charge(
            spent_on(before, n=item.n, images=item.images if before is State.LINKED else 0, spent=item.spent),
            money_on(
                before,
                cost=item.cost if before is State.LINKED else None,
                estimate=item.estimate if counted is None else counted.usd,
                spent_cost=item.spent_cost,
            ),
        )
        estimate = item.estimate if change.estimate is None else change.estimate
        if self._has_cap and change.state in _UNSETTLED:
            estimate = max(estimate or 0.0, self._appraiser.dearest(settings_key(item.request)) * item.n)
            self._rest(item, estimate)
        spent_cost = item.spent_cost if change.spent_cost is None else change.spent_cost
        used = Charge(
            spent_on(
                change.state,
                n=item.n,
                images=change.images,
                spent=item.spent if change.spent is None else change.spent,
            ),
            money_on(change.state, cost=change.cost, estimate=estimate, spent_cost=spent_cost),
        )
        self._budgets.settle(taken=taken, used=used)

    def _note(self, item: Item, change: Ended) -> None:
        if change.cost is not None:
            self._appraiser.learn(item.request, usd=change.cost, images=change.images)
            if self._has_cap:
                settings = settings_key(item.request)
                # At once, before the next item is taken: what is in flight is charged as much.
                self._budgets.cost.used += self._counts.tell(settings, self._appraiser.dearest(settings))
        if self.spending is not None:
            estimate = self._appraiser.price(item.request, n=item.n)
            self.spending.note(estimate=estimate, cost=change.cost, n=item.n, images=change.images)

    def _appraise(self, item: Item) -> _Taken:
        """Give what an item may cost, and how much of that is not counted yet."""
        if item.state is State.LINKED:
            # It is answered: what it cost is counted.
            return _Taken(_NOTHING, item.estimate)
        estimate = self._appraiser.appraise(item.request, n=item.n)
        if item.state is not State.UNFINISHED:
            return _Taken(Charge(item.n, estimate or 0.0), estimate)
        # It is asked for again under its key and paid once: what it was sent with is counted.
        counted = self._counted_estimate(item)
        if estimate is None or (counted is not None and counted > estimate):
            estimate = counted
        return _Taken(Charge(0, (estimate or 0.0) - (counted or 0.0)), estimate)

    def _counted_estimate(self, item: Item) -> float | None:
        """Give what is counted for an item that may have been billed and whose cost nobody has told.

        That is what it was expected to cost when it was last sent (by its price, where that was before prices), or,
        under a cap, what such images are known to cost by now.
        """
        estimate = self._appraiser.price(item.request, n=item.n) if item.estimate is None else item.estimate
        if not self._has_cap or item.state not in _UNSETTLED:
            return estimate
        return max(estimate or 0.0, self._appraiser.dearest(settings_key(item.request)) * item.n)

    def _rest(self, item: Item, usd: float) -> None:
        self._counts.rest(item.index, Counted(settings_key(item.request), item.n, usd))

    def _money_on(self, item: Item) -> float:
        estimate = self._counted_estimate(item)
        return money_on(item.state, cost=item.cost, estimate=estimate, spent_cost=item.spent_cost)


def _require_prices(left: JobCost, before: JobCost) -> None:
    models = dict.fromkeys((*left.unknown_models, *before.unknown_models))
    if not models:
        return
    names = ", ".join("rows that name no model" if model is None else model for model in models)
    rows = left.unknown_rows + before.unknown_rows
    naming = "Name a model, give prices" if None in models else "Give prices"
    raise JobError(
        f"max_cost can't be kept: the price of {names} isn't known ({rows:,} {'row' if rows == 1 else 'rows'}); nothing"
        f" was sent. {naming}= to the client, or --prices FILE.toml, or leave max_cost out"
    )


def _describe_choice(item: Item) -> str:
    """Say why an item may cost so much, where the model decides it."""
    left = [name for name in ("size", "quality") if item.request.get(name) in (None, "auto")]
    return f" with {' and '.join(left)} left to the model" if left else ""
