"""The references and files of one clip: bound by their @names, looked at, and called what the model calls them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from storyrun import nearest, references
from storyrun.records import BoundReference

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from storyrun.jobs.desk import Desk
    from storyrun.jobs.rendering import Scope
    from storyrun.jobs.scenes import Effective, Reach
    from storyrun.records import MediaSource, ModelCard, Reference, ShotWindow, Text, Where


class Binding:
    """Binds what one scene in one variant names; what cannot be bound is noted and left out."""

    def __init__(self, desk: Desk, view: Effective, scope: Scope, reach: Reach) -> None:
        self._desk = desk
        self._view = view
        self._scope = scope
        self._reach = reach

    def bound(self, names: Sequence[str], listed: Collection[str], card: ModelCard) -> tuple[BoundReference, ...]:
        """The references that the clip carries, in the order the request carries them."""
        carried: list[tuple[str, list[MediaSource], MediaSource | None]] = []
        for name in names:
            reference = self._known(name, listed)
            if reference is None:
                continue
            media = self.files([*reference.images, *reference.videos, *([reference.voice] if reference.voice else [])])
            shown = [medium for medium in media if medium.kind != "audio"]
            if shown:
                carried.append((name, shown, next((medium for medium in media if medium.kind == "audio"), None)))
            elif media:
                sentence = f"reference `{name}` is only a voice: there is nothing to see"
                hint = "add `images:` or `videos:` to it, or lay the sound under the scene with `audio:`"
                self._scope.note(reference.where, "SR327", sentence, hint, key=True)
            else:
                self._scope.broken = True
        words = references.words_for(
            card.reference_words, [(name, [medium.kind for medium in media]) for name, media, _ in carried]
        )
        return tuple(BoundReference(name, tuple(media), voice, words[name]) for name, media, voice in carried)

    def _known(self, name: str, listed: Collection[str]) -> Reference | None:
        """The reference of a name; None if there is none, or if nobody could see the name before it was rendered."""
        known = self._desk.storyboard.references
        if name not in known:
            where, needle = self._place(name)
            hint = nearest.hint(name, known) or "name it once under `references:`"
            self._scope.note(where, "SR205", f"there is no reference `{name}`", hint, needle=needle)
            return None
        if name not in listed and name not in self._reach.names and not self._reach.templated_name:
            hint = f"write @{name} as it stands, or put in its name: @{{{{ hero }}}}"
            sentence = f"@{name} appears only when the template is rendered"
            self._scope.note(self._place(name)[0], "SR210", sentence, hint)
            return None
        return known[name]

    def _place(self, name: str) -> tuple[Where, str]:
        """Where a name was bound: the text, and what to point at there."""
        for text in self._view.texts():
            said = self._scope.told(text, settled=False) or ""
            if text in self._view.references and said == name:
                return text.where, ""
            if references.may_bind(text.where) and name in references.names(said):
                return text.where, f"@{name}" if f"@{name}" in text.value else "@"
        return (*self._view.scene.where, "id"), ""

    def files(self, texts: Sequence[Text]) -> list[MediaSource]:
        """The files that texts name, each of the kind that its place asks for."""
        found = []
        for text in texts:
            told = self._scope.told(text)
            source = None if told is None else self._desk.source(text, told, self._scope)
            if source is not None:
                found.append(source)
            self._scope.broken = self._scope.broken or source is None
        return found


class Wording:
    """Writes texts the way the model names its references."""

    def __init__(self, bound: Sequence[BoundReference]) -> None:
        self._words: Mapping[str, str] = {reference.name: reference.word for reference in bound}

    def __call__(self, text: str) -> str:
        return references.write(text, self._words)


def for_people(shot: ShotWindow, bound: Sequence[BoundReference]) -> ShotWindow:
    """A shot as people read it, on an animatic or as a subtitle: references by their own names, which are noted."""
    known = {reference.name: reference.name for reference in bound}

    def told(text: str) -> str:
        return references.write(text, known)

    texts = (shot.framing, shot.camera, shot.action, shot.sound, *(part for line in shot.dialogue for part in line))
    named = dict.fromkeys(name for text in texts for name in references.names(text) if name in known)
    return replace(
        shot,
        framing=told(shot.framing),
        camera=told(shot.camera),
        action=told(shot.action),
        sound=told(shot.sound),
        dialogue=tuple((told(who), told(said)) for who, said in shot.dialogue),
        references=tuple(named),
    )
