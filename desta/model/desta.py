"""The model: a frozen encoder, a connector, a frozen backbone.

Shape suffixes:
    B sequences   S positions   W windows of audio   Q query tokens   P = W x Q
    E backbone width   N labelled positions   V vocabulary
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from desta.model.backbone import lm_head, lora
from desta.model.backbone.prefix import longest_shareable, read_prefix
from desta.model.backbone.trees import tree_mask
from desta.model.config import NO_LABEL, ModelConfig
from desta.model.connector.connector import QFormerConnector
from desta.model.encoder.load import Encoder, build_encoder
from desta.model.encoder.whisper import Encoded
from desta.model.teacher import Teacher
from desta.model.word_loss import word_loss_sum

_SAMPLED_IDS = 1 << 16  # embeddings that are sampled, of tables that can take gigabytes


class Perception(nn.Module):
    """Encoder and connector under their published names."""

    def __init__(self, encoder: Encoder, connector: QFormerConnector) -> None:
        super().__init__()
        self.encoder: Encoder = encoder
        self.connector = connector


class DestaModel(nn.Module):
    """Encoder, connector and backbone; `desta.model.checkpoint` loads their weights."""

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
        self.longest_in_tree = longest_shareable(text_config)
        """Longest conversations that can branch off from a stem."""
        self.longest_shareable = 0 if config.lora else self.longest_in_tree
        """Longest sequences that can share a prefix."""
        bound = getattr(text_config, "max_position_embeddings", None)
        self.max_positions: float = math.inf if bound is None else bound
        """Context length of the backbone in tokens; infinite for recurrent ones."""
        self.num_embeddings: int = backbone.get_input_embeddings().num_embeddings
        self.perception = Perception(encoder, connector)
        self.llm_model: Any = backbone.requires_grad_(False).eval()
        if config.lora is not None:
            lora.inject(self.decoder, config.lora)
        self.mel = encoder.extractor(config.window)
        self.kept_fields: dict[str, Any] = {}
        """Fields of `config.json` beside the configuration, written again on saving."""

    @property
    def encoder(self) -> Encoder:
        """The frozen encoder."""
        return self.perception.encoder

    @property
    def connector(self) -> QFormerConnector:
        """The trained connector."""
        return self.perception.connector

    @property
    def device(self) -> torch.device:
        """Device of the connector."""
        return self.connector.layer_weights.device

    def train(self, mode: bool = True) -> "DestaModel":
        """Put connector and LoRA into training mode; frozen parts stay in evaluation mode."""
        super().train(False)
        self.connector.train(mode)
        lora.set_dropout(self.llm_model, mode)
        return self

    @property
    def decoder(self) -> Any:
        """The backbone without its LM head, also of a vision-language model."""
        return self.llm_model.get_decoder()

    def forward(
        self,
        mels: Sequence[Any],
        input_ids_BS: Tensor,
        attention_mask_BS: Tensor | None,
        places_P2: Tensor,
        labels_BS: Tensor,
        position_ids_BS: Tensor | None = None,
        num_shared: int = 0,
        branches_BS: Tensor | None = None,
        words_V: Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> Tensor:
        """Return the summed loss of a batch: the cross-entropy, where there is no teacher.

        Args:
            mels: outputs of `self.mel` for the windows of all clips, in one group or several.
            input_ids_BS: left-padded, or packed into one row.
            attention_mask_BS: 1 at tokens, 0 at padding; None if rows are packed.
            places_P2: row and position of every audio token.
            labels_BS: target ids, `NO_LABEL` elsewhere.
            position_ids_BS: for packed rows and trees: position within each conversation; marks
                their borders.
            num_shared: length of the common prefix of all sequences, before any audio token.
            branches_BS: for trees (`desta.data.trees`): number of the branch, 0 in the stem.
            words_V: for labels at the audio tokens (`desta.data.words`): the ids of the tokens
                that compete for them; the backbone is not run.
            teacher: the same responses for the backbone that reads the clips in words.
        """
        audio_WQE = torch.cat([self.audio_tokens(self.encode(mel)) for mel in mels])
        if words_V is not None:
            return self.word_loss_sum(audio_WQE, labels_BS, places_P2, words_V)
        if len(places_P2):
            embeddings_BSE = self.embed(input_ids_BS, audio_WQE, places_P2)
        else:  # text only: zero gradients, because other processes wait to exchange them
            embeddings_BSE = self.embed(input_ids_BS, None, places_P2)
            embeddings_BSE = embeddings_BSE + 0 * audio_WQE.sum().to(embeddings_BSE.dtype)
        return self.loss_sum(
            embeddings_BSE,
            attention_mask_BS,
            labels_BS,
            position_ids_BS=position_ids_BS,
            num_shared=num_shared,
            branches_BS=branches_BS,
            teacher=teacher,
        )

    def word_loss_sum(
        self, audio_WQE: Tensor, labels_BS: Tensor, places_P2: Tensor, words_V: Tensor
    ) -> Tensor:
        """Return the summed loss of audio tokens that are to be the embeddings of words."""
        words_V = words_V.to(self.device)
        labels_P = labels_BS[places_P2[:, 0], places_P2[:, 1]].to(self.device)
        audio_PE = audio_WQE.flatten(0, 1)[: len(labels_P)]  # none where a batch has no clip
        table_VE = self.llm_model.get_input_embeddings()(words_V)
        return word_loss_sum(audio_PE, labels_P, table_VE, words_V)

    def encode(self, mel: Any) -> Encoded:
        """Run the frozen encoder on the output of `self.mel`."""
        return self.encoder(mel)

    def audio_tokens(self, encoded: Encoded) -> Tensor:
        """Return the audio tokens of windows, (W, Q, E), in float32 outside autocast."""
        return self.connector(encoded.layers_LBTD.float(), encoded.mask_BT)

    def embed(self, input_ids_BS: Tensor, audio_WQE: Tensor | None, places_P2: Tensor) -> Tensor:
        """Return the input embeddings of the backbone, (B, S, E)."""
        embeddings_BSE = self.llm_model.get_input_embeddings()(input_ids_BS.to(self.device))
        if audio_WQE is None:
            return embeddings_BSE
        return fuse(embeddings_BSE, audio_WQE, places_P2)

    def sequence(self, ids: Sequence[int], clips: Sequence[tuple[int, Tensor]]) -> Tensor:
        """Return the input embeddings of one conversation, (S, E).

        Args:
            ids: token ids, with placeholders at the positions of audio tokens.
            clips: position of the first audio token of each clip, and its audio tokens (W, Q, E).
        """
        embeddings_SE = self.llm_model.get_input_embeddings()(torch.tensor(ids, device=self.device))
        for start, audio_WQE in clips:
            audio_PE = audio_WQE.flatten(0, 1)
            embeddings_SE[start : start + len(audio_PE)] = audio_PE.to(embeddings_SE.dtype)
        return embeddings_SE

    def loss_sum(
        self,
        embeddings_BSE: Tensor,
        attention_mask_BS: Tensor | None,
        labels_BS: Tensor,
        *,
        position_ids_BS: Tensor | None = None,
        num_shared: int = 0,
        branches_BS: Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> Tensor:
        """Return the summed loss of the labelled tokens; arguments as in `forward`.

        The LM head runs on labelled positions only: with a vocabulary of 128 k, the logits of all
        other positions would take most of the memory of a training step and carry no loss.
        """
        if attention_mask_BS is not None:
            attention_mask_BS = attention_mask_BS.to(self.device)
        if position_ids_BS is None:
            assert attention_mask_BS is not None
            position_ids_BS = (attention_mask_BS.cumsum(dim=-1) - 1).clamp(min=0)
        position_ids_BS, labels_BS = position_ids_BS.to(self.device), labels_BS.to(self.device)
        mask = attention_mask_BS
        if branches_BS is not None:
            branches_BS = branches_BS.to(self.device)
            mask = self._prepared(tree_mask(position_ids_BS, branches_BS, num_cached=num_shared))
        cache = None
        if num_shared:
            assert attention_mask_BS is not None, "packed rows have no common prefix"
            longest = int(attention_mask_BS.sum(dim=-1).argmax())  # this row has no padding
            cache = read_prefix(self.decoder, embeddings_BSE[longest, None, :num_shared])
            if branches_BS is None:
                # The first columns hold only prefix and padding. In rows that begin later, the rest
                # of the prefix is masked: those rows take it from the cache as well.
                own_BS = attention_mask_BS * (position_ids_BS >= num_shared)
                mask = torch.cat(
                    [torch.ones_like(own_BS[:, :num_shared]), own_BS[:, num_shared:]], dim=-1
                )
            embeddings_BSE = embeddings_BSE[:, num_shared:]
            position_ids_BS = position_ids_BS[:, num_shared:]
            labels_BS = labels_BS[:, num_shared:]
        hidden_BSE = self.decoder(
            inputs_embeds=embeddings_BSE,
            attention_mask=mask,
            position_ids=position_ids_BS,
            past_key_values=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        targets_BS = labels_BS[:, 1:]
        labelled_BS = targets_BS != NO_LABEL
        return lm_head.loss_sum(
            self.llm_model,
            hidden_BSE[:, :-1][labelled_BS],
            targets_BS[labelled_BS],
            teacher_NE=None if teacher is None else self._read(teacher),
            share=0.0 if teacher is None else teacher.share,
        )

    @torch.no_grad()
    def _read(self, teacher: Teacher) -> Tensor:
        """Return the last hidden states (N, E) of the backbone that reads, at the labels."""
        mask_TS = teacher.attention_mask_TS.to(self.device)
        hidden_TSE = self.decoder(
            inputs_embeds=self.llm_model.get_input_embeddings()(
                teacher.input_ids_TS.to(self.device)
            ),
            attention_mask=mask_TS,
            position_ids=(mask_TS.cumsum(dim=-1) - 1).clamp(min=0),
            use_cache=False,
        ).last_hidden_state
        return hidden_TSE[:, :-1][(teacher.labels_TS[:, 1:] != NO_LABEL).to(self.device)]

    def _prepared(self, mask_B1SK: Tensor) -> Tensor:
        """Return a mask of booleans in the form that the backbone's attention takes."""
        if self.llm_model.config.get_text_config()._attn_implementation != "eager":
            return mask_B1SK
        dtype = self.llm_model.get_input_embeddings().weight.dtype
        added_B1SK = torch.zeros_like(mask_B1SK, dtype=dtype)
        return added_B1SK.masked_fill(~mask_B1SK, torch.finfo(dtype).min)

    def initialise(self) -> None:
        """Initialise the connector at the scale of the backbone's embeddings."""
        # Outputs of the module, not its weights: Gemma multiplies them by sqrt(width).
        ids = torch.arange(0, self.num_embeddings, 1 + self.num_embeddings // _SAMPLED_IDS)
        with torch.no_grad():
            embeddings = self.llm_model.get_input_embeddings()(ids.to(self.device))
        self.connector.initialise(float(embeddings.float().std()))

    def trained_state(self) -> dict[str, Tensor]:
        """Return the trained tensors under their published names."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def build_model(
    config: ModelConfig, *, encoder_config: Any, backbone_config: PretrainedConfig
) -> DestaModel:
    """Build a model with uninitialised weights from the configs of its parts.

    Raises:
        ConfigError: the kind of encoder is unknown.
    """
    backbone = AutoModelForCausalLM.from_config(backbone_config)
    encoder = build_encoder(config, encoder_config)
    return DestaModel(config, encoder=encoder, backbone=backbone)


def fuse(embeddings_BSE: Tensor, audio_WQE: Tensor, places_P2: Tensor) -> Tensor:
    """Replace the embeddings at the given places by audio tokens.

    Args:
        embeddings_BSE: token embeddings of the sequences.
        audio_WQE: audio tokens of all windows, in the order of the places.
        places_P2: row and position of every audio token.

    Returns:
        Input embeddings of the backbone, (B, S, E); gradients flow into `audio_WQE`.
    """
    rows_P, positions_P = places_P2.to(embeddings_BSE.device).unbind(1)
    audio_PE = audio_WQE.flatten(0, 1).to(embeddings_BSE.dtype)
    return embeddings_BSE.index_put((rows_P, positions_P), audio_PE)
