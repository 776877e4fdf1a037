"""Which addresses a URL of somebody else may lead to, checked where the connection is dialled."""

from __future__ import annotations

import errno
import ipaddress
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from storyrun.http.words import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

NAT64 = ipaddress.ip_network("64:ff9b::/96")
COMPATIBLE = ipaddress.ip_network("::/96")
"""IPv6 addresses whose last 32 bits are an IPv4 address (RFC 6052, RFC 4291)."""


class Blocked(OSError):
    """An address that a URL of somebody else may not lead to."""


def allowed_address(address: str, *, loopback: bool) -> bool:
    """Whether a clip may be fetched from an address: public ones, and loopback for a provider on loopback."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False  # also 2852039166 and 0251.0376.0251.0376, which a socket would take for 169.254.169.254
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    if parsed.is_loopback:
        return loopback
    return all(_public(each) for each in (parsed, _carried(parsed)) if each is not None)


def leads_somewhere_safe(url: str, *, loopback: bool) -> bool:
    """Whether a URL by itself may be used: https, or http to this machine where the provider is too; no user in it."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    here = loopback and is_loopback(parts.hostname or "")
    plain = bool(parts.hostname) and "@" not in parts.netloc
    return plain and (parts.scheme == "https" or (here and parts.scheme == "http"))


def dialled_only_if_allowed(*, loopback: bool) -> Callable[[Any], socket.socket]:
    """A socket factory for aiohttp. It sees each address just before it is dialled, so no name can change its mind."""

    def open_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not allowed_address(str(address[0]), loopback=loopback):
            raise Blocked(errno.EACCES, f"{address[0]} is not a public address")
        return socket.socket(family, kind, protocol)

    return open_socket


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not getattr(address, "is_site_local", False)


def _carried(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to: NAT64, compatible, 6to4, Teredo."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address in NAT64 or address in COMPATIBLE:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.sixtofour or (teredo[1] if teredo else None)
