"""What planning one storyboard works with, and the two looks it shares: at a model card, and at a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun import cards, sources
from storyrun.jobs import scenes
from storyrun.jobs.findings import Findings
from storyrun.prompts import Templates

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.jobs.rendering import Scope
    from storyrun.picks import Picks
    from storyrun.records import MediaKind, MediaSource, Mode, ModelCard, Storyboard, Text, Where
    from storyrun.yamlfile import Document


class Desk:
    """One storyboard being planned for one provider (see `jobs.plan` for the arguments)."""

    def __init__(
        self,
        storyboard: Storyboard,
        document: Document,
        *,
        provider: str,
        label: str,
        currency: str | None,
        drawing_revision: int | None,
        chosen: Picks,
    ) -> None:
        self.storyboard = storyboard
        self.document = document
        self.provider = provider
        self.label = label
        self.currency = currency
        self.drawing_revision = drawing_revision
        self.chosen = chosen
        self.folder: Path = storyboard.path.parent
        self.templates = Templates(self.folder)
        self.found = Findings(document)
        self.cards: dict[str, ModelCard] = {}
        self.judged: dict[Any, Any] = {}
        self._shelf = scenes.Shelf(provider, storyboard.provider)
        self._files: dict[Path, MediaSource] = {}
        self._touched = {where[:length] for where in storyboard.refused for length in range(len(where) + 1)}

    def refused(self, where: Where) -> bool:
        """Whether the schema refused something at or under a place."""
        return where in self._touched

    def card(
        self, text: Text | None, wanted: str | None, mode: Mode, scope: Scope, *, sure: bool = True
    ) -> ModelCard | None:
        """The card for a wanted model in a mode; None, with a problem noted where it is named, when there is none.

        A model that nobody names is missing beside the provider; one from the command line stands nowhere in the plan:
        where it does not fit, the scene is pointed at. When the mode is not `sure`, there may be none and no problem.
        """
        where: Where = ("provider",) if text is None else text.where
        label = scope.label(where)
        try:
            card = self._shelf.pick(wanted, mode)
        except cards.UnknownModel as unknown:
            if not sure and any(self._shelf.has(wanted, other) for other in scenes.MODE_WORDS):
                return None
            self.found.add(where, "SR301", unknown.sentence, unknown.hint, label=label)
            return None
        if mode not in card.modes:
            if not sure:
                return None
            *some, last = [scenes.MODE_WORDS[known] for known in card.modes]
            makes = f"{', '.join(some)} and {last}" if some else last
            sentence = f"{card.model} makes {makes}, not {scenes.MODE_WORDS[mode]}"
            self.found.add(where or scope.place, "SR302", sentence, self._able(card, mode), label=label)
            return None
        self.cards[card.model] = card
        if card.warning and self.provider != "animatic":  # nobody is about to order from it
            self.found.add(where, "SR340", card.warning, severity="warning")
        return card

    def _able(self, card: ModelCard, mode: Mode) -> str:
        """A hint that names models of the same provider that have the mode."""
        if card.provider not in cards.PROVIDERS:
            return ""
        able = [known for known in cards.load(card.provider).values() if mode in known.modes]
        for known in able:
            if known.family == card.family:
                return f"{known.model} does; `model: {card.family}` picks the one that fits each scene"
        if not able:
            return f"no model on {card.provider} does"
        return f"on {card.provider} {able[0].model} does" + (f", or {able[1].model}" if len(able) > 1 else "")

    def source(self, text: Text, value: str, scope: Scope | None) -> MediaSource | None:
        """A file or URL looked at; None, with a problem noted, when it cannot be used. `scope` None: for all clips."""
        try:
            found = sources.media_source(self.folder, value, _kind(text.where), self._files.get)
        except sources.SourceFault as fault:
            label = "" if scope is None else scope.label(text.where)
            self.found.add(text.where, fault.code, fault.sentence, fault.hint, label=label)
            return None
        if found.path is not None:
            self._files[found.path] = found
        return found


def _kind(where: Where) -> MediaKind | None:
    """What a file must be at a place; None for a reference that is one path: its extension tells."""
    if where[0] == "references":
        kinds: dict[str | int, MediaKind] = {"images": "image", "videos": "video", "voice": "audio"}
        return kinds[where[2]] if len(where) > 2 else None
    return "audio" if where[-1] == "audio" or where == ("cut", "sound") else "image"
