"""What each scene is before a template is rendered: its settings, its mode, its card, the axes it varies over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from storyrun import cards, nearest, references
from storyrun.prompts import BUILT_INS, TemplateFault
from storyrun.records import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from storyrun.prompts import Templates
    from storyrun.records import Axis, AxisValue, Mode, ModelCard, Scene, Storyboard, Where

Variant = dict[str, "AxisValue"]

TAKEN_BY_ALL = frozenset({"premise", "prompt", "seconds", "template", "takes", "model", "look"})
"""Settings that are storyrun's own or that every model takes; all others are asked of the card."""

MODE_WORDS: dict[Mode, str] = {
    "text": "text-to-video",
    "image": "image-to-video",
    "frames": "first-and-last-frame",
    "reference": "reference-to-video",
}


@dataclass(frozen=True)
class Effective:
    """A scene with the defaults that apply to it. `own` are the keys it wrote itself."""

    scene: Scene
    settings: Mapping[str, Text]
    own: frozenset[str]
    references: tuple[Text, ...]
    vars: Mapping[str, Text]

    def texts(self) -> Iterator[Text]:
        """Every text that says something about the clip."""
        yield from self.settings.values()
        yield from self.references
        for shot in self.scene.shots:
            yield from shot.fields.values()
            for line in shot.dialogue:
                if line.speaker is not None:
                    yield line.speaker
                yield line.text

    def label(self, where: Where, variant: str) -> str:
        """How to name a clip of this scene beside a problem at a place: by its variant, elsewhere by its scene, too."""
        if where[:2] == self.scene.where:
            return variant
        return f"scene {self.scene.id}" + (f", {variant}" if variant else "")


@dataclass(frozen=True)
class Reach:
    """What texts lead to: axes, references by @name, and whether a template puts in a name."""

    axes: frozenset[str]
    names: frozenset[str]
    templated_name: bool
    texts: tuple[Text, ...]


def effective(storyboard: Storyboard, scene: Scene) -> Effective:
    """The scene's own settings over the defaults; a written null removes a default."""
    settings = {key: text for key, text in storyboard.defaults.items() if text is not None}
    for key, text in scene.settings.items():
        if text is None:
            settings.pop(key, None)
        else:
            settings[key] = text
    if "model" not in settings and storyboard.model is not None:
        settings["model"] = storyboard.model
    names = scene.references if scene.references is not None else storyboard.default_references or ()
    vars_ = {name: text for name, text in {**storyboard.vars, **scene.vars}.items() if text is not None}
    own = {key for key, text in scene.settings.items() if text is not None}
    return Effective(scene, settings, frozenset(own | ({"references"} if scene.references else set())), names, vars_)


def reach(start: Iterable[Text], storyboard: Storyboard, vars_: Mapping[str, Text], templates: Templates) -> Reach:
    """Everything that the texts lead to, through vars, references and includes. Faulty templates lead nowhere."""
    axes = {axis.name for axis in storyboard.matrix}
    known = set(storyboard.references)
    found: set[str] = set()
    names: set[str] = set()
    templated = False
    waiting = list(start)
    seen: dict[tuple[Where, str], Text] = {}
    while waiting:
        text = waiting.pop()
        if (text.where, text.value) in seen:
            continue
        seen[text.where, text.value] = text
        for mention in templates.mentions(text.value):
            if mention.name in axes:
                found.add(mention.name)
            elif mention.name in vars_:
                waiting.append(vars_[mention.name])
        for said in (text.value, *templates.included(text.value)) if references.may_bind(text.where) else ():
            unfinished = references.unfinished(said) - known
            written = set(references.names(said)) - unfinished
            names |= written
            if unfinished or references.has_templated_name(said):
                templated = True
                written = known
            for name in written & known:
                waiting += reference_texts(storyboard, name)
    return Reach(frozenset(found), frozenset(names), templated, tuple(seen.values()))


def reference_texts(storyboard: Storyboard, name: str) -> list[Text]:
    """The paths and URLs of one reference, as written."""
    reference = storyboard.references[name]
    return [*reference.images, *reference.videos, *([reference.voice] if reference.voice else [])]


def template_text(view: Effective, templates: Templates) -> Text | None:
    """The text of the scene's own template file, at the place that names it; None for a built-in."""
    named = view.settings.get("template")
    if named is None or named.value in BUILT_INS:
        return None
    try:
        return Text(templates.file(named.value), named.where)
    except TemplateFault:
        return None


