"""Ids of Whisper's control tokens: stated, or taken from the tokenizer."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tokenizers.pre_tokenizers import ByteLevel
from transformers import GenerationConfig, WhisperTokenizer
from transformers.models.whisper.tokenization_whisper import LANGUAGES

from desta.errors import CheckpointError
from desta.model.encoder.control_tokens import (
    ControlTokens,
    check_control_tokens,
    load_whisper_tokenizer,
)
from desta.model.hub.load import Part

# Number of text tokens, languages, and of all tokens in the weights of each kind.
KINDS = {
    "English": (50_256, 99, 51_864),
    "99 languages": (50_257, 99, 51_865),
    "100 languages": (50_257, 100, 51_866),
}
TASKS = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>")


def special(num_languages: int) -> list[str]:
    languages = [f"<|{code}|>" for code in list(LANGUAGES)[:num_languages]]
    return [
        *("<|endoftext|>", "<|startoftranscript|>", *languages, *TASKS),
        *("<|nospeech|>", "<|notimestamps|>"),
    ]


@cache
def tokenizer(kind: str) -> WhisperTokenizer:
    """Build a tokenizer whose control tokens have the ids of a real one; all have languages."""
    num_text, num_languages, _ = KINDS[kind]
    letters = sorted(ByteLevel.alphabet())
    text = letters + [f"word{number}" for number in range(num_text - len(letters))]
    vocab = {token: i for i, token in enumerate([*text, *special(num_languages)])}
    return WhisperTokenizer(vocab, [], extra_special_tokens=special(num_languages)[1:])


def whole(kind: str) -> dict[str, Any]:
    """Return what OpenAI's generation_config.json states."""
    vocab, several = tokenizer(kind).get_vocab(), kind != "English"
    fields: dict[str, Any] = {
        "decoder_start_token_id": vocab["<|startoftranscript|>"],
        "eos_token_id": vocab["<|endoftext|>"],
        "no_timestamps_token_id": vocab["<|notimestamps|>"],
        "is_multilingual": several,
        "suppress_tokens": [1, 2, 7],
        "begin_suppress_tokens": [220, vocab["<|endoftext|>"]],
    }
    if several:
        languages = special(KINDS[kind][1])[2 : -len(TASKS) - 2]
        fields["lang_to_id"] = {token: vocab[token] for token in languages}
        fields["task_to_id"] = {task: vocab[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return fields


def find(kind: str, fields: dict[str, Any]) -> ControlTokens:
    return ControlTokens.of(GenerationConfig(**fields), tokenizer(kind), vocab_size=KINDS[kind][2])


@pytest.mark.parametrize(
    "missing",
    [
        ("lang_to_id",),
        ("task_to_id",),
        ("no_timestamps_token_id",),
        ("eos_token_id", "decoder_start_token_id"),
        ("is_multilingual", "lang_to_id", "task_to_id", "no_timestamps_token_id"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_ids_that_no_file_states_are_those_of_the_tokenizer(
    kind: str, missing: tuple[str, ...]
) -> None:
    expected = find(kind, whole(kind))
    assert len(expected.languages) == {"English": 0}.get(kind, KINDS[kind][1])
    assert (expected.transcribe is None) == (kind == "English")

    assert find(kind, {k: v for k, v in whole(kind).items() if k not in missing}) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_forces_ids_of_english_or_states_nothing_changes_no_prompt(kind: str) -> None:
    expected = find(kind, whole(kind))
    forced = {"forced_decoder_ids": [[1, 50_259], [2, 50_359], [3, 50_363]]}
    english = {"eos_token_id": 50_256, "decoder_start_token_id": 50_257}  # WhisperConfig's own
    for fields in ({}, forced, english, {"lang_to_id": None, "task_to_id": ["transcribe"]}):
        found = find(kind, fields)
        for name in ("start", "end", "no_timestamps", "transcribe", "languages"):
            assert getattr(found, name) == getattr(expected, name), (fields, name)


def test_what_is_never_written_is_whispers_own_default_unless_it_is_stated() -> None:
    found = find("99 languages", {})
    assert {1, 2, 7, 50_254, 50_258, 50_358, 50_359, 50_360, 50_361, 50_362} <= set(
        found.suppressed
    )
    assert not {50_257, 50_259, 50_363} & set(found.suppressed)
    assert found.suppressed_first == (220, 50_257)
    none = find("99 languages", {"suppress_tokens": [], "begin_suppress_tokens": []})
    assert (none.suppressed, none.suppressed_first) == ((), ())
    beyond = find("99 languages", {"suppress_tokens": [3, 60_000]})
    assert beyond.suppressed == (3,)


@pytest.mark.parametrize(
    "stated",
    [
        {"decoder_start_token_id": 99_999},
        {"no_timestamps_token_id": -1},
        {"no_timestamps_token_id": True},
        {"eos_token_id": [50_257]},
        {"task_to_id": {"transcribe": True}},
        {"lang_to_id": {"<|en|>": -1}},
    ],
)
def test_what_is_no_id_is_as_good_as_not_stated(stated: dict[str, Any]) -> None:
    expected = find("99 languages", whole("99 languages"))
    assert find("99 languages", whole("99 languages") | stated) == expected


def test_a_model_whose_vocabulary_has_languages_is_prompted_with_one() -> None:
    fields = whole("99 languages") | {"is_multilingual": False}
    del fields["lang_to_id"], fields["task_to_id"]
    assert find("99 languages", fields) == find("99 languages", whole("99 languages"))


def test_languages_may_be_stated_without_their_brackets() -> None:
    bare = {"lang_to_id": {"en": 50_259, "fr": 50_265}}
    fields = whole("99 languages") | bare
    for missing in ((), ("task_to_id",)):
        found = find("99 languages", {k: v for k, v in fields.items() if k not in missing})
        assert found.languages == bare["lang_to_id"]


@pytest.mark.parametrize("field", ["suppress_tokens", "begin_suppress_tokens"])
def test_what_is_suppressed_is_a_list_of_which_only_ids_count(field: str) -> None:
    found = find("99 languages", {field: [-1, None, True, "3", 51_865, 3, 2.5]})
    assert (3,) in (found.suppressed, found.suppressed_first)
    for wrong in ("abc", {"a": 1}):
        with pytest.raises(CheckpointError, match=f"{field} as .*, which is no list"):
            find("99 languages", {field: wrong})


def test_stated_languages_are_all_that_are_looked_for() -> None:
    some = {"<|en|>": 50_259, "<|fr|>": 50_265}
    assert find("99 languages", {"lang_to_id": some}).languages == {"en": 50_259, "fr": 50_265}


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"no_timestamps_token_id": 50_364}, r"<\|notimestamps\|> at 50363, .* at 50364"),
        ({"no_timestamps_token_id": 99_999}, r"<\|notimestamps\|> at 50363, .* at 99999"),
        ({"lang_to_id": {"en": 99_999}}, r"<\|en\|> at 50259, .* at 99999"),
        ({"task_to_id": {"transcribe": 50_360}}, r"<\|transcribe\|> at 50359, .* at 50360"),
        ({"lang_to_id": {"<|yue|>": 50_358}}, r"<\|yue\|> at None, .* at 50358"),
    ],
)
def test_files_that_contradict_each_other_are_refused(stated: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        find("99 languages", stated)


def test_stated_ids_stand_whatever_the_tokenizer_has() -> None:
    fields = whole("100 languages")
    mixed = ControlTokens.of(
        GenerationConfig(**fields), tokenizer("99 languages"), vocab_size=51_866
    )
    assert mixed == find("100 languages", fields)


@pytest.mark.parametrize(("ours", "theirs"), [(k, o) for k in KINDS for o in KINDS if k != o])
def test_the_tokenizer_of_another_whisper_is_refused(ours: str, theirs: str) -> None:
    with pytest.raises(CheckpointError, match="of another Whisper"):
        ControlTokens.of(GenerationConfig(), tokenizer(theirs), vocab_size=KINDS[ours][2])


def test_a_fine_tune_may_add_tokens_of_text_behind_the_timestamps() -> None:
    found = ControlTokens.of(GenerationConfig(), tokenizer("99 languages"), vocab_size=51_900)
    assert found.languages["hi"] == 50_276
    assert [found.is_text(token) for token in (5, 50_256, 50_257, 51_864, 51_865)] == [
        *(True, True, False, False, True)
    ]


def write(directory: Path, kind: str, *, without: tuple[str, ...] = ()) -> Path:
    """Write a tokenizer in the files of 2022."""
    vocab = tokenizer(kind).get_vocab()
    added = special(KINDS[kind][1])[1:]
    files = {
        "vocab.json": {token: i for token, i in vocab.items() if token not in added},
        "added_tokens.json": {token: vocab[token] for token in added},
        "tokenizer_config.json": {"tokenizer_class": "WhisperTokenizer"},
    }
    for name, fields in files.items():
        (directory / name).write_text(json.dumps(fields), encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    for name in without:
        (directory / name).unlink()
    return directory


@pytest.mark.parametrize("kind", KINDS)
def test_tokenizer_files_of_2022_will_do(kind: str, tmp_path: Path) -> None:
    old = load_whisper_tokenizer(Part(str(write(tmp_path, kind))))

    found = ControlTokens.of(GenerationConfig(), old, vocab_size=KINDS[kind][2])

    assert found == find(kind, {})
    assert check_control_tokens(tmp_path, vocab_size=KINDS[kind][2]) is None


@pytest.mark.parametrize(
    ("without", "told"),
    [
        (("merges.txt",), "tokenizer: .* cannot be loaded"),
        (("added_tokens.json",), r"lacks <\|startoftranscript\|>, <\|notimestamps\|>"),
    ],
)
def test_what_cannot_be_taken_is_said_with_a_remedy(
    without: tuple[str, ...], told: str, tmp_path: Path
) -> None:
    write(tmp_path, "99 languages", without=without)
    with pytest.raises(CheckpointError, match=told) as caught:
        check_control_tokens(tmp_path, vocab_size=51_865)
    assert "copy tokenizer.json" in caught.value.fix


def test_a_directory_without_a_tokenizer_is_said_not_passed_over(tmp_path: Path) -> None:
    assert "has no tokenizer" in str(check_control_tokens(tmp_path, vocab_size=51_865))


def test_a_tokenizer_that_is_not_of_the_stated_ids_is_found(tmp_path: Path) -> None:
    write(tmp_path, "English")
    GenerationConfig(**whole("99 languages")).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"<\|endoftext\|> at 50256, .* at 50257"):
        check_control_tokens(tmp_path, vocab_size=51_865)


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({"decoder_start_token_id": 50_259}, r"<\|startoftranscript\|> at 50258, .* at 50259"),
        ({"no_timestamps_token_id": 50_364}, r"<\|notimestamps\|> at 50363, .* at 50364"),
        ({"no_timestamps_token_id": 99_999}, r"<\|notimestamps\|> at 50363, .* at 99999"),
        ({"task_to_id": {"transcribe": 50_360}}, r"<\|transcribe\|> at 50359, .* at 50360"),
        ({"lang_to_id": {"<|de|>": 50_259}}, r"<\|de\|> at 50261, .* at 50259"),
    ],
)
def test_every_id_of_the_prompt_is_compared_with_the_tokenizer(
    stated: dict[str, Any], told: str, tmp_path: Path
) -> None:
    write(tmp_path, "99 languages")
    file = tmp_path / "generation_config.json"
    file.write_text(json.dumps(whole("99 languages")), encoding="utf-8")
    assert check_control_tokens(tmp_path, vocab_size=51_865) is None

    file.write_text(json.dumps(whole("99 languages") | stated), encoding="utf-8")
    with pytest.raises(CheckpointError, match=told):
        check_control_tokens(tmp_path, vocab_size=51_865)
