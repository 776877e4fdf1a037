"""What a plan costs, and what is already there. Needs no key and no network, and writes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from storyrun import cards, retry, states
from storyrun.quote import ceilings, changes
from storyrun.records import Money, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from fractions import Fraction
    from pathlib import Path

    from storyrun.ledger import Ledger
    from storyrun.quote.ceilings import Counted
    from storyrun.quote.changes import Change
    from storyrun.quote.savings import Saving
    from storyrun.records import Attempt, Job, MediaSource, Plan, Price

Status = Literal[
    "reused", "file missing", "open", "new", "changed", "failed before", "refused before", "needs you", "abandoned"
]
"""What the next run would do with a clip: take what is there, get a lost file again, wait for it, order it (new,
changed, failed before), or leave it until the text changes (refused before) or a person decides (needs you) or has
decided (abandoned)."""

ORDERED: frozenset[Status] = frozenset({"new", "changed", "failed before"})

_LIVE: Mapping[State, Status] = {
    State.DONE: "reused",
    State.ACCEPTED: "open",
    State.READY: "open",
    State.SENDING: "needs you",
    State.UNKNOWN: "needs you",
    State.EXPIRED: "needs you",
    State.ABANDONED: "abandoned",
}


@dataclass(frozen=True)
class ClipQuote:
    """One clip of the plan: where it stands, and what ordering it would cost.

    `chosen` is False for what `--only` leaves out. `attempt` is the ledger row behind the status: the live one, the
    failed one, or the one today's job differs from. `price` is what ordering it would cost at most, None when no price
    is known; `rate` is the price per second behind it. `refused` says why a ceiling would refuse it, "" if none would.
    """

    job: Job
    chosen: bool
    status: Status
    attempt: Attempt | None
    changes: tuple[Change, ...]
    price: Money | None
    rate: Price | None
    refused: str = ""

    @property
    def orderable(self) -> bool:
        """Whether the next run would order it if it is chosen: nothing is bought that counts for it."""
        return self.status in ORDERED

    @property
    def ordered(self) -> bool:
        """Whether the next run would order it."""
        return self.chosen and self.orderable


@dataclass(frozen=True)
class Row:
    """Clips of one scene that stand alike, as the table shows them.

    `seconds` is the sum over the clips. `price` is what the next run would pay for them: nothing for those it does not
    order, None when a price is unknown.
    """

    scene: str
    clips: tuple[ClipQuote, ...]
    seconds: Fraction
    model: str
    status: Status
    changes: tuple[Change, ...]
    price: Money | None


@dataclass(frozen=True)
class ModelTotal:
    """What one model would be paid in one currency. `clips` and `seconds` count what is ordered.

    `rates` are the prices per second behind it, each once; `price` is None where none is known.
    """

    model: str
    clips: int
    seconds: Fraction
    price: Money | None
    rates: tuple[Price, ...] = ()


@dataclass(frozen=True)
class Quote:
    """The whole plan, in storyboard order.

    `now` and `spent` are sums by currency; clips without a known price are not in them but counted in `unpriced`
    (to order) and `spent_unpriced` (ordered before). `uploads` are the local files that would leave this machine.
    `key` names the environment variable that must be set to order, "" on the animatic; `key_set` says whether it is.
    `counted` is what counts against the budget already; `savings` what would fit where a ceiling
    refuses something, None where nobody asked.
    """

    plan: Plan
    stem: str
    provider: str
    free: bool
    key: str
    clips: tuple[ClipQuote, ...]
    rows: tuple[Row, ...]
    models: tuple[ModelTotal, ...]
    now: tuple[Money, ...]
    unpriced: int
    spent: tuple[Money, ...]
    spent_unpriced: int
    budget: Money | None
    run_ceiling: Money | None
    uploads: tuple[MediaSource, ...]
    key_set: bool = False
    counted: Counted = ()
    savings: tuple[Saving, ...] | None = None

    @property
    def orders(self) -> tuple[ClipQuote, ...]:
        """The clips that the next run would order."""
        return tuple(clip for clip in self.clips if clip.ordered)

    @property
    def total(self) -> tuple[Money, ...]:
        """What this plan will have cost: now and spent together, by currency."""
        return add((*self.now, *self.spent))

    @property
    def refused(self) -> tuple[ClipQuote, ...]:
        """The clips that a ceiling would refuse."""
        return tuple(clip for clip in self.clips if clip.refused)

    @property
    def prices(self) -> tuple[Price, ...]:
        """The prices used, each once."""
        return tuple(dict.fromkeys(clip.rate for clip in self.clips if clip.chosen and clip.rate))


def add(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """Sums by currency, sorted by it. One upper bound makes the sum one. What has no currency costs nothing."""
    sums: dict[str, Money] = {}
    for money in amounts:
        if money.currency:
            old = sums.get(money.currency, Money(Decimal(0), money.currency))
            sums[money.currency] = Money(old.amount + money.amount, money.currency, old.exact and money.exact)
    return tuple(sums[currency] for currency in sorted(sums))


def make(
    plan: Plan,
    ledger: Ledger | None,
    plan_stem: str,
    provider: str,
    selected: frozenset[str] | None,
    *,
    budget: Money | None,
    run_ceiling: Money | None,
    retry_refused: bool = False,
    key: str = "",
    key_set: bool = False,
    outputs: Path | None = None,
) -> Quote:
    """Quote `plan` against what `ledger` (None: nothing yet) holds for `provider`, as the ledger names it.

    `selected` are the clip ids that `--only` leaves, None for all. `retry_refused` orders again what was refused.
    `outputs` is the folder with the clips, where a finished one is looked for; None: it is taken to be there.
    """
    own = ledger.attempts(plan=plan_stem, provider=provider) if ledger else []
    by_fingerprint = {attempt.fingerprint: attempt for attempt in own}
    by_clip = {attempt.clip: attempt for attempt in own}
    clips: list[ClipQuote] = []
    for job in plan.jobs:
        live = ledger.live(provider, job.fingerprint) if ledger else None
        attempt = live or by_fingerprint.get(job.fingerprint) or by_clip.get(job.id)
        status = _status(job, live, attempt, retry_refused=retry_refused)
        if status == "reused" and live and outputs is not None and not _there(outputs, live):
            status = "file missing"
        found = changes.find(attempt.job, job) if attempt and status == "changed" else ()
        rate = _rate(plan, job)
        chosen = selected is None or job.id in selected
        clips.append(ClipQuote(job, chosen, status, attempt, found, job.quote, rate))
    spent = ledger.spent(plan_stem, provider) if ledger else ()
    counted = ceilings.counted(states.cost(attempt) for attempt in own)
    priced = ceilings.judge(clips, counted, budget, run_ceiling)
    orders = [clip for clip in priced if clip.ordered]
    free = plan.provider == "animatic"
    return Quote(
        plan=plan,
        stem=plan_stem,
        provider=provider,
        free=free,
        key="" if free else key,
        clips=priced,
        rows=_rows(priced),
        models=_models(orders),
        now=add(clip.price for clip in orders if clip.price),
        unpriced=sum(clip.price is None for clip in orders),
        spent=add(spent),
        spent_unpriced=ledger.unpriced(plan_stem, provider) if ledger else 0,
        budget=budget,
        run_ceiling=run_ceiling,
        uploads=() if free else _uploads(orders),
        key_set=key_set,
        counted=counted,
    )


def _status(job: Job, live: Attempt | None, attempt: Attempt | None, *, retry_refused: bool) -> Status:
    if live:
        return _LIVE[live.state]
    if attempt is None or (attempt.fingerprint == job.fingerprint and attempt.state is State.SUPERSEDED):
        return "new"
    if attempt.fingerprint != job.fingerprint:
        return "changed"
    return "failed before" if retry.orders_again(attempt, retry_refused=retry_refused) else "refused before"


def _there(outputs: Path, attempt: Attempt) -> bool:
    return (outputs / attempt.plan / attempt.provider / attempt.file).is_file()


def _rate(plan: Plan, job: Job) -> Price | None:
    card = plan.cards.get(job.model)
    if card is None or job.quote is None or not job.quote.currency:
        return None
    own = plan.storyboard.prices.get(f"{card.provider}/{card.model}", ())
    currency = job.quote.currency
    return cards.rate(card, own, resolution=job.billed_resolution, sounding=job.sounding, currency=currency)


def _rows(clips: Sequence[ClipQuote]) -> tuple[Row, ...]:
    groups: dict[tuple[object, ...], list[ClipQuote]] = {}
    for clip in clips:
        if clip.chosen:
            currency = clip.price.currency if clip.price else None
            alike = tuple((change.field, change.mark) for change in clip.changes)
            groups.setdefault((clip.job.scene, clip.job.model, clip.status, alike, currency), []).append(clip)
    # A scene's rows stay together, in the order in which its first clips come.
    scenes = {scene: place for place, scene in enumerate(dict.fromkeys(clip.job.scene for clip in clips))}
    ordered = sorted(groups.values(), key=lambda group: scenes[group[0].job.scene])
    return tuple(
        Row(
            scene=group[0].job.scene,
            clips=tuple(group),
            seconds=_seconds(group),
            model=group[0].job.model,
            status=group[0].status,
            changes=group[0].changes,
            price=_price(group),
        )
        for group in ordered
    )


def _models(orders: Sequence[ClipQuote]) -> tuple[ModelTotal, ...]:
    groups: dict[tuple[str, str], list[ClipQuote]] = {}
    for clip in orders:
        groups.setdefault((clip.job.model, clip.price.currency if clip.price else ""), []).append(clip)
    return tuple(
        ModelTotal(
            model,
            len(group),
            _seconds(group),
            _price(group),
            tuple(dict.fromkeys(clip.rate for clip in group if clip.rate)),
        )
        for (model, _), group in sorted(groups.items())
    )


def _seconds(clips: Sequence[ClipQuote]) -> Fraction:
    from fractions import Fraction

    return sum((clip.job.length for clip in clips), Fraction(0))


def _price(clips: Sequence[ClipQuote]) -> Money | None:
    """What the next run pays for clips of one currency."""
    prices = [clip.price for clip in clips if clip.ordered]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return None
    currency = next((clip.price.currency for clip in clips if clip.price), "")
    return Money(sum((p.amount for p in known), Decimal(0)), currency, all(p.exact for p in known))


def _uploads(orders: Sequence[ClipQuote]) -> tuple[MediaSource, ...]:
    """The local files that these clips carry, each once."""
    files: dict[str, MediaSource] = {}
    for clip in orders:
        job = clip.job
        of_references = [source for bound in job.references for source in (*bound.media, bound.voice)]
        for source in (*of_references, job.first_frame, job.last_frame, job.audio_file):
            if source is not None and source.path is not None:
                files.setdefault(source.text, source)
    return tuple(files.values())
