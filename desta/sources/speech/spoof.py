"""Corpora of real and synthesised voices: ASVspoof 2019 (logical access), ASVspoof 5, CodecFake."""

from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import (
    NOT_WHOLE,
    Metadata,
    Skipped,
    Source,
    find_file,
    find_folder,
    of_split,
    spoken,
)
from desta.sources.files import find_any, read_fields, unpacked
from desta.sources.glossary import gender_name
from desta.sources.hub import HubRow, hub_reader

_REAL = "Real human"
_SYNTHESISED = "Synthesised speech"

_KEYS = {"bonafide": _REAL, "spoof": _SYNTHESISED}
"""Last word of a line of ASVspoof's protocols -> kind of voice."""
_CODECFAKE_LABELS = {"genuine": _REAL, "spoofing": _SYNTHESISED}
_CODECFAKE_HELD_OUT = {
    "p226": "validation",
    "p229": "validation",
    "p227": "evaluation",
    "p228": "evaluation",
}
"""Speaker of VCTK -> split of the recordings."""

_METHODS = {
    "A01": "Text to speech",
    "A02": "Text to speech",
    "A03": "Text to speech",
    "A04": "Text to speech",
    "A05": "Voice conversion",
    "A06": "Voice conversion",
}
"""Attack of ASVspoof 2019's training part -> method of synthesis."""


def read_asvspoof2019(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield real and synthesised voices from one recording room.

    A line of `ASVspoof2019.LA.cm.train.trn.txt` is `LA_0079 LA_T_1138215 - - bonafide`, with an
    attack such as A04 in the fourth place where the voice is made; the recording is
    `ASVspoof2019_LA_train/flac/LA_T_1138215.flac`. The words are not stated.
    """
    source, bring = "asvspoof2019", "unpack LA.zip"
    folder = unpacked(root, "LA")
    protocol = "ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt"
    train = find_file(folder, protocol, source=source, bring=bring)
    audio = find_folder(folder, "ASVspoof2019_LA_train/flac", source=source, bring=bring)
    for split in ("dev", "eval"):
        yield from _held_out(train.with_name(f"ASVspoof2019.LA.cm.{split}.trl.txt"), split)
    for fields in read_fields(train):
        if len(fields) < 5 or fields[4] not in _KEYS:
            yield Skipped(id=fields[min(1, len(fields) - 1)], reason=NOT_WHOLE, broken=True)
            continue
        _, name, _, attack, key, *_ = fields
        yield Metadata(
            id=name,
            audio=(audio / f"{Path(name).name}.flac").relative_to(root).as_posix(),
            segments=spoken(None),
            attributes={
                "Source": _KEYS[key],
                "Method": _METHODS.get(attack),
            },
            split="train",
        )


def read_asvspoof5(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield real and synthesised voices of about 400 people.

    A line of `ASVspoof5.train.tsv` is `T_4850 T_0000000000 F - - - AC3 A05 spoof -`: the third
    field is the sex, the ninth the kind; the recording is `flac_T/T_0000000000.flac`.
    """
    source = "asvspoof5"
    names = ("ASVspoof5.train.tsv", "ASVspoof5_protocols/ASVspoof5.train.tsv")
    train = find_any(root, *names, source=source, bring="unpack ASVspoof5_protocols.tar.gz")
    audio = find_folder(root, "flac_T", source=source, bring="unpack flac_T_aa.tar and the others")
    for split in ("dev", "eval"):
        yield from _held_out(train.with_name(f"ASVspoof5.{split}.track_1.tsv"), split)
    for fields in read_fields(train):
        if len(fields) < 9 or fields[8] not in _KEYS:
            yield Skipped(id=fields[min(1, len(fields) - 1)], reason=NOT_WHOLE, broken=True)
            continue
        name, gender, key = fields[1], fields[2], fields[8]
        yield Metadata(
            id=name,
            audio=(audio / f"{Path(name).name}.flac").relative_to(root).as_posix(),
            segments=spoken(None),
            attributes={
                "Gender": gender_name(gender),
                "Source": _KEYS[key],
            },
            split="train",
        )


def _held_out(protocol: Path, split: str) -> Iterator[Skipped]:
    if protocol.is_file():
        for fields in read_fields(protocol):
            yield of_split(fields[min(1, len(fields) - 1)], split)


def _describe_codecfake(row: HubRow) -> Metadata | Skipped:
    """Return the metadata of a row; a real one is `genuine` in both label and codec."""
    kind = _CODECFAKE_LABELS.get(str(row.values["label"]))
    if split := _CODECFAKE_HELD_OUT.get(str(row.values["speaker_id"])):
        return of_split(row.id, split)
    if kind is None:
        return Skipped(id=row.id, reason="its label is unknown", broken=True)
    return Metadata(
        id=row.id,
        audio=row.audio,
        segments=spoken(None),
        attributes={
            "Source": kind,
            "Codec": row.values["codec_name"] if kind == _SYNTHESISED else None,
        },
        split="train",
    )


SPOOF_SOURCES = (
    Source(
        name="asvspoof2019",
        title="ASVspoof 2019, logical access: real and synthesised voices",
        domains=("speech",),
        licence="ODC-By 1.0",
        obtain="Edinburgh DataShare 10283/3336, LA.zip, free; ASVspoof 2021 trains on this as well",
        layout="confirmed",
        cited="Hugging Face LanceaKing/asvspoof2019 asvspoof2019.py and its card",
        read=read_asvspoof2019,
    ),
    Source(
        name="asvspoof5",
        title="ASVspoof 5: real and synthesised voices of many people",
        domains=("speech",),
        licence="see its agreement",
        obtain="Zenodo record 14498691, free",
        layout="confirmed",
        cited="README.txt of ASVspoof 5 at Hugging Face jungjee/asvspoof5; public loaders of "
        "ASVspoof5.train.tsv (ten fields a line)",
        read=read_asvspoof5,
    ),
    Source(
        name="codecfake",
        title="CodecFake: VCTK as neural codecs play it back",
        domains=("speech",),
        licence="CC BY 4.0",
        obtain="Hugging Face rogertseng/CodecFake, free",
        layout="confirmed",
        cited="data set card of rogertseng/CodecFake; its authors' loader, data_utils.py of "
        "roger-tseng/CodecFake (labels, speakers held out)",
        read=hub_reader(
            "codecfake",
            "rogertseng/CodecFake",
            ("label", "speaker_id", "codec_name"),
            _describe_codecfake,
        ),
    ),
)
