"""Video files: what one really is, whether it is what was ordered, and writing one.

Everything here goes through PyAV, which carries its own FFmpeg.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NoReturn

from storyrun.errors import FetchFailed
from storyrun.records import ErrorClass, MediaInfo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType
    from typing import BinaryIO

    from av import VideoFrame
    from av.container import InputContainer, OutputContainer
    from av.video.stream import VideoStream

SAMPLE_RATE = 48000
"""Samples per second of the sound that `Film` takes."""

# ── what a file is ───────────────────────────────────────────────────────────────────────────────────────────────────


def probe(path: Path) -> MediaInfo:
    """What a video file really is. Raises `FetchFailed` with a sentence for anything that is not a whole MP4.

    A cut download looks whole to a player when its index is in front, so nothing the header says is believed: every
    box of the file must end inside it, every frame that the index promises must be there and made of whole units, and
    every key frame must decode. The frames between them are not decoded, which would take fifty times as long.
    """
    import av

    try:
        with path.open("rb") as file:
            _walk_boxes(file, path.stat().st_size)
        with av.open(str(path), format="mov", metadata_errors="replace") as container:
            return _counted(container)
    except av.FFmpegError as error:
        _refuse(f"is damaged ({error.strerror or error})")


def _refuse(sentence: str) -> NoReturn:
    raise FetchFailed(f"the file {sentence}", kind=ErrorClass.FILE)


def _walk_boxes(file: BinaryIO, size: int) -> None:
    """Follow the outermost boxes of an MP4 (ISO/IEC 14496-12, 4.2) from the first to the last."""
    head = file.read(512)
    if not head:
        _refuse("is empty")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if start == b"<":
        _refuse("is a web page or XML, not a video")
    if start in (b"{", b"["):
        _refuse("is JSON text, not a video")
    if head[4:8] not in (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"):
        _refuse("is not an MP4 video")
    found: set[bytes] = set()
    place = 0
    while place + 8 <= size:
        file.seek(place)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4]), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16])
        if length == 0:  # until the end of the file
            length = size - place
        if length < 8:
            break  # what follows the last box is none of ours
        if place + length > size:
            _refuse(f"is cut off: {size} bytes of at least {place + length}")
        found.add(kind)
        place += length
    if not found & {b"mdat", b"moof"}:
        _refuse("is an MP4 without pictures")
    if b"moov" not in found:
        _refuse("is cut off: its index is missing")


CREDENTIALS = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
"""The user type of the box that holds a C2PA manifest in an MP4 (C2PA specification 2.1, A.5.1)."""


def has_credentials(path: Path) -> bool:
    """Whether an MP4 carries content credentials (C2PA). They hold for this very file: any rewriting drops them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while place + 8 <= size:
            file.seek(place)
            head = file.read(32)
            length, kind, start = int.from_bytes(head[:4]), head[4:8], 8
            if length == 1:
                length, start = int.from_bytes(head[8:16]), 16
            if kind == b"jumb" or (kind == b"uuid" and head[start : start + 16] == CREDENTIALS):
                return True
            if length < 8:  # until the end of the file, or none of ours
                return False
            place += length
    return False


def _counted(container: InputContainer) -> MediaInfo:
    if not container.streams.video:
        _refuse("has no video in it")
    stream = container.streams.video[0]
    if not stream.codec_context:  # None, whatever the types say, where there is no decoder
        _refuse("has video of a kind that cannot be read")
    stream.thread_count = 1
    prefix = _prefix(stream)
    frames = 0
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if packet.is_corrupt or (prefix and not _made_of_units(memoryview(packet), prefix)):
            _refuse(f"is damaged at frame {frames + 1}")
        if packet.is_keyframe:
            packet.decode()
        frames += 1
    if frames == 0:
        _refuse("has no frames")
    if stream.frames and frames != stream.frames:
        _refuse(f"is cut off: {frames} frames of {stream.frames}")
    rate = stream.average_rate
    if not rate or not stream.width or not stream.height:
        _refuse("does not say how large or how fast its video is")
    audio = next((found.codec_context for found in container.streams.audio), None)
    return MediaInfo(
        duration=frames / rate,
        width=stream.width,
        height=stream.height,
        fps=rate,
        frames=frames,
        video_codec=stream.codec_context.name,
        audio_codec=audio.name if audio else None,
    )


def _prefix(stream: VideoStream) -> int:
    """Bytes of the length before each unit of an H.264 or HEVC frame; 0 where frames are built otherwise.

    From the decoder configuration, ISO/IEC 14496-15: 5.3.3.1 (avcC) and 8.3.3.1 (hvcC).
    """
    place = {"h264": 4, "hevc": 21}.get(stream.codec_context.name)
    setup = stream.codec_context.extradata or b""
    return (setup[place] & 3) + 1 if place and len(setup) > place and setup[0] == 1 else 0


def _made_of_units(data: memoryview, prefix: int) -> bool:
    """Whether a frame is a row of units, each as long as it says. Lost or shifted bytes never are.

    A unit holds no run of zeros (H.264 and HEVC keep start codes out of it), so a hole in the file shows.
    """
    if bytes(64) in bytes(data):
        return False
    place = 0
    while place + prefix < len(data):
        length = int.from_bytes(data[place : place + prefix])
        if length == 0:
            return False
        place += prefix + length
    return place == len(data)


