"""The report in a real browser: ten thousand items, hostile prompts, by mouse and by keyboard, on a phone too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page, expect

from aiai_async.bulk.report import pieces, report_on
from tests.browser import DESKTOP, PHONE, Watched, find_violations, open_page

from .jobs import HOSTILE, link_thumbnails, make_job

# A machine that is busy with other tests takes its time.
expect.set_options(timeout=20_000)

MANY = 10_000
THINGS = ("lighthouse", "kite", "tower of books", "red bicycle", "fox")
# How far to the right anything reaches.
RIGHTMOST = """(selector) =>
    Math.max(...[...document.querySelectorAll(selector)].map((one) => one.getBoundingClientRect().right))"""
# The place of the first card that is seen.
FIRST_SEEN = """() =>
    [...document.querySelectorAll(".card")].find((card) => card.getBoundingClientRect().bottom > 100).dataset.place"""
# Presses the button that prints, and gives the widths of the pictures that are there when the browser is asked to.
PRINT = """() => new Promise((resolve) => {
    window.print = () => resolve([...document.querySelectorAll("#sheet img")].map((image) => image.naturalWidth));
    document.getElementById("print").click();
})"""
PLACES = ("at dusk", "in the fog", "under water", "on the moon")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job of ten thousand items, of which some failed, with its report."""
    root = tmp_path_factory.mktemp("many")
    prompts = [f"A {THINGS[k % 5]} {PLACES[k // 5 % 4]}, number {k}" for k in range(MANY)]
    models = ("gpt-image-1", "gpt-image-1-mini", "own-model")
    folder = make_job(root / "job", prompts, models=models, with_failures=True, pictures=root / "pictures")
    link_thumbnails(folder)
    report_on(folder)
    return folder


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job of prompts that want to break out, eight times each, some of which failed."""
    root = tmp_path_factory.mktemp("hostile")
    prompts = [HOSTILE[k % len(HOSTILE)] for k in range(8 * len(HOSTILE))]
    folder = make_job(
        root / "<b onclick=x>job", prompts, models=HOSTILE[:3], with_failures=True, pictures=root / "pictures"
    )
    report_on(folder)
    return folder


@pytest.fixture
def few(tmp_path: Path) -> Iterator[Path]:
    """The folder of a job of a few items, to be damaged, with its report."""
    folder = make_job(tmp_path / "job", [f"A kite {k}" for k in range(6)], pictures=tmp_path / "pictures")
    report_on(folder)
    return folder


async def visit(browser: Browser, folder: Path, **options: object) -> tuple[Watched, Page]:
    """Open a job's report and wait until all of it is there."""
    watched = await open_page(browser, **options)  # type: ignore[arg-type] # as given
    await watched.page.goto((folder / "report.html").as_uri())
    await expect(watched.page.locator("#count")).to_be_visible()
    await expect(watched.page.locator("#cut")).to_be_hidden()
    return watched, watched.page


async def count_cards(page: Page) -> int:
    """How many cards there are in the page just now."""
    return await page.locator(".card").count()


