"""Which prompts suit a clip, and which are drawn for it."""

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.construction.pool import PromptPool, draw_system
from desta.construction.prompts import (
    PROMPT_KINDS,
    Prompt,
    asks_unknown,
    load_pool,
    load_systems,
    pool_hash,
    suits,
)
from desta.errors import ConfigError
from desta.records import DOMAINS, Clip, Domain, Segment

POOLS = {domain: load_pool(domain) for domain in DOMAINS}
SYSTEMS = load_systems()


def make_clip(
    id: str = "corpus/1", *, text: str | None = None, domain: Domain = "speech", **attributes: str
) -> Clip:
    return Clip(
        id=id,
        source="corpus",
        audio=f"{id}.wav",
        duration=3.0,
        domain=domain,
        segments=(Segment(start=0.0, end=3.0, text=text),),
        attributes=attributes,
    )


def draw(
    pool: Sequence[Prompt], clip: Clip, *, kinds: Mapping[str, float] | None = None, **options: Any
) -> list[Prompt]:
    return PromptPool(pool, kinds).draw(clip, **options)


def test_a_prompt_suits_only_clips_that_have_what_it_needs() -> None:
    language = Prompt(text="Which language?", kind="ask", needs=frozenset({"Language"}))
    spoken = Prompt(text="Repeat.", kind="transform", needs_transcription=True)

    assert suits(language, make_clip(Language="French"))
    assert not suits(language, make_clip(Gender="Female"))
    assert not suits(language, make_clip(Language=""))
    assert suits(spoken, make_clip(text="Bonjour"))
    assert not suits(spoken, make_clip(text=" "))


def test_the_duration_is_known_of_every_clip() -> None:
    assert suits(Prompt(text="How long?", kind="ask", needs=frozenset({"Duration"})), make_clip())


@given(st.randoms(use_true_random=False), st.integers(0, 5), st.integers(0, 250))
def test_a_draw_holds_different_suitable_prompts(rng: random.Random, seed: int, count: int) -> None:
    clip = make_clip(str(rng.random()), Language="French")
    suitable = [prompt for prompt in POOLS["speech"][::20] if suits(prompt, clip)]

    drawn = draw(POOLS["speech"][::20], clip, count=count, seed=seed)

    assert len(set(drawn)) == len(drawn) == min(count, len(suitable))
    assert set(drawn) <= set(suitable)


@given(st.randoms(use_true_random=False))
def test_a_draw_does_not_depend_on_the_order_of_the_pool(rng: random.Random) -> None:
    pool = POOLS["music"][::5]
    shuffled = list(pool)
    rng.shuffle(shuffled)
    clip = make_clip(domain="music", Instrument="Bell")
    weights = {"ask": 2.0, "describe": 1.0}

    for kinds in (None, weights):
        expected = draw(pool, clip, count=4, seed=0, kinds=kinds)
        assert draw(shuffled, clip, count=4, seed=0, kinds=kinds) == expected


def test_a_draw_is_the_same_on_every_machine() -> None:
    pool = [Prompt(text=letter, kind="describe") for letter in "abcdefgh"]

    drawn = draw(pool, make_clip("corpus/é"), count=8, seed=3)

    assert "".join(prompt.text for prompt in drawn) == "edcfghab"


def test_a_larger_draw_begins_with_the_smaller_one() -> None:
    clip = make_clip()

    assert draw(POOLS["speech"], clip, count=9, seed=1)[:3] == draw(
        POOLS["speech"], clip, count=3, seed=1
    )


def test_a_new_prompt_changes_only_the_draws_that_it_wins() -> None:
    new = Prompt(text="A prompt that was not there before", kind="describe")
    pool = POOLS["sound"][::12]
    won = 0
    for number in range(500):
        clip = make_clip(str(number))
        before = draw(pool, clip, count=1, seed=0)
        after = draw([*pool, new], clip, count=1, seed=0)
        won += after == [new]
        assert after in (before, [new])

    assert 0 < won < 50