def mode_of(has_references: bool, settings: Mapping[str, object]) -> Mode:
    """The mode follows from what the scene carries: references, else a last frame, else a first frame, else text."""
    if has_references:
        return "reference"
    if "last_frame" in settings:
        return "frames"
    return "image" if "first_frame" in settings else "text"


class Shelf:
    """Which model card a scene gets, by the rules of the plan's provider."""

    def __init__(self, provider: str, plans_own: str | None) -> None:
        self._providers: tuple[str, ...]
        self._animatic = provider == "animatic"
        if not self._animatic:
            self._providers = (provider,)
        elif plans_own in cards.PROVIDERS:
            self._providers = (plans_own,)
        else:
            self._providers = cards.PROVIDERS
        self._picked: dict[tuple[str | None, Mode], ModelCard] = {}

    def pick(self, wanted: str | None, mode: Mode) -> ModelCard:
        """The card for a wanted id or family in a mode. Raises `cards.UnknownModel`."""
        if (wanted, mode) not in self._picked:
            self._picked[wanted, mode] = self._choose(wanted, mode)
        return self._picked[wanted, mode]

    def has(self, wanted: str | None, mode: Mode) -> bool:
        """Whether there is a card for that."""
        try:
            self.pick(wanted, mode)
        except cards.UnknownModel:
            return False
        return True

    def _choose(self, wanted: str | None, mode: Mode) -> ModelCard:
        if wanted is None:
            if self._animatic:
                return cards.permissive()
            provider = self._providers[0]
            hint = "add `model:` with an id or a family, or pass --model; `storyrun models` lists them"
            raise cards.UnknownModel(f"{provider} needs a model", hint)
        refusals = []
        for provider in self._providers:
            try:
                return cards.choose(provider, wanted, mode)
            except cards.UnknownModel as unknown:
                refusals.append(unknown)
        if len(refusals) > 1 and not any(self._knows(provider, wanted) for provider in self._providers):
            known = [
                word
                for name in self._providers
                for card in cards.load(name).values()
                for word in (card.family, card.model)
            ]
            raise cards.UnknownModel(
                f"there is no model or family `{wanted}`", nearest.hint(wanted, dict.fromkeys(known))
            )
        raise refusals[0]

    def _knows(self, provider: str, wanted: str) -> bool:
        return any(wanted in (card.family, card.model) for card in cards.load(provider).values())


def without_untaken_defaults(
    view: Effective, mode: Mode, possible: list[ModelCard]
) -> tuple[Effective, tuple[str, ...]]:
    """The scene without the defaults that none of its possible cards takes, and their keys."""
    dropped = [
        key
        for key in (*view.settings, *(["references"] if view.references else []))
        if key not in view.own
        and key not in TAKEN_BY_ALL
        and not any(takes(card, mode, key, view.settings.get(key)) for card in possible)
    ]
    if view.scene.shots and "seconds" in view.settings and "seconds" not in view.own:
        dropped.append("seconds")
    settings = {key: text for key, text in view.settings.items() if key not in dropped}
    kept = () if "references" in dropped else view.references
    return Effective(view.scene, settings, view.own, kept, view.vars), tuple(dropped)


def takes(card: ModelCard, mode: Mode, key: str, text: Text | None) -> bool:
    """Whether a card takes a setting in a mode: `audio` by what it asks for, the others by name."""
    if mode not in card.modes:
        return True
    if key != "audio" or text is None:
        return cards.accepts(card, mode, key)
    if text.value in ("auto", "none"):
        rule = cards.rule(card, mode, "audio")
        return rule is not False and text.value in rule.get("enum", (text.value,))
    return text.templated or cards.accepts(card, mode, "audio_file")


def combinations(storyboard: Storyboard, mentioned: frozenset[str]) -> int:
    """How many combinations the mentioned axes have, before any is excluded."""
    return math.prod(len(axis.values) for axis in storyboard.matrix if axis.name in mentioned)


def variants(storyboard: Storyboard, mentioned: frozenset[str]) -> list[Variant]:
    """The combinations of the mentioned axes in matrix order, less the excluded ones."""
    axes: list[Axis] = [axis for axis in storyboard.matrix if axis.name in mentioned]
    applying = [entry for entry in storyboard.exclude if entry and set(entry) <= mentioned]
    found = []
    for values in product(*(axis.values for axis in axes)):
        variant = {axis.name: value for axis, value in zip(axes, values, strict=True)}
        if not any(all(variant[name].label == label for name, label in entry.items()) for entry in applying):
            found.append(variant)
    return found
