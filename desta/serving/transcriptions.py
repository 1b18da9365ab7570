"""Route of transcriptions, and their formats."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from desta.records import Segment
from desta.serving.chat import check_model
from desta.serving.disconnect import until_disconnect
from desta.serving.errors import unsupported
from desta.serving.protocol import ServingEngine, Transcription
from desta.serving.schema import TranscriptionJson

Format = Literal["json", "text", "verbose_json", "srt", "vtt"]


def transcription_routes(engine: ServingEngine) -> APIRouter:
    """Create the route `/v1/audio/transcriptions`."""
    router = APIRouter()

    @router.post(
        "/v1/audio/transcriptions",
        response_model=TranscriptionJson,
        responses={
            200: {
                "content": {"text/plain": {}, "text/vtt": {}},
                "description": "A transcription in the format that was asked for.",
            }
        },
    )
    async def create_transcription(
        http: Request,
        file: Annotated[UploadFile, File(description="A recording in any common format.")],
        model: Annotated[str, Form()],
        language: Annotated[
            str | None, Form(max_length=32, description="Of the speech, by name or code.")
        ] = None,
        response_format: Annotated[Format, Form()] = "json",
        prompt: Annotated[str, Form(description="Not supported: must be empty.")] = "",
        temperature: Annotated[float, Form(description="Not supported: must be 0.")] = 0.0,
        stream: Annotated[bool, Form(description="Not supported: must be false.")] = False,
    ) -> Any:
        """Transcribe a recording, as the model transcribes the clips that it is asked about."""
        check_model(model, engine)
        for name, value in (("prompt", prompt), ("temperature", temperature), ("stream", stream)):
            if value:
                raise unsupported(name)
        recording = await file.read()
        found = await until_disconnect(
            http, engine.transcribe(recording, language=language or None)
        )
        return _response(found, response_format)

    return router


def _response(found: Transcription, response_format: Format) -> Response:
    match response_format:
        case "json":
            return JSONResponse({"text": found.text})
        case "text":
            return PlainTextResponse(f"{found.text}\n")
        case "srt":
            return PlainTextResponse(srt(found.segments))
        case "vtt":
            return PlainTextResponse(vtt(found.segments), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(
                {
                    "task": "transcribe",
                    "duration": found.seconds,
                    "text": found.text,
                    "segments": [
                        {"id": number, "start": part.start, "end": part.end, "text": part.text}
                        for number, part in enumerate(found.segments)
                    ],
                }
            )


def srt(segments: Iterable[Segment]) -> str:
    r"""Return segments as SubRip subtitles.

    >>> srt([Segment(start=0.5, end=3661.25, text="A dog.")])
    '1\n00:00:00,500 --> 01:01:01,250\nA dog.\n'
    """
    return "\n".join(
        f"{number}\n{_clock(part.start, ',')} --> {_clock(part.end, ',')}\n{part.text}\n"
        for number, part in enumerate(segments, start=1)
    )


def vtt(segments: Iterable[Segment]) -> str:
    r"""Return segments as WebVTT subtitles.

    >>> vtt([Segment(start=0, end=1.5, text="A < B")])
    'WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nA &lt; B\n'
    """
    cues = [
        f"{_clock(part.start, '.')} --> {_clock(part.end, '.')}\n{_escaped(part.text or '')}\n"
        for part in segments
    ]
    return "\n".join(["WEBVTT\n", *cues])


def _clock(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}{point}{milliseconds:03}"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
