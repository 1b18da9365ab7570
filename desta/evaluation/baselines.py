"""Baselines without audio: a description in words, or the questions alone.

Where the clip was, its words stand between the tags, so that the messages differ in nothing but
the clip. The same engine reads them: without a clip it is its backbone, token for token.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from desta.errors import DataError
from desta.evaluation.base import Item
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message

NO_DESCRIPTION = "the benchmark knows nothing of the clip that could be told"
NO_CHOICES = "the question has no choices"


def no_audio(item: Item) -> tuple[Message, ...]:
    """Leave one space between the tags, as if nothing were known of the clip."""
    return tell(item, NO_TRANSCRIPTION)


def transcription_only(item: Item) -> tuple[Message, ...]:
    """Put the words of the clip between the tags, as the corpus knows them."""
    return tell(item, item.transcription)


def described(item: Item) -> tuple[Message, ...]:
    """Return the conversation that tells what the benchmark knows of the clip.

    Raises:
        DataError: it knows nothing.
    """
    if not item.described:
        raise DataError(NO_DESCRIPTION, fix="leave the system out")
    return item.described


NO_AUDIO = "no_audio"
TRANSCRIPTION_ONLY = "transcription_only"
ORACLE = "oracle"
ALWAYS_FIRST = "always_first"
MAJORITY = "majority"
BASELINES: dict[str, Callable[[Item], tuple[Message, ...]]] = {
    NO_AUDIO: no_audio,
    TRANSCRIPTION_ONLY: transcription_only,
    ORACLE: described,
}
"""Systems that are told in words what they would hear."""


def tell(item: Item, *texts: str) -> tuple[Message, ...]:
    """Put texts in the places of the clips, in order; one text serves for all of them."""
    from desta.data.layout import wrap_locators  # which imports torch: the table is read without

    count = sum(len(message.audios) for message in item.messages)
    rest = iter(texts * count if len(texts) == 1 else texts)
    told = []
    for message in wrap_locators(item.messages, LOCATOR):
        content = message.content
        for _ in message.audios:  # in plain text a locator would ask for a clip
            content = content.replace(LOCATOR, next(rest).replace(LOCATOR, ""), 1)
        told.append(Message(role=message.role, content=content))
    return tuple(told)


def always_first(items: Sequence[Item]) -> dict[str, str]:
    """Return the first choice of each item that has choices, by the item's id."""
    return {item.id: item.choices[0] for item in items if item.choices}


def majority(items: Sequence[Item], *, closed_sets: bool) -> dict[str, str]:
    """Return what is most often right, by the item's id; of equals the earlier choice.

    Args:
        items: those with choices and a known target count.
        closed_sets: whether equal choices make a task, whose most frequent target is taken. Else
            it is the place in the list: among lists of the same length, the one that is most
            often right.
    """
    places: dict[object, Counter[int]] = defaultdict(Counter)
    for item in items:
        if item.target in item.choices:
            places[_task(item, closed_sets)][item.choices.index(item.target)] += 1
    said = {}
    for item in items:
        if item.choices:
            counts = places[_task(item, closed_sets)]
            best = max(range(len(item.choices)), key=lambda place: (counts[place], -place))
            said[item.id] = item.choices[best]
    return said


FIXED = (ALWAYS_FIRST, MAJORITY)
"""Systems that nobody has to be asked for."""
TITLES = {
    NO_AUDIO: "no audio",
    TRANSCRIPTION_ONLY: "transcription only",
    ALWAYS_FIRST: "always first",
}
"""Id of a system -> its name in tables and reports, where that is another."""


def title_of(system: str) -> str:
    """Return the name of a system in tables and reports."""
    return TITLES.get(system, system)


def _task(item: Item, closed_sets: bool) -> object:
    return item.choices if closed_sets else len(item.choices)
