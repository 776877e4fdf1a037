"""One door: whatever is bought goes through one function, once, from a row that is on the disk. The code is read here,
and the wire is listened to.
"""

from __future__ import annotations

import ast
import asyncio
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from storyrun.errors import LedgerError, LostAnswer, NotSent, Rejected
from storyrun.http import api
from storyrun.records import State
from tests.clouds import ATTEMPT, CLOUDS, CREATE, MODELS, body_of, made
from tests.fakes import FakeProvider, Story, lost
from tests.stage import MortalLedger, Stage, jobs_of, power_stays_on, until
from tests.test_http import LOST, TASK
from tests.wire import Play, Wire, answer, response, send

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["power_stays_on"]

PACKAGE = Path(__file__).parent.parent / "storyrun"


# ── the code ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Call(NamedTuple):
    """A call in the package: of which name, in which file and function, on which object."""

    name: str
    file: str
    function: str
    on: str
    node: ast.Call


def sources() -> dict[str, ast.Module]:
    """Every file of the package but the sandbox, which is a provider and buys nothing."""
    return {
        str(file.relative_to(PACKAGE)): ast.parse(file.read_text(encoding="utf-8"))
        for file in sorted(PACKAGE.rglob("*.py"))
        if "sandbox" not in file.parts
    }


SOURCES = sources()


@cache
def all_calls() -> list[Call]:
    """Every call of a method, in every function."""
    return [
        Call(node.func.attr, file, function.name, ast.unparse(node.func.value), node)
        for file, tree in SOURCES.items()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]


def calls(*names: str) -> Iterator[Call]:
    """Every call of a method of one of these names."""
    return (call for call in all_calls() if call.name in names)


