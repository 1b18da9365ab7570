"""Corpora fetched as packages of the system."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from desta.errors import DataError, DestaError
from desta.sources.packages import fetch_packages
from support.sources import write


def make_executable(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def package_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of programs: the real dpkg, and an apt-get that fetches from `shelf`."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg is not installed")
    tree = tmp_path / "tree"
    write(tree / "DEBIAN/control", "Package: tunes\nVersion: 1\nArchitecture: all\n"
          "Maintainer: nobody <nobody@example.org>\nDescription: tunes\n")  # fmt: skip
    write(tree / "usr/share/tunes/tune.txt", "la la\n")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    subprocess.run(
        ["dpkg-deb", "--build", str(tree), str(shelf / "tunes_1_all.deb")],
        check=True,
        capture_output=True,
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    make_executable(
        tools / "apt-get",
        f'echo "$*" >> {tmp_path}/calls; shift 2\n'
        f"for name; do cp {shelf}/${{name}}_1_all.deb . || exit 100; done",
    )
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    return tools


def test_packages_are_unpacked_once(tmp_path: Path, package_tools: Path) -> None:
    dest = tmp_path / "dest"

    assert fetch_packages(dest, ["tunes", "tunes"]) == ["tunes"]
    assert fetch_packages(dest, ["tunes"]) == []

    assert (dest / "usr/share/tunes/tune.txt").read_text() == "la la\n"
    assert (tmp_path / "calls").read_text().splitlines() == ["-q download tunes"]
    assert sorted(path.name for path in dest.iterdir()) == [".packages", "usr"]


def test_a_package_that_cannot_be_had_is_an_error_with_the_fallback(
    tmp_path: Path, package_tools: Path
) -> None:
    with pytest.raises(DataError, match="cannot download songs") as caught:
        fetch_packages(tmp_path / "dest", ["songs"])
    assert "apt-get update" in caught.value.fix
    assert "desta describe custom" in caught.value.fix


def test_a_package_that_is_damaged_is_not_taken_for_unpacked(
    tmp_path: Path, package_tools: Path
) -> None:
    (tmp_path / "shelf/songs_1_all.deb").write_bytes(b"!<arch>\ncut")

    for _ in range(2):
        with pytest.raises(DataError, match="cannot be unpacked"):
            fetch_packages(tmp_path / "dest", ["songs"])


def test_a_system_without_packages_is_told_the_fallback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(DestaError) as caught:
        fetch_packages(tmp_path / "dest", ["tunes"])
    assert "desta describe custom" in caught.value.fix
