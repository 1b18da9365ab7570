"""The journal of measurements survives whatever stops a run."""

from pathlib import Path

import pytest

from desta.attributes.journal import MeasurementJournal
from desta.errors import ConfigError, DataError


@pytest.mark.parametrize("torn", [b"", b'{"b', b"[2", b"[2]"])
def test_a_journal_forgets_only_the_line_that_was_being_written(
    tmp_path: Path, torn: bytes
) -> None:
    path = tmp_path / "journal"
    with MeasurementJournal(path, "f") as journal:
        journal.append([0])
        journal.append([1])
    path.write_bytes(path.read_bytes() + torn)

    with MeasurementJournal(path, "f") as journal:
        assert list(journal.records()) == [[0], [1]]
        journal.append([2])
    with MeasurementJournal(path, "f") as journal:
        assert list(journal.records()) == [[0], [1], [2]]


def test_a_journal_of_which_only_half_the_header_was_written_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"finge')
    with MeasurementJournal(path, "f") as journal:
        journal.append(1)
    with MeasurementJournal(path, "f") as journal:
        assert list(journal.records()) == [1]


def test_a_journal_that_is_open_is_refused_and_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with MeasurementJournal(path, "f") as journal:
        journal.append(1)
        with pytest.raises(DataError, match="another process is at work"):
            MeasurementJournal(path, "f")
        journal.append(2)
    with MeasurementJournal(path, "f") as journal:
        assert list(journal.records()) == [1, 2]


def test_the_journal_of_other_work_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with MeasurementJournal(path, "f") as journal:
        journal.append(1)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="another recipe"):
        MeasurementJournal(path, "g")
    assert path.read_bytes() == before


def test_a_damaged_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"fingerprint": "f"}\n{"a\n[1]\n')
    with MeasurementJournal(path, "f") as journal, pytest.raises(DataError, match="damaged"):
        list(journal.records())
    path.write_bytes(b'{"fingerprint\n')
    with pytest.raises(DataError, match="damaged"):
        MeasurementJournal(path, "f")
