from collections.abc import Iterable

import numpy as np
import pytest

from desta.construction.attribute_values import closed_sets
from desta.construction.duplicates import REMEMBERED, SIMILARITY, DuplicateFilter, minhash
from desta.construction.filters import Candidate
from desta.construction.prompts import Prompt
from desta.generators.base import Completion
from desta.records import Clip, Segment

LANGUAGES = ("French", "Greek", "Danish", "Russian", "Spanish")


def clip(number: int, attributes: dict[str, str], text: str = "") -> Clip:
    segments = (Segment(start=0.0, end=1.0, text=text),) if text else ()
    return Clip(
        id=str(number),
        source="c",
        audio=f"{number}.wav",
        duration=1.0,
        domain="speech",
        segments=segments,
        attributes=attributes,
    )


SETS = closed_sets(clip(n, {"Language": name}) for n, name in enumerate(LANGUAGES))


def candidate(
    text: str,
    number: int = 0,
    language: str = "French",
    kind: str = "describe",
    prompt: str = "?",
    heard: str = "",
) -> Candidate:
    needs = frozenset(["Language"] if kind == "ask" else [])
    return Candidate(
        clip=clip(number, {"Language": language}, heard),
        prompt=Prompt(text=prompt, kind=kind, needs=needs),
        completion=Completion(text=text, num_tokens=1, finished=True),
        closed_sets=SETS,
    )


def faults(candidates: Iterable[Candidate], max_same: int = 2) -> list[bool]:
    duplicates = DuplicateFilter(max_same)
    return [duplicates.fault(c) is not None for c in candidates]


def test_the_same_right_answer_about_many_clips_is_no_duplicate() -> None:
    asked = [
        candidate("The language is French.", n, kind="ask", heard=f"mot {n}") for n in range(100)
    ]
    assert not any(faults(asked))


def test_a_response_that_does_not_depend_on_the_clip_is_one() -> None:
    same = [candidate("This is a recording.", n, name) for n, name in enumerate(LANGUAGES)]
    assert faults(same) == [False, False, True, True, True]
    assert faults(same, max_same=4) == [False, False, False, False, True]


def test_clips_with_the_same_description_may_share_a_response() -> None:
    first, second = LANGUAGES[:2]
    same = [candidate("This is a recording.", n, name) for n, name in enumerate([first, second])]
    again = [candidate("This is a recording.", n, first) for n in range(2, 9)]
    assert not any(faults([*same, *again]))


def test_what_is_said_counts_only_where_descriptions_state_it() -> None:
    said = [candidate("Somebody speaks.", n, heard=f"word {n}") for n in range(5)]
    assert faults(said) == [False, False, True, True, True]
    untold = DuplicateFilter(2, transcription=False)
    assert not any(untold.fault(c) for c in said)


def test_near_duplicates_are_found_and_other_values_are_another_response() -> None:
    long = "In this short recording you can hear somebody who speaks quietly and without haste in"
    tail = "for about as long as it takes to say a sentence or two, and nothing else is to be heard"
    near = [candidate(f"{long} a room {tail}.", n, name) for n, name in enumerate(LANGUAGES[:2])]
    changed = candidate(f"{long} a room {tail}!!", 3, "Danish")
    assert faults([*near, changed]) == [False, False, True]
    right = [candidate(f"{long} {name} {tail}.", n, name) for n, name in enumerate(LANGUAGES)]
    assert not any(faults(right))


def test_another_prompt_has_duplicates_of_its_own() -> None:
    same = [
        candidate("This is a recording.", n, name, prompt=str(n))
        for n, name in enumerate(LANGUAGES)
    ]
    assert not any(faults(same))


def test_what_is_dropped_is_not_remembered_and_order_decides() -> None:
    same = [candidate("Sound.", n, name) for n, name in enumerate(LANGUAGES)]
    duplicates = DuplicateFilter(1)
    assert [duplicates.fault(c) for c in same] == [None, *["duplicate"] * 4]
    assert duplicates.fault(same[0]) is None  # the one that was let pass


def test_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    duplicates = DuplicateFilter(1)
    assert duplicates.fault(candidate("zero", 0, "French")) is None
    assert duplicates.fault(candidate("zero", 1, "Greek")) == "duplicate"
    for number in range(REMEMBERED):
        assert duplicates.fault(candidate(f"number {number}", 2, "Danish")) is None
    assert duplicates.fault(candidate("zero", 3, "Greek")) is None  # forgotten


@pytest.mark.parametrize(("changed", "same"), [(0, True), (1, True), (12, False)])
def test_minhash_estimates_the_jaccard_index(changed: int, same: bool) -> None:
    words = [f"w{n}" for n in range(40)]
    other = [*words[: 40 - changed], *(f"v{n}" for n in range(changed))]
    runs = [{tuple(w[i : i + 3]) for i in range(38)} for w in (words, other)]
    exact = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
    estimate = float((minhash(words) == minhash(other)).mean())
    assert abs(estimate - exact) < 0.15
    assert (estimate >= SIMILARITY) is same


def test_minhash_of_short_texts() -> None:
    assert minhash([]).shape == (64,)
    assert np.array_equal(minhash(["a", "b"]), minhash(["a", "b"]))
    assert (minhash(["a", "b"]) == minhash(["a", "c"])).mean() < 0.2
