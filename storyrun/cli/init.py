"""`storyrun init DIR`: a new project: a plan that runs, the schemas for editors, what git should not keep."""

from __future__ import annotations

import json
from pathlib import Path

import click

from storyrun import validation
from storyrun.cli import show
from storyrun.cli.options import json_option
from storyrun.errors import UsageError

PLAN = """\
# yaml-language-server: $schema=schemas/storyboard.schema.json
version: 1
title: {title}
# provider: dashscope           # left out: the animatic, drawn on this machine and free
# model: wan2.7
# budget: {{max: 20, currency: USD}}

defaults:
  resolution: 720p
  aspect_ratio: "{{{{ format.ratio }}}}"
  look: 35mm film, soft morning light

matrix:                         # every scene is made once for each of these
  format:
    - {{id: wide, ratio: "16:9"}}
    - {{id: tall, ratio: "9:16"}}

scenes:
  - id: opening
    shots:
      - seconds: 3
        framing: wide shot
        camera: slow push in
        action: a paper boat drifts across a puddle at sunrise
      - seconds: 2
        framing: close-up
        action: the bow of the boat touches a fallen leaf
        sound: a bicycle bell in the distance
  - id: ending
    seconds: 4
    prompt: The boat turns slowly and catches the light
"""

IGNORED = """\
# clips, ledger and manifests: keep them, but not in git
outputs/
.env
"""

KEYS = """\
# copy to .env and fill in what you use; keys go nowhere else
TOKENHUB_API_KEY=
TOAPIS_API_KEY=
DASHSCOPE_API_KEY=
"""


@click.command("init")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False))
@json_option
def command(folder: str, as_json: bool) -> int:
    """Begin a project in DIR (made if it is not there): a plan that runs, and all that an editor wants to know.

    Nothing that is there already is changed.
    """
    root = Path(folder)
    name = root.resolve().name
    stem = "".join(c if c.isalnum() or c in "_-" else "-" for c in name).strip("-") or "plan"
    files = {
        f"{stem}.yaml": PLAN.format(title=json.dumps(name, ensure_ascii=False)),
        ".gitignore": IGNORED,
        ".env.example": KEYS,
        **{f"schemas/{kind}.schema.json": _schema(kind) for kind in ("storyboard", "picks")},
    }
    there = [file for file in files if (root / file).exists()]
    if f"{stem}.yaml" in there:
        raise UsageError(f"{root / f'{stem}.yaml'} is already there; nothing was written", "name another folder")
    try:
        for file, text in files.items():
            if file not in there:
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename or root} cannot be written: {error.strerror or error}") from error
    plan = show.quoted(str(root / f"{stem}.yaml"))
    if as_json:
        written = [file for file in files if file not in there]
        click.echo(json.dumps({"plan": str(root / f"{stem}.yaml"), "written": written, "kept": there}, indent=2))
        return 0
    click.echo(
        f"{show.safe(str(root))}: a plan of two scenes in two formats" + (f"; kept {', '.join(there)}" if there else "")
    )
    click.echo(f"next  storyrun {plan}\n      storyrun check {plan}")
    return 0


def _schema(kind: str) -> str:
    """A schema as it ships, for editors."""
    return (validation.folder() / f"{kind}.schema.json").read_text(encoding="utf-8")
