"""How fast a run goes, and what goes up before it orders. Time is a fake that jumps; what is counted is real."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import cards
from storyrun.errors import MissedPoll, NotSent, ProviderError, Rejected
from storyrun.records import ErrorClass, MediaSource
from storyrun.runner.pacing import Limits, Questions, Ramp, limits
from tests.fakes import READY, RUNNING, FakeClock, FakeProvider, Story, failing, refusal
from tests.stage import MODEL, Stage, card, job, jobs_of, power_stays_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from storyrun.records import Job, ModelCard

__all__ = ["power_stays_on"]

LIMIT = ErrorClass.RATE_LIMIT


class Paced(FakeProvider):
    """A provider with limits, and one that counts how many tasks of a model run."""

    def __init__(self, stories: Mapping[str, Sequence[Story]], **limits: Any) -> None:
        super().__init__(stories)
        self.polls_per_second: float | None = limits.get("polls")
        self.creates_per_second: float | None = limits.get("creates")
        self.running: Counter[str] = Counter()
        self.most_running: Counter[str] = Counter()
        self._models: dict[str, str] = {}

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Any:
        model = self._models[attempt_id] = str(request["model"])
        self.running[model] += 1
        self.most_running[model] = max(self.most_running[model], self.running[model])
        return await super().submit(request, attempt_id)

    async def poll(self, task: Any) -> Any:
        status = await super().poll(task)
        self.running[self._models[task.attempt_id]] -= status.state == "succeeded"
        return status

    def times(self, call: str, clip: str | None = None) -> list[float]:
        return [at for kind, about, at in self.when if kind == call and clip in (None, about)]


def most_in_a_second(times: Iterable[float]) -> int:
    """The most that lie in any one second, both of its ends included."""
    ordered = sorted(times)
    return max(sum(start <= at <= start + 1 for at in ordered) for start in ordered)


def names(count: int, letter: str = "c") -> list[str]:
    return [f"{letter}{number:03}" for number in range(count)]


def after(polls: int) -> list[Any]:
    """The answers to so many polls: the last says ready."""
    return [RUNNING] * (polls - 1) + [READY]


# ── questions per second ─────────────────────────────────────────────────────────────────────────────────────────────


def test_five_hundred_tasks_never_ask_more_than_the_account_may_in_any_second(tmp_path: Path) -> None:
    s = Stage(tmp_path, Paced({name: [Story(polls=[RUNNING, RUNNING, failing()])] for name in names(500)}, polls=20))
    s.play(jobs_of(" ".join(names(500))), concurrency=500, poll_interval=1.0)
    asked = s.provider.times("poll")
    assert len(asked) == 1500
    assert most_in_a_second(asked) <= 20
    assert max(asked) < 1500 / 20 * 1.2, "the cap is used, not only kept"


@pytest.mark.parametrize(("cap", "most"), [(20, 20), (1, 1), (2.5, 2)])
def test_the_first_second_is_no_exception(cap: float, most: int) -> None:
    clock, asked = FakeClock(), []

    async def ask(questions: Questions) -> None:
        await questions.turn()
        asked.append(clock.seconds)

    async def all_at_once() -> None:
        questions = Questions(cap, clock)
        await asyncio.gather(*(ask(questions) for _ in range(100)))

    asyncio.run(all_at_once())
    assert len(asked) == 100
    assert most_in_a_second(asked) <= most
    assert asked == sorted(asked)


def test_less_than_one_question_a_second_is_a_cap_too() -> None:
    clock, asked = FakeClock(), []

    async def one_by_one() -> None:
        questions = Questions(0.5, clock)
        for _ in range(3):
            await questions.turn()
            asked.append(clock.seconds)

    asyncio.run(one_by_one())
    assert [second - first for first, second in pairwise(asked)] == pytest.approx([2.2, 2.2])


def test_a_429_on_a_poll_pauses_every_question_and_fails_nothing(tmp_path: Path) -> None:
    slow = MissedPoll("too many", kind=LIMIT, retry_after=60.0)
    stories = {"a": [Story(polls=[slow, READY])]} | {name: [Story(polls=after(9))] for name in names(4)}
    s = Stage(tmp_path, Paced(stories))
    s.play(jobs_of(" ".join(["a", *names(4)])))
    told = s.provider.times("poll", "a")[0]
    assert not [at for at in s.provider.times("poll") if told < at < told + 60]
    assert set(s.states().values()) == {"done"}


def test_a_pause_does_not_outlast_the_deadline(tmp_path: Path) -> None:
    slow = MissedPoll("too many", kind=LIMIT, retry_after=500.0)
    s = Stage(tmp_path, Paced({"a": [Story(polls=[slow])], "b": [Story(polls=after(50))]}))
    s.play(jobs_of("a b"), deadline=100.0)
    assert s.states() == {"a": "accepted", "b": "accepted"}
    assert s.clock.seconds <= 101


# ── orders per second ────────────────────────────────────────────────────────────────────────────────────────────────


def test_orders_start_slowly_and_grow_to_what_the_provider_takes(tmp_path: Path) -> None:
    s = Stage(tmp_path, Paced({name: [Story()] for name in names(30)}, creates=5))
    s.play(jobs_of(" ".join(names(30))), concurrency=30)
    sent = s.provider.times("create")
    assert sent[:7] == pytest.approx([0, 1, 2, 2.5, 2.75, 3, 3.25])
    assert sent[-1] - sent[-11] == pytest.approx(2), "five a second in the end"
    assert most_in_a_second(at * 1.001 for at in sent) <= 5


def test_without_a_known_limit_nobody_waits_for_a_turn(tmp_path: Path) -> None:
    s = Stage(tmp_path, Paced({name: [Story()] for name in names(9)}))
    s.play(jobs_of(" ".join(names(9))), concurrency=9)
    assert set(s.provider.times("create")) == {0}


def test_a_ramp_grows_only_while_orders_are_taken() -> None:
    ramp = Ramp(8)
    for second in range(5):
        ramp.leaves(second)
        assert ramp.free_at == second + 1
    ramp.accepted(5)
    assert ramp.free_at == 4.5
    ramp.accepted(5.9)
    assert ramp.free_at == 4.5
    ramp.slow_down()
    assert ramp.free_at == 5


def test_a_429_pauses_the_orders_of_every_model_and_they_start_slowly_again(tmp_path: Path) -> None:
    stories: dict[str, list[Story]] = {name: [Story()] for name in [*names(20), *names(20, "d")]}
    stories["c015"] = [Story(refusal(LIMIT, retry_after=30.0)), Story()]
    s = Stage(tmp_path, Paced(stories, creates=5))
    jobs = [job(name) for name in names(20)] + [job(name, model="wan2.6-t2v") for name in names(20, "d")]
    s.play(jobs, cards={MODEL: card(), "wan2.6-t2v": card(model="wan2.6-t2v")}, concurrency=40)
    told = s.provider.times("create", "c015")[0]
    sent = s.provider.times("create")
    assert not [at for at in sent if told + 0.1 < at < told + 29.9]
    assert most_in_a_second(at for at in sent if at < told) > 2
    restart = sorted(at for at in s.provider.times("create") if at > told)
    assert sum(at < restart[0] + 1 for at in restart) == 2, "one a second of each of the two models"
    assert set(s.states().values()) == {"done"}


# ── tasks at once ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_limits_are_those_of_the_card_else_of_the_provider_and_never_of_another_provider() -> None:
    shelf = cards.load("dashscope")
    assert limits(shelf["wan2.7-t2v"], "dashscope", 5.0) == Limits(5, 5)
    assert limits(shelf["wan2.2-t2v-plus"], "dashscope", 5.0) == Limits(2, 2)
    assert limits(shelf["wan2.7-t2v"], "animatic") == Limits(None, None)
    assert limits(cards.load("toapis")["wan2.6"], "toapis", None) == Limits(None, None)
    assert limits(None, "dashscope", 5.0) == Limits(None, 5.0)


def two_models(root: Path) -> tuple[Stage, list[Job], dict[str, ModelCard]]:
    stories = {name: [Story(polls=after(2))] for name in [*names(12), *names(6, "d")]}
    s = Stage(root, Paced(stories))
    s.provider.name = "dashscope"
    shelf = cards.load("dashscope")
    both = {name: shelf[name] for name in ("wan2.7-t2v", "wan2.2-t2v-plus")}
    jobs = [job(name, model="wan2.7-t2v") for name in names(12)]
    return s, jobs + [job(name, model="wan2.2-t2v-plus") for name in names(6, "d")], both


def test_each_model_runs_as_many_tasks_as_its_card_allows_and_holds_up_no_other(tmp_path: Path) -> None:
    s, jobs, both = two_models(tmp_path)
    s.play(jobs, cards=both, concurrency=None)
    assert s.provider.most_running == {"wan2.7-t2v": 5, "wan2.2-t2v-plus": 2}
    assert s.provider.times("create", "d000")[0] < 3
    assert set(s.states().values()) == {"done"}


def test_what_the_user_asks_for_holds_over_all_models(tmp_path: Path) -> None:
    s, jobs, both = two_models(tmp_path)
    s.play(jobs, cards=both, concurrency=3)
    assert max(s.provider.most_running.values()) <= 3
    assert s.provider.times("create", "d000")[0] > 20


def test_models_whose_limits_nobody_knows_share_the_providers_workers(tmp_path: Path) -> None:
    s = Stage(tmp_path, Paced({name: [Story()] for name in names(12)}))
    s.play(jobs_of(" ".join(names(12))), concurrency=None)
    assert s.provider.most_running[MODEL] == s.provider.workers == 5


# ── the first question ───────────────────────────────────────────────────────────────────────────────────────────────


def first_question(root: Path, made: int, polls: int, **policy: Any) -> float:
    """Seconds from an order to its first poll, when `made` clips took so many polls in an earlier run."""
    stories = {name: [Story(polls=after(polls))] for name in names(made)} | {"z": [Story()]}
    s = Stage(root, Paced(stories))
    s.play(jobs_of(" ".join(names(made))), concurrency=made)
    s.play(jobs_of("z"), **policy)
    asked: float = s.provider.times("poll", "z")[0] - s.provider.times("create", "z")[0]
    return asked


def test_the_first_question_comes_nearly_when_the_model_is_usually_ready(tmp_path: Path) -> None:
    assert first_question(tmp_path, 6, 5) == 5 * 12.5 - 12.5 / 2


def test_a_few_clips_teach_nothing(tmp_path: Path) -> None:
    assert first_question(tmp_path, 4, 5) == 12.5


def test_clips_that_were_quick_do_not_make_it_ask_earlier_than_the_gap(tmp_path: Path) -> None:
    assert first_question(tmp_path, 6, 1) == 12.5


def test_clips_that_were_fetched_much_later_do_not_make_it_wait_for_ever(tmp_path: Path) -> None:
    assert first_question(tmp_path, 6, 500) == 300 - 12.5 / 2


def test_a_poll_interval_of_the_users_holds_for_the_first_question_too(tmp_path: Path) -> None:
    assert first_question(tmp_path, 6, 5, poll_interval=2.0) == 2.0


def test_a_run_learns_from_its_own_clips(tmp_path: Path) -> None:
    s = Stage(tmp_path, Paced({name: [Story(polls=after(5))] for name in names(6)}))
    s.play(jobs_of(" ".join(names(6))), concurrency=1)
    late = s.provider.times("poll", "c005")[0] - s.provider.times("create", "c005")[0]
    assert late == 5 * 12.5 - 12.5 / 2


# ── downloads ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_the_provider_drops_first_is_downloaded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storyrun.runner.DOWNLOADS", 1)
    provider = FakeProvider({name: [Story()] for name in "abcde"}, fetch_takes=100.0)
    s = Stage(tmp_path, provider)
    short = "wan2.6-t2v"
    jobs = [*jobs_of("a b c"), job("d", model=short), job("e", model=short)]
    s.play(jobs, cards={MODEL: card(keeps_hours=24), short: card(model=short, keeps_hours=1)})
    assert [clip for call, clip in provider.history if call == "fetch"] == ["a", "d", "e", "b", "c"]


# ── uploads ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Uploading(FakeProvider):
    """A provider that takes local files. `trouble`: by file text, the errors of its next uploads."""

    def __init__(
        self, clips: str, trouble: Mapping[str, Sequence[ProviderError]] | None = None, *, kept: float | None = None
    ) -> None:
        super().__init__({clip: [Story()] for clip in clips.split()})
        self.upload_kept = kept
        self.trouble = {name: list(errors) for name, errors in (trouble or {}).items()}
        self.sent: list[Mapping[str, Any]] = []
        self.look: Callable[[], None] = lambda: None

    async def upload(self, source: MediaSource, model: str) -> str:
        self._note("upload", source.text)
        self.look()
        await asyncio.sleep(0)
        if self.trouble.get(source.text):
            raise self.trouble[source.text].pop(0)
        return f"https://up.example/{model}/{source.sha256}.png?signature=s3cret"

    def request(self, job: Job, uploads: Mapping[str, str]) -> dict[str, Any]:
        frame = job.first_frame
        return {"model": job.model, "clip": job.id, "image": uploads[frame.text] if frame and frame.path else None}

    async def submit(self, request: Mapping[str, Any], attempt_id: str) -> Any:
        self.sent.append(request)
        return await super().submit(request, attempt_id)

    def uploaded(self) -> list[str]:
        return [text for call, text in self.history if call == "upload"]


def framed(clip: str, root: Path, text: str = "desk.png", content: str = "desk", **changes: Any) -> Job:
    """A job that starts from a local picture."""
    return job(clip, mode="image", first_frame=MediaSource(text, "image", root / text, content * 4), **changes)


def test_a_file_goes_up_once_per_content_and_before_anything_is_ordered(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("a b c d e"))
    s.provider.look = lambda: rows.append(len(s.attempts()))
    rows: list[int] = []
    jobs = [framed("a", tmp_path), framed("b", tmp_path), framed("c", tmp_path, "copy.png")]
    s.play([*jobs, framed("d", tmp_path, "other.png", "other"), job("e")])
    assert sorted(s.provider.uploaded()) == ["desk.png", "other.png"]
    assert rows[0] == 0
    assert {request["clip"]: request["image"] for request in s.provider.sent} == {
        **dict.fromkeys("abc", f"https://up.example/{MODEL}/deskdeskdeskdesk.png?signature=s3cret"),
        "d": f"https://up.example/{MODEL}/otherotherotherother.png?signature=s3cret",
        "e": None,
    }
    order = s.provider.history
    assert order.index(("upload", "other.png")) < order.index(("create", "d"))
    assert set(s.states().values()) == {"done"}


def test_every_place_of_a_job_that_holds_a_local_file_is_uploaded_and_no_url_is(tmp_path: Path) -> None:
    from storyrun.records import BoundReference

    def local(text: str) -> MediaSource:
        return MediaSource(text, "image", tmp_path / text, text * 8)

    url = MediaSource("https://x.example/a.png", "image", None, "")
    bound = BoundReference("mira", (local("one.png"), url, local("two.png")), local("voice.wav"), "Image 1")
    everything = job(
        "a", references=(bound,), first_frame=local("f.png"), last_frame=local("l.png"), audio_file=local("vo.wav")
    )
    s = Stage(tmp_path, Uploading("a"))
    s.play([everything])
    assert s.provider.uploaded() == ["one.png", "two.png", "voice.wav", "f.png", "l.png", "vo.wav"]


def test_what_is_uploaded_for_one_model_is_not_used_for_another(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("a b"))
    both = {MODEL: card(), "wan2.6-i2v": card(model="wan2.6-i2v")}
    s.play([framed("a", tmp_path), framed("b", tmp_path, model="wan2.6-i2v")], cards=both)
    assert s.provider.uploaded() == ["desk.png", "desk.png"]


@pytest.mark.parametrize(("kept", "uploads"), [(None, 1), (100.0, 1), (20.0, 2)])
def test_a_file_goes_up_again_when_the_provider_has_dropped_it(
    tmp_path: Path, kept: float | None, uploads: int
) -> None:
    s = Stage(tmp_path, Uploading("a b c", kept=kept))
    s.play([framed(clip, tmp_path) for clip in "abc"], concurrency=1)  # at 0, 12.5 and 25 seconds
    assert len(s.provider.uploaded()) == uploads


def test_the_ledger_holds_the_request_without_the_signature_that_is_sent(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("a"))
    s.play([framed("a", tmp_path)])
    assert s.attempts()[0].request["image"] == f"https://up.example/{MODEL}/deskdeskdeskdesk.png?..."
    assert s.provider.sent[0]["image"].endswith("?signature=s3cret")
    assert b"s3cret" not in b"".join(file.read_bytes() for file in s.outputs.root.rglob("*") if file.is_file())


def missed() -> MissedPoll:
    return MissedPoll("connection reset", kind=ErrorClass.NETWORK)


def test_an_upload_that_fails_passingly_is_tried_again(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("a", {"desk.png": [missed(), missed()]}))
    s.play([framed("a", tmp_path)])
    assert s.states() == {"a": "done"}
    assert s.provider.when[2] == ("upload", "desk.png", 2 + 6)
    assert s.told("a")[:3] == ["waiting", "waiting", "sending"]


@pytest.mark.parametrize(
    "error",
    [
        NotSent("desk.png has changed since the plan was read", kind=ErrorClass.FILE),
        Rejected("desk.png has changed since the plan was read", kind=ErrorClass.PARAMETER),
    ],
)
def test_a_file_that_cannot_go_up_costs_its_clips_alone_and_nothing_is_ordered_for_them(
    tmp_path: Path, error: ProviderError
) -> None:
    s = Stage(tmp_path, Uploading("c d", {"desk.png": [error]}))
    outcome = s.play([framed("a", tmp_path), framed("b", tmp_path), framed("c", tmp_path, "other.png", "x"), job("d")])
    assert outcome.stopped == ""
    assert s.states() == {"c": "done", "d": "done"}
    assert s.provider.uploaded().count("desk.png") == 1, "a definite no is not asked for twice"
    assert s.told("a") == s.told("b") == ["failed"]
    told = next(event.sentence for event in s.events if event.clip == "a")
    assert told == "not ordered, nothing was sent: desk.png has changed since the plan was read"


def test_the_next_run_tries_a_failed_upload_again(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("a", {"desk.png": [missed() for _ in range(5)]}))
    outcome = s.play([framed("a", tmp_path)])
    assert (s.states(), outcome.stopped) == ({}, "")
    s.play([framed("a", tmp_path)])
    assert s.states() == {"a": "done"}


def test_a_key_that_is_refused_at_an_upload_stops_the_run(tmp_path: Path) -> None:
    no = {"a.png": [Rejected("bad key", kind=ErrorClass.CREDENTIALS)]}
    s = Stage(tmp_path, Uploading("", no))
    jobs = [framed(clip, tmp_path, f"{clip}.png", clip) for clip in "abcdefgh"]
    outcome = s.play([*jobs, framed("i", tmp_path, "a.png", "a")], concurrency=9)
    assert outcome.stopped == "the provider refused the key"
    assert s.provider.uploaded() == ["a.png", "b.png", "c.png", "d.png"], "those that were on their way"
    assert s.attempts() == []
    assert [event.clip for event in s.events if event.kind == "failed"] == ["a"]


def test_several_files_in_a_row_that_do_not_go_up_stop_the_run(tmp_path: Path) -> None:
    trouble = {f"{clip}.png": [missed() for _ in range(99)] for clip in "abcdef"}
    s = Stage(tmp_path, Uploading("", trouble))
    outcome = s.play([framed(clip, tmp_path, f"{clip}.png", clip) for clip in "abcdef"], concurrency=1)
    assert "is there a connection?" in outcome.stopped
    assert set(s.provider.uploaded()) == {"a.png", "b.png", "c.png"}
    assert s.attempts() == []


def test_a_failed_upload_is_a_failure_to_fail_fast(tmp_path: Path) -> None:
    s = Stage(tmp_path, Uploading("", {"desk.png": [NotSent("gone", kind=ErrorClass.FILE)]}))
    s.play([framed("a", tmp_path), job("b")], concurrency=1, fail_fast=True)
    assert s.attempts() == []
