"""The texts that a person reads, and the same as JSON. Pure: records and manifests in, text out; nothing is printed.

quotes    before a run: what it would order, why and for how much
standing  after it, and at any time: what was made, what is open, what needs a decision, the next line to type
text      columns, folds, money, harmless characters
"""

from __future__ import annotations

from storyrun.cli.show.quotes import clip_text, costs, question, quote_text, saving_text
from storyrun.cli.show.quotes_json import quote_json
from storyrun.cli.show.standing import Beside, next_lines, status_json, status_text, summary_text
from storyrun.cli.show.text import plural, quoted, safe

__all__ = [
    "Beside",
    "clip_text",
    "costs",
    "next_lines",
    "plural",
    "question",
    "quote_json",
    "quote_text",
    "quoted",
    "safe",
    "saving_text",
    "status_json",
    "status_text",
    "summary_text",
]
