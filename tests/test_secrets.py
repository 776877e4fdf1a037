"""No key and no signed URL in anything that is kept, printed or raised, whatever goes wrong and however they come back.

The canary key holds what escapes in JSON, URLs, HTML, shells and Python: quotes, slashes, plus, percent, backslash. The
sandbox takes every key that begins with `sandbox-`.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import html
import json
import logging
import pickle
import re
import sqlite3
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus

import click
import pytest
from PIL import Image

from storyrun import cli, providers
from storyrun.cli import printed
from storyrun.errors import ProviderError
from storyrun.http import ApiClient, DownloadClient, Secret, api, without_secrets
from storyrun.sandbox import PROVIDERS
from tests.clouds import ATTEMPT, MODELS, TASKS, Reply, body_of, made, polled, serving, task_of
from tests.rehearsal import Hurried, Served, Stage, drawn_once, typed
from tests.test_http import LOST
from tests.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANARY = "sandbox-\"Q'u/o+t&e<d>\\%2f=~canary7f3a91xyz"
KEY = Secret(CANARY)
SIGNED = re.compile(
    r"(Signature|X-Amz-[A-Za-z-]+|x-oss-[a-z-]+|OSSAccessKeyId|sig|token|Expires)(=|%3D|\\u003d)(?!\*\*\*)",
    re.IGNORECASE,
)
MIDDLE = CANARY[-15:]
"""Letters and digits that look the same in every escape but base64."""


def disguises(key: str) -> dict[str, str]:
    """The forms in which a key comes back."""
    encoded = key.encode()
    return {
        "plain": key,
        "JSON": json.dumps(key),
        "JSON in JSON": json.dumps(json.dumps(key)),
        "JSON as PHP writes it": json.dumps(key).replace("/", "\\/"),
        "JSON as Go writes it": json.dumps(key).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003E"),
        "repr": repr(key),
        "repr of bytes": repr(encoded),
        "repr of repr": repr(repr(key)),
        "URL": quote(key, safe=""),
        "URL with slashes": quote(key),
        "URL in small letters": quote(key, safe="").replace("%2F", "%2f").replace("%3D", "%3d"),
        "form": quote_plus(key),
        "URL in URL": quote(quote(key, safe=""), safe=""),
        "HTML": html.escape(key),
        "HTML with numbers": "".join(f"&#{ord(sign)};" for sign in key),
        "shell": key.replace('"', '\\"').replace("&", "\\&"),
        "base64": base64.b64encode(encoded).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(encoded).decode(),
        "base64 with a user": base64.b64encode(b"me:" + encoded).decode(),
        "base64 of the header": base64.b64encode(b"Bearer " + encoded).decode(),
        "base64 of more": base64.b64encode(b"{" + encoded + b"}").decode(),
        "base64 in a URL": quote(base64.b64encode(encoded).decode(), safe=""),
    }


def readable(text: str) -> list[str]:
    """In which forms a key can be read in a text."""
    decoded = [text, html.unescape(text)]
    for found in re.findall(r"[A-Za-z0-9+/_-]{16,}", text):
        for start in range(4):
            piece = found[start:].replace("-", "+").replace("_", "/")
            decoded.append(base64.b64decode(piece[: len(piece) // 4 * 4]).decode("latin-1"))
    return [each[:200] for each in decoded if MIDDLE in each or CANARY[:11] in each]


# ── the words ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", disguises(CANARY).values(), ids=disguises(CANARY))
def test_s01_a_key_is_found_in_every_usual_disguise(form: str) -> None:
    shown = without_secrets(f"before {form} after", KEY)
    assert readable(f"before {form} after"), "this test could not fail"
    assert readable(shown) == []
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("ascii_only", [True, False])
def test_s01_json_stays_json_and_keeps_all_but_the_key(ascii_only: bool) -> None:
    said = {"m": f'no "{CANARY}"\n', CANARY: [f"Bearer {CANARY}", 7], "b": f"\\{CANARY}\\", "ü": "rest"}
    for text in (json.dumps(said, ensure_ascii=ascii_only), json.dumps(json.dumps(said)), json.dumps(said, indent=2)):
        kept = json.loads(without_secrets(text, KEY))
        kept = json.loads(kept) if isinstance(kept, str) else kept
        assert readable(json.dumps(kept)) == []
        assert (kept["m"], kept["***"], kept["ü"]) == ('no "***"\n', ["Bearer ***", 7], "rest")


def test_s01_a_text_that_was_cut_in_the_middle_of_the_key_ends_before_it() -> None:
    for length in range(8, len(CANARY)):
        assert without_secrets(f"Bearer {CANARY[:length]}", KEY) == "Bearer ***"


@pytest.mark.parametrize(
    "text", ["", "sandbox", "an ordinary sentence about keys", "https://example.com/a/b", "a" * 5000]
)
def test_s01_nothing_else_is_taken_for_a_key(text: str) -> None:
    assert without_secrets(text, KEY, Secret("")) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://oss.example/a.mp4?Expires=1&OSSAccessKeyId=x&Signature=c4n4ry",
        "https:\\/\\/oss.example\\/a.mp4?Signature=c4n4ry",
        '{"u":"https://oss.example/a.mp4\\u003fSignature=c4n4ry\\u0026Expires=1"}',
        "https%3A%2F%2Foss.example%2Fa.mp4%3FExpires%3D1%26Signature%3Dc4n4ry",
        "the query is Expires=1&Signature=c4n4ry",
        "X-Amz-Credential=c4n4ry/20260101&X-Amz-Signature=c4n4ry",
        "x-oss-signature=c4n4ry x-oss-security-token=c4n4ry",
        "?sv=1&sig=c4n4ry%2Fc4n4ry%3D",
        "https://h/a#access_token=c4n4ry",
        "https://user:c4n4ry@h/a",
    ],
)
def test_s02_a_signature_is_taken_out_of_a_url_and_when_it_stands_alone(text: str) -> None:
    shown = without_secrets(text)
    assert "c4n4ry" not in shown
    assert SIGNED.search(shown) is None
    assert without_secrets(shown) == shown


@dataclass
class Holder:
    """Something with a key in it."""

    key: Secret


@pytest.mark.parametrize(
    "show",
    [
        str, repr, ascii, format, lambda key: f"{key:>20}", lambda key: f"{key!s}{key!r}", lambda key: "%s%r" % (key, key),  # noqa: UP031, E501
        lambda key: repr(Holder(key)), lambda key: repr({"k": [key]}), lambda key: json.dumps({"k": key}, default=str),
        lambda key: str(ValueError(key)), lambda key: repr(vars(Holder(key))), lambda key: repr(key._value.__class__),
    ],
)  # fmt: skip
def test_s01_a_secret_prints_as_stars_everywhere(show: Callable[[Secret], str]) -> None:
    assert readable(show(KEY)) == []


def test_s01_a_secret_goes_into_a_log_as_stars(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("anything").warning("%s %r %s", KEY, KEY, {"key": KEY})
    assert caplog.messages == ["*** *** {'key': ***}"]


@pytest.mark.parametrize("write", [pickle.dumps, json.dumps, copy.copy, copy.deepcopy])
def test_s01_a_secret_is_not_written_down(write: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError):
        write(KEY)


# ── what is raised ───────────────────────────────────────────────────────────────────────────────────────────────────


def told(error: BaseException | None) -> str:
    """All that an error and those behind it say: text, repr, arguments, traceback."""
    said = "".join(traceback.format_exception(error)) if error else ""
    while error is not None:
        said += f"\n{error}\n{error!r}\n{error.args!r}\n{ {k: v for k, v in vars(error).items() if k != 'os_error'}!r}"
        error = error.__cause__ or error.__context__
    return said


@pytest.mark.parametrize("play", LOST.values(), ids=LOST)
async def test_s01_nothing_that_the_network_raises_holds_the_key_or_a_signature(
    play: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What aiohttp raises carries the request with all its headers and its URL."""
    monkeypatch.setattr(api, "CREATE_READ", 0.1)
    monkeypatch.setattr(api, "READ", 0.1)
    monkeypatch.setattr("storyrun.http.downloads.READ", 0.1)
    async with Wire(play) as wire:
        client, downloads = ApiClient(wire.url, KEY), DownloadClient(loopback=True)
        errors = []
        for act in (
            lambda: client.create("/x?token=c4n4ry", {}),
            lambda: client.ask("/x", {"token": "c4n4ry"}),
            lambda: downloads.fetch(f"{wire.url}/a.mp4?Signature=c4n4ry", tmp_path / "part"),
        ):
            try:
                await act()
            except ProviderError as error:
                errors.append(told(error))
        await client.aclose()
        await downloads.aclose()
    assert len(errors) >= 2
    for said in errors:
        assert readable(said) == []
        assert "c4n4ry" not in said
    assert readable(repr(client) + repr(downloads) + repr(vars(client)["key"])) == []


