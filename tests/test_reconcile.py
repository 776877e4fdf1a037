"""What was quoted, ordered, delivered and billed: read from real recordings, and end to end against the sandbox."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storyrun import reconcile
from storyrun.cli import show
from storyrun.records import Attempt, MediaInfo, Money, State
from tests.plays import SPOT, Shop, planned
from tests.rehearsal import opening
from tests.test_show import built

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage

RECORDINGS = Path(__file__).parent / "recordings"

VIDEO = {"name": "mira", "word": "character1", "media": [{"text": "a.mp4", "kind": "video"}]}


def usd(amount: str, *, exact: bool = True) -> Money:
    return Money(Decimal(amount), "USD", exact)


HALF = usd("0.50")


def attempt(reserved: Money | None = HALF, state: State = State.ACCEPTED, **more: Any) -> Attempt:
    """An order of 5 s at 0.10 a second."""
    job = {"length": 5, "billed_resolution": "720p", "mode": "text"} | more.pop("job", {})
    return Attempt(
        **{
            **dict.fromkeys("id run plan clip fingerprint file created_at changed_at".split(), "x"),
            "number": 1,
            "provider": "dashscope",
            "model": "wan2.7-t2v",
            "request": {},
            "state": state,
            "job": job,
            "reserved": reserved,
            **more,
        }
    )


def filmed(**more: Any) -> Attempt:
    """An order of 5 s with a reference video, of which up to 5 s are billed."""
    job = {"mode": "reference", "references": [VIDEO]}
    return attempt(usd("1.00", exact=False), **{"model": "wan2.7-r2v", "job": job, **more})


# ── seconds and money ────────────────────────────────────────────────────────────────────────────────────────────────

SAID: list[tuple[dict[str, Any], str | None]] = [
    ({"duration": 5, "video_count": 1, "SR": 720}, "0.50"),
    ({"duration": 5.0}, "0.50"),
    ({"duration": "5"}, "0.50"),
    ({"duration": 10, "output_video_duration": 10}, "1.00"),
    ({"video_duration": 7, "video_ratio": "832*480"}, "0.70"),
    ({"duration": 5.06}, "0.506"),
    ({"amount": 0.6, "currency": "USD", "duration": 5}, "0.6"),
    ({"cost": "0.75", "currency": "USD"}, "0.75"),
    # what does not follow
    ({}, None),
    ({"video_count": 1}, None),
    ({"duration": 5, "video_count": 2}, None),
    ({"duration": 5, "SR": 1080}, None),
    ({"amount": 12, "duration": "?"}, None),
    ({"amount": 12, "currency": "credits"}, None),
    # no number that could be meant
    ({"duration": 0}, None),
    ({"duration": -5}, None),
    ({"duration": True}, None),
    ({"duration": None}, None),
    ({"duration": [5]}, None),
    ({"duration": float("nan")}, None),
    ({"duration": float("inf")}, None),
    ({"duration": "1e999999"}, None),
    # fewer seconds free no money
    ({"duration": 2}, None),
    ({"duration": 0.083}, None),
]


@pytest.mark.parametrize(("usage", "amount"), SAID, ids=[json.dumps(usage) for usage, _ in SAID])
def test_seconds_become_money_only_where_the_quoted_price_holds(usage: dict[str, Any], amount: str | None) -> None:
    assert reconcile.billed(attempt(), usage) == (usd(amount) if amount else None)


def test_without_a_known_price_nothing_but_an_amount_is_money() -> None:
    assert reconcile.billed(attempt(None), {"duration": 5}) is None
    assert reconcile.billed(attempt(None), {"duration": 5, "amount": 3, "currency": "CNY"}) == Money(Decimal(3), "CNY")


def test_with_reference_videos_only_a_duration_that_says_it_has_them_counts() -> None:
    assert reconcile.billed(filmed(), {"duration": 7.5, "input_video_duration": 2.5}) == usd("0.75")
    assert reconcile.billed(filmed(), {"duration": 5, "input_video_duration": 0}) == usd("0.50")
    assert reconcile.billed(filmed(), {"duration": 5}) is None, "perhaps only what was made"
    gone = filmed(model="no-such-model")
    assert reconcile.billed(gone, {"duration": 7, "input_video_duration": 2}) is None, "the bound is not known any more"


def test_a_failed_task_that_was_to_be_free_costs_what_its_usage_says_p15() -> None:
    free = attempt(free_when_failed=True)
    assert reconcile.billed(free, {"duration": 2}, failed=True) == usd("0.20")
    assert reconcile.billed(attempt(), {"duration": 2}, failed=True) is None, "all that was reserved counts"
    assert reconcile.billed(free, {}, failed=True) is None


def test_an_amount_that_does_not_come_out_even_is_rounded_up_and_said_to_be_so() -> None:
    third = attempt(usd("0.50"), job={"length": 3})
    assert reconcile.billed(third, {"duration": 4}) == usd("0.666667", exact=False)


@pytest.mark.parametrize("file", sorted(RECORDINGS.glob("*/poll-succeeded*.json")), ids=lambda file: file.stem)
def test_what_providers_really_say_is_read(file: Path) -> None:
    body = json.loads(file.read_text("utf-8"))["body"]
    usage = body.get("usage", {}) if isinstance(body, dict) else {}
    said = reconcile.read(usage)
    whole = usage.get("duration", usage.get("video_duration"))
    assert said.seconds == (None if whole is None else Fraction(str(whole)))
    assert said.resolution == (f"{usage['SR']}p" if "SR" in usage else None)
    assert said.clips == usage.get("video_count")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    "duration input_video_duration video_duration video_count SR amount cost currency output_video_duration".split()
)


@given(usage=st.dictionaries(KEYS, JSON | st.sampled_from(["USD", "5", 5, 10.5]), max_size=6), films=st.booleans())
def test_no_usage_upsets_anything_or_frees_money_that_was_reserved(usage: dict[str, Any], films: bool) -> None:
    order = replace(filmed() if films else attempt(), usage=usage)
    account = reconcile.account(order)
    assert all(isinstance(said, str) and said.isprintable() for said in account.differences)
    if account.billed is not None:
        assert account.billed.amount.is_finite()
        if reconcile.read(usage).money is None:
            assert account.billed.amount >= Decimal("0.475"), "below what 5 s cost, but for a quarter of a second"


# ── differences ──────────────────────────────────────────────────────────────────────────────────────────────────────


def clip_of(seconds: int) -> MediaInfo:
    return MediaInfo(Fraction(seconds), 1280, 720, Fraction(30), seconds * 30, "h264", "aac")


DIFFERENCES: list[tuple[dict[str, Any], list[str]]] = [
    ({"usage": {"duration": 5, "SR": 720}}, []),
    ({"usage": {}}, []),
    ({"usage": {"duration": 10}}, ["billed 10 s of 5 s", "billed 1.00 USD, quoted 0.50 USD"]),
    ({"usage": {"duration": 2}}, ["billed 2 s of 5 s"]),
    ({"usage": {"amount": 0.6, "currency": "USD"}}, ["billed 0.60 USD, quoted 0.50 USD"]),
    ({"usage": {"amount": 3, "currency": "CNY"}}, ["billed 3.00 CNY, quoted 0.50 USD"]),
    ({"usage": {"duration": 5, "video_count": 2}}, ["billed 2 clips for 1"]),
    ({"usage": {"duration": 5, "SR": 1080}}, ["billed as 1080p, ordered 720p"]),
    ({"usage": {"duration": 5}, "state": State.DONE, "media": clip_of(4)}, ["billed 5 s, delivered 4 s"]),
    ({"usage": {"duration": 5}, "state": State.FAILED}, ["billed 0.50 USD though it failed"]),
    ({"usage": {"duration": 5}, "state": State.FAILED, "reserved": None}, ["billed 5 s though it failed"]),
]


@pytest.mark.parametrize(("what", "told"), DIFFERENCES, ids=[str(told) for _, told in DIFFERENCES])
def test_each_difference_is_a_sentence(what: dict[str, Any], told: list[str]) -> None:
    assert list(reconcile.account(attempt(**what)).differences) == told


def test_reference_videos_below_the_bound_are_no_difference() -> None:
    usage = {"duration": 7.5, "input_video_duration": 2.5, "output_video_duration": 5}
    account = reconcile.account(filmed(usage=usage))
    assert (account.differences, account.billed_seconds, account.billed) == ((), Fraction(15, 2), usd("0.75"))
    more = reconcile.account(filmed(usage={"duration": 12, "input_video_duration": 7}))
    assert more.differences == ("billed 1.20 USD, quoted ~1.00 USD",)


def test_the_summary_says_what_was_billed_otherwise_and_nothing_where_all_is_as_quoted(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    usages = [{"duration": 8}, {"duration": 4}, {}, {"duration": 5}, {"duration": 5, "SR": 1080}]
    for job, usage in zip(plan.jobs, usages, strict=False):
        order = shop.bring(job, State.ACCEPTED)
        shop.ledger.move(order.id, State.READY, usage=usage, billed=reconcile.billed(order, usage))
    text = show.summary_text(built(plan, shop), plan_file="spot.yaml", width=150)
    said = "billed 1.70 of 1.30 quoted; 2 clips differ: hook[format=wide] 8 s of 4 s; sip[format=wide] as 1080p"
    assert said in text
    shop.ledger.close()


# ── against the sandbox ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as services:
        yield services


PRICED = "prices: {{{0}/wan3.0-video: {{currency: USD, 480p: 0.05}}}}\n"


def priced(stage: Stage, *, budget: str = "") -> None:
    """Give the stage's plan a price of 0.10 a clip, whoever makes it."""
    lines = PRICED.format(stage.provider) + (f"budget: {{max: {budget}, currency: USD}}\n" if budget else "")
    stage.plan.write_text(stage.plan.read_text("utf-8") + lines, encoding="utf-8")


