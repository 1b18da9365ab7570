import json
import logging
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from desta.construction import plan as planning
from desta.construction.attribute_values import closed_sets
from desta.construction.config import ClipsConfig, ConstructConfig
from desta.construction.filters import Candidate, first_failed
from desta.construction.groups import Block, Group, GroupsConfig
from desta.construction.pipeline import construct
from desta.construction.plan import Job, Planner
from desta.construction.prompts import Prompt, load_pool, suits
from desta.construction.survey import survey_clips
from desta.errors import ConfigError
from desta.generators.base import Completion, as_text
from desta.generators.scripted import ScriptedGenerator
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR, NO_TRANSCRIPTION, Clip, Segment
from desta.shards import Manifest
from support.construction import read_pairs

EMOTIONS = ("Angry", "Happy", "Sad")


def clip(number: int, **changes: Any) -> Clip:
    values: dict[str, Any] = {
        "id": f"c/{number}",
        "source": "c",
        "audio": f"{number}.wav",
        "duration": 2.0,
        "domain": "speech",
        "segments": (Segment(start=0.0, end=2.0, text=f"Word {number}"),),
        "attributes": {"Emotion": EMOTIONS[number % 3], "Speaker": f"S{number // 10}"},
    }
    return Clip(**{**values, **changes})


def recipe(folder: Path, clips: Sequence[Clip], **groups: Any) -> ConstructConfig:
    path = folder / "clips.jsonl"
    path.write_text("".join(json.dumps(c.to_json()) + "\n" for c in clips))
    corpus = ClipsConfig(path=path, root=Path("wav"), groups=(GroupsConfig(**groups),))
    return ConstructConfig(
        clips=(corpus,), backbone="scripted", sampling=Sampling(temperature=0, max_new_tokens=40)
    )


def about_groups(config: ConstructConfig) -> list[Job]:
    jobs = [job for _, jobs in Planner(config).plan(survey_clips(config)) for job in jobs or ()]
    return [job for job in jobs if "@" in job.id]


def ids(job: Job) -> list[str]:
    return job.id.partition("#")[0].split("@")


# -- who forms a group ---------------------------------------------------------------------------


def groups(clips: Sequence[Clip], *, seed: int = 0, **wish: Any) -> list[Group]:
    block = Block(clips, seed=seed)
    wishes = [GroupsConfig(**wish)]
    found = (group for place in range(len(clips)) for _, group in block.groups(place, wishes))
    return [group for group in found if group is not None]


CLIPS = [clip(n) for n in range(300)]


def test_random_partners_are_other_clips_and_each_is_as_likely() -> None:
    found = groups(CLIPS, share=1.0, size=3)
    heard = Counter(c.id for group in found for c in group.clips[1:])

    assert [group.clips[0] for group in found] == CLIPS
    assert all(len({c.id for c in group.clips}) == 3 for group in found)
    assert len(heard) > 240  # of 300, each in two groups on average: 1 - exp(-2) of them
    assert max(heard.values()) < 12


def test_partners_by_an_attribute_have_the_same_value_and_are_other_clips() -> None:
    clips = [*CLIPS, clip(300, attributes={"Emotion": "Bored"}), clip(301, attributes={})]
    found = groups(clips, share=1.0, size=2, by="Emotion")

    assert len(found) == 300  # nobody else is bored, and of one clip nothing is known
    for group in found:
        first, second = group.clips
        assert first.attributes["Emotion"] == second.attributes["Emotion"]
        assert first != second


def test_the_next_clips_and_the_same_clip() -> None:
    following = groups(CLIPS, share=1.0, size=3, by="next")
    again = groups(CLIPS[:4], share=1.0, size=2, by="same")

    assert [group.id for group in following[:2]] == ["c/0@c/1@c/2", "c/1@c/2@c/3"]
    assert len(following) == 298
    assert [group.id for group in again] == [f"c/{n}@c/{n}" for n in range(4)]


@pytest.mark.parametrize("by", ["random", "next", "same", "Emotion"])
def test_the_stated_share_of_clips_gets_a_group_and_it_follows_from_the_seed(by: str) -> None:
    many = [clip(n) for n in range(2000)]
    found = groups(many, share=0.2, by=by)

    assert len(found) / 2000 == pytest.approx(0.2, abs=0.03)  # 3 standard errors
    assert groups(many, share=0.2, by=by) == found
    assert groups(many, share=0.2, by=by, seed=1) != found


