"""The films of a plan: which clips make up each, and what its `cut:` says, rendered and judged.

There is one film for each combination of the axes that the scenes vary over; combinations that `exclude` matches are
left out. A scene contributes, in story order, the clip whose variant is contained in the combination; a scene that the
model makes shot by shot contributes its shots in their order.

Axes that only the cut mentions, `sound: vo/{{ language }}.mp3` say, multiply the films and not the clips: three
voice-overs over one set of pictures are three films, and nothing is bought twice. So such an axis counts as mentioned.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from storyrun import nearest, sources, validation
from storyrun.checks import folded
from storyrun.jobs import scenes
from storyrun.jobs.names import Names
from storyrun.jobs.rendering import Scope
from storyrun.jobs.stems import clip_id, file_stem
from storyrun.prompts import TemplateFault
from storyrun.records import Film, Part, Scene, Text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from storyrun.jobs.desk import Desk
    from storyrun.prompts import Mention
    from storyrun.records import Cut, Job, MediaSource, Storyboard, Where

CODES = {
    "SR350": "scenes that are not as long together as the cut says",
    "SR351": "a fade that is longer than a clip",
    "SR352": "two films would have one name",
    "SR353": "a cut makes too many films",
    "SR354": "sound for a film that is not a file beside the plan",
    "SR355": "subtitles where nobody speaks (note)",
}

MAX_FILMS = 10_000

FADE = Fraction(1, 2)
"""Seconds of `transition: fade`."""

EXCEPT = "let the scenes vary over the same axes, exclude combinations, or split the plan"


class Films(Sequence[Film]):
    """The films of a plan without `cut:`, worked out when somebody first looks: most verbs never do.

    More than `MAX_FILMS` of them are none at all.
    """

    def __init__(self, storyboard: Storyboard, jobs: Sequence[Job], picks: Collection[str]) -> None:
        self._storyboard = storyboard
        self._jobs = jobs
        self._picks = picks
        self._made: tuple[Film, ...] | None = None

    def _all(self) -> tuple[Film, ...]:
        if self._made is None:
            board = self._storyboard
            shelf = _Shelf(self._jobs, self._picks)
            made = []
            for variant in _combinations(board, shelf.axes) or ():
                labels = _labels(variant)
                parts = shelf.parts(labels)
                length = sum((part.length for part in parts), Fraction(0))
                title, stem = _own_name(board, labels)
                made.append(Film(labels, title, stem, parts, length, None, Decimal(0), Fraction(0), "none"))
            self._made = tuple(made)
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def __getitem__(self, at: int) -> Film: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[Film, ...]: ...

    def __getitem__(self, at: int | slice) -> Film | tuple[Film, ...]:
        return self._all()[at]

    def __eq__(self, other: object) -> bool:
        return tuple(self) == tuple(other) if isinstance(other, (Films, tuple)) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._all())


class Cutting:
    """The plan's `cut:` on the way to films. What is wrong with it is noted on the desk; there may be none."""

    def __init__(self, desk: Desk) -> None:
        """Judges the names in its texts, and the files that it names as they stand."""
        self._desk = desk
        self._board = desk.storyboard
        self.axes = frozenset[str]()
        """Axes that the cut mentions."""
        cut = self._board.cut
        if cut is None:
            return
        self._texts = {text.where: text for text in _texts(cut) if text.where not in self._board.refused}
        self._view = _View(Scene("cut", cut.where, {}, {}, None, ()), {}, frozenset(), (), dict(self._board.vars))
        reach = scenes.reach(self._texts.values(), self._board, self._board.vars, desk.templates)
        self.axes = reach.axes
        names = _CutNames(self._board, self._view, desk.templates, desk.found)
        self._faulty = names.faulty(self._texts.values())
        self._judged: dict[tuple[Where, str], Any] = {}
        if cut.sound is not None and cut.sound.where in self._texts and not cut.sound.templated:
            self._sound(cut.sound, cut.sound.value, None)

    def films(self, jobs: Sequence[Job]) -> Sequence[Film]:
        """The films of a plan in which nothing else is wrong."""
        picks = self._desk.chosen.clips
        cut = self._board.cut
        if cut is None:
            return Films(self._board, jobs, picks)
        shelf = _Shelf(jobs, picks)
        combinations = _combinations(self._board, shelf.axes | self.axes)
        if combinations is None:
            names = " x ".join(axis.name for axis in self._board.matrix if axis.name in shelf.axes | self.axes)
            sentence = f"the cut makes more than {MAX_FILMS:,} films, one for each {names}"
            self._desk.found.add(cut.where, "SR353", sentence, EXCEPT, key=True)
            return ()
        found = [film for variant in combinations if (film := self._film(cut, variant, shelf))]
        self._names_differ(cut, found)
        return tuple(found)

    # ── one film ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _film(self, cut: Cut, variant: scenes.Variant, shelf: _Shelf) -> Film | None:
        scope = Scope(self._view, variant, self._desk.templates, self._desk.found, {}, self._faulty)
        labels = _labels(variant)
        parts = shelf.parts(labels)
        title, stem = _own_name(self._board, labels)
        if cut.name is not None:
            title = " ".join(scope.text(cut.name).split())
            stem = file_stem(title, {}, 1, title)
        fade = self._fade(cut, scope)
        gain = "on" if cut.clip_sound is None else self._value(cut.clip_sound, scope)
        subtitles = "none" if cut.subtitles is None else self._value(cut.subtitles, scope)
        sound = None
        if cut.sound is not None and (path := scope.told(cut.sound)) is not None:
            sound = self._sound(cut.sound, path, scope)
        length = self._length(cut, parts, shelf, scope)
        if cut.subtitles is not None and subtitles in ("soft", "burnt") and not shelf.spoken:
            hint = "subtitles are made from the `dialogue` of shots"
            self._desk.found.add(cut.subtitles.where, "SR355", "no scene has dialogue", hint, severity="note")
        if len(parts) > 1 and fade:
            self._fits(cut, fade, parts, scope)
        if scope.broken or gain is None or subtitles is None:
            return None
        return Film(
            variant=labels,
            title=title,
            stem=stem,
            parts=parts,
            length=length,
            sound=sound,
            clip_sound=None if gain == "off" else Decimal(0 if gain == "on" else gain),
            fade=fade,
            subtitles=cast("Literal['none', 'soft', 'burnt']", subtitles),
        )

    def _length(self, cut: Cut, parts: Sequence[Part], shelf: _Shelf, scope: Scope) -> Fraction:
        """The film's seconds; a problem where its parts make more or less, by more than a frame."""
        there = sum((part.length for part in parts), Fraction(0))
        written = None if cut.length is None else self._value(cut.length, scope)
        if cut.length is None or not written or not parts:
            return there
        wanted = Fraction(written)
        if abs(wanted - there) >= 1 / max(shelf.rates[part.clip] for part in parts):
            sums: dict[str, Fraction] = {}
            for part in parts:
                sums[part.scene] = sums.get(part.scene, Fraction(0)) + part.length
            told = [f"{scene} {_plain(seconds)}" for scene, seconds in sums.items()]
            if len(told) > 6:
                told = [*told[:5], f"{len(told) - 5} more"]
            more, change = (wanted - there, "longer") if wanted > there else (there - wanted, "shorter")
            sentence = f"the scenes are {_plain(there)} s together, and `length` says {_plain(wanted)} s"
            hint = f"{' + '.join(told)}: make them {_plain(more)} s {change}, or the film {_plain(there)} s"
            scope.note(cut.length.where, "SR350", sentence, hint)
        return wanted

    def _fade(self, cut: Cut, scope: Scope) -> Fraction:
        """Seconds of the fade, 0 for a plain cut."""
        if cut.fade is not None:
            return Fraction(self._value(cut.fade, scope) or 0)
        transition = "cut" if cut.transition is None else self._value(cut.transition, scope)
        return FADE if transition == "fade" else Fraction(0)

    def _fits(self, cut: Cut, fade: Fraction, parts: Sequence[Part], scope: Scope) -> None:
        """A clip between two fades gives half a fade to each."""
        shortest = min(parts, key=lambda part: part.length)
        if fade > shortest.length and (written := cut.fade or cut.transition):
            sentence = f"a fade of {_plain(fade)} s, and {shortest.scene} has a clip of {_plain(shortest.length)} s"
            hint = f"write `transition: {{fade: {_plain(shortest.length / 2)}}}` or less, or `transition: cut`"
            scope.note(written.where, "SR351", sentence, hint)

    def _sound(self, text: Text, path: str, scope: Scope | None) -> MediaSource | None:
        """The sound file of a film; a URL is none: it would have to be fetched to be cut."""
        if sources.is_url(path):
            sentence = f"{sources.shortened(path)} is not a file beside the plan"
            hint = "download it and name it from there: a film is cut on this machine"
            self._desk.found.add(
                text.where, "SR354", sentence, hint, label="" if scope is None else scope.label(text.where)
            )
            found = None
        else:
            found = self._desk.source(text, path, scope)
        if found is None and scope is not None:
            scope.broken = True
        return found

    def _value(self, text: Text, scope: Scope) -> str | None:
        """A text rendered; if a template made it, judged by the schema as if it had been written so."""
        rendered = scope.told(text)
        if rendered is None or not text.templated:
            return rendered
        if (text.where, rendered) not in self._judged:
            final: Any = rendered.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #")  # no template any more
            for key in reversed(text.where):
                final = {key: final}
            plan = {"version": "1", "scenes": [{"id": "x", "prompt": "x"}], **final}
            verdict = validation.violations(plan, "storyboard")
            self._judged[text.where, rendered] = verdict[0] if verdict else None
        violation = self._judged[text.where, rendered]
        if violation is None:
            return rendered
        scope.note(text.where, violation.code, violation.sentence, violation.hint)
        return None

    def _names_differ(self, cut: Cut, films: Sequence[Film]) -> None:
        """No two films have one file name, also where case and Unicode forms do not count."""
        alike: dict[str, list[Film]] = {}
        for film in films:
            alike.setdefault(folded(film.stem), []).append(film)
        for group in (group for group in alike.values() if len(group) > 1):
            first, second = group[:2]
            more = f", and {len(group) - 2} more" if len(group) > 2 else ""
            differ = [axis for axis in first.variant if first.variant[axis] != second.variant[axis]]
            one = ", ".join(f"{axis}={first.variant[axis]}" for axis in differ)
            other = ", ".join(f"{axis}={second.variant[axis]}" for axis in differ)
            sentence = f"the films of {one} and {other}{more} would both be called {first.stem}.mp4"
            hint = " ".join(f"{{{{ {axis} }}}}" for axis in differ)
            where = cut.where if cut.name is None else cut.name.where
            hint = f"put {hint} into the name" if cut.name is not None else "give them names with `name:`"
            self._desk.found.add(where, "SR352", sentence, hint, key=cut.name is None)


