"""Error rates of transcriptions, on any corpus whose clips say what is spoken.

`WER`, the official figure, normalises both sides as Whisper's authors do: English by their English
rules (spellings, contractions, numbers), any other language by lower case and the removal of signs.
That takes the vowels from Indic words, and counts pointed Arabic as wrong. Where a text is not
English there is a second figure, by rules that fit its script (`scripts.py`): of words, or of
characters where a language is written without spaces. Rates are those of the corpus: all errors
over all words, or characters, of the references.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from desta.errors import DataError
from desta.evaluation.base import Item, Result, Score, form_messages
from desta.evaluation.benchmarks.transcription.scripts import (
    Rules,
    has_marks,
    normalise_marked,
    rules_of,
    split_characters,
)
from desta.evaluation.metrics import Report, find
from desta.evaluation.published_files import check_unique
from desta.evaluation.recipe import BenchmarkFiles
from desta.evaluation.tabulate import count_notes, join_notes, tabulate
from desta.evaluation.wer import count_word_errors, is_english, is_split, normalise
from desta.records import LOCATOR, NO_TRANSCRIPTION, read_clips

PROMPT = f"{LOCATOR}\nWrite down what is said, word for word, and nothing else."
WER = "wer"
SCRIPT_WER = "wer_by_script"
CER = "cer_by_script"
TITLES = {
    WER: "word error rate",
    SCRIPT_WER: "word error rate, by rules of the script",
    CER: "character error rate, by rules of the script",
}
MISLEADS = (
    f'Whisper\'s rules do not fit this script: "{TITLES[WER]}" misleads, read the rate by its rules'
)
NO_WORDS = "the reference has no words after normalisation"

log = logging.getLogger(__name__)


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the clips."""
    path = files.place()
    return load_items(path, files.audio or path.parent)


def load_items(path: Path, root: Path, split: str = "test") -> list[Item]:
    """Read the clips of a corpus that are spoken in.

    Args:
        path: a `clips.jsonl`.
        root: folder that the clips' paths are relative to.
        split: which of them.

    Raises:
        DataError: the file is missing or broken, or no such clip says what is spoken.
    """
    items = [
        Item(
            id=clip.id,
            messages=form_messages("", PROMPT, [root / clip.audio]),
            question=PROMPT.replace(LOCATOR, "").strip(),
            target=clip.transcription,
            groups={"source": clip.source, "language": clip.attributes.get("Language", "unknown")},
        )
        for clip in read_clips(path)
        if clip.split == split and clip.transcription != NO_TRANSCRIPTION
    ]
    if not items:
        raise DataError(
            f"{path} has no clip of the split {split!r} with a transcription",
            fix="give a corpus that says what is spoken",
        )
    check_unique((item.id for item in items), str(path))
    return items


def score(item: Item, output: str, replies: Sequence[str] = ()) -> Score:
    """Score a transcription by the rules of the clip's language, or as English where it has none.

    Its weight is the number of words of the reference.
    """
    spoken = item.groups.get("language", "unknown")
    known = None if spoken == "unknown" else spoken
    official = known or "en"
    counts = {WER: count_word_errors(normalise(item.target, official), normalise(output, official))}
    match rules := rules_of(item.target, known):
        case "words":
            marked = [normalise_marked(text, known) for text in (item.target, output)]
            counts[SCRIPT_WER] = count_word_errors(*marked)
        case "characters":
            marked = [normalise_marked(text, known) for text in (item.target, output)]
            counts[CER] = count_word_errors(*map(split_characters, marked))
    misled = _misleads(rules, official, item.target, output)
    return Score(
        extracted=output,
        values={
            name: c.num_errors / c.num_words if c.num_words else None for name, c in counts.items()
        },
        note=join_notes(None if counts[WER].num_words else NO_WORDS, MISLEADS if misled else None),
        weight=counts[WER].num_words or 1.0,
        weights={name: c.num_words for name, c in counts.items() if name != WER},
    )


def aggregate(results: Sequence[Result]) -> Report:
    """Return the rates of the corpus, and of each of its groups.

    Beside texts of other scripts, English ones count in `SCRIPT_WER` by Whisper's English rules.
    """
    if any(SCRIPT_WER in result.score.values for result in results):
        results = [_with_english(result) for result in results]
    cells = tabulate(results)
    metrics = dict.fromkeys(cell.metric for cell in cells)
    totals = {metric: find(cells, metric).estimate for metric in metrics}
    notes = count_notes(results)
    if misled := sum(note["count"] for note in notes if MISLEADS in note["reason"]):
        log.warning("%d of %d texts: %s", misled, len(results), MISLEADS)
    return Report(
        headline={metric: rate for metric, rate in totals.items() if rate},
        cells=cells,
        remarks=notes,
    )


def _misleads(rules: Rules, official: str, reference: str, output: str) -> bool:
    """Return whether Whisper's rules take away what is spoken, or count a sentence as a word."""
    if rules == "English":
        return False
    unsplit = rules == "characters" and not is_split(official)
    return is_english(official) or unsplit or has_marks(reference) or has_marks(output)


def _with_english(result: Result) -> Result:
    values = result.score.values
    if set(values) != {WER}:
        return result
    return replace(result, score=replace(result.score, values={**values, SCRIPT_WER: values[WER]}))
