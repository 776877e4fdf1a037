"""What the client with the key makes of everything that can happen on the way, and that a create is sent once."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import ssl
import threading
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from storyrun.errors import MissedPoll, ProviderError, UsageError
from storyrun.http import ApiClient, Secret, api
from storyrun.records import ErrorClass
from tests.wire import Play, Wire, answer, drip, endless, reset, response, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = Secret("sk-canary-123456")
BODY = {"model": "wan2.7-t2v", "input": {"prompt": "ein Fuß"}}
TASK = b'{"output": {"task_id": "t-1"}}'


@contextlib.asynccontextmanager
async def client(base: str) -> AsyncIterator[ApiClient]:
    made = ApiClient(base, KEY)
    try:
        yield made
    finally:
        await made.aclose()


async def create(base: str) -> tuple[str, Any]:
    """What a create comes to: the name of what it raised and the error, or `answer` and the answer."""
    async with client(base) as made:
        try:
            return "answer", await made.create("/v1/create", BODY)
        except ProviderError as error:
            return type(error).__name__, error


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become hundredths."""
    monkeypatch.setattr(api, "CONNECT", 0.15)
    monkeypatch.setattr(api, "READ", 0.15)
    monkeypatch.setattr(api, "CREATE_READ", 0.15)


# ── nothing left: NotSent ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_refused_connection_is_not_sent() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, and nobody listens
        outcome, error = await create(f"http://127.0.0.1:{reserved.getsockname()[1]}")
    assert outcome == "NotSent"
    assert error.kind is ErrorClass.NETWORK
    assert str(error).startswith("could not reach 127.0.0.1:")


async def test_a_host_without_an_address_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    assert (await create("https://api.invalid"))[0] == "NotSent"


@pytest.mark.usefixtures("impatient")
async def test_a_resolver_that_never_answers_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: done.wait(5))
    try:
        assert (await create("https://api.invalid"))[0] == "NotSent"
    finally:
        done.set()


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_nobody_accepts_is_not_sent() -> None:
    with socket.socket() as full, contextlib.ExitStack() as queue:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # more than the queue holds: the next one is left standing
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        assert (await create(f"http://127.0.0.1:{full.getsockname()[1]}"))[0] == "NotSent"


@pytest.mark.usefixtures("impatient")
async def test_a_tls_handshake_that_hangs_is_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert (await create(f"https://127.0.0.1:{silent.getsockname()[1]}"))[0] == "NotSent"


async def test_something_that_speaks_no_tls_is_not_sent() -> None:
    async with Wire(answer(TASK), on_connect=lambda writer: writer.write(b"220 mail.example ESMTP\r\n")) as wire:
        assert (await create(wire.url.replace("http:", "https:")))[0] == "NotSent"
    assert wire.heard == []


async def test_a_certificate_that_nobody_trusts_is_not_sent() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(__file__).with_name("nobody_trusts.pem"))
    async with Wire(answer(TASK), tls=context) as wire:
        assert (await create(wire.url.replace("http:", "https:")))[0] == "NotSent"
    assert wire.heard == []


async def test_a_host_that_only_looks_like_an_address_is_not_sent() -> None:
    assert (await create("https://2130706433"))[0] == "NotSent"


# ── it may have been bought: LostAnswer ──────────────────────────────────────────────────────────────────────────────

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1e\r\n" + TASK + b"\r\n"