async def test_ten_thousand_items(browser: Browser, many: Path) -> None:
    """The page holds only what is near the window; text, status, model and kind find what they should, together too."""
    size = (many / "report.html").stat().st_size
    assert size < 2_000_000 and max(file.stat().st_size for file in (many / "report").iterdir()) < 2_000_000
    watched, page = await visit(browser, many)
    count = page.locator("#count")
    await expect(count).to_have_text("Showing 10,000 items, 9,600 images.")
    assert await count_cards(page) <= 400
    text = page.get_by_label("Text")
    await text.fill("FOX moon")
    await expect(count).to_have_text("Showing 500 of 10,000 items, 500 images.")
    await text.fill("number 1234")
    await expect(count).to_have_text("Showing 1 of 10,000 items, 1 image.")
    await expect(page.locator(".card")).to_have_count(1)
    await text.fill("req_00017")
    await expect(page.locator(".card .words")).to_have_text(["A tower of books on the moon, number 17"])
    await text.fill("id-53")
    await expect(count).to_have_text("Showing 12 of 10,000 items, 11 images.")
    await text.fill("zeppelin")
    await expect(count).to_have_text("Showing 0 of 10,000 items, 0 images.")
    assert await count_cards(page) == 0
    await page.get_by_role("button", name="Clear").click()
    await expect(count).to_have_text("Showing 10,000 items, 9,600 images.")
    await page.get_by_label("Model").select_option("own-model")
    await expect(count).to_have_text("Showing 3,333 of 10,000 items, 3,201 images.")
    await page.get_by_label("Status").select_option("Failed for good (100)")
    await expect(count).to_have_text("Showing 33 of 10,000 items, 0 images.")
    await page.get_by_label("Status").select_option("All")
    await page.get_by_label("Model").select_option("All")
    await page.get_by_label("Not done because").select_option("Out of time (100)")
    await text.fill("lighthouse")
    await expect(count).to_have_text("Showing 0 of 10,000 items, 0 images.")
    await text.fill("number 6463")
    await expect(page.locator(".card .meta b")).to_have_text(["Unknown: may have been billed"])
    assert watched.complaints == []


async def test_scrolling_through_ten_thousand(browser: Browser, many: Path) -> None:
    """To the very end and back: what one sees is there, and what one left is gone."""
    watched, page = await visit(browser, many)
    for _ in range(3):
        await page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        last = page.locator(".card").last
        await expect(last.locator(".words")).to_have_text("A fox on the moon, number 9999")
        await expect(last).to_be_in_viewport()
        assert await count_cards(page) <= 500
        await page.evaluate("document.getElementById('images').scrollIntoView()")
    first = page.locator(".card").first
    await expect(first).to_be_in_viewport()
    await expect(first.locator("img")).to_have_js_property("naturalWidth", 256)
    # What lies far below is not loaded: each picture begins to load when it is near.
    await page.evaluate("window.scrollBy(0, 40 * innerHeight)")
    middle = page.locator(".card").nth(250)
    await expect(middle).to_be_attached()
    assert watched.complaints == []


async def test_enlarging(browser: Browser, many: Path) -> None:
    """By a click: the image and all that is known of it; by keys to the next ones; the focus comes back."""
    watched, page = await visit(browser, many)
    await page.locator(".card").nth(3).click()
    viewer = page.locator("#viewer")
    await expect(viewer).to_be_visible()
    await expect(viewer.locator("h2")).to_have_text("Item 3 Done")
    await expect(viewer.locator("#viewer-image img")).to_have_js_property("naturalWidth", 256)
    facts = viewer.locator("#viewer-facts")
    for words in (
        "A red bicycle at dusk, number 3",
        "Modelgpt-image-1",
        "Cost$0.042 (by the table of prices)",
        "Request idreq_00003",
        "Attempts1",
        "Took13.0 s",
        "custom_idid-3",
        "Rowline 4 of the input",
        f"SHA-256{'0123456789abcdef' * 4}",
        "Typeimage/png, 1.4 MB",
        "output tokens details: image tokens1056",
    ):
        await expect(facts).to_contain_text(words)
    for name in ("Sent", "Ended"):
        await expect(facts.locator("dt", has_text=name)).to_be_visible()
    name = "000003-a-red-bicycle-at-dusk-number-3-0.png"
    address = await facts.get_by_role("link", name=name).evaluate("(link) => link.href")
    assert address == (many / "images" / name).as_uri()
    await page.keyboard.press("ArrowRight")
    await expect(viewer.locator("h2")).to_have_text("Item 4 Done")
    for _ in range(5):
        await page.keyboard.press("ArrowLeft")
    await expect(viewer.locator("h2")).to_have_text("Item 0 Done")
    await expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    await page.get_by_role("button", name="Next").click()
    await expect(viewer.locator("#viewer-place")).to_have_text("2 of 10,000")
    await page.keyboard.press("Escape")
    await expect(viewer).to_be_hidden()
    await expect(page.locator(".card").nth(1)).to_be_focused()
    # An item of a later piece, whose facts are loaded only now.
    await page.get_by_label("Text").fill("number 9999")
    await expect(page.locator(".card")).to_have_count(1)
    await page.locator(".card").click()
    await expect(facts).to_contain_text("Request idreq_09999")
    await expect(facts).to_contain_text("Costnot known")
    await page.get_by_role("button", name="Close").click()
    assert watched.complaints == []


