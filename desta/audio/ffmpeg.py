"""Decoding by FFmpeg, through PyAV: every packet until the stream ends.

A file may be damaged, and its header wrong. All decodable packets are returned; the loss is counted
in seconds and noted, or the recording is refused if too much of it is lost.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from desta.audio.errors import AudioError, AudioNote, cut_off, no_samples, unknown_format
from desta.audio.files import Steady, cut_out
from desta.audio.ogg import Link

MAX_LOST_SHARE = 0.2
"""A recording that loses more than this share is refused."""

_FORMATS = (
    "aac,ac3,adx,aiff,amr,amrnb,amrwb,ape,asf,au,avi,avr,caf,dsf,dts,dtshd,eac3,flac,flv,ircam,"
    "loas,matroska,webm,mlp,mmf,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,mpc8,mpeg,mpegts,nistsphere,nut,"
    "ogg,oma,paf,pvf,qoa,rm,shn,sox,swf,tak,truehd,tta,voc,w64,wav,wtv,wv,xwma"
)
"""Containers with their sound inside. Left out are playlists and concatenations, which make the
decoder open other files, and samples without a header."""
_COUNTING_FORMATS = {"mov,mp4,m4a,3gp,3g2,mj2", "wv", "tta", "ape", "caf"}
"""Containers that list their packets, so that the missing part of a truncated file is known."""
_BEGINNINGS = (
    *(b"RIFF", b"RF64", b"riff", b"FORM", b"fLaC", b"OggS", b"ID3", b"caff", b"wvpk", b"MAC "),
    *(b"TTA1", b".snd", b"#!AMR", b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"FLV", b"tBaK"),
)
"""First bytes of recordings, to tell a damaged recording from another kind of file."""

_BLOCK_SECONDS = 5  # yielded at once
_LEAST_SAID = 0.02  # seconds of loss worth a note: about a packet
_LEAST_GAP = 0.05  # seconds between time stamps that count as a gap; Vorbis jitters by less
_DTYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}

PARTLY = "could not be decoded in part"
GAPS = "has gaps between its time stamps"
SHORT = "ends before the length its header states"


class Piece(NamedTuple):
    """A few seconds of a recording."""

    samples: NDArray[Any]
    """Floating, (T, channels)."""
    rate: int
    """Hz."""
    channels: tuple[str, ...]
    """FFmpeg's channel names, such as FL; NONE for an unnamed channel."""


@dataclass
class _Record:
    """Decoded and lost seconds of a recording."""

    decoded: float = 0.0
    lost: float = 0.0
    """Seconds of packets that could not be decoded."""
    gaps: float = 0.0
    """Seconds between the time stamps of consecutive packets."""
    begins: float | None = None
    """Time stamp of the first decoded packet."""
    breaks_off: bool = False
    """Whether the last packet was incomplete."""


def decode_packets(
    file: io.BufferedIOBase,
    name: str,
    notes: list[AudioNote],
    *,
    links: Sequence[Link] = (),
    stated: float | None = None,
) -> Iterator[Piece]:
    """Yield the samples of a recording from its beginning.

    Args:
        file: read from its start.
        name: name of the recording in messages.
        links: from `find_links`.
        notes: list that notes about the recording are appended to, at its end.
        stated: exact seconds stated by the header of the file, if known.

    Raises:
        AudioError: the file has no sound, an unknown format, or is too damaged.
    """
    record = _Record()
    if links:
        yield from _decode_links(file, name, notes, record, links)
    else:
        file.seek(0)
        yield from _decode_stream(file, name, notes, record, stated)
    if links and links[-1].is_cut:
        reason = "is cut off in its last page"
        notes.append(AudioNote(reason, f"{name} {reason}: more may have followed"))
    lost = record.lost
    if stated is not None:
        missing = max(stated - record.decoded, 0.0)
        if missing >= _LEAST_SAID and (record.breaks_off or not record.decoded):
            raise cut_off(name)
        if lost or record.gaps:
            lost = missing
        elif missing:  # only the count is wrong
            there = _of(record.decoded, stated)
            notes.append(AudioNote(SHORT, f"{name} {SHORT}: {there} s are there"))
    elif record.gaps and not links:
        hold = _of(record.decoded, record.decoded + record.gaps)
        notes.append(AudioNote(GAPS, f"{name} {GAPS}: {hold} s hold sound"))
    if record.breaks_off and lost > MAX_LOST_SHARE * (record.decoded + lost) > 0:
        raise cut_off(name)
    note_losses(record.decoded, lost, name, notes)


