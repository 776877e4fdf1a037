"""What would fit where a plan does not: every offer is tried for real, and costs what it was said to cost."""

from __future__ import annotations

import json
import random
import re
from decimal import Decimal
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from storyrun.cli import planning
from storyrun.cli import quote as verb
from storyrun.quote import savings
from storyrun.records import Money, State
from tests.plays import Shop
from tests.rehearsal import opening, typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from storyrun.quote import Quote
    from storyrun.quote.savings import Saving
    from tests.rehearsal import Stage


def usd(amount: str | Decimal) -> Money:
    return Money(Decimal(amount), "USD")


def written(folder: Path, text: str) -> Path:
    path = folder / "spot.yaml"
    path.write_text(dedent(text), encoding="utf-8")
    return path


def quoted(path: Path, ceiling: str | None = None, **choice: Any) -> Quote:
    """The quote of a plan file, as `storyrun quote` makes it."""
    return verb.make(planning.prepare(str(path), **choice), run_ceiling=usd(ceiling) if ceiling else None)


def offers(quote: Quote) -> list[str]:
    """What is offered, in the words of the quote, with its price."""
    from storyrun.cli import show

    return [f"{show.saving_text(quote, each)} = {show.costs(each.price)}" for each in quote.savings or ()]


FILM = """\
    version: 1
    provider: dashscope
    model: wan2.7
    defaults: {resolution: 1080p, seconds: 4, takes: 3}
    scenes:
      - {id: hook, prompt: Dust moves in light}
      - {id: pour, prompt: Dust moves in dark}
      - {id: sip, prompt: Dust moves in rain, takes: 1}
    """
"""Clips of 0.60: three, three, one; 0.40 each at 720p."""


@pytest.mark.parametrize(
    ("ceiling", "offered"),
    [
        ("4.20", []),
        ("4.19", ["takes: 2 in hook pour = 3.00 USD", "resolution: 720p = 2.80 USD", "--first 6 = 3.60 USD"]),
        ("2.90", ["takes: 1 in hook pour = 1.80 USD", "resolution: 720p = 2.80 USD", "--first 4 = 2.40 USD"]),
        ("1.70", ["takes: 1 in hook pour and resolution: 720p = 1.20 USD", "--first 2 = 1.20 USD"]),
        ("0.60", ["--first 1 = 0.60 USD"]),
        ("0.59", []),
    ],
)
def test_what_keeps_most_of_the_film_comes_first(tmp_path: Path, ceiling: str, offered: list[str]) -> None:
    assert offers(quoted(written(tmp_path, FILM), ceiling)) == offered


def test_the_cheapest_clip_is_named_where_nothing_fits(tmp_path: Path) -> None:
    said = typed("quote", str(written(tmp_path, FILM)), "--max-cost", "0.59").said
    assert "nothing of it would fit: the cheapest clip, hook, costs 0.60 USD" in said


def test_scenes_that_still_fit_are_offered_where_a_dear_one_stands_before_them(tmp_path: Path) -> None:
    film = FILM.replace("id: hook,", "id: hook, seconds: 15,").replace("takes: 3", "takes: 1")
    assert offers(quoted(written(tmp_path, film), "1.20")) == ["--only pour --only sip = 1.20 USD"]
    assert offers(quoted(written(tmp_path, film.replace("takes: 1}\n", "takes: 2}\n", 1)), "0.70")) == [
        "--only sip = 0.60 USD"
    ]


def test_one_clip_is_offered_where_no_whole_scene_fits(tmp_path: Path) -> None:
    film = """\
        version: 1
        provider: dashscope
        model: wan2.7
        defaults: {resolution: 720p, seconds: "{{ length }}"}
        matrix: {length: ["9", "3"]}
        scenes: [{id: hook, prompt: Dust moves}]
        """
    assert offers(quoted(written(tmp_path, film), "0.50")) == ["--only 'hook[length=3]' = 0.30 USD"]


def test_a_scene_with_a_clip_that_is_there_keeps_its_resolution(tmp_path: Path) -> None:
    path, shop = written(tmp_path, FILM), Shop(tmp_path)
    plan = planning.prepare(str(path)).plan
    shop.bring(next(job for job in plan.jobs if job.id == "hook"), State.DONE)
    shop.ledger.close()
    # 3.60 to order; at 720p pour and sip cost 1.60, and hook's other takes 1.20
    assert offers(quoted(path, "3.00"))[1] == "resolution: 720p in pour sip = 2.80 USD"


