"""A file of lines that survives whatever stops its process."""

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from desta import lines
from desta.errors import DataError
from desta.lines import LineFile, whole_lines

BUSY = DataError("busy", fix="wait")
ROOT = Path(__file__).parents[2]


def add(path: Path, *texts: str) -> list[bytes]:
    """Open a file, add lines, and return those that were there before."""
    with LineFile(path, busy=BUSY) as file:
        before = list(file)
        if texts:
            file.append(texts)
        return before


def test_only_whole_lines_are_given_back_and_a_torn_one_is_cut_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert add(path, "one", "two") == []
    path.write_bytes(path.read_bytes() + b"th")

    assert add(path) == [b"one", b"two"]
    assert path.read_bytes() == b"one\ntwo\nth"  # whose file it is may not be known yet
    add(path, "three")
    assert path.read_bytes() == b"one\ntwo\nthree\n"


@pytest.mark.parametrize("block", [1, 2, 3, 100])
@pytest.mark.parametrize(
    "content",
    [b"", b"a", b"\n", b"abcdefg", b"a\nbcd", b"ab\n\ncdefgh\r\xff", b"abc\nd\n", b"\0\n"],
)
def test_what_follows_the_last_newline_goes_whatever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, block: int
) -> None:
    monkeypatch.setattr(lines, "_BLOCK", block)
    path = tmp_path / "lines"
    path.write_bytes(content)
    whole = content[: content.rfind(b"\n") + 1]
    before = add(path, "é")

    assert b"".join(line + b"\n" for line in before) == whole
    assert path.read_bytes() == whole + "é\n".encode()


def test_a_file_is_made_by_its_first_line(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    assert add(path) == []
    assert not path.exists()
    assert list(whole_lines(path)) == []


def test_lines_that_cannot_be_made_leave_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntorn")
    with LineFile(path, busy=BUSY) as file, pytest.raises(ZeroDivisionError):
        file.append(f"{1 / number}" for number in (1, 0))
    assert path.read_bytes() == b"one\ntorn"


def test_a_file_in_a_folder_that_is_missing_is_refused_and_the_folder_not_made(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        LineFile(tmp_path / "nowhere" / "lines", busy=BUSY)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that takes no files")
def test_a_folder_that_takes_no_files_is_not_another_process() -> None:
    with pytest.raises(DataError, match="its folder takes no files"):
        LineFile(Path("/proc/lines"), busy=BUSY)


def test_a_file_that_is_open_is_refused_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    with LineFile(path, busy=BUSY) as file:
        file.append(["one"])
        with pytest.raises(DataError, match="busy"):
            LineFile(path, busy=BUSY)
        file.append(["two"])
    assert add(path) == [b"one", b"two"]


def test_a_process_that_is_killed_keeps_its_whole_lines_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    code = (
        "import pathlib, sys\n"
        "from desta.errors import DataError\n"
        "from desta.lines import LineFile\n"
        "file = LineFile(pathlib.Path(sys.argv[1]), busy=DataError('busy', fix='wait'))\n"
        "number = 0\n"
        "while True:\n"
        "    file.append([str(number)])\n"
        "    number += 1\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )
    try:
        while not (path.exists() and path.read_bytes().count(b"\n") >= 3):
            assert child.poll() is None
        with pytest.raises(DataError, match="busy"):
            LineFile(path, busy=BUSY)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()

    with LineFile(path, busy=BUSY) as file:
        numbers = [int(line) for line in file]
        file.append(["next"])
    assert numbers == list(range(len(numbers)))
    assert path.read_bytes().endswith(f"\n{numbers[-1]}\nnext\n".encode())


def test_whatever_links_lead_to_a_file_its_lock_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    path, link = tmp_path / "disk" / "lines", tmp_path / "link"
    link.symlink_to(path)
    with LineFile(link, busy=BUSY) as file:
        file.append(["one"])
        with pytest.raises(DataError, match="busy"):
            LineFile(path, busy=BUSY)
    assert path.read_bytes() == b"one\n"


def test_a_file_system_without_locks_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(DataError, match="cannot be locked: No locks available"):
        LineFile(tmp_path / "lines", busy=BUSY)


def test_half_a_character_in_a_line_of_json_comes_back(tmp_path: Path) -> None:
    text = "cut off \ud83d"
    path = tmp_path / "lines"
    add(path, json.dumps(text, ensure_ascii=False))
    assert [json.loads(line) for line in add(path)] == [text]
