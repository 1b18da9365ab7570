"""Lines that are asked again: in their places, whatever links lead to the file and whoever dies."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from desta.errors import ConfigError, DataError
from desta.evaluation.base import Result
from desta.evaluation.journal import Journal, lock
from desta.files import write_atomic
from desta.lines import RetryFile, current_lines, retry_path

BUSY = DataError("busy", fix="wait")
ROOT = Path(__file__).parents[2]
BEFORE = ["a ok", "b failed", "c failed", "d ok"]
AFTER = b"a ok\nb mended\nc failed\nd ok\n"


def read(line: bytes) -> tuple[str, bool]:
    key, _, what = line.decode().partition(" ")
    return key, what == "failed"


def retry(path: Path) -> None:
    with RetryFile(path, read, busy=BUSY) as lines:
        lines.append_again(["b mended"])
        lines.append_again(["c failed", "a changed"])
        lines.replace()


def plain(folder: Path, real: Path) -> Path:
    return real


def a_link(folder: Path, real: Path) -> Path:
    link = folder / "link"
    link.symlink_to(real)
    return link


def a_relative_link(folder: Path, real: Path) -> Path:
    link = folder / "relative"
    link.symlink_to(os.path.relpath(real, folder))
    return link


def a_link_to_a_link(folder: Path, real: Path) -> Path:
    link = folder / "second"
    link.symlink_to(a_link(folder, real))
    return link


def a_link_to_its_folder(folder: Path, real: Path) -> Path:
    link = folder / "folder"
    link.symlink_to(real.parent)
    return link / real.name


WAYS = [plain, a_link, a_relative_link, a_link_to_a_link, a_link_to_its_folder]
Way = Callable[[Path, Path], Path]


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """Return a file of lines on another disk, so to speak."""
    path = tmp_path / "disk" / "lines"
    path.parent.mkdir()
    path.write_text("".join(f"{line}\n" for line in BEFORE))
    return path


@pytest.fixture
def links(tmp_path: Path) -> Path:
    path = tmp_path / "links"
    path.mkdir()
    return path


@pytest.mark.parametrize("way", WAYS)
def test_what_is_asked_again_takes_the_place_of_what_failed_and_links_stay(
    real: Path, links: Path, way: Way
) -> None:
    path = way(links, real)
    before = {p.name: p.is_symlink() for p in links.iterdir()}
    retry(path)
    assert real.read_bytes() == path.read_bytes() == AFTER
    assert {p.name: p.is_symlink() for p in links.iterdir()} == before, "nothing is left beside it"
    assert {p.name for p in real.parent.iterdir()} == {"lines", ".lines.lock"}


@pytest.mark.parametrize("way", WAYS)
def test_a_second_process_is_refused_by_whatever_link_it_comes(
    real: Path, links: Path, way: Way
) -> None:
    with RetryFile(real, read, busy=BUSY), pytest.raises(DataError, match="busy"):
        retry(way(links, real))
    assert real.read_text().splitlines() == BEFORE


def test_lines_are_appended_to_the_new_file_once_it_has_been_written(real: Path) -> None:
    with RetryFile(real, read, busy=BUSY) as lines:
        lines.append(["e ok"])
        lines.append_again(["b mended"])
        lines.replace()
        lines.append(["f ok"])
    assert real.read_bytes() == AFTER + b"e ok\nf ok\n"


def test_a_dangling_link_is_followed_where_its_folder_is_there(links: Path, tmp_path: Path) -> None:
    link, real = links / "link", tmp_path / "disk" / "new"
    link.symlink_to(real)
    with pytest.raises(ConfigError, match="disk does not exist"):
        RetryFile(link, read, busy=BUSY)
    real.parent.mkdir()
    with RetryFile(link, read, busy=BUSY) as lines:
        lines.append(BEFORE)
    retry(link)
    assert link.is_symlink()
    assert real.read_bytes() == AFTER


def test_a_circle_of_links_is_refused(links: Path) -> None:
    one, two = links / "one", links / "two"
    one.symlink_to(two)
    two.symlink_to(one)
    with pytest.raises(ConfigError, match="symbolic links"):
        RetryFile(one, read, busy=BUSY)


READ = """
def read(line):
    key, _, what = line.decode().partition(" ")
    return key, what == "failed"
"""
AS_NOBODY = """
import os, sys
from pathlib import Path
from desta.errors import DataError
from desta.lines import RetryFile
{read}
if os.getuid() == 0:
    os.setuid(65534)