def test_takes_that_somebody_ordered_besides_do_not_go_away_with_the_plans(tmp_path: Path) -> None:
    path = written(tmp_path, FILM)
    (tmp_path / "spot.picks.yaml").write_text("version: 1\ntakes: {hook: 3}\n", encoding="utf-8")
    assert offers(quoted(path, "3.00"))[0] == "takes: 1 in pour = 3.00 USD"


def test_a_clip_without_a_price_is_left_out_or_gets_its_line_to_paste(tmp_path: Path) -> None:
    prices = "prices: {tokenhub/wan2.7-t2v: {currency: USD, 720p: 0.1}}"
    film = FILM.replace("dashscope", "tokenhub").replace("scenes:", f"{prices}\n    scenes:")
    ran = typed("quote", str(written(tmp_path, film)), "--max-cost", "9")
    assert "no price is known for it, and --max-cost is a ceiling" in ran.said
    assert "tokenhub/wan2.7-t2v: {currency: USD, 1080p: ...}" in ran.said
    assert "resolution: 720p 7 clips 2.80 USD" in ran.said


def test_the_offers_are_in_the_json_with_what_to_write_and_to_type(tmp_path: Path) -> None:
    made = json.loads(typed("quote", str(written(tmp_path, FILM)), "--max-cost", "1.70", "--json").out)
    assert made["totals"]["refused"] == 5
    both, first = made["would_fit"]
    assert (both["takes"], both["fewer_in"]) == (1, ["hook", "pour"])
    assert (both["resolution"], both["lower_in"]) == ("720p", ["hook", "pour", "sip"])
    assert (both["clips"], both["price"]) == (3, [{"amount": 1.2, "currency": "USD", "exact": True}])
    assert (first["first"], first["clips"]) == (2, 2)
    assert json.loads(typed("quote", str(tmp_path / "spot.yaml"), "--json").out)["would_fit"] == []


# ── every offer, tried ───────────────────────────────────────────────────────────────────────────────────────────────


def film_of(chance: random.Random) -> dict[str, Any]:
    """A plan of up to five scenes, with what may be written about length, pixels, takes and variants."""
    scenes = []
    for number in range(chance.randint(1, 5)):
        scene: dict[str, Any] = {"id": f"s{number}", "prompt": f"Dust {number} moves"}
        scene |= {"seconds": str(chance.randint(2, 9))}
        scene |= {"takes": chance.randint(1, 4)} if chance.random() < 0.6 else {}
        scene |= {"resolution": chance.choice(["480p", "720p", "1080p"])} if chance.random() < 0.4 else {}
        scene |= {"prompt": f"Dust {number} in {{{{ city }}}}"} if chance.random() < 0.5 else {}
        scenes.append(scene)
    defaults: dict[str, Any] = {"takes": chance.randint(1, 3)} if chance.random() < 0.5 else {}
    defaults |= {"resolution": chance.choice(["720p", "1080p"])} if chance.random() < 0.5 else {}
    return {
        "version": 1,
        "provider": "dashscope",
        "model": chance.choice(["wan3.0-video", "wan3.0-video", "wan3.0-video-prime"]),
        "budget": {"max": chance.choice(["2", "4.5", "9", "15"]), "currency": chance.choice(["USD", "USD", "CNY"])},
        "prices": {"dashscope/wan3.0-video-prime": {"currency": "USD", "480p": 0.07, "1080p": 0.3}},
        "matrix": {"city": ["oslo", "tokyo"]},
        "defaults": defaults,
        "scenes": scenes,
    }


def changed(film: dict[str, Any], saving: Saving) -> dict[str, Any]:
    """The plan with what an offer says to write."""
    scenes = []
    for scene in film["scenes"]:
        fewer = {"takes": saving.takes} if scene["id"] in saving.fewer_in else {}
        lower = {"resolution": saving.resolution} if scene["id"] in saving.lower_in else {}
        scenes.append({**scene, **fewer, **lower})
    return {**film, "scenes": scenes}


def put(folder: Path, film: dict[str, Any]) -> Path:
    if "city" not in str(film["scenes"]):
        film = {key: value for key, value in film.items() if key != "matrix"}
    path = folder / "spot.yaml"
    path.write_text(json.dumps(film), encoding="utf-8")
    return path


