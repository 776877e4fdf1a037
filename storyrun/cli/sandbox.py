"""`storyrun sandbox`: a fake provider on this machine, for rehearsals and for your own CI."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storyrun.sandbox import Sandbox


class _Help(click.Command):
    """Its help ends with every fault. They are loaded only to be shown."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from storyrun.sandbox import FAULTS

        with formatter.section("Faults"):
            formatter.write_dl([(name, fault.line) for name, fault in FAULTS.items()])
        formatter.write_paragraph()
        formatter.write_text(
            "A chance is a share of the times (0.1), the first ones (3x), or all after the first ones (20+). Faults of "
            "a clip and of its task are drawn when it is ordered; the others each time. The same --seed misbehaves in "
            "the same way."
        )


@click.command("sandbox", cls=_Help)
@click.option("--port", metavar="N", type=click.IntRange(0, 65535), default=0, help="0 for any that is free.")
@click.option("--latency", metavar="S", default="5", show_default=True, help="Seconds that a task takes: 5, or 3-8.")
@click.option("--concurrency-limit", metavar="N", type=click.IntRange(min=1), help="More tasks at once get a 429.")
@click.option("--poll-limit", metavar="N", type=click.IntRange(min=1), help="More polls a second get a 429.")
@click.option("--fault", "faults", metavar="NAME=CHANCE", multiple=True, help="Misbehave; see below. May be repeated.")
@click.option("--slow", metavar="S", type=click.FloatRange(min=0), default=150.0, help="Seconds of `slow-answer`.")
@click.option("--seed", metavar="N", type=int, default=0, help="Of everything that is drawn.")
@click.option("--log", metavar="FILE", type=click.Path(dir_okay=False), help="Append the bill to a file of JSON lines.")
@click.option("--tiny", is_flag=True, help="Draw one clip for each size and length, without the prompt: faster.")
def command(latency: str, faults: tuple[str, ...], log: str | None, **options: Any) -> int:
    """Run a fake provider that speaks like TokenHub, ToAPIs and DashScope, and costs nothing.

    It listens on this machine only and prints what to export. Its clips are animatics of what was ordered. Ctrl-C ends
    it.
    """
    import asyncio

    from storyrun.sandbox import Sandbox

    place = Path(log) if log else None
    sandbox = Sandbox(latency=_seconds(latency), faults=_chances(faults), log=place, **options)
    try:
        asyncio.run(_serve(sandbox))
    except OSError as error:
        raise UsageError(f"the sandbox cannot start: {error.strerror or error}") from error
    return 0


async def _serve(sandbox: Sandbox) -> None:
    """Serve until somebody says stop; then say what was sold."""
    import asyncio
    import signal

    stop = asyncio.Event()
    async with sandbox:
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, stop.set)
        for name, value in sandbox.environment.items():
            click.echo(f"export {name}={value}")
        click.echo(f"listening on {sandbox.origin}, the bill is {sandbox.log.path}; Ctrl-C ends it", err=True)
        await stop.wait()
        sold = len(sandbox.log.booked)
        click.echo(f"{sold} clip{'s were' if sold != 1 else ' was'} ordered", err=True)


def _seconds(text: str) -> float | tuple[float, float]:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(?:-(\d+(?:\.\d+)?))?", text)
    if found is None or (found[2] and float(found[2]) < float(found[1])):
        raise UsageError(f"--latency {text}: write seconds, such as 5 or 3-8")
    return (float(found[1]), float(found[2])) if found[2] else float(found[1])


def _chances(faults: tuple[str, ...]) -> Mapping[str, str]:
    chances = dict(each.rpartition("=")[::2] for each in faults)
    if "" in chances:
        raise UsageError(f"--fault {chances['']}: write NAME=CHANCE, such as 429=0.1")
    return chances
