"""Judging a plan by its schema: every problem in one pass, at its place, in words for people."""

from __future__ import annotations

import copy
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storyrun import validation, yamlfile
from storyrun.validation import fitting

SAMPLE = """\
# yaml-language-server: $schema=../schemas/storyboard.schema.json
version: 1
title: The Mercer Street case
provider: dashscope             # animatic (default) | tokenhub | toapis | dashscope; --provider wins
model: wan2.7                   # an exact id, or a family: storyrun picks the id for the scene's mode

defaults:                       # any scene setting
  resolution: 720p              # 480p | 720p | 1080p
  aspect_ratio: "{{ format.ratio }}"
  look: 35mm film, tungsten light
  negative_prompt: blurry, low quality

vars:
  weather: rainy

matrix:                         # a scene varies over the axes it mentions
  city: [New York, Tokyo]       # an axis of texts
  format:                       # an axis of rows: each has an id; columns are {{ format.ratio }}
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
  product: {table: catalogue.csv, id: sku}        # an axis from a CSV or JSONL file beside the plan
exclude: [{city: Tokyo, format: tall}]            # combinations left out, in scenes that vary over all its axes

references:                     # cast, props, places: named once
  detective: refs/detective.png                   # a path beside the plan, or an https URL
  mira: {images: [cast/mira1.png, cast/mira2.png], voice: cast/mira.wav}

scenes:
  - id: investigation
    premise: A tense detective investigation with cinematic storytelling.
    shots:
      - seconds: 3
        framing: wide shot
        action: >
          {{ weather }} {{ city }} street with neon lights as a detective in a black trench coat walks quickly
      - seconds: 3
        framing: medium shot
        camera: slow push in
        action: the detective enters an old building
        dialogue:
          - detective (low): Anyone here?
        sound: distant sirens
    takes: 2
    seed: 12345
  - id: key-clue
    seconds: 5
    prompt: >
      @detective picks up the key and turns to the camera
  - id: desk
    seconds: 5
    prompt: Dust moves in the lamplight
    first_frame: refs/desk.png  # image-to-video; `last_frame` where the model has it
    audio: vo/desk.mp3          # auto (default) | none | a path or https URL

budget: {max: 20, currency: USD}
prices:                         # per second; only to add to the cards or override them
  tokenhub/wan2.7-t2v: {currency: USD, 720p: 0.10, 1080p: 0.15}
"""
"""The storyboard of DESIGN section 4, with the two lines that are comments there."""


def read(text: str) -> Any:
    """The data of a plan as the text-keeping loader gives it."""
    document, problems = yamlfile.parse(text.encode(), "plan.yaml")
    assert document is not None, problems
    return document.data


def judged(text: str) -> list[validation.Violation]:
    return validation.violations(read(text), "storyboard")


def only(text: str) -> validation.Violation:
    """The one violation of a plan."""
    found = judged(text)
    assert len(found) == 1, found
    return found[0]


def plan(top: str = "", scene: str = "prompt: x", shot: str = "") -> str:
    """A plan that is right except for the lines given; `scene` and `shot` are lines of a scene and of a shot."""
    lines = scene.splitlines() if not shot else ["shots:", *(f"  {line}" for line in f"- {shot}".splitlines())]
    return "\n".join(["version: 1", top, "scenes:", "  - id: a", *(f"    {line}" for line in lines), ""])


# ── what is right ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_sample_storyboard_of_the_design_is_right() -> None:
    assert judged(SAMPLE) == []


def test_the_sample_is_right_for_an_editor_too() -> None:
    """An editor reads 3 as a number and `wide shot` as a text, and asks the schema as it stands."""
    data = validation.coerce(read(SAMPLE), validation.schema("storyboard"))
    assert data["scenes"][0]["shots"][0]["seconds"] == 3
    assert list(validation.validator("storyboard").iter_errors(data)) == []


def test_notes_can_stand_in_every_mapping_whose_keys_are_ours() -> None:
    text = plan(
        """\
notes: [top, {deep: [1, ~]}]
defaults: {notes: ~, look: film}
references: {mira: {images: a.png, notes: x}}
matrix: {product: {table: a.csv, id: sku, notes: x}, format: [{id: wide, notes: [x]}]}
budget: {max: 1, currency: USD, notes: x}
prices: {toapis/wan2.6: {currency: USD, 720p: 1, notes: x}}""",
        scene="notes: >\n  ask Ana\nshots: [{seconds: 1, notes: [{a: b}]}]",
    )
    assert judged(text) == []


@pytest.mark.parametrize("key", sorted(set(validation.schema("storyboard")["$defs"]["defaults"]["properties"])))
def test_null_removes_any_default(key: str) -> None:
    assert judged(plan(scene=f"prompt: x\n{key}: ~")) == []
    assert judged(plan(f"defaults: {{{key}: ~}}")) == []


SCALARS = [
    *(
        f"{key}: {{}}"
        for key in ("premise", "seconds", "template", "takes", "seed", "resolution", "aspect_ratio", "look")
    ),
    *(f"{key}: {{}}" for key in ("negative_prompt", "prompt_extend", "watermark", "shot_type", "audio", "first_frame")),
    *("last_frame: {}", "vars: {{v: {}}}", "references: [{}]", "model: {}"),
]


