"""What a person reads after a run, and whenever they ask: where every clip stands, and the next line to type.

Works on a manifest, which is the ledger's view of one plan on one provider.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from storyrun.cli.show.text import columns, fill, fit, fold, money, paint, plural, safe, shell, width_of
from storyrun.records import Money

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import tzinfo

    from storyrun.ledger import Step

    Clip = Mapping[str, Any]
    Manifest = Mapping[str, Any]

LISTED = 20
"""Clips of one kind that `status` lists one by one."""

HEAD = 50
"""Columns of a prompt by which a person knows an order again."""

FILLED = 5
"""Lines of names where there is nothing to say of each clip."""


class Kind(NamedTuple):
    """One way for a clip to stand: its word, its colour, and what to say of it."""

    word: str
    colour: str
    say: str


class Beside(NamedTuple):
    """What the ledger knows beside the manifest, by fingerprint: what was ordered otherwise before, who gave it up."""

    changed: frozenset[str] = frozenset()
    given_up: Mapping[str, Step] = MappingProxyType({})


ALONE = Beside()
"""Nothing beside the manifest."""


KINDS = {
    "done": Kind("done", "green", ""),
    "not ordered": Kind("not ordered", "", ""),
    "changed": Kind("changed", "", "the next run orders what is written now"),
    "given up": Kind("given up", "", "`storyrun settle --rebuy` has it ordered again"),
    "failed": Kind("failed", "red", "the next run orders again"),
    "refused": Kind("refused", "red", "change the text"),
    "missing": Kind("file missing", "yellow", "the next run gets it again"),
    "unfinished": Kind("unfinished", "yellow", "the next run goes on"),
    "open": Kind("open", "yellow", "ordered, not here yet"),
    "expired": Kind("expired", "red", "bought, and the provider no longer has it"),
    "unclear": Kind("unclear", "red", "may be bought"),
}
"""In the order in which they are told: what is most pressing comes last, beside what to type."""

REFUSED = ("moderation", "parameter")

NEEDS_YOU = ("open", "unclear", "expired")
"""What was bought, or may have been, and is not here."""

WANTED = (*NEEDS_YOU, "unfinished", "missing")
"""What is told of clips that today's plan lacks; the others need nobody."""

ONE_BY_ONE = (*WANTED, "refused", "failed", "given up")
"""What `status` tells clip by clip, with the reason."""


def kind_of(manifest: Manifest, clip: Clip, beside: Beside = ALONE) -> str:
    """How a clip of a manifest stands, as a key of `KINDS`."""
    status: str = clip["status"]
    if status == "planned" and clip["fingerprint"] in beside.changed:
        return "changed"
    if status == "open" and clip["finished_at"]:
        return "missing"  # it was done once
    if status in ("open", "unknown") and manifest["provider"] == "animatic":
        return "unfinished"  # nothing was bought, and nobody has to decide anything
    if status != "failed":
        return {"planned": "not ordered", "unknown": "unclear"}.get(status, status)
    if clip["error"] is None:
        return "given up"
    error = clip["error"]["class"]
    return "expired" if error == "expired" else "refused" if error in REFUSED else "failed"


def summary_text(
    manifest: Manifest,
    *,
    plan_file: str,
    run_folder: str = "",
    page: str = "",
    options: Sequence[str] = (),
    ordering: Sequence[str] = (),
    width: int = 100,
    colour: bool = False,
    zone: tzinfo = UTC,
) -> str:
    """What a run has come to: a line for each way that clips stand, and what to type next.

    `run_folder` is where the clips lie, as seen by the reader, and `page` the page in it. `options` (such as `--out`,
    `DIR`) are repeated in the lines to type, `ordering` in those that order, too. Times are told in `zone`.
    """
    label = _labels(manifest)
    lines = []
    for head, head_width, kind, clips in _groups(manifest, colour=colour):
        room = max(30, width - head_width - 2)
        if kind == "done":
            text = _done(manifest, label, room)
        elif kind == "unclear" and len(clips) == 1:
            text = f"{label[_key(clips[0])]} {_sent(clips[0], manifest, zone)}: {KINDS[kind].say}"
        else:
            say = f": {KINDS[kind].say}" if KINDS[kind].say else ""
            text = fold([label[_key(clip)] for clip in clips], max(20, room - len(say))) + say
        lines.append(f"{head}  {text}".rstrip())
        if kind == "unclear" and len(clips) == 1:
            lines.append(f"       {': '.join(filter(None, [_price(clips[0]), _head(clips[0])]))}")
        elif kind == "unclear":
            lines += _one_by_one(clips, label, manifest, zone, width)
    lines += _reconciled(manifest, label, width)
    there = [clip["file"] for clip in manifest["clips"] or manifest["former"] if clip["file"]]
    if run_folder and there:
        lines.append(f"in    {safe(run_folder)}/{safe(there[0]) if len(there) == 1 else 'clips'}")
    if run_folder and page:
        lines.append(f"page  {safe(run_folder)}/{safe(page)}")
    return "\n".join(lines + _next(next_lines([manifest], plan_file, options, ordering)))


