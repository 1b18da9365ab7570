"""The decoding loop: embeddings of sequences in, tokens out, for any causal language model.

`generate` of transformers is not used: it fills options from the model's `generation_config` and
from its own defaults (top-k 50 among them), samples all rows with the same settings, keeps
computing rows that have ended, and cannot continue from a stored cache.

Some backbones cannot batch rows of different lengths: padding would enter a recurrent state, and
rotary factors that follow the longest row would change the others. Their rows are computed one at a
time (docs/decisions/0015).

Shape suffixes: B sequences   S positions   E backbone width   V vocabulary
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from desta.errors import NoNumberError
from desta.model.backbone.chat import end_id
from desta.model.backbone.writer import Alternatives, Writer

_LEAST_TEMPERATURE = 1e-6
_SHRINK = 0.8  # shrinking a batch copies its cache, so it is not done for every row that ends
_ADAPTIVE = ("dynamic", "longrope")
_ADAPTING = threading.Lock()


def pad_id(tokenizer: Any) -> int:
    """Return the id that pads short rows of a batch; it is masked, so any id will do."""
    return tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id


def end_ids(backbone: Any, tokenizer: Any) -> frozenset[int]:
    """Return every id that ends a response: those of template, tokenizer and backbone.

    Args:
        backbone: the model, or an object with its `generation_config`.
        tokenizer: its tokenizer, with a chat template.
    """
    declared = backbone.generation_config.eos_token_id
    ids = declared if isinstance(declared, list) else [declared]
    return frozenset({end_id(tokenizer), tokenizer.eos_token_id, *ids} - {None})


def has_adaptive_rope(text_config: Any) -> bool:
    """Return whether rotary embeddings depend on the length of the longest sequence in a batch.

    Cached positions would then have other factors than later ones, so no prefix can be shared or
    cached.
    """
    return any(kind in str(getattr(text_config, "rope_parameters", "")) for kind in _ADAPTIVE)


class SeparateCaches:
    """Caches of rows that the backbone cannot batch, one each."""

    def __init__(self, caches: list[DynamicCache]) -> None:
        self.caches = caches

    def get_seq_length(self) -> int:
        """Return the length of the longest row."""
        return max((cache.get_seq_length() for cache in self.caches), default=0)

    def reorder_cache(self, index_B: Tensor) -> None:
        """Keep these rows in this order; a row may be repeated."""
        rows = index_B.tolist()
        self.caches = [
            deepcopy(self.caches[row]) if row in rows[:place] else self.caches[row]
            for place, row in enumerate(rows)
        ]


@dataclass
class DecodingState:
    """State of sequences in decoding: cache, next logits, padding and positions."""

    cache: DynamicCache | SeparateCaches
    logits_BV: Tensor
    """Logits of the next token of each sequence."""
    mask_BS: Tensor | None
    """1 at tokens, 0 at padding; None where no row is padded."""
    positions_B: Tensor
    """Position of the last token of each sequence."""

    def select(self, rows: Sequence[int]) -> "DecodingState":
        """Return these rows in this order; a row may be repeated."""
        index = torch.tensor(rows, device=self.logits_BV.device)
        self.cache.reorder_cache(index)  # the only selection that recurrent layers support
        mask_BS = None if self.mask_BS is None else self.mask_BS[index]
        return DecodingState(self.cache, self.logits_BV[index], mask_BS, self.positions_B[index])


def shared_length(sequences: Sequence[list[int]]) -> int:
    """Return the length of the longest common prefix of token ids."""
    lowest, highest = min(sequences), max(sequences)
    pairs = zip(lowest, highest, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(lowest), len(highest)))


def new_cache(model: Any) -> DynamicCache:
    """Create an empty key/value cache of the kind that the model's layers need."""
    return DynamicCache(config=model.config.get_text_config(decoder=True))


