"""The manifest as a view of a real ledger: every state, every sum, and nothing in it that must not be."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import manifest, validation
from storyrun.records import ErrorClass, Failure, Money, State
from storyrun.states import STATES
from tests.plays import FAILURES, SPOT, START, Shop, planned, priced

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.records import Plan

REUSED = frozenset({"hook[format=wide]"})


def built(plan: Plan, shop: Shop, stem: str = "spot", **changes: Any) -> dict[str, Any]:
    """The manifest of a plan as a run would write it, judged by its schema."""
    what: dict[str, Any] = {
        "plan": plan,
        "ledger": shop.ledger,
        "run_folder": shop.place(stem, plan.provider).path,
        "plan_stem": stem,
        "provider": plan.provider,
        "generator": "storyrun 0.1.0",
        "started_at": START,
        "finished_at": START,
        "reused": REUSED,
    }
    view = manifest.build(**(what | changes))
    assert faults(view) == []
    return view


def faults(view: dict[str, Any]) -> list[str]:
    """What the schema has against a manifest, as it is read back from JSON."""
    return [error.message for error in validation.validator("manifest").iter_errors(json.loads(json.dumps(view)))]


def in_total(view: dict[str, Any]) -> Decimal:
    """The costs of all clips, today's and former, taken one by one."""
    costs = [clip["cost"]["billed"] or clip["cost"]["quoted"] for clip in (*view["clips"], *view["former"])]
    return sum((Decimal(str(cost["amount"])) for cost in costs), Decimal(0))


# ── states ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", list(State))
def test_each_state_is_shown_as_the_state_table_says(tmp_path: Path, state: State) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    attempt = shop.bring(plan.jobs[0], state)
    view = built(plan, shop)
    clip = view["clips"][0]
    assert clip["status"] == (STATES[state].shown or "planned")
    assert view["totals"][clip["status"]] == (1 if clip["status"] != "planned" else 6)
    assert view["totals"]["clips"] == 6
    assert clip["cost"]["quoted"]["amount"] == (0.4 if STATES[state].spent else 0)
    if state is not State.SUPERSEDED:
        assert (clip["task_id"], clip["request"]) == (attempt.task_id, attempt.request)
        assert clip["submitted_at"] == attempt.created_at[:19] + "Z"
    assert (clip["file"] is not None) is (state is State.DONE)
    assert (clip["error"] is not None) is (state in FAILURES)


