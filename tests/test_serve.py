"""The page on a server: who may see it, what goes out, who is told of a change, and how a pick is written."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from storyrun import serve
from storyrun.cli import main, planning, report, serving
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.folder import Outputs
from tests import pages
from tests.written import write_plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

TOKEN = "a-token-for-tests"
CHOICE: dict[str, Any] = {"provider": "animatic", "model": None, "only": (), "first": None, "out": None}
PICK = {"X-Storyrun": "pick", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A project with three clips; copied for tests that change it."""
    folder: Path = tmp_path_factory.mktemp("project")
    pages.drawn(folder)
    (folder / "outputs/plan/animatic/clips/secret.mp4").write_bytes(b"not of this run")
    (folder / "outputs/plan/animatic/secret.txt").write_text("not of this run")
    return folder


@pytest.fixture
def project(drawn, tmp_path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "project"))


class Server:
    """A server at work, and a client who knows the token."""

    def __init__(self, review: serve.Review, watched: serving.Watched, session: aiohttp.ClientSession) -> None:
        self.review, self.watched, self.session = review, watched, session
        self.origin = ""
        self.stop = asyncio.Event()
        self.looks = 0

    @property
    def url(self) -> str:
        return f"{self.origin}/{TOKEN}/"

    async def get(self, name: str = "", **headers: str) -> tuple[int, bytes, dict[str, str]]:
        async with self.session.get(self.url + name, headers=headers) as answer:
            return answer.status, await answer.read(), dict(answer.headers)

    async def pick(self, said: Any, **changed: str | None) -> tuple[int, dict[str, Any]]:
        """Pick as the page does, but for the headers that are changed, or left out."""
        headers = {**PICK, "Origin": self.origin, **{name.replace("_", "-"): value for name, value in changed.items()}}
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        sent = {name: value for name, value in headers.items() if value is not None}
        async with self.session.post(self.url + "pick", data=body, headers=sent) as answer:
            return answer.status, await answer.json(content_type=None)

    async def raw(self, path: str, host: str | None = None, method: str = "GET") -> tuple[int, str]:
        """What a request to the letter is answered: no client mends its path."""
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.origin.rpartition(":")[2]))
        name = self.origin.removeprefix("http://") if host is None else host
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = (await asyncio.wait_for(reader.read(), 5)).decode(errors="replace")
        writer.close()
        return int(answer.split()[1]), answer


