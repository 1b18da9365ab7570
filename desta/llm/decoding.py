"""Settings of transformers' generate, spelt out."""

from typing import Any

from transformers import GenerationConfig

from desta.llm.base import Sampling


def pad_id(tokenizer: Any) -> int:
    """Return the id that fills short rows of a batch; never read, so any id will do."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def end_ids(backbone: Any, tokenizer: Any) -> list[int]:
    """Return every id that ends a response: the tokenizer's, and those the backbone declares."""
    declared = backbone.generation_config.eos_token_id
    ids = declared if isinstance(declared, list) else [declared]
    return sorted({tokenizer.eos_token_id, *ids} - {None})


def generation_config(backbone: Any, tokenizer: Any, sampling: Sampling) -> GenerationConfig:
    """Return settings in which nothing is left to the backbone's own defaults.

    Many models ship a top-k or a repetition penalty that `generate` would apply silently.
    """
    drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": 0}
    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=sampling.temperature > 0,
        **(drawn if sampling.temperature > 0 else {}),
        repetition_penalty=1.0,
        num_beams=1,
        use_cache=True,
        eos_token_id=end_ids(backbone, tokenizer),
        pad_token_id=pad_id(tokenizer),
    )
