"""`storyrun models [NAME]`: the cards as a table, one card in full, and both as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from storyrun import cards, nearest
from storyrun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from storyrun.records import ModelCard, Price

HEADS = ("provider", "model", "made from", "seconds", "resolutions", "per second", "as of")

SETTINGS = (
    *("prompt", "negative_prompt", "seconds", "resolution", "aspect_ratio", "seed", "prompt_extend", "watermark"),
    *("shot_type", "audio", "audio_file", "references", "first_frame", "last_frame"),
)
"""The fields of a job that a card has a say in, in the order in which people read about them."""

WIDTH = 100
"""Characters of a line."""

MODES = 12
"""Characters of the column of modes; longer ones go on below."""

WORDS = {"character": "character1, character2", "numbered": "Image 1, Video 1", "name": "their names"}


@click.command("models")
@click.argument("name", required=False)
@click.option("--provider", type=click.Choice(cards.PROVIDERS), help="Only this provider's.")
@click.option("--json", "wants_json", is_flag=True, help="The result as JSON on stdout.")
def command(name: str | None, provider: str | None, wants_json: bool) -> int:
    """List the models with what they make and cost; with NAME (an id or a family), everything known about it."""
    shown = [card for each in ([provider] if provider else cards.PROVIDERS) for card in cards.load(each).values()]
    if name is not None:
        known = list(dict.fromkeys(word for card in shown for word in (card.model, card.family)))
        shown = [card for card in shown if name in (card.model, f"{card.provider}/{card.model}")] or [
            card for card in shown if name == card.family
        ]
        if not shown:
            raise UsageError(f"there is no model `{name}`", nearest.hint(name, known))
    if wants_json:
        click.echo(json.dumps(as_json(shown), indent=2, ensure_ascii=False))
    elif name is not None:
        click.echo("\n\n".join(details(card).rstrip() for card in shown))
    else:
        click.echo(table(shown).rstrip())
    return 0


def table(shown: Iterable[ModelCard]) -> str:
    """A row per card, then where the prices are from. Prices stand in the order of the resolutions."""
    listed = list(shown)
    rows = [HEADS, *(row for card in listed for row in _rows(card))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *_footer(listed)]) + "\n"


def details(card: ModelCard) -> str:
    """Everything that is known of one model, with the source and date of each price."""
    from textwrap import wrap

    facts = cards.facts(card)
    also = f" (also {', '.join(facts['aliases'])})" if facts.get("aliases") else ""
    title = (
        "the animatic"
        if card.provider == "animatic"
        else f"{card.model} on {card.provider}, family {card.family}{also}"
    )
    lines = [title, *wrap(card.schema["description"], WIDTH), ""]
    if card.warning:
        lines += [*wrap(f"Warning: {card.warning}", WIDTH), ""]
    lines += [f"  {name:<16}{text}" for name, text in _limits(card, facts)]
    lines += ["", "Sizes"]
    for resolution, row in card.sizes.items():
        lines.append(f"  {resolution:<6}" + "  ".join(f"{ratio} {w}x{h}" for ratio, (w, h) in row.items()))
    lines += ["", "Prices per second"]
    lines += [f"  {_price(price):<30}{price.as_of}  {price.source}" for price in card.prices]
    if not card.prices:
        lines.append(f"  {_unpriced(card)}")
    notes = [*(row["sentence"] for row in facts.get("cautions", ())), *facts["notes"]]
    lines += (
        [
            "",
            "Notes",
            *(line for note in notes for line in wrap(note, WIDTH, initial_indent="  ", subsequent_indent="    ")),
        ]
        if notes
        else []
    )
    lines += ["", "Sources", *(f"  {source}" for source in card.sources)] if card.sources else []
    return "\n".join(lines) + "\n"


def as_json(shown: Iterable[ModelCard]) -> list[dict[str, Any]]:
    """The cards as data: the facts, and under `limits` what each mode takes of each setting (false: not at all)."""
    return [
        {
            "provider": card.provider,
            "model": card.model,
            "description": card.schema["description"],
            **cards.facts(card),
            "limits": {
                mode: {field: _bare(cards.rule(card, mode, field)) for field in SETTINGS} for mode in card.modes
            },
        }
        for card in shown
    ]


def _rows(card: ModelCard) -> Iterator[tuple[str, ...]]:
    made_from = _wrapped(card.modes)
    prices = list(_price_lines(card))
    for line in range(max(len(made_from), len(prices))):
        price, date = prices[line] if line < len(prices) else ("", "")
        modes = made_from[line] if line < len(made_from) else ""
        first = (card.provider, card.model, modes, _seconds(card), " ".join(_resolutions(card)))
        yield (*(first if line == 0 else ("", "", modes, "", "")), price, date)


def _wrapped(words: Iterable[str]) -> list[str]:
    lines: list[str] = []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= MODES:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _price_lines(card: ModelCard) -> Iterator[tuple[str, str]]:
    """Prices in the card's first currency, with their date; a line for each kind of sound that has its own."""
    if not card.prices:
        yield ("free" if card.provider == "animatic" else "unknown"), ""
        return
    currency = card.prices[0].currency
    for audio in dict.fromkeys(price.audio for price in card.prices):
        mine = {p.resolution: p for p in card.prices if p.currency == currency and p.audio is audio}
        amounts = [str(mine[tier].per_second) if tier in mine else "?" for tier in _resolutions(card)]
        kind = ", silent" if audio is False else f" {currency}"
        yield " ".join(amounts) + kind, max(price.as_of for price in mine.values())