def test_a_done_clip_carries_what_its_file_really_is(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    attempt = shop.bring(plan.jobs[2], State.DONE, problems=("it is silent",), usage={"duration": 5})
    clip = built(plan, shop)["clips"][2]
    assert clip["file"] == "clips/pour_wide_v001.mp4"
    assert (shop.place().path / clip["file"]).is_file()
    assert clip["media"] == {
        "duration": 5,
        "width": 1280,
        "height": 720,
        "fps": 30,
        "frames": 150,
        "video_codec": "h264",
        "audio_codec": "aac",
    }
    assert (clip["sha256"], clip["bytes"]) == (attempt.sha256, 6)
    assert (clip["problems"], clip["usage"], clip["error"]) == (["it is silent"], {"duration": 5}, None)
    assert [(shot["index"], shot["start"], shot["end"]) for shot in clip["shots"]] == [(1, 0, 3), (2, 3, 5)]
    assert clip["shots"][0]["framing"] == "close-up"


def test_done_needs_the_file(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    attempt = shop.bring(plan.jobs[0], State.DONE)
    (shop.place().path / attempt.file).unlink()
    clip = built(plan, shop)["clips"][0]
    assert (clip["status"], clip["file"], clip["sha256"], clip["media"]) == ("open", None, None, None)


def test_a_plan_that_was_never_run_is_all_planned(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    view = built(plan, shop, ledger=None, finished_at=None)
    assert [clip["id"] for clip in view["clips"]] == [job.id for job in plan.jobs]
    assert {clip["status"] for clip in view["clips"]} == {"planned"}
    assert (view["totals"]["cost"], view["former"], view["finished_at"]) == ([], [], None)


def test_a_failure_without_a_reason_differs_from_a_clip_that_a_person_gave_up(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.FAILED, failure=None)
    shop.bring(plan.jobs[1], State.ABANDONED)
    shop.bring(plan.jobs[2], State.EXPIRED, failure=Failure(ErrorClass.PROVIDER, "Gone", "no such task"))
    failed, given_up, expired = (clip["error"] for clip in built(plan, shop)["clips"][:3])
    assert failed["class"] == "provider"
    assert given_up is None
    assert expired == {"class": "expired", "code": "Gone", "message": "no such task"}


# ── other plans, other ids ───────────────────────────────────────────────────────────────────────────────────────────


def test_what_another_plan_bought_costs_nothing_here_and_is_done_once_it_is_linked(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    attempt = shop.bring(plan.jobs[0], State.DONE)
    shop.bring(plan.jobs[1], State.ACCEPTED)
    copy = planned(SPOT, tmp_path, "copy.yaml")
    before = built(copy, shop, "copy")["clips"]
    assert [clip["status"] for clip in before[:2]] == ["planned", "open"]
    job = copy.jobs[0]
    link = shop.ledger.link(plan="copy", provider="dashscope", clip=job.id, stem=job.stem, attempt_id=attempt.id)
    (shop.place("copy").path / link.file).write_bytes(b"a clip")
    view = built(copy, shop, "copy")
    clip = view["clips"][0]
    assert (clip["status"], clip["file"], clip["sha256"]) == ("done", link.file, attempt.sha256)
    assert clip["cost"] == {"quoted": {"amount": 0, "currency": "USD", "exact": True}, "billed": None}
    assert (view["totals"]["cost"], view["totals"]["reused"], view["former"]) == ([], 1, [])


def test_a_renamed_scene_is_listed_once_under_its_new_id(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE)
    view = built(planned(SPOT.replace("id: hook", "id: opening"), tmp_path), shop)
    clip = view["clips"][0]
    assert (clip["id"], clip["status"], clip["file"]) == ("opening[format=wide]", "done", "clips/hook_wide_v001.mp4")
    assert clip["cost"]["quoted"]["amount"] == 0.4
    assert view["former"] == []


def test_what_todays_plan_lacks_is_former_unless_nothing_was_bought(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job, state in zip(plan.jobs, (State.DONE, State.ACCEPTED, State.REJECTED, State.SUPERSEDED), strict=False):
        shop.bring(job, state)
    edited = SPOT.replace("Cold brew", "Hot brew").replace("a hand", "a paw")
    view = built(planned(edited, tmp_path), shop)
    assert {clip["status"] for clip in view["clips"]} == {"planned"}
    assert [(clip["id"], clip["status"], clip["file"]) for clip in view["former"]] == [
        ("hook[format=wide]", "done", "clips/hook_wide_v001.mp4"),
        ("hook[format=tall]", "open", None),
        ("pour[format=tall]", "failed", None),
    ]
    assert view["former"][0]["prompt"].startswith("Cold brew")
    assert view["totals"]["open"] == 0, "totals count the clips of the plan"


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(8))
def test_counts_and_costs_add_up_to_what_the_ledger_says(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job in plan.jobs:
        for _ in range(chance.randrange(4)):
            state = chance.choice(list(State))
            shop.bring(job, state, free=chance.random() < 0.5)
            if STATES[state].live:
                break
    if chance.random() < 0.5:
        plan = planned(SPOT.replace("a hand", "a paw"), tmp_path)
    view = built(plan, shop)
    totals = view["totals"]
    assert totals["clips"] == len(view["clips"]) == 6
    assert sum(totals[status] for status in ("done", "failed", "unknown", "open", "planned")) == 6
    assert totals["reused"] == sum(clip["status"] == "done" and clip["id"] in REUSED for clip in view["clips"])
    spent = shop.ledger.spent("spot", "dashscope")
    assert totals["cost"] == [manifest.money(each) for each in spent]
    assert in_total(view) == sum((each.amount for each in spent), Decimal(0))


def test_a_clip_bought_twice_knowingly_costs_twice(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.FAILED)
    shop.bring(plan.jobs[0], State.SUPERSEDED)
    shop.bring(plan.jobs[0], State.DONE)
    clip = built(plan, shop)["clips"][0]
    assert (clip["status"], clip["cost"]["quoted"]["amount"]) == ("done", 1.2)


def test_what_was_billed_stands_beside_what_was_quoted(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE, billed=Money(Decimal("0.30"), "USD"))
    view = built(plan, shop)
    assert view["clips"][0]["cost"] == {
        "quoted": {"amount": 0.4, "currency": "USD", "exact": True},
        "billed": {"amount": 0.3, "currency": "USD", "exact": True},
    }
    assert view["totals"]["cost"] == [{"amount": 0.3, "currency": "USD", "exact": True}]


def test_an_unknown_price_is_null_and_not_zero(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    unpriced = priced(plan.jobs[0], None)
    shop.bring(unpriced, State.DONE)
    view = built(replace(plan, jobs=(unpriced, *plan.jobs[1:])), shop)
    assert view["clips"][0]["cost"] == {"quoted": None, "billed": None}


def test_on_the_animatic_nothing_has_a_cost(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path, provider="animatic"), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.DONE)
    view = built(plan, shop)
    assert view["totals"]["cost"] == []
    assert view["clips"][0]["cost"]["quoted"] == {"amount": 0, "currency": "", "exact": True}


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_no_signed_query_gets_into_a_manifest(tmp_path: Path) -> None:
    text = SPOT.replace("Cold brew drips", "See https://cdn.example/a.png?sig=CANARY&x=1 drip")
    plan, shop = planned(text, tmp_path), Shop(tmp_path)
    url = "https://user:CANARY@oss.example/v.mp4?Expires=1&Signature=CANARY#CANARY"
    body = {"input": {"img_url": url, "list": [f"<{url}>"], "text": f'again "{url}", and on'}, url: 1}
    words = f"cannot read {url} or https:\\/\\/oss.example\\/v.mp4?Signature=CANARY\\u0026x=1"
    shop.bring(
        plan.jobs[0], State.FAILED, request=body, failure=Failure(ErrorClass.PROVIDER, url, words), usage={"u": url}
    )
    shop.bring(plan.jobs[1], State.DONE, request=body, problems=(words,), usage={"video": url})
    view = built(plan, shop)
    assert "CANARY" not in json.dumps(view)
    assert view["clips"][0]["prompt"].startswith("See https://cdn.example/a.png drip")
    assert view["clips"][1]["request"]["input"] == {
        "img_url": "https://oss.example/v.mp4",
        "list": ["<https://oss.example/v.mp4>"],
        "text": 'again "https://oss.example/v.mp4", and on',
    }


@pytest.mark.parametrize(
    "text", ["Is it here? https://example.com/a/b.png? Yes.", "50% off? #1", "a@b.example", "https://x.example/@me/a"]
)
def test_what_is_no_query_stays_as_it_was_written(text: str) -> None:
    assert manifest.without_queries(text) == text


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_same_ledger_and_plan_give_the_same_manifest_but_for_the_times(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    for job, state in zip(plan.jobs, State, strict=False):
        shop.bring(job, state)
    first, second = built(plan, shop), built(planned(SPOT, tmp_path), shop, finished_at=START.replace(hour=23))
    assert second.pop("finished_at") == "2026-11-20T23:40:00Z"
    assert first.pop("finished_at") == "2026-11-20T21:40:00Z"
    assert json.dumps(first) == json.dumps(second)


def test_the_manifest_is_written_whole_and_names_the_plan_from_where_it_lies(tmp_path: Path) -> None:
    plan, shop = planned(SPOT.replace("smiles", "lächelt"), tmp_path), Shop(tmp_path)
    place = shop.place()
    view = built(plan, shop)
    manifest.write(place, view)
    manifest.write(place, view)
    assert json.loads(place.manifest.read_text(encoding="utf-8")) == view
    assert view["storyboard"] == {
        "path": "../../../spot.yaml",
        "title": "Halden Cold Brew, autumn spot",
        "sha256": plan.storyboard.sha256,
    }
    assert (place.path / view["storyboard"]["path"]).resolve() == (tmp_path / "spot.yaml").resolve()
    assert [path.name for path in place.path.iterdir() if path.is_file()] == ["manifest.json"]


def test_half_a_character_from_a_provider_does_not_keep_a_manifest_from_being_written(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.FAILED, failure=Failure(ErrorClass.PROVIDER, "", "half \ud83d of it"))
    view = built(plan, shop)
    manifest.write(shop.place(), view)
    assert json.loads(shop.place().manifest.read_text(encoding="utf-8")) == view


def test_with_the_plan_gone_all_that_was_bought_is_former_and_the_last_manifest_knows_its_title(tmp_path: Path) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    place = shop.place()
    for job, state in zip(plan.jobs, (State.DONE, State.ACCEPTED, State.UNKNOWN), strict=False):
        shop.bring(job, state)
    manifest.write(place, built(plan, shop))
    (tmp_path / "spot.yaml").unlink()
    view = from_ledger(shop)
    assert faults(view) == []
    assert [clip["status"] for clip in view["former"]] == ["done", "open", "unknown"]
    assert (view["clips"], view["totals"]["clips"]) == ([], 0)
    assert view["totals"]["cost"] == [manifest.money(each) for each in shop.ledger.spent("spot", "dashscope")]
    assert view["storyboard"] == built(plan, shop)["storyboard"]


@pytest.mark.parametrize("left", [None, b"", b"{", b"[]", b'{"storyboard": 1}'])
def test_without_a_whole_last_manifest_the_plan_is_known_by_its_name(tmp_path: Path, left: bytes | None) -> None:
    plan, shop = planned(SPOT, tmp_path), Shop(tmp_path)
    shop.bring(plan.jobs[0], State.ACCEPTED)
    if left is not None:
        shop.place().manifest.write_bytes(left)
    storyboard = from_ledger(shop)["storyboard"]
    assert storyboard == {"path": "../../../spot.yaml", "title": "spot.yaml", "sha256": None}


def from_ledger(shop: Shop) -> dict[str, Any]:
    """The manifest of the plan `spot` without its file."""
    return manifest.build_from_ledger(
        ledger=shop.ledger,
        run_folder=shop.place().path,
        plan_stem="spot",
        provider="dashscope",
        generator="storyrun 0.1.0",
        started_at=START,
        finished_at=None,
    )
