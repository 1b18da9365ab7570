"""Where words and sounds meet: audio tokens take the places of their placeholders.

Shape suffixes:
    B sequences   S positions   W windows of audio   Q query tokens   P = W x Q   E backbone width
"""

from torch import Tensor


def fuse(embeddings_BSE: Tensor, audio_WQE: Tensor, places_P2: Tensor) -> Tensor:
    """Put audio tokens where the layout says, and leave every other embedding as it is.

    Args:
        embeddings_BSE: token embeddings of the sequences.
        audio_WQE: audio tokens of all windows, in the order of the places.
        places_P2: row and position of every audio token.

    Returns:
        Embeddings the backbone can read, (B, S, E); gradients flow into `audio_WQE`.
    """
    rows_P, positions_P = places_P2.to(embeddings_BSE.device).unbind(1)
    audio_PE = audio_WQE.flatten(0, 1).to(embeddings_BSE.dtype)
    return embeddings_BSE.index_put((rows_P, positions_P), audio_PE)
