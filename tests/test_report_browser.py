"""The page in a real Chromium: it opens from the disk, plays, filters, prints, and lets nobody in."""

from __future__ import annotations

import shutil
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from storyrun.exports import posters
from tests import pages
from tests.browser import MISSING, QUIET, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

CHROMIUM = found()
AXE = Path(str(distribution("axe-playwright-python").locate_file("axe_playwright_python/axe.min.js")))
SIZES = {"desktop": (1280, 800), "phone": (360, 740)}
WATCH = (
    "window.broken = []; addEventListener('securitypolicyviolation', (event) => broken.push(event.violatedDirective))"
)
SERIOUS = """async () => (await axe.run({resultTypes: ['violations']})).violations
  .filter((each) => ['serious', 'critical'].includes(each.impact))
  .map((each) => [each.impact, each.id, each.nodes.map((node) => node.html.slice(0, 200)).slice(0, 3)])"""
MOVES = (
    "(where) => { const video = document.querySelector(where + ' video'); return video && video.currentTime > 0.15 }"
)


@pytest.fixture(scope="module")
def laid(tmp_path_factory) -> dict[str, Path]:
    """The pages, with real clips drawn by the animatic beside them."""
    real = pages.drawn(tmp_path_factory.mktemp("project"))
    clip = real / "clips/pour_v001.mp4"
    big = pages.manifest([pages.clip(n, "failed" if n % 23 == 5 else "done", **fault(n)) for n in range(500)])
    views = {"one": pages.manifest([pages.clip(0)]), "mixed": pages.mixed(), "hostile": pages.hostile(), "big": big}
    found = {"drawn": real / "report.html"}
    for name, view in views.items():
        folder = tmp_path_factory.mktemp(name)
        (folder / "posters").mkdir()
        for file in posters.files(view) if name == "big" else ():
            shutil.copy(real / "posters/pour_v001.jpg", folder / f"posters/{Path(file).stem}.jpg")
        found[name] = pages.lay(view, folder, clip)
    return found


def fault(number: int) -> dict[str, Any]:
    return {"error": pages.failure()} if number % 23 == 5 else {}


@pytest.fixture(scope="module")
def browser(laid) -> Iterator[Browser]:
    """One browser for all tests, started when the clips are drawn: drawing and driving each want their own loop."""
    assert CHROMIUM, MISSING
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield started
        started.close()


@pytest.fixture
def visit(browser, laid) -> Iterator[Callable[..., Page]]:
    """Open a page, and see at the end that nothing was said, refused or asked of anybody."""
    contexts = []
    said: list[str] = []
    asked: list[str] = []

    def go(name: str, size: str = "desktop", scheme: str = "light", **options: Any) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        if options.get("java_script_enabled", True):
            context.add_init_script(WATCH)
        page: Page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(laid[name].as_uri())
        return page

    yield go
    for context in contexts:
        for page in context.pages:
            if page.evaluate("typeof broken") != "undefined":
                assert page.evaluate("broken") == []
                assert page.evaluate("typeof pwned") == "undefined"
        context.close()
    assert said == []
    assert [address for address in asked if not address.startswith(("file://", "data:"))] == []


