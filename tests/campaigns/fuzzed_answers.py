"""Answers of the providers that are nonsense, read on their own, and some of them off a real connection.

Whatever comes, only the errors that a provider may raise come out; a task id is one that can be put into a URL; and
what may have been bought is never called refused.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
from itertools import chain
from random import Random
from typing import TYPE_CHECKING, Any, Self

from storyrun.errors import FetchFailed, LostAnswer, MissedPoll, NotFound, NotSent, Rejected
from storyrun.http import DownloadClient
from storyrun.http.words import as_json
from storyrun.ledger import rows
from storyrun.records import Accepted, Answer
from tests.clouds import ATTEMPT, CLOUDS, KEY, MODELS, RECORDINGS, TASKS, body_of, made, task_of
from tests.wire import Wire, response

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path

    from storyrun.records import TaskStatus
    from tests.wire import Heard

OVER_THE_WIRE = 20
PATIENCE = 60.0
"""Seconds that a case on a connection may take, on a machine that is busy with others."""

NO = frozenset({301, 302, 303, 307, 308, 300, 304, 305, 306, 399, 400, 401, 402, 403, 404, 405, 413, 415, 422, 429})
"""Statuses in which a create may be read as refused, beside a 2xx that says so in words of its own."""

SURE = frozenset({"credentials", "balance", "moderation", "parameter", "rate_limit"})
"""What a 2xx may be refused for."""

STATUSES = (
    *(200, 201, 202, 204, 206, 299, 301, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 418),
    *(422, 425, 429, 451, 499, 500, 501, 502, 503, 504, 520, 524, 599),
)

NAMES_A_TASK = re.compile(r'"task_id"\s*:\s*"[^"]')

VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 200, 10**40, -(10**300), "", " ", "0", "null", [], {}, [[]], [{}], {"": ""}),
    *("PENDING", "RUNNING", "SUCCEEDED", "FAILED", "UNKNOWN", "CANCELED", "queued", "in_progress", "completed", "done"),
    *("success", "Ok", "InvalidParameter", "DataInspectionFailed", "Throttling", "Arrearage", "InvalidApiKey"),
    *("InternalError", "InvalidURL.Timeout", "generation_failed", "task_not_exist", "a.b.c.InvalidParameter", "." * 50),
    *("x" * 5000, "\U0001f63a", "\u202e", "\ud800", "a\u0000b", "\x1b[2J", "a\nb", "<b>", "%s%n", "../..", "a/b"),
    "?x=1",
    *("-x", "x" * 201, "0385dc79-5ff8-4d82-bcb6-000000000001", "video_01J9HA7JPQ9A0Z6JZ3V8M9W6PZ", "tsk-1"),
    *("\u0661", 12345),
    *("https://cdn.example/a.mp4?Signature=canary-signature", "HTTP://X/y", "https://", "http://[::1", "https://[x]/a"),
    *("file:///etc/passwd", "//x/y", "data:video/mp4;base64,AA", "javascript:1", "https://u:p@h/x"),
    "https://h:99999/x",
    *(f"the key {KEY} is wrong", [{"url": "https://cdn.example/b.mp4"}], {"code": "x", "message": {"a": 1}}, {"id": 1}),
)

KEYS = (
    *"id task_id task_status status output data result results url video_url metadata error code type message".split(),
    *"msg fail_reason request_id usage model client_business_id progress total_page gmt_create model_name".split(),
    "orig_prompt",
)

TEXTS = (
    *("", " ", "null", "[]", "0", '"x"', "NaN", "{", "{}", "{" * 3000, "[" * 100_000),
    *('{"a":' * 70 + "1" + "}" * 70, "nul"),
    *("<!doctype html><title>502</title>", "<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "\ufeff{}"),
    *('{"task_id": "t-1"', '{"output": {"task_id": "t-1", "task_status": "PENDING"', "OK", "data: {}\n\n", "9" * 5000),
    *('{"code": "InvalidParameter", "code": null}', '{"task_id": "t-1", "task_id": "t-2"}', '{"usage": {"n": 1e400}}'),
)

ENDS = (
    "",
    "#",
    "?",
    "/",
    "\\",
    "%00",
    "%0d%0a",
    "\r\nX: y",
    " ",
    "\u2603",
    ";a=b",
    "@127.0.0.1",
    ":80",
    "..",
    "a" * 3000,
)

HOSTS = (
    *("127.0.0.1", "localhost", "[::1]", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "10.0.0.1"),
    "169.254.169.254",
    *(
        "[::ffff:127.0.0.1]",
        "0.0.0.0",  # noqa: S104
        "cdn.example",
        "x" * 300 + ".example",
        "a..b",
        "-",
        "xn--",
        "\u00e9.example",
        "[",
        "]",
    ),
)


class Nowhere:
    """A resolver that knows no name."""

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[Any]:
        raise OSError(f"{host} is nowhere")

    async def close(self) -> None: ...


class Answers:
    """Makes the cases and judges them. `with` starts a server on this machine; what happened is in `figures`."""

    def __init__(self, folder: Path, figures: Counter[str]) -> None:
        self._figures = figures
        self._part = folder / "clip.part"
        self._said: dict[str, list[tuple[str, int, Any]]] = {}
        for name in CLOUDS:
            files = sorted((RECORDINGS / name).glob("*.json"))
            told = [(file.stem, json.loads(file.read_text("utf-8"))) for file in files]
            self._said[name] = [(stem, each["status"], each["body"]) for stem, each in told]
        self._every = [body for said in self._said.values() for _, _, body in said]
        self._loop = asyncio.new_event_loop()
        self._reply = b""

    def __enter__(self) -> Self:
        self._wire = Wire(self._play)
        self._loop.run_until_complete(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._close())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    async def _open(self) -> None:
        await self._wire.__aenter__()
        self._clouds = {name: made(name, self._wire.url) for name in CLOUDS}
        resolver: Any = Nowhere()
        self._downloads = DownloadClient(loopback=True, max_bytes=100_000, resolver=resolver)

    async def _close(self) -> None:
        for cloud in self._clouds.values():
            await cloud.aclose()
        await self._downloads.aclose()
        await self._wire.__aexit__(None, None, None)

    async def _play(self, _: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(self._reply)
        await writer.drain()
        return False

    def case(self, number: int) -> list[str]:
        """An answer of some provider with some of it changed."""
        chance = Random(f"answers:{number}")
        name = chance.choice(CLOUDS)
        stem, status, body = chance.choice(self._said[name])
        if chance.random() < 0.3:
            status = chance.choice(STATUSES)
        text = self._mangled(body, chance)
        if number % OVER_THE_WIRE == 0:
            self._figures["answers over the wire"] += 1
            return self._loop.run_until_complete(self._heard(name, stem, status, text, chance))
        return self._read(name, stem, status, text, chance)

    def _mangled(self, body: Any, chance: Random) -> str:
        if chance.random() < 0.06:
            return chance.choice(TEXTS)
        whole = {"": copy.deepcopy(body)}
        for _ in range(chance.choice((0, 1, 1, 2, 4))):
            self._changed(whole, chance)
        text = (
            whole[""]
            if isinstance(whole.get(""), str)
            else json.dumps(whole.get(""), ensure_ascii=chance.random() < 0.5)
        )
        match chance.randrange(14):
            case 0:
                return text[: chance.randint(0, len(text))]
            case 1:
                at = chance.randint(0, len(text))
                return (
                    text[:at] + chance.choice(("\x00", "NaN", "\ufeff", "}", '"', ",", "\n", "1e999", "\\")) + text[at:]
                )
            case 2:
                return re.sub(r"(?<=: )\d+", lambda _: chance.choice(("1e400", "-1e999", "NaN", "1" * 400)), text)
            case 3:  # a key twice
                return re.sub(r'\{"(\w+)": ', r'{"\1": "first", "\1": ', text, count=1)
        return text

    def _changed(self, whole: dict[str, Any], chance: Random) -> None:
        holder = chance.choice([found for found in _holders(whole) if found])
        places: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        place = chance.choice(places)
        match chance.randrange(8):
            case 0 if holder is not whole:
                del holder[place]
            case 1 if isinstance(holder, dict) and holder is not whole:
                holder[chance.choice(KEYS)] = holder.pop(place)
            case 2 if isinstance(holder, dict) and holder is not whole:
                holder[chance.choice(KEYS)] = copy.deepcopy(chance.choice(VALUES))
            case 3:
                holder[place] = [holder[place]] if chance.random() < 0.5 else {chance.choice(KEYS): holder[place]}
            case 4:
                holder[place] = copy.deepcopy(chance.choice(_holders(chance.choice(self._every)) or [{}]))
            case 5:
                holder[place] = _url(chance, 9)
            case _:
                holder[place] = copy.deepcopy(chance.choice(VALUES))

    # ── read on their own ────────────────────────────────────────────────────────────────────────────────────────────

    def _read(self, name: str, stem: str, status: int, text: str, chance: Random) -> list[str]:
        reader, task = self._clouds[name]._reader, task_of(TASKS[name], MODELS[name])
        wait = chance.choice((None, None, 0.0, 3.0, 1e9, float("nan")))
        answer = Answer(
            status, text, chance.choice(("", "r-1")), wait, _url(chance, 9) if chance.random() < 0.2 else ""
        )
        asked = stem.partition("-")[0]
        if chance.random() < 0.15:
            asked = chance.choice(("create", "poll", "upload", "find"))
        try:
            match asked:
                case "create":
                    return self._taken(name, status, text, reader.accepted(answer))
                case "upload":
                    raise reader.not_uploaded("refs/desk.png", status, as_json(text), text)
                case "find":
                    return self._found(reader.found(task, status, as_json(text), answer))
                case _:
                    return self._told(reader.status(task, status, as_json(text), answer))
        except Rejected as error:
            return self._refused(name, asked, status, text, error)
        except LostAnswer as error:
            return [] if asked == "create" else [f"LostAnswer from {asked}: {error}"]
        except MissedPoll as error:
            return self._sentence(error) if asked != "create" else [f"MissedPoll from a create: {error}"]

    def _taken(self, name: str, status: int, text: str, accepted: Accepted) -> list[str]:
        self._figures["creates accepted"] += 1
        wrong = []
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", accepted.task_id):
            wrong.append(f"{name} accepts the task id {accepted.task_id!r}")
        if not 200 <= status < 300:
            wrong.append(f"{name} accepts HTTP {status}: {text[:300]}")
        return wrong

    def _refused(self, name: str, asked: str, status: int, text: str, error: Rejected) -> list[str]:
        wrong = self._sentence(error)
        if asked == "upload":
            return wrong
        self._figures["creates refused"] += 1
        told = f"HTTP {status} of {name} is read as refused: {text[:300]}"
        if asked != "create":
            wrong.append(f"Rejected from {asked}")
        elif 200 <= status < 300:
            wrong += [told] if error.kind.value not in SURE else []
        elif status not in NO:
            wrong.append(told)
        if not 300 <= status < 400 and NAMES_A_TASK.search(text):
            wrong.append(f"with a task id: {told}")
        return wrong

    def _found(self, accepted: Accepted | None) -> list[str]:
        if accepted is None or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,199}", accepted.task_id):
            return []
        return [f"finds the task id {accepted.task_id!r}"]

    def _told(self, status: TaskStatus) -> list[str]:
        self._figures["polls read"] += 1
        wrong = []
        if status.fetchable != (status.asset is not None) or (status.fetchable and status.state != "succeeded"):
            wrong.append(f"{status.state} with the asset {status.asset!r}")
        if status.asset is not None and not re.match("https?://", status.asset, re.IGNORECASE):
            wrong.append(f"the asset is {status.asset!r}")
        if (status.failure is not None) != (status.state == "failed"):
            wrong.append(f"{status.state} with failure {status.failure}")
        if status.failure is not None:
            wrong += _unshowable(status.failure.message)
        wrong += _unshowable(status.raw)
        rows._json(status.usage)  # as the ledger keeps it
        return wrong

    def _sentence(self, error: Exception) -> list[str]:
        self._figures["refusals and misses"] += 1
        return _unshowable(str(error))

    # ── off a connection ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _heard(self, name: str, stem: str, status: int, text: str, chance: Random) -> list[str]:
        self._reply = _bytes(status, text, chance)
        cloud, task = self._clouds[name], task_of(TASKS[name], MODELS[name], sent_at="2025-04-25T08:07:08Z")
        asked = "fetch" if chance.random() < 0.15 else stem.partition("-")[0]
        try:
            async with asyncio.timeout(PATIENCE):
                match asked:
                    case "create":
                        answer = await cloud.submit(body_of(name, seconds=5), ATTEMPT)
                        try:
                            return self._taken(name, answer.status, answer.body, cloud.read(answer))
                        except Rejected as error:
                            return self._refused(name, asked, answer.status, answer.body, error)
                    case "list" | "upload" | "cancel":
                        return self._found(await cloud.find(task, frozenset()))
                    case "fetch":
                        await self._downloads.fetch(_url(chance, self._wire.port), self._part)
                        return []
                    case _:
                        return self._told(await cloud.poll(task))
        except (LostAnswer, NotSent) as error:
            return _unshowable(str(error)) if asked == "create" else [f"{type(error).__name__} from {asked}: {error}"]
        except (MissedPoll, NotFound, FetchFailed) as error:
            return self._sentence(error) if asked != "create" else [f"{type(error).__name__} from a create: {error}"]
        except TimeoutError:
            return [f"{asked} waits for ever"]


def _unshowable(sentence: str) -> list[str]:
    """What may not stand in a sentence that people read."""
    if KEY in sentence or "canary-signature" in sentence:
        return [f"a secret is told: {sentence[:300]}"]
    if not sentence.isprintable():
        return [f"not for a terminal: {sentence[:300]!r}"]
    return []


def _bytes(status: int, text: str, chance: Random) -> bytes:
    """An answer as it is sent, now and then not as HTTP wants it."""
    body = text.encode("utf-8", "surrogatepass")
    kind = chance.choice(("application/json", "text/html; charset=utf-16", "application/json; charset=none", ""))
    match chance.randrange(12):
        case 0:
            return response(body, status, length=len(body) + 7)
        case 1:
            return response(body, status, length=-1, Content_Type=kind)
        case 2:
            return response(body, status, Content_Encoding=chance.choice(("gzip", "br", "deflate", "x")))
        case 3:
            return b""
        case 4:
            return chance.choice(
                (b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 50, b"HTTP/9.9 200 OK\r\n\r\n", b"SSH-2.0-x\r\n", body)
            )
        case 5:
            return response(body, status)[: chance.randrange(200)]
        case 6:
            return response(b"zz\r\n" + body, status, length=-1, Transfer_Encoding="chunked")
        case 7:
            return response(
                body, status, Location=chance.choice(ENDS[:5]) or "x", Retry_After=chance.choice(("x", "-1", "9" * 40))
            )
    return response(body, status, Content_Type=kind, X_Request_Id=chance.choice(("r-1", "\x7f", "x" * 500)))


def _url(chance: Random, port: int) -> str:
    """An address as nobody should write one. None leads off this machine."""
    host = chance.choice(HOSTS)
    place = chance.choice((f":{port}", f":{port}", "", ":0", ":99999", ":x"))
    scheme = chance.choice(("http://", "https://", "HTTPS://", "http:/", "ftp://", "", "http:\\\\"))
    return f"{scheme}{host}{place}/clip.mp4{chance.choice(ENDS)}"


def _holders(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *chain.from_iterable(map(_holders, inner))]
