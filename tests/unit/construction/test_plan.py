"""Which clips are used, and which prompts about them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.construction.config import ConstructConfig
from desta.construction.description import DescriptionConfig
from desta.construction.pipeline import construct
from desta.construction.plan import Planner
from desta.construction.pool import ticket
from desta.construction.survey import survey_clips
from desta.errors import ConfigError, DataError
from desta.generators.base import as_text
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from support.construction import LANGUAGES, clip, corpus, plan, recipe, speak


@pytest.fixture
def config(tmp_path: Path) -> ConstructConfig:
    return recipe(tmp_path)


def test_only_the_split_and_the_values_asked_for_are_planned(
    tmp_path: Path, config: ConstructConfig
) -> None:
    clips = [clip(n, split="test" if n < 6 else "train") for n in range(12)]
    chosen = replace(corpus(tmp_path, clips), where={"Language": ("French", "Spanish")})
    chosen_only = replace(config, clips=(chosen,))
    assert {job.clip.id for job in plan(chosen_only)} == {"c/6", "c/8", "c/9", "c/11"}
    found = survey_clips(chosen_only)
    assert found.closed_sets["speech", "Language"] == {"french", "russian", "spanish"}
    assert found.num_prompts == 4 * 2


def test_clips_that_are_too_short_are_not_planned(tmp_path: Path, config: ConstructConfig) -> None:
    clips = [replace(clip(n), duration=0.5 * n + 0.5) for n in range(4)]
    long = replace(corpus(tmp_path, clips), min_seconds=1.5)

    assert {job.clip.id for job in plan(replace(config, clips=(long,)))} == {"c/2", "c/3"}


def test_a_cap_holds_for_every_value_and_new_clips_displace_few(
    tmp_path: Path, config: ConstructConfig
) -> None:
    def drawn(num_clips: int) -> set[str]:
        capped = replace(
            corpus(tmp_path, [clip(n) for n in range(num_clips)]), per_value={"Language": 4}
        )
        return {job.clip.id for job in plan(replace(config, clips=(capped,)))}

    few, more = drawn(60), drawn(63)
    assert len(few) == len(more) == 3 * 4
    assert len(few - more) <= 3


def test_a_second_cap_holds_for_what_the_first_one_left(
    tmp_path: Path, config: ConstructConfig
) -> None:
    clips = [
        clip(n, attributes={"Language": LANGUAGES[n % 3]} | ({"Gender": "Male"} if n % 2 else {}))
        for n in range(60)
    ]
    capped = replace(corpus(tmp_path, clips), per_value={"Language": 8, "Gender": 5})
    twice = replace(config, clips=(capped,))
    used = [c.id for c, _ in Planner(twice).plan(survey_clips(twice))]

    lots = {c.id: ticket(config.seed, c.id) for c in clips}
    left = []
    for language in LANGUAGES:
        speaking = [c for c in clips if c.attributes["Language"] == language]
        left += sorted(speaking, key=lambda c: lots[c.id])[:8]
    male = sorted((c for c in left if "Gender" in c.attributes), key=lambda c: lots[c.id])
    expected = {c.id for c in left} - {c.id for c in male[5:]}
    assert len(male) > 5
    assert used == [c.id for c in clips if c.id in expected]


def test_prompts_about_words_are_not_drawn_where_the_words_are_left_out(
    config: ConstructConfig,
) -> None:
    silent = replace(config, description=DescriptionConfig(transcription=False))
    assert any(job.prompt.needs_transcription for job in plan(config))
    assert not any(job.prompt.needs_transcription for job in plan(silent))


def test_the_last_prompt_of_the_stated_share_of_clips_asks_for_the_unknown(
    tmp_path: Path, config: ConstructConfig
) -> None:
    many = replace(config, clips=(corpus(tmp_path, [clip(n) for n in range(200)]),))
    before = plan(many)
    after = plan(replace(many, unknown_share=0.25))

    assert [job.id for job in after] == [job.id for job in before]
    assert [job for job in after if not job.unknown] == [
        old for old, new in zip(before, after, strict=True) if not new.unknown
    ]
    unknown = [job for job in after if job.unknown]
    assert len(unknown) / 200 == pytest.approx(0.25, abs=0.09)  # 3 standard errors
    assert all(job.id.endswith("#1") for job in unknown)
    assert not any(job.unknown for job in before)


def test_what_a_prompt_needs_is_never_dropped_from_the_description(
    tmp_path: Path, config: ConstructConfig
) -> None:
    rich = {"Language": "French", "Gender": "Female", "Emotion": "Sad", "Accent": "Breton"}
    some = corpus(tmp_path, [clip(n, attributes=rich) for n in range(100)])
    dropping = DescriptionConfig(drop=0.9, order="random")
    jobs = plan(replace(config, clips=(some,), description=dropping))

    assert any(job.prompt.needs for job in jobs)
    for job in jobs:
        assert all(f"{name}: " in job.description for name in job.prompt.needs)
        assert job.description in as_text(job.request[-1])
    firsts, seconds = jobs[::2], jobs[1::2]
    same = sum(a.description == b.description for a, b in zip(firsts, seconds, strict=True))
    assert same < 60  # two prompts about a clip draw on their own


def test_pairs_about_the_unknown_are_counted(tmp_path: Path, config: ConstructConfig) -> None:
    asking = replace(config, unknown_share=1.0)
    manifest = construct(asking, tmp_path / "out", ScriptedGenerator(speak))

    assert manifest.num_unknown == 12
    assert construct(config, tmp_path / "plain", ScriptedGenerator(speak)).num_unknown == 0


def test_a_pool_gives_pairs_different_system_prompts(config: ConstructConfig) -> None:
    drawn = replace(config, systems="pool")
    plain, pooled = plan(config), plan(drawn)

    assert {job.messages[0].content for job in plain} == {config.system}
    assert len({job.messages[0].content for job in pooled}) > 12
    assert [job.prompt for job in pooled] == [job.prompt for job in plain]
    assert all(job.request[0].content == job.messages[0].content for job in pooled)
    assert Planner(drawn).prompt_pool != Planner(config).prompt_pool


@pytest.mark.parametrize("name", ["withhold", "unknown_share", "max_dropped_share"])
def test_a_share_outside_0_to_1_is_an_error(config: ConstructConfig, name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} = 1.5 is not a share"):
        replace(config, **{name: 1.5})
    with pytest.raises(ConfigError, match=f"{name} = nan is not a share"):
        replace(config, **{name: math.nan})


@pytest.mark.parametrize("temperature", [-1.0, math.nan, math.inf])
def test_a_temperature_that_is_no_number_from_0_is_an_error(temperature: float) -> None:
    with pytest.raises(ConfigError, match="is not 0 or a positive number"):
        Sampling(temperature=temperature)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", "hot"), ("top_p", None), ("stop", 5), ("stop", "END")]
)
def test_a_setting_of_another_type_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"{name} = {value!r} is"):
        Sampling(**{name: value})


def test_the_same_clip_twice_is_an_error(tmp_path: Path, config: ConstructConfig) -> None:
    twice = replace(config, clips=config.clips * 2)
    with pytest.raises(DataError, match="two clips have the id 'c/0'"):
        plan(twice)


def test_an_empty_selection_is_an_error(config: ConstructConfig) -> None:
    with pytest.raises(DataError, match='no clip of split "test"'):
        plan(replace(config, split="test"))
