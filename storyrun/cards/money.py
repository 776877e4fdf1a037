"""What a clip costs on a card."""

from __future__ import annotations

from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from storyrun.records import Money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storyrun.records import ModelCard, Price

NOTHING = Fraction(0)

_EXACT = Context(prec=50, rounding=ROUND_CEILING)
"""Its own context: whatever the caller's is, a price is never rounded down."""


def rate(
    card: ModelCard, own: Sequence[Price], *, resolution: str, sounding: bool, currency: str | None = None
) -> Price | None:
    """The price per second that holds: the plan's own where it has one, else the card's; None when none is known.

    `currency` chooses among several (on dashscope the host decides it); unset, the card's first counts: USD on
    dashscope. The plan's own price is taken in whatever currency it was written.
    """

    def fits(price: Price) -> bool:
        return price.resolution == resolution and price.audio in (None, sounding)

    mine = [price for price in own if fits(price)]
    if mine:
        return next((price for price in mine if price.currency == currency), mine[0])
    wanted = currency or next((price.currency for price in card.prices), None)
    return next((price for price in card.prices if fits(price) and price.currency == wanted), None)


def price(
    card: ModelCard,
    own: Sequence[Price],
    *,
    resolution: str,
    seconds: Fraction,
    sounding: bool,
    reference_seconds: Fraction | None = NOTHING,
    currency: str | None = None,
) -> Money | None:
    """What one clip costs; None when no price is known (which is not zero).

    `reference_seconds` is how much reference video goes along: 0 for none, None when that cannot be known. Providers
    cut each video before they bill it, so with any the amount is an upper bound (`exact` is False) and the card's cap
    is the most that counts.
    The animatic's own card costs nothing, in no currency.
    """
    if card.provider == "animatic":
        return Money(Decimal(0), "")
    per_second = rate(card, own, resolution=resolution, sounding=sounding, currency=currency)
    if per_second is None:
        return None
    cap = card.billed_reference_seconds
    billed = cap if reference_seconds is None else min(cap, reference_seconds)
    total = seconds + billed
    amount = _EXACT.multiply(per_second.per_second, Decimal(total.numerator))
    if total.denominator != 1:
        amount = _EXACT.divide(amount, Decimal(total.denominator))
    return Money(amount, per_second.currency, exact=billed == 0)
