"""LoRA: low-rank updates of the backbone, by peft, under the published names."""

from typing import Any

from torch import nn

from desta.errors import ConfigError, need
from desta.model.config import LoraConfig


def inject(decoder: nn.Module, config: LoraConfig) -> None:
    """Add trainable float32 LoRA matrices to the target layers; all other weights stay frozen.

    Raises:
        ConfigError: the decoder has no layers of these names.
    """
    peft = need("peft", extra="train", to="use LoRA")
    names = {n.split(".")[-1] for n, m in decoder.named_modules() if isinstance(m, nn.Linear)}
    if missing := [target for target in config.targets if target not in names]:
        raise ConfigError(
            f"lora.targets: the backbone has no {', '.join(missing)}",
            fix=f"give some of {', '.join(sorted(names))}",
        )
    options: dict[str, Any] = {"r": config.rank, "lora_alpha": config.alpha}
    options |= {"lora_dropout": config.dropout, "target_modules": list(config.targets)}
    peft.inject_adapter_in_model(peft.LoraConfig(**options), decoder)
    for parameter in decoder.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def set_dropout(backbone: nn.Module, active: bool) -> None:
    """Turn dropout of the low-rank updates on or off; the rest of the backbone never drops out."""
    for name, module in backbone.named_modules():
        if name.endswith("lora_dropout"):
            module.train(active)
