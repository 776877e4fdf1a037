"""`storyrun report PLAN|DIR`: the page and the contact sheet of a plan, from the ledger; sends nothing."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import __version__
from storyrun.cli import planning, show, surroundings
from storyrun.cli.options import PROVIDERS, json_option, plan_options
from storyrun.clock import SystemClock
from storyrun.errors import LedgerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storyrun.cli.planning import Prepared
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

PAGE = "report.html"


@click.command("report")
@click.argument("place", metavar="PLAN.yaml|DIR", type=click.Path())
@plan_options
@click.option("--serve", is_flag=True, help="Show it live at an address of this machine, to pick takes on it.")
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), help="For --serve: 0, the default, for any.")
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
@json_option
def command(place: str, serve: bool, port: int | None, opened: bool, as_json: bool, **choice: Any) -> int:
    """Write the review page and the contact sheet of PLAN.yaml, and print where the page is.

    One page for each provider that the plan was run on. Every run writes them too; this makes them anew from the
    ledger, and sends nothing. With the outputs folder DIR: of every plan in it, also where the plan file is gone.
    --only and --first choose the clips to show.

    With --serve the page follows a run that another terminal has going, and a click or the key P picks a take, as
    `storyrun pick` does. Only this machine can reach it, at the address that is printed, which is secret. Ctrl-C ends
    it, with exit code 0.
    """
    if port is not None and not serve:
        raise UsageError("--port goes with --serve")
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    path = Path(place)
    if path.is_dir() or not path.exists():
        inside = path if path.is_dir() else Path(choice["out"] or path.parent / "outputs")
        outputs = Outputs(inside / "outputs" if (inside / "outputs").is_dir() else inside)
        wanted = None if path.is_dir() else path.stem
    else:
        outputs, wanted = Outputs(Path(choice["out"] or path.parent / "outputs")), path.stem
    clock = SystemClock()
    made = []
    ledger = Ledger.peek(outputs.ledger_path, clock)
    try:
        plans = _plans(path, wanted, outputs, ledger, choice)
        if serve:
            plans = [_served(plans, choice)]
        for prepared in plans:
            run_folder = outputs.run_folder(prepared.stem, prepared.label).path
            view = _view(prepared, ledger, run_folder, clock.now())
            shown = None if prepared.gone else prepared.selected
            made.append(write(view, run_folder, str(prepared.path), planning.repeated(choice["out"]), shown))
    finally:
        if ledger is not None:
            ledger.close()
    if serve:
        from storyrun.cli import serving

        watched = serving.Watched(plans[0], outputs, choice, _view, clock)
        return serving.run(watched, port=port or 0, opened=opened, as_json=as_json, clock=clock)
    if as_json:
        click.echo(json.dumps(made, indent=2, ensure_ascii=False))
    else:
        for each in made:
            click.echo(show.safe(each["report"]))
    if opened:
        import webbrowser

        for each in made:
            webbrowser.open(Path(each["report"]).resolve().as_uri())
    return 0


def write(
    view: Mapping[str, Any],
    run_folder: Path,
    plan_file: str,
    options: Sequence[str],
    shown: frozenset[str] | None = None,
) -> dict[str, Any]:
    """Write page and sheet of a manifest and say where they are. Raises `LedgerError` when they cannot be written."""
    from storyrun import disk
    from storyrun.cli.show import advice
    from storyrun.exports import report, sheet

    def standing(clip: Mapping[str, Any]) -> report.Standing:
        return advice.standing(view, clip, plan_file, options)

    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        page = report.write(
            view,
            run_folder,
            standing=standing,
            next_lines=advice.next_lines(view, plan_file, options),
            zone=surroundings.zone() or UTC,
            shown=shown,
        )
        picture = sheet.write(view, run_folder, standing=standing, shown=shown)
    except OSError as error:
        raise LedgerError(f"the page in {run_folder} could not be written: {disk.reason(error)}") from error
    return {
        "provider": view["provider"],
        "report": os.fspath(page),
        "contact_sheet": os.fspath(picture) if picture else None,
    }


def after_run(view: Mapping[str, Any], run_folder: Path, plan_file: str, options: Sequence[str]) -> None:
    """Write page and sheet when a run has ended. Whatever goes wrong here is a warning: the clips are safe."""
    try:
        write(view, run_folder, plan_file, options)
    except KeyboardInterrupt:
        click.echo(f"warning: {PAGE} was left out; `storyrun report` makes it", err=True)
    except Exception as error:  # noqa: BLE001 - a page is never worth the result of a run
        told = show.safe(getattr(error, "sentence", "") or f"{type(error).__name__}: {error}")
        click.echo(f"warning: {PAGE} could not be made: {told}", err=True)


def after_films(view: Mapping[str, Any], run_folder: Path, plan_file: str, options: Sequence[str]) -> None:
    """The page once more, with films that were put together after the run: its times stay those of the run."""
    from storyrun.clock import rfc3339

    started, finished = _last_run(run_folder)
    times = {"started_at": rfc3339(started), "finished_at": finished and rfc3339(finished)} if started else {}
    after_run({**view, **times}, run_folder, plan_file, options)


def _plans(
    path: Path, wanted: str | None, outputs: Outputs, ledger: Ledger | None, choice: Mapping[str, Any]
) -> list[Prepared]:
    """What a page is made of: the plan on each provider that the ledger has it on, else on the one it names."""
    name = choice["provider"]
    newest = {}
    for attempt in ledger.attempts(plan=wanted) if ledger else ():
        if name is None or attempt.provider.partition("@")[0] == name:
            newest[attempt.plan, attempt.provider] = attempt
    if path.is_file():
        first = planning.prepare(os.fspath(path), **choice, any_picks=True)
        labels = dict.fromkeys(label for _, label in newest) or {first.label: None}
        return [_prepared(path, label, first, choice) for label in labels]
    if not newest:
        where = f"no order of {wanted}" if wanted and ledger else "no ledger" if ledger is None else "nothing"
        raise UsageError(f"there is {where} in {outputs.root}", "name the plan file, or the outputs folder that has it")
    found = []
    for (stem, label), attempt in newest.items():
        there = Path(os.path.normpath(outputs.root / attempt.plan_path)) if attempt.plan_path else Path(f"{stem}.yaml")
        if there.is_file() and label.partition("@")[0] in PROVIDERS:
            with_label = {**choice, "provider": label.partition("@")[0]}
            found.append(
                _prepared(there, label, planning.prepare(os.fspath(there), **with_label, any_picks=True), choice)
            )
        else:
            found.append(planning.without_plan(there, label, outputs.root, choice["out"]))
    return found


def _served(plans: list[Prepared], choice: Mapping[str, Any]) -> Prepared:
    """The one plan to serve. On several providers it is the one that the plan itself names."""
    from storyrun.cli import serving

    own = None
    if len({plan.path for plan in plans}) == 1 and not plans[0].gone:
        own = planning.prepare(os.fspath(plans[0].path), **choice).label
    return serving.one(plans, own)


def _prepared(path: Path, label: str, first: Prepared, choice: Mapping[str, Any]) -> Prepared:
    """The plan as it is for one of its providers. One rehearsed elsewhere is shown under the name it had then."""
    from dataclasses import replace

    name = label.partition("@")[0]
    if label == first.label or name not in PROVIDERS:
        return first if label == first.label else replace(first, label=label)
    again = planning.prepare(os.fspath(path), **{**choice, "provider": name}, any_picks=True)
    return again if again.label == label else replace(again, label=label)


def _view(prepared: Prepared, ledger: Ledger | None, run_folder: Path, now: datetime) -> dict[str, Any]:
    """The manifest as the ledger has it now, with the times of the last run."""
    from storyrun import manifest

    started, finished = _last_run(run_folder)
    common: dict[str, Any] = {
        "run_folder": run_folder,
        "plan_stem": prepared.stem,
        "provider": prepared.label,
        "generator": f"storyrun {__version__}",
        "started_at": started or now,
        "finished_at": finished or now if started is None else finished,
    }
    if prepared.gone and ledger is not None:
        return manifest.build_from_ledger(ledger=ledger, **common)
    return manifest.build(plan=prepared.plan, ledger=ledger, reused=frozenset(), **common)


def _last_run(run_folder: Path) -> tuple[datetime | None, datetime | None]:
    """When the last run began and ended, by the manifest that it left; None where there is none, or no whole one."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        last = json.loads((run_folder / "manifest.json").read_bytes())
        ended = last["finished_at"]
        return datetime.fromisoformat(last["started_at"]), datetime.fromisoformat(ended) if ended else None
    return None, None
