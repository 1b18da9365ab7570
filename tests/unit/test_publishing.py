"""What is done with a finished data set: rows judged, surveyed, described, exported."""

import html
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
import yaml
from huggingface_hub.errors import HfHubHTTPError

from desta.construction.prompts import load_pool
from desta.construction.rows import find_fault, find_oddities
from desta.data.dataset import PairDataset, Skipped
from desta.errors import ConfigError, DataError
from desta.publishing.card import CARD, data_card, find_published, write_card
from desta.publishing.hub import upload
from desta.publishing.parquet import PARQUET_FILES, export_parquet
from desta.publishing.samples import samples_page
from desta.publishing.survey import MISSING, OUTSIDE, survey
from desta.records import AudioTextPair, Message
from desta.shards import Dropped, Manifest, ShardWriter

RATE = 16_000
BLOCK = "<start_audio><|AUDIO|><end_audio>"
NO_CLIP = {"role": "user", "content": "What?", "audios": []}


def row(**changes: Any) -> dict[str, Any]:
    """A row in the published form."""
    question = {
        "role": "user",
        "content": f"{BLOCK}\n\nWhat?",
        "audios": [{"audio": "a.wav", "text": "Excuse me?"}],
    }
    return {
        "id": "iemocap/a.wav",
        "dataset": "IEMOCAP",
        "seed_description": "[00:00-00:02] Excuse me? (Emotion: Neutral, Duration: 2s)",
        "prompt": "What?",
        "response": "Someone asks to be excused.",
        "messages": [{"role": "system", "content": "Focus on <start_audio>."}, question],
    } | changes


def asked(**changes: Any) -> dict[str, Any]:
    """A row whose only message is changed."""
    return row(messages=[row()["messages"][1] | changes])


def heard(*clips: Any) -> dict[str, Any]:
    return asked(audios=list(clips))


def published(directory: Path, *shards: list[Mapping[str, Any]]) -> Path:
    """Shards without a manifest, named as the published ones."""
    directory.mkdir(exist_ok=True)
    for number, rows in enumerate(shards):
        text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        (directory / f"speech.{number}.jsonl").write_text(text, encoding="utf-8")
    return directory


def tone(path: Path, seconds: float) -> Path:
    soundfile.write(path, 0.1 * np.sin(np.arange(round(seconds * RATE)) * 0.2), RATE)
    return path


# Rows that the schema allows and training leaves out.
FLAWED = {
    "messages empty": row(messages=[]),
    "messages null": row(messages=None),
    "a message null": row(messages=[None, row()["messages"][1]]),
    "no content": asked(content=None),
    "path null": heard({"audio": None, "text": " "}),
    "clip empty": heard({}),
    "response null": row(response=None),
    "response blank": row(response=" \n"),
}
# Rows that keep the whole data set from being read.
FOREIGN = {
    "further field": row(split="train"),
    "further field of a message": asked(name="x"),
    "further field of a clip": heard({"audio": "a.wav", "text": " ", "seconds": 2.0}),
    "number for text": row(id=5),
    "response a number": row(response=1.5),
    "messages text": row(messages="What?"),
    "clip a path": heard("a.wav"),
    "transcription a number": heard({"audio": "a.wav", "text": 3}),
}
UNUSUAL = {
    "has no id": row(id=""),
    "has no dataset": row(dataset=None),
    "has no clip": row(messages=[NO_CLIP]),
    "has a clip without a transcription (one space says that nothing is spoken)": heard(
        {"audio": "a.wav", "text": None}
    ),
    "has a prompt that its last question does not hold": row(prompt="Who?"),
    "ends with an answer, which its response would follow": row(
        messages=[*row()["messages"], {"role": "assistant", "content": "Yes."}]
    ),
    "has a locator without <start_audio> and <end_audio>, which stand there in use": asked(
        content="<|AUDIO|> What?"
    ),
    "has <start_audio> or <end_audio> away from its locator": asked(
        content="<start_audio> <|AUDIO|> <end_audio> What?"
    ),
}


def test_a_row_as_published_has_neither_fault_nor_oddity() -> None:
    assert find_fault(row()) is None
    assert list(find_oddities(row())) == []


@pytest.mark.parametrize("name", FLAWED)
def test_rows_that_training_leaves_out_are_told_as_training_tells_them(
    tmp_path: Path, name: str
) -> None:
    read = PairDataset([published(tmp_path / "d", [row(), FLAWED[name]])])

    skipped = read[1]

    assert isinstance(read[0], AudioTextPair)
    assert isinstance(skipped, Skipped)
    assert find_fault(FLAWED[name]) == skipped.reason


