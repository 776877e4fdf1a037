"""What a schema cannot say about a plan: functions from records to problems, one rule each.

Adding a rule: a function here, its code in `CODES`, its line in `STORYBOARD_CHECKS` or `JOB_CHECKS`, and an invalid
plan beside the text it prints in `tests/plans/invalid/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from storyrun.records import Axis, Job, Problem, Storyboard, Text
    from storyrun.yamlfile import Document

CODES = {
    "SR200": "two scenes have one id",
    "SR201": "a name has two meanings",
    "SR202": "an axis that no scene mentions",
    "SR203": "`exclude` names an axis that does not exist",
    "SR204": "`exclude` names a value that its axis does not have",
    "SR205": "an unknown reference",
    "SR206": "a var uses itself or one that is written after it",
    "SR207": "`seconds` beside `shots`: the sum of the shots counts",
    "SR208": "every variant of a scene is excluded",
    "SR209": "an axis has one value twice",
    "SR210": "an @name that only appears when a template is rendered",
    "SR211": "a template in a value of an axis, where none is rendered",
    "SR212": "a plan makes too many clips",
    "SR220": "two clips would have one file name",
    "SR221": "two clips are the same order",
    "SR222": "two variants have one id",
}

FIELDS = frozenset(
    "id premise prompt shots seconds template takes seed model resolution aspect_ratio look negative_prompt "
    "prompt_extend watermark shot_type audio references first_frame last_frame".split()
)
"""The scene's own fields, as templates may name them."""

TAKEN = frozenset(
    "range loop self super caller varargs kwargs true false none True False None and or not in is if else".split()
)
"""Words that mean something of their own in every template."""

MAX_CLIPS = 100_000


