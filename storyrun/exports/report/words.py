"""Texts and figures as the page and the contact sheet print them."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import tzinfo

    Clip = Mapping[str, Any]

_CODES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]")


def harmless(text: str) -> str:
    """A text in which nothing hides or reorders: control characters, overrides and half characters show as signs."""
    return _CODES.sub(_sign, text.replace("\r\n", "\n"))


def _sign(match: re.Match[str]) -> str:
    number = ord(match[0])
    return chr(0x2400 + number) if number < 32 else "\u2421" if number == 127 else f"\\u{number:04x}"


def shortened(text: str, most: int) -> str:
    """The first characters of a text on one line, cut between words where that can be."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    head = line[:most]
    return f"{head.rpartition(' ')[0] or head}…"


def moment(text: str, zone: tzinfo) -> str:
    """`20 Nov 2026, 21:40`."""
    then = datetime.fromisoformat(text).astimezone(zone)
    return f"{then.day} {then.strftime('%b %Y, %H:%M')}"


def number(value: float) -> str:
    """A number without needless digits: `5`, `2.5`, `23.976`."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def seconds(value: float) -> str:
    """`5 s`, `2.5 s`."""
    return f"{number(value)} s"


def amount(value: Decimal) -> str:
    """An amount with two decimals, or with as many as it has."""
    whole, _, decimals = f"{value:.6f}".rstrip("0").partition(".")
    return f"{whole}.{decimals:0<2}"


def money(entry: Mapping[str, Any]) -> str:
    """`9.00 USD`, `~9.00 USD` for an upper bound."""
    return f"{'' if entry['exact'] else '~'}{amount(Decimal(str(entry['amount'])))} {entry['currency']}".rstrip()


def cost(clip: Clip) -> str:
    """What a clip counts as spent; empty where that is nothing or not known."""
    entry = clip["cost"]["billed"] or clip["cost"]["quoted"]
    return money(entry) if entry and entry["currency"] and entry["amount"] else ""


def size(count: int) -> str:
    """`1.5 MB`, `12 kB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"
