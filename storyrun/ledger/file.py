"""The SQLite file under the ledger: how it is made, checked, brought up to date, refused, read and written.

Whoever finds it damaged, foreign or newer than the program stops: a ledger begun afresh would buy everything again.

A write that fails is the last one, for whatever failed (a device error, an fsync) may have left less on the disk than
was said. The one exception is a disk that is full, which SQLite tells apart (SQLITE_FULL) and of which it undoes every
trace: then the ballast beside the ledger is let go of, and what is known of orders in flight (`LedgerFile.record`) is
written in its room, each once. Nothing else is, and nothing is ordered after it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from storyrun import disk
from storyrun.errors import LedgerError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

Written = TypeVar("Written")

APPLICATION = 0x53545259
"""Stands in the header of every ledger ("STRY"), so that no other SQLite file is taken for one."""

MAKE_ROOM = (
    "make room on the disk, then type the same line again: what was bought is collected, nothing is bought twice"
)

BUSY_SECONDS = 30
"""How long to wait for another run's transaction, each of which takes milliseconds."""


# ── the tables, by version ───────────────────────────────────────────────────────────────────────────────────────────


def _version_1(db: sqlite3.Connection) -> None:
    for statement in (
        """CREATE TABLE run (
            number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
            plan TEXT NOT NULL, provider TEXT NOT NULL, plan_path TEXT NOT NULL,
            pid INTEGER NOT NULL, host TEXT NOT NULL, started_at TEXT NOT NULL, ended_at TEXT)""",
        "CREATE INDEX run_owner ON run (plan, provider)",
        # `live` and `counted` follow from `state` (see states.py) and are written with it, for the indexes.
        """CREATE TABLE attempt (
            number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE,
            run TEXT NOT NULL REFERENCES run (id),
            plan TEXT NOT NULL, plan_path TEXT NOT NULL, provider TEXT NOT NULL, clip TEXT NOT NULL,
            fingerprint TEXT NOT NULL, model TEXT NOT NULL, account TEXT NOT NULL,
            job TEXT NOT NULL, request TEXT NOT NULL, file TEXT NOT NULL,
            state TEXT NOT NULL, live INTEGER NOT NULL CHECK (live IN (0, 1)),
            free_when_failed INTEGER NOT NULL, reserved TEXT, billed TEXT, counted TEXT NOT NULL,
            task_id TEXT, answer TEXT, usage TEXT NOT NULL, failure TEXT, media TEXT, sha256 TEXT, bytes INTEGER,
            problems TEXT NOT NULL, created_at TEXT NOT NULL, changed_at TEXT NOT NULL, finished_at TEXT)""",
        "CREATE UNIQUE INDEX attempt_one_live ON attempt (provider, fingerprint) WHERE live",
        "CREATE UNIQUE INDEX attempt_one_owner ON attempt (provider, task_id) WHERE task_id IS NOT NULL",
        "CREATE INDEX attempt_clip ON attempt (plan, provider, clip)",
        "CREATE INDEX attempt_counted ON attempt (plan, provider, counted)",
        "CREATE INDEX attempt_run ON attempt (run, counted)",
        # Every name that a clip ever had under a plan and provider, its own or a link's, so that none is given twice.
        # `stem` is folded: on some disks `A.mp4` and `a.mp4` are one file.
        """CREATE TABLE placing (
            plan TEXT NOT NULL, provider TEXT NOT NULL, clip TEXT NOT NULL,
            attempt TEXT NOT NULL REFERENCES attempt (id),
            stem TEXT NOT NULL, version INTEGER NOT NULL, file TEXT NOT NULL,
            PRIMARY KEY (plan, provider, clip, attempt),
            UNIQUE (plan, provider, file), UNIQUE (plan, provider, stem, version)) WITHOUT ROWID""",
        """CREATE TABLE history (
            number INTEGER PRIMARY KEY AUTOINCREMENT, attempt TEXT NOT NULL REFERENCES attempt (id),
            before TEXT, after TEXT NOT NULL, at TEXT NOT NULL, by TEXT NOT NULL, why TEXT NOT NULL)""",
        "CREATE INDEX history_attempt ON history (attempt)",
        # What was bought is never forgotten, not even by a bug of ours.
        """CREATE TRIGGER attempt_stays BEFORE DELETE ON attempt
            BEGIN SELECT RAISE (ABORT, 'an attempt is never deleted'); END""",
        """CREATE TRIGGER task_id_stays BEFORE UPDATE OF task_id ON attempt
            WHEN OLD.task_id IS NOT NULL AND NEW.task_id IS NOT OLD.task_id
            BEGIN SELECT RAISE (ABORT, 'a task id never changes'); END""",
        "CREATE TRIGGER history_stays BEFORE DELETE ON history BEGIN SELECT RAISE (ABORT, 'history stays'); END",
        "CREATE TRIGGER history_is_past BEFORE UPDATE ON history BEGIN SELECT RAISE (ABORT, 'history stays'); END",
    ):
        db.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_version_1,)