def status_text(
    manifest: Manifest,
    *,
    plan_file: str,
    options: Sequence[str] = (),
    ordering: Sequence[str] = (),
    width: int = 100,
    colour: bool = False,
    zone: tzinfo = UTC,
    beside: Beside = ALONE,
) -> str:
    """Where every clip of one provider stands, what is still billing, what needs a decision, what to type next."""
    totals = manifest["totals"]
    label = _labels(manifest)
    title = fit(safe(manifest["storyboard"]["title"]), max(20, width - 40))
    head = f"{safe(manifest['provider'])}, {plural(totals['clips'], 'clip')}"
    lines = [f"{paint(title, 'bold', colour)}{' ' * max(2, 40 - width_of(title))}{head}"]
    for head, head_width, kind, clips in _groups(manifest, beside, colour=colour):
        say = _done(manifest, label, width - head_width - 2) if kind == "done" else KINDS[kind].say
        lines.append(f"{head}  {say}".rstrip())
        if kind in ONE_BY_ONE:
            lines += _one_by_one(clips, label, manifest, zone, width, beside)
        else:
            lines += [f"     {line}" for line in fill([label[_key(clip)] for clip in clips], width - 5, FILLED)]
    spent = [_money(each) for each in totals["cost"]]
    if spent:
        billing = _spent(clip for clip in _everyone(manifest) if clip["status"] in ("open", "unknown"))
        told = f"spent {_told(spent, coded=True)}"
        lines.append(f"{told}, of it {_told(billing, coded=True)} still open or unclear" if billing else told)
    return "\n".join(lines + _next(next_lines([manifest], plan_file, options, ordering)))


def status_json(manifest: Manifest, beside: Beside = ALONE) -> dict[str, Any]:
    """The standing of one provider as JSON data: totals, and each clip in brief. `former`: no longer in the plan."""
    return {
        "version": 1,
        "provider": manifest["provider"],
        "totals": manifest["totals"],
        "needs_you": [clip["id"] for clip in _everyone(manifest) if kind_of(manifest, clip) in NEEDS_YOU],
        "clips": [_brief(manifest, clip, beside) for clip in manifest["clips"]],
        "former": [_brief(manifest, clip, beside) for clip in manifest["former"]],
    }


def next_lines(
    manifests: Iterable[Manifest], plan_file: str, options: Sequence[str] = (), ordering: Sequence[str] = ()
) -> list[str]:
    """What to type next, most pressing first; nothing when all is made."""
    first: dict[str, str] = {}
    planned = False
    for manifest in manifests:
        planned = planned or bool(manifest["clips"])
        for clip in manifest["clips"] or _told_of_former(manifest):
            first.setdefault(kind_of(manifest, clip), clip["id"])
            if clip["problems"]:
                first.setdefault("problems", clip["id"])
        for clip in _told_of_former(manifest):
            first.setdefault(kind_of(manifest, clip), clip["id"])

    def settle(kind: str, choices: str) -> list[str]:
        return [f"storyrun {shell(('settle', plan_file, first[kind], *options))} {choices}"] if kind in first else []

    lines = settle("unclear", "--adopt ID | --not-created | ...")
    lines += settle("expired", "--abandon | --rebuy")
    lines += [f"storyrun {shell(('fetch', plan_file, *options))}"] if "open" in first else []
    lines += settle("problems", "--keep | --rebuy | --abandon")
    if not planned:
        return lines  # the plan is gone: there is nothing to run
    again = f"storyrun {shell((plan_file, *options, *ordering))}"
    if not first.keys().isdisjoint(("failed", "not ordered", "unfinished", "missing")):
        lines.append(again)
    elif "refused" in first:
        lines.append(f"{again}    (when the text is changed)")
    return lines


# ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Group(NamedTuple):
    """Clips that stand alike. `head`: how many, the word and the cost as columns, `width` wide without its colour."""

    head: str
    width: int
    kind: str
    clips: list[Clip]


