"""The client that fetches clips: no key, no cookies, https and public addresses only, bounded in size and time."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from storyrun.errors import FetchFailed, NotFound
from storyrun.http.addresses import allowed_address, dialled_only_if_allowed, leads_somewhere_safe
from storyrun.http.causes import shorn
from storyrun.http.words import CONNECT, READ, SHOWN, one_line, without_secrets
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from aiohttp.abc import AbstractResolver

MAX_CLIP = 2 * 1024**3
MAX_HOPS = 3
MIN_RATE, RATE_WINDOW = 1024, 60.0
"""A download that brings fewer bytes a second than this, over so many seconds, has stalled."""

STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
"""An ETag that says the same bytes (RFC 9110, 8.8.3). A weak one does not, and nothing can go on by it."""


class _Part:
    """A file being downloaded, and beside it the ETag that says which file it is a part of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tag_file = path.with_name(path.name + ".etag")
        tag = self._tag_file.read_bytes().decode("ascii", "replace") if self._tag_file.exists() else ""
        self.tag = tag if STRONG_TAG.fullmatch(tag) and path.exists() else ""
        self.start = path.stat().st_size if self.tag else 0

    def go_on(self) -> BinaryIO:
        """The file, to write behind what is there."""
        return self._path.open("ab")

    def start_anew(self, tag: str) -> BinaryIO:
        """The file, empty. Its tag is written after the old bytes are gone: a death must not leave them together."""
        self._tag_file.unlink(missing_ok=True)
        stream = self._path.open("wb")
        if STRONG_TAG.fullmatch(tag):
            self._tag_file.write_text(tag, encoding="ascii")
        return stream

    def drop(self) -> None:
        """Start anew next time."""
        self._tag_file.unlink(missing_ok=True)
        self._path.unlink(missing_ok=True)

    def whole(self) -> None:
        """Everything is there: nothing to go on with."""
        self._tag_file.unlink(missing_ok=True)


class DownloadClient:
    """Fetches clips: no key, no cookies, https and public addresses only, bounded in size and time.

    `loopback`: the provider is on this machine, so its clips may be too.
    """

    def __init__(self, *, loopback: bool, max_bytes: int = MAX_CLIP, resolver: AbstractResolver | None = None) -> None:
        self._loopback = loopback
        self._max_bytes = max_bytes
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, part: Path) -> None:
        """Write what `url` gives to `part`, going on where an earlier try of the same file stopped.

        A body without a length that is cut looks whole: whoever calls looks at the video. Raises `NotFound` when a
        fresh URL is needed, `FetchFailed` for anything else but a whole body, `OSError` when the disk does.
        """
        file = _Part(part)
        headers = {"Accept-Encoding": "identity"}
        if file.start:
            headers |= {"Range": f"bytes={file.start}-", "If-Range": file.tag}
        for _ in range(MAX_HOPS + 1):
            target = self._checked(url)
            with _network():
                response = await self._open().get(target, headers=headers, allow_redirects=False)
            async with response:
                if response.status not in (301, 302, 303, 307, 308):
                    await self._save(response, file)
                    file.whole()
                    return
                url = _joined(target, response.headers.get("Location", ""))
        raise FetchFailed(f"more than {MAX_HOPS} redirects", kind=ErrorClass.PROVIDER)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=16,
                    resolver=self._resolver,
                    socket_factory=dialled_only_if_allowed(loopback=self._loopback),
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    def _checked(self, url: str) -> URL:
        """The URL if a clip may be fetched from it. Addresses behind names are checked when they are dialled."""
        shown = one_line(without_secrets(url))[:SHOWN]
        try:
            # to the letter where it can be sent so: it is signed
            target = URL(url, encoded=re.fullmatch(r"[\x21-\x7e]+", url) is not None)
            host, _ = target.host or "", target.port
        except ValueError:
            raise FetchFailed("the provider's result is not a URL", kind=ErrorClass.PROVIDER) from None
        if not host or not leads_somewhere_safe(str(target), loopback=self._loopback):
            raise FetchFailed(f"the result is no plain https URL: {shown}", kind=ErrorClass.PROVIDER)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host.partition("%")[0])
            if not allowed_address(host, loopback=self._loopback):
                raise FetchFailed(f"the result is not on a public address: {shown}", kind=ErrorClass.PROVIDER)
        return target

    async def _save(self, response: aiohttp.ClientResponse, file: _Part) -> None:
        if response.status in (403, 404, 410):
            raise NotFound(f"the clip's URL answers {response.status}", kind=ErrorClass.EXPIRED)
        going_on, total = _range(response, file)
        if response.status in (206, 416) and not going_on:
            file.drop()  # the same question would get the same answer
            raise FetchFailed("the rest of the file was not to be had; it starts anew", kind=ErrorClass.PROVIDER)
        if response.status not in (200, 206):
            raise FetchFailed(f"the clip's URL answers {response.status}", kind=ErrorClass.PROVIDER)
        if response.headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
            raise FetchFailed("the clip comes compressed, which nobody asked for", kind=ErrorClass.PROVIDER)
        offset = file.start if going_on else 0
        if not going_on:
            total = response.content_length
        if total is not None and total > self._max_bytes:
            raise FetchFailed(f"the clip is larger than {self._max_bytes} bytes", kind=ErrorClass.PROVIDER)
        with file.go_on() if going_on else file.start_anew(response.headers.get("ETag", "")) as stream:
            size = offset + await self._stream(response, stream, offset)
        if total is not None and size != total:
            raise FetchFailed(f"{size} of {total} bytes arrived", kind=ErrorClass.NETWORK)

    async def _stream(self, response: aiohttp.ClientResponse, file: BinaryIO, offset: int) -> int:
        loop = asyncio.get_running_loop()
        begun, received, mark = loop.time(), 0, 0
        while True:
            with _network():
                piece = await response.content.readany()
            if not piece:
                return received
            file.write(piece)
            received += len(piece)
            if offset + received > self._max_bytes:
                raise FetchFailed(f"the clip is larger than {self._max_bytes} bytes", kind=ErrorClass.PROVIDER)
            if loop.time() - begun > RATE_WINDOW:
                if received - mark < MIN_RATE * RATE_WINDOW:
                    raise FetchFailed("the download has stalled", kind=ErrorClass.NETWORK)
                begun, mark = loop.time(), received


@contextlib.contextmanager
def _network() -> Iterator[None]:
    """What the way to the clip may raise. Around nothing else: the disk's errors are another matter."""
    try:
        yield
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        said = one_line(without_secrets(str(error) or type(error).__name__))[:SHOWN]
        raise FetchFailed(f"the download broke off: {said}", kind=ErrorClass.NETWORK) from shorn(error)


def _joined(target: URL, location: str) -> str:
    """Where a redirect leads to."""
    try:
        return str(target.join(URL(location, encoded=location.isascii())))
    except ValueError:
        raise FetchFailed("the clip's URL redirects to something that is no URL", kind=ErrorClass.PROVIDER) from None


def _range(response: aiohttp.ClientResponse, file: _Part) -> tuple[bool, int | None]:
    """Whether an answer goes on where the part ends, in the same file; and the size of the whole, if it is said."""
    if response.status != 206 or not file.start or response.headers.get("ETag", file.tag) != file.tag:
        return False, None
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != file.start:
        return False, None
    return True, None if found[2] == "*" else int(found[2])
