"""Layout of the page and what its controls do."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import gradio as gr

from desta.audio import SUFFIXES
from desta.errors import DataError, DestaError
from desta.serving.limits import MEBI
from desta.serving.page.api import stream_answer
from desta.serving.page.got import pane
from desta.serving.page.snippets import as_curl, as_python
from desta.serving.page.talk import Clip, Settings, Talk, Turn, body_of

COOKIE = "desta_token"
"""Cookie with the token of a visitor."""
_QUESTIONS = (
    "What is said?",
    "Who speaks, and in which mood?",
    "What else can be heard?",
    "Summarize the recording in one sentence.",
)
_BASE64 = 3 / 4  # bytes in a letter
_EMPTY = "<p>After the first answer: the waveform, and where tokens and time went.</p>"


def build(
    *, model: str, max_clips: int, max_bytes: int, max_tokens: int, temperature: float
) -> gr.Blocks:
    """Create the page.

    Args:
        model: name of the model.
        max_clips: most clips of a conversation.
        max_bytes: largest body of a request to the server.
        max_tokens: length of answers, until it is set otherwise.
        temperature: likewise.
    """
    with gr.Blocks(title="desta", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        talk = gr.State(Talk())
        with gr.Sidebar(open=False, label="Settings"):
            settings = _settings(max_tokens, temperature)
        gr.Markdown("# desta\nRecord or drop clips, and ask about what is heard.")
        with gr.Row():
            with gr.Column(scale=3, min_width=320):
                chat = gr.Chatbot(
                    label="Conversation",
                    height="55vh",
                    buttons=["copy"],
                    examples=[{"text": question} for question in _QUESTIONS],
                    placeholder="Add a clip below, then ask; or speak the question.",
                    elem_id="chat",
                )
                question = gr.MultimodalTextbox(
                    label="Clips and question",
                    show_label=False,
                    sources=["microphone", "upload"],
                    file_types=sorted(SUFFIXES),
                    file_count="multiple",
                    placeholder="Your question",
                    stop_btn=True,
                    autofocus=True,
                    elem_id="question",
                )
                clear = gr.Button(
                    "New conversation", variant="secondary", size="sm", elem_id="clear"
                )
            with gr.Column(scale=2, min_width=320):
                gr.Markdown("## What the model got")
                got = gr.Markdown(_EMPTY, sanitize_html=False, elem_id="got")  # HTML of our own
                boxes = [_box(number) for number in range(1, max_clips + 1)]
                again = gr.Button("Ask again with these transcriptions", visible=False)
                with gr.Accordion("The same from code", open=False, elem_id="code"):
                    curl = _code("curl")
                    python = _code("Python")
        controls = _Controls(model, max_clips, max_bytes)
        shown = [talk, chat, question, got, again, curl, python, *boxes]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        asked: list[dict[str, Any]] = [
            question.submit(controls.ask, [talk, question, *settings], shown, **quiet),
            again.click(controls.ask_again, [talk, *settings, *boxes], shown, **quiet),
        ]
        question.stop(None, cancels=asked, **quiet)
        gr.on([clear.click, chat.clear], controls.clear, None, shown, cancels=asked, **quiet)
        chat.example_select(_fill, question, question, **quiet)
    return page.queue(default_concurrency_limit=None)


def theme() -> gr.themes.Base:
    """Return a theme with the fonts of the system and contrasts of at least 4.5."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        font=("system-ui", "sans-serif"),
        font_mono=("ui-monospace", "monospace"),
    ).set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_text_color="white",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
    )


def _settings(max_tokens: int, temperature: float) -> list[Any]:
    gr.Markdown("## Settings")
    return [
        gr.Textbox(label="System prompt", info="Empty: that of the training data", lines=3),
        gr.Slider(1, 2048, max_tokens, step=1, label="Longest answer, in tokens"),
        gr.Slider(0, 2, temperature, step=0.05, label="Temperature", info="0 is greedy"),
        gr.Slider(0.05, 1, 1, step=0.05, label="Top p"),
        gr.Number(None, label="Seed", precision=0),
    ]


def _code(label: str) -> gr.Code:
    """Create a field to be copied from; colours of a language would be too pale to read."""
    return gr.Code(label=label, language=None, interactive=False, wrap_lines=True)


def _box(number: int) -> gr.Textbox:
    return gr.Textbox(
        label=f"Transcription of clip {number}",
        info="Edit it, and ask again",
        lines=2,
        visible=False,
        elem_id=f"transcription-{number}",
    )


def _fill(value: Mapping[str, Any], chosen: gr.SelectData) -> dict[str, Any]:
    """Put an example question beside the clips that were added."""
    return {"text": chosen.value["text"], "files": value["files"]}


