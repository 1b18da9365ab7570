"""Files -> samples as recorded: by libsndfile where that is exact, else by FFmpeg.

libsndfile reads PCM and FLAC several times as fast. For other formats it estimates the length, and
stops there.
"""

import io
import re
from collections.abc import Iterator, Sequence

import numpy as np
import soundfile

from desta.audio import ffmpeg
from desta.audio.errors import AudioError, AudioNote, cut_off, too_long
from desta.audio.ffmpeg import Piece
from desta.audio.files import Steady
from desta.audio.flac import goes_on
from desta.audio.ogg import Link, find_links
from desta.audio.parts import find_parts, note_beyond

BLOCK_SECONDS = 30  # decoded at once, so that a long stereo file never fills the memory

_BEGINNINGS = {b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b".snd", b"caff", b"fLaC", b"OggS"}
"""First bytes of files that libsndfile may read exactly. It gets no others: its MP3 decoder writes
to the terminal."""
_PLAIN_FORMATS = {"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF"}
_PLAIN_ENCODINGS = {
    *("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
}
_FFMPEG_KNOWS = {*_PLAIN_FORMATS, "FLAC", "OGG", "MP3"}
_COUNTED_FORMATS = {"FLAC", "OGG"}
_NAMES = {1: ("FC",), 2: ("FL", "FR")}
_MOST_FRAMES = 1 << 40  # libsndfile returns 2**63 - 1 for an unknown length
_SHORT_DATA = re.compile(r"^\s*data\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_BYTES = 0x7FFFF000  # lengths from here on are placeholders of an unfinished file


def decode(
    file: io.BufferedIOBase, name: str, notes: list[AudioNote], max_seconds: float | None = None
) -> Iterator[Piece]:
    """Yield the samples of a recording until its stream ends.

    Args:
        file: read from its start.
        name: name of the recording in messages.
        notes: list that notes about the recording are appended to.
        max_seconds: a recording that is certainly longer is refused before decoding.

    Raises:
        AudioError: the format is unknown, or the recording is truncated or too damaged.
    """
    for part in find_parts(file):
        if part.has_more:
            note_beyond(name, notes)
        yield from _decode_part(part.file, name, notes, max_seconds)


def _decode_part(
    file: io.BufferedIOBase, name: str, notes: list[AudioNote], max_seconds: float | None
) -> Iterator[Piece]:
    links = find_links(file)
    sound = open_exact(file, links)
    if sound is not None and sound.channels in _NAMES:  # only FFmpeg names more channels
        with sound:
            if sound.format in _COUNTED_FORMATS:
                yield from _decode_counted(sound, file, name, notes, links)
            else:
                yield from _decode_plain(sound, name, notes, max_seconds)
        return
    pieces = ffmpeg.decode_packets(file, name, notes, links=links)
    try:
        first = next(pieces, None)
    except AudioError as error:
        with _rare(file, error) as sound:
            yield from _blocks(sound)
        return
    if first is not None:
        yield first
        yield from pieces


def probe(file: io.BufferedIOBase, name: str) -> float:
    """Return the approximate seconds of a recording without decoding it; 0 if unknown.

    Raises:
        AudioError: the format is unknown.
    """
    seconds = [_probe_part(part.file, name) for part in find_parts(file)]
    return sum(seconds) if all(seconds) else 0.0


def _probe_part(file: io.BufferedIOBase, name: str) -> float:
    links = find_links(file)
    sound = open_exact(file, links)
    if sound is not None:
        with sound:
            return sound.frames / sound.samplerate
    try:
        return ffmpeg.duration(file, name, links)
    except AudioError as error:
        with _rare(file, error) as sound:
            return sound.frames / sound.samplerate


def open_exact(file: io.BufferedIOBase, links: Sequence[Link]) -> soundfile.SoundFile | None:
    """Open a file with libsndfile if its length follows from its size or a sample count, else None.

    Args:
        file: opened from its start.
        links: from `find_links`.
    """
    file.seek(0)
    if file.read(4) not in _BEGINNINGS:
        return None
    sound = _open(file)
    if sound is None or _is_exact(sound, links):
        return sound
    sound.close()
    return None


def _rare(file: io.BufferedIOBase, error: AudioError) -> soundfile.SoundFile:
    """Open a file that FFmpeg refuses in one of the formats that only libsndfile supports.

    Raises:
        AudioError: the file is in none of them.
    """
    sound = _open(file)
    if sound is None or sound.format in _FFMPEG_KNOWS:
        raise error
    return sound


def _open(file: io.BufferedIOBase) -> soundfile.SoundFile | None:
    file.seek(0)
    try:
        return soundfile.SoundFile(Steady(file))
    except soundfile.LibsndfileError:
        return None


def _is_exact(sound: soundfile.SoundFile, links: Sequence[Link]) -> bool:
    if not 0 < sound.frames < _MOST_FRAMES:
        return False
    if sound.format == "OGG":
        return sound.subtype == "VORBIS" and len(links) == 1 and links[0].is_whole
    is_plain = sound.format in _PLAIN_FORMATS and sound.subtype in _PLAIN_ENCODINGS
    return is_plain or sound.format == "FLAC"


def _blocks(sound: soundfile.SoundFile) -> Iterator[Piece]:
    dtype = "float64" if sound.subtype == "DOUBLE" else "float32"
    names = _NAMES.get(sound.channels, ("NONE",) * sound.channels)
    size = max(sound.samplerate, 1) * BLOCK_SECONDS
    while len(block := sound.read(size, dtype=dtype, always_2d=True)):
        yield Piece(block, sound.samplerate, names)


def _decode_plain(
    sound: soundfile.SoundFile, name: str, notes: list[AudioNote], max_seconds: float | None
) -> Iterator[Piece]:
    if max_seconds is not None and sound.frames > max_seconds * sound.samplerate:
        raise too_long(name, max_seconds)
    done = 0
    try:
        for piece in _blocks(sound):
            done += len(piece.samples)
            yield piece
    except soundfile.LibsndfileError as error:
        raise cut_off(name) from error
    if done < sound.frames:
        raise cut_off(name)
    if short := _SHORT_DATA.search(sound.extra_info):
        stated, there = map(int, short.groups())
        if there < stated < _UNKNOWN_BYTES:
            seconds = done / sound.samplerate
            missing = f"{seconds:.1f} of {seconds * stated / there:.1f} s are there"
            notes.append(AudioNote(ffmpeg.SHORT, f"{name} {ffmpeg.SHORT}: {missing}"))


def _decode_counted(
    sound: soundfile.SoundFile,
    file: io.BufferedIOBase,
    name: str,
    notes: list[AudioNote],
    links: Sequence[Link],
) -> Iterator[Piece]:
    """Yield samples read by libsndfile; if it fails or stops too early, FFmpeg continues."""
    done, failed = 0, False
    try:
        for piece in _blocks(sound):
            done += len(piece.samples)
            yield piece
    except soundfile.LibsndfileError:
        failed = True
    missing = (sound.frames - done) / sound.samplerate
    if not failed:
        if links:  # the last page counts the samples; some between two pages may be lost
            ffmpeg.note_losses(done / sound.samplerate, missing, name, notes)
            return
        if missing <= 0 and not goes_on(file, sound.frames):
            return
    is_short = missing > 0 and not links
    stated = sound.frames / sound.samplerate if is_short else None
    for piece in ffmpeg.decode_packets(file, name, notes, links=links, stated=stated):
        if done < len(piece.samples):
            yield piece._replace(samples=np.ascontiguousarray(piece.samples[done:]))
        done = max(done - len(piece.samples), 0)
