"""Files that are whole or not there, whatever dies and whenever. The rest of the program puts names to them.

The ballast: a file of one real megabyte that lies in the outputs folder for the day on which the disk is full. What was
bought a moment before must still be written down, so the ledger lets go of it then (see `ledger.file`). A start with
room for it makes it anew.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BALLAST_BYTES = 1 << 20
"""Of the ballast: four answers of 64 KB with their moves fit four times."""


def reason(error: OSError) -> str:
    """What the system says, and of which file, for a sentence: `No space left on device (outputs/spot)`."""
    return f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}"


def sync_file(path: Path) -> None:
    """Wait until the bytes of a file would survive a power cut."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder would survive a power cut. Windows has no such thing."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_new(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Make a file that was not there, down to the disk. `mode` is narrowed by the umask.

    Raises FileExistsError. A file that could not be written whole is removed.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def move_without_overwriting(part: Path, final: Path) -> None:
    """Give a whole file its final name in the same folder, and see that the name stays.

    Raises FileExistsError when the name is taken. The name comes to life by `link`, which never overwrites; a death
    before the old name is gone leaves both names on one file. Where the file system has no links, the name is looked
    for first: only one run works in a folder, so that nobody but a stranger can come between.
    """
    try:
        os.link(part, final)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:
        if os.path.lexists(final):
            raise FileExistsError(f"{final} is already there") from None
        part.rename(final)
    else:
        part.unlink()
    sync_folder(final.parent)


def free(folder: Path) -> int | None:
    """How many bytes a user may still write below a folder, or where it is going to be; None when nobody says."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None  # some network disks know nothing of themselves


def lay_ballast(folder: Path) -> None:
    """See that the ballast lies whole in a folder. Where there is no room for it, there is none."""
    from hashlib import shake_256

    ballast = _ballast(folder)
    with suppress(OSError):  # full, or another run is faster
        if ballast.exists() and ballast.stat().st_size == BALLAST_BYTES:
            return
        ballast.unlink(missing_ok=True)  # what a death left of it
        # bytes that no file system can squeeze or leave out
        write_new(ballast, shake_256(b"storyrun").digest(BALLAST_BYTES), mode=0o600)


def drop_ballast(folder: Path) -> None:
    """Give the room of the ballast back, if it is there."""
    with suppress(OSError):
        _ballast(folder).unlink(missing_ok=True)


def _ballast(folder: Path) -> Path:
    return folder / ".ballast"