@pytest.mark.parametrize("line", SCALARS)
@pytest.mark.parametrize("template", ["{{ city }}", "{% if a %}1{% endif %}", "{# note #}5", "{{ n }}0p"])
def test_a_template_not_yet_rendered_fits_any_setting(line: str, template: str) -> None:
    quoted = f'"{template}"'
    assert judged(plan(scene=f"prompt: x\n{line.format(quoted)}")) == []
    if "model" not in line:
        assert judged(plan(f"defaults: {{{line.format(quoted)}}}")) == []


def test_a_template_fits_every_text_of_a_shot_and_of_a_reference() -> None:
    t = '"{{ x }}"'
    shot = f"{{seconds: {t}, framing: {t}, camera: {t}, action: {t}, sound: {t}, dialogue: [{t}, {{mira: {t}}}]}}"
    assert judged(plan(f"references: {{mira: {{images: [{t}], videos: {t}, voice: {t}}}, tom: {t}}}", shot=shot)) == []


@pytest.mark.parametrize("text", ["5", "05", "0.5", "2.50", '"5"', "'2.5'", "0.0000001", "3600", "5  # five"])
def test_a_number_is_digits_with_an_optional_point_plain_or_quoted(text: str) -> None:
    assert judged(plan(shot=f"seconds: {text}")) == []


def test_a_text_of_digits_stays_a_text_where_a_text_is_wanted() -> None:
    data = read(plan("title: 0042\nvars: {year: 2025, ok: true}\nmatrix: {size: [1, 9.90], row: [{id: 1, n: 007}]}"))
    assert validation.coerce(data, validation.schema("storyboard")) == data | {"version": 1}


# ── what is wrong ────────────────────────────────────────────────────────────────────────────────────────────────────

TOP = (
    "version, title, provider, model, defaults, vars, matrix, exclude, references, scenes, budget, prices, "
    "cut and notes"
)

UNKNOWN = [
    (plan("titel: x"), ("titel",), "in the storyboard", f"did you mean `title`? {TOP} can stand here"),
    (plan("shots: []"), ("shots",), "in the storyboard", f"it belongs in a scene; {TOP} can stand here"),
    (plan("defaults: {resolutoin: 720p}"), ("defaults", "resolutoin"), "in `defaults`", "did you mean `resolution`?"),
    (plan("defaults: {prompt: x}"), ("defaults", "prompt"), "in `defaults`", "it belongs in a scene;"),
    (plan("defaults: {model: x}"), ("defaults", "model"), "in `defaults`", "it belongs in the top level or a scene;"),
    (plan(scene="prompt: x\nnegativePrompt: x"), ("scenes", 0, "negativePrompt"), "in scene `a`", "`negative_prompt`?"),
    (plan(scene="prompt: x\naspect-ratio: x"), ("scenes", 0, "aspect-ratio"), "in scene `a`", "mean `aspect_ratio`?"),
    (plan(scene="prompt: x\nduration: 5"), ("scenes", 0, "duration"), "in scene `a`", "did you mean `seconds`?"),
    (plan(scene="prompt: x\ncamera: x"), ("scenes", 0, "camera"), "in scene `a`", "it belongs in a shot;"),
    (plan(scene="prompt: x\nqqqq: x"), ("scenes", 0, "qqqq"), "in scene `a`", "id, premise, prompt, shots, seconds,"),
    (
        plan(shot="{seconds: 1, framng: x}"),
        ("scenes", 0, "shots", 0, "framng"),
        "in shot 1 of scene `a`",
        "did you mean `framing`? seconds, framing, camera, action, dialogue, sound and notes can stand here",
    ),
    (plan(shot="{seconds: 1, seed: 1}"), ("scenes", 0, "shots", 0, "seed"), "in shot 1", "in defaults or a scene;"),
    (
        plan("references: {mira: {images: a.png, vioce: x}}"),
        ("references", "mira", "vioce"),
        "in `mira`",
        "did you mean `voice`? images, videos, voice and notes can stand here",
    ),
    (plan("matrix: {p: {table: a.csv, id: b, sheet: c}}"), ("matrix", "p", "sheet"), "in `p`", "table, id and notes"),
    (plan("budget: {max: 1, currency: USD, per: day}"), ("budget", "per"), "in `budget`", "max, currency and notes"),
    (
        plan("prices: {toapis/wan2.6: {currency: USD, 720p: 1, 720P: 1}}"),
        ("prices", "toapis/wan2.6", "720P"),
        "in `toapis/wan2.6`",
        "did you mean `720p`? currency, 480p, 720p, 1080p and notes can stand here",
    ),
]


@pytest.mark.parametrize(("text", "where", "place", "hint"), UNKNOWN, ids=[str(case[1][-1]) for case in UNKNOWN])
def test_an_unknown_key_is_told_at_the_key_with_what_was_meant(
    text: str, where: tuple[str | int, ...], place: str, hint: str
) -> None:
    found = only(text)
    assert (found.code, found.where, found.key, found.keyword) == ("SR130", where, True, "additionalProperties")
    assert found.sentence.startswith(f"unknown key `{where[-1]}` {place}")
    assert hint in found.hint
    assert found.hint.endswith("can stand here")