def _groups(manifest: Manifest, beside: Beside = ALONE, *, colour: bool) -> list[Group]:
    """The clips by how they stand, in the order in which that is told."""
    groups: dict[str, list[Clip]] = {kind: [] for kind in KINDS}
    for clip in manifest["clips"]:
        groups[kind_of(manifest, clip, beside)].append(clip)
    for clip in _told_of_former(manifest):
        groups[kind_of(manifest, clip)].append(clip)
    there = {kind: clips for kind, clips in groups.items() if clips}
    priced = bool(manifest["totals"]["cost"])
    rows = []
    for kind, clips in there.items():
        cost = _told(_spent(clips), coded=False) if priced and kind not in ("not ordered", "changed") else ""
        rows.append((f"{len(clips):>3}", KINDS[kind].word, cost))
    heads = columns(rows, "><>")
    widest = max((len(head) for head in heads), default=0)
    return [
        Group(head.ljust(widest).replace(word, paint(word, KINDS[kind].colour, colour), 1), widest, kind, clips)
        for head, (_, word, _), (kind, clips) in zip(heads, rows, there.items(), strict=True)
    ]


def _told_of_former(manifest: Manifest) -> list[Clip]:
    """The clips that today's plan lacks and that somebody needs to know of: all of them where the plan is gone."""
    return [clip for clip in manifest["former"] if kind_of(manifest, clip) in WANTED or not manifest["clips"]]


def _done(manifest: Manifest, label: Mapping[tuple[str, str], str], room: int) -> str:
    """How many of the done ones were there before, and which are not as ordered."""
    parts = [f"{manifest['totals']['reused']} reused"] if manifest["totals"]["reused"] else []
    everything = manifest["clips"] or manifest["former"]
    wrong = [clip for clip in everything if clip["status"] == "done" and clip["problems"]]
    if wrong:
        head = f"{len(wrong)} of them not as ordered: "
        told = [f"{label[_key(clip)]} {_problem(clip['problems'])}" for clip in wrong]
        parts.append(head + fold(told, max(20, room - len(head) - len("; ".join(parts))), ", "))
    return "; ".join(parts)


def _reconciled(manifest: Manifest, label: Mapping[tuple[str, str], str], width: int) -> list[str]:
    """`billed 12.40 of 12.00 quoted; 2 clips differ: hook 10 s of 5 s; ...`, where anything was billed otherwise."""
    accounts = [(clip, clip["reconciled"]) for clip in _everyone(manifest) if clip["reconciled"]]
    differing = [(clip, account["differences"][0]) for clip, account in accounts if account["differences"]]
    if not differing:
        return []
    known = [clip for clip, _ in accounts if clip["cost"]["billed"] and clip["cost"]["quoted"]]
    billed, quoted = (_sums(clip["cost"][which] for clip in known) for which in ("billed", "quoted"))
    head = f"billed {_told(billed, coded=False)} of {_told(quoted, coded=False)} quoted; " if billed else "billed: "
    head += f"{plural(len(differing), 'clip')} {'differs' if len(differing) == 1 else 'differ'}: "
    told = [f"{label[_key(clip)]} {safe(said.removeprefix('billed '))}" for clip, said in differing]
    return [head + fold(told, max(20, width - len(head)), "; ")]


def _problem(problems: Sequence[str]) -> str:
    """`it is 4 s of 5` reads on from a clip's name as `is 4 s of 5`."""
    return safe(", ".join(problem.removeprefix("it ") for problem in problems))


def _one_by_one(
    clips: Sequence[Clip],
    label: Mapping[tuple[str, str], str],
    manifest: Manifest,
    zone: tzinfo,
    width: int,
    beside: Beside = ALONE,
) -> list[str]:
    """A line for each clip with the reason, and how many more there are. What is unclear has its prompt below."""
    rows = [(f"     {label[_key(clip)]}", _reason(clip, manifest, zone, beside)) for clip in clips[:LISTED]]
    lines = []
    for clip, line in zip(clips, columns(rows, "<<"), strict=False):
        lines.append(fit(line, width))
        if kind_of(manifest, clip) == "unclear":
            lines.append(f"       {_head(clip)}")
    return lines + ([f"     ... and {len(clips) - LISTED} more"] if len(clips) > LISTED else [])


