"""Paths that a user gives: URLs, and outputs that are no regular files."""

import os
import socket
from pathlib import Path

import pytest

from desta.errors import ConfigError, DataError
from desta.files import atomic_file, write_atomic
from desta.lines import LineFile, whole_lines
from desta.paths import check_folder, check_local, check_output

BUSY = DataError("busy", fix="wait")


@pytest.fixture(params=["fifo", "socket", "link to a fifo", "folder", "/dev/full", "/dev/null"])
def odd(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Something that no file can be written to."""
    path = tmp_path / "odd"
    if request.param == "folder":
        path.mkdir()
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as here:
            here.bind(str(path))
    elif request.param == "fifo":
        os.mkfifo(path)
    elif request.param == "link to a fifo":
        os.mkfifo(tmp_path / "pipe")
        path.symlink_to(tmp_path / "pipe")
    else:
        path.symlink_to(request.param)  # a test that fails must not replace the device itself
    return path


def test_what_is_no_regular_file_is_no_output(odd: Path) -> None:
    with pytest.raises(ConfigError, match=r"odd is a (folder|pipe)"):
        check_output(odd)
    if not odd.is_dir():
        with pytest.raises(ConfigError, match="is not a folder"):
            check_folder(odd)


def test_no_helper_that_writes_opens_what_is_no_regular_file(odd: Path) -> None:
    with pytest.raises(ConfigError):
        write_atomic(odd, b"x")
    with pytest.raises(ConfigError), atomic_file(odd):
        pass
    with pytest.raises(ConfigError):
        LineFile(odd, busy=BUSY)
    with pytest.raises(ConfigError):
        list(whole_lines(odd))
    assert not odd.is_file()


def test_files_new_and_old_and_links_to_them_are_outputs(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("x")
    link, dangling = tmp_path / "link", tmp_path / "dangling"
    link.symlink_to(old)
    dangling.symlink_to(tmp_path / "not there yet")
    for path in (old, link, dangling, tmp_path / "new", tmp_path / "a" / "b" / "new"):
        check_output(path)
    for path in (tmp_path, tmp_path / "new", tmp_path / "a" / "b"):
        check_folder(path)
    with pytest.raises(ConfigError, match="leads nowhere"):
        check_folder(dangling)


def test_a_link_into_a_folder_that_is_missing_is_no_output(tmp_path: Path) -> None:
    link, second = tmp_path / "link", tmp_path / "second"
    link.symlink_to("nowhere/x")
    second.symlink_to(link)
    for path in (link, second):
        with pytest.raises(ConfigError, match="nowhere does not exist"):
            check_output(path)


def test_a_file_whose_folder_nobody_makes_is_no_output(tmp_path: Path) -> None:
    check_output(tmp_path / "new", in_folder=True)
    with pytest.raises(ConfigError, match="nowhere does not exist"):
        check_output(tmp_path / "nowhere" / "new", in_folder=True)


def test_a_file_that_is_replaced_through_a_link_leaves_the_link(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    old = folder / "old"
    old.write_text("x")
    link = tmp_path / "link"
    link.symlink_to(old)

    write_atomic(link, b"y")

    assert link.is_symlink()
    assert old.read_text() == "y"
    assert list(folder.iterdir()) == [old]


@pytest.mark.parametrize("name", ["file/x", "loop", "a\0b", "n" * 300])
def test_a_path_that_cannot_be_written_is_one_sentence(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for check in (check_output, check_folder):
        with pytest.raises(ConfigError, match="cannot be written"):
            check(tmp_path / name)


def test_the_file_that_this_program_prints_to_is_no_output(tmp_path: Path) -> None:
    path = tmp_path / "printed"
    path.touch()
    kept = os.dup(1)
    try:
        with path.open("a") as file:
            os.dup2(file.fileno(), 1)
        with pytest.raises(ConfigError, match="prints to"):
            check_output(path)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


@pytest.mark.parametrize(
    "url",
    ["https://x.org/a.wav", "HTTP://x.org", "ftp://x/a", "s3://bucket/a", "file:///tmp/a.wav"],
)
def test_a_url_is_told_as_it_was_given_and_not_fetched(url: str) -> None:
    for path in (url, Path(url)):
        with pytest.raises(DataError, match="URLs are not fetched") as told:
            check_local(path)
        assert told.value.message.startswith(f"{url} is")
        assert "download it" in told.value.fix
    for check in (check_output, check_folder):
        with pytest.raises(DataError, match="URLs are not fetched"):
            check(Path(url))


def test_a_path_is_no_url(tmp_path: Path) -> None:
    for path in ("a.wav", "/https/a.wav", "C:/a.wav", "https", "https:", "a https://x", "x:/y"):
        check_local(path)
