import resource
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from desta.construction.journal import ResponseJournal
from desta.errors import DataError
from desta.generators.base import Completion, Refusal

REFUSAL = Refusal(reason="refused: 400", message="400 too long: 日本")


def key(number: int) -> bytes:
    return number.to_bytes(32)


def answers(*numbers: int) -> dict[bytes, Completion]:
    return {
        key(n): Completion(text=f"日本\n\u2028 {n}", num_tokens=n, finished=n % 2 == 0)
        for n in numbers
    }


def test_what_was_added_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with ResponseJournal(path) as journal:
        assert journal.find([key(1)]) == {}
        journal.add(answers(*range(1200)))
    with ResponseJournal(path) as journal:
        assert journal.find(map(key, range(1, 3000, 2))) == answers(*range(1, 1200, 2))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_refusal_is_found_until_it_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with ResponseJournal(path) as journal:
        journal.add({**answers(1), key(2): REFUSAL, key(3): REFUSAL})
    with ResponseJournal(path) as journal:
        assert journal.find(map(key, range(9))) == {**answers(1), key(2): REFUSAL, key(3): REFUSAL}
        assert set(journal.keys()) == {key(1), key(2), key(3)}
        assert journal.forget_refusals() == 2
    with ResponseJournal(path) as journal:
        assert set(journal.keys()) == {key(1)}
        assert journal.forget_refusals() == 0
        journal.add(answers(2))


def test_a_journal_of_the_first_format_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "CREATE TABLE responses (key BLOB PRIMARY KEY NOT NULL, text TEXT NOT NULL, "
            "num_tokens INTEGER NOT NULL, finished INTEGER NOT NULL)"
        )
        database.execute("INSERT INTO responses VALUES (?, 'so', 1, 1)", [key(1)])
        database.execute("PRAGMA user_version = 1")
    old = {key(1): Completion(text="so", num_tokens=1, finished=True)}
    with ResponseJournal(path) as journal:
        assert journal.find([key(1)]) == old
        journal.add({key(2): REFUSAL})
    with ResponseJournal(path) as journal:
        assert journal.find([key(1), key(2)]) == {**old, key(2): REFUSAL}


def test_reasoning_is_kept_beside_the_text(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    found = {key(1): Completion(text="so", num_tokens=2, finished=True, reasoning="Hm.")}
    with ResponseJournal(path) as journal:
        journal.add({**found, **answers(2)})
    with ResponseJournal(path) as journal:
        assert journal.find([key(1), key(2)]) == {**found, **answers(2)}


def test_reasoning_in_the_texts_of_an_older_journal_is_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(
            "CREATE TABLE responses (key BLOB PRIMARY KEY NOT NULL, text TEXT NOT NULL, "
            "num_tokens INTEGER NOT NULL, finished INTEGER NOT NULL)"
        )
        database.execute(
            "CREATE TABLE refusals (key BLOB PRIMARY KEY NOT NULL, reason TEXT NOT NULL, "
            "message TEXT NOT NULL)"
        )
        texts = ["<think>Hm.</think>\n\nso", "<think>Hm", "so"]
        rows = [(key(n), text, 3, 1) for n, text in enumerate(texts)]
        database.executemany("INSERT INTO responses VALUES (?, ?, ?, ?)", rows)
        database.execute("PRAGMA user_version = 2")
    for _ in range(2):
        with ResponseJournal(path) as journal:
            found = journal.find(map(key, range(3)))
        assert [(o.text, o.reasoning) for o in found.values() if isinstance(o, Completion)] == [
            ("so", "Hm."),
            ("", "Hm"),
            ("so", ""),
        ]


def test_a_batch_is_added_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with ResponseJournal(path) as journal:
        journal.add(answers(2))
        with pytest.raises(DataError):
            journal.add(answers(1, 2, 3))
        assert journal.find(map(key, range(4))) == answers(2)
        journal.add(answers(3))


def test_two_processes_do_not_work_in_one_directory(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with ResponseJournal(path), pytest.raises(DataError, match="another process is at work"):
        ResponseJournal(path)
    with ResponseJournal(path) as journal:
        assert journal.find([]) == {}


@pytest.mark.parametrize(
    "content", [b"no data base at all" * 100, b"SQLite format 3\0" + b"x" * 90]
)
def test_a_damaged_journal_is_one_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "responses.sqlite"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"):
        ResponseJournal(path)
    assert path.read_bytes() == content


def test_damage_inside_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    with ResponseJournal(path) as journal:
        journal.add(answers(*range(3000)))
    content = bytearray(path.read_bytes())
    content[4096 : len(content)] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(DataError, match="is damaged"), ResponseJournal(path) as journal:
        journal.find(map(key, range(3000)))


def test_a_newer_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(DataError, match="format 99, newer"):
        ResponseJournal(path)


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be opened"):
        ResponseJournal(tmp_path / "gone" / "responses.sqlite")


FILL = """
import sys
from pathlib import Path
from desta.construction.journal import ResponseJournal
from desta.generators.base import Completion

with ResponseJournal(Path(sys.argv[1])) as journal:
    for number in range(10_000):
        text = f"{number} " * 200
        key = number.to_bytes(32)
        journal.add({key: Completion(text=text, num_tokens=1, finished=True)})
        print(number, flush=True)
"""


def test_a_full_disk_is_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "responses.sqlite"
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(path)],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000)),
    )
    assert run.returncode == 1
    assert "DataError" in run.stderr
    assert "make room on the disk" in run.stderr
    stored = [int(line) for line in run.stdout.split()]
    assert stored

    with ResponseJournal(path) as journal:
        assert set(journal.find(map(key, range(10_000)))) == set(map(key, stored))
        journal.add(answers(10_001))
