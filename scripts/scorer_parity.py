"""Compare our scorers with the official ones, and write `docs/evaluation/scorers.md`.

The exit code is 1 if anything differs.

python scripts/scorer_parity.py ../shared/data docs/evaluation/scorers.md
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from desta.evaluation.base import Benchmark, Item, ReadOptions, Result
from desta.evaluation.benchmarks import dynamic_superb, mmau, sakura, speech_ifeval
from desta.evaluation.benchmarks.speech_ifeval.score import FOLLOWED, read_decision
from desta.evaluation.benchmarks.voicebench import score as voicebench
from desta.evaluation.benchmarks.voicebench.parse import read_bbh, read_choice
from desta.evaluation.metrics import Estimate, Report, find
from desta.evaluation.wer import normalise_basically

PHRASINGS = {
    "The correct answer is: {text}": 0.907,
    "({letter}) {text}": 0.967,
    "{text}": 1.0,
    "{letter}": 0.002,
}
"""Phrasing of a perfect model's answers -> accuracy of the official script, unstripped."""
ACCURACIES = {
    "SpeakerCounting_LibriTTS-TestClean": 0.8685,
    "NoiseSNRLevelPrediction_VCTK_MUSAN-Gaussian": 0.8160,
    "SpeechTextMatching_LJSpeech": 0.7985,
    "SpoofDetection_ASVspoof2017": 0.7300,
    "DialogueActClassification_DailyTalk": 0.6210,
    "EnvironmentalSoundClassification_ESC50-Animals": 0.1150,
}
DIFFERS = "**differs**"
OUTPUTS = "meta-llama--Meta-Llama-3-8B-Instruct"
"""Model whose outputs Speech-IFEval publishes."""
FIGURES: dict[str, dict[str, str]] = {
    "rule_eval@closed_ended_questions": {
        "closed-ended, followed": "871/933",
        "group change_case": "0.972",
        "group json_format": "0.908",
        "group startend": "0.915",
        "group wrapping": "0.9356",
    },
    "rule_eval@creative_writing": {
        "creative writing, followed": "375/400",
        "group bullet_lists": "0.95",
        "group keywords": "0.94",
        "group length_constraints": "0.93",
    },
    "llm_eval@chain-of-thought": {"chain of thought, reasons": "140/200"},
    "tmp@closed_ended_questions-woprompt": {
        "word error rate": "0.07909875359539789",
        "accuracy Speech_emotion_recognition": "0.67",
        "accuracy Gender_recognition": "0.86",
        "accuracy MMAU": "0.489489",
    },
}
"""Published file of Speech-IFEval -> figures of the official scorers for its outputs (accuracy of
MMAU: 0.4894894894894895)."""

METRICS = """\
An answer may be scored by several metrics: each gives figures of its own, with standard errors.
Files hold these ids; tables and reports show a longer title of some, `wer` as "word error rate".

| module of `desta.evaluation` | metric | what counts |
|---|---|---|
| `mmau` (MMAU, MMAR) | `model_output` | the output as it is, as the official script reads it |
| | `model_prediction` | without `The correct answer is: `, as its README says |
| `sakura` | `judge` | official: a judge's reply in the prescribed form; any other is wrong |
| | `judge_lenient` | also a judgement in another form |
| | `rule` | without a judge, not official: one option named, the right one |
| `dynamic_superb` | `exact_match` | official: equal but for case |
| | `consecutive_words` | the label's words in a row, and no other option's |
| `voicebench` | `official` | what cannot be read is drawn at random, by seed and item |
| | `expected` | what cannot be read counts its chance, 1/4 or 1/2 |
| | `lower_bound` | SD_QA without PEDANT: half the judge, half "contains the reference" |
| `transcription` | `wer` | official: normalised as Whisper's authors do |
| | `wer_by_script` | vowel signs count ([more](transcription.md)) |
| | `cer_by_script` | the same, of languages without spaces |
| `probe` | `accuracy` | the right value named and no other, in the form that is prescribed |
| | `form` | the prescribed form alone, right or wrong |

```python
from pathlib import Path
from desta.evaluation.benchmarks.table import find_benchmark
from desta.evaluation.published import read_results_files, score_published

files = [Path("m-bbh-test-audio.jsonl"), Path("m-openbookqa-test-audio.jsonl")]
score_published(read_results_files(find_benchmark("voicebench"), files))
judged = read_results_files(find_benchmark("sakura"), [Path("judged.json")], subset="single")
score_published(judged)
```

That is what `desta score` prints as JSON: the figures, a cell per metric and group, and `remarks`
with the count and an example of everything that was not scored, or drawn.

PEDANT, one half of VoiceBench's SD_QA, is a classifier whose pickled weights its package fetches
when it runs; figures move by 27 points between its versions. It is not run here: give its verdict
as `pedant` in the results file."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One comparison of a figure or reading with the official one."""

    name: str
    expected: str
    ours: str
    equal: bool


def cases(data: Path) -> Iterator[Case]:
    """Yield all cases."""
    yield from _mmau(data / "mmau" / "mmau-test-mini.json")
    yield from _dynamic_superb(data / "dynamic_superb")
    yield from _sakura(data / "sakura_dev")
    yield from _voicebench(data / "voicebench")
    yield from _speech_ifeval(data / "speech_ifeval")


def mmau_seconds(data: Path) -> float:
    """Return the CPU time in seconds of scoring and aggregating 1,000 items; best of nine."""
    items = mmau.MMAU_FORMAT.load_items(data / "mmau" / "mmau-test-mini.json")
    outputs = [f"The correct answer is: {item.target}" for item in items]
    times = []
    for _ in range(9):
        start = time.process_time()
        _report(mmau.MMAU, [_result(mmau.MMAU, *pair) for pair in zip(items, outputs, strict=True)])
        times.append(time.process_time() - start)
    return min(times)


