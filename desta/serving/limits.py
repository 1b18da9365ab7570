"""Limits of the server: time, memory and room for requests."""

import math
from dataclasses import dataclass, fields

from desta.errors import ConfigError
from desta.inference.engine import Limits

MEBI = 2**20
_MAX_RATE = 96_000  # Hz at which a clip may have the full length


@dataclass(frozen=True, kw_only=True)
class ServingLimits:
    """Limits of the server; each is an option of `desta serve`."""

    max_requests: int = 64
    """Requests that run or wait; further ones are refused with status 429."""
    max_rows: int = 16
    """Answers that are generated at once."""
    max_positions: int = 16_384
    """Tokens of all answers that are generated at once, prompts and padding included; also the
    longest conversation with its answer."""
    max_answers: int = 8
    """Answers to one request (`n`)."""
    max_tokens: int = 256
    """Length of an answer, in tokens, if a request does not give one."""
    max_body_mb: int = 32
    """Body of one request, in MiB."""
    max_bodies_mb: int = 512
    """Bodies of all requests together, in MiB."""
    max_clips: int = 16
    """Clips in one conversation."""
    max_seconds: float = 600.0
    """Decoded audio of one request, all clips together, in seconds."""
    request_seconds: float = 300.0
    """Time for one request; an answer ends there, as at `max_tokens`."""
    body_seconds: float = 60.0
    """Time in which a client must send its body."""
    fetch_seconds: float = 20.0
    """Time for fetching the clips that a request gives as `audio_url`."""
    stop_seconds: float = 60.0
    """Time for the requests that run when the server is stopped."""
    audio_cache_mb: int = 256
    """Memory of the cache of encoded clips, in MiB; 0 turns it off."""
    prefix_cache_mb: int = 512
    """Memory of the cache of keys and values, in MiB; 0 turns it off."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 0 if "cache" in field.name else 1e-9
            if not least <= value < math.inf:  # also refuses NaN
                raise ConfigError(
                    f"{field.name} = {value:g} leaves no room", fix="give a number above 0"
                )

    def of_engine(self) -> Limits:
        """Return the limits of the engine behind the server."""
        return Limits(
            max_seconds=self.max_seconds,
            max_samples=self.max_seconds * _MAX_RATE,
            audio_cache_bytes=self.audio_cache_mb * MEBI,
            prefix_cache_bytes=self.prefix_cache_mb * MEBI,
        )
