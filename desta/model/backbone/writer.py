"""Incremental detokenization of an answer: tokens in, stable text out."""

from typing import Any, Literal

import torch

from desta.model.backbone.sampling import Sampling

Alternatives = list[tuple[int, float]]
"""Likeliest tokens with their log-probabilities, best first."""

_UNFINISHED = "\ufffd"  # what a tokenizer writes for the first bytes of a character


class Writer:
    """Tokens of one answer, their text so far, and whether it has ended."""

    def __init__(
        self,
        tokenizer: Any,
        sampling: Sampling,
        *,
        end_ids: frozenset[int],
        seed: int | None = None,
        num_logprobs: int | None = None,
    ) -> None:
        """Create the writer of an answer.

        Args:
            tokenizer: the backbone's.
            sampling: sampling settings and stop strings.
            end_ids: ids that end the answer.
            seed: of its random numbers; None draws one from PyTorch's generator.
            num_logprobs: alternatives to keep with every token; None keeps nothing.
        """
        self.sampling = sampling
        self.num_logprobs = num_logprobs
        self.generator: torch.Generator | None = None
        if sampling.temperature > 0:
            drawn = int(torch.randint(2**62, ())) if seed is None else seed
            self.generator = torch.Generator().manual_seed(drawn)
        self.ids: list[int] = []
        """Tokens so far, end token included."""
        self.logprobs: list[tuple[float, Alternatives]] = []
        """Log-probability of each token under the model, and its alternatives, where wanted."""
        self.finish: Literal["stop", "length"] | None = None
        """Reason it ended: an end token or stop string, or `max_new_tokens`; None before."""
        self._tokenizer = tokenizer
        self._end_ids = end_ids
        self._shown = ""
        self._held = ""  # text that may be the beginning of a stop string
        self._stopped = False
        self._decoded = 0  # tokens whose text is in `_shown` or `_held`
        self._context = 0  # tokens before those: the next token's text may depend on them

    @property
    def text(self) -> str:
        """Text so far, without spaces at its ends."""
        if self._stopped or self.finish is None:
            return self._shown.strip()
        return self._tokenizer.decode(self.ids, skip_special_tokens=True).strip()

    def push(self, token: int, note: tuple[float, Alternatives] | None = None) -> str:
        """Add a token and return new text that later tokens cannot change."""
        self.ids.append(token)
        if note is not None:
            self.logprobs.append(note)
        if token in self._end_ids:
            self.finish = "stop"
        elif len(self.ids) >= self.sampling.max_new_tokens:
            self.finish = "length"
        self._held += self._decode(last=self.finish is not None)
        places = [self._held.find(stop) for stop in self.sampling.stop]
        if found := [place for place in places if place >= 0]:
            self.finish, self._stopped = "stop", True
            return self._show(min(found))
        return self._show(len(self._held) - (0 if self.finish else self._possible_stop()))

    def _decode(self, *, last: bool) -> str:
        """Return the text of tokens since the last call; none while a character is incomplete."""
        options = {"skip_special_tokens": True}
        before = self._tokenizer.decode(self.ids[self._context : self._decoded], **options)
        now = self._tokenizer.decode(self.ids[self._context :], **options)
        if now.endswith(_UNFINISHED) and not last:
            return ""
        self._context, self._decoded = self._decoded, len(self.ids)
        return now[len(before) :]

    def _possible_stop(self) -> int:
        """Return the length of the longest suffix of the held text that begins a stop string."""
        return max(
            (
                size
                for stop in self.sampling.stop
                for size in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:size])
            ),
            default=0,
        )

    def _show(self, size: int) -> str:
        piece, self._held = self._held[:size], self._held[size:]
        self._shown += piece
        return piece