@asynccontextmanager
async def serving_of(folder: Path, **options: Any) -> AsyncIterator[Server]:
    """Serve the plan of a project, looking often."""
    clock = SystemClock()
    prepared = planning.prepare(str(folder / "plan.yaml"), **CHOICE)
    watched = serving.Watched(prepared, Outputs(folder / "outputs"), CHOICE, report._view, clock)
    async with aiohttp.ClientSession() as session:
        server: Server

        def look() -> serve.Shown:
            server.looks += 1
            return watched.look()

        settings: dict[str, Any] = {"every": 0.02, "look": look, "mark": watched.mark, "pick": watched.pick} | options
        review = serve.Review(folder=watched.folder, first=watched.look(), token=TOKEN, clock=clock, **settings)
        server = Server(review, watched, session)
        ready = asyncio.Event()

        def tell(port: int) -> None:
            server.origin = f"http://127.0.0.1:{port}"
            ready.set()

        task = asyncio.create_task(serve.serve(review, 0, tell, server.stop))
        await asyncio.wait({task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
        try:
            yield server
        finally:
            server.stop.set()
            await asyncio.wait_for(task, 5)


async def until(so: Callable[[], bool]) -> None:
    """Wait until something is so, for five seconds at most."""
    for _ in range(500):
        if so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


async def events(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """What a stream says, one state after the other."""
    async for line in answer.content:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


# ── who may see it ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_without_the_token_there_is_nothing(drawn):
    async with serving_of(drawn) as server:
        assert (await server.get())[0] == 200
        answers = set()
        for path in ("/", "/wrong/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"/{TOKEN}", "//", "/%ff/", "/wrong/events"):
            status, answer = await server.raw(path)
            answers.add(answer.partition("\r\n\r\n")[2])
            assert status == 404, path
        assert len(answers) == 1, "nobody learns how near a guess was"


async def test_only_this_machine_can_reach_it(drawn):
    async with serving_of(drawn) as server:
        assert server.origin.startswith("http://127.0.0.1:")
        port = int(server.origin.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.2", port)


async def test_another_name_for_this_machine_is_refused(drawn):
    async with serving_of(drawn) as server:
        port = server.origin.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}"):
            assert (await server.raw(f"/{TOKEN}/", host))[0] == 200, host
        for host in (f"evil.example:{port}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}", "",
                     f"127.0.0.1:{port}\r\nHost: evil.example"):  # fmt: skip
            status, answer = await server.raw(f"/{TOKEN}/", host)
            assert status in (400, 403), host
            assert "Halden" not in answer


async def test_every_answer_keeps_other_sites_out(drawn):
    async with serving_of(drawn) as server:
        for name, status in (("", 200), ("nothing", 404), ("clips/pour_v001.mp4", 200), ("manifest.json", 200)):
            found, _, headers = await server.get(name, Origin="http://evil.example")
            assert found == status
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
            assert not [key for key in headers if key.lower().startswith("access-control-")]
            assert "no-store" in headers["Cache-Control"] or name.startswith("clips/")


async def test_the_header_and_the_page_have_the_same_policy(drawn):
    async with serving_of(drawn) as server:
        _, page, headers = await server.get()
        policy = headers["Content-Security-Policy"].removesuffix("; frame-ancestors 'none'")
        assert f'content="{policy}"'.replace("'", "&#39;") in page.decode()
        assert "unsafe" not in policy
        assert "file:" not in policy
        assert "connect-src 'self'" in policy


# ── what goes out ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_files_of_the_page_go_out_and_a_part_of_one_too(drawn):
    whole = (drawn / "outputs/plan/animatic/clips/pour_v001.mp4").read_bytes()
    async with serving_of(drawn) as server:
        status, body, headers = await server.get("clips/pour_v001.mp4")
        assert (status, body, headers["Content-Type"]) == (200, whole, "video/mp4")
        status, body, headers = await server.get("clips/pour_v001.mp4", Range="bytes=100-199")
        assert (status, body) == (206, whole[100:200])
        assert headers["Content-Range"] == f"bytes 100-199/{len(whole)}"
        assert (await server.get("clips/pour_v001.mp4", Range=f"bytes={len(whole)}-"))[0] == 416
        for name in ("posters/pour_v001.jpg", "contact-sheet.jpg"):
            status, body, headers = await server.get(name)
            assert (status, body[:2], headers["Content-Type"]) == (200, b"\xff\xd8", "image/jpeg")
        assert [clip["status"] for clip in json.loads((await server.get("manifest.json"))[1])["clips"]] == ["done"] * 3


@pytest.mark.parametrize(
    "name",
    [
        "clips/secret.mp4", "secret.txt", "clips/", "clips", ".lock", "../animatic/clips/pour_v001.mp4",
        "clips/../clips/pour_v001.mp4", "clips//pour_v001.mp4", "./clips/pour_v001.mp4", "clips/./pour_v001.mp4",
        "..%2fanimatic/clips/pour_v001.mp4", "%2e%2e/animatic/clips/pour_v001.mp4", "clips%5cpour_v001.mp4",
        "%252e%252e/%252e%252e/%252e%252e/plan.yaml", "../../../plan.yaml", "..%2f..%2f..%2fplan.yaml",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fplan.yaml", "..%c0%af..%c0%af..%c0%afplan.yaml", "..\\..\\..\\plan.yaml",
        "/etc/passwd", "%2fetc%2fpasswd", "//etc/passwd", "file:///etc/passwd", "clips/pour_v001.mp4%00.txt",
        "clips/pour_v001.mp4/", "CLIPS/pour_v001.mp4", "clips%2f..%2f..%2f..%2f..%2fledger.sqlite", "report.html",
    ],
)  # fmt: skip
async def test_what_is_not_on_the_page_is_not_there(drawn, name):
    async with serving_of(drawn) as server:
        status, answer = await server.raw(f"/{TOKEN}/{name}")
        assert status in (400, 404), answer
        assert "not of this run" not in answer
        assert "scenes:" not in answer


async def test_a_link_in_the_place_of_a_clip_is_not_followed(project):
    run_folder = project / "outputs/plan/animatic"
    async with serving_of(project, every=60) as server:
        clip = run_folder / "clips/pour_v001.mp4"
        clip.unlink()
        clip.symlink_to(project / "plan.yaml")
        assert (await server.get("clips/pour_v001.mp4"))[0] == 404
        (run_folder / "posters").rename(project / "elsewhere")
        (run_folder / "posters").symlink_to(project / "elsewhere")
        assert (await server.get("posters/hook_v001.jpg"))[0] == 404
        (run_folder / "contact-sheet.jpg").unlink()
        assert (await server.get("contact-sheet.jpg"))[0] == 404


async def test_an_outputs_folder_that_is_a_link_is_served(project):
    (project / "outputs").rename(project / "disk")
    (project / "outputs").symlink_to(project / "disk")
    async with serving_of(project) as server:
        assert (await server.get("clips/pour_v001.mp4"))[0] == 200


async def test_nothing_but_a_pick_is_written(drawn):
    async with serving_of(drawn) as server:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            for name in ("", "manifest.json", "events", "clips/pour_v001.mp4"):
                assert (await server.raw(f"/{TOKEN}/{name}", method=method))[0] == 405, (method, name)
        for method in ("GET", "HEAD", "PUT"):
            assert (await server.raw(f"/{TOKEN}/pick", method=method))[0] == 405
    assert not (drawn / "plan.picks.yaml").exists()


# ── picking ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_pick_is_written_and_is_on_the_page_that_comes_next(project):
    async with serving_of(project) as server:
        assert await server.pick({"clip": "hook#2", "undo": False}) == (200, {"clip": "hook#2", "picked": True})
        assert "  hook: 2\n" in (project / "plan.picks.yaml").read_text()
        _, page, _ = await server.get()
        assert b'data-clip="hook#2" aria-pressed="true"' in page
        assert b'data-clip="hook" aria-pressed="false"' in page
        assert (await server.pick({"clip": "pour", "undo": False}))[0] == 200
        assert (await server.pick({"clip": "hook", "undo": False}))[0] == 200
        text = (project / "plan.picks.yaml").read_text()
        assert "picks:\n  hook: 1\n  pour: 1\n" in text
        status, said = await server.pick({"clip": "hook#2", "undo": True})
        assert status == 409
        assert "hook#2 is not picked" in said["error"]
        assert (await server.pick({"clip": "hook", "undo": True}))[0] == 200
        assert "hook" not in (project / "plan.picks.yaml").read_text().partition("picks:")[2]


async def test_two_picks_at_once_are_both_kept(project):
    async with serving_of(project) as server:
        answers = await asyncio.gather(*(server.pick({"clip": clip, "undo": False}) for clip in ("hook#2", "pour")))
        assert [status for status, _ in answers] == [200, 200]
        assert "picks:\n  hook: 2\n  pour: 1\n" in (project / "plan.picks.yaml").read_text()


async def test_a_clip_that_does_not_exist_is_refused_with_a_reason(project):
    async with serving_of(project) as server:
        status, said = await server.pick({"clip": "hok#2", "undo": False})
        assert status == 409
        assert said["error"] == "no clip is called hok#2; nothing was picked"
        assert "hook#2" in said["hint"]
        assert not (project / "plan.picks.yaml").exists()


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"Origin": None}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"X_Storyrun": None}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415),
    ],
    ids=str,
)
async def test_a_pick_that_is_not_from_the_page_is_refused(project, changed, status):
    async with serving_of(project) as server:
        headers = {name.replace("_", "-"): value for name, value in changed.items()}
        assert (await server.pick({"clip": "hook#2", "undo": False}, **headers))[0] == status
    assert not (project / "plan.picks.yaml").exists()


