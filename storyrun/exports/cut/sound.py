"""The sound of a film: that of its clips at a gain, and one file across all of it. 48 kHz, 16 bits, two channels."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from storyrun.media import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from decimal import Decimal
    from pathlib import Path

    from av import AudioFrame
    from av.filter import Graph
    from av.filter.context import FilterContext

    from storyrun.exports.cut.pieces import Piece

BYTES = 4
"""Of one sample, left and right."""

CEILING = 0.97
"""Where the limiter holds a sum that is too loud, of full scale: AAC overshoots a little."""


def of_clips(pieces: Sequence[Piece], rate: Fraction, tell: Callable[[str], None]) -> Iterator[bytes]:
    """The clips' own sound, each to the sample as long as it is seen; silence where one has none.

    `tell` is told of sound that cannot be read.
    """
    import av

    frames = place = 0
    for piece in pieces:
        frames += piece.frames(rate)
        samples = round(frames / rate * SAMPLE_RATE) - place
        place += samples
        if piece.card or piece.info.audio_codec is None:
            yield from silence(samples)
            continue
        start = round(piece.first / piece.info.fps * SAMPLE_RATE)
        given = 0
        try:
            for data in decoded(piece.path, start, samples):
                given += len(data) // BYTES
                yield data
        except (av.FFmpegError, ValueError) as error:
            tell(f"{piece.clip}: its sound cannot be read ({error})")
            yield from silence(samples - given)


def silence(samples: int) -> Iterator[bytes]:
    """So many samples of nothing."""
    while samples > 0:
        yield bytes(min(samples, SAMPLE_RATE) * BYTES)
        samples -= SAMPLE_RATE


def decoded(path: Path, start: int, samples: int) -> Iterator[bytes]:
    """So many samples of a file's sound from `start` on, followed by silence where it ends.

    Raises av's errors for a file without sound that can be read.
    """
    import av

    with av.open(str(path), metadata_errors="replace") as source:
        if not source.streams.audio:
            raise ValueError("there is none in it")
        stream = source.streams.audio[0]
        zero = Fraction(0)
        for film in source.streams.video[:1]:
            zero = (film.start_time or 0) * (film.time_base or Fraction(0))
        resampler = av.AudioResampler("s16", "stereo", SAMPLE_RATE)
        place: int | None = None
        left = samples
        for frame in _and_then_none(source.decode(stream)):
            if place is None and frame is not None:
                at = (frame.pts or 0) * (frame.time_base or Fraction(0)) - zero
                place = round(at * SAMPLE_RATE)
                for data in silence(min(left, place - start)):  # sound that begins after the picture
                    left -= len(data) // BYTES
                    yield data
            for part in resampler.resample(frame):
                data = bytes(part.planes[0])[: part.samples * BYTES]
                late = max(0, start - (place or 0)) * BYTES
                place = (place or 0) + part.samples
                data = data[late : late + left * BYTES]
                if data:
                    left -= len(data) // BYTES
                    yield data
            if not left:
                return
        yield from silence(left)


def _and_then_none(frames: Iterator[AudioFrame]) -> Iterator[AudioFrame | None]:
    yield from frames
    yield None


def gained(own: Iterator[bytes], gain: Decimal, over: Iterator[bytes] | None) -> Iterator[bytes]:
    """The clips' sound at a gain in dB, with another one over it. What would clip is held by a limiter."""
    import av

    if not gain and over is None:
        yield from own
        return
    graph = av.filter.Graph()
    inputs = [_input(graph)]
    chain = graph.add("volume", f"{gain}dB")
    inputs[0].link_to(chain)
    if over is not None:
        inputs.append(_input(graph))
        mix = graph.add("amix", "inputs=2:normalize=0:duration=longest")
        chain.link_to(mix, 0, 0)
        inputs[1].link_to(mix, 0, 1)
        chain = mix
    for name, options in (
        ("alimiter", f"limit={CEILING}:level=0:latency=1"),
        ("aformat", f"sample_fmts=s16:sample_rates={SAMPLE_RATE}:channel_layouts=stereo"),
        ("abuffersink", None),
    ):
        added = graph.add(name, options)
        chain.link_to(added)
        chain = added
    graph.configure()
    place = 0
    streams = [_seconds(each) for each in (own, over) if each is not None]
    while True:
        data = [next(stream, b"") for stream in streams]
        longest = max(map(len, data))
        for source, part in zip(inputs, data, strict=True):
            source.push(_frame(part.ljust(longest, b"\0"), place) if longest else None)
        place += longest // BYTES
        while True:
            try:
                made = chain.pull()
            except (BlockingIOError, EOFError):
                break
            if isinstance(made, av.AudioFrame):
                yield bytes(made.planes[0])[: made.samples * BYTES]
        if not longest:
            return


def _input(graph: Graph) -> FilterContext:
    return graph.add_abuffer(sample_rate=SAMPLE_RATE, format="s16", layout="stereo", time_base=Fraction(1, SAMPLE_RATE))


def _frame(data: bytes, place: int) -> AudioFrame:
    import av

    frame = av.AudioFrame("s16", "stereo", len(data) // BYTES)
    frame.sample_rate = SAMPLE_RATE
    frame.planes[0].update(data)
    frame.pts = place
    frame.time_base = Fraction(1, SAMPLE_RATE)
    return frame


def _seconds(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, a second at a time."""
    held = bytearray()
    for data in parts:
        held += data
        while len(held) >= SAMPLE_RATE * BYTES:
            yield bytes(held[: SAMPLE_RATE * BYTES])
            del held[: SAMPLE_RATE * BYTES]
    if held:
        yield bytes(held)


class Tap:
    """Sound to take from in any amount; silence when there is none left."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._held = bytearray()

    def take(self, samples: int) -> bytes:
        """So many samples."""
        wanted = samples * BYTES
        while len(self._held) < wanted and (data := next(self._parts, b"")):
            self._held += data
        taken = bytes(self._held[:wanted]).ljust(wanted, b"\0")
        del self._held[:wanted]
        return taken
