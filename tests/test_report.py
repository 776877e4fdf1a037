"""The page and the contact sheet of a run, without a browser: what is in them, and what must never be."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from storyrun.cli import main
from storyrun.exports import posters, report, sheet
from tests import pages

if TYPE_CHECKING:
    from collections.abc import Iterator

STYLE, SCRIPT = ((report.HERE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))


class Parts(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text outside of script and style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.blocks: dict[str, list[str]] = {"script": [], "style": []}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), f"an attribute twice in {tag}"
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.blocks else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.blocks[self._inside].append(data)
        else:
            self.text += data

    def addresses(self) -> Iterator[str]:
        for _, attributes in self.tags:
            yield from (
                attributes[name] or "" for name in ("href", "src", "data-src", "data-poster") if name in attributes
            )


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    return pages.drawn(tmp_path_factory.mktemp("project"))


# ── safety ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("view", [pages.mixed(), pages.hostile()], ids=["mixed", "hostile"])
def test_the_policy_admits_the_two_blocks_of_the_page_and_nothing_else(view):
    parts = Parts(pages.page(view))
    (policy,) = (tag["content"] for name, tag in parts.tags if tag.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind in ("script", "style"):
        (block,) = parts.blocks[kind]
        digest = base64.b64encode(hashlib.sha256(block.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("view", [pages.mixed(), pages.hostile()], ids=["mixed", "hostile"])
def test_no_tag_has_a_handler_a_style_or_an_address_outside_the_folder(view):
    parts = Parts(pages.page(view))
    ours = {name for name, _ in parts.tags}
    assert ours <= set(
        "html head meta title link style body a header p span h1 ul li b i div svg rect main section h2 code form "
        "label input select option button kbd h3 article img h4 details summary table thead tbody tr td th dl dt dd ol "
        "q pre line text g footer dialog script".split()
    ), "a tag that no template of ours writes"
    for name, attributes in parts.tags:
        assert not [key for key in attributes if key.startswith("on") or key in ("style", "srcset", "action")], name
    for address in parts.addresses():
        assert re.match(r"(#|clips/|posters/|manifest\.json$|contact-sheet\.jpg$|data:,$|$)", address), address
        assert "?" not in address


def test_hostile_texts_are_text_and_all_there():
    view = pages.hostile()
    parts = Parts(pages.page(view))
    for text in pages.HOSTILE:
        shown = re.sub("[\u202a-\u202e\ud800-\udfff]", lambda code: f"\\u{ord(code[0]):04x}", text)
        assert re.sub("[\x00-\x1f]", lambda code: chr(0x2400 + ord(code[0])), shown) in parts.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\ud800-\udfff]", pages.page(view))


def test_nothing_on_a_page_or_in_its_parts_leads_to_the_network():
    for text in (pages.page(pages.mixed()), STYLE, SCRIPT):
        assert not re.search(r"https?:|//[a-z]|url\(|@import|fetch\(|XMLHttpRequest|import\(", text.replace("// ", ""))


# ── what it says ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_each_clip_says_how_it_stands_and_what_can_be_typed_about_it():
    text = Parts(pages.page(pages.mixed())).text
    for line in (
        "storyrun settle spot.yaml 'scene-003[format=wide]' --not-created",
        "storyrun settle spot.yaml 'scene-002[format=tall]' --abandon",
        "storyrun settle spot.yaml 'scene-001[format=wide]' --keep",
        "storyrun fetch spot.yaml",
        "DataInspectionFailed: inappropriate content",
        "it is 1.5 s of 2",
        "no cut found at 1 s",
        "black 0–0.4 s, silent 0–1.5 s",
        "billed 0.60 of 0.50 USD quoted",
        "billed 0.60 USD, quoted 0.50 USD",
        "5.50 USD",
        "No longer in the plan",
        "3 takes",
        "★ picked",
    ):
        assert line in text, line


def test_takes_that_share_their_words_say_them_once():
    view = pages.manifest([pages.clip(0, take=take, id=f"a{f'#{take}' * (take > 1)}") for take in (1, 2, 3)])
    view["clips"] = [each | {"prompt": "said just once", "request": {"p": "said just once"}} for each in view["clips"]]
    parts = Parts(pages.page(view, {view["clips"][0]["file"]: "posters/a.jpg"}))
    assert parts.text.count("said just once") == 1
    assert [tag["alt"] for name, tag in parts.tags if name == "img"] == ["said just once"] * 3
    other = view["clips"][2] | {"prompt": "other words"}
    assert "Prompt of take 3" in Parts(pages.page(view | {"clips": [*view["clips"][:2], other]})).text


def test_what_differs_from_the_order_is_marked_in_words():
    page = pages.page(pages.mixed())
    rows = re.findall(r'<tr class="differs"><th scope="row">([^<]+)', page)
    assert rows == ["Length", "Frame rate", "Sound"]
    assert page.count("≠ differs") == 3


def test_headings_come_in_order_and_every_id_is_there_once():
    for view in (pages.mixed(), pages.hostile(), pages.manifest([])):
        parts = Parts(pages.page(view))
        levels = [int(name[1]) for name, _ in parts.tags if re.fullmatch("h[1-6]", name)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(deeper - level <= 1 for level, deeper in pairwise(levels))
        ids = [tag["id"] for _, tag in parts.tags if "id" in tag]
        assert len(ids) == len(set(ids))


def test_the_timeline_has_a_row_for_each_clip_and_folds_hundreds_of_them():
    few = pages.page(pages.manifest([pages.clip(n) for n in range(12)]))
    many = pages.page(pages.manifest([pages.clip(n) for n in range(170)]))
    assert few.count('class="label"') == 12
    assert many.count('class="label"') == 0
    assert many.count('class="render"') == 171  # and the legend
    tall = [int(re.findall(r'<svg class="chart".* height="(\d+)"', page)[0]) for page in (few, many)]
    assert tall[1] < tall[0]


def test_an_older_run_is_not_part_of_the_timeline():
    yesterday = dict.fromkeys(("submitted_at", "accepted_at", "ready_at", "finished_at"), "2026-11-19T10:00:00Z")
    text = Parts(pages.page(pages.manifest([pages.clip(0, **yesterday), pages.clip(1), pages.clip(2)]))).text
    assert "2 clips from 20 Nov 2026, 20:01 to 20:02" in text


def test_a_page_that_shows_some_clips_says_of_how_many():
    view = pages.manifest([pages.clip(n) for n in range(4)])
    text = report.page(view, {}, standing=pages.standing(view), shown=frozenset({view["clips"][0]["id"]}))
    assert "1 of 4 clip" in text
    assert text.count("<article") == 1


# ── size ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_five_hundred_clips_stay_below_two_megabytes_with_lazy_pictures():
    view = pages.manifest([pages.clip(n) for n in range(500)])
    page = pages.page(view, {each["file"]: f"posters/{n}.jpg" for n, each in enumerate(view["clips"])})
    assert len(page.encode()) < 1_500_000
    assert page.count('loading="lazy"') == page.count("<img ") == 500
    assert "<video" not in page


def test_long_requests_are_left_to_the_manifest_before_the_page_outgrows_its_limit():
    body = {"note": "words that stand nowhere else " * 130}
    view = pages.manifest([pages.clip(n, request=body) for n in range(500)])
    assert len(pages.page(view).encode()) < report.MOST_BYTES
    assert "words that stand" in pages.page(pages.manifest([pages.clip(0, request=body)]))


# ── posters ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_poster_is_the_middle_frame_and_is_made_once(run_folder):
    import av
    from PIL import Image, ImageChops, ImageStat

    name = "clips/pour_v001.mp4"
    made = posters.make(run_folder, [name])
    assert made == {name: "posters/pour_v001.jpg"}
    with Image.open(run_folder / made[name]) as poster:
        assert poster.width == posters.WIDTH
        with av.open(str(run_folder / name)) as container:
            frames = [frame.to_image().resize(poster.size) for frame in container.decode(video=0)]
        off = [sum(ImageStat.Stat(ImageChops.difference(frame, poster.convert("RGB"))).mean) for frame in frames]
    assert off.index(min(off)) in range(len(frames) // 2 - 1, len(frames) // 2 + 2)
    before = (run_folder / made[name]).stat().st_mtime_ns
    assert posters.make(run_folder, [name]) == made
    assert (run_folder / made[name]).stat().st_mtime_ns == before


def test_what_is_no_video_has_no_poster_and_an_emptied_one_is_made_again(tmp_path, run_folder):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips/broken_v001.mp4").write_bytes(b"not a video at all")
    os.link(run_folder / "clips/pour_v001.mp4", tmp_path / "clips/pour_v001.mp4")
    names = ["clips/broken_v001.mp4", "clips/pour_v001.mp4", "clips/gone_v001.mp4"]
    assert list(posters.make(tmp_path, names)) == ["clips/pour_v001.mp4"]
    poster = tmp_path / "posters/pour_v001.jpg"
    poster.write_bytes(b"")
    posters.make(tmp_path, names)
    assert poster.stat().st_size > 1000
    assert [path.name for path in (tmp_path / "posters").iterdir()] == ["pour_v001.jpg"]


# ── the contact sheet ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("count", [1, 3, 12, 90, 500, 3000])
def test_a_sheet_is_never_higher_than_its_limit(count):
    clips = [pages.clip(n) for n in range(count)]
    view = pages.manifest(clips)
    columns, tile, high, caption = sheet._layout(count, upright=False)
    assert columns * (-(-count // columns)) >= count
    if count <= 90:
        image = sheet.draw(view, clips, {}, pages.standing(view))
        assert image.height <= sheet.HIGHEST
        assert image.width >= columns * tile
    assert 150 + -(-count // columns) * (high + caption + sheet.GAP) <= sheet.HIGHEST


def test_the_sheet_shows_the_pick_else_the_first_take_that_is_done():
    takes = [pages.clip(0, "failed", id="a"), pages.clip(0, id="a#2", take=2), pages.clip(0, id="a#3", take=3)]
    assert [clip["id"] for clip in sheet.chosen(takes)] == ["a#2"]
    takes[2] = takes[2] | {"picked": True}
    assert [clip["id"] for clip in sheet.chosen(takes)] == ["a#3"]
    assert [clip["id"] for clip in sheet.chosen(takes[:1])] == ["a"]


@pytest.mark.parametrize("view", [pages.mixed(), pages.hostile()], ids=["mixed", "hostile"])
def test_a_sheet_is_a_jpeg_with_the_pictures_in_it(view, tmp_path, run_folder):
    from PIL import Image

    pages.lay(view, tmp_path, run_folder / "clips/pour_v001.mp4")
    made = sheet.write(view, tmp_path, standing=pages.standing(view))
    assert made is not None
    with Image.open(made) as image:
        assert image.format == "JPEG"
        assert image.width <= sheet.WIDTH
        x, y = sheet.MARGIN + 200, 150 + 100
        assert (
            max(image.convert("L").crop((x, y, x + 9, y + 9)).tobytes()) < 200
        )  # the animatic is dark, paper and cards are light


def test_without_clips_there_is_no_sheet(tmp_path):
    (tmp_path / sheet.NAME).write_bytes(b"of an earlier run")
    view = pages.manifest([])
    assert sheet.write(view, tmp_path, standing=pages.standing(view)) is None
    assert not (tmp_path / sheet.NAME).exists()


# ── the command ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_leaves_the_page_and_the_sheet(run_folder):
    assert {"report.html", "contact-sheet.jpg", "posters", "clips", "manifest.json"} <= {
        path.name for path in run_folder.iterdir()
    }
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    for address in Parts(page).addresses():
        if address.startswith(("clips/", "posters/")):
            assert (run_folder / address.partition("#")[0]).is_file()


def test_the_page_shows_the_film_that_a_preview_put_together(run_folder):
    (film,) = (run_folder / "films").glob("*.mp4")
    page = (run_folder / "report.html").read_text(encoding="utf-8")
    assert f'href="films/{film.name}"' in page
    assert (run_folder / f"posters/film-{film.stem}.jpg").is_file()
    last = json.loads((run_folder / "manifest.json").read_bytes())
    assert last["started_at"][11:16] in page


def test_the_end_of_a_run_says_where_the_page_is(run_folder, capsys):
    assert main(["preview", str(run_folder.parents[2] / "plan.yaml")]) == 0
    assert f"page  {run_folder}/report.html" in capsys.readouterr().out.splitlines()


def test_report_makes_the_page_anew_from_the_ledger_and_changes_nothing_else(run_folder, capsys):
    page = run_folder / "report.html"
    before = page.read_bytes()
    page.unlink()
    ledger = (run_folder.parents[1] / "ledger.sqlite").read_bytes()
    manifest = (run_folder / "manifest.json").read_bytes()
    plan = run_folder.parents[2] / "plan.yaml"
    assert main(["report", str(plan)]) == 0
    assert Path(capsys.readouterr().out.strip()) == page
    assert page.read_bytes() == before
    assert (run_folder.parents[1] / "ledger.sqlite").read_bytes() == ledger
    assert (run_folder / "manifest.json").read_bytes() == manifest


def test_report_tells_a_program_where_its_files_are_and_opens_the_page(run_folder, capsys, monkeypatch):
    opened: list[Any] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["report", str(run_folder.parents[2] / "plan.yaml"), "--json", "--open"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["provider"] == "animatic"
    assert opened == [Path(told["report"]).resolve().as_uri()]
    assert Path(told["contact_sheet"]).is_file()


def test_with_the_plan_gone_its_clips_are_still_shown(tmp_path, capsys):
    run_folder = pages.drawn(tmp_path)
    (tmp_path / "plan.yaml").unlink()
    capsys.readouterr()
    for place in (tmp_path / "plan.yaml", tmp_path / "outputs", tmp_path):
        assert main(["report", str(place)]) == 0
        assert Path(capsys.readouterr().out.strip()) == run_folder / "report.html"
        text = (run_folder / "report.html").read_text(encoding="utf-8")
        assert text.partition("No longer in the plan")[2].count("<article") == 3


def test_of_nothing_there_is_no_page(tmp_path, capsys):
    assert main(["report", str(tmp_path / "none.yaml")]) == 2
    assert "there is no ledger" in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_a_warning_and_no_more(tmp_path, capsys):
    folder = tmp_path / "outputs/plan/animatic"
    (folder / "report.html").mkdir(parents=True)  # a folder cannot be replaced by a file
    (folder / "report.html/kept").touch()
    run_folder = pages.drawn(tmp_path)  # exit code 0
    assert len(list(run_folder.glob("clips/*.mp4"))) == 3
    assert "warning: report.html could not be made" in capsys.readouterr().err


def test_even_a_bug_in_the_page_costs_no_result(tmp_path, capsys, monkeypatch):
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(report, "write", broken)
    pages.drawn(tmp_path)
    assert "warning: report.html could not be made: KeyError: 'a bug'" in capsys.readouterr().err


def test_the_page_says_of_a_film_what_is_not_in_it_as_ordered(tmp_path):
    films = tmp_path / "films"
    films.mkdir()
    for stem in ("tall", "wide", "other"):
        (films / f"{stem}.mp4").write_bytes(b"")
    noted = {
        "wide": {"unsigned": ["c1", "c2"], "missing": [], "notes": []},
        "tall": {"unsigned": [], "missing": ["<b>c3</b>"], "notes": ["c1 is 1 s of 2: its last frame is held"]},
        "gone": {"unsigned": [], "missing": [], "notes": []},
    }
    (films / ".made.json").write_text(json.dumps(noted), encoding="utf-8")
    found = report.films_in(tmp_path)
    assert list(found) == ["films/wide.mp4", "films/tall.mp4", "films/other.mp4"], "in the order of the plan"
    view = pages.manifest([pages.clip(0)])
    text = report.page(view, {}, standing=pages.standing(view), films=found)
    assert "content credentials of 2 clips are not in it; the clips keep theirs" in text
    assert "missing: &lt;b&gt;c3&lt;/b&gt;" in text
    assert "c1 is 1 s of 2: its last frame is held" in text
    (films / ".made.json").write_text("[1]", encoding="utf-8")
    assert list(report.films_in(tmp_path).values()) == [(), (), ()]
