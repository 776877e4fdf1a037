"""What a page says of one clip: how it stands, what that means, and every line that can be typed about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun.cli.show.standing import KINDS, NEEDS_YOU, kind_of
from storyrun.cli.show.standing import next_lines as standing_lines
from storyrun.cli.show.text import shell
from storyrun.exports.report import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEEP = ("it is good enough", "--keep")
ADOPT = ("it was bought: its task id in the provider's console", "--adopt TASK_ID")
NOT_CREATED = ("the provider never got it", "--not-created")
REBUY = ("have it bought once more", "--rebuy")
REBUY_BLIND = ("have it bought once more, though it may be bought already", "--rebuy --accept-possible-duplicate")
ABANDON = ("give it up", "--abandon")

CHOICES = {
    "unclear": (ADOPT, NOT_CREATED, REBUY_BLIND, ABANDON),
    "expired": (REBUY, ABANDON),
    "given up": (REBUY,),
    "not as ordered": (KEEP, REBUY, ABANDON),
}
"""What `settle` can be told of a clip."""

RUNS = {
    "failed": "order it again",
    "refused": "order it again, with the text changed",
    "missing": "get it again",
    "unfinished": "go on",
    "changed": "order what is written now",
    "not ordered": "order what is not there",
}


def next_lines(manifest: Mapping[str, Any], plan_file: str, options: Sequence[str] = ()) -> list[tuple[str, str]]:
    """What to type next, most pressing first: (a line to copy, what has to be added to it or known about it)."""
    told = []
    for text in standing_lines([manifest], plan_file, options):
        line, gap, note = text.partition("    (")
        head, choice, rest = line.partition(" --") if " | " in line else (line, "", "")
        told.append((head.rstrip(), f"with --{rest}" if choice else f"({note}" if gap else ""))
    return told


def standing(
    manifest: Mapping[str, Any], clip: Mapping[str, Any], plan_file: str, options: Sequence[str] = ()
) -> Standing:
    """How a clip of a manifest stands. `options` (such as `--out`, `DIR`) are repeated in the lines to type."""
    kind = kind_of(manifest, clip)
    say = KINDS[kind].say
    if kind == "done" and clip["problems"]:
        choices, say = CHOICES["not as ordered"], "not as ordered: keep it, or have it bought again"
    else:
        choices = CHOICES.get(kind, ())
    settle = shell(("settle", plan_file, clip["id"], *options))
    lines = [(why, f"storyrun {settle} {words}") for why, words in choices]
    if kind == "open":
        lines.append(("collect it", f"storyrun {shell(('fetch', plan_file, *options))}"))
    if kind in RUNS:
        lines.append((RUNS[kind], f"storyrun {shell((plan_file, *options))}"))
    return Standing(kind, KINDS[kind].word, say, tuple(lines), kind in NEEDS_YOU)
