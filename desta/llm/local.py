"""Text generation by transformers, in this process.

The decoding loop is our own: `generate` fills whatever a caller leaves open from the model's
`generation_config` and from defaults of its own (top-k 50 among them), and keeps computing rows
that have ended.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.utils.logging import disable_progress_bar

from desta.errors import CheckpointError
from desta.llm.base import Completion, Sampling
from desta.llm.chat import encode_chat, encode_text
from desta.llm.decoding import end_ids
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message


class LocalGenerator:
    """A backbone and its tokenizer, in evaluation mode."""

    def __init__(self, model: Any, tokenizer: Any, *, id: str, revision: str) -> None:
        """Take a loaded causal language model and a tokenizer with a chat template."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._end_ids = frozenset(end_ids(model, tokenizer))
        self.id = id
        self.revision = revision

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        id: str | None = None,
        weights_dtype: torch.dtype = torch.bfloat16,
        dtype: torch.dtype = torch.bfloat16,
        device: str | torch.device = "cpu",
    ) -> Self:
        """Load a backbone from a directory of safetensors.

        Args:
            directory: a Hugging Face model with a chat template.
            id: what manifests call it; the directory if not given.
            weights_dtype: what the weights are rounded to (docs/decisions/0011).
            dtype: of the computation.
            device: where it computes.

        Raises:
            CheckpointError: there is no such model, or it has no chat template.
        """
        disable_progress_bar()  # a bar of its own would break ours
        try:
            tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(
                directory, dtype=weights_dtype, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{directory} holds no loadable language model: {str(error).splitlines()[0]}",
                fix="give a directory with config.json, tokenizer files and *.safetensors",
            ) from error
        if not tokenizer.chat_template:
            raise CheckpointError(
                f"the tokenizer in {directory} has no chat template",
                fix="use the instruction-tuned version of the model",
            )
        weights = _hash_files(sorted(directory.glob("*.safetensors")))
        revision = f"{weights} as {_name(weights_dtype)}, computed in {_name(dtype)}"
        return cls(model.to(device, dtype), tokenizer, id=id or str(directory), revision=revision)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""
        return len(self.encode(messages))

    @torch.inference_mode()
    def complete(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        """Answer each conversation as one batch; no random state outside is touched."""
        if not conversations:
            return []
        device = self._model.device
        prompts = [self.encode(messages) for messages in conversations]
        ids, mask = _pad_left(prompts, device)
        generator = torch.Generator(device).manual_seed(seed)
        cache = DynamicCache(config=self._model.config)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)

        written: list[list[int]] = [[] for _ in conversations]
        finished = [False] * len(conversations)
        rows = list(range(len(conversations)))  # conversation of each row still in the batch
        for _ in range(sampling.max_new_tokens):
            logits = self._model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens = _choose(logits, sampling, generator)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                finished[row] = finished[row] or token in self._end_ids
                if not finished[row]:
                    written[row].append(token)
            ids, positions = tokens[:, None], positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)

            going = [place for place, row in enumerate(rows) if not finished[row]]
            if not going:
                break
            if len(going) <= 0.8 * len(rows):  # shrinking copies the cache: not for every row
                keep = torch.tensor(going, device=device)
                ids, mask, positions = ids[keep], mask[keep], positions[keep]
                cache.batch_select_indices(keep)
                rows = [rows[place] for place in going]

        return [
            Completion(
                text=self._tokenizer.decode(tokens, skip_special_tokens=True).strip(),
                num_tokens=len(tokens),
                finished=ended,
            )
            for tokens, ended in zip(written, finished, strict=True)
        ]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Tokenize a conversation; a clip in it is read as its text.

        That text is tokenized on its own, as in training: no token reaches across the tags around
        it, and control tokens in it stay text.
        """
        texts = [clip.text or NO_TRANSCRIPTION for message in messages for clip in message.audios]
        runs = encode_chat(self._tokenizer, messages, locator=LOCATOR if texts else None)
        ids = list(runs[0])
        for text, run in zip(texts, runs[1:], strict=True):
            ids += [*encode_text(self._tokenizer, text), *run]
        return ids


def _choose(logits: Tensor, sampling: Sampling, generator: torch.Generator) -> Tensor:
    """Choose the next token of each row: (B, vocabulary) -> (B,)."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = (logits.float() / sampling.temperature).softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, order = probabilities.sort(dim=-1, descending=True)
        likelier = ordered.cumsum(dim=-1) - ordered  # mass before each token: the first stays
        ordered[likelier >= sampling.top_p] = 0
        probabilities = torch.zeros_like(probabilities).scatter(-1, order, ordered)
    # One number a row, looked up in the running sum; torch.multinomial draws one a token.
    mass = probabilities.cumsum(dim=-1)
    draws = torch.rand(len(mass), 1, generator=generator, device=mass.device) * mass[:, -1:]
    return torch.searchsorted(mass, draws, right=True).clamp(max=mass.shape[-1] - 1)[:, 0]


def _pad_left(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ids and attention mask, (B, longest prompt); padding is never attended to."""
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    return ids.to(device), mask.to(device)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _hash_files(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
