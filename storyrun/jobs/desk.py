"""What planning one storyboard works with, and the two looks it shares: at a model card, and at a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from storyrun import cards, sources
from storyrun.jobs import scenes
from storyrun.jobs.findings import Findings
from storyrun.prompts import Templates

if TYPE_CHECKING:
    from pathlib import Path

    from storyrun.jobs.scenes import Effective
    from storyrun.records import MediaKind, MediaSource, Mode, ModelCard, Storyboard, Text
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
    ) -> None:
        self.storyboard = storyboard
        self.document = document
        self.provider = provider
        self.label = label
        self.currency = currency
        self.drawing_revision = drawing_revision
        self.folder: Path = storyboard.path.parent
        self.templates = Templates(self.folder)
        self.found = Findings(document)
        self.cards: dict[str, ModelCard] = {}
        self.judged: dict[Any, Any] = {}
        self._shelf = scenes.Shelf(provider, storyboard.provider)
        self._files: dict[Path, MediaSource] = {}

    def card(
        self, text: Text | None, wanted: str | None, mode: Mode, view: Effective, variant: str
    ) -> ModelCard | None:
        """The card for a wanted model in a mode; None, with a problem noted where it is named, when there is none."""
        where = text.where if text is not None and text.where else (*view.scene.where, "id")
        try:
            card = self._shelf.pick(wanted, mode)
        except cards.UnknownModel as unknown:
            self.found.add(where, "SR301", unknown.sentence, unknown.hint, variant=variant)
            return None
        if mode not in card.modes:
            makes = " and ".join(scenes.MODE_WORDS[known] for known in card.modes)
            sentence = f"{card.model} makes {makes}; scene {view.scene.id} needs {scenes.MODE_WORDS[mode]}"
            self.found.add(where, "SR302", sentence, self._able(card, mode), variant=variant)
            return None
        self.cards[card.model] = card
        if card.warning:
            self.found.add(where, "SR340", card.warning, severity="warning")
        return card

    def _able(self, card: ModelCard, mode: Mode) -> str:
        """A hint that names models of the same provider that have the mode."""
        if card.provider not in cards.PROVIDERS:
            return ""
        able = [known.model for known in cards.load(card.provider).values() if mode in known.modes]
        return (
            f"{card.provider} has {' and '.join(able[:3])} for that" if able else f"{card.provider} has none for that"
        )

    def source(self, text: Text, value: str, kind: MediaKind, variant: str) -> MediaSource | None:
        """A file or URL looked at; None, with a problem noted, when it cannot be used."""
        try:
            found = sources.media_source(self.folder, value, kind, self._files.get)
        except sources.SourceFault as fault:
            self.found.add(text.where, fault.code, fault.sentence, fault.hint, variant=variant)
            return None
        if found.path is not None:
            self._files[found.path] = found
        return found
