"""What a run looks at on the way: the loss on held-out pairs, and responses to read."""

from typing import Any

import torch
from accelerate import Accelerator

from desta.llm.base import Sampling
from desta.llm.decoding import end_ids, read, write
from desta.llm.writing import Writer
from desta.model.checkpoint import Loaded
from desta.training.batches import SILENCE, Collator, MicroBatch

_SAMPLING = Sampling(max_new_tokens=48)


def validate(
    loaded: Loaded,
    collator: Collator,
    batches: list[MicroBatch],
    accelerator: Accelerator,
    *,
    num_samples: int,
) -> dict[str, Any]:
    """Return `validation_loss` and `samples`: prompts with target and generated response."""
    model = loaded.model.eval()
    with torch.no_grad(), accelerator.autocast():
        losses = [model(*b.inputs()).item() for b in batches]
        samples = _samples(loaded, collator, batches, num_samples)
    model.train()
    num_labels = sum(b.batch.num_labels for b in batches)
    return {"validation_loss": sum(losses) / num_labels, "samples": samples}


def _samples(
    loaded: Loaded, collator: Collator, batches: list[MicroBatch], count: int
) -> list[dict[str, str]]:
    """Answer the first pairs greedily."""
    examples = [e for b in batches for e in b.examples][:count]
    if not examples:
        return []
    model, tokenizer = loaded.model, loaded.tokenizer
    windows = [w for e in examples for w in e.windows] or [SILENCE]
    audio = model.audio_tokens(model.encode(model.mel(windows)))
    sequences = []
    for example in examples:
        own, audio = audio.split([len(example.windows), len(audio) - len(example.windows)])
        places = [
            place
            for span in example.tokens.spans
            for place in range(span.start, span.start + span.num_audio_tokens, own.shape[1])
        ]
        ids = example.tokens.ids[: example.tokens.num_context]
        sequences.append(model.sequence(ids, list(zip(places, own[:, None], strict=True))))
    ends = end_ids(model.llm_model, tokenizer)
    writers = [Writer(tokenizer, _SAMPLING, end_ids=ends) for _ in examples]
    for _ in write(model.llm_model, read(model.llm_model, sequences), writers):
        pass
    return [
        {
            "id": example.pair.id,
            "prompt": example.pair.prompt,
            "target": example.pair.response,
            "generated": writer.text,
        }
        for example, writer in zip(examples, writers, strict=True)
    ]
