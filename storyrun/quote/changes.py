"""What differs between the job a clip was ordered as and today's, in the words of the storyboard."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyrun import jobs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from storyrun.records import Job, Mark


@dataclass(frozen=True)
class Change:
    """One setting that is not as it was ordered. `was` and `now` are "" where it was not set.

    `field` is named as in the storyboard: "shots[1].action", "look", "references.detective"; shots count from 0.
    `mark` is the line behind today's value, that of the scene where the value was taken away, and None for `renderer`:
    what a person wrote is the same, and the program draws it another way.
    """

    field: str
    mark: Mark | None
    was: str
    now: str


Found = tuple[str, str, str]
"""A field, what it was, what it is."""

TEXTS = ("shots", "premise", "look", "prompt", "negative_prompt")

SHOT_TEXTS = ("action", "dialogue", "framing", "camera", "sound")

SETTINGS = tuple(
    "negative_prompt first_frame last_frame audio seconds resolution aspect_ratio seed prompt_extend watermark "
    "shot_type".split()
)

FOLLOWS = {
    "shot_type": "shots",
    "seconds": "seconds",
    "length": "seconds",
    "width": "resolution",
    "height": "aspect_ratio",
    "frame_rate": "model",
    "billed_resolution": "resolution",
    "sounding": "audio",
    "mode": "scene",
}
"""What follows from the settings or from the card, and what it is told as when no setting differs."""


def find(ordered: Mapping[str, Any], job: Job) -> tuple[Change, ...]:
    """The fields in which `job` differs from the ordered one (its JSON form), most telling first.

    What only follows from another difference is left out: the prompt from its parts, the size from the resolution.
    """
    old, new = _plainly_worded(ordered), _plainly_worded(jobs.as_dict(job))
    found = list(_settings(old, new, job.places))
    if not found:
        found = [(told, *_both(old, new, name)) for name, told in FOLLOWS.items() if old.get(name) != new.get(name)]
    found = found or [("renderer", "", "")]
    values: dict[str, tuple[str, str]] = {}
    for field, was, now in found:
        values.setdefault(field, (was, now))
    return tuple(Change(field, _mark(field, job.places), was, now) for field, (was, now) in values.items())


def _settings(old: Mapping[str, Any], new: Mapping[str, Any], places: Mapping[str, Mark]) -> Iterator[Found]:
    """The differences in what a person wrote."""
    prompted = "prompt" in places
    texts = [
        *_differing(("model",), old, new),
        *(_prompt(old, new) if prompted else _shots(old, new)),
        *_differing(("premise", "look"), old, new),
        *_references(old, new),
    ]
    if not texts and old["prompt"] != new["prompt"]:
        texts = [("template" if "template" in places else "prompt", old["prompt"], new["prompt"])]
    yield from texts
    # The seconds of a scene of shots are their sum, and shot_type is often the program's own.
    own = {"seconds": prompted, "shot_type": "shot_type" in places}
    yield from _differing(tuple(name for name in SETTINGS if own.get(name, True)), old, new)


def _plainly_worded(job: Mapping[str, Any]) -> dict[str, Any]:
    """The job with its references by name, whatever its model calls them, and its audio as it is written."""
    words = {bound["word"]: bound["name"] for bound in job.get("references", ())}
    called = re.compile("|".join(rf"\b{re.escape(word)}\b" for word in sorted(words, key=len, reverse=True)) or r"(?!)")

    def plain(value: Any) -> Any:
        if isinstance(value, str):
            return called.sub(lambda match: words[match[0]], value)
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return value

    texts = {name: plain(job[name]) for name in TEXTS if name in job}
    audio = job.get("audio_file", job.get("audio"))
    return {**job, **texts, "audio": None if audio == "auto" else audio}


def _both(old: Mapping[str, Any], new: Mapping[str, Any], name: str) -> tuple[str, str]:
    return _said(old.get(name)), _said(new.get(name))


def _differing(names: tuple[str, ...], old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    for name in names:
        if _content(old.get(name)) != _content(new.get(name)):
            yield name, *_both(old, new, name)


def _prompt(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    was, now = (" ".join(shot.get("action", "") for shot in job["shots"]) for job in (old, new))
    if was != now:
        yield "prompt", was, now


def _shots(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    was, now = old["shots"], new["shots"]
    if len(was) != len(now):
        alike = [not _differ(before, after) for before, after in zip(was, now, strict=False)]
        first = [*alike, False].index(False)
        field = f"shots[{now[first]['index'] - 1}]" if first < len(now) else "shots"
        yield field, _count(was), _count(now)
        return
    pairs = [(f"shots[{after['index'] - 1}]", before, after) for before, after in zip(was, now, strict=True)]
    for place, before, after in pairs:
        for name in SHOT_TEXTS:
            if before.get(name) != after.get(name):
                yield f"{place}.{name}", *_both(before, after, name)
    for place, before, after in pairs:
        lasted, lasts = (jobs.exact(shot["end"]) - jobs.exact(shot["start"]) for shot in (before, after))
        if lasted != lasts:
            yield f"{place}.seconds", _said(jobs.number(lasted)), _said(jobs.number(lasts))


def _count(shots: list[Any]) -> str:
    return f"{len(shots)} shot{'' if len(shots) == 1 else 's'}"


def _differ(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return any(before.get(name) != after.get(name) for name in SHOT_TEXTS)


def _references(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    was, now = ({bound["name"]: bound for bound in job.get("references", ())} for job in (old, new))
    for name in dict.fromkeys((*now, *was)):
        before, after = _carried(was.get(name)), _carried(now.get(name))
        if [_content(source) for source in before] != [_content(source) for source in after]:
            yield f"references.{name}", ", ".join(map(_said, before)), ", ".join(map(_said, after))
    if list(was) != list(now) and was.keys() == now.keys():
        yield "references", ", ".join(was), ", ".join(now)


def _carried(bound: Mapping[str, Any] | None) -> list[Any]:
    """The files and URLs of a reference."""
    return [] if bound is None else [*bound["media"], *([bound["voice"]] if "voice" in bound else [])]


def _content(value: Any) -> Any:
    """What counts of a value: a file by its content, wherever it lies."""
    return value.get("sha256") or value["text"] if isinstance(value, dict) else value


def _said(value: Any) -> str:
    """A value of a job as a person would write it; a file with the start of its hash, since the name may stay."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return " / ".join(f"{line['speaker']}: {line['text']}" if "speaker" in line else line["text"] for line in value)
    if isinstance(value, dict):
        return f"{value['text']} ({value['sha256'][:8]})" if "sha256" in value else str(value["text"])
    return str(value)


def _mark(field: str, places: Mapping[str, Mark]) -> Mark | None:
    """Where the field was written; else the nearest place around it: its shot, the list of references, the scene."""
    if field == "renderer":
        return None
    while field:
        under = (field + ".", field + "[")
        inside = [mark for place, mark in places.items() if place == field or place.startswith(under)]
        if inside:
            return min(inside, key=lambda mark: (mark.line, mark.column))
        cut = max(field.rfind("."), field.rfind("["))
        field = field[:cut] if cut > 0 else ""
    return places.get("scene")