def function(file: str, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef:
    """The one function of this name in a file."""
    (found,) = (
        node
        for node in ast.walk(SOURCES[file])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name
    )
    return found


def places(*names: str) -> list[tuple[str, str, str]]:
    return [(call.file, call.function, f"{call.on}.{call.name}") for call in calls(*names)]


POSTS = {
    ("http/api.py", "create", "self._creates.post"): "the create itself",
    ("http/api.py", "ask", "self._questions.request"): "GET unless told otherwise, see ASKED_BY_POST",
    ("http/api.py", "upload", "session.post"): "sends a file to where orders are not taken; a file alone buys nothing",
    ("http/downloads.py", "fetch", "self._open().get"): "no key, no body",
}
"""All that is ever sent over HTTP."""

NOT_HTTP = {
    "provider.request": "the body",
    "build(name, {}, lambda _: None).request": "the body of a preview",
    "fault.put": "a place in a text",
    "self.put": "a place in a text",
}
"""Methods of the same names that have nothing to do with it."""

ASKED_BY_POST = {("providers/dashscope.py", "cancel"): "ends a task that is bought; a person asked for it"}

SENDERS = ("post", "put", "patch", "delete", "request", "_request", "options", "ws_connect")


def test_one_call_in_the_whole_program_buys() -> None:
    threads = ("self._threads().submit", "self._pool.submit")
    submits = [place for place in places("submit") if place[2] not in threads]
    assert submits == [("runner/orders.py", "_create", "provider.submit")]
    assert [place for place in places("create") if "_client" in place[2]] == [
        ("providers/cloud.py", "submit", "self._client.create")
    ]


def test_nothing_else_is_sent_but_what_is_known_to_buy_nothing() -> None:
    """A new line that sends anything has to say here why it buys nothing."""
    sent = set(places(*SENDERS))
    assert {place[2] for place in sent - set(POSTS)} == set(NOT_HTTP)
    assert set(POSTS) - sent == {("http/downloads.py", "fetch", "self._open().get")}
    by_post = {
        (call.file, call.function) for call in calls("ask") for keyword in call.node.keywords if keyword.arg == "method"
    }
    assert by_post == set(ASKED_BY_POST)


def test_every_request_has_its_redirects_off() -> None:
    sent = [call for call in calls(*SENDERS, "get") if (call.file, call.function, f"{call.on}.{call.name}") in POSTS]
    assert len(sent) == len(POSTS)
    for call in sent:
        (followed,) = (each.value for each in call.node.keywords if each.arg == "allow_redirects")
        assert ast.unparse(followed) == "False", call.function


def test_the_door_opens_on_a_row_that_is_written_and_has_no_loop_in_it() -> None:
    door = function("runner/orders.py", "_create")
    lines = {
        ast.unparse(node.func): node.lineno
        for node in ast.walk(door)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("ledger.order", "provider.submit")
    }
    assert lines["ledger.order"] < lines["provider.submit"]
    way = [door, function("runner/orders.py", "_take_turn"), function("providers/cloud.py", "submit")]
    for each in [*way, function("http/api.py", "create")]:
        loops = [node for node in ast.walk(each) if isinstance(node, ast.For | ast.AsyncFor | ast.While)]
        assert (each.name, loops, each.decorator_list) == (each.name, [], [])
    assert [place[:2] for place in places("_create")] == [("runner/orders.py", "_take_turn")]
    assert [place[:2] for place in places("_take_turn")] == [("runner/orders.py", "order")]


def test_a_provider_does_not_reach_around_the_door() -> None:
    for name in ("tokenhub", "toapis", "dashscope"):
        assert "submit" not in {
            node.name for node in ast.walk(SOURCES[f"providers/{name}.py"]) if isinstance(node, ast.AsyncFunctionDef)
        }


FORBIDDEN = (
    "dashscope openai volcenginesdkarkruntime tencentcloud replicate fal_client requests httpx urllib3 "
    "tenacity backoff retrying retry aiohttp_retry stamina pycurl http.client urllib.request"
).split()
"""N-14: SDKs that send an order again by themselves, and other ways to the network than the one that is watched."""


def test_n14_no_vendor_sdk_no_retry_library_and_no_second_way_to_the_network() -> None:
    imported = {
        (file, name)
        for file, tree in SOURCES.items()
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    }
    assert {(file, name) for file, name in imported if name in FORBIDDEN or name.split(".")[0] in FORBIDDEN} == set()
    dialled = {file for file, name in imported if name == "aiohttp"}
    uploads = {"providers/dashscope.py", "providers/toapis.py"}  # forms only
    answers = {"serve.py"}  # a server on this machine: it answers and asks nobody
    assert {file for file in dialled if not file.startswith("http/")} == uploads | answers
    assert {name for file, name in imported if file in answers and name.startswith("aiohttp.")} == {"aiohttp.web"}
    for file in uploads:
        assert set(_attributes(SOURCES[file], "aiohttp")) == {"FormData"}


def _attributes(tree: ast.Module, of: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == of:
            yield node.attr


# ── the wire ─────────────────────────────────────────────────────────────────────────────────────────────────────────

WHATEVER: dict[str, Play] = {
    **{
        name: LOST[name]
        for name in (
            "reset after the request was read",
            "closed after the request was read",
            "no answer in time",
            "half a header",
            "a body that is cut",
            "a body that is reset",
            "no HTTP at all",
        )
    },
    "a task": answer(TASK),
    "too many": answer(b'{"code": "Throttling", "message": "slow down"}', 429, Retry_After="0"),
    "not now": answer(b"", 503, Retry_After="0"),
    "a gateway that timed out": answer(b"<html>504</html>", 504),
    "broken": answer(b'{"code": "InternalError"}', 500),
    "go elsewhere": answer(b"", 307, Location="/again"),
    "go elsewhere for good": answer(b"", 308, Location="/again"),
    "authenticate": answer(b"", 401, WWW_Authenticate="Basic realm=x"),
    "a proxy wants to know you": answer(b"", 407, Proxy_Authenticate="Basic realm=x"),
    "go on, then nothing": send(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints, then a reset": send(b"HTTP/1.1 103 Early Hints\r\n\r\n", then="reset"),
    "please upgrade": send(response(b"", 426, Upgrade="h2c", Connection="Upgrade")),
    "misdirected": answer(b"", 421),
    "too early": answer(b"", 425),
}


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize("play", WHATEVER.values(), ids=WHATEVER)
async def test_one_submit_is_one_post_whatever_comes_back(
    name: str, play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P-01, P-02, N-02 to N-06: the next word belongs to the ledger, not to a client that tries again."""
    monkeypatch.setattr(api, "CREATE_READ", 0.1)
    async with Wire(play) as wire:
        provider = made(name, wire.url)
        try:
            provider.read(await provider.submit(body_of(name), ATTEMPT))
        except (LostAnswer, Rejected, NotSent) as error:
            assert not isinstance(error, NotSent), "it was heard"  # noqa: PT017
        finally:
            await provider.aclose()
        assert [(heard.method, heard.target) for heard in wire.heard] == [("POST", CREATE[name])]
        assert wire.connections == 1


@pytest.mark.parametrize("name", CLOUDS)
async def test_n05_each_order_has_a_connection_of_its_own(name: str) -> None:
    async with Wire(answer(TASK)) as wire:
        provider = made(name, wire.url)
        for _ in range(3):
            await provider.submit(body_of(name), ATTEMPT)
        await provider.aclose()
        assert (len(wire.heard), wire.connections) == (3, 3)


@pytest.mark.parametrize("name", CLOUDS)
async def test_an_order_that_is_given_up_is_not_sent_again(name: str) -> None:
    """F-07: a timeout around it, as somebody might write one."""
    async with Wire(LOST["no answer in time"]) as wire:
        provider = made(name, wire.url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(provider.submit(body_of(name), ATTEMPT), 0.1)
        await provider.aclose()
        assert len(wire.heard) == 1
        assert MODELS[name] in wire.heard[0].body.decode()


# ── the runner ───────────────────────────────────────────────────────────────────────────────────────────────────────


def stage(root: Path, stories: dict[str, list[Story]], **provider: Any) -> Stage:
    return Stage(root, FakeProvider(stories, **provider))


def test_f07_creates_in_flight_end_and_are_recorded_though_a_sibling_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "a b c d e"
    s = stage(tmp_path, {name: [Story()] for name in names.split()}, create_takes=60.0)
    move = MortalLedger.move
    in_flight: list[int] = []

    def broken(self: MortalLedger, attempt_id: str, to: State, **what: Any) -> Any:
        if to is State.READY and not in_flight:
            in_flight.append(s.provider.at_once["create"])
            raise LedgerError("the disk is full")
        return move(self, attempt_id, to, **what)

    monkeypatch.setattr(MortalLedger, "move", broken)
    with pytest.raises(LedgerError, match="disk is full"):
        s.play(jobs_of(names), concurrency=9)
    assert in_flight == [4]
    assert s.provider.at_once["create"] == 0
    assert s.states() == dict.fromkeys(names.split(), "accepted")
    assert {attempt.task_id for attempt in s.attempts()} == set(s.provider.tasks)
    s.play(jobs_of(names))
    assert set(s.states().values()) == {"done"}
    assert set(s.provider.booked().values()) == {1}


def test_f07_an_order_that_is_itself_torn_down_is_unclear_and_not_sent_again(tmp_path: Path) -> None:
    """Cancelled, and while it waits for its creates cancelled again: like a second Ctrl-C."""
    s = stage(tmp_path, {"a": [Story()]}, create_takes=60.0)

    async def torn_down() -> None:
        running = asyncio.ensure_future(s.perform(jobs_of("a")))
        await until(lambda: s.provider.at_once["create"])
        for _ in range(3):
            running.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        await running

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(torn_down())
    s.play(jobs_of("a"))
    assert s.states() == {"a": "unknown"}
    assert s.provider.calls("create") == 1


@pytest.mark.parametrize(("good", "most"), [(0, 3), (1, 6), (30, 6)])
def test_n08_when_every_answer_is_lost_five_hundred_clips_cost_a_handful_of_doubts(
    tmp_path: Path, good: int, most: int
) -> None:
    names = [f"c{number:03}" for number in range(500)]
    stories = {name: [Story(lost() if n >= good else None, booked=True)] for n, name in enumerate(names)}
    s = stage(tmp_path, stories, create_takes=1.0)
    outcome = s.play(jobs_of(" ".join(names)), concurrency=500)
    assert "brought no usable answer" in outcome.stopped
    assert s.provider.calls("create") <= good + most
    assert 3 <= list(s.states().values()).count("unknown") <= most
    assert s.play(jobs_of(" ".join(names)), concurrency=500).stopped
    assert set(s.provider.booked().values()) == {1}
