"""`storyrun settle PLAN CLIP|ATTEMPT`: a person's word on a clip that the program cannot decide. Sends no create."""

from __future__ import annotations

import getpass
import os
from typing import TYPE_CHECKING, Any

import click

from storyrun import nearest, providers
from storyrun.cli import show, surroundings
from storyrun.cli.options import PROVIDERS, json_option
from storyrun.cli.show.text import safe
from storyrun.clock import SystemClock
from storyrun.errors import UsageError
from storyrun.records import State, Task

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.ledger import Ledger
    from storyrun.providers.base import Provider
    from storyrun.records import Attempt, Echo, TaskStatus

SHOWN = 200
"""Characters of a prompt that are shown when two differ."""

WORDS = {
    State.SENDING: "unclear",
    State.UNKNOWN: "unclear",
    State.ACCEPTED: "open",
    State.READY: "open",
    State.DONE: "done",
    State.EXPIRED: "expired",
    State.ABANDONED: "given up",
    State.FAILED: "failed",
    State.REJECTED: "refused",
    State.NOT_SENT: "not ordered",
    State.SUPERSEDED: "to be ordered again",
}
"""What people read for a state."""

NEXT: dict[State, tuple[str, ...]] = {State.ACCEPTED: ("fetch",), State.NOT_SENT: (), State.SUPERSEDED: ()}
"""The verb that goes on from a state; none is `run`."""

BILLED_ONCE_MORE = "may have been bought: look in the provider's console first"


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
        attempt = _found(ledger, path.stem, wanted, provider, said[0])
        with outputs.run_folder(path.stem, attempt.provider).hold():
            attempt = ledger.attempt(attempt.id)  # a run may have ended meanwhile
            settled = _settle(ledger, attempt, said[0], words, (outputs.root / attempt.plan_path).parent)
    if as_json:
        click.echo(
            json.dumps({"clip": settled.clip, "attempt": settled.id, "state": settled.state, "was": attempt.state})
        )
    else:
        click.echo(f"{safe(settled.clip)}: was {WORDS[attempt.state]}, is now {_now(settled)}")
        if settled.state in NEXT:
            words_of = (*NEXT[settled.state], plan_file, *(("--out", out) if out else ()))
            click.echo(f"next  storyrun {' '.join(show.quoted(word) for word in words_of)}")
    return 0


def _now(settled: Attempt) -> str:
    return "as it is, and kept" if settled.state is State.DONE else WORDS[settled.state]


def _found(ledger: Ledger, plan: str, wanted: str, provider: str | None, said: str) -> Attempt:
    """The attempt that is meant: by its id, or of a clip the live one that waits for such a word, else its newest."""
    mine = [
        attempt
        for attempt in ledger.attempts(plan=plan, live=True)
        if provider is None or attempt.provider.partition("@")[0] == provider
    ]
    meant = [attempt for attempt in mine if wanted in (attempt.id, attempt.clip)]
    places = {attempt.provider for attempt in meant}
    if len(places) > 1:  # of several places the one where a word is wanted; of several of those, today's
        waits = {attempt.provider for attempt in meant if _waits_for(attempt, said)} or places
        today = {
            place for place in waits if providers.label(place.partition("@")[0], surroundings.environment()) == place
        }
        places = waits if len(waits) == 1 else today if len(today) == 1 else waits
        meant = [attempt for attempt in meant if attempt.provider in places]
    if len(places) > 1:
        ids = ", ".join(f"{attempt.id} ({attempt.provider})" for attempt in meant)
        raise UsageError(
            f"{wanted} was ordered at {' and '.join(sorted(places))}; nothing was changed",
            f"name the one you mean instead of the clip: {ids}",
        )
    if not meant:
        hint = nearest.hint(wanted, dict.fromkeys(attempt.clip for attempt in mine))
        raise UsageError(f"nothing of {plan} called {wanted} is bought or open; nothing was changed", hint)
    waiting = [attempt for attempt in meant if _waits_for(attempt, said)]
    if len(waiting) > 1:
        told = ", ".join(f"{attempt.id} ({attempt.state}, ordered {attempt.created_at})" for attempt in waiting)
        raise UsageError(f"{wanted} was ordered more than once: {told}; nothing was changed", "name the one you mean")
    return (waiting or meant)[-1]


