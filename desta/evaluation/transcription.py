"""Word error rate of transcriptions, on any corpus whose clips say what is spoken.

Both sides are normalised as Whisper's authors do: English text by their English rules (spellings,
contractions, numbers), any other by lower case and the removal of signs. The rate is that of the
corpus: all errors over all words of the references.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.errors import DataError, need
from desta.evaluation.items import Item, Report, Score, ask, check_unique, count_notes, tabulate
from desta.evaluation.metrics import ratio
from desta.records import LOCATOR, NO_TRANSCRIPTION, read_clips

PROMPT = f"{LOCATOR}\nWrite down what is said, word for word, and nothing else."
WER = "word error rate"
NO_OUTPUT = "no output"
NO_WORDS = "the reference has no words after normalisation"
_NO_SPACES = ("zh", "ja", "th", "lo", "my", "yue", "chinese", "japanese", "thai", "mandarin")
"""Languages written without spaces: their signs are counted in place of words."""
_TO = "measure word error rates"


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """How one transcription differs from its reference."""

    substitutions: int
    deletions: int
    insertions: int
    num_words: int
    """Of the reference."""

    @property
    def errors(self) -> int:
        """All of them."""
        return self.substitutions + self.deletions + self.insertions


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


def normalise(text: str, language: str = "en") -> str:
    """Normalise a text as Whisper's authors do.

    Args:
        text: as it was written.
        language: code or English name.
    """
    return _normaliser(language.casefold())(text).strip()


def word_errors(reference: str, hypothesis: str, language: str = "en") -> WordErrors:
    """Count the errors of a transcription.

    A reference without words makes every word of the hypothesis an insertion.

    Args:
        reference: what is said.
        hypothesis: what was understood.
        language: code or English name.
    """
    truth, heard = normalise(reference, language), normalise(hypothesis, language)
    if not truth:
        words = len(heard.split())
        return WordErrors(substitutions=0, deletions=0, insertions=words, num_words=0)
    jiwer = need("jiwer", extra="eval", to=_TO)
    aligned: Any = jiwer.process_words(truth, heard)
    return WordErrors(
        substitutions=aligned.substitutions,
        deletions=aligned.deletions,
        insertions=aligned.insertions,
        num_words=len(truth.split()),
    )


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
    counts = word_errors(item.target, output, "en" if spoken == "unknown" else spoken)
    if not counts.num_words:
        return _unscored(item, NO_WORDS, output)
    return Score(
        id=item.id,
        groups=item.groups,
        extracted=output,
        values={WER: counts.errors / counts.num_words},
        weight=counts.num_words,
    )


def aggregate(scores: Sequence[Score], version: str = "unknown") -> Report:
    """Return the rate of the corpus, and of each of its groups."""
    scored = [(value, score.weight) for score in scores if (value := score.values[WER]) is not None]
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


@functools.cache
def _normaliser(language: str) -> Callable[[str], str]:
    if language in ("en", "english"):
        english = need("whisper_normalizer.english", extra="eval", to=_TO)
        return english.EnglishTextNormalizer()
    basic = need("whisper_normalizer.basic", extra="eval", to=_TO)
    return basic.BasicTextNormalizer(split_letters=language in _NO_SPACES)
