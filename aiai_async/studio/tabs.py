"""The open tabs, and what each is still to be told: bounded, however slowly it listens.

A tab is not sent each change but what is so when it is ready for more: so it gets the newest picture, and what waits
for it is never more than the names of the runs that changed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final


class Mailbox:
    """What one connection of a tab has not been told yet."""

    def __init__(self) -> None:
        self._changed: dict[str, None] = {}
        self._news = asyncio.Event()

    def note(self, what: str) -> None:
        """Note that something changed, by its name; again changes nothing."""
        self._changed[what] = None
        self._news.set()

    async def take(self) -> list[str]:
        """Wait until something has changed, and give all that has."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = self._changed, {}
        return list(changed)


class Tabs:
    """The tabs that are open.

    Args:
        grace: seconds that a tab whose connection ended may take to come back, as it does when it is reloaded.
        on_gone: is called with a tab that did not.
    """

    def __init__(self, *, grace: float, on_gone: Callable[[str], None]) -> None:
        self._grace: Final = grace
        self._on_gone: Final = on_gone
        self._mailboxes: Final[dict[str, list[Mailbox]]] = {}
        self._leaving: Final[dict[str, asyncio.TimerHandle]] = {}

    def __len__(self) -> int:
        return len(self._mailboxes)

    def __contains__(self, tab: str) -> bool:
        return tab in self._mailboxes

    def enter(self, tab: str) -> Mailbox:
        """Note that a tab is open: a new one, or one that is back, or a copy of it."""
        timer = self._leaving.pop(tab, None)
        if timer is not None:
            timer.cancel()
        mailbox = Mailbox()
        self._mailboxes.setdefault(tab, []).append(mailbox)
        return mailbox

    def leave(self, tab: str, mailbox: Mailbox) -> None:
        """Note that a connection of a tab ended."""
        mailboxes = self._mailboxes[tab]
        mailboxes.remove(mailbox)
        if not mailboxes:
            del self._mailboxes[tab]
            self._leaving[tab] = asyncio.get_running_loop().call_later(self._grace, self._forget, tab)

    def note(self, what: str) -> None:
        """Tell all of them that something changed."""
        for mailboxes in self._mailboxes.values():
            for mailbox in mailboxes:
                mailbox.note(what)

    def close(self) -> None:
        """Wait for nobody to come back any more."""
        for timer in self._leaving.values():
            timer.cancel()
        self._leaving.clear()

    def _forget(self, tab: str) -> None:
        del self._leaving[tab]
        self._on_gone(tab)