# ── it opens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["one", "hostile", "big"])
def test_opens_without_a_word_and_fits(visit, name, size, scheme):
    page = visit(name, size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(paper) > 600) is (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_axe_finds_nothing_serious_on_the_page_nor_in_the_details(visit, size, scheme):
    page = visit("mixed", size, scheme, bypass_csp=True)  # for axe, which is no script of ours
    page.add_script_tag(path=AXE)
    page.add_style_tag(content=".group { content-visibility: visible !important }")
    assert page.evaluate(SERIOUS) == []
    page.locator("#c2 .more > summary").click()  # one with problems, differences and lines to type
    page.locator("dialog .request summary").click()
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("name", ["hostile", "big"])
def test_axe_finds_nothing_serious_where_there_is_much_to_read(visit, name):
    page = visit(name, bypass_csp=True)
    page.add_script_tag(path=AXE)
    page.evaluate(
        "document.querySelectorAll('.group').forEach((group, n) => n > 5 && group.remove())"
    )  # all built alike
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("name", ["drawn", "one", "mixed", "hostile"])
def test_every_picture_is_there_under_the_policy_of_the_page(visit, name):
    page = visit(name)
    page.evaluate("document.querySelectorAll('img').forEach((image) => (image.loading = 'eager'))")
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    assert page.evaluate("document.images.length") > 0
    assert page.evaluate("[...document.images].filter((image) => !image.naturalWidth).length") == 0


@pytest.mark.parametrize("size", SIZES)
def test_no_text_of_a_stranger_ever_runs_wherever_one_clicks(visit, size):
    page = visit("hostile", size)
    for number in range(1, 8) if size == "phone" else (0, 1):
        page.locator(".more > summary").nth(number).click()
        assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
        assert page.evaluate("(d => d.scrollWidth <= d.clientWidth)(document.querySelector('dialog'))")
        page.keyboard.press("Escape")
    page.locator("input[type=search]").fill("<script>window.pwned=1</script>")
    expect(page.locator(".count")).to_have_text("2 of 9 clips")


def test_five_hundred_clips_open_and_filter_without_stalling(visit):
    page = visit("big")
    timing = page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
    loaded = page.evaluate("[...document.images].filter((image) => image.naturalWidth).length")
    letter = page.evaluate(
        """async () => {
          const field = document.querySelector('input[type=search]');
          const start = performance.now();
          field.value = 'number 499';
          field.dispatchEvent(new Event('input', {bubbles: true}));
          await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
          return performance.now() - start;
        }"""
    )
    expect(page.locator(".count")).to_have_text("1 of 500 clips")
    assert loaded < 250, "pictures far below are not loaded"
    assert page.locator("video").count() == 0
    assert timing < 5000
    assert letter < 1000


# ── it plays ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_clip_plays_muted_under_the_pointer_and_stops_when_it_leaves(visit):
    page = visit("mixed")
    page.locator("a.pic").nth(1).hover()
    page.wait_for_function(MOVES, arg="a.pic.playing")
    assert page.evaluate("document.querySelector('.pic video').muted")
    assert page.evaluate("document.querySelectorAll('video').length") == 1
    page.mouse.move(1, 1)
    expect(page.locator("video")).to_have_count(0)


def test_the_keyboard_moves_plays_with_sound_pauses_and_stops(visit):
    page = visit("mixed")
    focused = "document.activeElement.closest('.card')?.id"
    page.locator("a.pic").first.focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate(focused) == "c0t1"
    page.wait_for_function(MOVES, arg="#c0t1 .pic")  # focus plays, muted
    page.keyboard.press("Enter")
    page.wait_for_function(MOVES, arg="#c0t1 .pic.loud")
    assert not page.evaluate("document.querySelector('video').muted")
    page.keyboard.press("Space")
    expect(page.locator("#c0t1 .pic.paused")).to_be_visible()
    assert page.evaluate("document.querySelector('video').paused")
    page.keyboard.press(" ")
    page.wait_for_function("!document.querySelector('video').paused")
    page.keyboard.press("Escape")
    expect(page.locator("video")).to_have_count(0)
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.matches('#c3 summary')")  # no clip is there, but details are
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("ArrowUp")
    assert page.evaluate(focused) == "c0t1"


def test_without_motion_nothing_plays_by_itself(visit):
    page = visit("mixed", reduced_motion="reduce")
    page.locator("a.pic").nth(1).hover()
    page.locator("a.pic").nth(2).focus()
    page.keyboard.press("ArrowLeft")
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert page.locator("video").count() == 0
    page.keyboard.press("Enter")
    page.wait_for_function(MOVES, arg="a.pic.loud")


def test_details_show_takes_side_by_side_and_a_shot_seeks_to_its_window(visit):
    page = visit("drawn")
    page.locator("#c0 .more > summary").click()
    dialog = page.locator("dialog")
    expect(dialog.locator("h2")).to_have_text("hook")
    page.wait_for_function("[...document.querySelectorAll('dialog video')].every((video) => video.readyState)")
    videos = [dialog.locator("video").nth(n).bounding_box() for n in (0, 1)]
    assert videos[0]["y"] == videos[1]["y"]
    assert videos[0]["x"] + videos[0]["width"] <= videos[1]["x"]
    dialog.get_by_role("button", name="Next clip").click()
    expect(dialog.locator("h2")).to_have_text("pour")
    expect(dialog.locator(".prompt").first).to_contain_text("a hand lifts the can")
    dialog.locator("a.shot").nth(1).click()
    page.wait_for_function("document.querySelector('dialog video').currentTime >= 1")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator("#c1 .more > summary")).to_be_focused()
    expect(page.locator("dialog video")).to_have_count(0)
    expect(page.locator("#c1 .more .body")).to_have_count(1)


