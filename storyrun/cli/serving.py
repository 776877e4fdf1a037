"""`storyrun report --serve`: what the server shows, when that has changed, and how a pick is written."""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import suppress
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from storyrun.cli import planning, show, surroundings
from storyrun.errors import PlanError, StoryrunError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    from storyrun.cli.planning import Prepared
    from storyrun.clock import Clock
    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger
    from storyrun.serve import Shown

    View = Callable[[Prepared, Ledger | None, Path, datetime], dict[str, Any]]

WRITTEN = (".yaml", ".yml", ".csv", ".jsonl", ".json")
"""What a plan and its tables are written in."""

TOLD = 3
"""Problems of a plan that the page names."""


class Watched:
    """One plan on one provider, looked at again and again. Its methods are called in threads.

    `view` makes the manifest, `choice` are the options that choose plan and clips.
    """

    def __init__(
        self, prepared: Prepared, outputs: Outputs, choice: Mapping[str, Any], view: View, clock: Clock
    ) -> None:
        self.label = prepared.label
        self.folder = outputs.run_folder(prepared.stem, prepared.label).path
        self._prepared = prepared
        self._written = self._plan_files() if not prepared.gone else ()
        self._outputs = outputs
        self._choice = {**choice, "provider": prepared.provider} if not prepared.gone else dict(choice)
        self._view = view
        self._clock = clock
        self._since = clock.now()
        self._pid: int | None = None
        self._writing = threading.Lock()

    def mark(self) -> tuple[object, ...]:
        """Sizes and times of all that the page is made of. Different: worth to look again."""
        ledger = self._outputs.ledger_path.resolve()
        near = (ledger, ledger.with_name(f"{ledger.name}-wal"), self.folder / "manifest.json")
        found = (*near, self.folder / "measures.json", self.folder / "films")
        return (*self._plan_files(), *map(_stamp, found), _alive(self._pid))

    def look(self) -> Shown:
        """Page and manifest as plan, picks, ledger and files are now. Raises `StoryrunError`."""
        from storyrun.cli.show import advice
        from storyrun.exports import posters, report
        from storyrun.ledger import Ledger
        from storyrun.serve import Shown

        prepared = self._plan()
        ledger = Ledger.peek(self._outputs.ledger_path, self._clock)
        try:
            view = self._view(prepared, ledger, self.folder, self._since)
            owner = ledger.owner(prepared.stem, prepared.label) if ledger else None
        finally:
            if ledger is not None:
                ledger.close()
        self._pid = owner.pid if owner and owner.host == socket.gethostname() else None
        at_work = _alive(self._pid)
        videos = [*posters.files(view), *report.films_in(self.folder)]
        pictures: dict[str, str] = {}
        with suppress(OSError):  # a folder that cannot be written has the pictures that it has
            pictures = posters.make(self.folder, videos)
        plan_file, options = str(prepared.path), planning.repeated(self._choice["out"])

        def standing(clip: Mapping[str, Any]) -> report.Standing:
            return advice.standing(view, clip, plan_file, options)

        sheet = (self.folder / "contact-sheet.jpg").is_file()
        text = report.page(
            view,
            pictures,
            standing=standing,
            next_lines=() if at_work else advice.next_lines(view, plan_file, options),
            zone=surroundings.zone() or UTC,
            shown=None if prepared.gone else prepared.selected,
            films=report.films_in(self.folder),
            live=report.Live(running=at_work, picks=not prepared.gone, sheet=sheet),
        )
        files = frozenset((*videos, *pictures.values(), *(["contact-sheet.jpg"] if sheet else ())))
        return Shown(text, report.live_policy(), view, files)

    def pick(self, clip: str, undo: bool) -> None:
        """Write a choice beside the plan, as `storyrun pick` does. Raises `StoryrunError`; then nothing changed."""
        from storyrun.cli import pick

        if self._prepared.gone:
            raise UsageError(f"{self._prepared.path} is gone; nothing was picked")
        with self._writing:
            try:
                pick.change(os.fspath(self._prepared.path), clip, self._whole, undo=undo)
            except PlanError as error:
                raise _told(error, "nothing was changed") from error

    @property
    def _whole(self) -> dict[str, Any]:
        """The options that choose the plan, without those that choose among its clips."""
        return {**self._choice, "only": (), "first": None}

    def _plan(self) -> Prepared:
        """The plan as it is now. Read again only when a file beside it changed."""
        from dataclasses import replace

        if self._prepared.gone:
            return self._prepared
        written = self._plan_files()
        if written != self._written:
            path = self._prepared.path
            if not path.is_file():
                raise StoryrunError(f"{path} is gone")
            try:
                prepared = planning.prepare(os.fspath(path), **self._choice)
            except PlanError as error:
                raise _told(error) from error
            self._prepared = replace(prepared, label=self.label)
            self._written = written
        return self._prepared

    def _plan_files(self) -> tuple[object, ...]:
        """The plan, its picks, and what else of this kind lies beside it: tables have many names."""
        if self._prepared.gone:
            return ()
        with suppress(OSError), os.scandir(self._prepared.path.parent) as entries:
            return tuple(sorted(_stamps(entries)))
        return ()