@pytest.mark.parametrize("name", PROVIDERS)
async def test_r11_what_a_provider_echoes_is_redacted_in_every_field_of_its_answers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.clouds.KEY", CANARY)
    echo = f"Bearer {CANARY} {base64.b64encode(CANARY.encode()).decode()} https://h/a?Signature=c4n4ry"
    body = {
        "id": CANARY, "task_id": "t-1", "status": "failed", "code": f"X.{CANARY}", "message": echo, "request_id": echo,
        "error": {"message": echo, "code": echo}, "usage": {"note": echo, echo: 1}, "model": echo, "fail_reason": echo,
        "output": {"task_id": TASKS[name], "task_status": echo, "message": echo, "orig_prompt": echo},
    }  # fmt: skip
    headers = {"X-Request-Id": CANARY, "Location": f"https://h/?key={quote(CANARY, safe='')}"}
    seen = ""
    for status in (200, 307, 400, 401, 429, 500):
        async with serving() as server:
            server.plan(Reply(status, body, headers), Reply(status, body, headers))
            provider = made(name, server.url)
            answer = await provider.submit(body_of(name), ATTEMPT)
            seen += repr(answer)
            try:
                seen += repr(provider.read(answer))
            except ProviderError as error:
                seen += told(error)
            try:
                seen += repr(await provider.poll(task_of(TASKS[name], MODELS[name])))
            except ProviderError as error:
                seen += told(error)
            seen += repr(provider) + repr(provider._client) + repr(provider._reader)
            await provider.aclose()
    assert readable(seen) == []
    assert "c4n4ry" not in seen
    failed = {"id": TASKS[name], "status": "failed", "error": {"message": echo}, "usage": {"note": echo, "seconds": 5}}
    kept = await polled(name, Reply(200, failed))
    assert readable(repr(kept) + repr(kept.usage) + repr(kept.failure)) == []
    assert kept.usage["seconds"] == 5


