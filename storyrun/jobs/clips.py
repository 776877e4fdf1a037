"""One clip of one variant: its prompt joined, its references bound and named, its settings judged, its price known."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun import cards, nearest, references
from storyrun.jobs import scenes
from storyrun.jobs.form import as_dict, fingerprint
from storyrun.jobs.rendering import Unrendered
from storyrun.jobs.stems import clip_id, file_stem
from storyrun.prompts import PROMPT, SHOTS
from storyrun.records import BoundReference, Job, Money, ShotWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storyrun.jobs.desk import Desk
    from storyrun.jobs.rendering import Scope
    from storyrun.jobs.scenes import Effective
    from storyrun.records import Mark, MediaKind, MediaSource, Mode, ModelCard, Severity, Shot, Text, Where

SHORTFALL_CODES = {
    "seconds": "SR320",
    "length": "SR320",
    "shots": "SR320",
    "resolution": "SR321",
    "aspect_ratio": "SR322",
    "prompt": "SR323",
    "negative_prompt": "SR324",
    "seed": "SR325",
    "audio": "SR326",
    "audio_file": "SR326",
    "references": "SR327",
    "first_frame": "SR328",
    "last_frame": "SR328",
}


class Clips:
    """Makes the jobs of one scene in one variant."""

    def __init__(self, desk: Desk, view: Effective, scope: Scope, template: Text | None) -> None:
        self._desk = desk
        self._view = view
        self._scope = scope
        self._template = template

    def jobs(self, variant: Mapping[str, str]) -> Iterator[Job]:
        """Every take of every piece that the model makes in one clip. Raises `Unrendered`; problems are noted."""
        scope, view = self._scope, self._view
        takes = int(scope.setting("takes") or 1)
        windows = self._windows()
        card, whole = self._piece(windows, None)
        pieces = [(card, whole)]
        if len(windows) > 1 and not cards.several_shots(card, whole.mode):
            self._one_by_one(card, whole)
            pieces = [self._piece(windows, window) for window in windows]
        for card, draft in pieces:
            for take in range(1, takes + 1):
                called = clip_id(draft.id, variant, take)
                job = replace(
                    draft,
                    id=called,
                    variant=variant,
                    take=take,
                    seed=None if draft.seed is None else draft.seed + take - 1,
                    stem=file_stem(draft.id, variant, take, called),
                    places=self._places(view),
                )
                job = replace(job, fingerprint=fingerprint(job, self._desk.drawing_revision))
                if self._meets(card, job):
                    yield job

    def _one_by_one(self, card: ModelCard, whole: Job) -> None:
        """A sound file cannot lie under shots that come as clips of their own."""
        if whole.audio_file is None:
            return
        sentence = f"{card.model} makes the shots of {self._view.scene.id} one by one: no audio file fits them all"
        hint = "lay the sound under the finished cut"
        self._note(self._view.settings["audio"].where, "SR330", sentence, hint)
        raise Unrendered

    def _windows(self) -> list[ShotWindow]:
        """The scene's shots, rendered, with their times; their texts still hold @names."""
        windows: list[ShotWindow] = []
        start = Fraction(0)
        for index, shot in enumerate(self._view.scene.shots, start=1):
            end = start + Fraction(self._scope.judged("seconds", shot.fields["seconds"], in_shot=True))
            windows.append(
                ShotWindow(
                    index,
                    start,
                    end,
                    **{key: self._said(shot, key) for key in ("framing", "camera", "action", "sound")},
                    dialogue=tuple(
                        (
                            "" if line.speaker is None else self._scope.text(line.speaker, settled=False),
                            self._scope.text(line.text, settled=False),
                        )
                        for line in shot.dialogue
                    ),
                )
            )
            start = end
        return windows

    def _said(self, shot: Shot, key: str) -> str:
        text = shot.fields.get(key)
        return "" if text is None else self._scope.text(text, settled=False)

    # ── the draft of one clip ────────────────────────────────────────────────────────────────────────────────────────

    def _piece(self, windows: list[ShotWindow], only: ShotWindow | None) -> tuple[ModelCard, Job]:
        """The job of the whole scene, or of one of its shots, without variant, take and fingerprint."""
        view = self._view
        shots = windows
        settings = dict(view.settings)
        if only is not None:
            shots = [replace(only, start=Fraction(0), end=only.end - only.start)]
            if only is not windows[0]:
                settings.pop("first_frame", None)
            if only is not windows[-1]:
                settings.pop("last_frame", None)
        view = replace(view, settings=settings)
        parts = self._parts(shots)
        joined = self._joined(parts)
        negative = self._raw("negative_prompt") or ""
        listed = [self._scope.text(text) for text in view.references]
        names = list(dict.fromkeys([*listed, *references.names(joined), *references.names(negative)]))
        mode = scenes.mode_of(bool(names), settings)
        wanted = settings.get("model")
        model = None if wanted is None else self._scope.text(wanted)
        card = self._desk.card(wanted, model, mode, view, self._scope.label)
        if card is None:
            raise Unrendered
        bound = self._bound(names, card)
        self._takes_own(view, card, mode)
        wording = Wording({reference.name: reference.word for reference in bound})
        prompt = wording(joined)
        if not prompt:
            self._note((*view.scene.where, "id"), "SR331", f"the prompt of {view.scene.id} is empty", "")
            raise Unrendered
        taken = {
            key for key, text in settings.items() if key in scenes.TAKEN_BY_ALL or scenes.takes(card, mode, key, text)
        }
        if not shots:
            length = Fraction(self._scope.setting("seconds") or card.default_seconds)
            shots = [ShotWindow(1, Fraction(0), length, "", "", parts["prompt"], (), "")]
        draft = self._draft(card, mode, taken, bound, shots)
        return card, replace(
            draft,
            id=view.scene.id + ("" if only is None else f".s{only.index}"),
            prompt=prompt,
            negative_prompt=wording(negative) if negative and "negative_prompt" in taken else None,
            premise=wording(parts["premise"]),
            look=wording(parts["look"]),
            shots=tuple(wording.shot(shot) for shot in shots),
        )

    def _parts(self, shots: list[ShotWindow]) -> dict[str, Any]:
        """What a template joins into a prompt; times as numbers that print well."""
        return {
            "id": self._view.scene.id,
            "premise": self._raw("premise") or "",
            "prompt": self._raw("prompt") or "",
            "look": self._raw("look") or "",
            "shots": [
                {
                    "index": shot.index,
                    "start": printed(shot.start),
                    "end": printed(shot.end),
                    "seconds": printed(shot.end - shot.start),
                    "framing": shot.framing,
                    "camera": shot.camera,
                    "action": shot.action,
                    "dialogue": [{"speaker": who, "text": said} for who, said in shot.dialogue],
                    "sound": shot.sound,
                }
                for shot in shots
            ],
            **({"seconds": printed(shots[-1].end)} if shots else {}),
        }

    def _raw(self, key: str) -> str | None:
        """A text of the scene that goes into the prompt; @names and marks of data are still in it."""
        text = self._view.settings.get(key)
        return None if text is None else self._scope.text(text, settled=False)

    def _joined(self, parts: dict[str, Any]) -> str:
        """The parts as one text, by the scene's template."""
        named = self._view.settings.get("template")
        if self._template is not None:
            return self._scope.join(self._template.value, named, parts)
        built_in = named.value if named is not None else (SHOTS if self._view.scene.shots else PROMPT)
        return self._scope.join(self._desk.templates.file(built_in), None, parts)

    def _bound(self, names: list[str], card: ModelCard) -> tuple[BoundReference, ...]:
        """The references that the clip carries, in the order the request carries them. Raises `Unrendered`."""
        carried: list[tuple[str, list[MediaSource], MediaSource | None]] = []
        known = self._desk.storyboard.references
        for name in names:
            reference = known.get(name)
            if reference is None:
                where = self._view.references[0].where if self._view.references else (*self._view.scene.where, "id")
                hint = nearest.hint(name, known) or "name it once under `references:`"
                self._note(where, "SR205", f"there is no reference `{name}`", hint)
                raise Unrendered
            media = [*self._files(reference.images, "image"), *self._files(reference.videos, "video")]
            voices = self._files([reference.voice] if reference.voice else [], "audio")
            carried.append((name, media, voices[0] if voices else None))
        words = references.words_for(
            card.reference_words, [(name, [medium.kind for medium in media]) for name, media, _ in carried]
        )
        return tuple(BoundReference(name, tuple(media), voice, words[name]) for name, media, voice in carried)

    def _files(self, texts: Sequence[Text], kind: MediaKind) -> list[MediaSource]:
        found = []
        for text in texts:
            source = self._desk.source(text, self._scope.text(text), kind, self._scope.label)
            if source is None:
                raise Unrendered
            found.append(source)
        return found

    def _takes_own(self, view: Effective, card: ModelCard, mode: Mode) -> None:
        """The card takes every setting that the scene wrote itself. Raises `Unrendered` if not."""
        refused = [
            (key, text)
            for key, text in view.settings.items()
            if key in view.own and key not in scenes.TAKEN_BY_ALL and not scenes.takes(card, mode, key, text)
        ]
        for key, text in refused:
            sentence = f"{scenes.MODE_WORDS[mode]} of {card.model} takes no {key}"
            self._note(text.where, "SR310", sentence, f"remove this line{_why_not(mode, key)}", key=True)
        if refused:
            raise Unrendered

    def _draft(
        self,
        card: ModelCard,
        mode: Mode,
        taken: set[str],
        bound: tuple[BoundReference, ...],
        shots: list[ShotWindow],
    ) -> Job:
        """The job with everything but its texts and labels."""

        def setting(key: str) -> str | None:
            return self._scope.setting(key) if key in taken else None

        def truth(key: str) -> bool | None:
            value = setting(key)
            return None if value is None else value == "true"

        written = setting("seconds")
        seconds = shots[-1].end if self._view.scene.shots else (Fraction(written) if written else None)
        length = card.default_seconds if seconds is None else seconds
        resolution = setting("resolution")
        ratio = setting("aspect_ratio")
        seed = setting("seed")
        shot_type = setting("shot_type")
        if shot_type is None and card.shot_type_field and len(shots) > 1:
            shot_type = "multi"
        audio = setting("audio")
        audio_file = None
        if audio not in (None, "auto", "none"):
            audio, audio_file = "file", self._files([self._view.settings["audio"]], "audio")[0]
        first, last = (
            self._files([self._view.settings[key]], "image")[0] if key in taken else None
            for key in ("first_frame", "last_frame")
        )
        sounding = card.sound == "always" or (card.sound == "optional" and audio != "none")
        shaped_by_frame: Mode = "image" if first else mode
        size = cards.size(card, shaped_by_frame, resolution, ratio, first.pixels if first else None)
        if size is None and self._desk.drawing_revision is not None:
            size = cards.size(card, "text", resolution, None, None)
        billed = resolution or card.default_resolution
        films = any(medium.kind == "video" for reference in bound for medium in reference.media)
        return Job(
            id="",
            scene=self._view.scene.id,
            variant={},
            take=1,
            provider=self._desk.label,
            model=card.model,
            mode=mode,
            prompt="",
            negative_prompt=None,
            seconds=seconds,
            resolution=resolution,
            aspect_ratio=ratio,
            seed=None if seed is None else int(seed),
            prompt_extend=truth("prompt_extend"),
            watermark=truth("watermark"),
            shot_type=shot_type,
            audio=audio,
            audio_file=audio_file,
            references=bound,
            first_frame=first,
            last_frame=last,
            shots=(),
            length=length,
            frame_rate=card.frame_rate,
            size=size,
            billed_resolution=billed,
            sounding=sounding,
            stem="",
            fingerprint="",
            quote=self._price(card, billed, length, sounding=sounding, films=films),
            premise="",
            look="",
        )

    def _price(
        self, card: ModelCard, resolution: str, length: Fraction, *, sounding: bool, films: bool
    ) -> Money | None:
        """What the clip should cost at most; nothing on the animatic."""
        if self._desk.provider == "animatic":
            return Money(Decimal(0), "")
        return cards.price(
            card,
            self._desk.storyboard.prices.get(f"{card.provider}/{card.model}", ()),
            resolution=resolution,
            seconds=length,
            sounding=sounding,
            reference_seconds=None if films else Fraction(0),
            currency=self._desk.currency,
        )

    # ── places and problems ──────────────────────────────────────────────────────────────────────────────────────────

    def _places(self, view: Effective) -> dict[str, Mark]:
        """Where each field of the scene was written, for telling people what changed and where."""
        mark = self._desk.document.mark
        places = {key: mark(text.where, key=True) for key, text in view.settings.items() if text.where}
        for index, shot in enumerate(view.scene.shots):
            for key, text in shot.fields.items():
                places[f"shots[{index}].{key}"] = mark(text.where, key=True)
            if shot.dialogue:
                places[f"shots[{index}].dialogue"] = mark((*shot.where, "dialogue"), key=True)
        if view.references:
            places["references"] = mark(view.references[0].where)
        for name, reference in self._desk.storyboard.references.items():
            places[f"references.{name}"] = mark(reference.where, key=True)
        places["scene"] = mark((*view.scene.where, "id"))
        return places

    def _meets(self, card: ModelCard, job: Job) -> bool:
        """Whether the model takes the finished job; a problem at the right line for each thing it does not."""
        form = as_dict(job)
        shortfalls = cards.shortfalls(card, form)
        for shortfall in shortfalls:
            code = SHORTFALL_CODES.get(shortfall.field, "SR329")
            self._note(self._place(shortfall.field), code, shortfall.sentence, shortfall.hint)
        for caution in cards.cautions(card, form):
            self._note(self._place(caution.field), "SR341", caution.sentence, caution.hint, severity="warning")
        return not shortfalls

    def _place(self, field: str) -> Where:
        """Where to point for a field of a job."""
        scene = self._view.scene
        if field in ("seconds", "length", "prompt", "shots") and scene.shots:
            return (*scene.where, "shots")
        text = self._view.settings.get({"audio_file": "audio", "length": "seconds"}.get(field, field))
        return text.where if text is not None and text.where else (*scene.where, "id")

    def _note(
        self, where: Where, code: str, sentence: str, hint: str, *, key: bool = False, severity: Severity = "error"
    ) -> None:
        self._desk.found.add(where, code, sentence, hint, variant=self._scope.label, key=key, severity=severity)


class Wording:
    """Writes texts the way the model names its references."""

    def __init__(self, words: Mapping[str, str]) -> None:
        self._words = words

    def __call__(self, text: str) -> str:
        return references.write(text, self._words)

    def shot(self, shot: ShotWindow) -> ShotWindow:
        """A shot with all its texts written so."""
        return replace(
            shot,
            framing=self(shot.framing),
            camera=self(shot.camera),
            action=self(shot.action),
            sound=self(shot.sound),
            dialogue=tuple((self(who), self(said)) for who, said in shot.dialogue),
        )


def printed(seconds: Fraction) -> int | Decimal:
    """Seconds as a template prints and reckons with them: 3, 2.5."""
    if seconds.denominator == 1:
        return seconds.numerator
    return (Decimal(seconds.numerator) / Decimal(seconds.denominator)).normalize()


def _why_not(mode: Mode, key: str) -> str:
    if key == "aspect_ratio" and mode in ("image", "frames"):
        return ": the clip keeps the shape of its first frame"
    return "" if mode == "text" else f": the scene is {scenes.MODE_WORDS[mode]} because of what it carries"
