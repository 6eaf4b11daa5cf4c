"""The browser of the tests itself: it shows pages, and tells of what goes wrong on them."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Browser

from .browser import find_violations, open_page

GOOD = "<!doctype html><html lang=en><title>A kite</title><main><h1>A kite</h1></main>"
BAD = """<!doctype html><html lang=en><title>A kite</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'">
<main><h1>A kite</h1><img src="missing.png"><script>alert(1)</script></main>"""


async def test_a_good_page(browser: Browser, tmp_path: Path) -> None:
    """Nothing is said of a page that is in order."""
    path = tmp_path / "page.html"
    path.write_text(GOOD)
    watched = await open_page(browser)
    await watched.page.goto(path.as_uri())
    assert await watched.page.inner_text("h1") == "A kite"
    assert await find_violations(watched.page) == []
    assert watched.complaints == []


async def test_a_bad_page(browser: Browser, tmp_path: Path) -> None:
    """What the page's policy refuses is told, and so is a picture without words."""
    path = tmp_path / "page.html"
    path.write_text(BAD)
    watched = await open_page(browser)
    await watched.page.goto(path.as_uri())
    assert any(line.startswith("image-alt") for line in await find_violations(watched.page))
    assert any("Content Security Policy" in line for line in watched.complaints)
    assert not any(line.startswith("dialog") for line in watched.complaints)
