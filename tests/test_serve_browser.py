"""The served page in a real Chromium, beside a real run and a real server: it follows, it picks, it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect, sync_playwright

from storyrun.cli import main
from tests import pages
from tests.browser import MISSING, QUIET, found
from tests.test_report_browser import AXE, SERIOUS, SIZES, WATCH
from tests.written import write_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Page

CHROMIUM = found()
ROOT = Path(__file__).parent.parent
PATIENCE = 20
OWN = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "409 (Conflict)")
"""What Chromium itself notes on the console of a server that ended, and of a pick that was refused."""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("project")
    pages.drawn(folder)
    return folder


@pytest.fixture(scope="module")
def browser(drawn) -> Iterator[Browser]:
    """One browser for all tests, started when the clips are drawn."""
    assert CHROMIUM, MISSING
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield opened
        opened.close()


@pytest.fixture
def project(drawn, tmp_path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "project"))


class Server:
    """`storyrun report plan.yaml --serve` as people start it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = started(folder, "report", "plan.yaml", "--serve", *options)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def end(self, how: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """The exit code, and what it said besides the address."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out + err


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "storyrun", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers = []

    def go(folder: Path, *options: str) -> Server:
        servers.append(Server(folder, *options))
        assert "http://127.0.0.1:" in servers[-1].url, servers[-1].process.communicate()
        return servers[-1]

    yield go
    for server in servers:
        if server.process.poll() is None:
            server.process.kill()
        server.process.communicate()


@pytest.fixture
def visit(browser) -> Iterator[Callable[..., Page]]:
    """Open the page of a server, and see at the end that nothing was said, refused or asked of anybody else."""
    contexts: list[Any] = []
    said: list[str] = []
    asked: list[str] = []
    urls: list[str] = []

    def go(url: str, size: str = "desktop", scheme: str = "light", **options: Any) -> Page:
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE * 1000)
        context.add_init_script(WATCH)
        page: Page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        urls.append(url)
        page.goto(url)
        expect(page.locator(".livebar .link")).to_have_text("live", timeout=PATIENCE * 1000)
        page.evaluate("window.sameDocument = true")
        return page

    yield go
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("broken") == []
            assert page.evaluate("sameDocument"), "it was loaded anew"
        context.close()
    assert [text for text in said if not any(each in text for each in OWN)] == []
    assert [each for each in asked if not each.startswith((*urls, "data:"))] == []


def until(page: Page, expression: str) -> Any:
    """Wait for something on a page whose policy lets nobody poll from within."""
    for _ in range(PATIENCE * 50):
        if found := page.evaluate(expression):
            return found
        page.wait_for_timeout(20)
    raise AssertionError(f"never came: {expression}")


# ── it follows ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cards_change_while_a_run_goes_on_and_the_page_is_not_loaded_again(serve, visit, tmp_path):
    write_plan(tmp_path, pages.PLAN)
    page = visit(serve(tmp_path).url)
    expect(page.locator("#clips .tag", has_text="not ordered")).to_have_count(3)
    page.get_by_role("combobox", name="Scene").select_option("hook")
    page.get_by_label("Search").fill("drips")
    page.locator("#c0t0 .pick").focus()
    page.evaluate("window.card = document.querySelector('#c0t0')")
    run = started(tmp_path, "run", "plan.yaml", "--quiet")
    expect(page.locator("#clips a.pic")).to_have_count(3, timeout=PATIENCE * 1000)
    run.communicate(timeout=PATIENCE)
    assert run.returncode == 0
    expect(page.locator("#clips .tag", has_text="done")).to_have_count(3)
    expect(page.locator(".tile")).to_contain_text("done")
    expect(page.locator(".livebar .news")).to_contain_text("more clip")
    expect(page.locator(".live")).to_have_count(0, timeout=PATIENCE * 1000)
    assert page.evaluate("card === document.querySelector('#c0t0')"), "the card is the same element"
    assert page.evaluate("document.activeElement === document.querySelector('#c0t0 .pick')"), "focus is kept"
    expect(page.get_by_role("combobox", name="Scene")).to_have_value("hook")
    expect(page.get_by_label("Search")).to_have_value("drips")
    expect(page.locator(".count")).to_have_text("2 of 3 clips")
    expect(page.locator("#c1")).to_be_hidden()
    expect(page.locator("#c0t0 img")).to_be_visible()
    until(page, "document.querySelector('#c0t0 img').naturalWidth > 0")


def test_a_clip_that_plays_plays_on_through_a_change(serve, visit, project):
    page = visit(serve(project).url)
    page.locator("#c0t0 a.pic").focus()
    page.keyboard.press("Enter")
    until(page, "document.querySelector('.pic.loud video')?.currentTime > 0.15")
    page.evaluate("window.film = document.querySelector('.pic video')")
    page.evaluate("film.loop = true")
    assert main(["pick", str(project / "plan.yaml"), "hook"]) == 0
    expect(page.locator("#c0t0 .tags")).to_contain_text("picked")
    assert page.evaluate("film.isConnected && !film.paused && film === document.querySelector('#c0t0 .pic.loud video')")
    expect(page.locator(".livebar .news")).to_have_text("picked: hook take 1")


def test_details_that_are_open_change_too_and_their_video_stays(serve, visit, project):
    page = visit(serve(project).url)
    page.locator("#c0 .more > summary").click()
    until(page, "document.querySelector('dialog video').readyState > 0")
    page.evaluate("window.film = document.querySelector('dialog video')")
    page.locator("dialog .pick").nth(1).click()
    expect(page.locator("dialog .pick").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("dialog .state").nth(1)).to_contain_text("picked")
    assert page.evaluate("film === document.querySelector('dialog video')")
    expect(page.locator("dialog .livebar")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#c0t1 .tags")).to_contain_text("picked")
    expect(page.locator("body > .livebar")).to_be_visible()
    page.locator("#c0 .more > summary").click()
    expect(page.locator("dialog .take")).to_have_count(2)


def test_clips_that_the_plan_gets_or_loses_come_and_go(serve, visit, project):
    plan = project / "plan.yaml"
    good = plan.read_text()
    page = visit(serve(project).url)
    plan.write_text(good.replace("takes: 2", "takes: 4"))
    expect(page.locator("#clips .card")).to_have_count(4 + 1)
    expect(page.locator("#c0 .gid")).to_contain_text("4 takes")
    expect(page.locator(".count")).to_have_text("5 clips")
    plan.write_text(good.replace("takes: 2", "takes: two"))
    expect(page.locator(".livebar .trouble")).to_contain_text("plan.yaml:")
    expect(page.locator("#clips .card")).to_have_count(5)
    plan.write_text(good)
    expect(page.locator("#clips .card")).to_have_count(3)
    expect(page.locator(".livebar .trouble")).to_be_empty()


# ── it picks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_take_is_picked_by_click_and_by_key_and_stays_so(serve, visit, project):
    page = visit(serve(project).url)
    picks = project / "plan.picks.yaml"
    page.get_by_role("button", name="Pick hook#2").click()
    expect(page.locator("#c0t1 .pick")).to_have_attribute("aria-pressed", "true")
    assert "  hook: 2\n" in picks.read_text()
    page.locator("#c0t0 a.pic").focus()
    page.keyboard.press("p")
    expect(page.locator("#c0t0 .pick")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#c0t1 .pick")).to_have_attribute("aria-pressed", "false")
    assert page.evaluate("document.activeElement === document.querySelector('#c0t0 a.pic')")
    assert "  hook: 1\n" in picks.read_text()
    page.keyboard.press("P")
    expect(page.locator("#c0t0 .pick")).to_have_attribute("aria-pressed", "false")
    expect(page.locator(".livebar .news")).to_have_text("hook is no longer picked")
    assert "hook" not in picks.read_text().partition("picks:")[2]
    page.get_by_role("button", name="Pick pour").click()
    expect(page.locator("#c1t0 .tags")).to_contain_text("picked")
    page.get_by_label("Search").press("p")
    assert page.get_by_label("Search").input_value() == "p", "in a field a letter is a letter"
    page.reload()
    page.evaluate("window.sameDocument = true")
    expect(page.locator("#c1t0 .pick")).to_have_attribute("aria-pressed", "true")


def test_a_pick_that_is_refused_says_why(serve, visit, project):
    page = visit(serve(project).url)
    (project / "plan.picks.yaml").write_text("version: 1\npicks: {nobody: 1}\n")
    page.get_by_role("button", name="Pick hook#2").click()
    expect(page.get_by_role("alert").filter(has_text="hook#2 was not picked")).to_contain_text("plan.picks.yaml:2")
    expect(page.locator("#c0t1 .pick")).to_have_attribute("aria-pressed", "false")


# ── everybody can use it, and it ends ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_axe_finds_nothing_serious_and_it_fits(serve, visit, project, size, scheme):
    assert main(["pick", str(project / "plan.yaml"), "hook#2"]) == 0
    page = visit(serve(project).url, size, scheme, bypass_csp=True)  # for axe, which is no script of ours
    page.add_script_tag(path=AXE)
    page.add_style_tag(content=".group { content-visibility: visible !important }")
    assert page.evaluate("document.documentElement.scrollWidth") <= SIZES[size][0]
    assert page.evaluate(SERIOUS) == []
    page.locator("#c0 .more > summary").click()
    assert page.evaluate(SERIOUS) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly_while_a_page_listens_and_the_page_says_so(serve, visit, project, how):
    server = serve(project, "--json")
    page = visit(json.loads(server.url)["url"])
    start = time.monotonic()
    code, said = server.end(how)
    assert (code, said.splitlines()) == (0, ["whoever has this address can look and pick; Ctrl-C ends it"])
    assert time.monotonic() - start < 5
    expect(page.locator(".livebar .link")).to_contain_text("not connected")
    expect(page.locator("#clips .card")).to_have_count(3)
