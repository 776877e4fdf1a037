"""Files by URL: clips behind signatures that expire, and what users uploaded."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from aiohttp import web

if TYPE_CHECKING:
    from storyrun.sandbox.orders import Pixels


@dataclass(frozen=True)
class Upload:
    """A file that somebody sent. `model` is what it was uploaded for, "" where that is not asked."""

    data: bytes
    content_type: str
    account: str
    model: str = ""

    @property
    def pixels(self) -> Pixels | None:
        """The size of a picture; None for anything else."""
        return measured(self.data)


def measured(data: bytes) -> Pixels | None:
    """The pixels of a picture; None for what is none."""
    import imagesize

    width, height = imagesize.get(io.BytesIO(data))
    return (width, height) if width > 0 and height > 0 else None


def of_data_url(url: str) -> Pixels | None:
    """The pixels of a picture inside a data URL."""
    try:
        return measured(base64.b64decode(url.partition(",")[2], validate=True))
    except ValueError:
        return None


class Signer:
    """Signs paths for a while, as object stores do."""

    def __init__(self, seed: int) -> None:
        self._secret = hashlib.sha256(f"storyrun sandbox {seed}".encode()).digest()

    def query(self, path: str, expires: int) -> str:
        """What to write behind the ? of a path."""
        return f"Expires={expires}&OSSAccessKeyId=SANDBOX&Signature={quote(self.sign(path, str(expires)), safe='')}"

    def sign(self, path: str, expires: str) -> str:
        """The signature, in base64: with the + / = that a careless client mangles."""
        said = hmac.digest(self._secret, f"GET\n{expires}\n{path}".encode(), "sha256")
        return base64.b64encode(said).decode()

    def complaint(self, request: web.Request, now: float) -> str:
        """Why a request is not let through; "" if it is."""
        expires = request.query.get("Expires", "")
        if not hmac.compare_digest(
            request.query.get("Signature", "").encode(), self.sign(request.path, expires).encode()
        ):
            return "The request signature we calculated does not match the signature you provided."
        return "" if now < int(expires) else "Request has expired."


def tag(data: bytes) -> str:
    """The ETag of a file."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest().upper()}"'


def ranged(request: web.Request, data: bytes, content_type: str) -> web.Response:
    """A file, or the one range of it that was asked for, if it is still the file that the asker means."""
    headers = {"ETag": tag(data), "Accept-Ranges": "bytes", "Content-Type": content_type}
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    if not asked or asked[0] == "bytes=-" or request.headers.get("If-Range", tag(data)) != tag(data):
        return web.Response(body=data, headers=headers)
    if asked[1]:
        first, last = int(asked[1]), min(int(asked[2] or len(data)), len(data) - 1)
    else:
        first, last = max(0, len(data) - int(asked[2])), len(data) - 1
    if first > last:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
    return web.Response(status=206, body=data[first : last + 1], headers=headers)


def complaint_xml(code: str, message: str, status: int) -> web.Response:
    """An error as object stores write it."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(text=text, status=status, content_type="application/xml")
