"""Text generation by a backbone in this process."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from desta.generators.base import OnOutcome, Outcome
from desta.generators.reasoning import MarkingTokenizer, completion
from desta.model.backbone.chat import encode_conversation
from desta.model.backbone.cpu.layers import pack_backbone
from desta.model.backbone.decoding import end_ids, generate, prefill, shared_length
from desta.model.backbone.sampling import Sampling
from desta.model.backbone.writer import Writer
from desta.records import Message


class LocalGenerator:
    """A backbone and its tokenizer, in evaluation mode."""

    order: Literal["length", "prefix"] = "length"

    def __init__(self, model: Any, tokenizer: Any, *, id: str, revision: str) -> None:
        """Wrap a loaded model.

        Args:
            model: a causal language model of transformers (`desta.model.backbone.load`).
            tokenizer: its tokenizer, with a chat template.
            id: its name in manifests.
            revision: version of its weights, with number formats.
        """
        self._model = model.eval()
        pack_backbone(self._model)
        self._tokenizer = tokenizer
        self._marking = MarkingTokenizer(tokenizer)
        self._end_ids = end_ids(model, tokenizer)
        self.id = id
        self.revision = revision

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""
        return len(self.encode(messages))

    @torch.no_grad()
    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Generate responses as one batch; PyTorch's random state is not changed."""
        if not conversations:
            return []
        prompts = [self.encode(messages) for messages in conversations]
        writers = [
            Writer(self._marking, sampling, end_ids=self._end_ids, seed=seed)
            for _, seed in zip(prompts, seeds, strict=True)
        ]
        ids = torch.tensor([token for prompt in prompts for token in prompt])
        embeddings = self._model.get_input_embeddings()(ids.to(self._model.device))
        sequences = embeddings.split([len(prompt) for prompt in prompts])
        state = prefill(self._model, sequences, num_shared=shared_length(prompts))
        for _ in generate(self._model, state, writers):
            pass
        return [
            completion(
                self._marking.opened + writer.text,
                num_tokens=len(writer.ids) - (writer.ids[-1] in self._end_ids),
                finished=writer.finish == "stop",
            )
            for writer in writers
        ]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """Tokenize a conversation, with each clip replaced by its text."""
        return encode_conversation(self._tokenizer, messages)