"""MIGRATIONS[n] makes version n + 1 of version n. A released one never changes."""


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _migrate(db: sqlite3.Connection) -> None:
    """Bring the tables up to date in one transaction, whoever else is trying to."""
    db.execute("BEGIN IMMEDIATE")
    try:
        for migration in MIGRATIONS[_version(db) :]:
            migration(db)
        db.execute(f"PRAGMA application_id = {APPLICATION}")
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def open_to_write(path: Path, new_id: Callable[[], str]) -> LedgerFile:
    """Open the ledger at `path`, made if it is not there, checked, migrated, every commit down to the disk.

    Raises `LedgerError` for a file that is damaged, foreign, newer than the program, or on a disk that cannot hold it.
    """
    path = _itself(path)
    try:
        log = _log(path).exists()  # asked for first: it never comes before the ledger
        if path.exists():
            for half_made in path.parent.glob(f".{path.name}.*.new"):
                half_made.unlink(missing_ok=True)
        elif log:
            raise damaged(path, "it is gone, and its -wal file is there")
        else:
            _create(path, new_id)
    except OSError as error:
        raise LedgerError(f"the ledger {path} cannot be made: {disk.reason(error)}; nothing was ordered") from error
    with _opening(path, "mode=rw") as db:
        version = _judge(db, path)
        if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise damaged(path, found)
        if db.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
            raise LedgerError(
                f"the disk under {path} cannot hold a ledger: no write-ahead log; nothing was ordered",
                "put the outputs on a local disk with --out",
            )
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA fullfsync = ON")  # macOS: through the drive's own cache, too
        db.execute("PRAGMA foreign_keys = ON")
        if version < len(MIGRATIONS):
            if version:
                _keep_copy(db, path, version)
            _migrate(db)
        return LedgerFile(path, db)


def open_to_read(path: Path) -> LedgerFile:
    """Open the ledger at `path` and write nothing, also where nothing can be written. Raises `LedgerError`.

    While a run writes, its log and shared memory are there and SQLite reads beside it. When they are not, nobody is
    writing, and the file is read as it lies: SQLite would make both just for us. An older ledger is migrated in memory.
    """
    import sqlite3

    path = _itself(path)
    closed = f"the ledger {path} was opened to be read only"
    with _opening(path, "mode=ro" if _log(path).exists() else "immutable=1") as db:
        if _judge(db, path) < len(MIGRATIONS):
            memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            memory.row_factory = sqlite3.Row
            db.backup(memory)
            db.close()
            _migrate(memory)
            return LedgerFile(path, memory, closed)
        return LedgerFile(path, db, closed)


def damaged(path: Path, why: object) -> LedgerError:
    """The error for a ledger that cannot be trusted."""
    return LedgerError(
        f"the ledger {path} is damaged ({why}); nothing was ordered",
        f"keep a copy of it and of its -wal file, then restore both from one backup, or rescue what they hold: "
        f"sqlite3 {path.name} .recover | sqlite3 rescued.sqlite",
    )


def _itself(path: Path) -> Path:
    """Where a ledger really lies: SQLite keeps its log there, and not beside a link to it."""
    return path.resolve() if path.is_symlink() and path.exists() else path


def _log(path: Path) -> Path:
    """SQLite's write-ahead log, which is part of the ledger until the last run has closed it."""
    return path.with_name(f"{path.name}-wal")


@contextmanager
def _opening(path: Path, how: str) -> Iterator[sqlite3.Connection]:
    """A connection that is closed, and its trouble put into words, when the block cannot finish."""
    import sqlite3

    db = None
    try:
        if (size := path.stat().st_size) == 0:
            raise damaged(path, "it is empty")
        if size % 512 and not _log(path).exists():  # pages are multiples of that, and SQLite forgives the last one
            raise damaged(path, "it was cut short")
        db = sqlite3.connect(
            f"{path.absolute().as_uri()}?{how}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        db.row_factory = sqlite3.Row
        yield db
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, OSError):
            raise LedgerError(f"the ledger {path} cannot be used: {disk.reason(error)}; nothing was ordered") from error
        if isinstance(error, sqlite3.OperationalError):
            raise LedgerError(f"the ledger {path} cannot be used: {error}; nothing was ordered") from error
        if isinstance(error, sqlite3.DatabaseError):
            raise damaged(path, error) from error
        raise


