"""What `storyrun export` does besides writing formats: media under a cut, and clips under the names of a delivery."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storyrun.cli import planning
from storyrun.cli.show import text
from storyrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from storyrun.cli.planning import Prepared
    from storyrun.exports.layout import Layout

FOLDER = "exports"
"""Where exports go in the run's folder when nobody says."""

CONFORMED = "_conformed"
"""What the name of a timeline gets when its media were switched."""


@dataclass(frozen=True)
class Told:
    """What came of it: lines for stdout, notes for stderr, the same as JSON data, and whether nothing is wanting."""

    lines: Sequence[str]
    notes: Sequence[str]
    data: Mapping[str, Any]
    whole: bool


def conform(prepared: Prepared, manifest: Mapping[str, Any], folder: Path, source: Path, to: Path | None) -> Told:
    """Switch the media of a timeline to the clips of this plan. Raises `UsageError`; then nothing was written."""
    from storyrun import exports, picks
    from storyrun.exports import conform as conforming
    from storyrun.exports.cut.pieces import shown as shown_of

    if lacking := exports.lacking("otio"):
        raise UsageError(f"--conform needs {' and '.join(lacking)}, which is not installed here", exports.EXTRA)
    target = _conformed(source, folder / FOLDER, to)
    if to is None:
        spare([target])
    clips = {clip["id"]: clip for clip in manifest["clips"]}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    stems = {}
    for job in prepared.plan.jobs:
        group = picks.without_take(job.id)
        groups.setdefault(group, []).append(clips[job.id])
        stems[job.stem] = group
    parts = {part.clip: part for film in prepared.plan.films for part in film.parts}
    shown = {
        group: shown_of(parts[group], clips) if group in parts else takes[0]["id"] for group, takes in groups.items()
    }
    made = conforming.conform(source, target, groups, shown, stems, folder)
    if not made.switched and not made.waiting:
        raise UsageError(
            f"{source.name} shows no clip of {prepared.path.name}; nothing was written",
            "it is matched by the metadata that storyrun wrote, else by the names of the clips' files",
        )
    exports.lay(target, made.data)
    notes = []
    if made.waiting:
        notes.append(f"not made yet, their old media stay: {text.fold(made.waiting, 80)}")
    if made.lost:
        notes.append(
            f"old media that are not where {source.name} says, seen from its folder: {text.fold(made.lost, 80)}; "
            "save the timeline in the folder that it was exported to, and conform that"
        )
    if made.unknown:
        notes.append(f"none of this plan, left alone: {text.fold(made.unknown, 80)}")
    notes += [f"{each}: trim it, or hold its last frame" for each in made.uncovered]
    data = {
        "file": str(target),
        "switched": made.switched,
        "missing": list(made.waiting),
        "unknown": list(made.unknown),
        "uncovered": list(made.uncovered),
        "lost": list(made.lost),
    }
    return Told([text.safe(near(target))], notes, data, made.whole)


def _conformed(source: Path, exports: Path, to: Path | None) -> Path:
    """Where the timeline goes. Never over the one that was read, unless --to says so."""
    if not source.is_file():
        raise UsageError(f"there is no file {source}; nothing was written")
    name = f"{source.stem.removesuffix(CONFORMED)}{CONFORMED}.otio"
    if to is not None:
        return to / name if to.is_dir() or to.suffix != ".otio" else to
    target = exports / name
    if target.resolve() == source.resolve():
        raise UsageError(f"{source} would be written over; nothing was", f"say so with --to {text.quoted(str(source))}")
    return target


def deliver(
    prepared: Prepared, films: Sequence[Layout], target: Path, pattern: str | None, *, all_takes: bool, partial: bool
) -> Told:
    """Copy the clips that the films show under their delivery names. Raises `UsageError`; then nothing was copied."""
    from storyrun.exports import delivery, names

    board = prepared.plan.storyboard
    columns = {
        axis.name: {value.label: value.columns for value in axis.values if value.columns is not None}
        for axis in board.matrix
    }
    reader = names.Pattern(names.DEFAULT if pattern is None else pattern, [axis.name for axis in board.matrix], columns)
    wanted: dict[str, Mapping[str, Any]] = {}
    for film in films:
        for place in film.places:
            wanted |= {clip["id"]: clip for clip in (place.takes if all_takes else (place.clip,))}
    missing = [clip["id"] for clip in wanted.values() if clip["file"] is None]
    there = [clip for clip in wanted.values() if clip["file"] is not None]
    if missing and not (partial and there):
        if there:
            hint = "make them, or deliver the others with --partial"
        else:
            line = text.shell(("storyrun", str(prepared.path), *planning.repeated(prepared.out)))
            hint = f"make them first: {line}"
        count = f"{len(missing)} of {text.plural(len(wanted), 'clip')} missing"
        note = f"{count}, nothing was copied: {text.fold(missing, 80)}"
        data = {"to": str(target), "files": [], "missing": missing, "damaged": [], "notes": [note]}
        return Told([], [note, hint], data, whole=False)
    _outside(target, films)
    title = board.title or prepared.stem
    called = names.of_clips(there, reader, title, prepared.label)
    manifest, folder = (films[0].manifest, films[0].folder) if films else ({}, target)
    made = delivery.deliver(there, called, manifest, folder, target)
    notes = [f"{clip['id']} is not as ordered: {'; '.join(clip['problems'])}" for clip in there if clip["problems"]]
    notes += [f"{clip}: its file is not what was recorded any more; it is not delivered" for clip in made.damaged]
    if missing:
        notes.append(f"missing: {text.fold(missing, 80)}")
    lines = [text.safe(near(target / copy.name)) + ("" if copy.new else "  was there") for copy in made.copies]
    data = {
        "to": str(target),
        "files": [
            {"id": copy.clip, "file": copy.name, "sha256": copy.sha256, "bytes": copy.bytes, "new": copy.new}
            for copy in made.copies
        ],
        "missing": missing,
        "damaged": list(made.damaged),
        "notes": notes,
    }
    return Told([*lines, text.safe(near(target / delivery.CHECKSUMS))], notes, data, whole=not notes)


def _outside(target: Path, films: Sequence[Layout]) -> None:
    """Refuse to deliver among the clips of a run: what lies there is known by its name."""
    clips = films[0].folder.resolve() / "clips" if films else None
    if clips is not None and (target.resolve() == clips or clips in target.resolve().parents):
        raise UsageError(f"{target} is the folder of the clips themselves; nothing was copied", "name another folder")


def spare(targets: Iterable[Path]) -> None:
    """Raise `UsageError` if somebody has worked on files that are to be written."""
    from storyrun import exports

    if changed := exports.changed(targets):
        names = text.fold([near(path) for path in changed], 80)
        hint = "keep them under other names, or write elsewhere with --to"
        raise UsageError(f"changed since they were written, and not written over: {names}", hint)


def near(path: Path) -> str:
    """A path as seen from the working folder, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
