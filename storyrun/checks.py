"""What a schema cannot say about a plan: functions from records to problems, one rule each.

Adding a rule: a function here, its code in `CODES`, its line in `STORYBOARD_CHECKS` or `JOB_CHECKS`, and an invalid
plan beside the text it prints in `tests/plans/invalid/`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from storyrun import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from storyrun.records import Job, Problem, Storyboard, Text
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
    "SR211": "a setting that nothing here can mean",
    "SR212": "a plan makes too many clips",
    "SR220": "two clips would have one file name",
    "SR221": "two clips are the same order",
    "SR222": "two clips have one id",
}

FIELDS = frozenset(
    "id premise prompt shots seconds template takes seed model resolution aspect_ratio look negative_prompt "
    "prompt_extend watermark shot_type audio references first_frame last_frame".split()
)
"""The scene's own fields, as templates may name them."""

MAX_CLIPS = 100_000


def scene_ids(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Every scene has its own id."""
    first: dict[str, int] = {}
    for scene in storyboard.scenes:
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
        if axis.name in FIELDS:
            yield document.problem(
                axis.where,
                "SR201",
                f"axis `{axis.name}` has the name of a scene's own field",
                _other(axis.name),
                key=True,
            )
    seen: set[tuple[str | int, ...]] = set()
    written: list[Mapping[str, Text | None]] = [storyboard.vars, *(scene.vars for scene in storyboard.scenes)]
    for vars_ in written:
        for name, text in vars_.items():
            where = text.where if text is not None else ()
            if not where or where in seen:
                continue
            seen.add(where)
            if name in axes:
                line = document.mark(axes[name].where, key=True).line
                sentence = f"var `{name}` is also an axis, in line {line}"
                yield document.problem(where, "SR201", sentence, _other(name), key=True)
            elif name in FIELDS:
                sentence = f"var `{name}` has the name of a scene's own field"
                yield document.problem(where, "SR201", sentence, _other(name), key=True)


def _other(name: str) -> str:
    return f"call it `my_{name}` or what it stands for"


def axis_values(storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """No axis has a value twice; `exclude` names what exists."""
    for axis in storyboard.matrix:
        labels: dict[str, int] = {}
        for index, value in enumerate(axis.values):
            if value.label in labels:
                where = (*axis.where, index)
                sentence = f"axis {axis.name} has `{value.label}` twice"
                yield document.problem(where, "SR209", sentence)
            labels[value.label] = index
    known = {axis.name: [value.label for value in axis.values] for axis in storyboard.matrix}
    for index, entry in enumerate(storyboard.exclude):
        for name, label in entry.items():
            where = ("exclude", index, name)
            if name not in known:
                sentence = f"there is no axis `{name}` to exclude from"
                yield document.problem(where, "SR203", sentence, nearest.hint(name, list(known)), key=True)
            elif known[name] and label not in known[name]:
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
    seconds_beside_shots,
)


def clip_ids(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Clip ids are labels: no two alike."""
    for first, second in _pairs(jobs, lambda job: job.id):
        if first.scene != second.scene or first.take != second.take:
            continue  # two scenes with one id are told of by themselves
        where = _scene_place(storyboard, second)
        yield document.problem(where, "SR222", f"two clips are called {second.id}", "rename one of the axis values")


def file_names(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """Clip files differ even where case and Unicode forms do not count."""
    from unicodedata import normalize

    for first, second in _pairs(jobs, lambda job: normalize("NFC", normalize("NFC", job.stem).casefold())):
        if first.id == second.id:
            continue
        sentence = f"{first.id} and {second.id} would both be the file {second.stem}_v001.mp4"
        yield document.problem(
            _scene_place(storyboard, second), "SR220", sentence, "rename a scene or an axis value; case does not count"
        )


def identical_clips(jobs: Sequence[Job], storyboard: Storyboard, document: Document) -> Iterator[Problem]:
    """The same order twice would be bought once."""
    for first, second in _pairs(jobs, lambda job: job.fingerprint):
        if first.id == second.id:
            continue
        sentence = f"{second.id} is the same order as {first.id}"
        hint = "for another try of the same scene write `takes: 2`; else change a word, or remove one"
        yield document.problem(_scene_place(storyboard, second), "SR221", sentence, hint)


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
