"""Words about values: what a value is called in a sentence, and what was probably meant by it."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from storyrun.validation.fitting import DIGITS, compiled

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = {
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
    "array": "a list",
    "object": "a map",
}
"""JSON types as people say them."""

TRUTH = {"yes": "true", "on": "true", "true": "true", "y": "true", "1": "true"}
TRUTH |= {"no": "false", "off": "false", "false": "false", "n": "false", "0": "false"}
"""Other ways to write true and false, in small letters."""

ALSO_CALLED = {
    "seconds": "duration length time",
    "aspect_ratio": "ratio aspect size format",
    "resolution": "quality size",
    "prompt": "text description",
    "action": "prompt text description",
    "dialogue": "speech line lines voiceover",
    "sound": "audio sfx music",
    "audio": "sound voiceover music voice",
    "camera": "movement move motion",
    "takes": "n count variations",
    "look": "style",
    "id": "name",
    "first_frame": "image start_frame",
    "last_frame": "end_frame",
    "references": "characters cast",
    "matrix": "axes variants",
    "max": "amount limit",
    "images": "image",
    "videos": "video",
}
"""Other people's words for our keys."""


CREDENTIAL = re.compile(
    r"(.*[_-])?(api[_-]?keys?|secrets?|(access[_-]|auth[_-]|bearer[_-])?tokens?|passwords?|credentials?|authorization|auth)",
    re.IGNORECASE,
)
ELSEWHERE = re.compile(
    r"(base|api|callback|webhook|proxy)[_-]?(url|uri|host)|hosts?|endpoints?|headers?|prox(y|ies)|(web)?hooks?|callbacks?"
    r"|commands?|plugins?|\$schemas?|schemas?|\$ref",
    re.IGNORECASE,
)


def never_in_a_plan(key: str) -> str:
    """What to do instead of writing a key that stands for a secret, a host, or something to run; "" for others."""
    if CREDENTIAL.fullmatch(key):
        return "keys belong into the environment (DASHSCOPE_API_KEY, ...) or a file .env, never into a plan"
    if ELSEWHERE.fullmatch(key):
        return "a plan sets no hosts, headers, schemas or hooks; base URLs belong into the environment"
    return ""


def is_template(value: Any) -> bool:
    """Whether a value is a text that must be rendered before it means anything."""
    return isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#"))


def nearest(word: str, known: Sequence[str]) -> str:
    """The known word that was most likely meant; empty when there is none."""
    from difflib import get_close_matches

    def plain(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", text.lower())

    same = [name for name in known if plain(name) == plain(word)]
    called = [name for name in known if word.lower() in ALSO_CALLED.get(name, "").split()]
    return next(iter(same + called + get_close_matches(word.lower(), known, n=1)), "")


def in_form(pattern: str, typed: str) -> str:
    """A text of the form that was asked for, made from one that is near it; empty when it is not near."""
    word = re.sub(r"[^a-z0-9_]+", "-", typed.lower()).strip("-")
    ratio = re.sub(r"\s*[x/×]\s*", ":", typed)
    for text in (typed.strip(), typed.lower(), typed.upper(), word, word.replace("-", "_"), ratio):
        if text and text != typed and compiled(pattern).search(text):
            return text
    return ""


def meant_number(typed: str) -> Decimal | None:
    """The number that someone meant who did not write it as one; infinite or NaN if that was it."""
    text = typed.strip().replace("−", "-")
    text = re.sub(r"^[$€£¥]\s*|\s*(s|secs?|seconds?|USD|EUR|CNY)$|(?<=\d)_(?=\d)", "", text)
    text = re.sub(r"^([+-]?)\.(inf|nan)$", r"\1\2", text.lower())
    if re.fullmatch(r"-?\d+,\d{1,2}", text):
        text = text.replace(",", ".")
    try:
        number = Decimal(int(text, 0)) if re.match(r"0[xob]", text) else Decimal(text)
    except (InvalidOperation, ValueError):
        return None
    return number if not number.is_finite() or abs(number.adjusted()) < DIGITS else None


def show(value: Any) -> str:
    """A value in a sentence: a text as it was typed, anything larger by its kind."""
    if value == "":
        return "an empty text"
    if isinstance(value, str):
        line = value if len(value) <= 40 else f"{value[:37]}..."
        return "`" + line.replace("\n", "⏎") + "`"
    return {list: "a list", dict: "a map", type(None): "nothing"}.get(type(value), f"`{flow(value)}`")


def flow(value: Any) -> str:
    """A value as it can be written on one line of YAML."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f'"{text}"' if re.search(r"[][{},:#]|^[@*&!|>%`\"'?-]", text) else text


def either(words: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
