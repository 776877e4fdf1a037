"""The MP4 of a film while it is written: pictures copied or encoded, sound, subtitles, tags."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from storyrun.media import SAMPLE_RATE, Sound

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from av import Packet, VideoFrame
    from av.video.stream import VideoStream

    from storyrun.exports.cues import Cue

THREADS = 4
"""Threads of the encoder. Not one for each core: what x264 writes depends on how many there are."""

ENCODER = {"preset": "veryfast", "crf": "15", "forced-idr": "1"}
"""x264 for photographs that were compressed once already: nobody sees a difference at 15. Slower presets would only
make the file smaller."""

SOUND_BITS = 192_000


class Reel:
    """Writes an MP4 that is the same to the byte for the same input. The index is in front; no clock goes into it.

    With `like` the pictures come as packets of clips that are like that file, else as frames of `size`, made even.
    """

    def __init__(
        self,
        path: Path,
        rate: Fraction,
        tags: Mapping[str, str],
        *,
        size: tuple[int, int],
        like: Path | None = None,
        sound: bool,
        text: bool,
    ) -> None:
        import av

        options = {"movflags": "+faststart", "fflags": "+bitexact", "movie_timescale": str(SAMPLE_RATE)}
        self._file = av.open(str(path), "w", format="mp4", options=options)
        self._file.metadata.update(tags)
        self._rate = rate
        self._copies = like is not None
        self.size = (size[0] - size[0] % 2, size[1] - size[1] % 2)
        if like is not None:
            with av.open(str(like), format="mov", metadata_errors="replace") as source:
                self._video = self._file.add_stream_from_template(source.streams.video[0])
        else:
            self._video = self._file.add_stream("libx264", rate, ENCODER | {"g": str(max(1, round(rate * 2)))})
            self._video.width, self._video.height = self.size
            self._video.pix_fmt = "yuv420p"
            self._video.thread_count = THREADS
            context = self._video.codec_context
            context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709, 16 to 235
            context.color_range = 1
            context.flags |= av.codec.context.Flags.bitexact
        self._video.time_base = 1 / rate
        self._sound = Sound(self._file, SOUND_BITS) if sound else None
        self._text = self._file.add_mux_stream("mov_text") if text else None
        if self._text is not None:
            self._text.time_base = Fraction(1, 1000)
        self.frames = 0
        """Frames written so far."""

    def __enter__(self) -> Reel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                if not self._copies:
                    self._file.mux(self._video.encode(None))
                if self._sound is not None:
                    self._sound.end()
        finally:
            self._file.close()

    @property
    def samples(self) -> int:
        """Samples of sound that are still wanting for the frames so far."""
        return round(self.frames / self._rate * SAMPLE_RATE) - self._sound.samples if self._sound is not None else 0

    def add_packet(self, packet: Packet[VideoStream], shown: int, decoded: int) -> None:
        """A frame as it was delivered: which frame of the film it is, and which one it counts as when it is decoded."""
        packet.stream = self._video
        packet.time_base = 1 / self._rate
        packet.pts, packet.dts, packet.duration = shown, decoded, 1
        self.frames += 1
        self._file.mux(packet)

    def add_frame(self, frame: VideoFrame, *, cut: bool) -> None:
        """The next frame. It is read before this returns."""
        frame.pts = self.frames
        frame.time_base = 1 / self._rate
        frame.pict_type = 1 if cut else 0
        self.frames += 1
        self._file.mux(self._video.encode(frame))

    def add_sound(self, data: bytes) -> None:
        """More sound: 16 bits, left and right in turn."""
        if self._sound is not None and data:
            self._sound.add(data)

    def add_text(self, cue: Cue) -> None:
        """A subtitle that players can switch on: 3GPP TS 26.245, 5.17: the length in 16 bits, then UTF-8."""
        import av

        if self._text is None:
            return
        text = cue.text.encode()
        packet = av.Packet(len(text).to_bytes(2, "big") + text)
        packet.stream = self._text
        packet.time_base = Fraction(1, 1000)
        packet.pts = packet.dts = round(cue.start * 1000)
        packet.duration = round(cue.end * 1000) - packet.pts
        self._file.mux(packet)
