"""Sampling settings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

from desta.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Settings by which the next token is chosen and generation stops."""

    temperature: float = 0.0
    """0 means greedy: always the likeliest token."""
    top_p: float = 1.0
    """Probability mass of the likeliest tokens that are sampled from, in (0, 1]."""
    max_new_tokens: int = 256
    """Tokens after which a response is cut off."""
    stop: tuple[str, ...] = ()
    """Texts that end a response; they are not part of it."""

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            value = getattr(self, name)
            if not isinstance(value, Real):
                raise ConfigError(f"{name} = {value!r} is no number", fix="give one")
        if not 0 <= self.temperature < math.inf:
            raise ConfigError(
                f"temperature = {self.temperature} is not 0 or a positive number",
                fix="give 0 (greedy) or more",
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p = {self.top_p} is outside (0, 1]", fix="give 1.0 or less")
        if not isinstance(self.max_new_tokens, int):
            raise ConfigError(
                f"max_new_tokens = {self.max_new_tokens!r} is no whole number", fix="give one"
            )
        if self.max_new_tokens < 1:
            raise ConfigError(
                f"max_new_tokens = {self.max_new_tokens} leaves no room", fix="give 1 or more"
            )
        listed = isinstance(self.stop, Sequence) and not isinstance(self.stop, str)
        if not listed or not all(isinstance(text, str) for text in self.stop):
            raise ConfigError(
                f"stop = {self.stop!r} is not a list of texts", fix='give a list, such as ("END",)'
            )
        if "" in self.stop:
            raise ConfigError("a stop string is empty", fix="leave it out")
