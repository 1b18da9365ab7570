"""Audio-language models by self-generated cross-modal alignment (arXiv 2507.02768).

The names in `__all__` are the public API; everything below `desta.` may move between versions.
They are imported when they are first used, so that `import desta` does not wait for torch.
"""

import importlib
import logging
from typing import TYPE_CHECKING

from desta.threads import limit_spinning
from desta.version import __version__

if TYPE_CHECKING:
    from desta.api import construct, describe, evaluate, train
    from desta.errors import DestaError
    from desta.inference.conversation import Conversation, user_message
    from desta.inference.desta25 import DeSTA25AudioModel
    from desta.inference.engine import Engine, Limits
    from desta.inference.load import load
    from desta.inference.requests import Request
    from desta.model.backbone.sampling import Sampling
    from desta.records import Message

__all__ = [
    "Conversation",
    "DeSTA25AudioModel",
    "DestaError",
    "Engine",
    "Limits",
    "Message",
    "Request",
    "Sampling",
    "__version__",
    "construct",
    "describe",
    "evaluate",
    "load",
    "train",
    "user_message",
]

limit_spinning()  # before anything imports torch

# transformers imports torchao where it is installed, which then tells of the GPU kernels that it
# could not load and of what will change in PyTorch: nothing that a user of ours could mend.
for _noisy in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_noisy).setLevel(logging.ERROR)

_MODULES = {
    "Conversation": "desta.inference.conversation",
    "DeSTA25AudioModel": "desta.inference.desta25",
    "DestaError": "desta.errors",
    "Engine": "desta.inference.engine",
    "Limits": "desta.inference.engine",
    "Message": "desta.records",
    "Request": "desta.inference.requests",
    "Sampling": "desta.model.backbone.sampling",
    "load": "desta.inference.load",
    "user_message": "desta.inference.conversation",
} | dict.fromkeys(("construct", "describe", "evaluate", "train"), "desta.api")

if not TYPE_CHECKING:  # a type checker that saw it would accept any name

    def __getattr__(name):
        """Import a public name on first use."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_MODULES[name]), name)
        return value

    def __dir__():
        """Return the names of this module, public ones that are not imported yet among them."""
        return sorted({*globals(), *__all__})