def _judge(db: sqlite3.Connection, path: Path) -> int:
    """The version of the ledger. Raises `LedgerError` for a newer one, and for a file that is no ledger of ours."""
    version = _version(db)
    ours = db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION
    empty = not version and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not ours and not empty:
        raise LedgerError(f"{path} is a database, but not a ledger of storyrun; nothing was ordered")
    if version > len(MIGRATIONS):
        raise LedgerError(
            f"the ledger {path} has version {version}, this storyrun knows up to {len(MIGRATIONS)}; "
            "nothing was ordered",
            "use the newer storyrun that wrote it: pip install -U storyrun",
        )
    return version


def _create(path: Path, new_id: Callable[[], str]) -> None:
    """Make a new ledger that is whole before it has its name: no death leaves an empty one to be taken for new."""
    import sqlite3

    memory = sqlite3.connect(":memory:", isolation_level=None)
    _migrate(memory)
    data = bytearray(memory.serialize())
    memory.close()
    # Bytes 18 and 19 of the header: 2 for a write-ahead log. Two runs that open a new ledger at once would otherwise
    # both try to switch it over, and SQLite tells one of them that the database is locked.
    data[18:20] = b"\x02\x02"
    path.parent.mkdir(parents=True, exist_ok=True)
    half_made = path.with_name(f".{path.name}.{new_id()}.new")
    try:
        disk.write_new(half_made, bytes(data), mode=0o600)
        disk.move_without_overwriting(half_made, path)
    except (FileExistsError, FileNotFoundError):
        if not path.exists():  # else another run was faster
            raise
    finally:
        half_made.unlink(missing_ok=True)


def _keep_copy(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Leave the ledger as it was beside the one that is about to be migrated, for a way back."""
    copy = path.with_name(f"{path.stem}.v{version}{path.suffix}")
    if copy.exists():
        return
    half_made = copy.with_name(f".{copy.name}.new")
    half_made.unlink(missing_ok=True)
    disk.write_new(half_made, b"", mode=0o600)
    db.execute("VACUUM INTO ?", (str(half_made),))
    disk.sync_file(half_made)
    half_made.replace(copy)


# ── the open file ────────────────────────────────────────────────────────────────────────────────────────────────────


class LedgerFile:
    """An open ledger file, safe to share between threads. A write that fails is the last one, but for `record`."""

    def __init__(self, path: Path, db: sqlite3.Connection, closed_to_writes: str = "") -> None:
        self.path = path
        self._db = db
        self._closed_to_writes = closed_to_writes
        self._hint = ""
        self._only_full = False
        self._last_words = False
        self._one_at_a_time = threading.RLock()

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block, on the disk when it ends, or none of it.

        An exception of the block undoes it and passes. Trouble with the file raises `LedgerError`, and so does every
        later transaction.
        """
        import sqlite3

        with self._one_at_a_time:
            if self._closed_to_writes and not self._last_words:
                raise LedgerError(self._closed_to_writes, self._hint)
            try:
                try:
                    self._db.execute("BEGIN IMMEDIATE")
                    yield
                    self._db.execute("COMMIT")
                finally:
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
            except sqlite3.Error as error:
                self._only_full = _disk_full(error) and not self._last_words
                self._closed_to_writes = (
                    f"the ledger {self.path} could not be written ({error}); nothing more is ordered"
                )
                self._hint = MAKE_ROOM if _disk_full(error) else ""
                raise LedgerError(self._closed_to_writes, self._hint) from error

    def record(self, write: Callable[[], Written]) -> Written:
        """Do a write of one transaction that says what became of an order: once more when the disk is full, and also
        when it has been full before. Nothing else about the ledger is repeated, and no other write follows.
        """
        with self._one_at_a_time:
            if not self._closed_to_writes:
                try:
                    return write()
                except LedgerError:
                    if not self._only_full:
                        raise
            if self._only_full:
                disk.drop_ballast(self.path.parent)
                self._last_words = True
            try:
                return write()
            finally:
                self._last_words = False

    def write(self, sql: str, parameters: Sequence[object] | Mapping[str, object]) -> None:
        """One statement inside a transaction."""
        self._db.execute(sql, parameters)

    def read(self, sql: str, *parameters: object) -> list[sqlite3.Row]:
        """The rows of a question, inside a transaction or not. Raises `LedgerError`."""
        import sqlite3

        with self._one_at_a_time:
            try:
                return self._db.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                if self._db.in_transaction:
                    raise  # the transaction ends all writing
                raise LedgerError(f"the ledger {self.path} could not be read ({error})") from error


def _disk_full(error: sqlite3.Error) -> bool:
    """Whether SQLite says that there was no room, and nothing worse."""
    import sqlite3

    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL
