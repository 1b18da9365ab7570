"""Report sections of the benchmark `attributes`: scores, confusion matrices, clips to play.

They are made from `scores.json` and `results.jsonl` of the evaluation.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from desta import audio
from desta.errors import DataError
from desta.evaluation.baselines import title_of
from desta.records import NO_TRANSCRIPTION
from desta.reports.html import matrix, paragraph, percent, table

NUM_CLIPS = 12
_MODEL, _CHANCE = "model", "chance"  # ids of systems in scores.json

JsonObject = Mapping[str, Any]


def headline(scores: JsonObject) -> Iterator[tuple[str, str, str, str]]:
    """Yield (title, value, uncertainty, comparison) of each task and group."""
    for task, group in _cells(scores):
        cell = _cell(scores, _MODEL, task, group)
        if "balanced_accuracy" not in cell:
            continue
        score = cell["balanced_accuracy"]
        others = [
            f"{title_of(system)} {percent(other['balanced_accuracy']['value'])}"
            for system in _systems(scores)
            if system != _MODEL
            and "balanced_accuracy" in (other := _cell(scores, system, task, group))
        ]
        yield (
            f"{task}, {group}",
            percent(score["value"]),
            f"± {100 * score['standard_error']:.1f}",
            " · ".join(others),
        )


def describe_scores(scores: JsonObject) -> Iterator[str]:
    """Yield the table of scores, skipped clips, and the model's confusion matrices."""
    if not scores:
        yield paragraph(
            "Not evaluated yet: run `desta eval attributes` with this run as its model.", "missing"
        )
        return
    yield paragraph(
        "Every held-out clip was asked about with its transcription withheld. An answer is right "
        "if it names the value, and no other value of the closed set. Values are balanced "
        "accuracies (means of the recalls of the classes) ± one standard error; chance is what "
        "answers reach that do not depend on the clip: 1 / number of classes asked about."
    )
    rows: list[list[str | int]] = []
    for task, group in _cells(scores):
        model = _cell(scores, _MODEL, task, group)
        scored = model.get("num_examples", 0) - model.get("num_skipped", 0)
        values = [_score(_cell(scores, s, task, group)) for s in _systems(scores)]
        rows.append([task, group, scored, *values])
    yield table(["task", "clips", "asked", *map(title_of, _systems(scores))], rows)
    if scores["skipped"]:
        lost = [[row["reason"], row["count"], row["example"]] for row in scores["skipped"]]
        yield table(["skipped because", "count", "example"], lost)
    for cell in scores["scores"]:
        if cell["system"] == _MODEL and "confusion" in cell:
            yield _confusion(cell)


def describe_clips(scores: JsonObject, results: Sequence[JsonObject]) -> Iterator[str]:
    """Yield held-out clips with players, each with question, transcription and answer."""
    named: dict[str, str | None] = {}
    for cell in scores.get("scores", ()):
        if cell["system"] == _MODEL:
            named |= cell.get("named", {})
    chosen = choose_clips(results, named)
    if not chosen:
        yield paragraph("No answers yet: run `desta eval attributes` first.", "missing")
        return
    yield paragraph(
        "Chosen in turn from every task, group and target, wrong answers as often as right ones: "
        "look at them to understand, not to count.",
        "soft",
    )
    yield f'<div class="clips">{"".join(_clip(r, named[r["id"]]) for r in chosen)}</div>'


def _clip(result: JsonObject, named: str | None) -> str:
    right = named == result["target"]
    spoken = result["transcription"]
    texts = [clip["text"] for message in result["prompt"] for clip in message.get("audios", ())]
    withheld = set(texts) == {NO_TRANSCRIPTION}
    transcription = f"{spoken} (withheld from the model)" if withheld else spoken
    lines = [
        ("question", result["question"], ""),
        *([("transcription", transcription, "")] if spoken != NO_TRANSCRIPTION else []),
        ("answer", result["output"] or "(empty)", "right" if right else "wrong"),
        ("right is", result["target"], ""),
    ]
    items = "".join(
        f'<dt>{escape(name)}</dt><dd class="{kind}">{escape(text)}</dd>'
        for name, text, kind in lines
    )
    players = "".join(player(Path(path)) for path in result["audio"])
    note = f"{result['groups']['group']} · {'right' if right else 'wrong'}"
    return (
        f'<div class="clip">{players}<dl>{items}</dl><span class="soft">{escape(note)}</span></div>'
    )