def differences(job: Mapping[str, Any], info: MediaInfo) -> tuple[str, ...]:
    """What of a clip is not as ordered, as "4 s of 5"; empty when all is. `job` is in its JSON form.

    Seconds may be off by a quarter of one. Pixels must be exact, but where a picture decides the frame (image and
    frames mode) a provider rounds in its own way: there the shape may be off by 2 %.
    """
    found = []
    ordered = Fraction(str(job["length"]))
    if abs(info.duration - ordered) > Fraction(1, 4):
        found.append(f"{_plain(info.duration)} s of {_plain(ordered)}")
    if "width" in job:
        width, height = job["width"], job["height"]
        if job["provider"] == "animatic" or job["mode"] in {"text", "reference"}:
            same = (info.width, info.height) == (width, height)
        else:
            same = abs(info.width * height - info.height * width) <= 0.02 * info.height * width
        if not same:
            found.append(f"{info.width}x{info.height} instead of {width}x{height}")
    if job.get("sounding") and info.audio_codec is None:
        found.append("is silent")
    return tuple(found)


def _plain(seconds: Fraction) -> str:
    return f"{float(seconds):.2f}".rstrip("0").rstrip(".")


# ── writing one ──────────────────────────────────────────────────────────────────────────────────────────────────────

_X264 = (
    "qp={quality}:keyint={keyint}:scenecut=0:bframes=0:ref=1:rc-lookahead=0:sync-lookahead=0:mbtree=0:weightp=0:"
    "aq-mode=0:psy=0:me=dia:subme=0:no-chroma-me=1:no-deblock={sharp}"
)
"""For pictures that hardly change. A constant quantiser saves x264 a look ahead at every frame, a quarter of the time;
nothing is searched for, because little moves."""


class Film:
    """Writes an MP4 of H.264 and AAC that is the same to the byte for the same input, on any number of cores.

    One thread encodes, the index is in front, and neither time nor version goes into the file. `quality` is x264's
    quantiser: smaller is better. `sharp` leaves edges as they are, for drawings; photographs look better without.
    An error of the disk is an `OSError`.
    """

    def __init__(
        self, path: Path, size: tuple[int, int], rate: Fraction, *, sound: bool, quality: int = 20, sharp: bool = True
    ) -> None:
        import av

        # The header counts in samples; in thousandths, its default, 24 frames a second do not come out even.
        options = {"movflags": "+faststart", "fflags": "+bitexact", "movie_timescale": str(SAMPLE_RATE)}
        self._file = av.open(str(path), "w", format="mp4", options=options)
        keyint = max(1, round(rate * 5))
        encoder = {
            "preset": "superfast",
            "forced-idr": "1",
            "x264-params": _X264.format(quality=quality, keyint=keyint, sharp=int(sharp)),
        }
        self._video = self._file.add_stream("libx264", rate, encoder)
        self._video.width, self._video.height = size
        self._video.pix_fmt = "yuv420p"
        self._video.time_base = 1 / rate
        self._video.thread_count = 1
        # BT.709, 16 to 235, said in the file so that players do not guess.
        context = self._video.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1
        context.color_range = 1
        self._sound = Sound(self._file, 128_000) if sound else None
        self._rate = rate
        self._frames = 0

    def __enter__(self) -> Film:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._file.mux(self._video.encode(None))
                if self._sound is not None:
                    self._sound.end()
        finally:
            self._file.close()

    def add_frame(self, frame: VideoFrame, *, cut: bool = False) -> None:
        """The next frame. It is read before this returns, so that it can be changed and added again."""
        frame.pts = self._frames
        frame.time_base = 1 / self._rate
        frame.pict_type = 1 if cut else 0
        self._frames += 1
        self._file.mux(self._video.encode(frame))

    def add_sound(self, samples: bytes) -> None:
        """More sound: 16 bits, left and right in turn. Must not come more than seconds after its frames."""
        if self._sound is not None and samples:
            self._sound.add(samples)


class Sound:
    """The sound of an MP4 while it is written: AAC, stereo, `SAMPLE_RATE`, the same to the byte for the same input."""

    def __init__(self, file: OutputContainer, bits: int) -> None:
        """`bits` a second."""
        import av

        self._file = file
        self._stream = file.add_stream("aac", SAMPLE_RATE, layout="stereo")
        self._stream.bit_rate = bits
        self._stream.codec_context.flags |= av.codec.context.Flags.bitexact
        self.samples = 0
        """Samples so far."""

    def add(self, data: bytes) -> None:
        """More of it: 16 bits, left and right in turn."""
        import av

        frame = av.AudioFrame("s16", "stereo", len(data) // 4)
        frame.sample_rate = SAMPLE_RATE
        frame.planes[0].update(data)
        frame.pts = self.samples
        frame.time_base = Fraction(1, SAMPLE_RATE)
        self.samples += frame.samples
        self._file.mux(self._stream.encode(frame))

    def end(self) -> None:
        """What the encoder still holds."""
        self._file.mux(self._stream.encode(None))