@torch.no_grad()
def prefill(
    model: Any,
    sequences: Sequence[Tensor],
    *,
    num_shared: int = 0,
    cache: DynamicCache | None = None,
) -> DecodingState:
    """Prefill: run the backbone on sequences, up to the logits of their next tokens.

    Args:
        model: a causal language model of transformers.
        sequences: embeddings of each sequence, (S, E); they may differ in length.
        num_shared: positions of a common prefix, which is computed only once.
        cache: keys and values before a single sequence; it is extended in place.

    Raises:
        NoNumberError: logits are NaN: weights are damaged, or values leave the number format.
    """
    device, rows = sequences[0].device, len(sequences)
    if rows > 1 and needs_separate(model):
        states = [prefill(model, [sequence]) for sequence in sequences]
        return DecodingState(
            SeparateCaches([state.cache for state in states]),
            torch.cat([state.logits_BV for state in states]),
            None,
            torch.cat([state.positions_B for state in states]),
        )
    shortest = min(len(s) for s in sequences)
    num_shared = min(num_shared, shortest - 1) if rows > 1 else 0
    past = 0
    if cache is None:
        cache = new_cache(model)
        if any(type(layer) is not DynamicLayer for layer in cache.layers):
            num_shared = 0  # in sliding windows, padding behind it would count as distance
        past = num_shared
        if num_shared:
            forward(model, cache, inputs_embeds=sequences[0][None, :num_shared])
            cache.batch_repeat_interleave(rows)
    else:
        assert rows == 1, "a cache belongs to one sequence"
        past = cache.get_seq_length()
    longest = max(len(s) for s in sequences) - num_shared
    embeddings_BSE = sequences[0].new_zeros(rows, longest, sequences[0].shape[-1])
    mask_BS = torch.ones(rows, past + longest, dtype=torch.long, device=device)
    for row, sequence in enumerate(sequences):
        start = longest - (len(sequence) - num_shared)  # padded in front: all end together
        embeddings_BSE[row, start:] = sequence[num_shared:]
        mask_BS[row, past : past + start] = 0
    padded = len({len(s) for s in sequences}) > 1
    positions_BS = (mask_BS.cumsum(dim=1) - 1).clamp(min=0)[:, past:]
    logits_BV = forward(
        model,
        cache,
        inputs_embeds=embeddings_BSE,
        attention_mask=mask_BS if padded else None,
        position_ids=positions_BS,
    )
    _check_numbers(logits_BV.amax(dim=-1))
    return DecodingState(cache, logits_BV, mask_BS if padded else None, positions_BS[:, -1])


@torch.no_grad()
def generate(
    model: Any, state: DecodingState, writers: Sequence[Writer]
) -> Iterator[dict[int, str]]:
    """Generate tokens for all sequences, one at a time, until every writer is finished.

    Args:
        model: the backbone.
        state: result of `prefill`; consumed.
        writers: one for each sequence.

    Yields:
        After each token: row -> text that was added, for the rows that were not finished.

    Raises:
        NoNumberError: as `prefill`, at a later token.
    """
    rows = list(range(len(writers)))
    while True:
        tokens_B, pieces = write(state.logits_BV, [writers[row] for row in rows])
        yield {row: piece for row, piece in zip(rows, pieces, strict=True) if piece is not None}
        keep = [place for place, row in enumerate(rows) if writers[row].finish is None]
        if not keep:
            return
        if len(keep) <= _SHRINK * len(rows):
            state = state.select(keep)
            tokens_B, rows = tokens_B[keep], [rows[place] for place in keep]
        mask_BS = state.mask_BS
        if mask_BS is not None:
            mask_BS = torch.cat([mask_BS, mask_BS.new_ones(len(rows), 1)], dim=1)
        positions_B = state.positions_B + 1
        logits_BV = forward(
            model,
            state.cache,
            input_ids=tokens_B[:, None],
            attention_mask=mask_BS,
            position_ids=positions_B[:, None],
        )
        state = replace(state, logits_BV=logits_BV, mask_BS=mask_BS, positions_B=positions_B)


def write(logits_BV: Tensor, writers: Sequence[Writer]) -> tuple[Tensor, list[str | None]]:
    """Choose the next token of each row and add it to its writer.

    Returns:
        The tokens, (B,), and the text that each writer added; None for one that was finished.

    Raises:
        NoNumberError: the logits of a row are NaN.
    """
    tokens_B = _choose(logits_BV, writers)
    notes = _note(logits_BV, tokens_B, writers)
    pieces = [
        writer.push(token, note) if writer.finish is None else None
        for writer, token, note in zip(writers, tokens_B.tolist(), notes, strict=True)
    ]
    return tokens_B, pieces


