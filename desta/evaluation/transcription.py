"""Word error rate of transcriptions, on any corpus whose clips say what is spoken.

Both sides are normalised as Whisper's authors do: English text by their English rules (spellings,
contractions, numbers), any other by lower case and the removal of signs. The rate is that of the
corpus: all errors over all words of the references.
"""

from collections.abc import Sequence
from pathlib import Path

from desta.errors import DataError
from desta.evaluation.items import Item, Report, Score, ask, check_unique, count_notes, tabulate
from desta.evaluation.metrics import ratio
from desta.evaluation.wer import count_word_errors, normalise
from desta.records import LOCATOR, NO_TRANSCRIPTION, read_clips

PROMPT = f"{LOCATOR}\nWrite down what is said, word for word, and nothing else."
WER = "word error rate"
NO_OUTPUT = "no output"
NO_WORDS = "the reference has no words after normalisation"


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
            messages=ask("", PROMPT, [root / clip.audio]),
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


def score_item(item: Item, output: str | None, language: str | None = None) -> Score:
    """Score a transcription; its weight is the number of words of the reference.

    Args:
        item: the clip.
        output: the transcription; None where there is none.
        language: code or English name; by default that of the clip, or English.
    """
    if output is None:
        return _unscored(item, NO_OUTPUT, None)
    spoken = language or item.groups.get("language", "unknown")
    if spoken == "unknown":
        spoken = "en"
    counts = count_word_errors(normalise(item.target, spoken), normalise(output, spoken))
    if not counts.num_words:
        return _unscored(item, NO_WORDS, output)
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=output,
        values={WER: counts.num_errors / counts.num_words},
        weight=counts.num_words,
    )


def aggregate(scores: Sequence[Score], version: str = "unknown") -> Report:
    """Return the rate of the corpus, and of each of its groups."""
    scored = [
        (value, score.weight) for score in scores if (value := score.values.get(WER)) is not None
    ]
    rate = ratio([v * w for v, w in scored], [w for _, w in scored]) if scored else None
    return Report(
        benchmark="transcription",
        version=version,
        figures={WER: rate} if rate else {},
        cells=tabulate(scores),
        notes=count_notes(scores),
    )


def _unscored(item: Item, note: str, output: str | None) -> Score:
    return Score(id=item.id, groups=item.groups, extracted=output, values={WER: None}, note=note)