async def test_by_keyboard_alone(browser: Browser, many: Path) -> None:
    """From the top: the sheet is one stop of Tab; arrows, Home, End and Page keys move in it; Enter enlarges."""
    watched, page = await visit(browser, many)
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the images")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#images")).to_be_in_viewport()
    await page.locator("#print").focus()
    await page.keyboard.press("Tab")
    cards = page.locator(".card")
    await expect(cards.first).to_be_focused()
    focused = page.locator(".card:focus .meta")
    await page.keyboard.press("ArrowRight")
    await expect(focused).to_have_text("#1")
    columns = await page.evaluate(
        "Number(getComputedStyle(document.getElementById('sheet')).getPropertyValue('--columns'))"
    )
    await page.keyboard.press("ArrowDown")
    await expect(focused).to_have_text(f"#{1 + columns}")
    await page.keyboard.press("ArrowUp")
    await page.keyboard.press("ArrowLeft")
    await expect(focused).to_have_text("#0")
    await page.keyboard.press("End")
    await expect(focused).to_have_text("#9999")
    await expect(page.locator(".card:focus")).to_be_in_viewport()
    await page.keyboard.press("PageUp")
    assert 9900 < int((await focused.inner_text())[1:]) < 9999
    await page.keyboard.press("End")
    await page.keyboard.press("Enter")
    await expect(page.locator("#viewer-title")).to_be_focused()
    await expect(page.locator("#viewer-title")).to_have_text("Item 9999 Done")
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("Escape")
    await expect(focused).to_have_text("#9998")
    await page.keyboard.press("Home")
    await expect(focused).to_have_text("#0")
    await page.keyboard.press("Shift+Tab")
    await expect(page.locator("#print")).to_be_focused()
    assert watched.complaints == []


async def test_what_is_not_done(browser: Browser, many: Path) -> None:
    """Each kind shows its items in the sheet, and each of its first ones opens, whatever the filter is."""
    watched, page = await visit(browser, many)
    kind = page.locator(".kind", has_text="Refused by moderation")
    await kind.get_by_role("button", name="Show in the sheet").click()
    await expect(page.locator("#count")).to_have_text("Showing 100 of 10,000 items, 0 images.")
    await expect(page.locator(".card").first).to_be_in_viewport()
    other = page.locator(".kind", has_text="The service failed")
    await other.locator("summary").click()
    await other.get_by_role("link", name="#142").click()
    await expect(page.locator("#viewer-title")).to_have_text("Item 142 Failed for now")
    facts = page.locator("#viewer-facts")
    await expect(facts).to_contain_text("503 from http://x: over")
    await expect(facts).to_contain_text("status code503")
    await page.keyboard.press("Escape")
    await expect(page.locator("#count")).to_have_text("Showing 10,000 items, 9,600 images.")
    await other.get_by_role("link", name="#142").click()
    await expect(page.locator("#viewer-title")).to_have_text("Item 142 Failed for now")
    assert watched.complaints == []