@pytest.mark.parametrize("name", FOREIGN)
def test_rows_outside_the_schema_are_found_and_refused_by_training(
    tmp_path: Path, name: str
) -> None:
    directory = published(tmp_path / "d", [row(), FOREIGN[name], row()])
    assert find_fault(FOREIGN[name])
    with pytest.raises(DataError, match="cannot be read"):
        PairDataset([directory])  # not: all other texts in quotation marks


@pytest.mark.parametrize("oddity", UNUSUAL)
def test_unusual_rows_are_of_use(tmp_path: Path, oddity: str) -> None:
    assert find_fault(UNUSUAL[oddity]) is None
    assert oddity in list(find_oddities(UNUSUAL[oddity]))
    read = PairDataset([published(tmp_path / "d", [UNUSUAL[oddity]])])
    assert isinstance(read[0], AudioTextPair)


def test_a_survey_counts_every_row_once(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 2)
    french = "[00:00-00:03] Oui (First Language: Thai, Language: French)"
    directory = published(
        tmp_path / "d",
        [row(), row(id="x", messages=[]), row(prompt="", response="One two three.")],
        [row(), heard({"audio": "gone.wav", "text": " "}) | {"seed_description": french}],
        [heard({"audio": "../b.wav", "text": " "}) | {"dataset": "ESC50"}],
    )

    found = survey(directory, root=tmp_path)

    facts = found.to_json()
    assert (facts["rows"], facts["useful"], facts["shards"]) == (6, 5, 3)
    assert facts["counts"] == {"ESC50": {"other": 1}, "IEMOCAP": {"other": 4}}
    assert facts["useless"] == [{"reason": "has no messages", "count": 1, "example": "x"}]
    odd = {entry["reason"]: entry["count"] for entry in facts["odd"]}
    assert odd == {
        "has no prompt": 1,
        MISSING: 1,
        OUTSIDE: 1,
        "asks what another row asks of the same clip": 2,
    }
    assert facts["clips"] == 3
    assert facts["hours"] == round((2 + 3 + 2) / 3600, 3)
    assert facts["languages"] == {"French": 1}
    assert facts["words"]["response"] == {"least": 3, "median": 5, "p95": 5, "most": 5}
    assert facts["verified"] is False


@pytest.mark.parametrize(
    ("second", "seconds", "languages"),
    [
        ("\n[00:00-00:03] Si (Language: Spanish)", 5, {"French": 1, "Spanish": 1}),
        ("\n[00:00-00:03] Non (Language: French)", 5, {"French": 1}),
        ("", 0, {"French": 1}),  # of which of the two is not told
    ],
)
def test_several_clips_have_the_lengths_and_languages_of_their_lines(
    tmp_path: Path, second: str, seconds: float, languages: dict[str, int]
) -> None:
    [question] = asked()["messages"][-1:]
    both = question | {"content": "<|AUDIO|><|AUDIO|> What?"}
    both["audios"] = [{"audio": f"{name}.wav", "text": "Oui"} for name in "ab"]
    description = f"[00:00-00:02] Oui (Language: French){second}"
    pair = row(messages=[both], seed_description=description)

    found = survey(published(tmp_path / "d", [pair]))

    assert found.hours == pytest.approx(seconds / 3600)
    assert found.languages == languages


def test_kinds_are_those_of_the_pools(tmp_path: Path) -> None:
    (tmp_path / "pools").mkdir()
    for domain in ("speech", "sound", "music"):
        (tmp_path / "pools" / f"{domain}.txt").write_text(f"[describe]\nWhat {domain}?\n")
    (tmp_path / "pools" / "speech.txt").write_text("[ask Emotion]\nWhat?\n")
    found = survey(published(tmp_path / "d", [row(), row(prompt="?")]), prompts=tmp_path / "pools")
    assert found.counts == {"IEMOCAP": {"ask": 1, "other": 1}}
    (tmp_path / "pools" / "multi.txt").write_text("[compare]\n?\n")
    found = survey(tmp_path / "d", prompts=tmp_path / "pools")
    assert found.counts == {"IEMOCAP": {"ask": 1, "compare": 1}}


def test_prompts_about_several_clips_are_of_their_own_kinds(tmp_path: Path) -> None:
    [prompt, *_] = load_pool("multi")
    found = survey(published(tmp_path / "d", [row(prompt=prompt.text)]))
    assert found.counts == {"IEMOCAP": {prompt.kind: 1}}


def test_samples_come_from_every_source_and_kind_and_do_not_depend_on_order(tmp_path: Path) -> None:
    rows = [row(id=str(n), dataset="A") for n in range(50)] + [row(id="rare", dataset="B")]
    first = survey(published(tmp_path / "d", rows), num_samples=4)
    second = survey(published(tmp_path / "e", rows[::-1]), num_samples=4)
    assert len(first.samples) == 4
    assert "rare" in [sample["id"] for _, _, sample in first.samples]
    assert first.samples == second.samples


