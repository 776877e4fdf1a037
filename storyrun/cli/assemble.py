"""`storyrun assemble PLAN`: the clips put together, one film for each combination of the axes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import __version__
from storyrun.cli import planning, report, surroundings
from storyrun.cli.options import PROVIDERS, json_option, plan_argument
from storyrun.cli.show import text
from storyrun.clock import SystemClock
from storyrun.errors import FetchFailed, LedgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from fractions import Fraction

    from storyrun.cli.planning import Prepared
    from storyrun.exports.cut import Assembled
    from storyrun.exports.cut.pieces import Card
    from storyrun.records import Film

NOT_WHOLE = 1


@click.command("assemble")
@plan_argument
@click.option("--provider", type=click.Choice(PROVIDERS), help="Whose clips, instead of those of the plan's.")
@click.option("--model", metavar="ID", help="The model that the clips were ordered from, where --model ordered them.")
@click.option(
    "--only",
    metavar="FILM",
    multiple=True,
    help="A film's name to the letter, or a pattern with * and ?; may be given several times.",
)
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="The outputs folder, instead of outputs/ beside the plan.",
)
@click.option("--split", is_flag=True, help="One file for each shot of the clips that have several, instead of films.")
@json_option
def command(plan_file: str, only: tuple[str, ...], split: bool, as_json: bool, **choice: Any) -> int:
    """Put the clips of PLAN.yaml together: one film for each combination of its axes, its scenes in their order.

    Shown is the picked take of each clip, else the first that is done. `cut:` in the plan says how: length, sound,
    transition, subtitles, name. In the place of a clip that is missing stands a card. No network, no key; no clip is
    changed. Exit 1: a clip is missing, or is not as ordered.
    """
    prepared = planning.prepare(plan_file, **choice)
    films = chosen(prepared, only)
    manifest, folder = standing(prepared)
    if not split and not any(clip["status"] == "done" for clip in manifest["clips"]):
        click.echo(f"nothing to assemble: no clip of {prepared.stem} is made on {prepared.label} yet", err=True)
        click.echo(f"next  storyrun preview {text.shell((plan_file, *planning.repeated(choice['out'])))}", err=True)
        return NOT_WHOLE
    if split:
        return _split(prepared, films, manifest, folder, as_json=as_json)
    made = []
    for assembled in assembled_films(prepared, films, manifest, folder):
        made.append(assembled)
        if not as_json:
            click.echo("\n".join(told(assembled)))
    if as_json:
        entries = [as_data(each, folder, film) for film, each in zip(films, made, strict=True)]
        click.echo(_json({"version": 1, "provider": prepared.label, "folder": str(folder), "films": entries}))
    return 0 if all(each.whole for each in made) else NOT_WHOLE


def chosen(prepared: Prepared, only: Sequence[str]) -> list[Film]:
    """The films of a plan that `--only` leaves. Raises `UsageError` if there is none."""
    films = list(prepared.plan.films)
    if not films and prepared.plan.jobs:
        hint = "let the scenes vary over the same axes, exclude combinations, or split the plan"
        raise UsageError("the axes of this plan make more than 10,000 films", hint)
    for wanted in only:
        if not any(_meant(film, wanted) for film in films):
            from storyrun import nearest

            raise UsageError(f"no film is called {wanted}", nearest.hint(wanted, [film.stem for film in films]))
    return [film for film in films if not only or any(_meant(film, wanted) for wanted in only)]


def after_preview(prepared: Prepared, *, err: bool) -> None:
    """The films of a preview, to be watched before anything is bought. `err`: tell of them on stderr.

    A film of one clip is that clip, so without `cut:` it is not made; nor is one of which only some clips were wanted.
    """
    films: Sequence[Film] = prepared.plan.films
    if prepared.plan.storyboard.cut is None:
        films = [film for film in films if len(film.parts) > 1]
    if prepared.selected is not None:
        films = [film for film in films if all(part.shown in prepared.chosen for part in film.parts)]
    if films:
        manifest, folder = standing(prepared)
        for made in assembled_films(prepared, films, manifest, folder):
            click.echo("\n".join(told(made)), err=err)


def _meant(film: Film, wanted: str) -> bool:
    return any(planning.matches(name, wanted) for name in (film.stem, film.title))


def assembled_films(
    prepared: Prepared, films: Sequence[Film], manifest: Mapping[str, Any], folder: Path
) -> Iterator[Assembled]:
    """Each film once it is written."""
    from storyrun.exports import cut
    from storyrun.exports.cut import kept
    from storyrun.providers.animatic.fonts import Fonts

    font = surroundings.environment().get("STORYRUN_FONT")
    fonts = Fonts(Path(font) if font else None, lambda said: click.echo(f"warning: {said}", err=True))
    comment = _comment(prepared)
    for number, film in enumerate(films, start=1):
        made_of = kept.key(film, manifest, comment, font or "")
        if (same := kept.find(folder / cut.FILMS, film, made_of)) is not None:
            yield cut.Assembled(**same)
            continue
        if sys.stderr.isatty():  # it may take longer than the clips did
            click.echo(f"assembling {text.safe(film.stem)}.mp4, {number} of {len(films)}", err=True)
        try:
            made = cut.assemble(film, manifest, folder, card=_card(prepared, fonts), fonts=fonts, comment=comment)
        except FetchFailed as error:
            raise LedgerError(f"{film.stem}.mp4: {error.sentence}") from error
        kept.keep(folder / cut.FILMS, film, made_of, made)
        yield made
    report.after_films(manifest, folder, str(prepared.path), planning.repeated(prepared.out))


def _comment(prepared: Prepared) -> str:
    return f"{prepared.path.name}, {prepared.label}, storyrun {__version__}"


def standing(prepared: Prepared) -> tuple[dict[str, Any], Path]:
    """The manifest as the ledger has it now, and the folder of the run. Nothing is written."""
    from storyrun import manifest
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    outputs = Outputs(prepared.outputs)
    folder = outputs.run_folder(prepared.stem, prepared.label).path
    clock = SystemClock()
    ledger = Ledger.peek(outputs.ledger_path, clock)
    try:
        view = manifest.build(
            plan=prepared.plan,
            ledger=ledger,
            run_folder=folder,
            plan_stem=prepared.stem,
            provider=prepared.label,
            generator=f"storyrun {__version__}",
            started_at=clock.now(),
            finished_at=None,
            reused=frozenset(),
        )
    finally:
        if ledger is not None:
            ledger.close()
    return view, folder


def _card(prepared: Prepared, fonts: Any) -> Card:
    """Draws what stands for a missing clip: its animatic, marked."""
    jobs = {job.id: job for job in prepared.plan.jobs}

    def draw(clip: str, size: tuple[int, int], rate: Fraction, frames: int, path: Path) -> None:
        from storyrun.jobs import as_dict
        from storyrun.providers.animatic.film import render

        form = as_dict(jobs[clip])
        for key in ("audio_file", "first_frame", "last_frame", "references"):
            form.pop(key, None)
        form |= {
            "scene": f"MISSING {clip}",
            "shots": [{**shot, "action": f"MISSING: {shot.get('action', '')}".rstrip(": ")} for shot in form["shots"]],
            "variant": {},
            "take": 1,
            "width": size[0],
            "height": size[1],
            "frame_rate": str(rate),
            "length": float(frames / rate),
            "sounding": False,
        }
        render(form, prepared.path.parent, path, fonts)

    return draw


# ── single shots ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _split(
    prepared: Prepared, films: Sequence[Film], manifest: Mapping[str, Any], folder: Path, *, as_json: bool
) -> int:
    """Write the shots of every clip that the films show and that has several; tell which are missing."""
    from storyrun.exports import cut
    from storyrun.exports.cut.pieces import shown

    clips = {clip["id"]: clip for clip in manifest["clips"]}
    wanted = list(dict.fromkeys(shown(part, clips) for film in films for part in film.parts))
    several = [clips[clip] for clip in wanted if len(clips[clip]["shots"]) > 1]
    if not several:
        click.echo("nothing to split: no clip has several shots", err=True)
    missing: list[str] = []
    made = []
    for clip in several:
        try:
            shots = list(cut.split(clip, folder, comment=_comment(prepared))) if clip["file"] else []
        except FetchFailed as error:
            click.echo(f"{text.safe(clip['id'])}: {error.sentence}", err=True)
            shots = []
        if len(shots) < len(clip["shots"]):
            missing.append(clip["id"])
            click.echo(f"{text.safe(clip['id'])}: {len(shots)} of {len(clip['shots'])} shots are there", err=True)
        for shot in shots:
            made.append(as_data(shot, folder))
            if not as_json:
                click.echo("\n".join(told(shot)))
    if as_json:
        content = {"version": 1, "provider": prepared.label, "folder": str(folder), "shots": made, "missing": missing}
        click.echo(_json(content))
    return NOT_WHOLE if missing else 0


# ── what is told ─────────────────────────────────────────────────────────────────────────────────────────────────────


def told(made: Assembled) -> list[str]:
    """A film in lines for people: where it is, how long, and what is not in it as ordered."""
    how = "pictures as delivered" if made.copied else f"{made.size[0]}x{made.size[1]}, encoded anew"
    lines = [f"{text.safe(_near(made.path))}  {text.seconds(round(made.seconds, 3))}  {how}"]
    if made.missing:
        lines.append(f"  missing: {text.safe(text.fold(made.missing, 80))}")
    lines += [f"  {text.safe(note)}" for note in made.notes]
    if made.unsigned:
        lines.append(
            f"  content credentials of {text.plural(len(made.unsigned), 'clip')} are not in it; the clips keep theirs"
        )
    return lines


def as_data(made: Assembled, folder: Path, film: Film | None = None) -> dict[str, Any]:
    """The same for programs. `file` is relative to the run's folder."""
    return {
        "title": made.title,
        "file": made.path.relative_to(folder).as_posix(),
        **({"variant": dict(film.variant)} if film else {}),
        "seconds": float(made.seconds),
        "frames": made.frames,
        "frame_rate": str(made.rate),
        "width": made.size[0],
        "height": made.size[1],
        "sound": made.sounding,
        "copied": made.copied,
        "missing": list(made.missing),
        "notes": list(made.notes),
        "without_credentials": list(made.unsigned),
        "sha256": made.sha256,
    }


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)


def _near(path: Path) -> str:
    """A path as seen from the working folder, if it lies below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
