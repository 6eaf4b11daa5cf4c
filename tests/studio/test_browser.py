"""The studio in a real browser: what a person sees, does by mouse or keyboard, and hears from a screen reader."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
from PIL import Image as Picture
from playwright.async_api import Browser, Page, Route, expect

from aiai_async import PRICES_DATE, AsyncImagesClient, RateLimits
from aiai_async.bulk import BulkJob
from aiai_async.server import LocalServer
from aiai_async.studio import Studio
from tests.browser import DESKTOP, PHONE, Watched, find_violations, open_page
from tests.cli.streams import completed, error, partial, whole
from tests.scripted import Answer, Received, ScriptedServer

from .conftest import KEY, open_tab, until

Start = Callable[..., Any]
HOSTILE = "</script><img src=x onerror=alert(1)> \"'`$(id) \u202edlrow 黄昏 👩‍🚀 & <b>bold</b>"
READ_BYTES = """async (address) => {
  const answer = await fetch(address);
  const digest = await crypto.subtle.digest("SHA-256", await answer.arrayBuffer());
  return [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}"""

HEAR = """() => {
  window.heard = [];
  const region = document.getElementById("polite");
  new MutationObserver(() => heard.push(region.textContent)).observe(region, { childList: true });
}"""


class Stepwise:
    """A stream whose events come when a test says so, several at once."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[bytes | None] = asyncio.Queue()

    @property
    def answer(self) -> Answer:
        async def script(_: Received, writer: asyncio.StreamWriter) -> None:
            writer.write(whole())
            while (event := await self._events.get()) is not None:
                writer.write(event)
                await writer.drain()
            writer.close()

        return script

    def send(self, *events: bytes | None) -> None:
        """Let events come; None is the end of the stream."""
        for event in events:
            self._events.put_nowait(event)


def draw(colour: str) -> bytes:
    """Draw a picture that is told from others by its bytes."""
    file = io.BytesIO()
    Picture.new("RGB", (96, 64), colour).save(file, "PNG")
    return file.getvalue()


async def show(browser: Browser, studio: Studio, path: str = "", **options: Any) -> Watched:
    """Open a page and wait until it is connected."""
    watched = await open_page(browser, **options)
    watched.page.set_default_timeout(10_000)
    await watched.page.goto(studio.url + path)
    if not path:
        await expect(watched.page.locator("#server")).to_be_visible()
    return watched


async def generate(page: Page, prompt: str, **fields: str) -> None:
    """Fill in the form as a person does, and send it."""
    for name, value in fields.items():
        await page.select_option(f"#{name}", value)
    await page.get_by_label("Prompt").fill(prompt)
    await page.get_by_role("button", name="Generate").click()


async def digest_shown(page: Page, *, card: int = 0) -> str:
    """Give the SHA-256 of the picture that a card shows, as the page gets it."""
    image = page.locator(".run").nth(card).locator(".stage img").last
    found: str = await page.evaluate(READ_BYTES, await image.get_attribute("src"))
    return found


async def check_looks(page: Page, *sizes: dict[str, int]) -> None:
    """Ask axe-core about a state of the page, in windows of these sizes and both colour schemes."""
    for size in sizes or (PHONE, DESKTOP):
        await page.set_viewport_size({"width": size["width"], "height": size["height"]})
        assert await page.evaluate("() => document.documentElement.scrollWidth") == size["width"]
        for scheme in ("dark", "light"):
            await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type] # one of its literals
            assert await find_violations(page) == []


# -- pictures