def scene_ids(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Every scene has its own id."""
    first: dict[str, int] = {}
    for scene in storyboard.scenes:
        if (*scene.where, "id") in storyboard.refused:
            continue
        line = document.mark((*scene.where, "id")).line
        if scene.id in first:
            sentence = f"scene id `{scene.id}` is already taken in line {first[scene.id]}"
            yield document.problem((*scene.where, "id"), "SR200", sentence, "clips are named after it: give it another")
        else:
            first[scene.id] = line


def names_mean_one_thing(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Vars, axes and the scene's own fields share one set of names."""
    axes = {axis.name: axis for axis in storyboard.matrix}
    for axis in storyboard.matrix:
        if meaning := _meaning(axis.name):
            yield document.problem(axis.where, "SR201", f"axis `{axis.name}` {meaning}", _other(axis.name), key=True)
    seen: set[tuple[str | int, ...]] = set()
    written: list[Mapping[str, Text | None]] = [storyboard.vars, *(scene.vars for scene in storyboard.scenes)]
    for vars_ in written:
        for name, text in vars_.items():
            where = text.where if text is not None else ()
            if not where or where in seen or where in storyboard.refused:
                continue
            seen.add(where)
            meaning = _meaning(name)
            if name in axes:
                meaning = f"is also an axis, in line {document.mark(axes[name].where, key=True).line}"
            if meaning:
                yield document.problem(where, "SR201", f"var `{name}` {meaning}", _other(name), key=True)


def _meaning(name: str) -> str:
    """What a name means already; empty if it is free."""
    if name in FIELDS:
        return "has the name of a scene's own field"
    return "means something else in every template" if name in TAKEN else ""


def _other(name: str) -> str:
    return f"call it `my_{name}` or what it stands for"


def axis_values(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """No axis has a value twice, or two values that become one in file names; none holds a template."""
    for axis in storyboard.matrix:
        seen: dict[str, str] = {}
        for value, where in zip(axis.values, _value_places(axis, document), strict=True):
            slug = folded(value.label)
            if value.label in seen.values():
                yield document.problem(where, "SR209", f"axis {axis.name} has `{value.label}` twice", "remove one")
            elif slug in seen:
                yield document.problem(where, "SR220", *_one_name(seen[slug], value.label, f"of axis {axis.name} "))
            seen.setdefault(slug, value.label)
            for column, cell in (value.columns or {"": value.label}).items():
                if where != axis.where and any(sign in cell for sign in ("{{", "{%", "{#")):
                    place = (*where[:-1], column) if column else where
                    hint = "values of axes are data: a var may hold the template, and use the axis in it"
                    sentence = f"axis {axis.name}: a template in `{column or value.label}` is not rendered"
                    yield document.problem(place, "SR211", sentence, hint)


def _value_places(axis: Axis, document: Document) -> list[tuple[str | int, ...]]:
    """Where each value of an axis stands; the axis itself for those of a table."""
    written = document.data["matrix"][axis.name]
    if not isinstance(written, list):
        return [axis.where] * len(axis.values)
    places: list[tuple[str | int, ...]] = []
    for index, item in enumerate(written):
        # Values that the schema refused are not in the axis.
        label = item.get("id") if isinstance(item, dict) else item
        if len(places) < len(axis.values) and label == axis.values[len(places)].label:
            places.append((*axis.where, index, "id") if isinstance(item, dict) else (*axis.where, index))
    return places


def slug(label: str) -> str:
    """What a value becomes in a file name: letters and digits of any script, `_` and `-`."""
    from unicodedata import normalize

    return "".join(c if c.isalnum() or c in "_-" else "-" for c in normalize("NFC", label))


def folded(label: str) -> str:
    """What is left of a value in a file name where case and Unicode forms do not count."""
    from unicodedata import normalize

    return normalize("NFC", normalize("NFC", slug(label)).casefold())


def excluded(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """`exclude` names axes and values that exist."""
    known = {axis.name: [value.label for value in axis.values] for axis in storyboard.matrix}
    touched = {where[:2] for where in storyboard.refused}
    if ("matrix",) in touched:
        return
    for index, entry in enumerate(storyboard.exclude):
        for name, label in entry.items():
            where = ("exclude", index, name)
            if name not in known:
                sentence = f"there is no axis `{name}` to exclude from"
                yield document.problem(where, "SR203", sentence, nearest.hint(name, list(known)), key=True)
            elif label not in known[name] and ("matrix", name) not in touched:
                sentence = f"axis {name} has no value `{label}`"
                yield document.problem(where, "SR204", sentence, nearest.hint(label, known[name]))


def seconds_beside_shots(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """A scene of shots is as long as they are."""
    for scene in storyboard.scenes:
        text = scene.settings.get("seconds")
        if scene.shots and text is not None:
            sentence = f"scene {scene.id} has shots: its length is their sum"
            yield document.problem(text.where, "SR207", sentence, "remove this line", key=True)


STORYBOARD_CHECKS: Sequence[Callable[[Storyboard, Document], Iterator[Problem]]] = (
    scene_ids,
    names_mean_one_thing,
    axis_values,
    excluded,
    seconds_beside_shots,
)


def clip_ids(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Clip ids are labels: no two alike."""
    for first, second in _pairs(jobs, lambda job: job.id):
        if first.variant == second.variant:
            continue  # two scenes with one id, or an axis with a value twice: told where that stands
        sentence = f"two variants are both called {second.id}"
        yield document.problem(_scene_place(storyboard, second), "SR222", sentence, "rename one of the axis values")


def file_names(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Clip files differ even where case and Unicode forms do not count."""
    alike: dict[tuple[str, str], list[tuple[Job, Job]]] = {}
    for first, second in _pairs(jobs, lambda job: folded(job.stem)):
        same_axes = first.variant.keys() == second.variant.keys()
        if first.id == second.id or (
            first.scene == second.scene
            and same_axes
            and all(folded(first.variant[axis]) == folded(second.variant[axis]) for axis in first.variant)
        ):
            continue  # told at the axis
        alike.setdefault((first.scene, second.scene), []).append((first, second))
    for pairs in alike.values():
        first, second = pairs[0]
        sentence, hint = _one_name(first.id, second.id, "")
        where = _scene_place(storyboard, second)
        yield document.problem(where, "SR220", sentence + _and_more(pairs), hint)


def _one_name(first: str, second: str, whose: str) -> tuple[str, str]:
    """Sentence and hint for two names that become one in a file system."""
    from unicodedata import normalize

    if normalize("NFC", first) == normalize("NFC", second):
        sentence = f"two values {whose}look alike, `{second}`: their accents are stored in two ways"
        return sentence, "type it once and copy that"
    sentence = f"`{first}` and `{second}` {whose}would give one file name"
    return sentence, "in file names case does not count, and other signs than letters and digits become -: rename one"


def identical_clips(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """The same order twice would be bought once."""
    alike: dict[tuple[str, str], list[tuple[Job, Job]]] = {}
    for first, second in _pairs(jobs, lambda job: job.fingerprint):
        if first.id != second.id:
            alike.setdefault((first.scene, second.scene), []).append((first, second))
    for pairs in alike.values():
        first, second = pairs[0]
        sentence = f"{second.id} is the same order as {first.id}" + _and_more(pairs)
        hint = "for another try of the same scene write `takes: 2`; else change a word, or remove one"
        yield document.problem(_scene_place(storyboard, second), "SR221", sentence, hint)


def _and_more(pairs: Sequence[tuple[Job, Job]]) -> str:
    more = len(pairs) - 1
    return f", and {more} more such pair{'s' if more > 1 else ''}" if more else ""


JOB_CHECKS: Sequence[Callable[[Sequence[Job], Storyboard, Document], Iterator[Problem]]] = (
    clip_ids,
    file_names,
    identical_clips,
)


def _pairs(jobs: Sequence[Job], key: Callable[[Job], str]) -> Iterator[tuple[Job, Job]]:
    """Each job that shares a key with an earlier one, with that one."""
    first: dict[str, Job] = {}
    for job in jobs:
        known = first.setdefault(key(job), job)
        if known is not job:
            yield known, job


def _scene_place(storyboard: Storyboard, job: Job) -> tuple[str | int, ...]:
    for scene in storyboard.scenes:
        if scene.id == job.scene:
            return (*scene.where, "id")
    return ("scenes",)
