"""One clip of one variant: its prompt joined, its references bound and named, its settings judged, its price known."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun import cards, references
from storyrun.jobs import judging, scenes
from storyrun.jobs.binding import Binding, Wording, for_people
from storyrun.jobs.form import fingerprint
from storyrun.jobs.rendering import GAP
from storyrun.jobs.stems import clip_id, file_stem
from storyrun.prompts import PROMPT, SHOTS
from storyrun.prompts.built_in import join
from storyrun.records import BoundReference, Job, Money, ShotWindow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from storyrun.jobs.desk import Desk
    from storyrun.jobs.rendering import Scope
    from storyrun.jobs.scenes import Effective, Reach
    from storyrun.records import Mark, Mode, ModelCard, Shot


class Clips:
    """Makes the jobs of one scene in one variant."""

    def __init__(self, desk: Desk, view: Effective, scope: Scope, mode: Mode, reach: Reach) -> None:
        """`mode` and `reach` are what can be seen of the scene before it is rendered."""
        self._desk = desk
        self._view = view
        self._scope = scope
        self._mode = mode
        self._template = scenes.template_text(view, desk.templates)
        self._binding = Binding(desk, view, scope, reach)

    def jobs(self, variant: Mapping[str, str]) -> Iterator[Job]:
        """Every take of every piece that the model makes in one clip; none if there is a problem, which is noted."""
        scope, view = self._scope, self._view
        takes = int(scope.setting("takes") or 1)
        windows = self._windows()
        whole = self._piece(windows, None)
        if whole is None:
            return
        pieces = [whole]
        if len(windows) > 1 and not cards.several_shots(whole[0], whole[1].mode):
            self._one_by_one(*whole)
            pieces = [piece for window in windows if (piece := self._piece(windows, window))]
        for card, draft in pieces:
            all_takes = max(takes, self._desk.chosen.takes.get(clip_id(draft.id, variant, 1), 0))
            made = [self._take(draft, variant, take) for take in range(1, all_takes + 1)]
            if judging.meets(card, made[0], view, scope) and made[-1].seed != made[0].seed:
                judging.meets(card, made[-1], view, scope)
            if not scope.broken and not self._desk.refused(view.scene.where):
                yield from made

    def _take(self, draft: Job, variant: Mapping[str, str], take: int) -> Job:
        """One take of a clip, with its names."""
        called = clip_id(draft.id, variant, take)
        job = replace(
            draft,
            id=called,
            variant=variant,
            take=take,
            seed=None if draft.seed is None else draft.seed + take - 1,
            stem=file_stem(draft.id, variant, take, called),
            places=self._places(self._view),
        )
        return replace(job, fingerprint=fingerprint(job, self._desk.drawing_revision))

    def _one_by_one(self, card: ModelCard, whole: Job) -> None:
        """A sound file cannot lie under shots that come as clips of their own."""
        if whole.audio_file is None:
            return
        sentence = f"{card.model} makes the shots of {self._view.scene.id} one by one: no audio file fits them all"
        hint = "lay the sound under the finished cut"
        self._scope.note(self._view.settings["audio"].where, "SR330", sentence, hint)

    def _windows(self) -> list[ShotWindow]:
        """The scene's shots, rendered, with their times; their texts still hold @names."""
        windows: list[ShotWindow] = []
        start = Fraction(0)
        for index, shot in enumerate(self._view.scene.shots, start=1):
            end = start + Fraction(self._scope.judged("seconds", shot.fields["seconds"], in_shot=True) or 1)
            windows.append(
                ShotWindow(
                    index,
                    start,
                    end,
                    framing=self._said(shot, "framing"),
                    camera=self._said(shot, "camera"),
                    action=self._said(shot, "action"),
                    sound=self._said(shot, "sound"),
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

    def _piece(self, windows: list[ShotWindow], only: ShotWindow | None) -> tuple[ModelCard, Job] | None:
        """The job of the whole scene, or of one of its shots, without variant, take and fingerprint.

        None where there is no card; what else is wrong is noted and leaves the scope broken.
        """
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
        listed = [told for text in view.references if (told := self._scope.told(text))]
        names = list(dict.fromkeys([*listed, *references.names(joined), *references.names(negative)]))
        mode = self._mode if self._scope.broken else scenes.mode_of(bool(names), settings)
        wanted = settings.get("model")
        model = None if wanted is None else self._scope.told(wanted)
        if wanted is not None and model is None:
            return None
        card = self._desk.card(wanted, model, mode, self._scope)
        if card is None:
            return None
        bound = self._binding.bound(names, listed, card)
        refused = judging.not_taken(view, card, mode, self._scope)
        wording = Wording(bound)
        prompt = wording(joined) or GAP
        if not joined:
            hint = "say what the clip shows: in `prompt`, or in the `action` of a shot"
            where, key, _ = judging.place("prompt" if self._template is None else "template", view, None)
            self._scope.note(where, "SR331", f"the prompt of {view.scene.id} is empty", hint, key=key)
        taken = {
            key
            for key, text in settings.items()
            if key not in refused and (key in scenes.TAKEN_BY_ALL or scenes.takes(card, mode, key, text))
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
            shots=tuple(for_people(shot, bound) for shot in shots),
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
        if named is not None and self._scope.beyond(named):
            return GAP
        if named is not None and self._template is not None:
            return self._scope.join(self._template.value, named, parts)
        built_in = named.value if named is not None else (SHOTS if self._view.scene.shots else PROMPT)
        return join(built_in, parts)

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
        if self._view.scene.shots:
            seconds = shots[-1].end if self._timed() else None
        else:
            seconds = Fraction(written) if written else None
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
            audio_file = next(iter(self._binding.files([self._view.settings["audio"]])), None)
            audio = "file" if audio_file else None
        first, last = (
            next(iter(self._binding.files([self._view.settings[key]])), None) if key in taken else None
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

    def _timed(self) -> bool:
        """Whether every shot says how long it is."""
        return all(
            self._scope.judged("seconds", shot.fields["seconds"], in_shot=True) for shot in self._view.scene.shots
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


def printed(seconds: Fraction) -> int | Decimal:
    """Seconds as a template prints and reckons with them: 3, 2.5."""
    if seconds.denominator == 1:
        return seconds.numerator
    return (Decimal(seconds.numerator) / Decimal(seconds.denominator)).normalize()
