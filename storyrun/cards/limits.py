"""What a card refuses in a finished job, in sentences for people.

The rules are the card's schema; here they get their words. A job that fits costs no jsonschema.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from storyrun import validation
from storyrun.cards.shelf import STARTS, accepts, facts, load, rule, schema_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storyrun.records import ModelCard

_STARTERS = {"image": "first_frame", "frames": "last_frame", "reference": "references"}
"""The setting that gives a scene its mode."""

_PICTURES = ("first_frame", "last_frame")


@dataclass(frozen=True)
class Shortfall:
    """Something in a job that a model does not do. `field` is the scene's setting: seconds, prompt, audio, ..."""

    field: str
    sentence: str
    hint: str = ""


def shortfalls(card: ModelCard, job: Mapping[str, Any]) -> list[Shortfall]:
    """What the card refuses in a job in its JSON form; each field once, with the nearest value that would do."""
    found = [*_too_many(card, job), *_misshapen(card, job)]
    if not validation.fits(job, validation.schema(schema_name(card))):
        found = [*_refused(card, job), *found]
    return found


def _refused(card: ModelCard, job: Mapping[str, Any]) -> list[Shortfall]:
    """What the card's schema refuses."""
    found = [] if job["mode"] in card.modes else [_wrong_mode(card, job)]
    errors: dict[tuple[str | int, ...], Any] = {}
    for error in validation.validator(schema_name(card)).iter_errors(job):
        for path in _places(card, job, error):
            if found and path[0] in {"mode", *_STARTERS.values()}:
                continue
            place = ("audio",) if path == ("audio_file",) else path
            if place not in errors or _weight(error) > _weight(errors[place]):
                errors[place] = error
    found += [_shortfall(card, job, path, error) for path, error in errors.items()]
    return list(dict.fromkeys(found))


def cautions(card: ModelCard, job: Mapping[str, Any]) -> list[Shortfall]:
    """What the provider takes but will not do as written, or may refuse: warnings, not errors."""
    block = facts(card)
    found = []
    if block.get("multi_needs_prompt_extend") and job.get("shot_type") == "multi" and job.get("prompt_extend") is False:
        sentence = f"shot_type multi has no effect on {card.model} with prompt_extend false"
        found.append(Shortfall("prompt_extend", sentence, "leave prompt_extend out, or write true"))
    found += [
        Shortfall(row["field"], row["sentence"], row.get("hint", ""))
        for row in block.get("cautions", ())
        if validation.fits(job, row["when"])
    ]
    return found


def _places(card: ModelCard, job: Mapping[str, Any], error: Any) -> list[tuple[str | int, ...]]:
    """The ways to what is wrong: of a missing field, where it would be."""
    path = tuple(error.absolute_path)
    node: Any = job
    for key in path:
        node = node[key]
    if error.validator == "required":
        return [(*path, name) for name in error.validator_value if name not in node]
    if error.validator is not None or node is error.instance:
        return [path]
    # jsonschema drops the last step of the way when the schema of a property is `false`: it is a property with the
    # very value that was refused. Equal small values are one object, so at the top the card is asked which it was.
    same = [key for key, value in node.items() if value is error.instance]
    named = [key for key in same if not path and not accepts(card, job["mode"], key)]
    return [(*path, key) for key in named or same[:1]]


def _weight(error: Any) -> int:
    """Of several errors at one place the one to tell: not taken at all, else the narrower rule."""
    if error.validator is None:
        return 2
    return 1 if "x-when" in error.schema else 0


def _shortfall(card: ModelCard, job: Mapping[str, Any], path: tuple[str | int, ...], error: Any) -> Shortfall:
    field = str(path[0])
    if field == "audio_file":
        return Shortfall("audio", *_file(card, job, path, error))
    if error.validator == "required":
        return Shortfall(field, f"{_who(card)} needs a {field} to make video {STARTS[job['mode']]}")
    if error.validator is None:
        return Shortfall(field, *_not_taken(card, job, path))
    if field in {"first_frame", "last_frame", "references"}:
        return Shortfall(field, *_file(card, job, path, error))
    if field == "seconds":
        return Shortfall(field, *_seconds(card, job, error))
    if field in {"prompt", "negative_prompt"}:
        return Shortfall(field, *_text(card, field, error))
    return Shortfall(field, *_value(card, job, field, error))


