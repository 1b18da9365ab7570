"""The pools of the package, and how files of prompts are read."""

import itertools
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from desta.construction.prompts import (
    MULTI_KINDS,
    PROMPT_KINDS,
    Prompt,
    load_pool,
    load_systems,
)
from desta.errors import ConfigError
from desta.records import DOMAINS, Domain
from prompt_statistics import (
    SHINGLES,
    near_duplicate_share,
    near_duplicates,
    pool_statistics,
    words,
)

POOLS = {domain: load_pool(domain) for domain in DOMAINS}
TEXTS = [prompt.text for pool in POOLS.values() for prompt in pool]
MULTI = load_pool("multi")
SYSTEMS = load_systems()


def write_pool(directory: Path, content: str) -> Path:
    (directory / "speech.txt").write_text(content, encoding="utf-8")
    return directory


def test_pools_are_large_enough() -> None:
    assert len(POOLS["speech"]) >= 4000
    assert len(POOLS["sound"]) + len(POOLS["music"]) >= 3000
    assert len(MULTI) >= 300
    assert len(SYSTEMS) >= 40


def test_all_prompts_are_distinct_beyond_case_and_punctuation() -> None:
    assert len({" ".join(words(text)) for text in TEXTS}) == len(TEXTS)
    assert len({" ".join(words(text)) for text in SYSTEMS}) == len(SYSTEMS)


@pytest.mark.parametrize("shingles", SHINGLES.values(), ids=SHINGLES)
def test_less_than_one_prompt_in_a_hundred_is_a_near_duplicate(
    shingles: Callable[[str], frozenset[str]],
) -> None:
    assert near_duplicate_share(near_duplicates(TEXTS, shingles), len(TEXTS)) < 0.01
    assert not near_duplicates(SYSTEMS, shingles)


@pytest.mark.parametrize("domain", DOMAINS)
def test_kinds_are_balanced(domain: Domain) -> None:
    counts = Counter(prompt.kind for prompt in POOLS[domain])

    assert max(counts.values()) < 1.3 * min(counts.values())


def test_prompts_have_many_lengths_and_beginnings() -> None:
    for pool in POOLS.values():
        found = pool_statistics(pool)
        assert found["words"]["shortest"] <= 3
        assert found["words"]["longest"] >= 40
        assert found["first words"] > len(pool) / 4


def test_names_of_needs_are_written_in_one_way() -> None:
    needs = {name for pool in POOLS.values() for prompt in pool for name in prompt.needs}

    assert len({name.casefold() for name in needs}) == len(needs)
    assert all(name[0].isupper() for name in needs)


def test_attributes_of_the_demo_are_asked_for_in_many_wordings() -> None:
    asked = Counter(
        name
        for pool in POOLS.values()
        for prompt in pool
        for name in prompt.needs
        if prompt.kind == "ask"
    )

    assert asked["Language"] >= 20
    assert asked["Gender"] >= 12
    assert asked["Sound class"] >= 15
    assert asked["Instrument"] >= 15


def test_every_kind_is_there_in_every_domain() -> None:
    for domain, pool in POOLS.items():
        silent = {"transform"} if domain != "speech" else set()  # no words to work on
        assert {prompt.kind for prompt in pool} == set(PROMPT_KINDS) - silent


def test_an_ask_prompt_asks_for_one_attribute() -> None:
    for prompt in itertools.chain(*POOLS.values()):
        if prompt.kind == "ask":
            assert len(prompt.needs) == 1, prompt
            assert not prompt.needs_transcription, prompt


def test_no_prompt_of_sound_or_music_needs_words() -> None:
    assert not any(p.needs_transcription for p in POOLS["sound"] + POOLS["music"])


def test_prompts_speak_of_audio_and_never_of_its_written_form() -> None:
    written = re.compile(
        r"\b(text|descriptions?|metadata|captions?|transcri\w*|tags? above)\b", re.I
    )
    about_many = [prompt.text for prompt in MULTI]
    for text in (*TEXTS, *about_many, *SYSTEMS):
        assert not written.search(text), text
    assert not any("<" in text for text in TEXTS + about_many)


def test_prompts_about_several_clips_are_of_six_kinds_and_like_no_other() -> None:
    counts = Counter(prompt.kind for prompt in MULTI)
    texts = [prompt.text for prompt in MULTI]

    assert set(counts) == set(MULTI_KINDS)
    assert max(counts.values()) < 1.3 * min(counts.values())
    assert len({" ".join(words(text)) for text in (*TEXTS, *texts)}) == len(TEXTS) + len(texts)
    for shingles in SHINGLES.values():
        assert near_duplicate_share(near_duplicates(texts, shingles), len(texts)) < 0.01
    known = {name for pool in POOLS.values() for prompt in pool for name in prompt.needs}
    assert {name for prompt in MULTI for name in prompt.needs} <= {*known, "Speaker"}