def _waits_for(attempt: Attempt, said: str) -> bool:
    """Whether an attempt is one of which a person has to say such a thing."""
    if said in ("adopt", "not_created"):
        return attempt.state is State.UNKNOWN
    not_as_ordered = attempt.state is State.DONE and bool(attempt.problems)
    return not_as_ordered or (said != "keep" and attempt.state in (State.UNKNOWN, State.EXPIRED))


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
        task_id = words["adopt"].strip()
        _ask(ledger, attempt, task_id, folder)
        return ledger.move(attempt.id, State.ACCEPTED, task_id=task_id, by=by, why=why)
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


def _ask(ledger: Ledger, attempt: Attempt, task_id: str, folder: Path) -> None:
    """Ask the provider about a task before it is taken for ours. Raises `UsageError` if it cannot be this order's."""
    import asyncio

    from storyrun.errors import ProviderError
    from storyrun.ledger import TaskTaken
    from storyrun.providers.answers import TASK_ID

    if not TASK_ID.fullmatch(task_id):
        raise UsageError(
            f"`{show.safe(task_id)}` is no task id; nothing was asked", "copy it from the provider's console"
        )
    if (owner := ledger.task_owner(attempt.provider, task_id)) is not None:
        raise UsageError(f"{TaskTaken(task_id, owner).sentence}; nothing was asked")
    name = attempt.provider.partition("@")[0]
    provider = _provider(attempt, name)
    task = Task(attempt.id, task_id, attempt.model, attempt.job, folder, attempt.created_at)

    async def asked() -> TaskStatus:
        try:
            return await provider.poll(task)
        finally:
            await provider.aclose()

    try:
        status = asyncio.run(asked())
    except ProviderError as error:
        raise UsageError(f"task {task_id} could not be asked for: {error.sentence}; nothing was changed") from error
    if status.state == "missing":
        raise UsageError(f"{name} does not know task {task_id}; nothing was changed", "copy the id from its console")
    _compare(ledger, attempt, task_id, status.echo)


def _provider(attempt: Attempt, name: str) -> Provider:
    """The provider with the account that the clip was ordered with. Raises `UsageError` where it is another today."""
    from storyrun.providers import accounts

    env = surroundings.environment()
    settings = providers.environment(name)
    variable, key = (settings.base, settings.key) if settings else ("", "")
    if providers.label(name, env) != attempt.provider:
        raise UsageError(
            f"{attempt.clip} was ordered from {attempt.provider}; nothing was asked", f"set {variable} as it was then"
        )
    ordered = accounts.read(attempt.account)
    today = accounts.origin(providers.base(name, env))
    if ordered and ordered.base != today:
        raise UsageError(
            f"{attempt.clip} was ordered at {accounts.place(attempt.account)}, and {variable} leads to "
            f"{today.removeprefix('https://')} today; nothing was asked",
            f"set {variable}={ordered.base}",
        )
    provider = providers.build(name, env, lambda _: None)
    if accounts.difference(attempt.account, provider.account):
        raise UsageError(
            f"{attempt.clip} was ordered with another {key} than today's, which may not see it; nothing was asked",
            f"set {key} to the one of then",
        )
    return provider


def _compare(ledger: Ledger, attempt: Attempt, task_id: str, echo: Echo) -> None:
    """Raise `UsageError` where the provider says that a task was ordered otherwise. Silence proves nothing."""
    there = f"task {task_id}"
    if echo.attempt_id and echo.attempt_id != attempt.id:
        mine = next((each for each in ledger.attempts() if each.id == echo.attempt_id), None)
        other = f"{mine.clip} of {mine.plan}" if mine else "an order that this ledger does not know"
        raise UsageError(f"{there} was ordered as {other}, not as {attempt.clip}; nothing was changed")
    if echo.model and echo.model != attempt.model:
        raise UsageError(
            f"{there} is of {show.safe(echo.model)}, and {attempt.clip} of {attempt.model}; nothing was changed"
        )
    prompt = str(attempt.job.get("prompt", ""))
    if echo.prompt and echo.prompt.strip() != prompt.strip():
        theirs, ours = _apart(echo.prompt.strip(), prompt.strip())
        raise UsageError(
            f"{there} has another prompt than {attempt.clip}; nothing was changed",
            f'there  "{theirs}"\n  here   "{ours}"',
        )


def _apart(one: str, other: str) -> tuple[str, str]:
    """Two texts as far as a person needs them to see where they differ."""
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    begin = max(0, same - 60)
    first, second = (
        ("..." if begin else "") + show.safe(text[begin : begin + SHOWN]) + ("..." if text[begin + SHOWN :] else "")
        for text in (one, other)
    )
    return first, second


def _person() -> str:
    """Who is at the keyboard, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no such user, as in some containers
        return f"uid {os.getuid()}"
