"""A storyboard from the internet is code until proven otherwise: each entry of the catalogue, through the command line.

Every plan here ends in a sentence (or does nothing bad), within seconds, and nothing outside its folder is touched. The
parts have their own tests with more payloads (test_yamlfile, test_prompts, test_sources, test_tables).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import sources, yamlfile
from storyrun.cli import planning
from tests.rehearsal import Ran, Stage, opening, typed
from tests.test_prompts import FORBIDDEN, MISSING_HELPERS, RUNAWAY, UNKNOWN
from tests.written import write_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent

SECONDS = 10.0
"""Of processor time for any one line."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside which a secret lies."""
    (tmp_path / "secret.txt").write_text("c4n4ry", encoding="ascii")
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n c4n4ry")
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


def check(folder: Path, text: str | bytes, *words: str) -> Ran:
    """`storyrun check` (or another verb) on a plan of this text: within bounds, and never with a traceback."""
    plan = folder / "plan.yaml"
    if isinstance(text, bytes):
        plan.write_bytes(text)
    else:
        write_plan(folder, text)
    begun = time.process_time()
    ran = typed(*(words or ("check",)), str(plan))
    assert time.process_time() - begun < SECONDS
    assert "Traceback" not in ran.said
    assert ran.code in (0, 2), ran.said[-2000:]
    assert "c4n4ry" not in ran.said
    return ran


def refused(folder: Path, text: str | bytes, code: str, *words: str) -> str:
    """The same for a plan that is refused with this code."""
    ran = check(folder, text, *words)
    assert ran.code == 2, ran.said
    assert code in ran.said, ran.said[-2000:]
    assert not (folder / "outputs").exists()
    return ran.said


def prompt(text: str) -> str:
    """A plan with this prompt, to the letter."""
    return f"scenes: [{{id: a, prompt: {json.dumps(text)}}}]"


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

TAGS = [
    "!!python/object/apply:os.system ['touch pwned']",
    "!!python/object/apply:subprocess.check_output [[touch, pwned]]",
    "!!python/object/new:os.system [touch pwned]",
    "!!python/object/new:type {args: [z, !!python/tuple [], {extend: !!python/name:exec }], listitems: 'open(1)'}",
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/object:os.stat_result {}",
    "!!python/tuple [1, 2]",
    "!!python/bytes aGk=",
    "!!python/str hi",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [touch pwned]",
    "!!js/function 'function(){}'",
    "!!java.net.URLClassLoader [[]]",
    "!ruby/object:Gem::Installer {}",
    "!include /etc/passwd",
    "!env DASHSCOPE_API_KEY",
    "!!binary aGk=",
    "!!set {a, b}",
    "!!timestamp 2001-01-01",
    "!!float 1e5",
    "!vault x",
    "! x",
]


@pytest.mark.parametrize("value", TAGS)
def test_h01_no_tag_makes_an_object(folder: Path, value: str) -> None:
    for place in ("notes: {}", "vars: {{{}: x}}", "{}: x", "scenes: [{{id: a, prompt: {}}}]"):
        check(folder, place.format(value))
    assert "tags such as" in refused(folder, f"scenes:\n  - id: a\n    prompt: {value}", "SR124")
    assert not (folder / "pwned").exists()


def test_h01_the_only_yaml_parser_is_one_that_makes_no_objects() -> None:
    loads = re.compile(
        r"yaml\.(load|load_all|full_load|unsafe_load|Loader|UnsafeLoader|FullLoader)\b|\beval\(|\bexec\("
    )
    found = [
        (str(file.relative_to(ROOT)), line.strip())
        for file in (ROOT / "storyrun").rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if loads.search(line)
    ]
    assert found == []


def bomb(kind: str) -> str:
    """Nine levels of nine: 300 bytes that would be three billion values."""
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    for n in range(1, 9):
        inside = ",".join([f"*a{n - 1}"] * 9)
        lines.append(f"a{n}: &a{n} " + (f"[{inside}]" if kind == "lists" else "{" + f"k: [{inside}]" + "}"))
    return "\n".join(lines)


