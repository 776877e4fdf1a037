"""A quote for programs: the same as JSON data. Unknown prices are null, never 0."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from storyrun import jobs
from storyrun.cli.show.quotes import saving_text
from storyrun.manifest import money as money_json

if TYPE_CHECKING:
    from storyrun.quote import ClipQuote, Quote
    from storyrun.quote.savings import Saving
    from storyrun.records import Money, Price


def quote_json(quote: Quote, clip: str | None = None) -> dict[str, Any]:
    """The quote as JSON data; `clip` (an id or a pattern) leaves only those clips. Unknown prices are null, never 0."""
    from storyrun.cli.planning import matches

    listed = [each for each in quote.clips if clip is None or matches(each.job.id, clip)]
    return {
        "version": 1,
        "plan": quote.stem,
        "title": quote.plan.storyboard.title or quote.stem,
        "provider": quote.provider,
        "free": quote.free,
        "needs_key": quote.key or None,
        "key_set": quote.key_set if quote.key else None,
        "clips": [clip_json(each) for each in listed],
        "models": [
            {
                "model": m.model,
                "clips": m.clips,
                "seconds": jobs.number(m.seconds),
                "price": _money_json(m.price),
                "rates": [_rate_json(rate) for rate in m.rates],
            }
            for m in quote.models
        ],
        "totals": {
            "clips": len(quote.clips),
            "chosen": sum(each.chosen for each in quote.clips),
            "ordered": len(quote.orders),
            "statuses": dict(Counter(each.status for each in quote.clips)),
            "now": [money_json(each) for each in quote.now],
            "now_unpriced": quote.unpriced,
            "spent": [money_json(each) for each in quote.spent],
            "spent_unpriced": quote.spent_unpriced,
            "total": [money_json(each) for each in quote.total],
            "budget": _money_json(quote.budget),
            "max_cost": _money_json(quote.run_ceiling),
            "refused": len(quote.refused),
        },
        "would_fit": [_saving_json(quote, each) for each in quote.savings or ()],
        "uploads": [{"path": source.text, "bytes": source.bytes, "sha256": source.sha256} for source in quote.uploads],
    }


def clip_json(clip: ClipQuote) -> dict[str, Any]:
    """One clip of a quote as JSON data."""
    job = clip.job
    return {
        "id": job.id,
        "scene": job.scene,
        "variant": dict(job.variant),
        "take": job.take,
        "model": job.model,
        "seconds": jobs.number(job.length),
        "chosen": clip.chosen,
        "ordered": clip.ordered,
        "status": clip.status,
        "changes": [
            {
                "field": change.field,
                "line": change.mark.line if change.mark else None,
                "column": change.mark.column if change.mark else None,
                "was": change.was,
                "now": change.now,
            }
            for change in clip.changes
        ],
        "price": _money_json(clip.price),
        "rate": _rate_json(clip.rate),
        "refused": clip.refused or None,
        "attempt": clip.attempt.id if clip.attempt else None,
        "fingerprint": job.fingerprint,
    }


def _saving_json(quote: Quote, saving: Saving) -> dict[str, Any]:
    """What would fit: settings to write into scenes, options to type, what is then ordered."""
    return {
        "change": saving_text(quote, saving),
        "takes": saving.takes,
        "fewer_in": list(saving.fewer_in),
        "resolution": saving.resolution,
        "lower_in": list(saving.lower_in),
        "first": saving.first,
        "only": list(saving.only),
        "clips": len(saving.orders),
        "price": [money_json(each) for each in saving.price],
    }


def _money_json(each: Money | None) -> dict[str, Any] | None:
    return money_json(each) if each else None


def _rate_json(rate: Price | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {
        "per_second": float(rate.per_second),
        "resolution": rate.resolution,
        "audio": rate.audio,
        "currency": rate.currency,
        "as_of": rate.as_of,
        "source": rate.source,
    }
