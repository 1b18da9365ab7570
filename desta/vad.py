"""Voice activity detection with silero.

Whisper invents words where nobody speaks, so a window without detected speech is not transcribed
at all.
"""

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from desta.audio import SAMPLE_RATE, SILENT_BELOW

MIN_SPEECH_SECONDS = 0.1
"""Less speech in a window is the margin that the detector adds to speech in the next window."""

LEAST_PEAK = 0.1
"""-20 dBFS: quieter recordings are amplified to it, for the detector only."""

SpeechSpan = tuple[float, float]
"""Start and end in seconds."""

_loading = threading.Lock()  # importing silero changes PyTorch's threads for a moment
_CHUNK = 512
"""Samples per decision of the detector."""
_CONTEXT = 64
"""Samples before a chunk that the detector reads as well."""


def speech_seconds(audio: NDArray[np.float32]) -> list[SpeechSpan]:
    """Return the spans with speech; none in silence, tones and most noises.

    Args:
        audio: float32, mono, 16 kHz, (samples,), of any length.
    """
    detector = _detector()
    from silero_vad import get_speech_timestamps

    audio = _raise(audio)
    spans = get_speech_timestamps(
        torch.from_numpy(audio), _Reader(detector.shares(audio)), sampling_rate=SAMPLE_RATE
    )
    return [(s["start"] / SAMPLE_RATE, s["end"] / SAMPLE_RATE) for s in spans]


def _raise(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Amplify a quiet recording: the detector misses speech that is 50 dB too quiet."""
    peak = float(np.abs(audio).max(initial=0.0))
    return audio * np.float32(LEAST_PEAK / peak) if SILENT_BELOW <= peak < LEAST_PEAK else audio


def spoken_windows(audio: NDArray[np.float32], windows: Sequence[tuple[int, int]]) -> list[int]:
    """Return the indices of windows with speech; a window is (first sample, one after the last)."""
    speech = speech_seconds(audio)
    return [i for i, w in enumerate(windows) if _seconds_inside(w, speech) >= MIN_SPEECH_SECONDS]


def _seconds_inside(window: tuple[int, int], speech: Sequence[SpeechSpan]) -> float:
    start, end = (sample / SAMPLE_RATE for sample in window)
    return sum(max(0.0, min(end, until) - max(start, since)) for since, until in speech)


class _Detector(nn.Module):
    """The detector's own layers, run over all chunks of a clip at once.

    The published detector takes one chunk at a time, in interpreted code. Only its recurrent cell
    needs that order, and an LSTM layer goes through the chunks by itself.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model._model  # of 16 kHz
        cell = self._model.decoder.rnn
        self._lstm = nn.LSTM(cell.weight_ih.shape[1], cell.weight_hh.shape[1])
        self._lstm.load_state_dict({f"{name}_l0": p for name, p in cell.named_parameters()})

    @torch.inference_mode()
    def shares(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of speech in each chunk, (chunks,)."""
        if not len(audio):
            return audio
        num_chunks = -(-len(audio) // _CHUNK)
        padded = np.pad(audio, (_CONTEXT, num_chunks * _CHUNK - len(audio)))
        chunks = torch.from_numpy(padded).unfold(0, _CONTEXT + _CHUNK, _CHUNK)
        features = self._model.encoder(self._model.run_extractors(chunks)).squeeze(-1)
        states, _ = self._lstm(features)
        return self._model.decoder.decoder(states.unsqueeze(-1)).flatten(1).mean(1).numpy()


class _Reader:
    """Stand-in for the detector: returns precomputed probabilities chunk by chunk."""

    def __init__(self, shares: NDArray[np.float32]) -> None:
        self._left = iter(shares)

    def reset_states(self) -> None:
        """Do nothing: every clip has a reader of its own."""

    def __call__(self, chunk: torch.Tensor, rate: int) -> np.float32:
        return next(self._left)


@cache
def _loaded() -> _Detector:
    num_threads = torch.get_num_threads()
    from silero_vad import load_silero_vad  # its import sets torch to one thread

    torch.set_num_threads(num_threads)
    return _Detector(load_silero_vad())


def _detector() -> _Detector:
    with _loading:
        return _loaded()
