"""What the client without a key makes of result URLs, and that a part is never mistaken for another file's."""

from __future__ import annotations

import asyncio
import gzip
import socket
import tracemalloc
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from storyrun.errors import FetchFailed, NotFound
from storyrun.http import DownloadClient, downloads
from storyrun.records import ErrorClass
from tests.wire import Heard, Play, Wire, answer, drip, endless, reset, response, send

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CLIP = bytes(range(256)) * 40
TAG = '"v1"'


class Names(AbstractResolver):
    """A resolver that says what a test says, and is asked once a connection."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        self.asked.append(host)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=0,
            )
            for address in self.addresses
        ]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def client(**options: Any) -> AsyncIterator[DownloadClient]:
    made = DownloadClient(**{"loopback": True, **options})
    try:
        yield made
    finally:
        await made.aclose()


async def fetch(url: str, part: Path, **options: Any) -> str:
    """What a download comes to: "" or the sentence of what it raised."""
    async with client(**options) as made:
        try:
            await made.fetch(url, part)
        except FetchFailed as error:
            return str(error)
    return ""


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "clip.part"


def read(part: Path) -> bytes | None:
    """What is there of the clip."""
    return part.read_bytes() if part.exists() else None


def stopped(part: Path, size: int, tag: str = TAG) -> None:
    """A download that stopped after `size` bytes."""
    part.write_bytes(CLIP[:size])
    part.with_name("clip.part.etag").write_text(tag)


def ranged(data: bytes = CLIP, tag: str = TAG) -> Play:
    """A file server that knows Range and If-Range."""

    async def play(heard: Heard, writer: asyncio.StreamWriter) -> bool:
        asked = heard.headers.get("range", "")
        if asked and heard.headers.get("if-range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            where = f"bytes {start}-{len(data) - 1}/{len(data)}"
            writer.write(response(data[start:], 206, ETag=tag, Content_Range=where))
        else:
            writer.write(response(data, ETag=tag))
        await writer.drain()
        return True

    return play


# ── whole or not ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_clip_is_written_as_it_comes_and_nothing_else_is_left(part: Path) -> None:
    async with Wire(ranged()) as wire:
        assert await fetch(f"{wire.url}/clip.mp4", part) == ""
    assert read(part) == CLIP
    assert [file.name for file in part.parent.iterdir()] == ["clip.part"]
    assert wire.heard[0].headers["accept-encoding"] == "identity"


async def test_a_signed_url_is_asked_for_to_the_letter(part: Path) -> None:
    target = "/a%2Fb/c%20d.mp4?Signature=x%2By%2Fz%3D+1&Expires=%31&e=%7E~!'()*"
    async with Wire(answer(CLIP)) as wire:
        await fetch(wire.url + target, part)
        await fetch(f"{wire.url}/schöner clip.mp4?a=ß", part)
    assert [heard.target for heard in wire.heard] == [target, "/sch%C3%B6ner%20clip.mp4?a=%C3%9F"]


@pytest.mark.parametrize("then", ["close", "reset", "hold"])
@pytest.mark.parametrize("came", [0, 1, 5000, len(CLIP) - 1])
async def test_a_body_cut_short_of_its_length_failed_and_the_next_try_goes_on(
    part: Path, came: int, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "READ", 0.1)
    cut = send(response(CLIP[:came], length=len(CLIP), ETag=TAG), then=then)
    async with Wire(cut, ranged()) as wire:
        assert "broke off" in await fetch(wire.url, part)
        assert CLIP.startswith(read(part) or b"")
        assert await fetch(wire.url, part) == ""
    assert read(part) == CLIP
    assert then == "reset" or wire.heard[1].headers.get("range") == (f"bytes={came}-" if came else None)


async def test_chunks_that_are_cut_failed(part: Path) -> None:
    cut = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"
    async with Wire(send(cut)) as wire:
        assert "broke off" in await fetch(wire.url, part)


async def test_a_body_without_a_length_that_is_cut_is_all_there_is_to_see_here(part: Path) -> None:
    """Whether it is a whole video is for the one who looks at the video."""
    async with Wire(send(response(CLIP[:5000], length=-1))) as wire:
        assert await fetch(wire.url, part) == ""
    assert read(part) == CLIP[:5000]


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_url_that_is_no_longer_good_asks_for_a_fresh_one_and_keeps_the_part(part: Path, status: int) -> None:
    stopped(part, 5000)
    async with Wire(answer(b"<Error>AccessDenied</Error>", status)) as wire, client() as made:
        with pytest.raises(NotFound) as caught:
            await made.fetch(f"{wire.url}/a?Signature=s3cret", part)
    assert (caught.value.kind, read(part)) == (ErrorClass.EXPIRED, CLIP[:5000])
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("status", [201, 204, 304, 400, 401, 429, 500, 502, 503])
async def test_any_other_status_failed_and_writes_nothing(part: Path, status: int) -> None:
    async with Wire(answer(b"", status)) as wire:
        assert str(status) in await fetch(wire.url, part)
    assert read(part) is None


@pytest.mark.parametrize(
    "play", [send(b""), send(b"", then="reset"), send(b"HTTP/1.1 200 OK\r\nContent-"), send(b"SSH-2.0\r\n\r\n")]
)
async def test_no_answer_failed(part: Path, play: Play) -> None:
    async with Wire(play) as wire:
        assert "broke off" in await fetch(wire.url, part)


async def test_a_connection_reset_at_once_failed(part: Path) -> None:
    async with Wire(answer(), on_connect=reset) as wire:
        assert "broke off" in await fetch(wire.url, part)


async def test_a_disk_that_fails_is_not_taken_for_the_network(tmp_path: Path) -> None:
    async with Wire(answer(CLIP)) as wire, client() as made:
        with pytest.raises(IsADirectoryError):
            await made.fetch(wire.url, tmp_path)


# ── going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_part_is_gone_on_with_by_its_etag(part: Path) -> None:
    stopped(part, 5000)
    async with Wire(ranged()) as wire:
        assert await fetch(wire.url, part) == ""
    assert read(part) == CLIP
    assert (wire.heard[0].headers["range"], wire.heard[0].headers["if-range"]) == ("bytes=5000-", TAG)


async def test_a_file_that_changed_starts_anew(part: Path) -> None:
    stopped(part, 5000, '"v0"')
    async with Wire(ranged()) as wire:
        assert await fetch(wire.url, part) == ""
    assert read(part) == CLIP


@pytest.mark.parametrize("tag", ['W/"v1"', "v1", '""', '"v\udcff"', ""])
async def test_nothing_goes_on_by_a_tag_that_does_not_say_the_same_bytes(part: Path, tag: str) -> None:
    async with Wire(send(response(CLIP[:5000], length=len(CLIP), ETag=tag)), ranged()) as wire:
        await fetch(wire.url, part)
        assert await fetch(wire.url, part) == ""
    assert "range" not in wire.heard[1].headers
    assert read(part) == CLIP


@pytest.mark.parametrize("tag", ["\x00", 'W/"v1"', '"a"\r\nX-Evil: 1', '"' + "a" * 5000 + '"'])
async def test_a_tag_file_that_is_damaged_starts_anew(part: Path, tag: str) -> None:
    stopped(part, 5000, tag)
    async with Wire(ranged()) as wire:
        assert await fetch(wire.url, part) == ""
    assert "range" not in wire.heard[0].headers
    assert read(part) == CLIP


REST = CLIP[5000:]
WRONG = {
    "another start": response(REST, 206, ETag=TAG, Content_Range=f"bytes 0-5239/{len(CLIP)}"),
    "no range": response(REST, 206, ETag=TAG),
    "no number": response(REST, 206, ETag=TAG, Content_Range="bytes x-y/z"),
    "another unit": response(REST, 206, ETag=TAG, Content_Range=f"frames 5000-10239/{len(CLIP)}"),
    "another tag": response(REST, 206, ETag='"v2"', Content_Range=f"bytes 5000-10239/{len(CLIP)}"),
    "416": response(b"", 416, Content_Range=f"bytes */{len(CLIP)}"),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_rest_that_does_not_fit_is_not_appended_and_the_next_try_starts_anew(part: Path, wrong: bytes) -> None:
    stopped(part, 5000)
    async with Wire(send(wrong, then="listen"), ranged()) as wire:
        assert "starts anew" in await fetch(wire.url, part)
        assert await fetch(wire.url, part) == ""
    assert "range" not in wire.heard[1].headers
    assert read(part) == CLIP


async def test_a_rest_that_nobody_asked_for_is_not_taken(part: Path) -> None:
    async with Wire(send(WRONG["another start"])) as wire:
        assert "starts anew" in await fetch(wire.url, part)
    assert read(part) is None


async def test_a_rest_that_is_not_the_whole_rest_failed_and_the_next_try_goes_on(part: Path) -> None:
    stopped(part, 5000)
    some = response(CLIP[5000:6000], 206, ETag=TAG, Content_Range=f"bytes 5000-5999/{len(CLIP)}")
    async with Wire(send(some), ranged()) as wire:
        assert await fetch(wire.url, part) == f"6000 of {len(CLIP)} bytes arrived"
        assert await fetch(wire.url, part) == ""
    assert wire.heard[1].headers["range"] == "bytes=6000-"
    assert read(part) == CLIP


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_body_without_end_is_cut_off_and_needs_no_memory(part: Path) -> None:
    async with Wire(endless(response(length=-1), b"a" * 65536)) as wire:
        tracemalloc.start()
        try:
            said = await fetch(wire.url, part, max_bytes=16_000_000)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert said == "the clip is larger than 16000000 bytes"
    assert len(read(part) or b"") < 17_000_000
    assert peak < 4_000_000


async def test_a_length_over_the_cap_is_refused_before_a_byte_is_written(part: Path) -> None:
    async with Wire(send(response(b"", length=2001))) as wire:
        assert await fetch(wire.url, part, max_bytes=2000) == "the clip is larger than 2000 bytes"
    assert read(part) is None


async def test_the_cap_counts_what_was_there_before(part: Path) -> None:
    stopped(part, 5000)
    async with Wire(ranged()) as wire:
        assert "larger than" in await fetch(wire.url, part, max_bytes=len(CLIP) - 1)


async def test_a_download_that_drips_has_stalled(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "RATE_WINDOW", 0.05)
    async with Wire(drip(response(CLIP, ETag=TAG), 0.0005)) as wire:
        assert await asyncio.wait_for(fetch(wire.url, part), 10) == "the download has stalled"


async def test_silence_ends_at_the_read_limit(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "READ", 0.1)
    async with Wire(send(b"", then="hold")) as wire:
        assert "broke off" in await fetch(wire.url, part)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "deflate", "identity, gzip"])
async def test_a_compressed_clip_is_refused_unopened(part: Path, coding: str) -> None:
    async with Wire(send(response(gzip.compress(bytes(1_000_000)), Content_Encoding=coding))) as wire:
        assert "compressed" in await fetch(wire.url, part)
    assert read(part) is None


# ── where it leads ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_three_redirects_are_followed_and_the_part_goes_along(part: Path, status: int) -> None:
    stopped(part, 5000)
    async with Wire(ranged()) as last, Wire(answer(b"", status, Location=last.url)) as second:
        hops = [answer(b"", status, Location="/again?x=1"), answer(b"", status, Location=second.url)]
        async with Wire(*hops) as first:
            assert await fetch(first.url, part) == ""
    assert [heard.target for heard in first.heard] == ["/", "/again?x=1"]
    assert last.heard[0].headers["range"] == "bytes=5000-"
    assert read(part) == CLIP


@pytest.mark.parametrize("location", ["/", "", None])
async def test_a_redirect_loop_ends_after_three_hops(part: Path, location: str | None) -> None:
    named = {} if location is None else {"Location": location}
    async with Wire(answer(b"", 302, **named)) as wire:
        assert await fetch(wire.url, part) == "more than 3 redirects"
    assert len(wire.heard) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://user:word@example.com/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://100.100.100.200/latest/meta-data",
        "https://2852039166/",
        "https://0251.0376.0251.0376/",
        "https://0xa9.0xfe.0xa9.0xfe/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:a00:1]/",
        "https://[fe80::1%25eth0]/",
        "http://[::1",
        "https://h:99999/",
        "//10.0.0.1/x",
    ],
)
async def test_a_redirect_is_judged_like_the_url_itself(part: Path, location: str) -> None:
    async with Wire(answer(b"", 302, Location=location)) as wire:
        assert await fetch(wire.url, part) != ""
        assert await fetch(location, part) != ""
    assert read(part) is None


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0177.0.0.1", "127.1", "[::ffff:127.0.0.1]"])
async def test_a_provider_on_the_internet_has_no_clips_on_this_machine(part: Path, host: str, scheme: str) -> None:
    async with Wire(answer(CLIP)) as wire:
        assert await fetch(f"{scheme}://{host}:{wire.port}/", part, loopback=False) != ""
    assert wire.connections == 0


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.0.7", "169.254.169.254", "100.64.0.1", "::1", "127.0.0.1", "::ffff:10.0.0.1"]
)
async def test_a_name_may_not_stand_for_a_private_address(part: Path, address: str) -> None:
    names = Names(address)
    said = await fetch("https://cdn.example/a.mp4", part, loopback=False, resolver=names)
    assert names.asked == ["cdn.example"]
    assert "is not a public address" in said


async def test_a_name_with_a_public_and_a_private_address_never_leads_to_the_private_one(part: Path) -> None:
    async with Wire(answer(CLIP)) as wire:
        names = Names("127.0.0.1", "10.0.0.1")
        assert await fetch(f"https://cdn.example:{wire.port}/", part, loopback=False, resolver=names) != ""
        assert await fetch(f"https://cdn.example:{wire.port}/", part, resolver=Names("10.0.0.1")) != ""
    assert wire.connections == 0


async def test_nothing_of_the_user_goes_along(part: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login somebody password hunter2\n")
    (tmp_path / "netrc").chmod(0o600)
    hop = answer(b"", 302, Location="/b", Set_Cookie="session=1; Path=/")
    async with Wire(answer()) as proxy, Wire(hop, answer(CLIP, Set_Cookie="more=1; Path=/")) as wire:
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        async with client() as made:
            await made.fetch(wire.url, part)
            await made.fetch(wire.url, part)
    assert (proxy.connections, len(wire.heard)) == (0, 3)
    for heard in wire.heard:
        assert heard.headers.keys().isdisjoint({"authorization", "cookie", "proxy-authorization", "x-api-key"})
