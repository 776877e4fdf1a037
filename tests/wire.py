"""A server on this machine that does to a connection what a test says, byte by byte, and keeps what it heard."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl
    from types import TracebackType


@dataclass(frozen=True)
class Heard:
    """A request as it arrived. Header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Play = Callable[[Heard, asyncio.StreamWriter], Awaitable[bool]]
"""What to do after a request; True: listen for another one on the same connection."""


class Wire:
    """`async with Wire(play, play) as wire`: the first request gets the first play, later ones the last.

    `on_connect` comes before anything is read.
    """

    def __init__(
        self,
        *plays: Play,
        on_connect: Callable[[asyncio.StreamWriter], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.plays = list(plays)
        self.heard: list[Heard] = []
        self.connections = 0
        self._on_connect = on_connect
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Wire:
        self._server = await asyncio.start_server(self._listen, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)
        await self._server.wait_closed()

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = asyncio.ensure_future(self._talk(reader, writer))
        self._lines.add(line)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await line
        self._lines.discard(line)
        writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._on_connect is not None:
            self._on_connect(writer)
        going = True
        while going:
            heard = await _request(reader)
            self.heard.append(heard)
            play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
            going = await play(heard, writer)


async def _request(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = b""
    if headers.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readline()
    else:
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Heard(method, target, headers, body)


# ── plays ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def response(body: bytes = b"", status: int = 200, *, length: int | None = None, **headers: str) -> bytes:
    """An HTTP response. `length` may lie; -1 leaves it out. Header names are written with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if length != -1:
        named["Content-Length"] = str(len(body) if length is None else length)
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} What\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


def answer(body: bytes = b"{}", status: int = 200, **more: Any) -> Play:
    """Answer, and listen on."""
    return send(response(body, status, **more), then="listen")


def send(data: bytes, *, then: str = "close") -> Play:
    """Send these bytes and close, reset, hold (silent and open) or listen on."""

    async def play(_: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(data)
        await writer.drain()
        if then == "reset":
            reset(writer)
        elif then == "hold":
            await asyncio.Event().wait()
        return then == "listen"

    return play


def drip(data: bytes, every: float) -> Play:
    """Send these bytes one at a time."""

    async def play(_: Heard, writer: asyncio.StreamWriter) -> bool:
        for byte in data:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(every)
        return False

    return play


def endless(head: bytes, piece: bytes) -> Play:
    """Send the same piece for ever, as fast as it is taken."""

    async def play(_: Heard, writer: asyncio.StreamWriter) -> bool:
        writer.write(head)
        while True:
            writer.write(piece)
            await writer.drain()

    return play


def reset(writer: asyncio.StreamWriter) -> None:
    """Close so that the other end gets a reset, not an end."""
    raw = writer.transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
