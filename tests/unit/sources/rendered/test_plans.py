"""Plans of speech and music: what is drawn, and that it is as it is described."""

from collections import Counter
from pathlib import Path

import pytest

from desta.errors import ConfigError
from desta.sources.base import Metadata
from desta.sources.rendered.folder import Job
from desta.sources.rendered.fonts import SOUND_FONTS
from desta.sources.rendered.instruments import FAMILIES, INSTRUMENTS
from desta.sources.rendered.music import plan_music
from desta.sources.rendered.reader import read_rendered
from desta.sources.rendered.speech import plan_speech
from desta.sources.rendered.voices import VOICES, find_voice
from support.sources import write


def described(jobs: list[Job], root: Path) -> dict[str, Metadata]:
    """Return what the reader tells of clips that were rendered as planned."""
    import json

    rows = [json.dumps({"id": job.id, "audio": job.audio, **job.facts}) for job in jobs]
    write(root / "rendered.jsonl", "".join(f"{row}\n" for row in rows))
    items = {item.id: item for item in read_rendered(root)}
    assert all(isinstance(item, Metadata) for item in items.values())
    return items  # type: ignore[return-value]


def test_voices_take_turns_and_read_different_sentences() -> None:
    jobs = plan_speech(num_sentences=6)

    assert len(jobs) == 54 * 6
    assert [job.facts["voice"] for job in jobs[:54]] == list(VOICES)
    read = {
        name: frozenset(job.facts["sentence"] for job in jobs if job.facts["voice"] == name)
        for name in VOICES
    }
    assert all(len(sentences) == 6 for sentences in read.values())
    assert len(set(read.values())) == len(VOICES)


def test_blends_take_their_turns_behind_the_voices() -> None:
    jobs = plan_speech(num_sentences=2, num_blends=1)

    blends = [job.facts["voice"] for job in jobs[54:70]]
    assert len(jobs) == 2 * (54 + 16)
    assert [job.facts["voice"] for job in jobs[-16:]] == blends
    assert all(name.count("-") == 2 for name in blends)


def test_more_sentences_keep_those_of_fewer() -> None:
    few, many = (plan_speech(["if_sara"], num_sentences=count) for count in (5, 50))

    assert many[:5] == few
    assert len(plan_speech(["if_sara"], num_sentences=1000)) == 60


def test_a_plan_depends_on_its_seed_alone() -> None:
    assert plan_speech(["jm_kumo"]) == plan_speech(["af_heart", "jm_kumo"])[1::2]
    assert plan_speech(["jm_kumo"], seed=1) != plan_speech(["jm_kumo"])


def test_voices_that_are_not_for_training_read_what_no_other_reads() -> None:
    texts: dict[bool, set[str]] = {True: set(), False: set()}
    for job in plan_speech(num_sentences=60, num_blends=1):
        texts[find_voice(job.facts["voice"]).split == "train"].add(job.facts["text"])
    assert len(texts[True]) == 60 * 8, "all of eight languages"
    assert texts[False]
    assert not texts[True] & texts[False]
    assert plan_music(num_notes=5, num_pairs=0, num_tunes=0)[0 :: len(SOUND_FONTS)] == plan_music(
        ["fluidr3"], num_notes=5, num_pairs=0, num_tunes=0
    )


def test_speeds_lie_around_the_voices_own() -> None:
    speeds = [job.facts["speed"] for job in plan_speech()]

    assert 0.85 <= min(speeds) < 0.9
    assert 1.15 < max(speeds) <= 1.2


@pytest.mark.parametrize(
    ("plan", "name", "near"),
    [(plan_speech, "af_hart", "af_heart"), (plan_music, "fluid", "fluidr3")],
)
def test_an_unknown_name_is_answered_with_the_nearest(plan, name: str, near: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError) as caught:
        plan([name])

    assert near in caught.value.fix


def test_notes_lie_in_the_range_of_their_instruments() -> None:
    for job in plan_music(num_notes=100, num_pairs=100, num_tunes=60):
        for part in job.facts["parts"]:
            instrument = INSTRUMENTS[part["program"]]
            for start, length, key, velocity in part["notes"]:
                assert instrument.lowest <= key <= instrument.highest
                assert 0 <= start < start + length <= job.facts["length"]
                assert 0 < velocity < 128


def test_families_are_as_frequent_and_two_notes_rise_as_often_as_they_fall(tmp_path: Path) -> None:
    jobs = plan_music(["fluidr3"], num_notes=26, num_pairs=24, num_tunes=0)
    found = described(jobs, tmp_path)

    notes = [item for id, item in found.items() if "/note-" in id]
    pairs = [item for id, item in found.items() if "/pair-" in id]
    assert Counter(n.attributes["Instrument family"] for n in notes) == dict.fromkeys(FAMILIES, 2)
    assert Counter(p.attributes["Second note"] for p in pairs) == {"Higher": 12, "Lower": 12}
    told = {(p.attributes["Instrument family"], p.attributes["Second note"]) for p in pairs}
    assert len(told) == 24  # no family tells the direction
    for item in pairs:
        first, second = (note[2] for note in by_id(jobs)[item.id].facts["parts"][0]["notes"])
        assert (second > first) == (item.attributes["Second note"] == "Higher")


def by_id(jobs: list[Job]) -> dict[str, Job]:
    return {job.id: job for job in jobs}


def test_tunes_have_one_to_three_instruments_at_a_tempo_that_is_no_border_case(
    tmp_path: Path,
) -> None:
    jobs = plan_music(["timgm6mb"], num_notes=0, num_pairs=0, num_tunes=90)
    tunes = list(described(jobs, tmp_path).values())

    assert Counter(t.attributes["Number of instruments"] for t in tunes) == dict.fromkeys("123", 30)
    assert Counter(t.attributes["Tempo"] for t in tunes) == dict.fromkeys(
        ("Slow", "Medium", "Fast"), 30
    )
    for job in jobs:
        bpm = job.facts["bpm"]
        assert min(abs(bpm - border) for border in (80, 125)) >= 8
        assert 4 <= job.facts["length"] <= 12
        starts = [note[0] for note in job.facts["parts"][0]["notes"]]
        assert all(
            (start * bpm / 30) % 1 < 0.01 or (start * bpm / 30) % 1 > 0.99 for start in starts
        )


def test_instruments_that_play_together_share_their_group(tmp_path: Path) -> None:
    jobs = plan_music(num_notes=300, num_pairs=0, num_tunes=90)
    found = described(jobs, tmp_path)
    groups: dict[tuple[str, int], set[str | None]] = {}
    for job in jobs:
        recordings = SOUND_FONTS[job.facts["font"]].recordings
        for part in job.facts["parts"]:
            groups.setdefault((recordings, part["program"]), set()).add(found[job.id].group)

    assert all(len(names) == 1 for names in groups.values())


def test_instruments_of_a_tune_are_of_different_families() -> None:
    for job in plan_music(num_notes=0, num_pairs=0, num_tunes=90):
        families = [INSTRUMENTS[part["program"]].family for part in job.facts["parts"]]
        assert len(set(families)) == len(families)
        assert INSTRUMENTS[job.facts["parts"][0]["program"]].pitched
