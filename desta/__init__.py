"""Audio-language models by self-generated cross-modal alignment (arXiv 2507.02768)."""

import logging
from typing import TYPE_CHECKING, Any

from desta.threads import limit_spinning
from desta.version import __version__

limit_spinning()  # before anything imports torch

# transformers imports torchao where it is installed, which then tells of the GPU kernels that it
# could not load and of what will change in PyTorch: nothing that a user of ours could mend.
for _noisy in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)

__all__ = ["DeSTA25AudioModel", "__version__"]

if TYPE_CHECKING:
    from desta.inference.desta25 import DeSTA25AudioModel


def __getattr__(name: str) -> Any:
    """Import the model class on first use: `import desta` must not wait for torch."""
    if name == "DeSTA25AudioModel":
        from desta.inference.desta25 import DeSTA25AudioModel

        return DeSTA25AudioModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
