"""Parts of chat messages."""

import base64
from typing import Any


def clip_part(recording: bytes, said: str | None = "words", **fields: Any) -> dict[str, Any]:
    """Return a clip; by default with its transcription."""
    audio = {"data": base64.b64encode(recording).decode(), "format": "wav", **fields}
    if said is not None:
        audio["transcription"] = said
    return {"type": "input_audio", "input_audio": audio}


def url_part(url: str, said: str | None = "words") -> dict[str, Any]:
    return {"type": "audio_url", "audio_url": {"url": url, "transcription": said}}


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