def run(watched: Watched, *, port: int, opened: bool, as_json: bool, clock: Clock) -> int:
    """Serve until Ctrl-C or SIGTERM, which is how it ends well: exit code 0. Raises `UsageError` for a taken port."""
    import asyncio
    import secrets

    from storyrun import serve

    token = secrets.token_urlsafe(32)
    review = serve.Review(
        folder=watched.folder,
        first=watched.look(),
        look=watched.look,
        mark=watched.mark,
        pick=watched.pick,
        token=token,
        clock=clock,
    )

    def ready(bound: int) -> None:
        address = f"http://{serve.HOST}:{bound}/{token}/"
        told = json.dumps({"provider": watched.label, "url": address}) if as_json else address
        click.echo(told)
        with suppress(OSError, ValueError):
            click.echo("whoever has this address can look and pick; Ctrl-C ends it", err=True)
        if opened:
            import webbrowser

            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    async def go() -> None:
        import signal

        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # no signals here: a thread, or Windows
                loop.add_signal_handler(each, stop.set)
        await serve.serve(review, port, ready, stop)

    try:
        asyncio.run(go())
    except OSError as error:
        reason = error.strerror or str(error)
        raise UsageError(f"port {port} cannot be had: {reason}", "--port 0 takes any that is free") from error
    return 0


def one(found: list[Prepared], own: str | None) -> Prepared:
    """The plan to serve: there may be only one page. On several providers it is the one that the plan names."""
    mine = [each for each in found if each.label == own]
    if len(found) == 1 or len(mine) == 1:
        return (mine or found)[0]
    names = ", ".join(f"{show.safe(each.stem)} on {show.safe(each.label)}" for each in found)
    raise UsageError(f"one page can be served, and there are {len(found)}: {names}", "name a plan, and --provider")


def _told(error: PlanError, then: str = "") -> UsageError:
    """The first problems of a plan on one line."""
    wrong = [problem for problem in error.problems if problem.severity == "error"]
    lines = [f"{problem.file}:{problem.line}: {problem.sentence}" for problem in wrong[:TOLD]]
    more = [f"{len(wrong) - TOLD} more problems"] if len(wrong) > TOLD else []
    return UsageError("; ".join([*lines, *more, *([then] if then else [])]))


def _stamp(path: Path) -> tuple[int, int]:
    """When a file was last written and how large it is; zeros where it is not."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _stamps(entries: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, int, int]]:
    for entry in entries:
        if entry.name.endswith(WRITTEN) and not entry.name.startswith("."):
            with suppress(OSError):  # gone meanwhile
                found = entry.stat()
                yield entry.name, found.st_mtime_ns, found.st_size


def _alive(pid: int | None) -> bool:
    """Whether a process of this machine is there."""
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
