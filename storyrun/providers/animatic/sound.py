"""The sound of an animatic: a local audio file, or a soft tick on each cut. 48 kHz, two channels, to the sample."""

from __future__ import annotations

import math
from array import array
from io import BytesIO
from typing import TYPE_CHECKING

from storyrun.errors import FetchFailed
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterable

RATE = 48000
_TICK = 0.06
"""Seconds that a tick takes."""


def ticks(moments: Iterable[float], samples: int) -> bytes:
    """Silence with a tick at each moment (seconds): samples of 16 bits, left and right in turn."""
    silence = bytearray(samples * 4)
    tick = array("h")
    for number in range(int(RATE * _TICK)):
        fading = math.exp(-number / RATE * 70) * min(1.0, number / 96)
        value = round(0.05 * 32767 * fading * math.sin(2 * math.pi * 880 * number / RATE))
        tick.extend((value, value))
    data = tick.tobytes()
    for moment in moments:
        start = round(moment * RATE) * 4
        part = data[: max(0, len(silence) - start)]
        silence[start : start + len(part)] = part
    return bytes(silence)


def of_file(data: bytes, name: str, samples: int) -> bytes:
    """The sound of an audio or video file, cut or followed by silence. Raises `FetchFailed` when it has none."""
    import av

    found = bytearray()
    try:
        with av.open(BytesIO(data), "r") as source:
            resampler = av.AudioResampler("s16", "stereo", RATE)
            for frame in source.decode(audio=0):
                for part in resampler.resample(frame):
                    found += bytes(part.planes[0])[: part.samples * 4]
                if len(found) >= samples * 4:
                    break
            else:
                for part in resampler.resample(None):
                    found += bytes(part.planes[0])[: part.samples * 4]
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise FetchFailed(f"{name} cannot be read as sound ({error})", kind=ErrorClass.FILE) from error
    del found[samples * 4 :]
    return bytes(found) + bytes(samples * 4 - len(found))