def constructed(directory: Path) -> Path:
    directory.mkdir()
    shards = ShardWriter(directory, rows_per_shard=10)
    shards.add(AudioTextPair.from_json(row()))
    Manifest(
        backbone="org/Backbone_1",
        revision="abc",
        prompt_pool="p" * 64,
        sampling={"temperature": 0.05, "top_p": 1.0},
        recipe="r" * 64,
        shards=shards.close(),
        dropped={"empty": Dropped(count=3, example="clip | 7")},
        counts={"IEMOCAP": {"ask": {"kept": 1, "dropped": 3}}},
        faithfulness={"ask": {"Gender": {"asked": 4, "right": 2, "kept": 1, "kept_right": 1}}},
    ).write(directory)
    return directory


def test_the_card_has_a_front_matter_and_says_what_was_dropped(tmp_path: Path) -> None:
    directory = constructed(tmp_path / "data")

    path = write_card(directory, data_card(survey(directory)))

    _, front, body = path.read_text().split("---\n", 2)
    front = yaml.safe_load(front)
    assert path.name == CARD
    assert front["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "*.jsonl"}]}
    ]
    assert front["size_categories"] == ["n<1K"]
    assert front["license"] == "other"
    assert "IEMOCAP" in body
    assert "see its agreement: research" in body
    assert "org/Backbone\\_1" in body
    assert "temperature 0.05, top_p 1.0".replace("_", "\\_") in body
    assert "3 responses were dropped (75.0%)." in body
    assert "clip \\| 7" in body
    assert "| IEMOCAP | 1 of 4 (25%) |" in body
    assert "| ask | Gender | 2 of 4 (50%) | 1 of 1 (100%) |" in body

    write_card(directory, "again")  # its own card


def test_the_page_says_what_was_kept_and_how_much_of_it_is_right(tmp_path: Path) -> None:
    page = samples_page(survey(constructed(tmp_path / "data")), root=tmp_path)

    assert "1 of 4 (25%)" in page
    assert "2 of 4 (50%)" in page
    assert "1 of 1 (100%)" in page


def test_one_licence_that_the_hub_knows_is_stated_by_its_id(tmp_path: Path) -> None:
    found = survey(published(tmp_path / "d", [row(dataset="NTUML2021"), row(dataset="CSZS")]))
    assert yaml.safe_load(data_card(found).split("---\n")[1])["license"] == "mit"


def test_a_card_that_somebody_wrote_is_kept(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text("# Ours")
    with pytest.raises(ConfigError, match="kept"):
        write_card(tmp_path, "card")
    assert (tmp_path / CARD).read_text() == "# Ours"


@pytest.mark.parametrize(
    ("published_name", "ours"),
    [
        ("VCTK-corpus", "vctk"),
        ("release_BIIC-Podcast-v1-01", "biic-podcast"),
        ("common_voice_zh", "common-voice"),
        ("FMA_medium", "fma"),
        ("MSP-PODCAST-Publish-1.12", "msp-podcast"),
    ],
)
def test_corpora_are_known_as_the_published_data_set_spells_them(
    published_name: str, ours: str
) -> None:
    source = find_published(published_name)
    assert source is not None
    assert source.name == ours
    assert find_published("my own corpus") is None


def test_the_page_plays_samples_escapes_all_and_reads_nothing_outside(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    tone(root / "a.wav", 31)
    tone(tmp_path / "secret.wav", 1)
    evil = '</dd><script>alert(1)</script>"'
    directory = published(
        tmp_path / "d",
        [
            row(response=evil, dataset=evil),
            heard({"audio": "../secret.wav", "text": " "}) | {"id": "2"},
            heard({"audio": "gone.wav", "text": " "}) | {"id": "3"},
        ],
    )

    page = samples_page(survey(directory, root=root, num_samples=9), root=root)

    assert page.count('src="data:audio/mpeg') == 1
    assert "the first 30 s" in page
    assert "lies outside" in page
    assert "does not exist" in page
    assert page.count("<script>") == 1
    assert "alert(1)" in html.unescape(page)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "script-src 'sha256-" in page


def test_parquet_reads_back_row_by_row(tmp_path: Path) -> None:
    rows = [row(id=str(n), response=f"Answer {n} – 日本") for n in range(2500)]
    rows[7] = heard({"audio": "a.wav", "text": " "}, {"audio": "b.wav", "text": "Hi"})
    rows[7]["messages"][0]["content"] = f"{BLOCK}{BLOCK}"
    directory = published(tmp_path / "d", rows[:1000], [*rows[1000:], row(id="bad", response="")])

    exported = export_parquet(directory, tmp_path / "out")

    read = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / PARQUET_FILES),
        split="train",
        cache_dir=tmp_path,
    )
    assert (exported.num_files, exported.num_rows) == (1, 2500)
    assert exported.left_out == {"has no response": Dropped(count=1, example="bad")}
    assert read.column_names == list(row())
    for got, wanted in zip(read, rows, strict=True):
        assert AudioTextPair.from_json(got) == AudioTextPair.from_json(wanted)


