"""The client that fetches clips: no key, no cookies, https and public addresses only, bounded in size and time."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from storyrun.errors import FetchFailed, NotFound, ProviderError
from storyrun.http.words import CONNECT, READ, SHOWN, is_loopback, without_secrets
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

MAX_CLIP = 2 * 1024**3
MAX_HOPS = 3
MIN_RATE, RATE_WINDOW = 1024, 60.0
"""A download that brings fewer bytes a second than this, over so many seconds, has stalled."""


class _Blocked(OSError):
    """An address that a result URL may not lead to."""


class _Guard(AbstractResolver):
    """Resolves names and lets through public addresses only; loopback ones where the provider is on loopback too."""

    def __init__(self, *, loopback: bool) -> None:
        self._real = aiohttp.ThreadedResolver()
        self._loopback = loopback

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        found = await self._real.resolve(host, port, family)
        allowed = [entry for entry in found if allowed_address(entry["host"], loopback=self._loopback)]
        if not allowed:
            raise _Blocked(f"{host} is not a public address")
        return allowed

    async def close(self) -> None:
        await self._real.close()


def allowed_address(address: str, *, loopback: bool) -> bool:
    """Whether a clip may be fetched from an address: public ones, and loopback for a provider on loopback."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    parsed = mapped or parsed
    if parsed.is_loopback:
        return loopback
    return parsed.is_global and not parsed.is_multicast


class _Part:
    """A file being downloaded, and the ETag that says which file it is a part of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tag_file = path.with_name(path.name + ".etag")
        self.tag = self._tag_file.read_text() if path.exists() and self._tag_file.exists() else ""
        self.start = path.stat().st_size if self.tag else 0

    def open(self, tag: str, *, going_on: bool) -> BinaryIO:
        """The file to write to; a strong ETag is kept so that a later try can go on."""
        if tag and not tag.startswith("W/"):
            self._tag_file.write_text(tag)
        elif not going_on:
            self._tag_file.unlink(missing_ok=True)
        return self._path.open("ab" if going_on else "wb")

    def drop(self) -> None:
        """Start anew next time."""
        self._path.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)

    def whole(self) -> None:
        """Everything is there: nothing to go on with."""
        self._tag_file.unlink(missing_ok=True)


class DownloadClient:
    """Fetches clips: no key, no cookies, https and public addresses only, bounded in size and time."""

    def __init__(self, *, loopback: bool, max_bytes: int = MAX_CLIP) -> None:
        self._loopback = loopback
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, url: str, part: Path) -> None:
        """Write what `url` gives to `part`, going on where an earlier try of the same file stopped.

        Raises `NotFound` when a fresh URL is needed, `FetchFailed` for anything else but a whole body.
        """
        file = _Part(part)
        try:
            await self._follow(url, file)
        except ProviderError:
            raise
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            said = without_secrets(str(error) or type(error).__name__)[:SHOWN]
            raise FetchFailed(f"the download broke off: {said}", kind=ErrorClass.NETWORK) from error
        file.whole()

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    async def _follow(self, url: str, file: _Part) -> None:
        headers = {"Accept-Encoding": "identity"}
        if file.start:
            headers |= {"Range": f"bytes={file.start}-", "If-Range": file.tag}
        for _ in range(MAX_HOPS + 1):
            target = self._checked(url)
            async with self._open().get(target, headers=headers, allow_redirects=False) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = str(target.join(URL(response.headers.get("Location", ""))))
                    continue
                await self._save(response, file)
                return
        raise FetchFailed(f"more than {MAX_HOPS} redirects", kind=ErrorClass.PROVIDER)

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=_Guard(loopback=self._loopback), limit=16),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    def _checked(self, url: str) -> URL:
        """The URL if a clip may be fetched from it. Addresses behind names are checked when they are dialled."""
        try:
            target = URL(url)
            host = target.host or ""
        except ValueError:
            raise FetchFailed("the provider's result is not a URL", kind=ErrorClass.PROVIDER) from None
        shown = without_secrets(url)[:SHOWN]
        here = self._loopback and is_loopback(host)
        if target.scheme != "https" and not (here and target.scheme == "http"):
            raise FetchFailed(f"the result is not an https URL: {shown}", kind=ErrorClass.PROVIDER)
        if target.user or target.password or not host:
            raise FetchFailed(f"the result is no plain URL: {shown}", kind=ErrorClass.PROVIDER)
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(host.strip("[]").partition("%")[0])
            if not allowed_address(host.strip("[]"), loopback=self._loopback):
                raise FetchFailed(f"the result is not on a public address: {shown}", kind=ErrorClass.PROVIDER)
        return target

    async def _save(self, response: aiohttp.ClientResponse, file: _Part) -> None:
        if response.status in (403, 404, 410):
            raise NotFound(f"the clip's URL answers {response.status}", kind=ErrorClass.EXPIRED)
        if response.status == 416:
            file.drop()
            raise FetchFailed("the file changed since the last try", kind=ErrorClass.PROVIDER)
        going_on = response.status == 206 and _range_start(response) == file.start > 0
        if response.status != 200 and not going_on:
            raise FetchFailed(f"the clip's URL answers {response.status}", kind=ErrorClass.PROVIDER)
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise FetchFailed("the clip comes compressed, which nobody asked for", kind=ErrorClass.PROVIDER)
        offset = file.start if going_on else 0
        length = response.content_length
        if length is not None and offset + length > self._max_bytes:
            raise FetchFailed(f"the clip is larger than {self._max_bytes} bytes", kind=ErrorClass.PROVIDER)
        with file.open(response.headers.get("ETag", ""), going_on=going_on) as stream:
            received = await self._stream(response, stream, offset)
        if length is not None and received != length:
            raise FetchFailed(f"{received} of {length} bytes arrived", kind=ErrorClass.NETWORK)

    async def _stream(self, response: aiohttp.ClientResponse, file: BinaryIO, offset: int) -> int:
        loop = asyncio.get_running_loop()
        begun, received, mark = loop.time(), 0, 0
        async for piece in response.content.iter_any():
            file.write(piece)
            received += len(piece)
            if offset + received > self._max_bytes:
                raise FetchFailed(f"the clip is larger than {self._max_bytes} bytes", kind=ErrorClass.PROVIDER)
            if loop.time() - begun > RATE_WINDOW:
                if received - mark < MIN_RATE * RATE_WINDOW:
                    raise FetchFailed("the download has stalled", kind=ErrorClass.NETWORK)
                begun, mark = loop.time(), received
        return received


def _range_start(response: aiohttp.ClientResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None
