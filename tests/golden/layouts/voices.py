"""Corpora of many voices."""

from pathlib import Path

from corpora import TEST, VALIDATION, Corpus, record, shard, sound, write


def make_globe(root: Path) -> None:
    row = {
        "audio": {"bytes": sound(2.05), "path": "common_voice_en_1.wav"},
        "speaker_id": "S_000016",
        "transcript": "the belts needed periodic cleaning",
        "accent": "United States English",
        "age": "teens",
        "gender": "male",
    }
    other = {
        **row,
        "audio": {"bytes": sound(2.55), "path": "b.wav"},
        "age": "fourties",
        "accent": None,
    }
    shard(root, "data/train-00000-of-00002.parquet", [row])
    shard(root, "data/train-00001-of-00002.parquet", [other])
    shard(root, "data/val-00000-of-00001.parquet", [row])
    shard(root, "data/test-00000-of-00001.parquet", [row, row])


def make_common_voice(root: Path) -> None:
    new = (
        "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tdown_votes\tage"
        "\tgender\taccents"
    )
    old = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccent"
    write(
        root,
        "en/train.tsv",
        new,
        'c\tcommon_voice_en_1.mp3\ts\tThe boy swore "that" it\'s true.\t\t2\t0\tthirties'
        "\tmale_masculine\tWest Indies and Bermuda",
    )
    write(root, "en/dev.tsv", new, "c\tcommon_voice_en_2.mp3\ts\tHello.\t\t2\t0\t\t\t")
    write(root, "en/test.tsv", new, "c\tcommon_voice_en_3.mp3\ts\tHello.\t\t2\t0\t\t\t")
    write(root, "zh-CN/train.tsv", old, "c\tcommon_voice_zh-CN_1.mp3\t宋朝末年\t2\t0\t\tfemale\t")
    record(root, "en/clips/common_voice_en_1.mp3", "zh-CN/clips/common_voice_zh-CN_1.mp3")


def make_voxceleb1(root: Path) -> None:
    write(
        root,
        "vox1_meta.csv",
        "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet",
        "id10001\tA.J._Buckley\tm\tIreland\tdev",
        "id10270\tEartha_Kitt\tf\tUSA\ttest",
    )
    videos = ("id10001/1zcIwhmdeo4", "id10270/5r0dWxy17C8", "id99999/5r0dWxy17C8")
    record(root, *(f"wav/{video}/00001.wav" for video in videos))


CORPORA = {
    "globe": Corpus(
        build=make_globe, needed=("data/train-*.parquet",), left={VALIDATION: 1, TEST: 2}
    ),
    "common-voice": Corpus(
        build=make_common_voice,
        needed=(
            "en/train.tsv",
            "zh-CN/clips",
        ),
        left={VALIDATION: 1, TEST: 1},
    ),
    "voxceleb1": Corpus(
        build=make_voxceleb1,
        needed=(
            "vox1_meta.csv",
            "wav",
        ),
        left={"its speaker is not in vox1_meta.csv": 1, TEST: 1},
    ),
}
