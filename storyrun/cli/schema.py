"""`storyrun schema [NAME]`: print a JSON Schema, for editors and other programs."""

from __future__ import annotations

import json

import click

from storyrun import validation


@click.command("schema")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Schemas are JSON already; the list of names becomes an array.")
def command(name: str | None, as_json: bool) -> int:
    """Print the schema called NAME (storyboard, job, manifest, models/tokenhub/wan2.7-t2v, ...), or list the names."""
    if name is None:
        names = validation.names()
        click.echo(json.dumps(names, indent=2) if as_json else "\n".join(names))
        return 0
    click.echo(json.dumps(validation.schema(name), indent=2, ensure_ascii=False))
    return 0