async def test_a_picture_sharpens_as_its_events_come(browser: Browser) -> None:
    """Each partial picture takes the place of the one before, and the last one is the final one, bit by bit."""
    stream = Stepwise()
    async with (
        ScriptedServer(stream.answer) as server,
        AsyncImagesClient(KEY, base_url=server.base_url) as client,
        Studio(client) as studio,
    ):
        watched = await show(browser, studio)
        page = watched.page
        await generate(page, "A kite", partial_images="2")
        card = page.get_by_role("article", name="A kite")
        await expect(card).to_contain_text("Being made")
        stream.send(partial(0, draw("gray")))
        await expect(card.get_by_alt_text("Partial picture 1 of “A kite”")).to_be_visible()
        await expect(card.locator(".status")).to_contain_text("Partial picture 1 of 2")
        assert await digest_shown(page) == hashlib.sha256(draw("gray")).hexdigest()
        stream.send(partial(1, draw("navy")))
        await expect(card.get_by_alt_text("Partial picture 2 of “A kite”")).to_be_visible()
        assert await digest_shown(page) == hashlib.sha256(draw("navy")).hexdigest()
        await expect(page.locator("#polite")).to_contain_text("Step 2: A kite")
        stream.send(
            completed(draw("red"), usage={"total_tokens": 1234, "input_tokens": 4, "output_tokens": 1230}), None
        )
        await expect(card.locator(".status")).to_contain_text("Finished in")
        await expect(card.get_by_alt_text("Picture of “A kite”")).to_be_visible()
        await expect(card.locator(".stage img")).to_have_count(1)
        assert await digest_shown(page) == hashlib.sha256(draw("red")).hexdigest()
        await expect(card).to_contain_text("1,234")
        await expect(card).to_contain_text("$")
        await expect(page.locator("#polite")).to_contain_text("Finished after")
        assert watched.complaints == []


async def test_several_pictures_of_several_runs_at_once(browser: Browser, studio: Studio, client: Any) -> None:
    """In a grid, the newest first; each is what the server drew."""
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A lighthouse", n="2", size="1536x1024")
    await generate(page, "A kite", n="1", size="1024x1024", output_format="webp")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(2)
    await expect(page.locator(".run h3")).to_have_text(["A kite", "A lighthouse"])
    # No card reaches into the next, and rows are high: Firefox lays everything beyond 10,000 of them over another.
    rooms = await page.evaluate(
        """() => [...document.querySelectorAll(".slot")].map(
          (slot) => 8 * slot.style.gridRowEnd.slice("span ".length) - slot.scrollHeight)"""
    )
    assert all(0 <= room < 8 for room in rooms), rooms
    await expect(page.get_by_alt_text("Picture 2 of 2 of “A lighthouse”")).to_be_visible()
    alone = await client.generate("A kite", model="gpt-image-1", size="1024x1024", output_format="webp")
    assert await digest_shown(page) == alone.image.sha256
    assert watched.complaints == []


async def test_the_form_offers_what_the_model_takes(browser: Browser, studio: Studio, server: LocalServer) -> None:
    """Other models have other fields; what is chosen and still taken stays; prices have their date in the west too."""
    watched = await show(browser, studio, timezone_id="America/Los_Angeles")
    page = watched.page
    await page.select_option("#n", "4")
    await expect(page.locator("#estimate")).to_contain_text("At most $")
    await expect(page.locator("#estimate")).to_contain_text(PRICES_DATE.strftime(f"of {PRICES_DATE.day} %b %Y"))
    await page.select_option("#model", "dall-e-3")
    await expect(page.get_by_label("Partial images")).to_be_hidden()
    await expect(page.get_by_label("Background")).to_be_hidden()
    await expect(page.get_by_label("Style")).to_be_visible()
    await expect(page.locator("#size option")).to_have_text(["default", "1024x1024", "1792x1024", "1024x1792"])
    await expect(page.locator("#n option")).to_have_text(["1"])
    await expect(page.locator("#plain-hint")).to_be_visible()
    await page.select_option("#model", "gpt-image-1")
    await page.select_option("#background", "transparent")
    await expect(page.locator('#output_format option[value="jpeg"]')).to_be_disabled()
    await page.select_option("#output_format", "webp")
    await page.get_by_label("Compression, %").fill("40")
    await generate(page, "A kite")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    assert server.requests[0].body == {
        "prompt": "A kite",
        "model": "gpt-image-1",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 40,
        "partial_images": 3,
        "stream": True,
    }
    await page.select_option("#model", label="Another model…")
    await page.get_by_label("Name of the model").fill("flux-pro")
    await generate(page, "A kite", partial_images="")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(2)
    assert server.requests[1].body == {"prompt": "A kite", "model": "flux-pro"}
    await page.locator(".run").nth(1).get_by_role("button", name="Use again").click()
    await expect(page.get_by_label("Compression, %")).to_have_value("40")
    await expect(page.locator("#model")).to_have_value("gpt-image-1")
    assert watched.complaints == []


