"""A real browser for tests of pages: Debian's Chromium, driven by Playwright, without a window.

`browser` in conftest.py is one browser a test; `open_page` gives a page that remembers what went wrong on it: script
errors, what its Content-Security-Policy kept from loading, dialogs. `find_violations` asks axe-core.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped] # it has no types
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, async_playwright, expect

from .programs import require

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
# Without the network of a desktop program: it would look for updates and its maker's hosts. Root needs --no-sandbox.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
# On two cores that many tests share, what takes a second alone may take ten; Playwright gives up after five.
expect.set_options(timeout=30_000)


@asynccontextmanager
async def launch() -> AsyncGenerator[Browser]:
    """Start the browser, with a profile of its own, and end it."""
    path = require("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


@attrs.define
class Watched:
    """A page, and what went wrong on it."""

    page: Page
    complaints: list[str] = attrs.field(factory=list)
    """Errors of its scripts and of its console, what its policy refused among them, and dialogs, each as a line."""


async def open_page(browser: Browser, *, size: dict[str, int] = DESKTOP, dark: bool = False, **options: Any) -> Watched:
    """Open an empty page in a context of its own.

    Args:
        browser: as `launch` gives it.
        size: of the window, in CSS pixels.
        dark: whether the user prefers dark pages.
        options: others of Playwright's `new_context`.
    """
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        color_scheme="dark" if dark else "light",
        **options,
    )
    watched = Watched(await context.new_page())

    def note_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            watched.complaints.append(f"console: {message.text}")

    async def note_dialog(dialog: Dialog) -> None:
        watched.complaints.append(f"dialog: {dialog.message}")
        await dialog.dismiss()

    watched.page.on("console", note_console)
    watched.page.on("pageerror", lambda error: watched.complaints.append(f"script: {error}"))
    watched.page.on("dialog", note_dialog)
    return watched


async def find_violations(page: Page) -> list[str]:
    """Ask axe-core what keeps people from using the page; one line each, and none is what is wanted."""
    found = await Axe().run(page)
    return [
        f"{violation['id']} ({violation['impact']}): {violation['help']}: {node['html'][:200]}"
        for violation in found.response["violations"]
        for node in violation["nodes"]
    ]
