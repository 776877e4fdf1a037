"""What the clips of a plan become: one film for each combination of its axes, and what `cut:` says of it."""

from __future__ import annotations

import time
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from storyrun import jobs, picks, storyboard
from storyrun.jobs.films import MAX_FILMS, Films
from tests.written import plan_file, planned, problems_of, write_plan

ROOT = Path(__file__).parent.parent

SPOT = """
matrix:
  city: [Oslo, Tokyo]
  format:
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
exclude: [{city: Tokyo, format: tall}]
scenes:
  - {id: street, seconds: 4, prompt: "a street in {{ city }}", aspect_ratio: "{{ format.ratio }}"}
  - {id: pour, seconds: 5, takes: 2, prompt: a hand pours, aspect_ratio: "{{ format.ratio }}"}
  - {id: sky, seconds: 3, prompt: the sky}
"""


def shown(film):
    return [part.shown for part in film.parts]


# ── which films ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_a_film_for_each_combination_of_the_axes_less_the_excluded_ones(tmp_path):
    films = planned(tmp_path, SPOT).plan.films
    assert [film.variant for film in films] == [
        {"city": "Oslo", "format": "wide"},
        {"city": "Oslo", "format": "tall"},
        {"city": "Tokyo", "format": "wide"},
    ]
    assert shown(films[1]) == ["street[city=Oslo,format=tall]", "pour[format=tall]", "sky"]
    assert films[1].parts[1].takes == ("pour[format=tall]", "pour[format=tall]#2")
    assert [film.length for film in films] == [12, 12, 12]


def test_a_plan_without_axes_is_one_film_with_its_own_name(tmp_path):
    text = "title: The key\nscenes: [{id: b, seconds: 2, prompt: x}, {id: a, seconds: 3, prompt: y}]"
    (film,) = planned(tmp_path, text).plan.films
    assert (film.title, film.stem, film.variant, shown(film)) == ("The key", "plan", {}, ["b", "a"])
    assert (film.length, film.fade, film.subtitles) == (Fraction(5), Fraction(0), "none")
    assert film.sound is None
    assert film.clip_sound == 0


def test_films_are_called_after_the_plan_and_their_values(tmp_path):
    film = planned(tmp_path, SPOT).plan.films[0]
    assert (film.title, film.stem) == ("plan · Oslo · wide", "plan_Oslo_wide")


def test_shots_that_are_clips_of_their_own_stand_in_their_order(tmp_path):
    text = """
    scenes:
      - id: hall
        shots: [{seconds: 5, action: a door}, {seconds: 5, action: steps}]
        takes: 2
      - {id: end, seconds: 5, prompt: dust}
    """
    (film,) = planned(tmp_path, text, "dashscope", "wan2.2-t2v-plus").plan.films
    assert [part.takes for part in film.parts] == [("hall.s1", "hall.s1#2"), ("hall.s2", "hall.s2#2"), ("end",)]
    assert {part.scene for part in film.parts} == {"hall", "end"}


def test_an_axis_that_only_the_cut_mentions_makes_films_and_no_clips(tmp_path):
    write_plan(tmp_path, "", "x.yaml")
    for name in ("de", "fr"):
        (tmp_path / f"{name}.mp3").write_bytes((ROOT / "storyboards/vo/lis.mp3").read_bytes())
    text = """
    matrix: {language: [de, fr]}
    cut: {sound: "{{ language }}.mp3"}
    scenes: [{id: a, seconds: 2, prompt: x}, {id: b, seconds: 2, prompt: y}]
    """
    made = planned(tmp_path, text)
    assert made.ids == ["a", "b"]
    assert made.codes == []
    assert [film.stem for film in made.plan.films] == ["plan_de", "plan_fr"]
    assert [film.sound and film.sound.text for film in made.plan.films] == ["de.mp3", "fr.mp3"]
    assert {tuple(shown(film)) for film in made.plan.films} == {("a", "b")}


def test_an_axis_that_nobody_mentions_is_still_an_error(tmp_path):
    text = "matrix: {language: [de, fr]}\ncut: {clip_sound: off}\nscenes: [{id: a, prompt: x}]"
    assert [line.split()[1] for line in problems_of(tmp_path, text)] == ["SR202"]


def test_the_picked_take_is_the_one_that_is_shown(tmp_path):
    path = write_plan(tmp_path, SPOT)
    loaded = storyboard.load(path, path.name)
    assert loaded.storyboard is not None
    assert loaded.document is not None
    made, problems = jobs.plan(
        loaded.storyboard, loaded.document, provider="animatic", label="animatic", model=None, currency=None,
        drawing_revision=1, chosen=picks.Picks({"pour[format=wide]": 2}, {"sky": 3}),
    )  # fmt: skip
    assert problems == ()
    wide, tall, _ = made.films
    assert (wide.parts[1].shown, wide.parts[1].picked) == ("pour[format=wide]#2", True)
    assert (tall.parts[1].shown, tall.parts[1].picked) == ("pour[format=tall]", False)
    assert tall.parts[2].takes == ("sky", "sky#2", "sky#3")


@pytest.mark.parametrize("plan", sorted((ROOT / "storyboards").glob("*.yaml")), ids=lambda plan: plan.stem)
def test_every_storyboard_that_ships_makes_films_of_all_its_clips(plan):
    made = plan_file(plan)
    used = {take for film in made.plan.films for part in film.parts for take in part.takes}
    assert used == set(made.ids)
    assert len({film.stem for film in made.plan.films}) == len(made.plan.films)


