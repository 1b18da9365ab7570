"""Check rendered speech: is its language heard, and its words?

    python scripts/rendered_speech.py FOLDER [--clips 1] [--json FILE]

FOLDER is one of `desta render speech`. Whisper-base names the language of the first clips of each
voice, and writes them down in the language that they are in. Errors are of words, in Chinese and
Japanese of characters.
"""

import argparse
import json
import shlex
import sys
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from desta.audio import load_audio
from desta.audio.windows import WINDOW_SAMPLES
from desta.environment import environment
from desta.evaluation.wer import WordErrors, count_word_errors, normalise
from desta.inference.transcribe import Transcriber
from desta.model.encoder.mel import MelExtractor
from desta.model.hub import zoo
from desta.records import read_jsonl
from desta.sources.rendered.folder import TABLE
from desta.sources.rendered.voices import VOICES

WHISPER = "openai/whisper-base"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """A clip as Whisper hears it."""

    voice: str
    language: str
    heard: str
    """Language that Whisper names."""
    text: str
    transcription: str
    errors: WordErrors


def main() -> int:
    """Print a table by language and one by voice."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=1, help="clips of each voice")
    parser.add_argument("--json", type=Path, help="file for every clip")
    arguments = parser.parse_args()
    rows = []
    counts: Counter[str] = Counter()
    for row in read_jsonl(arguments.folder / TABLE):
        if "voice" in row and counts[row["voice"]] < arguments.clips:
            counts[row["voice"]] += 1
            rows.append(row)
    transcriber = Transcriber.load(zoo.resolve(WHISPER))
    heard = [listen(transcriber, arguments.folder, row) for row in rows]
    by_language = defaultdict(list)
    by_voice = defaultdict(list)
    for clip in heard:
        by_language[clip.language].append(clip)
        by_voice[clip.voice].append(clip)
    print("| | clips | language named | others | errors |\n|---|---|---|---|---|")
    for name, clips in [*by_language.items(), ("all", heard), *by_voice.items()]:
        print(line(name, clips))
    if arguments.json:
        facts = environment() | {"command": shlex.join(["python", *sys.argv])}
        text = json.dumps(
            {"facts": facts, "clips": [asdict(clip) for clip in heard]},
            indent=1,
            ensure_ascii=False,
        )
        arguments.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


@torch.no_grad()
def listen(transcriber: Transcriber, folder: Path, row: dict[str, str]) -> Heard:
    """Return what Whisper hears in a clip."""
    language = VOICES[row["voice"]].language
    samples = load_audio(folder / row["audio"])[:WINDOW_SAMPLES]
    encoded = transcriber.encoder(
        MelExtractor(transcriber.encoder.num_mel_bins, transcriber.window)([samples])
    )
    control = transcriber.control
    state = transcriber.decoder.start(encoded.last_BTD, None)
    [logits_V] = transcriber.decoder(torch.tensor([[control.start]]), state)
    codes = list(control.languages)
    ids = torch.tensor([control.languages[code] for code in codes])
    [text] = transcriber.transcribe_frames(encoded.last_BTD, None, language=language)
    return Heard(
        voice=row["voice"],
        language=language,
        heard=codes[int(logits_V[ids].argmax())],
        text=row["text"],
        transcription=text,
        errors=count_word_errors(normalise(row["text"], language), normalise(text, language)),
    )


def line(name: str, clips: list[Heard]) -> str:
    """Return a row of the table."""
    right = sum(clip.heard == clip.language for clip in clips)
    others = Counter(clip.heard for clip in clips if clip.heard != clip.language)
    wrong = sum(clip.errors.num_errors for clip in clips)
    words = sum(clip.errors.num_words for clip in clips)
    told = ", ".join(f"{code} {count}" for code, count in others.most_common()) or "-"
    return f"| {name} | {len(clips)} | {right / len(clips):.0%} | {told} | {wrong / words:.1%} |"


if __name__ == "__main__":
    sys.exit(main())