async def test_a_pick_that_is_none_is_refused(project):
    async with serving_of(project) as server:
        bad = [b"", b"{", b"[]", b"\xff", b"[" * 4000, b'{"clip": 1, "undo": false}', b'{"clip": "hook"}',
               b'{"clip": "hook", "undo": "no"}']  # fmt: skip
        for body in bad:
            assert (await server.pick(body))[0] == 400, body
        async with server.session.post(
            server.url + "pick", data=b" " * 5000, headers={**PICK, "Origin": server.origin}
        ) as answer:
            assert answer.status == 413
    assert not (project / "plan.picks.yaml").exists()


# ── live ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_page_that_listens_hears_the_state_at_once_and_every_change(tmp_path):
    folder = tmp_path
    write_plan(folder, pages.PLAN)
    async with serving_of(folder) as server, server.session.get(server.url + "events") as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        told = events(answer)
        first = await anext(told)
        assert (first["totals"]["planned"], first["totals"]["done"], first["trouble"]) == (3, 0, "")
        run = asyncio.create_task(asyncio.to_thread(main, ["run", str(folder / "plan.yaml"), "--quiet"]))
        seen = [first]
        async with asyncio.timeout(20):
            while seen[-1]["totals"]["done"] < 3 or not seen[-1]["finished"]:
                seen.append(await anext(told))
        assert await run == 0
        assert len({each["revision"] for each in seen}) > 2
        assert [each["totals"]["done"] for each in seen] == sorted(each["totals"]["done"] for each in seen)
        _, page, _ = await server.get()
        assert b'href="clips/pour_v001.mp4"' in page
        assert (await server.get("posters/pour_v001.jpg"))[0] == 200


async def test_a_pick_made_elsewhere_is_heard(project):
    async with serving_of(project) as server, server.session.get(server.url + "events") as answer:
        told = events(answer)
        first = await anext(told)
        assert await asyncio.to_thread(main, ["pick", str(project / "plan.yaml"), "hook#2"]) == 0
        async with asyncio.timeout(5):
            while (await anext(told))["revision"] == first["revision"]:
                pass
        assert b'data-clip="hook#2" aria-pressed="true"' in (await server.get())[1]


