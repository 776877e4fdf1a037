"""`storyrun doctor`: what is installed, which keys are set, and what each missing thing would unlock."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NamedTuple

import click

from storyrun import __version__, providers
from storyrun.cli import surroundings
from storyrun.cli.options import json_option


class Finding(NamedTuple):
    """One thing looked at: `good`, or what it would unlock."""

    name: str
    good: bool
    said: str
    unlocks: str = ""


@click.command("doctor")
@click.option("--online", is_flag=True, help="Also ask each provider with a key whether its base URL answers.")
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), default=".", help="Where clips would go.")
@json_option
def command(online: bool, out: str, as_json: bool) -> int:
    """Look at this machine: keys (present or absent, never shown), encoder, fonts, write access, clock.

    Sends nothing without --online. Exit 1 when the animatic, which needs no key, could not be drawn here.
    """
    found = [_python(), _encoder(), *_fonts(), _hand_off(), _writable(Path(out)), _clock(), *_keys()]
    found += _reach() if online else []
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in found], indent=2, ensure_ascii=False))
    else:
        width = max(len(finding.name) for finding in found)
        for finding in found:
            mark = "ok" if finding.good else "--"
            line = f"{mark}  {finding.name.ljust(width)}  {finding.said}"
            click.echo(line + (f"; {finding.unlocks}" if finding.unlocks and not finding.good else ""))
    needed = {"encoder", "font", "write access"}
    return 1 if any(not finding.good and finding.name in needed for finding in found) else 0


def _python() -> Finding:
    return Finding("storyrun", good=True, said=f"{__version__} on Python {sys.version.split()[0]}")


def _encoder() -> Finding:
    import av

    version = f"PyAV {av.__version__}"
    missing = [name for name in ("libx264", "aac") if name not in av.codecs_available]
    if missing:
        return Finding("encoder", good=False, said=f"{version} lacks {' and '.join(missing)}", unlocks="the animatic")
    return Finding("encoder", good=True, said=f"{version} with H.264 and AAC")


def _fonts() -> list[Finding]:
    from storyrun.providers.animatic.fonts import Fonts

    told: list[str] = []
    fonts = Fonts(None, told.append)
    fonts.for_texts(("storyrun",))
    latin = Finding("font", good=not told, said="DejaVu Sans, shipped")
    fonts.for_texts(("\u4e2d\u6587",))
    said = "an installed font draws Chinese" if not told else "no installed font draws Chinese"
    return [latin, Finding("more scripts", good=not told, said=said, unlocks="Chinese in animatics: fonts-noto-cjk")]


def _hand_off() -> Finding:
    from storyrun import exports

    without = [name for name in exports.EXPORTS if exports.lacking(name)]
    said = f"no {', '.join(without)} here" if without else f"exports {', '.join(exports.EXPORTS)}"
    return Finding("[otio]", good=not without, said=said, unlocks=f"timelines and subtitles: {exports.EXTRA}")


def _writable(folder: Path) -> Finding:
    from storyrun.errors import LedgerError
    from storyrun.folder import Outputs

    probe = Outputs(folder).root
    try:
        inside = probe if probe.is_dir() else probe.parent
        marker = inside / ".storyrun-probe"
        marker.write_bytes(b"")
        marker.unlink()
    except (OSError, LedgerError) as error:
        return Finding("write access", good=False, said=f"{folder} cannot be written: {error}", unlocks="every run")
    return Finding("write access", good=True, said=f"{inside.resolve()}")


def _clock() -> Finding:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    return Finding("clock", good=now.year >= 2025, said=f"{now:%Y-%m-%d %H:%M} UTC", unlocks="signed URLs that hold")


def _keys() -> list[Finding]:
    env = surroundings.environment()
    found = []
    for name, settings in providers.ENVIRONMENTS.items():
        there = bool(env.get(settings.key, "").strip())
        where = providers.label(name, env)
        said = f"{settings.key} is {'set' if there else 'not set'}" + (
            f", rehearsing at {where}" if "@" in where else ""
        )
        found.append(Finding(name, good=there, said=said, unlocks=f"ordering from {name}"))
    return found


def _reach() -> list[Finding]:
    """Whether the base URL of each provider with a key answers at all. Any answer will do; nothing is ordered."""
    import asyncio

    env = surroundings.environment()
    named = [name for name, settings in providers.ENVIRONMENTS.items() if env.get(settings.key, "").strip()]
    return [asyncio.run(_asked(name)) for name in named]


async def _asked(name: str) -> Finding:
    from storyrun.errors import MissedPoll, UsageError
    from storyrun.http import ApiClient, Secret, base_url

    env = surroundings.environment()
    settings = providers.ENVIRONMENTS[name]
    try:
        base = base_url(env.get(settings.base) or settings.default, providers.ENDINGS)
    except UsageError as error:
        return Finding(f"{name} online", good=False, said=error.sentence)
    client = ApiClient(base, Secret(env[settings.key]))
    try:
        status, _, _ = await client.ask("/")
    except MissedPoll as error:
        return Finding(f"{name} online", good=False, said=error.sentence)
    finally:
        await client.aclose()
    return Finding(f"{name} online", good=True, said=f"{base} answers ({status})")
