"""What a person reads before a run: the quote of a plan, or of one clip of it. Pure: records in, text out."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun import jobs
from storyrun.cli.show.text import (
    amount,
    columns,
    fit,
    fold,
    money,
    paint,
    plural,
    quoted,
    safe,
    seconds,
    width_of,
    wrap,
)
from storyrun.quote import ORDERED, savings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from storyrun.quote import ClipQuote, Quote, Row
    from storyrun.quote.changes import Change
    from storyrun.quote.savings import Saving
    from storyrun.records import Attempt, Money, Price

ROWS = 40
"""Lines of the table before it is folded."""

SETTINGS = "resolution aspect_ratio seed prompt_extend watermark shot_type audio premise look".split()
"""What is told of a clip as it was written; of the rest more is said."""

COLOUR = {"needs you": "red", "refused before": "yellow"} | dict.fromkeys(ORDERED, "green")

WHY = {
    "reused": "it is there already, and costs nothing",
    "file missing": "it was made, but its file is gone: the next run gets it again, at no cost",
    "open": "it is ordered and not here yet; the next run collects it",
    "new": "nothing like it was ordered before",
    "changed": "it was ordered as something else",
    "failed before": "the last try failed; the next run orders it again",
    "refused before": "it was refused as it is written: change the text, or pass --retry-refused",
    "needs you": "only a person can tell what becomes of it: `storyrun settle`",
    "abandoned": "it was given up; `storyrun settle --rebuy` orders it again",
}


def quote_text(quote: Quote, *, width: int = 100, colour: bool = False) -> str:
    """The table of a quote: what there is scene by scene, what ordering the rest costs, what leaves this machine."""
    single = _currency(quote)
    title = safe(quote.plan.storyboard.title or quote.stem)
    lines = [_title(title, _terms(quote, single), width, colour=colour), _sizes(quote)]
    lines += _table(quote, single, width, colour=colour)
    lines += _money_lines(quote, single) + _models(quote, single)
    lines += _refusals(quote, width) + _savings(quote, width) + _prices_to_paste(quote)
    uploads = [safe(source.text) for source in quote.uploads]
    lines += [f"leaves this machine: {fold(uploads, width - 21)}"] if uploads else []
    if not quote.orders:
        whole = all(clip.status == "reused" for clip in quote.clips if clip.chosen)
        lines.append("nothing to order: every clip is there" if whole else "nothing to order")
    elif quote.key:
        lines.append(f"needs {quote.key}" + (", which is set" if quote.key_set else ""))
    if any(clip.chosen and clip.status == "needs you" for clip in quote.clips):
        lines.append(f"next  storyrun status {quoted(str(quote.plan.storyboard.path))}")
    return "\n".join(lines)


def _currency(quote: Quote) -> str | None:
    """The one currency of all amounts shown; None when there are several."""
    ceilings = [each for each in (quote.budget, quote.run_ceiling) if each]
    found = {each.currency for each in (*quote.total, *ceilings)} | {price.currency for price in quote.prices}
    return found.pop() if len(found) == 1 else None if found else ""


def _terms(quote: Quote, single: str | None) -> str:
    """Who makes it, and by which prices."""
    if quote.free:
        return f"{quote.provider}: free, on this machine"
    dates = sorted({price.as_of[:7] for price in quote.prices if price.as_of[:4].isdigit()})
    when = {0: "", 1: f"prices of {dates[0]}"}.get(len(dates), f"prices of {dates[0]} to {dates[-1]}") if dates else ""
    return ", ".join(safe(part) for part in (quote.provider, when, single or "") if part)


def _title(title: str, terms: str, width: int, *, colour: bool) -> str:
    room = width - len(terms) - 2
    title = fit(title, max(20, room))
    return paint(title, "bold", colour) + " " * max(2, 40 - width_of(title)) + terms


def _sizes(quote: Quote) -> str:
    """`6 scenes x 2 format = 12 clips, 60 s`: as a product where it is one."""
    all_jobs = [clip.job for clip in quote.clips]
    clips = f"{plural(len(all_jobs), 'clip')}, {seconds(sum((job.length for job in all_jobs), Fraction(0)))}"
    scenes = len({job.scene for job in all_jobs})
    axes: dict[str, set[str]] = {}
    for job in all_jobs:
        for axis, value in job.variant.items():
            axes.setdefault(axis, set()).add(value)
    takes = max((job.take for job in all_jobs), default=1)
    factors = [plural(scenes, "scene"), *(f"{len(axes[axis])} {safe(axis)}" for axis in sorted(axes))]
    factors += [f"{takes} takes"] if takes > 1 else []
    product = scenes * takes
    for values in axes.values():
        product *= len(values)
    joint = " = " if product == len(all_jobs) else ": "
    parts = factors if product == len(all_jobs) else factors[:1]
    line = clips if scenes == len(all_jobs) else f"{' x '.join(parts)}{joint}{clips}"
    chosen = [clip.job for clip in quote.clips if clip.chosen]
    if len(chosen) < len(all_jobs):
        line += f"; chosen: {plural(len(chosen), 'clip')}, {seconds(sum((job.length for job in chosen), Fraction(0)))}"
    return line


def _table(quote: Quote, single: str | None, width: int, *, colour: bool) -> list[str]:
    rows, left_out = _fold_rows(quote.rows)
    priced = not quote.free
    digits = len(str(max((len(row.clips) for row in rows), default=0)))
    cells = [
        (
            f"  {safe(row.scene)}",
            f"{len(row.clips):>{digits}} clip{'' if len(row.clips) == 1 else 's'}",
            seconds(row.seconds),
            safe(row.model),
            money(row.price, currency=single is None) if priced else "",
        )
        for row in rows
    ]
    heads = columns(cells, "<<><>")
    widest = max(map(width_of, heads), default=0)
    lines = []
    for head, row in zip(heads, rows, strict=True):
        status = _status(row, quote.plan.storyboard.path.name, width - widest - 2)
        gap = " " * (widest - width_of(head) + 2)
        lines.append(f"{head}{gap}{paint(status, COLOUR.get(row.status, ''), colour)}")
    if left_out:
        clips = Counter[str]()
        for row in left_out:
            clips[row.status] += len(row.clips)
        told = ", ".join(f"{count} {status}" for status, count in clips.items())
        lines.append(f"  ... and {len(left_out)} more lines: {plural(sum(clips.values()), 'clip')}, {told}")
    return lines


def _fold_rows(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows to show and those left out of a long table: first what is there already, then the last ones."""
    if len(rows) <= ROWS:
        return list(rows), []
    telling = [row for row in rows if row.status != "reused"]
    shown = (telling + [row for row in rows if row.status == "reused"])[: ROWS - 1]
    kept = {id(row) for row in shown}
    return [row for row in rows if id(row) in kept], [row for row in rows if id(row) not in kept]