async def test_a_plan_that_is_broken_leaves_the_page_and_says_so_until_it_is_mended(project):
    plan = project / "plan.yaml"
    good = plan.read_text()
    async with serving_of(project) as server, server.session.get(server.url + "events") as answer:
        told = events(answer)
        first = await anext(told)
        _, page, _ = await server.get()
        plan.write_text(good.replace("takes: 2", "takes: two"))
        async with asyncio.timeout(5):
            while not (state := await anext(told))["trouble"]:
                pass
        assert "plan.yaml:" in state["trouble"]
        assert state["revision"] == first["revision"]
        assert (await server.get())[1] == page
        status, said = await server.pick({"clip": "hook#2", "undo": False})
        assert status == 409
        assert "nothing was changed" in said["error"]
        plan.write_text(good.replace("takes: 2", "takes: 3"))
        async with asyncio.timeout(5):
            while (state := await anext(told))["totals"]["clips"] != 4:
                pass
        assert state["trouble"] == ""
        plan.unlink()
        async with asyncio.timeout(5):
            while "is gone" not in (await anext(told))["trouble"]:
                pass


async def test_where_nothing_changes_nothing_is_made_anew(drawn):
    async with serving_of(drawn) as server:
        marks: list[object] = []

        def mark() -> object:
            marks.append(server.watched.mark())
            return marks[-1]

        server.review._mark = mark
        await until(lambda: len(marks) >= 10)
        assert server.looks <= 1, "the first look of the watch"


async def test_a_bug_in_a_look_is_said_and_is_not_the_end(drawn):
    broken = threading.Event()

    async with serving_of(drawn) as server:
        whole = server.watched.look

        def look() -> serve.Shown:
            if broken.is_set():
                raise ZeroDivisionError("a bug")
            return whole()

        server.review._look = look
        broken.set()
        server.review._mark = lambda: 1
        async with server.session.get(server.url + "events") as answer, asyncio.timeout(5):
            told = events(answer)
            while "ZeroDivisionError" not in (await anext(told))["trouble"]:
                pass
            broken.clear()
            while (await anext(told))["trouble"]:
                pass


async def test_a_silent_stream_says_that_it_is_alive(drawn):
    async with serving_of(drawn, heartbeat=0.05) as server, server.session.get(server.url + "events") as answer:
        async with asyncio.timeout(5):
            while not (await answer.content.readline()).startswith(b": "):
                pass


async def test_streams_are_few_and_one_that_is_closed_makes_room(drawn):
    async with serving_of(drawn) as server:
        open_ones = [await server.session.get(server.url + "events") for _ in range(serve.MOST_STREAMS)]
        assert (await server.get("events"))[0] == 503
        open_ones.pop().close()
        await until(lambda: server.review.streams < serve.MOST_STREAMS)
        assert (await server.get())[0] == 200
        again = await server.session.get(server.url + "events")
        assert again.status == 200
        for each in (again, *open_ones):
            each.close()


async def test_it_ends_at_once_with_streams_open_and_a_file_half_read(project):
    os.truncate(project / "outputs/plan/animatic/clips/pour_v001.mp4", 64 << 20)  # more than any buffer holds
    loop = asyncio.get_running_loop()
    async with serving_of(project) as server:
        streams = [await server.session.get(server.url + "events") for _ in range(3)]
        slow = await server.session.get(server.url + "clips/pour_v001.mp4")
        assert len(await slow.content.read(1000)) == 1000
        start = loop.time()
        server.stop.set()
        for each in streams:
            await asyncio.wait_for(each.read(), 5)
    slow.close()
    assert loop.time() - start < 3


# ── the verb ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_page_is_served_and_which_one_is_asked_where_there_are_several(drawn):
    prepared = planning.prepare(str(drawn / "plan.yaml"), **CHOICE)
    other = planning.without_plan(drawn / "other.yaml", "dashscope", drawn / "outputs", None)
    assert serving.one([prepared], None) is prepared
    assert serving.one([other, prepared], "animatic") is prepared
    with pytest.raises(UsageError, match="plan on animatic, other on dashscope"):
        serving.one([prepared, other], None)


def test_a_taken_port_is_said(drawn, capsys):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["report", str(drawn / "plan.yaml"), "--serve", "--port", str(port)]) == 2
    assert f"port {port} cannot be had" in capsys.readouterr().err


def test_a_port_without_a_server_is_refused(drawn, capsys):
    assert main(["report", str(drawn / "plan.yaml"), "--port", "8000"]) == 2
    assert "--port goes with --serve" in capsys.readouterr().err


def test_a_broken_plan_is_told_before_anything_is_served(project, capsys):
    (project / "plan.yaml").write_text("version: 1\nscenes: []\n")
    assert main(["report", str(project / "plan.yaml"), "--serve"]) == 2
    assert capsys.readouterr().out == ""
