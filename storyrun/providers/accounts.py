"""Where and with which key a clip was ordered: the text that pins its ledger row to an account.

`https://dashscope-intl.aliyuncs.com a1b2c3d4e5f6`: the base URL, and a short print of the key. A task is known at one
host and to one account only, so that elsewhere "not found" means nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from storyrun.http import Secret

DIGITS = 12
"""Of the print. 48 bits tell the keys of a studio apart and say nothing about a key: keys are random and longer than a
hundred bits, so that for each print there are more keys than anyone can try, and the place to try one is the provider
itself. The base URL goes into the hash, so that the print of one key is another one elsewhere."""

Difference = Literal["", "base", "key"]


class Account(NamedTuple):
    """A base URL (scheme, host, port, path prefix) and the print of a key."""

    base: str
    key: str

    def __str__(self) -> str:
        return f"{self.base} {self.key}"


def of(base: str, key: Secret) -> Account:
    """The account behind a base URL and a key."""
    place = origin(base)
    said = "\n".join(("storyrun account", place, key.reveal()))
    return Account(place, hashlib.sha256(said.encode()).hexdigest()[:DIGITS])


def origin(base: str) -> str:
    """A base URL in the one form in which it is compared: small letters, no port that goes without saying."""
    parts = urlsplit(base)
    host = parts.hostname or ""
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path.rstrip('/')}"


def read(stored: str) -> Account | None:
    """The account in a ledger row; None where nobody knows: in older ledgers, and on the animatic."""
    base, _, key = stored.partition(" ")
    return Account(base, key) if base and key else None


def difference(ordered: str, today: str) -> Difference:
    """How the account of a row is another one than today's; "" for the same, and where nobody knows."""
    then, now = read(ordered), read(today)
    if then is None or now is None or then == now:
        return ""
    return "base" if then.base != now.base else "key"


def place(stored: str) -> str:
    """Where an account is, for people: `dashscope-intl.aliyuncs.com`; "" where nobody knows."""
    account = read(stored)
    return account.base.removeprefix("https://") if account else ""
