"""Files and URLs that a plan names: inside its folder, and really what they claim to be."""

from __future__ import annotations

import hashlib
import io
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from storyrun import sources
from storyrun.sources import SourceFault

if TYPE_CHECKING:
    from storyrun.records import MediaSource


def picture(form, size=(300, 200)):
    """A small picture as its file would be."""
    file = io.BytesIO()
    Image.new("RGB", size, "#456").save(file, form)
    return file.getvalue()


def ftyp(brand):
    return b"\0\0\0\x18ftyp" + brand + b"\0" * 12


KINDS = [
    ("image", picture("PNG")),
    ("image", picture("JPEG")),
    ("image", picture("GIF")),
    ("image", b"GIF87a" + picture("GIF")[6:]),
    ("image", picture("WEBP")),
    ("image", picture("BMP")),
    ("video", ftyp(b"isom")),
    ("video", ftyp(b"mp42")),
    ("video", ftyp(b"avc1")),
    ("video", ftyp(b"qt  ")),
    ("video", ftyp(b"M4V ")),
    ("video", b"\x1a\x45\xdf\xa3" + b"\0" * 20),
    ("video", b"RIFF\0\0\0\0AVI LIST"),
    ("audio", ftyp(b"M4A ")),
    ("audio", b"RIFF\0\0\0\0WAVEfmt "),
    ("audio", b"ID3\4" + b"\0" * 20),
    ("audio", b"\xff\xfb\x90\0" + b"\0" * 20),
    ("audio", b"\xff\xf1\x50\x80" + b"\0" * 20),
    ("audio", b"fLaC" + b"\0" * 20),
    ("audio", b"OggS" + b"\0" * 20),
]

