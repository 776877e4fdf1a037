"""`storyrun export PLAN`: what editors, trackers and clients get: timelines, subtitles, lists, and clips."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import handing, planning, printed
from storyrun.cli.handing import Told, near
from storyrun.cli.options import PROVIDERS, json_option, plan_argument
from storyrun.cli.show import text
from storyrun.errors import UsageError
from storyrun.exports import EXPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storyrun.cli.planning import Prepared
    from storyrun.exports.layout import Layout

NOT_WHOLE = 1


@click.command("export")
@plan_argument
@click.option("--format", "formats", metavar="LIST", help=f"{', '.join(EXPORTS)}, or all (the default).")
@click.option(
    "--conform", metavar="TIMELINE.otio", type=click.Path(dir_okay=False), help="Put the clips under this cut."
)
@click.option("--deliver", metavar="DIR", type=click.Path(file_okay=False), help="Copy the clips into this folder.")
@click.option("--name", metavar="PATTERN", help="Their names with --deliver: '{scene}_{city}_t{take:02}'.")
@click.option("--all-takes", is_flag=True, help="With --deliver: every take, not just the one that is shown.")
@click.option("--partial", is_flag=True, help="With --deliver: what is there, also when clips are missing.")
@click.option(
    "--to", metavar="DIR|FILE", type=click.Path(), help="Where to write, instead of exports/ in the run's folder."
)
@click.option("--provider", type=click.Choice(PROVIDERS), help="Whose clips, instead of those of the plan's.")
@click.option("--model", metavar="ID", help="The model that the clips were ordered from, where --model ordered them.")
@click.option("--only", metavar="FILM", multiple=True, help="A film's name to the letter, or a pattern with * and ?.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The outputs folder, instead of outputs/ beside the plan.",
)
@json_option
def command(
    plan_file: str,
    formats: str | None,
    conform: str | None,
    deliver: str | None,
    name: str | None,
    all_takes: bool,
    partial: bool,
    to: str | None,
    only: tuple[str, ...],
    as_json: bool,
    **choice: Any,
) -> int:
    """Write what editors need of PLAN.yaml: a timeline and subtitles for each film, a shot list, the requests.

    With --conform: switch the media of a timeline that was cut, the animatic's say, to the clips as they are now, and
    leave the cut alone. With --deliver: copy the clips under the names that were agreed, with checksums. No network,
    no key; no clip is changed. Exit 1: a clip is missing, too short, or not as ordered.
    """
    from storyrun.cli import assemble
    from storyrun.exports import layout as layouts

    _one_thing(formats, conform, deliver, name, to, all_takes=all_takes, partial=partial)
    prepared = planning.prepare(plan_file, **choice)
    films = assemble.chosen(prepared, only)
    manifest, folder = assemble.standing(prepared)
    laid = [layouts.of_film(film, manifest, folder) for film in films]
    if deliver is not None:
        told = handing.deliver(prepared, laid, Path(deliver), name, all_takes=all_takes, partial=partial)
    elif conform is not None:
        told = handing.conform(prepared, manifest, folder, Path(conform), Path(to) if to else None)
    else:
        told = _write(prepared, laid, manifest, folder, formats, Path(to) if to else None)
    if as_json:
        click.echo(printed.as_json({"version": 1, "provider": prepared.label, "folder": str(folder), **told.data}))
    else:
        for line in told.lines:
            click.echo(line)
    for note in told.notes:
        click.echo(f"note: {text.safe(note)}", err=True)
    return 0 if told.whole else NOT_WHOLE


def _one_thing(
    formats: str | None,
    conform: str | None,
    deliver: str | None,
    name: str | None,
    to: str | None,
    *,
    all_takes: bool,
    partial: bool,
) -> None:
    """Refuse options that mean nothing together."""
    chosen = [word for word, given in (("--format", formats), ("--conform", conform), ("--deliver", deliver)) if given]
    if len(chosen) > 1:
        raise UsageError(f"{' and '.join(chosen)} are different things; nothing was written", "ask for one at a time")
    if deliver is None and (name is not None or all_takes or partial):
        wrong = "--name" if name is not None else "--all-takes" if all_takes else "--partial"
        raise UsageError(f"{wrong} goes with --deliver DIR; nothing was written")
    if deliver is not None and to is not None:
        raise UsageError("--deliver names the folder itself; --to is for the other exports; nothing was written")


def _write(
    prepared: Prepared,
    films: Sequence[Layout],
    manifest: Mapping[str, Any],
    folder: Path,
    formats: str | None,
    to: Path | None,
) -> Told:
    """Write films in the formats that were asked for, or in all that can be written here."""
    from storyrun import exports

    names, asked, notes = _formats(formats)
    wanted = []
    for name in names:
        for group in [films] if exports.EXPORTS[name].whole else [[film] for film in films]:
            stem = prepared.stem if exports.EXPORTS[name].whole else group[0].film.stem
            wanted.append((name, group, stem))
    targets = [_target(to, folder, f"{stem}{exports.ending(name)}", alone=len(wanted) == 1) for name, _, stem in wanted]
    if to is None:
        handing.spare(targets)
    files: list[dict[str, Any]] = []
    lines: list[str] = []
    said_of: dict[str, list[str]] = {}
    for (name, group, stem), target in zip(wanted, targets, strict=True):
        full = _with_requests(prepared, group, manifest) if name == "jsonl" else group
        try:
            there, said = exports.write(name, full, target)
        except UsageError as error:
            if asked:
                raise
            there, said = False, (f"no {name}: {error.sentence}",)
        for each in said:
            said_of.setdefault(each, []).append(stem)
        if there:
            film = {} if exports.EXPORTS[name].whole else {"film": group[0].film.title}
            files.append({"format": name, **film, "file": str(target)})
            lines.append(text.safe(near(target)))
    for each, stems in said_of.items():
        of = sorted(set(stems))
        notes.append(each if len(films) == 1 else f"{text.fold(of, 60, ', ')}: {each}")
    timelines = any(exports.EXPORTS[name].timeline for name in names)
    missing = list(dict.fromkeys(clip for film in films for clip in film.missing)) if timelines else []
    short = [each for film in films for each in film.short] if timelines else []
    if missing:
        notes.append(f"missing, a gap in the timeline: {text.fold(missing, 80)}")
    data = {"files": files, "missing": missing, "notes": notes}
    return Told(lines, notes, data, whole=not missing and not short)


def _formats(written: str | None) -> tuple[list[str], bool, list[str]]:
    """The formats to write, whether they were asked for by name, and what is to be said of those left out."""
    from storyrun import exports, nearest

    wanted = [word.strip() for word in (written or "all").split(",") if word.strip()]
    for word in wanted:
        if word not in (*exports.EXPORTS, "all"):
            raise UsageError(f"there is no format {word}", nearest.hint(word, [*exports.EXPORTS, "all"]))
    asked = "all" not in wanted
    names = list(dict.fromkeys(wanted)) if asked else list(exports.EXPORTS)
    lacking = {name: found for name in names if (found := exports.lacking(name))}
    if lacking and asked:
        name, libraries = next(iter(lacking.items()))
        raise UsageError(f"{name} needs {' and '.join(libraries)}, which is not installed here", exports.EXTRA)
    notes = [f"without {', '.join(lacking)}: {exports.EXTRA} brings what they need"] if lacking else []
    return [name for name in names if name not in lacking], asked, notes


def _target(to: Path | None, folder: Path, name: str, *, alone: bool) -> Path:
    """The file to write. --to names it where there is just one and the ending fits, else the folder."""
    if to is None:
        return folder / handing.FOLDER / name
    if alone and to.suffix == Path(name).suffix and not to.is_dir():
        return to
    if to.exists() and not to.is_dir():
        raise UsageError(f"{to} is a file, and several are to be written", "name a folder with --to")
    return to / name


def _with_requests(prepared: Prepared, films: Sequence[Layout], manifest: Mapping[str, Any]) -> list[Layout]:
    """The films with the bodies that would be sent for what was never ordered."""
    from dataclasses import replace

    from storyrun.exports import layout as layouts
    from storyrun.manifest import without_queries
    from storyrun.providers import body

    jobs = {job.id: job for job in prepared.plan.jobs}
    clips = [
        {**clip, "request": clip["request"] or without_queries(body(prepared.provider, jobs[clip["id"]]))}
        for clip in manifest["clips"]
    ]
    full = {**manifest, "clips": clips}
    return [replace(film, manifest=full, places=layouts.of_film(film.film, full, film.folder).places) for film in films]
