"""Every corpus in the layout in which it unpacks, down to the seed descriptions of its clips.

Delete a `*_descriptions.json` and run this to write it anew.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from corpora import OUTSIDE, Corpus, record, write
from layouts import (
    accent,
    degraded,
    dialogue,
    emotion_acted,
    emotion_wild,
    languages_spoken,
    meeting,
    music,
    packages,
    read,
    rendered,
    sound,
    spoken_commands,
    spoof,
    styles,
    voices,
)

from desta.construction.description import describe_clip as write_description
from desta.errors import DataError, DestaError
from desta.sources import SOURCES, find_source
from desta.sources.base import Metadata, Skipped
from desta.sources.describe import Description, describe
from desta.sources.glossary import EMOTIONS, JOINED, NOISE_LEVELS, OPEN_ATTRIBUTES
from support.sources import CLOSED_ATTRIBUTES, reasons

FAMILIES: Mapping[str, ModuleType] = {
    "accent": accent,
    "degraded": degraded,
    "dialogue": dialogue,
    "emotion_acted": emotion_acted,
    "emotion_wild": emotion_wild,
    "languages_spoken": languages_spoken,
    "meeting": meeting,
    "music": music,
    "packages": packages,
    "read": read,
    "rendered": rendered,
    "sound": sound,
    "spoken_commands": spoken_commands,
    "spoof": spoof,
    "styles": styles,
    "voices": voices,
}
CORPORA: Mapping[str, Corpus] = {
    name: corpus for family in FAMILIES.values() for name, corpus in family.CORPORA.items()
}
OF_CLIPS = ("asterisk", "tuxpaint", "tuxpaint-sounds", "sonic-pi")
"""Corpora that `test_clips.py` has whole."""
FEW_SENTENCES = ("cafe", "crema-d", "emovo", "ravdess", "speech-accent-archive")
OF_A_TRAINING_PART = {
    name
    for name, corpus in CORPORA.items()
    if any(reason.startswith("of the official") for reason in corpus.left)
}
VALUES = {
    "Emotion": {*EMOTIONS},
    "Gender": {"Female", "Male"},
    "Intended emotion": {*EMOTIONS},
    "Intensity": {"Low", "Medium", "High"},
    "Noise level": {*NOISE_LEVELS},
    "Source": {"Real human", "Synthesised speech", "Acoustic", "Electronic", "Synthetic"},
    "Speech quality": {"Bad", "Poor", "Fair", "Good", "Excellent"},
}
"""Attribute -> the only values that any corpus may give it."""
TEXTS = (
    *(".cat", ".csv", ".data", ".json", ".jsonl", ".lua", ".pat", ".rcc", ".TextGrid", ".tsv"),
    *(".txt", "", ".scp"),
)
"""What is read as text, or as a container of recordings."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Corpus -> its root, made once; for tests that only read."""

    @cache
    def make(name: str) -> Path:
        root = tmp_path_factory.mktemp(name)
        CORPORA[name].build(root)
        return root

    return make


@pytest.fixture(scope="module")
def described(built: Callable[[str], Path]) -> Callable[[str], Description]:
    """Corpus -> its clips."""

    @cache
    def run(name: str) -> Description:
        return describe(find_source(name), built(name), max_broken_share=1.0)

    return run


