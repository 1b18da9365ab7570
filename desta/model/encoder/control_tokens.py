"""Ids of Whisper's control tokens, from `generation_config.json` or from the tokenizer.

Models of 2023 and later state them in `generation_config.json`. Fine-tunes of 2022, and models with
a reduced file, do not; their tokenizers hold them all.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import GenerationConfig, WhisperTokenizer
from transformers.models.whisper.configuration_whisper import (
    NON_SPEECH_TOKENS,
    NON_SPEECH_TOKENS_MULTI,
)
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from desta.errors import CheckpointError
from desta.model.hub.load import Part

_START, _END = "<|startoftranscript|>", "<|endoftext|>"
_TRANSCRIBE, _NO_TIMESTAMPS = "<|transcribe|>", "<|notimestamps|>"
_NEVER_WRITTEN = (
    *(_START, _TRANSCRIBE, "<|translate|>", "<|startoflm|>", "<|startofprev|>"),
    *("<|nospeech|>", "<|nocaptions|>"),  # the newer and the older name of one token
)
_LANGUAGES = [f"<|{code}|>" for code in LANGUAGES]
_NUM_TIMESTAMPS = 1501  # after <|notimestamps|>, to the end of the vocabulary: 0 to 30 s
_VOCAB_SIZES = (51_864, 51_865, 51_866)  # English, 99 languages, 100 languages
_ENGLISH_END = 50_256  # <|endoftext|> of English-only models, whose text tokens are GPT-2's
_NON_SPEECH = {_ENGLISH_END: NON_SPEECH_TOKENS, 50_257: NON_SPEECH_TOKENS_MULTI}
_BLANK = 220  # a space, in both
COPY_TOKENIZER = (
    "copy tokenizer.json, or vocab.json, merges.txt and added_tokens.json, from the Whisper model "
    "that it was made from"
)

_Ids = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class ControlTokens:
    """Ids that prompt Whisper's decoder, end a text, or are suppressed."""

    start: int
    end: int
    no_timestamps: int
    transcribe: int | None
    """None for an English-only model: its prompt holds neither language nor task."""
    languages: _Ids
    """By code; empty for an English-only model."""
    suppressed: tuple[int, ...]
    suppressed_first: tuple[int, ...]
    """Also suppressed at the beginning of a text."""

    @classmethod
    def of(
        cls, generation: GenerationConfig, tokenizer: WhisperTokenizer, *, vocab_size: int
    ) -> "ControlTokens":
        """Return the ids of a model.

        They are read from the generation configuration. If it lacks one, or one is outside the
        vocabulary of the weights, all are read from the tokenizer. `forced_decoder_ids` are
        ignored: the files of 2022 force English in every model made from OpenAI's. Without a list
        of suppressed tokens Whisper's own default holds; an empty list suppresses nothing.

        Raises:
            CheckpointError: an id is in no file, suppressed tokens are not a list, or the files
                contradict each other.
        """
        ids = _stated(generation)
        languages = {
            f"<|{code.strip('<|>')}|>": number  # some files hold the bare code
            for code, number in _ids(getattr(generation, "lang_to_id", None)).items()
        }
        english = (
            getattr(generation, "is_multilingual", None) is False
            and not languages
            and not _is_multilingual(tokenizer.get_vocab())
        )
        needed = [_START, _END, _NO_TIMESTAMPS, *(() if english else (_TRANSCRIBE,))]
        if not (
            ids.keys() >= set(needed)
            and (english or languages)
            and max(*ids.values(), *languages.values()) < vocab_size
        ):
            ids = _in_tokenizer(tokenizer, ids, languages, vocab_size)
            if not (english or languages) and ids[_END] != _ENGLISH_END:
                languages = {token: ids[token] for token in _LANGUAGES if token in ids}
        suppressed = _listed(generation, "suppress_tokens", vocab_size)
        if suppressed is None:
            text = [token for token in _NON_SPEECH.get(ids[_END], ()) if token < ids[_END]]
            suppressed = [*text, *(ids[token] for token in _NEVER_WRITTEN if token in ids)]
        first = _listed(generation, "begin_suppress_tokens", vocab_size)
        if first is None:
            first = [_BLANK, ids[_END]] if ids[_END] in _NON_SPEECH else []
        return cls(
            start=ids[_START],
            end=ids[_END],
            no_timestamps=ids[_NO_TIMESTAMPS],
            transcribe=ids[_TRANSCRIBE] if languages else None,
            languages={token.strip("<|>"): number for token, number in languages.items()},
            suppressed=tuple(suppressed),
            suppressed_first=tuple(first),
        )

    def is_text(self, token: int) -> bool:
        """Return whether a token is text; tokens of a fine-tune come after the timestamps."""
        return not self.end <= token <= self.no_timestamps + _NUM_TIMESTAMPS


