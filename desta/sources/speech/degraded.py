"""Corpora of speech with noise, echo or losses: LibriSpeech-C, VCTK+MUSAN, TMHINT-QI, ..."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from desta.errors import DataError
from desta.records import Segment
from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    relative_id,
    spoken,
)
from desta.sources.files import find_any, inside, read_words, unpacked, visible
from desta.sources.glossary import gender_name, noise_level, number
from desta.sources.tables import load_json, read_rows

_LIBRISPEECH_C = {
    "AA": "Airport announcements",
    "AC": "Air conditioner",
    "BA": "Babble",
    "CM": "Copy machine",
    "GS": "Gaussian",
    "MU": "Munching",
    "NB": "Neighbours",
    "SD": "Shutting door",
    "TP": "Typing",
    "VC": "Vacuum cleaner",
}

_TRAINING_PARTS = {28539, 104014, 148688}
"""Utterances in train-clean-100, train-clean-360, train-other-500 of LibriSpeech."""
_SNR_FOLDER = re.compile(r"snr=(?P<decibels>-?\d+(?:\.\d+)?)")

_LEVELS = {"zero": 0, "five": 5, "ten": 10, "fifteen": 15}
_ROOM = re.compile(r"(small|medium|large)-?room", re.I)
_ADDED = re.compile(r"gaussian|music|speech|noise(?=_|$)", re.I)  # in the name of a task
_KINDS = {
    "gaussian": "Gaussian",
    "music": "Music",
    "noise": "Everyday sounds",
    "speech": "Other voices",
}
"""Part of MUSAN -> kind of noise."""
_QUALITIES = {1: "Bad", 2: "Poor", 3: "Fair", 4: "Good", 5: "Excellent"}
_TMHINT_SPEAKER = re.compile(r"TMHINT_(?P<sex>[bg])\d")  # FCN_snr0_street_TMHINT_b2_22_03
_TMHINT_SEXES = {"b": "Male", "g": "Female"}


def read_librispeech_c(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield audio books with one of ten noises: `train-clean-100/AC/snr=5/wav/0000000.wav`.

    The words lie in `AC/snr=5/text/0000000.txt`; `data_info.json` lists the recordings. The script
    that makes the corpus takes test-other as it stands and writes no folder of a part: only what
    lies in a folder called `train-...`, or is as many as a training part has, is used.
    """
    folder = unpacked(root, "LibriSpeech-c")
    lists = visible(folder, "**/snr=*/data_info.json")
    if not lists:
        first = "train-clean-100/AC/snr=5/data_info.json"
        bring = "run the script that makes it"
        find_file(folder, first, source="librispeech-c", bring=bring)
    for listed in lists:
        part = listed.parent
        noise, snr = part.parent.name, _SNR_FOLDER.fullmatch(part.name)
        training = _is_training_part(listed, folder)
        for path in visible(part / "wav", "*.wav"):
            id = relative_id(path, folder)
            words = read_words(part / "text" / f"{path.stem}.txt")
            if not training:
                reason = "not known to be made of a training part of LibriSpeech"
                yield Skipped(id=id, reason=reason)
            elif snr is None:
                yield Skipped(id=id, reason="its folder does not tell its noise", broken=True)
            elif words is None:
                yield Skipped(id=id, reason="no text for it")
            else:
                yield Metadata(
                    id=id,
                    audio=path.relative_to(root).as_posix(),
                    segments=spoken(words.capitalize()),  # LibriSpeech writes ALL IN CAPITALS
                    attributes={
                        "Noise": _LIBRISPEECH_C.get(noise, noise),
                        "Noise level": noise_level(float(snr["decibels"])),
                        "Signal-to-noise ratio": f"{snr['decibels']}dB",
                    },
                    split="train",
                )


def _is_training_part(listed: Path, folder: Path) -> bool:
    if any(name.startswith("train-") for name in listed.relative_to(folder).parts):
        return True
    recordings = load_json(listed)
    return isinstance(recordings, list) and len(recordings) in _TRAINING_PARTS


