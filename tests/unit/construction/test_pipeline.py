"""Construction as a whole: nothing lost, nothing asked twice, every drop counted."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.description import DescriptionConfig
from desta.construction.pipeline import construct, recipe_hash
from desta.construction.staging import BUILDING, DROPPED
from desta.errors import ConfigError, DataError
from desta.generators.base import OnOutcome, Outcome, as_text
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import Message
from desta.shards import RESPONSES, Manifest, verify_shards
from support.construction import clip, contents, corpus, plan, read_pairs, recipe, speak


@pytest.fixture
def config(tmp_path: Path) -> ConstructConfig:
    return recipe(tmp_path)


def test_every_job_becomes_one_pair_in_plan_order(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    manifest = construct(config, out, ScriptedGenerator(speak))

    pairs = list(read_pairs(out))
    jobs = plan(config)
    assert manifest.num_kept == len(pairs) == len(jobs) == 24
    for pair, job in zip(pairs, jobs, strict=True):
        assert pair == job.pair(speak(as_text(job.request[-1])))
        assert pair.messages[-1].audios[0].audio == f"recordings/{job.clip.audio}"
    assert set(contents(out)) == {
        *(f"audio-0000{n}.jsonl" for n in range(4)),
        "manifest.json",
        DROPPED,
    }
    assert (out / RESPONSES).exists()


def test_every_drop_is_counted_with_reason_and_first_example(
    tmp_path: Path, config: ConstructConfig
) -> None:
    jobs = plan(config)
    unlucky = {as_text(jobs[n].request[-1]) for n in (3, 4)}
    script = ScriptedGenerator(lambda content: "" if content in unlucky else "Fine.")

    manifest = construct(config, tmp_path / "out", script)

    assert manifest.dropped["empty"].count == 2
    assert manifest.dropped["empty"].example == jobs[3].id
    assert manifest.num_kept == len(jobs) - 2
    lines = (tmp_path / "out" / DROPPED).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [jobs[3].id, jobs[4].id]


def test_too_many_drops_fail_and_other_filters_judge_the_same_responses(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"24 of 24 .* empty: 24 \(first: c/0#0\)"):
        construct(config, out, ScriptedGenerator(lambda _: ""))
    assert len((out / BUILDING / DROPPED).read_text().splitlines()) == 24
    assert Manifest.read(out) is None

    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))
    manifest = construct(replace(config, filters=()), out, never_asked)
    assert manifest.num_kept == 24


def test_a_finished_data_set_is_not_made_again(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    first = construct(config, out, ScriptedGenerator(speak))
    before = contents(out)
    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))
    assert construct(config, out, never_asked) == first
    assert contents(out) == before


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="shows no open files")
def test_no_file_stays_open_when_the_backbone_fails(
    tmp_path: Path, config: ConstructConfig
) -> None:
    def script(content: str) -> str:
        asked.append(content)
        if len(asked) == 400:
            raise KeyboardInterrupt
        return speak(content)

    asked: list[str] = []
    config = replace(config, batch_size=1, clips=(replace(config.clips[0], prompts_per_clip=60),))
    with pytest.raises(KeyboardInterrupt) as caught:
        construct(config, tmp_path / "out", ScriptedGenerator(script))

    assert caught.tb is not None  # and with it all that the work held
    opened = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir()]
    assert [path for path in opened if str(tmp_path) in path] == []


class Counting:
    """A generator that keeps every batch it was asked."""

    id, revision = "scripted", "1"
    order: Literal["length", "prefix"] = "length"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.count_tokens = ScriptedGenerator(speak).count_tokens

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        assert len(seeds) == len(conversations)
        self.batches.append([as_text(messages[-1]) for messages in conversations])
        return ScriptedGenerator(speak).complete(conversations, sampling, seeds=seeds)


@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"filters": ("empty",)}, 0),
        ({"shard_rows": 3}, 0),
        ({"withhold": 0.5}, 0),
        ({"batch_size": 4}, 0),
        ({"max_dropped_share": 0.1}, 0),
        ({"seed": 1}, 24),
        ({"dtype": "float32"}, 24),
        ({"system": "Other."}, 24),
        ({"sampling": Sampling(temperature=0.1, max_new_tokens=40)}, 24),
    ],
)
def test_another_recipe_takes_the_place_and_asks_only_what_is_new(
    tmp_path: Path, config: ConstructConfig, changes: dict[str, Any], again: int
) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    changed = replace(config, **changes)
    generator = Counting()

    construct(changed, out, generator)

    assert sum(map(len, generator.batches)) == again
    construct(changed, tmp_path / "afresh", ScriptedGenerator(speak))
    assert contents(out) == contents(tmp_path / "afresh")
    assert verify_shards(out).num_kept == 24


def test_new_clips_are_all_that_is_asked(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    more = replace(config, clips=(corpus(tmp_path, [clip(n) for n in range(15)]),))
    generator = Counting()

    assert construct(more, out, generator).num_kept == 30

    asked = [text for batch in generator.batches for text in batch]
    assert len(asked) == 6
    assert set(asked) == {as_text(job.request[-1]) for job in plan(more)[24:]}


def test_a_request_that_comes_twice_is_answered_once(
    tmp_path: Path, config: ConstructConfig
) -> None:
    alike = [replace(clip(1), id=f"c/{n}", audio=f"{n}.wav") for n in range(400)]
    twice = replace(config, clips=(corpus(tmp_path, alike),))
    generator = Counting()

    manifest = construct(twice, tmp_path / "out", generator)

    asked = [text for batch in generator.batches for text in batch]
    assert manifest.num_kept == 800
    assert len(set(asked)) == len(asked) < 800


def test_batches_hold_the_longest_requests_first(tmp_path: Path, config: ConstructConfig) -> None:
    generator = Counting()
    construct(config, tmp_path / "out", generator)

    sizes = [len(text.split()) for batch in generator.batches for text in batch]
    assert [len(batch) for batch in generator.batches] == [5, 5, 5, 5, 4]
    assert sizes == sorted(sizes, reverse=True)


def test_batches_hold_requests_of_one_beginning_where_prefixes_are_cached(
    tmp_path: Path, config: ConstructConfig
) -> None:
    generator = Counting()
    generator.order = "prefix"
    construct(config, tmp_path / "out", generator)

    asked = [text for batch in generator.batches for text in batch]
    assert asked == sorted(asked)


@pytest.mark.parametrize("order", ["length", "prefix"])
def test_an_interrupted_run_goes_on_with_the_same_batches(
    tmp_path: Path, config: ConstructConfig, order: Literal["length", "prefix"]
) -> None:
    whole, first, second = Counting(), Counting(), Counting()
    whole.order = first.order = second.order = order
    construct(config, tmp_path / "whole", whole)
    complete = first.complete

    def fail_after_two(*args: Any, **options: Any) -> list[Outcome]:
        if len(first.batches) == 2:
            raise KeyboardInterrupt
        return complete(*args, **options)

    first.complete = fail_after_two  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        construct(config, tmp_path / "out", first)
    construct(config, tmp_path / "out", second)

    assert first.batches + second.batches == whole.batches
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_kept_and_dropped_are_counted_by_source_and_kind(
    tmp_path: Path, config: ConstructConfig
) -> None:
    jobs = plan(config)
    unlucky = as_text(jobs[3].request[-1])
    script = ScriptedGenerator(lambda content: "" if content == unlucky else "Fine.")

    manifest = construct(config, tmp_path / "out", script)

    kinds = {job.prompt.kind for job in jobs}
    assert set(manifest.counts) == {"c"}
    assert set(manifest.counts["c"]) == kinds
    assert sum(count["kept"] for count in manifest.counts["c"].values()) == 23
    assert manifest.counts["c"][jobs[3].prompt.kind]["dropped"] == 1
    assert Manifest.read(tmp_path / "out") == manifest


def test_clips_that_no_prompt_suits_are_counted(tmp_path: Path, config: ConstructConfig) -> None:
    folder = tmp_path / "pools"
    folder.mkdir()
    for domain in ("speech", "sound", "music"):
        (folder / f"{domain}.txt").write_text("[ask Age]\nHow old?\n")
    clips = [clip(n, attributes={"Age": "Old"} if n else {}) for n in range(3)]
    asking = replace(config, clips=(corpus(tmp_path, clips),), prompts=folder)

    manifest = construct(asking, tmp_path / "out", ScriptedGenerator(speak))

    assert manifest.num_kept == 2
    dropped = manifest.dropped["no prompt suits the clip"]
    assert (dropped.count, dropped.example) == (1, "c/0")


def test_an_unfinished_data_set_is_not_taken_for_a_published_one(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    construct(config, out, ScriptedGenerator(speak))
    (out / "manifest.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        list(read_pairs(out))


def test_a_data_set_without_its_journal_is_kept_but_not_replaced(
    tmp_path: Path, config: ConstructConfig
) -> None:
    out = tmp_path / "out"
    first = construct(config, out, ScriptedGenerator(speak))
    (out / RESPONSES).unlink()
    never_asked = ScriptedGenerator(lambda _: pytest.fail("generated again"))

    assert construct(config, out, never_asked) == first
    with pytest.raises(ConfigError, match=f"no {RESPONSES}"):
        construct(replace(config, seed=1), out, never_asked)
    assert list(read_pairs(out))


def test_a_recipe_of_before_a_key_was_added_keeps_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("clips.jsonl").write_text("{}\n")
    clips = ClipsConfig(path=Path("clips.jsonl"), root=Path("corpus"))
    config = ConstructConfig(clips=(clips,), backbone="b", sampling=Sampling())
    generator = ScriptedGenerator(speak)
    noted = "a58e26fe785d65b109839b811b68610fbf7258a13e3f124a8e632e139fb773a8"
    assert recipe_hash(config, "pool", generator) == noted
    for changed in (
        replace(config, ask_evenly=True),
        replace(config, first_words=7),
        replace(config, description=DescriptionConfig(times=False)),
        replace(config, clips=(replace(clips, min_seconds=1.0),)),
    ):
        assert recipe_hash(changed, "pool", generator) != noted


def test_missing_clips_are_an_error(tmp_path: Path, config: ConstructConfig) -> None:
    [clips] = config.clips
    gone = replace(config, clips=(replace(clips, path=tmp_path / "gone.jsonl"),))
    with pytest.raises(DataError, match=r"gone\.jsonl is not a file"):
        construct(gone, tmp_path / "out", ScriptedGenerator(speak))


def test_shards_of_another_origin_are_left_alone(tmp_path: Path, config: ConstructConfig) -> None:
    out = tmp_path / "published"
    out.mkdir()
    (out / "audio.0.jsonl").write_text("{}\n")
    with pytest.raises(ConfigError, match="another origin"):
        construct(config, out, ScriptedGenerator(speak))