class _Controls:
    """Handlers of the controls; each yields new values of all that is shown."""

    def __init__(self, model: str, max_clips: int, max_bytes: int) -> None:
        self._model = model
        self._max_clips = max_clips
        self._max_bytes = max_bytes

    async def ask(
        self, visitor: gr.Request, talk: Talk, asked: Mapping[str, Any], *settings: Any
    ) -> AsyncIterator[list[Any]]:
        """Ask a new question."""
        turn = Turn(asked["text"].strip(), [Clip(Path(path)) for path in asked["files"]])
        if not (turn.question or turn.clips):
            yield self._shown(talk)
            return
        talk = Talk([*talk.turns, turn])
        async for shown in self._answer(talk, Settings(*settings), visitor, asked):
            yield shown

    async def ask_again(
        self, visitor: gr.Request, talk: Talk, *values: Any
    ) -> AsyncIterator[list[Any]]:
        """Repeat the last question with the transcriptions that were edited."""
        settings, texts = values[: -self._max_clips], values[-self._max_clips :]
        for clip, text in zip(talk.clips, texts, strict=False):
            if text.strip() != clip.heard:
                clip.edited = text.strip()
        async for shown in self._answer(talk, Settings(*settings), visitor, None):
            yield shown

    async def _answer(
        self,
        talk: Talk,
        settings: Settings,
        visitor: gr.Request,
        asked: Mapping[str, Any] | None,
    ) -> AsyncIterator[list[Any]]:
        turn = talk.turns[-1]
        turn.answer = ""
        facts: dict[str, Any] = {}
        yield self._shown(talk, asked={"text": "", "files": []})
        url, token = _server_of(visitor)
        try:
            self._check(talk)
            body = await asyncio.to_thread(body_of, talk, settings, model=self._model)
            async for chunk in stream_answer(url, token, body):
                facts |= {key: chunk[key] for key in _FACTS if chunk.get(key)}
                for clip, fact in zip(talk.clips, chunk.get("transcriptions", ()), strict=False):
                    clip.heard = fact["text"]
                for choice in chunk["choices"]:
                    turn.answer += choice["delta"].get("content") or ""
                yield self._shown(talk, heard="transcriptions" in chunk)
        except DestaError as error:
            if asked is None:
                yield self._shown(talk, note=str(error))
            else:  # as if it had never been asked, to be corrected
                yield self._shown(Talk(talk.turns[:-1]), note=str(error), asked=asked)
            return
        html = await asyncio.to_thread(pane, talk.clips, facts)
        code = [
            write(talk, settings, model=self._model, url=_seen_at(visitor), with_token=bool(token))
            for write in (as_curl, as_python)
        ]
        yield self._shown(talk, html=html, code=code)

    def _check(self, talk: Talk) -> None:
        """Refuse clips that the server would refuse, before all of them are read into memory."""
        size = sum(clip.path.stat().st_size for clip in talk.clips)
        if len(talk.clips) > self._max_clips or size > self._max_bytes * _BASE64:
            raise DataError(
                f"the conversation has {len(talk.clips)} clips of {size / MEBI:.0f} MiB; this "
                f"server takes {self._max_clips} and {self._max_bytes * _BASE64 / MEBI:.0f} MiB",
                fix="begin a new conversation, with fewer or shorter clips",
            )

    def clear(self) -> list[Any]:
        """Begin a new conversation."""
        return self._shown(Talk(), html=_EMPTY, code=["", ""], asked={"text": "", "files": []})

    def _shown(
        self,
        talk: Talk,
        *,
        html: str | None = None,
        code: Sequence[str] | None = None,
        note: str | None = None,
        asked: Mapping[str, Any] | None = None,
        heard: bool = True,
    ) -> list[Any]:
        """Return the values of talk, chat, question, got, again, curl, python and the boxes.

        The boxes are left alone unless something new was `heard`.
        """
        clips = talk.clips
        boxes: list[Any] = [gr.skip()] * self._max_clips
        if heard:
            boxes = [gr.update(visible=True, value=clip.heard) for clip in clips]
            boxes += [gr.update(visible=False)] * (self._max_clips - len(clips))
        return [
            talk,
            [*_messages(talk), *([_note(note)] if note else [])],
            gr.skip() if asked is None else asked,
            gr.skip() if html is None else html,
            gr.update(visible=any(turn.answer for turn in talk.turns) and bool(clips)),
            *([gr.skip()] * 2 if code is None else code),
            *boxes[: self._max_clips],
        ]


_FACTS = ("transcriptions", "usage", "stage_ms")


def _messages(talk: Talk) -> list[dict[str, Any]]:
    """Return the conversation as the chat shows it."""
    messages: list[dict[str, Any]] = []
    for turn in talk.turns:
        shown = [{"role": "user", "content": {"path": str(clip.path)}} for clip in turn.clips]
        messages += shown
        if turn.question:
            messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer or "…"})
    return messages


def _note(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "metadata": {"title": "Not answered"}}


def _server_of(visitor: gr.Request) -> tuple[str, str | None]:
    """Return this server's own address, and the visitor's token."""
    assert visitor.request is not None
    host, port = visitor.request.scope["server"]
    name = f"[{host}]" if ":" in host else host
    token = visitor.request.cookies.get(COOKIE)
    return f"http://{name}:{port}", None if token is None else unquote(token)


def _seen_at(visitor: gr.Request) -> str:
    """Return the address at which the visitor reaches the server."""
    assert visitor.request is not None
    url = visitor.request.url
    return f"{url.scheme}://{url.netloc}"
