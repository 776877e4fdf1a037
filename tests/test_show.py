"""The texts a person reads: whole ones to the letter, and what must hold of all of them."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from datetime import timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun import manifest, quote
from storyrun.cli import show
from storyrun.cli.show import text
from storyrun.records import ErrorClass, Failure, Money, State
from tests.plays import SPOT, START, Shop, planned, priced

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.quote import Quote
    from storyrun.records import Plan

ANSI = re.compile(r"\x1b\[[0-9]+m")

CATALOGUE = """
    version: 1
    title: Spin, one product each
    provider: dashscope
    model: wan2.7
    defaults: {resolution: 720p}
    matrix:
      product: [nh-0009, nh-0031, nh-0044, nh-0077, nh-0100, nh-0151, nh-0190, nh-0200]
    scenes:
      - id: spin
        seconds: 5
        prompt: The {{ product }} turns on a plinth
    """


def made(plan: Plan, shop: Shop | None = None, only: frozenset[str] | None = None, **more: Any) -> Quote:
    """A quote of the plan `spot`, under its own budget."""
    what: dict[str, Any] = {"budget": plan.storyboard.budget, "run_ceiling": None, "key": "DASHSCOPE_API_KEY"} | more
    return quote.make(plan, shop.ledger if shop else None, "spot", plan.provider, only, **what)


def built(plan: Plan, shop: Shop, reused: frozenset[str] = frozenset(), started: Any = START) -> dict[str, Any]:
    """The manifest of the plan `spot`."""
    return manifest.build(
        plan=plan,
        ledger=shop.ledger,
        run_folder=shop.place(provider=plan.provider).path,
        plan_stem="spot",
        provider=plan.provider,
        generator="storyrun 0.1.0",
        started_at=started,
        finished_at=None,
        reused=reused,
    )


def mixed(folder: Path) -> tuple[Plan, Shop]:
    """A plan after an edit, with a clip in each way to stand."""
    plan, shop = planned(SPOT, folder), Shop(folder)
    states = (State.DONE, State.UNKNOWN, State.DONE, State.ACCEPTED, State.REJECTED, State.FAILED)
    for job, state in zip(plan.jobs, states, strict=True):
        details: dict[str, Any] = {"problems": ("it is 4 s of 5",)} if job.id == "pour[format=wide]" else {}
        shop.bring(job, state, **details)
    return plan, shop


def shown(golden: str) -> str:
    """A golden text without the indent of the source around it."""
    return dedent(golden).strip("\n")


# ── quotes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_first_quote_of_a_paid_plan(tmp_path: Path) -> None:
    assert show.quote_text(made(planned(SPOT, tmp_path))) == shown("""
        Halden Cold Brew, autumn spot           dashscope, prices of 2026-04, USD
        3 scenes x 2 format = 6 clips, 28 s
          hook  2 clips   8 s  wan2.7-t2v  0.80  new
          pour  2 clips  10 s  wan2.7-t2v  1.00  new
          sip   2 clips  10 s  wan2.7-t2v  1.00  new
        now 2.80 (exact) + spent 0.00 = 2.80 of 12.00
          wan2.7-t2v  6 clips  28 s  2.80  0.10 a second at 720p, 2026-04
          prices from https://help.aliyun.com/zh/model-studio/model-pricing
        needs DASHSCOPE_API_KEY
        """)


def test_a_quote_of_an_edited_plan_says_what_changed_where_and_what_a_ceiling_would_refuse(tmp_path: Path) -> None:
    _, shop = mixed(tmp_path)
    edited = planned(SPOT.replace("coffee pours", "coffee falls"), tmp_path)
    ceiling = Money(Decimal("1.20"), "USD")
    told = show.quote_text(made(edited, shop, run_ceiling=ceiling)).replace(str(tmp_path), "plans")
    assert told == shown("""
        Halden Cold Brew, autumn spot           dashscope, prices of 2026-04, USD
        3 scenes x 2 format = 6 clips, 28 s
          hook  1 clip    4 s  wan2.7-t2v  0.00  reused
          hook  1 clip    4 s  wan2.7-t2v  0.00  needs you
          pour  2 clips  10 s  wan2.7-t2v  1.00  changed: shots[1].action, spot.yaml:25
          sip   1 clip    5 s  wan2.7-t2v  0.00  refused before
          sip   1 clip    5 s  wan2.7-t2v  0.50  failed before
        now 1.50 (exact) + spent 2.30 = 3.80 of 12.00; at most 1.20 in this run
          wan2.7-t2v  3 clips  15 s  1.50  0.10 a second at 720p, 2026-04
          prices from https://help.aliyun.com/zh/model-studio/model-pricing
        1 clip would be refused: sip[format=tall]
          it costs up to 0.50 USD, and 0.20 of --max-cost of 1.20 USD is left
        needs DASHSCOPE_API_KEY
        next  storyrun status plans/spot.yaml
        """)


def test_a_quote_on_the_animatic_speaks_of_no_money(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path, provider="animatic"), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE)
    assert show.quote_text(made(plan, shop, only=frozenset(job.id for job in plan.jobs[:4]))) == shown("""
        Halden Cold Brew, autumn spot           animatic: free, on this machine
        3 scenes x 2 format = 6 clips, 28 s; chosen: 4 clips, 18 s
          hook  1 clip    4 s  wan2.7-t2v  reused
          hook  1 clip    4 s  wan2.7-t2v  new
          pour  2 clips  10 s  wan2.7-t2v  new
        """)


def test_where_a_price_is_unknown_a_quote_shows_the_lines_to_paste(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path)
    plan = replace(plan, jobs=(priced(plan.jobs[0], None), *plan.jobs[1:2]))
    lines = show.quote_text(made(plan, budget=None)).splitlines()
    assert [line.split()[6:] for line in lines[2:4]] == [["?", "new"], ["0.40", "new"]]
    assert lines[4] == "now 0.40 (exact) and 1 clip without a known price"
    assert [line.split()[5] for line in lines[5:7]] == ["?", "0.40"]
    assert lines[8:10] == [
        "where the price is unknown, add it to the plan, per second:",
        "  prices:",
    ]
    assert lines[10] == "    dashscope/wan2.7-t2v: {currency: USD, 720p: ...}"
    assert show.question(made(plan)) == "Order 2 clips for 0.40 USD, and 1 clip of unknown price?"


def test_an_upper_bound_is_written_with_a_tilde(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path)
    film = replace(plan.jobs[0], quote=Money(Decimal("0.4"), "USD", exact=False))
    told = show.quote_text(made(replace(plan, jobs=(film, *plan.jobs[1:]))))
    assert "now ~2.80 (at most) + spent 0.00 = ~2.80 of 12.00" in told
    assert show.question(made(replace(plan, jobs=(film,)))) == "Order 1 clip for ~0.40 USD?"


def test_amounts_of_several_currencies_get_a_line_each_with_their_codes(tmp_path: Path) -> None:
    plan = planned(SPOT, tmp_path)
    plan = replace(plan, jobs=(priced(plan.jobs[0], "3", "CNY"), *plan.jobs[1:]))
    lines = show.quote_text(made(plan, budget=None)).splitlines()
    assert "now 3.00 CNY (exact)" in lines
    assert "now 2.40 USD (exact)" in lines


def test_a_quote_of_what_is_all_there_says_so(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job in plan.jobs:
        shop.bring(job, State.DONE)
    assert show.quote_text(made(plan, shop)).splitlines()[-2:] == [
        "now 0.00 + spent 2.80 = 2.80 of 12.00",
        "nothing to order: every clip is there",
    ]


def test_scenes_that_do_not_multiply_are_only_counted(tmp_path: Path) -> None:
    one_wide = SPOT.replace("id: sip\n", "id: sip\n        aspect_ratio: '1:1'\n")
    assert show.quote_text(made(planned(one_wide, tmp_path))).splitlines()[1] == "3 scenes: 5 clips, 23 s"
    plain = SPOT.replace('      aspect_ratio: "{{ format.ratio }}"\n', "")
    plain = plain[: plain.index("    matrix:")] + plain[plain.index("    scenes:") :]
    assert show.quote_text(made(planned(plain, tmp_path))).splitlines()[1] == "3 clips, 14 s"
    takes = SPOT.replace("      look:", "      takes: 3\n      look:")
    assert show.quote_text(made(planned(takes, tmp_path))).splitlines()[1] == (
        "3 scenes x 2 format x 3 takes = 18 clips, 84 s"
    )


def test_a_long_table_is_folded_and_keeps_what_is_not_there_yet(tmp_path: Path) -> None:
    head = "version: 1\nprovider: dashscope\nmodel: wan2.7\ndefaults: {resolution: 720p}\nscenes:\n"
    scenes = [f"  - {{id: s{number}, seconds: 2, prompt: A view of place {number}}}\n" for number in range(200)]
    plan, shop = planned(head + "".join(scenes), tmp_path), Shop(tmp_path)
    made_quote = made(plan)
    reused = tuple(
        replace(clip, status="reused") if number != 170 else clip for number, clip in enumerate(made_quote.clips)
    )
    rows = tuple(replace(row, status=clip.status) for row, clip in zip(made_quote.rows, reused, strict=True))
    lines = show.quote_text(replace(made_quote, clips=reused, rows=rows)).splitlines()
    assert len(lines) < 60
    assert any(line.split()[0] == "s170" and line.endswith("new") for line in lines)
    assert "  ... and 161 more lines: 161 clips, 161 reused" in lines
    shop.ledger.close()


def test_the_details_of_a_clip_name_every_field_and_both_sides_of_a_change(tmp_path: Path) -> None:
    _, shop = mixed(tmp_path)
    edited = made(planned(SPOT.replace("coffee pours", "coffee falls"), tmp_path), shop)
    told = show.clip_text(edited, edited.clips[2], request={"model": "wan2.7-t2v"})
    assert told.splitlines()[0] == "pour[format=wide]  changed: it was ordered as something else"
    for part in (
        *("  shots[1].action, spot.yaml:25", "    was coffee pours over ice", "    now coffee falls over ice"),
        *("  look          soft morning light", "  shots         0-3 s, 3-5 s", '      "model": "wan2.7-t2v"'),
        "  price         0.50 USD (exact), 0.10 a second as of 2026-04, https://",
        "it is 4 s of 5",
        edited.clips[2].job.fingerprint,
        "Shot 2 [3-5s]: coffee falls over ice",
    ):
        assert part in told


def test_a_quote_for_programs_has_every_clip_and_null_for_an_unknown_price(tmp_path: Path) -> None:
    plan, shop = mixed(tmp_path)
    plan = replace(plan, jobs=(*plan.jobs[:5], priced(plan.jobs[5], None)))
    data = json.loads(json.dumps(show.quote_json(made(plan, shop))))
    assert [clip["id"] for clip in data["clips"]] == [job.id for job in plan.jobs]
    assert [clip["price"] and clip["price"]["amount"] for clip in data["clips"]] == [0.4, 0.4, 0.5, 0.5, 0.5, None]
    assert data["totals"]["now_unpriced"] == 1
    assert sum(data["totals"]["statuses"].values()) == data["totals"]["clips"] == 6
    assert [clip["id"] for clip in show.quote_json(made(plan, shop), "sip*")["clips"]] == [
        "sip[format=wide]",
        "sip[format=tall]",
    ]


# ── after a run ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_summary_of_a_paid_run(tmp_path: Path) -> None:
    plan, shop = planned(CATALOGUE, tmp_path), Shop(tmp_path)
    wrong = {0: ("it is 4 s of 5",), 4: ("it is silent",)}
    for number, job in enumerate(plan.jobs):
        state = {1: State.REJECTED, 2: State.UNKNOWN, 3: State.REJECTED}.get(number, State.DONE)
        details: dict[str, Any] = {"problems": wrong[number]} if number in wrong else {}
        shop.bring(job, state, **details)
    view = built(plan, shop, frozenset({plan.jobs[7].id}))
    assert show.summary_text(view, plan_file="catalogue.yaml", run_folder="outputs/spot/dashscope") == shown("""
          5  done     2.50  1 reused; 2 of them not as ordered: nh-0009 is 4 s of 5, nh-0100 is silent
          2  refused  0.00  nh-0031 nh-0077: change the text
          1  unclear  0.50  nh-0044 sent 21:40, no answer: may be bought
               0.50 USD: "The nh-0044 turns on a plinth"
        in    outputs/spot/dashscope/clips
        next  storyrun settle catalogue.yaml 'spin[product=nh-0044]' --adopt ID | --not-created | ...
              storyrun settle catalogue.yaml 'spin[product=nh-0009]' --keep | --rebuy | --abandon
              storyrun catalogue.yaml    (when the text is changed)
        """)


def test_the_summary_of_a_first_animatic(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path, provider="animatic"), Shop(tmp_path)
    for job in plan.jobs:
        shop.bring(job, State.DONE)
    assert show.summary_text(built(plan, shop), plan_file="spot.yaml", run_folder="outputs/spot/animatic") == shown("""
          6  done
        in    outputs/spot/animatic/clips
        """)


def test_the_status_of_a_plan_says_where_every_clip_stands_what_is_billing_and_what_to_type(tmp_path: Path) -> None:
    plan, shop = mixed(tmp_path)
    later = START + timedelta(days=1)
    assert show.status_text(built(plan, shop, started=later), plan_file="my plans/spot.yaml") == shown("""
        Halden Cold Brew, autumn spot           dashscope, 6 clips
          2  done     0.90  1 of them not as ordered: pour[format=wide] is 4 s of 5
             hook[format=wide] pour[format=wide]
          1  failed   0.50  the next run orders again
             sip[format=tall]  InternalError: try later
          1  refused  0.00  change the text
             sip[format=wide]  DataInspectionFailed: inappropriate content
          1  open     0.50  ordered, not here yet
             pour[format=tall]  since 2026-11-20 21:40, task task-4
          1  unclear  0.40  may be bought
             hook[format=tall]  sent 2026-11-20 21:40, no answer, 0.40 USD
               "Cold brew drips into a glass. soft morning light"
        spent 2.30 USD, of it 0.90 USD still open or unclear
        next  storyrun settle 'my plans/spot.yaml' 'hook[format=tall]' --adopt ID | --not-created | ...
              storyrun fetch 'my plans/spot.yaml'
              storyrun settle 'my plans/spot.yaml' 'pour[format=wide]' --keep | --rebuy | --abandon
        """)


def test_times_are_told_in_the_readers_zone(tmp_path: Path) -> None:
    plan, shop = mixed(tmp_path)
    told = show.summary_text(built(plan, shop), plan_file="spot.yaml", zone=timezone(timedelta(hours=2)))
    assert "sent 23:40, no answer" in told


NEXT = {
    State.SENDING: ["settle", "--adopt"],
    State.UNKNOWN: ["settle", "--adopt"],
    State.EXPIRED: ["settle", "--rebuy"],
    State.ACCEPTED: ["fetch"],
    State.READY: ["fetch"],
    State.FAILED: ["spot.yaml"],
    State.NOT_SENT: ["spot.yaml"],
    State.REJECTED: ["spot.yaml"],
    State.SUPERSEDED: ["spot.yaml"],
    State.ABANDONED: [],
    State.DONE: [],
}


@pytest.mark.parametrize("state", list(State))
def test_each_state_has_its_next_line_and_every_clip_is_told_once(tmp_path: Path, state: State) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job in plan.jobs:
        shop.bring(job, state)
    view = built(plan, shop)
    lines = show.next_lines([view], "spot.yaml", ("--out", "my films"))
    assert len(lines) == (1 if NEXT[state] else 0)
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "storyrun"
        assert set(NEXT[state]) <= set(words)
        assert words[words.index("--out") + 1] == "my films"
        assert "settle" not in words or plan.jobs[0].id in words
    assert show.summary_text(view, plan_file="spot.yaml").split()[0] == "6"
    told = show.status_text(view, plan_file="spot.yaml").partition("\nnext")[0]
    assert [told.count(job.id) for job in plan.jobs] == [1] * 6


@pytest.mark.parametrize("state", [State.SENDING, State.UNKNOWN, State.ACCEPTED, State.READY])
def test_on_the_animatic_nobody_has_to_decide_or_fetch_anything(tmp_path: Path, state: State) -> None:
    plan, shop = planned(SPOT, tmp_path, provider="animatic"), Shop(tmp_path)
    shop.bring(plan.jobs[0], state)
    view = built(plan, shop)
    lines = show.summary_text(view, plan_file="spot.yaml").splitlines()
    assert [line.split()[:2] for line in lines] == [["5", "not"], ["1", "unfinished"], ["next", "storyrun"]]
    assert show.next_lines([view], "spot.yaml") == ["storyrun spot.yaml"]
    assert show.status_json(view)["needs_you"] == []


def test_what_is_open_or_unclear_counts_though_the_plan_no_longer_has_it(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job, state in zip(plan.jobs, (State.UNKNOWN, State.ACCEPTED, State.DONE), strict=False):
        details: dict[str, Any] = {"problems": ("it is silent",)} if state is State.DONE else {}
        shop.bring(job, state, **details)
    edited = SPOT.replace("Cold brew", "Hot brew").replace("a hand", "a paw")
    view = built(planned(edited, tmp_path), shop)
    told = show.summary_text(view, plan_file="spot.yaml")
    assert "hook[format=wide] (former) sent" in told
    assert "hook[format=tall] (former): ordered" in told
    ways = [line.split()[:2] for line in told.partition("\nnext")[0].splitlines()]
    assert ways == [["6", "not"], ["1", "open"], ["1", "unclear"], ["0.40", "USD:"]], (
        "what is here and no longer wanted needs nobody"
    )
    assert show.status_json(view)["needs_you"] == ["hook[format=wide]", "hook[format=tall]"]
    assert [shlex.split(line)[1] for line in show.next_lines([view], "spot.yaml")] == ["settle", "fetch", "spot.yaml"]


def test_the_status_for_programs_is_json_with_the_totals_of_the_manifest(tmp_path: Path) -> None:
    plan, shop = mixed(tmp_path)
    view = built(plan, shop)
    data = json.loads(json.dumps(show.status_json(view)))
    assert data["totals"] == view["totals"]
    assert [clip["standing"] for clip in data["clips"]] == ["done", "unclear", "done", "open", "refused", "failed"]


# ── what holds of every text ─────────────────────────────────────────────────────────────────────────────────────────


def texts(plan: Plan, shop: Shop, **how: Any) -> list[str]:
    """Every text there is of a plan."""
    view, made_quote = built(plan, shop), made(plan, shop)
    return [
        show.quote_text(made_quote, **how),
        *(show.clip_text(made_quote, clip, request={"text": clip.job.prompt}, **how) for clip in made_quote.clips),
        show.summary_text(view, plan_file="spot.yaml", run_folder="outputs/spot", **how),
        show.status_text(view, plan_file="spot.yaml", **how),
    ]


def test_colours_only_on_request_and_then_nothing_else_changes(tmp_path: Path) -> None:
    plan, shop = mixed(tmp_path)
    plain, coloured = texts(plan, shop), texts(plan, shop, colour=True)
    assert not any("\x1b" in each for each in plain)
    assert all("\x1b" in each for each in coloured)
    assert [ANSI.sub("", each) for each in coloured] == plain


def test_nothing_that_comes_from_outside_can_play_with_the_terminal(tmp_path: Path) -> None:
    bad = "\x1b[2J\x07\r\n\x9b31m\u202etxet\u2028"
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    hostile = replace(plan.jobs[0], prompt=bad, look=bad, model=bad, variant={"format": bad}, id=f"hook[format={bad}]")
    plan = replace(plan, jobs=(hostile, *plan.jobs[1:]), storyboard=replace(plan.storyboard, title=bad))
    shop.bring(plan.jobs[0], State.FAILED, failure=Failure(ErrorClass.PROVIDER, bad, bad))
    shop.bring(plan.jobs[1], State.DONE, problems=(bad,))
    for told in texts(plan, shop):
        assert not text.HARMFUL.search(told.replace("\n", "")), told
        assert all("[2J" not in line[:3] for line in told.splitlines())


def test_statuses_stand_in_one_column_whatever_the_models_are_called(tmp_path: Path) -> None:
    other = SPOT.replace("id: sip\n", "id: sip\n        model: wan2.2-t2v-plus\n        resolution: 480p\n")
    lines = show.quote_text(made(planned(other, tmp_path, provider="animatic"))).splitlines()[2:]
    assert len({line.index(" new") for line in lines}) == 1
    assert len({line.split()[-2] for line in lines}) == 2


def test_wide_characters_keep_the_columns(tmp_path: Path) -> None:
    named = SPOT.replace("{id: wide,", "{id: 東京,").replace("id: sip", "id: a-much-longer-scene")
    lines = show.quote_text(made(planned(named, tmp_path))).splitlines()[2:5]
    assert len({text.width_of(line[: line.index("wan2.7")]) for line in lines}) == 1
    assert text.columns([("東京", "a"), ("xxxx", "b")], "<<") == ["東京  a", "xxxx  b"]
    assert text.fit("東京東京", 7) == "東京..."


@given(st.text())
def test_a_safe_text_is_one_harmless_line_that_can_be_written(anything: str) -> None:
    told = text.safe(anything)
    assert not text.HARMFUL.search(told)
    assert len(told.splitlines()) <= 1
    told.encode()


@given(st.lists(st.text("abc", min_size=1, max_size=12)), st.integers(20, 80))
def test_a_fold_shows_or_counts_every_word_within_its_width(words: list[str], width: int) -> None:
    told = text.fold(words, width)
    kept, _, rest = told.partition("... and ")
    counted = int(rest.split()[0]) if rest else 0
    assert kept.split() == words[: len(kept.split())]
    assert len(kept.split()) + counted == len(words)
    assert len(told) <= width or len(kept.split()) == 1


@given(st.lists(st.text("abc", min_size=1, max_size=12)), st.integers(40, 80), st.integers(1, 5))
def test_filled_lines_show_or_count_every_word(words: list[str], width: int, most: int) -> None:
    lines = text.fill(words, width, most)
    assert len(lines) <= most
    assert all(len(line) <= width for line in lines)
    told = " ".join(lines)
    kept, _, rest = told.partition("... and ")
    assert len(kept.split()) + (int(rest.split()[0]) if rest else 0) == len(words)


@given(st.lists(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1), min_size=1))
def test_a_line_to_type_is_read_by_a_shell_as_it_was_meant(words: list[str]) -> None:
    assert shlex.split(text.shell(words)) == [text.safe(word) for word in words]


@pytest.mark.parametrize(
    ("value", "told"),
    [("9", "9.00"), ("0.5", "0.50"), ("0.125", "0.125"), ("1E+2", "100.00"), ("0", "0.00"), ("12.3000", "12.30")],
)
def test_amounts_have_two_decimals_or_all_they_need(value: str, told: str) -> None:
    assert text.amount(Decimal(value)) == told
    assert text.money(Money(Decimal(value), "USD", exact=False), currency=True) == f"~{told} USD"


def test_seconds_are_written_without_needless_zeros() -> None:
    assert [text.seconds(each) for each in (Fraction(6), Fraction(5, 2), 100000)] == ["6 s", "2.5 s", "100000 s"]
    assert text.money(None) == "?"
