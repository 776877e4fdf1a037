"""The cut: the clips of a film put together into one MP4, frame by frame and sample by sample.

Where all clips allow it their pictures are copied as they were delivered; else they are shown anew at the size and rate
that most of them have. Sound is always laid anew: AAC comes in blocks of 1024 samples behind an empty one, so that
copied sound would run late by more and more with every clip (the third one by 26 ms).
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from storyrun import disk, folder, media
from storyrun.errors import FetchFailed, LedgerError, UsageError
from storyrun.exports.cut import pieces as making
from storyrun.exports.cut import sound as sounds
from storyrun.exports.cut.pictures import Irregular, Projector, alike, packets
from storyrun.exports.cut.pieces import Piece
from storyrun.exports.cut.reel import Reel
from storyrun.records import ErrorClass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from storyrun.exports.cut.letters import Fonts
    from storyrun.exports.cut.pieces import Card
    from storyrun.records import Film, MediaInfo, MediaSource

FILMS = "films"
"""The folder of the films, in that of the run."""

SHOTS = "films/shots"
"""The folder of single shots, in that of the run."""


@dataclass(frozen=True)
class Assembled:
    """A film, or a single shot, that was written.

    `copied`: the pictures are the packets of the clips. `missing` are the ids of clips in whose place stands a card.
    `notes` are sentences about what is not as it was ordered. `unsigned` are the ids of clips whose content credentials
    are not in the film: they hold for the clip's file as it is, which stays.
    """

    title: str
    path: Path
    size: tuple[int, int]
    rate: Fraction
    frames: int
    copied: bool
    sounding: bool
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    unsigned: tuple[str, ...]
    sha256: str

    @property
    def seconds(self) -> Fraction:
        """How long it is."""
        return self.frames / self.rate

    @property
    def whole(self) -> bool:
        """Whether every clip is in it, as ordered."""
        return not self.missing and not self.notes


def assemble(
    film: Film,
    manifest: Mapping[str, Any],
    run_folder: Path,
    *,
    target: Path | None = None,
    card: Card,
    fonts: Fonts,
    comment: str = "",
) -> Assembled:
    """Put a film together from the takes that are shown, into `target` (`films/<stem>.mp4` in the run's folder).

    `card` draws what stands for a missing clip; `fonts` draws burnt subtitles. An animatic has the dialogue in its
    picture, and so has a card: there it is not drawn again. `comment` becomes a tag of the file, as the title does.

    Raises `UsageError` for a sound file that cannot be read, `LedgerError` when the disk fails.
    """
    clips = {clip["id"]: clip for clip in manifest["clips"]}
    drawn = manifest["provider"].partition("@")[0] == "animatic"
    with TemporaryDirectory(prefix="storyrun-") as cards:
        pieces, notes = making.of_film(film, clips, run_folder, Path(cards), card)
        return _written(
            pieces,
            target or run_folder / FILMS / f"{film.stem}.mp4",
            title=film.title,
            comment=comment,
            notes=notes,
            fade=film.fade,
            gain=film.clip_sound,
            over=film.sound,
            subtitles="none" if drawn and film.subtitles == "burnt" else film.subtitles,
            fonts=fonts,
        )


def split(clip: Mapping[str, Any], run_folder: Path, *, comment: str = "") -> Iterator[Assembled]:
    """One file for each shot of a clip that has several, cut at their windows: `films/shots/<clip>_s2.mp4`.

    The last one lasts until the end of the file, so that the shots are the clip, frame by frame. A shot that begins
    after the end of a clip that came too short is left out. `clip` is one of the manifest that is done.

    Raises `FetchFailed` when the clip's file is no whole video any more, `LedgerError` when the disk fails.
    """
    path = run_folder / clip["file"]
    info = media.probe(path)
    rate = info.fps
    starts = [min(info.frames, round(Fraction(str(shot["start"])) * rate)) for shot in clip["shots"]]
    for shot, first, end in zip(clip["shots"], starts, [*starts[1:], info.frames], strict=True):
        if first < end:
            yield _written(
                (Piece(clip["id"], path, info, first, (end - first) / rate),),
                run_folder / SHOTS / f"{path.stem}_s{shot['index']}.mp4",
                title=f"{clip['id']}, shot {shot['index']}",
                comment=comment,
                gain=Decimal(0),
            )


def _written(
    pieces: Sequence[Piece],
    target: Path,
    *,
    title: str,
    comment: str,
    notes: Sequence[str] = (),
    fade: Fraction = Fraction(0),
    gain: Decimal | None = None,
    over: MediaSource | None = None,
    subtitles: str = "none",
    fonts: Fonts | None = None,
) -> Assembled:
    """Write a film beside its place, look at what became of it, and put it there."""
    size, rate = making.form(piece.info for piece in pieces)
    told = [*notes]
    sounding = over is not None or (gain is not None and any(_sounds(piece) for piece in pieces))
    cues = [cue for piece in pieces for cue in piece.cues] if subtitles != "none" else []
    letters = fonts if subtitles == "burnt" and cues else None
    faded = fade if len(pieces) > 1 else Fraction(0)
    copied = letters is None and not faded and alike(pieces, rate)
    half_made = target.with_name(f".{target.name}.{os.getpid()}.new")

    def write(*, copied: bool) -> None:
        silent = not any(_sounds(piece) for piece in pieces)
        own = None if gain is None or silent else (sounds.of_clips(pieces, rate, told.append), gain)
        tap = sounds.Tap(_mixed(own, over, _samples(pieces, rate)) if sounding else iter(()))
        waiting = list(cues) if subtitles == "soft" else []
        source = pieces[0].path if copied else None
        tags = {"title": title, "comment": comment}
        with Reel(half_made, rate, tags, size=size, like=source, sound=sounding, text=bool(waiting)) as reel:
            for _ in _copied(reel, pieces, rate) if copied else _shown(reel, pieces, rate, faded, letters):
                while waiting and waiting[0].start * rate <= reel.frames:
                    reel.add_text(waiting.pop(0))
                if reel.frames % round(rate) == 0:
                    reel.add_sound(tap.take(reel.samples))
            reel.add_sound(tap.take(reel.samples))

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        half_made.unlink(missing_ok=True)
        before = len(told)
        try:
            write(copied=copied)
            if copied:
                _judged(half_made, pieces, rate)
        except (Irregular, FetchFailed):
            if not copied:
                raise
            copied = False
            del told[before:]
            write(copied=False)
        made = _judged(half_made, pieces, rate)
        disk.sync_file(half_made)
        half_made.replace(target)
        disk.sync_folder(target.parent)
        sha256 = folder.sha256_of(target)
    except OSError as error:
        raise LedgerError(f"{target} could not be written: {disk.reason(error)}") from error
    finally:
        with suppress(OSError):
            half_made.unlink(missing_ok=True)
    return Assembled(
        title=title,
        path=target,
        size=(made.width, made.height),
        rate=rate,
        frames=made.frames,
        copied=copied,
        sounding=sounding,
        missing=tuple(piece.clip for piece in pieces if piece.card),
        notes=tuple(told),
        unsigned=tuple(piece.clip for piece in pieces if not piece.card and media.has_credentials(piece.path)),
        sha256=sha256,
    )


def _copied(reel: Reel, pieces: Sequence[Piece], rate: Fraction) -> Iterator[None]:
    """Every frame of the film as it was delivered."""
    at, latest = 0, None
    for piece in pieces:
        for packet, shown, decoded in packets(piece, rate, at):
            if decoded > shown or (latest is not None and decoded <= latest):
                raise Irregular
            latest = decoded
            reel.add_packet(packet, shown, decoded)
            yield
        at += piece.frames(rate)


def _shown(
    reel: Reel, pieces: Sequence[Piece], rate: Fraction, fade: Fraction, letters: Fonts | None
) -> Iterator[None]:
    """Every frame of the film anew."""
    for frame, cut in Projector(pieces, reel.size, rate, fade=fade, fonts=letters).frames():
        reel.add_frame(frame, cut=cut)
        yield


def _mixed(own: tuple[Iterator[bytes], Decimal] | None, over: MediaSource | None, samples: int) -> Iterator[bytes]:
    """The clips' sound at its gain, the film's over it, or one of them alone."""
    above = None if over is None else _across(over, samples)
    if own is None:
        return above or sounds.silence(samples)
    return sounds.gained(*own, above)


def _across(source: MediaSource, samples: int) -> Iterator[bytes]:
    """A sound file over the whole film. Raises `UsageError` when it cannot be read."""
    import av

    try:
        yield from sounds.decoded(source.path or Path(source.text), 0, samples)
    except (av.FFmpegError, ValueError) as error:
        raise UsageError(f"{source.text} cannot be read as sound: {error}", "export it again, as WAV or MP3") from error


def _sounds(piece: Piece) -> bool:
    """Whether a clip has sound of its own."""
    return not piece.card and piece.info.audio_codec is not None


def _samples(pieces: Sequence[Piece], rate: Fraction) -> int:
    """Samples of sound in a film."""
    return round(sum(piece.frames(rate) for piece in pieces) / rate * media.SAMPLE_RATE)


def _judged(path: Path, pieces: Sequence[Piece], rate: Fraction) -> MediaInfo:
    """What was written. Raises `FetchFailed` when it is not the film, frame for frame."""
    info = media.probe(path)
    frames = sum(piece.frames(rate) for piece in pieces)
    if (info.frames, info.fps) != (frames, rate):
        sentence = f"the film came out as {info.frames} frames at {info.fps}, not {frames} at {rate}"
        raise FetchFailed(sentence, kind=ErrorClass.FILE)
    return info
