"""Corpora of real and synthesised voices."""

from pathlib import Path

from corpora import DEV, EVALUATION, NOT_WHOLE, VALIDATION, Corpus, hub_sound, record, shard, write


def make_asvspoof2019(root: Path) -> None:
    protocols = root / "LA/ASVspoof2019_LA_cm_protocols"
    write(
        protocols,
        "ASVspoof2019.LA.cm.train.trn.txt",
        "LA_0079 LA_T_1138215 - - bonafide",
        "LA_0079 LA_T_1271820 - A06 spoof",
        "LA_0079 LA_T_1271821",
    )
    write(protocols, "ASVspoof2019.LA.cm.dev.trl.txt", "LA_0069 LA_D_1047731 - - bonafide\n")
    record(root, "LA/ASVspoof2019_LA_train/flac/LA_T_1138215.flac", seconds=1)
    record(root, "LA/ASVspoof2019_LA_train/flac/LA_T_1271820.flac", seconds=2)


def make_asvspoof5(root: Path) -> None:
    write(
        root,
        "ASVspoof5.train.tsv",
        "T_4850 T_0000000000 F - - - AC3 A05 spoof -\n"
        "T_0001 T_0000000001 M - - - - bonafide bonafide -\n"
        "T_0001 T_0000000002 M - - - - bonafide other -",
    )
    write(root, "ASVspoof5.dev.track_1.tsv", "D_0062 D_0000000001 F - - - AC1 A11 spoof -\n")
    record(root, "flac_T/T_0000000000.flac", seconds=1)
    record(root, "flac_T/T_0000000001.flac", seconds=2)


def make_codecfake(root: Path) -> None:
    fake = {"label": "spoofing", "codec_name": "encodec_24khz"}
    real = {"label": "genuine", "codec_name": "genuine"}
    rows = [
        {**fake, "audio": hub_sound(1), "speaker_id": "p282"},
        {**real, "audio": hub_sound(2), "speaker_id": "p282"},
        {**real, "audio": hub_sound(3), "speaker_id": "p226"},
        {**fake, "audio": hub_sound(4), "speaker_id": "p227"},
        {**real, "audio": hub_sound(5), "speaker_id": "p282", "label": "unheard of"},
    ]
    shard(root, "data/train-00000-of-00162.parquet", rows)


CORPORA = {
    "asvspoof2019": Corpus(
        build=make_asvspoof2019,
        needed=(
            "LA/ASVspoof2019_LA_cm_protocols/ASVspoof2019.LA.cm.train.trn.txt",
            "LA/ASVspoof2019_LA_train/flac",
        ),
        left={DEV: 1, NOT_WHOLE: 1},
    ),
    "asvspoof5": Corpus(
        build=make_asvspoof5,
        needed=(
            "ASVspoof5.train.tsv",
            "flac_T",
        ),
        left={DEV: 1, NOT_WHOLE: 1},
    ),
    "codecfake": Corpus(
        build=make_codecfake,
        needed=("data/train-*.parquet",),
        left={VALIDATION: 1, EVALUATION: 1, "its label is unknown": 1},
    ),
}
