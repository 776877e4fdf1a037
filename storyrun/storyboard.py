"""From the YAML that a person wrote to a `Storyboard`: judged by its schema, its tables read, nothing rendered."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from storyrun import sources, tables, validation, yamlfile
from storyrun.records import (
    Axis,
    AxisValue,
    Cut,
    Line,
    Money,
    Price,
    Problem,
    Reference,
    Scene,
    Shot,
    Storyboard,
    Text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from storyrun.records import Where
    from storyrun.validation import Violation
    from storyrun.yamlfile import Document

LISTED = ("vars", "references", "shots", "notes", "id")
"""Keys of a scene that are not scalar settings."""


@dataclass(frozen=True)
class Loaded:
    """What reading a plan gave. `storyboard` is None when too little of it could be understood.

    `whole` is False when something was wrong: then what is absent proves nothing.
    """

    storyboard: Storyboard | None
    document: Document | None
    problems: tuple[Problem, ...]
    whole: bool


def load(path: Path, shown: str) -> Loaded:
    """Read a plan file. `shown` is its name for people. Every problem is returned, none raised."""
    document, problems = yamlfile.read(path, shown)
    if document is None:
        return Loaded(None, None, problems, whole=False)
    violations = validation.violations(document.data, "storyboard")
    judged = tuple(
        document.problem(violation.where, violation.code, violation.sentence, violation.hint, key=violation.key)
        for violation in violations
    )
    builder = _Builder(document, path, violations)
    storyboard = builder.storyboard() if isinstance(document.data, dict) else None
    found = (*problems, *judged, *builder.problems)
    return Loaded(storyboard, document, found, whole=not found)


class _Builder:
    """Builds the records, as far as the schema leaves anything to build from."""

    def __init__(self, document: Document, path: Path, violations: Sequence[Violation]) -> None:
        self.document = document
        self.path = path
        self.misplaced = {violation.where for violation in violations if violation.key}
        self.problems: list[Problem] = []
        self.refused: set[Where] = set()
        self.touched: set[Where] = set()
        for violation in violations:
            self.refuse(violation.where)

    def refuse(self, where: Where) -> None:
        self.refused.add(where)
        self.touched.update(where[:length] for length in range(len(where) + 1))

    def sound(self, *where: str | int) -> bool:
        """Whether nothing at or under a place was refused."""
        return where not in self.touched

    def storyboard(self) -> Storyboard:
        data = self.document.data
        defaults = _mapping(data, "defaults")
        budget = data.get("budget") if self.sound("budget") else None
        matrix = tuple(self.axes(_mapping(data, "matrix")))
        scenes = tuple(self.scenes(_list(data, "scenes")))
        cut = self.cut(data["cut"]) if isinstance(data.get("cut"), dict) else None
        return Storyboard(
            path=self.path,
            sha256=self.document.sha256,
            title=data["title"] if isinstance(data.get("title"), str) else self.path.stem,
            provider=data.get("provider") if self.sound("provider") else None,
            model=self.text(data.get("model"), ("model",)),
            defaults=self.settings(defaults, ("defaults",)),
            default_references=self.names(defaults, ("defaults",)),
            vars={
                name: text
                for name, text in {**self.vars(data, ()), **self.vars(defaults, ("defaults",))}.items()
                if text is not None
            },
            matrix=matrix,
            exclude=tuple(
                dict(entry) if self.sound("exclude", index) else {}
                for index, entry in enumerate(_list(data, "exclude"))
            ),
            references={name: self.reference(name, value) for name, value in _mapping(data, "references").items()},
            scenes=scenes,
            budget=Money(Decimal(budget["max"]), budget["currency"]) if budget else None,
            prices={
                model: tuple(self.prices(entry))
                for model, entry in _mapping(data, "prices").items()
                if self.sound("prices", model)
            },
            refused=frozenset(self.refused),
            cut=cut,
        )

    def text(self, value: Any, where: Where) -> Text | None:
        """The text at a place, an empty one if it was refused."""
        if not self.sound(*where):
            self.refuse(where)
            return Text("", where)
        return Text(value, where) if isinstance(value, str) else None

    def texts(self, value: Any, where: Where) -> tuple[Text, ...]:
        """A text or a list of texts."""
        if isinstance(value, list):
            found = [self.text(item, (*where, index)) for index, item in enumerate(value)]
            return tuple(text for text in found if text is not None)
        text = self.text(value, where)
        return () if text is None else (text,)

    def settings(self, mapping: Mapping[str, Any], where: Where) -> dict[str, Text | None]:
        """The scalar settings of a scene or of the defaults, without keys that do not belong there."""
        return {
            key: self.text(value, (*where, key))
            for key, value in mapping.items()
            if key not in LISTED and (*where, key) not in self.misplaced
        }

    def names(self, mapping: Mapping[str, Any], where: Where) -> tuple[Text, ...] | None:
        if "references" not in mapping:
            return None
        return self.texts(mapping["references"], (*where, "references"))

    def vars(self, mapping: Mapping[str, Any], where: Where) -> dict[str, Any]:
        return {name: self.text(value, (*where, "vars", name)) for name, value in _mapping(mapping, "vars").items()}

    def axes(self, matrix: Mapping[str, Any]) -> Iterator[Axis]:
        for name, value in matrix.items():
            where = ("matrix", name)
            values: tuple[AxisValue, ...] = ()
            if isinstance(value, dict) and self.sound(*where):
                values = self.table(value, where)
            elif isinstance(value, list) and (self.sound(*where) or len({*map(type, value)}) == 1):
                values = tuple(
                    AxisValue(item["id"], {key: cell or "" for key, cell in item.items() if key != "notes"})
                    if isinstance(item, dict)
                    else AxisValue(item)
                    for index, item in enumerate(value)
                    if self.sound(*where, index)
                )
            yield Axis(name, where, values)

    def table(self, entry: Mapping[str, Any], where: Where) -> tuple[AxisValue, ...]:
        name = entry["table"]
        try:
            path = sources.inside(self.path.parent, name)
        except sources.SourceFault as fault:
            self.problems.append(
                self.document.problem((*where, "table"), fault.code, f"table {fault.sentence}", fault.hint)
            )
            self.refuse(where)
            return ()
        values, problems = tables.read(path, (PurePath(self.document.file).parent / name).as_posix(), entry["id"])
        if problems:
            self.problems += problems
            self.refuse(where)
        return values

    def reference(self, name: str, value: Any) -> Reference:
        """A reference; one without anything if it was refused."""
        where = ("references", name)
        if not self.sound(*where):
            return Reference(name, where)
        if isinstance(value, dict):
            return Reference(
                name,
                where,
                self.texts(value.get("images"), (*where, "images")),
                self.texts(value.get("videos"), (*where, "videos")),
                self.text(value.get("voice"), (*where, "voice")),
            )
        text = Text(value, where)
        if sources.kind_by_name(value) == "video":
            return Reference(name, where, videos=(text,))
        if sources.kind_by_name(value) == "audio":
            return Reference(name, where, voice=text)
        return Reference(name, where, images=(text,))

    def scenes(self, entries: Sequence[Any]) -> Iterator[Scene]:
        for index, entry in enumerate(entries):
            where = ("scenes", index)
            if not isinstance(entry, dict):
                continue
            called = entry.get("id")
            if not isinstance(called, str):
                self.refuse((*where, "id"))
                called = str(index + 1)
            settings = self.settings(entry, where)
            shots = tuple(self.shots(entry, where))
            if not shots and not settings.get("prompt"):  # told of; what else is wrong with the scene is told too
                self.refuse((*where, "prompt"))
                settings["prompt"] = Text("", (*where, "prompt"))
            yield Scene(called, where, settings, self.vars(entry, where), self.names(entry, where), shots)

    def shots(self, entry: Mapping[str, Any], where: Where) -> Iterator[Shot]:
        if (*where, "shots") in self.misplaced:
            return
        for index, shot in enumerate(_list(entry, "shots")):
            if isinstance(shot, dict):
                yield self.shot(shot, (*where, "shots", index))

    def shot(self, entry: Mapping[str, Any], where: Where) -> Shot:
        fields = {
            key: text
            for key, value in entry.items()
            if key not in ("dialogue", "notes")
            and (*where, key) not in self.misplaced
            and (text := self.text(value, (*where, key))) is not None
        }
        if "seconds" not in fields:
            self.refuse((*where, "seconds"))
            fields["seconds"] = Text("", (*where, "seconds"))
        spoken = entry.get("dialogue")
        lines = []
        if not self.sound(*where, "dialogue"):
            self.refuse((*where, "dialogue"))
            spoken = ""
        if isinstance(spoken, str):
            lines.append(Line(None, Text(spoken, (*where, "dialogue"))))
        for index, line in enumerate(spoken if isinstance(spoken, list) else []):
            place = (*where, "dialogue", index)
            if isinstance(line, dict):
                lines += [Line(Text(who, (*place, who)), Text(said, (*place, who))) for who, said in line.items()]
            else:
                lines.append(Line(None, Text(line, place)))
        return Shot(where, fields, tuple(lines))

    def cut(self, entry: Mapping[str, Any]) -> Cut:
        """How the clips are put together; texts that were refused are empty."""
        texts = {
            key: self.text(entry.get(key), ("cut", key))
            for key in ("name", "length", "sound", "clip_sound", "subtitles")
        }
        transition, fade = entry.get("transition"), None
        if isinstance(transition, dict):
            fade = self.text(transition.get("fade"), ("cut", "transition", "fade"))
            transition = "fade"
        return Cut(("cut",), **texts, transition=self.text(transition, ("cut", "transition")), fade=fade)

    def prices(self, entry: Mapping[str, Any]) -> Iterator[Price]:
        for resolution, amount in entry.items():
            if resolution not in ("currency", "notes"):
                yield Price(resolution, entry["currency"], Decimal(amount), None, self.document.file, "in the plan")


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], key: str) -> Sequence[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []
