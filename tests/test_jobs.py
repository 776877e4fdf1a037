"""From storyboard to jobs: variants, takes, prompts, references, modes, defaults."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from storyrun import jobs
from tests.written import plan_file, planned, problems_of, write_plan

STORYBOARDS = Path(__file__).parent.parent / "storyboards"

DETECTIVE = (
    "A tense detective investigation with cinematic storytelling. Shot 1 [0-3s], wide shot: rainy New York street with "
    "neon lights as a detective in a black trench coat walks quickly. Shot 2 [3-6s], medium shot: the detective enters "
    "an old building and the door slowly closes behind him. Shot 3 [6-9s], close-up: focused eyes, distant sirens, and "
    "a subtle frown. Shot 4 [9-12s], medium shot: he moves carefully through a dim corridor with a flashlight. Shot 5 "
    "[12-15s], close-up: he discovers a key clue and shows a sudden expression of realization."
)

SAMPLE = """\
version: 1
title: The Mercer Street case
provider: dashscope
model: wan2.7
defaults:
  resolution: 720p
  aspect_ratio: "{{ format.ratio }}"
  look: 35mm film, tungsten light
  negative_prompt: blurry, low quality
vars:
  weather: rainy
matrix:
  city: [New York, Tokyo]
  format:
    - {id: wide, ratio: "16:9"}
    - {id: tall, ratio: "9:16"}
references:
  detective: refs/detective.png
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
    first_frame: refs/desk.png
    audio: vo/desk.mp3
budget: {max: 20, currency: USD}
prices:
  tokenhub/wan2.7-t2v: {currency: USD, 720p: 0.10, 1080p: 0.15}