def _status(row: Row, file: str, room: int) -> str:
    """`changed: shots[1].action, spot.yaml:31; look, spot.yaml:9`: as many fields as fit, at least one."""
    told = [_place(change, file) for change in row.changes]
    return f"{row.status}: {fold(told, room - len(row.status) - 2, '; ')}" if told else row.status


def _place(change: Change, file: str) -> str:
    return safe(f"{change.field}, {file}:{change.mark.line}" if change.mark else change.field)


def _money_lines(quote: Quote, single: str | None) -> list[str]:
    """`now 9.00 (exact) + spent 1.50 = 10.50 of 12.00`, one line per currency. None on the animatic."""
    if quote.free:
        return []
    ceilings = [each.currency for each in (quote.budget, quote.run_ceiling) if each]
    currencies = sorted({each.currency for each in quote.total} | set(ceilings)) or [""]
    return [_money_line(quote, currency, coded=single is None) for currency in currencies]


def _money_line(quote: Quote, currency: str, *, coded: bool) -> str:
    now, spent, total = (_of(amounts, currency) for amounts in (quote.now, quote.spent, quote.total))
    if quote.unpriced and not now.amount:
        line = f"now unknown: {plural(quote.unpriced, 'clip')} without a known price"
    else:
        line = f"now {money(now, currency=coded)}"
        if now.amount:
            line += " (exact)" if now.exact else " (at most)"
        if quote.unpriced:
            line += f" and {plural(quote.unpriced, 'clip')} without a known price"
    budget = quote.budget if quote.budget and quote.budget.currency == currency else None
    if spent.amount or budget:
        line += f" + spent {money(spent, currency=coded)} = {money(total, currency=coded)}"
    if budget:
        line += f" of {money(budget, currency=coded)}"
    if quote.spent_unpriced:
        line += f", beside {plural(quote.spent_unpriced, 'order')} of unknown price"
    if quote.run_ceiling and quote.run_ceiling.currency == currency:
        line += f"; at most {money(quote.run_ceiling, currency=coded)} in this run"
    return line


