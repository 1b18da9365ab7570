"""A backbone of this process that is loaded once it is asked, if it ever is."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from desta.generators.base import OnOutcome, Outcome, TextGenerator
from desta.generators.config import GeneratorConfig, LocalEngine
from desta.generators.load import load_generator
from desta.model.backbone.load import load_tokenizer, revision, stored_format
from desta.model.backbone.sampling import Sampling
from desta.model.hub.load import Part
from desta.model.precision import choose_device
from desta.records import Message


class LazyGenerator:
    """A local generator that needs no weights to tell what it is.

    Work that is found done in a journal loads nothing.
    """

    order: Literal["length", "prefix"] = "length"

    def __init__(self, config: GeneratorConfig, engine: LocalEngine) -> None:
        """Find the backbone; if it was never downloaded, that is done here.

        Args:
            config: of the backbone.
            engine: that of `config`.

        Raises:
            CheckpointError: it does not exist, or has no chat template.
        """
        part = Part.find(config.backbone)
        load_tokenizer(part)
        self._config = config
        if part.fingerprint is None:
            _ = self._generator
        device = choose_device(engine.device, stored=lambda: stored_format(part, config))
        self.id = config.backbone
        self.revision = revision(part, config, device)

    @cached_property
    def _generator(self) -> TextGenerator:
        return load_generator(self._config)

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """Return the length of a conversation in tokens, generation prompt included."""
        return self._generator.count_tokens(messages)

    def complete(
        self,
        conversations: Sequence[Sequence[Message]],
        sampling: Sampling,
        *,
        seeds: Sequence[int],
        on_outcome: OnOutcome | None = None,
    ) -> list[Outcome]:
        """Generate responses as one batch."""
        return self._generator.complete(conversations, sampling, seeds=seeds, on_outcome=on_outcome)
