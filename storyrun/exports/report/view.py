"""A manifest as the page shows it: groups of takes, and of each what its template needs, ready to print."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from storyrun.exports.report import timeline
from storyrun.exports.report.words import amount, moment, money, number, seconds, shortened
from storyrun.exports.report.words import cost as told_cost
from storyrun.exports.report.words import size as told_size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

    from storyrun.exports.report import Standing

    Clip = Mapping[str, Any]

TONES = {
    "done": ("good", "✓"),
    "not ordered": ("calm", "○"),
    "changed": ("calm", "○"),
    "given up": ("calm", "–"),
    "failed": ("bad", "✕"),
    "refused": ("bad", "✕"),
    "missing": ("wait", "↻"),
    "unfinished": ("wait", "↻"),
    "open": ("wait", "…"),
    "expired": ("bad", "!"),
    "unclear": ("bad", "?"),
}
"""Kind of standing to its tone and its sign: what colour says, the sign and the word say too."""

PLAIN = ("calm", "○")

ALT = 140
"""Characters of a prompt that stand for its picture."""


class Compared(NamedTuple):
    """One line of ordered against delivered."""

    name: str
    ordered: str
    delivered: str
    same: bool


@dataclass(frozen=True)
class Shot:
    """One shot with its window. `dialogue` is (speaker or "", text)."""

    index: int
    start: float
    window: str
    head: str
    action: str
    dialogue: tuple[tuple[str, str], ...]
    sound: str
    fragment: str


@dataclass(frozen=True)
class Take:
    """One clip on the page. `key` is its id there; `video` and `poster` are relative URLs, empty where there is none.

    `values` are those of the axes, in the order of the filters; "" where it does not vary.
    """

    key: str
    id: str
    name: str
    scene: str
    values: tuple[str, ...]
    kind: str
    word: str
    tone: str
    sign: str
    say: str
    lines: tuple[tuple[str, str], ...]
    needs_you: bool
    wrong: bool
    picked: bool
    video: str
    poster: str
    width: int
    height: int
    alt: str
    length: str
    cost: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    billing: tuple[str, ...]
    error: str
    compared: tuple[Compared, ...]
    facts: tuple[tuple[str, str], ...]
    sha256: str
    file: str
    request: str


@dataclass(frozen=True)
class Group:
    """The takes of one clip. `texts` are its prompts: one, unless the takes were ordered with different words."""

    key: str
    id: str
    takes: tuple[Take, ...]
    texts: tuple[tuple[str, str, str], ...]
    """(which takes or "", prompt, negative prompt)"""
    shots: tuple[Shot, ...]
    link: str
    """The video in which the shots are found."""


def build(
    manifest: Mapping[str, Any],
    posters: Mapping[str, str],
    standing: Callable[[Clip], Standing],
    zone: tzinfo,
    shown: frozenset[str] | None,
) -> dict[str, Any]:
    """Everything that the template needs but style and script."""
    clips = [clip for clip in manifest["clips"] if shown is None or clip["id"] in shown]
    drawn = manifest["provider"] == "animatic"
    axes = list(dict.fromkeys(axis for clip in clips for axis in clip["variant"]))
    groups = _groups(clips, "c", axes, posters, standing, zone, drawn)
    former = _groups(manifest["former"], "f", axes, posters, standing, zone, drawn)
    takes = [take for group in groups for take in group.takes]
    kinds = Counter(take.kind for take in takes)
    words = {take.kind: take.word for take in takes}
    order = sorted(kinds, key=lambda kind: list(TONES).index(kind) if kind in TONES else len(TONES))
    scenes = list(dict.fromkeys(take.scene for take in takes))
    upright = sum(clip["ordered"]["height"] is not None and clip["ordered"]["height"] > clip["ordered"]["width"]
                  for clip in clips)  # fmt: skip
    return {
        "title": manifest["storyboard"]["title"],
        "plan": manifest["storyboard"]["path"].rpartition("/")[2],
        "plan_sha256": manifest["storyboard"]["sha256"] or "",
        "provider": manifest["provider"],
        "generator": manifest["generator"],
        "sizes": _sizes(manifest, clips, scenes, shown),
        "when": _when(manifest, zone),
        "finished": manifest["finished_at"] is not None,
        "tallies": [(kinds[kind], words[kind], *TONES.get(kind, PLAIN)) for kind in order],
        "total": len(takes),
        "spent": [money(entry) for entry in manifest["totals"]["cost"]],
        "spent_note": _spent_note(manifest),
        "free": all(_free(clip) for clip in (*clips, *manifest["former"])),
        "wrong": sum(take.wrong for take in takes),
        "needy": sum(take.needs_you for group in (*groups, *former) for take in group.takes),
        "groups": groups,
        "former": former,
        "upright": upright * 2 > len(clips),
        "filters": {
            "kinds": [(kind, words[kind], kinds[kind]) for kind in order] if len(order) > 1 else [],
            "scenes": scenes if len(scenes) > 1 else [],
            "axes": [(number, axis, _values(clips, axis)) for number, axis in enumerate(axes)],
            "needs": any(take.needs_you for take in takes),
            "wrong": any(take.wrong for take in takes),
            "picked": any(take.picked for take in takes),
        },
        "timeline": timeline.build([*clips, *manifest["former"]], zone, drawn=drawn),
    }


def films(files: Mapping[str, Sequence[str]], posters: Mapping[str, str]) -> list[tuple[str, str, str, Sequence[str]]]:
    """(name, URL, URL of its picture or "", what is to be said) of each film."""
    return [
        (file.removeprefix("films/").removesuffix(".mp4"), quote(file), quote(posters.get(file, "")), said)
        for file, said in files.items()
    ]


# ── groups and takes ─────────────────────────────────────────────────────────────────────────────────────────────────


def _groups(
    clips: Sequence[Clip],
    letter: str,
    axes: Sequence[str],
    posters: Mapping[str, str],
    standing: Callable[[Clip], Standing],
    zone: tzinfo,
    drawn: bool,
) -> list[Group]:
    """Clips with their other takes. Former clips may share an id: there each stands alone."""
    gathered: dict[str, list[Clip]] = {}
    for place, clip in enumerate(clips):
        gathered.setdefault(group_id(clip) if letter == "c" else str(place), []).append(clip)
    groups = []
    for count, members in enumerate(gathered.values()):
        key = f"{letter}{count}"
        takes = tuple(
            _take(clip, f"{key}t{place}", len(members) > 1, axes, posters, standing(clip), zone, drawn)
            for place, clip in enumerate(members)
        )
        texts: dict[tuple[str, str], list[str]] = {}
        for clip in members:
            texts.setdefault((clip["prompt"], clip["negative_prompt"] or ""), []).append(f"take {clip['take']}")
        link = next((take.video for take in takes if take.video), "")
        groups.append(
            Group(
                key=key,
                id=members[0]["id"] if len(members) == 1 else group_id(members[0]),
                takes=takes,
                texts=tuple((", ".join(who) if len(texts) > 1 else "", *text) for text, who in texts.items()),
                shots=_shots(members[0]),
                link=link,
            )
        )
    return groups


def group_id(clip: Clip) -> str:
    """What the takes of a clip have in common: the id without `#n`."""
    name: str = clip["id"]
    tail = f"#{clip['take']}"
    return name.removesuffix(tail) if clip["take"] > 1 else name


def _take(
    clip: Clip,
    key: str,
    several: bool,
    axes: Sequence[str],
    posters: Mapping[str, str],
    stands: Standing,
    zone: tzinfo,
    drawn: bool,
) -> Take:
    media, ordered = clip["media"] or {}, clip["ordered"]
    tone, sign = TONES.get(stands.kind, PLAIN)
    wrong = bool(clip["problems"]) and clip["status"] == "done"
    if wrong:
        tone, sign = "wait", "≠"
    error = clip["error"]
    return Take(
        key=key,
        id=clip["id"],
        name=f"take {clip['take']}" if several else clip["id"],
        scene=clip["scene"],
        values=tuple(clip["variant"].get(axis, "") for axis in axes),
        kind=stands.kind,
        word=stands.word,
        tone=tone,
        sign=sign,
        say=stands.say,
        lines=stands.lines,
        needs_you=stands.needs_you,
        wrong=wrong,
        picked=clip["picked"],
        video=quote(clip["file"]) if clip["file"] else "",
        poster=quote(posters.get(clip["file"] or "", "")),
        width=media.get("width") or ordered["width"] or 1280,
        height=media.get("height") or ordered["height"] or 720,
        alt=shortened(clip["prompt"], ALT),
        length=seconds(media.get("duration") or ordered["seconds"]),
        cost=told_cost(clip),
        problems=tuple(clip["problems"]),
        warnings=tuple(clip.get("warnings", ())),
        billing=tuple((clip.get("reconciled") or {}).get("differences", ())),
        error=": ".join(part for part in (error["code"], error["message"]) if part) if error else "",
        compared=_compared(clip),
        facts=_facts(clip, zone, drawn),
        sha256=clip["sha256"] or "",
        file=clip["file"] or "",
        request=_request(clip),
    )


def _shots(clip: Clip) -> tuple[Shot, ...]:
    if len(clip["shots"]) < 2 and not any(clip["shots"][0].get(key) for key in ("framing", "camera", "dialogue")):
        return ()  # one shot that says what the prompt says
    return tuple(
        Shot(
            index=shot["index"],
            start=shot["start"],
            window=f"{number(shot['start'])}–{number(shot['end'])} s",
            head=", ".join(shot[key] for key in ("framing", "camera") if shot.get(key)),
            action=shot.get("action", ""),
            dialogue=tuple((line.get("speaker", ""), line["text"]) for line in shot.get("dialogue", ())),
            sound=shot.get("sound", ""),
            fragment=f"#t={number(shot['start'])},{number(shot['end'])}",
        )
        for shot in clip["shots"]
    )


def _compared(clip: Clip) -> tuple[Compared, ...]:
    """Ordered against delivered; only the order where nothing was delivered."""
    ordered, media = clip["ordered"], clip["media"]
    size = f"{ordered['width']} × {ordered['height']}" if ordered["width"] else "as the picture"
    rate = Fraction(ordered["frame_rate"])
    if media is None:
        return (
            Compared("Length", seconds(ordered["seconds"]), "", True),
            Compared("Picture", size, "", True),
            Compared("Frame rate", f"{number(float(rate))} /s", "", True),
            Compared("Sound", "yes" if ordered["sound"] else "no", "", True),
        )
    same_size = not ordered["width"] or (media["width"], media["height"]) == (ordered["width"], ordered["height"])
    sound = media["audio_codec"]
    return (
        Compared("Length", seconds(ordered["seconds"]), seconds(media["duration"]),
                 abs(media["duration"] - ordered["seconds"]) <= 0.25),
        Compared("Picture", size, f"{media['width']} × {media['height']}", same_size),
        Compared("Frame rate", f"{number(float(rate))} /s", f"{number(media['fps'])} /s",
                 abs(media["fps"] - float(rate)) < 0.01),
        Compared("Sound", "yes" if ordered["sound"] else "no", sound or "none", bool(sound) or not ordered["sound"]),
    )  # fmt: skip


def _facts(clip: Clip, zone: tzinfo, drawn: bool) -> tuple[tuple[str, str], ...]:
    """(name, value) of what else is known, where it is known."""
    cost, media = clip["cost"], clip["media"] or {}
    seed = _found(clip["request"], "seed")
    took = ", ".join(f"{name} {timeline.span(end - start)}" for name, start, end in timeline.phases(clip, drawn=drawn))
    facts = [
        ("Model", clip["model"]),
        ("Seed", "" if seed is None else str(seed)),
        ("Task", "" if drawn else clip["task_id"] or ""),
        ("Quoted", money(cost["quoted"]) if cost["quoted"] and cost["quoted"]["currency"] else ""),
        ("Billed", money(cost["billed"]) if cost["billed"] and cost["billed"]["currency"] else ""),
        ("Ordered", moment(clip["submitted_at"], zone) if clip["submitted_at"] else ""),
        ("Took", took),
        ("Coded as", " and ".join(filter(None, (media.get("video_codec"), media.get("audio_codec"))))),
        ("Size", told_size(clip["bytes"]) if clip["bytes"] else ""),
        ("Found", _measured(clip.get("measured") or {})),
    ]
    return tuple((name, value) for name, value in facts if value)


def _request(clip: Clip) -> str:
    """The body as JSON, with texts that stand on the page already left out."""
    said = {clip["prompt"]: "(the prompt above)"}
    if clip["negative_prompt"]:
        said[clip["negative_prompt"]] = "(the negative prompt above)"

    def brief(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: brief(item) for key, item in value.items()}
        if isinstance(value, list):
            return [brief(item) for item in value]
        return said.get(value, value) if isinstance(value, str) else value

    return json.dumps(brief(clip["request"]), ensure_ascii=False, indent=1) if clip["request"] else ""


def _measured(measured: Mapping[str, Any]) -> str:
    """What the picture and the sound were searched for: `black 0–0.4 s, cuts at 3 s`."""
    found = []
    for word in ("black", "frozen", "silent"):
        stretches = [f"{number(start)}–{number(end)}" for start, end in measured.get(word, ())]
        found += [f"{word} {' and '.join(stretches)} s"] if stretches else []
    cuts = [number(moment) for moment in measured.get("cuts", ())]
    return ", ".join(found + ([f"cut{'s' if len(cuts) > 1 else ''} at {' and '.join(cuts)} s"] if cuts else []))


def _found(value: Any, key: str) -> Any:
    """The first value under a key, at any depth of a JSON body."""
    if isinstance(value, Mapping):
        if key in value:
            return value[key]
        return next((found for item in value.values() if (found := _found(item, key)) is not None), None)
    return None


# ── the head ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _sizes(manifest: Mapping[str, Any], clips: Sequence[Clip], scenes: Sequence[str], shown: object) -> str:
    total = sum(Fraction(str(clip["ordered"]["seconds"])) for clip in clips)
    of = f" of {len(manifest['clips'])}" if shown is not None and len(clips) < len(manifest["clips"]) else ""
    words = [f"{len(clips)}{of} {'clip' if len(clips) == 1 else 'clips'}"]
    if len(scenes) > 1:
        words[0] += f" in {len(scenes)} scenes"
    return ", ".join((*words, timeline.span(float(total)) if total >= 60 else seconds(float(total))))


def _when(manifest: Mapping[str, Any], zone: tzinfo) -> str:
    """When the run was; only its start while it goes on."""
    start = datetime.fromisoformat(manifest["started_at"]).astimezone(zone)
    told = f"{start.day} {start.strftime('%B %Y, %H:%M')}"
    if not manifest["finished_at"]:
        return f"{told} {start.tzname() or ''}".rstrip()
    end = datetime.fromisoformat(manifest["finished_at"]).astimezone(zone)
    clock = end.strftime("%H:%M") if end.date() == start.date() else f"{end.day} {end.strftime('%B, %H:%M')}"
    tail = f" to {clock}" if clock != start.strftime("%H:%M") else ""
    return f"{told}{tail} {start.tzname() or ''}".rstrip()


def _spent_note(manifest: Mapping[str, Any]) -> str:
    """Where what was billed is not what was quoted: both."""
    sums: dict[str, list[Decimal]] = {}
    for clip in (*manifest["clips"], *manifest["former"]):
        quoted, billed = clip["cost"]["quoted"], clip["cost"]["billed"]
        if quoted and billed and quoted["currency"] == billed["currency"] != "":
            both = sums.setdefault(quoted["currency"], [Decimal(0), Decimal(0)])
            both[0] += Decimal(str(quoted["amount"]))
            both[1] += Decimal(str(billed["amount"]))
    return "; ".join(
        f"billed {amount(billed)} of {amount(quoted)} {currency} quoted"
        for currency, (quoted, billed) in sorted(sums.items())
        if billed != quoted
    )


def _values(clips: Sequence[Clip], axis: str) -> list[str]:
    return list(dict.fromkeys(clip["variant"][axis] for clip in clips if axis in clip["variant"]))


def _free(clip: Clip) -> bool:
    """Whether a clip costs nothing: no price is not that."""
    quoted = clip["cost"]["quoted"]
    return quoted is not None and quoted["amount"] == 0 and not quoted["currency"]
