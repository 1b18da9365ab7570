"""Corpora of English in many accents."""

from pathlib import Path

from corpora import Corpus, record, write


def make_vctk(root: Path) -> None:
    corpus = root / "VCTK-Corpus-0.92"
    write(
        corpus,
        "speaker-info.txt",
        "ID  AGE  GENDER  ACCENTS  REGION COMMENTS \n"
        "p225  23  F    English    Southern  England\n"
        "p280  25  F    Unknown    France (mic2 files unavailable)\n"
        "p335  25  F    NewZealand English\n"
        "p315  18  M    American   New England (Text unavailable)\n",
    )
    for number, name in enumerate(
        (
            "p225/p225_001_mic1",
            "p225/p225_001_mic2",
            "p280/p280_001_mic1",
            "p315/p315_001_mic2",
            "p335/p335_001_mic2",
        ),
        start=1,
    ):
        record(corpus, f"wav48_silence_trimmed/{name}.flac", seconds=number / 2)
    for speaker, words in {
        "p225": "Please call Stella.",
        "p280": "Six spoons.",
        "p335": "Three red bags.",
    }.items():
        write(corpus, f"txt/{speaker}/{speaker}_001.txt", words)


def make_accentdb(root: Path) -> None:
    record(root, "accentdb_extended/data/odiya/speaker_01/odiya_s01_001.wav", seconds=1)
    record(root, "accentdb_extended/data/welsh/speaker_01/welsh_s01_001.wav", seconds=2)


def make_fair_speech(root: Path) -> None:
    write(
        root,
        "fairspeech_metadata.tsv",
        "hash_name\ttranscription\tage\tgender\tfirst_language\tsocioeconomic_bkgd\tethnicity\n"
        "1a2b\they facebook call my mother\t31 - 45\tmale\tEnglish\tMedium"
        "\tBlack or African American\n"
        "../3c\tplay a song\t18 - 22\tfemale\tSpanish\tLow\tHispanic, Latino, or Spanish\n",
    )
    record(root, "asr_fairness_audio/1a2b.wav", seconds=2)
    record(root, "asr_fairness_audio/3c.wav", seconds=3)


def make_speech_accent_archive(root: Path) -> None:
    write(root, "reading-passage.txt", "Please call Stella.\nAsk her to bring these things.\n")
    write(
        root,
        "speakers_all.csv",
        "age,age_onset,birthplace,filename,native_language,sex,speakerid,country,file_missing?\n"
        '27.0,9.0,"virginia, south africa",afrikaans1,afrikaans,female,1,south africa,False\n'
        '31,0,"pittsburgh, pennsylvania, usa",english3,english,male,2,usa,FALSE\n'
        "0,0,,synthesized1,synthesized,male,3,,FALSE\n"
        "24,5,,balanta,balanta,male,4,senegal,TRUE\n",
    )
    record(root, "recordings/recordings/afrikaans1.mp3", seconds=2)
    record(root, "recordings/recordings/english3.mp3", seconds=3)


def make_l2_arctic(root: Path) -> None:
    record(root, "ABA/wav/arctic_a0001.wav", seconds=1)
    record(root, "ABA/wav/arctic_a0002.wav", seconds=2)
    write(root, "ABA/transcript/arctic_a0001.txt", "Author of the danger trail")
    record(root, "suitcase_corpus/wav/tni.wav", seconds=3)
    write(root, "suitcase_corpus/transcript/tni.txt", "One day a man and a woman met")


CORPORA = {
    "vctk": Corpus(
        build=make_vctk,
        needed=(
            "VCTK-Corpus-0.92/speaker-info.txt",
            "VCTK-Corpus-0.92/txt",
            "VCTK-Corpus-0.92/wav48_silence_trimmed",
        ),
        left={"the same words at the other microphone": 1, "no text for it": 1},
    ),
    "accentdb": Corpus(build=make_accentdb, needed=("accentdb_extended/data",), left={}),
    "fair-speech": Corpus(
        build=make_fair_speech,
        needed=(
            "fairspeech_metadata.tsv",
            "asr_fairness_audio",
        ),
        left={},
    ),
    "speech-accent-archive": Corpus(
        build=make_speech_accent_archive,
        needed=(
            "speakers_all.csv",
            "reading-passage.txt",
            "recordings",
        ),
        left={"a synthesised voice": 1, "the archive says that it has no recording": 1},
    ),
    "l2-arctic": Corpus(
        build=make_l2_arctic,
        needed=("*/wav",),
        left={"no text for it, or no speaker": 1, "its archive is not unpacked": 23},
    ),
}
