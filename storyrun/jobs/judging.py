"""What a model card says of a clip, told at the line of the plan that somebody has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun import cards, references
from storyrun.jobs import scenes
from storyrun.jobs.form import as_dict

if TYPE_CHECKING:
    from storyrun.jobs.rendering import Scope
    from storyrun.jobs.scenes import Effective
    from storyrun.records import Job, Mode, ModelCard, Where

SHORTFALL_CODES = {
    "seconds": "SR320",
    "length": "SR320",
    "shots": "SR320",
    "resolution": "SR321",
    "aspect_ratio": "SR322",
    "prompt": "SR323",
    "negative_prompt": "SR324",
    "seed": "SR325",
    "audio": "SR326",
    "audio_file": "SR326",
    "references": "SR327",
    "first_frame": "SR328",
    "last_frame": "SR328",
}


def not_taken(view: Effective, card: ModelCard, mode: Mode, scope: Scope) -> set[str]:
    """The settings that the scene wrote itself and the card does not take in this mode; each is told of."""
    refused = set()
    for key, text in view.settings.items():
        if key not in view.own or key in scenes.TAKEN_BY_ALL or scenes.takes(card, mode, key, text):
            continue
        what, hint = key, f"remove this line{_why_not(mode, key)}"
        if key == "audio" and text.value == "none":
            what, hint = "audio: none", "remove this line, and mute the clip in the cut: this model always makes sound"
        elif key == "audio" and text.value != "auto":
            what = "audio file"
        scope.note(text.where, "SR310", f"{scenes.MODE_WORDS[mode]} of {card.model} takes no {what}", hint, key=True)
        refused.add(key)
    return refused


def _why_not(mode: Mode, key: str) -> str:
    if key == "aspect_ratio" and mode in ("image", "frames"):
        return ": the clip keeps the shape of its first frame"
    because = {"image": "a first_frame", "frames": "a last_frame", "reference": "references"}
    return f": the scene is {scenes.MODE_WORDS[mode]} because it has {because[mode]}" if mode in because else ""


def meets(card: ModelCard, job: Job, view: Effective, scope: Scope) -> bool:
    """Whether the model takes the finished job; a problem for each thing it does not."""
    form = as_dict(job)
    shortfalls = cards.shortfalls(card, form)
    for shortfall in shortfalls:
        if scope.broken and _left_out(shortfall.field, view, job):
            continue  # missing because it could not be read, and that is told
        about = next((r.name for r in job.references if any(m.text in shortfall.sentence for m in r.media)), "")
        where, key, needle = place(shortfall.field, view, job, about)
        sentence, hint = shortfall.sentence, shortfall.hint
        if shortfall.field == "seed" and job.take > 1:
            sentence, hint = f"take {job.take}: {sentence}", "take n uses seed + n - 1"
        code = SHORTFALL_CODES.get(shortfall.field, "SR329")
        scope.note(where, code, sentence, hint, key=key, needle=needle)
    for caution in cards.cautions(card, form):
        where, key, needle = place(caution.field, view, job)
        scope.note(where, "SR341", caution.sentence, caution.hint, key=key, needle=needle, severity="warning")
    return not shortfalls


def _left_out(field: str, view: Effective, job: Job) -> bool:
    """Whether the job lacks what the scene has."""
    return not getattr(job, field, True) and (field == "references" or field in view.settings)


def place(field: str, view: Effective, job: Job | None, about: str = "") -> tuple[Where, bool, str]:
    """Where to point for a field of a job: a place, whether at its key, and at which word in it.

    `about` is the reference that the problem is about, "" for all of them.
    """
    scene, settings = view.scene, view.settings
    if scene.shots and field in ("seconds", "length", "shots") and job is not None and len(job.shots) == 1:
        return (*scene.shots[job.shots[0].index - 1].where, "seconds"), False, ""
    if scene.shots and field in ("seconds", "length", "shots", "prompt"):
        return (*scene.where, "shots"), True, ""
    if field == "references":
        for text in view.references:
            if about in ("", text.value):
                return text.where, False, ""
        for text in view.texts():
            for name in references.names(text.value) if references.may_bind(text.where) else ():
                if about in ("", name):
                    return text.where, False, f"@{name}"
    if field == "first_frame" and field not in settings and "last_frame" in settings:
        return settings["last_frame"].where, True, ""
    named = settings.get({"audio_file": "audio", "length": "seconds"}.get(field, field))
    return (named.where if named is not None and named.where else (*scene.where, "id")), False, ""
