"""Requests about clips, and clips of noise."""

from typing import Any

import numpy as np

from desta.inference.conversation import user_message
from desta.inference.requests import Request
from desta.model.backbone.sampling import Sampling
from desta.records import LOCATOR

GREEDY = Sampling(max_new_tokens=10)


def ask(text: str, *clips: Any, said: str | None = "words", **options: Any) -> Request:
    turn = user_message(text, clips, locator=LOCATOR, texts=[said] * len(clips))
    return Request(messages=[turn], **{"sampling": GREEDY} | options)


def noise(num_samples: int) -> Any:
    samples = np.random.default_rng(num_samples).standard_normal(num_samples)
    return (0.1 * samples).astype(np.float32)
