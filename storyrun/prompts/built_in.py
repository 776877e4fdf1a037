"""The built-in templates, joined without Jinja: what `templates/prompt.jinja` and `templates/shots.jinja` say.

The files are the definition, for people to read, copy and include; `tests/test_plain.py` holds these functions to them.
With these a plan whose texts are plain never loads Jinja, which takes as long as everything else that `check` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Parts = Mapping[str, Any]


def sentence(text: object) -> str:
    """A text, stripped, with a full stop unless it ends in one of `.!?`. Nothing stays nothing."""
    stripped = str(text).strip()
    return stripped if not stripped or stripped[-1] in ".!?" else stripped + "."


def _prompt(parts: Parts) -> Iterator[str]:
    said = [part for part in (parts["premise"], parts["prompt"], parts["look"]) if part]
    yield from map(sentence, said[:-1])
    yield from said[-1:]


def _shots(parts: Parts) -> Iterator[str]:
    if parts["premise"]:
        yield sentence(parts["premise"])
    for shot in parts["shots"]:
        heading = ", ".join(part for part in (shot["framing"], shot["camera"]) if part)
        if len(parts["shots"]) > 1:
            number = f"Shot {shot['index']} [{shot['start']}-{shot['end']}s]" + (f", {heading}" if heading else "")
            yield f"{number}: {sentence(shot['action'])}" if shot["action"] else f"{number}."
        elif heading and shot["action"]:
            yield f"{heading}: {sentence(shot['action'])}"
        else:
            yield sentence(heading or shot["action"])
        if shot["dialogue"]:
            lines = (f"{line['speaker']}: " * bool(line["speaker"]) + f'"{line["text"]}"' for line in shot["dialogue"])
            yield f"Dialogue: {'; '.join(lines)}."
        if shot["sound"]:
            yield f"Sound: {sentence(shot['sound'])}"
    yield parts["look"]


JOINS: dict[str, Callable[[Parts], Iterator[str]]] = {"prompt": _prompt, "shots": _shots}


def join(name: str, parts: Parts) -> str:
    """The parts of a scene as one text, by the built-in template called `name`."""
    return " ".join(JOINS[name](parts)).strip()