def duration(file: io.BufferedIOBase, name: str, links: Sequence[Link] = ()) -> float:
    """Return the sum of the packets' stated seconds without decoding; 0 if one states none.

    Raises:
        AudioError: the file has no sound or an unknown format.
    """
    if len(links) < 2:
        file.seek(0)
        return _stream_duration(file, name)
    parts = [_stream_duration(cut_out(file, link.start, link.end), name) for link in links]
    return sum(parts) if all(parts) else 0.0


def _decode_links(
    file: io.BufferedIOBase,
    name: str,
    notes: list[AudioNote],
    record: _Record,
    links: Sequence[Link],
) -> Iterator[Piece]:
    """Yield the samples of an Ogg file link by link; counted but undecoded samples are lost."""
    failure: AudioError | None = None
    for link in links:
        part = _Record()
        data = file if len(links) == 1 else cut_out(file, link.start, link.end)
        data.seek(0)
        try:
            yield from _decode_stream(data, name, notes, part, None)
        except AudioError as error:
            if not link.seconds:
                raise
            failure = error
        lost = part.lost + part.gaps
        if link.seconds is not None:  # a stream recorded from its middle starts there
            begins = (part.begins or 0.0) if link.starts_whole else 0.0
            missing = link.seconds - begins - part.decoded
            lost = missing if missing >= _LEAST_GAP else part.lost
        record.lost += lost
        record.decoded += part.decoded
    if failure is not None and not record.decoded:
        raise failure


def _decode_stream(
    file: io.BufferedIOBase,
    name: str,
    notes: list[AudioNote],
    record: _Record,
    stated: float | None,
) -> Iterator[Piece]:
    try:
        with _open(file) as container:
            stream = _track(container, name, notes)
            yield from _pieces(_frames(container, stream, record))
            if stated is None:
                record.breaks_off &= container.format.name in _COUNTING_FORMATS
            if stated is None and record.breaks_off and stream.duration and stream.time_base:
                missing = float(stream.duration * stream.time_base) - record.decoded - record.lost
                record.lost += max(missing, 0.0)
    except av.FFmpegError as error:
        if stated is not None:
            raise cut_off(name) from error
        raise _unreadable(file, name) from error


def _pieces(frames: Iterator[av.AudioFrame]) -> Iterator[Piece]:
    """Join consecutive frames of the same rate and channels."""
    waiting: list[NDArray[Any]] = []
    rate, width, length = 0, 0, 0
    names: tuple[str, ...] = ()
    for frame in frames:
        samples = _samples(frame)
        found = frame.sample_rate, samples.shape[1]
        if waiting and (found != (rate, width) or length >= _BLOCK_SECONDS * rate):
            yield Piece(np.concatenate(waiting), rate, names)
            waiting, length = [], 0
        if not waiting:
            rate, width = found
            names = tuple(channel.name for channel in frame.layout.channels)
        waiting.append(samples)
        length += len(samples)
    if waiting:
        yield Piece(np.concatenate(waiting), rate, names)


def _open(file: io.BufferedIOBase) -> av.container.InputContainer:
    return av.open(Steady(file), "r", options={"format_whitelist": _FORMATS})


def _unreadable(file: io.BufferedIOBase, name: str) -> AudioError:
    """Return the error for a file that FFmpeg cannot open."""
    file.seek(0)
    beginning = file.read(16)
    if beginning.startswith(_BEGINNINGS) or beginning[4:8] == b"ftyp":
        return AudioError(
            name, "begins like a recording and holds none", fix="copy or download it again"
        )
    return unknown_format(name)


def _track(
    container: av.container.InputContainer, name: str, notes: list[AudioNote]
) -> av.AudioStream:
    """Return the sound track to decode: the first that is marked as default, else the first."""
    tracks = container.streams.audio
    if not tracks:
        raise AudioError(name, "holds no sound track", fix="give a file with sound")
    default = av.stream.Disposition.default
    number = next((i for i, track in enumerate(tracks) if track.disposition & default), 0)
    if tracks[number].codec_context is None:
        raise AudioError(
            name,
            "is in an encoding that cannot be read",
            fix="convert it to wav, flac, ogg, mp3 or m4a",
        )
    if len(tracks) > 1:
        reason = "has several sound tracks"
        notes.append(
            AudioNote(
                reason, f"{name} has {len(tracks)} sound tracks: number {number + 1} is heard"
            )
        )
    return tracks[number]


