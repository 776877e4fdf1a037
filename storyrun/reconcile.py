"""What was quoted, ordered, delivered and billed, side by side.

What was billed is what the provider's `usage` says, never more:

    duration                    seconds that are billed: what was made and, with reference videos, what was shown
    input_video_duration        how much of it was shown
    video_duration              up to Wan 2.5, where nothing but what was made is billed
    video_count                 clips
    SR                          the resolution that is billed, 720 for 720p
    amount or cost, currency    money; nobody documents it today, and where it is said nothing else counts

Seconds become money at the price per second that was quoted, and only where that price holds: one clip of the ordered
resolution. A `duration` beside reference videos is taken only if the usage says that their seconds are in it. Fewer
seconds than were ordered are told as a difference and free no money: they may be another unit, or a part. What is
absent, no number or 0 says nothing: then what was reserved goes on counting.

Sources: help.aliyun.com/zh/model-studio, the API pages of wan2.7, wan2.6 and wan2.5 (usage) and model-pricing (billed
seconds of reference-to-video are output and input); docs.toapis.com and the answers of TokenHub have the same words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun import cards
from storyrun.records import Money, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storyrun.records import Attempt

TOLERANCE = Fraction(1, 4)
"""Seconds by which a length may differ without a word, as for clips that are not as ordered."""

MOST = 10**9
"""Above this a number in a usage is nonsense."""

_EXACT = Context(prec=50, rounding=ROUND_CEILING)


@dataclass(frozen=True)
class Usage:
    """What a usage says in numbers. None: it does not say."""

    seconds: Fraction | None = None
    """Billed seconds."""
    shown: Fraction | None = None
    """Those of them that are reference video."""
    clips: int | None = None
    resolution: str | None = None
    money: Money | None = None


@dataclass(frozen=True)
class Account:
    """One order: `quoted` what it was to cost at most, seconds ordered, delivered and billed, money billed.

    `differences` are sentences that read on from a clip's name: "billed 10 s of 5 s".
    """

    quoted: Money | None
    ordered_seconds: Fraction
    delivered_seconds: Fraction | None
    billed_seconds: Fraction | None
    billed: Money | None
    differences: tuple[str, ...]


def read(usage: Mapping[str, Any]) -> Usage:
    """The numbers of a usage, from whichever provider. What is none says nothing."""
    seconds = _number(usage.get("duration")) or _number(usage.get("video_duration"))
    shown = _number(usage.get("input_video_duration"), zero=True)
    if "duration" not in usage and seconds is not None:
        shown = Fraction(0)
    clips = _number(usage.get("video_count"))
    lines = _number(usage.get("SR"))
    return Usage(
        seconds,
        shown,
        int(clips) if clips and clips.denominator == 1 else None,
        f"{lines.numerator}p" if lines and lines.denominator == 1 else None,
        _money(usage),
    )


def billed(attempt: Attempt, usage: Mapping[str, Any], *, failed: bool = False) -> Money | None:
    """What an attempt costs by its usage; None where that is not said or does not follow.

    `failed`: the task has failed, so that every billed second counts. An amount that had to be rounded is rounded up,
    and not `exact`.
    """
    said, reserved = read(usage), attempt.reserved
    if said.money is not None:
        return said.money
    if reserved is None or not reserved.amount or said.seconds is None:
        return None
    if said.clips not in (None, 1) or said.resolution not in (None, attempt.job.get("billed_resolution")):
        return None
    ordered, quoted = _ordered(attempt), _quoted_seconds(attempt)
    if quoted is None or (_shows_video(attempt) and said.shown is None):
        return None
    short = said.seconds - (said.shown or 0) < ordered - TOLERANCE
    if short and not (failed and attempt.free_when_failed):
        return None
    total = Fraction(reserved.amount) * said.seconds / quoted
    if total == reserved.amount:
        return Money(reserved.amount, reserved.currency)
    amount = _EXACT.divide(Decimal(total.numerator), Decimal(total.denominator))
    places = next((each for each in (Decimal("0.01"), Decimal("0.000001")) if total % Fraction(each) == 0), None)
    amount = amount.quantize(places or Decimal("0.000001"), rounding=ROUND_CEILING, context=_EXACT)
    return Money(amount, reserved.currency, exact=places is not None)


def account(attempt: Attempt) -> Account:
    """The account of one order as the ledger holds it."""
    said = read(attempt.usage)
    ordered = _ordered(attempt)
    delivered = attempt.media.duration if attempt.media and attempt.state is State.DONE else None
    amount = _billed(attempt)
    return Account(
        quoted=attempt.reserved,
        ordered_seconds=ordered,
        delivered_seconds=delivered,
        billed_seconds=said.seconds,
        billed=amount,
        differences=tuple(_differences(attempt, said, amount, ordered, delivered)),
    )


def earlier(attempts: Iterable[Attempt]) -> list[str]:
    """The differences of orders that came to nothing and were billed, for the account of a newer one."""
    return [
        f"billed {_written(amount)} for an earlier try that failed"
        for attempt in attempts
        if attempt.state is State.FAILED and (amount := _billed(attempt))
    ]


def _billed(attempt: Attempt) -> Money | None:
    """What the ledger holds, which counts; else what follows from the usage that it holds."""
    return attempt.billed or billed(attempt, attempt.usage, failed=attempt.state is State.FAILED)


def _differences(
    attempt: Attempt, said: Usage, amount: Money | None, ordered: Fraction, delivered: Fraction | None
) -> Iterable[str]:
    if attempt.state is State.FAILED and (said.seconds or amount):
        yield f"billed {_written(amount) if amount else _seconds(said.seconds)} though it failed"
    made = None if said.seconds is None else said.seconds - (said.shown or 0)
    shows = _shows_video(attempt) and said.shown is None
    if made is not None and abs(made - ordered) > TOLERANCE and not shows:
        yield f"billed {_seconds(made)} of {_seconds(ordered)}"
    if made is not None and delivered is not None and abs(made - delivered) > TOLERANCE and not shows:
        yield f"billed {_seconds(made)}, delivered {_seconds(delivered)}"
    if said.clips not in (None, 1):
        yield f"billed {said.clips} clips for 1"
    resolution = attempt.job.get("billed_resolution")
    if said.resolution not in (None, resolution):
        yield f"billed as {said.resolution}, ordered {resolution}"
    quoted = attempt.reserved
    if amount and quoted and not _as_quoted(amount, quoted):
        yield f"billed {_written(amount)}, quoted {_written(quoted)}"


def _as_quoted(amount: Money, quoted: Money) -> bool:
    """Whether this is the quoted amount, or one below a bound."""
    below = amount.amount <= quoted.amount and not quoted.exact
    return amount.currency == quoted.currency and (amount.amount == quoted.amount or below)


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _ordered(attempt: Attempt) -> Fraction:
    return Fraction(str(attempt.job["length"]))


def _quoted_seconds(attempt: Attempt) -> Fraction | None:
    """The seconds behind what was reserved: the clip's, and with reference videos the most that the card bills."""
    length = _ordered(attempt)
    if attempt.reserved is None or attempt.reserved.exact:
        return length or None
    provider = attempt.provider.partition("@")[0]
    try:
        card = cards.choose(provider, attempt.model, attempt.job["mode"])
    except cards.UnknownModel:
        return None
    return length + card.billed_reference_seconds if card.billed_reference_seconds else None