@pytest.mark.parametrize(
    ("text", "where", "sentence", "hint"),
    [
        ("scenes: [{id: a, prompt: x}]", (), "the storyboard needs `version`", "add, for example, `version: 1`"),
        ("version: 1", (), "the storyboard needs `scenes`", ""),
        ("version: 1\nscenes: [{prompt: x}]", ("scenes", 0), "scene 1 needs `id`", "add, for example, `id: key-clue`"),
        (plan(shot="{action: x}"), ("scenes", 0, "shots", 0), "shot 1 of scene `a` needs `seconds`", "`seconds: 3`"),
        (plan("matrix: {f: [{id: a}, {ratio: b}]}"), ("matrix", "f", 1), "entry 2 of `f` needs `id`", "`id: wide`"),
        (plan("matrix: {f: {table: a.csv}}"), ("matrix", "f"), "`f` needs `id`", "`id: sku`"),
        (plan("matrix: {f: {id: sku}}"), ("matrix", "f"), "`f` needs `table`", "`table: catalogue.csv`"),
        (plan("budget: {max: 1}"), ("budget",), "`budget` needs `currency`", "`currency: USD`"),
        (plan("budget: {currency: USD}"), ("budget",), "`budget` needs `max`", "`max: 20`"),
        (plan("references: {m: {notes: x}}"), ("references", "m"), "`m` needs `images`, `videos` or `voice`", ""),
        (
            plan("prices: {toapis/a: {currency: USD}}"),
            ("prices", "toapis/a"),
            "`toapis/a` needs `480p`, `720p` or `1080p`",
            "",
        ),
        (
            plan("prices: {toapis/a: {720p: 1}}"),
            ("prices", "toapis/a"),
            "`toapis/a` needs `currency`",
            "`currency: USD`",
        ),
    ],
)
def test_a_missing_key_is_told_at_the_mapping_that_lacks_it(
    text: str, where: tuple[str | int, ...], sentence: str, hint: str
) -> None:
    found = only(text)
    assert (found.code, found.where, found.key, found.sentence) == ("SR131", where, False, sentence)
    assert hint in found.hint


def test_a_scene_needs_exactly_one_of_prompt_and_shots() -> None:
    both = only(plan(scene="shots: [{seconds: 1}]\nprompt: x"))
    assert (both.code, both.where, both.key) == ("SR140", ("scenes", 0, "prompt"), True)
    assert (both.sentence, both.hint) == ("scene `a` has both `shots` and `prompt`", "keep one of them")
    neither = only(plan(scene="takes: 1"))
    assert (neither.code, neither.where, neither.key) == ("SR141", ("scenes", 0), False)
    assert (neither.sentence, neither.hint) == ("scene `a` has neither `prompt` nor `shots`", "add `prompt` or `shots`")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (plan(shot="{secnds: 3}"), "secnds"),
        (plan(shot="{duration: 3}"), "duration"),
        (plan(scene="promt: x"), "promt"),
        (plan("references: {m: {image: a.png}}"), "image"),
        ("vresion: 1\nscenes: [{id: a, prompt: x}]", "vresion"),
    ],
)
def test_a_misspelt_key_is_not_reported_missing_as_well(text: str, key: str) -> None:
    assert only(text).where[-1] == key


LIST = "write each entry on a line of its own, after `- `"
QUOTE = "put the text in quotes, or on the next line after `>`"

