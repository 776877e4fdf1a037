"""A provider, a gateway, or whoever owns the DNS may answer anything: each entry of the catalogue, with its id.

How each client behaves on the wire is in test_http, test_http_downloads and test_provider_faults; here every entry is
brought to its end: a state, a sentence, a file that is not there.
"""

from __future__ import annotations

import contextlib
import gzip
import inspect
import json
import random
import re
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from storyrun import http, media, providers, retry
from storyrun.errors import FetchFailed, LostAnswer, MissedPoll, ProviderError, UsageError
from storyrun.http import ApiClient, DownloadClient, Secret, api, base_url, without_secrets
from storyrun.http.addresses import allowed_address
from storyrun.records import ErrorClass
from storyrun.retry import Step
from storyrun.sandbox import PROVIDERS
from tests.clouds import ATTEMPT, CLOUDS, KEY, MODELS, TASKS, Reply, body_of, made, ordered, polled, serving, task_of
from tests.fakes import FakeClock, FakeProvider, Story, clip_bytes
from tests.rehearsal import opening
from tests.stage import Stage as Play
from tests.stage import jobs_of, power_stays_on
from tests.test_http_downloads import Names, fetch, read
from tests.wire import Wire, answer, endless, response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage

__all__ = ["power_stays_on"]

ROOT = Path(__file__).parent.parent


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "clip.part"


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


def there(part: Path) -> bool:
    return part.exists()


def beside(part: Path) -> list[str]:
    """The files in a clip's folder."""
    return [each.name for each in part.parent.iterdir()]


def drop(part: Path) -> None:
    part.unlink()


def done(name: str, url: Any) -> Reply:
    """The answer to a poll that says where the clip is."""
    body: dict[str, Any] = {"id": TASKS[name], "task_id": TASKS[name], "status": "completed", "video_url": url}
    body["result"] = {"data": [{"url": url}]}
    body["output"] = {"task_id": TASKS[name], "task_status": "SUCCEEDED", "video_url": url}
    return Reply(200, body)


# ── where a result may be ────────────────────────────────────────────────────────────────────────────────────────────

METADATA = [
    "169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.16689662",
    "0xa9.254.0251.254",
    "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[::169.254.169.254]", "[64:ff9b::a9fe:a9fe]",
    "[2002:a9fe:a9fe::]",
    "①⑥⑨.②⑤④.①⑥⑨.②⑤④", "169。254。169。254", "169.254.169.254.", "100.100.100.200", "10.0.0.1", "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1", "127.0.0.1", "127.1", "0", "0.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::]",
    "[fe80::1]",
    "[fd00:ec2::254]", "224.0.0.1", "255.255.255.255",
]  # fmt: skip


