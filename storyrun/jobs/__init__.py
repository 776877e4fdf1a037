"""From a storyboard to jobs: scenes over the axes they mention, takes, prompts, fingerprints. Only reads files.

The plot: for each scene its mode and card, the defaults that apply, the axes it mentions (`scenes`); for each variant
its texts rendered (`rendering`); for each clip one `Job` (`clips`). What is wrong is collected and told in one pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from storyrun import checks, picks
from storyrun.jobs import films, scenes
from storyrun.jobs.clips import Clips
from storyrun.jobs.desk import Desk
from storyrun.jobs.form import as_dict, exact, fingerprint, from_dict, number
from storyrun.jobs.names import Names
from storyrun.jobs.rendering import Scope
from storyrun.prompts import TemplateFault
from storyrun.records import Plan, Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from storyrun.jobs.scenes import Effective
    from storyrun.picks import Picks
    from storyrun.records import Film, Job, Mode, ModelCard, Problem, Storyboard, Where
    from storyrun.yamlfile import Document

__all__ = ["CODES", "as_dict", "exact", "fingerprint", "from_dict", "number", "plan"]

CODES = {
    "SR301": "an unknown model, or none where one is needed",
    "SR302": "a model that cannot do what the scene needs",
    "SR310": "a setting that the model cannot take in this mode",
    "SR320": "seconds that the model does not make",
    "SR321": "a resolution that the model does not make",
    "SR322": "a ratio that the model does not make",
    "SR323": "a prompt that the model does not take",
    "SR324": "a negative prompt that the model does not take",
    "SR325": "a seed out of range",
    "SR326": "sound that the model does not take",
    "SR327": "references that the model does not take",
    "SR328": "a frame that the model does not take",
    "SR329": "something else that the model does not take",
    "SR330": "an audio file under shots that the model makes one by one",
    "SR331": "an empty prompt",
    "SR340": "a model that nobody has confirmed (warning)",
    "SR341": "a combination that has no effect (warning)",
    **films.CODES,
}

SPLIT = "split the plan, mention fewer axes, or exclude combinations"


def plan(
    storyboard: Storyboard,
    document: Document,
    *,
    provider: str,
    label: str,
    model: str | None,
    currency: str | None,
    drawing_revision: int | None,
    whole: bool = True,
    chosen: Picks = picks.NONE,
) -> tuple[Plan, tuple[Problem, ...]]:
    """Every job of a storyboard for one provider, and every problem on the way to them.

    `provider` decides the model cards; `label` is its name in fingerprints and ledger (they differ when a loopback
    base URL rehearses it). `model` beats what the plan says. `currency` is the one the provider bills in, where its
    cards have several. `drawing_revision` is the animatic's, None for the others. `whole` is False when parts of the
    plan could not be read, so that nothing is concluded from what is absent. `chosen` are the takes that people picked
    and those they ordered besides.
    """
    desk = Desk(
        storyboard,
        document,
        provider=provider,
        label=label,
        currency=currency,
        drawing_revision=drawing_revision,
        chosen=chosen,
    )
    return _Planner(desk, model).run(whole=whole)


class _Planner:
    """Goes through the scenes of one storyboard."""

    def __init__(self, desk: Desk, model: str | None) -> None:
        self.desk = desk
        self.storyboard = desk.storyboard
        self.found = desk.found
        self.templates = desk.templates
        self.model = model
        self.left_out: dict[tuple[str, str], list[str]] = {}
        self.murky = False

    def run(self, *, whole: bool) -> tuple[Plan, tuple[Problem, ...]]:
        """The plan and its problems, sorted."""
        document = self.desk.document
        problems = [problem for check in checks.STORYBOARD_CHECKS for problem in check(self.storyboard, document)]
        self.references()
        mentioned: set[str] = set()
        jobs: list[Job] = []
        for scene in self.storyboard.scenes:
            made, axes = self.scene(
                self.with_model(scenes.effective(self.storyboard, scene)), checks.MAX_CLIPS - len(jobs)
            )
            mentioned |= axes
            jobs += made
            if len(jobs) > checks.MAX_CLIPS:
                sentence = f"the plan makes more than {checks.MAX_CLIPS:,} clips"
                self.found.add((*scene.where, "id"), "SR212", sentence, SPLIT)
                break
        self.unused_vars()
        cutting = films.Cutting(self.desk)
        if whole and not self.murky:
            self.unmentioned(mentioned | cutting.axes)
        problems += [problem for check in checks.JOB_CHECKS for problem in check(jobs, self.storyboard, document)]
        assembled: Sequence[Film] = ()
        if whole and not any(each.severity == "error" for each in (*problems, *self.found.problems())):
            assembled = cutting.films(jobs)
        problems += self.found.problems()
        made_plan = Plan(
            self.storyboard,
            self.desk.label,
            tuple(jobs),
            self.desk.cards,
            tuple(self.notes()),
            picks=self.desk.chosen.clips,
            films=assembled,
        )
        return made_plan, tuple(sorted(problems, key=lambda problem: problem.order))

    def with_model(self, view: Effective) -> Effective:
        """`--model` beats the scene's model."""
        if self.model is None:
            return view
        return replace(view, settings={**view.settings, "model": Text(self.model, ())})

    def notes(self) -> Iterable[str]:
        """One note for each default that was left out, with the scenes it was left out of."""
        for (key, why), ids in self.left_out.items():
            more = f" and {len(ids) - 3} more" if len(ids) > 3 else ""
            yield f"default {key} left out of {', '.join(ids[:3])}{more}: {why} takes none"

    # ── what stands beside the scenes ────────────────────────────────────────────────────────────────────────────────

    def references(self) -> None:
        """Named files exist and are what they claim, used or not."""
        for name in self.storyboard.references:
            for text in scenes.reference_texts(self.storyboard, name):
                if not text.templated:
                    self.desk.source(text, text.value, None)
                for fault in self.templates.faults(text.value):
                    self.found.fault(text, fault)

    def files(self, view: Effective) -> None:
        """The files that a scene names as they stand exist, whatever else is wrong with it."""
        for key in ("first_frame", "last_frame", "audio"):
            text = view.settings.get(key)
            if text is None or text.templated or text.where in self.storyboard.refused:
                continue
            if key != "audio" or text.value not in ("auto", "none"):
                self.desk.source(text, text.value, None)

    def unused_vars(self) -> None:
        """Vars that no scene uses are judged too."""
        if self.storyboard.scenes:
            view = scenes.Effective(self.storyboard.scenes[0], {}, frozenset(), (), dict(self.storyboard.vars))
            Names(self.storyboard, view, self.templates, self.found).faulty(self.storyboard.vars.values())

    def unmentioned(self, mentioned: set[str]) -> None:
        """An axis that nobody mentions would silently make no difference."""
        for axis in self.storyboard.matrix:
            if axis.name not in mentioned:
                hint = f"write {{{{ {axis.name} }}}} where it makes a difference, or remove the axis"
                self.found.add(axis.where, "SR202", f"no scene mentions axis {axis.name}", hint, key=True)

    # ── one scene ────────────────────────────────────────────────────────────────────────────────────────────────────

    def scene(self, view: Effective, room: int) -> tuple[list[Job], frozenset[str]]:
        """The jobs of a scene, about `room` at most, and the axes it mentions, also when a problem leaves no jobs."""
        template = scenes.template_text(view, self.templates)
        full = self.reach(view, template)
        faulty = Names(self.storyboard, view, self.templates, self.found).faulty(full.texts)
        if not self.template_named(view):
            faulty |= {view.settings["template"].where}
        self.murky = self.murky or bool(faulty)  # a misspelt name may have been meant for anything
        self.files(view)
        if {("provider",), ("defaults",)} & self.storyboard.refused:
            return [], full.axes  # no telling which models there are, or what the scene carries
        if self.too_many(view, full.axes):
            return [], full.axes
        strangers = full.names - self.storyboard.references.keys()
        listed = [text for text in view.references if text.where not in self.storyboard.refused]
        mode = scenes.mode_of(bool(listed or full.names - strangers or full.templated_name), view.settings)
        # With a stranger among its names, nobody knows what the scene carries: then the mode is no reason for an error.
        sure = not strangers and len(listed) == len(view.references)
        possible = self.possible_cards(view, mode, faulty, sure=sure)
        if not possible:
            return [], full.axes
        view, dropped = scenes.without_untaken_defaults(view, mode, possible)
        for key in dropped:
            why = "a scene of shots" if key == "seconds" else f"{scenes.MODE_WORDS[mode]} of {possible[0].model}"
            self.left_out.setdefault((key, why), []).append(view.scene.id)
        axes = self.reach(view, template).axes
        variants = scenes.variants(self.storyboard, axes)
        if not variants and all(axis.values for axis in self.storyboard.matrix):
            sentence, hint = f"every variant of {view.scene.id} is excluded", "leave one, or remove the scene"
            self.found.add((*view.scene.where, "id"), "SR208", sentence, hint)
        jobs: list[Job] = []
        for variant in variants:
            scope = Scope(view, variant, self.templates, self.found, self.desk.judged, faulty)
            labels = {axis: value.label for axis, value in variant.items()}
            jobs += Clips(self.desk, view, scope, mode, full).jobs(labels)
            if len(jobs) > room:
                break
        return jobs, axes

    def too_many(self, view: Effective, axes: frozenset[str]) -> bool:
        """Whether the axes of a scene multiply to more clips than anybody can want: told before they are made."""
        count = scenes.combinations(self.storyboard, axes)
        if count <= checks.MAX_CLIPS * (10 if self.storyboard.exclude else 1):
            return False
        names = " x ".join(axis.name for axis in self.storyboard.matrix if axis.name in axes)
        sentence = f"{view.scene.id} makes {count:,} clips over {names}; {checks.MAX_CLIPS:,} is the most"
        self.found.add((*view.scene.where, "id"), "SR212", sentence, SPLIT)
        return True

    def reach(self, view: Effective, template: Text | None) -> scenes.Reach:
        """Everything that the scene's texts and its template file lead to."""
        start = [*view.texts(), *([template] if template else [])]
        return scenes.reach(start, self.storyboard, view.vars, self.templates)

    def template_named(self, view: Effective) -> bool:
        """Whether the scene's template is there."""
        named = view.settings.get("template")
        if named is None:
            return True
        if named.templated:
            self.found.add(named.where, "SR234", "`template` names a file; it cannot be a template itself")
            return False
        try:
            self.templates.file(named.value)
        except TemplateFault as fault:
            self.found.add(named.where, fault.code, fault.sentence, fault.hint)
            return False
        return True

    def possible_cards(self, view: Effective, mode: Mode, faulty: frozenset[Where], *, sure: bool) -> list[ModelCard]:
        """The cards that the scene's model can mean: one, or one for each variant where the model is a template."""
        wanted = view.settings.get("model")
        axes = frozenset[str]()
        if wanted is not None and wanted.templated:
            axes = scenes.reach([wanted], self.storyboard, view.vars, self.templates).axes
        found: list[ModelCard] = []
        for variant in scenes.variants(self.storyboard, axes):
            scope = Scope(view, variant, self.templates, self.found, self.desk.judged, faulty)
            model = None if wanted is None else scope.told(wanted)
            if wanted is None or model is not None:
                card = self.desk.card(wanted, model, mode, scope, sure=sure)
                if card and card not in found:
                    found.append(card)
        return found
