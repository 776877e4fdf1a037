"""Films that are as they were: not put together anew while their clips, the cut and the program are the same."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun import folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from storyrun.records import Film

REVISION = 1
"""Raised whenever the same clips would come out as another film."""

NOTED = ".made.json"
"""Beside the films: what each was made of. May be deleted: then they are made again."""

FIELDS = ("title", "frames", "copied", "sounding", "sha256")
LISTS = ("missing", "notes", "unsigned")


def key(film: Film, manifest: Mapping[str, Any], comment: str, font: str) -> str:
    """What a film is made of, as a SHA-256: its own words, its clips by what they show and by content, its sound."""
    wanted = {take for part in film.parts for take in part.takes}
    clips = [
        (clip["id"], clip["fingerprint"], clip["status"], clip["sha256"], clip["picked"], clip["file"])
        for clip in manifest["clips"]
        if clip["id"] in wanted
    ]
    sound = film.sound.sha256 if film.sound else ""
    parts = [(part.clip, part.shown, str(part.length)) for part in film.parts]
    words = (film.title, film.stem, str(film.length), str(film.clip_sound), str(film.fade), film.subtitles)
    made_of = [REVISION, manifest["provider"], comment, font, words, parts, clips, sound]
    return hashlib.sha256(json.dumps(made_of, ensure_ascii=False).encode("utf-8", "backslashreplace")).hexdigest()


def find(films: Path, film: Film, made_of: str) -> dict[str, Any] | None:
    """What was written down of a film that is still the same file; None where it has to be made."""
    noted = _noted(films).get(film.stem)
    target = films / f"{film.stem}.mp4"
    try:
        if not isinstance(noted, dict) or noted["key"] != made_of or folder.sha256_of(target) != noted["sha256"]:
            return None
        told = {name: noted[name] for name in FIELDS} | {name: tuple(noted[name]) for name in LISTS}
        return {**told, "path": target, "size": tuple(noted["size"]), "rate": Fraction(noted["rate"])}
    except (OSError, KeyError, TypeError, ValueError):
        return None


def keep(films: Path, film: Film, made_of: str, made: Any) -> None:
    """Write down what a film was made of. Raises `LedgerError` when the disk fails."""
    told = {name: getattr(made, name) for name in (*FIELDS, *LISTS)}
    entry = {"key": made_of, **told, "size": list(made.size), "rate": str(made.rate)}
    everything = {**_noted(films), film.stem: entry}
    folder.write_atomically(films / NOTED, json.dumps(everything, indent=1).encode("ascii", "backslashreplace"))


def told(films: Path) -> dict[str, tuple[str, ...]]:
    """What a person should know of each film, by its stem, in the order of the plan: what is not in it as ordered."""
    found = {}
    for stem, noted in _noted(films).items():
        try:
            unsigned = len(noted["unsigned"])
            clips = "1 clip are" if unsigned == 1 else f"{unsigned} clips are"
            signed = [f"content credentials of {clips} not in it; the clips keep theirs"] if unsigned else []
            missing = [f"missing: {', '.join(noted['missing'])}"] if noted["missing"] else []
            found[stem] = (*missing, *noted["notes"], *signed)
        except (KeyError, TypeError):
            found[stem] = ()
    return found


def _noted(films: Path) -> dict[str, Any]:
    try:
        found = json.loads((films / NOTED).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