class _View(scenes.Effective):
    """The cut as if it were a scene, so that its texts are rendered as those of scenes are."""

    def label(self, where: Where, variant: str) -> str:
        return variant


class _CutNames(Names):
    """Names in the cut: axes and vars, no fields of a scene."""

    def _meaningless(self, mention: Mention, text: Text) -> TemplateFault | None:
        if mention.name in self._axes or mention.name in self._view.vars:
            return super()._meaningless(mention, text)
        sentence = f"there is no `{mention.name}`: not in vars, not in matrix"
        return TemplateFault("SR231", sentence, nearest.hint(mention.name, [*self._axes, *self._view.vars]))


class _Shelf:
    """The clips of a plan, found by scene and variant."""

    def __init__(self, jobs: Sequence[Job], picks: Collection[str]) -> None:
        self.axes = frozenset(axis for job in jobs for axis in job.variant)
        """Axes that the scenes vary over."""
        self.rates: dict[str, Fraction] = {}
        """Frame rates, by clip."""
        self.spoken = any(shot.dialogue for job in jobs for shot in job.shots)
        """Whether anybody says anything."""
        self._scenes: dict[str, tuple[tuple[str, ...], dict[tuple[str, ...], list[Part]]]] = {}
        for scene, takes in _groups(jobs):
            first = takes[0]
            axes, by_values = self._scenes.setdefault(scene, (tuple(first.variant), {}))
            ids = tuple(job.id for job in takes)
            shown = next((clip for clip in ids if clip in picks), None)
            part = Part(scene, first.id, ids, shown or first.id, shown is not None, first.length)
            by_values.setdefault(tuple(first.variant[axis] for axis in axes), []).append(part)
            self.rates[first.id] = first.frame_rate

    def parts(self, labels: Mapping[str, str]) -> tuple[Part, ...]:
        """What the film of a combination shows, in story order."""
        return tuple(
            part
            for axes, by_values in self._scenes.values()
            for part in by_values.get(tuple(labels[axis] for axis in axes), ())
        )


