"""Words of seed descriptions as targets of the audio tokens.

What a description states of a clip, `Language: French, Gender: Female`, is tokenized, and the n-th
audio token of a window is to be the embedding of the n-th of these tokens (docs/decisions/0045).
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from desta.data.described import stated_value
from desta.errors import ConfigError
from desta.model.config import NO_LABEL

log = logging.getLogger(__name__)

_FILLER = "\n"
"""Stands behind the last word."""


class Words:
    """Tokens of what the descriptions of a data set state."""

    def __init__(
        self,
        descriptions: Iterable[str],
        attributes: Sequence[str],
        *,
        tokenizer: Any,
        num_tokens: int,
    ) -> None:
        """Collect the tokens of the training data.

        Args:
            descriptions: seed descriptions.
            attributes: what is stated, in this order.
            tokenizer: the backbone's.
            num_tokens: audio tokens of a window, after which a text is cut.

        Raises:
            ConfigError: no description states one of the attributes.
        """
        self._attributes, self._tokenizer, self._num_tokens = attributes, tokenizer, num_tokens
        texts: dict[tuple[str, ...], set[str]] = {}
        for description in descriptions:
            names, text = self._stated(description)
            texts.setdefault(names, set()).add(text)
        for attribute in attributes:
            if not any(attribute in names for names in texts):
                raise ConfigError(
                    f'no description of the training data states "{attribute}"',
                    fix="take it out of words, or spell it as descriptions do",
                )
        self._whole = {names for names in texts if not any({*names} < {*more} for more in texts)}
        tokens = {text: self._tokenize(text) for group in texts.values() for text in group}
        if cut := [text for text, ids in tokens.items() if len(ids) > num_tokens]:
            log.warning(
                "words: %d of %d different texts are cut after %d audio tokens, such as %s",
                *(len(cut), len(tokens), num_tokens, max(cut, key=len)),
            )
        self.filler = self._tokenize(_FILLER)[-1]
        """Token id that stands behind the last word."""
        self.ids_V: Tensor = torch.tensor(sorted({self.filler}.union(*tokens.values())))
        """Token ids that compete for every audio token, ascending."""

    def labels(self, description: str) -> list[int]:
        """Return the token ids that the audio tokens of a window are to be.

        Behind the last word stand line breaks; or no label where other descriptions state more of
        the same, because what is not known is not absent.
        """
        names, text = self._stated(description)
        ids = self._tokenize(text)[: self._num_tokens]
        rest = self.filler if names in self._whole else NO_LABEL
        return ids + [rest] * (self._num_tokens - len(ids))

    def _stated(self, description: str) -> tuple[tuple[str, ...], str]:
        """Return the attributes that a description states, and their text."""
        values = {name: stated_value(description, name) for name in self._attributes}
        stated = {name: value for name, value in values.items() if value}
        return tuple(stated), ", ".join(f"{name}: {value}" for name, value in stated.items())

    def _tokenize(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
