"""What a body orders: judged by the sandbox's own schemas, and read into seconds, pixels and sound.

Independent of the model cards and of the providers on purpose: the sandbox says what the services' pages say, and so
finds out when the rest of the program does not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Pixels = tuple[int, int]

AREAS = {"480p": 832 * 480, "720p": 1280 * 720, "1080p": 1920 * 1080}

_OLD: dict[str, dict[str, Pixels]] = {
    "480p": {"16:9": (832, 480), "9:16": (480, 832), "1:1": (624, 624)},
    "720p": {"16:9": (1280, 720), "9:16": (720, 1280), "1:1": (960, 960), "4:3": (1088, 832), "3:4": (832, 1088)},
    "1080p": {
        "16:9": (1920, 1080),
        "9:16": (1080, 1920),
        "1:1": (1440, 1440),
        "4:3": (1632, 1248),
        "3:4": (1248, 1632),
    },
}
_NEW: dict[str, dict[str, Pixels]] = {
    **_OLD,
    "720p": {**_OLD["720p"], "4:3": (1104, 832), "3:4": (832, 1104)},
    "1080p": {**_OLD["1080p"], "4:3": (1648, 1248), "3:4": (1248, 1648)},
}
"""Pixels by tier and ratio, up to Wan 2.6 and from 2.7 on. What is in no table gets the tier's area."""


NEVER: dict[str, Any] = {"not": {}}
"""The schema that nothing fits. A plain `false` would not say which field it was."""


class Refusal(Exception):
    """A request that is refused. `kind` is one of `KINDS`; each dialect has its own status and code for it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


KINDS = (
    *("credentials", "balance", "moderation", "parameter", "model", "endpoint", "synchronous", "media"),
    *("rate_limit", "internal", "not_pending"),
)


@dataclass(frozen=True)
class Order:
    """One clip as a body ordered it."""

    model: str
    mode: str
    """text, image, frames or reference."""
    prompt: str
    seconds: int
    tier: str
    """480p, 720p or 1080p."""
    size: Pixels
    ratio: str
    sounding: bool
    body: Mapping[str, Any]
    business_id: str = ""


@dataclass(frozen=True)
class Document:
    """The schema of one dialect, and which shape each model takes."""

    name: str

    @property
    def models(self) -> Mapping[str, Any]:
        return _document(self.name)[1]

    def model(self, name: str) -> Mapping[str, Any]:
        """What the document says of a model. Raises `Refusal`."""
        if name not in self.models:
            raise Refusal("model", f"Model not exist: {name}")
        found: Mapping[str, Any] = self.models[name]
        return found

    def judge(self, body: Any) -> Mapping[str, Any]:
        """The model's entry, if the body fits its shape. Raises `Refusal` with the field and what is wrong."""
        if not isinstance(body, dict) or not isinstance(body.get("model"), str):
            raise Refusal("parameter", "model: a model is required")
        entry = self.model(body["model"])
        for rule in (entry["shape"], "body", body["model"]):
            error = _worst(_validator(self.name, rule).iter_errors(body))
            if error:
                raise Refusal("parameter", error)
        return entry


def _worst(errors: Iterator[Any]) -> str:
    """The deepest of the errors, as `field: what is wrong`; "" for none."""
    from jsonschema.exceptions import best_match

    error = best_match(errors)
    if error is None:
        return ""
    where = ".".join(str(part) for part in error.absolute_path) or "body"
    told = "is not a field of this model" if error.validator_value == {} else error.message[:300]
    return f"{where}: {told}"


