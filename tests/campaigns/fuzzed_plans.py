"""Plans that are nonsense in a thousand ways: as bytes, and as values that are good YAML."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import yaml

from storyrun import jobs, providers
from storyrun.cli.planning import planned
from tests.plays import SPOT
from tests.rehearsal import typed

if TYPE_CHECKING:
    from collections import Counter

    from storyrun.records import Plan, Problem

ROOT = Path(__file__).parent.parent.parent
THROUGH_THE_COMMAND_LINE = 50

RICH = """\
version: 1
title: A little of everything
provider: dashscope
model: wan2.7
defaults: {resolution: 720p, aspect_ratio: "{{ format.ratio }}", look: film, negative_prompt: blurry}
vars: {weather: rainy, street: "a {{ weather }} street in {{ city }}"}
matrix:
  city: [Bergen, "New York"]
  format:
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
exclude: [{city: Bergen, format: tall}]
references: {can: refs/can.png, road: https://example.com/road.png}
scenes:
  - id: opening
    premise: A calm morning.
    shots:
      - {seconds: 3, framing: wide shot, action: "{{ street }}", sound: rain}
      - seconds: 2
        camera: slow push in
        action: a hand lifts @can
        dialogue: [detective (low): Anyone here?, She laughs]
    takes: 2
    seed: 12345
  - {id: desk, seconds: 5, prompt: Dust moves, first_frame: refs/can.png, audio: none}
  - {id: road, seconds: 4, prompt: "@road at night, {% if city == 'Bergen' %}snow{% else %}neon{% endif %}"}
budget: {max: 20, currency: USD}
prices:
  dashscope/wan2.7-t2v: {currency: USD, 720p: 0.10, 1080p: 0.15}
notes: for people
"""

PIECES = (
    *(b"\x00", b"\x07", b"\x1b[31m", b"\x7f", b"\x85", b"\xff\xfe", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\t"),
    *(b"\r", b"\r\n", b"\n", b" ", b"\n  ", b"\n\t- ", b"\xe2\x80\xa8", b"\xe2\x80\xae", b"\xf0\x9f\x98\xba"),
    *(b"&a ", b"*a", b"<<: *a\n", b"!!python/object/apply:os.system ['true']", b"!!binary aGk=", b"!x ", b"!!set "),
    *(b"%YAML 1.1\n---\n", b"---\n", b"...\n", b"? ", b": ", b"- ", b"| ", b">-\n", b"[", b"]", b"{", b"}", b","),
    *(b"'", b'"', b'"\\ud800"', b'"\\0"', b"#", b" #", b"@", b"`", b"%", b"~", b"null", b"=", b"0x1F", b"1_000"),
    *(b"{{ ", b" }}", b"{% for i in range(9) %}", b"{#", b"{{ ''.__class__ }}", b"12:30:45", b"1e400", b".nan", b"no"),
    "\u201cquoted\u201d".encode(),
    b"a: &a [x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
)

LARGE = (
    lambda: b"[" * 5000,
    lambda: b"{a: " * 900,
    lambda: b"- " * 3000,
    lambda: b"\n".join(b" " * depth + b"a:" for depth in range(300)),
    lambda: b"x" * 300_000,
    lambda: b'"' + b"y" * 100_000 + b'"',
    lambda: b"9" * 10_000,
    lambda: b"\n".join(b"k%d: v" % number for number in range(3000)),
)

SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 3, 5, 10, 15, 16, 1.5, -0.0, 0.001, 1e300, math.nan, math.inf, -math.inf),
    *(10**30, -(10**30), 2**63, "1e400", "0x10", "1_000", "007", "+5", "5 ", "5s", "\u0665", "\u00bd", "NaN"),
    "5.0000001",
    *("", " ", "a", "x" * 3000, "\U0001f63a" * 50, "\u05e9\u05dc\u05d5\u05dd", "\u202eevil", "a\u0000b", "a\x1b[2Jb"),
    *("line\nline", "\ttab", "e\u0301", "\ufeff", "\uffff", "../../etc/passwd", "/etc/passwd", "refs/can.png", "refs"),
    *("refs/none.png", "tables/cities.csv", "https://example.com/a.png", "http://127.0.0.1/a.png", "https://"),
    "file:///a",
    *("https://u:p@example.com/x?Signature=s", "oss://x", "data:image/png;base64,AA==", "C:\\x.png", "~/x.png", "CON"),
    *("@can", "@", "@@can", "@nobody @can", "@can.", "@{{ city }}", "16:9", "9:16", "0:0", "-1:2", "adaptive"),
    "1280x720",
    *("720p", "1080p", "4k", "wan2.7", "wan2.7-t2v", "wan2.6-t2v", "wan3.0-video", "dashscope", "toapis", "tokenhub"),
    *("animatic", "auto", "none", "single", "multi", "USD", "CNY", "EUR", "true", "false", "null", "~", "yes"),
    "2026-01-01",
    *("{{ city }}", "{{ format }}", "{{ format.ratio }}", "{{ nobody }}", "{{ city.x.y }}", "{{", "}}", "{%"),
    *("{# ", "{{ }}"),
    *("{{ city|upper }}", "{{ city|nofilter }}", "{{ 1/0 }}", "{{ 9**9**9 }}", "{{ 'a' * 10**9 }}"),
    "{{ [1] * 10**9 }}",
    *("{{ ''.__class__.__mro__ }}", "{{ city|attr('__class__') }}", "{{ city.__init__.__globals__ }}", "{{ self }}"),
    *("{% for i in range(10**9) %}x{% endfor %}", "{% for i in range(99) %}{{ i }}{% endfor %}"),
    "{{ range(10**8)|list }}",
    *("{% include 'x' %}", "{% import 'x' as y %}", "{% set seed = 7 %}{{ seed }}"),
    "{% macro m() %}{{ m() }}{% endmacro %}",
    *("{{ '%999999999d' % 1 }}", "{{ '{:>999999999}'.format(1) }}", "{{ 'x'|center(10**9) }}", "{{ lipsum(9999) }}"),
    *("{{ cycler }}", "{{ vars }}", "{{ id }}", "{{ seconds }}", "{{ weather }}{{ street }}", "{{ loop.index }}"),
    *("{{ city|replace('', 'ab' * 1000) }}", "{{ ('a' ~ city) * 99999 }}", "{% raw %}{{{% endraw %}"),
    *("{{ now() }}", "{{ '' }}"),
)

KEYS: tuple[Any, ...] = (
    *("version title provider model defaults vars matrix exclude references scenes budget prices notes".split()),
    *("id premise prompt shots seconds template takes seed resolution aspect_ratio look negative_prompt".split()),
    *("prompt_extend watermark shot_type audio first_frame last_frame framing camera action dialogue sound".split()),
    *("table max currency images voice ratio city format weather url host headers Authorization api_key".split()),
    "base_url",
    *("", " ", "a b", "Scenes", "scens", "__class__", "\U0001f63a", "a.b", "0", "null", "{{ city }}", "@can"),
    "x" * 300,
    *(None, 0, True, 1.5),
)

CODE = re.compile(r"SR\d{3}")


def problem_wrong(problem: Problem) -> str:
    """What a problem lacks; empty when it has all that a person needs."""
    if not CODE.fullmatch(problem.code) or problem.severity not in ("error", "warning", "note"):
        return f"a problem has code {problem.code!r} and severity {problem.severity!r}"
    if problem.line < 1 or problem.column < 1:
        return f"{problem.code} stands at {problem.line}:{problem.column}"
    if not problem.sentence.strip() or not problem.file:
        return f"{problem.code} says nothing"
    return ""


def plan_wrong(plan: Plan, name: str) -> list[str]:
    """What may not be in a plan that was admitted."""
    wrong = []
    if len({job.id for job in plan.jobs}) != len(plan.jobs):
        wrong.append("two clips have one id")
    for job in plan.jobs:
        if not job.length > 0:
            wrong.append(f"{job.id} is {job.length} s long")
        if job.quote is not None and not (job.quote.amount.is_finite() and job.quote.amount >= 0):
            wrong.append(f"{job.id} costs {job.quote.amount}")
        if not job.stem or "/" in job.stem or job.stem.startswith(".") or len(job.stem.encode()) > 120:
            wrong.append(f"{job.id} has the file name {job.stem!r}")
        json.dumps(providers.body(name, job), allow_nan=False).encode()
        json.dumps(jobs.as_dict(job), allow_nan=False, ensure_ascii=False, default=dict).encode()
    return wrong


class Plans:
    """Makes the cases and judges them. What happened is counted in `figures`."""

    def __init__(self, folder: Path, figures: Counter[str]) -> None:
        self._figures = figures
        shutil.copytree(ROOT / "storyboards", folder / "boards", ignore=shutil.ignore_patterns("outputs"))
        shutil.copytree(ROOT / "tests" / "plans", folder / "plans")
        (folder / "boards" / "rich.yaml").write_text(RICH, encoding="utf-8")
        (folder / "boards" / "spot.yaml").write_text(SPOT.replace("\n    ", "\n"), encoding="utf-8")
        # a few bytes away from a million clips are a hundred thousand: allowed, and a minute's work
        (folder / "plans" / "invalid" / "axis-too-many-clips.yaml").unlink()
        boards = sorted((folder / "boards").glob("*.yaml"))
        self._files = [*boards * 4, *sorted((folder / "plans").rglob("*.yaml"))]
        self._bytes = {path: path.read_bytes() for path in self._files}
        # the small ones more often: what is odd about a value is odd in any plan, and they are ten times as fast
        boards += [path for path in boards if len(self._bytes[path]) < 1200] * 4
        self._boards = [(path, yaml.load(self._bytes[path], Loader=yaml.CBaseLoader)) for path in boards]  # noqa: S506 - makes texts only

    def of_bytes(self, number: int) -> list[str]:
        """A file with some of its bytes changed."""
        chance = Random(f"bytes:{number}")
        path = chance.choice(self._files)
        data = self._bytes[path]
        for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
            data = self._mangled(data, chance)
        return self._judge(path, data, number, "bytes")

    def of_values(self, number: int) -> list[str]:
        """A plan that was right, with some of its values and keys changed."""
        chance = Random(f"values:{number}")
        path, board = chance.choice(self._boards)
        board = copy.deepcopy(board)
        for _ in range(chance.choice((1, 1, 1, 2, 3))):
            changed(board, chance)
        text = yaml.dump(
            board,
            Dumper=yaml.CSafeDumper,
            allow_unicode=chance.random() < 0.8,
            default_flow_style=chance.choice((False, False, None)),
            sort_keys=False,
            width=10_000,
        )
        return self._judge(path, text.encode("utf-8", "surrogatepass"), number, "values")

    def _mangled(self, data: bytes, chance: Random) -> bytes:
        at, to = sorted((chance.randint(0, len(data)), chance.randint(0, len(data))))
        near = min(to, at + chance.randint(1, 40))
        match chance.randrange(9):
            case 0:  # flip a bit
                flipped = bytearray(data or b" ")
                flipped[at % len(flipped)] ^= 1 << chance.randrange(8)
                return bytes(flipped)
            case 1:
                return data[:at] + data[near:]
            case 2:  # the end is missing
                return data[:at]
            case 3:
                return data[:near] + data[at:near] * chance.choice((1, 2, 30)) + data[near:]
            case 4:
                other = self._bytes[chance.choice(self._files)]
                start = chance.randint(0, len(other))
                return data[:at] + other[start : start + chance.randint(1, 200)] + data[near:]
            case 5 | 6:
                return data[:at] + chance.choice(PIECES) + data[at:]
            case 7:  # lines change places
                lines = data.splitlines(keepends=True) or [b""]
                one, two = chance.randrange(len(lines)), chance.randrange(len(lines))
                lines[one], lines[two] = lines[two], lines[one]
                return b"".join(lines)
            case _:
                large: bytes = chance.choice(LARGE)() if chance.random() < 0.3 else chance.choice(PIECES)
                return data[:at] + large + data[at:]

    def _judge(self, beside: Path, data: bytes, number: int, kind: str) -> list[str]:
        path = beside.with_name("fuzzed.yaml")
        path.write_bytes(data)
        plan, problems, name = planned(path, None, None, {})
        errors = [problem for problem in problems if problem.severity == "error"]
        wrong = [told for problem in problems if (told := problem_wrong(problem))]
        if errors:
            self._figures[f"{kind} refused"] += 1
        elif plan is None:
            wrong.append("there is no plan, and no error")
        else:
            self._figures[f"{kind} admitted"] += 1
            wrong += plan_wrong(plan, name)
        if number % THROUGH_THE_COMMAND_LINE == 0:
            ran = typed("check", str(path))
            self._figures[f"{kind} through the command line"] += 1
            if ran.code != (2 if errors else 0):
                wrong.append(f"`check` exits {ran.code} with {len(errors)} errors")
            if "Traceback" in ran.err or "a bug of ours" in ran.err:
                wrong.append(f"`check` says {ran.err[:200]}")
        return wrong


def changed(board: Any, chance: Random) -> None:
    """One change somewhere in a tree of dicts and lists."""
    places = [place for place in holders(board) if place]
    holder = chance.choice(places)
    if isinstance(holder, dict):
        key = chance.choice(list(holder))
        match chance.randrange(8):
            case 0:
                del holder[key]
            case 1:
                holder[chance.choice(KEYS)] = chance.choice(SCALARS)
            case 2:
                holder[chance.choice(KEYS)] = holder.pop(key)
            case 3:
                holder[key] = somewhere(board, chance)
            case 4:
                holder[key] = wrapped(holder[key], chance)
            case _:
                holder[key] = chance.choice(SCALARS)
    else:
        at = chance.randrange(len(holder))
        match chance.randrange(7):
            case 0:
                del holder[at]
            case 1:
                holder.insert(at, copy.deepcopy(holder[at]))
            case 2:
                holder.insert(at, chance.choice(SCALARS))
            case 3:
                holder[at] = somewhere(board, chance)
            case 4:
                holder[at] = wrapped(holder[at], chance)
            case 5:
                holder.extend(copy.deepcopy(holder[at]) for _ in range(chance.choice((3, 40))))
            case _:
                holder[at] = chance.choice(SCALARS)


def holders(value: Any) -> list[Any]:
    """Every dict and list of a tree."""
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for child in inner for found in holders(child))]


def somewhere(board: Any, chance: Random) -> Any:
    """A copy of some other part of a tree."""
    return copy.deepcopy(chance.choice(holders(board)))


def wrapped(value: Any, chance: Random) -> Any:
    """The same, one level or many levels deeper."""
    for _ in range(chance.choice((1, 1, 2, 70))):
        value = [value] if chance.random() < 0.5 else {chance.choice(KEYS): value}
    return value
