"""What others read of a data set: the card, the page of samples, the Hub."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub.errors import HfHubHTTPError

from desta.errors import ConfigError, DataError
from desta.publishing.card import CARD, data_card, find_published, write_card
from desta.publishing.hub import upload
from desta.publishing.survey import survey_data_set
from desta.reports.data_set import samples_page
from support.publishing import constructed, heard, published, row
from support.recordings import tone


def test_the_card_has_a_front_matter_and_says_what_was_dropped(tmp_path: Path) -> None:
    directory = constructed(tmp_path / "data")

    path = write_card(directory, data_card(survey_data_set(directory)))

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
    page = samples_page(survey_data_set(constructed(tmp_path / "data")), root=tmp_path)

    assert "1 of 4 (25%)" in page
    assert "2 of 4 (50%)" in page
    assert "1 of 1 (100%)" in page


def test_one_licence_that_the_hub_knows_is_stated_by_its_id(tmp_path: Path) -> None:
    found = survey_data_set(
        published(tmp_path / "d", [row(dataset="NTUML2021"), row(dataset="CSZS")])
    )
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

    page = samples_page(survey_data_set(directory, root=root, num_samples=9), root=root)

    assert page.count('src="data:audio/mpeg') == 1
    assert "the first 30 s" in page
    assert "lies outside" in page
    assert "does not exist" in page
    assert page.count("<script>") == 1
    assert "alert(1)" in html.unescape(page)
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "script-src 'sha256-" in page


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
    write_card(directory, data_card(survey_data_set(directory)))
    hub = Hub()

    names = upload(directory, "me/data", api=hub)

    assert names == [CARD, "manifest.json", "audio-00000.jsonl"]
    assert hub.calls == [
        ("me/data", "dataset", True, True),
        ("me/data", directory, "dataset", names),
    ]


def test_what_the_hub_refuses_is_one_sentence(tmp_path: Path) -> None:
    directory = constructed(tmp_path / "data")
    write_card(directory, data_card(survey_data_set(directory)))
    refusal = HfHubHTTPError.__new__(HfHubHTTPError)
    Exception.__init__(refusal, "403 Forbidden:\n no right")
    with pytest.raises(ConfigError, match=r"refuses me/data: .*403 Forbidden: no right"):
        upload(directory, "me/data", api=Hub(refusal))
    with pytest.raises(DataError, match="interrupted: no route"):
        upload(directory, "me/data", api=Hub(ConnectionError("no route")))