# ── it is found, typed, printed, read ────────────────────────────────────────────────────────────────────────────────


def test_the_filter_narrows_by_text_and_by_each_choice_and_says_how_many_are_left(visit):
    page = visit("mixed")
    count = page.locator(".count")

    def choose(name: str) -> Locator:
        found: Locator = page.get_by_role("combobox", name=name)
        return found

    assert count.get_attribute("aria-live") == "polite"
    expect(count).to_have_text("11 clips")
    for act, left in (
        (lambda: page.get_by_label("Search").fill("lifts the can"), "1 of 11 clips"),
        (lambda: page.get_by_label("Search").fill("HOOK"), "3 of 11 clips"),
        (lambda: page.get_by_role("button", name="Show all").click(), "11 clips"),
        (lambda: choose("Status").select_option("refused"), "1 of 11 clips"),
        (lambda: choose("Status").select_option(""), "11 clips"),
        (lambda: choose("Scene").select_option("scene-001"), "2 of 11 clips"),
        (lambda: choose("format").select_option("tall"), "1 of 11 clips"),
        (lambda: page.get_by_role("button", name="Show all").click(), "11 clips"),
        (lambda: page.get_by_label("needs you").check(), "3 of 11 clips"),
        (lambda: page.get_by_label("needs you").uncheck(), "11 clips"),
        (lambda: page.get_by_label("not as ordered").check(), "1 of 11 clips"),
        (lambda: page.get_by_label("not as ordered").uncheck(), "11 clips"),
        (lambda: page.get_by_label("picked").check(), "1 of 11 clips"),
    ):
        act()
        expect(count).to_have_text(left)
    assert page.locator("#clips .card:visible").count() == 1
    assert page.locator("#clips .group:visible").count() == 1


def test_a_line_to_type_is_copied(visit):
    page = visit("mixed")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy: storyrun fetch spot.yaml").first.click()
    expect(page.get_by_text("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "storyrun fetch spot.yaml"


def test_without_a_script_everything_can_still_be_read(visit):
    page = visit("mixed", java_script_enabled=False)
    assert page.locator(".filters").is_hidden()
    page.locator("#c1 .more > summary").click()
    expect(page.locator("#c1 .prompt").first).to_be_visible()
    assert page.locator("#c1 a.shot").nth(1).get_attribute("href") == "clips/scene-001_v001.mp4#t=1,2"


def test_prints_pictures_and_captions_and_no_controls(visit):
    page = visit("mixed")
    page.emulate_media(media="print")
    for gone in (".filters", ".help", ".more", ".copy", ".next", ".timeline"):
        assert page.locator(gone).first.is_hidden(), gone
    assert page.locator(".card .name").first.is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_a_screen_reader_finds_landmarks_names_and_states(visit):
    page = visit("mixed")
    for role, name in (("banner", None), ("main", None), ("search", "Filter the clips"), ("region", "Clips")):
        expect(page.get_by_role(role, **({"name": name} if name else {}))).to_have_count(1)
    expect(page.get_by_role("article", name="hook take 2")).to_contain_text("picked")
    expect(page.get_by_role("link", name="Shot number 2").first).to_be_visible()
    expect(page.get_by_role("img", name="Timeline")).to_be_visible()