def _result(benchmark: Benchmark, item: Item, output: str) -> Result:
    return Result(item=item, output=output, score=benchmark.score(item, output, ()))


def _report(benchmark: Benchmark, results: list[Result]) -> Report:
    return benchmark.aggregate(results)


def _read(benchmark: Benchmark, path: Path) -> list[Result]:
    assert benchmark.published is not None
    return benchmark.published.read([path], ReadOptions())


def _case(name: str, expected: object, ours: object, *, within: float = 0.0) -> Case:
    equal = expected == ours
    if isinstance(expected, float) and isinstance(ours, float):
        equal = abs(expected - ours) <= within
        expected, ours = round(expected, 4), round(ours, 4)
    return Case(name=name, expected=str(expected), ours=str(ours), equal=equal)


def _mmau(path: Path) -> Iterator[Case]:
    items = mmau.MMAU_FORMAT.load_items(path)
    yield _case("MMAU test-mini: questions", 1000, len(items))
    for phrasing, expected in PHRASINGS.items():
        results = []
        for item in items:
            letter = "ABCDEFGH"[item.choices.index(item.target)]
            answer = phrasing.format(text=item.target, letter=letter)
            results.append(_result(mmau.MMAU, item, answer))
        figure = _report(mmau.MMAU, results).headline["model_output"]
        yield _case(f"MMAU, all right as `{phrasing}`", expected, figure.value, within=1e-9)


def _dynamic_superb(folder: Path) -> Iterator[Case]:
    listed = json.loads((folder / "phase1_instances_2023-11.json").read_text(encoding="utf-8"))
    theirs = {(row["name"], row["path"], row["version"]) for row in listed}
    ours = {(i.name, i.path, i.revision) for i in dynamic_superb.phase1()}
    yield _case(
        "Dynamic-SUPERB phase 1: instances with Hub path and revision", 57, len(theirs & ours)
    )
    for name, expected in ACCURACIES.items():
        results = _read(dynamic_superb.BENCHMARK, folder / f"whisper__{name}.json.gz")
        figure = _report(dynamic_superb.BENCHMARK, results).headline[dynamic_superb.EXACT_MATCH]
        yield _case(f"Dynamic-SUPERB {name}, exact match", expected, figure.value, within=1e-9)


def _sakura(folder: Path) -> Iterator[Case]:
    items = sakura.files.load_items(folder)
    yield _case("SAKURA dev: questions", 800, len(items))
    path = folder / "judgement_parse_handmade.json"
    for number, row in enumerate(json.loads(path.read_text(encoding="utf-8")), start=1):
        read = sakura.score.parse_judgement(row["text"])
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


def _speech_ifeval(folder: Path) -> Iterator[Case]:
    for stem, figures in FIGURES.items():
        path = next((folder / OUTPUTS).glob(f"{stem}.jsonl*"))
        results = _read(speech_ifeval.BENCHMARK, path)
        report = _report(speech_ifeval.BENCHMARK, results)
        for name, expected in figures.items():
            yield _case(f"Speech-IFEval `{stem}`, {name}", expected, _figure(name, results, report))
        if known := [r.claimed[FOLLOWED] == _followed(r) for r in results if FOLLOWED in r.claimed]:
            yield _all_of(f"Speech-IFEval `{stem}`, items with the same flags", known)
    handmade = json.loads((folder / "parse_handmade.json").read_text(encoding="utf-8"))
    replies = [_read_alike(case) for case in handmade["extract_result"]]
    yield _all_of("Speech-IFEval, replies of a judge read alike", replies)
    texts = [normalise_basically(c["text"]) == c["official"] for c in handmade["normalize_text"]]
    yield _all_of("Speech-IFEval, texts normalised alike", texts)


def _all_of(name: str, alike: list[bool]) -> Case:
    return _case(name, f"{len(alike)}/{len(alike)}", f"{sum(alike)}/{len(alike)}")


def _followed(result: Result) -> bool:
    return result.score.values[FOLLOWED] == 1.0


def _figure(name: str, results: list[Result], report: Report) -> str:
    kind, _, what = name.partition(" ")
    if name.endswith(("followed", "reasons")):
        return f"{sum(map(_followed, results))}/{len(results)}"
    if name == "word error rate":
        (rate,) = (found for key, found in report.headline.items() if key.endswith(name))
        return repr(rate.value)
    if kind == "group":
        group = find(report.cells, FOLLOWED, "group", what).estimate
        return f"{group.value:.4f}".rstrip("0") if group else "-"
    (accuracy,) = (found for key, found in report.headline.items() if key.endswith(f", {what}"))
    return f"{accuracy.value:.6f}".rstrip("0")


def _read_alike(case: dict[str, Any]) -> bool:
    decision = read_decision(case["text"])
    official = case["official"]
    if official is None:
        return not decision.in_form
    return decision.in_form and decision.verdict == (official.lower() == "yes")


def _cell(text: str) -> str:
    return text.replace("\n", "\\n").replace("\r", "\\r").replace("|", "\\|")


def page(data: Path) -> str:
    """Return the page in Markdown."""
    found = list(cases(data))
    lines = [
        "# Scorers",
        "",
        METRICS,
        "",
        "## Case by case",
        "",
        "Written by `python scripts/scorer_parity.py DATA docs/evaluation/scorers.md`. "
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
        f"{'equal' if c.equal else DIFFERS} |"
        for c in found
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text := page(source), encoding="utf-8")
    print(f"1,000 items of MMAU: {mmau_seconds(source):.3f} s of CPU time")
    sys.exit(DIFFERS in text)
