"""Corpora of real and synthesised voices: ASVspoof 2019 (logical access), ASVspoof 5, CodecFake."""

from collections.abc import Iterator
from pathlib import Path

from desta.sources.base import Metadata, Skipped, Source, known, spoken
from desta.sources.files import read_fields, require, require_any, unpacked
from desta.sources.hub import HubRow, hub_reader

_REAL = "Real human"
_SYNTHESISED = "Synthesised speech"

_GENDERS = {"F": "Female", "M": "Male"}

_METHODS = {
    "A01": "Text to speech",
    "A02": "Text to speech",
    "A03": "Text to speech",
    "A04": "Text to speech",
    "A05": "Voice conversion",
    "A06": "Voice conversion",
}
"""Attack of ASVspoof 2019's training part -> how the voice is made."""


def read_asvspoof2019(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield real and made voices of one recording room.

    A line of `ASVspoof2019.LA.cm.train.trn.txt` is `LA_0079 LA_T_1138215 - - bonafide`, with an
    attack such as A04 in the fourth place where the voice is made; the recording is
    `ASVspoof2019_LA_train/flac/LA_T_1138215.flac`. The words are not stated.
    """
    source, unpack = "asvspoof2019", "LA.zip into the root"
    folder = unpacked(root, "LA")
    protocols = folder / "ASVspoof2019_LA_cm_protocols"
    train = protocols / "ASVspoof2019.LA.cm.train.trn.txt"
    require(train, source=source, unpack=unpack)
    audio = require(folder / "ASVspoof2019_LA_train" / "flac", source=source, unpack=unpack)
    for split in ("dev", "eval"):
        yield from _held_out(protocols / f"ASVspoof2019.LA.cm.{split}.trl.txt", split)
    for _, name, _, attack, key, *_ in read_fields(train):
        yield Metadata(
            id=name,
            audio=(audio / f"{Path(name).name}.flac").relative_to(root).as_posix(),
            domain="speech",
            segments=spoken(None),
            attributes=known(
                {
                    "Source": _REAL if key == "bonafide" else _SYNTHESISED,
                    "Method": _METHODS.get(attack),
                }
            ),
            split="train",
        )


def read_asvspoof5(root: Path) -> Iterator[Metadata | Skipped]:
    """Yield real and made voices of some 400 people.

    A line of `ASVspoof5.train.tsv` is `T_4850 T_0000000000 F - - - AC3 A05 spoof -`: the third
    field is the sex, the ninth tells what is real; the recording is `flac_T/T_0000000000.flac`.
    """
    source = "asvspoof5"
    folder = unpacked(root, "ASVspoof5_protocols")
    train = require_any(
        folder / "ASVspoof5.train.tsv",
        root / "ASVspoof5.train.tsv",
        source=source,
        unpack="ASVspoof5_protocols.tar into the root",
    )
    audio = require(root / "flac_T", source=source, unpack="flac_T_aa.tar and others into the root")
    for split in ("dev", "eval"):
        yield from _held_out(train.with_name(f"ASVspoof5.{split}.track_1.tsv"), split)
    for fields in read_fields(train):
        name, gender, key = fields[1], fields[2], fields[8]
        yield Metadata(
            id=name,
            audio=(audio / f"{Path(name).name}.flac").relative_to(root).as_posix(),
            domain="speech",
            segments=spoken(None),
            attributes=known(
                {
                    "Gender": _GENDERS.get(gender),
                    "Source": _REAL if key == "bonafide" else _SYNTHESISED,
                }
            ),
            split="train",
        )


def _held_out(protocol: Path, split: str) -> Iterator[Skipped]:
    if protocol.is_file():
        for fields in read_fields(protocol):
            yield Skipped(id=fields[1], reason=f"of the official {split} split")


def _describe_codecfake(row: HubRow) -> Metadata:
    real = str(row.values["label"] or "").lower().startswith("bona")
    return Metadata(
        id=row.id,
        audio=row.audio,
        domain="speech",
        segments=spoken(None),
        attributes=known(
            {
                "Source": _REAL if real else _SYNTHESISED,
                "Codec": None if real else row.values["codec_name"],
            }
        ),
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
        cited="public loaders of ASVspoof5.train.tsv and flac_T (ten fields a line)",
        read=read_asvspoof5,
    ),
    Source(
        name="codecfake",
        title="CodecFake: VCTK as neural codecs play it back",
        domains=("speech",),
        licence="CC BY 4.0",
        obtain="Hugging Face rogertseng/CodecFake, free",
        layout="confirmed",
        cited="data set card of rogertseng/CodecFake",
        read=hub_reader(
            "codecfake", "rogertseng/CodecFake", ("label", "codec_name"), _describe_codecfake
        ),
    ),
)