def _wrong_mode(card: ModelCard, job: Mapping[str, Any]) -> Shortfall:
    mode = job["mode"]
    able = _any([STARTS[able] for able in card.modes])
    if mode == "text":
        needed = _any([_STARTERS[able] for able in card.modes])
        return Shortfall("prompt", f"{_who(card)} makes no video {STARTS[mode]}", f"it needs {needed}")
    other = next((c.model for c in load(card.provider).values() if c.family == card.family and mode in c.modes), "")
    hint = f"{other} does, and model: {card.family} picks it" if other else ""
    return Shortfall(_STARTERS[mode], f"{_who(card)} makes video {able}, not {STARTS[mode]}", hint)


# ── one field ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _seconds(card: ModelCard, job: Mapping[str, Any], error: Any) -> tuple[str, str]:
    given = job["seconds"]
    allowed = {**(rule(card, job["mode"], "seconds") or {}), **error.schema}
    what = f"shots add up to {_number(given)} s" if len(job.get("shots", ())) > 1 else f"{_number(given)} s"
    if "enum" in allowed:
        values = allowed["enum"]
        only = " only" if len(values) == 1 else ""
        makes, near = f"{_any(values)} s{only}", [v for v in values if abs(v - given) == _distance(values, given)]
    else:
        low, high = allowed.get("minimum", 0), allowed["maximum"]
        whole = low and given != int(given)
        makes = f"{low} to {high} s" if low else f"more than 0 and up to {high} s"
        makes += ", whole seconds" if whole else ""
        near = sorted({min(max(v, low), high) for v in (int(given // 1), int(-(-given // 1)))})
    when = f" {error.schema['x-when']}" if "x-when" in error.schema else ""
    return f"{what}; {_who(card)} makes {makes}{when}", f"nearest: {_any(near)} s" if any(near) else ""


def _text(card: ModelCard, field: str, error: Any) -> tuple[str, str]:
    if error.validator == "minLength":
        return f"the {field} is empty; {card.model} needs one", ""
    # len() counts code points, as the providers say they do.
    given, most = len(error.instance), error.validator_value
    return f"{field} is {given} characters; {card.model} takes {most}", f"{given - most} too many"


def _value(card: ModelCard, job: Mapping[str, Any], field: str, error: Any) -> tuple[str, str]:
    given = error.instance
    if error.validator in {"minimum", "maximum"}:
        bounds = rule(card, job["mode"], field) or {}
        return f"{field} is {_number(given)}; {card.model} takes {bounds['minimum']} to {bounds['maximum']}", ""
    if field == "audio" and given == "none":
        return (
            f"{_who(card)} always makes sound: it has no silent clips",
            "leave `audio` out and mute the clip in the cut",
        )
    if error.validator != "enum":
        return f"{field} is {given}; {_who(card)} does not take that: {error.message}", ""
    values = error.validator_value
    when = f" {error.schema['x-when']}" if "x-when" in error.schema else ""
    verb = "makes" if field in {"resolution", "aspect_ratio"} else "takes"
    measure = {"resolution": _lines, "aspect_ratio": _shape}.get(field)
    hint = (
        f"nearest: {min(values, key=lambda v: abs(measure(v) - measure(given)))}" if measure and measure(given) else ""
    )
    return f"{_who(card)} has no {given}{when}; it {verb} {_any(values, 'and')}", hint


def _not_taken(card: ModelCard, job: Mapping[str, Any], path: tuple[str | int, ...]) -> tuple[str, str]:
    """A field that the schema has as `false`."""
    field, mode = str(path[-1]), job["mode"]
    if field == "audio":
        silent = card.sound == "never"
        return f"{card.model} is silent: it takes no audio file" if silent else f"{_who(card)} takes no audio file", ""
    if field == "voice":
        return f"{_who(card)} takes no voice with a reference", ""
    if field == "first_frame" and mode == "reference" and "image" in card.modes:
        return f"{_who(card)} takes a first_frame or references, not both", ""
    hint = ""
    if field == "aspect_ratio" and mode in {"image", "frames"}:
        hint = "the first frame decides the shape"
    elif field == "shot_type" and card.multi_shot and not card.shot_type_field:
        hint = "it reads the shots from the prompt"
    elsewhere = any(accepts(card, other, field) for other in card.modes)
    return f"{_who(card)} takes no {field}" + (f" when it starts {STARTS[mode]}" if elsewhere else ""), hint


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _file(card: ModelCard, job: Mapping[str, Any], path: Sequence[str | int], error: Any) -> tuple[str, str]:
    if error.validator is None:
        return _not_taken(card, job, path=tuple(path))
    node: Any = job
    media: Mapping[str, Any] = {}
    for key in path:
        node = node[key]
        if isinstance(node, dict) and "text" in node:
            media = node
    name, kind = media.get("text", path[0]), media.get("kind", "file")
    match error.validator:
        case "const":
            hint = f"{name} can be the scene's first_frame" if kind == "image" and "image" in card.modes else ""
            article = "a" if kind == "video" else "an"
            return f"{name} is {article} {kind}; {_who(card)} takes {error.validator_value}s as references", hint
        case "pattern":
            takes = error.schema["description"]
            if takes.startswith("by "):
                return (
                    f"{name} is a local file; {card.provider} takes {kind} {takes}",
                    "put it online and write the URL",
                )
            return f"{name}: {card.model} takes {takes}", ""
        case "minItems":
            voice = job["references"][path[1]]["name"]
            return f"{voice} is a voice alone; {_who(card)} takes a voice with a picture or a film of who speaks", ""
        case "maximum" if path[-1] == "bytes":
            most = _megabytes(error.validator_value)
            return f"{name} is {_megabytes(error.instance)}; {card.model} takes up to {most}", ""
        case "minimum" | "maximum":
            wide, high = media["pixels"]
            verb = "at least" if error.validator == "minimum" else "at most"
            return f"{name} is {wide}x{high} pixels; {card.model} takes sides of {verb} {error.validator_value}", ""
    return f"{name}: {error.message}", ""


def _too_many(card: ModelCard, job: Mapping[str, Any]) -> Iterator[Shortfall]:
    """References over the card's numbers. A schema cannot count over the names that they are listed under."""
    most = facts(card).get("references", {})
    media = [item for reference in job.get("references", ()) for item in reference["media"]]
    counts = {kind: sum(item["kind"] == kind for item in media) for kind in ("image", "video")}
    for kind, given in counts.items():
        limit = most.get(f"{kind}s", given)
        if given > limit:
            plural = "" if limit == 1 else "s"
            yield Shortfall("references", f"{_who(card)} takes {limit} {kind}{plural}, {given} given")
            return
    if len(media) > most.get("total", len(media)):
        yield Shortfall(
            "references", f"{_who(card)} takes {most['total']} images and videos in all, {len(media)} given"
        )


def _misshapen(card: ModelCard, job: Mapping[str, Any]) -> Iterator[Shortfall]:
    """Pictures longer than the card takes. A schema cannot divide."""
    longest = facts(card).get("longest_shape")
    if longest is None:
        return
    pictures = [(field, job[field]) for field in _PICTURES if field in job]
    pictures += [("references", item) for reference in job.get("references", ()) for item in reference["media"]]
    for field, picture in pictures:
        wide, high = picture.get("pixels", (1, 1))
        if max(wide, high) > longest * min(wide, high):
            shapes = f"1:{longest} to {longest}:1"
            yield Shortfall(field, f"{picture['text']} is {wide}x{high} pixels; {card.model} takes shapes of {shapes}")


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _who(card: ModelCard) -> str:
    return "the animatic" if card.provider == "animatic" else f"{card.model} on {card.provider}"


def _any(values: Sequence[Any], word: str = "or") -> str:
    texts = [value if isinstance(value, str) else _number(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} {word} {texts[-1]}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _distance(values: Sequence[float], given: float) -> float:
    return min(abs(value - given) for value in values)


def _megabytes(count: int) -> str:
    return f"{count / 1048576:.1f}".removesuffix(".0") + " MB"


def _lines(resolution: str) -> float:
    digits = resolution.rstrip("pP")
    return float(digits) if digits.isdecimal() else 0.0


def _shape(ratio: str) -> float:
    """How wide, as width over height; 0 for what is no ratio, or has numbers that nobody could mean."""
    wide, _, high = ratio[:20].partition(":")
    return int(wide) / int(high) if wide.isdecimal() and high.isdecimal() and int(high) else 0.0