def _groups(jobs: Sequence[Job]) -> Iterator[tuple[str, list[Job]]]:
    """The takes of each clip, with its scene. The first take's id is the clip's id without a take."""
    group: list[Job] = []
    for job in jobs:
        if job.take == 1 and group:
            yield group[0].scene, group
            group = []
        group.append(job)
    if group:
        yield group[0].scene, group


def _combinations(storyboard: Storyboard, axes: frozenset[str]) -> list[scenes.Variant] | None:
    """The combinations of axes that are not excluded, in matrix order; None for too many."""
    if scenes.combinations(storyboard, axes) > MAX_FILMS * (10 if storyboard.exclude else 1):
        return None
    found = scenes.variants(storyboard, axes)
    return found if len(found) <= MAX_FILMS else None


def _labels(variant: scenes.Variant) -> dict[str, str]:
    return {axis: value.label for axis, value in variant.items()}


def _own_name(storyboard: Storyboard, labels: Mapping[str, str]) -> tuple[str, str]:
    """Title and file name of a film that nobody named: the plan's, and its own values."""
    stem = storyboard.path.stem
    title = " · ".join((storyboard.title or stem, *labels.values()))
    return title, file_stem(stem, labels, 1, clip_id(stem, labels, 1))


def _texts(cut: Cut) -> Iterator[Text]:
    for text in (cut.name, cut.length, cut.sound, cut.clip_sound, cut.transition, cut.fade, cut.subtitles):
        if text is not None:
            yield text


def _plain(seconds: Fraction) -> str:
    return f"{float(seconds):.2f}".rstrip("0").rstrip(".")