async def test_an_estimate_that_comes_late_is_not_shown(browser: Browser, studio: Studio) -> None:
    """What was asked for last is what is said, in whatever order answers come."""
    watched = await show(browser, studio)
    page = watched.page
    estimate = page.locator("#estimate")
    await expect(estimate).to_contain_text("At most $")
    # The first answer from now on is held back until the second one is shown.
    second, first = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.post_data_json.get("model") == "gpt-image-1":
            first.set()
            await second.wait()
        await route.continue_()

    await page.route("**/api/estimate", hold)
    await page.select_option("#n", "4")
    await first.wait()
    await page.select_option("#model", label="Another model…")
    await expect(estimate).to_have_text("What it costs is not known")
    async with page.expect_response("**/api/estimate"):
        second.set()
    await page.evaluate("() => new Promise((done) => setTimeout(done))")
    await expect(estimate).to_have_text("What it costs is not known")
    assert watched.complaints == []


async def test_what_is_wrong_is_said_at_its_field(browser: Browser, studio: Studio, server: LocalServer) -> None:
    """The focus goes there, a screen reader is told, and typing takes the words away."""
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "   ")
    prompt = page.get_by_label("Prompt")
    await expect(prompt).to_have_attribute("aria-invalid", "true")
    await expect(prompt).to_be_focused()
    await expect(page.locator("#prompt-error")).to_contain_text("say what the image shows")
    await prompt.press("x")
    await expect(page.locator("#prompt-error")).to_be_hidden()
    await page.select_option("#model", "gpt-image-2")
    await page.select_option("#size", label="Other…")
    await page.get_by_label("Size in pixels").fill("1000x1000")
    await page.get_by_role("button", name="Generate").click()
    await expect(page.locator("#free-size-error")).to_contain_text("use auto or WIDTHxHEIGHT")
    await expect(page.get_by_label("Size in pixels")).to_be_focused()
    assert server.requests == ()


async def test_an_error_is_shown_in_words_with_what_came_before(browser: Browser) -> None:
    """The partial picture stays; a screen reader is told at once."""
    stream = Stepwise()
    async with (
        ScriptedServer(stream.answer) as server,
        AsyncImagesClient(KEY, base_url=server.base_url, retry=0) as client,
        Studio(client) as studio,
    ):
        watched = await show(browser, studio)
        page = watched.page
        await generate(page, "A kite")
        stream.send(partial(0, draw("gray")), error("<b>no kites</b> today", code="moderation_blocked"), None)
        card = page.get_by_role("article", name="A kite")
        await expect(card.locator(".failure")).to_contain_text("ModerationBlockedError")
        await expect(card.locator(".failure")).to_contain_text("<b>no kites</b> today")
        await expect(card.locator(".status")).to_contain_text("Failed after")
        await expect(card.get_by_alt_text("Partial picture 1 of “A kite”")).to_be_visible()
        await expect(page.locator("#assertive")).to_contain_text("no kites")
        assert await find_violations(page) == []
        assert watched.complaints == []