# ── whole runs ───────────────────────────────────────────────────────────────────────────────────────────────────────

FAULTS = {
    "echo": "1x", "429": "1x", "create-500-booked": "1x", "cut-answer": "1x", "poll-500": "0.2", "poll-html": "0.2",
    "poll-reset": "0.1", "url-expired-first": "0.3", "cut-download": "0.3", "failed-no-reason": "0.2",
    "redirect-elsewhere": "0.3", "truncated-video": "0.2", "odd-status": "0.3",
}  # fmt: skip

PLAN = """\
version: 1
title: A run full of faults
provider: {provider}
model: wan3.0-video
defaults: {{resolution: 480p, aspect_ratio: "16:9", seconds: 2}}
scenes:
  - {{id: c1, prompt: One}}
  - {{id: c2, prompt: Two}}
  - {{id: c3, prompt: Three}}
"""
WITH_A_PICTURE = "  - {id: c4, prompt: Four, first_frame: desk.png}\n"


class Rehearsal:
    """A plan with a picture to upload, on a sandbox that knows the canary key."""

    def __init__(self, folder: Path, provider: str, sandbox: Any) -> None:
        self.folder, self.plan = folder, folder / "plan.yaml"
        picture = "" if provider == "tokenhub" else WITH_A_PICTURE  # which takes URLs only
        self.plan.write_text(PLAN.format(provider=provider) + picture, encoding="utf-8")
        Image.new("RGB", (832, 480), "navy").save(folder / "desk.png")
        self.sandbox = sandbox
        self.said = ""

    def type(self, *words: str) -> int:
        ran = typed(*words)
        self.said += ran.out + ran.err
        return ran.code

    def everything(self) -> str:
        """All that was printed, logged and kept, the ledger's cells too."""
        kept = [self.said]
        for file in sorted(self.folder.rglob("*")):
            if file.is_file() and file.name != ".env":
                kept.append(file.read_bytes().decode("latin-1"))
            if file.suffix == ".sqlite":
                with contextlib.closing(sqlite3.connect(file)) as ledger:
                    kept += list(ledger.iterdump())
        return "\n".join(kept)