LOST = {
    "reset after the request was read": send(b"", then="reset"),
    "closed after the request was read": send(b""),
    "no answer in time": send(b"", then="hold"),
    "half a header": send(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "half a header, then silence": send(b"HTTP/1.1 200 OK\r\nContent-Le", then="hold"),
    "no HTTP at all": send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "a header without end": endless(b"HTTP/1.1 200 OK\r\n", b"X-Pad: " + b"y" * 4000 + b"\r\n"),
    "a line without end": endless(b"HTTP/1.1 200 OK\r\nX-Pad: ", b"y" * 4000),
    "a body that is cut": send(response(TASK, length=100)),
    "a body that is reset": send(response(TASK, length=100), then="reset"),
    "a body that stops": send(response(TASK, length=100), then="hold"),
    "chunks that are cut": send(CHUNKED),
    "chunks that are none": send(CHUNKED + b"zz\r\n"),
    "two lengths": send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "no gzip inside": send(response(b"not gzip", Content_Encoding="gzip")),
}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("play", LOST.values(), ids=LOST)
async def test_after_the_request_was_read_no_answer_means_that_it_may_have_been_bought(play: Play) -> None:
    async with Wire(play) as wire:
        outcome, error = await create(wire.url)
    assert outcome == "LostAnswer"
    assert error.kind is ErrorClass.NETWORK
    assert (len(wire.heard), wire.connections) == (1, 1)
    assert json.loads(wire.heard[0].body) == BODY


async def test_a_reset_before_the_request_was_read_may_have_been_bought_too() -> None:
    async with Wire(answer(TASK), on_connect=reset) as wire:
        assert (await create(wire.url))[0] == "LostAnswer"
    assert (wire.heard, wire.connections) == ([], 1)


async def test_an_answer_that_is_cut_at_any_byte_is_lost_and_what_came_of_its_body_is_kept() -> None:
    whole = response(TASK, Content_Type="application/json")
    head = len(whole) - len(TASK)
    for cut in range(len(whole)):
        async with Wire(send(whole[:cut])) as wire:
            outcome, error = await create(wire.url)
        assert (cut, outcome, len(wire.heard)) == (cut, "LostAnswer", 1)
        assert error.raw == whole[head:cut].decode()
    async with Wire(send(whole)) as wire:
        assert (await create(wire.url))[0] == "answer"


async def test_what_is_kept_of_a_lost_answer_holds_no_key_and_no_signature() -> None:
    said = f'{{"key": "{KEY.reveal()}", "url": "https://oss.example/a.mp4?Signature=s3cret"'.encode()
    async with Wire(send(response(said, length=999))) as wire:
        error = (await create(wire.url))[1]
    assert error.raw == '{"key": "***", "url": "https://oss.example/a.mp4?..."'
    assert KEY.reveal() not in str(error)


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_shown_of_an_answer_moves_no_cursor() -> None:
    async with Wire(answer(TASK, X_Request_Id="r-\x7f7")) as wire:
        _, found = await create(wire.url)
    assert found.request_id == "r- 7"
    async with Wire(send(response(b"not gzip", Content_Encoding="gzip"))) as wire:
        outcome, error = await create(wire.url)
    assert outcome == "LostAnswer"
    assert str(error).isprintable()


@pytest.mark.parametrize("status", [200, 202, 400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503, 504])
async def test_any_status_is_an_answer(status: int) -> None:
    async with Wire(answer(TASK, status, X_Request_Id="r-7")) as wire:
        outcome, found = await create(wire.url)
    assert outcome == "answer"
    assert (found.status, found.body, found.request_id) == (status, TASK.decode(), "r-7")
    assert len(wire.heard) == 1


async def test_a_page_instead_of_json_is_an_answer_for_its_reader_to_doubt() -> None:
    page = b"<html><title>Sign in to airport Wi-Fi</title></html>"
    async with Wire(answer(page, Content_Type="text/html")) as wire:
        assert (await create(wire.url))[1].body == page.decode()
        async with client(wire.url) as made:
            assert (await made.ask("/v1/tasks/1"))[:2] == (200, None)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_and_no_key_goes_along(status: int) -> None:
    async with Wire(answer(TASK)) as other, Wire(answer(b"", status, Location=other.url + "/v1?key=s3cret")) as wire:
        outcome, found = await create(wire.url)
        async with client(wire.url) as made:
            asked = await made.ask("/v1/tasks/1")
    assert (outcome, found.status, asked[0]) == ("answer", status, status)
    assert found.location == asked[2].location == other.url + "/v1?..."
    assert (len(wire.heard), other.heard, other.connections) == (2, [], 0)


async def test_a_body_without_end_is_cut_at_a_megabyte() -> None:
    async with Wire(endless(response(length=-1), b"a" * 65536)) as wire:
        found = (await create(wire.url))[1]
        async with client(wire.url) as made:
            asked = await made.ask("/")
    assert len(found.body) == len(asked[2].body) == api.MAX_BODY == 1024 * 1024
    assert len(wire.heard) == 2


async def test_a_bomb_of_gzip_goes_off_in_a_megabyte() -> None:
    bomb = gzip.compress(bytes(128 * 1024 * 1024), 1)
    async with Wire(answer(bomb, Content_Encoding="gzip")) as wire:
        tracemalloc.start()
        try:
            found = (await create(wire.url))[1]
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert len(found.body) == api.MAX_BODY
    assert peak < 12 * 1024 * 1024


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (b"[" * 100_000, None),
        (b"[" * 65 + b"]" * 65, None),
        (b'{"a":' * 200 + b"1" + b"}" * 200, None),
        (b"[" * 60 + b"]" * 60, True),
        (b"\xef\xbb\xbf{}", True),
        (b'{"a": NaN, "b": 1e999}', True),
        (b'{"n": ' + b"9" * 5000 + b"}", None),
        (b'{"a": "\xff\xfe"}', True),
        (b"", None),
    ],
    ids=["bomb", "65 levels", "200 maps", "60 levels", "BOM", "NaN", "long number", "not UTF-8", "nothing"],
)
async def test_json_too_deep_or_broken_is_none(body: bytes, read: bool | None) -> None:
    async with Wire(answer(body)) as wire, client(wire.url) as made:
        status, found, _ = await made.ask("/")
    assert status == 200
    assert (found is not None) == bool(read)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("8", 8.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("Fri, 20 Nov 2026 10:00:30 GMT", 30.0),
        ("Fri, 20 Nov 2026 10:00:30 -0000", 30.0),
        ("Fri, 20 Nov 2026 09:00:00 GMT", 0.0),
        ("-1", None),
        ("soon", None),
        ("9" * 400, None),
        ("Fri, 20 Nov 99999 10:00:00 GMT", None),
        ("Fri, 99999999999999999999 Nov 2026 10:00:00 GMT", None),
        ("Fri, 20 Nov 2026 10:00:00 +99999999999999", None),
    ],
)
async def test_retry_after_is_read_by_the_servers_own_clock_whatever_it_says(
    header: str, seconds: float | None
) -> None:
    date = "Fri, 20 Nov 2026 10:00:00 GMT"
    async with Wire(answer(TASK, 429, Retry_After=header, Date=date)) as wire:
        found = (await create(wire.url))[1]
    assert found.retry_after == seconds


