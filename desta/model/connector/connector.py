"""Connector: encoder layers -> audio tokens in the backbone's embedding space (paper section III).

Shape suffixes:
    B windows   T encoder frames (50 a second)   Q query tokens   L target layers
    D encoder width   E backbone width   N = L x B
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from desta.model.config import ConnectorConfig
from desta.model.connector.qformer import QFormer

_INIT_STD = 0.02  # BERT's


class QFormerConnector(nn.Module):
    """One Q-Former shared by all target layers, each with queries of its own."""

    def __init__(
        self,
        config: ConnectorConfig,
        *,
        num_target_layers: int,
        encoder_dim: int,
        num_heads: int,
        backbone_dim: int,
    ) -> None:
        super().__init__()
        self.normalise_frames = config.normalise_frames
        self.layer_prompts = nn.ParameterList(
            nn.Parameter(torch.empty(1, config.num_query_tokens, encoder_dim))
            for _ in range(num_target_layers)
        )
        self.layer_weights = nn.Parameter(torch.zeros(config.num_query_tokens, num_target_layers))
        self.qformer = QFormer(
            encoder_dim,
            num_layers=config.num_layers,
            num_heads=num_heads,
            ffn_dim=config.ffn_dim,
            dropout=config.dropout,
        )
        self.proj = nn.Sequential(nn.LayerNorm(encoder_dim), nn.Linear(encoder_dim, backbone_dim))

    @torch.no_grad()
    def initialise(self, embedding_std: float) -> None:
        """Initialise the weights.

        Args:
            embedding_std: standard deviation of the backbone's token embeddings. Audio tokens start
                at that scale; with PyTorch's default they would be several times larger than the
                word embeddings around them.
        """
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_INIT_STD)
                nn.init.zeros_(module.bias)
        for prompt in self.layer_prompts:
            nn.init.normal_(prompt)
        nn.init.zeros_(self.layer_weights)
        norm, linear = self.proj
        assert isinstance(norm, nn.LayerNorm)
        assert isinstance(linear, nn.Linear)
        # The scale is set in the gain of the norm, not in the matrix: Adam changes every weight by
        # about the learning rate, which would dominate a matrix of tiny weights in a few steps.
        nn.init.constant_(norm.weight, embedding_std)
        nn.init.normal_(linear.weight, std=linear.in_features**-0.5)

    def forward(self, frames_LBTD: Tensor, mask_BT: Tensor | None) -> Tensor:
        """Return the audio tokens of encoder frames.

        Args:
            frames_LBTD: outputs of the target layers, before the encoder's final LayerNorm.
            mask_BT: True at frames of the clip, False at padding; None if there is no padding.

        Returns:
            Audio tokens, (B, Q, E).
        """
        num_layers, batch = frames_LBTD.shape[:2]
        if self.normalise_frames:
            frames_LBTD = functional.layer_norm(frames_LBTD, frames_LBTD.shape[-1:])
        queries_NQD = torch.cat([prompt.expand(batch, -1, -1) for prompt in self.layer_prompts])
        mask_NT = None if mask_BT is None else mask_BT.repeat(num_layers, 1)
        answers_NQD = self.qformer(queries_NQD, frames_LBTD.flatten(0, 1), mask_NT)
        weights_QL = self.layer_weights.softmax(dim=-1)  # per query token, sums to 1 over layers
        mixed_BQD = torch.einsum(
            "lbqd,ql->bqd", answers_NQD.unflatten(0, (num_layers, batch)), weights_QL
        )
        return self.proj(mixed_BQD)