def damaged() -> NoNumberError:
    """Return the error of a model that computes NaN."""
    return NoNumberError(
        "the model computes NaN: its weights or those of its encoder are damaged, or its "
        "values leave the number format",
        fix="copy backbone and encoder again, or compute in float32 or bfloat16",
    )


def _check_numbers(best_B: Tensor) -> None:
    """Raise NoNumberError if the largest logit of a row is NaN, as it is if any of its logits is.

    The answer would repeat one token without end.
    """
    if not bool(best_B.isfinite().all()):
        raise damaged()


def needs_separate(model: Any) -> bool:
    """Return whether rows must be computed one at a time."""
    return has_adaptive_rope(model.config.get_text_config(decoder=True)) or any(
        hasattr(layer, "recurrent_states") for layer in new_cache(model).layers
    )


def forward(model: Any, cache: DynamicCache | SeparateCaches, **inputs: Any) -> Tensor:
    """Return the logits that follow the last position of each row."""
    if isinstance(cache, SeparateCaches):
        rows = [
            {name: None if value is None else value[row, None] for name, value in inputs.items()}
            for row in range(len(cache.caches))
        ]
        return torch.cat(
            [forward(model, own, **row) for own, row in zip(cache.caches, rows, strict=True)]
        )
    with _own_factors(model):
        output = model(**inputs, past_key_values=cache, use_cache=True, logits_to_keep=1)
    return output.logits[:, -1]


@contextmanager
def _own_factors(model: Any) -> Iterator[None]:
    """Reset adaptive rotary factors, which are stored in the model, for a single sequence."""
    if not has_adaptive_rope(model.config.get_text_config(decoder=True)):
        yield
        return
    with _ADAPTING:
        for module in model.modules():  # `dynamic` ones keep the longest length seen so far
            for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
                setattr(module, name, 0)
        yield


def _choose(logits_BV: Tensor, writers: Sequence[Writer]) -> Tensor:
    """Choose the next token of each row, each with its own random generator."""
    best_B, tokens_B = logits_BV.max(dim=-1)
    _check_numbers(best_B)
    drawn = [row for row, w in enumerate(writers) if w.sampling.temperature > 0]
    if not drawn:
        return tokens_B
    settings = [writers[row].sampling for row in drawn]
    device = logits_BV.device
    # Logits divided by a smaller temperature would overflow float32.
    temperatures = torch.tensor(
        [[max(s.temperature, _LEAST_TEMPERATURE)] for s in settings], device=device
    )
    probabilities = (logits_BV[drawn].float() / temperatures).softmax(dim=-1)
    if any(s.top_p < 1 for s in settings):
        limits = torch.tensor([[s.top_p] for s in settings], device=device)
        ordered, order = probabilities.sort(dim=-1, descending=True)
        likelier = ordered.cumsum(dim=-1) - ordered  # mass before each token: the first stays
        ordered[(likelier >= limits) & (limits < 1)] = 0
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    # One random number a row, looked up in the cumulative sum; torch.multinomial draws one a token.
    mass = probabilities.cumsum(dim=-1)
    draws = torch.cat([torch.rand(1, 1, generator=writers[row].generator) for row in drawn])
    draws = draws.to(device) * mass[:, -1:]
    chosen = torch.searchsorted(mass, draws, right=True).clamp(max=mass.shape[-1] - 1)
    tokens_B[drawn] = chosen[:, 0]
    return tokens_B


def _note(
    logits_BV: Tensor, tokens_B: Tensor, writers: Sequence[Writer]
) -> list[tuple[float, Alternatives] | None]:
    """Return log-probability and alternatives of the tokens, for rows that ask for them."""
    notes: list[tuple[float, Alternatives] | None] = [None] * len(writers)
    for row, writer in enumerate(writers):
        if writer.num_logprobs is None:
            continue
        logprobs_V = logits_BV[row].float().log_softmax(dim=-1)
        best = logprobs_V.topk(min(writer.num_logprobs, len(logprobs_V)))
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        notes[row] = float(logprobs_V[tokens_B[row]]), list(pairs)
    return notes
