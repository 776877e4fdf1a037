"""Did-you-mean: the nearest word that would have been right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MANY = 20


def hint(word: str, known: Iterable[str]) -> str:
    """A hint for a wrong word: the nearest known one, else all of them if they are few."""
    from difflib import get_close_matches

    words = list(known)
    close = get_close_matches(word, words, n=1) or get_close_matches(word.casefold(), words, n=1)
    if close:
        return f"did you mean `{close[0]}`?"
    if not words:
        return ""
    shown = ", ".join(words[:MANY])
    return f"known: {shown}" + (f" and {len(words) - MANY} more" if len(words) > MANY else "")