async def test_a_prompt_is_only_ever_text(browser: Browser, studio: Studio) -> None:
    """Whatever stands in it, in every place that shows it."""
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, HOSTILE)
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    await expect(page.locator(".run h3")).to_have_text(HOSTILE)
    await page.locator(".stage").click()
    await expect(page.locator("#viewer-title")).to_contain_text("</script><img src=x onerror=alert(1)>")
    await expect(page.locator("#viewer img, .run img")).to_have_count(6)
    assert watched.complaints == []


async def test_a_picture_is_enlarged_with_the_steps_to_it(browser: Browser, studio: Studio) -> None:
    """By keyboard from one to the next; the focus comes back to where it was; each can be downloaded."""
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A kite", n="2", partial_images="1")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    stage = page.locator(".stage").first
    await stage.focus()
    await page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    await expect(viewer).to_be_visible()
    await expect(viewer.get_by_role("button", name="Close")).to_be_focused()
    await expect(viewer.locator("#viewer-place")).to_have_text("1 of 2")
    await page.keyboard.press("ArrowRight")
    await expect(viewer.locator("#viewer-place")).to_have_text("2 of 2")
    await expect(viewer.get_by_alt_text("Picture 2 of 2 of “A kite”")).to_be_visible()
    await viewer.get_by_role("button", name="partial 1").click()
    await expect(viewer.get_by_alt_text("Partial picture 1 2 of 2 of “A kite”")).to_be_visible()
    await viewer.get_by_role("button", name="final").click()
    async with page.expect_download() as waiting:
        await viewer.get_by_role("link", name="Download").click()
    download = await waiting.value
    assert download.suggested_filename == "a-kite-1-2.png"
    address = await viewer.locator("#viewer-image").get_attribute("src")
    content = Path(await download.path()).read_bytes()
    assert hashlib.sha256(content).hexdigest() == await page.evaluate(READ_BYTES, address)
    await page.keyboard.press("Escape")
    await expect(viewer).to_be_hidden()
    await expect(stage).to_be_focused()
    assert watched.complaints == []


async def test_an_enlarged_picture_whose_steps_are_dropped(browser: Browser, start: Start) -> None:
    """Who looks at a step that is no longer kept sees one that is."""
    _, studio = await start(most_bytes=500_000)
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A kite", partial_images="3")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    await page.locator(".stage").click()
    steps = page.locator("#viewer-steps button")
    await expect(steps).to_have_count(4)
    await steps.nth(2).click()
    async with open_tab(studio, name="another-tab") as tab:
        # So large that two of the four are dropped at once.
        large = {"model": "gpt-image-2", "size": "3840x2160", "partial_images": 0}
        await tab.until_ended(await tab.begin("A lighthouse", **large))
    await expect(steps).to_have_count(2)
    await expect(steps.last).to_have_attribute("aria-pressed", "true")
    await expect(page.locator("#viewer-place")).to_have_text("2 of 2")
    assert watched.complaints == []


async def test_a_request_is_copied_as_code(browser: Browser, studio: Studio) -> None:
    """Into the clipboard; and where the browser doesn't let the page, it is shown to be copied."""
    watched = await show(browser, studio)
    page = watched.page
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await generate(page, "It's a kite")
    # What is said of its end would take the place of what is said of the copy.
    await expect(page.locator("#polite")).to_contain_text("Finished after")
    card = page.get_by_role("article", name="It's a kite")
    for button in ("Use again", "Remove", "Python", "curl", "batch line"):
        await expect(card.get_by_role("button", name=button)).to_have_accessible_description("It's a kite")
    for name, begin in (("Python", "import anyio"), ("curl", "curl --no-buffer"), ("batch line", '{"custom_id"')):
        await card.get_by_role("button", name=name).click()
        await expect(page.locator("#polite")).to_have_text(re.compile(f"Copied as {name}"))
        text = await page.evaluate("() => navigator.clipboard.readText()")
        assert text.startswith(begin)
        assert "kite" in text
        assert KEY not in text
    await page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    await card.get_by_role("button", name=re.compile("curl|Copied")).first.click()
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_have_value(re.compile("^curl|^import"))
    assert watched.complaints == []