def test_too_few_clips_form_no_group() -> None:
    assert groups(CLIPS[:2], share=1.0, size=3) == []
    assert groups(CLIPS[:3], share=1.0, size=2, by="Emotion") == []


# -- what is known of a group --------------------------------------------------------------------

ANN = clip(1, attributes={"Gender": "Female", "Emotion": "Sad", "Age": ""})
BEN = clip(2, attributes={"Gender": "Male", "Accent": "Scottish", "Age": "20s"})
SILENT = clip(3, segments=(), attributes={"Gender": "Male"})


def test_a_prompt_suits_a_group_if_it_suits_every_clip() -> None:
    def ask(*needs: str, words: bool = False) -> Prompt:
        return Prompt(text="?", kind="which", needs=frozenset(needs), needs_transcription=words)

    for clips in ((ANN, BEN), (BEN, ANN), (ANN, ANN), (ANN, SILENT), (SILENT, BEN)):
        shared = Group(clips).shared
        for prompt in (ask("Gender"), ask("Emotion"), ask("Age"), ask("Accent"), ask(words=True)):
            assert suits(prompt, shared) == all(suits(prompt, c) for c in clips), (prompt, clips)


def test_what_is_known_of_any_clip_joins_the_values() -> None:
    union = Group((ANN, BEN, SILENT)).union

    assert union.id == "c/1@c/2@c/3"
    assert dict(union.attributes) == {
        "Gender": "Female / Male",
        "Emotion": "Sad",
        "Age": "20s",
        "Accent": "Scottish",
    }
    assert union.transcription == "Word 1 Word 2"
    assert Group((SILENT, SILENT)).union.transcription == NO_TRANSCRIPTION


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        ("The first is sad, and the second is angry.", None),
        ("Both are sad.", None),
        ("The first is sad, the second happy.", "states another value"),
    ],
)
def test_a_value_that_no_clip_of_the_group_has_is_another_value(
    response: str, fault: str | None
) -> None:
    pair = Group((clip(2), clip(3)))  # sad and angry
    candidate = Candidate(
        clip=pair.union,
        prompt=Prompt(text="?", kind="each"),
        completion=Completion(text=response, num_tokens=9, finished=True),
        closed_sets=closed_sets(CLIPS[:9]),
    )
    assert first_failed(candidate, ["states_other_value"]) == fault


# -- pairs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3])
def test_a_pair_about_a_group_has_a_locator_a_text_and_a_line_for_every_clip(
    tmp_path: Path, size: int
) -> None:
    config = recipe(tmp_path, CLIPS[:60], share=1.0, size=size)
    jobs = about_groups(config)

    assert len(jobs) == 60
    for job in jobs:
        [*_, question] = job.messages
        clips = [CLIPS[int(id.partition("/")[2])] for id in ids(job)]
        lines = job.description.split("\n")
        tags = "\n".join([f"<start_audio>{LOCATOR}<end_audio>"] * size)
        assert question.content == f"{tags}\n\n{job.prompt.text}"
        assert [a.audio for a in question.audios] == [f"wav/{c.audio}" for c in clips]
        assert [a.text for a in question.audios] == [c.transcription for c in clips]
        assert len(lines) == size
        assert all(f"] {c.transcription} (" in line for c, line in zip(clips, lines, strict=True))
        heard = as_text(job.request[-1]).partition("\n\n")[0]
        assert re.sub("</?(start|end)_audio>", "", heard) == job.description


def test_prompts_about_groups_fit_their_size_and_what_is_known(tmp_path: Path) -> None:
    pairs = about_groups(recipe(tmp_path, CLIPS, share=1.0, size=2))
    threes = about_groups(recipe(tmp_path, CLIPS, share=1.0, size=3))

    assert {job.prompt.num_clips for job in pairs} == {None, 2}
    assert {job.prompt.num_clips for job in threes} == {None, 3}
    needs = {name for job in pairs for name in job.prompt.needs}
    assert {"Emotion"} <= needs <= {"Emotion", "Speaker", "Duration"}
    assert len({job.prompt.text for job in pairs}) > 100
    multi = set(load_pool("multi"))
    assert all(job.prompt in multi for job in pairs)