FOREIGN = [
    ("a HEIC picture", ftyp(b"heic")),
    ("a HEIC picture", ftyp(b"mif1")),
    ("an AVIF picture", ftyp(b"avif")),
    ("a PDF", b"%PDF-1.7\n"),
    ("a Photoshop file", b"8BPS\0\1"),
    ("a TIFF", b"II*\0\x08\0"),
    ("a TIFF", b"MM\0*\0\0"),
    ("an SVG", b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    ("an SVG or other XML", b'<?xml version="1.0"?><svg/>'),
    ("an AIFF", b"FORM\0\0\0\0AIFF"),
    ("a Windows Media file", b"0&\xb2u\x8ef\xcf\x11"),
    ("a ZIP or Office file", b"PK\x03\x04"),
    ("an icon", b"\0\0\1\0\1\0"),
]

NOTHING = [
    b"not a picture\n",
    b"BMW seen from the side\n",
    b"RIFF\0\0\0\0????",
    b"\xff",
    b"\x89PNG",
    b"\0" * 64,
    b"GIF90a",
]


def look(folder, text, kind=None):
    return sources.media_source(folder, text, kind, lambda path: None)


def fault_of(folder, text, kind=None):
    with pytest.raises(SourceFault) as caught:
        look(folder, text, kind)
    return caught.value


@pytest.mark.parametrize(
    ("kind", "data"), KINDS, ids=lambda value: value if isinstance(value, str) else repr(value[:12])
)
def test_what_a_file_is_its_first_bytes_say(tmp_path, kind, data):
    (tmp_path / "file").write_bytes(data)
    assert sources.sniff(tmp_path / "file") == kind
    found = look(tmp_path, "file")
    assert (found.kind, found.bytes, found.sha256) == (kind, len(data), hashlib.sha256(data).hexdigest())
    assert found.pixels == ((300, 200) if kind == "image" else None)


@pytest.mark.parametrize(("what", "data"), FOREIGN, ids=[f"{what} {data[4:12]!r}" for what, data in FOREIGN])
def test_files_that_no_model_takes_are_called_what_they_are(tmp_path, what, data):
    (tmp_path / "file.png").write_bytes(data)
    fault = fault_of(tmp_path, "file.png")
    assert (fault.code, fault.sentence) == ("SR172", f"file.png is {what}, which no model takes")


@pytest.mark.parametrize("data", NOTHING)
def test_other_files_are_nothing(tmp_path, data):
    (tmp_path / "file.png").write_bytes(data)
    assert fault_of(tmp_path, "file.png").sentence == "file.png is neither a picture nor a film nor a sound"
    (tmp_path / "empty.mp3").write_bytes(b"")
    assert fault_of(tmp_path, "empty.mp3").sentence == "empty.mp3 is empty"


def test_a_png_called_mp4_is_told(tmp_path):
    (tmp_path / "walk.mp4").write_bytes(picture("PNG"))
    fault = fault_of(tmp_path, "walk.mp4")
    assert (fault.code, fault.sentence) == ("SR172", "walk.mp4 should be a video but is an image")
    assert look(tmp_path, "walk.mp4", "image").kind == "image"  # the place says more than the name


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_picture_that_is_cut_short_is_no_crash(tmp_path, form):
    whole = picture(form)
    for length in (*range(8, 64, 3), len(whole) // 2):
        (tmp_path / "cut").write_bytes(whole[:length])
        if sources.sniff(tmp_path / "cut") == "image":
            assert look(tmp_path, "cut").pixels in (None, (300, 200))


# ── where a file may be ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path):
    """A plan's folder with a secret beside it, and a link out of it."""
    (tmp_path / "secret.png").write_bytes(picture("PNG"))
    plans = tmp_path / "plans"
    (plans / "refs").mkdir(parents=True)
    (plans / "refs" / "face.png").write_bytes(picture("PNG"))
    (plans / "refs" / "link.png").symlink_to(tmp_path / "secret.png")
    (plans / "refs" / "friend.png").symlink_to("face.png")
    (plans / "out").symlink_to(tmp_path)
    return plans


@pytest.mark.parametrize(
    "text",
    [
        "../secret.png",
        "refs/../../secret.png",
        "refs/link.png",
        "out/secret.png",
        "/etc/hostname",
        "//etc/hostname",
        "..",
    ],
)
def test_nothing_outside_is_reached(folder, text):
    fault = fault_of(folder, text)
    assert (fault.code, fault.sentence) == ("SR171", f"{text} lies outside the plan's folder")


@pytest.mark.parametrize("text", ["refs/face.png", "./refs/face.png", "refs/../refs/face.png", "refs/friend.png"])
def test_everything_inside_is(folder, text):
    found = look(folder, text)
    assert (found.text, found.path) == (text, (folder / "refs/face.png").resolve())


def test_a_plan_in_a_folder_that_is_itself_a_link_works(folder, tmp_path):
    (tmp_path / "shortcut").symlink_to(folder)
    assert look(tmp_path / "shortcut", "refs/face.png").kind == "image"


def test_an_absolute_path_is_refused_even_if_it_leads_inside(folder):
    fault = fault_of(folder, str(folder / "refs" / "face.png"))
    assert (fault.code, fault.hint) == ("SR171", "write refs/face.png: then the folder can be moved")


@pytest.mark.parametrize(
    ("text", "sentence", "hint"),
    [
        ("refs/fase.png", "refs/fase.png does not exist", "did you mean refs/face.png?"),
        ("refs\\face.png", "refs\\face.png does not exist", "write refs/face.png"),
        ("nowhere/face.png", "nowhere/face.png does not exist", "paths start at the plan's folder, plans/"),
        ("refs", "refs is a folder, not a file", ""),
        (".", ". is a folder, not a file", ""),
        ("  ", "`  ` is not a path", ""),
        ("a\0b", "`a\0b` is not a path", ""),
        ("refs/face.png/x", "refs/face.png/x does not exist", "paths start at the plan's folder, plans/"),
    ],
)
def test_what_is_missing_is_told_with_what_is_near(folder, text, sentence, hint):
    fault = fault_of(folder, text)
    assert (fault.code, fault.sentence, fault.hint) == ("SR170", sentence, hint)


def test_odd_things_in_the_folder_are_sentences(folder):
    os.mkfifo(folder / "pipe.png")
    assert fault_of(folder, "pipe.png").sentence == "pipe.png is not a plain file"
    (folder / "a.png").symlink_to("b.png")
    (folder / "b.png").symlink_to("a.png")
    assert fault_of(folder, "a.png").code == "SR170"
    assert len(fault_of(folder, "x" * 5000).sentence) < 200
    assert fault_of(folder, "x/" * 3000 + "y").code == "SR170"


def test_a_hint_does_not_tell_what_lies_outside(folder):
    assert "secret" not in fault_of(folder, "../sekret.png").hint


def test_each_file_is_hashed_once(folder, monkeypatch):
    known: dict[Path, MediaSource] = {}
    first = sources.media_source(folder, "refs/face.png", "image", known.get)
    assert first.path is not None
    known[first.path] = first
    monkeypatch.setattr(sources, "_sha256", None)
    again = sources.media_source(folder, "./refs/face.png", "image", known.get)
    assert (again.sha256, again.text) == (first.sha256, "./refs/face.png")


# ── URLs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("https://example.com/a.png", "image"),
        ("https://example.com/a.JPG?size=large#top", "image"),
        ("https://example.com:8443/a.mov", "video"),
        ("https://example.com/a.wav", "audio"),
    ],
)
def test_an_https_url_is_what_its_extension_says(text, kind):
    found = look(Path(), text)
    assert (found.text, found.kind, found.path, found.sha256) == (text, kind, None, "")


def test_the_place_of_a_url_says_more_than_its_extension():
    assert look(Path(), "https://example.com/get?id=7", "audio").kind == "audio"
    assert fault_of(Path(), "https://example.com/get?id=7").code == "SR174"


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com/a.png", "ftp://example.com/a.png", "file:///etc/passwd", "https://", "https:///a.png",
        "https://[::1/a.png", "https://example.com:port/a.png", "https://example.com/a b.png",
        "data:image/png;base64,AA", "s3://bucket/a.png", "://a.png", "HTTP://example.com/a.png",
    ],
)  # fmt: skip
def test_other_urls_are_refused(text):
    assert fault_of(Path(), text).code == "SR173"


def test_a_long_url_does_not_fill_the_screen():
    start = time.process_time()
    assert len(fault_of(Path(), "http://example.com/" + "x" * 1_000_000).sentence) < 200
    assert time.process_time() - start < 1