# -- who waits, who is cut


async def test_cancelling_stops_the_request_on_the_server(browser: Browser, start: Start) -> None:
    """By keyboard; the focus stays at the run."""
    server, studio = await start(latency=3600)
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A kite")
    await until(lambda: server.in_flight == 1)
    card = page.get_by_role("article", name="A kite")
    await card.get_by_role("button", name="Cancel").focus()
    await page.keyboard.press("Enter")
    await until(lambda: server.in_flight == 0)
    await expect(card.locator(".status")).to_contain_text("Cut off after")
    await expect(card).to_contain_text("it may be billed all the same")
    await expect(card.get_by_role("heading")).to_be_focused()
    await card.get_by_role("button", name="Remove").press("Enter")
    await expect(page.locator(".run")).to_have_count(0)
    await expect(page.locator("main")).to_be_focused()
    assert watched.complaints == []


async def test_two_tabs_and_one_is_closed(browser: Browser, start: Start) -> None:
    """Both show all runs; what the closed one began is cut, the other's goes on."""
    server, studio = await start(latency=3600)
    first, second = await show(browser, studio), await show(browser, studio)
    await generate(first.page, "A lighthouse")
    await expect(second.page.get_by_role("article", name="A lighthouse")).to_be_visible()
    await generate(second.page, "A kite")
    await expect(first.page.get_by_role("article", name="A kite")).to_be_visible()
    await until(lambda: server.in_flight == 2)
    await second.page.close()
    await until(lambda: server.in_flight == 1)
    await expect(first.page.get_by_role("article", name="A kite")).to_contain_text("the tab that began it was closed")
    await expect(first.page.get_by_role("article", name="A lighthouse")).to_contain_text("Being made")
    assert first.complaints == []


async def test_a_reload_changes_nothing(browser: Browser, start: Start) -> None:
    """What runs goes on, the form is as it was, and closing the tab then still cuts."""
    server, studio = await start(latency=3600, grace=5)
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A kite", model="gpt-image-1-mini", quality="low")
    await until(lambda: server.in_flight == 1)
    await page.reload()
    card = page.get_by_role("article", name="A kite")
    await expect(card).to_contain_text("Being made")
    assert server.in_flight == 1
    await expect(page.get_by_label("Prompt")).to_have_value("A kite")
    await expect(page.locator("#model")).to_have_value("gpt-image-1-mini")
    await expect(page.locator("#quality")).to_have_value("low")
    await card.get_by_role("button", name="Cancel").click()
    await until(lambda: server.in_flight == 0)
    assert watched.complaints == []


async def test_why_something_waits_is_said(browser: Browser, start: Start) -> None:
    """At the run, and with its limit in the panel."""
    _, studio = await start(limits=RateLimits(images_per_minute=1))
    watched = await show(browser, studio)
    page = watched.page
    await generate(page, "A lighthouse")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    await page.evaluate(HEAR)
    await generate(page, "A kite", n="10")
    card = page.get_by_role("article", name="A kite")
    await expect(card.locator(".status")).to_contain_text("Waiting for images")
    await expect(card.locator(".waiting")).to_have_count(10)
    await expect(card.locator(".waiting:not([aria-hidden])")).to_have_count(1)
    assert (
        await card.locator(".frames").evaluate("(it) => getComputedStyle(it).gridTemplateColumns.split(' ').length")
        == 3
    )
    panel = page.get_by_role("complementary", name="Limits")
    await expect(panel).to_contain_text("Images per minute")
    await expect(panel).to_contain_text("Waits for images")
    await expect(panel).to_contain_text("said by the server")
    # It is said once, not with each second that passes.
    await expect(card.locator(".status")).to_contain_text(" 2.")
    heard = await page.evaluate("() => window.heard")
    assert [words for words in heard if words.startswith("waiting for images")] == heard[1:], heard
    assert len(heard) == 2
    assert await find_violations(page) == []
    assert watched.complaints == []


