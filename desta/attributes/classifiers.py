"""Pseudo-labels: what an audio classifier of the Hub, or one in a folder, hears in a clip."""

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification

from desta import audio
from desta.attributes.labels import Label
from desta.attributes.signal import Unmeasured
from desta.errors import ConfigError
from desta.model.hub.load import find_local, load_part, locate
from desta.model.hub.weights import weights_fingerprint


class Classifier:
    """A loaded model that says one attribute; a clip at a time, for padding would change it."""

    def __init__(self, label: Label, *, device: str | torch.device = "cpu") -> None:
        """Load it.

        Raises:
            CheckpointError: it cannot be had, is no classifier, or has no safetensors.
            ConfigError: it hears another rate, or none of its labels is a value of the attribute.
        """
        self.label = label
        place = locate(label.model, None)
        self.extractor = load_part(AutoFeatureExtractor, place)
        self.model = load_part(AutoModelForAudioClassification, place).to(device)
        local = find_local(label.model, None)
        revision = (local and weights_fingerprint(local)) or "unknown"
        self.key = f"{label.kind.name}={label.model}@{revision}"
        self.device = device
        rate = getattr(self.extractor, "sampling_rate", audio.SAMPLE_RATE)
        if rate != audio.SAMPLE_RATE:
            raise ConfigError(
                f'"{label.model}" hears sound at {rate} Hz, not at {audio.SAMPLE_RATE} Hz',
                fix="name another classifier",
            )
        labels = list(self.model.config.id2label.values())
        if not any(label.kind.value(name) for name in labels):
            raise ConfigError(
                f'none of the labels of "{label.model}" ({", ".join(labels[:5])}) is a value of '
                f"{label.kind.attribute}",
                fix="write what they mean into id2label of its config.json",
            )

    @torch.inference_mode()
    def __call__(self, samples: NDArray[np.float32]) -> tuple[str, float]:
        """Return the value and its probability; a long clip is heard in windows.

        Args:
            samples: (T,), mono at 16 kHz.

        Raises:
            Unmeasured: the label that won is no value of the attribute, or the clip is too short.
        """
        windows = audio.split_windows(samples)
        shares = []
        for start, end in windows:
            inputs = self.extractor(
                samples[start:end], sampling_rate=audio.SAMPLE_RATE, return_tensors="pt"
            ).to(self.device)
            try:
                logits_C = self.model(**inputs).logits[0]
            except RuntimeError as error:
                if isinstance(error, torch.OutOfMemoryError) or end - start > audio.SAMPLE_RATE:
                    raise
                raise Unmeasured("too short for the classifier") from error
            shares.append(logits_C.float().softmax(-1).cpu() * ((end - start) / len(samples)))
        probabilities_C = torch.stack(shares).sum(0)
        best = int(probabilities_C.argmax())
        said = self.model.config.id2label[best]
        value = self.label.kind.value(said)
        if value is None:
            raise Unmeasured(f'the label "{said}" is no value of {self.label.kind.attribute}')
        return value, float(probabilities_C[best])
