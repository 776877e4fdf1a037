"""What a plan costs and what is already there, against real plans and a real ledger."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import jobs, quote
from storyrun.ledger import Ledger, OverBudget
from storyrun.records import Money, State
from tests.plays import SPOT, Shop, Ticking, planned, priced

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.quote import Quote
    from storyrun.records import Plan


def made(
    plan: Plan, ledger: Ledger | None, stem: str = "spot", only: frozenset[str] | None = None, **more: Any
) -> Quote:
    """A quote under no ceiling unless one is given."""
    return quote.make(plan, ledger, stem, plan.provider, only, **({"budget": None, "run_ceiling": None} | more))


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


# ── where each clip stands ───────────────────────────────────────────────────────────────────────────────────────────

STANDING = {
    State.SENDING: "needs you",
    State.UNKNOWN: "needs you",
    State.EXPIRED: "needs you",
    State.ACCEPTED: "open",
    State.READY: "open",
    State.DONE: "reused",
    State.ABANDONED: "abandoned",
    State.FAILED: "failed before",
    State.NOT_SENT: "failed before",
    State.REJECTED: "refused before",  # by moderation
    State.SUPERSEDED: "new",
}


def test_the_table_above_has_every_state() -> None:
    assert STANDING.keys() == set(State)


@pytest.mark.parametrize("state", list(State))
def test_each_state_of_an_attempt_has_its_word_and_only_some_are_ordered(tmp_path: Path, state: State) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    attempt = shop.bring(plan.jobs[0], state)
    first, second = made(plan, shop.ledger).clips[:2]
    assert first.status == STANDING[state]
    assert first.attempt == attempt
    assert first.ordered is (STANDING[state] in ("failed before", "new"))
    assert (second.status, second.ordered, second.attempt) == ("new", True, None)


def test_a_refused_clip_is_ordered_again_only_on_request(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.REJECTED)
    assert not made(plan, shop.ledger).clips[0].ordered
    assert made(plan, shop.ledger, retry_refused=True).clips[0].status == "failed before"


def test_a_copied_plan_and_a_renamed_scene_find_what_is_there(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE)
    shop.bring(plan.jobs[1], State.ACCEPTED)
    copied = planned(SPOT.replace("id: hook", "id: opening"), tmp_path, "copy.yaml")
    statuses = [clip.status for clip in made(copied, shop.ledger, "copy").clips]
    assert statuses == ["reused", "open", "new", "new", "new", "new"]


def test_a_reverted_edit_finds_its_old_clip_and_is_not_told_as_changed(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    edited = planned(SPOT.replace("Cold brew drips", "Cold brew falls"), tmp_path)
    shop.bring(plan.jobs[0], State.DONE)
    shop.bring(edited.jobs[0], State.DONE)
    assert made(plan, shop.ledger).clips[0].status == "reused"
    third = planned(SPOT.replace("Cold brew drips", "Cold brew runs"), tmp_path)
    clip = made(third, shop.ledger).clips[0]
    assert [change.was for change in clip.changes] == ["Cold brew falls into a glass"], "compared with the newest row"


def test_a_refused_text_that_comes_back_was_refused_before(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.REJECTED)
    shop.bring(planned(SPOT.replace("Cold brew drips", "Cold brew falls"), tmp_path).jobs[0], State.DONE)
    clip = made(planned(SPOT, tmp_path), shop.ledger).clips[0]
    assert (clip.status, clip.changes) == ("refused before", ())


# ── sums ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(8))
def test_every_clip_appears_once_and_all_sums_add_up(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job in plan.jobs:
        if chance.random() < 0.7:
            shop.bring(job, chance.choice(list(State)))
    if chance.random() < 0.5:
        plan = planned(SPOT.replace("coffee pours", "coffee falls"), tmp_path)
    only = frozenset(job.id for job in plan.jobs if chance.random() < 0.6) if chance.random() < 0.5 else None
    made_quote = made(plan, shop.ledger, only=only)
    assert [clip.job for clip in made_quote.clips] == list(plan.jobs)
    in_rows = [clip for row in made_quote.rows for clip in row.clips]
    chosen = [clip for clip in made_quote.clips if clip.chosen]
    assert {clip.job.id for clip in chosen} == ({job.id for job in plan.jobs} if only is None else only)
    assert sorted(clip.job.id for clip in in_rows) == sorted(clip.job.id for clip in chosen)
    now = sum((clip.price.amount for clip in made_quote.orders if clip.price), Decimal(0))
    assert sum((row.price.amount for row in made_quote.rows if row.price), Decimal(0)) == now
    assert sum((model.price.amount for model in made_quote.models if model.price), Decimal(0)) == now
    assert sum(model.clips for model in made_quote.models) == len(made_quote.orders)
    spent = sum((each.amount for each in shop.ledger.spent("spot", "dashscope")), Decimal(0))
    assert sum((each.amount for each in made_quote.total), Decimal(0)) == now + spent


def test_rows_part_where_clips_of_a_scene_stand_differently(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[1], State.DONE)
    rows = made(plan, shop.ledger).rows
    assert [(row.scene, row.status, len(row.clips)) for row in rows] == [
        ("hook", "new", 1),
        ("hook", "reused", 1),
        ("pour", "new", 2),
        ("sip", "new", 2),
    ]
    assert [row.price for row in rows] == [usd("0.40"), usd("0"), usd("1.00"), usd("1.00")]


def test_amounts_of_two_currencies_are_never_added() -> None:
    sums = quote.add([usd("1"), Money(Decimal(3), "CNY"), usd("2"), Money(Decimal(0), "")])
    assert sums == (Money(Decimal(3), "CNY"), usd("3"))


def test_one_upper_bound_makes_the_sum_one() -> None:
    assert quote.add([usd("1"), replace(usd("2"), exact=False)]) == (Money(Decimal(3), "USD", exact=False),)


# ── prices and ceilings ──────────────────────────────────────────────────────────────────────────────────────────────


def test_a_price_names_its_date_and_source_and_the_plans_own_beats_the_cards(tmp_path: Path) -> None:
    clip = made(planned(SPOT, tmp_path), None).clips[0]
    assert clip.rate is not None
    assert clip.price == usd("0.40")
    assert clip.rate.per_second == Decimal("0.10")
    assert clip.rate.as_of
    assert clip.rate.source.startswith("https://")
    own = "prices: {dashscope/wan2.7-t2v: {currency: USD, 720p: 0.07}}\n    version: 1"
    clip = made(planned(SPOT.replace("version: 1", own), tmp_path), None).clips[0]
    assert clip.rate is not None
    assert (clip.price, clip.rate.per_second) == (usd("0.28"), Decimal("0.07"))


def test_an_unknown_price_is_counted_and_is_not_zero(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path)
    plan = replace(plan, jobs=(priced(plan.jobs[0], None), *plan.jobs[1:]))
    made_quote = made(plan, None)
    assert made_quote.unpriced == 1
    assert made_quote.now == (usd("2.40"),)
    assert made_quote.rows[0].price is None
    assert made(plan, None, budget=usd("100")).refused == (made(plan, None, budget=usd("100")).clips[0],)
    assert "prices:" in made(plan, None, budget=usd("100")).refused[0].refused


def test_on_the_animatic_nothing_costs_leaves_or_needs_a_key(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path, provider="animatic")
    made_quote = made(plan, None, budget=usd("0.01"), key="DASHSCOPE_API_KEY")
    assert made_quote.free
    assert (made_quote.now, made_quote.refused, made_quote.uploads, made_quote.key) == ((), (), (), "")
    assert len(made_quote.orders) == 6


@pytest.mark.parametrize(
    ("budget", "ceiling"),
    [("0.85", None), ("1.30", None), (None, "0.60"), ("2.00", "0.90"), ("0", None), ("99", "99")],
)
def test_a_quote_refuses_exactly_what_the_ledger_refuses(
    tmp_path: Path, budget: str | None, ceiling: str | None
) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[1], State.UNKNOWN)
    limits: dict[str, Any] = {"budget": budget and usd(budget), "run_ceiling": ceiling and usd(ceiling)}
    foreseen = {clip.job.id for clip in made(plan, shop.ledger, **limits).refused}
    run = shop.ledger.begin_run("spot", "dashscope", "spot.yaml", 2, "here")
    refused = set()
    for clip in made(plan, shop.ledger).orders:
        try:
            shop.ledger.order(
                run=run,
                plan="spot",
                plan_path="",
                provider="dashscope",
                job=jobs.as_dict(clip.job),
                request={},
                account="",
                reserved=clip.price,
                free_when_failed=False,
                **limits,
            )
        except OverBudget:
            refused.add(clip.job.id)
    assert foreseen == refused


def test_only_limits_what_is_ordered_and_summed(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path)
    made_quote = made(plan, None, only=frozenset({"sip[format=tall]"}))
    assert [clip.job.id for clip in made_quote.orders] == ["sip[format=tall]"]
    assert made_quote.now == (usd("0.50"),)
    assert [row.scene for row in made_quote.rows] == ["sip"]


def test_only_files_of_clips_that_are_ordered_leave_this_machine(tmp_path: Path) -> None:
    plan, shop = planned(REFERENCED, project(tmp_path)), Shop(tmp_path)
    assert [source.text for source in made(plan, None).uploads] == ["refs/mira.png", "refs/desk.png"]
    shop.bring(plan.jobs[0], State.DONE)
    assert [source.text for source in made(plan, shop.ledger).uploads] == ["refs/desk.png"]


def test_a_quote_reads_a_ledger_at_work_and_writes_nothing(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE)

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    shop.ledger.close()
    before = files()
    ledger = Ledger.peek(shop.outputs.ledger_path, Ticking())
    assert ledger is not None
    with ledger:
        assert made(plan, ledger).clips[0].status == "reused"
    assert files() == before


# ── what changed ─────────────────────────────────────────────────────────────────────────────────────────────────────

REFERENCED = """
    version: 1
    provider: dashscope
    model: wan2.7
    references:
      mira: refs/mira.png
      lamp: https://example.com/lamp.png
    vars:
      weather: rainy
    scenes:
      - id: talk
        premise: Two people meet.
        look: soft light
        negative_prompt: blurry
        resolution: 720p
        aspect_ratio: "16:9"
        seed: 7
        prompt_extend: true
        watermark: false
        references: [mira]
        shots:
          - seconds: 2
            framing: wide shot
            camera: slow push in
            action: a {{ weather }} street, @mira walks
            sound: rain
          - seconds: 3
            action: she stops
            dialogue:
              - mira: Hello?
      - id: desk
        seconds: 5
        prompt: Dust moves in the lamplight
        template: frame.jinja
        first_frame: refs/desk.png
    """


def project(folder: Path) -> Path:
    """The files that `REFERENCED` names."""
    from PIL import Image

    (folder / "refs").mkdir(exist_ok=True)
    for name, colour in (("mira", "red"), ("desk", "blue"), ("other", "green")):
        Image.new("RGB", (640, 360), colour).save(folder / "refs" / f"{name}.png")
    (folder / "frame.jinja").write_text("{{ prompt }}{% if look %} {{ look }}{% endif %}", encoding="utf-8")
    return folder


EDITS = [
    # clip, what is replaced, by what, the fields told, a word of the line they point at
    (0, "she stops", "she runs", ["shots[1].action"], "she runs"),
    (0, "Hello?", "Hi?", ["shots[1].dialogue"], "dialogue:"),
    (0, "wide shot", "close-up", ["shots[0].framing"], "framing:"),
    (0, "slow push in", "static", ["shots[0].camera"], "camera:"),
    (0, "sound: rain", "sound: wind", ["shots[0].sound"], "sound:"),
    (0, "weather: rainy", "weather: dry", ["shots[0].action"], "{{ weather }}"),
    (0, "seconds: 3", "seconds: 4", ["shots[1].seconds"], "seconds: 4"),
    (0, "camera: slow push in", "notes: none", ["shots[0].camera"], "seconds: 2"),
    (0, "Two people meet.", "Three people meet.", ["premise"], "premise:"),
    (0, "look: soft light", "look: hard light", ["look"], "look:"),
    (0, "look: soft light", "notes: no look", ["look"], "id: talk"),
    (0, "blurry", "ugly", ["negative_prompt"], "negative_prompt:"),
    (0, "720p", "1080p", ["resolution"], "resolution:"),
    (0, '"16:9"', '"9:16"', ["aspect_ratio"], "aspect_ratio:"),
    (0, "seed: 7", "seed: 8", ["seed"], "seed:"),
    (0, "prompt_extend: true", "prompt_extend: false", ["prompt_extend"], "prompt_extend:"),
    (0, "watermark: false", "watermark: true", ["watermark"], "watermark:"),
    (0, "mira: refs/mira.png", "mira: refs/other.png", ["references.mira"], "mira"),
    (0, "references: [mira]", "references: [mira, lamp]", ["references.lamp"], "lamp: https"),
    (0, "references: [mira]", "references: [lamp, mira]", ["references.lamp"], "lamp: https"),
    (0, "@mira walks", "@mira and @lamp walk", ["shots[0].action", "references.lamp"], "@lamp walk"),
    (0, "- seconds: 3", "- {seconds: 1, action: she goes}\n          - seconds: 3", ["shots[1]"], "she goes"),
    (1, "Dust moves", "Dust falls", ["prompt"], "prompt:"),
    (1, "seconds: 5", "seconds: 6", ["seconds"], "seconds: 6"),
    (1, "refs/desk.png", "refs/other.png", ["first_frame"], "first_frame:"),
]


@pytest.mark.parametrize(("clip", "old", "new", "fields", "line"), EDITS, ids=[f"{e[1]}->{e[2]}" for e in EDITS])
def test_a_quote_names_the_field_that_changed_and_its_line(
    tmp_path: Path, clip: int, old: str, new: str, fields: list[str], line: str
) -> None:
    before = planned(REFERENCED, project(tmp_path))
    shop = Shop(tmp_path)
    for job in before.jobs:
        shop.bring(job, State.DONE)
    after = planned(REFERENCED.replace(old, new, 1), tmp_path)
    clips = made(after, shop.ledger).clips
    assert [each.status for each in clips] == ["changed" if n == clip else "reused" for n in range(2)]
    changes = clips[clip].changes
    assert [change.field for change in changes] == fields
    assert all(change.was != change.now for change in changes)
    mark = changes[0].mark
    assert mark is not None
    lines = (tmp_path / "spot.yaml").read_text(encoding="utf-8").splitlines()
    assert line in lines[mark.line - 1]


def changed(before: Plan, after: Plan, shop: Shop, number: int = 0) -> list[tuple[str, str, str]]:
    """Order a clip as it was, and what the quote says of it as it is."""
    shop.bring(before.jobs[number], State.DONE)
    return [(each.field, each.was, each.now) for each in made(after, shop.ledger).clips[number].changes]


def test_another_picture_under_the_same_name_is_a_changed_reference(tmp_path: Path) -> None:
    before = planned(REFERENCED, project(tmp_path))
    (tmp_path / "refs/mira.png").write_bytes((tmp_path / "refs/other.png").read_bytes())
    ((field, was, now),) = changed(before, planned(REFERENCED, tmp_path), Shop(tmp_path))
    assert field == "references.mira"
    assert was.startswith("refs/mira.png (")
    assert now.startswith("refs/mira.png (")
    assert was != now


def test_a_file_that_only_moved_is_reused(tmp_path: Path) -> None:
    before = planned(REFERENCED, project(tmp_path))
    (tmp_path / "refs/mira.png").rename(tmp_path / "refs/moved.png")
    after = planned(REFERENCED.replace("refs/mira.png", "refs/moved.png"), tmp_path)
    shop = Shop(tmp_path)
    shop.bring(before.jobs[0], State.DONE)
    assert made(after, shop.ledger).clips[0].status == "reused"


def test_a_changed_template_file_is_told_as_the_template(tmp_path: Path) -> None:
    before = planned(REFERENCED, project(tmp_path))
    (tmp_path / "frame.jinja").write_text("{{ prompt }}, slowly", encoding="utf-8")
    told = changed(before, planned(REFERENCED, tmp_path), Shop(tmp_path), 1)
    assert told == [("template", "Dust moves in the lamplight", "Dust moves in the lamplight, slowly")]


def test_another_model_is_told_alone_though_it_names_references_its_own_way(tmp_path: Path) -> None:
    text = REFERENCED.replace("prompt_extend: true", "notes: x")
    before = planned(text, project(tmp_path))
    after = planned(text.replace("model: wan2.7", "model: wan2.6"), tmp_path)
    assert before.jobs[0].prompt != after.jobs[0].prompt
    assert changed(before, after, Shop(tmp_path)) == [("model", "wan2.7-r2v", "wan2.6-r2v")]


def test_audio_is_told_by_its_own_name_and_auto_is_the_same_as_nothing(tmp_path: Path) -> None:
    silent = SPOT.replace("look: soft", "audio: auto\n      look: soft")
    sounding = silent.replace("audio: auto", "audio: https://example.com/a.mp3")
    before, after = planned(silent, tmp_path), planned(sounding, tmp_path)
    shop = Shop(tmp_path)
    assert changed(before, after, shop) == [("audio", "", "https://example.com/a.mp3")]
    assert made(planned(SPOT, tmp_path), shop.ledger).clips[0].status == "reused"


def test_a_new_renderer_of_the_animatic_is_told_as_such(tmp_path: Path) -> None:
    before = planned(SPOT, tmp_path, provider="animatic")
    after = planned(SPOT, tmp_path, provider="animatic", revision=2)
    assert changed(before, after, Shop(tmp_path)) == [("renderer", "", "")]


def test_one_edit_in_a_default_is_told_for_every_clip_it_touches_in_one_row(tmp_path: Path) -> None:
    before, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job in before.jobs:
        shop.bring(job, State.DONE)
    rows = made(planned(SPOT.replace("soft morning", "hard noon"), tmp_path), shop.ledger).rows
    assert [(row.scene, len(row.clips), [change.field for change in row.changes]) for row in rows] == [
        ("hook", 2, ["look"]),
        ("pour", 2, ["look"]),
        ("sip", 2, ["look"]),
    ]