KINDS = [
    (plan("provider: [a]"), ("provider",), "SR135", "must be animatic, tokenhub, toapis or dashscope, not a list", ""),
    (plan("title: [a]"), ("title",), "SR132", "`title` must be a text, not a list", QUOTE),
    (plan("model: {a: b}"), ("model",), "SR132", "`model` must be a text, not a map", QUOTE),
    (plan("defaults: 720p"), ("defaults",), "SR132", "must be a map, not `720p`", "`defaults: {resolution: 720p,"),
    (plan("vars: [a]"), ("vars",), "SR132", "must be a map, not a list", "`vars: {weather: rainy}`"),
    (plan("vars: {a: [b]}"), ("vars", "a"), "SR132", "`a` must be a text, not a list", QUOTE),
    (plan("matrix: [a]"), ("matrix",), "SR132", "`matrix` must be a map, not a list", "write `key: value` lines"),
    (plan("matrix: {city: Tokyo}"), ("matrix", "city"), "SR132", "must be a list or a map, not `Tokyo`", LIST),
    (
        plan("matrix: {city: [[a]]}"),
        ("matrix", "city", 0),
        "SR132",
        "entry 1 of `city` must be a text, not a list",
        QUOTE,
    ),
    (plan("matrix: {f: [{id: a, b: [c]}]}"), ("matrix", "f", 0, "b"), "SR132", "must be a text, not a list", QUOTE),
    (
        plan("matrix: {f: [{id: a}, b, {id: c}]}"),
        ("matrix", "f", 1),
        "SR132",
        "entry 2 of `f` must be a map, not `b`",
        "",
    ),
    (plan("exclude: {city: Tokyo}"), ("exclude",), "SR132", "`exclude` must be a list, not a map", LIST),
    (
        plan("exclude: [Tokyo]"),
        ("exclude", 0),
        "SR132",
        "must be a map, not `Tokyo`",
        "`- {city: Tokyo, format: tall}`",
    ),
    (plan("exclude: [{city: [a]}]"), ("exclude", 0, "city"), "SR132", "`city` must be a text, not a list", QUOTE),
    (plan("references: [a.png]"), ("references",), "SR132", "must be a map, not a list", "write `key: value` lines"),
    (plan("references: {m: [a]}"), ("references", "m"), "SR132", "must be a text or a map, not a list", "`m: refs/"),
    (
        plan("references: {m: {images: {a: b}}}"),
        ("references", "m", "images"),
        "SR132",
        "a text or a list, not a map",
        LIST,
    ),
    (plan("budget: 20"), ("budget",), "SR132", "must be a map, not `20`", "`budget: {max: 20, currency: USD}`"),
    (plan("prices: 1"), ("prices",), "SR132", "`prices` must be a map, not `1`", "tokenhub/wan2.7-t2v"),
    (plan("prices: {toapis/a: 1}"), ("prices", "toapis/a"), "SR132", "must be a map, not `1`", "currency: USD"),
    (plan(scene="prompt: [x]"), ("scenes", 0, "prompt"), "SR132", "`prompt` must be a text, not a list", QUOTE),
    (plan(scene="shots: x"), ("scenes", 0, "shots"), "SR132", "`shots` must be a list, not `x`", LIST),
    (
        plan(scene="prompt: x\nreferences: mira"),
        ("scenes", 0, "references"),
        "SR132",
        "must be a list, not `mira`",
        LIST,
    ),
    (
        plan(scene="prompt: x\nvars: x"),
        ("scenes", 0, "vars"),
        "SR132",
        "`vars` must be a map, not `x`",
        "weather: clear",
    ),
    (plan(scene="prompt: x\naudio: [a]"), ("scenes", 0, "audio"), "SR132", "`audio` must be a text, not a list", QUOTE),
    (plan(scene="prompt: x\nseconds: {a: b}"), ("scenes", 0, "seconds"), "SR132", "must be a number, not a map", ""),
    (plan(scene="prompt: x\ntakes: 2.5"), ("scenes", 0, "takes"), "SR132", "must be a whole number, not `2.5`", ""),
    (plan(shot="x"), ("scenes", 0, "shots", 0), "SR132", "shot 1 of scene `a` must be a map, not `x`", "`key: value`"),
    (
        plan(shot="{seconds: 1, dialogue: {mira: Hello}}"),
        ("scenes", 0, "shots", 0, "dialogue"),
        "SR132",
        "`dialogue` must be a text or a list, not a map",
        LIST,
    ),
    (
        plan(shot="{seconds: 1, dialogue: [[a]]}"),
        ("scenes", 0, "shots", 0, "dialogue", 0),
        "SR132",
        "entry 1 of `dialogue` must be a text or a map, not a list",
        "`- Anyone here?`",
    ),
    ("version: 1\nscenes: {id: a}", ("scenes",), "SR132", "`scenes` must be a list, not a map", LIST),
    ("version: 1\nscenes: [a]", ("scenes", 0), "SR132", "scene 1 must be a map, not `a`", "write `key: value` lines"),
    ("version: one\nscenes: [{id: a, prompt: x}]", ("version",), "SR132", "must be a whole number, not `one`", ""),
    ("[a]", (), "SR132", "the storyboard must be a map, not a list", "it needs `version` and `scenes`"),
    ("just text", (), "SR132", "the storyboard must be a map, not `just text`", "it needs `version` and `scenes`"),
    (
        plan(scene='shots: "{{ s }}"'),
        ("scenes", 0, "shots"),
        "SR132",
        "must be a list, not `{{ s }}`",
        "a single value",
    ),
    (plan('vars: "{{ s }}"'), ("vars",), "SR132", "must be a map, not `{{ s }}`", "stands for a single value"),
]
EMPTY = [
    (plan("title:"), ("title",), "SR134", "`title` is empty", "write, for example, `title: The Mercer Street case`"),
    (plan('title: ""'), ("title",), "SR134", "`title` is empty", "`title: The Mercer Street case`"),
    (plan("provider:"), ("provider",), "SR135", "must be animatic, tokenhub, toapis or dashscope, not nothing", ""),
    (plan("vars: {a: }"), ("vars", "a"), "SR134", "`a` is empty", "`a: rainy`"),
    (plan("matrix: {a: []}"), ("matrix", "a"), "SR134", "`a` is empty", "`a: [New York, Tokyo]`"),
    (plan("matrix: {a: [~, b]}"), ("matrix", "a", 0), "SR134", "entry 1 of `a` is empty", ""),
    (plan("matrix: {a: [{id: b, c: }]}"), ("matrix", "a", 0, "c"), "SR134", "`c` is empty", ""),
    (plan("exclude: [{}]"), ("exclude", 0), "SR134", "entry 1 of `exclude` is empty", "city: Tokyo"),
    (plan("references: {a: }"), ("references", "a"), "SR134", "`a` is empty", "`a: refs/detective.png`"),
    (plan("budget:"), ("budget",), "SR134", "`budget` is empty", "`budget: {max: 20, currency: USD}`"),
    (plan(scene="prompt:"), ("scenes", 0, "prompt"), "SR134", "`prompt` is empty", ""),
    (plan(scene="shots: []"), ("scenes", 0, "shots"), "SR134", "`shots` is empty", ""),
    (plan(shot="seconds:"), ("scenes", 0, "shots", 0, "seconds"), "SR134", "`seconds` is empty", "`seconds: 3`"),
    (plan(shot="{seconds: 1, sound: }"), ("scenes", 0, "shots", 0, "sound"), "SR134", "`sound` is empty", "sirens"),
    (plan(shot="{seconds: 1, dialogue: []}"), ("scenes", 0, "shots", 0, "dialogue"), "SR134", "is empty", "Anyone"),
    ("version: 1\nscenes: []", ("scenes",), "SR134", "`scenes` is empty", ""),
    ("version: 1\nscenes:", ("scenes",), "SR134", "`scenes` is empty", ""),
    ("version: 1\nscenes: [~]", ("scenes", 0), "SR134", "scene 1 is empty", ""),
]
VALUES = [
    (plan("provider: Dashscop"), ("provider",), "SR135", "toapis or dashscope, not `Dashscop`", "mean `dashscope`?"),
    (plan("provider: sora"), ("provider",), "SR135", "must be animatic, tokenhub, toapis or dashscope, not `sora`", ""),
    (plan("defaults: {resolution: 1080}"), ("defaults", "resolution"), "SR135", "not `1080`", "did you mean `1080p`?"),
    (plan("defaults: {resolution: 720P}"), ("defaults", "resolution"), "SR135", "not `720P`", "did you mean `720p`?"),
    (plan("defaults: {resolution: 8k}"), ("defaults", "resolution"), "SR135", "must be 480p, 720p or 1080p", ""),
    (plan("defaults: {shot_type: mutli}"), ("defaults", "shot_type"), "SR135", "single or multi", "mean `multi`?"),
    ("version: 2\nscenes: [{id: a, prompt: x}]", ("version",), "SR136", "must be 1, not `2`", "a newer storyrun"),
    (plan("defaults: {aspect_ratio: 16x9}"), ("defaults", "aspect_ratio"), "SR137", "cannot be `16x9`", "write `16:9`"),
    (plan("defaults: {aspect_ratio: 0:9}"), ("defaults", "aspect_ratio"), "SR137", "cannot be `0:9`", "such as 16:9"),
    (plan("defaults: {audio: no}"), ("defaults", "audio"), "SR137", "cannot be `no`", "audio is auto, none, or"),
    (plan("defaults: {audio: Auto}"), ("defaults", "audio"), "SR137", "cannot be `Auto`", "write `auto`"),
    (plan("defaults: {references: ['@Mira']}"), ("defaults", "references", 0), "SR137", "`@Mira`", "write `mira`"),
    (plan("budget: {max: 1, currency: usd}"), ("budget", "currency"), "SR137", "cannot be `usd`", "write `USD`"),
    (plan("budget: {max: 1, currency: $}"), ("budget", "currency"), "SR137", "cannot be `$`", "three capital letters"),
    (plan("prices: {toapis/a: {currency: usd, 720p: 1}}"), ("prices", "toapis/a", "currency"), "SR137", "usd", "`USD`"),
    ("version: 1\nscenes: [{id: New York, prompt: x}]", ("scenes", 0, "id"), "SR137", "`New York`", "`new-york`"),
    ("version: 1\nscenes: [{id: ../x, prompt: x}]", ("scenes", 0, "id"), "SR137", "cannot be `../x`", "write `x`"),
    ("version: 1\nscenes: [{id: -x, prompt: x}]", ("scenes", 0, "id"), "SR137", "cannot be `-x`", "write `x`"),
    ("version: 1\nscenes: [{id: \u00e9, prompt: x}]", ("scenes", 0, "id"), "SR137", "`\u00e9`", "a letter or digit"),
    (
        "version: 1\nscenes: [{id: |\n  a\n, prompt: x}]".replace("|\n  a\n", '"a\\n"'),
        ("scenes", 0, "id"),
        "SR137",
        "",
        "`a`",
    ),
    (plan("provider: '{{ p }}'"), ("provider",), "SR138", "`provider` cannot hold a template", "write it out"),
    (plan("budget: {max: '{{ m }}', currency: USD}"), ("budget", "max"), "SR138", "`max` cannot hold", "write it out"),
    ("version: 1\nscenes: [{id: '{{ a }}', prompt: x}]", ("scenes", 0, "id"), "SR138", "`id` cannot", "not in ids"),
    ("version: 1\nscenes: [{id: 'a{# b #}', prompt: x}]", ("scenes", 0, "id"), "SR138", "`id` cannot", "not in ids"),
    (
        plan(shot="{seconds: 1, dialogue: [{a: b, c: d}]}"),
        ("scenes", 0, "shots", 0, "dialogue", 0),
        "SR139",
        "entry 1 of `dialogue` has 2 keys; 1 is the most",
        "start each with `- `",
    ),
    (plan(shot="seconds: 0"), ("scenes", 0, "shots", 0, "seconds"), "SR142", "must be more than 0, not `0`", ""),
    (plan(shot="seconds: 0.0"), ("scenes", 0, "shots", 0, "seconds"), "SR142", "must be more than 0, not `0.0`", ""),
    (plan(shot="seconds: -3"), ("scenes", 0, "shots", 0, "seconds"), "SR142", "must be more than 0, not `-3`", ""),
    (plan(shot="seconds: 3600.5"), ("scenes", 0, "shots", 0, "seconds"), "SR142", "at most 3600, not `3600.5`", ""),
    (plan("defaults: {takes: 0}"), ("defaults", "takes"), "SR142", "`takes` must be at least 1, not `0`", ""),
    (plan("defaults: {seed: -1}"), ("defaults", "seed"), "SR142", "`seed` must be at least 0, not `-1`", ""),
    (plan("budget: {max: 0, currency: USD}"), ("budget", "max"), "SR142", "`max` must be more than 0, not `0`", ""),
    (plan("prices: {toapis/a: {currency: USD, 720p: -1}}"), ("prices", "toapis/a", "720p"), "SR142", "at least 0", ""),
    (plan("defaults: {references: [a, b, a]}"), ("defaults", "references", 2), "SR143", "has `a` twice", "remove one"),
    (
        plan("defaults: {watermark: yes}"),
        ("defaults", "watermark"),
        "SR145",
        "must be true or false, not `yes`",
        "true`",
    ),
    (plan("defaults: {watermark: No}"), ("defaults", "watermark"), "SR145", "not `No`", "write `watermark: false`"),
    (plan("defaults: {watermark: True}"), ("defaults", "watermark"), "SR145", "not `True`", "write `watermark: true`"),
    (plan("defaults: {prompt_extend: 1}"), ("defaults", "prompt_extend"), "SR145", "not `1`", "`prompt_extend: true`"),
    (
        plan("defaults: {prompt_extend: maybe}"),
        ("defaults", "prompt_extend"),
        "SR132",
        "true or false, not `maybe`",
        "",
    ),
]