def _models(quote: Quote, single: str | None) -> list[str]:
    """What is ordered of each model in each currency, by which prices per second, of when and from where."""
    if quote.free:
        return []
    cells = [
        (
            f"  {safe(total.model)}",
            plural(total.clips, "clip"),
            seconds(total.seconds),
            money(total.price, currency=single is None),
            _rates(total.rates),
        )
        for total in quote.models
    ]
    sources = dict.fromkeys(rate.source for total in quote.models for rate in total.rates if rate.source)
    return [*columns(cells, "<>>><"), *(f"  prices from {safe(source)}" for source in sources)]


def _rates(rates: Sequence[Price]) -> str:
    """`0.10 a second at 720p, 0.15 at 1080p, 2026-04`."""
    told: list[str] = []
    for rate in rates:
        sound = {None: "", True: " with sound", False: " without sound"}[rate.audio]
        told.append(f"{amount(rate.per_second)}{'' if told else ' a second'} at {rate.resolution}{sound}")
    dates = dict.fromkeys(rate.as_of for rate in rates if rate.as_of)
    return safe(", ".join([*told, *dates])) or "no known price"


def _of(amounts: Sequence[Money], currency: str) -> Money:
    from decimal import Decimal

    from storyrun.records import Money

    return next((each for each in amounts if each.currency == currency), Money(Decimal(0), currency))


def _refusals(quote: Quote, width: int) -> list[str]:
    """The clips that a ceiling would refuse, with the reason."""
    by_reason: dict[str, list[str]] = {}
    for clip in quote.refused:
        by_reason.setdefault(clip.refused, []).append(safe(clip.job.id))
    lines = []
    for reason, ids in by_reason.items():
        head = f"{plural(len(ids), 'clip')} would be refused: "
        lines += [head + fold(ids, max(20, width - len(head))), f"  {safe(reason)}"]
    return lines


def _savings(quote: Quote, width: int) -> list[str]:
    """What would fit instead, each with its price; or that nothing would."""
    if not quote.refused or quote.savings is None:
        return []
    if not quote.savings:
        clip = savings.cheapest(quote)
        if clip is None or clip.price is None:
            return []
        told = f"nothing of it would fit: the cheapest clip, {clip.job.id}, costs {money(clip.price, currency=True)}"
        return [safe(told)]
    rows = [
        (f"  {saving_text(quote, each, max(20, width - 30))}", plural(len(each.orders), "clip"), costs(each.price))
        for each in quote.savings
    ]
    return ["what would fit, least changed first:", *columns(rows, "<<<")]


def saving_text(quote: Quote, saving: Saving, width: int = 60) -> str:
    """What to write or to type: `takes: 1`, `resolution: 480p in hook`, `--first 3`, `--only 'hook[*'`."""
    scenes = tuple(dict.fromkeys(clip.job.scene for clip in quote.clips))

    def written(line: str, where: tuple[str, ...]) -> str:
        return line if where == scenes else f"{line} in {fold(where, width - len(line) - 4)}"

    parts = []
    if saving.takes is not None:
        parts.append(written(f"takes: {saving.takes}", saving.fewer_in))
    if saving.resolution is not None:
        parts.append(written(f"resolution: {saving.resolution}", saving.lower_in))
    if saving.first is not None:
        parts.append(f"--first {saving.first}")
    if saving.only:
        parts.append(" ".join(f"--only {quoted(each)}" for each in saving.only))
    return safe(" and ".join(parts))


def costs(amounts: Sequence[Money]) -> str:
    """A sum by currency: `9.00 USD + 3.00 CNY`."""
    return " + ".join(money(each, currency=True) for each in amounts) or "0.00"


def _prices_to_paste(quote: Quote) -> list[str]:
    """What to add to the plan where no price is known."""
    unknown = [clip.job for clip in quote.orders if clip.price is None]
    if not unknown:
        return []
    models: dict[str, dict[str, None]] = {}
    for job in unknown:
        models.setdefault(job.model, {})[job.billed_resolution] = None
    provider = quote.plan.provider.partition("@")[0]
    currency = quote.budget.currency if quote.budget else "USD"
    lines = ["where the price is unknown, add it to the plan, per second:", "  prices:"]
    for model, resolutions in models.items():
        prices = ", ".join(f"{resolution}: ..." for resolution in resolutions)
        lines.append(safe(f"    {provider}/{model}: {{currency: {currency}, {prices}}}"))
    return lines


