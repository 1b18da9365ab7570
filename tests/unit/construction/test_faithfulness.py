from desta.construction.attribute_values import closed_sets
from desta.construction.faithfulness import Faithfulness
from desta.construction.filters import Candidate
from desta.construction.prompts import Prompt
from desta.generators.base import Completion
from desta.records import Clip


def clip(attributes: dict[str, str]) -> Clip:
    return Clip(
        id="1", source="c", audio="a.wav", duration=1.0, domain="speech", attributes=attributes
    )


FRENCH = clip({"Language": "French", "Gender": "Female", "Speaker": "Anna"})
SETS = closed_sets([FRENCH, clip({"Language": "Greek", "Gender": "Male", "Speaker": "Ben"})])


def candidate(text: str, *needs: str, kind: str = "ask", about: Clip = FRENCH) -> Candidate:
    return Candidate(
        clip=about,
        prompt=Prompt(text="?", kind=kind, needs=frozenset(needs)),
        completion=Completion(text=text, num_tokens=1, finished=True),
        closed_sets=SETS,
    )


def test_right_answers_are_counted_before_and_after_the_filters() -> None:
    faithfulness = Faithfulness()
    faithfulness.add(candidate("It is French.", "Language"), kept=True)
    faithfulness.add(candidate("It is French.", "Language"), kept=False)
    faithfulness.add(candidate("It is Greek.", "Language"), kept=False)
    faithfulness.add(candidate("It is French or Greek.", "Language"), kept=True)
    assert faithfulness.to_json() == {
        "ask": {"Language": {"asked": 4, "right": 2, "kept": 2, "kept_right": 1}}
    }


def test_only_closed_attributes_that_are_known_and_needed_count() -> None:
    faithfulness = Faithfulness()
    faithfulness.add(candidate("Anna", "Speaker"), kept=True)  # open
    faithfulness.add(candidate("One second.", "Duration"), kept=True)  # no word out of a list
    faithfulness.add(candidate("I cannot tell.", "Age"), kept=True)  # unknown
    faithfulness.add(candidate("A woman speaks French."), kept=True)  # nobody asked
    assert faithfulness.to_json() == {}


def test_attributes_of_one_prompt_are_counted_each_for_itself() -> None:
    faithfulness = Faithfulness()
    faithfulness.add(candidate("She speaks Greek.", "Language", "Gender", kind="format"), kept=True)
    counts = faithfulness.to_json()["format"]
    assert counts["Gender"]["right"] == 1  # the wrong language is not held against it
    assert counts["Language"]["right"] == 0


def test_parts_add_up_in_any_order() -> None:
    texts = ["French", "Greek", "A woman", "French"]
    whole, parts = Faithfulness(), [Faithfulness(), Faithfulness()]
    for number, text in enumerate(texts):
        asked = candidate(text, "Language" if number % 2 else "Gender")
        whole.add(asked, kept=number > 1)
        parts[number % 2].add(asked, kept=number > 1)
    merged = Faithfulness.from_json(parts[1].to_json())
    merged.merge(parts[0])
    assert merged.to_json() == whole.to_json()