async def test_a_date_header_that_is_nonsense_changes_nothing() -> None:
    async with Wire(answer(TASK, 429, Retry_After="3", Date="Fri, 20 Nov 2026 10:00:00 +99999999999999")) as wire:
        assert (await create(wire.url))[1].retry_after == 3.0


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_create_is_one_post_with_the_key_on_a_connection_of_its_own() -> None:
    async with Wire(answer(TASK)) as wire, client(wire.url + "/prefix") as made:
        await made.create("/v1/create", BODY, {"X-DashScope-Async": "enable"})
        await made.create("/v1/create", BODY)
    first, second = wire.heard
    assert wire.connections == 2
    assert (first.method, first.target, json.loads(first.body)) == ("POST", "/prefix/v1/create", BODY)
    assert first.headers["authorization"] == f"Bearer {KEY.reveal()}"
    assert first.headers["x-dashscope-async"] == "enable"
    assert "x-dashscope-async" not in second.headers


async def test_nothing_of_the_environment_is_used_and_no_cookie_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password hunter2\n")
    (tmp_path / "netrc").chmod(0o600)
    async with Wire(answer()) as proxy, Wire(answer(TASK, Set_Cookie="session=1; Path=/")) as wire:
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client(wire.url) as made:
            for _ in range(2):
                await made.create("/", BODY)
                await made.ask("/")
                await made.upload(f"{wire.url}/up", aiohttp.FormData({"a": "b"}), with_key=False)
    assert (proxy.connections, len(wire.heard)) == (0, 6)
    assert all("cookie" not in heard.headers for heard in wire.heard)
    assert {heard.headers.get("authorization") for heard in wire.heard} == {f"Bearer {KEY.reveal()}", None}