def _footer(listed: list[ModelCard]) -> Iterator[str]:
    sources = dict.fromkeys((price.as_of, price.source, card.provider) for card in listed for price in card.prices)
    if sources:
        yield ""
    for as_of, source, provider in sources:
        yield f"{provider}, {as_of}: {source}"
    unpriced = dict.fromkeys(card.provider for card in listed if not card.prices and card.provider != "animatic")
    if unpriced:
        yield ""
        yield "Unknown is not free: ask the provider, and put the price under `prices:` in the plan."


def _limits(card: ModelCard, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Name and text of each line of `details`."""
    yield "made from", ", ".join(card.modes)
    yield "seconds", f"{_seconds(card)}; {card.default_seconds} unless told"
    yield "resolution", f"{', '.join(_resolutions(card))}; {card.default_resolution} unless told"
    for field in ("aspect_ratio", "prompt", "negative_prompt", "seed", "prompt_extend", "watermark", "shot_type"):
        yield field, _taken(card, field)
    sound = {"always": "always", "optional": "unless `audio: none`", "never": "never"}[card.sound]
    yield "sound", f"{sound}; audio file: {_taken(card, 'audio_file')}"
    yield "first_frame", _taken(card, "first_frame")
    yield "last_frame", _taken(card, "last_frame")
    yield "references", _taken(card, "references")
    if facts.get("references"):
        counts = ", ".join(
            f"{most} {'in all' if kind == 'total' else kind}" for kind, most in facts["references"].items()
        )
        yield "", f"at most {counts}; prompts call them {WORDS[card.reference_words]}"
    if card.billed_reference_seconds:
        yield "", f"reference videos are billed too, {card.billed_reference_seconds} s at most"
    how = ", ordered by shot_type" if card.shot_type_field else ", told in the prompt"
    yield "several shots", f"one clip{how}" if card.multi_shot else "a clip each"
    yield "frame rate", str(card.frame_rate)
    limits = facts["rate_limits"]
    known = (
        f"{limits['creates_per_second']} orders a second, {limits['running']} running at once" if limits else "unknown"
    )
    yield "rate limits", "none" if card.provider == "animatic" else known
    yield "keeps clips", "as long as you like" if card.keeps_hours is None else f"{card.keeps_hours} hours"
    yield "failed clips", "cost nothing" if card.free_when_failed else "may cost: nothing is promised"
    if card.retires:
        yield "retires", card.retires


def _taken(card: ModelCard, field: str) -> str:
    """What the modes take of a setting: "up to 1500 characters", "yes; not from image"."""
    rules = {mode: cards.rule(card, mode, field) for mode in card.modes}
    able = [rule for rule in rules.values() if rule is not False]
    if not able:
        return "not taken"
    most = able[0]
    if "maxLength" in most:
        text = f"up to {most['maxLength']} characters, each code point one"
    elif "enum" in most:
        text = ", ".join(most["enum"])
    elif "maximum" in most:
        text = f"{most['minimum']} to {most['maximum']}"
    else:
        text = "yes"
    refusing = [mode for mode, rule in rules.items() if rule is False]
    return text + (f"; not with {' or '.join(refusing)}" if refusing else "")


def _seconds(card: ModelCard) -> str:
    rule = cards.rule(card, card.modes[0], "seconds") or {}
    if "enum" in rule:
        return " ".join(str(value) for value in rule["enum"])
    return f"{rule['minimum']}-{rule['maximum']}" if "minimum" in rule else f"to {rule['maximum']}"


def _resolutions(card: ModelCard) -> list[str]:
    rule = cards.rule(card, card.modes[0], "resolution") or {}
    return list(rule["enum"])


def _price(price: Price) -> str:
    sound = {True: ", with sound", False: ", silent", None: ""}[price.audio]
    return f"{price.resolution:<6}{price.per_second} {price.currency}{sound}"


def _unpriced(card: ModelCard) -> str:
    if card.provider == "animatic":
        return "free"
    tier = card.default_resolution
    return f"unknown; in the plan: prices: {{{card.provider}/{card.model}: {{currency: USD, {tier}: 0.10}}}}"


def _bare(rule: Mapping[str, Any] | bool) -> dict[str, Any] | bool:
    """A rule without what is there for editors."""
    if isinstance(rule, bool):
        return rule
    return {key: value for key, value in rule.items() if key not in {"description", "examples"}}
