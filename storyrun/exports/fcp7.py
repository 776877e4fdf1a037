"""FCP7 XML, which Premiere and Resolve read: all tracks, markers, and whole `file://` addresses of the media."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun.exports import edl, otio
from storyrun.exports.cut.pieces import most

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from storyrun.exports.layout import Layout


def content(films: Sequence[Layout], target: Path) -> tuple[bytes, tuple[str, ...]]:
    """A film as FCP7 XML. Raises `UsageError` for what it cannot say.

    Media are named by their whole address: Premiere finds no others. One clip, its picture and its sound share a file.
    """
    import opentimelineio

    (film,) = films
    edl.refuse(film, "FCP7 XML")
    made = otio.timeline(film, lambda path: path.resolve().as_uri())
    for clip in made.find_clips():
        for marker in clip.markers:
            if marker.comment:
                marker.metadata["fcp_xml"] = {"comment": marker.comment}
        if clip.metadata["storyrun"].get("part") == "sound":
            # Which of a file's streams an item of sound is: Premiere leaves it silent otherwise.
            clip.metadata["fcp_xml"] = {"sourcetrack": {"mediatype": "audio", "trackindex": "1"}}
    if size := _size(film):
        shape = {"width": str(size[0]), "height": str(size[1]), "pixelaspectratio": "square"}
        made.metadata["fcp_xml"] = {"media": {"video": {"format": {"samplecharacteristics": shape}}}}
    text: str = opentimelineio.adapters.write_to_string(made, "fcp_xml")
    return text.encode("utf-8", "replace"), otio.notes(film)


def _size(film: Layout) -> tuple[int, int] | None:
    """Pixels of most of the film's clips: as delivered, else as ordered; None where neither is known."""
    shapes = [place.clip["media"] or place.clip["ordered"] for place in film.places]
    known = [(shape["width"], shape["height"]) for shape in shapes if shape["width"] and shape["height"]]
    return most(known) if known else None