@pytest.mark.parametrize(("text", "where", "code", "sentence", "hint"), [*KINDS, *EMPTY, *VALUES])
def test_a_wrong_value_is_told_at_its_place_with_what_to_write(
    text: str, where: tuple[str | int, ...], code: str, sentence: str, hint: str
) -> None:
    found = only(text)
    assert (found.code, found.where, found.key) == (code, where, False)
    assert sentence in found.sentence
    assert hint in found.hint


def test_an_empty_plan_says_what_a_plan_needs() -> None:
    found = validation.violations(None, "storyboard")
    assert [(it.code, it.where, it.sentence) for it in found] == [("SR134", (), "the storyboard is empty")]
    assert found[0].hint == "it needs `version` and `scenes`"


@pytest.mark.parametrize(
    ("text", "where", "hint"),
    [
        (plan("vars: {Bad Name: x}"), ("vars", "Bad Name"), "write `bad_name`"),
        (plan("vars: {'{{ x }}': x}"), ("vars", "{{ x }}"), "letters, digits and _"),
        (plan("vars: {time-of-day: x}"), ("vars", "time-of-day"), "write `time_of_day`"),
        (plan("matrix: {City: [a]}"), ("matrix", "City"), "write `city`"),
        (plan("matrix: {f: [{id: a, Ratio: b}]}"), ("matrix", "f", 0, "Ratio"), "write `ratio`"),
        (plan("references: {Mira: a.png}"), ("references", "Mira"), "write `mira`"),
        (plan("references: {2nd: a.png}"), ("references", "2nd"), "starts with a letter"),
        (plan(scene="prompt: x\nvars: {A-B: x}"), ("scenes", 0, "vars", "A-B"), "write `a_b`"),
        (
            plan("prices: {dashcope/a: {currency: USD, 720p: 1}}"),
            ("prices", "dashcope/a"),
            "tokenhub, toapis or dashscope",
        ),
        (plan("prices: {animatic/a: {currency: USD, 720p: 1}}"), ("prices", "animatic/a"), "tokenhub/wan2.7-t2v"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_at_the_name(text: str, where: tuple[str | int, ...], hint: str) -> None:
    found = only(text)
    assert (found.code, found.where, found.key, found.keyword) == ("SR144", where, True, "propertyNames")
    assert hint in found.hint


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        ("1e5", "100000"),
        ("1E-2", "0.01"),
        ("0x10", "16"),
        ("0o17", "15"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("+5", "5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("5s", "5"),
        ("5 s", "5"),
        ("2.5 seconds", "2.5"),
        ("'5,5'", "5.5"),
        ("' 5 '", "5"),
        ("\u22125", "-5"),
        ("\uff15", "5"),
    ],
)
def test_a_number_in_another_notation_is_refused_with_the_plain_one(typed: str, plain: str) -> None:
    found = only(plan(shot=f"seconds: {typed}"))
    assert (found.code, found.where) == ("SR133", ("scenes", 0, "shots", 0, "seconds"))
    assert found.sentence.startswith("`seconds` must be a number, not `")
    assert found.hint == f"in plain digits: `seconds: {plain if plain[0] != '-' else chr(34) + plain + chr(34)}`"


@pytest.mark.parametrize("typed", ["nan", ".nan", ".NaN", "NaN", "inf", ".inf", "-.inf", "+.INF", "Infinity"])
def test_what_cannot_be_counted_is_no_number(typed: str) -> None:
    found = only(plan(shot=f"seconds: {typed}"))
    assert (found.code, found.hint) == ("SR133", "write plain digits, with a point if needed")


@pytest.mark.parametrize(
    "typed", ["five", "1,000", "00:05", "1/2", "5-6", "0x", "1e999999999", "5 apples", "--5", "0xZZ"]
)
def test_what_is_no_number_in_any_notation_gets_no_guess(typed: str) -> None:
    found = only(plan(shot=f"seconds: {typed}"))
    assert (found.code, found.hint) == ("SR132", "")


def test_a_number_too_long_to_read_is_refused_and_shown_cut() -> None:
    found = only(plan(shot=f"seconds: {'9' * 5000}"))
    assert found.sentence == f"`seconds` must be a number, not `{'9' * 37}...`"
    assert found.hint == "a number has at most 40 digits"


def test_a_whole_number_is_written_without_a_point() -> None:
    found = only(plan("defaults: {takes: 2.0}"))
    assert (found.code, found.hint) == ("SR133", "in plain digits: `takes: 2`")


def test_everything_is_told_in_one_pass() -> None:
    text = """\
version: 1
provider: sora
defaults: {watermark: yes, seeds: 1}
scenes:
  - {id: a b, prompt: x, takes: 0}
  - id: b
    shots: [{seconds: five}, {seconds: 1, framng: x}, {}]
  - {id: c}
budget: {max: free}
"""
    assert sorted(it.code for it in judged(text)) == [
        *("SR130", "SR130", "SR131", "SR131", "SR132", "SR132", "SR135", "SR137", "SR141", "SR142", "SR145")
    ]


def test_a_thousand_wrong_shots_are_a_thousand_problems() -> None:
    shots = "".join("      - {seconds: five}\n" for _ in range(1000))
    found = judged(f"version: 1\nscenes:\n  - id: a\n    shots:\n{shots}")
    assert [it.where[3] for it in found] == list(range(1000))


# ── text to numbers ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("schema", "typed", "value"),
    [
        ({"type": "number"}, "5", 5),
        ({"type": "number"}, "0.1", Decimal("0.1")),
        ({"type": "number"}, "-0.10", Decimal("-0.10")),
        ({"type": "integer"}, "007", 7),
        ({"type": "integer"}, "5.0", Decimal("5.0")),
        ({"type": "number"}, "5\n", "5\n"),
        ({"type": "number"}, "\u0665", "\u0665"),
        ({"type": "number"}, "true", "true"),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "false", False),
        ({"type": "boolean"}, "True", "True"),
        ({"type": "boolean"}, "1", "1"),
        ({"type": "string"}, "5", "5"),
        ({"type": ["string", "number", "boolean"]}, "true", "true"),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "x"}]}, "5", 5),
        ({"anyOf": [{"type": "number"}, {"type": "string", "pattern": "x"}]}, "5x", "5x"),
        ({"type": ["integer", "null"]}, None, None),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}, "5", 5),
        ({"type": "array", "items": {"type": "number"}}, ["1", "x"], [1, "x"]),
        ({"additionalProperties": {"type": "number"}}, {"a": "1", "b": ["2"]}, {"a": 1, "b": ["2"]}),
        (
            {"anyOf": [{"properties": {"a": {"type": "number"}}}, {"type": "array"}]},
            {"a": "1", "b": "2"},
            {"a": 1, "b": "2"},
        ),
        ({}, {"a": ["1"]}, {"a": ["1"]}),
    ],
)
def test_texts_become_numbers_only_where_the_schema_asks(schema: dict[str, Any], typed: Any, value: Any) -> None:
    before = copy.deepcopy(typed)
    read = validation.coerce(typed, schema)
    assert repr(read) == repr(value)
    assert typed == before


