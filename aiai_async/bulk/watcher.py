"""Who is told what becomes of items while they are made, and says which one comes next: the run, as `maker` sees it."""

from __future__ import annotations

from typing import Protocol

from aiai_async.bulk.items import Item, Reason, State
from aiai_async.bulk.records import Ended


class Watcher(Protocol):
    """Is told what becomes of items; it is the run."""

    def stop(self, reason: Reason, message: str | None = None) -> None:
        """Nothing more may be sent."""
        ...

    def started(self, item: Item) -> None:
        """An item has its key, durably, and is sent next."""
        ...

    def ended(self, item: Item, change: Ended, *, before: State, is_put_back: bool) -> None:
        """An item ended, durably.

        Args:
            item: as it was sent, or as it was answered where its links were fetched.
            change: what became of it.
            before: how it is counted until now.
            is_put_back: whether it was not sent after all, which is no news.
        """
        ...

    def follow(self) -> Item | None:
        """Give an item that nothing was known of, to take the place of one that is about to end.

        None: there is none, or it is to be decided after that end whether it may be sent.
        """
        ...
