"""Corpora of sentences that actors speak."""

from pathlib import Path

from corpora import TEST, VALIDATION, Corpus, record, write

ODD = "its name is not of the form that the corpus documents"


def make_crema_d(root: Path) -> None:
    write(
        root,
        "VideoDemographics.csv",
        '"ActorID","Age","Sex","Race","Ethnicity"',
        '1001,51,"Male","Caucasian","Not Hispanic"',
        '1047,22,"Female","Unknown","Hispanic"',
        '1076,25,"Female","Caucasian","Not Hispanic"',
    )
    record(root, "AudioWAV/1001_IEO_ANG_HI.wav", "AudioWAV/1047_TSI_NEU_XX.wav")
    record(root, "AudioWAV/1076_MTI_SAD_XX.wav", "AudioWAV/1001_ieo.wav")


def make_ravdess(root: Path) -> None:
    record(root, "Actor_12/03-01-06-01-02-01-12.wav", "Actor_01/03-01-02-02-01-01-01.wav")
    record(root, "Actor_01/03-01-01-01-01-01-01.wav", "Actor_01/03-02-02-02-01-01-01.wav")
    record(root, "Actor_01/03-01-09-01-01-01-01.wav")


def make_cafe(root: Path) -> None:
    record(root, "Colère/Faible/01-C-1-3.wav", "Neutre/12-N-1-1.wav", "Test/00-N-1-1.wav")


def make_emovo(root: Path) -> None:
    record(root, "f1/dis-f1-l4.wav", "m2/gio-m2-b1.wav", "m2/note.wav")


def make_emns(root: Path) -> None:
    write(
        root,
        "metadata.csv",
        "id|utterance|description|emotion|date_created|status|gender|age|level|audio_recording"
        "|user_id",
        "1|He was a plucked instrument instructor, and a proud one.|Happy: plucked|Happy"
        "|2022-01-01|Complete|Female|20s|7|wavs/recorded_audio_0bJpmSM.webm|3",
        "2|Oh, how lovely.||Sarcastic|2022-01-01|Complete|Female|20s|4"
        "|wavs/recorded_audio_1.webm|3",
        "3|Oh.||Sad|2022-01-01|Needs Updating|Female|20s|4||3",
    )
    record(root, "cleaned_webm/recorded_audio_0bJpmSM.webm", "cleaned_webm/recorded_audio_1.webm")


def make_esd(root: Path) -> None:
    write(root, "0001/0001.txt", "0001_000401\t我每个月打一次电话。\t生气", encoding="gb18030")
    write(
        root,
        "0011/0011.txt",
        "0011_000001\tThe nine the eggs, I keep.\tNeutral",
        "0011_001101\tTom could hear the clock.\tSad",
        encoding="utf-16",
    )
    record(root, "0001/Angry/0001_000401.wav", "0011/Sad/train/0011_001101.wav")
    record(root, "0011/Sad/train/notes.wav")
    record(root, "0011/Neutral/evaluation/0011_000001.wav", "0011/Neutral/test/0011_000050.wav")


def make_emov_db(root: Path) -> None:
    write(root, "cmuarctic.data", '( arctic_a0001 "Author of the danger trail." )')
    record(root, "bea_Amused/amused_1-15_0001.wav", "josh/Sleepy/sleepiness_1-28_0002.wav")
    record(root, "sam/Angry/Angry.wav")


CORPORA = {
    "crema-d": Corpus(
        build=make_crema_d,
        needed=(
            "VideoDemographics.csv",
            "AudioWAV",
        ),
        left={"it is silent": 1, ODD: 1},
    ),
    "ravdess": Corpus(build=make_ravdess, needed=("**/*.wav",), left={"it is sung": 1, ODD: 1}),
    "cafe": Corpus(build=make_cafe, needed=("**/*.wav",), left={ODD: 1}),
    "emovo": Corpus(build=make_emovo, needed=("**/*.wav",), left={ODD: 1}),
    "emns": Corpus(
        build=make_emns,
        needed=(
            "metadata.csv",
            "cleaned_webm",
        ),
        left={"its recording was withdrawn": 1},
    ),
    "esd": Corpus(
        build=make_esd,
        needed=(
            "0011/0011.txt",
            "0001",
        ),
        left={VALIDATION: 1, TEST: 1, ODD: 1},
    ),
    "emov-db": Corpus(
        build=make_emov_db,
        needed=(
            "cmuarctic.data",
            "**/*.wav",
        ),
        left={ODD: 1},
    ),
}