def test_parquet_holds_recordings_that_are_there_and_counts_the_others(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    sound = tone(root / "a.wav", 0.1).read_bytes()
    tone(tmp_path / "secret.wav", 0.1)
    outside = heard({"audio": "../secret.wav", "text": " "}) | {"id": "2"}
    gone = heard({"audio": "gone.wav", "text": " "}) | {"id": "3"}
    names = [f"{300 * 'x'}.wav", "a\0.wav", "pipe.wav"]
    os.mkfifo(root / "pipe.wav")
    others = [
        heard({"audio": name, "text": " "}) | {"id": str(n)} for n, name in enumerate(names, 4)
    ]
    directory = published(tmp_path / "d", [row(), outside, gone, *others])

    exported = export_parquet(directory, tmp_path / "out", audio_root=root)

    read = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "out" / PARQUET_FILES),
        split="train",
        cache_dir=tmp_path,
    )
    assert read.features["audios"] == datasets.List(datasets.Audio())
    raw = read.cast_column("audios", datasets.List(datasets.Audio(decode=False)))
    assert [r["audios"][0]["bytes"] for r in raw] == [sound, *5 * [None]]
    paths = ["a.wav", "../secret.wav", "gone.wav", *names]
    assert [r["audios"][0]["path"] for r in raw] == paths
    assert exported.silent == {
        OUTSIDE: Dropped(count=1, example="2"),
        MISSING: Dropped(count=4, example="3"),
    }
    assert survey(directory, root=root).odd == exported.silent
    assert "is a name that no file can have" in samples_page(
        survey(directory, root=root, num_samples=9), root=root
    )


def test_files_end_where_they_are_large_and_know_how_many_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("desta.publishing.parquet._FILE_BYTES", 1)
    monkeypatch.setattr("desta.publishing.parquet._GROUP_ROWS", 2)
    (tmp_path / "out" / "data").mkdir(parents=True)
    (tmp_path / "out" / "data" / "00009.part").touch()  # of a call that was killed
    export_parquet(published(tmp_path / "d", [row(id=str(n)) for n in range(5)]), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert names == [f"train-0000{n}-of-00003.parquet" for n in range(3)]
    with pytest.raises(ConfigError, match="holds Parquet files"):
        export_parquet(tmp_path / "d", tmp_path / "out")


def test_nothing_of_use_makes_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row of use"):
        export_parquet(published(tmp_path / "d", [row(messages=[])]), tmp_path / "out")


class Hub:
    """Keeps what would be sent; `error` is what the Hub answers."""

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error = error

    def create_repo(self, repo_id: str, *, repo_type: str, private: bool, exist_ok: bool) -> None:
        self.calls.append((repo_id, repo_type, private, exist_ok))

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, repo_type: str, allow_patterns: list[str]
    ) -> None:
        if self.error:
            raise self.error
        self.calls.append((repo_id, folder_path, repo_type, allow_patterns))


def test_the_hub_gets_rows_card_and_manifest_and_nothing_else(tmp_path: Path) -> None:
    directory = constructed(tmp_path / "data")
    (directory / "responses.sqlite").touch()
    with pytest.raises(DataError, match=CARD):
        upload(directory, "me/data", api=Hub())
    write_card(directory, data_card(survey(directory)))
    hub = Hub()

    names = upload(directory, "me/data", api=hub)

    assert names == [CARD, "manifest.json", "audio-00000.jsonl"]
    assert hub.calls == [
        ("me/data", "dataset", True, True),
        ("me/data", directory, "dataset", names),
    ]


def test_what_the_hub_refuses_is_one_sentence(tmp_path: Path) -> None:
    directory = constructed(tmp_path / "data")
    write_card(directory, data_card(survey(directory)))
    refusal = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(refusal, "403 Forbidden:\n no right")
    with pytest.raises(ConfigError, match=r"refuses me/data: .*403 Forbidden: no right"):
        upload(directory, "me/data", api=Hub(refusal))
    with pytest.raises(DataError, match="broken off: no route"):
        upload(directory, "me/data", api=Hub(ConnectionError("no route")))


def test_a_message_of_a_pair_and_of_a_row_are_the_same(tmp_path: Path) -> None:
    pair = AudioTextPair.from_json(row())
    assert pair.messages[0] == Message(role="system", content="Focus on <start_audio>.")
    assert find_fault(pair.to_json()) is None
