"""Cache of encoded clips."""

from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor

from desta.records import Segment


@dataclass(frozen=True)
class EncodedClip:
    """Audio tokens and transcription of a clip."""

    content: str
    """Hash of the recording."""
    seconds: float
    audio_WQE: Tensor
    text: str | None
    """Transcription; None if it was not requested."""
    segments: tuple[Segment, ...] = ()
    """Text of each window with its start and end; windows without text are left out."""

    @property
    def num_bytes(self) -> int:
        """Memory of the audio tokens."""
        return self.audio_WQE.numel() * self.audio_WQE.element_size()


class ClipCache:
    """Encoded clips by content, least recently used first, bounded in bytes."""

    def __init__(self, max_bytes: int) -> None:
        """Create a cache of at most `max_bytes`; 0 stores nothing."""
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, EncodedClip] = OrderedDict()
        self._bytes = 0

    def get(self, content: str, *, with_text: bool) -> EncodedClip | None:
        """Return the clip of that content hash, if it is cached (with its transcription)."""
        clip = self._entries.get(content)
        if clip is None or (with_text and clip.text is None):
            return None
        self._entries.move_to_end(content)
        return clip

    def clear(self) -> None:
        """Remove all clips."""
        self._entries.clear()
        self._bytes = 0

    def put(self, clip: EncodedClip) -> None:
        """Add a clip; remove the least recently used ones beyond the bound."""
        old = self._entries.pop(clip.content, None)
        if old is not None and clip.text is None:
            clip = old  # it has the same audio tokens, and perhaps a transcription
        self._bytes += clip.num_bytes - (old.num_bytes if old else 0)
        self._entries[clip.content] = clip
        while self._bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._bytes -= oldest.num_bytes
