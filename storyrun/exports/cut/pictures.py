"""The pictures of a film: copied as they were delivered, or shown anew at one size and rate, darker, with letters."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from storyrun.exports.cut.letters import Letters

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from av import Packet, VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image

    from storyrun.exports.cut.letters import Fonts
    from storyrun.exports.cut.pieces import Piece

BLACK = (16, 128, 128)
"""Y', Cb, Cr."""

BT709 = 1
MATRICES = {4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
"""The matrix that a frame says its colours were made with (ITU-T H.273, table 4) to the number of libswscale's."""


class Irregular(Exception):
    """Packets that cannot be put one behind the other, frame by frame."""


# ── copied ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def alike(pieces: Sequence[Piece], rate: Fraction) -> bool:
    """Whether the packets of all the pieces can stand in one stream: one decoder reads them all, frame for frame."""
    if any(piece.info.fps != rate or piece.info.frames - piece.first < piece.frames(rate) for piece in pieces):
        return False
    return len({_setup(piece.path) for piece in pieces}) == 1


def _setup(path: Path) -> tuple[Any, ...]:
    """All that a decoder is told before the first packet."""
    import av

    with av.open(str(path), format="mov", metadata_errors="replace") as source:
        stream = source.streams.video[0]
        context = stream.codec_context
        colours = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        shape = (context.name, context.width, context.height, context.pix_fmt, stream.sample_aspect_ratio)
        return *shape, *colours, context.codec_tag, bytes(context.extradata or b"")


def packets(piece: Piece, rate: Fraction, at: int) -> Iterator[tuple[Packet[VideoStream], int, int]]:
    """The packets of a piece that begins at frame `at` of the film: each with its frame there, shown and decoded.

    Raises `Irregular` when they are not just the frames of the piece, or do not begin with a key frame.
    """
    import av

    count = piece.frames(rate)
    found: list[tuple[Packet[VideoStream], int, int]] = []
    with av.open(str(piece.path), format="mov", metadata_errors="replace") as source:
        stream = source.streams.video[0]
        base, zero = stream.time_base or Fraction(1), None
        for packet in source.demux(stream):
            if not packet.size or packet.pts is None or packet.dts is None:
                continue
            if zero is None:
                zero = packet.pts
            shown = (packet.pts - zero) * base * rate - piece.first
            decoded = (packet.dts - zero) * base * rate - piece.first
            if not found and round(shown) != 0:
                if round(shown) > 0:
                    raise Irregular
                continue
            if len(found) == count:
                break
            if max(abs(shown - round(shown)), abs(decoded - round(decoded))) > Fraction(1, 10):
                raise Irregular
            found.append((packet, at + round(shown), at + round(decoded)))
        if {shown - at for _, shown, _ in found} != set(range(count)) or not found[0][0].is_keyframe:
            raise Irregular
    yield from found


# ── shown anew ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Projector:
    """Shows pieces at one size and rate, with a fade through black at each cut and subtitles drawn in."""

    def __init__(
        self, pieces: Sequence[Piece], size: tuple[int, int], rate: Fraction, *, fade: Fraction, fonts: Fonts | None
    ) -> None:
        """`fonts` draws the subtitles, None for none."""
        self._pieces = pieces
        self._size = size
        self._rate = rate
        self._half = fade / 2
        self._letters = None if fonts is None else Letters(fonts, size, [cue for p in pieces for cue in p.cues])

    def frames(self) -> Iterator[tuple[VideoFrame, bool]]:
        """Every frame of the film, and whether it is the first of a piece. To be used before the next is asked for."""
        at = 0
        for number, piece in enumerate(self._pieces):
            count = piece.frames(self._rate)
            for place, frame in enumerate(self._shown(piece, count)):
                light = self._light(place, count, first=number == 0, last=number == len(self._pieces) - 1)
                yield self._treated(frame, light, (at + place) / self._rate, card=piece.card), place == 0
            at += count

    def _shown(self, piece: Piece, count: int) -> Iterator[VideoFrame]:
        """So many frames of a piece: each the one of the file that is seen in its middle; the last one is held."""
        import av

        gate = Gate(self._size)
        step = piece.info.fps / self._rate
        made = 0
        with av.open(str(piece.path), format="mov", metadata_errors="replace") as source:
            stream = source.streams.video[0]
            stream.thread_type = "AUTO"
            fitted: VideoFrame | None = None
            for number, frame in enumerate(source.decode(stream)):
                while made < count and int((made + Fraction(1, 2)) * step) + piece.first <= number:
                    fitted = gate.fit(frame)
                    made += 1
                    yield fitted
                if made == count:
                    return
                last = frame
            fitted = gate.fit(last)
        while made < count:
            made += 1
            yield fitted

    def _light(self, place: int, count: int, *, first: bool, last: bool) -> Fraction:
        """How bright a frame is, 0 to 1."""
        if not self._half:
            return Fraction(1)
        since = (place + Fraction(1, 2)) / self._rate / self._half
        until = (count - place - Fraction(1, 2)) / self._rate / self._half
        return min(Fraction(1), *([] if first else [since]), *([] if last else [until]))

    def _treated(self, frame: VideoFrame, light: Fraction, moment: Fraction, *, card: bool) -> VideoFrame:
        letters = None if self._letters is None or card else self._letters.at(moment + 1 / self._rate / 2)
        if light == 1 and letters is None:
            return frame
        made = blank(self._size)
        for number, (target, plane) in enumerate(zip(mapped(made), mapped(frame), strict=True)):
            black = BLACK[number]
            dark = (
                plane if light == 1 else plane.point([round(black + (value - black) * light) for value in range(256)])
            )
            target.paste(dark)
        if letters is not None:
            letters.lay(mapped(made))
        return made


class Gate:
    """Brings frames of one file to a size: the whole picture is seen, with black beside it where the shape differs."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        self._last: tuple[VideoFrame, VideoFrame] | None = None

    def fit(self, frame: VideoFrame) -> VideoFrame:
        """The frame in our size, 8 bits, BT.709, 16 to 235. What says nothing of its colours is taken for that."""
        if self._last is not None and self._last[0] is frame:
            return self._last[1]
        fitted = self._fitted(frame)
        self._last = (frame, fitted)
        return fitted

    def _fitted(self, frame: VideoFrame) -> VideoFrame:
        from av.video.reformatter import ColorRange, Colorspace, Interpolation

        wide, high = self._size
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        matrix = MATRICES.get(int(frame.colorspace), BT709)
        if (
            frame.format.name == "yuv420p"
            and matrix == BT709
            and not full
            and (frame.width, frame.height) == self._size
        ):
            return frame
        scale = min(Fraction(wide, frame.width), Fraction(high, frame.height))
        lengths = ((frame.width, wide), (frame.height, high))
        across, down = (min(most, max(2, 2 * round(length * scale / 2))) for length, most in lengths)
        small = frame.reformat(
            across,
            down,
            format="yuv420p",
            src_colorspace=Colorspace(matrix),
            dst_colorspace=Colorspace.ITU709,
            interpolation=Interpolation.LANCZOS | Interpolation.ACCURATE_RND | Interpolation.BITEXACT,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        if (across, down) == self._size:
            return small
        whole = blank(self._size)
        left, top = (wide - across) // 4 * 2, (high - down) // 4 * 2
        for number, (target, plane) in enumerate(zip(mapped(whole), mapped(small), strict=True)):
            target.paste(BLACK[number], (0, 0, *target.size))
            target.paste(plane, (left >> (number > 0), top >> (number > 0)))
        return whole


def blank(size: tuple[int, int]) -> VideoFrame:
    """A frame to draw in."""
    from av import VideoFrame

    return VideoFrame(*size, "yuv420p")


def mapped(frame: VideoFrame) -> list[Image]:
    """The planes of a frame as pictures on the same memory."""
    from PIL import Image

    found = []
    for plane in frame.planes:
        memory: Any = memoryview(plane)
        image = Image.frombuffer("L", (plane.width, plane.height), memory, "raw", "L", plane.line_size, 1)
        image.readonly = 0  # without this Pillow would draw on a copy
        found.append(image)
    return found