@cache
def _document(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    document = json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
    models = {}
    for model, entry in document["models"].items():
        for word in (model, *entry.get("also", ())):
            models[word] = entry
    return document, models


@cache
def _validator(name: str, rule: str) -> Any:
    """A shape of the document, or, under a model's name, what its entry says."""
    import jsonschema

    document, models = _document(name)
    schema: dict[str, Any] = {"$defs": document["$defs"], "$ref": f"#/$defs/{rule}"}
    if rule in models:
        entry = models[rule]
        limits: dict[str, Any] = {"duration": entry["duration"]}
        if entry["shape"] in ("size", "reference_urls"):
            sizes = sorted(f"{w}*{h}" for tier in entry["resolution"]["enum"] for w, h in _OLD[tier.lower()].values())
            limits["size"] = {"enum": sizes}
        else:
            limits["resolution"] = entry["resolution"]
        if entry["sound"] != "switch":
            limits["audio"] = NEVER
        if not entry.get("shot_type"):
            limits["shot_type"] = NEVER
        if name == "toapis":  # flat, and with fields that do nothing for a model but are on its page
            schema = {"properties": {key: limits[key] for key in ("duration", "resolution")}}
        else:
            given = {} if entry.get("audio_url") or entry["shape"] == "wan2.7-text" else {"audio_url": NEVER}
            schema = {"properties": {"parameters": {"properties": limits}, "input": {"properties": given}}}
    return jsonschema.Draft202012Validator(schema)


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_dashscope(body: Any, document: Document, pixels: Callable[[str], Pixels | None]) -> Order:
    """The order of a DashScope body. `pixels` measures a picture that was uploaded here. Raises `Refusal`."""
    entry = document.judge(body)
    given, parameters = body["input"], body.get("parameters", {})
    media = given.get("media", ())
    first = given.get("img_url") or given.get("first_frame_url") or _first(media, "first_frame", "first_clip")
    last = given.get("last_frame_url") or _first(media, "last_frame")
    references = given.get("reference_urls") or [item for item in media if item["type"].startswith("reference_")]
    mode = "reference" if references else "frames" if last else "image" if first else "text"
    tier = parameters.get("resolution", entry["resolution"]["default"]).lower()
    ratio = parameters.get("ratio", "16:9")
    if size := parameters.get("size"):
        width, height = (int(part) for part in size.split("*"))
        tier, ratio, pixel_size = _of_size((width, height))
    elif first:
        pixel_size = framed(tier, pixels(first))
    else:
        pixel_size = shaped(tier, ratio, new=entry["shape"].startswith(("wan2.7", "wan3")))
    seconds = parameters.get("duration", entry["duration"]["default"])
    return Order(
        model=body["model"],
        mode=mode,
        prompt=given.get("prompt") or "",
        seconds=entry["duration"]["default"] if seconds == -1 else seconds,
        tier=tier,
        size=pixel_size,
        ratio=ratio,
        sounding=entry["sound"] == "always" or (entry["sound"] == "switch" and parameters.get("audio", True)),
        body=body,
    )


def of_toapis(body: Any, document: Document, pixels: Callable[[str], Pixels | None]) -> Order:
    """The order of a ToAPIs body: the fields that are there decide what is made. Raises `Refusal`."""
    entry = document.judge(body)
    roles = {item["role"]: item["url"] for item in body.get("image_with_roles", ())}
    first = next(iter(body.get("image_urls", ())), None) or roles.get("first_frame")
    metadata = body.get("metadata", {})
    references = metadata.get("reference_urls") or body.get("reference_images") or body.get("video_list")
    mode = "reference" if references else "frames" if "last_frame" in roles else "image" if first else "text"
    tier = body.get("resolution", entry["resolution"]["default"])
    ratio = body.get("ratio") or body.get("aspect_ratio") or "16:9"
    return Order(
        model=body["model"],
        mode=mode,
        prompt=body.get("prompt", ""),
        seconds=body.get("duration", entry["duration"]["default"]),
        tier=tier,
        size=framed(tier, pixels(first)) if first else shaped(tier, ratio, new=entry["shape"] == "by-role"),
        ratio=ratio,
        sounding=entry["sound"] == "always" or body.get("audio", True),
        body=body,
        business_id=body.get("client_business_id") or metadata.get("client_business_id") or "",
    )


def urls(body: Any) -> Iterator[str]:
    """Every URL in a body, wherever it is."""
    if isinstance(body, dict):
        for key, value in body.items():
            if key not in ("prompt", "negative_prompt", "callback_url"):
                yield from urls(value)
    elif isinstance(body, list):
        for value in body:
            yield from urls(value)
    elif isinstance(body, str) and body.startswith(("http://", "https://", "oss://")):
        yield body


def shaped(tier: str, ratio: str, *, new: bool) -> Pixels:
    """The pixels of a tier in a ratio; `adaptive` without a picture to adapt to is 16:9."""
    known = (_NEW if new else _OLD)[tier].get("16:9" if ratio == "adaptive" else ratio)
    if known:
        return known
    across, down = (int(part) for part in ratio.split(":"))
    return framed(tier, (across, down))


def framed(tier: str, picture: Pixels | None) -> Pixels:
    """The tier's area in the shape of a picture; 16:9 for one that nobody here has seen."""
    across, down = picture or (16, 9)
    scale = sqrt(AREAS[tier] / (across * down))
    return max(2, 2 * round(across * scale / 2)), max(2, 2 * round(down * scale / 2))


def _of_size(size: Pixels) -> tuple[str, str, Pixels]:
    for tier, row in _OLD.items():
        for ratio, known in row.items():
            if known == size:
                return tier, ratio, size
    raise Refusal("parameter", f"parameters.size: {size[0]}*{size[1]} is no size")


def _first(media: Any, *kinds: str) -> str | None:
    return next((item["url"] for kind in kinds for item in media if item["type"] == kind), None)
