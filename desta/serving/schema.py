"""Bodies of requests and answers: the part of OpenAI's API that is served, and our fields.

Lists end at their first fault: one error for each of a million parts would take gigabytes.
Fields that OpenAI's API does not have are marked as extensions in their descriptions.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_STOPS = 16
_MAX_STOP_LETTERS = 1024  # the beginnings of a stop string are looked for at every token
_MAX_PARTS = 256
_MAX_INTEGER = 2**62


class _Body(BaseModel):
    """A part of a body; values keep their JSON types."""

    model_config = ConfigDict(strict=True, extra="ignore")


class InputAudio(_Body):
    """A recording inside the body."""

    data: str = Field(description="Bytes of a recording in any common format, in base64.")
    format: str | None = Field(None, description="Not needed: the bytes tell.")
    transcription: str | None = Field(
        None, description="Extension: what is said, in place of the model's transcription."
    )


class AudioUrl(_Body):
    """A recording elsewhere."""

    url: str = Field(
        description="A data URL, or an http(s) URL of a host that the server is allowed to ask."
    )
    transcription: str | None = Field(None, description="Extension: as in `input_audio`.")


class TextPart(_Body):
    """Text of a message."""

    type: Literal["text"]
    text: str


class InputAudioPart(_Body):
    """A clip of a message."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class AudioUrlPart(_Body):
    """A clip of a message, by its URL."""

    type: Literal["audio_url"]
    audio_url: AudioUrl


Part = Annotated[TextPart | InputAudioPart | AudioUrlPart, Field(discriminator="type")]
Stop = Annotated[str, Field(max_length=_MAX_STOP_LETTERS)]


class ChatMessage(_Body):
    """One turn of a conversation."""

    model_config = ConfigDict(strict=True, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | Annotated[list[Part], Field(max_length=_MAX_PARTS, fail_fast=True)] | None = None


class StreamOptions(_Body):
    """Options of a stream."""

    include_usage: bool | None = None


class ChatBody(_Body):
    """Body of a request for a chat completion."""

    model_config = ConfigDict(strict=True, extra="allow")

    model: str
    messages: list[ChatMessage] = Field(min_length=1, max_length=1024, fail_fast=True)
    max_completion_tokens: int | None = Field(None, ge=1, le=_MAX_INTEGER)
    max_tokens: int | None = Field(None, ge=1, le=_MAX_INTEGER, description="The older name.")
    temperature: float | None = Field(
        None, ge=0, le=2, allow_inf_nan=False, description="0, the default, is greedy."
    )
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    n: int | None = Field(None, ge=1, le=128)
    seed: int | None = Field(None, ge=-_MAX_INTEGER, le=_MAX_INTEGER)
    stop: Stop | list[Stop] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream: bool | None = None
    stream_options: StreamOptions | None = None


class ClipInfo(_Body):
    """Extension: a clip as the model got it."""

    text: str = Field(description="The transcription that was used; empty without speech.")
    seconds: float
    audio_tokens: int = Field(description="Tokens of the prompt that stand for its sound.")
    text_tokens: int = Field(description="Tokens of the prompt that stand for its transcription.")


class CompletionTokens(_Body):
    """Tokens of a request."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]


class Choice(_Body):
    """One answer."""

    index: int
    message: dict[str, Any]
    logprobs: dict[str, Any] | None = None
    finish_reason: str


class ChatCompletion(_Body):
    """Answers to a chat request."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: CompletionTokens
    transcriptions: list[ClipInfo] = Field(
        description="Extension: the clips of the conversation, in order."
    )
    stage_ms: dict[str, float] = Field(
        description="Extension: milliseconds of this request in encode, queue, prefill, generate."
    )


class TranscriptionJson(_Body):
    """A transcription."""

    text: str


class ErrorInfo(_Body):
    """What is wrong, and what to do."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(_Body):
    """Body of an error."""

    error: ErrorInfo


class Model(_Body):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "desta"


class ModelList(_Body):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[Model]