# ── what the cut says ────────────────────────────────────────────────────────────────────────────────────────────────


def cut(folder, entries, scenes="[{id: a, seconds: 2, prompt: x}, {id: b, seconds: 3, prompt: y}]"):
    made = planned(folder, f"vars: {{low: -12.5, how: fade}}\ncut: {entries}\nscenes: {scenes}")
    (film,) = made.plan.films
    return film


@pytest.mark.parametrize(
    ("entries", "field", "value"),
    [
        ("{length: 5}", "length", Fraction(5)),
        ("{clip_sound: on}", "clip_sound", Decimal(0)),
        ("{clip_sound: off}", "clip_sound", None),
        ("{clip_sound: -12}", "clip_sound", Decimal(-12)),
        ("{clip_sound: '{{ low }}'}", "clip_sound", Decimal("-12.5")),
        ("{transition: cut}", "fade", 0),
        ("{transition: fade}", "fade", Fraction(1, 2)),
        ("{transition: '{{ how }}'}", "fade", Fraction(1, 2)),
        ("{transition: {fade: 0.8}}", "fade", Fraction(4, 5)),
        ("{name: 'Night,  15 s'}", "title", "Night, 15 s"),
        ("{name: 'Night, 15 s'}", "stem", "Night--15-s"),
        ("{notes: [ask Ana]}", "length", Fraction(5)),
    ],
)
def test_each_key_of_the_cut_says_what_it_says(tmp_path, entries, field, value):
    assert getattr(cut(tmp_path, entries), field) == value


def test_subtitles_are_asked_for_and_nobody_speaking_is_noted(tmp_path):
    speaking = "[{id: a, shots: [{seconds: 2, action: x, dialogue: Hello}]}]"
    assert cut(tmp_path, "{subtitles: burnt}", speaking).subtitles == "burnt"
    made = planned(tmp_path, "cut: {subtitles: soft}\nscenes: [{id: a, prompt: x}]")
    assert [(problem.code, problem.severity) for problem in made.problems] == [("SR355", "note")]


@pytest.mark.parametrize(("length", "wrong"), [("9.99", False), ("10.02", False), ("9.9", True), ("10.1", True)])
def test_the_length_is_that_of_the_scenes_to_the_frame(tmp_path, length, wrong):
    text = f"cut: {{length: {length}}}\nscenes: [{{id: a, seconds: 5, prompt: x}}, {{id: b, seconds: 5, prompt: y}}]"
    assert [line.split()[1] for line in problems_of(tmp_path, text)] == ["SR350"] * wrong


def test_a_length_is_judged_film_by_film(tmp_path):
    text = """
    matrix:
      format: [{id: long, s: 6, all: 10}, {id: short, s: 3, all: 9}]
    cut: {length: "{{ format.all }}"}
    scenes:
      - {id: a, seconds: "{{ format.s }}", prompt: x}
      - {id: b, seconds: 4, prompt: y}
    """
    (told,) = problems_of(tmp_path, text)
    assert "the scenes are 7 s together, and `length` says 9 s (format=short)" in told


def test_what_a_template_renders_to_is_judged_with_its_variant(tmp_path):
    text = """
    matrix: {mix: [loud, "3"]}
    cut: {clip_sound: "{{ mix }}"}
    scenes: [{id: a, prompt: x}]
    """
    (told,) = problems_of(tmp_path, text)
    assert "`clip_sound` must be on, off or a number from -60 to 12, not `loud` (mix=loud)" in told


def test_nothing_is_said_of_films_where_a_scene_is_wrong(tmp_path):
    text = "cut: {length: 30}\nscenes: [{id: a, seconds: 5, promt: x}]"
    assert [line.split()[1] for line in problems_of(tmp_path, text)] == ["SR130"]


# ── how many ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_films_are_worked_out_when_somebody_looks_and_never_without_bound(tmp_path):
    text = """
    matrix: {a: [x, y], b: [v, w]}
    scenes: [{id: one, prompt: "{{ a }}"}, {id: two, prompt: "{{ b }}"}]
    """
    made = planned(tmp_path, text).plan
    assert isinstance(made.films, Films)
    assert made.films == tuple(made.films)
    board, job = made.storyboard, made.jobs[0]
    axes = tuple(replace(axis, values=axis.values * 101) for axis in board.matrix)  # 202 x 202
    many = Films(replace(board, matrix=axes), [replace(job, variant={"a": "x", "b": "v"})], ())
    assert list(many) == []
    few = tuple(replace(axis, values=axis.values * 50) for axis in board.matrix)
    assert len(Films(replace(board, matrix=few), [replace(job, variant={"a": "x", "b": "v"})], ())) == MAX_FILMS


def test_ten_thousand_films_are_made_in_a_moment(tmp_path):
    made = planned(tmp_path, "matrix: {a: [x]}\nscenes: [{id: one, prompt: '{{ a }}'}]").plan
    axis = made.storyboard.matrix[0]
    values = tuple(replace(axis.values[0], label=f"v{number}") for number in range(MAX_FILMS))
    clips = [replace(made.jobs[0], id=f"one[a={value.label}]", variant={"a": value.label}) for value in values]
    films = Films(replace(made.storyboard, matrix=(replace(axis, values=values),)), clips, ())
    begin = time.perf_counter()
    assert len(films) == MAX_FILMS
    assert time.perf_counter() - begin < 5
    assert shown(films[-1]) == ["one[a=v9999]"]