def _shows_video(attempt: Attempt) -> bool:
    """Whether the order carries reference videos, whose seconds may be billed, too."""
    media = (medium for reference in attempt.job.get("references", ()) for medium in reference["media"])
    return any(medium["kind"] == "video" for medium in media)


def _number(value: object, *, zero: bool = False) -> Fraction | None:
    """A number from anywhere, also written as a text; None for what is none or makes no sense."""
    if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 40:
        return None
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or not 0 <= number <= MOST or number.adjusted() < -9:
        return None
    return Fraction(number) if number or zero else None


def _money(usage: Mapping[str, Any]) -> Money | None:
    """An amount with its currency. One without is credits or whatever, and says nothing."""
    currency = usage.get("currency")
    found = _number(usage.get("amount")) or _number(usage.get("cost"))
    if found is None or not isinstance(currency, str) or not re.fullmatch(r"[A-Z]{3}", currency):
        return None
    return Money(_EXACT.divide(Decimal(found.numerator), Decimal(found.denominator)), currency)


def _seconds(value: Fraction | None) -> str:
    return f"{float(value or 0):.10g} s"


def _written(money: Money) -> str:
    whole, _, decimals = f"{money.amount:.6f}".rstrip("0").partition(".")
    return f"{'' if money.exact else '~'}{whole}.{decimals:0<2} {money.currency}".rstrip()