@pytest.mark.parametrize("name", CLOUDS)
async def test_r01_a_result_on_a_private_address_is_not_fetched_however_it_is_spelt(
    name: str, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever dials out all the same, fails in `conftest`. Names that are addresses resolve as the system does it."""
    monkeypatch.setattr(http.downloads, "CONNECT", 2.0)
    for host in METADATA:
        for scheme in ("https", "http"):
            status = await polled(name, done(name, f"{scheme}://{host}/clip.mp4"))
            if status.asset is None:
                continue
            downloads = DownloadClient(loopback=False)
            with pytest.raises(FetchFailed):
                await downloads.fetch(status.asset, part)
            await downloads.aclose()
            assert not there(part), host


class Rebinding(Names):
    """A name that is public when it is looked at and private when it is used."""

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> Any:
        found = await super().resolve(host, port, family)
        self.addresses = ("169.254.169.254",)
        return found


async def test_r01_the_address_that_was_checked_is_the_one_that_is_dialled(part: Path) -> None:
    async with Wire(answer(b"x", 302, Location="https://cdn.example:1/a.mp4")) as wire:
        names = Rebinding("10.0.0.1", "169.254.169.254")
        assert await fetch(f"http://127.0.0.1:{wire.port}/", part, resolver=names) != ""
        assert names.asked == ["cdn.example"]
    assert not allowed_address("10.0.0.1", loopback=True)
    assert not there(part)


URLS = [
    "file:///etc/passwd", "data:video/mp4;base64,AAAA", "ftp://example.com/a.mp4", "gopher://example.com/",
    "javascript:1",
    "https://user:word@example.com/a.mp4", "https://example.com@127.0.0.1/", "https://@example.com/",
    "//example.com/a.mp4",
    "https://example.com:0/", "https://example.com:99999/", "https://example.com:port/", "https://", "https:/a",
    "https://[::1",
    "https://exa mple.com/", "https://example.com\r\nX: y/", "http://example.com/a.mp4", "\\\\host\\share",
    "/etc/passwd", "", " ",
    "https://a\x00b/", "https://" + "a" * 300 + "/", "s3://bucket/key", "oss://bucket/key",
]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
async def test_r02_only_a_plain_https_url_is_a_result(url: str, part: Path) -> None:
    status = await polled("dashscope", done("dashscope", url))
    if status.asset is not None:
        assert await fetch(status.asset, part, loopback=False, resolver=Names("10.0.0.1")) != ""
    assert await fetch(url, part, loopback=False, resolver=Names("10.0.0.1")) != ""
    assert not there(part)


@pytest.mark.parametrize("name", CLOUDS)
async def test_r03_r04_the_key_goes_to_the_provider_alone_and_over_no_redirect(name: str, part: Path) -> None:
    clip = clip_bytes()
    async with (
        Wire(answer(clip)) as far,
        Wire(answer(b"", 302, Location=far.url + "/b?Signature=x")) as near,
        serving() as server,
    ):
        server.plan(done(name, near.url + "/a.mp4"))
        server.otherwise = Reply(307, "", {"Location": far.url + "/create"})
        provider = made(name, server.url)
        task = task_of(TASKS[name], MODELS[name])
        await provider.fetch(task, await provider.poll(task), part)
        answered = await provider.submit(body_of(name), ATTEMPT)
        with pytest.raises(ProviderError):
            provider.read(answered)
        with pytest.raises(MissedPoll):
            await provider.poll(task)
        await provider.aclose()
        assert all(asked.headers["Authorization"] == f"Bearer {KEY}" for asked in server.asked)
    assert [heard.target for heard in far.heard] == ["/b?Signature=x"]
    for heard in (*near.heard, *far.heard):
        assert KEY not in f"{heard.headers}{heard.target}"
        assert heard.headers.keys() <= {"host", "accept", "accept-encoding", "user-agent"}
    assert read(part) == clip


# ── too much ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("coding", "bomb"),
    [("gzip", gzip.compress(bytes(64 << 20), 1)), ("deflate", zlib.compress(bytes(64 << 20), 1)),
     ("gzip", gzip.compress(gzip.compress(bytes(64 << 20), 1), 1))],
    ids=["gzip", "deflate", "gzip in gzip"],
)  # fmt: skip
async def test_r05_a_bomb_goes_off_nowhere(coding: str, bomb: bytes, part: Path) -> None:
    async with Wire(answer(bomb, Content_Encoding=coding)) as wire:
        client = ApiClient(wire.url, Secret(KEY))
        with contextlib.suppress(ProviderError):
            assert len((await client.create("/", {})).body) <= api.MAX_BODY
        with contextlib.suppress(ProviderError):
            assert len((await client.ask("/"))[2].body) <= api.MAX_BODY
        with contextlib.suppress(ProviderError):
            assert (
                len((await client.upload(wire.url + "/u", aiohttp.FormData({"a": "b"}), with_key=True))[2])
                <= api.MAX_BODY
            )
        await client.aclose()
        assert "compressed" in await fetch(wire.url, part)
    assert not read(part)


async def test_r06_a_body_without_end_ends(part: Path) -> None:
    async with Wire(endless(response(length=-1), b"a" * 65536)) as wire:
        assert "larger than 300000 bytes" in await fetch(wire.url, part, max_bytes=300_000)
        provider = made("tokenhub", wire.url)
        answered = await provider.submit(body_of("tokenhub"), ATTEMPT)
        await provider.aclose()
        with pytest.raises(LostAnswer):
            provider.read(answered)
    assert len(read(part) or b"") < 2_000_000
    assert http.downloads.MAX_CLIP == 2 << 30


# ── no clip ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def mutants(clip: bytes, count: int) -> Iterator[bytes]:
    """A clip with wrong box sizes, cut, grown, shuffled, and with bytes changed."""
    chance = random.Random(7)
    boxes = [
        found.start() - 4 for found in re.finditer(b"ftyp|moov|mvhd|trak|tkhd|mdia|stbl|stsz|stco|stsc|stts|mdat", clip)
    ]
    sizes = [0, 1, 7, 8, 9, 0x7FFFFFFF, 0xFFFFFFFF, len(clip) + 1]
    for number in range(count):
        data = bytearray(clip)
        match number % 5:
            case 0:
                at = chance.choice(boxes)
                data[at : at + 4] = chance.choice(sizes).to_bytes(4, "big")
            case 1:
                del data[chance.randrange(len(data)) :]
            case 2:
                for _ in range(chance.randrange(1, 40)):
                    data[chance.randrange(len(data))] = chance.randrange(256)
            case 3:
                at = chance.choice(boxes)
                data[at + 4 : at + 8] = chance.choice([b"free", b"moov", b"mdat", b"\0\0\0\0", b"uuid"])
            case _:
                low, high = sorted(chance.randrange(len(data)) for _ in range(2))
                data[low:high] = data[low:high] * chance.choice([0, 2]) if number % 2 else bytes(high - low)
        yield bytes(data)


def test_r07_no_damaged_clip_crashes_or_hangs_the_probe(tmp_path: Path) -> None:
    clip = clip_bytes(sound=True)
    path = tmp_path / "clip.mp4"
    refused: list[str] = []
    begun = time.process_time()
    for data in mutants(clip, 200):
        path.write_bytes(data)
        try:
            info = media.probe(path)
        except FetchFailed as error:
            refused.append(error.sentence)
        else:
            assert 0 < info.duration < 3600
            assert (info.width, info.height) != (0, 0)
    assert len(refused) > 100
    assert all(map(str.isprintable, refused))
    assert time.process_time() - begun < 30


@pytest.mark.parametrize(
    "junk",
    [b"", b"<html>Sign in</html>", b'{"error": "expired"}', b"\0" * 5000, clip_bytes()[:-200],
    b"\0\0\0\x18ftypisom" + b"\0" * 12,
     b"\0\0\0\x01ftyp" + b"\xff" * 8 + b"moov", b"ID3" + b"\0" * 500, b"GIF89a" + b"\0" * 500],
    ids=["nothing", "HTML", "JSON", "zeros", "cut", "only ftyp", "a size of 2^64", "a sound", "a picture"],
)  # fmt: skip
def test_r07_what_is_no_whole_video_is_not_done_and_is_not_bought_again(tmp_path: Path, junk: bytes) -> None:
    play = Play(tmp_path, FakeProvider({"a": [Story(fetches=[junk])]}))
    play.play(jobs_of("a"))
    assert play.states() == {"a": "ready"}
    assert play.clips() == []
    assert play.provider.calls("create") == 1


HEADERS: dict[str, Any] = {
    "Content_Disposition": 'attachment; filename="../../../pwned.sh"',
    "Content_Location": "/etc/passwd",
    "X_Filename": "../pwned",
    "ETag": '"../../pwned"',
}


async def test_r08_no_name_of_the_servers_becomes_one_of_ours(part: Path) -> None:
    async with Wire(answer(clip_bytes(), **HEADERS)) as wire:
        for path in ("/../../pwned.mp4", "/%2e%2e%2fpwned.mp4", "/a.mp4;rm%20-rf", "/" + "x" * 900):
            assert await fetch(wire.url + path, part) == ""
            assert beside(part) == [part.name]
            drop(part)
    assert beside(part) == []


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

NONSENSE: dict[str, Any] = {
    "10 MB of words": json.dumps({"code": "X", "message": "no " * 3_500_000}),
    "2 MB of a code": json.dumps({"code": "x" * 2_000_000}),
    "deep": '{"output":' * 100_000,
    "deep and closed": '{"output":' * 5000 + "1" + "}" * 5000,
    "a list of lists": "[" * 100_000 + "]" * 100_000,
    "a number of 5000 digits": '{"output": {"task_id": ' + "9" * 5000 + "}}",
    "a large exponent": '{"output": {"task_id": 1e999999}}',
    "NaN": '{"output": {"task_id": NaN, "task_status": Infinity}, "code": -Infinity}',
    "two ids": '{"output": {"task_id": "", "task_id": null}}',
    "Latin-1": '{"message": "gr\xfc\xdfe"}'.encode("latin-1"),
    "UTF-16": '{"message": "hi"}'.encode("utf-16"),
    "half a surrogate": '{"output": {"task_id": "\\ud800"}, "message": "\\udfff"}',
    "NUL": '{"output": {"task_id": "a\\u0000b"}}',
    "everything is a list": json.dumps({key: [[]] for key in ("output", "data", "error", "code", "message", "usage",
    "id")}),
    "everything is a number": json.dumps(dict.fromkeys(("output", "data", "error", "code", "message", "status"), 7)),
    "everything is true": json.dumps(dict.fromkeys(("output", "data", "error", "code", "message", "usage",
    "status"), True)),
    "everything is a map": json.dumps({key: {"a": {}} for key in ("output", "data", "error", "code", "message",
    "status")}),
    "an id in a map": '{"output": {"task_id": {"$oid": "x"}}}',
    "a terminal's commands": json.dumps({"code": "\x1b[2J", "message": "\x1b]52;c;aGk=\x07\u202e"}),
}  # fmt: skip


@pytest.mark.parametrize("said", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("name", CLOUDS)
async def test_r09_nonsense_is_neither_a_crash_nor_a_refusal_nor_a_verdict(name: str, said: Any) -> None:
    with pytest.raises(LostAnswer) as lost:
        await ordered(name, Reply(200, said))
    assert len(str(lost.value)) < 2000
    assert str(lost.value).isprintable()
    missed, status = "", None
    try:
        status = await polled(name, Reply(200, said))
    except MissedPoll as error:
        missed = str(error)
    assert len(missed) < 2000
    assert missed.isprintable()
    if status is not None:
        assert status.state in ("running", "waiting", "missing")
        json.dumps(dict(status.usage), allow_nan=False)


WISHES = [
    "99999999",
    "-1",
    "0",
    "1e9",
    "soon",
    "",
    "9" * 400,
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "NaN",
]


@pytest.mark.parametrize("wish", WISHES)
async def test_r10_a_wish_to_wait_is_kept_within_a_second_and_ten_minutes(wish: str) -> None:
    async with Wire(answer(b'{"code": "Throttling"}', 429, Retry_After=wish)) as wire:
        client = ApiClient(wire.url, Secret(KEY))
        said = (await client.create("/", {})).retry_after
        asked = (await client.ask("/"))[2].retry_after
        await client.aclose()
    for step in (Step.REFUSED, Step.POLL, Step.UPLOAD):
        for seconds in (said, asked):
            advice = retry.advise(step, 1, ErrorClass.RATE_LIMIT, seconds)
            assert advice.wait is not None
            assert 1 <= advice.wait <= 600


@pytest.mark.parametrize("name", PROVIDERS)
def test_r11_a_refusal_that_repeats_the_key_is_kept_without_it(cloud: Callable[..., Stage], name: str) -> None:
    """More of this in test_secrets."""
    stage = cloud(name, faults={"echo": "1"})
    assert stage.run().code == 1
    assert "***" in str(stage.manifest["clips"][0]["error"])
    assert without_secrets("Bearer sandbox-key", Secret("sandbox-key")) == "Bearer ***"


@pytest.mark.parametrize("name", CLOUDS)
async def test_r12_an_address_in_an_answer_is_not_where_we_ask(name: str) -> None:
    """Polls go to the base URL and the task's id, whatever else the answer to an order names."""
    async with Wire(answer(b"{}")) as elsewhere, serving() as server:
        named = dict.fromkeys(
            ("status_url", "response_url", "poll_url", "cancel_url", "url", "href"), elsewhere.url + "/x"
        )
        body = {**named, "id": TASKS[name], "urls": {"get": elsewhere.url}, "output": {"task_id": TASKS[name], **named}}
        server.plan(Reply(200, body, {"Location": elsewhere.url, "Link": f"<{elsewhere.url}>; rel=next"}))
        server.plan(done(name, None))
        provider = made(name, server.url)
        accepted = provider.read(await provider.submit(body_of(name), ATTEMPT))
        await provider.poll(task_of(accepted.task_id, MODELS[name]))
        await provider.aclose()
        assert TASKS[name] in server.asked[1].path
    assert elsewhere.connections == 0


@pytest.mark.parametrize("name", CLOUDS)
@pytest.mark.parametrize(
    "task_id", ["../../v1/balance", "a/../b", "x?y=1", "x#y", "https://evil.example/", "%2e%2e", "a b", "é"]
)
async def test_r12_a_task_id_is_one_part_of_one_path(name: str, task_id: str) -> None:
    """Also one that a person typed (`settle --adopt`)."""
    async with serving() as server:
        server.otherwise = Reply(404, "{}")
        provider = made(name, server.url)
        with contextlib.suppress(ProviderError):
            await provider.poll(task_of(task_id, MODELS[name]))
        await provider.aclose()
        (asked,) = server.asked
        assert asked.path.count("/") == {"tokenhub": 4, "toapis": 4, "dashscope": 4}[name]
        assert set(asked.query) <= {"model"}


@pytest.mark.parametrize("name", CLOUDS)
def test_r13_tls_cannot_be_switched_off(name: str) -> None:
    settings = providers.ENVIRONMENTS[name]
    for base in ("http://api.example.com", "http://10.0.0.1", "http://127.0.0.1.evil.example", "http://0.0.0.0"):
        with pytest.raises(UsageError, match="in the open"):
            providers.build(name, {settings.key: KEY, settings.base: base}, lambda _: None)
    assert base_url("http://127.0.0.1:8000", ()) == "http://127.0.0.1:8000"
    for client in (ApiClient, DownloadClient):
        assert not set(inspect.signature(client).parameters) & {"ssl", "verify", "insecure", "trust_env", "proxy"}
    for file in (ROOT / "storyrun").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"ssl\s*=\s*False|verify_ssl|check_hostname|CERT_NONE|trust_env\s*=\s*True|_create_unverified", text
        )


def test_r14_nobody_calls_us_back() -> None:
    """There is no webhook: no request asks for one, and nothing listens but the sandbox and the page for people."""
    for name in CLOUDS:
        assert not re.search(r"callback|webhook|notify", json.dumps(body_of(name)), re.IGNORECASE)
    listening = {
        str(file.relative_to(ROOT / "storyrun"))
        for file in (ROOT / "storyrun").rglob("*.py")
        if re.search(r"start_server|TCPSite|\.listen\(|create_server|HTTPServer", file.read_text(encoding="utf-8"))
    }
    assert {name for name in listening if not name.startswith("sandbox/")} == {"serve.py"}


def test_the_provider_is_asked_about_a_lost_order_and_never_sent_it_again(tmp_path: Path) -> None:
    play = Play(
        tmp_path,
        FakeProvider({"a": [Story(LostAnswer("nonsense", kind=ErrorClass.PROVIDER))]}, clock=FakeClock()),
    )
    play.play(jobs_of("a"))
    play.play(jobs_of("a"))
    assert play.states() == {"a": "unknown"}
    assert (play.provider.calls("create"), play.provider.calls("find") >= 2) == (1, True)