async def test_hostile_prompts(browser: Browser, hostile: Path) -> None:
    """Are shown letter by letter; nothing of them runs, loads or can be clicked; the policy has nothing to refuse."""
    watched = await open_page(browser)
    page = watched.page
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    await page.goto((hostile / "report.html").as_uri())
    await expect(page.locator("#count")).to_be_visible()
    await expect(page.locator("h1 bdi")).to_have_text("<b onclick=x>job")
    title = await page.title()
    viewer = page.locator("#viewer")
    await page.locator(".card").first.click()
    for place in range(8 * len(HOSTILE)):
        await expect(page.locator("#viewer-place")).to_have_text(f"{place + 1} of {8 * len(HOSTILE)}")
        shown = await viewer.locator(".prompt").first.evaluate("(element) => element.textContent")
        assert shown == HOSTILE[place % len(HOSTILE)].replace("\x00", "\x00")
        await expect(viewer.locator("dt", has_text="Model")).to_be_visible()
        for address in await viewer.locator("a").evaluate_all("(links) => links.map((link) => link.href)"):
            assert address.startswith((hostile.as_uri(), "https://images.example/a.png?sig=1"))
        await page.keyboard.press("ArrowRight")
    await expect(viewer.get_by_text("javascript:document.title='broken into'").first).to_be_attached()
    await page.keyboard.press("Escape")
    for text in ("</script><script>", "עולם", "🦄", "x" * 10_000):
        await page.get_by_label("Text").fill(text)
        await expect(page.locator("#count")).to_have_text("Showing 8 of 120 items, 8 images.")
    # Numbers of elements that a page without any prompt has.
    assert (
        await page.locator("script").count() == 4
        and await page.locator("[onerror], [onload], [onmouseover]").count() == 0
    )
    assert await page.title() == title == "<b onclick=x>job: job report"
    assert all(url.startswith(hostile.parent.as_uri()) for url in requests)
    assert watched.complaints == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_for_everybody(browser: Browser, many: Path, size: dict[str, int], dark: bool) -> None:
    """axe-core finds nothing, neither on the page nor in the viewer nor where nothing is found."""
    watched, page = await visit(browser, many, size=size, dark=dark)
    assert await find_violations(page) == []
    await page.locator(".card").first.click()
    await expect(page.locator("#viewer-facts dl").first).to_be_visible()
    assert await find_violations(page) == []
    await page.keyboard.press("Escape")
    await page.get_by_label("Text").fill("zeppelin")
    await expect(page.locator("#count")).to_contain_text("Showing 0 of")
    assert await find_violations(page) == []
    ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(16, 19, 22)" if dark else "rgb(246, 247, 248)")
    assert watched.complaints == []


@pytest.mark.parametrize("job", ["many", "hostile"])
async def test_on_a_phone(browser: Browser, job: str, request: pytest.FixtureRequest) -> None:
    """Nothing is wider than 360 pixels, and what one touches is no smaller than a finger."""
    watched, page = await visit(browser, request.getfixturevalue(job), size=PHONE, has_touch=True, is_mobile=True)
    assert await page.evaluate(RIGHTMOST, "main *") <= 360
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    await page.locator(".card").nth(1).tap()
    await expect(page.locator("#viewer-facts dl").first).to_be_visible()
    assert await page.evaluate(RIGHTMOST, "#viewer *") <= 360
    heights = await page.locator("#viewer button").evaluate_all("(all) => all.map((one) => one.offsetHeight)")
    assert min(heights) >= 36
    assert watched.complaints == []


async def test_a_window_that_changes(browser: Browser, many: Path) -> None:
    """Has more or fewer columns, and shows the same items as before."""
    watched, page = await visit(browser, many)
    await page.evaluate("document.getElementById('images').scrollIntoView()")
    await page.evaluate("window.scrollBy(0, 6000)")
    await expect(page.locator(".card").nth(150)).to_be_attached()
    before = int(await page.evaluate(FIRST_SEEN))
    await page.set_viewport_size(PHONE)
    await expect(page.locator("#sheet")).to_have_attribute("style", "--columns: 2;")
    await expect(page.locator(f'.card[data-place="{before}"]')).to_be_attached()
    assert abs(int(await page.evaluate(FIRST_SEEN)) - before) <= 12
    assert watched.complaints == []


