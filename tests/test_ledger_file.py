"""The file under the ledger: opened or refused, looked at, written to while the disk fails, others write and we die."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from storyrun.errors import LedgerError
from storyrun.ledger import Ledger
from storyrun.ledger import file as ledgerfile
from storyrun.records import State
from tests.ledgers import TickingClock, ask, go, hasty, hear, order, other_process, usd


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_ledger_is_for_its_owner_alone_and_durable(path):
    ledger = Ledger.open(path, TickingClock())
    order(ledger, ledger.begin_run("spot", "tokenhub", "", 1, "here"))
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["ledger.sqlite", "ledger.sqlite-shm", "ledger.sqlite-wal"]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    settings = {
        name: ledger._file.read(f"PRAGMA {name}")[0][0] for name in ("journal_mode", "synchronous", "foreign_keys")
    }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    ledger.close()
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]


def test_what_a_death_left_of_a_ledger_in_the_making_is_cleared_away(filled):
    left = filled.with_name(".ledger.sqlite.0f.new")
    left.touch()
    Ledger.open(filled, TickingClock()).close()
    assert not left.exists()


def test_a_new_ledger_opens_while_another_run_is_already_reading_it(path):
    """To switch a file over to a write-ahead log takes it alone; a new one has it from its first byte."""
    ledgerfile._create(path, lambda: "0f")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM attempt").fetchone()
        Ledger.open(path, TickingClock()).close()


def refused(path, match):
    with pytest.raises(LedgerError, match=match) as refusal:
        Ledger.open(path, TickingClock())
    assert "nothing was ordered" in refusal.value.sentence
    assert refusal.value.exit_code == 6
    if path.is_file():
        with pytest.raises(LedgerError):
            look(path)
    return refusal.value


@contextmanager
def peeking(path):
    ledger = Ledger.peek(path, TickingClock())
    assert ledger is not None
    with ledger:
        yield ledger


def look(path):
    with peeking(path) as ledger:
        return read_all(ledger)


def read_all(ledger):
    return [(attempt, ledger.history(attempt.id)) for attempt in ledger.attempts()]


def test_a_newer_ledger_is_refused_and_both_versions_named(filled):
    with closing(sqlite3.connect(filled)) as db:
        db.execute("PRAGMA user_version = 7")
    before = filled.read_bytes()
    assert "newer storyrun" in refused(filled, "has version 7, this storyrun knows up to 1").hint
    assert filled.read_bytes() == before


def test_a_database_of_someone_else_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE recipes (name)")
    refused(path, "not a ledger of storyrun")


def test_a_file_that_is_no_database_is_refused(path):
    path.write_text("I was a ledger once. " * 500)
    assert "backup" in refused(path, "is damaged").hint


def test_an_emptied_ledger_is_not_taken_for_a_new_one(path):
    path.touch()
    refused(path, "it is empty")
    assert path.stat().st_size == 0


def test_a_folder_in_the_place_of_the_ledger_is_refused(path):
    path.mkdir()
    refused(path, "cannot be used")


def test_a_ledger_whose_main_file_is_gone_is_not_begun_anew(path):
    path.with_name("ledger.sqlite-wal").write_bytes(b"what was bought last")
    refused(path, "is gone, and its -wal file is there")
    assert not path.exists()


def test_a_place_that_cannot_hold_a_ledger_is_refused(tmp_path):
    (tmp_path / "outputs").write_text("a file")
    refused(tmp_path / "outputs" / "ledger.sqlite", r"cannot be made: File exists \(.*outputs\)")


@pytest.fixture(scope="module")
def prototype(tmp_path_factory):
    path = tmp_path_factory.mktemp("filled") / "ledger.sqlite"
    with hasty(path) as ledger:
        run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
        for number in range(40):
            go(ledger, order(ledger, run, f"clip-{number}", job={"prompt": "x" * 900}), "accepted", "ready", "done")
    return path


@pytest.fixture
def filled(prototype, path):
    """A ledger with forty attempts, closed."""
    shutil.copy(prototype, path)
    return path


def test_a_truncated_ledger_is_refused_wherever_it_was_cut(filled):
    whole = filled.read_bytes()
    for size in range(4096, len(whole), 4096 * 5):
        filled.write_bytes(whole[:size])
        refused(filled, "is damaged")
    filled.write_bytes(whole[:-1])
    refused(filled, "is damaged")


def test_a_page_of_garbage_is_found_at_open(filled):
    whole = filled.read_bytes()
    chance = random.Random(7)
    for page in range(0, len(whole), 4096 * 3):
        filled.write_bytes(whole[:page] + chance.randbytes(4096) + whole[page + 4096 :])
        with pytest.raises(LedgerError, match=r"damaged|cannot be used|not a ledger"):
            Ledger.open(filled, TickingClock())


def test_a_flipped_byte_never_shows_as_anything_but_a_ledger_error(filled):
    whole = bytearray(filled.read_bytes())
    chance = random.Random(8)
    found = 0
    for _ in range(150):
        place = chance.randrange(len(whole))
        old, whole[place] = whole[place], whole[place] ^ (1 << chance.randrange(8))
        filled.write_bytes(whole)
        try:
            with Ledger.open(filled, TickingClock()) as ledger:
                assert len(read_all(ledger)) == 40
        except LedgerError:
            found += 1
        whole[place] = old
    assert found


# ── versions of the file ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_database_without_tables_becomes_a_ledger(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (a)")
        db.execute("DROP TABLE t")
        assert db.execute("PRAGMA user_version").fetchone() == (0,)
    with Ledger.open(path, TickingClock()) as ledger:
        order(ledger, ledger.begin_run("spot", "tokenhub", "", 1, "here"))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (len(ledgerfile.MIGRATIONS),)


def _tomorrow(db):
    db.execute("ALTER TABLE attempt ADD COLUMN mood TEXT")


def _tomorrow_broken(db):
    _tomorrow(db)
    db.execute("ALTER TABLE attempt ADD COLUMN mood TEXT")


def test_an_older_ledger_is_migrated_and_a_copy_kept(filled, monkeypatch):
    before = look(filled)
    monkeypatch.setattr(ledgerfile, "MIGRATIONS", (*ledgerfile.MIGRATIONS, _tomorrow))
    bytes_before = filled.read_bytes()
    assert look(filled) == before, "to look at it, it is migrated in memory"
    assert filled.read_bytes() == bytes_before
    with Ledger.open(filled, TickingClock()) as ledger:
        assert read_all(ledger) == before
    with closing(sqlite3.connect(filled)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)
        assert db.execute("SELECT count(mood) FROM attempt").fetchone() == (0,)
    copy = filled.with_name("ledger.v1.sqlite")
    assert copy.stat().st_mode & 0o777 == 0o600
    monkeypatch.undo()
    assert look(copy) == before


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(filled, monkeypatch):
    before = look(filled)
    monkeypatch.setattr(ledgerfile, "MIGRATIONS", (*ledgerfile.MIGRATIONS, _tomorrow_broken))
    with pytest.raises(LedgerError, match="duplicate column name"):
        Ledger.open(filled, TickingClock())
    monkeypatch.undo()
    assert look(filled) == before


# ── looking without touching ─────────────────────────────────────────────────────────────────────────────────────────


def test_there_is_nothing_to_look_at_where_no_ledger_is(path):
    assert Ledger.peek(path, TickingClock()) is None
    assert [*path.parent.iterdir()] == []


def test_a_look_leaves_no_trace_and_cannot_write(filled):
    before = [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in filled.parent.iterdir()]
    with peeking(filled) as ledger:
        attempts = ledger.attempts()
        assert len(attempts) == 40
        for write in (
            lambda: order(ledger, "run"),
            lambda: ledger.move(attempts[0].id, State.ABANDONED),
            lambda: ledger.begin_run("spot", "tokenhub", "", 1, "here"),
        ):
            with pytest.raises(LedgerError, match="read only"):
                write()
    after = [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in filled.parent.iterdir()]
    assert after == before


def test_a_look_sees_what_is_committed_while_another_process_writes(path):
    Ledger.open(path, TickingClock()).close()
    with other_process("work", path) as worker:
        ask(worker, "w")
        child = int(hear(worker)[1])
        for _ in range(60):
            told, state = hear(worker)
            with peeking(path) as ledger:
                seen = [step.after for step in ledger.history(told)]
                assert state in seen
                assert all(ledger.history(attempt.id) for attempt in ledger.attempts())
        os.kill(child, signal.SIGKILL)
        while hear(worker)[0] != "dead":
            pass
        left = sorted(file.name for file in path.parent.iterdir())
        assert told in {attempt.id for attempt, _ in look(path)}
        assert sorted(file.name for file in path.parent.iterdir()) == left


def test_a_look_needs_no_right_to_write(filled):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(filled, folder)
        (folder / filled.name).chmod(0o444)
        folder.chmod(0o555)
        with other_process("peek", folder / filled.name) as process:
            assert process.stdout.read().splitlines() == ["cannot write", "40 attempts"]
        folder.chmod(0o700)
        assert [file.name for file in folder.iterdir()] == [filled.name]


# ── when the disk fails ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("room", [30_000, 61_000, 100_001, 200_000])
def test_when_the_disk_is_full_nothing_is_ordered_any_more_and_nothing_committed_is_lost(path, room):
    with other_process("fill", path, room + 40_000) as process:
        said = [line.split(maxsplit=1) for line in process.stdout]
    words = [word for word, _ in said]
    ordered = [rest.strip() for word, rest in said if word == "ordered"]
    assert words.count("failed") == 1
    assert "could not be written" in dict(said)["failed"]
    assert words.count("refused") >= len(ordered) > 0
    assert "moved" not in words
    with Ledger.open(path, TickingClock()) as ledger:
        assert [attempt.id for attempt in ledger.attempts()] == ordered
        assert {attempt.state for attempt in ledger.attempts()} == {State.SENDING}


def test_a_failure_at_any_instant_of_a_write_undoes_it_whole_and_is_the_last(path):
    """SQLite is made to fail after n steps of its machine, for growing n until the write passes."""
    with Ledger.open(path, TickingClock()) as ledger:
        go(ledger, order(ledger, ledger.begin_run("spot", "tokenhub", "", 1, "here")), "accepted")
    for writing in (
        lambda ledger, run: order(ledger, run, "new", budget=usd("1000")),
        lambda ledger, _: ledger.move(ledger.attempts()[0].id, State.READY, usage={"seconds": 5}),
    ):
        passed = False
        for steps in itertools.count(1, 11):
            with Ledger.open(path, TickingClock()) as ledger:
                run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
                before = read_all(ledger)
                ledger._file._db.set_progress_handler(lambda: 1, steps)
                try:
                    writing(ledger, run)
                    passed = True
                except LedgerError as error:
                    broken = "could not be written" in error.sentence
                ledger._file._db.set_progress_handler(None, 0)
                if passed:
                    assert read_all(ledger) != before
                    break
                assert read_all(ledger) == before
                if broken:
                    with pytest.raises(LedgerError, match="could not be written"):
                        ledger.end_run(run)
        assert steps > 50


def test_an_exception_of_ours_inside_a_transaction_undoes_it_and_does_no_harm(path):
    with Ledger.open(path, TickingClock()) as ledger:
        run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
        with pytest.raises(TypeError):
            order(ledger, run, request={"prompt": object()})
        assert ledger.attempts() == []
        assert order(ledger, run).number == 1


def test_threads_share_a_ledger(path):
    with hasty(path) as ledger, ThreadPoolExecutor(4) as threads:
        run = ledger.begin_run("spot", "tokenhub", "", 1, "here")
        made = list(threads.map(lambda number: go(ledger, order(ledger, run, f"c{number}"), "accepted"), range(40)))
        assert sorted(attempt.number for attempt in made) == list(range(1, 41))


# ── more than one process ────────────────────────────────────────────────────────────────────────────────────────────


def test_two_plans_that_order_one_fingerprint_at_once_buy_it_once(path):
    with other_process("order", path, "left") as left, other_process("order", path, "right") as right:
        both = (left, right)
        assert [hear(process) for process in both] == [["ready"]] * 2
        for number in range(20):
            for process in both:
                ask(process, f"clip fingerprint-{number} 0.50 1000")
            answers = dict(hear(process) for process in both)
            assert answers["ordered"] == answers["live"]
    with Ledger.open(path, TickingClock()) as ledger:
        attempts = ledger.attempts()
        assert len({attempt.fingerprint for attempt in attempts}) == len(attempts) == 20


def test_two_processes_that_spend_one_budget_at_once_never_pass_it(path):
    with other_process("order", path, "spot") as left, other_process("order", path, "spot") as right:
        both = {"left": left, "right": right}
        assert [hear(process) for process in both.values()] == [["ready"]] * 2
        for number in range(25):
            for name, process in both.items():
                ask(process, f"{name}-{number} {name}-{number} 0.70 10")
        answers = [hear(process)[0] for process in both.values() for _ in range(25)]
    assert answers.count("ordered") == 14
    assert answers.count("over") == 36
    with Ledger.open(path, TickingClock()) as ledger:
        assert ledger.spent("spot", "tokenhub") == (usd("9.80"),)
        assert len({attempt.file for attempt in ledger.attempts()}) == 14


def test_processes_that_begin_a_project_at_once_share_one_ledger(tmp_path):
    paths = [tmp_path / str(number) / "ledger.sqlite" for number in range(3)]
    for path in paths:
        with other_process("order", path, "left") as left, other_process("order", path, "right") as right:
            for process in (left, right):
                assert hear(process) == ["ready"]
                ask(process, f"clip {process.pid} 0.50 1000")
                assert hear(process)[0] == "ordered"
        with Ledger.open(path, TickingClock()) as ledger:
            assert len(ledger.attempts()) == 2
        assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]


def test_sigkill_at_any_instant_leaves_a_ledger_that_opens_with_every_committed_row(path):
    chance = random.Random(9)
    told = {}
    with other_process("work", path) as worker:
        for kill in range(24):
            ask(worker, f"k{kill}")
            child = int(hear(worker)[1])
            for _ in range(chance.randrange(30)):
                attempt, state = hear(worker)
                told[attempt] = state
            os.kill(child, signal.SIGKILL)
            while (said := hear(worker))[0] != "dead":
                told[said[0]] = said[1]
            assert said == ["dead", "-9"]
            with Ledger.open(path, TickingClock()) as ledger:
                assert ledger._file.read("PRAGMA integrity_check")[0][0] == "ok"
                rows = {attempt.id: attempt for attempt in ledger.attempts()}
                way = ["sending", "accepted", "ready", "done"]
                assert set(told) <= set(rows)
                # At most the one commit that was not told any more is there beyond what was told.
                assert len(rows) - len(told) <= 1
                for attempt, state in told.items():
                    steps = [step.after for step in ledger.history(attempt)]
                    assert steps == way[: len(steps)]
                    assert steps[-1] == rows[attempt].state
                    assert len(steps) - way.index(state) in {1, 2}
                told = {attempt: row.state.value for attempt, row in rows.items()}
    assert len(told) > 24
