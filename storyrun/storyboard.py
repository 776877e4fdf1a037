"""From the YAML that a person wrote to a `Storyboard`: judged by its schema, its tables read, nothing rendered."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from storyrun import sources, tables, validation, yamlfile
from storyrun.records import (
    Axis,
    AxisValue,
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
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from storyrun.records import Where
    from storyrun.yamlfile import Document

LISTED = ("vars", "references", "shots", "notes", "id")
"""Keys of a scene that are not scalar settings."""


@dataclass(frozen=True)
class Loaded:
    """What reading a plan gave. `storyboard` is None when too little of it could be understood.

    `whole` is False when parts were left out because of their problems: then what is absent proves nothing.
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
    builder = _Builder(document, path, frozenset(violation.where for violation in violations))
    storyboard = builder.storyboard() if isinstance(document.data, dict) else None
    found = (*problems, *judged, *builder.problems)
    return Loaded(storyboard, document, found, whole=not builder.left_out and not found)


class _Builder:
    """Builds the records, leaving out every part that its schema has refused."""

    def __init__(self, document: Document, path: Path, refused: frozenset[Where]) -> None:
        self.document = document
        self.path = path
        self.refused = refused
        self.problems: list[Problem] = []
        self.left_out = False

    def sound(self, *where: str | int) -> bool:
        """Whether nothing at or under a place was refused."""
        good = not any(refused[: len(where)] == where for refused in self.refused)
        self.left_out = self.left_out or not good
        return good

    def storyboard(self) -> Storyboard:
        data = self.document.data
        defaults = data.get("defaults") if self.sound("defaults") else None
        budget = data.get("budget") if self.sound("budget") else None
        return Storyboard(
            path=self.path,
            sha256=self.document.sha256,
            title=data["title"] if isinstance(data.get("title"), str) else self.path.stem,
            provider=data.get("provider") if self.sound("provider") else None,
            model=self.text(data.get("model"), ("model",)) if self.sound("model") else None,
            defaults=self.settings(defaults or {}, ("defaults",)),
            default_references=self.names(defaults or {}, ("defaults",)),
            vars={**self.vars(data, ()), **self.vars(defaults or {}, ("defaults",))},
            matrix=tuple(self.axes(_mapping(data, "matrix"))),
            exclude=tuple(
                dict(entry)
                for index, entry in enumerate(data.get("exclude") or [])
                if self.sound("exclude", index) and isinstance(entry, dict)
            )
            if isinstance(data.get("exclude"), list)
            else (),
            references={
                name: self.reference(name, value)
                for name, value in _mapping(data, "references").items()
                if self.sound("references", name)
            },
            scenes=tuple(self.scenes(data.get("scenes"))),
            budget=Money(Decimal(budget["max"]), budget["currency"]) if budget else None,
            prices={
                model: tuple(self.prices(entry))
                for model, entry in _mapping(data, "prices").items()
                if self.sound("prices", model)
            },
        )

    def text(self, value: Any, where: Where) -> Text | None:
        return Text(value, where) if isinstance(value, str) else None

    def texts(self, value: Any, where: Where) -> tuple[Text, ...]:
        """A text or a list of texts."""
        if isinstance(value, str):
            return (Text(value, where),)
        if isinstance(value, list):
            return tuple(Text(item, (*where, index)) for index, item in enumerate(value) if isinstance(item, str))
        return ()

    def settings(self, mapping: Mapping[str, Any], where: Where) -> dict[str, Text | None]:
        return {key: self.text(value, (*where, key)) for key, value in mapping.items() if key not in LISTED}

    def names(self, mapping: Mapping[str, Any], where: Where) -> tuple[Text, ...] | None:
        if "references" not in mapping:
            return None
        return self.texts(mapping["references"], (*where, "references"))

    def vars(self, mapping: Mapping[str, Any], where: Where) -> dict[str, Any]:
        entries = mapping.get("vars")
        if not isinstance(entries, dict):
            return {}
        return {
            name: self.text(value, (*where, "vars", name))
            for name, value in entries.items()
            if self.sound(*where, "vars", name) and (value is not None or where)
        }

    def axes(self, matrix: Mapping[str, Any]) -> Iterator[Axis]:
        for name, value in matrix.items():
            if not self.sound("matrix", name):
                continue
            where = ("matrix", name)
            if isinstance(value, dict):
                values = self.table(value, where)
            else:
                values = tuple(
                    AxisValue(item["id"], {key: cell or "" for key, cell in item.items() if key != "notes"})
                    if isinstance(item, dict)
                    else AxisValue(item)
                    for item in value
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
            self.left_out = True
            return ()
        values, problems = tables.read(path, name, entry["id"])
        self.problems += problems
        self.left_out = self.left_out or bool(problems)
        return values

    def reference(self, name: str, value: Any) -> Reference:
        where = ("references", name)
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

    def scenes(self, entries: Any) -> Iterator[Scene]:
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            where = ("scenes", index)
            if not self.sound(*where) or not isinstance(entry, dict):
                continue
            yield Scene(
                id=entry["id"],
                where=where,
                settings=self.settings(entry, where),
                vars=self.vars(entry, where),
                references=self.names(entry, where),
                shots=tuple(self.shot(shot, (*where, "shots", n)) for n, shot in enumerate(entry.get("shots") or [])),
            )

    def shot(self, entry: Mapping[str, Any], where: Where) -> Shot:
        fields = {
            key: Text(value, (*where, key))
            for key, value in entry.items()
            if isinstance(value, str) and key not in ("dialogue", "notes")
        }
        spoken = entry.get("dialogue")
        lines = []
        if isinstance(spoken, str):
            lines.append(Line(None, Text(spoken, (*where, "dialogue"))))
        for index, line in enumerate(spoken if isinstance(spoken, list) else []):
            place = (*where, "dialogue", index)
            if isinstance(line, dict):
                lines += [Line(Text(who, (*place, who)), Text(said, (*place, who))) for who, said in line.items()]
            else:
                lines.append(Line(None, Text(line, place)))
        return Shot(where, fields, tuple(lines))

    def prices(self, entry: Mapping[str, Any]) -> Iterator[Price]:
        for resolution, amount in entry.items():
            if resolution not in ("currency", "notes"):
                yield Price(resolution, entry["currency"], Decimal(amount), None, self.document.file, "in the plan")


def _mapping(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}