def test_every_corpus_has_a_layout_here() -> None:
    assert {*CORPORA} == {*SOURCES} - {*OF_CLIPS}
    assert all(corpus.needed for corpus in CORPORA.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_seed_descriptions_are_as_stored(
    described: Callable[[str], Description], family: str
) -> None:
    written = {
        name: [write_description(clip) for clip in described(name).clips]
        for name in FAMILIES[family].CORPORA
    }

    golden = Path(__file__).with_name(f"{family}_descriptions.json")
    if not golden.exists():
        text = json.dumps(written, ensure_ascii=False, indent=2)
        golden.write_text(f"{text}\n", encoding="utf-8")
        pytest.fail(f"{golden.name} was missing and is written: look at it, then run this again")

    assert written == json.loads(golden.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", CORPORA)
def test_what_is_left_out_is_counted_with_its_reason(
    described: Callable[[str], Description], name: str
) -> None:
    assert reasons(described(name)) == CORPORA[name].left


@pytest.mark.parametrize("name", CORPORA)
def test_clips_keep_to_the_words_of_the_glossary(
    described: Callable[[str], Description], name: str
) -> None:
    description = described(name)

    assert description.clips
    assert {clip.domain for clip in description.clips} <= {*SOURCES[name].domains}
    for clip in description.clips:
        assert {*clip.attributes} <= CLOSED_ATTRIBUTES | OPEN_ATTRIBUTES
        for attribute, allowed in VALUES.items():
            if name == "prompttts" and attribute == "Emotion":
                continue  # its tags are a synthesiser's own
            assert {*clip.attributes.get(attribute, "").split(JOINED)} <= {*allowed, ""}


@pytest.mark.parametrize("name", CORPORA)
def test_no_recording_is_named_twice(built: Callable[[str], Path], name: str) -> None:
    ids = Counter(item.id for item in SOURCES[name].read(built(name)))

    assert [id for id, count in ids.items() if count > 1] == []


@pytest.mark.parametrize("name", sorted(OF_A_TRAINING_PART | {*FEW_SENTENCES}))
def test_the_reader_itself_puts_recordings_into_the_training_split(
    built: Callable[[str], Path], name: str
) -> None:
    items = [item for item in SOURCES[name].read(built(name)) if isinstance(item, Metadata)]

    assert {item.split for item in items} == {"train"}


@pytest.mark.parametrize(
    ("name", "missing"),
    [(name, missing) for name, corpus in CORPORA.items() for missing in corpus.needed],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str, missing: str) -> None:
    CORPORA[name].build(tmp_path)
    gone = list(tmp_path.glob(missing))
    for path in gone:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    with pytest.raises(DataError) as caught:
        list(SOURCES[name].read(tmp_path))
    assert gone
    assert caught.value.message.startswith(f"{name}: ")
    assert "desta describe custom" in caught.value.fix
    if not set("*[?") & set(missing):
        assert missing in caught.value.message


def mangled(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what a file may have become, each with a name for it."""
    lines = data.splitlines(keepends=True)
    yield "empty", b""
    yield "half of every line", b"".join(line[: len(line) // 2] + b"\n" for line in lines)
    yield "cut off", data[: len(data) * 2 // 3]
    yield "first words", b"".join(re.split(rb"[\s,|]", line)[0] + b"\n" for line in lines)
    yield "no numbers", re.sub(rb"\d+(\.\d+)?", b"NA", data)
    yield "numbers that are none", re.sub(rb"(?<!\w)\d+(\.\d+)?(?!\w)", b"nan", data)
    yield "not UTF-8", data[: len(data) // 2] + b"\xff\xfe" + data[len(data) // 2 :]
    yield "an open quote", data.replace(b",", b',"', 1)
    try:
        tree = json.loads(data)
    except ValueError:
        return
    yield "null for every value", json.dumps(nulled(tree)).encode()
    yield "empty entries", json.dumps(emptied(tree)).encode()
    yield "a list", b"[]"
    yield "a number", b"3"


def nulled(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: nulled(value) for key, value in tree.items()}
    return [nulled(value) for value in tree] if isinstance(tree, list) else None


def emptied(tree: Any) -> Any:
    """Empty the innermost objects."""
    if isinstance(tree, dict):
        inner = any(isinstance(value, dict | list) for value in tree.values())
        return {key: emptied(value) for key, value in tree.items()} if inner else {}
    return [emptied(value) for value in tree] if isinstance(tree, list) else tree


@pytest.mark.parametrize("name", CORPORA)
def test_no_text_of_a_corpus_however_damaged_ends_in_a_traceback(tmp_path: Path, name: str) -> None:
    CORPORA[name].build(tmp_path)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file() and p.suffix in TEXTS):
        whole = path.read_bytes()
        for damage, content in mangled(whole):
            path.write_bytes(content)
            try:
                items = list(SOURCES[name].read(tmp_path))
            except DestaError:
                continue
            except Exception as error:
                pytest.fail(f"{path.relative_to(tmp_path)}, {damage}: {error!r}")
            assert all(isinstance(item, Metadata | Skipped) for item in items)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("esc50", "meta/esc50.csv", "filename,fold\na.wav,1", 'no column "target"'),
        ("clotho", "clotho_captions_development.csv", "file_name\na.wav", "caption_1"),
        ("vocalsound", "datafiles/tr.json", "[]", "does not list recordings"),
        ("vocalsound", "datafiles/tr.json", "{", "is not JSON"),
        ("wavcaps", "json_files/SoundBible/sb_final.json", "{}", "does not hold captions"),
        ("nsynth", "nsynth-train/examples.json", "[]", "does not list notes"),
        ("fma", "fma_metadata/tracks.csv", "a,b", "is not its table of tracks"),
        ("dailytalk", "metadata.json", "[]", "does not hold dialogues"),
        ("dusha", "crowd_train/raw_crowd_train.jsonl", '{"id": "a"}', 'no key "hash_id"'),
        ("common-voice", "en/train.tsv", "client_id\tpath\ttext", 'no column "sentence"'),
    ],
)
def test_a_file_of_another_kind_is_named(
    tmp_path: Path, name: str, file: str, content: str, message: str
) -> None:
    CORPORA[name].build(tmp_path)
    write(tmp_path, file, content)

    with pytest.raises(DataError, match=message):
        list(SOURCES[name].read(tmp_path))


@pytest.mark.parametrize(
    ("name", "table", "row"),
    [
        ("clotho", "clotho_captions_development.csv", "../../secret.wav,a,b,c,d,e\n"),
        ("common-voice", "en/train.tsv", "c\t../../../secret.wav\ts\tHello.\t\t2\t0\t\t\t\n"),
    ],
)
def test_a_row_that_leads_out_of_the_corpus_is_left_out(
    tmp_path: Path, name: str, table: str, row: str
) -> None:
    root = tmp_path / "corpus"
    CORPORA[name].build(root)
    record(tmp_path, "secret.wav")
    with (root / table).open("a", encoding="utf-8") as file:
        file.write(row)

    description = describe(SOURCES[name], root, max_broken_share=1.0)

    assert OUTSIDE in description.broken
    assert not any("secret" in clip.audio for clip in description.clips)


def test_hidden_files_of_an_archive_are_no_recordings(tmp_path: Path) -> None:
    for name, corpus in CORPORA.items():
        root = tmp_path / name
        corpus.build(root)
        before = list(SOURCES[name].read(root))
        for path in [p for p in root.rglob("*") if p.suffix in (".wav", ".flac", ".mp3", ".txt")]:
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")

        assert list(SOURCES[name].read(root)) == before, name


def test_a_caption_of_a_recording_is_a_clip_of_its_own(built: Callable[[str], Path]) -> None:
    items = [i for i in SOURCES["clotho"].read(built("clotho")) if isinstance(i, Metadata)]

    assert len({item.attributes["Heard"] for item in items}) == 5
    assert {item.audio for item in items} == {"development/Old door.wav"}


def test_languages_are_told_by_the_folder_of_the_data_set_and_nothing_else(
    tmp_path: Path,
) -> None:
    root = tmp_path / "cszs_fr_en/es_en"  # a trap: neither is below the root
    languages_spoken.CORPORA["cszs"].build(root)

    items = [i for i in SOURCES["cszs"].read(root) if isinstance(i, Metadata)]

    assert [i.attributes["Language"] for i in items] == ["Spanish-English code-switching"]


def test_what_fetches_a_corpus_of_several_data_sets_fetches_each_into_its_folder(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        list(SOURCES["cszs"].read(tmp_path))

    for pair in ("es_en", "fr_en", "zh_en"):
        expected = f"ky552/cszs_{pair} --repo-type dataset --local-dir {tmp_path / f'cszs_{pair}'}"
        assert expected in caught.value.fix
