"""Which code a data set depends on: all that decides its rows, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import desta
from desta.construction.code import DECIDES_NOTHING, find_code
from desta.construction.config import ConstructConfig
from desta.construction.pipeline import construct
from desta.errors import ConfigError
from desta.generators.scripted import ScriptedGenerator
from desta.shards import RESPONSES, Manifest
from support.construction import clip, corpus, recipe, speak

CONSTRUCT = """
import json, logging, sys
from pathlib import Path
logging.basicConfig(format="%(message)s", stream=sys.stderr)
from desta.config import load_recipe
from desta.construction.config import ConstructConfig
from desta.construction.pipeline import construct
from desta.generators.scripted import ScriptedGenerator
asked = []
def speak(content):
    asked.append(content)
    return f"I hear {len(content)} things."
construct(load_recipe(Path("recipe.yaml"), ConstructConfig), Path("out"), ScriptedGenerator(speak))
print(json.dumps(len(asked)))
"""
RECIPE = """
backbone: scripted
clips: [{path: clips.jsonl, root: recordings, prompts_per_clip: 2}]
sampling: {temperature: 0.05, max_new_tokens: 40}
"""
DECIDERS = (
    *("construction.pipeline", "construction.plan", "construction.description", "records"),
    *("construction.filters", "construction.filtering", "shards", "sources.glossary"),
    *("sources.languages", "construction.prompts", "construction.duplicates", "generators.base"),
)
OTHERS = (
    *("construction.cluster", "construction.cluster_config", "construction.decontamination.clean"),
    *("construction.decontamination.fingerprint", "generators.load", "audio", "sources", "cli"),
)


class Copy:
    """A copy of the package, three clips, and what `construct` makes of them by that copy."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.package = tmp_path, tmp_path / "code" / "desta"
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(desta.__file__).parent, self.package, ignore=ignore)
        corpus(tmp_path, [clip(n) for n in range(3)])
        (tmp_path / "recipe.yaml").write_text(RECIPE)

    def construct(self) -> tuple[int, str]:
        """Return how much was asked, and what was said."""
        run = subprocess.run(
            [sys.executable, "-c", CONSTRUCT],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.package.parent)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout), run.stderr

    def change(self, module: str, old: str, new: str) -> None:
        path = self.package / module
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def rows(self) -> str:
        return "".join(path.read_text() for path in sorted((self.folder / "out").glob("*.jsonl")))

    def made(self) -> int:
        return (self.folder / "out" / "manifest.json").stat().st_mtime_ns


def test_a_data_set_is_made_again_when_what_decides_its_rows_has_changed(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    assert copy.construct()[0] == 6
    first, made = copy.rows(), copy.made()
    assert "<start_audio>" in first

    assert copy.construct() == (0, "")
    copy.change("construction/cluster.py", "import gc\n", "import gc  # a remark\n")
    assert copy.construct() == (0, ""), "nothing of a row is decided there"
    assert copy.made() == made

    copy.change("records.py", 'START_AUDIO = "<start_audio>"', 'START_AUDIO = "<audio_start>"')
    told = copy.construct()[1]
    assert "built again" in told
    assert "desta has changed" in told
    assert copy.rows() == first.replace("<start_audio><|AUDIO|>", "<audio_start><|AUDIO|>") != first


def test_a_module_that_is_moved_into_a_folder_still_counts(tmp_path: Path) -> None:
    copy = Copy(tmp_path)
    copy.construct()
    folder = copy.package / "construction" / "checks"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (copy.package / "construction" / "filters.py").rename(folder / "filters.py")
    for path in copy.package.rglob("*.py"):
        old, new = "desta.construction.filters", "desta.construction.checks.filters"
        path.write_text(path.read_text().replace(old, new))
    assert "desta has changed" in copy.construct()[1]
    assert copy.construct() == (0, "")

    copy.change("construction/checks/filters.py", "import re\n", "import re  # a remark\n")
    assert "desta has changed" in copy.construct()[1]


@pytest.mark.parametrize("module", DECIDERS)
def test_what_decides_rows_or_verdicts_is_followed(module: str) -> None:
    assert f"desta.{module}" in find_code("desta.construction.pipeline")


@pytest.mark.parametrize("module", OTHERS)
def test_what_decides_nothing_is_left_out(module: str) -> None:
    assert f"desta.{module}" not in find_code("desta.construction.pipeline")
    assert not DECIDES_NOTHING & find_code("desta.construction.pipeline").keys()


@pytest.fixture
def config(tmp_path: Path) -> ConstructConfig:
    return recipe(tmp_path)


def forget_code(out: Path) -> None:
    """Make a data set look as it did before its code was noted."""
    path = out / "manifest.json"
    old = json.loads(path.read_text()) | {"format": 2, "recipe": "0" * 64}
    del old["code"]
    path.write_text(json.dumps(old))


def test_a_data_set_of_an_older_desta_is_made_again_from_its_responses(
    tmp_path: Path, config: ConstructConfig, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    first = construct(config, out, ScriptedGenerator(speak))
    forget_code(out)
    assert Manifest.read(out) != first

    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))
    assert construct(config, out, never_asked) == first
    assert "made by an older desta" in caplog.text


def test_a_data_set_of_an_older_desta_without_its_responses_is_left_as_it_is(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    forget_code(out)
    (out / RESPONSES).unlink()
    with pytest.raises(ConfigError, match="another version of desta") as caught:
        construct(config, out, ScriptedGenerator(speak))
    assert "use it as it is" in caught.value.fix