def test_seed_and_clip_change_the_draw() -> None:
    draws = {
        tuple(draw(POOLS["speech"], make_clip(name), count=3, seed=seed))
        for name in ("a", "b")
        for seed in (0, 1)
    }

    assert len(draws) == 4


def test_kinds_are_drawn_in_proportion_to_their_weights() -> None:
    weights = {"ask": 3.0, "describe": 1.0, "reason": 0.0}
    pool = POOLS["speech"][::20]
    counts = Counter(
        draw(pool, make_clip(str(n), Language="French"), count=1, seed=0, kinds=weights)[0].kind
        for n in range(2000)
    )

    assert set(counts) == {"ask", "describe"}
    assert counts["ask"] / 2000 == pytest.approx(0.75, abs=0.03)  # 3 standard errors


def test_without_weights_every_prompt_is_equally_likely() -> None:
    pool = [
        Prompt(text=letter, kind=kind) for letter, kind in zip("abcd", PROMPT_KINDS, strict=False)
    ]
    counts = Counter(draw(pool, make_clip(str(n)), count=1, seed=0)[0].text for n in range(4000))

    assert all(counts[prompt.text] == pytest.approx(1000, abs=82) for prompt in pool)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({"roleplay": 1.0}, 'did you mean "role-play"'),
        ({"ask": -1.0}, 'weight of prompt kind "ask" is -1.0'),
        ({"ask": float("nan")}, 'weight of prompt kind "ask" is nan'),
        ({"ask": 0.0}, "no kind of prompt has a weight"),
        ({}, "no kind of prompt has a weight"),
    ],
)
def test_wrong_weights_are_an_error(kinds: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        draw(POOLS["speech"], make_clip(), count=1, seed=0, kinds=kinds)


def test_an_unknown_is_asked_for_only_where_the_clip_has_it_not() -> None:
    clip = make_clip(text="Bonjour", Language="French", Age="")
    drawn = draw(POOLS["speech"], clip, count=10_000, seed=0, unknown=True)

    assert {prompt.kind for prompt in drawn} == {"ask"}
    asked = {name for prompt in drawn for name in prompt.needs}
    assert {"Age", "Gender", "Emotion"} <= asked
    assert not asked & {"Language", "Duration"}
    assert all(asks_unknown(prompt, clip) and not suits(prompt, clip) for prompt in drawn)


def test_system_prompts_are_drawn_alike_and_depend_on_the_pair_alone() -> None:
    counts = Counter(draw_system(SYSTEMS, f"c/{n}#0", seed=0) for n in range(4800))

    assert set(counts) == set(SYSTEMS)
    assert max(counts.values()) < 3 * min(counts.values())
    assert draw_system(SYSTEMS[::-1], "c/1#0", seed=0) == draw_system(SYSTEMS, "c/1#0", seed=0)
    assert len({draw_system(SYSTEMS, "c/1#0", seed=seed) for seed in range(20)}) > 5


def test_the_hash_changes_with_what_changes_draws_and_with_nothing_else() -> None:
    prompt = Prompt(text="Which language?", kind="ask", needs=frozenset({"Language", "Accent"}))
    other = Prompt(text="What is it?", kind="describe")
    base = pool_hash({"speech": [prompt, other]})
    with_systems = pool_hash({"speech": [prompt, other]}, ["Listen.", "Hear."])

    assert re.fullmatch("[0-9a-f]{64}", base)
    assert pool_hash({"speech": [other, prompt]}) == base
    changed = [
        {"speech": [prompt]},
        {"sound": [prompt, other]},
        {"speech": [prompt, Prompt(text="What is that?", kind="describe")]},
        {"speech": [prompt, Prompt(text="What is it?", kind="reason")]},
        {"speech": [prompt, Prompt(text="What is it?", kind="describe", num_clips=2)]},
        {"speech": [prompt, Prompt(text="What is it?", kind="describe", needs_transcription=True)]},
    ]
    assert pool_hash({"speech": [prompt, other]}, ["Hear.", "Listen."]) == with_systems
    assert len({base, with_systems, *map(pool_hash, changed)}) == len(changed) + 2
