"""Texts from elsewhere as the command line prints them: without keys, and with nothing that a terminal obeys."""

from __future__ import annotations

import json
import os
import re
import traceback
from typing import Any

from storyrun.cli.show.text import HARMFUL, safe


def line(text: str) -> str:
    """A text on one line."""
    return safe(without_keys(text))


def lines(text: str) -> str:
    """A text that may have several lines."""
    return "\n".join(safe(each) for each in text.split("\n"))


def as_json(value: Any) -> str:
    """JSON for people and programs. What could hide, reorder or command is escaped, and means the same to a program."""
    return _BEYOND_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=2, ensure_ascii=False))


def trace(error: BaseException) -> str:
    """The traceback of an error: files, lines and messages, as Python prints it."""
    return lines(without_keys("".join(traceback.format_exception(error)).rstrip()))


def without_keys(text: str) -> str:
    """A text without the keys of this environment, however it came by them, and without signed URLs."""
    from storyrun import providers
    from storyrun.cli import surroundings
    from storyrun.http.words import SHORTEST_PIECE, Secret, without_secrets

    try:
        env = surroundings.environment()
    except (OSError, ValueError):  # a `.env` that cannot be read may be the very error that is told here
        env = os.environ
    values = [env.get(settings.key, "").strip() for settings in providers.ENVIRONMENTS.values()]
    return without_secrets(text, *(Secret(value) for value in values if len(value) >= SHORTEST_PIECE))


_BEYOND_ASCII = re.compile(HARMFUL.pattern.replace("\x00-\x1f", ""))
"""What `json.dumps` leaves as it is and a terminal does not."""
