"""The disk under a paid run: full, failing, read only, or holding a ledger from a backup. No order follows any of it.

The names are those of the fault catalogue: D-01 full before an order, D-02 full just after, D-03 full in a download,
D-04 a failing device, D-05 a damaged ledger, D-06 a place that cannot be written, D-13 an old ledger put back.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from storyrun import disk
from storyrun.errors import LedgerError
from storyrun.ledger import Ledger
from storyrun.ledger import file as ledgerfile
from storyrun.records import State
from storyrun.runner.room import LEDGER_BYTES, SPARE, Room
from tests.fakes import READY, RUNNING, FakeProvider, Story, clip_bytes, lost
from tests.ledgers import TickingClock, go, order
from tests.rehearsal import opening, typed
from tests.stage import Stage, job, jobs_of, power_stays_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.rehearsal import Stage as Cloud

__all__ = ["power_stays_on"]

BALLAST = disk.BALLAST_BYTES
ROOT = Path(__file__).parent.parent


@pytest.fixture
def cloud(tmp_path, monkeypatch, caplog) -> Iterator[Callable[..., Cloud]]:
    with opening(tmp_path, monkeypatch, caplog) as opened:
        yield opened


# ── the ballast ──────────────────────────────────────────────────────────────────────────────────────────────────────


def ballast(folder: Path) -> Path:
    return folder / ".ballast"


def test_the_ballast_is_a_real_megabyte_that_no_disk_can_leave_out_and_its_owner_s_alone(tmp_path):
    import zlib

    disk.lay_ballast(tmp_path)
    lying = ballast(tmp_path).stat()
    assert lying.st_size == BALLAST == 1 << 20
    assert lying.st_blocks * 512 >= BALLAST
    assert len(zlib.compress(ballast(tmp_path).read_bytes())) > BALLAST
    assert lying.st_mode & 0o777 == 0o600


def test_the_ballast_is_made_once_and_anew_when_it_is_gone_or_was_cut(tmp_path):
    disk.lay_ballast(tmp_path)
    first = ballast(tmp_path).stat()
    disk.lay_ballast(tmp_path)
    assert ballast(tmp_path).stat().st_ino == first.st_ino
    ballast(tmp_path).write_bytes(b"half")
    disk.lay_ballast(tmp_path)
    assert ballast(tmp_path).stat().st_size == BALLAST
    disk.drop_ballast(tmp_path)
    assert [*tmp_path.iterdir()] == []
    disk.drop_ballast(tmp_path)
    disk.lay_ballast(tmp_path)
    assert ballast(tmp_path).stat().st_size == BALLAST


def test_without_room_there_is_no_ballast_and_no_half_of_one(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    disk.lay_ballast(tmp_path)
    assert [*tmp_path.iterdir()] == []


# ── a full ledger, by SQLite itself ──────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def full_ledger(tmp_path, monkeypatch) -> Iterator[Any]:
    """A ledger with two orders in flight whose file may not grow by one page, but for those of the ballast."""
    ledger = Ledger.open(tmp_path / "ledger.sqlite", TickingClock())
    disk.lay_ballast(tmp_path)
    run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
    order(ledger, run, "a"), order(ledger, run, "b")
    db, drop = ledger._file._db, disk.drop_ballast

    def pages() -> int:
        return int(db.execute("PRAGMA page_count").fetchone()[0])

    def dropped(folder: Path) -> None:
        if ballast(folder).exists():
            drop(folder)
            db.execute(f"PRAGMA max_page_count = {pages() + BALLAST // 4096}")

    monkeypatch.setattr(disk, "drop_ballast", dropped)
    db.execute(f"PRAGMA max_page_count = {pages()}")
    with ledger:
        yield ledger


ANSWER = "y" * 60_000


def test_d_02_what_was_just_bought_is_recorded_in_the_room_of_the_ballast_and_nothing_after_it(full_ledger, tmp_path):
    a, b = full_ledger.attempts()
    full_ledger.record_answer(a.id, ANSWER)
    assert not ballast(tmp_path).exists()
    assert full_ledger.move(a.id, State.ACCEPTED, task_id="t1").state is State.ACCEPTED
    for write in (
        lambda: order(full_ledger, a.run, "c"),
        lambda: full_ledger.move(a.id, State.READY),
        lambda: full_ledger.set_problems(a.id, ()),
        lambda: full_ledger.end_run(a.run),
    ):
        with pytest.raises(LedgerError, match=r"database or disk is full.*nothing more is ordered"):
            write()
    full_ledger.record_answer(b.id, ANSWER)  # an order that was in flight meanwhile
    full_ledger.move(b.id, State.UNKNOWN)
    assert [row.state for row in full_ledger.attempts()] == ["accepted", "unknown"]
    assert [full_ledger.answer(row.id) for row in (a, b)] == [ANSWER] * 2


def test_d_02_an_order_that_finds_the_disk_full_frees_no_ballast_and_those_in_flight_do(full_ledger, tmp_path):
    a, _ = full_ledger.attempts()
    with pytest.raises(LedgerError, match="disk is full"):
        order(full_ledger, a.run, "c", request={"prompt": ANSWER})
    assert ballast(tmp_path).exists()
    full_ledger.record_answer(a.id, ANSWER)
    assert full_ledger.move(a.id, State.ACCEPTED, task_id="t1").task_id == "t1"
    assert len(full_ledger.attempts()) == 2


def test_d_02_without_a_ballast_one_more_try_is_made_and_no_other(full_ledger, tmp_path):
    a, b = full_ledger.attempts()
    ballast(tmp_path).unlink()
    for attempt in (a, b):
        with pytest.raises(LedgerError, match="disk is full"):
            full_ledger.record_answer(attempt.id, ANSWER)
    with pytest.raises(LedgerError):
        full_ledger.move(a.id, State.ACCEPTED, task_id="t1")
    assert [row.state for row in full_ledger.attempts()] == ["sending", "sending"]


# ── the n-th write fails, n = 1, 2, 3, ... ───────────────────────────────────────────────────────────────────────────


class Weather:
    """Lets the nth write of the ledger fail, and every later one, until the disk is well again."""

    def __init__(self, at: int, kind: str, creates: Callable[[], int]) -> None:
        self.at, self.kind, self._creates = at, kind, creates
        self.writes = 0
        self.bad = False
        self.after = 0
        """Writes that were tried once it was bad."""
        self.creates_then = 0

    def write(self, do: Callable[[], Any], *, commit: bool) -> Any:
        self.writes += 1
        if self.writes == self.at:
            self.bad, self.creates_then = True, self._creates()
        elif not self.bad:
            return do()
        else:
            self.after += 1
        if commit and self.kind == "failed sync":
            do()  # all is on the disk but the word that it is
        error = sqlite3.OperationalError(f"the weather: {self.kind}")
        code = sqlite3.SQLITE_FULL if self.kind.startswith("full") else sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorcode = code
        raise error

    def ballast_dropped(self, _: Path) -> None:
        assert self.kind.startswith("full"), "only a full disk is tried again"
        self.bad = self.kind == "full, nothing helps"


class Failing:
    """A connection under the weather."""

    def __init__(self, db: sqlite3.Connection, weather: Weather) -> None:
        self._db, self._weather = db, weather

    def execute(self, sql: str, *parameters: Any) -> Any:
        if sql.split(maxsplit=1)[0] in ("BEGIN", "INSERT", "UPDATE", "COMMIT"):
            return self._weather.write(lambda: self._db.execute(sql, *parameters), commit=sql == "COMMIT")
        return self._db.execute(sql, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


JOBS = [*jobs_of("a b lost"), job("c")]


def stories() -> dict[str, list[Story]]:
    return {
        "a": [Story()],
        "b": [Story(polls=[RUNNING, READY])],
        "lost": [Story(lost(), booked=True)],
        "c": [Story()],
    }


def under(monkeypatch: pytest.MonkeyPatch, weather: Weather | None) -> None:
    """From now on every ledger is opened in this weather; None: in none."""
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", lambda handle: None)
    if weather is None:
        return
    open_to_write = ledgerfile.open_to_write

    def opened(path: Path, new_id: Callable[[], str]) -> Any:
        file = open_to_write(path, new_id)
        file._db = Failing(file._db, weather)  # type: ignore[assignment]
        return file

    monkeypatch.setattr(ledgerfile, "open_to_write", opened)
    monkeypatch.setattr(disk, "drop_ballast", weather.ballast_dropped)


@pytest.mark.parametrize(
    ("kind", "every"), [("full", 1), ("full, nothing helps", 3), ("device error", 2), ("failed sync", 3)]
)
def test_d_04_whichever_write_fails_no_order_follows_nothing_is_bought_twice_and_no_task_id_is_lost(
    tmp_path, monkeypatch, kind, every
):
    failed = 0
    for at in count(1, every):
        stage = Stage(tmp_path / str(at), FakeProvider(stories(), create_takes=1.0))
        weather = Weather(at, kind, partial(stage.provider.calls, "create"))
        under(monkeypatch, weather)
        notes: list[str] = []
        try:
            stage.play(JOBS)
            passed = weather.writes < at
            # the last write of all may have been saved by the ballast; the run learns of it with its next write
            assert passed or kind == "full", at
        except LedgerError as error:
            passed = False
            failed += 1
            notes = getattr(error, "__notes__", [])
        under(monkeypatch, None)
        if passed:
            break
        place = f"{kind}, write {at}"
        assert stage.provider.calls("create") == weather.creates_then, place
        printed = " ".join([*(event.sentence for event in stage.events), *notes])
        recorded = {row.task_id for row in stage.attempts()} if stage.outputs.ledger_path.exists() else set()
        for task_id, story in stage.provider.tasks.items():
            if story.clip == "lost":
                continue  # its answer never came
            assert task_id in recorded or task_id in printed, place
            assert task_id in recorded or kind != "full", place
        stage.play(JOBS)
        assert max(stage.provider.booked().values()) == 1, place
        states = stage.states()
        doubtful = {clip for clip, state in states.items() if state == "unknown"} - {"lost"}
        assert len(doubtful) <= 4, place
        assert not (doubtful and kind == "full"), place
        assert set(states) == {"a", "b", "c", "lost"}, place
        assert {state for clip, state in states.items() if clip not in doubtful} <= {"done", "unknown"}, place
        assert stage.leftovers() == [], place
        shutil.rmtree(stage.root)
    assert failed > 20


def test_a_failed_run_says_what_is_bought_and_not_here_and_ends_with_6(cloud, monkeypatch):
    stage = cloud("toapis", clips=3, latency=(0.0, 0.0))
    moves: list[Any] = []
    move = Ledger.move

    def failing(self: Ledger, attempt_id: str, to: State, **what: Any) -> Any:
        if to is State.ACCEPTED and moves.count(to):
            self._file._db.execute(
                f"PRAGMA max_page_count = {self._file._db.execute('PRAGMA page_count').fetchone()[0]}"
            )
            what["why"] = "z" * 200_000  # more than the pages that are there
        moves.append(to)
        return move(self, attempt_id, to, **what)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "move", failing)
        ran = stage.run("--concurrency", "1")
    assert ran.code == 6
    assert "disk is full" in ran.said
    assert "make room on the disk, then type the same line again" in ran.said
    assert stage.creates == 2
    unrecorded = stage.attempts[1]
    assert unrecorded.state is State.SENDING
    bought = stage.sandbox.log.booked[1]["task_id"]
    assert f"note: c2: task {bought} (attempt {unrecorded.id})" in ran.said
    assert f"bought and not here: c2, no task id (sending, attempt {unrecorded.id})" in ran.said
    assert stage.run().code in (0, 4)
    assert stage.booked == 3


# ── room, before anything is sent and before each order ──────────────────────────────────────────────────────────────


def test_d_01_a_disk_that_cannot_take_the_clips_in_flight_is_refused_with_the_numbers(cloud, monkeypatch):
    stage = cloud("toapis", clips=3)
    monkeypatch.setattr(disk, "free", lambda folder: 10_000_000)
    ran = typed("run", str(stage.plan), "--yes", "--concurrency", "2")
    assert ran.code == 6
    # two at the provider and one being downloaded, of 2 s at 6 Mbit/s, and half as much again
    assert "10 MB free; 3 clips in flight may need 7 MB (taken as 6 Mbit/s at 480p), the ledger 9 MB" in ran.said
    assert "nothing was ordered" in ran.said
    assert "make 6 MB free, name another disk with --out" in ran.said
    assert stage.sandbox.counts.total() == 0
    assert stage.attempts == []
    monkeypatch.setattr(disk, "free", lambda folder: 15_200_000)
    assert stage.run("--concurrency", "2").code == 0
    monkeypatch.setattr(disk, "free", lambda folder: 1)
    assert stage.run().code == 0, "where nothing is to be ordered, nothing is asked"


def test_d_01_without_room_for_more_the_line_that_collects_is_told_and_works(cloud, monkeypatch):
    stage = cloud("toapis", clips=2)
    assert stage.run("--only", "c1", "--deadline", "0").code == 4
    monkeypatch.setattr(disk, "free", lambda folder: 10_000_000)
    ran = typed("run", "plan.yaml", "--yes")
    assert ran.code == 6
    assert "what is open is collected with `storyrun fetch plan.yaml`" in ran.said
    assert stage.fetch().code == 0
    assert stage.states == ["done"]


def test_a_disk_that_does_not_say_how_full_it_is_is_trusted(cloud, monkeypatch):
    stage = cloud("toapis")
    monkeypatch.setattr(disk, "free", lambda folder: None)
    assert stage.run().code == 0


def test_an_animatic_needs_little_more_than_the_room_for_the_ledger(tmp_path, monkeypatch):
    plan = tmp_path / "plan.yaml"
    plan.write_text("version: 1\nscenes:\n  - {id: c1, prompt: Dust, seconds: 1, resolution: 480p}\n", "utf-8")
    monkeypatch.setattr(disk, "free", lambda folder: LEDGER_BYTES)
    assert typed("preview", str(plan)).code == 6
    monkeypatch.setattr(disk, "free", lambda folder: LEDGER_BYTES + 1_000_000)
    assert typed("preview", str(plan)).code == 0


def test_d_01_a_disk_that_fills_up_ends_the_orders_and_what_is_open_is_still_collected(tmp_path):
    stage = Stage(tmp_path, FakeProvider({clip: [Story(polls=[RUNNING, READY])] for clip in "abcdef"}))
    outcome = stage.play(
        jobs_of("a b c d e f"), free=lambda folder: 10**9 if stage.provider.calls("create") < 3 else LEDGER_BYTES
    )
    assert "the disk of" in outcome.stopped
    assert "free" in outcome.stopped
    sent = stage.provider.calls("create")
    assert 3 <= sent < 6
    assert list(stage.states().values()) == ["done"] * sent
    assert stage.play(jobs_of("a b c d e f")).stopped == ""
    assert stage.states() == dict.fromkeys("abcdef", "done")
    assert set(stage.provider.booked().values()) == {1}


def test_room_is_asked_for_every_clip_in_flight_and_not_for_one_alone(tmp_path):
    """Room for three of the assumed weight: the fourth order waits for no luck, it is not sent."""
    weight = 12e6 / 8 * SPARE
    stage = Stage(tmp_path, FakeProvider({clip: [Story(polls=[RUNNING, READY])] for clip in "abcdef"}))
    outcome = stage.play(jobs_of("a b c d e f"), free=lambda folder: int(LEDGER_BYTES + 3 * weight + 1))
    assert "4 clips in flight" in outcome.stopped
    assert stage.provider.calls("create") == 3


def test_what_clips_weigh_is_learnt_from_the_ledger_by_model_and_resolution(tmp_path):
    with Ledger.open(tmp_path / "ledger.sqlite", TickingClock()) as ledger:
        run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
        for number, (length, weight) in enumerate([(5, 5_000_000), (2, 3_000_000), (5, 1_000_000)]):
            form = {"length": length, "billed_resolution": "720p"}
            made = order(ledger, run, f"c{number}", job=form)
            go(ledger, made, "accepted", "ready")
            ledger.move(made.id, State.DONE, sha256="00", bytes=weight)
        assert ledger.weights("tokenhub", "wan2.7-t2v", "720p") == [200_000, 1_500_000, 1_000_000]
        assert ledger.weights("tokenhub", "wan2.7-t2v", "1080p") == []
        assert ledger.weights("toapis", "wan2.7-t2v", "720p") == []
        room = Room(lambda: LEDGER_BYTES, ledger, "tokenhub", paid=True, where="outputs")
        assert "1 clip in flight may need 3 MB (by what such clips weighed here)" in room.lack([job("x")])[0]
        assert "(taken as 24 Mbit/s at 1080p)" in room.lack([job("y", billed_resolution="1080p")])[0]


def test_free_room_is_told_of_a_folder_that_is_not_there_yet(tmp_path):
    there, later = disk.free(tmp_path), disk.free(tmp_path / "outputs" / "spot")
    assert there is not None
    assert later is not None
    assert abs(there - later) < 1 << 30


# ── downloads ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["tokenhub", "toapis", "dashscope"])
def test_d_03_a_disk_that_fills_up_in_a_download_leaves_no_part_and_the_clip_stays_bought(cloud, monkeypatch, name):
    stage = cloud(name)
    with monkeypatch.context() as patch:

        def full(self: Any, tag: str) -> Any:
            self._path.write_bytes(b"the first bytes")
            return Path("/dev/full").open("wb")  # the kernel's own full disk

        patch.setattr("storyrun.http.downloads._Part.start_anew", full)
        ran = stage.run()
    assert ran.code == 6
    assert "No space left on device; the clip stays bought" in ran.said
    assert f"bought and not here: c1, task {stage.attempts[0].task_id} (ready" in ran.said
    assert (stage.files(), stage.states, stage.statuses()) == ([], ["ready"], ["open"])
    assert stage.run().code == 0
    assert (stage.booked, stage.files()) == (1, ["c1_v001.mp4"])


def test_parts_are_no_clips_for_quote_manifest_reuse_or_the_search_for_a_lost_ledger(cloud):
    stage = cloud("toapis", clips=2)
    clips = stage.place / "clips"
    clips.mkdir(parents=True)
    for name in (".c1_v001.mp4.part", ".0f.part", "c2_v001.mp4.part", ".0f.part.etag"):
        (clips / name).write_bytes(clip_bytes())
    told = json.loads(typed("quote", str(stage.plan), "--json").out)
    assert "reused" not in json.dumps(told["clips"])
    assert stage.run("--only", "c1").code == 0
    assert stage.statuses() == ["done", "planned"]
    assert (stage.booked, stage.manifest["totals"]["reused"]) == (1, 0)
    assert stage.files() == ["c1_v001.mp4", "c2_v001.mp4.part"], "hidden ones are swept, others are nobody's"


# ── places that cannot be used ───────────────────────────────────────────────────────────────────────────────────────


def a_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("in the way", "utf-8")


def a_folder(path: Path) -> None:
    path.mkdir(parents=True)


def a_link_to_nowhere(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere/at/all")


def a_newer_ledger(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Ledger.open(path, TickingClock()).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")


def somebody_s_database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name)")


def half_a_ledger(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Ledger.open(path, TickingClock()).close()
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("place", "what", "said"),
    [
        ("", a_file, "cannot be written: Not a directory"),
        ("", a_link_to_nowhere, "cannot be written: File exists"),
        ("plan", a_file, "cannot be written: Not a directory"),
        ("plan/{label}", a_file, "cannot be written: Not a directory"),
        ("plan/{label}/clips", a_file, "cannot be written: File exists"),
        ("plan/{label}/clips", a_link_to_nowhere, "cannot be written: File exists"),
        ("plan/{label}/manifest.json", a_folder, "could not be written: Is a directory"),
        ("plan/{label}/.lock", a_folder, "cannot be locked: Is a directory"),
        ("ledger.sqlite", a_folder, "ledger.sqlite cannot be used"),
        ("ledger.sqlite", a_file, "is damaged"),
        ("ledger.sqlite", a_link_to_nowhere, "cannot be made: File exists"),
        ("ledger.sqlite", a_newer_ledger, "has version 9, this storyrun knows up to"),
        ("ledger.sqlite", somebody_s_database, "is a database, but not a ledger of storyrun"),
        ("ledger.sqlite", half_a_ledger, "is damaged"),
        ("ledger.sqlite-wal", a_file, "it is gone, and its -wal file is there"),
    ],
)
def test_d_06_whatever_is_in_the_way_is_found_before_anything_is_sent(cloud, place, what, said):
    stage = cloud("toapis")
    what(stage.folder / "outputs" / place.format(label=stage.label))
    ran = typed("run", str(stage.plan), "--yes")
    assert ran.code == 6, ran.said
    assert said in ran.said
    assert "Traceback" not in ran.said
    assert stage.sandbox.counts.total() == 0


def test_a_ledger_that_was_moved_away_and_left_a_link_is_used_where_it_lies(cloud):
    stage = cloud("toapis", clips=2)
    assert stage.run("--only", "c1").code == 0
    ledger = stage.folder / "outputs/ledger.sqlite"
    elsewhere = stage.folder / "elsewhere"
    elsewhere.mkdir()
    ledger.rename(elsewhere / "ledger.sqlite")
    ledger.symlink_to("../elsewhere/ledger.sqlite")
    assert stage.run().code == 0
    assert (stage.booked, ledger.is_symlink()) == (2, True)
    assert sorted(path.name for path in elsewhere.iterdir()) == [".ballast", "ledger.sqlite"]


READ_ONLY = """
import os, sys
from pathlib import Path
from storyrun.cli import main
plan, first, second = sys.argv[1:]
Path(first, "plan").touch()
main(["preview", plan, "--out", first])  # both, for all that is loaded only when it is needed
Path(first, "plan").unlink()
code = main(["preview", plan, "--out", first])
if os.geteuid() == 0:
    os.setgroups([])
    os.setuid(65534)
