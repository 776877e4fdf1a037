"""`storyrun settle PLAN CLIP|ATTEMPT`: a person's word on a clip that the program cannot decide. Sends no create."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import click

from storyrun import nearest, providers
from storyrun.cli import surroundings
from storyrun.cli.options import PROVIDERS, json_option
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.records import State, Task

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.ledger import Ledger
    from storyrun.records import Attempt

BILLED_ONCE_MORE = "it may have been bought: look in the provider's console first"


@click.command("settle")
@click.argument("plan_file", metavar="PLAN.yaml", type=click.Path(dir_okay=False))
@click.argument("wanted", metavar="CLIP|ATTEMPT")
@click.option("--adopt", metavar="TASK_ID", help="It was bought, as this task; the provider is asked first.")
@click.option("--not-created", is_flag=True, help="The provider never got it: the next run orders it.")
@click.option("--keep", is_flag=True, help="It is not as ordered, and good enough.")
@click.option("--rebuy", is_flag=True, help="Have the next run buy it once more.")
@click.option("--accept-possible-duplicate", is_flag=True, help="With --rebuy, for a clip that may be bought already.")
@click.option("--abandon", is_flag=True, help="Give it up; what it cost stays counted.")
@click.option("--why", metavar="TEXT", default="", help="For the record.")
@click.option("--provider", type=click.Choice(PROVIDERS), help="Only among this provider's.")
@click.option("--out", metavar="DIR", type=click.Path(file_okay=False), help="The outputs folder of the plan.")
@json_option
def command(plan_file: str, wanted: str, provider: str | None, out: str | None, as_json: bool, **words: Any) -> int:
    """Say what became of CLIP (its id) or ATTEMPT of PLAN.yaml, where the program cannot know.

    Nothing is sent but the question behind --adopt; the next run orders what is to be ordered. Who said what, when and
    why is kept in the ledger.
    """
    import json
    from pathlib import Path

    from storyrun.folder import Outputs
    from storyrun.ledger import Ledger

    said = [name for name in ("adopt", "not_created", "keep", "rebuy", "abandon") if words[name]]
    if len(said) != 1:
        raise UsageError("say one of --adopt ID, --not-created, --keep, --rebuy, --abandon; nothing was changed")
    path = Path(plan_file)
    outputs = Outputs(Path(out) if out else path.parent / "outputs")
    if not outputs.ledger_path.is_file():
        raise UsageError(f"there is no ledger in {outputs.root}", "name the outputs folder with --out")
    clock = SystemClock()
    with Ledger.open(outputs.ledger_path, clock) as ledger:
        attempt = _found(ledger, path.stem, wanted, provider)
        with outputs.run_folder(path.stem, attempt.provider).hold():
            settled = _settle(ledger, attempt, said[0], words, (outputs.root / attempt.plan_path).parent)
    if as_json:
        click.echo(
            json.dumps({"clip": settled.clip, "attempt": settled.id, "state": settled.state, "was": attempt.state})
        )
    else:
        click.echo(f"{settled.clip}: {attempt.state} is now {settled.state}")
    return 0


def _found(ledger: Ledger, plan: str, wanted: str, provider: str | None) -> Attempt:
    """The attempt that is meant: by its id, or the newest live one of a clip."""
    mine = [
        attempt
        for attempt in ledger.attempts(plan=plan, live=True)
        if provider is None or attempt.provider.partition("@")[0] == provider
    ]
    meant = [attempt for attempt in mine if wanted in (attempt.id, attempt.clip)]
    places = {attempt.provider for attempt in meant}
    if len(places) > 1:
        raise UsageError(
            f"{wanted} was ordered from {' and '.join(sorted(places))}", "add --provider; nothing was changed"
        )
    if not meant:
        hint = nearest.hint(wanted, dict.fromkeys(attempt.clip for attempt in mine))
        raise UsageError(f"nothing of {plan} called {wanted} is bought or open; nothing was changed", hint)
    return meant[-1]


def _settle(ledger: Ledger, attempt: Attempt, said: str, words: dict[str, Any], folder: Path) -> Attempt:
    """Record what was said. Raises `UsageError` where it does not fit the attempt's state."""
    by, why = _person(), words["why"] or f"settle --{said.replace('_', '-')}"
    if said == "keep":
        if attempt.state is not State.DONE or not attempt.problems:
            raise UsageError(
                f"{attempt.clip} is {attempt.state} and has no problems to keep it with; nothing was changed"
            )
        ledger.set_problems(attempt.id, (), by=by, why=why)
        return ledger.attempt(attempt.id)
    if said in ("adopt", "not_created") and attempt.state is not State.UNKNOWN:
        raise UsageError(f"{attempt.clip} is {attempt.state}, not unknown; nothing was changed")
    if said == "adopt":
        _ask(attempt, words["adopt"], folder)
        return ledger.move(attempt.id, State.ACCEPTED, task_id=words["adopt"], by=by, why=why)
    if said == "not_created":
        return ledger.move(attempt.id, State.NOT_SENT, by=by, why=why)
    if attempt.state is State.SENDING:
        raise UsageError(f"{attempt.clip} is being sent; nothing was changed", "run the plan once, or `storyrun fetch`")
    if said == "abandon":
        return ledger.move(attempt.id, State.ABANDONED, by=by, why=why)
    accepted = words["accept_possible_duplicate"]
    if attempt.state is State.UNKNOWN and not accepted:
        raise UsageError(
            f"{attempt.clip} {BILLED_ONCE_MORE}; nothing was changed", "then add --accept-possible-duplicate"
        )
    return ledger.move(attempt.id, State.SUPERSEDED, accept_possible_duplicate=accepted, by=by, why=why)


def _ask(attempt: Attempt, task_id: str, folder: Path) -> None:
    """Ask the provider whether it knows the task, before it is taken for ours. Raises `UsageError` if not."""
    import asyncio

    from storyrun.errors import ProviderError

    name = attempt.provider.partition("@")[0]
    env = surroundings.environment()
    if providers.label(name, env) != attempt.provider:
        raise UsageError(f"{attempt.clip} was ordered from {attempt.provider}; nothing was asked", "set its base URL")
    provider = providers.build(name, env, lambda _: None)
    task = Task(attempt.id, task_id, attempt.model, attempt.job, folder, attempt.created_at)

    async def asked() -> str:
        try:
            return (await provider.poll(task)).state
        finally:
            await provider.aclose()

    try:
        state = asyncio.run(asked())
    except ProviderError as error:
        raise UsageError(f"task {task_id} could not be asked for: {error.sentence}; nothing was changed") from error
    if state == "missing":
        raise UsageError(f"{name} does not know task {task_id}; nothing was changed", "copy the id from its console")


def _person() -> str:
    """Who is at the keyboard, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in some containers
        return f"uid {os.getuid()}"
