"""`report.html`: one page that opens from the disk, with every clip of a run to look at.

It needs no server, no network and, for reading, no script. Everything that a person or a provider wrote is text on it:
the template escapes by itself, and the page forbids itself (Content-Security-Policy) every script and style but its own
two blocks, known by their hashes. Chromium takes `'self'` on a page from the disk to mean files; other browsers may
not, so `file:` stands beside it. Pictures and clips are named relative to the page and carry no query.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from storyrun import folder
from storyrun.exports import posters as pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import tzinfo

    from jinja2 import Template

NAME = "report.html"

MOST_BYTES = 2_000_000
"""A page that would be larger leaves the request bodies to the manifest."""

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Standing:
    """How a clip stands, in words for people.

    `kind` is a short key for grouping, `word` its name, `say` what it means. `lines` are what can be typed about it:
    (why, the line). `needs_you`: it was bought, or may have been, and is not here.
    """

    kind: str
    word: str
    say: str = ""
    lines: tuple[tuple[str, str], ...] = ()
    needs_you: bool = False


@dataclass(frozen=True)
class Live:
    """What the page of a server knows besides: whether a run is at work, takes can be picked, and a sheet is there."""

    running: bool
    picks: bool
    sheet: bool


def write(
    manifest: Mapping[str, Any],
    run_folder: Path,
    *,
    standing: Callable[[Mapping[str, Any]], Standing],
    next_lines: Sequence[tuple[str, str]] = (),
    zone: tzinfo = UTC,
    shown: frozenset[str] | None = None,
) -> Path:
    """Write the page of a manifest into the folder of its run, and the posters that it lacks; returns its path.

    `next_lines` are what to type next for the whole plan: (the line, what to add or to know). `shown` are the clips
    that the page is to show, None for all. Raises `LedgerError` or OSError when it cannot be written.
    """
    films = films_in(run_folder)
    posters = pictures.make(run_folder, [*pictures.files(manifest), *films])
    text = page(manifest, posters, standing=standing, next_lines=next_lines, zone=zone, shown=shown, films=films)
    target = run_folder / NAME
    folder.write_atomically(target, text.encode())
    return target


def films_in(run_folder: Path) -> dict[str, tuple[str, ...]]:
    """The films of a run, as seen from its folder, in the order of the plan, and what is to be said of each."""
    from storyrun.exports.cut import kept

    folder_of = run_folder / "films"
    told = kept.told(folder_of)
    there = [path.stem for path in sorted(folder_of.glob("[!.]*.mp4"))]
    stems = [stem for stem in told if stem in there] + [stem for stem in there if stem not in told]
    return {f"films/{stem}.mp4": told.get(stem, ()) for stem in stems}


def page(
    manifest: Mapping[str, Any],
    posters: Mapping[str, str],
    *,
    standing: Callable[[Mapping[str, Any]], Standing],
    next_lines: Sequence[tuple[str, str]] = (),
    zone: tzinfo = UTC,
    shown: frozenset[str] | None = None,
    films: Mapping[str, Sequence[str]] = MappingProxyType({}),
    live: Live | None = None,
) -> str:
    """The page as text. `posters`: video file to picture, both relative to the page, as are the `films` (see
    `films_in`).

    `live` makes it the page of a server: it follows the run, and takes are picked on it.
    """
    from storyrun.exports.report import view

    what = view.build(manifest, posters, standing, zone, shown)
    template = _template()
    style, script = _blocks(live is not None)
    what["films"] = view.films(films, posters)
    common: dict[str, Any] = {"style": style, "script": script, "csp": policy(style, script, live=live is not None)}
    common |= {"next_lines": next_lines, "live": live}
    text = template.render(**common, **what, requests=True)
    if len(text.encode()) > MOST_BYTES:
        text = template.render(**common, **what, requests=False)
    return text


def policy(style: str, script: str, *, live: bool = False) -> str:
    """The Content-Security-Policy of a page with this one style and this one script in it."""
    own = "img-src 'self' data:; media-src 'self'; connect-src 'self'"
    fence = own if live else "img-src 'self' file: data:; media-src 'self' file:"
    return (
        f"default-src 'none'; {fence}; "
        f"style-src '{_hashed(style)}'; script-src '{_hashed(script)}'; base-uri 'none'; form-action 'none'"
    )


def live_policy() -> str:
    """The policy of every page of a server, for its header."""
    return policy(*_blocks(live=True), live=True)


def _hashed(block: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()}"


@lru_cache(maxsize=2)
def _blocks(live: bool) -> tuple[str, str]:
    """Style and script. What a live page has besides stands at the end of both, within the script's one function."""
    style, script = _text("page.css"), _text("page.js")
    if not live:
        return style, script
    end = "})();\n"
    return style + _text("live.css"), script.removesuffix(end) + _text("live.js") + end


@lru_cache(maxsize=1)
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    from storyrun.exports.report.words import harmless

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: harmless(value) if type(value) is str else value,
    )
    return environment.from_string(_text("page.html.jinja"))


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
