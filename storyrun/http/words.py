"""Keys that do not print, URLs without their queries, base URLs, Retry-After: what both clients say and read."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
from base64 import b64encode
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn
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
    """A key that does not print itself, and is neither pickled nor copied."""

    __slots__ = ("_pattern", "_value")

    def __init__(self, value: str) -> None:
        self._value = value
        self._pattern: re.Pattern[str] | None = None

    def reveal(self) -> str:
        """The key, for the one header that carries it."""
        return self._value

    def removed(self, text: str) -> str:
        """A text with stars where the key was: as it is, escaped in any of the usual ways, in base64, or cut off."""
        if not self._value:
            return text
        if self._pattern is None:
            self._pattern = re.compile("|".join([_escaped(self._value), *map(_escaped, _base64(self._value))]))
        text = self._pattern.sub("***", text)
        for length in range(min(len(self._value) - 1, len(text)), SHORTEST_PIECE - 1, -1):
            if text.endswith(self._value[:length]):
                return f"{text[:-length]}***"
        return text

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, form: str) -> str:
        return format("***", form)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key is not written down")


SHORTEST_PIECE = 8
"""Characters of a key that are worth hiding by themselves: where a text was cut in the middle of it, and in base64."""


def without_secrets(text: str, *secrets: Secret) -> str:
    """A text without the keys and passwords, and with every URL cut before its query (signed URLs are keys too).

    A key is found in its usual disguises: escaped for JSON, URLs, HTML or Python, and in base64. So is a signature
    without its URL. JSON stays JSON: a URL ends before an escaped quotation mark, and may have its slashes escaped.
    """
    for secret in secrets:
        text = secret.removed(text)
    text = _USER.sub(r"\1***@", text)
    for url in (_URL, _QUOTED_URL):
        text = url.sub(lambda found: found[1] + ("?..." if found[2] else ""), text)
    return _SIGNED.sub(r"\1***", text)


_USER = re.compile(r"""(https?:(?:\\?/){2})[^\s"'<>?/@\\]+@""", re.IGNORECASE)
_URL = re.compile(
    r"""(https?:(?:\\?/){2}(?:[^\s"'<>?\\]|\\/|\\u(?!003f))++)((?:\?|\\u003f)(?:[^\s"'<>\\]|\\[/u])*+)?""",
    re.IGNORECASE,
)
"""A URL and its query. It matches also without one: else a text full of beginnings would be read again from each."""
_QUOTED_URL = re.compile(
    r"""(https?%3a%2f%2f(?:(?!%3f)[^\s"'<>\\&?])++)(%3f[^\s"'<>\\&]*+)?""",
    re.IGNORECASE,
)
"""A URL that is a value in another one."""
_SIGNED = re.compile(
    r"""
    (?<![^\W_]) (
        (?: (?:x-amz|x-oss|x-goog|q)-(?:signature|credential|security-token) | signature | security-token
          | (?:oss|aws)accesskeyid | sig | token | access_token | api_?key | expires )
        (?: = | %3d | \\u003d )
    )
    (?: [^\s"'<>\\&%;,)\]}] | %(?!26) )+
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What makes a URL a key, when it stands alone (the names of Amazon, Alibaba, Google, Tencent and Azure)."""


def _escaped(value: str) -> str:
    """A pattern for a text in which any character may be escaped: for JSON (also twice), URLs, HTML, Python, shells."""
    return "".join(map(_character, value))


def _character(sign: str) -> str:
    code = ord(sign)
    named = {'"': "&quot;", "'": "&apos;", "&": "&amp;", "<": "&lt;", ">": "&gt;", " ": r"\+"}.get(sign, "")
    ways = [
        re.escape(sign) if sign.isalnum() else rf"\\{{0,8}}{re.escape(sign)}",
        rf"\\{{1,8}}(?:u00|x)(?i:{code:02x})",
        rf"%(?:25){{0,2}}(?i:{code:02x})",
        rf"&\#(?:0{{0,4}}{code}|[xX]0{{0,4}}(?i:{code:x}));",
        *filter(None, [named]),
    ]
    return f"(?:{'|'.join(ways)})"


def _base64(value: str) -> list[str]:
    """What of a key can be read in the base64 of any text that holds it: it may begin at each byte of three."""
    if len(value) < SHORTEST_PIECE:
        return []
    found = []
    for before in range(3):
        coded = b64encode(b"\0" * before + value.encode()).decode("ascii").rstrip("=")
        # the outer characters also depend on what stands around the key
        sure = coded[(0, 2, 3)[before] : len(coded) - 1]
        found += [sure, sure.translate({ord("+"): "-", ord("/"): "_"})]
    return list(dict.fromkeys(found))


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


def one_line(text: str) -> str:
    """Somebody else's words on one line, with nothing that a terminal obeys."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def _finite(digits: str) -> float | None:
    """A number with a point or an exponent; None for one that is too large, which no JSON of ours could repeat."""
    number = float(digits)
    return number if isfinite(number) else None


def as_json(text: str) -> Any:
    """The JSON of a text; None when it is none, or too deep to be meant well."""
    try:
        found = json.loads(text.removeprefix("\ufeff"), parse_constant=lambda _: None, parse_float=_finite)
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
