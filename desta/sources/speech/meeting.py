"""Corpora of several simultaneous speakers: AliMeeting, LibriCount."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from desta.audio import WINDOW_SECONDS, AudioError
from desta.errors import DataError
from desta.records import Segment
from desta.sources.base import NOT_WHOLE, Metadata, Skipped, Source, find_folder, of_split, spoken
from desta.sources.cuts import cut, group_segments, shift
from desta.sources.files import keep, list_files, read_text, unpacked, visible
from desta.sources.glossary import JOINED, gender_name
from desta.sources.tables import load_json

_TIER = re.compile(r'class = "IntervalTier"\s+name = "(?P<name>[^"]*)"')
_INTERVAL = re.compile(
    r"xmin = (?P<start>\d+(?:\.\d+)?)\s+xmax = (?P<end>\d+(?:\.\d+)?)\s+"
    r'text = "(?P<text>(?:[^"]|"")*)"'
)
_MARK = re.compile(r"<[^>]*>")  # <sil>, <%>: what is no word
_SPEAKER = re.compile(r"(?:.*_)?(?P<gender>[FM])_(?P<speaker>SPK\d+)")  # N_R0003S0046_F_SPK0093


def read_alimeeting(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield stretches of Mandarin meetings, as the first of eight far microphones heard them.

    `Train_Ali_far/audio_dir/R0003_M0046_MS002.wav` lasts half an hour; speakers, words and times
    are in `textgrid_dir/R0003_M0046.TextGrid`, a tier per speaker. It is cut where nobody speaks.
    """
    source, bring = "alimeeting", "unpack Train_Ali_far.tar.gz"
    grids = find_folder(root, "Train_Ali_far/textgrid_dir", source=source, bring=bring)
    audio = find_folder(root, "Train_Ali_far/audio_dir", source=source, bring=bring)
    for part in ("Eval", "Test"):
        folder = unpacked(root, f"{part}_Ali") / f"{part}_Ali_far" / "textgrid_dir"
        for grid in visible(folder, "*.TextGrid"):
            yield of_split(grid.stem, part.lower())
    for grid in visible(grids, "*.TextGrid"):
        recording = next(iter(visible(audio, f"{grid.stem}*.wav")), None)
        if recording is None:
            yield Skipped(id=grid.stem, reason="its recording is missing", broken=True)
            continue
        genders, segments = _read_grid(grid)
        for group in group_segments(segments):
            yield _stretch(root, recording, grid.stem, group, genders)


def _stretch(
    root: Path, recording: Path, meeting: str, group: Sequence[Segment], genders: dict[str, str]
) -> Metadata | Skipped:
    start, end = group[0].start, max(segment.end for segment in group)
    id = f"{meeting}/{round(start * 1000):07}-{round(end * 1000):07}"
    if end - start > WINDOW_SECONDS:
        return Skipped(id=id, reason="talk without a common pause for longer than a clip")
    try:
        sound = cut(recording, start=start, end=end)
    except AudioError as error:
        return Skipped(id=id, reason=error.reason, broken=True)
    speakers = dict.fromkeys(segment.speaker or "" for segment in group)
    found = dict.fromkeys(gender_name(genders.get(speaker)) for speaker in speakers)
    return Metadata(
        id=id,
        audio=keep(root, f"alimeeting/{id}-", ".flac", sound),
        segments=shift(group),
        attributes={
            "Language": "Chinese",
            "Number of speakers": str(len(speakers)),
            "Gender": JOINED.join(gender for gender in found if gender),
        },
        split="train",
    )


def _read_grid(path: Path) -> tuple[dict[str, str], list[Segment]]:
    """Return speaker -> F or M, and the segments, from a TextGrid of Praat in its long form."""
    text = read_text(path)
    _, *pieces = _TIER.split(text)
    genders, segments = {}, []
    for name, body in zip(pieces[::2], pieces[1::2], strict=True):
        match = _SPEAKER.fullmatch(name)
        speaker = match["speaker"] if match else name
        if match:
            genders[speaker] = match["gender"]
        for interval in _INTERVAL.finditer(body):
            words = _MARK.sub("", interval["text"].replace('""', '"')).strip()
            start, end = float(interval["start"]), float(interval["end"])
            if words and end > start:
                segments.append(Segment(start=start, end=end, speaker=speaker, text=words))
    return genders, segments


def read_libricount(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield five seconds of none to ten people who read at once: `test/X.wav`, `test/X.json`.

    The JSON file lists the speakers. All of the corpus is called `test`; it has no splits.
    """
    bring = "unpack LibriCount10-0dB.zip"
    for path in list_files(root, "test", "*.wav", source="libricount", bring=bring):
        listed = path.with_suffix(".json")
        if not listed.is_file():
            yield Skipped(id=path.stem, reason="its JSON file is missing", broken=True)
            continue
        try:
            speakers = len(load_json(listed))
        except (DataError, TypeError):  # one of thousands
            yield Skipped(id=path.stem, reason=NOT_WHOLE, broken=True)
            continue
        yield Metadata(
            id=path.stem,
            audio=path.relative_to(root).as_posix(),
            segments=spoken(None) if speakers else (),
            attributes={"Number of speakers": str(speakers)},
        )


MEETING_SOURCES = (
    Source(
        name="alimeeting",
        title="AliMeeting: Mandarin meetings of two to four people",
        domains=("speech",),
        licence="CC BY-SA 4.0",
        obtain="OpenSLR 119, free: Train_Ali_far.tar.gz; clips are cut into recordings/",
        layout="confirmed",
        cited="lhotse recipes/ali_meeting.py",
        read=read_alimeeting,
    ),
    Source(
        name="libricount",
        title="LibriCount: none to ten readers at once",
        domains=("speech",),
        licence="see its agreement",
        obtain="Zenodo record 1216072, free; mixed of utterances of LibriSpeech's test-clean, and "
        "asked about by Dynamic-SUPERB: for training only with decontamination",
        layout="confirmed",
        cited="public TensorFlow Datasets builder of LibriCount10-0dB.zip",
        read=read_libricount,
    ),
)