def read_dynamic_superb(
    root: Path, *, source: str, tasks: str, example: str
) -> Iterator[Metadata | Skipped]:
    """Yield the training recordings of Dynamic-SUPERB's tasks about noise and echo.

    `TASK/train/metadata.json` maps the name of a recording beside it to what is known of it:
    `label` (clean, noisy; zero, five, ten, fifteen; yes, no) and, where known, `gender`, `speaker`,
    `text` or `segments` (start, end, speaker, text), `snr` and `c50` in dB.

    Args:
        root: folder of the tasks.
        source: name of the corpus.
        tasks: regular expression for the names of its tasks.
        example: the name of one, for the error message.
    """
    folders = [path for path in sorted(root.iterdir()) if re.fullmatch(tasks, path.name, re.I)]
    if not any((task / "train" / "metadata.json").is_file() for task in folders):
        bring = "unpack the training sets of the tasks"
        find_file(root, f"{example}/train/metadata.json", source=source, bring=bring)
    for task in folders:
        for listed in sorted(task.glob("*/metadata.json")):
            split = listed.parent
            for name, item in _read_metadata(listed).items():
                id = f"{task.name}/{split.name}/{name}"
                if split.name != "train":
                    yield of_split(id, split.name)
                else:
                    yield _superb_clip(root, split, id, name, item)


def _read_metadata(path: Path) -> dict[str, Any]:
    items = load_json(path)
    if isinstance(items, dict):
        return items
    raise DataError(
        f"{path} does not map names of recordings to what is known of them",
        fix="unpack the task again",
    )


