"""Q-Former: BERT layers in which query tokens attend to each other and to encoder frames.

The modules carry the names of `transformers`' BertLayer, under which the published weights are
stored. Attention among the queries is bidirectional: the published code asks BERT for a decoder
but runs it without a causal mask, so `is_causal` must never be set here.

Shape suffixes: N sequences   Q query tokens   T encoder frames   D width   H heads   K head width
"""

from torch import Tensor, nn
from torch.nn import functional

EPS = 1e-12  # BERT's, not PyTorch's default


class _Projections(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)


class _Output(nn.Module):
    """Dense layer, dropout, residual, LayerNorm (post-norm)."""

    def __init__(self, in_dim: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(in_dim, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=EPS)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(x)) + residual)


class _Attention(nn.Module):
    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.self = _Projections(dim)
        self.output = _Output(dim, dim, dropout)

    def forward(self, x_NQD: Tensor, keys_NTD: Tensor, mask_N11T: Tensor | None) -> Tensor:
        q_NHQK, k_NHTK, v_NHTK = (
            proj(source).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for proj, source in (
                (self.self.query, x_NQD),
                (self.self.key, keys_NTD),
                (self.self.value, keys_NTD),
            )
        )
        mixed_NHQK = functional.scaled_dot_product_attention(
            q_NHQK,
            k_NHTK,
            v_NHTK,
            attn_mask=mask_N11T,
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.output(mixed_NHQK.transpose(1, 2).flatten(2), x_NQD)


class _Intermediate(nn.Module):
    def __init__(self, dim: int, ffn_dim: int) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, ffn_dim)

    def forward(self, x: Tensor) -> Tensor:
        return functional.gelu(self.dense(x))


class _Layer(nn.Module):
    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = _Attention(dim, num_heads, dropout)
        self.crossattention = _Attention(dim, num_heads, dropout)
        self.intermediate = _Intermediate(dim, ffn_dim)
        self.output = _Output(ffn_dim, dim, dropout)

    def forward(self, x_NQD: Tensor, frames_NTD: Tensor, mask_N11T: Tensor | None) -> Tensor:
        x_NQD = self.attention(x_NQD, x_NQD, None)
        x_NQD = self.crossattention(x_NQD, frames_NTD, mask_N11T)
        return self.output(self.intermediate(x_NQD), x_NQD)


class QFormer(nn.Module):
    """A stack of layers; `layer` is the published name of the list."""

    def __init__(
        self, dim: int, *, num_layers: int, num_heads: int, ffn_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.layer = nn.ModuleList(
            _Layer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers)
        )

    def forward(self, queries_NQD: Tensor, frames_NTD: Tensor, mask_NT: Tensor | None) -> Tensor:
        """Cross-attend from queries to frames.

        Args:
            queries_NQD: learned queries.
            frames_NTD: encoder frames.
            mask_NT: True at frames, False at padding; None if there is no padding.

        Returns:
            Hidden states of the queries, (N, Q, D).
        """
        mask_N11T = None if mask_NT is None else mask_NT[:, None, None]
        for layer in self.layer:
            queries_NQD = layer(queries_NQD, frames_NTD, mask_N11T)
        return queries_NQD