@pytest.mark.parametrize("key", ["sk-1\n", "sk-1\r\nX-Evil: 1", "schlüssel", "a\x00b"])
def test_a_key_that_no_header_can_carry_is_refused_before_anything_is_sent(key: str) -> None:
    with pytest.raises(UsageError, match="characters that no key has"):
        ApiClient("https://api.example.com", Secret(key))


# ── questions and uploads ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("play", LOST.values(), ids=LOST)
async def test_a_question_without_an_answer_is_a_missed_poll(play: Play) -> None:
    async with Wire(play) as wire, client(wire.url) as made:
        with pytest.raises(MissedPoll) as caught:
            await made.ask("/v1/tasks/1", {"model": "wan2.7-t2v"})
    assert caught.value.kind is ErrorClass.NETWORK
    assert wire.heard[0].target == "/v1/tasks/1?model=wan2.7-t2v"


async def test_a_question_that_nobody_hears_is_a_missed_poll() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        async with client(f"http://127.0.0.1:{reserved.getsockname()[1]}") as made:
            with pytest.raises(MissedPoll):
                await made.ask("/")


async def test_an_answer_that_drips_for_ever_ends_at_the_limit_of_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "QUESTION", 0.2)
    async with Wire(drip(response(b"{}" * 5000), 0.01)) as wire, client(wire.url) as made:
        with pytest.raises(MissedPoll):
            await asyncio.wait_for(made.ask("/"), 5)


async def test_an_upload_takes_the_key_to_the_provider_and_nowhere_else() -> None:
    async with Wire(answer(b'{"url": 1}')) as wire, Wire(answer()) as other, client(wire.url) as made:
        form = aiohttp.FormData({"purpose": "generation"})
        form.add_field("file", b"\x89PNG", filename="desk.png", content_type="image/png")
        assert (await made.upload(f"{wire.url}/v1/uploads", form, with_key=True))[:2] == (200, {"url": 1})
        for url in (f"{other.url}/x", f"{wire.url}0/x", f"{wire.url}@{other.url[7:]}/x"):
            with pytest.raises(MissedPoll, match="no file goes to"):
                await made.upload(url, aiohttp.FormData({"a": "b"}), with_key=True)
        await made.upload(f"{other.url}/oss", aiohttp.FormData({"a": "b"}), with_key=False)
    assert [heard.headers.get("authorization") for heard in wire.heard] == [f"Bearer {KEY.reveal()}"]
    assert b"\x89PNG" in wire.heard[0].body
    assert ["authorization" in heard.headers for heard in other.heard] == [False]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "https://10.0.0.1/", "http://example.com/"]
)
async def test_a_provider_on_the_internet_cannot_send_a_file_to_this_machine_or_its_network(url: str) -> None:
    async with Wire(answer()) as wire, client("https://api.example.com") as made:
        with pytest.raises(MissedPoll):
            await made.upload(url.format(port=wire.port), aiohttp.FormData({"a": "b"}), with_key=False)
    assert wire.connections == 0


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("play", [LOST["closed after the request was read"], LOST["no answer in time"]])
async def test_an_upload_without_an_answer_is_missed_and_not_repeated(play: Play) -> None:
    async with Wire(play) as wire, client(wire.url) as made:
        with pytest.raises(MissedPoll, match="upload failed"):
            await made.upload(f"{wire.url}/up", aiohttp.FormData({"a": "b"}), with_key=True)
    assert len(wire.heard) == 1