"""


@pytest.fixture
def project(tmp_path):
    """A folder with the files that the sample names."""
    for name in ("refs/detective.png", "refs/desk.png", "cast/mira1.png", "cast/mira2.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (640, 480), name.encode()[:3].hex()[:6].join(["#", ""])).save(path)
    (tmp_path / "cast/mira.wav").write_bytes(b"RIFF\0\0\0\0WAVE" + b"\0" * 64)
    (tmp_path / "vo").mkdir()
    (tmp_path / "vo/desk.mp3").write_bytes(b"ID3" + b"\0" * 64)
    return tmp_path


class TestSample:
    """The storyboard of the design page."""

    def test_makes_these_clips(self, project):
        sample = planned(project, SAMPLE)
        assert sample.ids == [
            "investigation[city=New York,format=wide]",
            "investigation[city=New York,format=wide]#2",
            "investigation[city=New York,format=tall]",
            "investigation[city=New York,format=tall]#2",
            "investigation[city=Tokyo,format=wide]",
            "investigation[city=Tokyo,format=wide]#2",
            "investigation[city=Tokyo,format=tall]",
            "investigation[city=Tokyo,format=tall]#2",
            "key-clue[format=wide]",
            "key-clue[format=tall]",
            "desk",
        ]

    def test_names_files_after_scene_values_and_take(self, project):
        stems = [job.stem for job in planned(project, SAMPLE).jobs]
        assert stems[0] == "investigation_New-York_wide"
        assert stems[1] == "investigation_New-York_wide_t2"
        assert stems[-1] == "desk"

    def test_joins_shots_as_the_design_page_says(self, project):
        assert planned(project, SAMPLE).prompts[4] == (
            "A tense detective investigation with cinematic storytelling. Shot 1 [0-3s], wide shot: rainy Tokyo street "
            "with neon lights as a detective in a black trench coat walks quickly. Shot 2 [3-6s], medium shot, slow "
            'push in: the detective enters an old building. Dialogue: detective (low): "Anyone here?". Sound: distant '
            "sirens. 35mm film, tungsten light"
        )

    def test_chooses_the_familys_model_for_each_mode(self, project):
        chosen = {job.scene: (job.model, job.mode) for job in planned(project, SAMPLE).jobs}
        assert chosen == {
            "investigation": ("wan2.7-t2v", "text"),
            "key-clue": ("wan2.7-r2v", "reference"),
            "desk": ("wan2.7-i2v", "image"),
        }

    def test_leaves_out_the_default_that_image_to_video_cannot_take_and_says_so_once(self, project):
        sample = planned(project, SAMPLE)
        assert sample.jobs[-1].aspect_ratio is None
        assert sample.plan.notes == ("default aspect_ratio left out of desk: image-to-video of wan2.7-i2v takes none",)

    def test_second_takes_have_the_next_seed(self, project):
        assert [job.seed for job in planned(project, SAMPLE).jobs[:2]] == [12345, 12346]

    def test_is_the_same_on_the_animatic_but_for_the_price(self, project):
        paid, free = planned(project, SAMPLE), planned(project, SAMPLE, provider="animatic")
        assert paid.ids == free.ids
        assert [(j.prompt, j.model, j.size, j.frames) for j in paid.jobs] == [
            (j.prompt, j.model, j.size, j.frames) for j in free.jobs
        ]
        assert all(job.quote is not None and job.quote.amount == 0 for job in free.jobs)

    def test_survives_its_json_form(self, project):
        for job in planned(project, SAMPLE).jobs:
            assert jobs.from_dict(jobs.as_dict(job), project) == job


class TestShippedStoryboards:
    @pytest.mark.parametrize("path", sorted(STORYBOARDS.glob("*.yaml")), ids=lambda path: path.stem)
    def test_have_no_problems_on_any_of_their_providers(self, path):
        for provider in (None, "animatic"):
            assert plan_file(path, provider).problems == ()

    def test_detective_reads_as_the_guide_does(self):
        result = plan_file(STORYBOARDS / "detective.yaml")
        assert result.prompts == [DETECTIVE]
        assert result.job.length == 15
        assert sum(shot.end - shot.start for shot in result.job.shots) == 15


class TestPrompts:
    def test_a_lone_prompt_goes_out_as_written(self, tmp_path):
        text = "scenes:\n- id: a\n  prompt: |\n    Two  spaces,\n    two lines; no full stop\n"
        assert planned(tmp_path, text).prompts == ["Two  spaces,\ntwo lines; no full stop"]

    @pytest.mark.parametrize(
        ("scene", "prompt"),
        [
            ("premise: Rain\n  prompt: a cat\n  look: film", "Rain. a cat. film"),
            ("premise: Rain!\n  prompt: a cat?", "Rain! a cat?"),
            ("prompt: a cat.\n  look: film", "a cat. film"),
            ("shots:\n  - {seconds: 5, action: a cat walks}", "a cat walks."),
            ("shots:\n  - {seconds: 5, framing: wide, action: a cat walks!}\n  look: film", "wide: a cat walks! film"),
            ("shots:\n  - {seconds: 5, framing: wide, camera: pan left}", "wide, pan left."),
            (
                "shots:\n  - {seconds: 2.5, action: a}\n  - {seconds: 2.5, framing: wide}",
                "Shot 1 [0-2.5s]: a. Shot 2 [2.5-5s], wide.",
            ),
            (
                "shots:\n  - seconds: 5\n    action: they talk\n    dialogue:\n    - Ann: Hi\n    - Hello?\n",
                'they talk. Dialogue: Ann: "Hi"; "Hello?".',
            ),
            ("shots:\n  - {seconds: 5, action: a, sound: rain}", "a. Sound: rain."),
        ],
    )
    def test_missing_parts_drop_out_with_their_punctuation(self, tmp_path, scene, prompt):
        assert planned(tmp_path, f"scenes:\n- id: a\n  {scene}\n").prompts == [prompt]

    def test_a_template_beside_the_plan_joins_the_parts(self, tmp_path):
        (tmp_path / "house.jinja").write_text(
            "{% include 'brand.txt' %}{% for shot in shots %} ({{ shot.end - shot.start }}) {{ shot.action }}"
            "{% endfor %} -- {{ look }} in {{ city }}"
        )
        (tmp_path / "brand.txt").write_text("HALDEN {{ mood }}:")
        text = """\
            matrix: {city: [Oslo, Rome]}
            vars: {mood: calm}
            scenes:
              - id: a
                template: house.jinja
                look: film
                shots: [{seconds: 2, action: one}, {seconds: 3, action: two}]
        """
        assert planned(tmp_path, text).prompts == [
            f"HALDEN calm: (2) one (3) two -- film in {city}" for city in ("Oslo", "Rome")
        ]

    def test_a_scene_field_may_be_used_in_another(self, tmp_path):
        text = "scenes:\n- {id: a, look: film, prompt: 'in the manner of {{ look }}, {{ seconds }} s', seconds: 5}\n"
        assert planned(tmp_path, text).prompts == ["in the manner of film, 5 s. film"]

    def test_fields_made_of_each_other_are_an_error(self, tmp_path):
        text = "scenes:\n- id: a\n  premise: '{{ look }}'\n  look: '{{ premise }}'\n  prompt: x\n"
        assert "SR206" in " ".join(problems_of(tmp_path, text))


class TestVariants:
    def test_a_scene_varies_over_what_it_mentions_through_vars_and_references(self, tmp_path):
        for name in ("a.png", "b.png"):
            Image.new("RGB", (320, 320), {"a.png": "#f00", "b.png": "#00f"}[name]).save(tmp_path / name)
        text = """\
            matrix:
              city: [Oslo, Rome]
              hero: [{id: ann, file: a.png}, {id: bob, file: b.png}]
              mood: [calm, wild]
            vars: {place: "streets of {{ city }}"}
            references: {lead: "{{ hero.file }}"}
            scenes:
              - {id: by-var, prompt: "the {{ place }}"}
              - {id: by-reference, prompt: "@lead waits"}
              - {id: by-default, prompt: nothing special, look: "{{ mood }}"}
              - {id: none, prompt: nothing at all}
        """
        assert planned(tmp_path, text).ids == [
            "by-var[city=Oslo]",
            "by-var[city=Rome]",
            "by-reference[hero=ann]",
            "by-reference[hero=bob]",
            "by-default[mood=calm]",
            "by-default[mood=wild]",
            "none",
        ]

    def test_an_axis_that_nobody_mentions_is_an_error(self, tmp_path):
        text = "matrix: {city: [Oslo, Rome]}\nscenes: [{id: a, prompt: x}]\n"
        assert problems_of(tmp_path, text) == ["2:10 SR202 no scene mentions axis city"]

    def test_a_scenes_own_value_beats_the_default_and_its_axis(self, tmp_path):
        text = """\
            matrix: {mood: [calm, wild]}
            defaults: {look: "{{ mood }}"}
            scenes:
              - {id: a, prompt: x}
              - {id: b, prompt: y, look: fixed}
              - {id: c, prompt: z, look: null}
        """
        result = planned(tmp_path, text)
        assert result.ids == ["a[mood=calm]", "a[mood=wild]", "b", "c"]
        assert result.prompts[2:] == ["y. fixed", "z"]

    def test_exclude_counts_in_scenes_that_vary_over_all_its_axes(self, tmp_path):
        text = """\
            matrix: {city: [Oslo, Rome], mood: [calm, wild]}
            exclude: [{city: Rome, mood: wild}]
            scenes:
              - {id: both, prompt: "{{ city }} {{ mood }}"}
              - {id: one, prompt: "{{ city }}"}
        """
        assert planned(tmp_path, text).ids == [
            "both[city=Oslo,mood=calm]",
            "both[city=Oslo,mood=wild]",
            "both[city=Rome,mood=calm]",
            "one[city=Oslo]",
            "one[city=Rome]",
        ]

    def test_tables_give_rows(self, tmp_path):
        (tmp_path / "goods.csv").write_text("\ufeffsku;name\n0042;Blue pot\n1.10;{{ red }} pot\n", encoding="utf-8")
        (tmp_path / "lines.jsonl").write_text('{"id": 7, "line": "x"}\n\n{"id": "8", "line": true}\n')
        text = """\
            matrix:
              product: {table: goods.csv, id: sku}
              line: {table: lines.jsonl, id: id}
            scenes: [{id: a, prompt: "{{ product.name }} {{ line.line }} {{ line }}"}]
        """
        assert planned(tmp_path, text).prompts == [
            "Blue pot x 7",
            "Blue pot true 8",
            "{{ red }} pot x 7",
            "{{ red }} pot true 8",
        ]

    def test_settings_are_judged_after_rendering_with_the_variant_in_the_message(self, tmp_path):
        text = """\
            matrix: {length: ["5", five, "-1"]}
            scenes: [{id: a, prompt: x, seconds: "{{ length }}"}]
        """
        found = problems_of(tmp_path, text)
        assert len(found) == 2
        assert "length=five" in found[0]
        assert "length=-1" in found[1]

    def test_a_setting_that_renders_to_nothing_is_an_error(self, tmp_path):
        text = 'vars: {none: " "}\nscenes: [{id: a, prompt: x, look: "{{ none }}"}]\n'
        assert any("SR235" in line for line in problems_of(tmp_path, text))

    def test_a_ratio_of_ten_thousand_digits_is_a_problem_like_any_other(self, tmp_path):
        scene = f"{{id: a, prompt: x, seconds: 5, aspect_ratio: '16:{'9' * 10_000}'}}"
        text = f"provider: dashscope\nmodel: wan2.7\nscenes: [{scene}]\n"
        assert any("SR322" in line for line in problems_of(tmp_path, text))

    @pytest.mark.parametrize("key", ["seconds", "seed", "takes", "resolution", "aspect_ratio", "watermark"])
    def test_what_looks_like_a_template_once_rendered_is_judged_as_it_stands(self, tmp_path, key):
        text = f"scenes: [{{id: a, prompt: x, {key}: '{{% raw %}}{{{{{{% endraw %}}'}}]\n"
        (found,) = problems_of(tmp_path, text)
        assert "`{ {`" in found


class TestReferences:
    @pytest.fixture
    def cast(self, tmp_path):
        for name in ("a1.png", "a2.png", "b.png"):
            Image.new("RGB", (400, 400), "#456").save(tmp_path / name)
        (tmp_path / "clip.mp4").write_bytes(b"\0\0\0\x18ftypisom" + b"\0" * 64)
        return tmp_path

    CAST = "references: {ann: {images: [a1.png, a2.png]}, bob: b.png, run: clip.mp4}\n"

    def test_are_named_by_first_appearance(self, cast):
        text = self.CAST + "scenes: [{id: a, seconds: 5, prompt: '@bob meets @ann, @bob waves'}]\n"
        result = planned(cast, text, provider="dashscope", model="wan2.7")
        assert result.prompts == ["Image 1 meets Image 2 and Image 3, Image 1 waves"]
        assert [reference.name for reference in result.job.references] == ["bob", "ann"]

    def test_people_read_their_own_names(self, cast):
        text = self.CAST + "scenes: [{id: a, shots: [{seconds: 5, action: '@bob meets @ann'}]}]\n"
        result = planned(cast, text, provider="dashscope", model="wan2.7")
        assert result.prompts == ["Image 1 meets Image 2 and Image 3."]
        assert result.job.shots[0].action == "bob meets ann"
        assert result.job.shots[0].references == ("bob", "ann")

    def test_listed_ones_come_first_and_bind_too(self, cast):
        text = self.CAST + "scenes: [{id: a, seconds: 5, references: [ann], prompt: '@bob turns'}]\n"
        result = planned(cast, text, provider="dashscope", model="wan2.7")
        assert result.prompts == ["Image 3 turns"]
        assert [reference.name for reference in result.job.references] == ["ann", "bob"]

    def test_older_models_call_them_characters_and_count_films_along(self, cast):
        text = self.CAST + "scenes: [{id: a, seconds: 5, prompt: '@run then @bob'}]\n"
        assert planned(cast, text, provider="dashscope", model="wan2.6").prompts == ["character1 then character2"]
        assert planned(cast, text, provider="dashscope", model="wan2.7").prompts == ["Video 1 then Image 1"]

    def test_reference_seconds_that_cannot_be_known_are_priced_at_the_cap(self, cast):
        text = self.CAST + "scenes: [{id: a, seconds: 5, prompt: '@run goes on'}]\n"
        quote = planned(cast, text, provider="dashscope", model="wan2.7").job.quote
        assert quote is not None
        assert not quote.exact
        assert quote.amount > 5 * Fraction(1, 10)

    @pytest.mark.parametrize(
        ("written", "sent"),
        [
            ("mail me@home.org", "mail me@home.org"),
            ("a @@bob here", "a @bob here"),
            ("@ noon", "@ noon"),
            ("a@@b", "a@b"),
        ],
    )
    def test_other_at_signs_are_text(self, cast, written, sent):
        assert planned(cast, self.CAST + f"scenes: [{{id: a, prompt: '{written}'}}]\n").prompts == [sent]

    def test_an_at_sign_in_a_table_is_data(self, cast):
        (cast / "t.csv").write_text("id,handle\n1,@bob\n")
        text = (
            self.CAST + "matrix: {who: {table: t.csv, id: id}}\nscenes: [{id: a, prompt: 'follow {{ who.handle }}'}]\n"
        )
        result = planned(cast, text)
        assert result.prompts == ["follow @bob"]
        assert result.job.mode == "text"

    def test_a_template_may_put_in_the_name(self, cast):
        text = self.CAST + "matrix: {hero: [bob, ann]}\nscenes: [{id: a, prompt: '@{{ hero }} waits'}]\n"
        result = planned(cast, text)
        assert [[r.name for r in job.references] for job in result.jobs] == [["bob"], ["ann"]]
        assert {job.mode for job in result.jobs} == {"reference"}

    def test_an_unknown_name_is_an_error_at_its_place(self, cast):
        text = self.CAST + "scenes:\n- id: a\n  prompt: >\n    here comes\n    @bbo again\n"
        assert problems_of(cast, text) == ["7:5 SR205 there is no reference `bbo`"]


class TestShotByShot:
    """A model that makes one shot at a time gets one job a shot."""

    TEXT = """\
        provider: tokenhub
        model: wan2.2-t2v-plus
        scenes:
          - id: walk
            premise: Rain
            resolution: 480p
            shots:
              - {seconds: 5, framing: wide, action: he walks}
              - {seconds: 5, action: he stops}
    """

    def test_one_job_a_shot(self, tmp_path):
        result = planned(tmp_path, self.TEXT)
        assert result.ids == ["walk.s1", "walk.s2"]
        assert result.prompts == ["Rain. wide: he walks.", "Rain. he stops."]
        assert [job.length for job in result.jobs] == [5, 5]
        assert [job.stem for job in result.jobs] == ["walk-s1", "walk-s2"]

    def test_each_shot_must_be_sellable(self, tmp_path):
        found = problems_of(tmp_path, self.TEXT.replace("seconds: 5, action", "seconds: 3, action"))
        assert len(found) == 1
        assert "SR320" in found[0]

    def test_several_shots_are_sent_as_multi_where_there_is_a_field_for_it(self, tmp_path):
        text = self.TEXT.replace("wan2.2-t2v-plus", "wan2.6-t2v").replace("480p", "720p")
        assert planned(tmp_path, text).job.shot_type == "multi"
        text = text.replace("wan2.6-t2v", "wan2.7-t2v")
        assert planned(tmp_path, text).job.shot_type is None


def test_file_names_are_cut_at_120_bytes_and_end_in_a_hash(tmp_path):
    long = "ü" * 200
    text = f"matrix: {{name: [{long}]}}\nscenes: [{{id: a, prompt: '{{{{ name }}}}'}}]\n"
    stem = planned(tmp_path, text).job.stem
    assert len(f"{stem}_v001.mp4".encode()) <= 120
    assert stem.startswith("a_üü")
    assert stem[-9] == "-"
    assert int(stem[-8:], 16) >= 0


def test_a_plan_for_a_loopback_host_is_never_taken_for_the_real_one(tmp_path):
    path = write_plan(tmp_path, "provider: tokenhub\nmodel: wan2.7-t2v\nscenes: [{id: a, prompt: x}]\n")
    real = plan_file(path).job
    rehearsed = plan_file(path, label="tokenhub@127.0.0.1-8080").job
    assert rehearsed.provider == "tokenhub@127.0.0.1-8080"
    assert rehearsed.fingerprint != real.fingerprint
    assert rehearsed.quote == real.quote


class TestDefaultSound:
    """A default that a mode cannot take is left out; a scene's own is an error."""

    SCENES = "scenes:\n- {id: a, seconds: 5, prompt: x}\n- {id: b, seconds: 5, prompt: x, first_frame: f.png}\n"

    @pytest.fixture
    def frame(self, tmp_path):
        Image.new("RGB", (640, 480), "#123").save(tmp_path / "f.png")
        return tmp_path

    def test_a_default_that_the_model_cannot_take_is_left_out(self, frame):
        text = "provider: toapis\nmodel: wan2.6\ndefaults: {audio: none}\n" + self.SCENES
        result = planned(frame, text)
        assert [job.audio for job in result.jobs] == [None, None]
        assert result.plan.notes == (
            "default audio left out of a: text-to-video of wan2.6 takes none",
            "default audio left out of b: image-to-video of wan2.6 takes none",
        )

    def test_a_scenes_own_is_an_error(self, frame):
        text = "provider: toapis\nmodel: wan2.6\nscenes:\n- {id: a, seconds: 5, prompt: x, audio: none}\n"
        (found,) = problems_of(frame, text)
        assert "SR310 text-to-video of wan2.6 takes no audio" in found
