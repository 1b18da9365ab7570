"""Tokenizers and backbones, made when a test asks for them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
)

from support.backbones import ADDED, FAMILIES, SPECIAL, TEMPLATES


@pytest.fixture(scope="session")
def vocabulary() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["what is said in this clip, and who says it?"] * 3, trainer)
    return tokenizer


@pytest.fixture(scope="session")
def speak(vocabulary: Tokenizer) -> Callable[[str], Any]:
    """Return a maker of tokenizers with one of the templates."""

    def tokenizer(template: str) -> Any:
        made = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(vocabulary.to_str()),
            bos_token="<s>",
            eos_token="</s>",
            pad_token="<pad>",
            extra_special_tokens=SPECIAL[3:],
        )
        made.add_tokens(ADDED)
        made.chat_template = TEMPLATES[template]
        return made

    return tokenizer


@pytest.fixture(scope="session")
def build(
    speak: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Return a maker of directories that hold a backbone of a family."""

    def directory(family: str) -> Path:
        make, template = FAMILIES[family]
        torch.manual_seed(0)
        path = tmp_path_factory.mktemp(family)
        AutoModelForCausalLM.from_config(make()).save_pretrained(path)
        speak(template).save_pretrained(path)
        return path

    return directory