def _superb_clip(root: Path, split: Path, id: str, name: str, item: Any) -> Metadata | Skipped:
    audio = inside(split, name)  # within the split: another one is for tests
    if audio is None:
        return Skipped(id=id, reason="the recording lies outside its folder", broken=True)
    try:
        return Metadata(
            id=id,
            audio=(split / audio).relative_to(root).as_posix(),
            segments=_superb_segments(item),
            attributes=_superb_attributes(split.parent.name, item),
            split="train",
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        return Skipped(id=id, reason=NOT_WHOLE, broken=True)


def _superb_segments(item: Mapping[str, Any]) -> tuple[Segment, ...]:
    if listed := item.get("segments"):
        return tuple(
            Segment(
                start=float(s["start"]),
                end=float(s["end"]),
                speaker=s.get("speaker"),
                text=s.get("text"),
            )
            for s in listed
        )
    (whole,) = spoken(item.get("text"))
    return (replace(whole, speaker=item.get("speaker")),)


def _superb_attributes(task: str, item: Mapping[str, Any]) -> dict[str, str | None]:
    label = str(item.get("label", "")).strip().lower()
    snr, c50 = number(item.get("snr", _LEVELS.get(label))), number(item.get("c50"))
    attributes: dict[str, str | None] = {"Gender": gender_name(item.get("gender"))}
    if label in ("clean", "noisy"):
        attributes["Noise level"] = label.capitalize()
    elif snr is not None:
        attributes["Noise level"] = noise_level(snr)
    if label != "clean" and (kind := _ADDED.search(task)):
        attributes["Noise"] = _KINDS[kind[0].lower()]
    if snr is not None:
        attributes["Signal-to-noise ratio"] = f"{snr:g}dB"
    if label in ("yes", "no") and (room := _ROOM.search(task)):
        attributes["Reverberation"] = f"{room[1].capitalize()} room" if label == "yes" else "None"
    if c50 is not None:
        attributes["Reverberation (C50)"] = f"{c50:g}dB"
    return attributes


def read_tmhint_qi(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield Mandarin sentences, noisy or enhanced, with what listeners think of their quality.

    `raw_data.csv` has a row a listener: `file_name` and `quality_score`, from 1 to 5. The
    recordings lie in `TMHINTQI/train` and `TMHINTQI/test`.
    """
    source, bring = "tmhint-qi", "unpack TMHINTQI.zip, and raw_data.csv beside it"
    folder = unpacked(root, "TMHINTQI")
    names = ("raw_data.csv", "TMHINTQI/raw_data.csv")
    table = find_any(root, *names, source=source, bring=bring)
    find_folder(folder, "train", source=source, bring=bring)
    scores: dict[str, list[float]] = defaultdict(list)
    for row in read_rows(table, "file_name", "quality_score"):
        if (score := number(row["quality_score"])) is not None:
            scores[row["file_name"]].append(score)
    for path in visible(folder / "test", "*.wav"):
        yield of_split(relative_id(path, folder), "test")
    for path in visible(folder / "train", "*.wav"):
        given = scores.get(path.stem)
        if not given:
            yield Skipped(id=relative_id(path, folder), reason="no score for it")
            continue
        mean = sum(given) / len(given)
        speaker = _TMHINT_SPEAKER.search(path.stem)
        yield Metadata(
            id=relative_id(path, folder),
            audio=path.relative_to(root).as_posix(),
            segments=spoken(None),
            attributes={
                "Language": "Chinese",
                "Gender": _TMHINT_SEXES[speaker["sex"]] if speaker else None,
                "Mean opinion score": f"{mean:.1f}/5",
                "Speech quality": _QUALITIES[min(max(int(mean + 0.5), 1), 5)],
            },
            split="train",
        )


DEGRADED_SOURCES = (
    Source(
        name="librispeech-c",
        title="LibriSpeech-C: audio books with ten kinds of noise",
        domains=("speech",),
        licence="CC BY 4.0 (LibriSpeech), MIT (noises of MS-SNSD)",
        obtain="made by preprocess/librispeech_noise.py of github.com/hhhaaahhhaa/Dynamic-SUTA; "
        "set it to a training part of LibriSpeech, and move what it makes into a folder called by "
        "that part, such as train-clean-100",
        layout="confirmed",
        cited="Dynamic-SUTA preprocess/librispeech_noise.py and src/corpus/corpus.py",
        read=read_librispeech_c,
    ),
    Source(
        name="vctk-musan",
        title="VCTK with noise, music or speech of MUSAN",
        domains=("speech",),
        licence="see the agreements of VCTK and MUSAN",
        obtain="Dynamic-SUPERB publishes test sets only; make training sets in its layout",
        layout="believed",
        cited="the layout is that of dynamic-superb/multimodal-llama data/dataset.py, the tasks "
        "those of dynamic-superb/espnet-whisper local/task_list.txt; a training set was not found",
        read=partial(
            read_dynamic_superb,
            source="vctk-musan",
            tasks=r"Noise(Detection|SNRLevelPrediction).*VCTK.*",
            example="NoiseSNRLevelPredictiongaussian_VCTKMusan",
        ),
    ),
    Source(
        name="noise-reverb",
        title="VoxCeleb with noise and echo, as in Dynamic-SUPERB's training sets",
        domains=("speech",),
        licence="see the agreements of VoxCeleb, MUSAN and RIRS_NOISES",
        obtain="not published; make training sets in the layout of Dynamic-SUPERB",
        layout="believed",
        cited="as vctk-musan; speaker, gender, text, segments, snr and c50 are this package's own",
        read=partial(
            read_dynamic_superb,
            source="noise-reverb",
            tasks=r"(Noise|Reverberation)(Detection|SNRLevelPrediction).*Voxceleb.*",
            example="ReverberationDetectionLargeRoom_VoxcelebRirsNoises",
        ),
    ),
    Source(
        name="tmhint-qi",
        title="TMHINT-QI: noisy and enhanced Mandarin with listeners' scores",
        domains=("speech",),
        licence="MIT",
        obtain="github.com/yuwchen/InQSS, free",
        layout="confirmed",
        cited="README of yuwchen/InQSS and public loaders of raw_data.csv; that b and g in a name "
        "are a man and a woman is believed",
        read=read_tmhint_qi,
    ),
)
