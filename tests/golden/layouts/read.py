"""Corpora of texts read aloud."""

from pathlib import Path

from corpora import DEV, OUTSIDE, TEST, Corpus, record, write


def make_kespeech(root: Path) -> None:
    for part, id, text, dialect in (
        ("train_phase1", "1000048_fd3b", "看重成长质量 <SPOKEN_NOISE>", "Mandarin"),
        ("train_phase2", "1000049_0a1b", "我每个月打一次电话", "Southwestern"),
        ("dev_phase1", "1000050_aaaa", "你好", "Beijing"),
        ("test", "1000051_bbbb", "再见", "Beijing"),
    ):
        tables = root / "Tasks/ASR" / part
        write(tables, "wav.scp", f"{id} Audio/{id}.wav", f"out_{part} ../../{id}.wav")
        write(tables, "text", f"{id} {text}", f"out_{part} 再见")
        write(tables, "utt2spk", f"{id} {id[:7]}")
        write(tables, "utt2subdialect", f"{id} {dialect}")
        record(root, f"Audio/{id}.wav", seconds=int(id[6]))


def make_libritts_r(root: Path) -> None:
    corpus = root / "LibriTTS_R"
    write(
        corpus,
        "speakers.tsv",
        "READER\tGENDER\tSUBSET\tNAME\n103\tF\ttrain-clean-100\tKaren Savage\n",
    )
    for number, name in enumerate(
        ("train-clean-100/103/1240/103_1240_000000_000001", "dev-clean/84/1/84_1_000000_000000"), 1
    ):
        record(corpus, f"{name}.wav", seconds=number)
        write(corpus, f"{name}.normalized.txt", "mister Quilter has missed his chance.")
    record(corpus, "train-clean-100/103/1240/103_1240_000000_000002.wav", seconds=3)


CORPORA = {
    "kespeech": Corpus(
        build=make_kespeech,
        needed=(
            "Tasks/ASR/train_phase1",
            "Tasks/ASR/train_phase2/utt2subdialect",
        ),
        left={DEV: 2, TEST: 2, OUTSIDE: 2},
    ),
    "libritts-r": Corpus(
        build=make_libritts_r,
        needed=(
            "LibriTTS_R/speakers.tsv",
            "LibriTTS_R/train-clean-100",
        ),
        left={"no text for it": 1, DEV: 1},
    ),
}