def test_decimals_are_compared_as_written_and_not_as_floats() -> None:
    """0.1 + 0.2 as floats is more than 0.3; a bound of 0.3 must take 0.3 and refuse the next decimal."""
    schema = {"type": "number", "maximum": 1}
    assert validation.fits(validation.coerce("1.000000000000000000000", schema), schema)
    assert not validation.fits(validation.coerce("1.000000000000000000001", schema), schema)


# ── the judge ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_is_judged_as_it_stands() -> None:
    """Only a plan has numbers as texts: a job with "6" for 6 is wrong."""
    job = copy.deepcopy(validation.schema("job")["examples"][0])
    assert validation.violations(job, "job") == []
    job["length"] = "6"
    found = validation.violations(job, "job")
    assert [(it.code, it.where) for it in found] == [("SR133", ("length",))]


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_nan_and_infinity_are_no_numbers(odd: float) -> None:
    job = validation.schema("job")["examples"][0] | {"length": odd}
    assert [it.where for it in validation.violations(job, "job")] == [("length",)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"audio": "file"}, "the job needs `audio_file`"),
        ({"width": 1280, "height": None}, "`height` is empty"),
        ({"seconds": 0}, "`seconds` must be more than 0, not `0`"),
        ({"stem": "x" * 121}, "`stem` has 121 characters; 120 is the most"),
        ({"shots": []}, "`shots` is empty"),
        ({"scene": "a\n"}, "`scene` cannot be `a\u23ce`"),
        ({"audio_file": {"text": "a.mp3", "kind": "audio"}}, "the job does not fit the schema: "),
    ],
)
def test_a_job_that_breaks_its_schema_is_told_in_words(change: dict[str, Any], words: str) -> None:
    found = validation.violations(validation.schema("job")["examples"][0] | change, "job")
    assert len(found) == 1
    assert found[0].sentence.startswith(words)


