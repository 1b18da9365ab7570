"""Text generation by transformers, in this process."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from desta.errors import CheckpointError
from desta.llm.base import Completion, Sampling
from desta.llm.chat import encode_chat, encode_text
from desta.llm.decoding import end_ids, read, shared_length, write
from desta.llm.writing import Writer
from desta.records import LOCATOR, NO_TRANSCRIPTION, Message


class LocalGenerator:
    """A backbone and its tokenizer, in evaluation mode."""

    def __init__(self, model: Any, tokenizer: Any, *, id: str, revision: str) -> None:
        """Take a loaded causal language model and a tokenizer with a chat template."""
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._end_ids = end_ids(model, tokenizer)
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

    @torch.no_grad()
    def complete(
        self, conversations: Sequence[Sequence[Message]], sampling: Sampling, *, seed: int
    ) -> list[Completion]:
        """Answer each conversation as one batch; no random state outside is touched."""
        if not conversations:
            return []
        prompts = [self.encode(messages) for messages in conversations]
        writers = [
            Writer(self._tokenizer, sampling, end_ids=self._end_ids, seed=seed + row)
            for row in range(len(prompts))
        ]
        ids = torch.tensor([token for prompt in prompts for token in prompt])
        embeddings = self._model.get_input_embeddings()(ids.to(self._model.device))
        sequences = embeddings.split([len(prompt) for prompt in prompts])
        state = read(self._model, sequences, num_shared=shared_length(prompts))
        for _ in write(self._model, state, writers):
            pass
        return [
            Completion(
                text=writer.text,
                num_tokens=len(writer.ids) - (writer.ids[-1] in self._end_ids),
                finished=writer.finish == "stop",
            )
            for writer in writers
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


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _hash_files(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
