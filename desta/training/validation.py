"""Validation during a run: loss on held-out pairs, and sample responses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Self

import torch
from accelerate import Accelerator

from desta.data.dataset import Example, PairDataset, SkippedPair
from desta.data.sampling import BucketSampler
from desta.errors import DataError
from desta.isolation import error_of, in_halves
from desta.model.backbone.decoding import end_ids, generate, prefill
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.model.checkpoint import Loaded
from desta.training.batches import SILENCE, Collator, MicroBatch
from desta.training.config import DataConfig
from desta.training.faults import diverged, without_faulty

_SAMPLING = Sampling(max_new_tokens=48)


@dataclass(frozen=True)
class HeldOut:
    """Validation pairs, read once."""

    batches: list[MicroBatch]
    samples: list[Example]
    """Pairs for which responses are generated."""
    skipped: list[SkippedPair]
    """Unusable pairs."""
    num_rows: int
    """Number of pairs, usable or not."""
    max_skipped_share: float
    collator: Collator

    def leave_out(self, batches: list[MicroBatch]) -> None:
        """Replace the batches by ones without some of the pairs.

        Raises:
            DataError: too large a share of the pairs is unusable.
        """
        self.skipped[:] = [item for batch in batches for item in batch.skipped]
        self.batches[:] = batches
        left = {pair.id for batch in self.batches for pair in batch.pairs}
        self.samples[:] = [example for example in self.samples if example.pair.id in left]
        _check_skipped(self.skipped, self.num_rows, self.max_skipped_share)

    @classmethod
    def read(
        cls, config: DataConfig, collator: Collator, *, num_rows: int, num_samples: int
    ) -> Self:
        """Read the first pairs of the validation data.

        Raises:
            DataError: there are none, or too large a share of them is unusable.
        """
        rows = PairDataset(config.validation)
        num_rows = min(num_rows, len(rows))
        if not num_rows:
            raise DataError("the validation data hold no pairs", fix="leave data.validation out")
        sampler = BucketSampler(
            num_rows,
            lambda row: collator.reader.length(rows[row]),
            token_budget=config.token_budget,
            packing=config.packing,
        )
        batches = [collator([[rows[row]] for row in chosen]) for chosen in sampler.first_epoch()]
        skipped = [item for batch in batches for item in batch.skipped]
        _check_skipped(skipped, num_rows, config.max_skipped_share)
        read = (collator.reader.read(rows[row]) for row in range(num_rows))
        samples = islice((item for item in read if isinstance(item, Example)), num_samples)
        share = config.max_skipped_share
        return cls(batches, list(samples), skipped, num_rows, share, collator)


def _check_skipped(skipped: Sequence[SkippedPair], num_rows: int, max_share: float) -> None:
    if len(skipped) == num_rows or len(skipped) > max_share * num_rows:
        raise DataError(
            f"{len(skipped)} of {num_rows} validation pairs are unusable; "
            f"the first, {skipped[0].id}: {skipped[0].reason}",
            fix="check data.audio_root and the audio files, or raise data.max_skipped_share",
        )


def validate(
    step: int, loaded: Loaded, held_out: HeldOut, accelerator: Accelerator
) -> dict[str, Any]:
    """Return `validation_loss` and `samples`: prompts with target and generated response.

    Pairs for which the model computes NaN are left out from now on.

    Raises:
        ConfigError: it computes NaN for all pairs.
        DataError: too large a share of the pairs is unusable.
    """
    model = loaded.model.eval()

    def loss_sum() -> float:
        return sum(model(**b.inputs()).item() for b in held_out.batches if b.num_pairs)

    with torch.no_grad(), accelerator.autocast():
        total = loss_sum()
        if not math.isfinite(total):
            good = without_faulty(model, held_out.collator, held_out.batches, accelerator)
            if good is not None:
                held_out.leave_out(good)
                total = loss_sum()
        if not math.isfinite(total):
            raise diverged(step, total)
        samples = _answer_each(loaded, held_out.samples)
    model.train()
    num_labels = sum(b.batch.num_labels for b in held_out.batches)
    return {"validation_loss": total / num_labels, "samples": samples}


def _answer_each(loaded: Loaded, examples: Sequence[Example]) -> list[dict[str, str]]:
    if not examples:
        return []
    return in_halves(partial(_answer, loaded), examples, alone=_unanswered)


def _unanswered(example: Example, error: Exception) -> dict[str, str]:
    return _sample(example, f"({error_of(error, 'the pair').reason})")


def _sample(example: Example, generated: str) -> dict[str, str]:
    return {
        "id": example.pair.id,
        "prompt": example.pair.prompt,
        "target": example.pair.response,
        "generated": generated,
    }


def _answer(loaded: Loaded, examples: Sequence[Example]) -> list[dict[str, str]]:
    """Generate responses greedily."""
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
    for _ in generate(model.llm_model, prefill(model.llm_model, sequences), writers):
        pass
    return [
        _sample(example, writer.text) for example, writer in zip(examples, writers, strict=True)
    ]