@pytest.mark.parametrize("provider", ["dashscope", "tokenhub", "toapis"])
def test_who_bills_more_than_was_ordered_is_told_of_and_counts_in_the_budget(
    cloud: Callable[..., Stage], provider: str
) -> None:
    stage = cloud(provider, clips=2, faults={"bills-more": "1x"})
    priced(stage, budget="0.34")
    ran = stage.run("--concurrency", "1")
    assert (ran.code, stage.statuses()) == (0, ["done", "done"]), ran.said
    first, second = (clip["reconciled"] for clip in stage.manifest["clips"])
    assert first["differences"] == [
        "billed 4 s of 2 s",
        "billed 4 s, delivered 2 s",
        "billed 0.20 USD, quoted 0.10 USD",
    ]
    assert (first["ordered_seconds"], first["delivered_seconds"], first["billed_seconds"]) == (2, 2, 4)
    assert first["billed"] == {"amount": 0.2, "currency": "USD", "exact": True}
    assert second["differences"] == []
    assert "1 clip differs: c1 4 s of 2 s" in ran.said
    assert stage.manifest["totals"]["cost"] == [{"amount": 0.3, "currency": "USD", "exact": True}]
    # 0.04 of the budget is left, not 0.14: a third clip does not fit any more
    stage.plan.write_text(stage.plan.read_text("utf-8").replace("prices:", "  - {id: c3, prompt: Rain}\nprices:"))
    refused = stage.run()
    assert (refused.code, stage.booked) == (2, 2)
    assert "0.04 of the budget of 0.34 USD is left; nothing was sent" in refused.said


@pytest.mark.parametrize("provider", ["dashscope", "toapis"])
def test_a_failed_task_that_is_billed_counts_though_the_card_calls_it_free_p15(
    cloud: Callable[..., Stage], provider: str
) -> None:
    stage = cloud(provider, faults={"bills-failed": "1x"})
    priced(stage)
    ran = stage.run()
    assert (ran.code, stage.states) == (1, ["failed"])
    (clip,) = stage.manifest["clips"]
    assert clip["reconciled"]["differences"] == ["billed 0.10 USD though it failed"]
    assert stage.manifest["totals"]["cost"] == [{"amount": 0.1, "currency": "USD", "exact": True}]
    assert "billed 0.10 of 0.10 quoted; 1 clip differs: c1 0.10 USD though it failed" in ran.said
    assert stage.run().code == 0
    (clip,) = stage.manifest["clips"]
    assert clip["reconciled"]["differences"] == ["billed 0.10 USD for an earlier try that failed"]
    assert stage.manifest["totals"]["cost"] == [{"amount": 0.2, "currency": "USD", "exact": True}]
