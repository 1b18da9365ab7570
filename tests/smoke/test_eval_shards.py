"""An evaluation in parts: merged, they are the run of one process."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from desta.errors import DataError
from desta.evaluation.journal import Shard, lock
from desta.evaluation.merge import merge
from desta.evaluation.rescore import score_again
from desta.evaluation.scores import score_folder
from support.evaluations import (
    NUM_CLIPS,
    Interrupted,
    PitchAnswerer,
    Recipe,
    contents,
    evaluate,
    mend,
    pitch_recipe,
)


@pytest.fixture
def config(tmp_path: Path) -> Recipe:
    return pitch_recipe(tmp_path)


@pytest.mark.parametrize("count", [2, 3])
def test_merged_shards_are_one_run(config: Recipe, tmp_path: Path, count: int) -> None:
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    folders = [tmp_path / "here", *[tmp_path / "there"] * (count - 1)]
    for number in reversed(range(count)):
        shard = Shard(number=number, count=count)
        assert evaluate(config, PitchAnswerer(), folders[number], shard) is None

    assert merge(folders) == folders[0] / "results.jsonl"
    score_folder(folders[0])

    assert contents(folders[0]) == contents(tmp_path / "whole")


def test_more_shards_than_batches_are_merged_as_well(config: Recipe, tmp_path: Path) -> None:
    config = replace(config, systems=("model",), batch_size=NUM_CLIPS)
    out = tmp_path / "out"
    for number in range(2):
        assert evaluate(config, PitchAnswerer(), out, Shard(number=number, count=2)) is None

    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    merge([out])
    assert score_folder(out) == score_folder(tmp_path / "whole")
    evaluate(config, PitchAnswerer(), out, Shard(number=1, count=2))  # again, nothing is left


def test_shards_with_the_names_of_before_and_of_now_are_one_run(
    config: Recipe, tmp_path: Path
) -> None:
    """A recipe had no section `data`, and its baselines apart from the model."""
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    before, now = tmp_path / "before", tmp_path / "now"
    for number, folder in enumerate((before, now)):
        evaluate(config, PitchAnswerer(), folder, Shard(number=number, count=2))
    plan = json.loads((before / "plan.json").read_text(encoding="utf-8"))
    recipe = plan["config"]
    recipe |= recipe.pop("data")
    del recipe["compare"]  # which came later
    recipe["baselines"] = [name.replace("_", " ") for name in recipe.pop("systems")[1:]]
    assert "no audio" in recipe["baselines"]
    (before / "plan.json").write_text(json.dumps(plan), encoding="utf-8")

    merge([before, now])

    assert score_folder(before) == score_folder(tmp_path / "whole")
    assert contents(before)["results.jsonl"] == contents(tmp_path / "whole")["results.jsonl"]


def test_shards_that_are_not_one_evaluation_are_not_merged(config: Recipe, tmp_path: Path) -> None:
    out, other, third = (tmp_path / name for name in ("out", "other", "third"))
    evaluate(config, PitchAnswerer(), out, Shard(number=0, count=2))
    with pytest.raises(DataError, match=r"results-1-of-2\.jsonl is missing"):
        merge([out])
    evaluate(config, PitchAnswerer(), third, Shard(number=1, count=3))
    with pytest.raises(DataError, match=r"different --shard: K/2 and K/3"):
        merge([out, third])
    (third / "results-1-of-3.jsonl").unlink()
    with pytest.raises(DataError, match="holds no journal of a shard"):
        merge([third])
    evaluate(replace(config, batch_size=5), PitchAnswerer(), other, Shard(number=1, count=2))
    with pytest.raises(DataError, match="different evaluations: batch_size, config"):
        merge([out, other])

    evaluate(config, PitchAnswerer(), out, Shard(number=1, count=2))
    half = out / "results-1-of-2.jsonl"
    lines = half.read_bytes().splitlines(keepends=True)
    half.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(DataError, match=f"holds {len(lines) - 1} of {len(lines)} results"):
        merge([out])
    half.write_bytes(b"".join([*lines[:-1], lines[0]]))
    with pytest.raises(DataError, match="not of this plan"):
        merge([out])


def test_merging_keeps_what_was_asked_again(config: Recipe, tmp_path: Path) -> None:
    config = replace(config, batch_size=1, max_skipped_share=1.0)
    evaluate(config, PitchAnswerer(), tmp_path / "whole")
    whole = {n: (tmp_path / f"{n}.wav").read_bytes() for n in (1, 2, 3, 4)}
    mend(tmp_path, dict.fromkeys(whole, b"no audio"))
    out = tmp_path / "out"
    parts = [Shard(number=number, count=2) for number in range(2)]
    for part in parts:
        evaluate(config, PitchAnswerer(), out, part)
    mend(tmp_path, whole)

    with pytest.raises(KeyboardInterrupt):
        evaluate(config, Interrupted(after=1), out, parts[0], retry=True)
    merge([out])
    assert score_folder(out)["skipped"][0]["count"] == 3, (
        "one was asked again, and is not yet in its part"
    )
    evaluate(config, PitchAnswerer(), out, retry=True)  # the merged run, and no part of it
    done = (out / "results.jsonl").read_bytes()
    merge([out])

    assert (out / "results.jsonl").read_bytes() == done
    assert score_folder(out)["skipped"] == []
    assert set(done.splitlines()) == set(
        (tmp_path / "whole/results.jsonl").read_bytes().splitlines()
    )


def test_nobody_scores_or_merges_what_is_being_asked_again(config: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for number in range(2):
        evaluate(config, PitchAnswerer(), out, Shard(number=number, count=2))
    results = merge([out])
    with lock(results):
        for work in (score_again, lambda out: merge([out])):
            with pytest.raises(DataError, match="another process writes"):
                work(out)
    score_again(out)