def check_control_tokens(directory: Path, *, vocab_size: int) -> str | None:
    """Check the control tokens of a Whisper directory; return why that is impossible, else None.

    Raises:
        CheckpointError: an id is in no file, or the files contradict each other.
    """
    if not any((directory / file).is_file() for file in ("tokenizer.json", "vocab.json")):
        return f"{directory} has no tokenizer, and cannot transcribe"
    part = Part(str(directory))
    tokenizer = load_whisper_tokenizer(part)
    generation = GenerationConfig()
    if (directory / "generation_config.json").is_file():
        generation = part.load(GenerationConfig)
    tokens = ControlTokens.of(generation, tokenizer, vocab_size=vocab_size)
    used = {_END: tokens.end, _START: tokens.start, _NO_TIMESTAMPS: tokens.no_timestamps}
    if tokens.transcribe is not None:
        used[_TRANSCRIBE] = tokens.transcribe
    _compare(tokenizer, used | {f"<|{code}|>": id for code, id in tokens.languages.items()})
    return None


def load_whisper_tokenizer(part: Part) -> WhisperTokenizer:
    """Load the tokenizer of a Whisper.

    Raises:
        CheckpointError: its files cannot be read or are inconsistent.
    """
    try:
        tokenizer: WhisperTokenizer = part.load(WhisperTokenizer)
    except CheckpointError as error:
        raise CheckpointError(f"tokenizer: {error.message}", fix=COPY_TOKENIZER) from error
    return tokenizer


def _stated(generation: GenerationConfig) -> _Ids:
    return _ids(
        {
            _START: getattr(generation, "decoder_start_token_id", None),
            _END: getattr(generation, "eos_token_id", None),
            _NO_TIMESTAMPS: getattr(generation, "no_timestamps_token_id", None),
            _TRANSCRIBE: _ids(getattr(generation, "task_to_id", None)).get("transcribe"),
        }
    )


def _ids(stated: Any) -> _Ids:
    """Return the entries of a file that are ids; ids outside the vocabulary are kept."""
    fields = stated if isinstance(stated, dict) else {}
    return {token: number for token, number in fields.items() if _is_id(number)}


def _is_id(value: Any) -> bool:
    """Return whether a value is an integer of 0 or more; `true` is not."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _listed(generation: GenerationConfig, field: str, vocab_size: int) -> list[int] | None:
    """Return the ids in a list of the file; None if the file lacks it.

    Raises:
        CheckpointError: the value is not a list.
    """
    stated = getattr(generation, field, None)
    if stated is None:
        return None
    if not isinstance(stated, list):
        raise CheckpointError(
            f"generation_config.json states {field} as {stated!r}, which is no list of ids",
            fix="give a list, or remove the field: Whisper's own default holds then",
        )
    return [number for number in stated if _is_id(number) and number < vocab_size]


def _is_multilingual(vocab: _Ids) -> bool:
    """Return whether a tokenizer is multilingual; the English one holds language tokens as well."""
    return vocab.get(_END) != _ENGLISH_END and not vocab.keys().isdisjoint(_LANGUAGES)


def _in_tokenizer(
    tokenizer: WhisperTokenizer, stated: _Ids, languages: _Ids, vocab_size: int
) -> _Ids:
    """Return the tokenizer's vocabulary after comparing it with the weights and the stated ids."""
    vocab: _Ids = tokenizer.get_vocab()
    several = languages or _is_multilingual(vocab)
    needed = [_START, _END, _NO_TIMESTAMPS, *([_TRANSCRIBE] if several else [])]
    if missing := [token for token in needed if token not in vocab]:
        raise CheckpointError(
            f'the tokenizer of "{tokenizer.name_or_path}" lacks {", ".join(missing)}, and '
            "generation_config.json does not state all ids that transcribing needs",
            fix=COPY_TOKENIZER,
        )
    # if start and end are missing, transformers fills in those of English-only models
    others = {token: number for token, number in stated.items() if token not in (_START, _END)}
    _compare(tokenizer, others | languages)
    size = vocab[_NO_TIMESTAMPS] + 1 + _NUM_TIMESTAMPS
    if max(vocab[token] for token in needed) >= vocab_size or (
        vocab_size in _VOCAB_SIZES and vocab_size != size
    ):
        raise CheckpointError(
            f'the tokenizer of "{tokenizer.name_or_path}" is of another Whisper: it has '
            f"{size} tokens, but the weights know {vocab_size}",
            fix=COPY_TOKENIZER,
        )
    return vocab


def _compare(tokenizer: WhisperTokenizer, ids: _Ids) -> None:
    vocab = tokenizer.get_vocab()
    for token, number in ids.items():
        if vocab.get(token) != number:
            raise CheckpointError(
                f'the tokenizer of "{tokenizer.name_or_path}" has {token} at {vocab.get(token)}, '
                f"but the model's other files at {number}",
                fix=f"{COPY_TOKENIZER}, and generation_config.json with them",
            )