def _reason(clip: Clip, manifest: Manifest, zone: tzinfo, beside: Beside) -> str:
    """One line on why a clip is not done."""
    error = clip["error"]
    if (word := beside.given_up.get(clip["fingerprint"])) is not None:
        at = datetime.fromisoformat(word.at).astimezone(zone)
        return f"given up by {safe(word.by)}, {at:%Y-%m-%d %H:%M}: {safe(word.why)}"
    sent = _time(clip["submitted_at"], manifest["started_at"], zone) if clip["submitted_at"] else ""
    if clip["status"] == "open":
        return f"since {sent}" + (f", task {safe(clip['task_id'])}" if clip["task_id"] else "")
    if clip["status"] == "unknown":
        return ", ".join(filter(None, [_sent(clip, manifest, zone), _price(clip)]))
    return safe(": ".join(part for part in (error["code"], error["message"]) if part)) if error else f"ordered {sent}"


def _sent(clip: Clip, manifest: Manifest, zone: tzinfo) -> str:
    """When a clip was sent of which nothing was heard."""
    return f"sent {_time(clip['submitted_at'], manifest['started_at'], zone)}, no answer"


def _price(clip: Clip) -> str:
    """What an order may cost; empty where it is not this plan's to pay."""
    quoted = clip["cost"]["quoted"]
    return "no known price" if quoted is None else money(_money(quoted), currency=True) if quoted["amount"] else ""


def _head(clip: Clip) -> str:
    """The head of a prompt, by which a person knows an order again in the provider's console."""
    return f'"{fit(safe(" ".join(clip["prompt"][: 4 * HEAD].split())), HEAD)}"'


def _time(moment: str, today: str, zone: tzinfo) -> str:
    """`22:10`, with the date before it when that was on another day."""
    then, now = (datetime.fromisoformat(each).astimezone(zone) for each in (moment, today))
    return then.strftime("%H:%M" if then.date() == now.date() else "%Y-%m-%d %H:%M")


def _key(clip: Clip) -> tuple[str, str]:
    """Tells a clip from a former one of the same id."""
    return clip["id"], clip["fingerprint"]


def _labels(manifest: Manifest) -> dict[tuple[str, str], str]:
    """The shortest name that tells the clips apart: the value of the one axis of the one scene, else the id."""
    clips = _everyone(manifest)
    one_scene = len({clip["scene"] for clip in clips}) == 1
    one_axis = len({tuple(clip["variant"]) for clip in clips}) == 1 and len(clips[0]["variant"]) == 1
    short = one_scene and one_axis
    former = {_key(clip) for clip in manifest["former"]}
    return {
        _key(clip): (_value(clip) if short else safe(clip["id"])) + (" (former)" if _key(clip) in former else "")
        for clip in clips
    }


def _value(clip: Clip) -> str:
    return safe(*clip["variant"].values()) + (f"#{clip['take']}" if clip["take"] > 1 else "")


def _everyone(manifest: Manifest) -> list[Clip]:
    """The plan's clips, then those that only the ledger knows."""
    return [*manifest["clips"], *manifest["former"]]


def _brief(manifest: Manifest, clip: Clip, beside: Beside) -> dict[str, Any]:
    keys = ("id", "status", "prompt", "file", "problems", "cost", "submitted_at", "finished_at", "task_id", "error")
    word = beside.given_up.get(clip["fingerprint"])
    return {
        **{key: clip[key] for key in keys},
        "standing": kind_of(manifest, clip, beside),
        "given_up": {"by": word.by, "at": word.at, "why": word.why} if word else None,
    }


def _spent(clips: Iterable[Clip]) -> list[Money]:
    """What clips count as spent, by currency: billed where that is known, else quoted."""
    return _sums(clip["cost"]["billed"] or clip["cost"]["quoted"] for clip in clips)


def _sums(entries: Iterable[Mapping[str, Any] | None]) -> list[Money]:
    """Amounts of a manifest by currency."""
    sums: dict[str, Money] = {}
    for entry in entries:
        if entry and entry["currency"]:
            each = _money(entry)
            old = sums.get(each.currency, Money(Decimal(0), each.currency))
            sums[each.currency] = Money(old.amount + each.amount, each.currency, old.exact and each.exact)
    return [sums[currency] for currency in sorted(sums)]


def _money(entry: Mapping[str, Any]) -> Money:
    return Money(Decimal(str(entry["amount"])), entry["currency"], entry["exact"])


def _told(amounts: Sequence[Money], *, coded: bool) -> str:
    return " + ".join(money(each, currency=coded or len(amounts) > 1) for each in amounts) or "0.00"


def _next(lines: Sequence[str]) -> list[str]:
    return [f"{'next' if number == 0 else '':4}  {line}" for number, line in enumerate(lines[:3])]