with RetryFile(Path(sys.argv[1]), read, busy=DataError("busy", fix="wait")) as lines:
    lines.append_again(["b mended"])
    lines.replace()
"""


def test_a_folder_that_only_holds_the_link_need_not_be_writable() -> None:
    with tempfile.TemporaryDirectory() as name:  # nobody may enter that of pytest
        folder, disk, links = (Path(name, part) for part in (".", "disk", "links"))
        for path in (disk, links):
            path.mkdir()
        real = disk / "lines"
        real.write_text("".join(f"{line}\n" for line in BEFORE))
        link = a_link_to_a_link(links, real)
        for path, mode in ((folder, 0o755), (links, 0o555), (disk, 0o777), (real, 0o666)):
            path.chmod(mode)
        run = subprocess.run(
            [sys.executable, "-c", AS_NOBODY.format(read=READ), str(link)],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        links.chmod(0o755)
        assert run.returncode == 0, run.stderr
        assert link.is_symlink()
        assert real.read_bytes() == AFTER


def test_another_name_of_the_file_keeps_the_old_lines_and_that_is_said(
    real: Path, links: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = links / "name"
    name.hardlink_to(real)
    retry(real)
    assert real.read_bytes() == AFTER
    assert name.read_text().splitlines() == BEFORE
    assert "another name (a hard link)" in caplog.text


CRASH = """
import os, signal, sys
from pathlib import Path
from desta import lines as module
from desta.errors import DataError
{read}
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
step = sys.argv[2]
if step == "before it is written":
    module.write_atomic = die
elif step == "before the other is removed":
    Path.unlink = die
lines = module.RetryFile(Path(sys.argv[1]), read, busy=DataError("busy", fix="wait"))
lines.append_again(["b mended"])
if step == "asked again":
    die()
if step == "torn":
    with lines.again.open("ab") as file:
        file.write(b"c men")
    die()
lines.replace()
"""
STEPS = ("asked again", "torn", "before it is written", "before the other is removed")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("way", [plain, a_link_to_a_link])
def test_a_process_that_is_killed_loses_nothing_of_what_was_asked_again(
    real: Path, links: Path, way: Way, step: str
) -> None:
    path = way(links, real)
    run = subprocess.run(
        [sys.executable, "-c", CRASH.format(read=READ), str(path), step],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert b"".join(line + b"\n" for line in current_lines(path, read)) == AFTER

    with RetryFile(path, read, busy=BUSY) as lines:
        lines.replace()
        assert list(lines) == AFTER.splitlines()
    assert path.is_symlink() == (way is not plain)
    assert real.read_bytes() == AFTER
    assert {p.name for p in real.parent.iterdir()} == {"lines", ".lines.lock"}


def test_what_was_asked_again_of_a_file_that_is_gone_is_forgotten(real: Path) -> None:
    retry_path(real).write_text("b mended\n")
    real.unlink()
    with RetryFile(real, read, busy=BUSY) as lines:
        lines.replace()
    assert not real.exists()
    assert not retry_path(real).exists()


def test_a_file_that_is_written_whole_stays_behind_its_link(real: Path, links: Path) -> None:
    link = a_link_to_a_link(links, real)
    write_atomic(link, b"anew\n")
    assert link.is_symlink()
    assert real.read_bytes() == b"anew\n"
    assert [p.name for p in real.parent.iterdir()] == ["lines"]


def result(id: str, **values: str) -> Result:
    return Result.from_json(
        {
            **{"id": id, "system": "model", "groups": {}, "question": "?", "target": "t"},
            **{"choices": [], "record": {}, "audio": [], "transcription": None, "prompt": []},
            **{"replies": [], "output": None},
            **values,
        }
    )


def test_a_journal_behind_a_link_stays_there_when_it_is_asked_again_or_scored(
    tmp_path: Path, links: Path
) -> None:
    real, link = tmp_path / "results.jsonl", links / "results.jsonl"
    link.symlink_to(real)
    expected = [("model", "one"), ("model", "two")]
    with Journal(link, expected) as journal:
        journal.append([result("one", skipped="broken"), result("two", output="yes")])
    with Journal(link, expected) as journal:
        assert journal.skipped == {("model", "one")}
        journal.append_again([result("one", output="no")])
        journal.replace_skipped()
    assert link.is_symlink()
    assert [json.loads(line)["output"] for line in real.open()] == ["no", "yes"]

    with lock(link) as lines:
        lines.rewrite([b"{}"])
    assert link.is_symlink()
    assert real.read_bytes() == b"{}\n"
    assert {path.name for path in links.iterdir()} == {"results.jsonl"}
