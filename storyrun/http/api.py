"""The client that has the key: it follows no redirect and repeats nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from storyrun.errors import LostAnswer, MissedPoll, NotSent, UsageError
from storyrun.http.addresses import dialled_only_if_allowed, leads_somewhere_safe
from storyrun.http.causes import shorn
from storyrun.http.words import (
    CONNECT,
    READ,
    SHOWN,
    Secret,
    as_json,
    is_loopback,
    moment,
    one_line,
    retry_after,
    without_secrets,
)
from storyrun.records import Answer, ErrorClass

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATE_READ = 120.0
"""Seconds between two bytes of the answer to a create. Long: giving up early is what costs."""
QUESTION = 120.0
"""Seconds for a whole question and its answer: one that drips would never end."""
MAX_BODY = 1024 * 1024

NEVER_LEFT = (
    aiohttp.ClientConnectorError,  # refused, unreachable, TLS handshake; DNS and certificate errors are its children
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.InvalidURL,  # a host that looks like an address and is none is found out when it is dialled
)


class ApiClient:
    """Talks to one provider with its key. Redirects off, no retry, bounded bodies."""

    def __init__(self, base: str, key: Secret, *, headers: Mapping[str, str] | None = None) -> None:
        """Raises `UsageError` when no header can carry the key."""
        if not (key.reveal().isascii() and key.reveal().isprintable()):
            raise UsageError("the key holds characters that no key has", "copy it again: one line of plain characters")
        self.base = base
        self.key = key
        self._headers = {"Authorization": f"Bearer {key.reveal()}", **(headers or {})}
        self._creates: aiohttp.ClientSession | None = None
        self._questions: aiohttp.ClientSession | None = None

    async def create(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """One POST that may buy something. Any status is an answer; its body is without keys and signatures.

        Raises `NotSent` or `LostAnswer`, which keeps what came of a body that was cut.
        """
        if self._creates is None:
            # a fresh connection each: one that was kept alive may be dead, and then nobody knows what it carried
            self._creates = self._session(
                aiohttp.TCPConnector(force_close=True),
                aiohttp.ClientTimeout(total=None, connect=CONNECT, sock_connect=CONNECT, sock_read=CREATE_READ),
            )
        received = bytearray()
        try:
            async with self._creates.post(
                self.base + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                await _read(response, received)
                return self._answer(response, self._kept(received))
        except NEVER_LEFT as error:
            raise NotSent(self._said("could not reach", error), kind=ErrorClass.NETWORK) from shorn(error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            said = self._said("no usable answer from", error)
            raise LostAnswer(said, kind=ErrorClass.NETWORK, raw=self._kept(received)) from shorn(error)

    async def ask(
        self, path: str, params: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> tuple[int, Any, Answer]:
        """One idempotent question: status, the JSON of the answer (None if it is none), and the answer itself.

        The answer is as it came, with signed URLs in it: not to be written down or shown as it is. Raises
        `MissedPoll` when none came.
        """
        if self._questions is None:
            self._questions = self._session(
                aiohttp.TCPConnector(limit=20),
                aiohttp.ClientTimeout(total=QUESTION, sock_connect=CONNECT, sock_read=READ),
            )
        received = bytearray()
        try:
            async with self._questions.request(
                method, self.base + path, params=params, allow_redirects=False
            ) as response:
                await _read(response, received)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MissedPoll(self._said("no answer from", error), kind=ErrorClass.NETWORK) from shorn(error)
        text = _text(received)
        return response.status, as_json(text), self._answer(response, text)

    async def upload(self, url: str, form: aiohttp.FormData, *, with_key: bool) -> tuple[int, Any, str]:
        """Send a file as a form: status, JSON and text of the answer. Costs nothing; raises `MissedPoll`.

        With the key to the provider only; without it wherever the provider says, if that is https and public (or on
        this machine, where the provider is).
        """
        here = is_loopback(urlsplit(self.base).hostname or "")
        if not (url.startswith(self.base + "/") if with_key else leads_somewhere_safe(url, loopback=here)):
            raise MissedPoll(f"no file goes to {without_secrets(url)[:SHOWN]}", kind=ErrorClass.PROVIDER)
        guard = None if with_key else dialled_only_if_allowed(loopback=here)
        connector = aiohttp.TCPConnector(socket_factory=guard)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=CREATE_READ)
        received = bytearray()
        try:
            async with (
                self._session(connector, timeout, keyless=not with_key) as session,
                session.post(url, data=form, allow_redirects=False) as response,
            ):
                await _read(response, received)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MissedPoll(self._said("upload failed:", error), kind=ErrorClass.NETWORK) from shorn(error)
        text = _text(received)
        return response.status, as_json(text), text

    async def aclose(self) -> None:
        """Close the connections."""
        for session in (self._creates, self._questions):
            if session is not None:
                await session.close()

    def _session(
        self, connector: aiohttp.TCPConnector, timeout: aiohttp.ClientTimeout, *, keyless: bool = False
    ) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=None if keyless else self._headers,
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            raise_for_status=False,
        )

    def _answer(self, response: aiohttp.ClientResponse, text: str) -> Answer:
        location = without_secrets(response.headers.get("Location", ""), self.key)[:SHOWN]
        request_id = without_secrets(_request_id(response), self.key)[:200]
        return Answer(response.status, text, request_id, _wait(response), location)

    def _kept(self, received: bytearray) -> str:
        """A body as it may be written down."""
        return without_secrets(_text(received), self.key)

    def _said(self, what: str, error: BaseException) -> str:
        host = urlsplit(self.base).netloc
        said = without_secrets(str(error) or type(error).__name__, self.key)
        return f"{what} {host}: {one_line(said)[:SHOWN]}"


async def _read(response: aiohttp.ClientResponse, received: bytearray) -> None:
    """At most `MAX_BODY` bytes of a body, decompressed; what is longer is cut. What came is there after an error."""
    async for piece in response.content.iter_any():
        received += piece[: MAX_BODY - len(received)]
        if len(received) >= MAX_BODY:
            response.close()
            break


def _text(received: bytearray) -> str:
    return received.decode("utf-8", "replace")


def _wait(response: aiohttp.ClientResponse) -> float | None:
    """What the server asks us to wait, by its own clock: that is the one it counted by."""
    now = moment(response.headers.get("Date")) or datetime.now(UTC)
    return retry_after(response.headers.get("Retry-After"), now)


def _request_id(response: aiohttp.ClientResponse) -> str:
    for name in ("X-Request-Id", "X-DashScope-Request-Id", "Request-Id"):
        if name in response.headers:
            return one_line(response.headers[name])
    return ""
