"""Compare our scorers with what the official ones say, and write `docs/evaluation/scorers.md`.

python benchmarks/scorer_parity.py ../shared/data docs/evaluation/scorers.md
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from desta.evaluation import dynamic_superb, mmau, sakura, voicebench
from desta.evaluation.metrics import Estimate
from desta.evaluation.voicebench_answers import read_bbh, read_choice

PHRASINGS = {
    "The correct answer is: {text}": 0.907,
    "({letter}) {text}": 0.967,
    "{text}": 1.0,
    "{letter}": 0.002,
}
"""How a perfect model might put its answers -> what the official script then says, unstripped."""
ACCURACIES = {
    "SpeakerCounting_LibriTTS-TestClean": 0.8685,
    "NoiseSNRLevelPrediction_VCTK_MUSAN-Gaussian": 0.8160,
    "SpeechTextMatching_LJSpeech": 0.7985,
    "SpoofDetection_ASVspoof2017": 0.7300,
    "DialogueActClassification_DailyTalk": 0.6210,
    "EnvironmentalSoundClassification_ESC50-Animals": 0.1150,
}


READINGS = """\
An answer may be read in several ways: each reading is a figure of its own, with a standard error.

| module of `desta.evaluation` | reading | what counts |
|---|---|---|
| `mmau` (MMAU, MMAR) | `model_output` | the output as it is, as the official script reads it |
| | `model_prediction` | without `The correct answer is: `, as its README says |
| `sakura` | `judge` | official: a judge's reply in the prescribed form; any other is wrong |
| | `judge, leniently read` | also a judgement in another form |
| | `rule: letter or text` | without a judge, not official: one option named, the right one |
| `dynamic_superb` | `exact match` | official: equal but for case |
| | `consecutive words` | the label's words in a row, and no other option's |
| `voicebench` | `official` | what cannot be read is drawn at random, by seed and item |
| | `expected` | what cannot be read counts its chance, 1/4 or 1/2 |
| | `lower bound` | SD_QA without PEDANT: half the judge, half "contains the reference" |
| `transcription` | `word error rate` | errors over words, normalised as Whisper's authors do |

```python
from pathlib import Path
from desta.evaluation import dynamic_superb, mmau, sakura, voicebench_files

mmau.score_file(Path("results.json"))  # questions with `model_output`
sakura.score_file(Path("judged.json"), hop="single")  # of the official judge script
dynamic_superb.score_file(Path("predictions.json.gz"))  # {"predictions": [...]}
files = [Path("m-bbh-test-audio.jsonl"), Path("m-openbookqa-test-audio.jsonl")]
voicebench_files.score_files({file: voicebench_files.subset_of(file) for file in files})
```

Each returns a `Report`: the official figures, a cell per reading and group, and `notes` with the
count and an example of everything that was not scored, or drawn.

PEDANT, one half of VoiceBench's SD_QA, is a classifier whose pickled weights its package fetches
when it runs; figures move by 27 points between its versions. It is not run here: give its verdict
as `pedant` in the results file."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One figure or reading, as it should be and as it is."""

    name: str
    expected: str
    ours: str
    equal: bool


def cases(data: Path) -> Iterator[Case]:
    """Yield all comparisons."""
    yield from _mmau(data / "mmau" / "mmau-test-mini.json")
    yield from _dynamic_superb(data / "dynamic_superb")
    yield from _sakura(data / "sakura_dev")
    yield from _voicebench(data / "voicebench")


def mmau_seconds(data: Path) -> float:
    """Return the CPU time in seconds of scoring and aggregating 1,000 items; best of nine."""
    items = mmau.load_items(data / "mmau" / "mmau-test-mini.json")
    outputs = [f"The correct answer is: {item.target}" for item in items]
    times = []
    for _ in range(9):
        start = time.process_time()
        mmau.aggregate([mmau.score_item(i, o) for i, o in zip(items, outputs, strict=True)])
        times.append(time.process_time() - start)
    return min(times)