print(code, main(["preview", plan, "--out", second]), main(["status", plan, "--out", first]))
"""


def test_d_06_a_folder_that_may_only_be_read_is_refused_and_can_still_be_looked_at():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plan = folder / "plan.yaml"
        plan.write_text("version: 1\nscenes:\n  - {id: c1, prompt: Dust, seconds: 1, resolution: 480p}\n", "utf-8")
        for sub in ("first", "second"):
            (folder / sub).mkdir()
        (folder / "second").chmod(0o555)
        folder.chmod(0o755)
        ran = subprocess.run(
            [sys.executable, "-c", READ_ONLY, plan, folder / "first", folder / "second"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        (folder / "second").chmod(0o755)
        assert ran.stdout.splitlines()[-1].split()[:2] == ["0", "6"], ran.stderr
        assert "cannot be written: Permission denied" in ran.stderr
        assert "nothing was ordered" in ran.stderr
        assert "Traceback" not in ran.stderr, ran.stderr
        assert [*(folder / "second").iterdir()] == []


def test_s_04_ledger_log_and_ballast_are_for_their_owner_alone_whatever_the_umask(cloud, monkeypatch):
    stage = cloud("toapis")
    modes: dict[str, int] = {}
    move = Ledger.move

    def looked(self: Ledger, *what: Any, **more: Any) -> Any:
        for path in (stage.folder / "outputs").iterdir():
            if path.is_file():
                modes[path.name] = path.stat().st_mode & 0o777
        return move(self, *what, **more)

    monkeypatch.setattr(Ledger, "move", looked)
    old = os.umask(0)
    try:
        assert stage.run().code == 0
    finally:
        os.umask(old)
    assert modes == dict.fromkeys([".ballast", "ledger.sqlite", "ledger.sqlite-shm", "ledger.sqlite-wal"], 0o600)


def test_d_12_a_project_that_was_moved_goes_on_where_it_is(cloud):
    stage = cloud("toapis", clips=2)
    assert stage.run("--only", "c1").code == 0
    moved = stage.folder / "archive" / "project"
    moved.mkdir(parents=True)
    for name in ("plan.yaml", "outputs"):
        (stage.folder / name).rename(moved / name)
    ran = typed("run", str(moved / "plan.yaml"), "--yes")
    assert (ran.code, stage.booked) == (0, 2), ran.said
    assert "1 reused" in ran.said


# ── a ledger from a backup ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def restored(cloud) -> Cloud:
    """Two clips bought one after the other, and the ledger as it was between them."""
    stage: Cloud = cloud("toapis", clips=2)
    ledger = stage.folder / "outputs/ledger.sqlite"
    assert stage.run("--only", "c1").code == 0
    shutil.copy(ledger, stage.folder / "old.sqlite")
    assert stage.run().code == 0
    ledger.rename(stage.folder / "new.sqlite")
    shutil.copy(stage.folder / "old.sqlite", ledger)
    return stage


@pytest.mark.parametrize("verb", ["run", "fetch"])
def test_d_13_a_ledger_older_than_its_manifest_stops_everything(restored, verb):
    before = (restored.place / "manifest.json").read_bytes()
    asked = dict(restored.sandbox.counts)
    if verb == "fetch":  # something must be open for it
        with Ledger.open(restored.folder / "outputs/ledger.sqlite", TickingClock()) as ledger:
            ledger.move(ledger.attempts()[0].id, State.READY)
    ran = typed(verb, str(restored.plan), *(["--yes"] if verb == "run" else []))
    assert ran.code == 6
    assert "older than the clips beside it" in ran.said
    assert "names c2, of whose order it knows nothing; nothing was ordered" in ran.said
    assert dict(restored.sandbox.counts) == asked
    assert (restored.place / "manifest.json").read_bytes() == before, "what shows the gap is kept"
    (restored.folder / "new.sqlite").replace(restored.folder / "outputs/ledger.sqlite")
    assert restored.run().code == 0
    assert restored.booked == 2


def test_d_13_whoever_has_no_newer_ledger_can_go_on_with_open_eyes(restored):
    (restored.place / "manifest.json").rename(restored.folder / "manifest.json")
    ran = typed("run", str(restored.plan), "--yes")
    assert ran.code == 6
    assert "it does not know c2_v001.mp4" in ran.said
    assert "move those clips away, and what they show may be bought again" in ran.said
    (restored.place / "clips/c2_v001.mp4").rename(restored.folder / "c2.mp4")
    assert restored.run().code == 0
    assert restored.booked == 3


def test_d_13_an_order_without_an_answer_is_missed_too(cloud):
    stage = cloud("toapis", faults={"drop-answer": "1"})
    ledger = stage.folder / "outputs/ledger.sqlite"
    ledger.parent.mkdir()
    Ledger.open(ledger, TickingClock()).close()
    shutil.copy(ledger, stage.folder / "old.sqlite")
    stage.run("--deadline", "0")
    assert stage.statuses() in (["unknown"], ["open"])
    manifest = stage.place / "manifest.json"
    view = stage.manifest
    for entry in view["clips"]:
        entry["task_id"], entry["status"] = None, "unknown"
    manifest.write_text(json.dumps(view), "utf-8")
    shutil.copy(stage.folder / "old.sqlite", ledger)
    assert typed("run", str(stage.plan), "--yes").code == 6
    assert stage.creates == 1


def test_d_13_a_ledger_that_is_gone_is_missed_also_without_a_clip(cloud):
    stage = cloud("toapis", latency=(60.0, 60.0))
    assert stage.run("--deadline", "0").code == 4
    (stage.folder / "outputs/ledger.sqlite").unlink()
    ran = typed("run", str(stage.plan), "--yes")
    assert ran.code == 6
    assert "is gone, or older than the clips beside it" in ran.said
    assert not (stage.folder / "outputs/ledger.sqlite").exists()
    assert stage.creates == 1


def damaged_manifest(stage: Cloud) -> None:
    (stage.place / "manifest.json").write_text("{ edited", "utf-8")


def other_json(stage: Cloud) -> None:
    (stage.place / "manifest.json").write_text('["provider", "clips"]', "utf-8")


def odd_entries(stage: Cloud) -> None:
    view = stage.manifest
    view["clips"] += [5, {"task_id": 7}, {}, {"submitted_at": "x", "fingerprint": []}]
    (stage.place / "manifest.json").write_text(json.dumps(view), "utf-8")


def no_manifest(stage: Cloud) -> None:
    (stage.place / "manifest.json").unlink()


def another_provider_s_manifest(stage: Cloud) -> None:
    view = stage.manifest | {"provider": "elsewhere"}
    view["clips"][0]["task_id"] = "another"
    (stage.place / "manifest.json").write_text(json.dumps(view), "utf-8")


def strangers(stage: Cloud) -> None:
    for name in ("c2_v007.mp4", "holiday.mp4", "c1_final.mp4", "c1_v001 (copy).mp4"):
        (stage.place / "clips" / name).write_bytes(b"edited by hand")


def strangers_without_a_manifest(stage: Cloud) -> None:
    no_manifest(stage)
    for name in ("holiday_v001.mp4", "c1_v009.mp4", "c2_v1.mp4", "c2_v001.mov", "._c2_v001.mp4"):
        (stage.place / "clips" / name).write_bytes(b"edited by hand")


@pytest.mark.parametrize(
    "happened",
    [
        damaged_manifest,
        other_json,
        odd_entries,
        no_manifest,
        another_provider_s_manifest,
        strangers,
        strangers_without_a_manifest,
    ],
)
def test_d_13_nobody_is_stopped_for_less(cloud, happened):
    stage = cloud("toapis", clips=2)
    assert stage.run("--only", "c1").code == 0
    happened(stage)
    ran = stage.run()
    assert ran.code == 0, ran.said
    assert stage.booked == 2
    assert ("is no manifest any more; it is written anew" in ran.said) == (happened in (damaged_manifest, other_json))


def test_d_13_a_copied_plan_and_a_copied_folder_are_no_gap(cloud):
    stage = cloud("toapis", clips=2)
    assert stage.run().code == 0
    shutil.copy(stage.plan, stage.folder / "copy.yaml")
    shutil.copytree(stage.folder / "outputs/plan", stage.folder / "outputs/copy")
    ran = typed("run", str(stage.folder / "copy.yaml"), "--yes")
    assert (ran.code, stage.booked) == (0, 2)