@pytest.mark.parametrize("kind", ["lists", "maps"])
def test_h02_an_alias_bomb_is_counted_before_it_goes_off(folder: Path, kind: str) -> None:
    assert len(bomb(kind)) < 700
    assert "more than 200,000 values" in refused(folder, bomb(kind), "SR104")


def test_h02_an_alias_that_holds_itself_is_refused(folder: Path) -> None:
    assert "the very thing" in refused(folder, "vars: &v {w: *v}", "SR1")
    assert "the very thing" in refused(folder, "notes: &n [*n]", "SR1")


def test_h02_a_large_honest_file_is_read(folder: Path) -> None:
    text = "version: 1\ntitle: t\nnotes:\n" + "".join(f"  - {'x' * 400} {n}\n" for n in range(15_000))
    assert len(text) > 6_000_000
    assert check(folder, text + "scenes: [{id: a, prompt: b, seconds: 1}]\n").code == 0


@pytest.mark.parametrize(
    "text",
    [
        "notes: " + "[" * 2000 + "]" * 2000,
        "notes: " + "{a: " * 2000 + "}" * 2000,
        "\n".join(" " * n + "a:" for n in range(2000)),
        "notes: [" + "x, " * 300_000 + "]",
        "vars: {" + ", ".join(f"k{n}: x" for n in range(250_000)) + "}",
        b"# " + b"x" * yamlfile.MAX_BYTES,
    ],
    ids=["deep lists", "deep maps", "deep blocks", "values", "keys", "bytes"],
)
def test_h03_depth_size_and_number_are_bounded(folder: Path, text: str | bytes) -> None:
    refused(folder, text, "SR104")


def test_h03_a_plan_that_is_no_file_or_has_no_end_is_a_sentence(folder: Path) -> None:
    for place in ("/dev/zero", "/dev/null", str(folder)):
        ran = typed("check", place)
        assert ran.code == 2
        assert "Traceback" not in ran.said


# ── templates ────────────────────────────────────────────────────────────────────────────────────────────────────────

ESCAPES = [
    # CVE-2016-10745, CVE-2019-10906, CVE-2024-56201, CVE-2024-56326, CVE-2025-27516, and what is passed around
    "{{ '{0.__class__.__init__.__globals__}'.format(w) }}",
    "{{ '{0.__class__}'.format_map({'0': w}) }}",
    "{{ ('{0.__class__}' | string).format(w) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(w) }}",
    "{{ ['{0.__class__}'.format] | map('call', w) | list }}",
    "{{ '{0.__class__}' | attr('format')(w) }}",
    "{{ w | attr('__class__') }}",
    "{{ w | attr('__cl' ~ 'ass__') }}",
    "{{ [w] | map(attribute='__class__') | first }}",
    "{{ [w] | map(attribute='__class__.__mro__') | first }}",
    "{{ [w] | groupby('__class__') | list }}",
    "{{ [w] | sum(attribute='__class__') }}",
    "{{ [w] | selectattr('__class__') | list | first }}",
    "{{ [w] | sort(attribute='__class__') | first | attr('x') }}",
    "{{ ''['__class__']['__mro__'][1]['__subclasses__']() }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ ().__class__.__bases__[0].__subclasses__() }}",
    "{{ [].__class__.__mro__[-1] }}",
    "{{ {}.__class__ }}",
    "{{ 1 .__class__ }}",
    "{{ true.__class__ }}",
    "{{ none.__class__ }}",
    "{{ range.__init__.__globals__ }}",
    "{{ self.__dict__ }}",
    "{{ self._TemplateReference__context.environment }}",
    "{{ self.environment.globals }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__.os }}",
    "{{ lipsum.__globals__['os'] }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ namespace(x=1) }}",
    "{{ dict.fromkeys('ab') }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ config.items() }}",
    "{{ request.application.__globals__ }}",
    "{{ __builtins__ }}",
    "{{ globals() }}",
    "{{ context }}",
    "{% for x in [w] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% for x in [w] %}{{ loop._iterable }}{% endfor %}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% macro m() %}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m._environment }}",
    "{% set x = joiner %}{{ x }}",
    "{% do [].append(1) %}",
    "{% debug %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends '/etc/passwd' %}",
    "{{ w.encode() }}",
    "{{ w.join([w]) }}",
    "{{ w.translate({}) }}",
    "{{ w.__getitem__(0) }}",
    "{{ w.__add__ }}",
    "{{ (w,).__class__ }}",
    "{{ w[0].__class__ }}",
    "{{ w[:1].__class__ }}",
    "{{ w | first | attr('__class__') }}",
    "{{ '%c' % 97 }}",
    "{{ '%(a)s' % {'a': w} }}",
    "{{ w | pprint }}",
    "{{ w | xmlattr }}",
    "{{ {'a b': 1} | xmlattr }}",
    "{{ w | tojson }}",
    "{{ w | urlize }}",
    "{{ w | filesizeformat }}",
    "{{ [w] | random }}",
    "{{ (w | string).__class__ }}",
    "{{ x.__class__ }}",
    "{{ undefined_name.__class__.__init__ }}",
]
UNLIKE = re.compile(r"<class|object at|__|builtin|module|function")