def test_codes_are_one_per_kind_within_our_range_and_every_one_can_happen() -> None:
    assert all("SR130" <= code <= "SR169" and meaning for code, meaning in validation.CODES.items())
    assert list(validation.CODES) == sorted(validation.CODES)
    seen = {case[2] for case in (*KINDS, *EMPTY, *VALUES)}
    elsewhere = {"SR130", "SR131", "SR133", "SR140", "SR141", "SR144", "SR169"}
    assert seen | elsewhere == set(validation.CODES)


def test_a_valid_plan_does_not_load_jsonschema() -> None:
    program = (
        "import sys; from storyrun import validation;"
        "plan = {'version': '1', 'scenes': [{'id': 'a', 'seconds': '2.5', 'prompt': 'x', 'references': ['b']}]};"
        "assert validation.violations(plan, 'storyboard') == [];"
        "heavy = {'jsonschema', 'referencing', 'difflib', 'asyncio', 'aiohttp'} & sys.modules.keys();"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


# ── against jsonschema ───────────────────────────────────────────────────────────────────────────────────────────────

TEXTS = st.sampled_from(
    [
        "",
        "x",
        "5",
        "-1",
        "0.5",
        "1e5",
        "true",
        "{{ x }}",
        "720p",
        "16:9",
        "a b",
        "auto",
        "multi",
        "a\n",
        "https://a/b.png",
    ]
)
KEYS = st.sampled_from("id shots seconds prompt notes takes table images text kind mode audio audio_file x Y".split())
JUNK = st.recursive(
    TEXTS | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)
JSON = JUNK | st.booleans() | st.integers(-2, 5000) | st.floats(allow_nan=True)


@st.composite
def mangled(draw: st.DrawFn, whole: Any, junk: st.SearchStrategy[Any]) -> Any:
    """Something right with a few things in it replaced, removed or added."""
    data = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        spots = [(node, key) for node in _nodes(data) for key in _keys(node)]
        if not spots:
            break
        node, key = draw(st.sampled_from(spots))
        act = draw(st.sampled_from(["replace", "remove", "add"]))
        if act == "remove":
            del node[key]
        elif act == "add" and isinstance(node, dict):
            node[draw(KEYS)] = draw(junk)
        else:
            node[key] = draw(junk)
    return data


def _nodes(data: Any) -> list[Any]:
    children = data.values() if isinstance(data, dict) else data if isinstance(data, list) else ()
    return ([data] if isinstance(data, (dict, list)) else []) + [node for child in children for node in _nodes(child)]


def _keys(node: Any) -> list[Any]:
    return list(node) if isinstance(node, dict) else list(range(len(node)))


def quick_and_slow(data: Any, name: str) -> None:
    """The quick yes and jsonschema agree; where they could not, the quick one must not say yes."""
    quick = validation.fits(data, validation.schema(name))
    slow = validation.validator(name).is_valid(data)
    assert quick <= slow
    try:
        sure = fitting._fits(data, fitting.Place(validation.schema(name), validation.schema(name)))
    except fitting.Unsure:
        return
    assert sure == slow


@settings(max_examples=100, deadline=None)
@given(mangled(read(SAMPLE), JUNK))
def test_any_wrong_plan_is_told_in_words_at_places_that_exist(data: Any) -> None:
    read_as = validation.coerce(data, validation.schema("storyboard"))
    quick_and_slow(read_as, "storyboard")
    found = validation.violations(data, "storyboard")
    assert bool(found) != validation.validator("storyboard").is_valid(read_as)
    assert len(set(found)) == len(found)
    for it in found:
        assert it.code in validation.CODES
        assert it.code != "SR169"
        assert it.sentence
        for words in (it.sentence, it.hint):
            assert not any(foreign in words for foreign in ("valid under", "None", "{'", "['", "Decimal", "\n"))
        node = data
        for step in it.where:
            node = node[step]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from([name for name in validation.names() if name not in ("storyboard", "manifest")]),
    mangled(validation.schema("job")["examples"][0], JSON),
)
def test_the_quick_yes_agrees_with_jsonschema_on_jobs_and_cards(name: str, data: Any) -> None:
    quick_and_slow(data, name)


