"""The model card that lies beside the weights."""

from typing import Any

from desta.model.hub.zoo import WHEELS
from desta.training.config import TrainConfig

_ANSWERS = """Trained by self-generated cross-modal alignment
(arXiv 2507.02768): the backbone answered prompts about text descriptions of the clips, and the
connector learnt to bring about the same answers from the sound."""
_WORDS = """The audio tokens
learnt the words of text descriptions of the clips, without the backbone: {}."""


def model_card(config: TrainConfig, summary: dict[str, Any]) -> str:
    """Return the model card of a run, in Markdown."""
    model = config.model
    data = ", ".join(f"`{path}`" for path in config.data.train)
    parts = ", ".join(name.removeprefix(WHEELS) for name in (model.backbone, model.encoder))
    trained = _WORDS.format(", ".join(config.words)) if config.words else _ANSWERS
    start = f"\n| start | `{config.start}` |" if config.start else ""
    return f"""---
library_name: desta
base_model: [{parts}]
tags: [audio-language-model, speech, audio]
---
# Audio-language model: {model.encoder} + Q-Former + {model.backbone}

`model.safetensors` holds what was trained only: the connector ({model.connector.num_layers} layers,
{model.connector.num_query_tokens} query tokens); the encoder and the backbone are frozen and are
fetched by the names in `config.json`. {trained}

| | |
|---|---|
| data | {data} |{start}
| steps | {summary["steps"]} |
| pairs read | {summary["pairs_read"]} |
| last training loss | {summary["loss"]:.3f} |
| window | {model.window} |

    desta ask CLIP.wav "What can you hear?" --model .

What it was not trained on it will not know: languages, sounds and voices outside its data, and
facts beyond those of its backbone. Do not use it to judge people by their voices.
"""