def _frames(
    container: av.container.InputContainer, stream: av.AudioStream, record: _Record
) -> Iterator[av.AudioFrame]:
    """Yield the decodable frames, and record decoded and lost seconds."""
    packets = container.demux(stream)
    frame_seconds = 0.0
    expected: float | None = None
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            record.breaks_off = True
            return
        if packet is None:
            return
        if packet.size:  # the last is empty: it flushes the decoder
            record.breaks_off = packet.is_corrupt
        try:
            frames = packet.decode()
        except av.FFmpegError:
            seconds = float((packet.duration or 0) * packet.time_base) if packet.time_base else 0.0
            record.lost += seconds or frame_seconds
            record.breaks_off = record.breaks_off or bool(packet.size)
            expected = None if expected is None else expected + (seconds or frame_seconds)
            continue
        for frame in frames:
            if not frame.sample_rate or not frame.samples:
                continue
            frame_seconds = frame.samples / frame.sample_rate
            if frame.time is not None:
                record.begins = frame.time if record.begins is None else record.begins
                if expected is not None and frame.time > expected + _LEAST_GAP:
                    record.gaps += frame.time - expected
                expected = frame.time
            expected = None if expected is None else expected + frame_seconds
            record.decoded += frame_seconds
            yield frame


def _samples(frame: av.AudioFrame) -> NDArray[Any]:
    """Return the samples of a frame as float, (T, channels), full scale 1.

    Not by `frame.to_ndarray`, which takes longer than decoding the frame.
    """
    packing = frame.format.packed.name
    dtype = np.dtype(_DTYPES[packing])
    if frame.format.is_planar:
        planes = [np.frombuffer(plane, dtype, frame.samples) for plane in frame.planes]
        array = planes[0][:, None] if len(planes) == 1 else np.stack(planes, axis=1)
    else:
        num_channels = frame.layout.nb_channels
        array = np.frombuffer(frame.planes[0], dtype, frame.samples * num_channels)
        array = array.reshape(-1, num_channels)
    if dtype.kind == "f":
        return array
    if dtype.kind == "u":  # 8 bits around 128
        return (array.astype(np.float32) - 128) / 128
    return array.astype(np.float32) / -float(np.iinfo(dtype).min)


def note_losses(decoded: float, lost: float, name: str, notes: list[AudioNote]) -> None:
    """Add a note about the lost part of a recording.

    Args:
        decoded: seconds that were decoded.
        lost: seconds that were not.
        name: name of the recording in messages.
        notes: list that the note is appended to.

    Raises:
        AudioError: nothing or too little is left.
    """
    total = decoded + lost
    if not total:
        raise no_samples(name)
    if not decoded:
        raise AudioError(
            name,
            "has no packet that can be decoded",
            fix="it is damaged, encrypted or of a rare kind: export it again as wav or flac",
        )
    if lost > MAX_LOST_SHARE * total:
        raise AudioError(
            name,
            "has too few packets that can be decoded",
            fix=f"{_of(decoded, total)} s can be; copy it again, or export it as wav or flac",
        )
    if lost >= _LEAST_SAID:
        notes.append(AudioNote(PARTLY, f"{name}: {_of(decoded, total)} s could be decoded"))


def _of(part: float, whole: float) -> str:
    """Return two durations with just enough digits to differ.

    >>> _of(5.6, 5.8), _of(5.76, 5.8)
    ('5.6 of 5.8', '5.76 of 5.80')
    """
    digits = 1 if f"{part:.1f}" != f"{whole:.1f}" else 2
    return f"{part:.{digits}f} of {whole:.{digits}f}"


def _stream_duration(file: io.BufferedIOBase, name: str) -> float:
    ticks: float = 0
    try:
        with _open(file) as container:
            stream = _track(container, name, [])
            for packet in container.demux(stream):
                if packet.size:
                    if not packet.duration or packet.time_base is None:
                        return 0.0
                    ticks += packet.duration * packet.time_base - _skipped(packet, stream.rate)
    except av.FFmpegError as error:
        if ticks:  # the rest is damaged, which decoding will report
            return float(ticks)
        raise _unreadable(file, name) from error
    return float(ticks)


def _skipped(packet: av.Packet, rate: int) -> float:
    """Return the seconds that the decoder drops at the beginning and end of a packet."""
    if not packet.has_sidedata("skip_samples") or not rate:
        return 0.0
    first, last = np.frombuffer(packet.get_sidedata("skip_samples"), "<u4", 2)
    return (int(first) + int(last)) / rate