@pytest.mark.parametrize("text", [*ESCAPES, *FORBIDDEN, *UNKNOWN, *MISSING_HELPERS])
def test_h04_no_template_gets_out_of_its_box(folder: Path, text: str) -> None:
    said = refused(folder, "vars: {w: rain, word: rain}\n" + prompt(text), "SR23", "prompts")
    for line in (line for line in said.split("hint:") if "error" not in line):
        assert not re.search(r"<class|object at 0x|<built-in|<module", line)


def test_h04_jinja_is_one_in_which_the_known_ways_out_are_closed() -> None:
    from importlib.metadata import version

    assert tuple(int(part) for part in version("jinja2").split(".")[:3]) >= (3, 1, 6)
    assert '"jinja2>=3.1.6' in (ROOT / "pyproject.toml").read_text(encoding="utf-8").lower()


def test_h05_template_blow_ups_are_bounded_in_time_and_memory(folder: Path) -> None:
    """All in one process that may have a gigabyte, each within its seconds."""
    plans = []
    for number, text in enumerate(text for text in RUNAWAY if len(text) < 50_000 and "range(20)" not in text):
        plan = folder / f"p{number}.yaml"
        plan.write_text(
            f"version: 1\nvars: {{word: rain, count: '3', long: {'x' * 60_000}}}\n{prompt(text)}", encoding="utf-8"
        )
        plans.append(plan)
    program = (
        "import resource, sys, time\n"
        "from storyrun.cli import main\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "for plan in sys.argv[1:]:\n"
        "    begun = time.process_time()\n"
        "    assert main(['check', plan]) == 2, plan\n"
        "    assert time.process_time() - begun < 5, plan\n"
        # not ru_maxrss: that of a child begins with what its parent had
        "print(int(open('/proc/self/status').read().partition('VmHWM:')[2].split()[0]) // 1024)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, *map(str, plans)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert int(ran.stdout.split()[-1]) < 400, "megabytes"
    assert "Traceback" not in ran.stderr


def test_h06_a_plan_that_multiplies_without_end_is_refused_and_one_that_is_large_says_so(folder: Path) -> None:
    axes = "".join(f"  a{n}: [{', '.join(f'v{i}' for i in range(100))}]\n" for n in range(4))
    names = " ".join(f"{{{{ a{n} }}}}" for n in range(4))
    said = check(folder, f"matrix:\n{axes}scenes: [{{id: a, prompt: '{names}'}}]").said
    assert re.search(r"100,000,000|more than", said), said[-500:]
    said = check(folder, "scenes: [{id: a, prompt: b, takes: 1000000000}]").said
    assert "SR" in said


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../secret.txt", "x/../../secret.txt", "link.txt", "out/secret.txt", "~/.ssh/id_rsa", "file:///etc/passwd",
     "..\\secret.txt", "/proc/self/environ", "C:\\secret.txt", "//host/share", "\\0", ""],
)  # fmt: skip
def test_h07_nothing_outside_the_folder_is_included(folder: Path, name: str) -> None:
    (folder / "link.txt").symlink_to("../secret.txt")
    (folder / "out").symlink_to("..")
    refused(folder, prompt("{% include " + json.dumps(name) + " %}"), "SR23", "prompts")
    refused(folder, f"scenes: [{{id: a, prompt: b, template: {json.dumps(name)}}}]", "error", "prompts")
    refused(
        folder,
        f"matrix: {{p: {{table: {json.dumps(name)}, id: a}}}}\nscenes: [{{id: a, prompt: '{{{{ p }}}}'}}]",
        "error",
    )


