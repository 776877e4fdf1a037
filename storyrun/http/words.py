"""Keys that do not print, URLs without their queries, base URLs, Retry-After: what both clients say and read."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from datetime import UTC
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
DEEPEST = 64
"""Levels of JSON that an answer may have; every reader of it may then recurse."""
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
    """A text without the keys and passwords, and with every URL cut before its query (signed URLs are keys too).

    JSON stays JSON: a URL ends before an escaped quotation mark, and may have its slashes escaped.
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret.reveal(), "***")
    return _QUERY.sub(r"\1?...", _USER.sub(r"\1***@", text))


_USER = re.compile(r"""(https?:(?:\\?/){2})[^\s"'<>?/@\\]+@""", re.IGNORECASE)
_QUERY = re.compile(
    r"""(https?:(?:\\?/){2}(?:[^\s"'<>?\\]|\\[/u])+)\?(?:[^\s"'<>\\]|\\[/u])*""",
    re.IGNORECASE,
)


def base_url(text: str, versions: tuple[str, ...]) -> str:
    """A provider's base URL without a trailing slash or version path. Raises `UsageError` if it cannot be used.

    `versions` are the endings that users write although we add them: "/v1", "/api/v1".
    """
    text = text.strip()
    try:
        parts = urlsplit(text)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # brackets that do not close, a port that is no number
        sound = False
    if not sound or parts.scheme not in ("https", "http") or re.search(r"[\s?#@\\]|[^\x20-\x7e]", text):
        shown = re.sub(r"^.*@", "***@", text) if "@" in text else without_secrets(text)
        raise UsageError(f"`{shown}` is not a base URL", "write it like https://api.example.com")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise UsageError(f"http://{parts.hostname} would send the key in the open", "use https://")
    cut = text.rstrip("/")
    ending = max((version for version in versions if cut.endswith(version)), key=len, default="")
    return cut.removesuffix(ending).rstrip("/")


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
    date = moment(value)
    return None if date is None else max(0.0, (date - now).total_seconds())


def moment(value: str | None) -> datetime | None:
    """The moment of an HTTP date, None when it is none. A date that names no zone is in UTC (RFC 9110, 5.6.7)."""
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        date = parsedate_to_datetime(value or "")
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None


def as_json(text: str) -> Any:
    """The JSON of a text; None when it is none, or too deep to be meant well."""
    try:
        found = json.loads(text.removeprefix("\ufeff"), parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    level = [found]
    for _ in range(DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, (dict, list))
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    return None
