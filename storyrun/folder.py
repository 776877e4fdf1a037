"""The files of a run: where they lie, who may work on them, and how a clip gets a name that means it is whole.

outputs/ledger.sqlite  outputs/.ballast (see `disk`)
outputs/<plan stem>/<provider>/   manifest.json  clips/  .lock
clips/.<attempt id>.part          a clip on its way; never taken for one
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storyrun import disk
from storyrun.errors import InUseError, LedgerError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


@dataclass(frozen=True)
class Outputs:
    """The folder `outputs/` of a project, beside its plans."""

    root: Path

    @property
    def ledger_path(self) -> Path:
        """The one ledger of all plans."""
        return self.root / "ledger.sqlite"

    def run_folder(self, plan_stem: str, provider: str) -> RunFolder:
        """The folder of one plan on one provider, whether it is there or not."""
        return RunFolder(self.root / _one_name(plan_stem) / _one_name(provider))


@dataclass(frozen=True)
class RunFolder:
    """The files of one plan on one provider."""

    path: Path

    @property
    def clips(self) -> Path:
        """The folder of the clips."""
        return self.path / "clips"

    @property
    def manifest(self) -> Path:
        """The record of the run."""
        return self.path / "manifest.json"

    @property
    def measures(self) -> Path:
        """What was measured of the clips."""
        return self.path / "measures.json"

    def prepare(self) -> None:
        """Make the folders, and see that files can be made in them. Raises `LedgerError` with the reason."""
        try:
            self.clips.mkdir(parents=True, exist_ok=True)
            for folder in (self.path, self.clips):
                trial = folder / f".{_writer()}.trial"
                trial.unlink(missing_ok=True)
                disk.write_new(trial, b"storyrun")
                trial.unlink()
        except OSError as error:
            raise LedgerError(
                f"{self.clips} cannot be written: {disk.reason(error)}; nothing was ordered",
                "choose another folder with --out",
            ) from error

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Own this folder. The kernel lets go of it when we die, however we die. Raises `InUseError` at once."""
        from filelock import FileLock, Timeout

        # Without fallback_to_soft=False filelock takes a file's mere existence for a lock where the kernel has none;
        # such a lock outlives its owner.
        lock = FileLock(self.path / ".lock", fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise InUseError(f"another run is at work in {self.path}; nothing was sent") from None
        except OSError as error:
            raise LedgerError(
                f"{self.path / '.lock'} cannot be locked: {disk.reason(error)}; nothing was ordered",
                "put the outputs on a local disk with --out",
            ) from error
        try:
            yield
        finally:
            lock.release()

    def file(self, name: str) -> Path:
        """The path of a clip by the name that the ledger has for it. Raises `LedgerError` if it leads elsewhere."""
        folder, _, clip = name.partition("/")
        if folder != "clips" or not _is_one_name(clip) or clip.startswith("."):
            raise LedgerError(f"{name!r} in the ledger is no clip of {self.path}")
        return self.clips / clip

    def part(self, attempt_id: str) -> Path:
        """Where the bytes of an attempt's clip arrive.

        A part that a death has left beside its final name is let go of: to write into it would change the clip.
        """
        part = self.clips / f".{_one_name(attempt_id)}.part"
        try:
            settled = part.stat().st_nlink > 1
        except OSError:
            return part
        if settled:
            part.unlink()
        return part

    def sweep_parts(self, keep: Collection[str]) -> None:
        """Remove the parts of all attempts but those in `keep`, and what was noted beside them."""
        kept = {f".{attempt_id}.part" for attempt_id in keep}
        for part in (*self.clips.glob(".*.part"), *self.clips.glob(".*.part.etag")):
            if part.name.removesuffix(".etag") not in kept:
                part.unlink(missing_ok=True)


def clips_without_ledger(outputs: Outputs) -> bool:
    """Whether there are clips, and the ledger that knows what was bought is gone: to begin afresh would buy again."""
    return not outputs.ledger_path.exists() and next(outputs.root.glob("*/*/clips/[!.]*.mp4"), None) is not None


def write_atomically(path: Path, data: bytes) -> None:
    """Put a whole file in the place of another, or leave that as it was. Raises `LedgerError`."""
    half_made = path.with_name(f".{path.name}.{_writer()}.new")
    try:
        half_made.unlink(missing_ok=True)
        disk.write_new(half_made, data)
        try:
            half_made.replace(path)
        except BaseException:
            half_made.unlink()
            raise
        disk.sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(f"{path} could not be written: {disk.reason(error)}") from error


def settle_clip(part: Path, final: Path) -> None:
    """Give a clip its final name, on the disk, in the same folder. Raises FileExistsError; nothing is overwritten.

    Raises `LedgerError` when the disk fails; the part then stays.
    """
    try:
        disk.sync_file(part)
        disk.move_without_overwriting(part, final)
    except FileExistsError:
        raise
    except OSError as error:
        raise LedgerError(f"{final} could not be written: {disk.reason(error)}") from error


def link_clip(existing: Path, final: Path) -> None:
    """Give a clip a second name, by a hard link, else by a copy. Raises FileExistsError; nothing is overwritten.

    Raises `LedgerError` when the disk fails or `existing` is gone.
    """
    try:
        try:
            os.link(existing.resolve(), final)
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:  # another disk, or one without links
            part = final.with_name(f".{final.name}.part")
            try:
                shutil.copyfile(existing, part)
                settle_clip(part, final)
            finally:
                part.unlink(missing_ok=True)
        else:
            disk.sync_folder(final.parent)
    except FileExistsError:
        raise
    except OSError as error:
        raise LedgerError(f"{final} could not be written: {disk.reason(error)}") from error


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex, read in pieces."""
    from hashlib import file_digest

    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _writer() -> str:
    """Tells apart whoever writes at this moment, on this machine."""
    return f"{os.getpid()}-{threading.get_ident()}"


def _is_one_name(name: str) -> bool:
    return Path(name).name == name and name not in {"", ".."} and "\0" not in name


def _one_name(name: str) -> str:
    """A name that stays in its folder. Raises ValueError: our bug, for names are made safe before they come here."""
    if not _is_one_name(name):
        raise ValueError(f"{name!r} is no plain name")
    return name