# ── references ───────────────────────────────────────────────────────────────────────────────────────────────────────

PRIVATE = [
    "~/.ssh/id_rsa",
    "/root/.ssh/id_rsa",
    "../secret.png",
    "link.png",
    "out/secret.png",
    "/etc/hostname",
    "$HOME/x.png",
]


@pytest.mark.parametrize("place", ["first_frame: {}", "audio: {}", "references: [x]", "prompt: '@x'"])
@pytest.mark.parametrize(
    "name", [*PRIVATE, "file:///etc/passwd", "file://localhost/etc/passwd", "data:image/png;base64,AA"]
)
def test_h08_nothing_outside_the_folder_is_a_reference(folder: Path, name: str, place: str) -> None:
    (folder / "link.png").symlink_to("../secret.png")
    (folder / "out").symlink_to("..")
    top = f"references: {{x: {{images: [{json.dumps(name)}]}}}}\n" if "x" in place else ""
    scene = place.format(json.dumps(name))
    middle = scene if scene.startswith("prompt") else f"prompt: b, {scene}"
    said = refused(
        folder, f"{top}provider: toapis\nmodel: wan2.6\nscenes: [{{id: a, {middle}}}]", "SR17", "prompts", "--requests"
    )
    assert "c4n4ry" not in said


def test_h08_what_leaves_the_machine_is_shown_before_anybody_says_yes(
    cloud: Callable[..., Stage], tmp_path: Path
) -> None:
    from PIL import Image

    Image.new("RGB", (832, 480), "navy").save(tmp_path / "desk.png")
    stage = cloud("toapis")
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("{id: c1,", "{id: c1, first_frame: desk.png,"), "utf-8")
    ran = typed("run", str(stage.plan))
    assert ran.code == 2
    assert "leaves this machine: desk.png" in ran.said
    assert (stage.creates, stage.sandbox.counts["upload"]) == (0, 0)


LOCAL = [
    "http://169.254.169.254/latest/meta-data/", "http://100.100.100.200/", "http://localhost:6379/", "http://[::1]/a.png",
    "http://0/a.png", "gopher://127.0.0.1/a.png", "ftp://10.0.0.1/a.png",
]  # fmt: skip


@pytest.mark.parametrize("url", LOCAL)
def test_h09_a_reference_to_a_host_in_the_network_is_refused(folder: Path, url: str) -> None:
    refused(folder, f"scenes: [{{id: a, prompt: b, first_frame: {json.dumps(url)}}}]", "SR17")


