"""The command line: arguments to objects, the steps in their order, and the exit code.

Each verb is a module of this folder with a click command named `command`; it is loaded when it is typed, so that
`--help` and `check` stay fast. Everything that the rest of the program may not do happens here: the environment, the
clock, the terminal.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from storyrun import __version__
from storyrun.errors import StoryrunError

if TYPE_CHECKING:
    from collections.abc import Sequence

VERBS = {
    "run": "make every clip that is not made yet (the default: `storyrun PLAN.yaml`)",
    "preview": "make the plan as an animatic, whatever provider it names; always free",
    "check": "every problem of every plan, with file, line and column",
    "prompts": "the rendered prompts; --requests adds the bodies as they would be sent",
    "quote": "what a run would order and cost, and why; sends and writes nothing",
    "status": "where every clip stands, and the next line to type",
    "fetch": "collect what is open and order nothing; works with the plan file gone",
    "report": "the review page and the contact sheet, made anew from the ledger",
    "settle": "your word on a clip that may be bought, expired or is not as ordered",
    "pick": "choose the takes that go into the film",
    "retake": "order more takes of just these clips",
    "assemble": "put the clips together: one film for each combination of the axes",
    "export": "timelines, subtitles and lists for editors; clips under delivery names",
    "init": "begin a project: a plan that runs, and its schemas for editors",
    "models": "the models, what they take and cost, with sources",
    "doctor": "what is installed, which keys are set, what is missing",
    "sandbox": "a fake provider on this machine, for rehearsals and your own CI",
    "schema": "print a JSON Schema: of storyboards, jobs, manifests, model cards",
}
"""Verb to its line in `--help`. The module is storyrun.cli.<verb>."""

BUG = 70
INTERRUPTED = 130

EPILOG = """\b
  storyrun storyboards/hello.yaml          make it
  storyrun check plans/*.yaml              what is wrong with them
  storyrun quote spot.yaml                 what would be ordered, and why

Shell completion: eval "$(_STORYRUN_COMPLETE=bash_source storyrun)"   (zsh_source, fish_source)

\b
Exit: 0 every clip made; 1 some failed; 2 refused, nothing sent; 3 in use; 4 something needs you;
      5 stopped early; 6 ledger or disk; 70 a bug of ours; 130 interrupted."""


class Verbs(click.Group):
    """The verbs, loaded when typed. A first word that is a file means `run`; a typo gets a suggestion."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(f"storyrun.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        if word in VERBS:
            return super().resolve_command(ctx, args)
        if Path(word).is_file() or any(Path(later).is_file() for later in args[1:] if word.startswith("-")):
            return super().resolve_command(ctx, ["run", *args])
        if Path(word).is_dir():
            raise click.UsageError(f"{word} is a folder; name a plan in it, or `storyrun fetch {word}`")
        if Path(f"{word}.yaml").is_file():
            raise click.UsageError(f"there is no verb or file `{word}`; did you mean {word}.yaml?")
        if word.endswith((".yaml", ".yml")):
            raise click.UsageError(f"there is no file {word}{_similar_file(word)}")
        from storyrun import nearest

        raise click.UsageError(f"`{word}` is neither a verb nor a file: {nearest.hint(word, VERBS)}")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # `storyrun --yes plan.yaml`: options of `run` before its file
        if args and args[0].startswith("-") and not any(verb in args for verb in VERBS):
            own = {"--help", "-h", "--version", "--debug"}
            rest = [word for word in args if word not in own]
            if rest and any(Path(word).is_file() for word in rest):
                args = [word for word in args if word in own - {"--help", "-h"}] + ["run", *rest]
        return super().parse_args(ctx, args)


def _similar_file(word: str) -> str:
    from difflib import get_close_matches

    folder = Path(word).parent
    names = [str(path) for path in sorted(folder.glob("*.y*ml"))] if folder.is_dir() else []
    close = get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]}?" if close else ""


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
    no_args_is_help=True,
    options_metavar="",
    subcommand_metavar="PLAN.yaml | VERB [OPTIONS]",
)
@click.version_option(__version__, "-V", "--version", prog_name="storyrun", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def storyrun(ctx: click.Context, debug: bool) -> None:
    """Turn a storyboard into finished video clips, and buy no clip twice."""
    ctx.obj = debug


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result: Any = storyrun.main(words, prog_name="storyrun", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message())
        return 2
    except click.ClickException as error:
        if "--json" in words:
            from storyrun.cli import printed

            print(printed.as_json({"error": error.format_message(), "hint": "", "exit": 2, "problems": []}))
        print(f"storyrun: {error.format_message()}", file=sys.stderr)
        if isinstance(error, click.UsageError) and error.ctx is not None:
            print(f"  {error.ctx.command_path} --help says what there is", file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: say nothing more
        return 1
    except StoryrunError as error:
        tell(error, as_json="--json" in words)
        if "--debug" in words:
            _trace(error)
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - told as a bug of ours, with the exit code for bugs
        from storyrun.cli import printed

        if "--debug" in words:
            _trace(error)
        print(printed.line(f"storyrun: a bug of ours, sorry: {type(error).__name__}: {error}"), file=sys.stderr)
        print("  nothing that was ordered is lost; run again with --debug and tell us what it prints", file=sys.stderr)
        return BUG
    return result if isinstance(result, int) else 0


def tell(error: StoryrunError, *, as_json: bool) -> None:
    """Print an error of ours for people, its problems first if it carries any; with --json also as data on stdout."""
    from storyrun.cli import printed
    from storyrun.errors import PlanError

    found = sorted(error.problems, key=lambda problem: problem.order) if isinstance(error, PlanError) else []
    if found:
        from storyrun.cli import problems

        for problem in found:
            print(problems.as_text(problem), file=sys.stderr)
    print(f"storyrun: {printed.line(error.sentence)}", file=sys.stderr)
    if error.hint:
        print(f"  {printed.lines(error.hint)}", file=sys.stderr)
    if as_json:
        from dataclasses import asdict

        told = {"error": error.sentence, "hint": error.hint, "exit": error.exit_code, "problems": [*map(asdict, found)]}
        print(printed.as_json(told))


def _trace(error: BaseException) -> None:
    """Show where an error came from. Python would print it too, but a message in it may repeat a key."""
    from storyrun.cli import printed

    print(printed.trace(error), file=sys.stderr)
