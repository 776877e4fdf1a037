"""Keys that do not print, URLs without their queries, base URLs, Retry-After: what both clients say and read."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from storyrun.errors import UsageError

if TYPE_CHECKING:
    from datetime import datetime

CONNECT = 15.0
"""Seconds to get a connection."""
READ = 30.0
"""Seconds between two bytes of an answer that buys nothing."""
SHOWN = 300
"""Characters of somebody else's words that a sentence of ours repeats."""


class Secret:
    """A key that does not print itself."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The key, for the one header that carries it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)


def without_secrets(text: str, *secrets: Secret) -> str:
    """A text without the keys, and with every URL cut before its query (signed URLs are keys too)."""
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), "***")
    return re.sub(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]*", r"\1?...", text)


def base_url(text: str, versions: tuple[str, ...]) -> str:
    """A provider's base URL without a trailing slash or version path. Raises `UsageError` if it cannot be used.

    `versions` are the endings that users write although we add them: "/v1", "/api/v1".
    """
    parts = urlsplit(text.strip())
    loopback = is_loopback(parts.hostname or "")
    if not parts.hostname or parts.scheme not in ("https", "http") or parts.query or parts.fragment or parts.username:
        raise UsageError(f"`{without_secrets(text)}` is not a base URL", "write it like https://api.example.com")
    if parts.scheme == "http" and not loopback:
        raise UsageError(f"http://{parts.hostname} would send the key in the open", "use https://")
    cut = text.strip().rstrip("/")
    for ending in versions:
        cut = cut.removesuffix(ending).rstrip("/")
    return cut


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def retry_after(value: str | None, now: datetime) -> float | None:
    """A `Retry-After` header, seconds or a date, as seconds from `now`; None when it says nothing."""
    if value is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, (parsedate_to_datetime(value) - now).total_seconds())
    return None


def as_json(text: str) -> Any:
    """The JSON of a text; None when it is none, or too deep to be meant well."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