def test_prompts_that_speak_of_two_clips_say_so_in_their_header() -> None:
    two = re.compile(r"\b(two|both|pair|former|latter)\b", re.I)
    three = re.compile(r"\b(three (recordings|clips)|middle)\b", re.I)
    for prompt in MULTI:
        if prompt.num_clips is None:
            assert not three.search(prompt.text), prompt.text
            assert not two.search(prompt.text) or "two numbers" in prompt.text, prompt.text


def test_sections_give_kind_and_needs(tmp_path: Path) -> None:
    directory = write_pool(
        tmp_path,
        "# ours\n\n[describe]\nWhat is it?\n\n"
        "[reason Speaking speed, transcription ,Emotion]\n  Why so fast?  \n",
    )

    assert load_pool("speech", directory) == (
        Prompt(text="What is it?", kind="describe"),
        Prompt(
            text="Why so fast?",
            kind="reason",
            needs=frozenset({"Speaking speed", "Emotion"}),
            needs_transcription=True,
        ),
    )


def test_headers_about_several_clips_may_say_how_many(tmp_path: Path) -> None:
    (tmp_path / "multi.txt").write_text("[compare]\nA?\n[which 2, Gender]\nB?\n")

    assert load_pool("multi", tmp_path) == (
        Prompt(text="A?", kind="compare"),
        Prompt(text="B?", kind="which", needs=frozenset({"Gender"}), num_clips=2),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[ask Gender]\nWho?\n", r'multi\.txt:1: unknown kind of prompt "ask"'),
        ("[compare 1]\nWho?\n", "does not state a number of clips"),
        ("[compare 2, 3]\nWho?\n", "does not state a number of clips"),
    ],
)
def test_a_malformed_pool_about_several_clips_is_an_error(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "multi.txt").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_pool("multi", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("What is it?\n", r"speech\.txt:1 is a prompt before the first header"),
        ("[describe\nWhat is it?\n", r'speech\.txt:1: header "\[describe" is not closed'),
        (
            "# ours\n[aks Language]\nWhich?\n",
            r'speech\.txt:2: unknown kind .*\n.*did you mean "ask"',
        ),
        ("[]\nWhich?\n", r'speech\.txt:1: unknown kind of prompt ""'),
        ("[ask Language,]\nWhich?\n", r"speech\.txt:1: header .* has an empty name"),
        ("[ask Age]\nA?\n[describe]\nA?\n", r"speech\.txt:4 repeats the prompt of line 2"),
        ("# nothing\n[describe]\n", r"speech\.txt holds no prompts"),
    ],
)
def test_a_malformed_pool_is_an_error_with_its_place(
    tmp_path: Path, content: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_pool("speech", write_pool(tmp_path, content))


def test_a_missing_pool_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"music\.txt not found"):
        load_pool("music", tmp_path)


def test_a_pool_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "speech.txt").write_bytes("[describe]\nIm Café?\n".encode("latin-1"))

    with pytest.raises(ConfigError, match="not UTF-8"):
        load_pool("speech", tmp_path)


def test_a_broken_pool_of_system_prompts_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"system\.txt not found"):
        load_systems(tmp_path)
    (tmp_path / "system.txt").write_text("# none\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"system\.txt holds no prompts"):
        load_systems(tmp_path)
    (tmp_path / "system.txt").write_text("Listen.\n\nListen.\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"system\.txt:3 repeats the prompt of line 1"):
        load_systems(tmp_path)


def test_every_near_duplicate_is_found_and_nothing_else() -> None:
    texts = TEXTS[:300] + [f"{text} please" for text in TEXTS[:300:3]]
    for shingles in SHINGLES.values():
        sets = [shingles(text) for text in texts]
        expected = {
            (texts[a], texts[b])
            for a, b in itertools.combinations(range(len(texts)), 2)
            if len(sets[a] & sets[b]) > 0.6 * len(sets[a] | sets[b])
        }
        assert len(expected) > 50
        assert set(near_duplicates(texts, shingles, above=0.6)) == expected


@pytest.mark.parametrize("domain", DOMAINS)
def test_closed_questions_ask_for_one_attribute_each_in_few_words(domain: Domain) -> None:
    pool = load_pool(domain, Path(__file__).parents[3] / "recipes" / "closed" / "prompts")
    closed = [prompt for prompt in pool if prompt.kind == "ask"]
    per_attribute = Counter(name for prompt in closed for name in prompt.needs)
    assert {prompt.kind for prompt in pool} == {"ask", "describe"}
    assert all(len(prompt.needs) == 1 for prompt in closed)
    assert not any(prompt.needs for prompt in pool if prompt.kind == "describe")
    assert not any(prompt.needs_transcription for prompt in pool)
    assert all(len(words(prompt.text)) <= 9 for prompt in closed)
    assert min(per_attribute.values()) >= 3