async def test_a_studio_that_stops_and_one_that_is_started_anew(browser: Browser, client: AsyncImagesClient) -> None:
    """The page says so; and it doesn't go on with a token that nobody knows."""
    first = Studio(client)
    await first.start()
    port = first.port
    watched = await show(browser, first)
    page = watched.page
    await first.aclose()
    await expect(page.get_by_role("alert").filter(has_text="has stopped")).to_be_visible()
    await expect(page.get_by_role("complementary", name="Limits")).to_contain_text("The studio doesn’t answer.")
    async with Studio(client, port=port):
        button = page.get_by_role("button", name="Reload the page")
        await expect(button).to_be_visible(timeout=15_000)
        await button.click()
        await expect(page.locator("#server")).to_be_visible()
        await expect(page.locator("#banner")).to_be_hidden()


# -- who is kept out


async def test_another_sites_page_can_not_use_it(browser: Browser, studio: Studio, server: LocalServer) -> None:
    """It can neither read the page, nor send, nor listen, nor frame it."""
    watched = await open_page(browser)
    page = watched.page
    # The local server's own page stands for the other site: another origin on the same machine.
    await page.goto(server.base_url.removesuffix("v1"))
    found = await page.evaluate(
        """async (url) => {
          const read = await fetch(url).then((answer) => answer.text(), (error) => `failed: ${error.name}`);
          const blind = await fetch(`${url}api/runs`, { method: "POST", mode: "no-cors", body: '{"prompt": "x"}' })
            .then((answer) => answer.type, (error) => `failed: ${error.name}`);
          const socket = await new Promise((resolve) => {
            const it = new WebSocket(`${url.replace("http", "ws")}api/events?tab=tab-of-evil`, ["aiai-studio"]);
            it.onopen = () => resolve("open");
            it.onerror = () => resolve("failed");
          });
          return { read, blind, socket };
        }""",
        studio.url,
    )
    assert found["read"].startswith("failed")
    # Kept from the page by Cross-Origin-Resource-Policy too, and refused before it is read.
    assert found["blind"] in ("opaque", "failed: TypeError")
    assert found["socket"] == "failed"
    assert server.requests == () or all(request.path != "/v1/images/generations/" for request in server.requests)


# -- everybody


async def test_it_is_used_by_keyboard_alone(browser: Browser, studio: Studio) -> None:
    """From the skip link to the picture: every control is reached in order, and is seen to have the focus."""
    watched = await show(browser, studio)
    page = watched.page
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the pictures")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("main")).to_be_focused()
    await page.get_by_label("Prompt").focus()
    await page.keyboard.type("A kite")
    names: list[str] = []
    for _ in range(9):
        await page.keyboard.press("Tab")
        names.append(await page.evaluate("() => document.activeElement.id"))
        outline = await page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"
    assert names == [
        "model",
        "size",
        "quality",
        "background",
        "output_format",
        "n",
        "partial_images",
        "moderation",
        "generate",
    ]
    await page.keyboard.press("Enter")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    await page.get_by_label("Prompt").focus()
    await page.keyboard.press("Control+Enter")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(2)
    assert watched.complaints == []


async def test_nothing_keeps_people_from_using_it(browser: Browser, server: LocalServer, studio: Studio) -> None:
    """Says axe-core, in each state of the page, wide and narrow, light and dark; nothing is wider than the window."""
    watched = await show(browser, studio, reduced_motion="reduce")
    page = watched.page
    await check_looks(page)
    await generate(page, "W" * 300, n="2", partial_images="1")
    await expect(page.locator('.run[data-status="done"]')).to_have_count(1)
    server.set_faults("moderation_blocked")
    await generate(page, "A kite")
    await expect(page.locator('.run[data-status="failed"]')).to_have_count(1)
    await check_looks(page)
    await page.locator("#limits-panel summary").click()
    await page.locator(".stage:visible").first.click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await check_looks(page)
    assert watched.complaints == []


