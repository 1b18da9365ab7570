"""Pane "what the model got": the waveform with its windows, tokens per part, time per stage."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from desta.audio import SAMPLE_RATE, load_audio, split_windows
from desta.serving.page.talk import Clip

_WIDTH, _HEIGHT = 600, 72  # of a waveform, in the units of its SVG
_STAGES = {
    "encode": "audio encoded and transcribed",
    "queue": "waited for a place",
    "prefill": "prompt computed",
    "generate": "answer generated",
}


def pane(clips: Sequence[Clip], chunks: Mapping[str, Any]) -> str:
    """Return the pane as HTML.

    Args:
        clips: of the conversation.
        chunks: `transcriptions`, `usage` and `stage_ms` of the reply.
    """
    facts = chunks.get("transcriptions", [{}] * len(clips))
    figures = [
        _figure(number, clip, fact)
        for number, (clip, fact) in enumerate(zip(clips, facts, strict=True), start=1)
    ]
    return "".join([*figures, _tokens(facts, chunks.get("usage", {})), _stages(chunks)])


def _figure(number: int, clip: Clip, fact: Mapping[str, Any]) -> str:
    samples = load_audio(clip.path)
    windows = split_windows(samples)
    seconds = len(samples) / SAMPLE_RATE
    plural = "window" if len(windows) == 1 else "windows"
    text = f"Clip {number}: {seconds:.1f} s in {len(windows)} {plural}"
    if fact:
        text += f", {fact['audio_tokens']} audio tokens"
    return (
        f"<figure><figcaption>{escape(text)}</figcaption>{waveform(samples, windows)}"
        f"<blockquote>{escape(clip.heard or 'no speech')}</blockquote></figure>"
    )


def waveform(samples: NDArray[np.float32], windows: Sequence[tuple[int, int]]) -> str:
    """Return a waveform as SVG, every other window shaded."""
    scale = _WIDTH / max(1, len(samples))
    bands = "".join(
        f'<rect class="window" x="{start * scale:.1f}" width="{(end - start) * scale:.1f}" '
        f'y="0" height="{_HEIGHT}"><title>{start / SAMPLE_RATE:.1f} to {end / SAMPLE_RATE:.1f} s'
        f"</title></rect>"
        for start, end in windows
    )
    parts = np.array_split(np.abs(samples), min(_WIDTH // 2, max(1, len(samples))))
    peaks = np.array([part.max(initial=0) for part in parts])
    heights = peaks / max(float(peaks.max()), 1e-4) * (_HEIGHT / 2 - 2)
    step = _WIDTH / len(peaks)
    lines = "".join(
        f"M{(number + 0.5) * step:.1f} {_HEIGHT / 2 - height:.1f}v{2 * height + 0.5:.1f}"
        for number, height in enumerate(heights)
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img" '
        f'aria-label="waveform">{bands}<path d="{lines}"/></svg>'
    )


def _tokens(facts: Sequence[Mapping[str, Any]], usage: Mapping[str, Any]) -> str:
    if not usage:
        return ""
    audio = sum(fact["audio_tokens"] for fact in facts)
    text = sum(fact["text_tokens"] for fact in facts)
    rows = {
        "audio": audio,
        "transcription": text,
        "question, earlier turns and format": usage["prompt_tokens"] - audio - text,
        "answer": usage["completion_tokens"],
    }
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    note = f"<p>{cached} tokens of the prompt came from the cache.</p>" if cached else ""
    return _table("Tokens", rows, "{:.0f}") + note


def _stages(chunks: Mapping[str, Any]) -> str:
    measured = chunks.get("stage_ms")
    if not measured:
        return ""
    rows = {_STAGES.get(stage, stage): value for stage, value in measured.items()}
    return _table("Milliseconds", rows, "{:.0f}")


def _table(title: str, rows: Mapping[str, float], form: str) -> str:
    """Return a table with a bar in each row; the largest fills it."""
    largest = max([*rows.values(), 1])
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{form.format(value)}</td>'
        f'<td aria-hidden="true"><i style="width:{100 * value / largest:.1f}%"></i></td></tr>'
        for name, value in rows.items()
    )
    return f"<table><caption>{title}</caption>{lines}</table>"
