"""What a run looks at on the way: the loss on held-out pairs, and responses to read."""

from typing import Any

import torch
from accelerate import Accelerator

from desta.data.batching import collate
from desta.llm.base import Sampling
from desta.model.checkpoint import Loaded
from desta.model.generation import generate
from desta.training.batches import Collator, MicroBatch

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
    windows = [w for e in examples for w in e.windows]
    contexts = [e.tokens.context_only() for e in examples]
    batch = collate(contexts, windows, pad_id=collator.layout.pad_id)
    model = loaded.model
    audio = model.audio_tokens(model.encode(model.mel(windows)))
    embeddings = model.embed(batch.input_ids_BS, audio, batch.places_P2)
    ids = generate(model, loaded.tokenizer, embeddings, batch.attention_mask_BS, _SAMPLING)
    return [
        {
            "id": example.pair.id,
            "prompt": example.pair.prompt,
            "target": example.pair.response,
            "generated": loaded.tokenizer.decode(row, skip_special_tokens=True).strip(),
        }
        for example, row in zip(examples, ids, strict=True)
    ]