# -- jobs


async def test_a_running_job_of_another_process_is_watched(browser: Browser, start: Start, tmp_path: Path) -> None:
    """From the name of its folder to its end: counts, rate, cost and images move by themselves."""
    server, studio = await start(latency=(0.02, 0.1))
    folder, source = tmp_path / "light houses é", tmp_path / "prompts.txt"
    source.write_text("".join(f"Lighthouse {number} {HOSTILE}\n" for number in range(40)))
    watched = await show(browser, studio, "jobs/")
    page = watched.page
    assert await find_violations(page) == []
    await page.get_by_label("Folder of the job").fill("..")
    await page.get_by_role("button", name="Watch").click()
    await expect(page.locator("#folder")).to_have_text(f"{Path.cwd()}/..")
    await page.get_by_role("link", name="name another folder").click()
    await page.get_by_label("Folder of the job").fill(str(folder))
    await page.get_by_role("button", name="Watch").click()
    await expect(page.get_by_role("heading", name="Nothing to see yet")).to_be_visible()
    assert await find_violations(page) == []
    command = [sys.executable, "-m", "aiai_async", "batch", str(source), "--out", str(folder), "--concurrency", "2"]
    process = await asyncio.create_subprocess_exec(
        *command,
        *("--model", "dall-e-2", "--size", "256x256"),
        env={**os.environ, "AIAI_API_KEY": KEY, "AIAI_BASE_URL": server.base_url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    await expect(page.locator("#state")).to_have_text("Running", timeout=20_000)
    await expect(page.locator("#tiles")).to_contain_text("Images per minute")
    await expect(page.locator("#newest li").first).to_be_visible(timeout=20_000)
    await expect(page.locator("#state")).to_have_text("Finished", timeout=30_000)
    with anyio.fail_after(30):
        assert await process.wait() == 0
    await expect(page.locator("#tiles")).to_contain_text("40 of 40")
    await expect(page.locator("#tiles")).to_contain_text("$0.64")
    await expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "40")
    await expect(page.locator("#newest li")).to_have_count(24)
    await expect(page.locator("#polite")).to_contain_text("The run has ended: 40 of 40 items done")
    assert await find_violations(page) == []
    await page.locator("#newest button").first.click()
    shown = page.locator("#viewer-image")
    await expect(shown).to_be_visible()
    name = re.search(r"\d{6}-[\w-]+\.png", await page.locator("#viewer-facts").inner_text())
    assert name
    digest = await page.evaluate(READ_BYTES, await shown.get_attribute("src"))
    assert digest == hashlib.sha256((folder / "images" / name[0]).read_bytes()).hexdigest()
    assert watched.complaints == []


async def test_a_jobs_page_on_a_phone(
    browser: Browser, studio: Studio, client: AsyncImagesClient, server: LocalServer, tmp_path: Path
) -> None:
    """Named in the address, with what went wrong; nothing is wider than the window."""
    server.set_faults("moderation_blocked")
    rows = ["A kite" + "W" * 300]
    await BulkJob(rows, tmp_path / "job", client, defaults={"model": "gpt-image-1"}).run()
    server.set_faults()
    job = BulkJob([*rows, "A harbour"], tmp_path / "job", client, defaults={"model": "gpt-image-1"}, extend=True)
    await job.run()
    watched = await show(browser, studio, f"jobs/{tmp_path}/job", size=PHONE)
    page = watched.page
    await expect(page.locator("#state")).to_have_text("Ended, not all done")
    await expect(page.locator("#failures")).to_contain_text("moderation_blocked")
    await expect(page.locator("#newest img")).to_have_count(1)
    await check_looks(page, PHONE)
    assert watched.complaints == []
