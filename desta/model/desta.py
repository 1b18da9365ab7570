"""The model: a frozen encoder, a connector, a frozen backbone.

Shape suffixes:
    B sequences   S positions   W windows of audio   Q query tokens   P = W x Q
    E backbone width   N labelled positions   V vocabulary
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, PretrainedConfig

from desta.model.config import ModelConfig
from desta.model.connector import QFormerConnector
from desta.model.encoder import Encoded
from desta.model.encoders import Encoder, build_encoder
from desta.model.fusion import fuse
from desta.model.logits import head_logits

NO_LABEL = -100
_SAMPLED_IDS = 1 << 16  # embeddings that are looked at, of tables that can take gigabytes


class Perception(nn.Module):
    """Encoder and connector under their published names."""

    def __init__(self, encoder: Encoder, connector: QFormerConnector) -> None:
        super().__init__()
        self.encoder: Encoder = encoder
        self.connector = connector


class DestaModel(nn.Module):
    """Built parts, joined; `desta.model.checkpoint` fetches and fills them."""

    def __init__(self, config: ModelConfig, *, encoder: Encoder, backbone: Any) -> None:
        super().__init__()
        self.config = config
        text_config = backbone.config.get_text_config()
        connector = QFormerConnector(
            config.connector,
            num_target_layers=len(encoder.target_layers),
            encoder_dim=encoder.dim,
            num_heads=encoder.num_heads,
            backbone_dim=text_config.hidden_size,
        )
        self.max_positions: int = text_config.max_position_embeddings
        self.num_embeddings: int = backbone.get_input_embeddings().num_embeddings
        self.perception = Perception(encoder, connector)
        self.llm_model: Any = backbone.requires_grad_(False).eval()
        self.mel = encoder.extractor(config.window)
        self.kept_fields: dict[str, Any] = {}
        """What `config.json` held beside the configuration; written again on saving."""

    @property
    def encoder(self) -> Encoder:
        """The frozen encoder."""
        return self.perception.encoder

    @property
    def connector(self) -> QFormerConnector:
        """What is trained."""
        return self.perception.connector

    @property
    def device(self) -> torch.device:
        """Where the connector lies."""
        return self.connector.layer_weights.device

    def train(self, mode: bool = True) -> "DestaModel":
        """Put the connector into training mode; encoder and backbone stay in evaluation mode."""
        super().train(False)
        self.connector.train(mode)
        return self

    def forward(
        self,
        mel: Any,
        input_ids_BS: Tensor,
        attention_mask_BS: Tensor,
        places_P2: Tensor,
        labels_BS: Tensor,
    ) -> Tensor:
        """Return the summed loss of a batch: what training calls, wrapped or not."""
        audio_WQE = self.audio_tokens(self.encode(mel))
        embeddings_BSE = self.embed(input_ids_BS, audio_WQE, places_P2)
        return self.loss_sum(embeddings_BSE, attention_mask_BS, labels_BS)

    def encode(self, mel: Any) -> Encoded:
        """Run the frozen encoder on what `self.mel` made of the audio."""
        return self.encoder(mel)

    def audio_tokens(self, encoded: Encoded) -> Tensor:
        """Return the audio tokens of windows, (W, Q, E), in float32 outside autocast."""
        return self.connector(encoded.layers_LBTD.float(), encoded.mask_BT)

    def embed(self, input_ids_BS: Tensor, audio_WQE: Tensor | None, places_P2: Tensor) -> Tensor:
        """Return what the backbone reads, (B, S, E)."""
        embeddings_BSE = self.llm_model.get_input_embeddings()(input_ids_BS.to(self.device))
        if audio_WQE is None:
            return embeddings_BSE
        return fuse(embeddings_BSE, audio_WQE, places_P2)

    def sequence(self, ids: Sequence[int], clips: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Return what the backbone reads of one conversation, (S, E).

        Args:
            ids: token ids, with placeholders where audio tokens belong.
            clips: audio tokens (W, Q, E), each with the position of their first.
        """
        embeddings_SE = self.llm_model.get_input_embeddings()(torch.tensor(ids, device=self.device))
        for start, audio_WQE in clips:
            audio_PE = audio_WQE.flatten(0, 1)
            embeddings_SE[start : start + len(audio_PE)] = audio_PE.to(embeddings_SE.dtype)
        return embeddings_SE

    def loss_sum(
        self, embeddings_BSE: Tensor, attention_mask_BS: Tensor, labels_BS: Tensor
    ) -> Tensor:
        """Return the summed cross-entropy of the labelled tokens.

        The LM head runs on labelled positions only: with a vocabulary of 128 k, the logits of
        all other positions are most of the memory of a training step and carry no loss.
        """
        hidden_BSE = self.llm_model.base_model(
            inputs_embeds=embeddings_BSE,
            attention_mask=attention_mask_BS.to(self.device),
            use_cache=False,
        ).last_hidden_state
        targets_BS = labels_BS[:, 1:].to(self.device)
        labelled_BS = targets_BS != NO_LABEL
        hidden_NE = hidden_BSE[:, :-1][labelled_BS]
        logits_NV = head_logits(self.llm_model, hidden_NE)
        return functional.cross_entropy(logits_NV.float(), targets_BS[labelled_BS], reduction="sum")

    def initialise(self) -> None:
        """Give the connector fresh weights at the scale of the backbone's embeddings."""
        # What the module gives out, not what lies in it: Gemma's multiplies by sqrt(width).
        ids = torch.arange(0, self.num_embeddings, 1 + self.num_embeddings // _SAMPLED_IDS)
        with torch.no_grad():
            embeddings = self.llm_model.get_input_embeddings()(ids.to(self.device))
        self.connector.initialise(float(embeddings.float().std()))

    def trained_state(self) -> dict[str, Tensor]:
        """Return the trained tensors under their published names."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def build(
    config: ModelConfig, *, encoder_config: Any, backbone_config: PretrainedConfig
) -> DestaModel:
    """Build a model with unset weights from the shapes of its parts, on the current device.

    Raises:
        ConfigError: the encoder is of no known kind.
    """
    backbone = AutoModelForCausalLM.from_config(backbone_config)
    encoder = build_encoder(config, encoder_config)
    return DestaModel(config, encoder=encoder, backbone=backbone)
