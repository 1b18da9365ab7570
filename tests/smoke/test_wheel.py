"""Whoever installs the wheel has all that the program needs, and nothing of the project."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from what git would hand on, and unpacked as pip does."""
    build = pytest.importorskip("hatchling.build")
    project, folder = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("installed")
    for name in ("desta", "recipes", "pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, project / name)
        else:
            shutil.copy(ROOT / name, project)
    here = Path.cwd()
    os.chdir(project)  # the interface of build backends knows no other way
    try:
        wheel = project / build.build_wheel(str(project))
    finally:
        os.chdir(here)
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *code], cwd=cwd, env=env, capture_output=True, text=True, check=True
    )


@pytest.mark.parametrize("command", [("--help",), ("benchmarks",), ("sources", "show", "esc50")])
def test_commands_run_from_the_wheel(
    installed: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert run(installed, tmp_path, "-m", "desta.cli", *command).stdout


def test_the_wheel_holds_all_package_data_and_the_recipes_of_the_demo(installed: Path) -> None:
    ours = {
        path.relative_to(ROOT)
        for path in (ROOT / "desta").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    ours |= {
        Path("desta/assets/demo") / path.relative_to(ROOT / "recipes/demo")
        for path in (ROOT / "recipes/demo").rglob("*")
        if path.is_file()
    }
    theirs = {p.relative_to(installed) for p in (installed / "desta").rglob("*") if p.is_file()}
    assert theirs - {path for path in theirs if "__pycache__" in path.parts} == ours


def test_the_demo_brings_its_recipes_into_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    run(installed, tmp_path, "-c", "import desta.demo; desta.demo._bring_recipes()")
    command = ["-m", "desta.cli", "construct", "recipes/demo/data.yaml", "--out", "d", "--dry-run"]
    assert "backbone: " in run(installed, tmp_path, *command).stdout
    assert (tmp_path / "recipes/demo/prompts/speech.txt").is_file()