def test_h09_references_by_url_are_never_fetched_by_us(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever dials out fails in `conftest`; a name is not even looked up."""
    import socket

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("a name was looked up"))
    text = "provider: toapis\nmodel: wan2.6\nscenes: [{id: a, prompt: b, first_frame: 'https://169.254.169.254/a.png'}]"
    for words in (["check"], ["prompts", "--requests"], ["quote"]):
        ran = typed(*words, str(write_plan(folder, text)))
        assert ran.code in (0, 2, 4), ran.said
        assert "Traceback" not in ran.said


# ── what plans do not have ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["$schema", "schema", "$ref", "schemas"])
def test_h10_a_plan_brings_no_schema(folder: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "schemas").mkdir()
    (folder / "schemas" / "storyboard.schema.json").write_text("{}", encoding="ascii")
    refused(folder, f"{json.dumps(key)}: http://127.0.0.1:1/x.json\nscenes: [{{id: a, prompt: b}}]", "SR130")


def test_h10_the_schemas_that_are_shipped_ask_nobody() -> None:
    from storyrun import validation

    text = json.dumps([validation.schema(name) for name in ("storyboard", "job", "manifest")])
    outside = {ref for ref in re.findall(r'"\$ref": "([^"]*)"', text) if not ref.startswith("#")}
    assert all("storyrun" in ref or ref.endswith(".json") for ref in outside)
    assert not {ref for ref in outside if ref.startswith(("file:", "http://"))}


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "*a" * 40 + "!", "?*" * 200, "(" * 5000, "[" * 999, "*" * 5000, "\\", "{9999999}"]
)
def test_h11_a_pattern_costs_nothing_whatever_it_is(pattern: str) -> None:
    begun = time.process_time()
    planning.matches("a" * 80, pattern[:120])
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    "line",
    ["base_url: https://evil.example", "headers: {Authorization: x}", "hooks: {after: touch pwned}", "webhook: https://e",
     "callback_url: https://e", "proxy: http://e", "host: evil.example", "endpoint: https://e", "command: touch pwned",
     "plugins: [evil]", "api_key: x"],
)  # fmt: skip
@pytest.mark.parametrize(
    "place", ["{}", "defaults: {{{}}}", "budget: {{max: 1, currency: USD, {}}}", "scenes: [{{id: s, prompt: x, {}}}]"]
)
def test_h12_a_plan_sets_no_host_header_hook_or_key(folder: Path, line: str, place: str) -> None:
    scenes = "" if "scenes" in place else "\nscenes: [{id: a, prompt: b}]"
    said = refused(folder, place.format(line) + scenes, "SR130")
    assert "environment" in said
    assert not (folder / "pwned").exists()


def test_h12_an_unknown_provider_is_no_address(folder: Path) -> None:
    refused(folder, "provider: https://evil.example\nscenes: [{id: a, prompt: b}]", "SR1")


@pytest.mark.parametrize(
    "text",
    ["{{ env.DASHSCOPE_API_KEY }}", "{{ DASHSCOPE_API_KEY }}", "{{ environ['DASHSCOPE_API_KEY'] }}", "{{ os.environ }}",
     "{{ getenv('DASHSCOPE_API_KEY') }}", "{{ ENV }}", "{% include '.env' %}{{ env }}"],
)  # fmt: skip
def test_h13_the_environment_is_not_in_reach_of_a_template(
    folder: Path, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", "c4n4ry-c4n4ry")
    refused(folder, prompt(text), "SR23", "prompts")
    for literal in ("$DASHSCOPE_API_KEY", "${DASHSCOPE_API_KEY}", "%DASHSCOPE_API_KEY%", "$(cat /etc/passwd)", "`id`"):
        ran = check(folder, prompt(f"a {literal} b"), "prompts")
        assert f"a {literal} b" in ran.out


NAMES = [
    "../x", "..", ".", "", " ", "a/b", "/a", "a\\b", "C:\\x", "c:x", "a:b", "a\0b", "a\nb", "~", "-rf", "--yes",
    ".hidden", "a b", "A", "CON", "nul.txt", "a.", "a%2fb", "a?b", "a*b", "a|b", "a<b", "a>b", 'a"b', "a'b", "a`b",
    "~root", "a$b",
    "$(id)", "a;b", "a&b", "a#b", "a[b]", "a,b", "a=b", "ä", "\u202ea", "a\u200bb", "\ufeffa", "x" * 300, "..%00",
    "{{ a }}",
    "%s", "_a", "é", "１", "ａ", "a\u0301", "💣", "a\tb", "\x1b[2J", "\x7f", "\x9b2J", "con", "lpt1", "aux",
    *(f"a{sign}" for sign in "!@^()+{}~`"), *(f"..{sign}x" for sign in "/\\:"), *(f"{n}/../{n}" for n in range(10)),
    *(f"a{'/' * n}b" for n in range(1, 10)), *("../" * n + "etc/passwd" for n in range(1, 10)),
]  # fmt: skip


def test_h14_no_name_of_a_scene_leads_out_of_its_folder(folder: Path) -> None:
    """A name is of the plain form, or a problem; what is of the plain form is one part of one path."""
    assert len(NAMES) >= 100
    for name in NAMES:
        plan = write_plan(folder, f"scenes: [{{id: {json.dumps(name)}, prompt: b, seconds: 1}}]")
        ran = typed("check", str(plan))
        plain = re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) is not None
        assert (name, ran.code) == (name, 0 if plain else 2)
        if plain:
            (job,) = planning.prepare(str(plan)).plan.jobs
            assert re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,119}", job.stem), name


def test_h14_values_of_an_axis_become_harmless_file_names(folder: Path) -> None:
    odd = [
        name for name in NAMES if name.strip() and not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in name)
    ]
    for name in odd:
        plan = write_plan(
            folder, f"matrix: {{x: [{json.dumps(name)}]}}\nscenes: [{{id: a, prompt: '{{{{ x }}}}', seconds: 1}}]"
        )
        ran = typed("check", str(plan))
        assert "Traceback" not in ran.said
        if ran.code == 0:
            for job in planning.prepare(str(plan)).plan.jobs:
                assert re.fullmatch(r"[A-Za-z0-9][\w.-]*", job.stem), (name, job.stem)
                assert ".." not in job.stem
                assert len(job.stem.encode()) <= 130


# ── the terminal ─────────────────────────────────────────────────────────────────────────────────────────────────────

COMMANDS = [
    "\x1b[2J", "\x1b]8;;http://evil\x07click\x1b]8;;\x07", "\x1b]52;c;aGk=\x07", "\x1b]0;title\x07",
    "\x1bP$q\x1b\\", "\x1b[6n",
    "\x9b31m", "\x9d52;c;aGk=\x9c", "\x07", "\x08" * 5, "\r", "\x7f", "\x00", "\x85", "\x0b", "\x0c",
]  # fmt: skip
TURNED = [
    "\u202e",
    "\u202d",
    "\u2066",
    "\u2067",
    "\u2068",
    "\u2069",
    "\u200e",
    "\u200f",
    "\u061c",
    "\u200b",
    "\ufeff",
    "\u2028",
]
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def verbs(plan: Path, clip: str) -> list[list[str]]:
    """Every line that prints something of a plan."""
    here = str(plan)
    return [
        ["check", here], ["check", here, "--format", "github"], ["check", here, "--format", "json"], ["quote", here],
        ["quote", here, clip], ["quote", here, "--json"], ["prompts", here], ["prompts", here, "--requests"],
        ["prompts", here, "--json"], ["run", here], ["status", here], ["status", here, "--json"],
        ["run", here, "--json"],
        ["run", here, "--only", clip + "x"], ["fetch", here, "--json"], ["settle", here, clip, "--keep"],
    ]  # fmt: skip


@pytest.mark.parametrize("sign", COMMANDS, ids=ascii)
def test_h15_no_text_of_a_plan_commands_the_terminal(folder: Path, sign: str) -> None:
    """A control character is no text: not typed, not escaped in YAML, not from a table, not written by a template."""
    escaped = json.dumps(sign)  # as YAML reads it between double quotes
    jinja = "".join(f"\\x{ord(each):02x}" for each in sign)
    (folder / "t.csv").write_text(f"sku\n{sign}\n", encoding="utf-8", newline="")
    (folder / "t.jinja").write_text(f"x {sign} y {{{{ prompt }}}}", encoding="utf-8", newline="")
    plans = [
        f"title: {escaped}\nscenes: [{{id: a, prompt: b}}]",
        f"matrix: {{x: [{escaped}]}}\nscenes: [{{id: a, prompt: '{{{{ x }}}}'}}]",
        f"scenes: [{{id: a, prompt: 'x {{{{ \"{jinja}\" }}}} y', seconds: 1}}]",
        "matrix: {x: {table: t.csv, id: sku}}\nscenes: [{id: a, prompt: '{{ x }}', seconds: 1}]",
        "scenes: [{id: a, prompt: b, template: t.jinja, seconds: 1}]",
    ]
    for text in plans:
        for words in (["check"], ["prompts"], ["prompts", "--json"], ["quote"]):
            ran = check(folder, text, *words)
            assert not OBEYED.search(ran.out + ran.err), (text, words)


def test_h15_marks_that_turn_or_hide_text_are_printed_as_codes_everywhere(folder: Path) -> None:
    marks = "".join(set(TURNED) - {"\ufeff", "\u2028"})  # which no plan may hold
    plan = write_plan(
        folder,
        f"""\
        title: "evil {marks} title"
        matrix: {{x: ["one {marks} two"]}}
        vars: {{w: "a {marks} b"}}
        defaults: {{negative_prompt: "n {marks}", resolution: 480p, seconds: 1}}
        scenes: [{{id: a, prompt: "{{{{ x }}}} {{{{ w }}}} {marks}"}}]
        """,
    )
    (clip,) = (job.id for job in planning.prepare(str(plan)).plan.jobs)
    for words in verbs(plan, clip):
        ran = typed(*words)
        assert ran.code in (0, 2), ran.said
        assert not OBEYED.search(ran.out + ran.err), words
        if "--json" in words and ran.code == 0 and ran.out != "[]\n":
            assert marks in json.dumps(json.loads(ran.out), ensure_ascii=False), "a program reads what was written"
    assert not OBEYED.search("".join(path.name for path in folder.rglob("*")))


@pytest.mark.parametrize(
    "cell", ['=HYPERLINK("http://evil")', "=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1"]
)
def test_h17_a_formula_in_a_table_is_a_text_like_any_other(folder: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    (folder / "t.csv").write_text(f'sku,n\nx,"{quoted}"\n', encoding="utf-8")
    text = "matrix: {x: {table: t.csv, id: sku}}\nscenes: [{id: a, prompt: 'see {{ x.n }} there', seconds: 1}]"
    assert f"see {cell.strip()} there" in " ".join(check(folder, text, "prompts").out.split())


def test_h18_no_code_is_loaded_from_the_folder_of_a_project(folder: Path) -> None:
    """Nor from the working folder: names that Python or a tool might pick up there stay untouched."""
    for name in (
        "storyrun_plugin",
        "sitecustomize",
        "usercustomize",
        "conftest",
        "yaml",
        "jinja2",
        "click",
        "plan",
        "dotenv",
    ):
        (folder / f"{name}.py").write_text("open('pwned', 'w').close()\n", encoding="ascii")
    (folder / "storyrun").mkdir()
    (folder / "storyrun" / "__init__.py").write_text("open('pwned', 'w').close()\n", encoding="ascii")
    (folder / "storyrun.toml").write_text("[plugins]\nx = 'storyrun_plugin'\n", encoding="ascii")
    (folder / "schemas" / "models" / "toapis").mkdir(parents=True)
    (folder / "schemas" / "models" / "toapis" / "evil.json").write_text("{}", encoding="ascii")
    plan = write_plan(folder, "scenes: [{id: a, prompt: b, seconds: 1}]")
    main = (
        "import sys; sys.path[:] = [each for each in sys.path if each]; from storyrun.cli import main; sys.exit(main())"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    for words in (["check", str(plan)], ["prompts", str(plan)], ["models"], ["doctor"]):
        ran = subprocess.run(
            [sys.executable, "-c", main, *words],
            cwd=folder,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert "evil" not in ran.stdout
    assert not (folder / "pwned").exists()


def test_h18_nothing_is_loaded_by_a_name_from_outside() -> None:
    """Entry points, paths and names of modules come from literal tables in the code."""
    loaded: dict[str, list[Any]] = {}
    for file in (ROOT / "storyrun").rglob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if re.search(r"import_module\(|__import__\(|entry_points\(|runpy|spec_from_file|sys\.path", line):
                loaded.setdefault(str(file.relative_to(ROOT)), []).append(line.strip())
    for name, lines in loaded.items():
        for line in lines:
            assert re.search(r'import_module\(f?"storyrun\.[a-z.]*(\{[a-z_]+\})?"|EXPORTS\[name\]', line), (name, line)


def test_the_table_of_kinds_knows_only_media() -> None:
    assert set(sources.EXTENSIONS.values()) == {"image", "video", "audio"}
