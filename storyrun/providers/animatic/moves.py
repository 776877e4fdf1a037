"""What a camera does, read from the words a director uses: push in, pan left, tilt up, orbit, handheld.

A move is felt rather than exact: it says how a shot starts and ends, and `Move.at` where the camera is in between.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """Where the camera is at one moment.

    `zoom` is at least 1 (1: the whole picture). `x` and `y` run from -1 to 1: how much of the room that the zoom leaves
    is used, to the right and up. `roll` is in degrees, clockwise.
    """

    zoom: float = 1.0
    x: float = 0.0
    y: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Move:
    """One camera move over a shot. All zero: the camera stands still.

    `push` is how much closer it comes (negative: it goes back), `pan` and `tilt` how far it looks to the right and up,
    each as a part of the frame; `roll` in degrees; `shake` 0 to 1.
    """

    push: float = 0.0
    pan: float = 0.0
    tilt: float = 0.0
    roll: float = 0.0
    shake: float = 0.0

    @property
    def still(self) -> bool:
        return self == Move()

    def at(self, part: float, seconds: float) -> View:
        """The view when `part` (0 to 1) of the shot and `seconds` are over. Starts and stops softly."""
        eased = part * part * (3 - 2 * part)
        room = max(abs(self.pan), abs(self.tilt), abs(self.roll) / 90, self.shake * 0.05)
        came = eased if self.push > 0 else 1 - eased
        zoom = (1 + room) * (1 + abs(self.push) * came)
        swing = 2 * eased - 1
        x = swing * ((self.pan > 0) - (self.pan < 0))
        y = swing * ((self.tilt > 0) - (self.tilt < 0))
        if self.shake:
            # Two slow waves that never meet: unsteady, and the same every time.
            phase = seconds * 9
            x = _within(x + 0.6 * math.sin(phase) + 0.4 * math.sin(phase * 1.7 + 1))
            y = _within(y + 0.6 * math.sin(phase * 1.3 + 2) + 0.4 * math.sin(phase * 2.1))
        return View(zoom, x, y, self.roll * (swing / 2))


def _within(value: float) -> float:
    return max(-1.0, min(1.0, value))


_SLOW = frozenset("slow slowly gentle gently subtle subtly slight slightly soft softly gradual gradually".split())
_FAST = frozenset("fast quick quickly rapid rapidly whip crash snap swift swiftly sudden suddenly swish".split())
_STILL = frozenset("static locked lockoff fixed tripod still stationary".split())
_IN = frozenset("in into forward forwards closer toward towards".split())
_OUT = frozenset("out back backward backwards away".split())
_UP = frozenset("up upward upwards".split())
_DOWN = frozenset("down downward downwards".split())

# The first part of a word says what the camera does: push, pushes, pushing. What it does when no direction is named
# comes after it: (push, pan, tilt, roll, shake). A dolly or a track has no opinion on where it goes.
_STEMS: tuple[tuple[str, tuple[float, float, float, float, float]], ...] = (
    (r"push\w*|creep\w*|tighten\w*", (1, 0, 0, 0, 0)),
    (r"pull\w*|widen\w*|reveal\w*", (-1, 0, 0, 0, 0)),
    (r"zoom\w*|doll(?:y|ies|ying)|advanc\w*", (1, 0, 0, 0, 0)),
    (r"pan|pans|panning", (0, 1, 0, 0, 0)),
    (r"track\w*|truck\w*|follow\w*|steadicam|glid\w*|slid\w*|slider|drift\w*", (0.3, 0.6, 0, 0, 0)),
    (r"tilt\w*", (0, 0, 1, 0, 0)),
    (r"crane\w*|booms?|jib|pedestal\w*|ris(?:e|es|ing)|ascend\w*", (0, 0, 1, 0, 0)),
    (r"descend\w*|lower(?:s|ing)", (0, 0, -1, 0, 0)),
    (r"drone|aerial|fl(?:y|ies|ying)|flyover", (0.7, 0, 0.5, 0, 0)),
    (r"orbit\w*|arc|arcs|arcing|circl\w*|spin\w*|rotat\w*", (0.4, 1, 0, 0, 0)),
    (r"roll\w*|dutch", (0, 0, 0, 1, 0)),
    (r"handheld|shak\w*|wobbl\w*", (0, 0, 0, 0, 1)),
    (r"mov(?:e|es|ing)", (0, 0, 0, 0, 0)),
)
_CLAUSES = re.compile(r"[,;.:/+]|\b(?:then|and|while|with|before|as)\b")
_PUSH, _ROOM, _ROLL = 0.16, 0.14, 6.0


def read(camera: str) -> Move:
    """The move that the text names; several are added up. Words that name none leave the camera where it is."""
    total = [0.0] * 5
    for clause in _CLAUSES.split(re.sub(r"hand[- ]held", "handheld", camera.lower())):
        for place, amount in enumerate(_clause(re.findall(r"[a-z]+", clause))):
            total[place] += amount
    push, pan, tilt, roll, shake = (max(-2.0, min(2.0, amount)) for amount in total)
    return Move(push * _PUSH, pan * _ROOM, tilt * _ROOM, roll * _ROLL, min(1.0, max(0.0, shake)))


def _clause(words: list[str]) -> tuple[float, float, float, float, float]:
    """What one part of a sentence does: its verb, where it goes, how fast."""
    named = set(words)
    if named & _STILL or "focus" in named:  # a pulled focus moves no camera
        return (0, 0, 0, 0, 0)
    found = next((base for stem, base in _STEMS if any(re.fullmatch(stem, word) for word in words)), None)
    if found is None:
        return (0, 0, 0, 0, 0)
    push, pan, tilt, roll, shake = found
    sideways = ("right" in named) - ("left" in named)
    upwards = bool(named & _UP) - bool(named & _DOWN)
    closer = bool(named & _IN) - bool(named & _OUT)
    if sideways and roll:
        roll = float(sideways)
    elif sideways:
        push, pan, tilt = (push if pan else 0.0), sideways * (abs(pan) or 1.0), 0.0
    if upwards:
        push, pan, tilt = 0.0, (pan if sideways else 0.0), float(upwards)
    if closer and (push or not any(found)):
        push = float(closer)
        pan, tilt = (pan if sideways else 0.0), (tilt if upwards else 0.0)
    speed = (0.6 if named & _SLOW else 1.0) * (1.8 if named & _FAST else 1.0)
    return (push * speed, pan * speed, tilt * speed, roll * speed, shake * speed)
