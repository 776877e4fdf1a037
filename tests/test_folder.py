"""The run folder: one owner, names that mean a whole file, and nothing ever overwritten."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storyrun import disk
from storyrun.errors import InUseError, LedgerError
from storyrun.folder import (
    Outputs,
    RunFolder,
    clips_without_ledger,
    link_clip,
    settle_clip,
    sha256_of,
    write_atomically,
)
from tests.ledgers import hear, other_process


@pytest.fixture
def folder(tmp_path):
    folder = Outputs(tmp_path / "outputs").run_folder("spot", "tokenhub")
    folder.prepare()
    return folder


@pytest.fixture
def part(folder):
    part = folder.part("a1")
    part.write_bytes(b"a whole clip")
    return part


def files(folder):
    return sorted(file.name for file in folder.clips.iterdir())


def no_links(*_, **__):
    raise OSError(errno.EPERM, "Operation not permitted")


# ── where things lie ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_lie_where_the_design_says(tmp_path):
    outputs = Outputs(tmp_path)
    folder = outputs.run_folder("spot", "dashscope@127.0.0.1-8080")
    assert outputs.ledger_path == tmp_path / "ledger.sqlite"
    assert folder.manifest == tmp_path / "spot" / "dashscope@127.0.0.1-8080" / "manifest.json"
    assert folder.file("clips/hook_v001.mp4") == folder.clips / "hook_v001.mp4"
    assert not folder.path.exists(), "to name a folder makes none"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../up", "/abs", "a\0b"])
def test_a_plan_provider_or_attempt_that_would_leave_its_folder_is_our_bug(folder, name):
    for lead_out in (
        lambda: Outputs(folder.path).run_folder(name, "tokenhub"),
        lambda: Outputs(folder.path).run_folder("spot", name),
        lambda: folder.part(name + "/" if name in {".", ".."} else name),
    ):
        with pytest.raises(ValueError, match="no plain name"):
            lead_out()


@pytest.mark.parametrize(
    "name", ["hook.mp4", "clips/", "clips/..", "clips/../ledger.sqlite", "clips/a/b.mp4", "/etc/x", "clips/.a.part", ""]
)
def test_a_clip_that_the_ledger_would_put_elsewhere_is_refused(folder, name):
    with pytest.raises(LedgerError, match="is no clip of"):
        folder.file(name)


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_ordered(tmp_path):
    (tmp_path / "spot").write_text("a file")
    with pytest.raises(LedgerError, match=r"cannot be written: Not a directory .*; nothing was ordered") as refused:
        Outputs(tmp_path).run_folder("spot", "tokenhub").prepare()
    assert "--out" in refused.value.hint


def test_a_disk_that_takes_no_bytes_is_found_before_anything_is_ordered(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LedgerError, match="No space left on device"):
        folder.prepare()
    assert files(folder) == []


def test_to_prepare_a_folder_changes_nothing_in_it(folder, part):
    folder.prepare()
    assert files(folder) == [part.name]
    assert sorted(file.name for file in folder.path.iterdir()) == ["clips"]


def test_clips_whose_ledger_is_gone_are_seen(folder, part):
    outputs = Outputs(folder.path.parent.parent)
    assert not clips_without_ledger(outputs), "a part is no clip"
    settle_clip(part, folder.file("clips/hook_v001.mp4"))
    assert clips_without_ledger(outputs)
    outputs.ledger_path.touch()
    assert not clips_without_ledger(outputs)
    assert not clips_without_ledger(Outputs(folder.path / "nowhere"))


# ── one owner ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_second_run_is_refused_at_once_and_the_first_goes_on(folder):
    with other_process("hold", folder.path) as owner:
        assert hear(owner) == ["held"]
        with pytest.raises(InUseError, match="another run is at work in") as refused, folder.hold():
            pass
        assert refused.value.exit_code == 3
        with other_process("hold", folder.path) as third:
            assert hear(third)[:2] == ["in", "use"]
        assert owner.poll() is None
        owner.stdin.close()
        assert owner.wait() == 0
        with folder.hold():
            pass


def test_the_lock_dies_with_its_owner(folder):
    with other_process("hold", folder.path) as owner:
        assert hear(owner) == ["held"]
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        with folder.hold():
            pass


def test_a_program_that_the_owner_started_does_not_inherit_the_lock(folder):
    with folder.hold():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with child:
        with folder.hold():
            assert child.poll() is None
        child.kill()


def test_one_process_cannot_hold_a_folder_twice(folder):
    with folder.hold(), pytest.raises(InUseError), RunFolder(folder.path).hold():
        pass


def test_other_plans_and_providers_are_other_locks(folder):
    outputs = Outputs(folder.path.parent.parent)
    other = outputs.run_folder("spot", "toapis")
    other.prepare()
    with folder.hold(), other.hold():
        pass


def test_a_folder_without_kernel_locks_is_refused_and_not_locked_by_a_mere_file(folder, monkeypatch):
    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", missing)
    with pytest.raises(LedgerError, match="cannot be locked: Function not implemented"), folder.hold():
        pass


# ── clips ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(params=["with links", "without links"])
def disk_kind(request, monkeypatch):
    if request.param == "without links":
        monkeypatch.setattr(os, "link", no_links)


@pytest.mark.usefixtures("disk_kind")
def test_a_settled_clip_has_its_final_name_alone(folder, part):
    settle_clip(part, folder.file("clips/hook_v001.mp4"))
    assert files(folder) == ["hook_v001.mp4"]
    assert (folder.clips / "hook_v001.mp4").read_bytes() == b"a whole clip"


@pytest.mark.usefixtures("disk_kind")
@pytest.mark.parametrize("there", ["a file", "an empty file", "a link to nowhere", "a folder"])
def test_settling_never_overwrites(folder, part, there):
    final = folder.file("clips/hook_v001.mp4")
    {
        "a file": lambda: final.write_bytes(b"bought before"),
        "an empty file": final.touch,
        "a link to nowhere": lambda: final.symlink_to("nowhere"),
        "a folder": final.mkdir,
    }[there]()
    before = final.lstat()
    with pytest.raises(FileExistsError):
        settle_clip(part, final)
    assert final.lstat() == before
    assert part.read_bytes() == b"a whole clip"


def test_a_clip_is_on_the_disk_before_it_has_its_name_and_its_name_before_we_go_on(folder, part, monkeypatch):
    order = []
    final = folder.file("clips/hook_v001.mp4")
    fsync, link = os.fsync, os.link
    inodes = {part.stat().st_ino: "clip", folder.clips.stat().st_ino: "folder"}

    def sync(handle):
        order.append(inodes[os.fstat(handle).st_ino])
        fsync(handle)

    def name(old, new):
        order.append("named")
        link(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "link", name)
    settle_clip(part, final)
    assert order == ["clip", "named", "folder"]


def test_a_failing_disk_leaves_the_part_and_no_final_name(folder, part, monkeypatch):
    def failing(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(LedgerError, match="could not be written: Input/output error"):
        settle_clip(part, folder.file("clips/hook_v001.mp4"))
    assert files(folder) == [part.name]


def test_a_part_that_a_death_left_beside_its_final_name_is_never_written_into(folder, part, monkeypatch):
    final = folder.file("clips/hook_v001.mp4")
    with monkeypatch.context() as dying:
        dying.setattr(Path, "unlink", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            settle_clip(part, final)
    assert files(folder) == [part.name, final.name]
    folder.part("a1").write_bytes(b"the next download")
    assert final.read_bytes() == b"a whole clip"


def test_a_part_on_its_way_is_gone_on_with(folder, part):
    assert folder.part("a1") == part
    assert part.read_bytes() == b"a whole clip"


def test_parts_of_finished_attempts_are_swept_and_nothing_else(folder, part):
    settle_clip(part, folder.file("clips/hook_v001.mp4"))
    for attempt in ("open", "finished"):
        folder.part(attempt).touch()
        (folder.clips / f".{attempt}.part.etag").touch()
    (folder.clips / "notes.part").touch()
    folder.sweep_parts({"open"})
    assert files(folder) == [".open.part", ".open.part.etag", "hook_v001.mp4", "notes.part"]


def test_a_linked_clip_is_the_same_file_where_the_disk_can(folder, part):
    first, second = folder.file("clips/hook_v001.mp4"), folder.file("clips/opening_v001.mp4")
    settle_clip(part, first)
    link_clip(first, second)
    assert second.samefile(first)


@pytest.mark.usefixtures("disk_kind")
def test_a_linked_clip_has_the_same_bytes_and_leaves_no_half_made_file(folder, part):
    first, second = folder.file("clips/hook_v001.mp4"), folder.file("clips/opening_v001.mp4")
    settle_clip(part, first)
    link_clip(first, second)
    assert second.read_bytes() == b"a whole clip"
    with pytest.raises(FileExistsError):
        link_clip(first, second)
    assert files(folder) == ["hook_v001.mp4", "opening_v001.mp4"]


def test_a_clip_that_was_moved_away_and_left_a_link_is_linked_itself(folder, part, tmp_path):
    elsewhere = tmp_path / "archive.mp4"
    part.rename(elsewhere)
    first, second = folder.file("clips/hook_v001.mp4"), folder.file("clips/opening_v001.mp4")
    first.symlink_to(os.path.relpath(elsewhere, folder.clips))
    link_clip(first, second)
    assert not second.is_symlink()
    assert second.read_bytes() == b"a whole clip"


def test_a_copy_that_did_not_fit_is_removed(folder, part, monkeypatch):
    first, second = folder.file("clips/hook_v001.mp4"), folder.file("clips/opening_v001.mp4")
    settle_clip(part, first)

    def half(_, to):
        Path(to).write_bytes(b"a wh")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(LedgerError, match="No space left on device"):
        link_clip(first, second)
    assert files(folder) == [first.name]


# ── manifests and the like ───────────────────────────────────────────────────────────────────────────────────────────


def test_a_file_is_replaced_whole(folder):
    for text in (b"first", b"second and longer", b""):
        write_atomically(folder.manifest, text)
        assert folder.manifest.read_bytes() == text
    assert sorted(file.name for file in folder.path.iterdir()) == ["clips", "manifest.json"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(folder, monkeypatch, failing):
    write_atomically(folder.manifest, b"as it was")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    else:
        monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(LedgerError, match=r"manifest\.json could not be written: No space left on device"):
        write_atomically(folder.manifest, b"new")
    monkeypatch.undo()
    assert folder.manifest.read_bytes() == b"as it was"
    assert sorted(file.name for file in folder.path.iterdir()) == ["clips", "manifest.json"]


def test_others_may_read_a_manifest_as_far_as_the_umask_lets_them(folder):
    old = os.umask(0o027)
    try:
        write_atomically(folder.manifest, b"{}")
    finally:
        os.umask(old)
    assert folder.manifest.stat().st_mode & 0o777 == 0o640


def test_a_new_file_is_never_made_over_another(folder):
    disk.write_new(folder.manifest, b"mine")
    with pytest.raises(FileExistsError):
        disk.write_new(folder.manifest, b"yours")
    assert folder.manifest.read_bytes() == b"mine"


def test_a_hash_is_of_the_bytes(folder):
    data = bytes(range(256)) * 5000
    write_atomically(folder.manifest, data)
    assert sha256_of(folder.manifest) == hashlib.sha256(data).hexdigest()