def _case(name: str, expected: object, ours: object, *, within: float = 0.0) -> Case:
    equal = expected == ours
    if isinstance(expected, float) and isinstance(ours, float):
        equal = abs(expected - ours) <= within
        expected, ours = round(expected, 4), round(ours, 4)
    return Case(name=name, expected=str(expected), ours=str(ours), equal=equal)


def _mmau(path: Path) -> Iterator[Case]:
    items = mmau.load_items(path)
    yield _case("MMAU test-mini: questions", 1000, len(items))
    for phrasing, expected in PHRASINGS.items():
        scores = []
        for item in items:
            letter = "ABCDEFGH"[item.choices.index(item.target)]
            scores.append(mmau.score_item(item, phrasing.format(text=item.target, letter=letter)))
        figure = mmau.aggregate(scores).figures["model_output"]
        yield _case(f"MMAU, all right as `{phrasing}`", expected, figure.value, within=1e-9)


def _dynamic_superb(folder: Path) -> Iterator[Case]:
    listed = json.loads((folder / "phase1_instances_2023-11.json").read_text(encoding="utf-8"))
    theirs = {(row["name"], row["path"], row["version"]) for row in listed}
    ours = {(i.name, i.path, i.revision) for i in dynamic_superb.phase1()}
    yield _case(
        "Dynamic-SUPERB phase 1: instances with Hub path and revision", 57, len(theirs & ours)
    )
    for name, expected in ACCURACIES.items():
        report = dynamic_superb.score_file(folder / f"whisper__{name}.json.gz")
        figure = report.figures[dynamic_superb.EXACT]
        yield _case(f"Dynamic-SUPERB {name}, exact match", expected, figure.value, within=1e-9)


def _sakura(folder: Path) -> Iterator[Case]:
    items = sakura.load_items(folder)
    yield _case("SAKURA dev: questions", 800, len(items))
    path = folder / "judgement_parse_handmade.json"
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1):
        read = sakura.parse_judgement(row["text"])
        name = f"SAKURA, reply {number} of a judge"
        yield _case(name, row["counted_as"], read.counted_as)
        texts = (read.explanation, read.judgement) == (row["Explanation"], row["Judgement"])
        yield _case(f"{name}, explanation and judgement cut out", True, texts)


def _voicebench(folder: Path) -> Iterator[Case]:
    replies = json.loads((folder / "mcq_handmade.json").read_text(encoding="utf-8"))
    for number, row in enumerate(replies, start=1):
        ours = read_choice(row["response"])
        yield _case(f"VoiceBench MCQ, answer {number}", row["official"], ours)
    replies = json.loads((folder / "bbh_handmade.json").read_text(encoding="utf-8"))
    for number, row in enumerate(replies, start=1):
        value = read_bbh(row["response"], row["task"])
        yield _case(f"VoiceBench BBH, answer {number} ({row['task']})", row["official"], value)
    path = folder / "leaderboard_2025-06-12.json"
    for row in json.loads(path.read_text(encoding="utf-8")):
        columns = {c: Estimate(value=row[c], standard_error=0.0) for c in voicebench.COLUMNS}
        figure = voicebench.overall(columns).value
        yield _case(
            f"VoiceBench Overall of {row['model']}", float(row["Overall"]), figure, within=0.005
        )


def _cell(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("|", "\\|")


def page(data: Path) -> str:
    """Return the page, Markdown."""
    found = list(cases(data))
    lines = [
        "# Scorers",
        "",
        READINGS,
        "",
        "## Case by case",
        "",
        "Written by `python benchmarks/scorer_parity.py DATA docs/evaluation/scorers.md`. "
        "Expected is what the official scorers say: of result files that others published, of "
        "answers made by hand (by their number), of a leaderboard's rows. "
        "None means that the official code draws at random.",
        "",
        f"{sum(case.equal for case in found)} of {len(found)} cases agree.",
        "",
        "| case | expected | ours | |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {_cell(c.name)} | {_cell(c.expected)} | {_cell(c.ours)} | "
        f"{'equal' if c.equal else '**differs**'} |"
        for c in found
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page(source), encoding="utf-8")
    print(f"1,000 items of MMAU: {mmau_seconds(source):.3f} s of CPU time")
