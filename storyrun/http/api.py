"""The client that has the key: it follows no redirect and repeats nothing."""

from __future__ import annotations

import contextlib
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from storyrun.errors import LostAnswer, MissedPoll, NotSent
from storyrun.http.words import CONNECT, READ, SHOWN, Secret, as_json, retry_after, without_secrets
from storyrun.records import Answer, ErrorClass

if TYPE_CHECKING:
    from collections.abc import Mapping

CREATE_READ = 120.0
"""Seconds between two bytes of the answer to a create. Long: giving up early is what costs."""
MAX_BODY = 1024 * 1024

NEVER_LEFT = (
    aiohttp.ClientConnectorError,  # refused, unreachable, TLS handshake; DNS and certificate errors are its children
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ClientProxyConnectionError,
)


class ApiClient:
    """Talks to one provider with its key. Redirects off, no retry, bounded bodies."""

    def __init__(self, base: str, key: Secret, *, headers: Mapping[str, str] | None = None) -> None:
        self.base = base
        self.key = key
        self._headers = {"Authorization": f"Bearer {key.reveal()}", **(headers or {})}
        self._creates: aiohttp.ClientSession | None = None
        self._questions: aiohttp.ClientSession | None = None

    async def create(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """One POST that may buy something. Raises `NotSent` or `LostAnswer`; any status is an answer."""
        if self._creates is None:
            # a fresh connection each: one that was kept alive may be dead, and then nobody knows what it carried
            self._creates = self._session(CREATE_READ, aiohttp.TCPConnector(force_close=True))
        try:
            async with self._creates.post(
                self.base + path, json=body, headers=headers, allow_redirects=False
            ) as response:
                text = await _bounded_text(response)
                return Answer(response.status, text, _request_id(response), self._wait(response))
        except NEVER_LEFT as error:
            raise NotSent(self._said("could not reach", error), kind=ErrorClass.NETWORK) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise LostAnswer(self._said("no usable answer from", error), kind=ErrorClass.NETWORK) from error

    async def ask(
        self, path: str, params: Mapping[str, str] | None = None, *, method: str = "GET"
    ) -> tuple[int, Any, Answer]:
        """One idempotent question: status, the JSON of the answer (None if it is none), and the answer itself.

        Raises `MissedPoll` when no answer came.
        """
        if self._questions is None:
            self._questions = self._session(READ, aiohttp.TCPConnector(limit=20))
        try:
            async with self._questions.request(
                method, self.base + path, params=params, allow_redirects=False
            ) as response:
                text = await _bounded_text(response)
                answer = Answer(response.status, text, _request_id(response), self._wait(response))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MissedPoll(self._said("no answer from", error), kind=ErrorClass.NETWORK) from error
        return answer.status, as_json(text), answer

    async def upload(self, url: str, form: aiohttp.FormData, *, with_key: bool) -> tuple[int, Any, str]:
        """Send a file as a form: status, JSON and text of the answer. Costs nothing; raises `MissedPoll`."""
        session = self._session(CREATE_READ, aiohttp.TCPConnector(), keyless=not with_key)
        try:
            async with session, session.post(url, data=form, allow_redirects=False) as response:
                text = await _bounded_text(response)
                return response.status, as_json(text), text
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise MissedPoll(self._said("upload failed:", error), kind=ErrorClass.NETWORK) from error

    async def aclose(self) -> None:
        """Close the connections."""
        for session in (self._creates, self._questions):
            if session is not None:
                await session.close()

    def _session(self, read: float, connector: aiohttp.TCPConnector, *, keyless: bool = False) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=connector,
            headers=None if keyless else self._headers,
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=CONNECT, sock_read=read),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            raise_for_status=False,
        )

    def _wait(self, response: aiohttp.ClientResponse) -> float | None:
        from datetime import UTC, datetime

        sent = response.headers.get("Date")
        now = datetime.now(UTC)
        with contextlib.suppress(ValueError, TypeError):
            now = parsedate_to_datetime(sent) if sent else now  # the server's own clock is the one it counted by
        return retry_after(response.headers.get("Retry-After"), now)

    def _said(self, what: str, error: BaseException) -> str:
        host = urlsplit(self.base).netloc
        said = without_secrets(str(error) or type(error).__name__, self.key)
        return f"{what} {host}: {said[:SHOWN]}"


async def _bounded_text(response: aiohttp.ClientResponse) -> str:
    """At most `MAX_BODY` bytes of a body, decoded; what is longer is cut."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        pieces.append(piece[: MAX_BODY - size])
        size += len(piece)
        if size >= MAX_BODY:
            response.close()
            break
    return b"".join(pieces).decode("utf-8", "replace")


def _request_id(response: aiohttp.ClientResponse) -> str:
    for name in ("X-Request-Id", "X-DashScope-Request-Id", "Request-Id"):
        if name in response.headers:
            return response.headers[name][:200]
    return ""