@pytest.fixture
def rehearsal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Rehearsal]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("storyrun.cli.performing.SystemClock", Hurried)
    drawn_once(monkeypatch)
    caplog.set_level(logging.DEBUG)
    with contextlib.ExitStack() as stack:

        def opened(provider: str, **faults: str) -> Rehearsal:
            sandbox = stack.enter_context(Served(faults=faults or FAULTS, seed=3))
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, CANARY if name.endswith("_API_KEY") else value)
            return Rehearsal(tmp_path, provider, sandbox)

        yield opened
    assert readable(caplog.text) == []
    assert SIGNED.search(caplog.text) is None


@pytest.mark.parametrize("provider", PROVIDERS)
def test_s01_s02_a_run_full_of_faults_keeps_and_prints_neither_key_nor_signature(
    rehearsal: Callable[..., Rehearsal], provider: str
) -> None:
    r = rehearsal(provider)
    for words in (["run", "--yes", "--poll-interval", "5", "--deadline", "200"], ["--debug", "run", "--yes", "--json"]):
        r.type(*words, str(r.plan))
    for verb in ("status", "quote", "prompts"):
        r.type("--debug", verb, str(r.plan))
        r.type(verb, str(r.plan), "--json")
    r.type("fetch", str(r.plan), "--deadline", "0")
    r.type("doctor", "--json")
    everything = r.everything()
    assert r.sandbox.counts["create"] >= 4
    assert "***" in everything, "the echo came back"
    assert readable(everything) == []
    assert SIGNED.findall(everything) == []
    assert r.sandbox.leaks == []


def _key_in_its_hands(*_: Any, **__: Any) -> Any:
    """A bug of somebody who has the key."""
    try:
        raise KeyError({"Authorization": f"Bearer {CANARY}"})
    except KeyError as error:
        raise RuntimeError(f"cannot send {CANARY!r} to https://h/a?Signature=c4n4ry") from error


@pytest.mark.parametrize("debug", [True, False], ids=["debug", "plain"])
@pytest.mark.parametrize(
    "where",
    [
        "storyrun.providers.cloud.Cloud.submit", "storyrun.providers.cloud.Cloud.read",
        "storyrun.providers.cloud.Cloud.poll", "storyrun.providers.cloud.Cloud.fetch",
        "storyrun.providers.tokenhub.TokenHub._create_path", "storyrun.progress.Progress.__call__",
        "storyrun.manifest.write", "storyrun.cli.run.build_provider",
    ],
)  # fmt: skip
def test_s01_a_bug_that_says_the_key_is_told_without_it(
    rehearsal: Callable[..., Rehearsal], monkeypatch: pytest.MonkeyPatch, where: str, debug: bool
) -> None:
    r = rehearsal("tokenhub", **{"429": "1x"})
    monkeypatch.setattr(where, _key_in_its_hands)
    code = r.type(*(["--debug"] if debug else []), "run", str(r.plan), "--yes", "--only", "c1", "--deadline", "60")
    assert code in (0, 4, 70), r.said
    everything = r.everything()
    assert "cannot send" in everything, "the bug was hit"
    assert readable(everything) == []
    assert "c4n4ry" not in everything
    if code == 70:
        assert ("Traceback" in r.said) is debug
        assert "a bug of ours" in r.said


