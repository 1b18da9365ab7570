"""Text generation by vLLM in this process, with continuous batching and a prefix cache."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from desta.errors import CheckpointError, UnavailableError, need
from desta.generators.base import Completion, OnOutcome, Outcome, Refusal
from desta.generators.config import VllmEngine
from desta.generators.reasoning import MarkingTokenizer, completion
from desta.model.backbone.chat import encode_conversation
from desta.model.backbone.sampling import Sampling
from desta.records import Message

if TYPE_CHECKING:
    from vllm import LLM


class VllmGenerator:
    """A backbone in vLLM, and its tokenizer.

    Input ids and end ids are those of `LocalGenerator`. vLLM's own template and tokenizer are never
    used.
    """

    order: Literal["length", "prefix"] = "prefix"

    def __init__(
        self, llm: "LLM", tokenizer: Any, *, end_ids: frozenset[int], id: str, revision: str
    ) -> None:
        """Wrap a loaded model.

        Args:
            llm: vLLM's model (`load_vllm`).
            tokenizer: the tokenizer of transformers, with a chat template.
            end_ids: ids that end a response (`desta.model.backbone.decoding.end_ids`).
            id: its name in manifests.
            revision: version of its weights, with number formats.
        """
        self._llm = llm
        self._tokenizer = tokenizer
        self._marking = MarkingTokenizer(tokenizer)
        self._end_ids = end_ids
        self.id = id
        self.revision = revision

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""
        return len(encode_conversation(self._tokenizer, messages))

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Generate a response to each conversation that leaves room for one.

        Raises:
            UnavailableError: vLLM failed, for example for lack of memory.
        """
        vllm = _vllm()
        prompts = [encode_conversation(self._tokenizer, messages) for messages in conversations]
        longest = self._llm.model_config.max_model_len
        fitting = {place: p for place, p in enumerate(prompts) if len(p) < longest}
        settings = [
            vllm.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_new_tokens,
                stop=list(sampling.stop),
                stop_token_ids=sorted(self._end_ids),
                seed=seed,
            )
            for seed in (seeds[place] for place in fitting)
        ]
        requests: Any = [{"prompt_token_ids": prompt} for prompt in fitting.values()]
        try:
            answers = self._llm.generate(requests, settings, use_tqdm=False) if fitting else []
        except (RuntimeError, vllm.v1.engine.exceptions.EngineDeadError) as error:
            raise UnavailableError(
                f"vLLM has failed: {_first_line(error)}",
                fix="read what it wrote above, and give the same command again (what was answered "
                "is kept); if memory ran out, with a smaller engine.max_length",
            ) from error
        completions = dict(
            zip(fitting, (self._completion(a.outputs[0]) for a in answers), strict=True)
        )
        return [
            completions.get(place)
            or Refusal(
                reason="longer than engine.max_length",
                message=f"{len(prompt)} tokens do not fit into the {longest} of vLLM",
            )
            for place, prompt in enumerate(prompts)
        ]

    def _completion(self, output: Any) -> Completion:
        ids = list(output.token_ids)
        text = self._marking.decode(ids)
        if isinstance(output.stop_reason, str):  # a stop string; vLLM's own text lacks the marks
            text, found, _ = text.partition(output.stop_reason)
            text = text if found else output.text
        return completion(
            self._marking.opened + text.strip(),
            num_tokens=len(ids) - (bool(ids) and ids[-1] in self._end_ids),
            finished=output.finish_reason == "stop",
        )


def load_vllm(place: str, engine: VllmEngine, *, dtype: str, longest: int | None) -> "LLM":
    """Load a backbone into vLLM.

    Args:
        place: directory or Hub id, with safetensors.
        engine: settings of the engine.
        dtype: dtype of weights and computation: bfloat16, float16 or float32.
        longest: context length of the backbone in tokens; None if it states none.

    Raises:
        MissingExtraError: vLLM is not installed.
        CheckpointError: vLLM cannot load it.
    """
    # In a process of its own, vLLM's engine would outlive a `kill -9` of this one and keep the
    # memory (vllm-project/vllm#55510); in this process it also forms batches deterministically.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    vllm = _vllm()
    try:
        return vllm.LLM(
            model=place,
            dtype=dtype,
            load_format="safetensors",
            trust_remote_code=False,
            generation_config="vllm",  # sampling settings come from the recipe only
            max_model_len=min(engine.max_length, longest or engine.max_length),
            tensor_parallel_size=engine.num_gpus,
            gpu_memory_utilization=engine.gpu_memory,
            enable_prefix_caching=True,
            seed=0,
        )
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise CheckpointError(
            f'vLLM cannot load "{place}": {_first_line(error)}',
            fix="read what vLLM wrote above; correct the engine section, or use `kind: local`",
        ) from error


def vllm_version() -> str:
    """Return the version of vLLM."""
    return str(_vllm().__version__)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _vllm() -> Any:
    return need("vllm", extra="vllm", to="write responses with the engine vllm")