async def test_images_that_cant_be_shown(browser: Browser, few: Path) -> None:
    """Have words in their place: broken files, files that are gone, thumbnails that are gone."""
    names = sorted(os.listdir(few / "images"))
    (few / "images" / names[0]).unlink()
    (few / "images" / names[0]).write_text("no image")
    (few / "images" / names[1]).unlink()
    report_on(few)
    (few / "thumbs" / f"{names[2]}.webp").unlink()
    watched, page = await visit(browser, few)
    pictures = page.locator(".picture")
    await pictures.last.scroll_into_view_if_needed()
    await expect(pictures.nth(0)).to_have_text("The file can't be shown as an image")
    await expect(pictures.nth(1)).to_have_text("The file is not there")
    await expect(pictures.nth(2).locator("img")).to_have_js_property("naturalWidth", 256)
    await expect(page.locator(".note").first).to_have_text(
        "1 image is shown whole, without a thumbnail: 1 file can't be read as an image."
    )
    await page.locator(".card").first.click()
    await expect(page.locator("#viewer-image")).to_have_text("The file can't be shown as an image")
    await page.keyboard.press("ArrowRight")
    await expect(page.locator("#viewer-image")).to_have_text("The file is not there")
    assert [complaint for complaint in watched.complaints if "ERR_FILE_NOT_FOUND" not in complaint] == []


async def test_a_page_without_its_pieces(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Says so, and shows what it has."""
    monkeypatch.setattr(pieces, "_INDEX_LENGTH", 2000)
    folder = make_job(tmp_path / "job", ["a"] * 100)
    report_on(folder)
    shutil.rmtree(folder / "report")
    watched = await open_page(browser)
    await watched.page.goto((folder / "report.html").as_uri())
    await expect(watched.page.locator("#cut")).to_contain_text("A part of this page can't be loaded")
    assert 10 < await count_cards(watched.page) < 100


async def test_printing(browser: Browser, many: Path) -> None:
    """By the page's own button: pictures are there by then, no more than one wants on paper; then all is as before."""
    watched, page = await visit(browser, many)
    printed = await page.evaluate(PRINT)
    assert 600 <= len(printed) < 800 and set(printed) == {256}
    await expect(page.locator("#cut")).to_contain_text("of 10,000 are printed; filter to choose others.")
    await page.emulate_media(media="print")
    for hidden in ("#filter", "nav", ".show"):
        await expect(page.locator(hidden).first).to_be_hidden()
    await page.emulate_media(media="screen")
    await page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    await expect(page.locator("#cut")).to_be_hidden()
    await page.get_by_label("Text").fill("number 1234")
    await expect(page.locator(".card")).to_have_count(1)
    assert (await page.pdf(format="A4")).startswith(b"%PDF")
    await expect(page.locator(".card")).to_have_count(1)
    assert watched.complaints == []


async def test_without_scripts(browser: Browser, few: Path) -> None:
    """The figures, and the first items with their images, as links."""
    watched = await open_page(browser, java_script_enabled=False)
    await watched.page.goto((few / "report.html").as_uri())
    await expect(watched.page.locator(".plain li")).to_have_count(6)
    await expect(watched.page.locator(".plain li").first).to_have_text("A kite 0 #0: Done")
    await expect(watched.page.get_by_text("Finished: 6 of 6 items done.")).to_be_visible()
    await expect(watched.page.locator("#filter")).to_be_hidden()


async def give_nothing(request: web.Request) -> web.Response:
    """Answer that there is none."""
    return web.Response(status=204)


async def test_from_a_server(browser: Browser, many: Path) -> None:
    """The folder works there as it does on the disk."""
    application = web.Application()
    # Browsers ask servers for one, unasked.
    application.router.add_get("/favicon.ico", give_nothing)
    application.router.add_static("/", many)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        watched = await open_page(browser)
        await watched.page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/report.html")
        await expect(watched.page.locator("#count")).to_have_text("Showing 10,000 items, 9,600 images.")
        await watched.page.locator(".card").first.scroll_into_view_if_needed()
        await expect(watched.page.locator(".card img").first).to_have_js_property("naturalWidth", 256)
        assert watched.complaints == []
        await watched.page.context.close()
    finally:
        await runner.cleanup()
