"""Who is trained on and who is tested with."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desta.errors import ConfigError
from desta.sources.splits import assign_splits, plain_words

texts = st.sampled_from(["", "Hello!", "hello", "HELLO ...", "¡Adiós!", "adiós", "one", "two", "3"])
clips = st.lists(st.tuples(texts, st.sampled_from("abcdefgh")), max_size=12)
spoken = st.lists(
    st.tuples(texts, st.sampled_from("abcdefgh"), st.sampled_from([None, "Ann", "Ben", "Eve"])),
    max_size=12,
)


@given(clips, st.integers(0, 50))
def test_no_text_and_no_recording_is_in_two_splits(known: list[tuple[str, str]], seed: int) -> None:
    splits = assign_splits([t for t, _ in known], [r for _, r in known], seed=seed)

    for (text, recording), split in zip(known, splits, strict=True):
        for (other_text, other_recording), other in zip(known, splits, strict=True):
            same_words = plain_words(text) and plain_words(text) == plain_words(other_text)
            if same_words or recording == other_recording:
                assert split == other


@given(spoken, st.integers(0, 50))
def test_no_voice_and_no_recording_is_in_two_splits(
    known: list[tuple[str, str, str | None]], seed: int
) -> None:
    columns = [[clip[n] for clip in known] for n in range(3)]
    splits = assign_splits(columns[0], columns[1], columns[2], seed=seed)  # type: ignore[arg-type]

    for (_, recording, voice), split in zip(known, splits, strict=True):
        for (_, other_recording, other_voice), other in zip(known, splits, strict=True):
            if recording == other_recording or voice and voice == other_voice:
                assert split == other


def test_a_voice_decides_whatever_it_says_and_alike_in_every_corpus() -> None:
    voices = [f"voice/{n}" for n in range(200)]
    (one,) = set(assign_splits(["a", "b", "c"], ["1", "2", "3"], ["voice/Ann"] * 3))
    same_words = assign_splits(["hello"] * 200, voices, voices)

    assert assign_splits(["d"], ["4"], ["voice/Ann"]) == [one]
    assert same_words.count("test") == pytest.approx(20, abs=10)
    assert assign_splits(["hello"] * 2, ["5", "6"], [None, "voice/Ann"])[1] == one


@given(clips, st.randoms())
def test_splits_do_not_depend_on_the_order_of_the_clips(
    known: list[tuple[str, str]], random: Any
) -> None:
    before = dict(
        zip(known, assign_splits([t for t, _ in known], [r for _, r in known]), strict=True)
    )
    random.shuffle(known)
    after = assign_splits([t for t, _ in known], [r for _, r in known])

    assert [before[clip] for clip in known] == after


@given(st.lists(st.text("abc", min_size=1), unique=True), st.text("xyz", min_size=1))
def test_a_clip_keeps_its_split_when_others_are_added(known: list[str], new: str) -> None:
    before = assign_splits(known, known)

    # another recording of every text, and one of a new text
    after = assign_splits([*known, *known, new], [*known, *(f"{k} again" for k in known), new])

    assert after[: len(known)] == before


def test_shares_are_kept_and_the_seed_matters() -> None:
    names = [f"text {n}" for n in range(5000)]
    splits = assign_splits(names, names)

    assert splits.count("train") / 5000 == pytest.approx(0.8, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)
    assert assign_splits(names, names, seed=1) != splits
    assert set(assign_splits(names, names, shares=(0, 0, 1))) == {"test"}
    for shares in ((0.8, 0.2), (0.8, 0.3, 0.1), (1.2, -0.1, -0.1)):
        with pytest.raises(ConfigError, match="three shares"):
            assign_splits(names, names, shares=shares)


@pytest.mark.parametrize("text", ["ಕನ್ನಡ", "हिन्दी", "ഒരു പൂവ്", "日本語", "Ёлка", "ﬁn"])
def test_normalised_text_keeps_the_words_of_any_script(text: str) -> None:
    assert plain_words(f"«{text}»!") == plain_words(text) != ""
    assert plain_words(text) != plain_words(text[:-1])