@pytest.mark.parametrize("seed", range(40))
def test_every_offer_fits_when_it_is_made_and_costs_what_was_said(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    film = film_of(chance)
    path, shop = put(tmp_path, film), Shop(tmp_path)
    prepared = planning.prepare(str(path))
    for job in prepared.plan.jobs:
        if chance.random() < 0.25:
            shop.bring(job, chance.choice(list(State)))
    shop.ledger.close()
    ceiling = chance.choice([None, "0.9", "3"])
    only = ("s0*", "s1*") if chance.random() < 0.2 and len(film["scenes"]) > 1 else ()
    before = quoted(path, ceiling, only=only)
    assert (before.savings is None) is (not before.refused)
    for saving in before.savings or ():
        put(tmp_path, changed(film, saving))
        after = quoted(path, ceiling, only=saving.only or only, first=saving.first)
        assert after.refused == ()
        assert tuple(clip.job.id for clip in after.orders) == saving.orders
        assert after.now == saving.price
        assert after.orders
    if before.refused and not before.savings:
        alone = [quoted(put(tmp_path, film), ceiling, only=(clip.job.id,)) for clip in before.orders]
        assert all(each.refused for each in alone), "a clip would have fitted"


def test_there_are_offers_of_every_kind_among_those_tried(tmp_path: Path) -> None:
    kinds: set[str] = set()
    for seed in range(40):
        film = film_of(random.Random(seed))
        for saving in quoted(put(tmp_path, film), "3").savings or ():
            told = {name for name in ("takes", "resolution", "first", "only") if getattr(saving, name)}
            kinds.add(" and ".join(sorted(told)))
    assert kinds >= {"takes", "resolution", "resolution and takes", "first", "only"}


# ── nothing starts ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Stage]]:
    with opening(tmp_path, monkeypatch, caplog) as services:
        yield services


def in_plan(stage: Stage, line: str) -> None:
    text = re.sub(r"(?m)^budget: .*\n", "", stage.plan.read_text("utf-8"))
    stage.plan.write_text(text.replace("scenes:", f"{line}\nscenes:"), encoding="utf-8")


@pytest.mark.parametrize("words", [(), ("--retries", "3"), ("--only", "c1", "--only", "c3"), ("--first", "3")])
def test_a_plan_that_does_not_fit_as_a_whole_starts_nothing_and_says_what_would_fit(
    cloud: Callable[..., Stage], words: tuple[str, ...]
) -> None:
    stage = cloud("dashscope", clips=4)  # 0.10 each
    in_plan(stage, "budget: {max: 0.19, currency: USD}")
    ran = typed("run", str(stage.plan), "--yes", *words)
    assert ran.code == 2
    assert stage.sandbox.counts.total() == 0
    assert not (stage.folder / "outputs").exists(), "no ledger, no folder"
    assert "would be refused: it costs up to 0.10 USD, and 0.09 of the budget of 0.19 USD is left" in ran.said
    assert "nothing was sent" in ran.said
    assert "or --first 1 (1 clip, 0.10 USD)" in ran.said


def test_what_is_spent_already_counts_and_the_offer_then_works(cloud: Callable[..., Stage]) -> None:
    stage = cloud("dashscope", clips=4)
    in_plan(stage, "budget: {max: 0.3, currency: USD}")
    assert stage.run("--first", "2").code == 0
    refused = stage.run()
    assert (refused.code, stage.booked, stage.creates) == (2, 2, 2)
    assert "c4 would be refused" in refused.said
    assert "or --first 3 (1 clip, 0.10 USD)" in refused.said
    assert (stage.run("--first", "3").code, stage.booked) == (0, 3)


def test_max_cost_alone_starts_nothing_either(cloud: Callable[..., Stage]) -> None:
    stage = cloud("toapis", clips=2)
    ran = typed("run", str(stage.plan), "--yes", "--max-cost", "9")
    assert (ran.code, stage.sandbox.counts.total()) == (2, 0)
    assert "no price is known for it, and --max-cost is a ceiling" in ran.said
    assert "toapis/wan3.0-video: {currency: USD, 480p: ...}" in ran.said


def test_the_finder_asks_for_nothing_where_all_fits(tmp_path: Path) -> None:
    def never(resolution: str, scenes: frozenset[str]) -> Quote | None:
        raise AssertionError(resolution)

    assert savings.find(quoted(written(tmp_path, FILM)), never) == ()
