"""SAKURA as it is published: its questions, and results files of others."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from desta import audio
from desta.construction.description import describe_clip
from desta.errors import ConfigError, DataError
from desta.evaluation.base import Item, ReadOptions, Result, form_messages, plain
from desta.evaluation.baselines import tell
from desta.evaluation.benchmarks.sakura.score import HOPS, counted_as, score_judged
from desta.evaluation.published_files import (
    answered,
    check_unique,
    field_of,
    read_each,
    read_json_values,
    text_of,
    why_no_text,
)
from desta.evaluation.recipe import BenchmarkFiles
from desta.records import LOCATOR, Clip

TRACKS = ("Animal", "Emotion", "Gender", "Language")
SYSTEM = "Focus on the audio clips and instructions."
"""As DeSTA2.5-Audio was asked; the benchmark itself prescribes no system prompt."""


def load(files: BenchmarkFiles) -> list[Item]:
    """Read the questions."""
    return load_items(files.place(), files.chosen(TRACKS))


def load_items(root: Path, tracks: Sequence[str] = TRACKS) -> list[Item]:
    """Read the questions: for each clip of each track the single-hop and the multi-hop one.

    Args:
        root: holds `<track>/metadata.json` and `<track>/audio/`, itself or in `data/`.
        tracks: which of them.

    Raises:
        DataError: a file is missing or broken, or an answer has no letter of its options.
    """
    root = root / "data" if (root / "data").is_dir() else root
    items = []
    for track in tracks:
        path = root / track / "metadata.json"
        table = read_json_values(path)
        if not isinstance(table, dict) or not table:
            raise DataError(f"{path} is not a table of clips", fix="fetch that file again")
        for key, record in table.items():
            clip = root / track / "audio" / Path(key).name
            for hop in HOPS:
                where = f"{path}: {key}"
                question = field_of(record, f"{hop}_instruction", str, where)
                target = field_of(record, f"{hop}_answer", str, where)
                item = _item(track, hop, clip, question, target, where)
                label = field_of(record, "attribute_label", str, where)
                items.append(replace(item, described=tell(item, _describe(track, label, clip))))
    check_unique((item.id for item in items), str(root))
    return items


def read_published(paths: Sequence[Path], options: ReadOptions) -> list[Result]:
    """Read files of the official scripts: answers, or answers with judgements.

    They are `{"results": {clip: {instruction, label, response}}}`, or of the judge
    `{"results": {clip: {instruction, label, model_response, Explanation, Judgement}}}`.

    Raises:
        ConfigError: a file's name does not tell which question of each clip it answers, and the
            options do not either.
        DataError: a file is missing or broken.
    """
    return read_each(paths, lambda path: _read_file(path, options.subset or _hop_of(path)))


def _hop_of(path: Path) -> str | None:
    hops = [hop for hop in HOPS if re.search(rf"(?<![a-z]){hop}(?![a-z])", path.name.lower())]
    return hops[0] if len(hops) == 1 else None


def _read_file(path: Path, hop: str | None) -> list[Result]:
    if hop not in HOPS:
        raise ConfigError(
            f"{path.name} does not tell which question of each clip it answers",
            fix=f"give --subset {' or --subset '.join(HOPS)}",
        )
    value = read_json_values(path)
    table = value.get("results") if isinstance(value, dict) else None
    if not isinstance(table, dict) or not table:
        raise DataError(f"{path} has no table 'results'", fix="give a file of the official scripts")
    return [_read_answer(key, record, hop, path) for key, record in table.items()]


def _read_answer(key: str, record: Any, hop: str, path: Path) -> Result:
    where = f"{path}: {key}"
    question = field_of(record, "instruction", str, where)
    label = field_of(record, "label", str, where)
    item = _item(_track(key, path), hop, Path(key), question, label, where)
    output = text_of(record, "model_response", "response")
    judgement = text_of(record, "Judgement")
    judged = lenient = None
    replies: tuple[str, ...] = ()
    if judgement is not None:
        replies = (f"Explanation: {record.get('Explanation', '')}\nJudgement: {judgement}",)
        named = re.search(r"\b(correct|incorrect)\b", judgement, re.IGNORECASE)
        judged, lenient = counted_as(judgement), named.group().lower() if named else None
    return answered(
        item,
        output,
        lambda item, output, _: score_judged(item, output, judged, lenient),
        replies=replies,
        instead=why_no_text(record, "model_response", "response"),
    )


def split_options(question: str) -> dict[str, str]:
    """Return letter -> text of the options that a question ends in: `... (a) x (b) y`."""
    options: dict[str, str] = {}
    starts: list[int] = []
    end = len(question)
    for letter in "abcdefgh":
        at = question.find(f"({letter})", starts[-1] if starts else 0, end)
        if at < 0:
            break
        starts.append(at)
    for letter, at, stop in zip("abcdefgh", starts, [*starts[1:], end], strict=False):
        options[letter] = question[at + 3 : stop].strip()
    return options


def _item(track: str, hop: str, clip: Path, question: str, target: str, where: str) -> Item:
    target = target.strip()  # 300 answers of the emotion track begin with a space
    options = split_options(question)
    choices = tuple(f"({letter}) {text}" for letter, text in options.items())
    if target[1:2] not in options or not target.startswith(f"({target[1]})"):
        raise DataError(
            f"{where}: the answer {target!r} has no letter of the options of {question!r}",
            fix="fetch that file again; another version of it may differ",
        )
    return Item(
        id=f"{track}/{clip.name}/{hop}",
        messages=form_messages(SYSTEM, f"{LOCATOR}\n\n{plain(question)}", [clip]),
        question=question,
        target=target,
        choices=choices,
        groups={"track": track, "hop": hop},
        record={"options": options},
    )


def _describe(track: str, label: str, clip: Path) -> str:
    """Return the seed description; without its times where the clip is missing or broken."""
    try:
        seconds = audio.probe_duration(clip)
    except DataError:
        return f"({track}: {label})"
    known = Clip(
        id=clip.name,
        source="sakura",
        audio=clip.name,
        duration=seconds,
        domain="sound" if track == "Animal" else "speech",
        attributes={track: label},
    )
    return describe_clip(known)


def _track(key: str, path: Path) -> str:
    """Return the track that the path of a clip names, or else that of the results file."""
    named = [part for part in Path(key).parts if part in TRACKS]
    named += [track for track in TRACKS if track.lower() in path.name.lower()]
    return named[0] if named else "unknown track"
