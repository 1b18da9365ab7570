"""Speech: a sentence and a voice -> samples, by Kokoro-82M in ONNX runtime on one thread."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE
from desta.errors import DataError, need
from desta.sources.rendered.espeak import phonemes_of
from desta.sources.rendered.kana import phonemes_of_kana
from desta.sources.rendered.mandarin import phonemes_of_chinese
from desta.sources.rendered.parts import MODEL, VOCABULARY, VOICES, find_part
from desta.sources.rendered.voices import find_voice

_RATE = 24_000  # Hz
_STYLE = 256  # numbers of a style
_MAX_TOKENS = 508  # of 510 positions, two are the borders


class Kokoro:
    """Speech synthesis, loaded at its first clip."""

    def __init__(self, parts: Path) -> None:
        """Check that everything is there; nothing is loaded yet.

        Args:
            parts: folder of `desta sources fetch rendered`.

        Raises:
            MissingExtraError: the extra `render` is not installed.
            DataError: the voices have not been fetched.
        """
        for module in ("onnxruntime", "espeakng_loader", "pypinyin"):
            need(module, extra="render", to="render speech")
        self._model = find_part(parts, MODEL)
        self.parts = parts

    def __call__(self, facts: Mapping[str, Any]) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Return the samples of a clip, (T,), mono at 16 kHz, and the symbols that were dropped.

        Args:
            facts: `voice`, `accent`, `reading` and `speed`.

        Raises:
            DataError: the sentence is too long.
        """
        phonemes = pronounce(facts["reading"], facts["accent"])
        tokens = [self._vocabulary[symbol] for symbol in phonemes if symbol in self._vocabulary]
        if not 0 < len(tokens) <= _MAX_TOKENS:
            raise DataError(
                f"a sentence has {len(tokens)} phonemes",
                fix=f"keep it within {_MAX_TOKENS}",
                reason="it has no phonemes, or more than the voice model reads",
            )
        styles = self._styles(facts["voice"])
        samples = self._session.run(
            None,
            {
                "tokens": np.array([[0, *tokens, 0]], np.int64),
                "style": styles[min(len(tokens), len(styles)) - 1][None],
                "speed": np.array([facts["speed"]], np.float32),
            },
        )[0]
        heard = soxr.resample(samples.ravel(), _RATE, SAMPLE_RATE).astype(np.float32)
        dropped = "".join(symbol for symbol in phonemes if symbol not in self._vocabulary)
        return heard, {"phonemes": phonemes, "dropped": dropped}

    def _styles(self, voice: str) -> NDArray[np.float32]:
        """Return the styles of a voice, one for each number of tokens: (N, 256)."""
        files = [find_part(self.parts, f"{VOICES}/{name}.bin") for name in find_voice(voice).styles]
        return np.mean([np.fromfile(f, np.float32).reshape(-1, _STYLE) for f in files], axis=0)

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        path = find_part(self.parts, VOCABULARY)
        return json.loads(path.read_text(encoding="utf-8"))["vocab"]

    @cached_property
    def _session(self) -> Any:
        runtime = need("onnxruntime", extra="render", to="render speech")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        return runtime.InferenceSession(
            str(self._model), options, providers=["CPUExecutionProvider"]
        )


def pronounce(reading: str, accent: str) -> str:
    """Return the phonemes of a sentence as Kokoro was trained with them.

    Args:
        reading: the sentence; Japanese in kana.
        accent: code of the language in espeak-ng.
    """
    if accent == "ja":
        return phonemes_of_kana(reading)
    if accent == "cmn":
        return phonemes_of_chinese(reading)
    return phonemes_of(reading, accent)
