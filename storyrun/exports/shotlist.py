"""The shot list of a plan as CSV, a row for each shot of each film: for production trackers and spreadsheets."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from storyrun.exports import layout as layouts
from storyrun.exports.cells import table
from storyrun.exports.otio import UNWRITABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from storyrun.exports.layout import Layout, Place

HEAD = (
    "film scene clip shot take takes status picked start_tc end_tc seconds framing camera action dialogue sound "
    "prompt negative_prompt model seed file cost currency problems"
).split()


def content(films: Sequence[Layout], target: Path) -> tuple[bytes, tuple[str, ...]]:
    """The list. Times are timecodes in the film, which begins at 01:00:00:00; `file` is relative to the manifest."""
    paid: set[str] = set()
    return table(HEAD, [row for film in films for place in film.places for row in _rows(film, place, paid)]), ()


def _rows(film: Layout, place: Place, paid: set[str]) -> Iterator[tuple[object, ...]]:
    """The shots of a part. `paid` are clips whose cost is in the list: it is there once, so that it can be summed."""
    clip = place.clip
    for shot in clip["shots"]:
        cost = None if clip["id"] in paid else clip["cost"]["billed"] or clip["cost"]["quoted"]
        paid.add(clip["id"])
        start, end = (min(Fraction(str(shot[key])), place.seconds) for key in ("start", "end"))
        times = (
            layouts.timecode(layouts.hour(film.rate) + place.first + round(at * film.rate), film.rate)
            for at in (start, end)
        )
        texts = (shot.get("framing"), shot.get("camera"), shot.get("action"), layouts.spoken(shot), shot.get("sound"))
        yield (
            film.film.title,
            clip["scene"],
            place.part.clip,
            shot["index"],
            clip["take"],
            len(place.takes),
            clip["status"],
            "yes" if clip["picked"] else "",
            *times,
            f"{float(end - start):.10g}",
            *(UNWRITABLE.sub(" ", text or "") for text in texts),
            *(UNWRITABLE.sub(" ", text or "") for text in (clip["prompt"], clip["negative_prompt"])),
            clip["model"],
            clip.get("seed"),
            clip["file"],
            cost["amount"] if cost else None,
            cost["currency"] if cost else None,
            "; ".join((*clip["problems"], *clip.get("warnings", ()))),
        )