@settings(max_examples=60, deadline=None)
@given(mangled(validation.schema("manifest")["examples"][0], JSON))
def test_the_quick_yes_agrees_with_jsonschema_on_manifests(data: Any) -> None:
    quick_and_slow(data, "manifest")


@pytest.mark.parametrize(
    ("schema", "data", "verdict"),
    [
        ({"const": 1}, True, False),
        ({"const": 1}, 1.0, True),
        ({"enum": [0, None]}, False, False),
        ({"type": "integer"}, 5.0, True),
        ({"type": "integer"}, True, False),
        ({"oneOf": [{"type": "number"}, {"minimum": 5}]}, 6, False),
        ({"oneOf": [{"type": "number"}, {"minimum": 5}]}, 4, True),
        ({"not": {"required": ["a"]}}, {"a": 1}, False),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": False}, {"a": 1, "b": 1}, True),
        ({"if": {"required": ["a"]}, "then": {"required": ["b"]}, "else": False}, {}, False),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, False),
        ({"contains": {"const": 1}}, [0, 1], True),
        ({"contains": {"const": 1}}, [], False),
        ({"uniqueItems": True}, ["a", "a"], False),
        ({"maxItems": 1}, ["a", "a"], False),
        ({"properties": {"a": False}}, {"a": 1}, False),
        ({"exclusiveMaximum": 1}, 1, False),
        ({"pattern": "^a$"}, "a\n", False),
        ({"$ref": "https://storyrun.dev/schemas/job.schema.json#/$defs/media"}, {"text": "a", "kind": "image"}, True),
    ],
)
def test_the_quick_yes_knows_its_keywords(schema: Any, data: Any, verdict: bool) -> None:
    assert fitting._fits(data, fitting.Place(schema, schema)) is verdict


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        ({"prefixItems": [True], "items": False}, [1]),
        ({"not": {"unevaluatedProperties": False}}, {"a": 1}),
        ({"multipleOf": 2}, 4),
        ({"enum": [[1]]}, [1]),
        ({"uniqueItems": True}, [1, 2]),
        ({"$ref": "#title", "title": "x"}, 1),
        ({"$ref": "https://example.com/a.json"}, 1),
    ],
)
def test_the_quick_yes_is_not_said_of_what_it_does_not_know(schema: Any, data: Any) -> None:
    assert validation.fits(data, schema) is False
    with pytest.raises(fitting.Unsure):
        fitting._fits(data, fitting.Place(schema, schema))
