"""Audio-language models by self-generated cross-modal alignment (arXiv 2507.02768)."""

from typing import TYPE_CHECKING, Any

from desta.version import __version__

__all__ = ["DeSTA25AudioModel", "__version__"]

if TYPE_CHECKING:
    from desta.inference.published import DeSTA25AudioModel


def __getattr__(name: str) -> Any:
    """Import the model class on first use: `import desta` must not wait for torch."""
    if name == "DeSTA25AudioModel":
        from desta.inference.published import DeSTA25AudioModel

        return DeSTA25AudioModel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
