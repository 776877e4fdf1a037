"""A job as JSON and back, and its fingerprint.

The JSON form is what the ledger keeps, what `job.schema.json` and the model cards judge, and what the animatic draws.
Unset keys are absent.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun.records import BoundReference, Job, MediaSource, Money, ShotWindow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PLAIN = (
    "id scene take provider model mode prompt negative_prompt resolution aspect_ratio seed prompt_extend watermark "
    "shot_type audio premise look billed_resolution sounding stem fingerprint"
).split()
"""Fields that are the same in both forms."""


def number(value: Fraction) -> int | float:
    """Seconds as a JSON number: whole ones without a point. Storyboards write decimals, so nothing is lost."""
    return value.numerator if value.denominator == 1 else float(value)


def exact(value: float) -> Fraction:
    """A JSON number back to the decimal that was written."""
    return Fraction(str(value))


def as_dict(job: Job) -> dict[str, Any]:
    """The JSON form of a job."""
    form: dict[str, Any] = {key: getattr(job, key) for key in PLAIN}
    form["variant"] = dict(job.variant)
    form["seconds"] = None if job.seconds is None else number(job.seconds)
    form["audio_file"] = _media(job.audio_file)
    form["first_frame"] = _media(job.first_frame)
    form["last_frame"] = _media(job.last_frame)
    form["references"] = [
        {"name": r.name, "word": r.word, "media": [_media(m) for m in r.media]} | _present({"voice": _media(r.voice)})
        for r in job.references
    ] or None
    form["shots"] = [_window(shot) for shot in job.shots]
    form["length"] = number(job.length)
    form["frame_rate"] = str(job.frame_rate)
    form["width"], form["height"] = job.size or (None, None)
    if job.quote is not None:
        form["quote"] = {
            "amount": str(job.quote.amount),
            "currency": job.quote.currency,
            "exact": job.quote.exact,
        }
    return {key: value for key, value in form.items() if value is not None and value != ""}


def from_dict(form: Mapping[str, Any], folder: Path) -> Job:
    """The job of a JSON form. `folder` is where the paths in it start."""
    size = (form["width"], form["height"]) if "width" in form else None
    quote = form.get("quote")
    plain: dict[str, Any] = {key: form.get(key, "" if key in ("premise", "look", "prompt") else None) for key in PLAIN}
    return Job(
        **plain,
        variant=dict(form["variant"]),
        seconds=exact(form["seconds"]) if "seconds" in form else None,
        audio_file=_source(form.get("audio_file"), folder),
        references=tuple(
            BoundReference(
                r["name"],
                tuple(source for m in r["media"] if (source := _source(m, folder))),
                _source(r.get("voice"), folder),
                r["word"],
            )
            for r in form.get("references", ())
        ),
        first_frame=_source(form.get("first_frame"), folder),
        last_frame=_source(form.get("last_frame"), folder),
        shots=tuple(
            ShotWindow(
                shot["index"],
                exact(shot["start"]),
                exact(shot["end"]),
                shot.get("framing", ""),
                shot.get("camera", ""),
                shot.get("action", ""),
                tuple((line.get("speaker", ""), line["text"]) for line in shot.get("dialogue", ())),
                shot.get("sound", ""),
                tuple(shot.get("references", ())),
            )
            for shot in form["shots"]
        ),
        length=exact(form["length"]),
        frame_rate=Fraction(form["frame_rate"]),
        size=size,
        quote=Money(Decimal(quote["amount"]), quote["currency"], quote["exact"]) if quote else None,
    )


def fingerprint(job: Job, drawing_revision: int | None) -> str:
    """SHA-256 over canonical JSON of what alters the picture (DESIGN: "Fingerprint").

    Files count by content, URLs as text, the take only where no seed is sent. Unset stays unset. `drawing_revision`
    is the animatic's: it draws texts that no cloud is sent, so they and its revision count there.
    """
    counted: dict[str, Any] = {
        "provider": job.provider,
        "model": job.model,
        "prompt": job.prompt,
        "negative_prompt": job.negative_prompt,
        "seconds": None if job.seconds is None else number(job.seconds),
        "resolution": job.resolution,
        "aspect_ratio": job.aspect_ratio,
        "seed": job.seed,
        "prompt_extend": job.prompt_extend,
        "watermark": job.watermark,
        "shot_type": job.shot_type,
        "audio": None if job.audio == "auto" else job.audio,
        "audio_file": _content(job.audio_file),
        "first_frame": _content(job.first_frame),
        "last_frame": _content(job.last_frame),
        "references": [[_content(medium) for medium in (*r.media, r.voice)] for r in job.references] or None,
        "take": job.take if job.seed is None else None,
    }
    if drawing_revision is not None:
        counted["drawing"] = {
            "revision": drawing_revision,
            "scene": job.scene,
            "variant": dict(job.variant),
            "take": job.take,
            "mode": job.mode,
            "shots": [_window(shot) for shot in job.shots],
            "names": [reference.name for reference in job.references],
            "length": number(job.length),
            "frame_rate": str(job.frame_rate),
            "size": job.size,
            "sounding": job.sounding,
        }
    present = {key: value for key, value in counted.items() if value is not None}
    text = json.dumps(present, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _content(source: MediaSource | None) -> str | None:
    if source is None:
        return None
    return f"sha256:{source.sha256}" if source.sha256 else source.text


def _media(source: MediaSource | None) -> dict[str, Any] | None:
    if source is None:
        return None
    form: dict[str, Any] = {"text": source.text, "kind": source.kind}
    if source.sha256:
        form |= {"sha256": source.sha256, "bytes": source.bytes}
    if source.pixels:
        form["pixels"] = list(source.pixels)
    return form


def _source(form: Mapping[str, Any] | None, folder: Path) -> MediaSource | None:
    if form is None:
        return None
    local = "sha256" in form
    pixels = form.get("pixels")
    return MediaSource(
        form["text"],
        form["kind"],
        folder / form["text"] if local else None,
        form.get("sha256", ""),
        form.get("bytes", 0),
        (pixels[0], pixels[1]) if pixels else None,
    )


def _window(shot: ShotWindow) -> dict[str, Any]:
    return _present(
        {
            "index": shot.index,
            "start": number(shot.start),
            "end": number(shot.end),
            "framing": shot.framing,
            "camera": shot.camera,
            "action": shot.action,
            "dialogue": [_present({"speaker": who, "text": said}) for who, said in shot.dialogue],
            "sound": shot.sound,
            "references": list(shot.references),
        }
    )


def _present(form: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in form.items() if value not in (None, "", [])}