def question(quote: Quote) -> str:
    """What a person is asked before a paid run: `Order 12 clips for 9.00 USD?`"""
    amounts = costs(quote.now) if quote.now else ""
    unknown = plural(quote.unpriced, "clip") + " of unknown price" if quote.unpriced else ""
    told = ", and ".join(part for part in (amounts, unknown) if part)
    return f"Order {plural(len(quote.orders), 'clip')} for {told or 'nothing'}?"


# ── one clip ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def clip_text(
    quote: Quote, clip: ClipQuote, *, width: int = 100, colour: bool = False, request: Mapping[str, Any] | None = None
) -> str:
    """Everything about one clip: where it stands and why, every field, its price, its prompt; `request` as sent."""
    job, file = clip.job, quote.plan.storyboard.path.name
    status = paint(clip.status, COLOUR.get(clip.status, ""), colour)
    lines = [f"{paint(safe(job.id), 'bold', colour)}  {status}: {WHY[clip.status]}"]
    if clip.refused:
        lines.append(f"would be refused: {clip.refused}")
    if clip.attempt:
        told = _attempt(clip.attempt, job.id, quote.stem)
        lines.append(safe(f"attempt {clip.attempt.id} of {clip.attempt.created_at[:10]}, {told}"))
    for change in clip.changes:
        lines.append(f"  {_place(change, file)}")
        lines += [f"    {which} {safe(fit(text or 'nothing', width - 10))}" for which, text in _sides(change)]
    lines += columns([(f"  {name}", safe(text)) for name, text in _fields(clip, free=quote.free)], "<<")
    for name, text in (("prompt", job.prompt), ("negative_prompt", job.negative_prompt)):
        lines += [f"  {name}", *wrap(text, width, "    ")] if text else []
    if request is not None:
        body = json.dumps(request, indent=2, ensure_ascii=False)
        lines += ["  request", *(f"    {safe(line)}" for line in body.split("\n"))]
    return "\n".join(lines)


def _sides(change: Change) -> list[tuple[str, str]]:
    return [("was", change.was), ("now", change.now)] if change.was or change.now else []


def _attempt(attempt: Attempt, clip: str, stem: str) -> str:
    """How an attempt stands, and whose it is when it is not this clip's of this plan."""
    said = str(attempt.state).replace("_", " ")
    if attempt.plan != stem or attempt.clip != clip:
        said += f", as {attempt.clip} of {attempt.plan}"
    if attempt.failure:
        said += f": {attempt.failure.message}"
    return "; ".join((said, *attempt.problems))


def _fields(clip: ClipQuote, *, free: bool) -> list[tuple[str, str]]:
    """The settings of a job in words, those that nobody wrote with what the model then does."""
    job = clip.job
    form = jobs.as_dict(job)
    fields = [
        ("model", f"{job.model}, {job.mode} to video"),
        ("seconds", f"{seconds(job.length)}{'' if job.seconds is not None else ' (not written)'}"),
        ("shots", ", ".join(f"{seconds(shot.start)[:-2]}-{seconds(shot.end)}" for shot in job.shots)),
        ("size", f"{job.size[0]}x{job.size[1]}" if job.size else "as the first frame"),
        ("frame_rate", f"{float(job.frame_rate):.10g}"),
        ("sound", "yes" if job.sounding else "no"),
    ]
    for name in SETTINGS:
        if name in form:
            value = form[name]
            fields.append((name, str(value).lower() if isinstance(value, bool) else str(value)))
    for bound in job.references:
        sources = [*bound.media, *([bound.voice] if bound.voice else [])]
        fields.append(("reference", f"{bound.name} ({bound.word}): {', '.join(source.text for source in sources)}"))
    for name in ("first_frame", "last_frame", "audio_file"):
        fields += [(name, form[name]["text"])] if name in form else []
    fields += [] if free else [("price", _price(clip))]
    return [*fields, ("file", f"clips/{job.stem}_v*.mp4"), ("fingerprint", job.fingerprint)]


def _price(clip: ClipQuote) -> str:
    if clip.price is None:
        return f"unknown for {clip.job.model} at {clip.job.billed_resolution}"
    said = f"{money(clip.price, currency=True)} ({'exact' if clip.price.exact else 'at most'})"
    if clip.rate is None:
        return said
    return f"{said}, {clip.rate.per_second} a second as of {clip.rate.as_of}, {clip.rate.source}"