def player(path: Path, *, max_seconds: float | None = None) -> str:
    """Return an audio element with an embedded recording.

    Args:
        path: the recording; if it cannot be read, a message replaces the player.
        max_seconds: length after which it is cut; None keeps all of it.
    """
    try:
        samples = audio.load_audio(path)
    except DataError as error:
        return paragraph(f"Cannot be played: {error.message}", "missing")
    shown = samples[: None if max_seconds is None else round(max_seconds * audio.SAMPLE_RATE)]
    element = f'<audio controls preload="none" src="{embed(shown)}"></audio>'
    if len(shown) == len(samples):
        return element
    return element + paragraph(f"the first {max_seconds:.0f} s", "soft")


def embed(samples: NDArray[np.float32]) -> str:
    """Return samples (16 kHz) as a data URI in MP3, which every browser plays."""
    file = io.BytesIO()
    soundfile.write(file, samples, audio.SAMPLE_RATE, format="MP3")
    return f"data:audio/mpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def choose_clips(
    results: Sequence[JsonObject], named: JsonObject, count: int = NUM_CLIPS
) -> list[JsonObject]:
    """Choose results to show, in turn from every task, group and target, right and wrong.

    Args:
        results: lines of `results.jsonl`.
        named: id -> class that the answer names, or None.
        count: most results.
    """
    strata: dict[tuple[str, str, bool], dict[str, list[JsonObject]]] = {}
    for result in sorted(results, key=lambda result: str(result["id"])):
        if result["system"] == _MODEL and result["id"] in named:
            right = named[result["id"]] == result["target"]
            place = result["groups"]["task"], result["groups"]["group"]
            by_target = strata.setdefault((*place, right), {})
            by_target.setdefault(result["target"], []).append(result)
    in_turn = (_round_robin(list(by_target.values())) for by_target in strata.values())
    return list(_round_robin([list(stratum) for stratum in in_turn]))[:count]


def _round_robin(lists: Sequence[Sequence[JsonObject]]) -> Iterator[JsonObject]:
    for layer in zip_longest(*lists):
        yield from (item for item in layer if item is not None)


def _confusion(cell: JsonObject) -> str:
    asked = [i for i, counts in enumerate(cell["confusion"]) if sum(counts)]
    return matrix(
        [cell["classes"][i] for i in asked],
        [*cell["classes"], "none"],
        [cell["confusion"][i] for i in asked],
        f"{cell['task']}, {cell['group']}: what was named (columns) where what was right (rows); "
        "none: no class, or several.",
    )


def _cells(scores: JsonObject) -> list[tuple[str, str]]:
    return list(dict.fromkeys((c["task"], c["group"]) for c in scores.get("scores", ())))


def _systems(scores: JsonObject) -> list[str]:
    """Return the systems, the model first and chance last."""
    found = dict.fromkeys(cell["system"] for cell in scores.get("scores", ()))
    return sorted(found, key=lambda system: (system != _MODEL, system == _CHANCE))


def _cell(scores: JsonObject, system: str, task: str, group: str) -> JsonObject:
    wanted = {"system": system, "task": task, "group": group}
    return next((c for c in scores["scores"] if wanted.items() <= c.items()), {})


def _score(cell: JsonObject) -> str:
    if "balanced_accuracy" not in cell:
        return "-"
    estimate = cell["balanced_accuracy"]
    if cell["system"] == _CHANCE:
        return percent(estimate["value"])
    return f"{percent(estimate['value'])} ± {100 * estimate['standard_error']:.1f}"