def test_pairs_about_one_clip_stay_as_they_are_beside_groups(tmp_path: Path) -> None:
    config = recipe(tmp_path, CLIPS, share=0.5)
    [corpus] = config.clips
    alone = replace(config, clips=(replace(corpus, groups=()),))
    planned = [job for _, jobs in Planner(config).plan(survey_clips(config)) for job in jobs or ()]

    assert [job for job in planned if "@" not in job.id] == [
        job for _, jobs in Planner(alone).plan(survey_clips(alone)) for job in jobs or ()
    ]
    assert 100 < sum("@" in job.id for job in planned) < 200


def test_partners_stay_within_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "BLOCK", 10)
    for job in about_groups(recipe(tmp_path, CLIPS[:95], share=1.0, size=2)):
        first, second = (int(id.partition("/")[2]) for id in ids(job))
        assert first // 10 == second // 10


def test_construction_makes_pairs_of_groups(tmp_path: Path) -> None:
    config = recipe(tmp_path, CLIPS[:40], share=1.0, by="Emotion")
    manifest = construct(config, tmp_path / "out", ScriptedGenerator(lambda text: "I hear two."))

    pairs = [pair for pair in read_pairs(tmp_path / "out") if "@" in pair.id]
    assert manifest.num_kept == 40 + len(pairs) == 80
    assert isinstance(manifest, Manifest)
    assert all(len(pair.messages[-1].audios) == 2 for pair in pairs)
    assert {pair.dataset for pair in pairs} == {"c"}


def test_groups_that_cannot_be_formed_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = recipe(tmp_path, CLIPS[:3], share=1.0, by="Emotion")
    with caplog.at_level(logging.WARNING):
        assert about_groups(config) == []
    assert "clips.jsonl were grouped by Emotion" in caplog.text


def test_a_pool_without_a_prompt_for_the_size_is_counted(tmp_path: Path) -> None:
    pools = tmp_path / "pools"
    pools.mkdir()
    for name in ("speech", "sound", "music"):
        (pools / f"{name}.txt").write_text("[describe]\nWhat is it?\n")
    (pools / "multi.txt").write_text("[compare 3]\nCompare the three.\n")
    config = replace(recipe(tmp_path, CLIPS[:4], share=1.0, size=2, by="next"), prompts=pools)
    manifest = construct(config, tmp_path / "out", ScriptedGenerator(lambda _: "Fine."))

    assert manifest.num_kept == 4
    assert {reason: (d.count, d.example) for reason, d in manifest.dropped.items()} == {
        "no prompt suits the clip": (3, "c/0@c/1"),
        "too few clips stand near it for a group": (1, "c/3"),
    }


def test_clips_that_find_no_partners_are_counted(tmp_path: Path) -> None:
    clips = [*CLIPS[:40], clip(300, attributes={"Emotion": "Bored"}), clip(301, attributes={})]
    config = recipe(tmp_path, clips, share=1.0, by="Emotion")
    manifest = construct(config, tmp_path / "out", ScriptedGenerator(lambda text: "I hear two."))

    assert manifest.num_kept == 42 + 40
    [(reason, dropped)] = manifest.dropped.items()
    assert (reason, dropped.count) == ("too few clips stand near it for a group", 2)
    assert dropped.example == "c/300"


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"share": 0.0}, "share = 0.0 is not a share of clips"),
        ({"share": 1.1}, "share = 1.1 is not a share of clips"),
        ({"share": 0.1, "size": 1}, "size = 1 is not a group"),
    ],
)
def test_a_wrong_wish_is_an_error(wish: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        GroupsConfig(**wish)


def test_an_attribute_that_no_clip_has_is_an_error(tmp_path: Path) -> None:
    config = recipe(tmp_path, CLIPS[:3], share=0.5, by="Emotoin")
    with pytest.raises(ConfigError, match='no clip .* has the attribute "Emotoin"') as caught:
        survey_clips(config)
    assert 'did you mean "Emotion"' in caught.value.fix