def test_s01_debug_shows_where_an_error_of_ours_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", CANARY)
    ran = typed("--debug", "run", str(tmp_path / "missing.yaml"))
    assert ran.code == 2
    monkeypatch.setattr("storyrun.cli.planning.prepare", _key_in_its_hands)
    (tmp_path / "plan.yaml").write_text("version: 1\n", encoding="utf-8")
    ran = typed("--debug", "quote", str(tmp_path / "plan.yaml"))
    assert ran.code == 70
    assert "_key_in_its_hands" in ran.err
    assert "KeyError" in ran.err
    assert readable(ran.out + ran.err) == []


def test_s01_a_dotenv_that_cannot_be_read_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"DASHSCOPE_API_KEY=\xff\xfe\n")
    assert printed.line("as it was") == "as it was"


# ── where keys do not belong ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "key", ["api_key", "apikey", "DASHSCOPE_API_KEY", "api-key", "secret", "token", "access_token", "password", "auth"]
)
@pytest.mark.parametrize("line", ["{}: {}", "defaults: {{{}: {}}}", "budget: {{max: 1, currency: USD, {}: '{}'}}"])
def test_s03_a_key_in_a_plan_is_refused_with_where_it_belongs_and_is_not_repeated(
    tmp_path: Path, key: str, line: str
) -> None:
    plan = tmp_path / "plan.yaml"
    value = "0123456789abcdefCANARY"
    plan.write_text(f"version: 1\n{line.format(key, value)}\nscenes: [{{id: a, prompt: b}}]\n", encoding="utf-8")
    for words in (
        ["check"],
        ["check", "--format", "json"],
        ["check", "--format", "sarif"],
        ["run"],
        ["quote", "--json"],
    ):
        ran = typed(*words, str(plan))
        assert ran.code == 2
        assert f"unknown key `{key}`" in ran.said
        assert "keys belong into the environment" in ran.said
        assert "CANARY" not in ran.said


def test_s03_no_option_takes_a_key() -> None:
    context = click.Context(cli.storyrun)
    for verb in cli.VERBS:
        command = cli.storyrun.get_command(context, verb)
        assert command is not None
        for parameter in command.params:
            words = " ".join([*parameter.opts, *parameter.secondary_opts])
            assert not re.search(r"key|token|secret|password|auth|header|base.?url|insecure|verify", words), words


@pytest.mark.parametrize("name", PROVIDERS)
def test_s05_s08_only_the_providers_host_hears_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """No telemetry, no update check, no proxy, no netrc. Who dials another address, fails in `conftest`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("storyrun.cli.performing.SystemClock", Hurried)
    drawn_once(monkeypatch)
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password c4n4ry\n", encoding="ascii")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for variable in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(variable, "http://192.0.2.1:3128")
    dialled: set[tuple[str, int]] = set()
    import socket

    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        dialled.add(tuple(address[:2]))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    with Served() as sandbox:
        for variable, value in sandbox.environment.items():
            monkeypatch.setenv(variable, value)
        stage = Stage(tmp_path, name, sandbox)
        assert stage.run().code == 0
        assert {address for address in dialled if address[1] != sandbox.port} == set()
        assert ("127.0.0.1", sandbox.port) in dialled


def test_providers_take_keys_from_the_environment_alone() -> None:
    assert {settings.key for settings in providers.ENVIRONMENTS.values()} == {
        "TOKENHUB_API_KEY", "TOAPIS_API_KEY", "DASHSCOPE_API_KEY"
    }  # fmt: skip


def test_these_tests_know_a_key_when_they_see_one() -> None:
    for form in disguises(CANARY).values():
        assert readable(form)
    assert SIGNED.search("https://h/a?Signature=x")
